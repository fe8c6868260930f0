"""The nodes of a table: documents asked for in rounds, and the arrays they describe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.storage import StorePath

from napari_omezarr._io_loop import run
from napari_omezarr.errors import (
    FOREIGN_ERRORS,
    DamagedDataError,
    MetadataError,
    OMEZarrError,
    StoreError,
)
from napari_omezarr.location import ARRAY_DOCUMENT, GROUP_DOCUMENT
from napari_omezarr.metadata import DocumentError, load_json
from napari_omezarr.pyramid import ArrayPixels, tolerated, understood

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_omezarr.store import RemoteStore

_TEXT = 32
"""Bytes that a value of text is taken to need."""
_AT_ONCE = 16
_MOST_TEXTS = 2**27
"""So many values of text, at most, are read of an array."""


@dataclass(frozen=True, slots=True)
class TableNode:
    """A group, or an array if there is a document of one, and its attributes."""

    path: str
    zarr_format: int
    attributes: Mapping[str, Any]
    array: Mapping[str, Any] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array; empty of a group."""
        shape = (self.array or {}).get("shape")
        if not isinstance(shape, list) or not all(type(size) is int for size in shape):
            return ()
        return tuple(shape)

    @property
    def size(self) -> int:
        """About how many bytes its values take in memory."""
        said = (self.array or {}).get("data_type", (self.array or {}).get("dtype"))
        try:
            width = np.dtype(said).itemsize if isinstance(said, str) else _TEXT
        except TypeError:
            width = _TEXT
        is_text = width == 0 or said in ("|O", "string")
        return math.prod(self.shape) * (_TEXT if is_text else width)


def below(path: str, *names: str) -> str:
    """Join a path and names below it."""
    return "/".join(part for part in (path.strip("/"), *names) if part)


class TableDocuments:
    """The documents below a store, each asked for once."""

    def __init__(self, store: RemoteStore) -> None:
        self.store = store
        self._known: dict[str, TableNode | None] = {}

    def look(
        self, paths: Iterable[str], zarr_format: int | None = None
    ) -> list[TableNode | None]:
        """Find the nodes at some paths in one round; None where there is none.

        Raises
        ------
        MetadataError, StoreError
            A document cannot be understood, or could not be read.
        """
        wanted = list(paths)
        formats = tuple(GROUP_DOCUMENT) if zarr_format is None else (zarr_format,)
        fresh = [path for path in dict.fromkeys(wanted) if path not in self._known]
        keys = [
            below(path, name)
            for path in fresh
            for number in formats
            for name in {GROUP_DOCUMENT[number], ARRAY_DOCUMENT[number]}
        ]
        answers = self.store.fetch(keys) if keys else {}
        for path in fresh:
            self._known[path] = self._node(path, formats, answers)
        return [self._known[path] for path in wanted]

    def _node(
        self, path: str, formats: Sequence[int], answers: Mapping[str, Any]
    ) -> TableNode | None:
        for number in sorted(formats, reverse=True):
            group = self._document(below(path, GROUP_DOCUMENT[number]), answers)
            array = self._document(below(path, ARRAY_DOCUMENT[number]), answers)
            if group is None and array is None:
                continue
            if number == 2:
                return TableNode(path, 2, group or {}, array)
            document = group or {}
            attributes = document.get("attributes")
            is_array = document.get("node_type") == "array"
            return TableNode(
                path,
                3,
                attributes if isinstance(attributes, Mapping) else {},
                document if is_array else None,
            )
        return None

    def _document(
        self, key: str, answers: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        body = answers.get(key)
        if isinstance(body, StoreError):
            raise body
        if body is None:
            return None
        try:
            content = load_json(body)
        except DocumentError as error:
            raise MetadataError(str(error), where=key) from error
        return content if isinstance(content, Mapping) else None

    def values(self, nodes: Iterable[TableNode]) -> dict[str, np.ndarray]:
        """Read arrays whole, all at once, by their paths; blocks.

        Raises
        ------
        MetadataError, StoreError, DamagedDataError
            An array cannot be understood, or could not be read.
        """
        wanted = list(nodes)
        with ThreadPoolExecutor(_AT_ONCE, "omezarr-table") as pool:
            found = list(pool.map(self._values, wanted))
        return {node.path: value for node, value in zip(wanted, found, strict=True)}

    def _values(self, node: TableNode) -> np.ndarray:
        address = f"{self.store.location.display}/{node.path}"
        try:
            document, _ = tolerated(understood(node.array or {})[0])
            array = zarr.AsyncArray.from_dict(
                StorePath(self.store, node.path), document
            )
            if np.dtype(array.dtype).kind in "biuf":
                pixels = ArrayPixels(array, address, self.store.concurrency)
                pixels.may_be_empty = True
                return np.asarray(pixels[(slice(None),) * len(node.shape)])
            if math.prod(node.shape) > _MOST_TEXTS:
                raise MetadataError("This column is too long", url=address)
            return np.asarray(run(array.getitem(...)))
        except OMEZarrError:
            raise
        except FOREIGN_ERRORS as error:
            sentence = f"A column of a table could not be read: {address}."
            action = "Ask who wrote it to write it again."
            raise DamagedDataError(sentence, action=action, url=address) from error
