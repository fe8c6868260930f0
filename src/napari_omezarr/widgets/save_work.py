"""What the save dock does in threads: plan, look at the target, tidy it, save.

zarr and the rest are imported inside the functions, so that the dock opens at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_omezarr.claims import target_of
from napari_omezarr.errors import (
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    StoreError,
    TargetClaimedError,
    TargetExistsError,
    TargetInUseError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import Event

    from napari_omezarr.layers import LayerData
    from napari_omezarr.location import Location
    from napari_omezarr.writing import LabelsThere, Plan, Progress, StoredSize

    from .open import Opened

_NOWHERE = "image.ome.zarr"
"""Where a save is planned for while there is no address."""
_OF_LABELS = (
    "label_codec", "label_level", "label_method", "verify", "accept_losses",
    "accept_refused", "existing", "unfinished",
)  # fmt: skip
"""The options of ``write_layers`` that ``add_labels`` takes, too."""


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """What the save dock asks for, as values for a thread."""

    layers: tuple[LayerData, ...]
    """Those to be saved."""
    address: str
    """As it was typed; it may hold secrets."""
    options: Mapping[str, Any]
    """Keyword arguments of ``write_layers``."""
    in_use: frozenset[str]
    """The addresses that open layers read."""

    @property
    def names(self) -> list[str]:
        """The names of the layers."""
        return [str(options["name"]) for _, options, _ in self.layers]

    @property
    def labels(self) -> list[str]:
        """The names of those that are labels."""
        return [str(each["name"]) for _, each, kind in self.layers if kind == "labels"]

    def __repr__(self) -> str:
        return f"SaveRequest({len(self.layers)} layers)"


@dataclass(frozen=True, slots=True)
class SavePreview:
    """What a save would write, and what is in its way."""

    plan: Plan | None = None
    """What would be written; None where it cannot be."""
    place: Location | None = None
    """Where; None where there is no address yet."""
    found: StoredSize | None = None
    """What is there already, and may be replaced."""
    unfinished: bool = False
    """A save to this place has broken off."""
    problem: str = ""
    """Why it cannot be saved there, in a sentence and an action."""
    is_used: bool = False
    """The problem is that an open layer reads what is there."""
    labels_only: bool = False
    """What is to be saved are labels, which could be added to what is there."""
    switching: bool = False
    """The save has broken off while the new image, which is whole, took its place."""
    labels: LabelsThere | None = None
    """What stands in the way of adding them; None where nothing does."""
    adding: str = ""
    """What adding them comes to."""
    misfit: str = ""
    """Why they cannot be added, in a sentence and an action."""
    beside: tuple[str, ...] = ()
    """Points, shapes and tracks, if there is nothing else to be saved: they go beside
    an image that is there."""
    taken: tuple[str, ...] = ()
    """Which of these are there already."""
    notes: tuple[str, ...] = ()
    """What could not be found out about the place."""


def preview_save(request: SaveRequest) -> SavePreview:
    """Plan a save and look at its target; reads no pixel."""
    from napari_omezarr.writing import go_beside, plan_write

    address = request.address
    try:
        place = target_of(address) if address else None
        if go_beside(request.layers):
            return _look_beside(place, request)
        plan = plan_write(request.layers, place or _NOWHERE, **request.options)
    except OMEZarrError as error:
        return SavePreview(problem=str(error))
    if place is None:
        return SavePreview(plan)
    try:
        return _look_at_target(plan, place, request)
    except (TargetExistsError, TargetClaimedError, StoreError) as error:
        return SavePreview(plan, place, problem=str(error))


def _look_beside(place: Location | None, request: SaveRequest) -> SavePreview:
    """Look at the image beside which points, shapes and tracks are to go."""
    from napari_omezarr.writing import StoredSize, annotations_there, open_hierarchy

    names = tuple(request.names)
    if place is None:
        return SavePreview(beside=names)
    try:
        taken = annotations_there(open_hierarchy(place), names)
    except NodeNotFoundError:
        problem = (
            f"There is no image at {place.display}, and points, shapes and tracks go "
            "beside one. Check an image, too, or give the address of one."
        )
        return SavePreview(place=place, beside=names, problem=problem)
    found = StoredSize(0, 0)
    return SavePreview(place=place, beside=names, taken=taken, found=found)


def _look_at_target(plan: Plan, place: Location, request: SaveRequest) -> SavePreview:
    from napari_omezarr.writing import (
        annotations_there,
        check_not_open,
        labels_there,
        open_hierarchy,
        open_target,
    )

    is_zip = request.address.lower().endswith((".ozx", ".zip"))
    labels_only = not is_zip and all(kind != "image" for *_, kind in request.layers)
    target = open_target(place, plan.options.version)
    target.claim.refuse_others()
    found = target.occupied()
    problem = ""
    try:
        check_not_open(target.address, [*plan.places, *request.in_use])
    except TargetInUseError as error:
        problem = str(error)
    if found is None and not problem and not target.unfinished():
        target.try_writing()
    there, adding, misfit = None, "", ""
    taken: tuple[str, ...] = ()
    if labels_only and found is not None:
        labels = labels_there(open_hierarchy(place), request.labels)
        others = [name for name in request.names if name not in request.labels]
        taken = annotations_there(open_hierarchy(place), others) if others else ()
        there = labels if labels.taken or labels.unfinished or taken else None
        try:
            adding = _plan_adding(place, request)
        except (MetadataError, NodeNotFoundError, OptionError) as error:
            misfit = str(error)
    return SavePreview(
        plan,
        place,
        found,
        target.unfinished(),
        problem,
        is_used=bool(problem),
        labels_only=labels_only,
        switching=target.switching,
        labels=there,
        adding=adding,
        misfit=misfit,
        taken=taken,
        notes=target.notes,
    )


def _plan_adding(place: Location, request: SaveRequest) -> str:
    """Say what adding the labels to the image at a place comes to."""
    from napari_omezarr.writing import WriteOptions, open_hierarchy, plan_added

    known = ("label_codec", "label_level", "label_method")
    options = {key: request.options[key] for key in known if key in request.options}
    labels = [layer for layer in request.layers if layer[2] == "labels"]
    if not labels:
        return ""
    return plan_added(labels, open_hierarchy(place), WriteOptions(**options)).summary()


def remove_unfinished(place: Location, request: SaveRequest) -> SavePreview:
    """Remove what a save that broke off has left, or finish a replacement."""
    from napari_omezarr.writing import open_target

    target = open_target(place, request.options.get("version", "0.5"))
    with target.claim.held():
        target.discard()
    return preview_save(request)


def remove_labels(place: Location, request: SaveRequest) -> SavePreview:
    """Remove what adding labels has left where it broke off."""
    from napari_omezarr.writing import discard_labels, open_hierarchy

    discard_labels(open_hierarchy(place), request.labels)
    return preview_save(request)


def save_new(
    request: SaveRequest,
    place: Location,
    mode: Mapping[str, Any],
    tell: Callable[[Progress], None],
    cancel: Event,
) -> Location:
    """Save layers; return where they are, which is another place if that was asked.

    `mode` holds fields of `writing.SaveMode`.
    """
    from napari_omezarr.writing import write_layers

    saved = write_layers(
        request.layers,
        place,
        in_use=request.in_use,
        progress=tell,
        cancel=cancel,
        **{**request.options, **mode},
    )
    name = saved.address.replace("\\", "/").rpartition("/")[2]
    return place if name == place.name else place.parent / name


def save_into(
    request: SaveRequest,
    place: Location,
    mode: Mapping[str, Any],
    tell: Callable[[Progress], None],
    cancel: Event,
) -> Location:
    """Add labels to the image at a place, one after the other, and tables beside it."""
    from napari_omezarr.writing import add_labels, add_tables

    chosen = {**request.options, **mode}
    options = {key: chosen[key] for key in _OF_LABELS if key in chosen}
    for layer in request.layers:
        if layer[2] != "labels":
            continue
        add_labels(
            layer, place, in_use=request.in_use, progress=tell, cancel=cancel, **options
        )
    beside = [layer for layer in request.layers if layer[2] != "labels"]
    if beside:
        add_tables(beside, place, existing=mode.get("existing", "refuse"))
    return place


def open_saved(place: Location) -> Opened:
    """Read what is needed to show what was saved."""
    from .open import open_place

    return open_place(place)
