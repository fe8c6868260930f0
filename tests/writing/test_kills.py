"""Killed, cut off or refused at points spread over a whole run: nothing is lost.

After each of them what was there is there, whole, or nothing is; and the save that
goes on ends with the bytes of one that was never interrupted.
"""

from __future__ import annotations

import os
import shutil
import signal

import numpy as np
import pytest

from interrupted_save import OPTIONS
from killed_saves import ACTS, small
from napari_omezarr import errors
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.store import open_writable, run
from napari_omezarr.writing import SaveMode, WriteOptions, write_image
from napari_omezarr.writing.commit import (
    ArchiveTarget,
    InPlaceTarget,
    LocalTarget,
    journal_path,
)
from napari_omezarr.writing.engine import Threads
from napari_omezarr.writing.from_arrays import Channels, Grid, describe_array
from napari_omezarr.writing.hierarchy import RemoteHierarchy
from napari_omezarr.writing.plan import plan_layers
from napari_omezarr.writing.save import save
from quick_retries import QUICK
from servers import faults

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
NEW, OLD = small(), small() + np.uint16(1)
POINTS = 4
"""How many points of a run are tried."""
CHANGES = int(os.environ.get("OMEZARR_KILLS", "4"))
"""How many of an edit, and of an append."""


@pytest.fixture
def bucket(s3_prefix, proxy, owner):
    return Location.parse(f"s3://private/{s3_prefix}", endpoint=proxy.url)


def spread(count, points=POINTS):
    """Points from the first to the last of so many steps, dense at the end."""
    even = {round(n) for n in np.linspace(1, count, points - 2)}
    return sorted(even | {count - 1, count - 3})


def contents(place):
    if not isinstance(place, Location):
        if place.is_file():
            return {"": place.read_bytes()}
        return {
            file.relative_to(place).as_posix(): file.read_bytes()
            for file in place.rglob("*")
            if file.is_file()
        }

    async def collect():
        writable = open_writable(place)
        names = [entry.name async for entry in writable.objects()]
        return {name: (await writable.read(name)).body for name in names}

    return run(collect())


def shown(place):
    """What a reader finds: the pixels, or nothing."""
    try:
        return np.asarray(read_layers(place)[0][0][0])
    except errors.NodeNotFoundError:
        return None


def is_one_of(found, *allowed):
    return any(
        found is None if values is None else np.array_equal(found, values)
        for values in allowed
    )


def saved(place, values=NEW, **mode):
    """Save within this process, with few retries."""
    grid, channels = Grid("zyx", None, None, None), Channels(None, None, None)
    options = WriteOptions(**OPTIONS)
    spec = describe_array(values, grid, "a", channels)
    plan = plan_layers([spec], "a", options, object_store=True)
    target = target_of(place)
    executor = Threads(options.memory, 1)
    try:
        return save(plan, target, SaveMode(**mode), executor)
    finally:
        executor.close()


def saved_after_all(place, existing):
    """Do what a person does after a save broke off: go on, or save anew."""
    if target_of(place).unfinished():
        saved(place, existing=existing, unfinished="resume")
    elif not is_one_of(shown(place), NEW):
        saved(place, existing=existing)


def target_of(place):
    if isinstance(place, Location):
        return InPlaceTarget(RemoteHierarchy(place, open_writable(place, retry=QUICK)))
    if place.suffix == ".ozx":
        return ArchiveTarget(place, "0.5")
    return LocalTarget(place)


@POSIX
@pytest.mark.parametrize("existing", ["refuse", "replace"])
@pytest.mark.parametrize("name", ["a.ome.zarr", "a.ozx"])
def test_a_killed_save_loses_nothing_and_resumes(
    name, existing, killed_saves, tmp_path
):
    whole = tmp_path / "whole" / name
    whole.parent.mkdir()
    write_image(NEW, whole, "zyx", **OPTIONS)
    old = OLD if existing == "replace" else None
    begin = tmp_path / "begin"
    begin.mkdir()
    if old is not None:
        write_image(old, begin / name, "zyx", **OPTIONS)

    def prepared(number):
        shutil.copytree(begin, tmp_path / f"{number}")
        return tmp_path / f"{number}" / name

    place = prepared("count")
    killed_saves.begin(place, last=-1, existing=existing)
    assert killed_saves.end() == 0
    count = int(place.with_name(f"{name}.count").read_text())
    for point in spread(count):
        place = prepared(point)
        killed_saves.begin(place, last=point, existing=existing)
        assert killed_saves.end() == -signal.SIGKILL
        assert is_one_of(shown(place), old, None, NEW), point
        if shown(place) is None or np.array_equal(shown(place), OLD):
            write_image(NEW, place, "zyx", existing=existing, unfinished="resume",
                        **OPTIONS)  # fmt: skip
        assert contents(place) == contents(whole), point
        assert not target_of(place).unfinished()


@pytest.fixture
def whole(bucket):
    """The bytes of a save that was not interrupted."""
    saved(bucket / "whole.ome.zarr")
    return contents(bucket / "whole.ome.zarr")


@pytest.fixture(params=["refuse", "replace"])
def prepared(request, bucket, proxy):
    """Make a place for a save, free or with an image to be replaced; and count."""
    existing = request.param
    old = OLD if existing == "replace" else None

    def prepare(number):
        place = bucket / f"{number}" / "a.ome.zarr"
        if old is not None:
            saved(place, old)
        proxy.clear()
        return place

    run(open_writable(bucket).holds_conditions())  # which is tried once
    saved(prepare("count"), existing=existing)
    # What comes last lets the claim go, and is no part of the save.
    paths = [request.path for request in proxy.requests]
    while paths[-1].endswith("/.saving"):
        paths.pop()
    count = len(paths)
    return prepare, count, existing, old


BREAKS = [
    faults.Dropped(),
    faults.s3_error(400, "ExpiredToken"),
    faults.s3_error(403, "AccessDenied"),
    faults.s3_error(507, "InsufficientStorage"),
    faults.Lost(),
]


def test_a_save_to_s3_that_is_cut_off_loses_nothing_and_resumes(prepared, proxy, whole):
    """From some request on nothing gets through; each time another reason."""
    prepare, count, existing, old = prepared
    for number, point in enumerate(spread(count)):
        place = prepare(point)
        fault = BREAKS[number % len(BREAKS)]
        proxy.fault("*", *[faults.Proceed()] * (point - 1), *[fault] * 999)
        with pytest.raises(errors.StoreError):
            saved(place, existing=existing)
        proxy.clear()
        assert is_one_of(shown(place), old, None, NEW), point
        saved_after_all(place, existing)
        assert contents(place) == whole, point


@POSIX
def test_a_killed_save_to_s3_loses_nothing_and_resumes(
    prepared, proxy, whole, killed_saves
):
    prepare, count, existing, old = prepared
    for point in spread(count, 4):
        place = prepare(point)
        proxy.fault("*", *[faults.Proceed()] * (point - 1), faults.Stalled())
        process = killed_saves.begin(place, existing=existing, name="a")
        proxy.wait_for(point)
        os.kill(process, signal.SIGKILL)
        assert killed_saves.end() == -signal.SIGKILL
        proxy.clear()
        proxy.wait_until_idle()
        assert is_one_of(shown(place), old, None, NEW), point
        saved_after_all(place, existing)
        assert contents(place) == whole, point


# What changes an image that is there: whoever reads finds the old or the new, and who
# does it again ends with the bytes of one that was never interrupted.


def made(place):
    """An image of which time is the first axis; its last shard is not full."""
    names = {"z": "t", "y": "y", "x": "x"}
    cut = {
        key: {names[axis]: size for axis, size in OPTIONS[key].items()}
        for key in ("chunks", "shards")
    }
    write_image(NEW[:5], place, "tyx", name="a", **{**OPTIONS, **cut})
    return place


def is_whole(place, act):
    """Readers see one image or the other: never a length between, nor a lost pixel."""
    ((data, _, _),) = read_layers(place)
    # For a moment coarser levels are longer than the finest one, and left out.
    found = np.asarray(data[0] if isinstance(data, list) else data)
    if act == "append":
        assert len(found) in (5, 7)
        np.testing.assert_array_equal(found[:5], NEW[:5])
    else:
        assert set(np.unique(found.astype(int) - NEW[:5])) <= {0, 1000}
    return len(found)


@POSIX
@pytest.mark.parametrize("act", ["patch", "append"])
def test_a_killed_change_is_done_again_and_ends_the_same(act, killed_saves, tmp_path):
    begin, name = made(tmp_path / "begin" / "a.ome.zarr").parent, "a.ome.zarr"

    def prepared(number):
        shutil.copytree(begin, tmp_path / f"{number}")
        return tmp_path / f"{number}" / name

    whole = prepared("whole")
    ACTS[act](whole)
    place = prepared("count")
    killed_saves.begin(place, last=-1, act=act)
    assert killed_saves.end() == 0
    count = int(place.with_name(f"{name}.count").read_text())
    for point in spread(count, CHANGES):
        place = prepared(point)
        killed_saves.begin(place, last=point, act=act)
        if killed_saves.end() == 0:  # its threads met less often than in the other
            continue
        found = is_whole(place, act)
        noted = journal_path(f"{place} grows").is_file()
        if act == "patch" or noted or found == 5:  # else it was at its end
            ACTS[act](place)
        # The lock of who was killed ends with him; its file may stay, and is empty.
        stored = contents(place)
        locks = [key for key in stored if key.endswith(".lock")]
        assert not any(stored.pop(key) for key in locks), point
        assert stored == contents(whole), point
        beside = {file.name for file in place.parent.iterdir()} - {name}
        assert beside <= {f".{name}.saving"}, point  # nor does a claim outlive him


@POSIX
@pytest.mark.parametrize("act", ["patch", "append"])
def test_a_killed_change_in_a_bucket_is_done_again_and_ends_the_same(
    act, killed_saves, bucket, proxy, monkeypatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    address = bucket.display.rstrip("/")
    run(open_writable(bucket).holds_conditions())

    def prepared(number):
        made(f"{address}/{number}.ome.zarr")
        proxy.clear()
        return f"{address}/{number}.ome.zarr", bucket / f"{number}.ome.zarr"

    text, whole = prepared("whole")
    ACTS[act](text)
    count = len(proxy.requests)
    for point in spread(count - 3, CHANGES):
        text, place = prepared(point)
        proxy.fault("*", *[faults.Proceed()] * (point - 1), faults.Stalled())
        process = killed_saves.begin(text, act=act)
        proxy.wait_for(point)
        os.kill(process, signal.SIGKILL)
        assert killed_saves.end() == -signal.SIGKILL
        proxy.clear()
        proxy.wait_until_idle()
        is_whole(place, act)
        ACTS[act](text)
        # Who was killed while he asked for conditions leaves an object without bytes.
        found = contents(place)
        for key in [key for key in found if key.startswith(".probe-")]:
            assert found.pop(key) == b""
        assert found == contents(whole), point


@POSIX
def test_no_room_to_note_what_is_saved_to_a_bucket_is_said_and_resumes(
    killed_saves, bucket, proxy, whole, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    place, told = bucket / "a.ome.zarr", tmp_path / "told"
    killed_saves.begin(place, room=500, told=str(told), name="a")
    assert killed_saves.end() == 0
    said = told.read_text()
    assert said.startswith("DiskFullError: There is no room left at ")
    assert "where this computer notes what is saved. Make room there" in said
    assert shown(place) is None
    saved(place, unfinished="resume")
    assert contents(place) == whole
