"""Images in zarr stores, groups and arrays that a script hands over."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import ClassVar

import fsspec
import numpy as np
import pytest
import zarr
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from zarr.storage import FsspecStore, LocalStore, MemoryStore, WrapperStore, ZipStore

from napari_omezarr import (
    Location,
    add_labels,
    patch,
    plan_write,
    read,
    read_layers,
    update_rendering,
    write_image,
    write_layers,
)
from napari_omezarr.errors import (
    AccessDeniedError,
    NodeNotFoundError,
    OptionError,
    StoreError,
    TargetExistsError,
    TargetInUseError,
)
from napari_omezarr.store import open_store
from napari_omezarr.store.foreign import location_of

IMAGE = np.random.default_rng(3).integers(0, 999, (2, 6, 60, 80)).astype("u2")


@pytest.fixture(params=["memory", "local", "fsspec", "wrapped"])
def store(request, tmp_path):
    """An empty store of each kind that a script may have."""
    if request.param == "local":
        return LocalStore(tmp_path / "local.zarr")
    if request.param == "fsspec":
        filesystem = fsspec.filesystem("memory", skip_instance_cache=True)
        filesystem.store.clear()
        wrapped = AsyncFileSystemWrapper(filesystem, asynchronous=True)
        return FsspecStore(wrapped, path="/image.zarr")
    return WrapperStore(MemoryStore()) if request.param == "wrapped" else MemoryStore()


def check(layers):
    for channel, (data, _, _) in enumerate(layers):
        found = data[0] if isinstance(data, (list, tuple)) else data
        np.testing.assert_array_equal(np.asarray(found), IMAGE[channel])


def test_what_is_written_to_a_store_is_read_from_it(store):
    assert plan_write([(IMAGE, {}, "image")], store).images
    write_image(IMAGE, store, axes="czyx")
    check(read_layers(store))
    assert len(read(store).pyramids) == 1
    with pytest.raises(TargetExistsError):
        write_image(IMAGE, store, axes="czyx")


def test_shards_are_read_by_their_parts(store):
    write_image(IMAGE, store, axes="czyx", chunks=(1, 2, 20, 20), shards=(1, 6, 60, 80))
    ((data, _, _), _) = read_layers(store)
    np.testing.assert_array_equal(np.asarray(data[2, 20:40]), IMAGE[0, 2, 20:40])


def test_a_group_is_the_place_in_its_store(store):
    root = zarr.create_group(store)
    group = root.create_group("deep/image")
    write_image(IMAGE, group, axes="czyx")
    check(read_layers(group))
    check(read_layers(zarr.open_group(store, path="deep/image", mode="r")))
    with pytest.raises(NodeNotFoundError):
        read_layers(store)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_group_that_was_only_just_made_is_written_into(store, zarr_format):
    root = zarr.open_group(store, zarr_format=zarr_format)
    write_image(IMAGE, root, axes="czyx")
    check(read_layers(root))


@pytest.mark.parametrize("holds", ["attributes", "an array", "a group"])
def test_a_group_that_holds_anything_is_left(store, holds):
    root = zarr.open_group(store)
    if holds == "attributes":
        root.attrs["mine"] = 1
    elif holds == "an array":
        root.create_array("mine", shape=(2,), dtype="u1")
    else:
        root.create_group("mine")
    with pytest.raises(TargetExistsError, match="exists already"):
        write_image(IMAGE, root, axes="czyx")
    assert root.attrs.asdict() == ({"mine": 1} if holds == "attributes" else {})
    assert list(root.keys()) == ([] if holds == "attributes" else ["mine"])


def test_an_array_opens_the_image_that_it_is_a_level_of(store):
    write_image(IMAGE, store, axes="czyx")
    check(read_layers(zarr.open_group(store, mode="r")["0"]))
    reading = read(zarr.open_array(store, path="0", mode="r"))
    assert any("level of" in note for note in reading.notes)


def test_asynchronous_nodes_are_places_too(store):
    write_image(IMAGE, store, axes="czyx")

    async def nodes():
        group = await zarr.AsyncGroup.open(store)
        return group, await group.getitem("0")

    # Stores stay usable on zarr's loop, on which ours are read and written.
    from napari_omezarr.store.foreign import zarr_loop

    for node in asyncio.run_coroutine_threadsafe(nodes(), zarr_loop()).result(60):
        check(read_layers(node))


def test_a_plain_array_is_one_layer(store):
    array = zarr.create_array(store, data=IMAGE[0], chunks=(2, 30, 40))
    ((data, options, _),) = read_layers(array)
    np.testing.assert_array_equal(np.asarray(data), IMAGE[0])
    assert options["name"]


def test_layers_of_a_store_are_saved_and_changed(store):
    write_image(IMAGE, store, axes="czyx")
    layers = read_layers(store)
    copy = MemoryStore()
    write_layers(layers, copy)
    check(read_layers(copy))
    cells = (np.ones((6, 60, 80), "u1"), {"name": "cells"}, "labels")
    add_labels(cells, copy)
    assert [kind for _, _, kind in read_layers(copy)] == ["image", "image", "labels"]
    copied = read_layers(copy)[:2]
    copied[0][1]["name"] = "DAPI"
    update_rendering(copied, zarr.open_group(copy))
    assert read_layers(copy)[0][1]["name"] == "DAPI"
    patch(copy, (0, 0, 0, 0), np.full((1, 1, 2, 2), 7, "u2"))
    found = read_layers(copy)[0][0]
    found = found[0] if isinstance(found, (list, tuple)) else found
    assert np.asarray(found[0, :2, :2]).tolist() == [[7, 7], [7, 7]]


def test_what_is_being_read_is_not_written_over(store):
    write_image(IMAGE, store, axes="czyx")
    with pytest.raises(TargetInUseError):
        write_layers(read_layers(store), store, existing="replace")


def test_nothing_is_saved_to_an_array(store):
    array = zarr.create_array(store, data=IMAGE[0])
    with pytest.raises(OptionError, match="array"):
        write_image(IMAGE, array, axes="czyx")


def test_an_empty_store_holds_no_image(store):
    with pytest.raises(NodeNotFoundError):
        read_layers(store)


def test_a_local_store_is_its_folder(tmp_path):
    write_image(IMAGE, tmp_path / "a.zarr", axes="czyx")
    reading = read(LocalStore(tmp_path / "a.zarr"))
    assert reading.location == Location.parse(tmp_path / "a.zarr")
    assert read(open_store(reading.location)).location == reading.location


def test_a_zip_store_is_read_and_left_open(tmp_path):
    write_image(IMAGE, tmp_path / "a.ozx", axes="czyx")
    with ZipStore(tmp_path / "a.ozx", mode="r") as store:
        check(read_layers(store))
        assert zarr.open_group(store, mode="r").attrs


def test_two_stores_of_one_kind_are_two_places():
    one, two = MemoryStore(), MemoryStore()
    write_image(IMAGE, one, axes="czyx")
    write_image(IMAGE[::-1], two, axes="czyx")
    first, second = read_layers(one), read_layers(two)
    check(first)
    check(second[::-1])
    assert first[0][1]["metadata"] != second[0][1]["metadata"]


def test_layers_are_read_in_another_process(tmp_path):
    store = WrapperStore(LocalStore(tmp_path / "a.zarr"))
    write_image(IMAGE, store, axes="czyx")
    remote = pickle.loads(pickle.dumps(open_store(read(store).location)))
    assert remote.fetch(["zarr.json"])["zarr.json"]


def test_a_store_that_is_gone_is_said():
    with pytest.raises(NodeNotFoundError, match="gone"):
        read(Location("store", "MemoryStore-0", ""))


def test_no_store_takes_the_place_of_one_that_is_gone():
    places = set()
    for _ in range(50):  # the memory of the last one is mostly taken again
        store = MemoryStore()
        places.add(location_of(store))
        assert location_of(store) in places
        del store
    assert len(places) == 50


class Recorded(MemoryStore):
    """A store that notes on which threads it is asked, and fails as it is told to."""

    error: Exception | None = None
    threads: ClassVar[set[str]] = set()

    async def get(self, key, prototype, byte_range=None):
        self.threads.add(threading.current_thread().name)
        if self.error is not None and "/c/" in f"/{key}":
            raise self.error
        return await super().get(key, prototype, byte_range)

    async def set(self, key, value, byte_range=None):
        self.threads.add(threading.current_thread().name)
        await super().set(key, value)


@pytest.fixture
def recorded():
    Recorded.threads.clear()
    return Recorded()


def test_a_store_is_used_on_one_event_loop_that_of_zarr(recorded):
    zarr.create_group(recorded)
    zarr.open_group(recorded, mode="r")
    (zarrs,) = recorded.threads
    write_image(IMAGE, recorded, axes="czyx", existing="replace")
    check(read_layers(recorded))
    assert recorded.threads == {zarrs}


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (RuntimeError("token=s3cr3t"), StoreError),
        (PermissionError("s3cr3t"), AccessDeniedError),
        (KeyError("s3cr3t"), StoreError),
        (FileNotFoundError("s3cr3t"), StoreError),
    ],
    ids=repr,
)
def test_a_store_that_fails_is_an_error_of_ours_and_never_pixels(recorded, error, ours):
    write_image(IMAGE, recorded, axes="czyx")
    ((data, _, _), _) = read_layers(recorded)
    recorded.error = error
    with pytest.raises(ours) as raised:
        np.asarray(data)
    assert "s3cr3t" not in f"{raised.value}{raised.value.__cause__}"


def test_a_missing_chunk_is_the_fill_value(recorded):
    write_image(IMAGE, recorded, axes="czyx", levels=1, chunks=(1, 6, 30, 40))
    del recorded._store_dict["0/c/0/0/0/0"]
    ((data, _, _), _) = read_layers(recorded)
    expected = IMAGE[0].copy()
    expected[:, :30, :40] = 0
    np.testing.assert_array_equal(np.asarray(data), expected)


class Whole(MemoryStore):
    """A store that gives the whole value for any range."""

    async def get(self, key, prototype, byte_range=None):
        return await super().get(key, prototype)


def test_a_store_without_ranges_gives_the_right_parts():
    store = Whole()
    write_image(IMAGE, store, axes="czyx", chunks=(1, 2, 20, 20), shards=(1, 6, 60, 80))
    ((data, _, _), _) = read_layers(store)
    np.testing.assert_array_equal(np.asarray(data[2, 20:40]), IMAGE[0, 2, 20:40])


def test_a_read_only_store_is_not_written(tmp_path):
    store = MemoryStore().with_read_only(True)
    with pytest.raises(StoreError, match="read only"):
        write_image(IMAGE, store, axes="czyx")


# icechunk.


@pytest.fixture
def repository():
    icechunk = pytest.importorskip("icechunk", reason="icechunk: test-filesystems")
    return icechunk.Repository.create(icechunk.in_memory_storage())


def test_a_session_of_icechunk_is_written_and_its_owner_commits(repository):
    session = repository.writable_session("main")
    write_image(IMAGE, session.store, axes="czyx")
    check(read_layers(session.store))
    assert session.has_uncommitted_changes
    with pytest.raises(NodeNotFoundError):
        read_layers(repository.readonly_session("main").store)
    session.commit("an image")
    check(read_layers(repository.readonly_session("main").store))


def test_a_read_only_session_of_icechunk_is_not_written(repository):
    session = repository.readonly_session("main")
    with pytest.raises(StoreError, match="read only"):
        write_image(IMAGE, session.store, axes="czyx")
