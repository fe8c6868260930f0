"""Chunks decoded past zarr's pipeline, against zarr's own reading of the same array."""

from __future__ import annotations

import asyncio
import gc
from functools import partial

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec
from zarr.storage import MemoryStore

from napari_omezarr._io_loop import bounded_gather
from napari_omezarr.errors import StoreError
from napari_omezarr.pyramid import ArrayPixels
from napari_omezarr.pyramid.pixels import decoding_of
from napari_omezarr.store import run

OLD = [
    None,
    numcodecs.Zstd(),
    numcodecs.Blosc("lz4"),
    numcodecs.GZip(),
    numcodecs.LZ4(),
]
NEW = [None, ZstdCodec(checksum=True), BloscCodec(cname="lz4"), GzipCodec()]
TYPES = ["u1", "<u2", ">u2", "i4", ">f4", "f8", "?"]


def make(store, **options):
    """An array of which the chunk at the origin is missing."""
    options = {"shape": (7, 9), "chunks": (3, 4), "dtype": "u2", **options}
    array = zarr.create_array(store, **options)
    values = np.arange(63).reshape(7, 9) % 2 if options["dtype"] == "?" else None
    array[...] = np.arange(63).reshape(7, 9) if values is None else values
    chunk = array.metadata.encode_chunk_key((0, 0))
    asyncio.run(array.store_path.store.delete(chunk))
    return array


def pixels_of(array):
    return ArrayPixels(array.async_array, "memory://a", 3)


@st.composite
def arrays(draw):
    dtype = draw(st.sampled_from(TYPES))
    options = {"dtype": dtype, "fill_value": draw(st.sampled_from([0, 1]))}
    if draw(st.booleans()):
        compressor = draw(st.sampled_from(OLD))
        options["fill_value"] = draw(st.sampled_from([None, 0, 1]))
        return make(MemoryStore(), zarr_format=2, compressors=compressor, **options)
    compressor = draw(st.sampled_from(NEW))
    return make(MemoryStore(), zarr_format=3, compressors=compressor, **options)


@given(arrays(), st.data())
@settings(max_examples=60, deadline=None)
def test_any_box_is_what_zarr_reads(array, data):
    assert decoding_of(array.async_array) is not None
    pixels = pixels_of(array)
    box = tuple(
        slice(*sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n)))))
        for n in array.shape
    )
    expected = array[box]
    found = pixels[box]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype.newbyteorder("=")


@pytest.mark.parametrize(
    "options",
    [
        {"zarr_format": 2, "order": "F"},
        {"zarr_format": 2, "filters": [numcodecs.Delta("<u2")]},
        {"zarr_format": 3, "filters": [TransposeCodec(order=(1, 0))]},
        {"zarr_format": 3, "compressors": [ZstdCodec(), Crc32cCodec()]},
        {"zarr_format": 3, "compressors": [Crc32cCodec()]},
        {"zarr_format": 3, "shards": (6, 8)},
    ],
    ids=["columns first", "delta", "transpose", "checked", "checksum", "shards"],
)
def test_what_takes_more_steps_is_left_to_zarr(options):
    array = make(MemoryStore(), **options)
    assert decoding_of(array.async_array) is None
    np.testing.assert_array_equal(pixels_of(array)[2:7, 1:9], array[2:7, 1:9])


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("compressor", [None, "zstd"])
def test_a_damaged_chunk_is_an_error_that_names_it(zarr_format, compressor):
    codec = {2: numcodecs.Zstd(), 3: ZstdCodec()}[zarr_format] if compressor else None
    contents = {}
    array = make(MemoryStore(contents), zarr_format=zarr_format, compressors=codec)
    key = array.metadata.encode_chunk_key((1, 1))
    contents[key] = type(contents[key]).from_bytes(b"not pixels at all")
    pixels = pixels_of(array)
    with pytest.raises(StoreError, match=f"memory://a/{key} is damaged"):
        pixels[...]
    np.testing.assert_array_equal(pixels[:3], array[:3])


def test_work_is_done_some_at_a_time():
    busy, most, done = 0, 0, []

    async def job(number):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0)
        busy -= 1
        done.append(number)

    run(bounded_gather((partial(job, number) for number in range(20)), 4))
    assert (sorted(done), most) == (list(range(20)), 4)


def test_the_first_failure_ends_the_rest():
    begun = []

    async def job(number):
        begun.append(number)
        if number == 1:
            raise StoreError("gone")
        await asyncio.get_running_loop().create_future()

    with pytest.raises(StoreError, match="gone"):
        run(bounded_gather((partial(job, number) for number in range(20)), 4))
    assert begun == [0, 1, 2, 3]


def test_a_read_that_is_cancelled_before_it_began_leaves_nothing_unawaited():
    async def cancelled():
        reading = asyncio.ensure_future(bounded_gather([asyncio.Event().wait] * 3, 2))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    run(cancelled())
    gc.collect()
