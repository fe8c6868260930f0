"""What a place is, from the answers to one wave of questions; pure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import OMEZarrError
from napari_omezarr.metadata import (
    Image,
    Labels,
    Plate,
    Scene,
    Series,
    Well,
    parse_document,
)
from napari_omezarr.reading.nodes import Array, array_key, group_keys, joined, node

from .entry import TIMES, Kind, size_text

if TYPE_CHECKING:
    from napari_omezarr.metadata import Document, Multiscale
    from napari_omezarr.reading.batches import Answers
    from napari_omezarr.reading.nodes import Node

    from .entry import Entry

_USUAL_LEVEL = "0"


def probe_keys(path: str) -> tuple[str, ...]:
    """Give the keys to ask for, in one wave, to know what lies at a path.

    The documents of both formats, and those of the level that most images call
    ``0``: they tell how large the image is.
    """
    level = joined(path, _USUAL_LEVEL)
    return (
        *group_keys(path),
        array_key(path, 2),
        array_key(level, 3),
        array_key(level, 2),
    )


def recognised(entry: Entry, path: str, answers: Answers) -> Entry:
    """Say what an entry is.

    Parameters
    ----------
    entry : Entry
        What is known so far.
    path : str
        Its path in the store that was asked.
    answers : Answers
        The answers to ``probe_keys``.
    """
    try:
        found = found_node(path, answers)
        if found is None:
            return replace(entry, recognised=True)
        if isinstance(found, Array):
            return _array(entry, found)
        document = parse_document(found.attributes, zarr_format=found.zarr_format)
    except OMEZarrError as error:
        return replace(entry, problem=str(error))
    kind, summary = _described(document, path, answers, found.zarr_format)
    if kind is Kind.IMAGE and entry.kind is Kind.LABEL:
        kind = Kind.LABEL
    return replace(
        entry,
        kind=kind,
        recognised=True,
        summary=summary,
        version=document.version or "",
    )


def found_node(path: str, answers: Answers) -> Node | None:
    """Give the node that the answers to ``probe_keys`` show, if there is one.

    Raises
    ------
    StoreError
        Nothing answered, and one question failed.
    MetadataError
        A document is not a JSON object.
    """
    found = node(path, answers)
    body = answers[array_key(path, 2)]
    # The attributes of a zarr 2 array lie in .zattrs, as those of a group do.
    if isinstance(body, bytes) and not _says_much(found):
        return Array(path, 2, _object(body), {} if found is None else found.attributes)
    return found


def _says_much(found: Node | None) -> bool:
    if found is None:
        return False
    if found.zarr_format == 3:
        return True
    return parse_document(found.attributes, zarr_format=2).kind is not None


def _array(entry: Entry, found: Array) -> Entry:
    shape = _shape(found.document)
    names = found.document.get("dimension_names")
    names = names if isinstance(names, list) and all(names) else ()
    dtype = found.document.get("data_type") or found.document.get("dtype")
    words = [size_text(names, shape), dtype if isinstance(dtype, str) else ""]
    summary = " ".join(word for word in words if word)
    return replace(entry, kind=Kind.ARRAY, recognised=True, summary=summary)


def _described(
    document: Document, path: str, answers: Answers, zarr_format: int
) -> tuple[Kind, str]:
    kind = document.kind
    if isinstance(kind, Image):
        first = kind.multiscales[0]
        what = Kind.LABEL if first.label is not None else Kind.IMAGE
        return what, _image_text(first, path, answers, zarr_format)
    return _container(kind)


def _container(kind: Labels | Plate | Well | Series | Scene | None) -> tuple[Kind, str]:
    match kind:
        case Labels(paths=paths):
            return Kind.LABELS, str(len(paths))
        case Plate() as plate:
            return Kind.PLATE, _plate_text(plate)
        case Well(images=images):
            return Kind.WELL, _count(len(images), "field")
        case Series(paths=paths):
            return Kind.SERIES, _count(len(paths), "image") if paths else ""
        case Scene(images=placed):
            return Kind.SCENE, _count(len(placed), "image")
    return Kind.GROUP, ""


def _image_text(
    multiscale: Multiscale, path: str, answers: Answers, zarr_format: int
) -> str:
    names = [axis.name for axis in multiscale.axes]
    shape: tuple[int, ...] = ()
    if multiscale.datasets[0].path.strip("/") == _USUAL_LEVEL:
        body = answers.get(array_key(joined(path, _USUAL_LEVEL), zarr_format))
        shape = _shape(_object(body)) if isinstance(body, bytes) else ()
    return size_text(names, shape)


def _plate_text(plate: Plate) -> str:
    fields = plate.field_count
    size = f"{len(plate.rows)}{TIMES}{len(plate.columns)}"
    return f"{size}, {_count(fields, 'field')}" if fields else size


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _shape(document: Any) -> tuple[int, ...]:
    shape = document.get("shape")
    usable = isinstance(shape, list) and all(isinstance(size, int) for size in shape)
    return tuple(shape) if usable else ()


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
