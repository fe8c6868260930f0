"""What is stored: the bytes of chunks and shards, and zarr's documents."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import dataclass
from functools import cached_property
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Protocol

import google_crc32c
import numpy as np
from numcodecs import get_codec

from napari_omezarr.location import ZARR_JSON, ZATTRS, ZGROUP
from napari_omezarr.pyramid import (
    chunk_index,
    slices,
    slices_within,
    split_box,
    whole_box,
)

from .options import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from napari_omezarr.pyramid import Bounds

    from .options import Codec, Version

_ABSENT = 2**64 - 1
_GLANCE = 256
"""Bytes that mostly show already that a chunk is not empty."""
_INDEX = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "crc32c"},
]
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}

_USUAL_LEVEL = {"zstd": 3, "blosc-zstd": 1, "blosc-lz4": 5, "gzip": 5}


# Chunks and shards of the usual kind, encoded in one step and not by zarr's pipeline.
#
# The counterpart of ``pyramid.pixels``: the pipeline takes any chain of codecs, at
# the price of a dozen tasks on the thread that serves the network. What is written
# here is nearly always numbers in C order that one codec compresses; that is one
# call.


class Compressor(Protocol):
    """What compresses, as numcodecs has it."""

    def encode(self, buf: Any) -> Any:
        """Compress a contiguous array."""
        ...


@dataclass(frozen=True, slots=True)
class Gzip:
    """Gzip without the time of day: equal pixels give equal bytes."""

    level: int

    def encode(self, buf: Any) -> bytes:
        """Compress a contiguous array."""
        return gzip.compress(buf, self.level, mtime=0)


@dataclass(frozen=True)
class Encoding:
    """How pixels become the bytes of an object.

    A chunk is compressed at a time, a shard (if there are some) is stored as one
    object; ``dtype`` is as stored, byte order included.
    """

    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    codec: Compressor | None
    prefix: str
    separator: str
    fill: float = 0.0
    """What pixels are that are not stored: 0, or NaN."""

    @cached_property
    def unit(self) -> tuple[int, ...]:
        """What is stored as one object."""
        return self.shards or self.chunks

    def key(self, box: Bounds) -> str:
        """Give the key of the object that a box lies in, below the array's."""
        numbers = [str(number) for number in chunk_index(box, self.unit)]
        return self.separator.join([self.prefix, *numbers] if self.prefix else numbers)

    def encode(self, values: np.ndarray) -> bytes | None:
        """Encode an object in any thread; None where all is as in absent ones.

        ``values`` are all its pixels that the array has: at its end maybe fewer.
        """
        return self._chunk(values) if self.shards is None else self._shard(values)

    def encode_all(self, values: np.ndarray) -> bytes:
        """Encode an object as `encode` does, also where all is as in absent ones."""
        if self.shards is None:
            return self._compressed(self._full(values))
        return self._shard(values) or self._joined([], self._no_index())

    def _chunk(self, values: np.ndarray) -> bytes | None:
        full = self._full(values)
        if self._is_empty(full.reshape(-1)):
            return None
        return self._compressed(full)

    def _is_empty(self, pixels: np.ndarray) -> bool:
        """Whether every pixel is NaN, or every bit 0, as in what is not stored."""
        if self.fill:
            return bool(np.isnan(pixels[:_GLANCE]).all() and np.isnan(pixels).all())
        plain = pixels.view(np.uint8)
        return not (plain[:_GLANCE].any() or plain.any())

    def _full(self, values: np.ndarray) -> np.ndarray:
        full = values
        if values.shape != self.chunks:
            full = np.full(self.chunks, self.fill, self.dtype)
            full[slices(whole_box(values.shape))] = values
        return np.ascontiguousarray(full, self.dtype)

    def _compressed(self, full: np.ndarray) -> bytes:
        if self.codec is None:
            return full.tobytes()
        return bytes(self.codec.encode(full))

    def _shard(self, values: np.ndarray) -> bytes | None:
        """Join chunks and say at the end where each begins (ZEP 2)."""
        region = whole_box(values.shape)
        index = self._no_index()
        parts: list[bytes] = []
        offset = 0
        for box in split_box(region, self.chunks):
            part = self._chunk(values[slices_within(box, region)])
            if part is None:
                continue
            index[chunk_index(box, self.chunks)] = offset, len(part)
            parts.append(part)
            offset += len(part)
        return self._joined(parts, index) if parts else None

    def _no_index(self) -> np.ndarray:
        grid = [s // c for s, c in zip(self.unit, self.chunks, strict=True)]
        return np.full((*grid, 2), _ABSENT, "<u8")

    @staticmethod
    def _joined(parts: Sequence[bytes], index: np.ndarray) -> bytes:
        table = index.tobytes()
        check = google_crc32c.value(table).to_bytes(4, "little")
        return b"".join([*parts, table, check])


def encoding_of(document: Mapping[str, Any]) -> Encoding | None:
    """Find the one step that encodes an array's objects.

    None where it takes more (filters, another order, several codecs), or where absent
    pixels are neither 0 nor NaN: zarr's pipeline then encodes.
    """
    fill = document.get("fill_value")
    if fill not in (0, False, "NaN"):
        return None
    read = _old if document["zarr_format"] == 2 else _new
    return read(document, math.nan if fill == "NaN" else 0.0)


def _old(document: Mapping[str, Any], fill: float) -> Encoding | None:
    usual = document.get("order", "C") == "C" and not document.get("filters")
    if not usual or not isinstance(document["dtype"], str):
        return None
    codec = _usual_codec(document.get("compressor"))
    if codec is None and document.get("compressor") is not None:
        return None
    separator = document.get("dimension_separator", ".")
    chunks = tuple(document["chunks"])
    dtype = np.dtype(document["dtype"])
    return Encoding(dtype, chunks, None, codec, "", separator, fill)


def _new(document: Mapping[str, Any], fill: float) -> Encoding | None:
    keys, codecs = document["chunk_key_encoding"], list(document["codecs"])
    unit = tuple(document["chunk_grid"]["configuration"]["chunk_shape"])
    plain = isinstance(document["data_type"], str) and keys["name"] == "default"
    if not plain or document.get("storage_transformers"):
        return None
    chunks, shards = unit, None
    if codecs and codecs[0]["name"] == "sharding_indexed":
        sharding = codecs[0]["configuration"]
        if len(codecs) > 1 or not _usual_index(sharding):
            return None
        chunks, shards = tuple(sharding["chunk_shape"]), unit
        codecs = list(sharding["codecs"])
    found = _usual_steps(codecs)
    if found is None:
        return None
    order, codec = found
    dtype = np.dtype(document["data_type"]).newbyteorder(order)
    separator = keys.get("configuration", {}).get("separator", "/")
    return Encoding(dtype, chunks, shards, codec, "c", separator, fill)


def _usual_index(sharding: Mapping[str, Any]) -> bool:
    at_end = sharding.get("index_location", "end") == "end"
    return at_end and list(sharding["index_codecs"]) == _INDEX


def _usual_steps(
    codecs: Sequence[Mapping[str, Any]],
) -> tuple[str, Compressor | None] | None:
    if not 1 <= len(codecs) <= 2 or codecs[0]["name"] != "bytes":
        return None
    endian = codecs[0].get("configuration", {}).get("endian", "little")
    order = ">" if endian == "big" else "<"
    if len(codecs) == 1:
        return order, None
    said = codecs[1].get("configuration", {})
    configuration = {"id": codecs[1]["name"], **said}
    if configuration["id"] == "blosc":
        configuration["shuffle"] = _SHUFFLES[configuration["shuffle"]]
        # numcodecs takes it from the array.
        configuration.pop("typesize", None)
    codec = _usual_codec(configuration)
    return None if codec is None else (order, codec)


def _usual_codec(configuration: Mapping[str, Any] | None) -> Compressor | None:
    name = (configuration or {}).get("id")
    if configuration is None or name not in ("zstd", "blosc", "gzip"):
        return None
    if name == "gzip":
        return Gzip(configuration["level"])
    codec: Compressor = get_codec(dict(configuration))
    return codec


# The metadata documents of zarr arrays and groups, in both formats.


@dataclass(frozen=True, slots=True)
class Compression:
    """A codec and its level."""

    name: Codec
    level: int


@dataclass(frozen=True, slots=True)
class ZarrDocument:
    """A JSON document of a hierarchy, by its key."""

    key: str
    content: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """Its bytes, the same for equal documents."""
        text = _indented(self.content)
        return text.encode(errors="replace")  # a file's name may be no Unicode


_encoded = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode

_WRITTEN: dict[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: int.__repr__,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
}


def _indented(value: Any, margin: str = "\n") -> str:
    """Encode as ``json.dumps`` does with an indent of 2, in a third of the time."""
    write = _WRITTEN.get(type(value))
    if write is not None:
        return write(value)
    inner = f"{margin}  "
    if value and isinstance(value, dict):
        rows = [
            f"{encode_basestring(str(key))}: {_indented(each, inner)}"
            for key, each in value.items()
        ]
        return f"{{{inner}{f',{inner}'.join(rows)}{margin}}}"
    if value and isinstance(value, list | tuple):
        rows = [_indented(each, inner) for each in value]
        return f"[{inner}{f',{inner}'.join(rows)}{margin}]"
    return _encoded(value)


def compression(
    name: Codec, level: int | None, version: Version, dtype: np.dtype[Any]
) -> Compression:
    """Decide what ``auto`` and an absent level mean (decision 011).

    Integers of several bytes shrink more, and faster, when their bytes are sorted by
    significance first, which is what Blosc does. It knows fewer levels than zstd.
    """
    if name == "auto":
        sorts = version == "0.4" or (dtype.kind in "iu" and dtype.itemsize > 1)
        knows = level is None or level in LEVELS["blosc-zstd"]
        name = "blosc-zstd" if sorts and knows else "zstd"
    usual = _USUAL_LEVEL.get(name, 0)
    return Compression(name, usual if level is None else level)


def zarr_format(version: Version) -> int:
    """Give the zarr format that a version is defined for (0.5: Zarr v3 only)."""
    return 2 if version == "0.4" else 3


def array_document(  # noqa: PLR0913 - what an array document says, by name
    *,
    version: Version,
    shape: Sequence[int],
    chunks: Sequence[int],
    shards: Sequence[int] | None,
    dtype: np.dtype[Any],
    codec: Compression,
    names: Sequence[str],
    fill: float = 0.0,
) -> dict[str, Any]:
    """Describe an array: ``.zarray`` for 0.4, ``zarr.json`` for later versions.

    Chunks lie below one folder for each axis; what is not stored is 0, or NaN.
    """
    if zarr_format(version) == 2:
        return {
            "zarr_format": 2,
            "shape": list(shape),
            "chunks": list(chunks),
            "dtype": dtype.newbyteorder("<").str,
            "compressor": _compressor(codec),
            "fill_value": _fill(dtype, fill),
            "order": "C",
            "filters": None,
            "dimension_separator": "/",
        }
    inner = _codecs(codec, dtype)
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": list(shards or chunks)},
        },
        "chunk_key_encoding": {
            "name": "default",
            "configuration": {"separator": "/"},
        },
        "fill_value": _fill(dtype, fill),
        "codecs": inner if shards is None else [_sharding(chunks, inner)],
        "attributes": {},
        "dimension_names": list(names),
        "storage_transformers": [],
    }


def group_documents(
    path: str, attributes: Mapping[str, Any], version: Version
) -> tuple[ZarrDocument, ...]:
    """Give the documents that make a group at a path; the last one says all."""
    below = f"{path}/" if path else ""
    if zarr_format(version) == 2:
        return (
            ZarrDocument(f"{below}{ZGROUP}", {"zarr_format": 2}),
            ZarrDocument(f"{below}{ZATTRS}", attributes),
        )
    content = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return (ZarrDocument(f"{below}{ZARR_JSON}", content),)


def encoded(content: Mapping[str, Any]) -> bytes:
    """Give the bytes of a document that was there; it may hold NaN, as it did."""
    try:
        return json.dumps(content, indent=2, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can only escape
        return json.dumps(content, indent=2).encode()


def inline(documents: Iterable[ZarrDocument]) -> dict[str, Any]:
    """Give the part of a Zarr v3 group document that holds those below it."""
    entries = {
        document.key.removesuffix("/zarr.json"): document.content
        for document in documents
    }
    return {
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": dict(sorted(entries.items())),
        }
    }


def _fill(dtype: np.dtype[Any], fill: float) -> bool | int | float | str:
    if math.isnan(fill):
        return "NaN"
    return False if dtype.kind == "b" else 0.0 if dtype.kind == "f" else 0


def _sharding(chunks: Sequence[int], inner: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": list(chunks),
            "codecs": list(inner),
            "index_codecs": _INDEX,
            "index_location": "end",
        },
    }


def _codecs(codec: Compression, dtype: np.dtype[Any]) -> list[dict[str, Any]]:
    endian = {"configuration": {"endian": "little"}} if dtype.itemsize > 1 else {}
    first: dict[str, Any] = {"name": "bytes", **endian}
    if codec.name == "none":
        return [first]
    return [first, _codec(codec, dtype)]


def _codec(codec: Compression, dtype: np.dtype[Any]) -> dict[str, Any]:
    if codec.name == "zstd":
        return _named("zstd", level=codec.level, checksum=False)
    if codec.name == "gzip":
        return _named("gzip", level=codec.level)
    return _named(
        "blosc",
        cname=codec.name.removeprefix("blosc-"),
        clevel=codec.level,
        shuffle="shuffle" if dtype.itemsize > 1 else "noshuffle",
        typesize=dtype.itemsize,
        blocksize=0,
    )


def _named(name: str, **configuration: Any) -> dict[str, Any]:
    return {"name": name, "configuration": configuration}


def _compressor(codec: Compression) -> dict[str, Any] | None:
    if codec.name == "none":
        return None
    if codec.name in ("zstd", "gzip"):
        return {"id": codec.name, "level": codec.level}
    return {
        "id": "blosc",
        "cname": codec.name.removeprefix("blosc-"),
        "clevel": codec.level,
        "shuffle": 1,
        "blocksize": 0,
    }
