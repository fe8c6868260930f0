"""Each chunk of a source is read once, whatever the chunks that are written."""

from __future__ import annotations

import collections
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
import dask.array as da
import numpy as np
import pytest
from dask.highlevelgraph import HighLevelGraph
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.errors import DiskFullError, SourceError, WriteCancelledError
from napari_omezarr.layers import read_layers
from napari_omezarr.reading import read
from napari_omezarr.writing import plan_write, write_image, write_layers
from napari_omezarr.writing.source import ReadOnce, as_source

SHAPE = (40, 90, 110)
PIXELS = np.random.default_rng(0).integers(0, 9999, SHAPE).astype("uint16")
SMALL = {"memory": 400_000}
"""So little that no block can be whole chunks of the source."""


def counted(chunks):
    """A dask array whose chunks count how often they are computed."""
    seen = collections.Counter()

    def chunk(block_info=None):
        place = tuple(block_info[None]["array-location"])
        seen[place] += 1
        return PIXELS[tuple(slice(*bound) for bound in place)]

    array = da.map_blocks(
        chunk, chunks=da.core.normalize_chunks(chunks, SHAPE), dtype="uint16"
    )
    return array, seen


@pytest.mark.parametrize(
    ("chunks", "stored"),
    [
        ((1, 90, 110), (32, 32, 32)),  # planes into volumes
        ((32, 32, 32), (1, 90, 110)),  # volumes into planes
        ((10, 17, 110), (7, 64, 13)),
        (((3, 30, 7), (90,), (50, 60)), (16, 16, 16)),  # chunks of no one size
        ((40, 90, 1), (1, 32, 32)),
    ],
    ids=str,
)
def test_each_chunk_is_computed_once(chunks, stored, tmp_path):
    array, seen = counted(chunks)
    write_image(array, tmp_path / "a.ome.zarr", "zyx", chunks=stored, **SMALL)
    assert set(seen.values()) == {1}
    assert len(seen) == array.npartitions
    saved = read(tmp_path / "a.ome.zarr").pyramids[0].levels[0].pixels[...]
    np.testing.assert_array_equal(saved, PIXELS)


def test_planes_that_are_read_by_somebodys_function_are_read_once(tmp_path):
    seen = collections.Counter()

    @dask.delayed
    def plane(number):
        seen[number] += 1
        return PIXELS[number]

    planes = [da.from_delayed(plane(n), SHAPE[1:], "uint16") for n in range(SHAPE[0])]
    saved = write_image(
        da.stack(planes), tmp_path / "a.ome.zarr", "zyx", chunks=16, **SMALL
    )
    assert seen == dict.fromkeys(range(SHAPE[0]), 1)
    assert any("kept on this disk" in note for note in saved.plan.notes)


@pytest.mark.parametrize("stored", [(16, 32, 32), (1, 90, 110)])
def test_each_chunk_is_fetched_once_from_a_server(stored, tmp_path, http_server):
    source = (8, 45, 110) if stored[0] > 1 else (16, 30, 40)
    write_image(PIXELS, tmp_path / "a.ome.zarr", "zyx", chunks=source, levels=1)
    layers = read_layers(f"{http_server.url}/a.ome.zarr")
    http_server.clear_log()
    write_layers(layers, tmp_path / "b.ome.zarr", chunks=stored, **SMALL)
    asked = [r.path for r in http_server.requests if "/0/c/" in r.path]
    chunks = [-(-size // by) for size, by in zip(SHAPE, source, strict=True)]
    assert len(asked) == len(set(asked)) == np.prod(chunks)
    saved = read(tmp_path / "b.ome.zarr").pyramids[0].levels[0].pixels[...]
    np.testing.assert_array_equal(saved, PIXELS)


def test_a_large_graph_is_looked_through_for_slabs_and_not_for_blocks(
    tmp_path, monkeypatch
):
    seen = []
    cull = HighLevelGraph.cull

    def counting(graph, keys):
        seen.append(len(graph.layers))
        return cull(graph, keys)

    monkeypatch.setattr(HighLevelGraph, "cull", counting)
    plane = np.arange(64, dtype="uint8").reshape(8, 8)
    planes = [
        da.from_delayed(dask.delayed(np.add)(plane, n % 50), (8, 8), "uint8")
        for n in range(320)
    ]
    stack = da.stack(planes)
    target = tmp_path / "a.ome.zarr"
    write_image(stack, target, "zyx", chunks=(1, 8, 8), memory=1)
    saved = read(target).pyramids[0].levels[0].pixels[...]
    np.testing.assert_array_equal(saved, stack.compute())
    assert sum(layers > 300 for layers in seen) <= 2 * 16 + 1


def test_a_save_that_is_resumed_gives_the_same(tmp_path):
    class Cancel:
        asked = 0

        def is_set(self):
            self.asked += 1
            return self.asked > 20

    array, _ = counted((1, 90, 110))
    target, choices = tmp_path / "a.ome.zarr", {"chunks": 16, "workers": 1, **SMALL}
    with pytest.raises(WriteCancelledError):
        write_image(array, target, "zyx", cancel=Cancel(), **choices)
    write_image(array, target, "zyx", unfinished="resume", **choices)
    saved = read(target).pyramids[0].levels[0].pixels[...]
    np.testing.assert_array_equal(saved, PIXELS)
    assert [place.name for place in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_a_chunk_that_cannot_be_read_ends_the_save(tmp_path):
    def fail(block, block_info=None):
        if block_info[0]["chunk-location"] == (7, 0, 0):
            raise OSError("gone")
        return block

    array = da.from_array(PIXELS, chunks=(1, 90, 110)).map_blocks(fail, dtype="uint16")
    with pytest.raises(SourceError, match="OSError"):
        write_image(array, tmp_path / "a.ome.zarr", "zyx", chunks=16, **SMALL)


def test_too_little_room_is_said_before_a_byte_is_written(tmp_path, monkeypatch):
    array, seen = counted((1, 90, 110))
    huge = da.concatenate([array] * 3, axis=0)
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage(1, 1, 1000))
    with pytest.raises(DiskFullError, match="other chunks"):
        write_image(huge, tmp_path / "a.ome.zarr", "zyx", chunks=16, **SMALL)
    assert not seen


def test_blocks_that_are_whole_chunks_keep_nothing():
    array, _ = counted((8, 32, 32))
    for chunks in ((8, 32, 32), (1, 16, 32), (16, 64, 64)):
        plan = plan_write([(array, {}, "image")], "a.ome.zarr", chunks=chunks)
        assert all(each.held == 0 for each in plan.images[0].passes)


@st.composite
def grids(draw):
    shape = tuple(draw(st.integers(1, 30)) for _ in range(draw(st.integers(1, 3))))
    sizes = [tuple(draw(st.integers(1, 12)) for _ in shape) for _ in range(2)]
    return shape, *sizes, draw(st.booleans())


@settings(max_examples=25, deadline=None)
@given(grids())
def test_any_blocks_of_any_chunks_are_right_and_read_once(case):
    shape, chunks, block, in_file = case
    pixels = np.arange(np.prod(shape), dtype="int32").reshape(shape)
    source = as_source(da.from_array(pixels, chunks=chunks))
    reads = collections.Counter()
    plain = source.read
    source.read = lambda box: reads.update([box]) or plain(box)
    with TemporaryDirectory() as folder:
        once = ReadOnce(source, block, (), Path(folder) if in_file else None)
        places = [range(0, size, step) for size, step in zip(shape, block, strict=True)]
        for corner in np.random.default_rng(0).permutation(
            np.stack(np.meshgrid(*places, indexing="ij"), -1).reshape(-1, len(shape))
        ):
            box = tuple(
                (int(a), min(int(a) + b, size))
                for a, b, size in zip(corner, block, shape, strict=True)
            )
            expected = pixels[tuple(slice(*bound) for bound in box)]
            np.testing.assert_array_equal(once.read(box), expected)
        once.close()
    assert set(reads.values()) == {1}
    assert sum(np.prod([b - a for a, b in box]) for box in reads) == pixels.size
