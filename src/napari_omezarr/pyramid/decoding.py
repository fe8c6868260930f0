"""An array's document, odd ones too, and how the bytes of its chunks are decoded.

Of the documents of drafts and careless writers only what can be understood in one way
is changed, and each change leaves a note; the rest is left to be refused.

Every chunk that is read passes here, whoever reads it: the codecs are undone one by
one in a thread (`codecs`), and whatever goes wrong is said in our words. zarr's own
pipeline would take a dozen tasks of Python for each chunk, copy all chunks into place
on the thread that serves the network (benchmarks/README.md), and bound nothing. It
undoes only what nobody here knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from math import prod
from operator import methodcaller
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
import zarr.registry
from zarr.buffer.cpu import buffer_prototype
from zarr.storage import MemoryStore, StorePath

from napari_omezarr.codec_processes import CodecInProcess, is_installed
from napari_omezarr.errors import (
    FOREIGN_ERRORS,
    DamagedDataError,
    NotEnoughMemoryError,
    StoreError,
    UnsupportedDataError,
)
from napari_omezarr.metadata import load_json
from napari_omezarr.plain_text import bytes_text

from .codecs import (
    CHECKSUM,
    Room,
    are_frames,
    is_zstd,
    made_in_place,
    numbers,
    size_of,
    tolerated,
    unchecked,
    undo,
    unpacked_frames,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .boxes import ChunkPart
    from .codecs import Step

    Place = tuple[np.ndarray, ChunkPart]
    """The array of a box, and which part of it is a chunk's."""

Notes = list[str]

_OF_BYTES = {"blosc", "crc32c", "gzip", "zstd"} | {
    f"numcodecs.{name}"
    for name in ("blosc", "bz2", "gzip", "lz4", "lzma", "shuffle", "zlib", "zstd")
}
_SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
_MOST_AXES = 32
_OLD_TYPE = re.compile(r"([<>|=])?([biuf])(\d+)")


def understood(document: Mapping[str, Any]) -> tuple[dict[str, Any], Notes]:
    """Give an array's document in the words of its zarr format, and notes on it."""
    known, notes = dict(document), Notes()
    for key in ("shape", "chunks"):
        if key in known:
            known[key] = _whole(known[key])
    if "chunk_grid" in known or "data_type" in known or "node_type" in known:
        _understand_3(known, notes)
    else:
        _understand_2(known, notes)
    return known, notes


def check_grid(document: Mapping[str, Any]) -> None:
    """Check that what a document says of sizes is a shape and chunks.

    zarr makes very much of others, and its newest reads a chunk of no size as one.

    Raises
    ------
    UnsupportedDataError
        It is not.
    """
    grid = document.get("chunk_grid")
    settings = grid.get("configuration") if isinstance(grid, Mapping) else None
    chunks = settings.get("chunk_shape") if isinstance(settings, Mapping) else None
    chunks = document.get("chunks") if chunks is None else chunks
    every = [(document.get("shape"), 0), (chunks, 1)]
    every += [(inner, 1) for inner in _inner_chunks(document.get("codecs"))]
    for sizes, least in every:
        if not isinstance(sizes, list | tuple) or len(sizes) > _MOST_AXES:
            raise UnsupportedDataError("Its shape or that of its chunks is none")
        if not all(type(size) is int and size >= least for size in sizes):
            raise UnsupportedDataError("Its shape or that of its chunks is none")


def _inner_chunks(steps: Any) -> Iterator[Any]:
    """Give what shards say of the chunks inside them."""
    for step in steps if isinstance(steps, list | tuple) else ():
        settings = step.get("configuration") if isinstance(step, Mapping) else None
        if isinstance(settings, Mapping) and step.get("name") == "sharding_indexed":
            yield settings.get("chunk_shape")
            yield from _inner_chunks(settings.get("codecs"))


def array_metadata(document: Mapping[str, Any]) -> Any:
    """Let zarr parse an array's document in the words of its format.

    Raises
    ------
    UnsupportedDataError
        It is none that zarr understands.
    """
    try:
        known, _ = tolerated(document)
        check_grid(known)
        return zarr.AsyncArray.from_dict(StorePath(MemoryStore()), known).metadata
    except FOREIGN_ERRORS as error:
        raise not_understood() from error


def not_understood() -> UnsupportedDataError:
    """Say that a document is none of an array."""
    return UnsupportedDataError(
        "The document of an array is none that zarr understands.",
        action="Look for what is wrong with it: napari-omezarr doctor.",
    )


def is_of_document(array: zarr.AsyncArray[Any], body: bytes | None) -> bool:
    """Say whether an array was opened by a document, or one that means the same."""
    try:
        document = None if body is None else load_json(body, shortened=True)
    except FOREIGN_ERRORS:
        return False
    return _of_pixels(array.metadata) == _of_pixels(_parsed(document))


def mean_the_same(one: Any, other: Any) -> bool:
    """Say whether two documents, as parsed JSON, are of arrays with the same pixels."""
    if one == other:
        return True
    first = _of_pixels(_parsed(one))
    return first is not None and first == _of_pixels(_parsed(other))


def _parsed(document: Any) -> Any:
    try:
        is_object = isinstance(document, dict)
        return array_metadata(understood(document)[0]) if is_object else None
    except FOREIGN_ERRORS:
        return None


def _of_pixels(metadata: Any) -> dict[str, str] | None:
    if metadata is None:
        return None
    said = metadata.to_dict().items()
    # As texts: a fill value may be NaN. None is what is not said.
    return {k: repr(v) for k, v in said if k not in _ASIDE and v is not None}


_ASIDE = {"attributes", "dimension_names", "dimension_separator", "chunk_key_encoding"}
"""What makes no other array; chunks are looked for under names that nobody wrote."""


def _whole(values: Any) -> Any:
    """Give integers for floats that are whole, as some writers of JSON have them."""
    if not isinstance(values, list | tuple):
        return values
    return [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]


# zarr 3, and its drafts.


def _understand_3(known: dict[str, Any], notes: Notes) -> None:
    if known.get("zarr_format") != 3 or "node_type" not in known:
        notes.append("The array's document does not say that it is one of zarr 3.")
    known.update(zarr_format=3, node_type="array")
    order = _understand_type(known, notes)
    known["codecs"] = _codecs(known.get("codecs"), order, known.get("shape"), notes)
    grid = known.get("chunk_grid")
    if isinstance(grid, dict) and isinstance(grid.get("configuration"), dict):
        settings = dict(grid["configuration"])
        settings["chunk_shape"] = _whole(settings.get("chunk_shape"))
        known["chunk_grid"] = {**grid, "configuration": settings}
    encoding = known.get("chunk_key_encoding")
    if encoding is None or isinstance(encoding, str):
        notes.append("The array's document does not say how its chunks are called.")
        known["chunk_key_encoding"] = {"name": encoding or "default"}
    names, shape = known.get("dimension_names"), known.get("shape")
    if isinstance(names, list) and isinstance(shape, list) and len(names) != len(shape):
        notes.append("The array names more or fewer dimensions than it has.")
        del known["dimension_names"]
    if known.get("storage_transformers") is None:
        known.pop("storage_transformers", None)
    known["fill_value"] = _fill(known.get("fill_value"), known.get("data_type"), notes)


def _understand_type(known: dict[str, Any], notes: Notes) -> str:
    """Call the data type as zarr 3 does; gives the order of bytes of a draft's."""
    found = _OLD_TYPE.fullmatch(str(known.get("data_type")))
    if found is None:
        return "little"
    notes.append(f"The data type {found[0]} is called as in zarr 2.")
    known["data_type"] = np.dtype(f"{found[2]}{found[3]}").name
    return "big" if found[1] == ">" else "little"


def _codecs(steps: Any, order: str, shape: Any, notes: Notes) -> Any:
    """Complete a chain of codecs; drafts had ``endian``, or nothing for plain bytes."""
    if steps is not None and not isinstance(steps, list | tuple):
        return steps
    chain = [_codec(step, order, shape, notes) for step in steps or ()]
    chain = [step for step in chain if step is not None]
    names = [step.get("name") if isinstance(step, dict) else step for step in chain]
    plain = next((i for i, n in enumerate(names) if n in _OF_BYTES), len(names))
    before = set(names[:plain])
    if before <= {"transpose"} and set(names[plain:]) <= _OF_BYTES:
        notes.append(f"The codecs do not say the order of bytes; read as {order}.")
        chain.insert(plain, {"name": "bytes", "configuration": {"endian": order}})
    return chain


def _codec(step: Any, order: str, shape: Any, notes: Notes) -> Any:
    if not isinstance(step, dict):
        return step
    name = step.get("name")
    given = step.get("configuration")
    settings = dict(given) if isinstance(given, dict) else {}
    if name == "endian":
        notes.append("The codec bytes is called endian, as in a draft of zarr 3.")
        return {"name": "bytes", "configuration": {"endian": order, **settings}}
    if name == "bytes" and order == "big" and not settings:
        return {"name": "bytes", "configuration": {"endian": order}}
    if name == "transpose" and settings.get("order") in ("C", "F"):
        notes.append("The codec transpose gives its order as a draft of zarr 3 did.")
        count = len(shape) if isinstance(shape, list) else 0
        axes = list(reversed(range(count)))
        turned = {"name": name, "configuration": {"order": axes}}
        return None if settings["order"] == "C" else turned
    if name == "blosc" and settings.get("shuffle") in (0, 1, 2):
        settings["shuffle"] = _SHUFFLES[settings["shuffle"]]
    if name == "sharding_indexed":
        for inner in ("codecs", "index_codecs"):
            if inner in settings:
                settings[inner] = _codecs(settings[inner], order, shape, notes)
    return {**step, "configuration": settings} if given is not None else step


# zarr 2.


def _understand_2(known: dict[str, Any], notes: Notes) -> None:
    known["zarr_format"] = 2
    if "order" not in known:
        notes.append("The array's document does not say its order; read as C.")
        known["order"] = "C"
    if known.get("dimension_separator", ".") is None:
        del known["dimension_separator"]
    for key in ("compressor", "filters"):
        known.setdefault(key, None)
    dtype = known.get("dtype")
    if isinstance(dtype, str):
        known["dtype"] = _type_of(dtype, notes)
        given = known.get("fill_value", 0)
        if given is not None:
            known["fill_value"] = _fill(given, known["dtype"], notes)


def _type_of(text: str, notes: Notes) -> str:
    """Give the type as zarr 2 writes it, where numpy knows it by another name."""
    try:
        dtype = np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        return text
    if dtype.kind not in "biuf":
        return text
    if dtype.str != text:
        notes.append(f"The data type is written {text[:20]!r} and not {dtype.str!r}.")
    return dtype.str


# What is not stored.


def _fill(value: Any, name: Any, notes: Notes) -> Any:
    """Give a fill value of the type; 0 where the document gives none that is."""
    try:
        kind = np.dtype(name).kind if isinstance(name, str) else ""
    except (TypeError, ValueError, SyntaxError):
        return value
    if kind == "b":
        fits = isinstance(value, bool) or value in (0, 1)
        found: Any = bool(value) if fits else False
    elif kind in "iu":
        found = _integer(value)
        ends = np.iinfo(np.dtype(name))
        fits = found is not None and ends.min <= found <= ends.max
        found = found if fits else 0
    else:
        fits, found = value is not None or kind != "f", 0.0 if value is None else value
    if not fits:
        notes.append("The fill value is none of the array's type; read as 0.")
    return found if kind else value


def _integer(value: Any) -> int | None:
    try:
        number = float(value) if isinstance(value, str) else value
        if isinstance(number, int):
            return int(number)
        whole = isinstance(number, float) and number.is_integer()
        return int(number) if whole else None
    except (ValueError, OverflowError):
        return None


# From stored bytes to pixels.

MOST_BYTES = 4 << 30
"""A chunk that takes more memory is not read."""
MOST_INDEX_BYTES = 256 << 20
"""Nor is a shard whose index takes more: 16 million chunks."""

QUICK = 16 << 10
"""Bytes of pixels that are decoded or averaged at once, on the thread of the network.

A thread for them costs as much, and Python's lock is waited for twice more.
"""

SCRATCH = 2 << 20
"""Memory that each thread keeps for what it decodes; longer chunks get their own."""


TOGETHER = 512 << 10
"""So many bytes of small chunks are decoded by one call."""
HANDED_OVER = 4 << 20
"""So many bytes of chunks are handed to a thread: each time others wait for it."""


class _ThreadMemory(local):
    array = np.empty(0, np.uint8)


_memory = _ThreadMemory()


def _scratch(size: int) -> np.ndarray:
    """Give memory of this thread, which is overwritten by the next who asks."""
    if _memory.array.size < size:
        _memory.array = np.empty(size, np.uint8)
    return _memory.array[:size]


ENTRY = 16
MISSING = 2**64 - 1
"""In the index of a shard: bytes of an entry, and the number that says "not there"."""


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """Where a chunk lies in some bytes, its name, and where its pixels go."""

    start: int
    stop: int
    name: str
    places: Sequence[Place]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the bytes of a chunk become its pixels."""

    dtype: np.dtype[Any]  # of the pixels, byte order included
    shape: tuple[int, ...]  # of every stored chunk, those over an edge included
    fill_value: Any  # what all pixels of a missing chunk are
    steps: tuple[Step, ...]  # each undoes a codec
    longest: int  # bytes that a chunk has at most as stored
    # Looked at for each chunk: whether to decode takes less than to hand it to a thread
    # and back; how many are handed over, and how many of these are decoded by one call
    # if they follow each other, and can be; what the first step makes in memory that it
    # is given, and whether that are pixels already.
    is_quick: bool = field(init=False, repr=False, compare=False)
    handed_over: int = field(init=False, repr=False, compare=False)
    together: int = field(init=False, repr=False, compare=False)
    in_a_row: bool = field(init=False, repr=False, compare=False)
    _made: int = field(init=False, repr=False, compare=False)
    _is_plain: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        made = made_in_place(self.steps[0]) if self.steps else 0
        last: Any = self.steps[-1] if len(self.steps) == 2 else None
        plain = isinstance(last, partial) and last.func is numbers
        alike = plain and last.args == (self.dtype, self.shape, "C")
        foreign = CodecInProcess, _ByZarr
        is_ours = not any(isinstance(step, foreign) for step in self.steps)
        size = size_of(self.shape, self.dtype)
        object.__setattr__(self, "is_quick", is_ours and size <= QUICK)
        together = TOGETHER // max(1, size) if is_ours else 1
        object.__setattr__(self, "together", max(1, together))
        # What a slow codec undoes is worth a thread sooner.
        handed = HANDED_OVER // max(1, size) if made else together
        object.__setattr__(self, "handed_over", max(1, handed))
        in_a_row = bool(made and alike) and is_zstd(self.steps[0])
        object.__setattr__(self, "in_a_row", in_a_row)
        object.__setattr__(self, "_made", made)
        object.__setattr__(self, "_is_plain", bool(made and alike))

    def decode(self, body: Any, name: str) -> np.ndarray:
        """Decode one chunk, in any thread, to ``dtype`` and ``shape``; may view `body`.

        Raises
        ------
        DamagedDataError
            The bytes are not what the array's document says.
        NotEnoughMemoryError
            There is not enough memory for what they would become.
        """
        return self._decoded(body, name, None)

    def place(self, body: Any, name: str, places: Sequence[Place]) -> None:
        """Decode one chunk, in any thread, and copy parts of it to where they go.

        What is decoded lies in memory that the thread keeps, as new memory would have
        to be cleared for each chunk. Raises as `decode` does.
        """
        targets = [part.within(box) for box, part in places]
        if len(places) == 1 and self._is_whole(targets[0]):
            self._decoded(body, name, targets[0].reshape(-1).view(np.uint8))
            return
        out = _scratch(self._made) if 0 < self._made <= SCRATCH else None
        pixels = self._decoded(body, name, out)
        for target, (_, part) in zip(targets, places, strict=True):
            target[...] = pixels[part.source]

    def place_each(
        self, body: memoryview, chunks: Sequence[StoredChunk]
    ) -> list[StoreError | None]:
        """Do so for chunks of one body, and give for each what was wrong with it.

        Small ones that follow each other are decoded by one call: to give Python's lock
        away and back for each takes half as long as to decode it (decision 041).
        """
        errors: list[StoreError | None] = []
        for run in self._runs(body, chunks):
            members = chunks[run]
            if len(members) > 1 and self._placed_together(body, members):
                errors += [None] * len(members)
                continue
            for chunk in members:
                try:
                    self.place(body[chunk.start : chunk.stop], chunk.name, chunk.places)
                except StoreError as error:
                    errors.append(error)
                else:
                    errors.append(None)
        return errors

    def _runs(self, body: memoryview, chunks: Sequence[StoredChunk]) -> Iterator[slice]:
        """Cut a row of chunks into those that one call may decode."""
        count = len(chunks)
        follows = [False] * count  # whether the next chunk does, and both are frames
        if self.in_a_row and self.together > 1 and count > 1:
            extents = np.array([(chunk.start, chunk.stop) for chunk in chunks])
            alike = are_frames(body, extents, self._made)
            lying = extents[1:, 0] == extents[:-1, 1]
            follows[:-1] = (alike[1:] & alike[:-1] & lying).tolist()
        start = 0
        for end, on in enumerate(follows, 1):
            if not on or end - start == self.together:
                yield slice(start, end)
                start = end

    def _placed_together(self, body: memoryview, chunks: Sequence[StoredChunk]) -> bool:
        out = _scratch(len(chunks) * self._made)
        if not unpacked_frames(body[chunks[0].start : chunks[-1].stop], out):
            return False
        pixels = out.view(self.dtype).reshape(-1, *self.shape)
        for made, chunk in zip(pixels, chunks, strict=True):
            for box, part in chunk.places:
                part.within(box)[...] = made[part.source]
        return True

    def _is_whole(self, target: np.ndarray) -> bool:
        """Say whether a target is memory that the first step may fill."""
        alike = target.shape == self.shape and target.dtype == self.dtype
        return self._is_plain and alike and target.flags.c_contiguous

    def _decoded(self, body: Any, name: str, out: np.ndarray | None) -> np.ndarray:
        try:
            if self._is_plain:
                return self.undone(body, out)
            with np.errstate(all="ignore"):
                return self.undone(body, out)
        except MemoryError as error:
            sentence = f"There is not enough memory to unpack {name}."
            action = "Close other images or programs."
            raise NotEnoughMemoryError(sentence, action=action, url=name) from error
        except Exception as error:
            # Any code can be behind a codec.
            sentence = f"{name} is damaged: it cannot be decoded."
            action = "Ask its owner to copy it again."
            raise DamagedDataError(sentence, action=action, url=name) from error

    def undone(self, body: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Do so, and let the codecs raise what they do; the first may fill `out`."""
        made: np.ndarray = body
        steps = self.steps
        if out is not None:
            first: Any = steps[0]
            made, steps = first(body, out=out), steps[1:]
        for step in steps:
            made = step(made)
        if made.shape != self.shape:
            raise ValueError("Its shape is not that of the array's document.")
        return made


def decoding_of(array: zarr.AsyncArray[Any]) -> Decoding:
    """Find how an array's stored objects are decoded, from its document alone.

    Raises
    ------
    UnsupportedDataError, or an error of zarr's
        Nothing here can decode it, or should.
    """
    dtype = np.dtype(array.dtype)
    document: dict[str, Any] = array.metadata.to_dict()
    fill = array.metadata.fill_value
    if array.metadata.zarr_format == 2:
        return _old(document, dtype, tuple(array.chunks), 0 if fill is None else fill)
    shape = tuple(document["chunk_grid"]["configuration"]["chunk_shape"])
    return chain(document["codecs"], dtype, shape, fill, document["data_type"])


def _old(
    document: Mapping[str, Any], dtype: np.dtype[Any], shape: tuple[int, ...], fill: Any
) -> Decoding:
    """Find it for zarr 2: filters, and then a compressor."""
    room = _room(shape, dtype)
    steps: list[Step] = [partial(numbers, dtype, shape, document.get("order", "C"))]
    configs = [*(document.get("filters") or ()), document.get("compressor")]
    for config in configs:
        if config is not None:
            step, room, _ = undo(config, dtype, room)
            steps.insert(0, step)
    return Decoding(dtype, shape, fill, tuple(steps), room.most)


def _room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Room:
    size = size_of(shape, dtype)
    if min(shape, default=1) < 1:
        raise UnsupportedDataError("A chunk holds nothing")
    if size > MOST_BYTES:
        msg = (
            f"A chunk takes {bytes_text(size)} of memory, and {bytes_text(MOST_BYTES)}"
        )
        raise UnsupportedDataError(f"{msg} are the most that are read")
    return Room(size)


# zarr 3: arrays to arrays, an array to bytes, bytes to bytes.

_ARRAYS = {"astype", "bitround", "delta", "fixedscaleoffset", "packbits", "quantize"}
"""The codecs of numcodecs that zarr 3 gives arrays to."""

_BYTES = {
    *("adler32", "blosc", "bz2", "crc32", "crc32c", "fletcher32", "gzip"),
    *("jenkins_lookup3", "lz4", "lzma", "shuffle", "zlib", "zstd"),
}
"""Those that it gives bytes to, its own among them."""

_OWN = {"blosc", "crc32c", "gzip", "zstd"}
_PREFIX = "numcodecs."

# What a codec is, by what it makes of what.
_ARRAY, _ENDS, _BYTE, _UNKNOWN = "array to array", "array to bytes", "bytes", "unknown"


def _kind(step: Mapping[str, Any]) -> str:
    name = str(step["name"])
    short = name.removeprefix(_PREFIX)
    if name == "transpose" or (short in _ARRAYS and short != name):
        return _ARRAY
    if name in ("bytes", "sharding_indexed"):
        return _ENDS
    if name in _OWN or (short in _BYTES and short != name):
        return _BYTE
    return _UNKNOWN


def chain(
    codecs: Sequence[Mapping[str, Any]],
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    fill_value: Any,
    data_type: Any,
) -> Decoding:
    """Find how the codecs of zarr 3 are undone that encoded chunks of a shape.

    ``data_type`` is the document's name of the type.
    """
    _room(shape, dtype)
    foreign = _foreign_part(codecs)
    if foreign:
        room = Room(size_of(shape, dtype)).compressed()
        names = {str(codec["name"]) for codec in codecs[:foreign]}
        known = {name: zarr.registry.get_codec_class(name) for name in names}
        by_zarr = _ByZarr(codecs[:foreign], known, shape, dtype, data_type)
        made = partial(numbers, dtype, shape, "C")
        risky = all(map(is_installed, known.values()))
        undone = CodecInProcess(by_zarr, size_of(shape, dtype)) if risky else by_zarr
        steps: list[Step] = [undone, made]
    else:
        foreign, room, steps = _to_bytes(codecs, dtype, shape, fill_value, data_type)
    for codec in codecs[foreign:]:
        step, room, _ = undo(_config(codec), dtype, room)
        steps.insert(0, step)
    return Decoding(dtype, shape, fill_value, tuple(steps), room.most)


def _foreign_part(codecs: Sequence[Mapping[str, Any]]) -> int:
    """Say how many of the first codecs are zarr's to undo, because it knows one more.

    It checks nothing, so what must be checked is not among them.
    """
    kinds = [_kind(codec) for codec in codecs]
    if _UNKNOWN not in kinds:
        return 0
    count = len(kinds) - kinds[::-1].index(_UNKNOWN)
    while kinds[count:] and kinds[count] in (_ARRAY, _ENDS):
        count += 1
    names = {str(codec["name"]) for codec in codecs[:count]}
    if _BYTE in kinds[:count] or "sharding_indexed" in names:
        msg = f"The codecs {', '.join(sorted(names))} are not undone together"
        raise UnsupportedDataError(msg)
    return count


def _to_bytes(
    codecs: Sequence[Mapping[str, Any]],
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    fill_value: Any,
    data_type: Any,
) -> tuple[int, Room, list[Step]]:
    """Undo the codecs up to the one that makes bytes; says how many they are."""
    steps: list[Step] = []
    for count, codec in enumerate(codecs, 1):
        kind, config = _kind(codec), _config(codec)
        if codec["name"] == "transpose":
            order = tuple(config["order"])
            steps.insert(
                0, methodcaller("transpose", tuple(map(order.index, range(len(shape)))))
            )
            shape = tuple(shape[axis] for axis in order)
        elif kind == _ARRAY:
            step, room, inner = undo(config, dtype, Room(size_of(shape, dtype)))
            steps.insert(0, partial(_filtered, step, dtype, shape))
            if config["id"] == "packbits":
                shape = (room.most,)
            dtype = inner
        elif codec["name"] == "bytes":
            stored = dtype.newbyteorder(">" if config.get("endian") == "big" else "<")
            steps.insert(0, partial(numbers, stored, shape, "C"))
            return count, Room(size_of(shape, dtype)), steps
        elif kind == _ENDS:
            sharding = sharding_of(config, dtype, shape, fill_value, data_type)
            steps.insert(0, partial(_unsharded, sharding))
            most = sharding.index_size + prod(sharding.grid) * sharding.longest_chunk
            return count, Room(most, exact=False), steps
        else:
            break
    raise UnsupportedDataError("Its codecs make no bytes")


def _config(codec: Mapping[str, Any]) -> dict[str, Any]:
    """Give the configuration of a codec as numcodecs takes it."""
    name = str(codec["name"]).removeprefix(_PREFIX)
    return {**(codec.get("configuration") or {}), "id": name}


def _filtered(
    step: Step, dtype: np.dtype[Any], shape: tuple[int, ...], pixels: np.ndarray
) -> Any:
    return numbers(dtype, shape, "C", step(np.ascontiguousarray(pixels)))


@dataclass(frozen=True, slots=True)
class _ByZarr:
    """Lets zarr undo what is not known here: an array that is this one chunk."""

    codecs: Sequence[Mapping[str, Any]]
    known: Mapping[str, type]  # what zarr found them to be, which goes along
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    data_type: Any

    def __call__(self, body: Any) -> np.ndarray:
        for name, codec in self.known.items():
            zarr.registry.register_codec(name, codec)
        document = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": self.shape,
            "data_type": self.data_type,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": self.shape},
            },
            "chunk_key_encoding": {"name": "default"},
            "fill_value": 0,
            "codecs": list(self.codecs),
            "attributes": {},
        }
        key = "c" + "/0" * len(self.shape)
        content = {key: buffer_prototype.buffer.from_bytes(bytes(body))}
        array = zarr.Array.from_dict(StorePath(MemoryStore(content)), document)
        return np.asarray(array[...], self.dtype, order="C").reshape(-1).view(np.uint8)


# Shards: arrays of chunks, and an index of where each lies.


@dataclass(frozen=True, slots=True)
class Sharding:
    """How a shard is laid out; ``index_dtype`` is that of the numbers in its index."""

    shards: tuple[int, ...]
    chunks: tuple[int, ...]
    decoding: Decoding
    index_at_end: bool
    index_checked: bool
    index_dtype: np.dtype[Any]

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks a shard has along each axis."""
        return tuple(s // c for s, c in zip(self.shards, self.chunks, strict=True))

    @property
    def index_size(self) -> int:
        """Bytes of an index."""
        return prod(self.grid) * ENTRY + CHECKSUM * self.index_checked

    @property
    def chunk_size(self) -> int:
        """Bytes of a chunk when decoded."""
        return size_of(self.chunks, self.decoding.dtype)

    @property
    def longest_chunk(self) -> int:
        """Bytes that a chunk has at most as stored, however badly it compresses."""
        return max(self.decoding.longest, self.chunk_size + self.chunk_size // 4 + 4096)


def sharding_of(
    configuration: Mapping[str, Any],
    dtype: np.dtype[Any],
    shards: tuple[int, ...],
    fill_value: Any,
    data_type: Any,
) -> Sharding:
    """Find how shards of a shape are laid out, from their codec's configuration."""
    chunks = tuple(configuration["chunk_shape"])
    if len(chunks) != len(shards) or any(
        chunk < 1 or shard % chunk for shard, chunk in zip(shards, chunks, strict=True)
    ):
        raise UnsupportedDataError("Its shards are no whole number of chunks")
    index_codecs = configuration["index_codecs"]
    names = [step["name"] for step in index_codecs]
    if names not in (["bytes"], ["bytes", "crc32c"]):
        raise UnsupportedDataError("The index of its shards has a codec of its own")
    big = (index_codecs[0].get("configuration") or {}).get("endian") == "big"
    sharding = Sharding(
        shards,
        chunks,
        chain(configuration["codecs"], dtype, chunks, fill_value, data_type),
        configuration.get("index_location", "end") == "end",
        len(names) == 2,
        np.dtype(">u8" if big else "<u8"),
    )
    if sharding.index_size > MOST_INDEX_BYTES:
        msg = f"A shard holds {prod(sharding.grid):.3g} chunks, more than are read"
        raise UnsupportedDataError(msg)
    return sharding


def _unsharded(sharding: Sharding, body: Any) -> np.ndarray:
    """Decode a shard that is in memory, as one that lies inside another is."""
    view, size = memoryview(body).cast("B"), sharding.index_size
    if len(view) < size:
        raise ValueError("It is shorter than its index.")
    index = view[len(view) - size :] if sharding.index_at_end else view[:size]
    if sharding.index_checked:
        index = unchecked(index)
    table = np.frombuffer(index, sharding.index_dtype).reshape(-1, 2)
    decoding = sharding.decoding
    made = np.full(sharding.shards, decoding.fill_value, decoding.dtype)
    for entry, number in zip(table, product(*map(range, sharding.grid)), strict=True):
        offset, length = map(int, entry)
        if offset == length == MISSING:
            continue
        if offset + length > len(view):
            raise ValueError("Its index leads outside.")
        along = zip(number, sharding.chunks, strict=True)
        box = tuple(slice(n * chunk, (n + 1) * chunk) for n, chunk in along)
        made[box] = decoding.undone(view[offset : offset + length])
    return made
