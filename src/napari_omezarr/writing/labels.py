"""Labels of an image that is there, and the tables beside them: listed, added."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from napari_omezarr.errors import OMEZarrError, OptionError, TargetExistsError
from napari_omezarr.location import GROUP_DOCUMENT
from napari_omezarr.metadata import Affine
from napari_omezarr.tables import GEOMETRY, GROUP, FeatureSource, is_own_table

from .annotations import (
    ANNOTATIONS,
    TABLE,
    TablePlan,
    geometry,
    named_by_labels,
    plan_features,
)
from .commit import InPlaceTarget
from .documents import labels_attributes, plan_documents
from .encode import ZarrDocument, group_documents, zarr_format
from .existing import (
    ExistingImage,
    attributes_of,
    changed,
    ome_block,
    open_existing,
    read_group,
    refresh,
    retract,
    update_image,
)
from .from_arrays import describe_labels
from .from_layers import describe
from .hierarchy import StoredSize, without_replacements
from .image_spec import ImageSpec, adopted, ordered, same_grid
from .plan import Plan, plan_image
from .rendering import NAPARI, folder_name
from .save import save

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from .engine import Executor, Running
    from .from_layers import LayerData
    from .hierarchy import Hierarchy
    from .options import SaveMode, Version, WriteOptions
    from .save import Saved


@dataclass(frozen=True, slots=True)
class GroupList:
    """The list in a group of an image; it is read again for each change."""

    hierarchy: Hierarchy
    group: Literal["labels", "tables"]

    def names(self) -> tuple[str, ...]:
        """Give what the image lists; nothing where it has no such group."""
        found = read_group(self.hierarchy, self.group)
        if found is None:
            return ()
        return tuple(self._names(self._home(found.content, found.zarr_format)))

    def add(self, name: str, version: Version, place: int | None = None) -> None:
        """Put a name into the list, at a place of it or behind all others."""

        def extended(content: dict[str, Any] | None) -> dict[str, Any] | None:
            if content is None:
                attributes: dict[str, Any] = {self.group: [name]}
                if self.group == "labels":
                    attributes = labels_attributes(version, [name])
                made = group_documents(self.group, attributes, version)
                return dict(made[-1].content)
            home = self._home(content, zarr_format(version))
            names = self._names(home)
            if name in names:
                return None
            names.insert(len(names) if place is None else place, name)
            home[self.group] = names
            return content

        if zarr_format(version) == 2:
            marker = {"zarr_format": 2}
            key = f"{self.group}/.zgroup"
            changed(self.hierarchy, key, lambda found: None if found else marker)
        changed(self.hierarchy, self._key(version), extended)

    def drop(self, dropped: Collection[str], version: Version) -> None:
        """Take names out of the list."""

        def shortened(content: dict[str, Any] | None) -> dict[str, Any] | None:
            home = self._home(content or {}, zarr_format(version))
            names = self._names(home)
            if content is None or not set(dropped) & set(names):
                return None
            home[self.group] = [name for name in names if name not in dropped]
            return content

        changed(self.hierarchy, self._key(version), shortened)

    def documents(self, version: Version) -> list[ZarrDocument]:
        """Give the documents of the group as they are now."""
        found = read_group(self.hierarchy, self.group)
        if found is None:
            return []
        marker = ZarrDocument(f"{self.group}/.zgroup", {"zarr_format": 2})
        own = ZarrDocument(found.key, found.content)
        return [marker, own] if zarr_format(version) == 2 else [own]

    def _key(self, version: Version) -> str:
        return f"{self.group}/{GROUP_DOCUMENT[zarr_format(version)]}"

    def _home(self, content: dict[str, Any], number: int) -> dict[str, Any]:
        # Labels are of OME-Zarr, tables of those who came after it.
        if self.group == "labels":
            return ome_block(content, number)
        return attributes_of(content, number)

    def _names(self, home: dict[str, Any]) -> list[str]:
        names = home.get(self.group)
        return [str(name) for name in names] if isinstance(names, list) else []


def with_free_name(features: TablePlan, hierarchy: Hierarchy) -> TablePlan:
    """Give a table a name that the image does not list: what is there stays whole.

    The hierarchy is the image's.
    """
    listed, number, free = _tables(hierarchy).names(), 2, features.name
    while free in listed:
        free, number = f"{features.name}_{number}", number + 1
    return replace(features, name=free)


def drop_older(
    hierarchy: Hierarchy, label: str, kept: str, version: Version
) -> tuple[str, ...]:
    """Remove the tables that we wrote of labels before; gives their names.

    ``kept`` is the one that they name by now; ``""`` if none. What others wrote of
    them stays.
    """
    pattern = re.compile(rf"{re.escape(label)}_features(_\d+)?")
    older = []
    for name in _tables(hierarchy).names():
        if name == kept or not pattern.fullmatch(name):
            continue
        group = read_group(hierarchy, f"{GROUP}/{name}")
        if group is not None and is_own_table(group.attributes, label):
            older.append(name)

    _remove_tables(hierarchy, older, version)
    return tuple(older)


def _remove_tables(
    hierarchy: Hierarchy, names: Sequence[str], version: Version
) -> None:
    """Take tables out of the list, and then remove them."""
    if names:
        _tables(hierarchy).drop(names, version)
        for name in names:
            hierarchy.remove(f"{GROUP}/{name}")


def _tables(hierarchy: Hierarchy) -> GroupList:
    return GroupList(hierarchy, GROUP)


# How labels look now, with features that are too many for their metadata.


def update_labels(
    spec: ImageSpec, hierarchy: Hierarchy, above: Sequence[tuple[Hierarchy, str]]
) -> tuple[str, ...]:
    """Write how labels look into their group, and their features beside them.

    As `update_image`: the table is written first, then the labels name it, and only
    then what they named before is removed.
    """
    group = read_group(hierarchy, "")
    version: Version = "0.4" if group and group.zarr_format == 2 else "0.5"
    before = named_by_labels(group.attributes) if group else ""
    home, path = _home(hierarchy, above)
    features = plan_features(spec, path, version)
    named = spec.label.table if spec.label else None
    if isinstance(named, FeatureSource):  # nobody has read them, nor changed them
        return update_image([_naming(spec, named.named)], hierarchy, above)
    if features is None and not before:
        return update_image([spec], hierarchy, above)
    label, name = path.rpartition("/")[2], ""
    if features is not None:
        same = replace(features, name=before)
        if before and _is_there(same, home):
            return update_image([_naming(spec, before)], hierarchy, above)
        features = with_free_name(features, home)
        label, name = features.label, features.name
        features.put(home)
    try:
        written = update_image([_naming(spec, name)], hierarchy, above)
    except OMEZarrError:
        if features is not None:
            home.remove(features.folder)
        raise
    if features is not None:
        _tables(home).add(name, version)
    dropped = drop_older(home, label, name, version)
    around = [(home, ""), *_beyond(home, above)]

    def documents() -> list[ZarrDocument]:
        own = features.documents if features is not None else []
        return [*own, *_tables(home).documents(version)]

    refresh(around, documents)
    for each in dropped:
        retract(around, f"{GROUP}/{each}")
    return written


def _is_there(features: TablePlan, home: Hierarchy) -> bool:
    """Whether exactly this table is stored."""
    keys = list(features.objects)
    found = home.read_all(keys)
    return all(
        body is not None and body.body == features.objects[key]
        for key, body in zip(keys, found, strict=True)
    )


def _home(
    hierarchy: Hierarchy, above: Sequence[tuple[Hierarchy, str]]
) -> tuple[Hierarchy, str]:
    """Give the image that labels belong to, and where they lie in it."""
    for image, path in above:
        if path.startswith("labels/") and path.count("/") == 1:
            return image, path
    return hierarchy, ""


def _beyond(
    home: Hierarchy, above: Sequence[tuple[Hierarchy, str]]
) -> list[tuple[Hierarchy, str]]:
    """Give the groups above an image, with the way from there to it."""
    return [
        (outer, path.rpartition("/labels/")[0])
        for outer, path in above
        if outer is not home and "/labels/" in path
    ]


def _naming(spec: ImageSpec, table: str) -> ImageSpec:
    if spec.label is None or not table:
        return spec
    state = {**spec.label.state, TABLE: table}
    return replace(spec, label=replace(spec.label, state=state))


# Points, shapes and tracks, added as tables.

TableMode = Literal["refuse", "replace", "beside"]


def add_annotations(
    layers: Sequence[LayerData],
    hierarchy: Hierarchy,
    above: Sequence[tuple[Hierarchy, str]],
    existing: TableMode,
) -> tuple[str, ...]:
    """Write layers beside an image, which names them once they are whole.

    Of those that are there under the same names, the new ones take the place if they
    were saved from layers, too; nothing of others is replaced.
    """
    if wrong := [kind for _, _, kind in layers if kind not in ANNOTATIONS]:
        raise OptionError(
            f"{wrong[0]} layers are not stored as tables.",
            action="Choose points, shapes or tracks.",
        )
    image = open_existing(hierarchy)
    image.refuse_labels("points, shapes and tracks")
    known = {axis.name: axis for axis in image.multiscale.axes}
    names: list[str] = []
    for data, options, kind in layers:
        listed = (*_tables(hierarchy).names(), *names)
        name = folder_name(str(options.get("name") or kind), ())
        older = _older(hierarchy, name, listed, existing)
        made = geometry(data, options, kind, known)
        plan = TablePlan("", name, "", image.version, made)
        plan = with_free_name(plan, hierarchy)
        plan.put(hierarchy)
        _tables(hierarchy).add(plan.name, image.version)
        _name(hierarchy, plan.name, older)
        _remove_tables(hierarchy, older, image.version)
        _refresh(hierarchy, above, plan, older, image.version)
        names.append(plan.name)
    return tuple(names)


def go_beside(layers: Iterable[Any]) -> bool:
    """Say whether layer data are of the kinds that are saved beside an image only."""
    kinds = [each[2] for each in layers]
    return bool(kinds) and all(kind in ANNOTATIONS for kind in kinds)


def annotations_there(hierarchy: Hierarchy, names: Iterable[str]) -> tuple[str, ...]:
    """Say which layers of these names are beside an image already.

    Raises
    ------
    NodeNotFoundError, OptionError
        There is no image, or one of a version that is not written any more.
    """
    open_existing(hierarchy)
    listed = _tables(hierarchy).names()
    taken = []
    for name in names:
        try:
            _older(hierarchy, folder_name(name, ()), listed, "refuse")
        except TargetExistsError:
            taken.append(name)
    return tuple(taken)


def _older(
    hierarchy: Hierarchy, name: str, listed: Sequence[str], existing: TableMode
) -> tuple[str, ...]:
    """Give the tables of that layer which are to go."""
    state = _state(hierarchy)
    if existing == "beside":
        return ()
    older = []
    for each in listed:
        group = read_group(hierarchy, f"{GROUP}/{each}")
        said = group.attributes.get(GEOMETRY) if group else None
        looks = said.get("looks") if isinstance(said, Mapping) else None
        own = isinstance(looks, Mapping) and each in state
        if own and isinstance(looks, Mapping):
            called = folder_name(str(looks.get("name")), ())
            older += [each] if called == name else []
        elif each == name:
            raise _taken(hierarchy, name)
    if older and existing == "refuse":
        raise _taken(hierarchy, name)
    return tuple(older)


def _taken(hierarchy: Hierarchy, name: str) -> TargetExistsError:
    place = f"{hierarchy.address}/{GROUP}/{name}"
    return TargetExistsError(
        f"There is a table {name} beside the image.",
        action="Choose another name, or replace it if it was saved from a layer.",
        url=place,
        option="existing",
    )


def _state(hierarchy: Hierarchy) -> list[str]:
    group = read_group(hierarchy, "")
    state = group.attributes.get(NAPARI) if group else None
    names = state.get(GROUP) if isinstance(state, Mapping) else None
    return [str(name) for name in names] if isinstance(names, list) else []


def _name(hierarchy: Hierarchy, name: str, older: Sequence[str]) -> None:
    """Let the image name a table, and those that it takes the place of no more."""
    group = read_group(hierarchy, "")
    if group is None:  # it was there a moment ago
        return

    def naming(content: dict[str, Any] | None) -> dict[str, Any] | None:
        if content is None:
            return None
        attributes = attributes_of(content, group.zarr_format)
        state = attributes.get(NAPARI)
        state = dict(state) if isinstance(state, Mapping) else {}
        held = state.get(GROUP)
        names = [each for each in held or () if each not in (name, *older)]
        attributes[NAPARI] = {**state, GROUP: [*names, name]}
        return content

    changed(hierarchy, group.key, naming)


def _refresh(
    hierarchy: Hierarchy,
    above: Sequence[tuple[Hierarchy, str]],
    plan: TablePlan,
    older: Sequence[str],
    version: Version,
) -> None:
    around = [(hierarchy, ""), *above]

    def documents() -> list[ZarrDocument]:
        own = read_group(hierarchy, "")
        root = [ZarrDocument(own.key, own.content)] if own else []
        return [*root, *plan.documents, *_tables(hierarchy).documents(version)]

    refresh(around, documents)
    for each in older:
        retract(around, f"{GROUP}/{each}")


# Add labels to an image that is there, without touching anything else of it.


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
