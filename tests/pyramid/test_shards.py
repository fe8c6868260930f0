"""Shards read past zarr's pipeline: right, of one version, with few requests."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import product
from math import prod

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)
from zarr.storage import MemoryStore

from napari_omezarr import errors
from napari_omezarr._io_loop import start
from napari_omezarr.location import Location
from napari_omezarr.pyramid import ArrayPixels, shards
from napari_omezarr.pyramid.shards import ShardIndex, joined, layout_of
from napari_omezarr.store import open_store, run, set_disk_cache
from quick_retries import QUICK
from servers import faults
from servers.http import FileServer
from servers.proxy import Proxy

SHAPE, SHARDS, CHUNKS = (20, 50), (8, 24), (2, 4)
PIXELS = np.arange(1, 1 + prod(SHAPE), dtype="u2").reshape(SHAPE)
PER_SHARD = 4 * 6
INDEX = PER_SHARD * 16 + 4
CHUNK = 2 * 4 * 2


@pytest.fixture
def large(monkeypatch):
    """Shards of these sizes are no small ones."""
    monkeypatch.setattr(shards, "SMALL", 0)


@pytest.fixture
def apart(large, monkeypatch):
    """Nor are chunks near each other, unless there is nothing between."""
    monkeypatch.setattr(shards, "NEAR", 0)


PLAIN = (BytesCodec(),)


def make(store, values=PIXELS, location="end", inner=PLAIN, **options):
    codec = ShardingCodec(chunk_shape=CHUNKS, codecs=inner, index_location=location)
    options = {"chunks": SHARDS, "serializer": codec, "fill_value": 0, **options}
    array = zarr.create_array(
        store, shape=values.shape, dtype=values.dtype, compressors=None, **options
    )
    array[...] = values
    return array


def opened(url, **options):
    """The pixels of the array at an address, read through our store."""
    location = Location.parse(url)
    store = open_store(location, retry=QUICK, **options)
    array = run(zarr.AsyncArray.open(store, zarr_format=3))
    return ArrayPixels(array, location.display, store.concurrency)


@pytest.fixture
def served(http_server, tmp_path):
    def serve(**options):
        make(tmp_path / "a.zarr", **options)
        pixels = opened(f"{http_server.url}/a.zarr")
        http_server.clear()
        return pixels

    return serve


def ranges(server):
    return [request.range for request in server.requests]


def shard_of(tmp_path, index=(0, 0)):
    return tmp_path / "a.zarr" / "c" / "/".join(map(str, index))


def replaced(file, body):
    """Put other bytes in place of a file, as a writer does that cares."""
    beside = file.with_name("beside")
    beside.write_bytes(body)
    beside.rename(file)


def chunk(row, column):
    """The pixels of a chunk, as an index."""
    return np.s_[2 * row : 2 * row + 2, 4 * column : 4 * column + 4]


# What is right.

INNER = [
    PLAIN,
    (BytesCodec(endian="big"), ZstdCodec()),
    (BytesCodec(), ZstdCodec(checksum=True), Crc32cCodec()),
    (BytesCodec(), BloscCodec(cname="lz4")),
    (BytesCodec(), GzipCodec()),
    (BytesCodec(), Crc32cCodec()),
    (TransposeCodec(order=(1, 0)), BytesCodec(), ZstdCodec()),
    (TransposeCodec(order=(1, 0)), BytesCodec(), BloscCodec(), Crc32cCodec()),
]
MORE = [
    # A checksum before compressing, and shards in shards.
    (BytesCodec(), Crc32cCodec(), ZstdCodec()),
    (ShardingCodec(chunk_shape=(1, 2)),),
]


@st.composite
def arrays(draw):
    """Arrays of which some shards, and some chunks of the others, are missing."""
    dtype = draw(st.sampled_from(["u1", "u2", "i4", "f8", "?"]))
    values = (PIXELS % 251 + 1).astype(dtype)
    fill = draw(st.sampled_from([0, 1]))
    for row, column in draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 12)))):
        values[chunk(row, column)] = fill
    if draw(st.booleans()):
        values[:8, 24:48] = fill
    options = {"fill_value": fill, "inner": draw(st.sampled_from(INNER))}
    return values, options, draw(st.sampled_from(["start", "end"]))


@given(arrays(), st.data(), st.sampled_from([0, 1000, 4 << 20]))
@settings(max_examples=100, deadline=None)
def test_any_box_is_what_was_written(drawn, data, small):
    values, options, location = drawn
    array = make(MemoryStore(), values, location, **options)
    pixels = ArrayPixels(array.async_array, "memory://a", 3)
    assert pixels.shard_layout is not None
    box = tuple(
        slice(*sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n)))))
        for n in array.shape
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SMALL", small)
        patch.setattr(shards, "LARGE", data.draw(st.sampled_from([0, 32 << 20])))
        patch.setattr(shards, "NEAR", data.draw(st.sampled_from([0, 32, 128 << 10])))
        found = pixels[box]
    np.testing.assert_array_equal(found, values[box])
    assert found.dtype == values.dtype


@pytest.mark.parametrize("inner", MORE, ids=["order of codecs", "nested"])
def test_any_inner_codecs_are_undone(inner):
    array = make(MemoryStore(), inner=inner)
    assert layout_of(array.async_array) is not None
    pixels = ArrayPixels(array.async_array, "memory://a", 3)
    np.testing.assert_array_equal(pixels[1:13, 3:31], PIXELS[1:13, 3:31])


def test_an_index_without_a_checksum_and_in_the_other_byte_order():
    codec = ShardingCodec(chunk_shape=CHUNKS, index_codecs=[BytesCodec(endian="big")])
    array = make(MemoryStore(), serializer=codec)
    layout = layout_of(array.async_array)
    assert layout is not None
    assert not layout.index_checked
    pixels = ArrayPixels(array.async_array, "memory://a", 3)
    np.testing.assert_array_equal(pixels[...], PIXELS)


# How much is asked for.


def test_a_full_read_asks_for_each_shard_once(served, large, http_server):
    np.testing.assert_array_equal(served()[...], PIXELS)
    assert len(http_server.requests) == 3 * 3
    assert len({request.path for request in http_server.requests}) == 9


def test_an_index_is_read_once(served, apart, http_server):
    pixels = served()
    for row, column in product(range(4), range(2)):
        np.testing.assert_array_equal(
            pixels[chunk(row, column)], PIXELS[chunk(row, column)]
        )
    suffixes = [asked for asked in ranges(http_server) if asked.startswith("bytes=-")]
    assert suffixes == [f"bytes=-{INDEX}"]
    assert len(http_server.requests) == 1 + 8


def test_an_index_at_the_start_is_read_once(served, apart, http_server):
    pixels = served(location="start")
    for row in range(4):
        assert np.array_equal(pixels[chunk(row, 0)], PIXELS[chunk(row, 0)])
    assert ranges(http_server).count(f"bytes=0-{INDEX - 1}") == 1
    assert len(http_server.requests) == 1 + 4


def test_near_chunks_are_one_request_and_no_other_bytes(
    http_server, tmp_path, apart, monkeypatch
):
    # Chunks in C order, so that a row of them is one piece of the shard.
    make(tmp_path / "a.zarr")
    file = shard_of(tmp_path)
    table = np.frombuffer(file.read_bytes()[-INDEX:-4], "<u8").reshape(-1, 2)
    body = b"".join(file.read_bytes()[o : o + n] for o, n in table.tolist())
    table = np.stack([np.arange(PER_SHARD) * CHUNK, table[:, 1]], 1).astype("<u8")
    replaced(file, body + with_checksum(table.tobytes()))
    pixels = opened(f"{http_server.url}/a.zarr")
    received = pixels.store.bytes_received
    http_server.clear()
    assert np.array_equal(pixels[:2, :24], PIXELS[:2, :24])
    assert ranges(http_server) == [f"bytes=-{INDEX}", f"bytes=0-{6 * CHUNK - 1}"]
    assert pixels.store.bytes_received - received == INDEX + 6 * CHUNK
    http_server.clear()
    assert np.array_equal(pixels[:4, 4:8], PIXELS[:4, 4:8])
    assert len(http_server.requests) == 2
    monkeypatch.setattr(shards, "NEAR", 5 * CHUNK)
    http_server.clear()
    assert np.array_equal(pixels[:4, 4:8], PIXELS[:4, 4:8])
    assert ranges(http_server) == [f"bytes={CHUNK}-{8 * CHUNK - 1}"]


def test_no_joined_request_is_endless(served, large, http_server, monkeypatch):
    monkeypatch.setattr(shards, "LARGE", 0)
    monkeypatch.setattr(shards, "LONGEST", 8 * CHUNK)
    pixels = served()
    assert np.array_equal(pixels[:8, :24], PIXELS[:8, :24])
    assert len(http_server.requests) == 1 + PER_SHARD // 8


def test_a_small_shard_is_read_whole_at_once(served, http_server):
    pixels = served()
    assert np.array_equal(pixels[chunk(1, 1)], PIXELS[chunk(1, 1)])
    assert len(http_server.requests) == 1


def test_chunks_that_are_asked_for_at_once_are_read_together(
    served, large, http_server
):
    pixels = served()

    async def some(columns):
        boxes = [((0, 2), (4 * n, 4 * n + 4)) for n in columns]
        return await asyncio.gather(*map(pixels.read, boxes))

    found = np.concatenate(run(some(range(3))), axis=1)
    assert np.array_equal(found, PIXELS[:2, :12])
    assert len(http_server.requests) == 1 + 1
    # All of a shard, chunk by chunk as the display asks: one request.
    http_server.clear()

    async def all_chunks():
        places = product(range(4), range(6, 12))
        boxes = [((2 * r, 2 * r + 2), (4 * c, 4 * c + 4)) for r, c in places]
        return await asyncio.gather(*map(pixels.read, boxes))

    assert len(run(all_chunks())) == PER_SHARD
    assert len(http_server.requests) == 1


def test_a_shard_that_is_missing_is_the_fill_value(
    served, large, http_server, tmp_path
):
    pixels = served(fill_value=9)
    shard_of(tmp_path).unlink()
    assert pixels[-1:, -1:].any()  # nobody looks for it under another name then
    http_server.clear()
    for row in range(3):
        assert (pixels[chunk(row, 0)] == 9).all()
    assert len(http_server.requests) == 1
    expected = PIXELS.copy()
    expected[:8, :24] = 9
    assert np.array_equal(pixels[...], expected)


def test_s3_costs_no_more(s3_server, s3_prefix, tmp_path, large):
    make(tmp_path / "a.zarr")
    s3_server.upload(tmp_path / "a.zarr", f"public/{s3_prefix}")
    with Proxy(s3_server.endpoint) as proxy:
        place = Location.parse(f"s3://public/{s3_prefix}")
        store = open_store(replace(place, endpoint=proxy.url, anonymous=True))
        array = run(zarr.AsyncArray.open(store, zarr_format=3))
        pixels = ArrayPixels(array, place.display, 64)
        proxy.clear()
        np.testing.assert_array_equal(pixels[...], PIXELS)
        assert len(proxy.requests) == 9
        proxy.clear()
        assert np.array_equal(pixels[chunk(0, 0)], PIXELS[chunk(0, 0)])
        assert len(proxy.requests) == 1


# Of one version.


def other_version():
    """The same pixels with the first chunk missing, so that all others move."""
    values = PIXELS.copy()
    values[chunk(0, 0)] = 0
    return values


@pytest.mark.parametrize("location", ["start", "end"])
def test_a_shard_that_changes_under_its_reader_is_read_anew(
    served, apart, http_server, tmp_path, location
):
    pixels = served(location=location)
    first, other = np.s_[:2, :20], other_version()
    assert np.array_equal(pixels[first], PIXELS[first])
    make(tmp_path / "b.zarr", other, location)
    replaced(shard_of(tmp_path), (tmp_path / "b.zarr/c/0/0").read_bytes())
    http_server.clear()
    assert np.array_equal(pixels[first], other[first])
    suffix = f"bytes=-{INDEX}" if location == "end" else f"bytes=0-{INDEX - 1}"
    assert ranges(http_server).count(suffix) == 1


@pytest.mark.parametrize("location", ["start", "end"])
def test_the_same_with_a_disk_cache(http_server, tmp_path, apart, location):
    set_disk_cache(tmp_path / "cache")
    try:
        make(tmp_path / "a.zarr", location=location)
        first, other = np.s_[:2, :20], other_version()
        before = opened(f"{http_server.url}/a.zarr")
        assert np.array_equal(before[:2, :8], PIXELS[:2, :8])
        make(tmp_path / "b.zarr", other, location)
        replaced(shard_of(tmp_path), (tmp_path / "b.zarr/c/0/0").read_bytes())
        # The index comes from the disk, and then chunks of another version.
        for pixels in (before, opened(f"{http_server.url}/a.zarr")):
            assert np.array_equal(pixels[first], other[first])
    finally:
        set_disk_cache(size=0)


@pytest.mark.parametrize("inner", [INNER[0], MORE[1]], ids=["plain", "nested"])
def test_one_that_changes_all_the_time_is_an_error(tmp_path, apart, inner):
    make(tmp_path / "a.zarr", inner=inner)
    file, count = shard_of(tmp_path), 0
    body = file.read_bytes()

    class Changing(FileServer):
        async def answer(self, request):
            nonlocal count
            count += 1
            # Bytes that nothing points to.
            replaced(file, count.to_bytes(8, "big") + body)
            return await super().answer(request)

    with Changing(tmp_path) as server:
        pixels = opened(f"{server.url}/a.zarr")
        server.clear()
        with pytest.raises(errors.ObjectChangedError, match="has changed"):
            pixels[:2, :8]
        asked = [r for r in ranges(server) if r == f"bytes=-{INDEX}"]
        assert 2 <= len(asked) <= shards.TRIES


def test_a_shard_of_more_codecs_that_changed_is_read_anew(http_server, tmp_path):
    make(tmp_path / "a.zarr", inner=MORE[0])
    pixels = opened(f"{http_server.url}/a.zarr")
    first, other = np.s_[:2, :20], other_version()
    assert np.array_equal(pixels[first], PIXELS[first])
    make(tmp_path / "b.zarr", other, inner=MORE[0])
    replaced(shard_of(tmp_path), (tmp_path / "b.zarr/c/0/0").read_bytes())
    assert np.array_equal(pixels[first], other[first])


def test_a_local_file_that_is_replaced_is_read_anew(tmp_path, apart):
    make(tmp_path / "a.zarr")
    pixels = opened(str(tmp_path / "a.zarr"))
    first, other = np.s_[:2, :20], other_version()
    assert np.array_equal(pixels[first], PIXELS[first])
    make(tmp_path / "b.zarr", other)
    replaced(shard_of(tmp_path), (tmp_path / "b.zarr/c/0/0").read_bytes())
    assert np.array_equal(pixels[first], other[first])


def test_one_that_is_deleted_meanwhile_is_missing(served, apart, tmp_path):
    pixels = served()
    assert np.array_equal(pixels[:2, :8], PIXELS[:2, :8])
    shard_of(tmp_path).unlink()
    assert not pixels[:2, :8].any()


# Failures are errors.


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.Status(403), errors.AccessDeniedError),
        (faults.s3_error(403, "AccessDenied"), errors.AccessDeniedError),
        (faults.Status(404), errors.StoreError),
        (faults.Status(410), errors.StoreError),
        (faults.Status(416), errors.TruncatedBodyError),
        (faults.Status(500), errors.ServerError),
        (faults.Truncated(after=2), errors.TruncatedBodyError),
        (faults.page(), errors.StoreError),
    ],
)
@pytest.mark.parametrize("inner", [INNER[0], MORE[0]], ids=["plain", "nested"])
def test_a_range_that_fails_is_never_zeros(tmp_path, apart, fault, kind, inner):
    make(tmp_path / "a.zarr", inner=inner)

    class Refusing(FileServer):
        """Gives every index, and no chunk of the first shard."""

        def _next_fault(self, request):
            inside = request.range and not request.range.startswith("bytes=-")
            return fault if inside and request.path.endswith("c/0/0") else None

    with Refusing(tmp_path) as server:
        pixels = opened(f"{server.url}/a.zarr")
        with pytest.raises(kind):
            pixels[chunk(1, 1)]


def with_checksum(table):
    return table + google_crc32c.value(table).to_bytes(4, "little")


def damaged(position, offset, length):
    """Let a shard's index say something else of one chunk."""

    def change(body):
        table = np.frombuffer(body[-INDEX:-4], "<u8").reshape(-1, 2).copy()
        table[position] = offset, length
        return body[:-INDEX] + with_checksum(table.tobytes())

    return change


MISSING = 2**64 - 1
DAMAGE = {
    "beyond the object": damaged(0, 10_000, CHUNK),
    "over the index": damaged(0, PER_SHARD * CHUNK - 4, CHUNK),
    "absurdly long": damaged(0, 0, 2**40),
    "absurdly far": damaged(0, 2**63, CHUNK),
    "more than 64 bits": damaged(0, MISSING - 1, MISSING - 1),
    "nowhere, but long": damaged(0, MISSING, CHUNK),
    "somewhere, but missing": damaged(0, 0, MISSING),
    "empty": damaged(0, 0, 0),
    "too short": damaged(0, 0, CHUNK - 1),
    "a wrong checksum": lambda body: body[:-1] + bytes([body[-1] ^ 1]),
    "a cut off index": lambda body: body[-INDEX + 7 :],
    "nothing": lambda body: b"",
}


@pytest.mark.parametrize("small", [0, 4 << 20], ids=["index", "whole"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_is_an_error(served, tmp_path, damage, small, monkeypatch):
    monkeypatch.setattr(shards, "SMALL", small)
    pixels = served()
    file = shard_of(tmp_path)
    replaced(file, DAMAGE[damage](file.read_bytes()))
    received = pixels.store.bytes_received
    with pytest.raises(errors.StoreError):
        pixels[chunk(0, 0)]
    assert pixels.store.bytes_received - received < 10_000
    if damage not in ("a wrong checksum", "a cut off index", "nothing"):
        assert np.array_equal(pixels[chunk(1, 1)], PIXELS[chunk(1, 1)])


def test_an_index_at_the_start_that_points_into_itself(served, large, tmp_path):
    pixels = served(location="start")
    file = shard_of(tmp_path)
    body = file.read_bytes()
    table = np.frombuffer(body[: INDEX - 4], "<u8").reshape(-1, 2).copy()
    table[0] = INDEX - 8, CHUNK
    replaced(file, with_checksum(table.tobytes()) + body[INDEX:])
    with pytest.raises(errors.StoreError, match="its index cannot be right"):
        pixels[chunk(0, 0)]


def test_what_the_index_calls_missing_is_the_fill_value(served, tmp_path):
    pixels = served(fill_value=7)
    file = shard_of(tmp_path)
    replaced(file, damaged(0, MISSING, MISSING)(file.read_bytes()))
    assert (pixels[chunk(0, 0)] == 7).all()
    assert np.array_equal(pixels[chunk(0, 1)], PIXELS[chunk(0, 1)])


def test_an_object_that_is_far_too_long_is_not_read_whole(served, tmp_path):
    pixels = served()
    file = shard_of(tmp_path)
    body = file.read_bytes()
    # Unused bytes are allowed between the chunks and the index.
    replaced(file, body[:-INDEX] + bytes(2**20) + body[-INDEX:])
    received = pixels.store.bytes_received
    for _ in range(2):
        assert np.array_equal(pixels[:8, :24], PIXELS[:8, :24])
    assert pixels.store.bytes_received - received < 2**18


def test_a_chunk_that_is_damaged_is_an_error_for_who_wants_it(served, large, tmp_path):
    pixels = served(inner=(BytesCodec(), ZstdCodec(), Crc32cCodec()))
    file = shard_of(tmp_path)
    body = bytearray(file.read_bytes())
    table = np.frombuffer(bytes(body[-INDEX:-4]), "<u8").reshape(-1, 2)
    body[int(table[0, 0])] ^= 1
    replaced(file, bytes(body))

    async def both():
        boxes = [((0, 2), (0, 4)), ((0, 2), (4, 8))]
        reading = map(pixels.read, boxes)
        return await asyncio.gather(*reading, return_exceptions=True)

    bad, good = run(both())
    assert isinstance(bad, errors.StoreError)
    assert "is damaged" in str(bad)
    assert np.array_equal(good, PIXELS[:2, 4:8])


def test_who_gives_up_does_not_disturb_the_others(served, large, http_server):
    pixels = served()
    http_server.fault("*/c/0/0", faults.Stalled())
    one = start(pixels.read(((0, 2), (0, 4))))
    http_server.wait_for(1)
    other = start(pixels.read(((0, 2), (4, 8))))
    one.cancel()
    http_server.release()
    assert np.array_equal(other.result(60), PIXELS[:2, 4:8])


def test_after_all_gave_up_it_is_asked_for_again(served, large, http_server):
    pixels = served()
    http_server.fault("*/c/0/0", faults.Stalled())
    one = start(pixels.read(((0, 2), (0, 4))))
    http_server.wait_for(1)
    one.cancel()
    assert np.array_equal(pixels[:2, :4], PIXELS[:2, :4])
    assert len(http_server.requests) == 3


# The pieces.


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 40)), unique=True))
def test_joining_loses_no_chunk_and_stays_short(extents):
    chunks = [shards._InnerChunk((at, at + size), []) for at, size in extents]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "NEAR", 8)
        patch.setattr(shards, "LONGEST", 64)
        spans = joined(chunks)
    assert sorted(c.extent for s in spans for c in s.chunks) == sorted(
        c.extent for c in chunks
    )
    for span in spans:
        assert span.start == min(c.extent[0] for c in span.chunks)
        assert span.stop == max(c.extent[1] for c in span.chunks)
        assert span.stop - span.start <= 64


@given(st.binary(max_size=2 * INDEX), st.none() | st.integers(0, 5000))
def test_no_bytes_are_an_index_that_leads_outside(body, size):
    layout = layout_of(make(MemoryStore()).async_array)
    layout = replace(layout, index_checked=False)
    body = body + bytes(max(0, layout.index_size - len(body)))
    index = ShardIndex.parse(body[: layout.index_size], layout, "a", "", size)
    for position in range(PER_SHARD):
        try:
            extent = index.extent(position)
        except errors.StoreError:
            continue
        assert extent is None or 0 < extent[1] - extent[0] <= layout.longest_chunk
        if extent is not None and size is not None:
            assert extent[1] <= size - layout.index_size


def test_the_document_decides_alone():
    array = make(MemoryStore())
    document = json.loads(json.dumps(array.metadata.to_dict(), default=str))
    assert document["codecs"][0]["name"] == "sharding_indexed"
    layout = layout_of(array.async_array)
    assert (layout.shards, layout.chunks, layout.grid) == (SHARDS, CHUNKS, (4, 6))
    assert layout.index_size == INDEX
    assert layout.count((2, 2)) == 2 * 1
