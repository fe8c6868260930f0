"""A second opinion on the metadata: what the specification says of a document.

Our own reader tolerates; yaozarrs, an optional package, does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import MetadataError, NodeNotFoundError, UnsupportedDataError
from napari_omezarr.metadata import parse_document
from napari_omezarr.reading.nodes import Group, group_keys, node
from napari_omezarr.store import open_store

from .parts import part_keys

if TYPE_CHECKING:
    from napari_omezarr.location import Location

COVERED = ("0.4", "0.5")
"""The versions that the validator knows."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is against the specification.

    ``where`` is the path in the document, like ``multiscales/0/axes``; ``document`` is
    the path of the group, ``""`` or ``labels``.
    """

    document: str
    where: str
    problem: str


@dataclass(frozen=True, slots=True)
class Validation:
    """The outcome: which version was checked, by what, and what was found.

    ``covered`` is False where the validator does not know the version: nothing was
    checked then, and ``sentence`` says so.
    """

    version: str
    covered: bool
    sentence: str
    findings: tuple[Finding, ...] = ()


def validate(location: Location) -> Validation:
    """Check the metadata of a group, and of its labels group; blocks.

    Raises
    ------
    UnsupportedDataError
        The validator is not installed.
    NodeNotFoundError
        There is no group of OME-Zarr.
    StoreError
        The documents could not be read.
    """
    if find_spec("yaozarrs") is None:
        sentence = "The validator is not installed."
        action = "Run: pip install 'napari-omezarr[validate]'"
        raise UnsupportedDataError(sentence, action=action)
    answers = open_store(location).fetch((*group_keys(""), *part_keys()))
    root = node("", answers)
    version = _version(root) if isinstance(root, Group) else None
    if not isinstance(root, Group) or version is None:
        sentence = f"{location.display} says nothing of OME-Zarr."
        raise NodeNotFoundError(sentence, url=location.display)
    if version not in COVERED:
        sentence = (
            f"The validator does not know OME-Zarr {version}; nothing is checked."
        )
        return Validation(version, False, sentence)
    findings = [*_findings("", root)]
    labels = node("labels", answers)
    if isinstance(labels, Group):
        findings += _findings("labels", labels)
    count = len(findings)
    sentence = f"Valid OME-Zarr {version}."
    if count:
        things = "thing is" if count == 1 else "things are"
        sentence = f"{count} {things} against OME-Zarr {version}."
    return Validation(version, True, sentence, tuple(findings))


def _version(group: Group) -> str | None:
    """Give the version, also of a document that our own reader gives up on."""
    try:
        return parse_document(group.attributes, zarr_format=group.zarr_format).version
    except MetadataError:
        inner = group.attributes.get("ome")
        stated = inner.get("version") if isinstance(inner, dict) else None
        return str(stated) if stated else "0.4"


def _findings(path: str, group: Group) -> tuple[Finding, ...]:
    yaozarrs = import_module("yaozarrs")
    node_type = _node_type(yaozarrs, group)
    namespaced = group.attributes.get("ome")
    document = namespaced if group.zarr_format == 3 else dict(group.attributes)
    if not isinstance(document, dict):
        return (Finding(path, "", "The attributes have no ome object"),)
    try:
        yaozarrs.validate_ome_object(document, node_type)
    except ValueError as error:  # pydantic's ValidationError is one
        rows: list[dict[str, Any]] = getattr(error, "errors", list)()
    else:
        return ()
    every = (Finding(path, _where(row["loc"]), str(row["msg"])) for row in rows)
    return tuple(dict.fromkeys(every))


def _node_type(yaozarrs: Any, group: Group) -> Any:
    """Choose what the document is to be, so that only that is complained about."""
    models = yaozarrs.v05 if group.zarr_format == 3 else yaozarrs.v04
    attributes = group.attributes
    inner = attributes.get("ome", attributes) if group.zarr_format == 3 else attributes
    for key, name in _MODELS:
        if isinstance(inner, dict) and key in inner:
            return getattr(models, name)
    return None


_MODELS = (
    ("plate", "Plate"),
    ("well", "Well"),
    ("image-label", "LabelImage"),
    ("multiscales", "Image"),
    ("labels", "LabelsGroup"),
    ("series", "Series"),
    ("bioformats2raw.layout", "Bf2Raw"),
)


def _where(loc: tuple[Any, ...]) -> str:
    """Give the path in the document, without the names of the validator's models."""
    steps = [str(step) for step in loc]
    return "/".join(
        step for step in steps if not step[:1].isupper() and "[" not in step
    )
