"""No codec sees less than its header claims, or gives more than the document allows."""

from __future__ import annotations

import bz2
import json
import lzma
import struct
import zlib
from contextlib import suppress
from itertools import pairwise

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.buffer.cpu import buffer_prototype
from zarr.storage import MemoryStore

from napari_omezarr.errors import DamagedDataError, UnsupportedDataError
from napari_omezarr.pyramid import ArrayPixels, codecs, tolerated
from napari_omezarr.pyramid.boxes import ChunkPart
from napari_omezarr.pyramid.codecs import Room, undo
from napari_omezarr.pyramid.decoding import StoredChunk, chain

SHAPE = (32, 32)
# Half of it compresses, half does not.
PIXELS = np.random.default_rng(0).integers(0, 60000, SHAPE).astype("<u2")
PIXELS[:16] = 7

COMPRESSORS = {
    "zlib": numcodecs.Zlib(1),
    "gzip": numcodecs.GZip(1),
    "bz2": numcodecs.BZ2(1),
    "xz": numcodecs.LZMA(),
    "alone": numcodecs.LZMA(format=lzma.FORMAT_ALONE),
    "raw": numcodecs.LZMA(
        format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 1}]
    ),
    "lz4": numcodecs.LZ4(),
    "zstd": numcodecs.Zstd(1),
    **{
        f"blosc {name}": numcodecs.Blosc(name, 5, shuffle)
        for name, shuffle in {"blosclz": 0, "lz4": 1, "zlib": 2, "zstd": 1}.items()
    },
}
compressors = pytest.mark.parametrize("codec", COMPRESSORS.values(), ids=COMPRESSORS)


def undoing(codec, size=PIXELS.nbytes):
    step, _, _ = undo(codec.get_config(), PIXELS.dtype, Room(size))
    return step


def pixels_of(codec, body, **options):
    """The pixels of an array of one chunk, of zarr 2, that is stored as these bytes."""
    options = {"shape": SHAPE, "chunks": SHAPE, "dtype": "<u2", **options}
    contents = {}
    array = zarr.create_array(
        MemoryStore(contents), zarr_format=2, compressors=codec, **options
    )
    buffer = zarr.buffer.cpu.buffer_prototype.buffer
    contents[array.metadata.encode_chunk_key((0, 0))] = buffer.from_bytes(body)
    return ArrayPixels(array.async_array, "memory://a", 1)


@compressors
def test_what_is_whole_is_undone(codec):
    body = codec.encode(PIXELS)
    assert bytes(undoing(codec)(body)) == PIXELS.tobytes()
    np.testing.assert_array_equal(pixels_of(codec, body)[...], PIXELS)


@compressors
def test_a_chunk_that_is_cut_off_is_an_error(codec):
    body = bytes(codec.encode(PIXELS))
    for length in (0, 1, 3, 4, 15, 16, 17, len(body) // 20, len(body) // 2):
        with pytest.raises(DamagedDataError, match=r"memory://a/0\.0 is damaged"):
            pixels_of(codec, body[:length])[...]


@compressors
@pytest.mark.parametrize("rows", [1, 31, 33, 5000])
def test_a_chunk_of_another_size_is_an_error(codec, rows):
    body = codec.encode(np.zeros((rows, SHAPE[1]), "<u2"))
    with pytest.raises(DamagedDataError, match=r"memory://a/0\.0 is damaged"):
        pixels_of(codec, body)[...]


@compressors
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_whatever_is_changed_is_pixels_or_our_error(codec, data):
    body = bytearray(codec.encode(PIXELS))
    near = st.integers(0, min(40, len(body) - 1)) | st.integers(0, len(body) - 1)
    for place in data.draw(st.lists(near, min_size=1, max_size=4)):
        body[place] = data.draw(st.integers(0, 255))
    with suppress(DamagedDataError):
        assert pixels_of(codec, bytes(body))[...].shape == SHAPE


# Bombs: a few bytes that become very many, if nobody bounds it.

HUGE = 1 << 40


def zstd_frame(blocks, size=None):
    """A frame of blocks of 128 KiB that are one byte each, with or without its size."""
    head = b"\x28\xb5\x2f\xfd"
    head += b"\x00\x50" if size is None else b"\xe0" + struct.pack("<Q", size)
    kinds = [128 << 10 << 3 | 1 << 1 | (n == blocks - 1) for n in range(blocks)]
    return head + b"".join(kind.to_bytes(3, "little") + b"\x07" for kind in kinds)


def deflated(wbits):
    stream = zlib.compressobj(9, wbits=wbits)
    zeros = bytes(1 << 20)
    return b"".join(stream.compress(zeros) for _ in range(64)) + stream.flush()


BOMBS = {
    "zstd": [zstd_frame(4000), zstd_frame(4000, 4000 << 17), zstd_frame(1, HUGE)],
    "gzip": [deflated(31), deflated(31)[:-9] * 2, numcodecs.GZip().encode(b"") * 9],
    "zlib": [deflated(15)],
    "bz2": [bz2.compress(bytes(1 << 24)) * 4],
    "lzma": [lzma.compress(bytes(1 << 24)) * 4],
    "lz4": [struct.pack("<I", n) + b"\x1f\x00" * 20 for n in (1 << 31, 1 << 30, 9)],
    "blosc": [
        struct.pack("<BBBBIII", 2, 1, flags, 2, n, 1 << 30, 99) + bytes(83)
        for n in (2**31 - 20, 1 << 30, 0)
        for flags in (0, 2, 0x21, 0x93)
    ],
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_an_error_before_it_takes_memory(name, growth):
    codec = numcodecs.get_codec({"id": name})
    for body in BOMBS[name]:
        pixels = pixels_of(codec, body)
        before = growth()
        with pytest.raises(DamagedDataError):
            pixels[...]
        assert growth() - before < 30e6


def test_a_bomb_inside_a_shard_is_an_error():
    shape, contents = (64, 64), {}
    array = zarr.create_array(
        MemoryStore(contents), shape=shape, chunks=SHAPE, shards=shape, dtype="<u2"
    )
    array[...] = 1
    (key,) = [key for key in contents if key.startswith("c/")]
    whole = bytes(contents[key].to_bytes())
    bomb = zstd_frame(1000)
    index = np.frombuffer(whole[-68:-4], "<u8").copy()
    index[:2] = 0, len(bomb)
    import google_crc32c

    check = google_crc32c.value(index.tobytes()).to_bytes(4, "little")
    body = bomb.ljust(len(whole) - 68, b"\0") + index.tobytes() + check
    contents[key] = type(contents[key]).from_bytes(body)
    pixels = ArrayPixels(array.async_array, "memory://a", 1)
    with pytest.raises(DamagedDataError):
        pixels[:32, :32]


@pytest.fixture
def growth():
    """How much memory this process has taken at most, in bytes."""
    resource = pytest.importorskip("resource")
    return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# Frames and streams that are unusual and right.


def test_several_frames_are_one_chunk():
    halves = [numcodecs.Zstd().encode(half) for half in (PIXELS[:16], PIXELS[16:])]
    skipped = struct.pack("<II", 0x184D2A50, 4) + b"abcd"
    for body in (b"".join(halves), skipped + numcodecs.Zstd().encode(PIXELS)):
        assert bytes(undoing(numcodecs.Zstd())(body)) == PIXELS.tobytes()
    with pytest.raises(ValueError, match="size"):
        undoing(numcodecs.Zstd())(halves[0] + numcodecs.Zstd().encode(PIXELS[:3]))
    streams = [numcodecs.GZip().encode(half) for half in (PIXELS[:16], PIXELS[16:])]
    assert bytes(undoing(numcodecs.GZip())(b"".join(streams))) == PIXELS.tobytes()


FRAME = PIXELS[8:24, :16].copy()
FRAMES = {
    "zstd": numcodecs.Zstd(1).encode(FRAME),
    "with a checksum": numcodecs.Zstd(1, checksum=True).encode(FRAME),
    "one number": numcodecs.Zstd(1).encode(np.zeros_like(FRAME)),
    "not compressed": numcodecs.Zstd(-100).encode(FRAME),
    "two frames": b"".join(
        numcodecs.Zstd(1).encode(half) for half in (FRAME[:8], FRAME[8:])
    ),
    "another size": numcodecs.Zstd(1).encode(FRAME[:8]),
    "nothing": b"",
    "no frame": b"none of it",
}


def one_in_another():
    """A frame that is not compressed, whose pixels look like another; and where."""
    head = FRAMES["zstd"][:7]
    pixels = bytearray(FRAME.tobytes())
    pixels[100 : 100 + len(FRAMES["one number"])] = FRAMES["one number"]
    block = (len(pixels) << 3 | 1).to_bytes(3, "little")
    return head + block + pixels, len(head + block) + 100


FRAMES["one in another"], INSIDE = one_in_another()


def damaged(body, place, value):
    """The bytes with another value at a place."""
    return body[:place] + bytes([value]) + body[place + 1 :]


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(sorted(FRAMES)), min_size=1, max_size=9),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=2),
    st.lists(st.tuples(st.integers(0, 9), st.integers(-6, 6)), max_size=2),
)
def test_chunks_in_a_row_are_decoded_as_each_by_itself(names, damages, shifts):
    body = b"".join(FRAMES[name] for name in names)
    for place, value in damages:
        body = damaged(body, place % len(body), value) if body else body
    cuts = np.cumsum([0, *(len(FRAMES[name]) for name in names)]).tolist()
    if names[0] == "one in another":
        cuts[1] = INSIDE
    for number, by in shifts:  # an index that says another border
        cuts[number % len(cuts)] += by
    cuts = sorted(min(max(cut, 0), len(body)) for cut in cuts)
    codecs = [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 1}}]
    decoding = chain(codecs, FRAME.dtype, FRAME.shape, 0, "uint16")
    view, whole = memoryview(body), (slice(None),) * 2
    part = ChunkPart((0, 0), whole, whole)
    together = np.zeros((len(names), *FRAME.shape), FRAME.dtype)
    extents = list(pairwise(cuts))
    chunks = [
        StoredChunk(start, stop, "name", [(box, part)])
        for (start, stop), box in zip(extents, together, strict=True)
    ]
    found = decoding.place_each(view, chunks)
    for (start, stop), made, error in zip(extents, together, found, strict=True):
        if error is None:
            alone = decoding.decode(view[start:stop], "name")
            np.testing.assert_array_equal(made, alone)
        else:
            with pytest.raises(DamagedDataError):
                decoding.decode(view[start:stop], "name")


@pytest.mark.parametrize("value", [None, 7])
def test_small_chunks_in_a_row_are_one_call(monkeypatch, value):
    calls = []
    undone = codecs.zstd.decompress
    monkeypatch.setattr(
        codecs.zstd, "decompress", lambda *given: calls.append(1) or undone(*given)
    )
    array = zarr.create_array(
        MemoryStore(), shape=(64, 64), chunks=(8, 8), shards=(64, 64), dtype="u2"
    )
    pixels = np.arange(64 * 64, dtype="u2").reshape(64, 64)
    if value is not None:  # labels: a chunk of one value takes a dozen bytes
        pixels[...] = value
    array[...] = pixels
    np.testing.assert_array_equal(
        ArrayPixels(array.async_array, "memory://a", 1)[...], pixels
    )
    assert len(calls) <= 2


@pytest.mark.parametrize("concurrency", [1, 5, 64])
def test_small_objects_are_decoded_together(monkeypatch, concurrency):
    calls = []
    undone = codecs.zstd.decompress
    monkeypatch.setattr(
        codecs.zstd, "decompress", lambda *given: calls.append(1) or undone(*given)
    )
    stored = {}
    store, shape, chunks = MemoryStore(stored), (520, 512), (128, 128)
    array = zarr.create_array(
        store, shape=shape, chunks=chunks, dtype="u2", fill_value=3
    )
    pixels = np.arange(520 * 512, dtype="u2").reshape(520, 512)
    pixels[:128, :128] = 3  # a chunk that is not stored
    array[...] = pixels
    found = ArrayPixels(array.async_array, "memory://a", concurrency)
    np.testing.assert_array_equal(found[...], pixels)
    assert len(calls) == 2  # of nineteen chunks, as one call decodes sixteen
    stored["c/4/3"] = buffer_prototype.buffer.from_bytes(b"nothing of the kind")
    with pytest.raises(DamagedDataError, match="c/4/3 is damaged"):
        found[...]


def test_zlib_that_is_called_gzip_is_undone():
    body = numcodecs.Zlib().encode(PIXELS)
    assert bytes(undoing(numcodecs.GZip())(body)) == PIXELS.tobytes()


# Documents.


@pytest.mark.parametrize("name", ["pickle", "json2", "msgpack2", "vlen-bytes"])
def test_a_codec_that_makes_no_numbers_is_refused(name):
    with pytest.raises(UnsupportedDataError, match=f"codec {name} makes no numbers"):
        pixels_of(None, b"", filters=[numcodecs.get_codec({"id": name})])


@pytest.mark.parametrize("made", ["O", "S1000", "M8[s]", "U9"])
def test_a_filter_that_makes_no_numbers_is_refused(made):
    config = {"id": "astype", "encode_dtype": "u1", "decode_dtype": made}
    with pytest.raises(UnsupportedDataError, match="makes no numbers"):
        undo(config, PIXELS.dtype, Room(100))


def test_a_chunk_that_no_computer_holds_is_refused():
    side = 1 << 20
    with pytest.raises(UnsupportedDataError, match=r"takes 2\.2 TB of memory"):
        pixels_of(None, b"", shape=(side, side), chunks=(side, side))


def test_a_shard_of_too_many_chunks_is_refused():
    array = zarr.create_array(
        MemoryStore(), shape=(1 << 16,) * 2, chunks=(1, 1), shards=(1 << 16,) * 2,
        dtype="u1",
    )  # fmt: skip
    with pytest.raises(UnsupportedDataError, match="more than are read"):
        ArrayPixels(array.async_array, "memory://a", 1)


UNKNOWN = {
    "blosc": {"nthreads": 4, "somethingNew": {"a": 1}},
    "gzip": {"useZlib": True},
    "zstd": {"nbWorkers": 0},
    "crc32c": {"location": "end"},
    "bytes": {"typesize": 2},
}


@pytest.mark.parametrize("sharded", [False, True])
def test_what_a_codec_does_not_know_is_dropped_and_said(sharded):
    shards = {"shards": (32, 32)} if sharded else {}
    array = zarr.create_array(
        MemoryStore(), shape=SHAPE, chunks=(16, 16), dtype="u2",
        compressors=[
            zarr.codecs.BloscCodec(), zarr.codecs.GzipCodec(),
            zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec(),
        ], **shards,
    )  # fmt: skip
    document = json.loads(json.dumps(array.metadata.to_dict(), default=str))
    steps = document["codecs"]
    if sharded:
        steps[0]["configuration"]["made_by"] = "somebody"
        steps[0]["configuration"]["index_codecs"][0]["configuration"]["x"] = 1
        steps = steps[0]["configuration"]["codecs"]
    for step in steps:
        step.setdefault("configuration", {}).update(UNKNOWN[step["name"]])
    expected = json.dumps(document)
    known, notes = tolerated(document)
    assert json.dumps(document) == expected
    assert len(notes) == 6 + 2 * sharded
    assert "The codec blosc is set up with an unknown 'nthreads'." in notes
    array.metadata.from_dict(known)


def test_so_is_it_in_zarr_2():
    config = {"id": "blosc", "cname": "lz4", "nthreads": 1}
    filters = [{"id": "delta", "dtype": "<u2", "astype": "<u2", "speed": "fast"}]
    known, notes = tolerated({"compressor": config, "filters": filters})
    assert known["compressor"] == {"id": "blosc", "cname": "lz4"}
    assert "speed" not in known["filters"][0]
    assert len(notes) == 2


@pytest.mark.parametrize(
    "odd",
    [{}, {"codecs": 7}, {"codecs": [7, None, "crc32c"]}]
    + [{"codecs": [{"name": name, "configuration": {}}]} for name in ({}, [], 1, None)]
    + [{"compressor": c, "filters": [c]} for c in (7, "zlib", {}, {"id": 3}, [])]
    + [{"codecs": [{"name": "blosc", "configuration": c}]} for c in (1, [], {"a": 1})],
)  # fmt: skip
def test_what_is_no_document_is_left_as_it_is(odd):
    assert set(tolerated(odd)[0]) == set(odd)
