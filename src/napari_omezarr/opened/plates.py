"""Plates written: layers or files become fields of wells, and labels go back there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr._io_loop import HeedingPool, run
from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    TargetExistsError,
    WriteCancelledError,
)
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.plain_text import by_times
from napari_omezarr.pyramid import mosaic_of, pixels_of
from napari_omezarr.reading import ReadOptions, read_current
from napari_omezarr.store import is_zarr
from napari_omezarr.writing import (
    PlateField,
    add_labels,
    check_field_names,
    is_array,
    labels_there,
    list_fields,
    listed_fields,
    open_hierarchy,
    parse_well_name,
    patch,
    plate_there,
    read_group,
    stored_otherwise,
    tidy,
)

from .verbs import place_of, write

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Generator, Iterator, Sequence
    from concurrent.futures import Future

    from napari_omezarr.pyramid import Mosaic, Place
    from napari_omezarr.writing import Hierarchy, Progress, Saved

_LISTED_TOGETHER = 24
"""After so many fields the plate lists those that are whole."""
_DEFAULT = "0.5"


@dataclass(frozen=True, slots=True)
class FieldToWrite:
    """A field of a plate, the image that it is to become, and where that comes from.

    Plain arrays become an image of that ``name``.
    """

    field: PlateField
    image: Any
    inputs: tuple[str, ...] = ()
    name: str = ""


class AbsentFieldError(NodeNotFoundError):
    """The image of a field that is listed and is not there: its place stays empty."""


@guarded
def write_plate(
    images: Mapping[str, Any] | Iterable[Mapping[str, Any]],
    address: str | os.PathLike[str] | Location,
    *,
    name: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    **choices: Any,
) -> tuple[Saved, ...]:
    """Save images as the fields of a plate, or add them to one that is there; blocks.

    A field is listed in its well, and the well in its plate, once it is whole; what
    others add meanwhile stays. What broke off goes on with ``unfinished="resume"``:
    fields that are listed are left alone then.

    Parameters
    ----------
    images : Mapping, or iterable of Mapping
        What lies in each well, by its name (``B/3`` or ``B3``): an image, or a list of
        images, its fields. Or rows of a table: ``well`` (or ``row`` and ``column``),
        ``image``, and where there are several ``field`` (its name in the well) and
        ``acquisition`` (a number). An image is whatever `write` takes, the address of
        an OME-Zarr, or a function that gives one when its turn comes.
    address : str, path or Location
        Of the plate: a folder or a place in a bucket.
    name : str or None, optional
        Of the plate.
    progress : callable or None, optional
        Is given a `Progress` after each block of a field.
    cancel : threading.Event or None, optional
        Set it to stop: requests end at once, and what is stored by then is kept.
    **choices
        As for `write`: ``version`` ("0.4" to "0.6"; a plate that is there keeps its
        own), ``axes`` and ``scale`` of arrays, ``chunks``, ``existing``, ...

    Returns
    -------
    tuple of Saved
        One for each field that was written.

    Raises
    ------
    OptionError
        A name is no well's, a field is named twice, or the place is no plate.
    TargetExistsError
        A field is there already.
    OMEZarrError
        As `write_layers`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_omezarr import read_layers, write_plate
    >>> field = np.ones((64, 64), np.uint16)
    >>> saved = write_plate({"A1": [field, field], "B2": field}, "p.zarr", axes="yx")
    >>> len(saved), read_layers("p.zarr")[0][0].shape
    (3, (130, 260))
    """
    saved: list[Saved] = []
    options: dict[str, Any] = {"name": name, "progress": progress, "cancel": cancel}
    with closing(write_fields(images, address, **options, **choices)) as fields:
        for field in fields:
            if field.error is not None:
                raise field.error
            saved += [field.saved] if field.saved else []
    return tuple(saved)


@dataclass(frozen=True, slots=True)
class WrittenField:
    """What became of a field: saved, in error, absent, or else it was there before.

    Attributes
    ----------
    address : str
        Where it is, or would be.
    saved : Saved or None
        What was written.
    error : OMEZarrError or None
        Why it was not.
    absent : str
        Why its place stays empty: it was listed, and not there, where it comes from.
    inputs : tuple of str
        Where it comes from, if that is known.
    notes : tuple of str
        What there is to say of the whole plate, with the first field.
    """

    address: str
    saved: Saved | None = None
    error: OMEZarrError | None = None
    absent: str = ""
    inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def write_fields(
    images: Mapping[str, Any] | Iterable[Mapping[str, Any]],
    address: Any,
    *,
    name: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    **choices: Any,
) -> Generator[WrittenField]:
    """Write the fields of a plate one by one, as `write_plate`; an error ends only one.

    Raises
    ------
    OptionError, TargetExistsError, WriteCancelledError
        As `write_plate`.
    """
    place = writable_plate(address)
    hierarchy = open_hierarchy(place)
    _, columns, version = plate_begun(hierarchy, choices.pop("version", None))
    fields = list(_fields(images, columns))
    listed = listed_fields(hierarchy, {each.field.well for each in fields})
    check_field_names((each.field for each in fields), listed, version)
    names = name, place.stem
    listing = partial(list_fields, hierarchy, version=version, names=names)
    choices = {"progress": progress, "cancel": cancel, "version": version} | choices
    fields = [replace(each, name=name or place.stem) for each in fields]
    yield from write_each(fields, place, listed, listing, choices)


def plate_begun(
    hierarchy: Hierarchy, wanted: str | None
) -> tuple[str | None, tuple[str, ...], Any]:
    """Give the version of a plate that is there (None), its columns, and what is meant.

    Raises
    ------
    OptionError
        It is of another version than is wanted, or something else is there.
    """
    there, columns = plate_there(hierarchy)
    if there is not None and wanted not in (None, there):
        msg = f"{hierarchy.address} is OME-Zarr {there}, not {wanted}."
        raise OptionError(msg, action=f"Choose {there}, or another place.")
    return there, columns, there or wanted or _DEFAULT


def write_each(
    fields: Iterable[FieldToWrite],
    place: Location,
    listed: Mapping[str, Collection[str]],
    listing: Callable[[Sequence[PlateField]], None],
    choices: Mapping[str, Any],
    together: int = 1,
) -> Generator[WrittenField]:
    """Write fields to wells, which may have ``listed`` some; an error ends only one.

    So many are in work ``together``. What is whole is listed after some fields, and at
    the end however that comes.

    Raises
    ------
    TargetExistsError
        A field is listed, and neither to be left nor replaced.
    WriteCancelledError
        It was cancelled.
    """
    whole: list[PlateField] = []

    def list_whole() -> None:
        some = whole[:]
        if some:
            listing(some)
            del whole[: len(some)]

    def work(each: FieldToWrite) -> WrittenField:
        is_listed = each.field.path in listed.get(each.field.well, ())
        told = _written(each, place, choices, is_listed=is_listed)
        if told.saved or told.absent or not (is_listed or told.error):
            whole.append(each.field)
        return told

    try:
        for told in _in_turn(work, fields, together, choices.get("cancel")):
            yield told
            if len(whole) >= _LISTED_TOGETHER:
                list_whole()
    finally:
        # What is whole is seen, whatever became of the others.
        list_whole()


def _in_turn(
    work: Callable[[FieldToWrite], WrittenField],
    fields: Iterable[FieldToWrite],
    together: int,
    cancel: Any,
) -> Iterator[WrittenField]:
    """Do some fields at a time, and tell of each in its turn.

    What ends it ends those that are in work as well.
    """
    if together == 1:  # in the thread of who asks
        yield from map(work, fields)
        return
    waiting: deque[Future[WrittenField]] = deque()
    with HeedingPool(together, "omezarr-plate") as pool:
        try:
            for each in fields:
                waiting.append(pool.submit(work, each))
                if len(waiting) == 2 * together:
                    yield _next_of(waiting)
            while waiting:
                yield _next_of(waiting)
        finally:
            if waiting:  # something has ended it before
                pool.shutdown(wait=False, cancel_futures=True)
                if isinstance(cancel, Event):
                    cancel.set()


def _next_of(waiting: deque[Future[WrittenField]]) -> WrittenField:
    told = waiting[0].result()
    waiting.popleft()
    return told


def _written(
    each: FieldToWrite, place: Location, choices: Mapping[str, Any], *, is_listed: bool
) -> WrittenField:
    field = each.field
    target = place / field.row / field.column / field.path
    tell = partial(WrittenField, target.display, inputs=each.inputs)

    def left() -> WrittenField:
        tidy(target)
        return tell(notes=stored_otherwise(open_hierarchy(target), choices))

    if is_listed and _is_left(field, place, choices):
        return left()
    own = {"name": each.name} if is_array(each.image) else {}
    try:
        return tell(saved=_write(each.image, target, **{**own, **choices}))
    except WriteCancelledError:
        raise
    except AbsentFieldError as error:
        return tell(absent=error.sentence)
    except OMEZarrError as error:
        return left() if _is_whole(target, error, choices) else tell(error=error)


def _resumes(choices: Mapping[str, Any]) -> bool:
    return choices.get("unfinished") == "resume"


def _is_whole(
    target: Location, error: OMEZarrError, choices: Mapping[str, Any]
) -> bool:
    """Whether a run that goes on finds a field that the last one had yet to list."""
    if not _resumes(choices) or not isinstance(error, TargetExistsError):
        return False
    return read_group(open_hierarchy(target), "") is not None


def _is_left(field: PlateField, place: Location, choices: Mapping[str, Any]) -> bool:
    """Whether a field that is there stays; it is refused unless that was chosen."""
    if choices.get("existing") == "replace":
        return False
    if _resumes(choices):
        return True
    msg = f"Well {field.well} has a field {field.path} already."
    action = "Name the field otherwise, or choose to replace it."
    raise TargetExistsError(msg, action=action, url=place.display, option="existing")


def writable_plate(address: Any) -> Location:
    """Give the place of a plate that is written.

    Raises
    ------
    OptionError
        It is a store of zarr, or a zip file.
    """
    if is_zarr(address):
        msg = "A plate is written to an address, not into a store of zarr."
        raise OptionError(msg, action="Give the address of a folder or a bucket.")
    place = place_of(address)
    if place.is_archive:
        msg = f"Wells cannot be added to {place.display}."
        raise OptionError(msg, action="Write to a folder, and pack that.")
    return place


def _write(image: Any, target: Location, **choices: Any) -> Saved:
    if callable(image) and not is_array(image):
        image = image()
    is_address = isinstance(image, Location) or (
        hasattr(image, "__fspath__") or isinstance(image, str)
    )
    if not is_address:
        if not is_array(image):
            choices.pop("axes", None)
        return write(image, target, **choices)
    choices.pop("axes", None)
    return write(read_layers(image), target, **choices)


def _fields(
    images: Mapping[str, Any] | Iterable[Mapping[str, Any]], columns: Iterable[str]
) -> Iterator[FieldToWrite]:
    """Give the fields of a plate; those without a name are numbered in their well.

    Wells like ``B3`` and ``B03`` are one, called as the plate's columns are.
    """
    spelled = {int(name): name for name in columns if name.isdecimal()}
    rows: Iterable[Mapping[str, Any]]
    if isinstance(images, Mapping):
        rows = [
            {"well": well, "image": image}
            for well, held in images.items()
            for image in (held if _is_several(held) else [held])
        ]
    else:
        rows = images
    counts: dict[tuple[str, str], int] = {}
    seen: set[tuple[str, str]] = set()
    for row in rows:
        line, column = _well_of(row)
        if column.isdecimal() and "/" not in str(row.get("well") or "/"):
            column = spelled.setdefault(int(column), column)
        well = line, column
        number = counts.get(well, 0)
        counts[well] = number + 1
        path = _text(row.get("field")) or str(number)
        field = PlateField(*well, path, _acquisition(row.get("acquisition")))
        if (field.well, path) in seen:
            msg = f"Field {path} of well {field.well} is named twice."
            raise OptionError(msg, action="Give each field of a well its own name.")
        seen.add((field.well, path))
        yield FieldToWrite(field, row["image"], row.get("inputs", ()))


def _is_several(held: Any) -> bool:
    """Whether a list is of images, and not of the layers or levels of one."""
    if not isinstance(held, list):
        return False
    if not held:
        return True
    first = held[0]
    return (
        is_array(first)
        or isinstance(first, str | Location | list)
        or (hasattr(first, "__fspath__") or hasattr(first, "pyramids"))
    )


def _well_of(row: Mapping[str, Any]) -> tuple[str, str]:
    if "image" not in row:
        raise OptionError("A row names no image.", action="Add the column image.")
    well, line, column = (_text(row.get(n)) for n in ("well", "row", "column"))
    if not well and not (line and column):
        msg = "A row does not say its well."
        action = "It needs well, or row and column."
        raise OptionError(msg, action=action)
    return parse_well_name(well or f"{line}/{column}")


def _text(value: Any) -> str:
    """Give an entry of a table as text: pandas makes floats of numbers with gaps."""
    if value is None or value != value:
        return ""
    is_whole = isinstance(value, float | np.floating) and value == value // 1
    return str(int(value) if is_whole else value).strip()


def _acquisition(value: Any) -> int | None:
    text = _text(value).removesuffix(".0")
    if text and not (text.isascii() and text.isdecimal()):
        msg = f"{text} is no acquisition."
        raise OptionError(msg, action="Number acquisitions from 0 on.")
    return int(text) if text else None


# Labels of a mosaic, back into the images of its fields.


@guarded
def add_plate_labels(
    labels: Any,
    plate: Any,
    *,
    name: str,
    original: Any | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    **choices: Any,
) -> tuple[str, ...]:
    """Save labels that lie on a plate's picture into the images of its fields; blocks.

    Only fields that have labels are touched; of those that have a label image of this
    name already only the chunks that differ, by compare-and-set.

    Parameters
    ----------
    labels : array-like, or napari layer
        Of the shape of the plate's finest level, without channels; read field by field.
    plate : napari layer, layer data, or address
        What the labels were made on: a layer of the plate as it was opened (with its
        choice of wells and fields), or of one field; or the plate's address.
    name : str
        Of the label image of each field.
    original : array-like or None, optional
        The labels as they were before; what is equal is left alone, and what was
        erased is erased.
    progress, cancel, **choices
        As for `add_labels`.

    Returns
    -------
    tuple of str
        The paths of the fields that were written.

    Raises
    ------
    OptionError
        The labels are of another shape, or this is no plate.
    PatchConflictError
        Others have changed the same pixels.
    OMEZarrError
        As `add_labels` and `patch`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_omezarr import add_plate_labels, read_layers, write_plate
    >>> field = np.ones((64, 64), np.uint16)
    >>> saved = write_plate({"A1": field, "B2": field}, "p.zarr", axes="yx")
    >>> plate = read_layers("p.zarr")[0]
    >>> cells = np.zeros(plate[0].shape, np.uint8)
    >>> cells[70:80, 70:80] = 5
    >>> add_plate_labels(cells, plate, name="cells")
    ('B/2/0',)
    """
    values, before = _pixels(labels), None if original is None else _pixels(original)
    choices |= {"progress": progress, "cancel": cancel}
    if (field := _field_of(plate, tuple(values.shape))) is not None:
        part, old = np.asarray(values), None if before is None else np.asarray(before)
        is_saved = _save_part(part, old, field, name, choices)
        return ("/".join(field.path.split("/")[-3:]),) if is_saved else ()
    mosaic = _mosaic(plate)
    expected = _without_channels(mosaic)
    if tuple(values.shape) != expected:
        shape, wanted = by_times(values.shape), by_times(expected)
        msg = f"The labels are {shape}, and the plate is {wanted}."
        raise OptionError(msg, action="Make them on the plate's finest level.")
    written = []
    for path, box in _boxes(mosaic):
        part = np.asarray(values[box])
        old = None if before is None else np.asarray(before[box])
        place = _opening(mosaic).place(path)
        if _save_part(part, old, place, name, choices):
            written.append(path)
    return tuple(written)


def _save_part(
    part: np.ndarray,
    old: np.ndarray | None,
    place: Location,
    name: str,
    choices: dict[str, Any],
) -> bool:
    """Write the labels of one field, if there is anything to write."""
    if not part.any() if old is None else np.array_equal(part, old):
        return False
    if not labels_there(open_hierarchy(place), [name]).taken:
        add_labels(part, place, name=name, **choices)
    else:
        patch(place / "labels" / name, (0,) * part.ndim, part, original=old)
    return True


def _field_of(plate: Any, shape: tuple[int, ...]) -> Location | None:
    """Give the image that a layer shows which is no plate's picture.

    None where it is one, and where the labels were not made on it.
    """
    data = plate[0] if isinstance(plate, tuple) else getattr(plate, "data", None)
    known = plate[1].get("metadata") if isinstance(plate, tuple) else None
    record = (known or getattr(plate, "metadata", None) or {}).get("omezarr", {})
    if data is None or "channel" not in record or "region" in record:
        return None
    finest = data if hasattr(data, "dask") else data[0]
    if not hasattr(finest, "dask") or mosaic_of(pixels_of(finest)) is not None:
        return None
    place = record.get("place") or record["address"]
    return place_of(place) if tuple(finest.shape) == shape else None


def _mosaic(plate: Any) -> Mosaic:
    data = plate[0] if isinstance(plate, tuple) else getattr(plate, "data", None)
    if data is None:
        options = ReadOptions(labels=False)
        image = read_current(place_of(plate), options).pyramids[0]
        pixels: Any = image.levels[0].pixels
        address = image.location.display
    else:
        finest = data[0] if isinstance(data, list) or hasattr(data, "_data") else data
        pixels = pixels_of(finest) if hasattr(finest, "dask") else None
        is_data = isinstance(plate, tuple)
        known = plate[1].get("metadata") if is_data else plate.metadata
        address = (known or {}).get("omezarr", {}).get("address", "")
    found = mosaic_of(pixels)
    if found is None and address:
        msg = f"This is no plate's picture, but one image: {address}."
        action = "Save the labels into that image, with add_labels and this address."
        raise OptionError(msg, action=action)
    if found is None:
        msg = "This is no plate."
        raise OptionError(msg, action="Give a layer of a plate, or its address.")
    return found


def _pixels(labels: Any) -> Any:
    data = labels[0] if isinstance(labels, tuple) else getattr(labels, "data", labels)
    data = labels if isinstance(data, memoryview) else data
    return data[0] if isinstance(data, list) else data


def _opening(mosaic: Mosaic) -> Any:
    fields: Any = mosaic.fields
    return fields.documents.opening


def _without_channels(mosaic: Mosaic) -> tuple[int, ...]:
    axis = _channel_axis(mosaic)
    return tuple(size for n, size in enumerate(mosaic.shape) if n != axis)


def _channel_axis(mosaic: Mosaic) -> int | None:
    fields: Any = mosaic.fields
    axis = fields.expected.channel_axis
    return None if axis is None else axis + len(mosaic.fields.steps)


def _boxes(mosaic: Mosaic) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Give the fields of a mosaic, each with its box among labels."""
    grid = mosaic.fields.grid
    for step in np.ndindex(*mosaic.fields.steps):
        for place in grid.wells:
            yield from _fields_of(mosaic, place, step)


def _fields_of(
    mosaic: Mosaic, place: Place, step: tuple[int, ...]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    fields: Any = mosaic.fields
    axis, corner = fields.expected.channel_axis, mosaic.fields.grid.corner(place)
    for tile in run(mosaic.fields.tiles(place, step)):
        pixels = run(tile.level(0))
        if pixels is None:
            continue
        *front, height, width = (
            size for n, size in enumerate(pixels.shape) if n != axis
        )
        top, left = corner[0] + tile.origin[0], corner[1] + tile.origin[1]
        plane = slice(top, top + height), slice(left, left + width)
        yield tile.path, (*step, *(slice(size) for size in front), *plane)
