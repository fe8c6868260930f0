"""What was written is read back while more is being written, within a bound."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from napari_omezarr.errors import DamagedDataError, VerificationError
from napari_omezarr.location import ARRAY_DOCUMENT
from napari_omezarr.pyramid import slices
from napari_omezarr.writing import SaveMode, WriteOptions
from napari_omezarr.writing.commit import InPlaceTarget
from napari_omezarr.writing.engine import Running, StoredArray, Threads
from napari_omezarr.writing.hierarchy import FolderHierarchy, StoreHierarchy
from napari_omezarr.writing.plan import plan_layers
from napari_omezarr.writing.save import readers, save

MANY = np.arange(1, 1 + 320 * 64, dtype=np.uint16).reshape(320, 64)
TINY = WriteOptions(chunks=(1, 64), memory=1, levels=1, codec="none")
"""A block is one chunk: there are more than may wait to be read back."""


class Recorded(StoreHierarchy):
    """Keeps the order of what is done to chunks."""

    def __init__(self, name):
        super().__init__(RecordedStore(), name)
        self.puts = self.store.inner.order

    def begin_put(self, key, body):
        self.puts.append(("put", key))
        return super().begin_put(key, body)


class RecordedStore(MemoryStore):
    """Keeps the order of what is read."""

    def __init__(self):
        super().__init__()
        self.order = []

    async def get(self, key, *arguments, **options):
        self.order.append(("get", key))
        return await super().get(key, *arguments, **options)


class Forgetful(Recorded):
    """Stores the first chunk otherwise than it was told to."""

    def begin_put(self, key, body):
        return super().begin_put(key, bytes(len(body)) if "c/0/0" in key else body)


class Truncating(Recorded):
    """Stores half of the first chunk."""

    def begin_put(self, key, body):
        half = body[: len(body) // 2] if "c/0/0" in key else body
        return super().begin_put(key, half)


def saved(hierarchy, options=TINY):
    layer = (MANY, {"name": "rows", "axis_labels": ("y", "x")}, "image")
    plan = plan_layers([layer], "rows", options)
    executor = Threads(options.memory, 1)
    try:
        target = InPlaceTarget(hierarchy)
        return save(plan, target, SaveMode(), executor, Running(verify="all"))
    finally:
        executor.close()


def test_reading_back_goes_along_with_writing():
    hierarchy = Recorded("along")
    assert saved(hierarchy).verified == 320
    chunks = [(doing, key) for doing, key in hierarchy.puts if "/c/" in key]
    assert [doing for doing, _ in chunks].count("put") == 320
    first_read = [doing for doing, _ in chunks].index("get")
    assert first_read < 320 - 1
    stored = {key for doing, key in chunks[:first_read] if doing == "put"}
    assert chunks[first_read][1] in stored


def test_a_difference_ends_the_writing_of_more():
    hierarchy = Forgetful("forgetful")
    with pytest.raises(VerificationError, match="differs"):
        saved(hierarchy)
    assert sum(doing == "put" for doing, _ in hierarchy.puts) < 320
    documents = {key for doing, key in hierarchy.puts if key.endswith("zarr.json")}
    assert not any(("put", key) in hierarchy.puts for key in documents)


@pytest.mark.parametrize(
    ("chunk", "verify", "expected"),
    [(64, "sample", 8), (1024, "sample", 6), (2048, "sample", 1), (64, "all", 1)],
)
def test_what_is_read_back_at_a_time_is_bounded(chunk, verify, expected):
    image = np.broadcast_to(np.uint16(1), (64, 2048, 2048))
    layer = (image, {"axis_labels": ("z", "y", "x")}, "image")
    plan = plan_layers([layer], "a", WriteOptions(chunks=(1, chunk, chunk), levels=1))
    assert readers(plan, verify) == expected


@pytest.mark.parametrize("codec", ["none", "zstd", "blosc-lz4", "gzip"])
def test_damage_is_a_difference(codec):
    hierarchy = Truncating(codec)
    with pytest.raises(VerificationError, match="differs") as raised:
        saved(hierarchy, replace(TINY, codec=codec))
    assert isinstance(raised.value.__cause__, DamagedDataError)
    assert hierarchy.read("zarr.json") is None


BOXES = {
    "a chunk": ((0, 4), (0, 4)),
    "within a chunk": ((1, 3), (2, 4)),
    "the last one, cut": ((8, 10), (4, 6)),
    "several chunks": ((2, 9), (1, 6)),
    "one that is not stored": ((4, 8), (4, 6)),
}


@pytest.mark.parametrize(("zarr_format", "shards"), [(2, None), (3, None), (3, (8, 8))])
def test_any_box_of_a_folder_is_read_as_zarr_reads_it(tmp_path, zarr_format, shards):
    pixels = np.arange(1, 61, dtype="u2").reshape(10, 6)
    pixels[4:8, 4:6] = 0
    store = tmp_path / "a.zarr"
    zarr.create_array(
        store, name="0", data=pixels, chunks=(4, 4), shards=shards, fill_value=0,
        zarr_format=zarr_format, config={"write_empty_chunks": False},
    )  # fmt: skip
    document = (store / "0" / ARRAY_DOCUMENT[zarr_format]).read_bytes()
    array = StoredArray(FolderHierarchy(store, "here"), "0", json.loads(document))
    for name, box in BOXES.items():
        found = array.read(box)
        assert np.array_equal(found, pixels[slices(box)]), name
        found[...] = 7  # it is memory of its own
    first = next(f for f in sorted(store.rglob("*0")) if f.is_file())
    first.write_bytes(first.read_bytes()[:9])
    for name in ("a chunk", "several chunks"):
        with pytest.raises(DamagedDataError):
            array.read(BOXES[name])
