"""What a script does with a place: open, write, copy, validate, list."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypedDict

from napari_omezarr._io_loop import run
from napari_omezarr.browsing import copy_store, entries_of
from napari_omezarr.browsing import validate as check
from napari_omezarr.doors import guarded
from napari_omezarr.errors import LossError, OptionError
from napari_omezarr.layers import layers_beside, named_annotations
from napari_omezarr.location import Location
from napari_omezarr.metadata import Image, Plate, Series, Well
from napari_omezarr.reading import ReadOptions, read_current
from napari_omezarr.store import is_zarr, location_of
from napari_omezarr.tables import GROUP, stored_tables
from napari_omezarr.writing import (
    Beside,
    describe,
    find_beside,
    is_array,
    levels_of,
    named_by_labels,
    write_image,
    write_layers,
)

from .groups import OMECollection, OMEPlate, OMEWell, images_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from typing import Unpack

    from napari_omezarr.browsing import Copied, CopyProgress, Entry, Validation
    from napari_omezarr.pyramid import Pyramid
    from napari_omezarr.reading import Reading
    from napari_omezarr.writing import ImageSpec, Saved

    from .image import OMEImage

    Address = str | os.PathLike[str] | Location | Any
    Opened = OMEImage | OMEPlate | OMEWell | OMECollection

_SIGN_IN = ("endpoint", "region", "profile", "anonymous")
_READ = frozenset(field.name for field in fields(ReadOptions))


class OpenChoices(TypedDict, total=False):
    """What can be chosen of an opening: `ReadOptions`, and how to sign in."""

    labels: bool | Sequence[str]
    level: int | None
    multiscale: int | str | None
    series: int | str | None
    coordinate_system: str | None
    rows: Sequence[str] | None
    columns: Sequence[str] | None
    wells: Sequence[str] | None
    fields: int | str | None
    acquisition: int | str | None
    endpoint: str | None
    region: str | None
    profile: str | None
    anonymous: bool | None


@guarded
def open(address: Address, **choices: Unpack[OpenChoices]) -> Opened:
    """Open what lies at an address; metadata only, no pixel is read.

    Parameters
    ----------
    address : str, path, Location, Entry, or zarr store, group or array
        Whatever `read_layers` takes: a path, an address of a bucket or the web, a zip
        file, a link of a web viewer; or what `listing` and `open` gave.
    **choices
        ``labels``, ``level``, ``multiscale``, ``series``, ``coordinate_system``, and
        ``rows``, ``wells``, ``fields`` ... of a plate: which part of it, see
        `ReadOptions`. ``endpoint``, ``region``, ``profile`` (of
        AWS's files, or a connection of yours), ``anonymous``: how to sign in.

    Returns
    -------
    OMEImage, OMEPlate, OMEWell or OMECollection
        An image with its labels, or a label image; a plate; a well; the images of a
        series, a scene or a group of labels.

    Raises
    ------
    OMEZarrError
        As `read`.

    Examples
    --------
    >>> import napari_omezarr
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> image = napari_omezarr.open("cells.ome.zarr")
    >>> image.dims, [channel.name for channel in image.channels], list(image.labels)
    (('c', 'z', 'y', 'x'), ['Nuclei', 'Membranes'], ['nuclei'])
    >>> nuclei = image.sel(c="Nuclei").to_xarray(level=1)  # lazy, in micrometers
    >>> float(nuclei.max()) > 0
    True
    """
    said = {name: choices.get(name) for name in _SIGN_IN if name in choices}
    options: dict[str, Any] = {k: v for k, v in choices.items() if k not in said}
    if unknown := sorted(set(options) - _READ):
        raise OptionError(
            f"{unknown[0]} is no option.",
            action=f"There are: {', '.join(sorted((*_READ, *_SIGN_IN)))}.",
        )
    for name in ("labels", "rows", "columns", "wells"):
        names = options.get(name)
        if isinstance(names, str):
            options[name] = (names,)
        elif names is not None and not isinstance(names, bool):
            options[name] = tuple(map(str, names))
    for name in ("rows", "columns", "wells"):
        if options.get(name) is not None:
            options[name] = tuple(map(str, options[name]))
    reading = read_current(place_of(address, **said), ReadOptions(**options))
    return _opened(reading)


def place_of(address: Address, **said: Any) -> Location:
    """Give the place of an address, of a store, or of what was opened or listed.

    Raises
    ------
    LocationError
        It is no address.
    OptionError
        It is a part of an image, which has no place of its own.
    """
    if is_zarr(address):
        return location_of(address)
    if getattr(address, "is_part", False):
        raise OptionError(
            "A part of an image has no address.", action="Write it first."
        )
    return Location.parse(getattr(address, "location", address), **said)


def _opened(reading: Reading) -> Opened:
    images = images_of(reading.pyramids)
    notes = (reading.warnings, reading.notes)
    match reading.kind:
        case Plate() as plate:
            return OMEPlate(
                reading.location,
                images[0].name,
                plate.rows,
                plate.columns,
                tuple(well.path for well in plate.wells),
                plate.acquisitions,
                images[0],
                *notes,
            )
        case Well():
            place = reading.location
            return OMEWell(place, f"{place.parent.name}/{place.name}")
        case None | Image():
            return replace(images[0], warnings=reading.warnings)
        case kind:
            return OMECollection(
                reading.location, type(kind).__name__.lower(), images, *notes
            )


@guarded
def write(image: Any, address: Address, **choices: Any) -> Saved:
    """Save whatever is an image as OME-Zarr: what `open` gives, an array, layers.

    Parameters
    ----------
    image : OMEImage, OMECollection, array-like, layers, or a list of these
        An image with its labels, or a part of one; numpy, dask, zarr or xarray; layers
        of napari or layer data.
    address : str, path, Location, or zarr store or group
        Where: a folder, a zip file (``.ozx``), a bucket.
    **choices
        For an array as for `write_image` (``axes``, ``scale``, ``units``,
        ``channels``, ``labels``, ...), for all else as for `write_layers`
        (``version``, ``chunks``, ``shards``, ``levels``, ``existing``, ...).

    Returns
    -------
    Saved
        Where it is, and the plan that was followed.

    Raises
    ------
    OptionError
        It cannot be done like this; so it is with wells, and plates have
        `rewrite_plate`.
    OMEZarrError
        As `write_layers`.

    Examples
    --------
    >>> import napari_omezarr
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> image = napari_omezarr.open("cells.ome.zarr")
    >>> saved = napari_omezarr.write(image.sel(c="Nuclei", z=2.0), "plane.ome.zarr")
    >>> plane = napari_omezarr.open("plane.ome.zarr")
    >>> plane.dims, plane.scale, list(plane.labels)
    (('y', 'x'), {'y': 0.2, 'x': 0.2}, ['nuclei'])
    """
    if isinstance(image, OMEPlate | OMEWell):
        raise no_image("plate" if isinstance(image, OMEPlate) else "well")
    if is_array(image):
        return write_image(image, address, **choices)
    return write_layers(image, address, **choices)


def all_of(reading: Reading, *, beside: bool = True) -> list[Any]:
    """Give what `write` takes to write a place as it is: images, labels, annotations.

    The points, shapes and tracks that lie ``beside`` images are read.

    Raises
    ------
    OptionError
        It is a plate, or a well of one, whose fields would become one image.
    LossError
        An annotation cannot be read.
    """
    if isinstance(reading.kind, Plate | Well):
        raise no_image(type(reading.kind).__name__.lower())
    annotations, unread = layers_beside(reading.pyramids) if beside else ([], [])
    if unread:
        raise LossError(unread[0], action="Mend or remove its table, and try again.")
    images = [_with_beside(each, reading, beside=beside) for each in reading.pyramids]
    if isinstance(reading.kind, Series):
        paths = {_path(each, reading.location) for each in reading.pyramids}
        above = find_beside(reading.location, paths, kind="series")
        if above:
            images[0] = _with(images[0], above)
    return [*images, *annotations]


def _with_beside(
    pyramid: Pyramid, reading: Reading, *, beside: bool
) -> Pyramid | ImageSpec:
    """Take along what lies beside an image, or say of its tables that they are not."""
    place = pyramid.location
    home = f"{place.path}/labels/"
    labels = [e for e in reading.pyramids if e.location.path.startswith(home)]
    own = [named_by_labels(each.extras) for each in labels]
    own += named_annotations(pyramid) if beside else ()
    known = {f"{GROUP}/{name}" for name in own if name}
    known |= {_path(each, place) for each in labels} | levels_of(pyramid)
    if "" in known:  # its only level is the image itself
        return pyramid
    is_old = pyramid.version is not None and pyramid.version <= "0.4"
    paths = {level.path.strip("/") for level in pyramid.levels} if is_old else ()
    without = () if beside else ("labels", GROUP)
    found = find_beside(place, known, without=without, levels=paths)
    if found is None:
        tables = {f"{GROUP}/{each.name}" for each in stored_tables(place)}
        found = Beside(place, left=tuple(sorted(tables - known)))
    if not found:
        return pyramid
    spec = _with(pyramid, found)
    if spec.origin is None or not found.arrays:
        return spec
    shapes = {level.path.strip("/"): level.pixels.shape for level in pyramid.levels}
    said = {shapes[path]: each for path, each in found.arrays.items()}
    return replace(spec, origin=replace(spec.origin, arrays=said))


def _with(image: Pyramid | ImageSpec, beside: Beside) -> ImageSpec:
    spec = describe(image)
    return replace(spec, beside=(*spec.beside, beside))


def _path(pyramid: Pyramid, above: Location) -> str:
    return pyramid.location.path.removeprefix(above.path).strip("/")


def no_image(kind: str) -> OptionError:
    """Say that a plate, or a well, is not written as an image."""
    action = "Rewrite the whole plate, or write its fields one by one."
    return OptionError(f"A {kind} is not one image.", action=action)


@guarded
def copy(
    source: Address,
    target: Address,
    *,
    progress: Callable[[CopyProgress], None] | None = None,
    accept_refused: bool = False,
) -> Copied:
    """Copy a store byte by byte; blocks, and started again goes on where it was.

    Parameters
    ----------
    source, target : str, path, Location, or what was opened
        A folder, a bucket, a web server or an archive; and a folder or a bucket,
        where nothing else may be.
    progress : callable, optional
        Is given a `CopyProgress` after each object, and each piece of 16 MB of a long
        one, in another thread.
    accept_refused : bool, optional
        Leave out what a bucket refuses that may not be listed.

    Returns
    -------
    Copied
        How many objects and bytes were copied, and how many were there before.

    Raises
    ------
    TargetExistsError
        Something else is at the target.
    LossError
        Chunks are refused, and nobody has agreed to leave them out.
    NodeNotFoundError, StoreError
        There is nothing, or it could not be read or written.

    Examples
    --------
    >>> import napari_omezarr
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> copied = napari_omezarr.copy("cells.ome.zarr", "again.ome.zarr")
    >>> napari_omezarr.open(copied.target).shape, copied.resumed
    ((2, 8, 64, 64), 0)
    """
    return run(
        copy_store(
            place_of(source),
            place_of(target),
            progress=progress,
            accept_refused=accept_refused,
        )
    )


@guarded
def validate(address: Address) -> Validation:
    """Check metadata against the specification; needs the extra ``validate``.

    Parameters
    ----------
    address : str, path, Location, or what was opened
        A group of OME-Zarr.

    Returns
    -------
    Validation
        ``sentence`` says it in one, ``findings`` what is against it.

    Raises
    ------
    MissingPackageError
        The validator is not installed.
    NodeNotFoundError, StoreError
        There is no OME-Zarr, or it could not be read.

    Examples
    --------
    >>> import napari_omezarr
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> napari_omezarr.validate("cells.ome.zarr").sentence
    'Valid OME-Zarr 0.5.'
    """
    return check(place_of(address))


@guarded
def listing(address: Address, *, files: bool = False) -> Iterator[Entry]:
    """List what a place holds, with what each thing is; page by page, as it is taken.

    Parameters
    ----------
    address : str, path, Location, or what was opened
        A folder, a bucket, an object store, or an image.
    files : bool, optional
        Plain objects and folders as they are stored, not looked at.

    Returns
    -------
    iterator of Entry
        Each with ``name``, ``kind``, ``summary``, ``location``; `open` takes it.

    Raises
    ------
    ListingDeniedError, NodeNotFoundError, StoreError
        It may not be listed, nothing is there, or it could not be read.

    Examples
    --------
    >>> import napari_omezarr
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("data/cells.ome.zarr", shape=(8, 64, 64))
    >>> [(entry.name, entry.kind.value) for entry in napari_omezarr.listing("data")]
    [('cells.ome.zarr', 'image')]
    """
    return entries_of(place_of(address), files=files)
