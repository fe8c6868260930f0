"""New folders, other names, deleting: counted, asked for, and never what is open."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_omezarr import atomic_file
from napari_omezarr.browsing import Listing
from napari_omezarr.errors import (
    ConflictError,
    NodeNotFoundError,
    OptionError,
    TargetClaimedError,
    TargetExistsError,
    TargetInUseError,
)
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.opened import open as open_image
from napari_omezarr.store import WritablePlace, open_writable, run
from napari_omezarr.upkeep import examine, make_folder, plan_removal, remove, rename
from napari_omezarr.writing import open_target
from quick_retries import QUICK
from small_images import put_image, put_labels

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
    page = Listing(place, files=True, retry=QUICK).more().result(60)
    return {entry.name for entry in page.entries if holds(entry.location)}


def holds(place: Location) -> bool:
    try:
        plan_removal(place)
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
    remove(plan_removal(moved))
    assert names(here) == {"cells.zarr", "notes.txt"}
    with pytest.raises(NodeNotFoundError):
        plan_removal(moved)
    with pytest.raises(NodeNotFoundError):
        rename(moved, "new")


def test_an_image_is_renamed_and_deleted_whole(here: Location) -> None:
    image = here / "cells.zarr"
    before, counted = read_layers(image)[0][0][0].compute(), plan_removal(image)
    moved = rename(image, "nuclei.zarr")
    assert names(here) == {"nuclei.zarr", "notes.txt"}
    assert plan_removal(moved).found == counted.found
    assert (read_layers(moved)[0][0][0].compute() == before).all()
    remove(plan_removal(moved))
    assert names(here) == {"notes.txt"}
    note = here / "notes.txt"
    found = plan_removal(note).found
    assert (found.objects, found.size) == (1, 5)
    remove(plan_removal(rename(note, "n.txt")))
    assert names(here) == set()


def test_a_folder_that_a_console_made_is_renamed_and_deleted(
    s3_server: S3Server, s3_prefix: str, owner: None
) -> None:
    """It is an object whose key ends in a slash; without that it is another one."""
    text = f"s3://private/{s3_prefix}"
    here = Location.parse(text, endpoint=s3_server.endpoint)
    place = open_writable(here, retry=QUICK)
    for key in ("made/", "made/in/", "made/in/a"):
        run(place.put(key, b"a" if key.endswith("a") else b""))
    moved = rename(here / "made", "other")
    assert run(keys_in(place)) == ["other/", "other/in/", "other/in/a"]
    remove(plan_removal(moved))
    assert run(keys_in(place)) == []


async def keys_in(place: WritablePlace) -> list[str]:
    return [each.name async for each in place.objects()]


def elsewhere(image: Location) -> str:
    """The same image by another address: through a link, or over the web."""
    if image.protocol != "file":
        return f"{image.endpoint}/{image.root}/{image.path}"
    folder = image.local_path().parent
    link = folder.with_name(f"{folder.name} linked")
    link.symlink_to(folder, target_is_directory=True)
    return str(link / image.name)


def test_what_is_open_or_has_changed_stays(here: Location) -> None:
    image = here / "cells.zarr"
    counted = plan_removal(image)
    for place, used in (
        (image, image.display),
        (here, image.display),
        (image / "0", image.display),
        (image, f"{image.display}/labels/cells"),
        (image, elsewhere(image)),
    ):
        with pytest.raises(TargetInUseError, match="is open") as caught:
            remove(replace(counted, location=place), [used])
        assert caught.value.action
        with pytest.raises(TargetInUseError):
            rename(place, "x", [used])
    make_folder(image, "more")
    if here.protocol != "file":  # an empty folder of a disk counts nothing
        with pytest.raises(ConflictError, match="has changed"):
            remove(counted)
    assert "cells.zarr" in names(here)


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", ".", "a\\b"])
def test_names_that_lead_elsewhere_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match="no name"):
        make_folder(Location.parse(tmp_path), name)


def test_what_has_no_folder_or_lies_in_an_archive_stays() -> None:
    for address in ("s3://bucket", "https://host/a.ozx/labels"):
        with pytest.raises(OptionError):
            plan_removal(Location.parse(address))


def test_labels_with_another_name_are_listed_by_it(tmp_path: Path) -> None:
    put_image(tmp_path / "cells.zarr", "0.5")
    data = np.ones((4, 16, 16), np.uint8)
    put_labels(tmp_path / "cells.zarr", levels=3, nuclei=data, cells=data)
    image = Location.parse(tmp_path / "cells.zarr")
    moved = rename(image / "labels" / "nuclei", "nuclei_v2")
    assert sorted(open_image(image).labels) == ["cells", "nuclei_v2"]
    assert examine(image) == []
    remove(plan_removal(moved))
    assert list(open_image(image).labels) == ["cells"]
    assert examine(image) == []


def test_where_somebody_saves_nothing_is_removed_or_renamed(here: Location) -> None:
    image = here / "cells.zarr"
    counted = plan_removal(image)
    with open_target(image, "0.5").claim.held():
        for change in (
            lambda: plan_removal(image),
            lambda: remove(counted),
            lambda: rename(image, "x"),
        ):
            with pytest.raises(TargetClaimedError):
                change()
    assert "cells.zarr" in names(here)
    remove(counted)
    assert names(here) == {"notes.txt"}


def _not_known(*_: object) -> int:
    return errno.ENOSYS


@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.parametrize("known", [True, False], ids=["in one step", "in two"])
def test_of_two_who_take_one_name_one_gets_it(
    tmp_path: Path, kind: str, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever came between, nothing is replaced."""
    if not known:  # as on systems that have no such call
        monkeypatch.setattr(atomic_file, "_renamed_alone", _not_known)
    for turn in range(20):
        meeting = Barrier(2)
        names = [f"{kind}-{turn}-{who}" for who in "ab"]
        for name in names:
            inner = tmp_path / name / "content" if kind == "folder" else tmp_path / name
            inner.parent.mkdir(exist_ok=True)
            inner.write_text(name)

        def take(name: str, meeting: Barrier = meeting, turn: int = turn) -> bool:
            meeting.wait(60)
            try:
                rename(Location.parse(tmp_path / name), f"new-{turn}")
            except TargetExistsError:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            got = list(pool.map(take, names))
        assert sum(got) == 1
        found = {
            file.read_text()
            for file in tmp_path.rglob("*")
            if file.is_file() and f"-{turn}" in str(file.relative_to(tmp_path))
        }
        assert found >= set(names)


def test_a_name_that_something_empty_has_is_not_free(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "file", "link"):
        with pytest.raises(TargetExistsError):
            rename(Location.parse(tmp_path / "old"), name)
    assert len(list(tmp_path.iterdir())) == 4
