"""One suite for every kind of target: what holds for a folder holds for a store."""

from __future__ import annotations

import json
import os
import sys
import threading
import zipfile
from concurrent.futures import Future

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from napari_omezarr.errors import (
    ConflictError,
    DiskFullError,
    StoreError,
    TargetExistsError,
    TargetInUseError,
    UnfinishedWriteError,
    VerificationError,
    WriteCancelledError,
)
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.writing import SaveMode, WriteOptions, write_image, write_layers
from napari_omezarr.writing.commit import ArchiveTarget, InPlaceTarget, LocalTarget
from napari_omezarr.writing.engine import Running, Threads, run_plan
from napari_omezarr.writing.given import beside
from napari_omezarr.writing.hierarchy import (
    FolderHierarchy,
    RemoteHierarchy,
    StoreHierarchy,
    digest,
)
from napari_omezarr.writing.journal import Journal
from napari_omezarr.writing.plan import plan_layers
from napari_omezarr.writing.save import check_not_open, save
from small_images import contents

TARGETS = {
    "folder": lambda folder: LocalTarget(folder / "a.ome.zarr"),
    "archive": lambda folder: ArchiveTarget(folder / "a.ozx", "0.5"),
    "folder in place": lambda folder: InPlaceTarget(
        FolderHierarchy(folder / "b.zarr", str(folder / "b.zarr"))
    ),
    "store": lambda folder: InPlaceTarget(StoreHierarchy(MemoryStore(), str(folder))),
    "memory": lambda folder: remote(f"memory://{folder.name}/a.zarr"),
    "s3": None,  # needs the server
}

IMAGE = np.random.default_rng(5).integers(1, 900, (6, 130, 120)).astype(np.uint16)
OPTIONS = WriteOptions(chunks=(1, 60, 60), memory=50_000, levels=3)


def remote(address, **options):
    return InPlaceTarget(RemoteHierarchy(Location.parse(address, **options)))


@pytest.fixture(params=TARGETS)
def target(request, tmp_path):
    if request.param == "s3":
        return on_s3(request)
    return TARGETS[request.param](tmp_path)


def on_s3(request):
    server = request.getfixturevalue("s3_server")
    request.getfixturevalue("owner")
    prefix = request.getfixturevalue("s3_prefix")
    return remote(f"s3://private/{prefix}/a b.ome.zarr", endpoint=server.endpoint)


def layers(image=IMAGE):
    return [(image, {"name": "cells", "axis_labels": ("z", "y", "x")}, "image")]


def saved(target, image=IMAGE, *, progress=None, cancel=None, **mode):
    plan = plan_layers(layers(image), "cells", OPTIONS)
    chosen = SaveMode(**mode)
    executor = Threads(OPTIONS.memory, 1)
    try:
        running = Running(progress, cancel, chosen.verify)
        return save(plan, target, chosen, executor, running)
    finally:
        executor.close()


def opened(target):
    """The finest level as zarr itself reads it; None while there is no image."""
    if isinstance(target, InPlaceTarget):
        store = target.staged.store
    elif isinstance(target, ArchiveTarget):
        if not target.path.exists():
            return None
        store = zarr.storage.ZipStore(target.path, mode="r")
    else:
        store = str(target.path)
    try:
        group = zarr.open_group(store, mode="r")
        return group["0"][...]
    except FileNotFoundError:
        return None
    finally:
        if isinstance(store, zarr.storage.ZipStore):
            store.close()


def broken_off(target, after=4, image=IMAGE):
    """Begin a save and cancel it after some blocks."""
    cancel = threading.Event()

    def stop(progress):
        if progress.done >= after:
            cancel.set()

    with pytest.raises(WriteCancelledError):
        saved(target, image, progress=stop, cancel=cancel)


def test_what_is_saved_is_there_and_verified(target):
    assert target.occupied() is None
    result = saved(target, verify="all")
    np.testing.assert_array_equal(opened(target), IMAGE)
    assert result.verified >= result.plan.images[0].passes[0].count
    assert target.occupied().objects > 0
    assert not target.unfinished()
    assert not target.journal.exists()


@pytest.mark.parametrize("verify", ["sample", "all"])
def test_pixels_that_come_back_otherwise_are_noticed(verify):
    class Forgetful(StoreHierarchy):
        def begin_put(self, key, body):
            return super().begin_put(key, bytes(len(body)) if "/c/" in key else body)

    target = InPlaceTarget(Forgetful(MemoryStore(), f"forgetful {verify}"))
    plan = plan_layers(layers(), "a", WriteOptions(codec="none", levels=1))
    executor = Threads(10**8)
    with pytest.raises(VerificationError, match="differs"):
        save(plan, target, SaveMode(verify=verify), executor, Running(verify=verify))
    executor.close()
    assert opened(target) is None


def test_nothing_is_visible_until_the_end(target):
    broken_off(target)
    assert opened(target) is None
    assert target.occupied() is None
    assert target.unfinished()


def test_a_save_that_broke_off_is_neither_resumed_nor_removed_unasked(target):
    broken_off(target)
    with pytest.raises(UnfinishedWriteError):
        saved(target)
    assert target.unfinished()


def test_resuming_writes_only_what_is_missing(target):
    broken_off(target, after=4)
    done = []
    saved(target, progress=done.append, unfinished="resume", verify="all")
    # Between two blocks it may be told how many objects of them are stored.
    assert {each.done for each in done} - {4} == set(range(5, done[0].total + 1))
    np.testing.assert_array_equal(opened(target), IMAGE)


def test_removing_begins_anew(target):
    broken_off(target, image=IMAGE + np.uint16(1))
    done = []
    saved(target, progress=done.append, unfinished="remove")
    assert done[0].done <= 1
    np.testing.assert_array_equal(opened(target), IMAGE)


def test_discarding_leaves_nothing(target):
    broken_off(target)
    target.discard()
    assert not target.unfinished()
    assert not target.journal.exists()
    saved(target)
    np.testing.assert_array_equal(opened(target), IMAGE)


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_root_that_arrives_after_the_removal_goes_too(is_ours, tmp_path, monkeypatch):
    """It was sent by a commit that was given up; somebody else's is left alone."""
    target = TARGETS["store"](tmp_path)
    broken_off(target)
    hierarchy = target.staged
    ours, theirs = (json.dumps({"zarr_format": 3, "n": n}).encode() for n in (1, 2))
    sent = {"key": "zarr.json", "digest": digest(ours)}
    target.journal.with_suffix(".committing").write_text(json.dumps(sent))
    late = ours if is_ours else theirs
    monkeypatch.setattr(
        "napari_omezarr.writing.commit.sleep",
        lambda _: hierarchy.put("zarr.json", late),
    )
    target.discard()
    assert hierarchy.holds("") != is_ours
    assert not target.journal.with_suffix(".committing").exists()


def test_resuming_with_other_pixels_is_noticed(target):
    broken_off(target)
    with pytest.raises(ConflictError, match="changed"):
        saved(target, IMAGE + np.uint16(1), unfinished="resume")


def test_resuming_with_other_options_is_refused(target):
    broken_off(target)
    plan = plan_layers(layers(), "cells", WriteOptions(chunks=(2, 60, 60)))
    executor = Threads(10**8)
    with pytest.raises(UnfinishedWriteError, match="other options"):
        save(plan, target, SaveMode(unfinished="resume"), executor)
    executor.close()


def test_a_line_of_the_journal_that_was_cut_off_does_not_count(target):
    broken_off(target)
    text = target.journal.read_text()
    target.journal.write_text(text + '{"block": [0, 0, 5], "che')
    saved(target, unfinished="resume", verify="all")
    np.testing.assert_array_equal(opened(target), IMAGE)


def test_an_existing_image_is_refused_and_left_alone(target):
    saved(target)
    with pytest.raises(TargetExistsError, match="exists already"):
        saved(target, IMAGE + np.uint16(1))
    np.testing.assert_array_equal(opened(target), IMAGE)


def test_an_existing_image_is_replaced_if_that_is_asked_for(target):
    saved(target)
    other = IMAGE + np.uint16(1)
    saved(target, other, existing="replace")
    np.testing.assert_array_equal(opened(target), other)


def test_an_image_that_appears_meanwhile_is_left_alone(target):
    other = IMAGE + np.uint16(1)

    def appear(progress):
        if progress.done == progress.total:
            rival = type(target).__new__(type(target))
            rival.__dict__.update(target.__dict__)
            write_rival(rival, other)

    with pytest.raises(TargetExistsError, match="appeared"):
        saved(target, progress=appear)
    assert target.unfinished()


def write_rival(target, image):
    if isinstance(target, ArchiveTarget):
        write_image(image, target.path.with_name("rival.ozx"), "zyx")
        target.path.with_name("rival.ozx").rename(target.path)
    elif isinstance(target, LocalTarget):
        write_image(image, target.path.with_name("rival.zarr"), "zyx")
        target.path.with_name("rival.zarr").rename(target.path)
    else:
        target.staged.put("zarr.json", b'{"zarr_format": 3, "node_type": "group"}')


def test_equal_plans_give_equal_objects_whether_or_not_they_broke_off(tmp_path):
    whole = LocalTarget(tmp_path / "whole.zarr")
    saved(whole)
    resumed = LocalTarget(tmp_path / "resumed.zarr")
    for after in (2, 5, 7):
        cancel = threading.Event()
        with pytest.raises(WriteCancelledError):
            saved(
                resumed,
                unfinished="resume",
                cancel=cancel,
                progress=lambda p, n=after, c=cancel: p.done >= n and c.set(),
            )
    saved(resumed, unfinished="resume")
    assert contents(whole.path) == contents(resumed.path)


def test_a_folder_that_is_no_zarr_is_never_replaced(tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.txt").write_text("years of work")
    with pytest.raises(TargetExistsError, match="no OME-Zarr"):
        write_image(IMAGE, folder, "zyx", existing="replace")
    assert (folder / "chapter.txt").exists()


def test_saving_beside_finds_the_next_free_name(tmp_path):
    for _ in range(3):
        write_image(IMAGE, tmp_path / "a.ome.zarr", "zyx", existing="beside")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a-2.ome.zarr", "a-3.ome.zarr", "a.ome.zarr"]
    assert beside(Location.parse("s3://b/x.ozx"), 2).name == "x-2.ozx"


def test_a_source_is_never_written_over(tmp_path):
    place = tmp_path / "a.ome.zarr"
    write_image(IMAGE, place, "zyx")
    for target in (place, tmp_path, place / "labels" / "new.zarr"):
        with pytest.raises(TargetInUseError):
            write_layers(read_layers(place), target, existing="replace")
    array = zarr.open_array(str(place / "0"), mode="r")
    with pytest.raises(TargetInUseError):
        write_image(array, place, "zyx", existing="replace")
    other = tmp_path / "b.ome.zarr"
    with pytest.raises(TargetInUseError):
        write_layers(layers(), other, in_use=[str(other)])
    link = tmp_path / "link.ome.zarr"
    link.symlink_to(place, target_is_directory=True)
    with pytest.raises(TargetInUseError):
        write_layers(read_layers(place), link, existing="replace")
    np.testing.assert_array_equal(read_layers(place)[0][0], IMAGE)


@pytest.mark.parametrize(
    ("target", "read"),
    [
        ("s3://b/a.zarr", "s3://b/a.zarr/0"),
        ("s3://b/a.zarr", "https://b.s3.eu-west-1.amazonaws.com/a.zarr/0"),
        ("s3+https://host:9000/b/a.zarr", "https://host:9000/b/a.zarr/0"),
        ("s3://b/a.zarr/labels/new", "s3://b/a.zarr"),
        ("memory://b/a.zarr", "memory://b/a.zarr/0"),
    ],
)
def test_what_is_read_is_known_in_whatever_way_it_is_named(target, read):
    with pytest.raises(TargetInUseError):
        check_not_open(target, [read])
    check_not_open(target, [read.replace("a.zarr", "ab.zarr")])


def test_the_endpoint_of_the_environment_counts(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://host:9000")
    with pytest.raises(TargetInUseError):
        check_not_open("s3://b/a.zarr", ["https://host:9000/b/a.zarr/0"])


def test_an_archive_has_the_root_first_and_nothing_compressed(tmp_path):
    write_image(IMAGE, tmp_path / "a.ozx", "zyx", labels={"x": IMAGE.astype(int)})
    with zipfile.ZipFile(tmp_path / "a.ozx") as archive:
        names = archive.namelist()
        assert names[0] == "zarr.json"
        documents = [name for name in names if name.endswith("zarr.json")]
        assert names[: len(documents)] == documents
        depths = [name.count("/") for name in documents]
        assert depths == sorted(depths)
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(archive.comment) == {"ome": {"version": "0.5"}}
    assert [path.name for path in tmp_path.iterdir()] == ["a.ozx"]
    np.testing.assert_array_equal(read_layers(tmp_path / "a.ozx")[0][0], IMAGE)


def test_equal_images_give_equal_archives(tmp_path):
    for name in ("a.ozx", "b.ozx"):
        write_image(IMAGE, tmp_path / name, "zyx", name="same")
    assert (tmp_path / "a.ozx").read_bytes() == (tmp_path / "b.ozx").read_bytes()


def test_a_source_that_fails_leaves_what_is_done_to_be_resumed(tmp_path):
    class Failing:
        shape, dtype = IMAGE.shape, IMAGE.dtype
        broken = True

        def __getitem__(self, key):
            if self.broken and key[0].start >= 3:
                raise DiskFullError("no more")
            return IMAGE[key]

    source = Failing()
    target = LocalTarget(tmp_path / "a.zarr")
    with pytest.raises(DiskFullError):
        saved(target, source)
    source.broken = False
    saved(target, source, unfinished="resume")
    np.testing.assert_array_equal(opened(target), IMAGE)


def test_what_was_being_written_when_a_save_was_killed_is_in_nobodys_way(tmp_path):
    partial = tmp_path / "a.zarr.partial"
    (partial / "data").mkdir(parents=True)
    (partial / ".26b5739f9b57483a-5c1d-21.partial").touch()  # of the journal
    target = LocalTarget(tmp_path / "a.zarr")
    saved(target, IMAGE)
    np.testing.assert_array_equal(opened(target), IMAGE)
    assert not partial.exists()


def test_a_folder_that_only_looks_like_an_unfinished_save_is_left_alone(tmp_path):
    (tmp_path / "a.zarr.partial").mkdir()
    (tmp_path / "a.zarr.partial" / "notes.txt").write_text("mine")
    with pytest.raises(TargetExistsError, match="in the way"):
        write_image(IMAGE, tmp_path / "a.zarr", "zyx")
    assert (tmp_path / "a.zarr.partial" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("value", [0.0, -0.0, np.nan, np.inf])
def test_chunks_of_one_value_are_verified_like_others(value, version, tmp_path):
    image = np.full((40, 50), value, np.float32)
    write_image(image, tmp_path / "a.zarr", "yx", version=version, verify="all")
    found = np.asarray(read_layers(tmp_path / "a.zarr")[0][0])
    np.testing.assert_array_equal(found, image)


class Gated:
    """A hierarchy's chunks, of which all but some wait for a gate."""

    def __init__(self, folder, free):
        self.folder, self.free, self.gate = folder, free, threading.Event()
        self.put = folder.begin_put

    def begin_put(self, key, body):
        self.free -= "/c/" in key
        if self.free >= 0:
            return self.put(key, body)
        stored = Future()

        def later():
            assert self.gate.wait(60)
            self.put(key, body)
            stored.set_result(None)

        threading.Thread(target=later, daemon=True).start()
        return stored


def test_how_far_a_save_is_is_told_by_objects_and_not_only_by_blocks(tmp_path):
    """A block can be a shard of a gigabyte, or all of a small image."""
    target = LocalTarget(tmp_path / "a.zarr")
    staged = target.staged
    gated = Gated(staged, 3)
    staged.begin_put = gated.begin_put
    pixels = np.arange(1, 1 + 8 * 64 * 64, dtype=np.uint16).reshape(8, 64, 64)
    plan = plan_layers([(pixels, {}, "image")], "a", WriteOptions(chunks=(1, 64, 64)))
    told = []

    def tell(progress):
        told.append(progress)
        gated.gate.set()

    executor = Threads(plan.options.memory, 1)
    with Journal(tmp_path / "journal", plan.digest) as journal:
        run_plan(plan, staged, journal, executor, Running(tell))
    executor.close()
    assert (told[0].done, told[0].total) == (0, 1)
    assert 0 < told[0].read_bytes < told[0].total_bytes == pixels.nbytes
    counts = [progress.read_bytes for progress in told]
    assert counts == sorted(counts)
    assert (told[-1].done, told[-1].read_bytes) == (1, pixels.nbytes)


@pytest.mark.skipif(sys.platform == "win32", reason="has neither of them")
@pytest.mark.parametrize("make", [lambda file: file.symlink_to(file), os.mkfifo])
def test_what_is_there_and_no_file_is_not_absent_to_who_edits(tmp_path, make):
    there = FolderHierarchy(tmp_path, "here")
    make(tmp_path / "odd")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        there.read("odd")
    assert there.read("folder") is there.read("none") is there.read("file/x") is None
    assert there.read("file").body == b""
