"""Save layers and arrays as a new OME-Zarr, for scripts and for the windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from napari_omezarr.doors import guarded
from napari_omezarr.errors import TargetClaimedError, TargetExistsError

from .cluster import make_executor
from .engine import Running
from .from_arrays import (
    Channels,
    Grid,
    describe_array,
    describe_labels,
    labels_with,
    named_labels,
)
from .from_layers import listed
from .given import (
    Foreign,
    beside,
    check_new_name,
    name_of,
    open_target,
    opened,
    parsed,
)
from .options import split_choices, understood
from .plan import plan_layers
from .save import check_not_open, save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from threading import Event

    from napari_omezarr.location import Location

    from .engine import Progress
    from .from_arrays import ByAxis, UnitsByAxis
    from .given import Address
    from .hierarchy import Target
    from .options import ArrayChoices, SaveChoices, SaveMode, WriteOptions
    from .plan import Plan
    from .save import Saved


@guarded
def plan_write(
    layers: Iterable[Any], address: Address, **choices: Unpack[SaveChoices]
) -> Plan:
    """Decide how layers would be written; nothing is read, asked or written.

    Parameters
    ----------
    layers, address, **choices
        As for `write_layers`.

    Returns
    -------
    Plan
        ``plan.summary()`` says it in one line, ``plan.losses`` what would be lost.

    Raises
    ------
    OptionError, UnsupportedDataError, LocationError
        It cannot be done like this.

    Examples
    --------
    >>> from napari_omezarr import plan_write, read_layers
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> plan = plan_write(read_layers("cells.ome.zarr"), "copy.ome.zarr", levels=2)
    >>> plan.summary().endswith("2 levels"), plan.losses
    (True, ())
    """
    options, _ = split_choices(choices)
    place = parsed(address)
    check_new_name(place)
    target = open_target(place, options.version)
    return plan_layers(
        listed(layers),
        name_of(place),
        options,
        object_store=target.staged.is_object_store,
    )


@guarded
def write_layers(
    layers: Iterable[Any],
    address: Address,
    *,
    client: Any | None = None,
    in_use: Iterable[str] = (),
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    **choices: Unpack[SaveChoices],
) -> Saved:
    """Save layers as one OME-Zarr; blocks until it is there.

    Images on the same grid become the channels of one image; labels go with the
    image that they lie on. Several images become a collection
    (bioformats2raw.layout). Until all is written, nothing is visible.

    Parameters
    ----------
    layers : iterable
        Napari layers, layer data tuples, pyramids, or arrays; or one of them, or what
        `open` or `read` gives; or zarr groups or stores, of an OME-Zarr image or of
        plain arrays.
    address : str, path, Location, or zarr store or group
        Where: a folder, a zip file (``.ozx``), a remote place, or a writable store
        or group of zarr, whose keys are then replaced as they are written. What a
        session of icechunk takes is for its owner to commit.
    client : distributed.Client or None, optional
        Whose workers write the blocks; None takes the active one if there is one,
        else threads of this process.
    in_use : iterable of str, optional
        Addresses that must not be written over, beside those of the layers.
    progress : callable or None, optional
        Is given a `Progress` after each block, and some times a second meanwhile.
    cancel : threading.Event or None, optional
        Set it to stop: requests end at once, and what is stored by then is kept.
    **choices
        The fields of `WriteOptions` (``version``, ``chunks``, ``shards``,
        ``codec``, ``levels``, ...) and of `SaveMode` (``existing``,
        ``unfinished``, ``verify``, ``workers``).

    Raises
    ------
    OptionError, UnsupportedDataError, LocationError
        It cannot be done like this.
    LossError
        The plan loses something that nobody agreed to.
    TargetInUseError, TargetExistsError
        Something is there or is being read, or has appeared meanwhile.
    TargetClaimedError
        Somebody else is saving there right now.
    UnfinishedWriteError
        A save that broke off is there, and is neither to be resumed nor removed.
    ConflictError
        The layers have changed since the save that is to be resumed broke off.
    VerificationError
        What was read back differs.
    StoreError
        Reading or writing failed. What is done is kept, for resuming.
    WriteCancelledError
        It was cancelled. The same holds.

    Examples
    --------
    >>> from napari_omezarr import read_layers, write_layers
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> saved = write_layers(read_layers("cells.ome.zarr"), "copy.ome.zarr")
    >>> [options["name"] for _, options, _ in read_layers("copy.ome.zarr")]
    ['Nuclei', 'Membranes', 'nuclei']
    """
    options, mode = split_choices(choices)
    here, target = free_place(parsed(address), options, mode)
    many = target.staged.is_object_store
    with understood():
        plan = plan_layers(layers, name_of(here), options, object_store=many)
    check_not_open(target.address, [*plan.places, *in_use])
    running = Running(progress, cancel, mode.verify)
    executor = make_executor(client, options, mode)
    try:
        return save(plan, target, mode, executor, running)
    finally:
        executor.close()


@guarded
def write_image(  # noqa: PLR0913 - one verb, all its choices by name
    array: Any,
    address: Address,
    axes: str | Sequence[str] | None = None,
    *,
    scale: ByAxis = None,
    translation: ByAxis = None,
    units: UnitsByAxis = None,
    name: str | None = None,
    channels: Sequence[str] | str | None = None,
    colors: Sequence[str] | str | None = None,
    contrast_limits: Sequence[tuple[float, float]] | tuple[float, float] | None = None,
    labels: Mapping[str, Any] | Any | None = None,
    **choices: Unpack[ArrayChoices],
) -> Saved:
    """Save an array as an OME-Zarr image.

    Parameters
    ----------
    array : array-like
        Numpy, dask, zarr, tensorstore, h5py, xarray (whose names of dimensions and
        even coordinates are used), or anything with ``shape``, ``dtype`` and basic
        indexing; the finest of a list of levels; or a layer, a pyramid, what `open`
        or `read` gave, or a zarr group or store, whose metadata hold where nothing
        else is said.
    address : str, path, Location, or zarr store or group
        Where.
    axes : str or sequence of str, optional
        A name for each axis, like ``"czyx"``; the last of ``tczyx`` if absent.
    scale, translation : float, Mapping or sequence of float, optional
        The pixel's size and the place of the first pixel's centre, in the unit of
        each axis; by name, for all axes in order, or one for all axes of space.
    units : str, Mapping or sequence of str, optional
        The same for units: ``"micrometer"`` or ``{"z": "micrometer", "t": "second"}``.
    name : str, optional
        The image's name.
    channels, colors : sequence of str, optional
        A label and six hex digits for each channel.
    contrast_limits : sequence of (float, float), optional
        For each channel, or one pair for all; taken from the written pixels if absent.
    labels : Mapping of str to array-like, optional
        Label images by name, on the same grid, with the image's axes but ``c``; or
        one. None takes those that the image brings, ``{}`` none.
    **choices
        As for `write_layers`.

    Raises
    ------
    OMEZarrError
        As `write_layers`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_omezarr import read_layers, write_image
    >>> stack = np.zeros((10, 64, 64), np.uint16)
    >>> saved = write_image(stack, "stack.ome.zarr", "zyx", scale=(1, 0.5, 0.5))
    >>> ((data, options, kind),) = read_layers("stack.ome.zarr")
    >>> [float(size) for size in options["scale"]]
    [1.0, 0.5, 0.5]
    """
    known = Channels(channels, colors, contrast_limits)
    grid = Grid(axes, scale, translation, units)
    unnamed = name_of(parsed(address))
    with understood():
        given = opened(array)
        image = describe_array(given, grid, name, known, unnamed)
        if labels is None:
            parts = labels_with(given, image, moved=grid != Grid())
        else:
            parts = [
                describe_labels(pixels, image, str(key))
                for key, pixels in named_labels(labels).items()
                if pixels is not None
            ]
    return write_layers([image, *parts], address, **choices)


def free_place(
    place: Location | Foreign, options: WriteOptions, mode: SaveMode
) -> tuple[Location | Foreign, Target]:
    """Give the target, or the first free one beside it if that is wanted."""
    check_new_name(place)
    target = open_target(place, options.version)
    if mode.existing != "beside" or isinstance(place, Foreign):
        return place, target
    here, number = place, 1
    while not _is_free(target):
        number += 1
        here = beside(place, number)
        target = open_target(here, options.version)
    return here, target


def _is_free(target: Target) -> bool:
    try:
        target.claim.refuse_others()
        return target.occupied() is None
    except (TargetClaimedError, TargetExistsError):
        return False
