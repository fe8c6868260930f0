from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.claims import is_claimed, place_of, target_of
from napari_omezarr.errors import LocationError

if TYPE_CHECKING:
    from pathlib import Path

STATE = '{"layers": [{"source": "zarr://https://host/a.zarr"}]}'


@pytest.mark.parametrize(
    ("address", "ours"),
    [
        ("https://h/a.zarr", True),
        ("https://h/a.ome.zarr/", True),
        ("https://h/a.ZARR", True),
        ("https://h/a.zarr/0", True),
        ("https://h/a.zarr/zarr.json", True),
        ("https://h/a b.zarr?sig=x/y.tif", True),
        ("https://h/a.zarr.zip?sig=x", True),
        ("https://h/a.ozx/labels/cells", True),
        ("https://h/a.zarr/thumbnail.png", False),
        ("https://h/x.tif?from=a.zarr", False),
        ("https://h/prefix", False),
        ("https://[broken/a.zarr", False),
        ("s3://b", True),
        ("gs://b/a/prefix", True),
        ("s3://b/table.csv", False),
        ("s3+https://h/b/prefix", True),
        ("s3+https://h/b/table.csv%7Canonymous:true", False),
        ("https://h/a.zarr|profile:lab", True),
        ("https://h/prefix%7Cprofile:lab", False),
        ("https://h/prefix%7Cprofile:lab%7Cauto:", True),
        ("sftp://ada@h/~/prefix", True),
        ("ssh://h/a.csv", False),
        ("webdav+https://h/prefix", True),
        ("davs://h/a.tif", False),
        ("hf://datasets/lab/cells/prefix", True),
        ("hf://datasets/lab/cells@main/README.txt", False),
        ("github://lab:cells@main/prefix", True),
        ("ipfs://bafy/prefix", True),
        ("ipns://name/a.png", False),
        ("reference::https://h/refs.json", True),
        ("simplecache::reference::s3://b/refs.parq", True),
        ("simplecache::https://h/refs.json", False),
        ("zip://inner.zarr::https://h/a.zip", True),
        ("simplecache::s3://b/prefix", True),
        (r"C:\data\a.zarr", True),
        ("/nowhere/a.zarr.zip", True),
        ("/nowhere/folder", False),
        ("", False),
    ],
)
def test_the_name_decides(address: str, ours: bool) -> None:
    assert is_claimed(address) is ours


@pytest.mark.parametrize("document", ["zarr.json", ".zattrs", ".zgroup", ".zarray"])
def test_a_local_folder_without_the_name_is_claimed_by_its_documents(
    tmp_path: Path, document: str
) -> None:
    assert not is_claimed(str(tmp_path))
    (tmp_path / document).touch()
    assert is_claimed(str(tmp_path))


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    assert is_claimed(text) in (True, False)


def test_a_path_that_exists_is_taken_by_the_letter(tmp_path: Path) -> None:
    strange = tmp_path / "100% <a>, b#c.zarr"
    strange.mkdir()
    assert place_of(str(strange)).local_path() == strange


def test_other_addresses_are_parsed() -> None:
    place = place_of("https://h/a b.zarr?sig=x%2Fy")
    assert place.display == "https://h/a b.zarr"
    assert place.query == "sig=x%2Fy"


def test_claiming_an_address_imports_no_library_that_reads():
    code = (
        "import sys; from napari_omezarr._hooks import get_reader; "
        "assert get_reader('s3://bucket/a.zarr'); print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=120
    )
    assert not {"zarr", "dask", "aiohttp", "napari"} & set(run.stdout.decode().split())


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("s3://b/a.ome.zarr", "s3://b/a.ome.zarr"),
        ("/home/me/s3://b/x/a.ome.zarr", "s3://b/x/a.ome.zarr"),
        ("/home/me/s3:/b/x/a.ome.zarr", "s3://b/x/a.ome.zarr"),
        ("s3:/b/x/a.zarr", "s3://b/x/a.zarr"),
        (r"C:\Users\me\s3:\b\a.zarr", "s3://b/a.zarr"),
        ("/home/me/gs:/b/a.ozx", "gs://b/a.ozx"),
        (
            "/home/me/s3+https:/minio.lab:9000/b/a.zarr",
            "s3+https://minio.lab:9000/b/a.zarr",
        ),
        ("s3://b/a", "s3://b/a.ome.zarr"),
        ("/data/two words, a #1", "/data/two words, a #1.ome.zarr"),
        ("/data/a.tif", "/data/a.tif.ome.zarr"),
        ("/data/a.zarr.zip", "/data/a.zarr.zip"),
        ("/data/A.OME.ZARR/", "/data/A.OME.ZARR"),
    ],
)
def test_what_the_save_dialog_makes_of_an_address_is_undone(
    text: str, target: str
) -> None:
    place = target_of(text)
    local = place.protocol == "file"
    assert (str(place.local_path()) if local else str(place)) == target


@pytest.mark.parametrize(
    "text",
    ["s3://b", "s3://b/", "s3+http://h:9/b", "/", ".", "..", "/data/..", "~", "~/"],
)
def test_where_an_image_could_lie_is_no_name_of_one(text: str) -> None:
    with pytest.raises(LocationError, match="names none") as refused:
        target_of(text)
    assert target_of(refused.value.action.split()[-1].rstrip(".")).name


@pytest.mark.parametrize(
    ("link", "claimed"),
    [
        ("https://x.github.io/vizarr/?source=https://host/a.zarr&viewState=x", True),
        (f"https://x.org/#!{quote(STATE)}", True),
        ("https://x.org/view?source=https://host/a.tif", False),
        ("https://x.org/#!broken", False),
    ],
)
def test_links_to_viewers_are_ours_by_what_they_show(link: str, claimed: bool) -> None:
    assert is_claimed(link) is claimed
