"""New folders, other names, deleting: counted, asked for, and never what is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_omezarr.browsing import Listing
from napari_omezarr.browsing.manage import delete, make_folder, rename, what_lies_at
from napari_omezarr.errors import (
    NodeNotFoundError,
    OptionError,
    TargetExistsError,
    TargetInUseError,
)
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from quick_retries import QUICK
from small_images import put_image

if TYPE_CHECKING:
    from pathlib import Path

    from napari_omezarr.demo.server import S3Server


@pytest.fixture(params=["file", "s3"])
def here(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    s3_server: S3Server,
    s3_prefix: str,
    owner: None,
) -> Location:
    """A folder with an image and a file in it."""
    put_image(tmp_path / "cells.zarr", "0.5")
    (tmp_path / "notes.txt").write_text("hello")
    if request.param == "file":
        return Location.parse(tmp_path)
    s3_server.upload(tmp_path, f"private/{s3_prefix}")
    address = f"s3://private/{s3_prefix}"
    return Location.parse(address, endpoint=s3_server.endpoint)


def names(place: Location) -> set[str]:
    """What lies at a place; SeaweedFS lists folders after their last object is gone."""
    page = Listing(place, files=True, retry=QUICK).more().result(20)
    return {entry.name for entry in page.entries if holds(entry.location)}


def holds(place: Location) -> bool:
    try:
        what_lies_at(place)
    except NodeNotFoundError:
        return False
    return True


def test_a_folder_is_made_filled_renamed_and_deleted(here: Location) -> None:
    folder = make_folder(here, "new")
    assert names(here) == {"cells.zarr", "notes.txt", "new"}
    for taken in ("new", "cells.zarr", "notes.txt"):
        with pytest.raises(TargetExistsError):
            make_folder(here, taken)
        with pytest.raises(TargetExistsError):
            rename(folder, taken)
    moved = rename(folder, "other")
    assert moved == here / "other"
    delete(moved, what_lies_at(moved))
    assert names(here) == {"cells.zarr", "notes.txt"}
    with pytest.raises(NodeNotFoundError):
        what_lies_at(moved)


def test_an_image_is_renamed_and_deleted_whole(here: Location) -> None:
    image = here / "cells.zarr"
    before, counted = read_layers(image)[0][0][0].compute(), what_lies_at(image)
    moved = rename(image, "nuclei.zarr")
    assert names(here) == {"nuclei.zarr", "notes.txt"}
    assert what_lies_at(moved) == counted
    assert (read_layers(moved)[0][0][0].compute() == before).all()
    delete(moved, counted)
    assert names(here) == {"notes.txt"}
    note = here / "notes.txt"
    assert (what_lies_at(note).objects, what_lies_at(note).size) == (1, 5)
    delete(rename(note, "n.txt"), what_lies_at(here / "n.txt"))
    assert names(here) == set()


def test_what_is_open_or_has_changed_stays(here: Location) -> None:
    image = here / "cells.zarr"
    counted = what_lies_at(image)
    for place, used in (
        (image, image.display),
        (here, image.display),
        (image / "0", image.display),
        (image, f"{image.display}/labels/cells"),
    ):
        with pytest.raises(TargetInUseError, match="is open") as caught:
            delete(place, counted, [used])
        assert caught.value.action
        with pytest.raises(TargetInUseError):
            rename(place, "x", [used])
    make_folder(image, "more")
    if here.protocol != "file":  # an empty folder of a disk counts nothing
        with pytest.raises(OptionError, match="has changed"):
            delete(image, counted)
    assert "cells.zarr" in names(here)


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", ".", "a\\b"])
def test_names_that_lead_elsewhere_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match="no name"):
        make_folder(Location.parse(tmp_path), name)


def test_what_has_no_folder_or_lies_in_an_archive_stays() -> None:
    for address in ("s3://bucket", "https://host/a.ozx/labels"):
        with pytest.raises(OptionError):
            what_lies_at(Location.parse(address))
