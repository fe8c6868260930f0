"""Where an image that is there lies: its pixel sizes, place, units and name."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import ConflictError, NodeNotFoundError, OptionError
from napari_omezarr.metadata import Affine

from .documents import dataset_document
from .encode import ZarrDocument
from .existing import changed, ome_block, open_existing, read_group, refresh
from .from_arrays import along, units_by_axis
from .labels import label_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_omezarr.metadata import Axis

    from .existing import ExistingImage
    from .from_arrays import ByAxis, UnitsByAxis
    from .hierarchy import Hierarchy


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is to be said anew; what is None stays."""

    scale: ByAxis = None
    translation: ByAxis = None
    units: UnitsByAxis = None
    name: str | None = None


def calibrate_image(
    hierarchy: Hierarchy,
    calibration: Calibration,
    above: Iterable[tuple[Hierarchy, str]] = (),
) -> None:
    """Say anew where an image lies, with all its levels and labels; pixels stay."""
    image = open_existing(hierarchy)
    moves = _moves(image, calibration)
    labels = [
        open_existing(hierarchy, f"labels/{name}") for name in label_names(hierarchy)
    ]
    # The image last: while only labels have moved, it is still what it was.
    for each in labels:
        _move(each, moves, None)
    _move(image, moves, calibration.name)

    def documents() -> list[ZarrDocument]:
        found = [read_group(hierarchy, each.path) for each in (image, *labels)]
        return [ZarrDocument(each.key, each.content) for each in found if each]

    refresh([(hierarchy, ""), *above], documents)


@dataclass(frozen=True, slots=True)
class _AxisMove:
    """Along an axis, coordinates become ``by`` times what they were, plus ``to``."""

    by: float
    to: float
    unit: str | None


_STAYS = _AxisMove(1.0, 0.0, None)


def _moves(image: ExistingImage, calibration: Calibration) -> dict[str, _AxisMove]:
    axes: Sequence[Axis] = image.multiscale.axes
    names = [axis.name for axis in axes]
    affine = image.multiscale.datasets[0].affine
    if not affine.is_diagonal and (
        calibration.scale is not None or calibration.translation is not None
    ):
        raise OptionError(
            f"{image.hierarchy.address} is rotated or sheared.",
            action="Save it anew, with the place that it is to have.",
            url=image.hierarchy.address,
        )
    sizes = dict(zip(names, affine.scale, strict=True))
    place = dict(zip(names, affine.translation, strict=True))
    scale = along("scale", calibration.scale, axes, sizes, 1.0)
    translation = along("translation", calibration.translation, axes, place, 0.0)
    usual = {axis.name: axis.unit for axis in axes}
    if image.version == "0.6" and min(scale) < 0:
        raise OptionError(
            "Pixel sizes are above 0 in OME-Zarr 0.6.",
            action="Save it anew, mirrored, which 0.6 says by a second system.",
        )
    units = [axis.unit for axis in axes]
    if calibration.units is not None:
        units = units_by_axis(calibration.units, axes, usual)
    found = {}
    for name, size, to, unit in zip(names, scale, translation, units, strict=True):
        by = size / sizes[name]
        found[name] = _AxisMove(by, to - by * place[name], unit)
    return found


def _move(
    image: ExistingImage, moves: Mapping[str, _AxisMove], name: str | None
) -> None:
    """Change one group's document, if nobody else says meanwhile where it lies."""
    hierarchy, path = image.hierarchy, image.path
    group = read_group(hierarchy, path)
    if group is None:
        raise NodeNotFoundError(
            f"There is no OME-Zarr image at {hierarchy.address} any more.",
            url=hierarchy.address,
        )
    zarr_format = group.zarr_format
    before = deepcopy(group.block["multiscales"])
    after = [_moved(before[0], image, moves, name), *before[1:]]

    def said(content: dict[str, Any] | None) -> dict[str, Any] | None:
        block = ome_block(content or {}, zarr_format)
        if block.get("multiscales") not in (before, after):
            raise ConflictError(
                f"Somebody else has just changed where {hierarchy.address} lies.",
                action="Look at it, and then repeat.",
                url=hierarchy.address,
            )
        block["multiscales"] = after
        return content

    changed(hierarchy, group.key, said)


def _moved(
    multiscale: Mapping[str, Any],
    image: ExistingImage,
    moves: Mapping[str, _AxisMove],
    name: str | None,
) -> dict[str, Any]:
    """Give an entry of ``multiscales`` with its levels elsewhere."""
    moved = deepcopy(dict(multiscale))
    if name is not None:
        moved["name"] = name
    axes = [moved.get("axes") or []]
    axes += [system.get("axes") or [] for system in moved.get("coordinateSystems", ())]
    for axis in chain.from_iterable(axes):
        unit = moves[axis["name"]].unit if axis.get("name") in moves else None
        if unit is not None:
            axis["unit"] = unit
    along_axes = [moves.get(axis.name, _STAYS) for axis in image.multiscale.axes]
    if all(move.by == 1 and move.to == 0 for move in along_axes):
        return moved
    mapping = Affine.from_translation([m.to for m in along_axes]) @ Affine.from_scale(
        [m.by for m in along_axes]
    )
    if image.version != "0.6":
        # What it says of all levels is in what each of them says now.
        moved.pop("coordinateTransformations", None)
    levels = zip(moved["datasets"], image.multiscale.datasets, strict=True)
    for entry, dataset in levels:
        old = entry["coordinateTransformations"]
        fresh = dataset_document(image.version, entry["path"], mapping @ dataset.affine)
        new = fresh["coordinateTransformations"]
        if image.version == "0.6":
            new[0] |= {end: old[0][end] for end in ("input", "output") if end in old[0]}
        entry["coordinateTransformations"] = new
    return moved
