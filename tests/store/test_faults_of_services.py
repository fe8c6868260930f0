"""What goes wrong at S3's, Google's and Azure's storage alike, and is always said."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import zarr
from fsspec.config import conf

from napari_omezarr import errors
from napari_omezarr.location import Location
from napari_omezarr.pyramid import ArrayPixels
from napari_omezarr.store import open_lister, open_store, open_writable, run
from napari_omezarr.store.backend import LONG
from quick_retries import HASTY, PIXELS, QUICK, write_image
from servers import faults
from servers.azure import BOX, AzureAccount
from servers.bucket import Bucket
from servers.google import GoogleStorage

BODY = b"some bytes"


@dataclass
class Service:
    server: Any
    place: Location
    empty_page: bytes
    """A list that has nothing but a way to the next page."""

    def keys(self):
        held = getattr(self.server, "objects", None) or getattr(
            self.server, "blobs", None
        )
        return sorted(self.server.keys() if hasattr(self.server, "keys") else held)

    def fill(self, folder):
        """Put the files of a folder below the place."""
        writable = open_writable(self.place, retry=QUICK)
        for file in folder.rglob("*"):
            if file.is_file():
                key = file.relative_to(folder).as_posix()
                run(writable.put(key, file.read_bytes()))
        self.server.clear()


def s3(_):
    server = Bucket(knows_conditions=True)
    place = Location.parse("s3://bucket/a.zarr", endpoint=server.url, anonymous=True)
    more = b"<NextContinuationToken>!</NextContinuationToken>"
    page = b"<IsTruncated>true</IsTruncated>" + more
    return Service(server, place, b"<ListBucketResult>" + page + b"</ListBucketResult>")


def gs(monkeypatch):
    server = GoogleStorage()
    monkeypatch.setitem(conf, "gs", {"endpoint_url": server.url})
    page = b'{"kind": "storage#objects", "nextPageToken": "!"}'
    return Service(server, Location.parse(server.place("a.zarr")), page)


def az(monkeypatch):
    server = AzureAccount()
    said = server.connection_string()
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", said)
    page = b"<EnumerationResults><NextMarker>0</NextMarker></EnumerationResults>"
    return Service(server, Location.parse(f"az://{BOX}/a.zarr"), page)


@pytest.fixture(params=[s3, gs, az])
def service(request, monkeypatch):
    made = request.param(monkeypatch)
    with made.server:
        yield made


def works(writable):
    """All that changes something."""
    return {
        "put": lambda: writable.put("a", BODY),
        "long": lambda: writable.put("a", bytes(LONG)),
        "copy": lambda: writable.copy("b", "a", len(BODY)),
        "replace": lambda: writable.replace("a", BODY, None),
        "delete": lambda: writable.delete("b"),
    }


# Writing.


IN_BETWEEN = {
    "page": faults.page(),
    "401": faults.Status(401, b"<html>Sign in</html>"),
    "403": faults.Status(403, b"<html>Blocked</html>"),
    "511": faults.Status(511, b"<html>Sign in</html>"),
    "redirect": faults.redirect("http://127.0.0.1:9/x"),
}


def test_who_stands_between_has_changed_nothing(service):
    """A portal or a firewall, whose page is no success, whatever its status says."""
    writable = open_writable(service.place, retry=QUICK)
    run(writable.put("b", BODY))
    assert run(writable.holds_conditions())
    for name, fault in IN_BETWEEN.items():
        service.server.fault("*", fault, forever=True)
        for what, work in works(writable).items():
            with pytest.raises(errors.StoreError):
                pytest.fail(f"{name} {what}: {run(work())}")
        service.server.clear()
        assert service.keys() == ["a.zarr/b"]


# Reading.

BROKEN = {
    "page": faults.page(),
    "nothing": faults.Status(200),
    "no content": faults.Status(204),
    "a part": faults.Status(206, b"ab", {"Content-Range": "bytes 0-1/9"}),
    "garbage": faults.Status(200, b"\x01" * 300),
    "short": faults.Truncated(3),
    "dropped": faults.Dropped(),
    "reset": faults.Reset(3),
    "redirect": faults.redirect("http://127.0.0.1:9/x"),
    "br": faults.Status(200, b"ab", {"Content-Encoding": "br"}),
    "gzip": faults.Status(200, b"ab", {"Content-Encoding": "gzip"}),
    "half gzip": faults.Status(
        200, gzip.compress(bytes(999))[:-9], {"Content-Encoding": "gzip"}
    ),
    "not satisfied": faults.Status(416),
    **{
        str(code): faults.Status(code, b"<html>no</html>")
        for code in (400, 401, 403, 407, 408, 410, 429, 451, 500, 501, 503, 511)
    },
}


def test_what_is_broken_is_no_pixels(service, tmp_path):
    service.fill(write_image(tmp_path / "a.zarr"))
    store = open_store(service.place, retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    pixels = ArrayPixels(array._async_array, service.place.display, 8)
    for name, fault in BROKEN.items():
        service.server.fault("*", fault, forever=True)
        with pytest.raises(errors.OMEZarrError) as caught:
            pytest.fail(f"{name}: {pixels[...]}")
        assert "planted" not in repr(caught.value)
        service.server.clear()
        np.testing.assert_array_equal(pixels[...], PIXELS)


@pytest.mark.parametrize("service", [gs, az], indirect=True)
def test_parts_of_two_states_are_not_mixed(service, tmp_path):
    service.fill(write_image(tmp_path / "a.zarr", shards=True))
    store = open_store(service.place, retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    np.testing.assert_array_equal(array[:2, :2], PIXELS[:2, :2])
    service.fill(tmp_path / "a.zarr")
    with pytest.raises(errors.ObjectChangedError):
        array[2:4, :2]


def test_a_service_that_says_nothing_is_given_up(service):
    writable = open_writable(service.place, retry=HASTY)
    run(writable.put("b", BODY))
    reader = open_store(service.place, retry=HASTY)
    service.server.fault("*", faults.Stalled(), forever=True)
    listing = open_lister(service.place, retry=HASTY)
    changes = works(writable)
    for work in (listing.page, partial(reader.read, "b"), changes["put"]):
        with pytest.raises(errors.StoreTimeoutError):
            run(work())


# Lists.


def test_a_page_without_items_is_not_the_last(service):
    writable = open_writable(service.place, retry=QUICK)
    run(writable.put("b", BODY))
    page = faults.Status(200, service.empty_page)

    async def names():
        return [each.name async for each in writable.objects()]

    listing = open_lister(service.place, retry=QUICK)
    expected = {"holds": True, "names": ["b"], "page": ["b"], "deep": ["b"]}
    for name, answer in expected.items():
        service.server.fault("*", page, page, method="GET")
        # The second comes from where the first has led to, and leads nowhere else.
        with pytest.raises(errors.ServerError):
            run(_looked(name, writable, names, listing))
        service.server.clear()
        service.server.fault("*", page, method="GET")
        assert run(_looked(name, writable, names, listing)) == answer
        service.server.clear()


async def _looked(name, writable, names, listing):
    match name:
        case "holds":
            return await writable.holds()
        case "names":
            return await names()
    found = await (listing.page() if name == "page" else listing.deep_page())
    return [item.name for item in found.items]
