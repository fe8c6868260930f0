"""A group's attributes, of any kind and version, as a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import MetadataError

from .channels import parse_image_label, parse_labels, parse_paths
from .collections import parse_plate, parse_scene, parse_well
from .model import Document, Kind, Series
from .multiscale import ParseOptions, parse_image
from .node import DocumentNotes, JsonNode, read_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .model import Axis

LAYOUT = "bioformats2raw.layout"

KINDS = ("plate", "well", "multiscales", "scene", "labels", "series", LAYOUT)
"""What a group can be, by key. Of several the first counts: the larger container,
and the image rather than what may be below it. (0.4 "bioformats2raw.layout": a
plate wins.)"""


def parse_document(
    attributes: Mapping[str, Any],
    *,
    zarr_format: int | None = None,
    url: str = "",
    parameters: Mapping[str, NDArray[Any]] | None = None,
    coordinate_system: str | None = None,
    image_axes: Mapping[tuple[str, str], tuple[Axis, ...]] | None = None,
) -> Document:
    """Parse the attributes of a group, of any version of OME-Zarr.

    Parameters
    ----------
    attributes : Mapping
        As stored: ``attributes`` of ``zarr.json`` (Zarr v3), or ``.zattrs`` (v2).
    zarr_format : int, optional
        2 or 3, to warn where it does not go with the version.
    url : str, optional
        The group's address, for errors; without query and sign-in.
    parameters : Mapping, optional
        The arrays that `stored_parameters` names, by path. Transforms whose array
        is not there are left out, with a warning.
    coordinate_system : str, optional
        The system to show images in, by name; else the document's world.
    image_axes : Mapping, optional
        For a scene whose images are read: the axes of each, by its path and the
        name of its system. Some transforms have a matrix only if these are known.

    Returns
    -------
    Document
        With ``kind`` None where the attributes say nothing of OME-Zarr.

    Raises
    ------
    MetadataError
        When they do, and cannot be understood even with tolerance.
    OptionError
        When the coordinate system is not there.
    """
    if not isinstance(attributes, Mapping):
        raise MetadataError("The attributes are not an object", url=url)
    notes = DocumentNotes(url)
    root = _namespace(JsonNode(attributes, "", notes))
    namespaced = root.value is not attributes
    label = root.child("image-label")
    kinds = [key for key in KINDS if root.child(key).exists]
    if not kinds and not label.exists:
        return Document(None, None, root.value, notes.collected())
    version = read_version(root, namespaced=namespaced)
    _note_format(root, version, zarr_format)
    if not kinds:
        label.note("there are no multiscales for these labels; nothing can be shown")
        block = parse_image_label(label)
        return Document(version, None, root.value, notes.collected(), block)
    _note_others(root, kinds)
    options = ParseOptions(
        version, parameters or {}, coordinate_system, image_axes or {}
    )
    kind = _parse_kind(kinds[0], root, options)
    return Document(version, kind, root.value, notes.collected())


def _namespace(node: JsonNode) -> JsonNode:
    """Return what holds the metadata: ``ome`` (0.5) where it says something."""
    # Attributes with ``ome`` and older metadata beside it belong to a group that was
    # converted: the newer counts.
    inner = node.child("ome")
    keys = (*KINDS, "image-label")
    if any(inner.child(key).exists for key in keys):
        return JsonNode(inner.value, "ome", node.notes)
    if inner.exists and not isinstance(inner.value, Mapping):
        inner.note("is no object; it is ignored")
    return node


def _note_format(root: JsonNode, version: str | None, zarr_format: int | None) -> None:
    old = version in ("0.1", "0.2", "0.3", "0.4")
    if version is not None and zarr_format == (3 if old else 2):
        root.note(f"OME-Zarr {version} is not defined for Zarr version {zarr_format}.")


def _note_others(root: JsonNode, kinds: list[str]) -> None:
    others = [key for key in kinds[1:] if key != LAYOUT or kinds[0] == "multiscales"]
    if others:
        root.note(f"The group is also {', '.join(others)}; read as {kinds[0]}.")


def _parse_kind(key: str, root: JsonNode, options: ParseOptions) -> Kind:
    if key == "multiscales":
        return parse_image(root, options)
    if key == "scene":
        return parse_scene(root.child(key), options)
    return _PARSERS[key](root.child(key))


def _parse_layout(node: JsonNode) -> Series:
    if node.value != 3:
        node.note("is not 3; read as if it were")
    return Series()


_PARSERS: dict[str, Callable[[JsonNode], Kind]] = {
    "plate": parse_plate,
    "well": parse_well,
    "labels": parse_labels,
    "series": lambda node: Series(parse_paths(node)),
    LAYOUT: _parse_layout,
}
