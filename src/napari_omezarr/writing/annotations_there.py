"""Add points, shapes and tracks to an image that is there, as tables beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from napari_omezarr.errors import OptionError, TargetExistsError
from napari_omezarr.tables import GEOMETRY, GROUP

from .annotations import ANNOTATIONS, geometry
from .encode import ZarrDocument
from .existing import (
    attributes_of,
    changed,
    open_existing,
    read_group,
    refresh,
    retract,
)
from .feature_tables import TablePlan
from .rendering import NAPARI, folder_name
from .tables_there import (
    list_documents,
    list_table,
    table_names,
    unlist_tables,
    with_free_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .from_layers import LayerData
    from .hierarchy import Hierarchy
    from .options import Version

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
    known = {axis.name: axis for axis in image.multiscale.axes}
    names: list[str] = []
    for data, options, kind in layers:
        listed = (*table_names(hierarchy), *names)
        name = folder_name(str(options.get("name") or kind), ())
        older = _older(hierarchy, name, listed, existing)
        made = geometry(data, options, kind, known)
        plan = TablePlan("", name, "", image.version, made)
        plan = with_free_name(plan, hierarchy)
        plan.put(hierarchy)
        list_table(hierarchy, plan.name, image.version)
        _name(hierarchy, plan.name, older)
        unlist_tables(hierarchy, older, image.version)
        _refresh(hierarchy, above, plan, older, image.version)
        names.append(plan.name)
    return tuple(names)


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
        return [*root, *plan.documents, *list_documents(hierarchy, version)]

    refresh(around, documents)
    for each in older:
        retract(around, f"{GROUP}/{each}")
