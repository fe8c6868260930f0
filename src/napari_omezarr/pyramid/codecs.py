"""The codecs that an array's document names: each undone by itself, within bounds.

Decompressors believe what stands in the bytes: that there are as many as the header
says, and that there is room for all that will come out. Here both are checked before
they see anything, and before memory is taken: what comes out has the size that the
document says, or it is an error.
"""

from __future__ import annotations

import bz2
import inspect
import lzma
import struct
import zlib
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from math import prod
from typing import TYPE_CHECKING, Any

import google_crc32c
import numcodecs
import numpy as np
from numcodecs import blosc, lz4, zstd
from numcodecs.registry import codec_registry

from napari_omezarr.codec_processes import CodecInProcess, is_installed
from napari_omezarr.errors import UnsupportedDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numcodecs.abc import Codec

    Step = Callable[[Any], Any]
    """Undoes one codec. Everything is pickled with the pixels, so no closures."""

CHECKSUM = 4
"""Bytes of a CRC32C, which stands after what it is of."""


# What a document says beyond what a codec knows.

_SPECIFIED: dict[str, set[str]] = {
    "blosc": {"typesize", "cname", "clevel", "shuffle", "blocksize"},
    "bytes": {"endian"},
    "crc32c": set(),
    "gzip": {"level"},
    "sharding_indexed": {"chunk_shape", "codecs", "index_codecs", "index_location"},
    "transpose": {"order"},
    "zstd": {"level", "checksum"},
}
"""zarr 3's own codecs, and the keys of their configurations."""


def tolerated(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Give an array's document without what its codecs do not know, and notes on it.

    Other writers put how they work into the configuration (``nthreads``,
    ``nbWorkers``, ``useZlib``), which zarr refuses; nothing of it is needed to decode.
    """
    known, notes = dict(document), list[str]()
    if isinstance(known.get("codecs"), (list, tuple)):
        known["codecs"] = [_tolerated_step(step, notes) for step in known["codecs"]]
    if isinstance(known.get("compressor"), dict):
        known["compressor"] = _tolerated_config(known["compressor"], notes)
    if isinstance(known.get("filters"), (list, tuple)):
        filters = known["filters"]
        known["filters"] = [_tolerated_config(each, notes) for each in filters] or None
    return known, list(dict.fromkeys(notes))


def _tolerated_step(step: Any, notes: list[str]) -> Any:
    """Do so for a codec of zarr 3."""
    if isinstance(step, str):
        return {"name": step}
    if not isinstance(step, dict) or not isinstance(step.get("configuration"), dict):
        return step
    name, configuration = str(step.get("name")), dict(step["configuration"])
    if name in _SPECIFIED:
        _drop(name, configuration, _SPECIFIED[name], notes)
    elif name.startswith("numcodecs."):
        identified = {"id": name.removeprefix("numcodecs."), **configuration}
        configuration = _tolerated_config(identified, notes)
        del configuration["id"]
    for inner in ("codecs", "index_codecs"):
        if isinstance(configuration.get(inner), (list, tuple)):
            steps = configuration[inner]
            configuration[inner] = [_tolerated_step(each, notes) for each in steps]
    return {**step, "configuration": configuration}


def _tolerated_config(config: Any, notes: list[str]) -> Any:
    """Do so for a codec of numcodecs."""
    if not isinstance(config, dict) or not isinstance(config.get("id"), str):
        return config
    name = config["id"]
    if name.startswith("imagecodecs_"):
        _register_imagecodecs()
    if name not in codec_registry:
        return config
    parameters = _parameters(codec_registry[name])
    if parameters is None:
        return config
    known = dict(config)
    _drop(name, known, {"id", *parameters}, notes)
    return known


@cache
def _parameters(codec: Any) -> frozenset[str] | None:
    """Give the names that a codec's configuration may have; None for any."""
    parameters = inspect.signature(codec).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return None
    return frozenset(parameters)


def _drop(name: str, config: dict[str, Any], known: set[str], notes: list[str]) -> None:
    for key in sorted(set(config) - known, key=str):
        del config[key]
        # What others wrote is shown: no more of it than a name.
        notes.append(f"The codec {name} is set up with an unknown {str(key)[:40]!r}.")


def _register_imagecodecs() -> None:
    """Make numcodecs know the codecs of imagecodecs, where that is installed."""
    if find_spec("imagecodecs") is not None:
        import_module("imagecodecs.numcodecs").register_codecs(verbose=False)


# How much may come out of a codec, and decompressors that hold to it.

_LZMA_MEMORY = 128 << 20  # of a dictionary; xz -9 takes 65 MB


@dataclass(frozen=True, slots=True)
class Room:
    """How many bytes a codec must give: exactly so many, or at most."""

    most: int
    exact: bool = True

    def check(self, size: int) -> None:
        """Raise ValueError if that is not how many there may be."""
        if size > self.most or (self.exact and size != self.most):
            raise ValueError("Its size is not that of the array's document.")

    def compressed(self) -> Room:
        """Give what the same bytes take at most, however badly they compress."""
        return Room(self.most + self.most // 2 + 4096, exact=False)


def undo(
    config: Mapping[str, Any], dtype: np.dtype[Any], room: Room
) -> tuple[Step, Room, np.dtype[Any]]:
    """Give what undoes a codec of numcodecs, how much it is to be given, and of what.

    It is named as in zarr 2's documents; it was given so many bytes (``room``) when it
    encoded, of ``dtype`` where it does not say so itself.

    Raises
    ------
    UnsupportedDataError
        It could do anything, or makes no numbers.
    """
    name, octets = str(config["id"]), np.dtype(np.uint8)
    if name in _DECOMPRESSORS:
        return partial(_DECOMPRESSORS[name], room=room), room.compressed(), octets
    if name == "lzma":
        codec = numcodecs.get_codec(dict(config))
        step = partial(_xz, codec.format, codec.filters, room=room)
        return step, room.compressed(), octets
    if name == "crc32c" and config.get("location") in (None, "end"):
        return unchecked, Room(room.most + CHECKSUM, room.exact), octets
    if name in _NO_NUMBERS:
        msg = f"The codec {name} makes no numbers"
        raise UnsupportedDataError(msg)
    if name in _FILTERS:
        return _unfiltered(name, dict(config), dtype, room)
    if name == "shuffle":
        config = {"elementsize": dtype.itemsize, **config}
        if not isinstance(config["elementsize"], int):
            raise TypeError("The codec shuffle needs a whole number")
    codec = numcodecs.get_codec(dict(config))
    inside = Room(room.most + _ADDED[name], room.exact) if name in _ADDED else None
    kept = dtype if name == "bitround" else octets
    checked: Step = partial(_numcodecs, codec, room, inside)
    risky = name not in _ADDED and is_installed(type(codec))
    undone = CodecInProcess(checked, room.most) if risky else checked
    return undone, inside or room.compressed(), kept


_FILTERS = {"astype", "delta", "fixedscaleoffset", "packbits", "quantize"}
"""Those that change how many bytes a number takes."""

_ADDED = {
    **dict.fromkeys(["adler32", "crc32", "crc32c", "fletcher32"], CHECKSUM),
    **dict.fromkeys(["jenkins_lookup3"], CHECKSUM),
    **dict.fromkeys(["bitround", "shuffle"], 0),
}
"""How many bytes those add that keep the others."""

_NO_NUMBERS = {
    *("categorize", "json2", "msgpack2", "vlen-array", "vlen-bytes", "vlen-utf8"),
    # Whoever wrote a pickle decides what runs here.
    "pickle",
}


def _unfiltered(
    name: str, config: dict[str, Any], dtype: np.dtype[Any], room: Room
) -> tuple[Step, Room, np.dtype[Any]]:
    if name == "packbits":
        codec = numcodecs.get_codec(config)
        inside = Room(1 + -(-room.most // 8), room.exact)
        return partial(_numcodecs, codec, room, inside), inside, np.dtype(np.uint8)
    outer, inner = ("dtype", "astype")
    if name == "astype":
        outer, inner = ("decode_dtype", "encode_dtype")
    config[outer] = config.get(outer) or dtype.str
    config[inner] = config.get(inner) or config[outer]
    made, given = np.dtype(config[outer]), np.dtype(config[inner])
    if made.kind not in "biuf" or given.kind not in "biuf":
        raise UnsupportedDataError(f"The codec {name} makes no numbers")
    count, rest = divmod(room.most, made.itemsize)
    if rest and room.exact:
        raise ValueError(f"The codec {name} makes numbers of another size")
    inside = Room(count * given.itemsize, room.exact)
    codec = numcodecs.get_codec(config)
    return partial(_numcodecs, codec, room, inside), inside, given


def _numcodecs(codec: Codec, room: Room, inside: Room | None, body: Any) -> Any:
    """Undo a codec that takes no more memory than it is given, or that is foreign."""
    given = _flat(body)
    if inside is not None:
        inside.check(given.nbytes)
    made = _flat(codec.decode(given))
    room.check(made.nbytes)
    return made


def _flat(body: Any) -> np.ndarray:
    """Give what a codec made as bytes in their order."""
    if isinstance(body, np.ndarray):
        return np.ascontiguousarray(body.reshape(-1, order="A")).view(np.uint8)
    return np.frombuffer(body, np.uint8)


def numbers(dtype: np.dtype[Any], shape: tuple[int, ...], order: Any, body: Any) -> Any:
    """Take bytes for numbers; ValueError if they are not as many."""
    return np.frombuffer(body, dtype).reshape(shape, order=order)


def unchecked(body: Any) -> memoryview:
    """Give bytes without the CRC32C at their end; ValueError if it is another."""
    whole = memoryview(body).cast("B")
    plain, said = whole[:-CHECKSUM], whole[-CHECKSUM:]
    # An array: the library takes no other view of bytes.
    if google_crc32c.value(np.frombuffer(plain, np.uint8)) != int.from_bytes(
        said, "little"
    ):
        raise ValueError("The checksum is wrong.")
    return plain


def _blosc(body: Any, room: Room, out: np.ndarray | None = None) -> Any:
    view = memoryview(body).cast("B")
    # Version, its compressor's, flags, size of a number; then the three sizes.
    nbytes, _, cbytes = struct.unpack_from("<III", view, 4)
    room.check(nbytes)
    if not _BLOSC_HEADER <= cbytes <= len(view):
        raise ValueError("It is shorter than its header says.")
    made = np.empty(nbytes, np.uint8) if out is None else out
    return blosc.decompress(view[:cbytes], made)


_BLOSC_HEADER = 16


def _lz4(body: Any, room: Room) -> Any:
    (size,) = struct.unpack_from("<I", body)
    room.check(size)
    return lz4.decompress(body)


def _zstd(body: Any, room: Room, out: np.ndarray | None = None) -> Any:
    view = memoryview(body).cast("B")
    _, said, _ = _zstd_header(view)
    if not room.exact:
        # Without a size only an exact one can bound it; zarr's writers give it.
        if said is None:
            raise ValueError("It does not say its size.")
        room.check(said)
        return zstd.decompress(view, np.empty(said, np.uint8))
    made = np.empty(room.most, np.uint8) if out is None else out
    zstd.decompress(view, made)
    if said not in (None, room.most):
        # Several frames. numcodecs does not tell how much of the room they filled.
        again = ~made
        zstd.decompress(view, again)
        if not np.array_equal(made, again):
            raise ValueError("Its size is not that of the array's document.")
    return made


_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_BEGINS = 5  # bytes that say how many more a header has
_ZSTD_BLOCK = 128 << 10  # bytes that come out of a block at most
_RLE, _RESERVED = 1, 3  # types of blocks


def _zstd_header(view: memoryview) -> tuple[int, int | None, bool]:
    """Give a frame's bytes before its first block, its size, whether it has a checksum.

    https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.1
    """
    magic, flags = struct.unpack_from("<IB", view)
    if magic != _ZSTD_MAGIC:
        return 0, -1, False
    single = flags >> 5 & 1
    start = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    width = (single, 2, 4, 8)[flags >> 6]
    said = view[start : start + width]
    size = int.from_bytes(said, "little") + (256 if width == 2 else 0)
    return start + width, size if width else None, bool(flags & 4)


def are_frames(body: memoryview, extents: np.ndarray, size: int) -> np.ndarray:
    """Say which parts of a body are one zstd frame each, of so many decoded bytes.

    ``extents`` has the start and stop of each part, in the body. Frames that begin
    unlike the first one, as no writer's do within an array, are not looked at.
    """
    octets = np.frombuffer(body, np.uint8)
    start, stop = extents.T
    none = np.zeros(len(extents), bool)
    least = (stop - start).min()
    if stop.max() > octets.size or least < _ZSTD_BEGINS:
        return none
    length, said, checked = _zstd_header(body[start[0] : stop[0]])
    if said != size or least < length:
        return none
    heads = octets[start[:, None] + np.arange(length)]
    whole: np.ndarray = (heads == heads[0]).all(1)
    at, going_on = start + length, whole.copy()
    for _ in range(2 + size // _ZSTD_BLOCK):
        whole &= ~going_on | (at + 3 <= stop)
        going_on &= whole
        if not going_on.any():
            break
        here = at[going_on]
        block = octets[here[:, None] + np.arange(3)] @ np.array([1, 1 << 8, 1 << 16])
        kind = block >> 1 & 3
        at[going_on] += 3 + np.where(kind == _RLE, 1, block >> 3)
        whole[going_on] = kind != _RESERVED
        going_on[going_on] = block & 1 == 0
    whole &= ~going_on & (at + CHECKSUM * checked == stop)
    return whole


def _streamed(make: Callable[[], Any], magic: bytes, body: Any, room: Room) -> bytes:
    """Decompress, piece by piece, what does not say beforehand how much it is.

    More than one stream is taken as one, as their tools do; what else follows is not.
    """
    pieces: list[bytes] = []
    left, body = room.most + 1, memoryview(body).cast("B")
    while True:
        stream = make()
        piece = stream.decompress(body, left)
        if not stream.eof:
            raise ValueError("It is cut off, or it holds too much.")
        pieces.append(piece)
        left -= len(piece)
        body = stream.unused_data
        if not left or not body.startswith(magic):
            break
    room.check(room.most + 1 - left)
    return b"".join(pieces) if len(pieces) > 1 else pieces[0]


def _deflate(body: Any, room: Room) -> bytes:
    # Either header: writers are known that mean zlib and call it gzip.
    return _streamed(partial(zlib.decompressobj, 47), b"\x1f\x8b", body, room)


def _bz2(body: Any, room: Room) -> bytes:
    return _streamed(bz2.BZ2Decompressor, b"BZh", body, room)


def _xz(form: int, filters: Any, body: Any, room: Room) -> bytes:
    if any(each.get("dict_size", 0) > _LZMA_MEMORY for each in filters or ()):
        raise ValueError("Its dictionary is too large.")
    raw = form == lzma.FORMAT_RAW
    limit, filters = (None, filters) if raw else (_LZMA_MEMORY, None)
    make = partial(lzma.LZMADecompressor, form, limit, filters)
    return _streamed(make, b"\xfd7zXZ\x00", body, room)


_DECOMPRESSORS: dict[str, Callable[..., Any]] = {
    "blosc": _blosc,
    "bz2": _bz2,
    "gzip": _deflate,
    "lz4": _lz4,
    "zlib": _deflate,
    "zstd": _zstd,
}


def made_in_place(step: Step) -> int:
    """Give how many bytes a step makes in memory that it is given as ``out``.

    0 if it takes none, or does not know beforehand how many there will be.
    """
    named: Any = step
    if not (isinstance(step, partial) and step.func in (_blosc, _zstd)):
        return 0
    room: Room = named.keywords["room"]
    return room.most if room.exact else 0


def is_zstd(step: Step) -> bool:
    """Say whether a step undoes zstd alone."""
    return isinstance(step, partial) and step.func is _zstd


def unpacked_frames(body: memoryview, out: np.ndarray) -> bool:
    """Undo frames of zstd that follow each other by one call; False if one is damaged.

    What they are must have been found by `are_frames`.
    """
    try:
        zstd.decompress(body, out)
    except (RuntimeError, ValueError):
        return False
    return True


def size_of(shape: Iterable[int], dtype: np.dtype[Any]) -> int:
    """Give the bytes of an array."""
    return prod(shape) * dtype.itemsize
