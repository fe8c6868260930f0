"""Array documents of drafts and careless writers, brought to what zarr understands.

Only what can be understood in one way is changed, and each change leaves a note; the
rest is left to be refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.storage import MemoryStore, StorePath

from napari_omezarr.errors import FOREIGN_ERRORS, UnsupportedDataError
from napari_omezarr.metadata import load_json

from .codecs import tolerated

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        if not isinstance(document, dict):
            return False
        known, _ = tolerated(understood(document)[0])
        now = zarr.AsyncArray.from_dict(array.store_path, known).metadata.to_dict()
    except FOREIGN_ERRORS:
        return False
    before = array.metadata.to_dict()
    # As texts: a fill value may be NaN.
    return all(repr(before.get(key)) == repr(now[key]) for key in now.keys() - _ASIDE)


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
