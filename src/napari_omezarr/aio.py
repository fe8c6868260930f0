"""The verbs of `napari_omezarr`, to be awaited on whatever loop the caller runs.

Each is called as its namesake there, gives the same, and raises the same. They work in
threads, where a ``progress`` is called too.

Who is cancelled gets the cancellation when the work has ended. Requests end at once; a
save or an append stops as by its ``cancel`` and can be resumed, a copy goes on where it
was when it is started again, and an edit that has begun (`patch`, `undo_patch`,
`calibrate`, `update_rendering`, `add_tables`) is done whole.

Examples
--------
>>> import asyncio
>>> from napari_omezarr import aio
>>> from napari_omezarr.samples import write_cells
>>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
>>> async def nuclei():
...     image = await aio.open("cells.ome.zarr")
...     await aio.write(image.sel(c="Nuclei"), "nuclei.ome.zarr")
...     corner = image.read_async({"c": 0, "z": 0, "y": (0, 1), "x": (0, 1)})
...     return [entry.name async for entry in aio.listing(".")], (await corner).shape
>>> asyncio.run(nuclei())
(['cells.ome.zarr', 'nuclei.ome.zarr'], (6, 6))
"""

from __future__ import annotations

from functools import partial, wraps
from threading import Event
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from . import layers, opened, reading, writing
from ._io_loop import Stop, in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from .browsing import Entry

__all__ = [
    "add_labels",
    "add_plate_labels",
    "add_tables",
    "append",
    "calibrate",
    "copy",
    "listing",
    "open",
    "patch",
    "plan_patch",
    "plan_write",
    "read",
    "read_layers",
    "rewrite_plate",
    "to_thread",
    "undo_patch",
    "update_rendering",
    "validate",
    "write",
    "write_image",
    "write_layers",
    "write_plate",
]

P = ParamSpec("P")
T = TypeVar("T")


async def to_thread(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Await what reads, like ``plate.wells`` or ``image.labels["nuclei"].features``.

    Parameters
    ----------
    work : callable
        It blocks; it must not write.
    *args, **kwargs
        For `work`.

    Returns
    -------
    object
        What it returns; what it raises is raised.
    """
    stop = Stop()

    def heeding() -> T:
        with stop.heeded():
            return work(*args, **kwargs)

    return await in_thread(heeding, stop.say)


async def listing(address: Any, *, files: bool = False) -> AsyncIterator[Entry]:
    """List what a place holds, as `napari_omezarr.listing`: ``async for``."""
    entries = opened.listing(address, files=files)
    while (entry := await to_thread(next, entries, None)) is not None:
        yield entry


def _read(verb: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a verb that ends with its requests, and leaves nothing half done."""

    @wraps(verb)
    async def awaitable(*args: P.args, **kwargs: P.kwargs) -> T:
        return await to_thread(verb, *args, **kwargs)

    return awaitable


def _saved(verb: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a verb that is stopped by its ``cancel``."""

    @wraps(verb)
    async def awaitable(*args: P.args, **kwargs: P.kwargs) -> T:
        said: Any = kwargs.get("cancel")
        cancel = said or Event()
        begun: Any = partial(verb, *args, **kwargs)
        return await in_thread(partial(begun, cancel=cancel), cancel.set)

    return awaitable


def _edited(verb: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a verb that is done whole once it has begun."""

    @wraps(verb)
    async def awaitable(*args: P.args, **kwargs: P.kwargs) -> T:
        return await in_thread(partial(verb, *args, **kwargs), Event)

    return awaitable


copy = _read(opened.copy)
open = _read(opened.open)
plan_patch = _read(writing.plan_patch)
plan_write = _read(writing.plan_write)
read = _read(reading.read)
read_layers = _read(layers.read_layers)
validate = _read(opened.validate)

add_labels = _saved(writing.add_labels)
add_plate_labels = _saved(opened.add_plate_labels)
append = _saved(writing.append)
rewrite_plate = _saved(opened.rewrite_plate)
write = _saved(opened.write)
write_image = _saved(writing.write_image)
write_layers = _saved(writing.write_layers)
write_plate = _saved(opened.write_plate)

add_tables = _edited(writing.add_tables)
calibrate = _edited(writing.calibrate)
patch = _edited(writing.patch)
undo_patch = _edited(writing.undo_patch)
update_rendering = _edited(writing.update_rendering)
