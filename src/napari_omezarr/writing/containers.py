"""Array documents in another format or container, around the same stored chunks; pure.

A chunk's bytes are the same in zarr 2 and zarr 3 if they are numbers that Blosc,
zstd or gzip compresses, or nothing does. What is around them is another matter:
their key, or a shard that holds many of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import FOREIGN_ERRORS, UnsupportedDataError
from napari_omezarr.pyramid import (
    array_metadata,
    not_understood,
    tolerated,
    understood,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SHUFFLES = {0: "noshuffle", 1: "shuffle", 2: "bitshuffle"}
_INDEX_CODECS: list[dict[str, Any]] = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "crc32c"},
]
_SHARDING = "sharding_indexed"
_TEXT = "vlen-utf8"
"""What writes text of any length, the same bytes in zarr 2 and zarr 3."""
_OF_TEXT = 64
"""About how many bytes such a text takes."""


@dataclass(frozen=True, slots=True)
class ChunkStorage:
    """Where the chunks of an array are: their keys, and their places in shards.

    ``codecs`` are those of a chunk, ``unit`` is what is stored as one object, in
    pixels: a chunk, or a shard of whole chunks.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    unit: tuple[int, ...]
    codecs: tuple[Mapping[str, Any], ...]
    key_name: str
    separator: str

    @property
    def is_sharded(self) -> bool:
        """Whether an object holds an index, and chunks by it."""
        return self.key_name.endswith("+shards")

    @property
    def grid(self) -> tuple[int, ...]:
        """How many objects there are along each axis."""
        return tuple(-(-n // u) for n, u in zip(self.shape, self.unit, strict=True))

    @property
    def per_unit(self) -> tuple[int, ...]:
        """How many chunks an object has along each axis."""
        return tuple(u // c for u, c in zip(self.unit, self.chunks, strict=True))

    def key(self, index: Sequence[int]) -> str:
        """Give the key of an object, below the array's path."""
        numbers = [str(number) for number in index]
        if self.key_name.startswith("v2"):
            return self.separator.join(numbers) or "0"
        return self.separator.join(["c", *numbers])

    def units(self) -> Iterator[tuple[int, ...]]:
        """Give the indices of all objects."""
        return product(*map(range, self.grid))

    def chunks_of(self, unit: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Give the indices of the chunks of an object that lie in the array."""
        ranges = []
        for number, per, size, chunk in zip(
            unit, self.per_unit, self.shape, self.chunks, strict=True
        ):
            ranges.append(
                range(number * per, min((number + 1) * per, -(-size // chunk)))
            )
        return product(*ranges)


def known_array(document: Mapping[str, Any], zarr_format: int) -> dict[str, Any]:
    """Give an array's document in the words of its zarr format.

    Of its codecs only that they have names, and what shards are, has to be understood:
    chunks are moved, and never decoded.

    Raises
    ------
    UnsupportedDataError
        It is none that zarr understands.
    """
    try:
        known = tolerated(understood(document)[0])[0]
        try:
            array_metadata(_with_plain_codecs(known))
        except FOREIGN_ERRORS:
            array_metadata(known)  # a type of pixels may want a codec of its own
        said = known["zarr_format"]
    except FOREIGN_ERRORS as error:
        raise not_understood() from error
    if said != zarr_format:
        raise not_understood()
    return known


def _with_plain_codecs(known: Mapping[str, Any]) -> dict[str, Any]:
    if known["zarr_format"] == 2:
        return {**known, "compressor": None, "filters": None}
    plain = [{"name": "bytes", "configuration": {"endian": "little"}}]
    codecs = plain
    steps = list(known["codecs"])
    for codec in known["codecs"]:
        if codec["name"] == _SHARDING:
            steps += codec["configuration"]["codecs"]
            shards = {**codec["configuration"], "codecs": plain}
            codecs = [{**codec, "configuration": shards}]
    if not all(isinstance(step["name"], str) for step in steps):
        raise TypeError
    return {**known, "codecs": codecs}


def storage_of(document: Mapping[str, Any]) -> ChunkStorage:
    """Find where an array's chunks are, by its document of zarr 3.

    Raises
    ------
    UnsupportedDataError
        Its container is another than chunks, or shards of chunks, on a regular grid.
    """
    shape = tuple(document["shape"])
    keys = document["chunk_key_encoding"]
    grid = document["chunk_grid"]
    codecs = list(document["codecs"])
    if grid["name"] != "regular" or keys["name"] not in ("default", "v2"):
        raise _unusual("Its chunks lie on an unusual grid, or are called unusually")
    usual = "." if keys["name"] == "v2" else "/"
    separator = (keys.get("configuration") or {}).get("separator", usual)
    unit = chunks = tuple(grid["configuration"]["chunk_shape"])
    name = keys["name"]
    if codecs and codecs[0]["name"] == _SHARDING:
        sharding = codecs[0]["configuration"]
        at_end = sharding.get("index_location", "end") == "end"
        index_codecs = list(sharding.get("index_codecs", _INDEX_CODECS))
        if len(codecs) > 1 or index_codecs != _INDEX_CODECS:
            raise _unusual("The index of its shards is an unusual one")
        if not at_end:
            raise _unusual("The index of its shards does not lie at their end")
        chunks = tuple(sharding["chunk_shape"])
        codecs = list(sharding["codecs"])
        name = f"{name}+shards"
    return ChunkStorage(shape, chunks, unit, tuple(codecs), name, separator)


def as_zarr3(document: Mapping[str, Any], names: Sequence[str] = ()) -> dict[str, Any]:
    """Describe an array by its ``.zarray`` in zarr 3, its chunks where and as they are.

    The document is one that `known_array` gave.

    Raises
    ------
    UnsupportedDataError
        The bytes of its chunks would be others in zarr 3.
    """
    shape, filters = list(document["shape"]), document.get("filters") or []
    is_text = document["dtype"] == "|O" and filters == [{"id": _TEXT}]
    # Text is one byte after the other to what compresses it.
    dtype = np.dtype("u1") if is_text else _dtype(document["dtype"])
    if filters and not is_text:
        raise _unusual("Its chunks pass filters, which zarr 3 does not know")
    codecs: list[dict[str, Any]] = []
    if document.get("order", "C") == "F" and len(shape) > 1:
        order = list(reversed(range(len(shape))))
        codecs.append({"name": "transpose", "configuration": {"order": order}})
    plain: dict[str, Any] = {"name": _TEXT if is_text else "bytes"}
    if dtype.itemsize > 1:
        endian = "big" if dtype.byteorder == ">" else "little"
        plain["configuration"] = {"endian": endian}
    codecs.append(plain)
    if document.get("compressor") is not None:
        codecs.append(_compressor(document["compressor"], dtype))
    separator, fill = document.get("dimension_separator"), document.get("fill_value")
    described = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": "string" if is_text else dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": list(document["chunks"])},
        },
        "chunk_key_encoding": {
            "name": "v2",
            "configuration": {"separator": separator or "."},
        },
        "fill_value": _text(fill) if is_text else _fill(fill, dtype),
        "codecs": codecs,
        "attributes": {},
        **({"dimension_names": list(names)} if len(names) == len(shape) else {}),
        "storage_transformers": [],
    }
    array_metadata(described)
    return described


def contained(
    document: Mapping[str, Any], shards: Sequence[int] | None
) -> dict[str, Any]:
    """Describe an array of zarr 3 with its chunks in shards of so many pixels, or none.

    Keys become those of zarr 3.
    """
    stored = storage_of(document)
    codecs: list[Any] = [dict(codec) for codec in stored.codecs]
    if shards is not None:
        configuration = {
            "chunk_shape": list(stored.chunks),
            "codecs": codecs,
            "index_codecs": _INDEX_CODECS,
            "index_location": "end",
        }
        codecs = [{"name": _SHARDING, "configuration": configuration}]
    unit = list(shards or stored.chunks)
    return {
        **document,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": unit}},
        "chunk_key_encoding": {
            "name": "default",
            "configuration": {"separator": "/"},
        },
        "codecs": codecs,
    }


def itemsize_of(document: Mapping[str, Any]) -> int:
    """Give the bytes of a pixel of an array of zarr 3; of text, about as many."""
    is_text = document["data_type"] == "string"
    return _OF_TEXT if is_text else _dtype(document["data_type"]).itemsize


def bytes_of_unit(document: Mapping[str, Any]) -> int:
    """Give the bytes of what is stored as one object, before it is compressed."""
    return prod(storage_of(document).unit) * itemsize_of(document)


def _dtype(name: Any) -> np.dtype[Any]:
    try:
        dtype = np.dtype(name) if isinstance(name, str) else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or dtype.kind not in "biufc":
        raise _unusual("Its data type is none that zarr 3 knows")
    return dtype


def _compressor(said: Any, dtype: np.dtype[Any]) -> dict[str, Any]:
    if not isinstance(said, Mapping):
        raise not_understood()
    match said.get("id"):
        case "blosc":
            shuffle = said.get("shuffle", 1)
            if shuffle == -1:  # as numcodecs chooses it
                shuffle = 2 if dtype.itemsize == 1 else 1
            return {
                "name": "blosc",
                "configuration": {
                    "cname": said.get("cname", "lz4"),
                    "clevel": said.get("clevel", 5),
                    "shuffle": _SHUFFLES.get(shuffle, ""),
                    "typesize": dtype.itemsize,
                    "blocksize": said.get("blocksize", 0),
                },
            }
        case "zstd":
            return {
                "name": "zstd",
                "configuration": {
                    "level": said.get("level", 0),
                    "checksum": bool(said.get("checksum", False)),
                },
            }
        case "gzip":
            return {"name": "gzip", "configuration": {"level": said.get("level", 5)}}
    raise _unusual(f"Its codec {str(said.get('id'))[:20]} is none of zarr 3")


def _fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """Spell what is not stored: zarr 2 may leave it open, and readers then give 0."""
    if value is None:
        value = 0
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind == "c":
        pair = value if isinstance(value, list) else [value, 0.0]
        return [float(part) for part in pair]
    if dtype.kind == "f":
        return value if isinstance(value, str) else float(value)
    return int(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _unusual(why: str) -> UnsupportedDataError:
    return UnsupportedDataError(
        f"{why}.", action="Convert it, which decodes its chunks and encodes them anew."
    )
