"""Plates written anew: every field of every well, and the documents around them."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from napari_omezarr._io_loop import run
from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    ListingDeniedError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    TargetExistsError,
    UnsupportedDataError,
)
from napari_omezarr.location import NODE_DOCUMENTS, Location, is_below
from napari_omezarr.metadata import Plate, Well, parse_document
from napari_omezarr.reading import (
    GroupNode,
    ReadOptions,
    group_keys,
    kind_of,
    parse_node,
    read_current,
)
from napari_omezarr.store import open_lister, open_store
from napari_omezarr.tables import GROUP, stored_tables
from napari_omezarr.writing import (
    Beside,
    PlateField,
    PlateModel,
    SaveMode,
    WriteOptions,
    check_not_open,
    find_beside,
    free_place,
    list_fields,
    list_tables,
    listed_fields,
    open_hierarchy,
    parted,
    plan_carried,
    read_group,
    refuse_other_plate,
)

from .plates import (
    AbsentFieldError,
    FieldToWrite,
    WrittenField,
    plate_begun,
    writable_plate,
    write_each,
)
from .verbs import all_of, place_of

if TYPE_CHECKING:
    import os
    from collections.abc import (
        Callable,
        Generator,
        Iterator,
        Mapping,
        Sequence,
    )

    from napari_omezarr.reading import Node
    from napari_omezarr.writing import CarryPlan, Hierarchy, Progress

    from .groups import OMEPlate

_ASKED_TOGETHER = 256
"""Groups of which the documents are asked for at a time."""
_TOGETHER = 4
"""Fields in work at a time: while the documents of some are put others are read."""
_MEMORY = 32 * 2**20
"""What each may use of memory above what its source holds."""
_ABSENT = "This {} is listed, and not there; so it stays."
_SERIES = "OME"
"""A group beside rows, of bioformats2raw: in which order its images were."""


@dataclass(frozen=True, slots=True)
class StoredPlate:
    """A plate as it is stored: what its groups say, and which fields its wells list.

    ``lost`` are wells, and fields of some, that could not be read, with the reason.
    """

    location: Location
    version: str | None
    model: PlateModel
    fields: tuple[PlateField, ...]
    lost: Mapping[str, OMEZarrError]


@guarded
def stored_plate(location: Location) -> StoredPlate | None:
    """Read what a plate and its wells say; None where something else is.

    Raises
    ------
    MetadataError, StoreError
        The plate's document cannot be understood, or could not be read.
    UnsupportedDataError
        It lists more wells than are read.
    """
    root = parse_node("", open_store(location).fetch(group_keys("")))
    document = None if root is None else parse_document(root.attributes)
    if root is None or document is None or not isinstance(document.kind, Plate):
        return None
    if document.kind.is_cut:
        sentence = f"{location.display} lists more wells than are read at once."
        raise UnsupportedDataError(sentence, action="Copy or upgrade it.")
    wells = [well.path for well in document.kind.wells]
    rows = dict.fromkeys(path.rpartition("/")[0] for path in wells)
    nodes = _nodes(location, [*rows, _SERIES, *wells])
    groups = {p: n.attributes for p, n in nodes.items() if isinstance(n, GroupNode)}
    model = PlateModel({**groups, "": root.attributes})
    fields: list[PlateField] = []
    absent: list[str] = []
    lost: dict[str, OMEZarrError] = {}
    for path in wells:
        try:
            found = _fields_of(location, path, nodes[path], model)
        except OMEZarrError as error:
            lost[path] = error
            continue
        fields += found
        absent += [] if found else [path]
        known = {field.path for field in found}
        for name in model.listed(path).keys() - known if found else ():
            sentence = f"Well {path} lists {name}, which is not read."
            lost[f"{path}/{name}"] = UnsupportedDataError(sentence)
    return StoredPlate(
        location,
        document.version,
        replace(model, absent=tuple(absent)),
        tuple(fields),
        lost,
    )


def _nodes(
    location: Location, paths: Sequence[str]
) -> dict[str, Node | OMEZarrError | None]:
    """Read the documents of groups; what goes wrong with one is about it alone."""
    store = open_store(location)
    found: dict[str, Node | OMEZarrError | None] = {}
    for begin in range(0, len(paths), _ASKED_TOGETHER):
        some = paths[begin : begin + _ASKED_TOGETHER]
        answers = store.fetch(key for path in some for key in group_keys(path))
        for path in some:
            try:
                found[path] = parse_node(path, answers)
            except OMEZarrError as error:
                found[path] = error
    return found


def _fields_of(
    location: Location, path: str, node: Node | OMEZarrError | None, model: PlateModel
) -> list[PlateField]:
    """Give the fields of a well, or the well alone if it lists none.

    There are none where the well is listed, and not there.
    """
    if isinstance(node, OMEZarrError):
        raise node
    row, _, column = path.partition("/")
    if not (row and column and "/" not in column and is_below(path)):
        sentence = f"Well {path} lies in no row and column of its plate."
        raise UnsupportedDataError(sentence, action="Write its fields one by one.")
    if node is None:
        _refuse_remains(location / path)
        return []
    said = parted(node.attributes)[0].get("well")
    if isinstance(said, dict) and said.get("images") == []:
        return [PlateField(row, column, "")]
    kind = kind_of(node, f"{location.display}/{path}")
    if not isinstance(kind, Well):
        raise NodeNotFoundError(f"{path} is no well.", url=location.display)
    return [
        PlateField(row, column, each.path, each.acquisition) for each in kind.images
    ]


def _refuse_remains(place: Location) -> None:
    """Refuse what has lost its document; where nothing may be listed nothing is."""
    with suppress(ListingDeniedError, NodeNotFoundError):
        if run(open_lister(place).page()).items:
            sentence = f"{place.display} has no metadata, and something is in it."
            action = "Look at it with doctor."
            raise UnsupportedDataError(sentence, action=action, url=place.display)


@guarded
def _image_of(place: Location, *, labels: bool) -> list[Any]:
    """Read what a field holds, as `write` takes it."""
    try:
        reading = read_current(place, ReadOptions(labels=labels))
    except NodeNotFoundError:
        answers = open_store(place).fetch(NODE_DOCUMENTS).values()
        if any(answer is not None for answer in answers):
            raise
        _refuse_remains(place)
        raise AbsentFieldError(_ABSENT.format("field"), url=place.display) from None
    return all_of(reading, beside=labels)


def _no_field() -> list[Any]:
    raise AbsentFieldError("This well lists no field; so it stays.")


def rewrite_fields(
    plate: StoredPlate,
    address: Any,
    *,
    labels: bool = True,
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    **choices: Any,
) -> Generator[WrittenField]:
    """Write the fields of a plate anew one by one, and list them as they were.

    An error ends only one. What the plate and its wells say is kept; what they list
    and is not there stays so. With ``unfinished="resume"`` fields that are there are
    left.

    Raises
    ------
    OptionError
        It cannot be done like this.
    TargetExistsError
        Another plate is there, or this one, and neither is to go on nor give way.
    TargetInUseError
        The place is within the plate, or around it.
    WriteCancelledError
        It was cancelled.
    """
    place = writable_plate(address)
    if choices.get("existing") == "beside":
        mode = SaveMode(existing=choices.pop("existing"))
        place = writable_plate(free_place(place, WriteOptions(), mode)[0])
    check_not_open(place.display, [plate.location.display])
    hierarchy = open_hierarchy(place)
    there, _, version = plate_begun(hierarchy, choices.pop("version", None))
    if there is not None:
        _refuse_there(hierarchy, plate, choices)
    wells = {field.well for field in plate.fields}
    listed = listed_fields(hierarchy, wells if there else ())
    listing = partial(list_fields, hierarchy, version=version, model=plate.model)
    said: dict[str, Any] = {"version": version, "merge": False, "memory": _MEMORY}
    said |= choices | {"progress": _by_turns(progress), "cancel": cancel or Event()}
    fields = [_to_write(plate.location, field, labels) for field in plate.fields]
    carried = _beside(plate, version, labels=labels)
    notes = carried.notes
    for told in write_each(fields, place, listed, listing, said, _TOGETHER):
        yield replace(told, notes=(*notes, *told.notes))
        notes = ()
    for path, error in plate.lost.items():
        tell = partial(WrittenField, inputs=((plate.location / path).display,))
        yield tell((place / path).display, error=error)
    for path in plate.model.absent:
        tell = partial(WrittenField, inputs=((plate.location / path).display,))
        yield tell((place / path).display, absent=_ABSENT.format("well"))
    yield from _carry(carried, hierarchy, version, said)


def _by_turns(
    progress: Callable[[Progress], None] | None,
) -> Callable[[Progress], None] | None:
    """Let fields tell how far they are one after another."""
    if progress is None:
        return None
    lock = Lock()

    def tell(step: Progress) -> None:
        with lock:
            progress(step)

    return tell


def _refuse_there(
    hierarchy: Hierarchy, plate: StoredPlate, choices: Mapping[str, Any]
) -> None:
    refuse_other_plate(hierarchy, plate.model)
    if choices.get("existing") != "replace" and choices.get("unfinished") != "resume":
        raise TargetExistsError(
            f"{hierarchy.address} exists already.",
            action="Resume it, replace it, or choose another place.",
            url=hierarchy.address,
            option="existing",
        )


def _to_write(location: Location, field: PlateField, labels: bool) -> FieldToWrite:
    place = location / field.well
    if not field.path:
        return FieldToWrite(field, _no_field, (place.display,))
    place = place / field.path
    return FieldToWrite(
        field, partial(_image_of, place, labels=labels), (place.display,)
    )


def _beside(plate: StoredPlate, version: Any, *, labels: bool) -> CarryPlan:
    """Find what lies beside the rows of a plate: tables, and whatever others keep."""
    location = plate.location
    rows = {field.row for field in plate.fields}
    listed = (path.partition("/")[0] for path in plate.model.listed(""))
    known = {*rows, *listed}
    found = find_beside(
        location, known, without=() if labels else (GROUP,), kind="plate"
    )
    if found is None:
        with suppress(OMEZarrError):  # what cannot be listed is not missed
            names = [f"{GROUP}/{each.name}" for each in stored_tables(location)]
            found = Beside(location, left=tuple(names))
    return plan_carried(found or Beside(location), "", location.name, version, ())


def _carry(
    plan: CarryPlan, hierarchy: Hierarchy, version: Any, said: Mapping[str, Any]
) -> Iterator[WrittenField]:
    """Put what lies beside the rows to a plate of which a field is written."""
    try:
        if read_group(hierarchy, "") is None:
            return
        verify = said.get("verify") == "all"
        left = plan.left_by(hierarchy)
        if left.units:
            left.put(hierarchy, resumed=True, verify=verify)
        list_tables(hierarchy, plan, version)
    except OMEZarrError as error:
        yield WrittenField(hierarchy.address, error=error)


@guarded
def rewrite_plate(
    plate: str | os.PathLike[str] | Location | OMEPlate,
    address: str | os.PathLike[str] | Location,
    *,
    labels: bool = True,
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    **choices: Any,
) -> tuple[WrittenField, ...]:
    """Write a plate anew, every field of every well; blocks.

    What the plate and its wells say is kept: names, rows, columns, acquisitions, and
    what others added. A field that fails ends no other, and is not listed; what is
    listed and not there stays so. Called again with ``unfinished="resume"`` it does
    what is missing.

    Parameters
    ----------
    plate : str, path, Location or OMEPlate
        What is read: the whole plate, also where it was opened with a choice of wells.
    address : str, path or Location
        Where to: a folder or a place in a bucket.
    labels : bool, optional
        With the labels, points, shapes and tracks of the fields.
    progress : callable or None, optional
        Is given a `Progress` after each block of a field.
    cancel : threading.Event or None, optional
        Set it to stop: requests end at once, and what is stored by then is kept.
    **choices
        As for `write_layers`: ``version``, ``chunks``, ``shards``, ``codec``,
        ``existing_resolutions``, ``existing``, ``unfinished``, ``client``, ...

    Returns
    -------
    tuple of WrittenField
        For each field ``address``, and ``saved``, or ``error``, or ``absent`` where it
        was listed and not there; none of them where it was done before.

    Raises
    ------
    OptionError
        This is no plate, or it cannot be done like this.
    TargetExistsError, TargetInUseError
        Something else is there, or this plate is around it.
    WriteCancelledError, StoreError
        It was cancelled, or the plate's documents could not be read or written.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_omezarr import rewrite_plate, write_plate
    >>> field = np.ones((64, 64), np.uint16)
    >>> _ = write_plate({"A1": [field, field], "B2": field}, "p.zarr", axes="yx")
    >>> fields = rewrite_plate("p.zarr", "new.zarr", chunks={"y": 32, "x": 32})
    >>> [field.address.rpartition("new.zarr/")[2] for field in fields if field.saved]
    ['A/1/0', 'A/1/1', 'B/2/0']
    """
    location = place_of(plate)
    found = stored_plate(location)
    if found is None:
        sentence = f"{location.display} is no plate."
        raise OptionError(sentence, action="Use write.", url=location.display)
    said: dict[str, Any] = {"progress": progress, "cancel": cancel, **choices}
    with closing(rewrite_fields(found, address, labels=labels, **said)) as fields:
        return tuple(fields)
