"""Add labels to an image that is there, without touching anything else of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import OptionError
from napari_omezarr.metadata import Affine
from napari_omezarr.tables import GROUP

from .commit import InPlaceTarget
from .documents import plan_documents
from .existing import ExistingImage, open_existing, refresh, retract
from .from_arrays import describe_labels
from .from_layers import describe
from .hierarchy import StoredSize, without_replacements
from .image_lists import GroupList, drop_older, with_free_name
from .image_spec import ImageSpec, adopted, ordered, same_grid
from .plan import Plan, plan_image
from .rendering import folder_name
from .save import save

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .encode import ZarrDocument
    from .engine import Executor, Running
    from .hierarchy import Hierarchy
    from .options import SaveMode, WriteOptions
    from .save import Saved


def plan_labels(
    layer: Any, image: ExistingImage, name: str, options: WriteOptions
) -> Plan:
    """Decide how labels are written into an image: on its grid, with its levels."""
    there = _spec(image)
    spec = ordered(adopted(describe(layer), there))
    if spec.label is None:
        raise OptionError(
            f"{spec.name} is an image, and only labels are added to an image.",
            action="Save it as an image of its own.",
        )
    spec = _placed(spec, there, image.worlds)
    options = replace(options, version=image.version, consolidated=False)
    path = f"{image.path}/labels/{name}" if image.path else f"labels/{name}"
    planned = plan_image(
        spec,
        path,
        options,
        object_store=image.hierarchy.is_object_store,
        structure=image.structure,
    )
    spec = planned.spec
    return Plan((planned,), options, name, losses=spec.losses, notes=spec.notes)


def plan_added(
    layers: Iterable[Any], hierarchy: Hierarchy, options: WriteOptions
) -> Plan:
    """Decide how labels, one or several, are added to an image; reads its documents."""
    image = open_existing(hierarchy)
    image.refuse_labels("labels")
    plans = [
        plan_labels(spec, image, folder_name(spec.name, ()), options)
        for spec in map(describe, layers)
    ]
    return replace(plans[0], images=tuple(plan.images[0] for plan in plans))


def _placed(labels: ImageSpec, there: ImageSpec, worlds: Sequence[Affine]) -> ImageSpec:
    """Give labels where their image is shown, in whichever of its systems they lie.

    Raises
    ------
    OptionError
        They lie on its grid in none.
    """
    reason = same_grid(labels, there)
    if not worlds:
        worlds = (there.affine,)
    for world in worlds:
        if not same_grid(labels, replace(there, affine=world)):
            if world == worlds[0]:
                return labels
            names = [axis.name for axis in there.axes]
            own = [names.index(axis.name) for axis in labels.axes]
            move = (worlds[0] @ world.inverse()).matrix[own][:, [*own, len(names)]]
            moved = Affine.from_matrix(move) @ labels.affine
            return replace(labels, affine=moved)
    raise OptionError(
        f"These labels do not fit the image: {reason}.",
        action="Save them as an image of their own.",
    )


def labels_of_existing(
    array: Any, hierarchy: Hierarchy, name: str | None, features: Any
) -> ImageSpec:
    """Describe plain pixels as labels on the grid of an image that is there."""
    existing = open_existing(hierarchy)
    existing.refuse_labels("labels")
    image = _spec(existing)
    return describe_labels(array, image, name or "labels", features)


def save_labels(  # noqa: PLR0913 - what to save, where, and how
    layer: Any,
    hierarchy: Hierarchy,
    options: WriteOptions,
    mode: SaveMode,
    executor: Executor,
    running: Running | None = None,
    *,
    name: str | None = None,
    above: Iterable[tuple[Hierarchy, str]] = (),
) -> Saved:
    """Write labels into an image; the image lists them once they are whole.

    ``existing`` is about labels of the same name; ``above`` are the groups above the
    image that may hold consolidated metadata, with the way from there to it.
    """
    image = open_existing(hierarchy)
    image.refuse_labels("labels")
    labels = GroupList(hierarchy, "labels")
    listed = labels.names()
    listed_tables = GroupList(hierarchy, GROUP)
    beside = listed if mode.existing == "beside" else ()
    spec = describe(layer)
    folder = folder_name(name or spec.name, beside)
    if folder != folder_name(spec.name, ()):  # it is to be called otherwise
        spec = replace(spec, name=folder)
    plan = _with_free_table(plan_labels(spec, image, folder, options), hierarchy)

    def announce() -> None:
        place = listed.index(folder) if folder in listed else None
        labels.add(folder, image.version, place)
        tables = [table for table in plan.tables if table.objects]
        for table in tables:
            listed_tables.add(table.name, image.version)
        kept = tables[0].name if tables else ""
        dropped = drop_older(hierarchy, folder, kept, image.version)

        def documents() -> list[ZarrDocument]:
            listing = labels.documents(image.version)
            listing += listed_tables.documents(image.version)
            listing += [each for table in tables for each in table.documents]
            return [*plan_documents(plan), *listing]

        around = [(hierarchy, ""), *above]
        refresh(around, documents)
        for name in dropped:
            retract(around, f"{GROUP}/{name}")

    def retire() -> None:
        labels.drop([folder], image.version)
        around = [(hierarchy, ""), *above]
        refresh(around, partial(labels.documents, image.version))
        retract(around, plan.images[0].path)

    target = InPlaceTarget(hierarchy, plan.images[0].path, announce, retire)
    return save(plan, target, mode, executor, running, tables=hierarchy)


def _with_free_table(plan: Plan, hierarchy: Hierarchy) -> Plan:
    (planned,) = plan.images
    if planned.features is None:
        return plan
    features = with_free_name(planned.features, hierarchy)
    return replace(plan, images=(replace(planned, features=features),))


def _spec(image: ExistingImage) -> ImageSpec:
    """Describe the image that is there, so that a grid can be compared with it."""
    multiscale = image.multiscale
    finest = image.levels[0]
    name = multiscale.name or "the image"
    return ImageSpec(name, finest, multiscale.axes, multiscale.datasets[0].affine)


# Labels of an image that are in the way of others of the same name.


@dataclass(frozen=True, slots=True)
class LabelsThere:
    """What stands in the way of labels: those of that name, and what broke off."""

    taken: tuple[str, ...] = ()
    found: StoredSize = field(default_factory=lambda: StoredSize(0, 0))
    unfinished: bool = False
    switching: bool = False
    """It broke off while new ones, which are whole, took the place of old ones."""


def labels_there(hierarchy: Hierarchy, names: Iterable[str]) -> LabelsThere:
    """Find out which of the labels that are to be added are in an image already."""
    folders = {folder_name(name, ()) for name in names}
    listed = GroupList(hierarchy, "labels").names()
    targets = [InPlaceTarget(hierarchy, f"labels/{name}") for name in sorted(folders)]
    for target in targets:
        target.claim.refuse_others()
    broken_off = [target for target in targets if target.unfinished()]
    taken = tuple(name for name in listed if name in folders)
    sizes = [
        StoredSize.of(without_replacements(hierarchy.sizes(f"labels/{name}")))
        for name in taken
    ]
    return LabelsThere(
        taken,
        StoredSize(sum(s.objects for s in sizes), sum(s.size for s in sizes)),
        unfinished=bool(broken_off),
        switching=any(target.switching for target in broken_off),
    )


def discard_labels(hierarchy: Hierarchy, names: Iterable[str]) -> None:
    """Remove what adding labels has left where it broke off."""
    for name in {folder_name(name, ()) for name in names}:
        target = InPlaceTarget(hierarchy, f"labels/{name}")
        if target.unfinished() and not target.switching:
            with target.claim.held():
                target.discard()
