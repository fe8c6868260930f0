"""Chunks and shards of the usual kind, encoded in one step and not by zarr's pipeline.

The counterpart of ``pyramid.decoding``: the pipeline takes any chain of codecs, at the
price of a dozen tasks on the thread that serves the network. What is written here is
nearly always numbers in C order that one codec compresses; that is one call.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import google_crc32c
import numpy as np
from numcodecs import get_codec

from napari_omezarr.pyramid.boxes import inside, units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_omezarr.pyramid.boxes import Bounds

_ABSENT = 2**64 - 1
_GLANCE = 256
"""Bytes that mostly show already that a chunk is not empty."""
_INDEX = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "crc32c"},
]
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


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

    Attributes
    ----------
    dtype : numpy.dtype
        As stored, byte order included.
    chunks : tuple of int
        What is compressed at a time.
    shards : tuple of int or None
        What is stored as one object, if that is several chunks.
    codec : Compressor or None
        What compresses, if anything does.
    prefix, separator : str
        Of the keys.
    """

    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    codec: Compressor | None
    prefix: str
    separator: str

    @cached_property
    def unit(self) -> tuple[int, ...]:
        """What is stored as one object."""
        return self.shards or self.chunks

    def key(self, box: Bounds) -> str:
        """Give the key of the object that a box lies in, below the array's."""
        numbers = [
            str(start // by) for (start, _), by in zip(box, self.unit, strict=True)
        ]
        return self.separator.join([self.prefix, *numbers] if self.prefix else numbers)

    def encode(self, values: np.ndarray) -> bytes | None:
        """Encode an object; safe in any thread.

        Parameters
        ----------
        values : numpy.ndarray
            All its pixels that the array has: at the array's end that may be fewer.

        Returns
        -------
        bytes-like or None
            None where every bit is 0, which is what absent pixels are.
        """
        return self._chunk(values) if self.shards is None else self._shard(values)

    def _chunk(self, values: np.ndarray) -> bytes | None:
        full = values
        if values.shape != self.chunks:
            full = np.zeros(self.chunks, self.dtype)
            full[tuple(slice(0, size) for size in values.shape)] = values
        full = np.ascontiguousarray(full, self.dtype)
        plain = full.reshape(-1).view(np.uint8)
        if not (plain[:_GLANCE].any() or plain.any()):
            return None
        if self.codec is None:
            return plain.tobytes()
        return bytes(self.codec.encode(full))

    def _shard(self, values: np.ndarray) -> bytes | None:
        """Join chunks and say at the end where each begins (ZEP 2)."""
        region = tuple((0, size) for size in values.shape)
        grid = [s // c for s, c in zip(self.unit, self.chunks, strict=True)]
        index = np.full((*grid, 2), _ABSENT, "<u8")
        parts: list[bytes] = []
        offset = 0
        for box in units(region, self.chunks):
            part = self._chunk(values[inside(box, region)])
            if part is None:
                continue
            place = tuple(
                start // by for (start, _), by in zip(box, self.chunks, strict=True)
            )
            index[place] = offset, len(part)
            parts.append(part)
            offset += len(part)
        if not parts:
            return None
        table = index.tobytes()
        check = google_crc32c.value(table).to_bytes(4, "little")
        return b"".join([*parts, table, check])


def encoding_of(document: Mapping[str, Any]) -> Encoding | None:
    """Find the one step that encodes an array's objects.

    Parameters
    ----------
    document : Mapping
        The array's metadata.

    Returns
    -------
    Encoding or None
        None where it takes more (filters, another order, several codecs), or where
        absent pixels are not 0. zarr's pipeline then encodes.
    """
    if document.get("fill_value") not in (0, False):
        return None
    return _old(document) if document["zarr_format"] == 2 else _new(document)


def _old(document: Mapping[str, Any]) -> Encoding | None:
    usual = document.get("order", "C") == "C" and not document.get("filters")
    if not usual or not isinstance(document["dtype"], str):
        return None
    codec = _usual_codec(document.get("compressor"))
    if codec is None and document.get("compressor") is not None:
        return None
    separator = document.get("dimension_separator", ".")
    chunks = tuple(document["chunks"])
    return Encoding(np.dtype(document["dtype"]), chunks, None, codec, "", separator)


def _new(document: Mapping[str, Any]) -> Encoding | None:
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
    return Encoding(dtype, chunks, shards, codec, "c", separator)


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
