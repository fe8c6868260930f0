"""What an image lists as its own: labels, and tables that are replaced or added."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from napari_omezarr.errors import OMEZarrError, OptionError, TargetExistsError
from napari_omezarr.location import GROUP_DOCUMENT
from napari_omezarr.tables import GEOMETRY, GROUP, FeatureSource, is_own_table

from .annotations import (
    ANNOTATIONS,
    TABLE,
    TablePlan,
    geometry,
    named_by_labels,
    plan_features,
)
from .documents import labels_attributes
from .encode import ZarrDocument, group_documents, zarr_format
from .existing import (
    attributes_of,
    changed,
    ome_block,
    open_existing,
    read_group,
    refresh,
    retract,
    update_image,
)
from .rendering import NAPARI, folder_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from .from_layers import LayerData
    from .hierarchy import Hierarchy
    from .image_spec import ImageSpec
    from .options import Version


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
