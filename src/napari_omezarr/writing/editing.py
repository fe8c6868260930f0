"""Change an image that is there: labels, tables, looks, pixels, extent, place."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np

from napari_omezarr.doors import guarded
from napari_omezarr.errors import OptionError
from napari_omezarr.location import Location
from napari_omezarr.pyramid import whole_box

from .cluster import make_executor
from .engine import Running
from .existing import Calibration, calibrate_image, open_existing, update_image
from .from_arrays import Channels, displays_of, one_of, source_of
from .from_layers import (
    describe,
    is_array,
    is_layer_data,
    layer_data,
    left_as_they_are,
    listed,
)
from .given import open_hierarchy, parsed
from .growing import Growth, grow
from .image_spec import ImageSpec
from .labels import (
    GroupList,
    add_annotations,
    labels_of_existing,
    save_labels,
    update_labels,
)
from .options import ArrayChoices, split_choices, understood
from .patching import Edit, patch_image, plan_edit
from .rendering import folder_name
from .save import check_not_open
from .source import known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from threading import Event

    from .engine import Progress
    from .existing import ExistingImage
    from .from_arrays import ByAxis, UnitsByAxis
    from .given import Address, Foreign
    from .growing import Appended
    from .hierarchy import Hierarchy
    from .labels import TableMode
    from .options import Method
    from .patching import Patched, PatchPlan
    from .save import Saved

_HEIGHT = 5
"""How far up consolidated metadata are looked for: plate, row, well, image, labels."""


@guarded
def add_labels(  # noqa: PLR0913 - one verb, all its choices by name
    layer: Any,
    address: Address,
    *,
    name: str | None = None,
    features: Any | None = None,
    client: Any | None = None,
    in_use: Iterable[str] = (),
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    **choices: Unpack[ArrayChoices],
) -> Saved:
    """Save labels into an image that is there; blocks until it lists them.

    Parameters
    ----------
    layer : napari layer, layer data tuple, array, or zarr group or store
        Labels on the image's grid, with its axes or without some (channels, and first
        ones of one pixel). What is plain pixels is taken to lie there. A pyramid or
        what `open` gives does, too.
    address : str, path, Location, or zarr store or group
        The image's group.
    name : str or None, optional
        Of the label image; None: as the layer is called.
    features : data frame or Mapping of str to sequence, optional
        What is known of each label, for an array; ``index`` says which it is. Layers
        have their own.
    client, in_use, progress, cancel, **choices
        As for `write_layers`; the version is the image's, and ``existing`` is about
        labels of the same name.

    Raises
    ------
    OptionError
        These are no labels, or they do not lie on the image's grid.
    NodeNotFoundError, MetadataError
        There is no image, or it cannot be understood.
    OMEZarrError
        As `write_layers`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_omezarr import add_labels, read_layers, write_image
    >>> saved = write_image(np.zeros((64, 64), np.uint16), "image.ome.zarr", "yx")
    >>> cells = (np.ones((64, 64), np.uint8), {"name": "cells"}, "labels")
    >>> saved = add_labels(cells, "image.ome.zarr")
    >>> [kind for _, _, kind in read_layers("image.ome.zarr")]
    ['image', 'labels']
    """
    options, mode = split_choices(choices)
    place = parsed(address)
    hierarchy = open_hierarchy(place)
    with understood():
        layer = (*layer, "labels") if _is_pair(layer) else one_of(layer, labels=True)
        if is_array(layer) or _is_plain(layer) or _is_file(layer):
            spec = labels_of_existing(layer, hierarchy, name, features)
        elif features is not None:
            raise OptionError(
                "Features are given with an array; a layer has its own.",
                action="Leave them out, or give the pixels alone.",
            )
        else:
            spec = describe(layer)
    if mode.existing != "beside":
        folder = folder_name(name or spec.name, ())
        read = [*spec.source.places, *in_use]
        check_not_open(f"{hierarchy.address}/labels/{folder}", read, inside=True)
    executor = make_executor(client, options, mode)
    try:
        return save_labels(
            spec,
            hierarchy,
            options,
            mode,
            executor,
            Running(progress, cancel, mode.verify),
            name=name,
            above=_above(place),
        )
    finally:
        executor.close()


@guarded
def add_tables(
    layers: Iterable[Any], address: Address, *, existing: TableMode = "refuse"
) -> tuple[str, ...]:
    """Save points, shapes and tracks beside an image that is there.

    Each becomes a table in the image's ``tables``, and comes back with the image; a
    table is whole before anything names it.

    Parameters
    ----------
    layers : iterable
        Napari layers or layer data tuples of these types.
    address : str, path, Location, or zarr store or group
        The image's group.
    existing : {"refuse", "replace", "beside"}, optional
        What is done where a layer of the same name is there already.

    Returns
    -------
    tuple of str
        The names of the tables.

    Raises
    ------
    OptionError
        A layer is of another type.
    TargetExistsError
        There is a table of that name (of another program, if it was to be replaced).
    NodeNotFoundError, MetadataError
        There is no image, or it cannot be understood.
    StoreError
        Reading or writing failed.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_omezarr import add_tables, read_layers, write_image
    >>> saved = write_image(np.zeros((64, 64), np.uint16), "image.ome.zarr", "yx")
    >>> spots = (np.array([[8, 9], [30, 31]]), {"name": "spots"}, "points")
    >>> add_tables([spots], "image.ome.zarr")
    ('spots',)
    >>> [kind for _, _, kind in read_layers("image.ome.zarr")]
    ['image', 'points']
    """
    place = parsed(address)
    with understood():
        given = [layer_data(layer) for layer in listed(layers)]
        tuples = [each for each in given if isinstance(each, tuple)]
    if len(tuples) < len(given):
        sentence = "Images are not added as tables."
        raise OptionError(sentence, action="Choose points, shapes or tracks.")
    return add_annotations(tuples, open_hierarchy(place), _above(place), existing)


class Rendered(tuple[str, ...]):
    """The names of the layers whose looks were written; ``notes`` say what was not."""

    notes: tuple[str, ...]

    def __new__(cls, names: Iterable[str], notes: Iterable[str] = ()) -> Self:
        """Make it of names, and of sentences."""
        made = super().__new__(cls, names)
        made.notes = tuple(dict.fromkeys(notes))
        return made


@guarded
def update_rendering(layers: Iterable[Any], address: Address | None = None) -> Rendered:
    """Write how layers look into the images they were opened from; pixels stay.

    Names, colours, contrast, visibility, label colours and features, and what
    napari knows beyond; all else in the metadata stays as it is.

    Parameters
    ----------
    layers : iterable
        Napari layers or layer data tuples, opened from OME-Zarr.
    address : str, path, Location, or zarr store or group, optional
        The image that all of them belong to, instead of where they came from.

    Returns
    -------
    Rendered
        The names of the layers whose metadata were written, a tuple; its ``notes`` say
        what of the layers stays as it is in their images: where they lie, say.

    Raises
    ------
    OptionError
        A layer does not come from an OME-Zarr, does not know which channel it is, or
        has no contrast.
    NodeNotFoundError
        There is no image any more.
    ConflictError
        Its metadata were changed while this was done.
    StoreError
        They could not be read or written.

    Examples
    --------
    >>> from napari_omezarr import read_layers, update_rendering
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> layers = read_layers("cells.ome.zarr")
    >>> layers[0][1]["name"] = "DAPI"
    >>> update_rendering(layers[:1])
    ('DAPI',)
    >>> read_layers("cells.ome.zarr")[0][1]["name"]
    'DAPI'
    """
    groups: dict[str, list[ImageSpec]] = {}
    notes: list[str] = []
    for layer in listed(layers):
        with understood():
            spec = describe(layer)
            notes += left_as_they_are(layer)
        home = spec.origin.place if spec.origin else ""
        if not home and address is None:
            raise OptionError(
                f"{spec.name} was not opened from an OME-Zarr.",
                action="Save it as a new image.",
            )
        groups.setdefault("" if address else home, []).append(spec)
    written: list[str] = []
    for home, specs in groups.items():
        place = parsed(home if address is None else address)
        hierarchy, above = open_hierarchy(place), _above(place)
        if len(specs) == 1 and specs[0].label is not None:
            written += update_labels(specs[0], hierarchy, above)
        else:
            written += update_image(specs, hierarchy, above)
    return Rendered(written, notes)


@guarded
def patch(
    address: Address,
    start: Sequence[int],
    values: np.ndarray,
    *,
    original: np.ndarray | None = None,
    method: Method | None = None,
) -> Patched:
    """Write an edited region into an image, and into its coarser levels.

    Parameters
    ----------
    address : str, path, Location, or zarr store or group
        The group of the image, or of a label image.
    start : sequence of int
        Where the region begins in the finest level, for all its axes.
    values : numpy.ndarray
        The edited pixels, of as many axes.
    original : numpy.ndarray or None, optional
        The pixels before they were edited. With them only what was edited is
        written, and not where somebody else has changed the same meanwhile.
    method : {"mean", "nearest", "max", "mode"} or None, optional
        How coarser pixels are made; None: as the image says of itself, else
        nearest for labels and mean for images.

    Raises
    ------
    OptionError
        The region lies outside, or is of another type.
    PatchConflictError
        Pixels that were edited have been changed by somebody else. Nothing was
        written.
    NodeNotFoundError, MetadataError
        There is no image, or it cannot be understood.
    StoreError
        Reading or writing failed; finer levels may be written already, and doing it
        again mends that.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_omezarr import patch, read_layers, write_image
    >>> saved = write_image(np.zeros((64, 64), np.uint16), "image.ome.zarr", "yx")
    >>> patched = patch("image.ome.zarr", (10, 20), np.full((2, 2), 7, np.uint16))
    >>> data = read_layers("image.ome.zarr")[0][0]
    >>> int(data[10, 20])
    7
    """
    image = open_existing(open_hierarchy(parsed(address)))
    method = method or _method(image)
    patched = patch_image(image, _edit(start, values, original), method)
    return replace(patched, place=address, method=method)


@guarded
def plan_patch(
    address: Address,
    start: Sequence[int],
    values: np.ndarray,
    *,
    original: np.ndarray | None = None,
) -> PatchPlan:
    """Find out what `patch` would write; only the image's documents are read.

    Parameters
    ----------
    address, start, values, original
        As for `patch`.

    Returns
    -------
    PatchPlan
        ``plan.summary()`` says it in one line, ``plan.pixels`` how many were edited,
        ``plan.objects`` how many chunks (or shards) of each level are written.

    Raises
    ------
    OptionError, NodeNotFoundError, MetadataError, StoreError
        As `patch`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_omezarr import plan_patch, write_image
    >>> pixels = np.zeros((64, 64), np.uint16)
    >>> saved = write_image(pixels, "image.ome.zarr", "yx", levels=2)
    >>> plan_patch("image.ome.zarr", (10, 20), np.ones((2, 2), np.uint16)).summary()
    '4 edited pixels in 1 chunk, and 1 chunk of 1 coarser level'
    """
    image = open_existing(open_hierarchy(parsed(address)))
    return plan_edit(image, _edit(start, values, original))


@guarded
def undo_patch(patched: Patched) -> Patched:
    """Take back what a patch has written, as long as nobody has changed it since.

    Parameters
    ----------
    patched : Patched
        What `patch` gave, or `undo_patch`: that can be undone, too.

    Returns
    -------
    Patched
        What was written for that.

    Raises
    ------
    PatchConflictError
        Some of these pixels have been changed since. Nothing was written.
    NodeNotFoundError, MetadataError, StoreError
        As `patch`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_omezarr import patch, read_layers, undo_patch, write_image
    >>> saved = write_image(np.zeros((64, 64), np.uint16), "image.ome.zarr", "yx")
    >>> patched = patch("image.ome.zarr", (10, 20), np.full((2, 2), 7, np.uint16))
    >>> undone = undo_patch(patched)
    >>> int(read_layers("image.ome.zarr")[0][0][10, 20])
    0
    """
    edit = patched.undoing
    return patch(
        patched.place,
        edit.start,
        edit.values,
        original=edit.original,
        method=patched.method,
    )


def _edit(
    start: Sequence[int], values: np.ndarray, original: np.ndarray | None
) -> Edit:
    try:
        begin = tuple(map(operator.index, start))
    except TypeError:
        raise OptionError(
            "A patch begins at a pixel.", action="Give whole numbers, one an axis."
        ) from None
    with understood():
        before = None if original is None else _in_memory(original)
        return Edit(begin, _in_memory(values), before)


def _in_memory(values: Any) -> np.ndarray:
    """Give the pixels of whatever has them; numpy's own are taken as they are."""
    if isinstance(values, np.ndarray) and not np.ma.isMaskedArray(values):
        return values
    source = source_of(values)
    with known():
        return source.read(whole_box(source.shape))


@guarded
def append(  # noqa: PLR0913 - one verb, all its choices by name
    address: Address,
    values: Any,
    axis: str = "t",
    *,
    channels: Sequence[str] | str | None = None,
    colors: Sequence[str] | str | None = None,
    contrast_limits: Sequence[tuple[float, float]] | tuple[float, float] | None = None,
    method: Method | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
) -> Appended:
    """Append time points, channels, or planes along any axis but space, to an image.

    All levels grow. Until all pixels are there, readers see the image as it was. What
    breaks off goes on when the same is appended again, on the same computer.

    Parameters
    ----------
    address : str, path, Location, or zarr store or group
        The group of the image, or of a label image.
    values : array-like
        What comes behind: with all axes of the image, or without ``axis`` for one
        time point or channel; others of one pixel may be left out, too. All that
        `write_image` takes, also groups and pyramids.
    axis : str, optional
        The name of the axis.
    channels, colors, contrast_limits : optional
        Of new channels, as for `write_image`; for ``axis="c"`` only. None: as the
        image that is appended says.
    method : {"mean", "nearest", "max", "mode"} or None, optional
        How coarser pixels are made; as for `patch`.
    progress : callable or None, optional
        Is given a `Progress` after some objects.
    cancel : threading.Event or None, optional
        Set it to stop: requests end at once, and what is stored by then is kept.

    Returns
    -------
    Appended
        From where to where.

    Raises
    ------
    OptionError
        The pixels do not fit, or the axis is of space or not there. As a `LossError`:
        the finest level of what is to be appended is lost.
    TargetClaimedError
        Somebody else is appending, or saving, there right now.
    ConflictError
        The image has been changed while this was done.
    NodeNotFoundError, MetadataError
        There is no image, or it cannot be understood.
    StoreError, SourceError, WriteCancelledError
        Reading or writing failed, or was cancelled. The image is as it was.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_omezarr import append, read_layers, write_image
    >>> saved = write_image(np.zeros((2, 64, 64), np.uint16), "film.ome.zarr", "tyx")
    >>> appended = append("film.ome.zarr", np.ones((64, 64), np.uint16))
    >>> read_layers("film.ome.zarr")[0][0].shape
    (3, 64, 64)
    """
    place = parsed(address)
    hierarchy = open_hierarchy(place)
    known = Channels(channels, colors, contrast_limits)
    image = open_existing(hierarchy)
    method = method or _method(image)
    with understood():
        given = one_of(values)
        source, shown = source_of(given), displays_of(given)
    growth = Growth(source, axis, method, known, shown, progress, cancel)
    return grow(hierarchy, growth, _above(place))


@guarded
def calibrate(
    address: Address,
    *,
    scale: ByAxis = None,
    translation: ByAxis = None,
    units: UnitsByAxis = None,
    name: str | None = None,
) -> None:
    """Say anew where an image lies, in its metadata; its pixels stay.

    Its levels and its labels follow, so that all still lie upon each other.

    Parameters
    ----------
    address : str, path, Location, or zarr store or group
        The group of the image.
    scale, translation : Mapping, sequence or number, optional
        The size of a pixel of the finest level, and the place of the first one's
        centre, as for `write_image`; what is not named stays.
    units : Mapping, sequence or str, optional
        As for `write_image`.
    name : str or None, optional
        The image's name.

    Raises
    ------
    OptionError
        There is no such axis, a number is no size, or the image is rotated.
    ConflictError
        Somebody else said at the same time where it lies.
    NodeNotFoundError, MetadataError
        There is no image, or it cannot be understood.
    StoreError
        The metadata could not be read or written.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_omezarr import calibrate, read_layers, write_image
    >>> saved = write_image(np.zeros((64, 64), np.uint16), "image.ome.zarr", "yx")
    >>> calibrate("image.ome.zarr", scale=0.25, units="micrometer")
    >>> [float(size) for size in read_layers("image.ome.zarr")[0][1]["scale"]]
    [0.25, 0.25]
    """
    place = parsed(address)
    calibration = Calibration(scale, translation, units, name)
    hierarchy = open_hierarchy(place)
    labels = GroupList(hierarchy, "labels").names()
    calibrate_image(hierarchy, calibration, labels, _above(place))


def _is_plain(layer: Any) -> bool:
    """Whether something is pixels in a list, or levels, and no layer."""
    return isinstance(layer, list) and not is_layer_data(layer)


def _is_file(layer: Any) -> bool:
    """Whether something is an image of a file, which may hold labels unsaid."""
    return isinstance(layer, ImageSpec) and layer.label is None


def _is_pair(layer: Any) -> bool:
    return is_layer_data(layer) and len(layer) == 2


def _method(image: ExistingImage) -> Method:
    allowed: tuple[Method, ...] = (
        ("nearest", "mode") if image.is_label else ("mean", "nearest", "max")
    )
    return next((method for method in allowed if method == image.method), allowed[0])


def _above(place: Location | Foreign) -> list[tuple[Hierarchy, str]]:
    """Give the groups above an image, with the way from there to the image."""
    found: list[tuple[Hierarchy, str]] = []
    if not isinstance(place, Location):
        return found
    path = ""
    for _ in range(_HEIGHT):
        if not place.path or place.parent == place:
            break
        path = f"{place.name}/{path}" if path else place.name
        place = place.parent
        found.append((open_hierarchy(place), path))
    return found
