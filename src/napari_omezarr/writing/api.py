"""Save layers and arrays as OME-Zarr, for scripts and for the windows."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from zarr.abc.store import Store

from napari_omezarr.errors import OptionError, TargetExistsError

from .array_pictures import Channels, Grid, image_picture, label_picture
from .cluster import Cluster, active_client
from .engine import Running, Threads
from .guard import not_in_use
from .opening import beside, name_of, open_target, parsed
from .options import Conduct, WriteOptions
from .planning import plan_layers
from .saving import save

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from threading import Event

    from napari_omezarr.location import Location

    from .engine import Executor, Progress
    from .plan import Plan
    from .saving import Saved
    from .target import Target

    Address = str | os.PathLike[str] | Location | Store

_OPTIONS = frozenset(field.name for field in fields(WriteOptions))
_CONDUCT = frozenset(field.name for field in fields(Conduct))


def plan_write(layers: Iterable[Any], address: Address, **choices: Any) -> Plan:
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
    """
    options, _ = split_choices(choices)
    place = parsed(address)
    target = open_target(place, options.version)
    return plan_layers(
        layers, name_of(place), options, object_store=target.staged.is_object_store
    )


def write_layers(
    layers: Iterable[Any],
    address: Address,
    *,
    client: Any | None = None,
    in_use: Iterable[str] = (),
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    **choices: Any,
) -> Saved:
    """Save layers as one OME-Zarr; blocks until it is there.

    Images on the same grid become the channels of one image; labels go with the
    image that they lie on. Several images become a collection
    (bioformats2raw.layout). Until all is written, nothing is visible.

    Parameters
    ----------
    layers : iterable
        Napari layers, layer data tuples, or pyramids.
    address : str, path, Location or zarr store
        Where: a folder, a zip file (``.ozx``), a remote place, or a writable store.
    client : distributed.Client or None, optional
        Whose workers write the blocks; None takes the active one if there is one,
        else threads of this process.
    in_use : iterable of str, optional
        Addresses that must not be written over, beside those of the layers.
    progress : callable or None, optional
        Is given a `Progress` after each block.
    cancel : threading.Event or None, optional
        Set it to stop after the blocks in work.
    **choices
        The fields of `WriteOptions` (``version``, ``chunks``, ``shards``,
        ``codec``, ``levels``, ...) and of `Conduct` (``existing``,
        ``unfinished``, ``verify``, ``workers``).

    Raises
    ------
    OMEZarrError
        See `saving.save`; before the first byte also what `plan_write` raises.

    Examples
    --------
    >>> from napari_omezarr.writing import write_layers
    >>> write_layers(viewer.layers, "cells.ome.zarr")  # doctest: +SKIP
    """
    options, conduct = split_choices(choices)
    here, target = _chosen_place(parsed(address), options, conduct)
    plan = plan_layers(
        layers, name_of(here), options, object_store=target.staged.is_object_store
    )
    not_in_use(target.address, [*plan.places, *in_use])
    running = Running(progress, cancel, conduct.verify)
    executor = make_executor(client, options, conduct)
    try:
        return save(plan, target, conduct, executor, running)
    finally:
        executor.close()


def write_image(  # noqa: PLR0913 - one verb, all its choices by name
    array: Any,
    address: Address,
    axes: str | Sequence[str] | None = None,
    *,
    scale: Mapping[str, float] | Sequence[float] | None = None,
    translation: Mapping[str, float] | Sequence[float] | None = None,
    units: Mapping[str, str] | None = None,
    name: str | None = None,
    channels: Sequence[str] | None = None,
    colors: Sequence[str] | None = None,
    contrast_limits: Sequence[tuple[float, float]] | None = None,
    labels: Mapping[str, Any] | None = None,
    **choices: Any,
) -> Saved:
    """Save an array as an OME-Zarr image.

    Parameters
    ----------
    array : array-like
        Numpy, dask, zarr, xarray (whose dimension names are the axes), or
        anything with ``shape``, ``dtype`` and basic indexing.
    address : str, path, Location or zarr store
        Where.
    axes : str or sequence of str, optional
        A name for each axis, like ``"czyx"``; the last of ``tczyx`` if absent.
    scale, translation : Mapping or sequence of float, optional
        The pixel's size and the place of the first pixel's centre, in the unit of
        each axis; by name or for all axes.
    units : Mapping of str to str, optional
        Like ``{"z": "micrometer"}``.
    name : str, optional
        The image's name.
    channels, colors : sequence of str, optional
        A label and six hex digits for each channel.
    contrast_limits : sequence of (float, float), optional
        For each channel; taken from the written pixels if absent.
    labels : Mapping of str to array-like, optional
        Label images by name, on the same grid, with the image's axes but ``c``.
    **choices
        As for `write_layers`.

    Raises
    ------
    OMEZarrError
        As `write_layers`.
    """
    grid = Grid(axes, scale, translation, units)
    known = Channels(channels, colors, contrast_limits)
    image = image_picture(array, grid, name or name_of(parsed(address)), known)
    parts = [label_picture(v, image, key) for key, v in (labels or {}).items()]
    return write_layers([image, *parts], address, **choices)


def split_choices(choices: Mapping[str, Any]) -> tuple[WriteOptions, Conduct]:
    """Make options of keyword arguments.

    Raises
    ------
    OptionError
        There is no such option.
    """
    unknown = sorted(set(choices) - _OPTIONS - _CONDUCT)
    if unknown:
        raise OptionError(
            f"{unknown[0]} is no option.",
            action=f"There are: {', '.join(sorted(_OPTIONS | _CONDUCT))}.",
        )
    options = {key: value for key, value in choices.items() if key in _OPTIONS}
    conduct = {key: value for key, value in choices.items() if key in _CONDUCT}
    return WriteOptions(**options), Conduct(**conduct)


def make_executor(
    client: Any | None, options: WriteOptions, conduct: Conduct
) -> Executor:
    """Choose who writes the blocks: a cluster if there is a client, else threads."""
    found = active_client() if client is None else client
    if found is not None:
        return Cluster(found)
    return Threads(options.memory, conduct.workers)


def _chosen_place(
    place: Location | Store, options: WriteOptions, conduct: Conduct
) -> tuple[Location | Store, Target]:
    """Give the target, or the first free one beside it if that is wanted."""
    target = open_target(place, options.version)
    if conduct.existing != "beside" or isinstance(place, Store):
        return place, target
    here, number = place, 1
    while not _is_free(target):
        number += 1
        here = beside(place, number)
        target = open_target(here, options.version)
    return here, target


def _is_free(target: Target) -> bool:
    try:
        return target.occupied() is None
    except TargetExistsError:
        return False
