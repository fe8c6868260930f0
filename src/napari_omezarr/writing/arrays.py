"""The metadata documents of zarr arrays and groups, in both formats."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .options import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from .options import Codec, Version

_USUAL_LEVEL = {"zstd": 3, "blosc-zstd": 1, "blosc-lz4": 5, "gzip": 5}


@dataclass(frozen=True, slots=True)
class Compression:
    """A codec and its level."""

    name: Codec
    level: int


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON document of a hierarchy, by its key."""

    key: str
    content: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """Its bytes, the same for equal documents."""
        return json.dumps(
            self.content, indent=2, allow_nan=False, ensure_ascii=False
        ).encode()


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
) -> dict[str, Any]:
    """Describe an array: ``.zarray`` for 0.4, ``zarr.json`` for later versions.

    Chunks lie below one folder for each axis; what is not stored is 0.
    """
    if zarr_format(version) == 2:
        return {
            "zarr_format": 2,
            "shape": list(shape),
            "chunks": list(chunks),
            "dtype": dtype.newbyteorder("<").str,
            "compressor": _compressor(codec),
            "fill_value": _fill(dtype),
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
        "fill_value": _fill(dtype),
        "codecs": inner if shards is None else [_sharding(chunks, inner)],
        "attributes": {},
        "dimension_names": list(names),
        "storage_transformers": [],
    }


def array_documents(path: str, document: Mapping[str, Any]) -> tuple[Document, ...]:
    """Give the documents that make an array at a path."""
    name = ".zarray" if document["zarr_format"] == 2 else "zarr.json"
    return (Document(f"{path}/{name}", document),)


def group_documents(
    path: str, attributes: Mapping[str, Any], version: Version
) -> tuple[Document, ...]:
    """Give the documents that make a group at a path; the last one says all."""
    below = f"{path}/" if path else ""
    if zarr_format(version) == 2:
        return (
            Document(f"{below}.zgroup", {"zarr_format": 2}),
            Document(f"{below}.zattrs", attributes),
        )
    content = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return (Document(f"{below}zarr.json", content),)


def _fill(dtype: np.dtype[Any]) -> bool | int | float:
    return False if dtype.kind == "b" else 0.0 if dtype.kind == "f" else 0


def _sharding(chunks: Sequence[int], inner: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": list(chunks),
            "codecs": list(inner),
            "index_codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "crc32c"},
            ],
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
