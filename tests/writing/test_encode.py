"""Objects encoded in one step, which zarr reads; zarr writes what does not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from napari_omezarr.errors import DiskFullError
from napari_omezarr.pyramid import is_whole, nth_box, sample_number, split_box
from napari_omezarr.writing.encode import (
    Compression,
    ZarrDocument,
    array_document,
    compression,
    encoding_of,
)
from napari_omezarr.writing.engine import StoredArray
from napari_omezarr.writing.hierarchy import DONE, StoreHierarchy

RNG = np.random.default_rng(3)
LEVELS = {"zstd": 3, "blosc-zstd": 1, "blosc-lz4": 5, "gzip": 5, "none": 0}


def array_of(shape, chunks, shards, dtype, *, codec="zstd", version="0.5"):
    store = MemoryStore()
    document = array_document(
        version=version,
        shape=shape,
        chunks=chunks,
        shards=shards,
        dtype=np.dtype(dtype),
        codec=Compression(codec, LEVELS[codec]),
        names=[f"axis{n}" for n in range(len(shape))],
    )
    return StoredArray(StoreHierarchy(store, "here"), "0", document)


def whole(shape):
    return tuple((0, size) for size in shape)


@st.composite
def arrays(draw):
    ndim = draw(st.integers(1, 4))
    sizes = st.integers(1, 9)
    shape = tuple(draw(st.lists(sizes, min_size=ndim, max_size=ndim)))
    chunks = tuple(draw(st.integers(1, size)) for size in shape)
    version = draw(st.sampled_from(["0.4", "0.5"]))
    counts = st.lists(st.integers(1, 3), min_size=ndim, max_size=ndim)
    shards = None
    if version == "0.5" and draw(st.booleans()):
        shards = tuple(c * n for c, n in zip(chunks, draw(counts), strict=True))
    dtype = draw(st.sampled_from(["u1", "i2", "u4", "i8", "f4", "f8", "?"]))
    codec = draw(st.sampled_from(list(LEVELS)))
    return array_of(shape, chunks, shards, dtype, codec=codec, version=version)


@settings(max_examples=60, deadline=None)
@given(arrays(), st.integers(0, 3))
def test_zarr_reads_what_was_encoded_in_one_step(array, most):
    assert encoding_of(array.document) is not None
    values = RNG.integers(0, most + 1, array.shape).astype(array.dtype)
    array.write(whole(array.shape), values)
    np.testing.assert_array_equal(array.read(whole(array.shape)), values)
    stored = len(array.hierarchy.sizes("0"))
    filled = sum(
        values[tuple(slice(*along) for along in box)].any()
        for box in split_box(whole(array.shape), array.chunks)
    )
    assert stored == filled


def test_negative_zero_and_nan_are_kept():
    array = array_of((4,), (2,), None, "f4")
    values = np.array([-0.0, 0.0, np.nan, 1], np.float32)
    array.write(((0, 4),), values)
    assert array.read(((0, 4),)).tobytes() == values.tobytes()


@pytest.mark.parametrize("fresh", [True, False])
def test_what_becomes_empty_is_deleted_unless_nothing_was_there(fresh):
    array = array_of((4,), (2,), None, "u2")
    array.write(((0, 4),), np.ones(4, np.uint16))
    again = StoredArray(array.hierarchy, array.path, array.document, fresh)
    again.write(((0, 4),), np.array([0, 0, 1, 1], np.uint16))
    assert (array.hierarchy.read("0/c/0") is not None) == fresh


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("bounds", [((1, 4), (0, 4)), ((0, 4), (2, 3))])
def test_a_part_of_an_object_leaves_the_rest(bounds, version):
    array = array_of((5, 4), (2, 2), None, "u2", version=version)
    before = RNG.integers(1, 9, (5, 4)).astype(np.uint16)
    array.write(whole((5, 4)), before)
    box = tuple(slice(*along) for along in bounds)
    before[box] = 77
    array.write(bounds, before[box])
    np.testing.assert_array_equal(array.read(whole((5, 4))), before)


OTHERS = {
    "fill value": {"fill_value": 7},
    "filters": {"filters": [{"id": "delta", "dtype": "<u2"}]},
    "order": {"order": "F"},
    "codec": {"compressor": {"id": "bz2", "level": 1}},
    "no codec": {"compressor": None},
    "big": {"dtype": ">u2"},
    "dots": {"dimension_separator": "."},
}
OTHERS_V3 = {
    "fill value": {"fill_value": 7},
    "keys": {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}}},
    "transpose": {
        "codecs": [
            {"name": "transpose", "configuration": {"order": [1, 0]}},
            {"name": "bytes", "configuration": {"endian": "little"}},
        ]
    },
    "two codecs": {
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "big"}},
            {"name": "gzip", "configuration": {"level": 1}},
            {"name": "crc32c"},
        ]
    },
    "checksum": {
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "big"}},
            {"name": "crc32c"},
        ]
    },
    "big": {"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]},
    "index at start": {
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [1, 2],
                    "codecs": [
                        {"name": "bytes", "configuration": {"endian": "little"}}
                    ],
                    "index_codecs": [
                        {"name": "bytes", "configuration": {"endian": "little"}},
                        {"name": "crc32c"},
                    ],
                    "index_location": "start",
                },
            }
        ]
    },
}
KNOWN = {"no codec", "big", "dots"}


@pytest.mark.parametrize(
    ("version", "name"),
    [*(("0.4", name) for name in OTHERS), *(("0.5", name) for name in OTHERS_V3)],
)
@pytest.mark.filterwarnings("ignore")
def test_arrays_of_others_are_written_as_they_are(version, name):
    usual = array_of((5, 4), (2, 2), None, "u2", version=version)
    changed = (OTHERS if version == "0.4" else OTHERS_V3)[name]
    array = StoredArray(usual.hierarchy, "0", {**usual.document, **changed})
    assert (encoding_of(array.document) is not None) == (name in KNOWN)
    values = RNG.integers(0, 9, (5, 4)).astype(np.uint16)
    array.write(whole((5, 4)), values)
    np.testing.assert_array_equal(array.read(whole((5, 4))), values)


def test_equal_pixels_give_equal_bytes_whatever_the_time():
    values = RNG.integers(0, 9, (4, 4)).astype(np.uint16)
    for codec in LEVELS:
        encoding = encoding_of(
            array_of((4, 4), (4, 4), None, "u2", codec=codec).document
        )
        assert encoding.encode(values) == encoding.encode(values.copy())
        if codec == "gzip":
            assert encoding.encode(values)[4:8] == bytes(4)


def test_the_first_failure_is_raised_once_all_has_ended():
    class Full(StoreHierarchy):
        def begin_put(self, key, body):
            if key.endswith("1"):
                raise DiskFullError("no room")
            started.append(key)
            return DONE

    started = []
    usual = array_of((6,), (2,), None, "u2")
    array = StoredArray(Full(MemoryStore(), "here"), "0", usual.document)
    with pytest.raises(DiskFullError):
        array.write(((0, 6),), np.ones(6, np.uint16))
    assert started == ["0/c/0"]


def test_the_sample_of_a_block_is_one_of_its_objects():
    bounds, unit = ((4, 10), (0, 5)), (4, 2)
    boxes = list(split_box(bounds, unit))
    assert [nth_box(bounds, unit, n) for n in range(len(boxes))] == boxes
    assert sample_number(bounds, unit) in range(len(boxes))
    assert is_whole(bounds, unit, (10, 5))
    assert not is_whole(bounds, unit, (11, 5))
    assert not is_whole(((3, 8), (0, 4)), unit, (10, 5))


@pytest.mark.parametrize(
    ("dtype", "version", "level", "codec"),
    [
        ("u2", "0.5", None, Compression("blosc-zstd", 1)),
        ("i4", "0.6", 9, Compression("blosc-zstd", 9)),
        ("u2", "0.5", 19, Compression("zstd", 19)),
        ("u1", "0.5", None, Compression("zstd", 3)),
        ("f4", "0.5", None, Compression("zstd", 3)),
        ("f4", "0.4", None, Compression("blosc-zstd", 1)),
        ("f4", "0.4", -3, Compression("zstd", -3)),
    ],
)
def test_bytes_are_shuffled_where_that_makes_less(dtype, version, level, codec):
    assert compression("auto", level, version, np.dtype(dtype)) == codec


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(content=st.dictionaries(st.text(max_size=5), JSON, max_size=4))
@settings(max_examples=60)
def test_documents_are_laid_out_as_by_json(content):
    told = json.dumps(content, indent=2, ensure_ascii=False)
    body = ZarrDocument(".zattrs", content).body
    assert body == told.encode(errors="replace")


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_no_document_holds_what_is_no_json(value):
    with pytest.raises(ValueError, match="JSON"):
        ZarrDocument(".zattrs", {"a": [value]}).body  # noqa: B018
