"""What a save would write, and what is in its way: asked off the GUI thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_omezarr.claims import target_of
from napari_omezarr.errors import (
    OMEZarrError,
    StoreError,
    TargetExistsError,
    TargetInUseError,
)
from napari_omezarr.writing import (
    LabelsThere,
    check_not_open,
    discard_labels,
    labels_there,
    open_hierarchy,
    open_target,
    plan_write,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_omezarr.location import Location
    from napari_omezarr.writing import Plan, Progress, StoredSize

    from .save_model import SaveRequest

    LayerData = tuple[Any, dict[str, Any], str]
    Tell = Callable[[Progress], None]


# What a save would write, and what is in its way: asked off the GUI thread.

_NOWHERE = "image.ome.zarr"


@dataclass(frozen=True, slots=True)
class SavePreview:
    """What was found out.

    Parameters
    ----------
    plan : Plan or None
        What would be written; None where it cannot be.
    place : Location or None
        Where; None where there is no address yet.
    found : Listing or None
        What is there already, and may be replaced.
    unfinished : bool
        A save to this place has broken off.
    switching : bool
        It has broken off while the new image, which is whole, took its place.
    problem : str
        Why it cannot be saved there, in a sentence and an action.
    is_used : bool
        The problem is that an open layer reads what is there.
    labels_only : bool
        What is to be saved are labels, which could be added to what is there.
    labels : LabelsThere
        What stands in the way of adding them.
    notes : tuple of str
        What could not be found out about the place.
    """

    plan: Plan | None = None
    place: Location | None = None
    found: StoredSize | None = None
    unfinished: bool = False
    problem: str = ""
    is_used: bool = False
    labels_only: bool = field(default=False)
    switching: bool = False
    labels: LabelsThere = field(default_factory=LabelsThere)
    notes: tuple[str, ...] = ()


def save_preview(wish: SaveRequest) -> SavePreview:
    """Plan a save and look at its target; blocks, and reads no pixel."""
    labels = bool(wish.layers) and all(kind == "labels" for _, _, kind in wish.layers)
    labels = labels and not wish.address.lower().endswith((".ozx", ".zip"))
    try:
        place = target_of(wish.address) if wish.address else None
        plan = plan_write(wish.layers, place or _NOWHERE, **wish.options)
    except OMEZarrError as error:
        return SavePreview(problem=str(error))
    if place is None:
        return SavePreview(plan)
    try:
        return _look(plan, place, wish, labels_only=labels)
    except (TargetExistsError, StoreError) as error:
        return SavePreview(plan, place, problem=str(error))


def _look(
    plan: Plan, place: Location, wish: SaveRequest, *, labels_only: bool
) -> SavePreview:
    target = open_target(place, plan.options.version)
    found = target.occupied()
    problem = ""
    try:
        check_not_open(target.address, [*plan.places, *wish.in_use])
    except TargetInUseError as error:
        problem = str(error)
    there = LabelsThere()
    if labels_only and found is not None:
        there = labels_there(open_hierarchy(place), _names(wish))
    return SavePreview(
        plan,
        place,
        found,
        target.unfinished(),
        problem,
        is_used=bool(problem),
        labels_only=labels_only,
        labels=there,
        notes=target.notes,
        switching=target.switching,
    )


def discard_added(place: Location, wish: SaveRequest) -> None:
    """Remove what adding labels has left where it broke off; blocks.

    Raises
    ------
    StoreError
        It could not be removed.
    """
    discard_labels(open_hierarchy(place), _names(wish))


def _names(wish: SaveRequest) -> list[str]:
    return [str(options["name"]) for _, options, _ in wish.layers]


def discard(place: Location, options: Mapping[str, Any]) -> None:
    """Remove what a save that broke off has left, or finish a replacement; blocks.

    Raises
    ------
    StoreError
        It could not be removed.
    """
    open_target(place, options.get("version", "0.5")).discard()
