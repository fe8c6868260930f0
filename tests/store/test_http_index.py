"""Index pages of web servers as listings: theirs as they write them, and a real one."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from napari_omezarr.browsing import EntryKind, Listing
from napari_omezarr.errors import ListingDeniedError
from napari_omezarr.location import Location
from napari_omezarr.store import ObjectMeta, open_lister, run
from napari_omezarr.store.web_server import index_items
from quick_retries import QUICK
from small_images import put_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

URL = "https://host/data/my%20lab/"

NGINX = """<html><head><title>Index of /data/my lab/</title></head><body>
<h1>Index of /data/my lab/</h1><hr><pre><a href="../">../</a>
<a href="cells.ome.zarr/">cells.ome.zarr/</a>      26-Nov-2026 10:41        -
<a href="a%20b.csv">a b.csv</a>                    01-Feb-2025 09:00     1234
</pre></body></html>"""
APACHE = """<!DOCTYPE HTML><html><head><title>Index of /data/my lab</title></head>
<body><h1>Index of /data/my lab</h1><table>
<tr><th><a href="?C=N;O=D">Name</a></th>
<th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/data/">Parent Directory</a></td><td>&nbsp;</td><td>  - </td></tr>
<tr><td><a href="cells.ome.zarr/">cells.ome.zarr/</a></td>
<td align="right">2026-11-26 10:41  </td><td align="right">  - </td></tr>
<tr><td><a href="a%20b.csv">a b.csv</a></td>
<td align="right">2025-02-01 09:00  </td><td align="right">1.2K</td></tr>
</table></body></html>"""
PYTHON = """<!DOCTYPE HTML><html lang="en"><head>
<title>Directory listing for /data/my%20lab/</title></head><body>
<h1>Directory listing for /data/my%20lab/</h1><hr><ul>
<li><a href="cells.ome.zarr/">cells.ome.zarr/</a></li>
<li><a href="a%20b.csv">a b.csv</a></li></ul><hr></body></html>"""


@pytest.mark.parametrize(
    ("page", "size", "dates"),
    [(NGINX, 1234, True), (APACHE, 1229, True), (PYTHON, None, False)],
)
def test_the_pages_of_usual_servers_are_listings(page, size, dates):
    assert index_items(page, URL) == (
        ObjectMeta(
            "cells.ome.zarr",
            is_folder=True,
            modified="2026-11-26T10:41:00+00:00" if dates else "",
        ),
        ObjectMeta(
            "a b.csv",
            is_folder=False,
            size=size,
            modified="2025-02-01T09:00:00+00:00" if dates else "",
        ),
    )


def test_links_that_lead_elsewhere_are_no_rows():
    links = (
        "https://other/x/",
        "//other/x/",
        "/data/",
        "../x/",
        "a/b",
        "?q",
        "#x",
        ".",
    )
    page = "".join(f'<a href="{link}">x</a>' for link in (*links, "x/"))
    found = index_items(f"<title>Index of x</title>{page}", URL)
    assert [item.name for item in found] == ["x"]


def test_a_page_that_is_no_index_is_none():
    assert index_items('<title>Welcome</title><a href="x/">x</a>', URL) is None


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=folder)
    ) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(20)


def test_a_web_server_is_browsed_as_any_place(tmp_path):
    put_image(tmp_path / "lab" / "deep" / "a b.zarr", "0.5")
    (tmp_path / "lab" / "deep" / "table.csv").write_text("x")
    with serving(tmp_path) as url:
        for place, names in (
            (url, ["lab"]),
            (f"{url}/lab", ["deep"]),
            (f"{url}/lab/deep", ["a b.zarr"]),
        ):
            page = Listing(Location.parse(place), retry=QUICK).more().result(60)
            assert [entry.name for entry in page.entries] == names
        image = Listing(page.entries[0].location, retry=QUICK).more().result(60)
        assert image.here.kind is EntryKind.IMAGE
        files = Listing(Location.parse(place), files=True, retry=QUICK)
        assert len(files.more().result(60).entries) == 2


def test_a_server_without_index_pages_says_so(http_server):
    lister = open_lister(Location.parse(f"{http_server.url}/lab"), retry=QUICK)
    with pytest.raises(ListingDeniedError):
        run(lister.page())
