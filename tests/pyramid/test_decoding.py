"""Chunks decoded past zarr's pipeline, against zarr's own reading of the same array."""

from __future__ import annotations

import asyncio
import gc
import pickle
from functools import partial

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import (
    BloscCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)
from zarr.storage import MemoryStore

from napari_omezarr._io_loop import bounded_gather
from napari_omezarr.errors import DamagedDataError, StoreError, UnsupportedDataError
from napari_omezarr.pyramid import ArrayPixels, codecs, decoding
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


def pixels_of(array, *, in_threads=False):
    """The pixels of an array, which is small enough to be decoded without threads."""
    with pytest.MonkeyPatch.context() as patch:
        if in_threads:
            patch.setattr(decoding, "QUICK", -1)
        return ArrayPixels(array.async_array, "memory://a", 3)


in_threads = pytest.mark.parametrize("in_threads", [False, True])


@st.composite
def arrays(draw):
    dtype = draw(st.sampled_from(TYPES))
    # Chunks of whole rows are decoded straight into a box of whole rows.
    chunks = draw(st.sampled_from([(3, 4), (3, 9), (1, 9)]))
    options = {"dtype": dtype, "fill_value": draw(st.sampled_from([0, 1]))}
    options["chunks"] = chunks
    if draw(st.booleans()):
        compressor = draw(st.sampled_from(OLD))
        options["fill_value"] = draw(st.sampled_from([None, 0, 1]))
        return make(MemoryStore(), zarr_format=2, compressors=compressor, **options)
    compressor = draw(st.sampled_from(NEW))
    return make(MemoryStore(), zarr_format=3, compressors=compressor, **options)


@given(arrays(), st.data(), st.booleans())
@settings(max_examples=120, deadline=None)
def test_any_box_is_what_zarr_reads(array, data, in_threads):
    pixels = pixels_of(array, in_threads=in_threads)
    box = tuple(
        slice(*sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n)))))
        for n in array.shape
    )
    expected = array[box]
    found = pixels[box]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype.newbyteorder("=")


def numcodec(name, **configuration):
    return {"name": f"numcodecs.{name}", "configuration": configuration}


DELTA = numcodec("delta", dtype="<u2")
ROUND = numcodec("bitround", keepbits=23)
SHUFFLE = numcodec("shuffle", elementsize=2)


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not")
@pytest.mark.parametrize(
    "options",
    [
        {"zarr_format": 2, "order": "F"},
        {"zarr_format": 2, "filters": [numcodecs.Delta("<u2")]},
        {"zarr_format": 2, "filters": [numcodecs.Delta("<u2"), numcodecs.CRC32()]},
        {"zarr_format": 2, "filters": [numcodecs.Shuffle(2), numcodecs.Zlib()]},
        {"zarr_format": 2, "filters": [numcodecs.AsType("u1", "<u2")], "order": "F"},
        {"zarr_format": 2, "filters": [numcodecs.FixedScaleOffset(1, 2, "<u2", "u1")]},
        {"zarr_format": 2, "filters": [numcodecs.Base64()], "compressors": None},
        {"zarr_format": 2, "filters": [numcodecs.PackBits()], "dtype": "?"},
        {"zarr_format": 2, "compressors": numcodecs.LZMA()},
        {"zarr_format": 2, "compressors": numcodecs.BZ2()},
        {"zarr_format": 3, "filters": [TransposeCodec(order=(1, 0))]},
        {"zarr_format": 3, "filters": [numcodec("delta", dtype="<u2", astype="<i4")]},
        {
            "zarr_format": 3,
            "filters": [TransposeCodec(order=(1, 0)), numcodec("delta", dtype="<u2")],
        },
        {"zarr_format": 3, "filters": [numcodec("packbits")], "dtype": "?"},
        {
            "zarr_format": 3,
            "filters": [numcodec("bitround", keepbits=23)],
            "dtype": "f4",
        },
        {"zarr_format": 3, "compressors": [numcodec("lz4"), numcodec("crc32")]},
        {
            "zarr_format": 3,
            "compressors": [numcodec("shuffle", elementsize=2), GzipCodec()],
        },
        {"zarr_format": 3, "compressors": [numcodec("bz2"), numcodec("fletcher32")]},
        {"zarr_format": 3, "compressors": [BloscCodec(), ZstdCodec()]},
        {"zarr_format": 3, "compressors": [ZstdCodec(), Crc32cCodec()]},
        {"zarr_format": 3, "compressors": [Crc32cCodec()]},
        {"zarr_format": 3, "shards": (6, 8)},
    ],
)
def test_any_chain_of_codecs_is_undone_as_zarr_does(options):
    array = make(MemoryStore(), **options)
    assert pixels_of(array).shards == options.get("shards")
    decoding = decoding_of(array.async_array)
    assert not any("ByZarr" in repr(step) for step in decoding.steps)
    np.testing.assert_array_equal(pixels_of(array)[2:7, 1:9], array[2:7, 1:9])
    assert pickle.loads(pickle.dumps(decoding)).longest == decoding.longest


@pytest.mark.filterwarnings("ignore:Combining a `sharding_indexed` codec")
def test_a_codec_that_nobody_here_knows_is_left_to_zarr(foreign_codec):
    options = {"filters": [foreign_codec()], "compressors": [ZstdCodec()]}
    array = make(MemoryStore(), **options)
    assert any("ByZarr" in repr(s) for s in decoding_of(array.async_array).steps)
    np.testing.assert_array_equal(pixels_of(array)[...], array[...])
    # But not what must be checked first.
    shards = ShardingCodec(chunk_shape=(3, 4))
    options = {"shape": (7, 9), "chunks": (6, 4), "dtype": "u2", "serializer": shards}
    filters = {"filters": [foreign_codec()], "compressors": None}
    mixed = zarr.create_array(MemoryStore(), **options, **filters)
    with pytest.raises(UnsupportedDataError, match="not undone together"):
        pixels_of(mixed)


@pytest.fixture
def foreign_codec():
    class Negative(TransposeCodec):
        """Stands for a codec of another package."""

        def __init__(self, order=(1, 0)):
            super().__init__(order=order)

        @classmethod
        def from_dict(cls, data):
            return cls()

        def to_dict(self):
            return {"name": "negative"}

    zarr.registry.register_codec("negative", Negative)
    return Negative


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("compressor", [None, "zstd"])
@in_threads
def test_a_damaged_chunk_is_an_error_that_names_it(zarr_format, compressor, in_threads):
    codec = {2: numcodecs.Zstd(), 3: ZstdCodec()}[zarr_format] if compressor else None
    contents = {}
    array = make(MemoryStore(contents), zarr_format=zarr_format, compressors=codec)
    key = array.metadata.encode_chunk_key((1, 1))
    contents[key] = type(contents[key]).from_bytes(b"not pixels at all")
    pixels = pixels_of(array, in_threads=in_threads)
    with pytest.raises(DamagedDataError, match=f"memory://a/{key} is damaged"):
        pixels[...]
    np.testing.assert_array_equal(pixels[:3], array[:3])


def test_small_chunks_that_came_together_are_decoded_together(monkeypatch):
    calls = []
    undone = codecs.zstd.decompress
    monkeypatch.setattr(
        codecs.zstd, "decompress", lambda *given: calls.append(1) or undone(*given)
    )
    pixels = np.arange(64 * 64, dtype="u2").reshape(64, 64)
    array = zarr.create_array(MemoryStore(), shape=(64, 64), chunks=(8, 8), dtype="u2")
    array[...] = pixels
    monkeypatch.setattr(decoding, "QUICK", -1)
    read = ArrayPixels(array.async_array, "memory://a", 64)[...]
    np.testing.assert_array_equal(read, pixels)
    assert len(calls) <= 8


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


@pytest.mark.parametrize("compressor", OLD)
def test_a_chunk_that_was_read_is_the_readers_own(compressor):
    store = MemoryStore()
    array = make(store, zarr_format=2, compressors=compressor)
    pixels = pixels_of(array)
    before = {key: value.to_bytes() for key, value in store._store_dict.items()}
    for key in (np.s_[:3, 4:8], np.s_[6:, 4:8], np.s_[:3, :4], np.s_[:2, 4:5]):
        got = pixels[key]
        got[...] = 0
        assert got.base is None or got.base.nbytes <= 3 * 4 * 2
    assert {k: v.to_bytes() for k, v in store._store_dict.items()} == before
