"""The one event loop that all network I/O runs on.

It is fsspec's own, in a thread of fsspec's: filesystems made elsewhere then live
on the same loop as our sessions, and a session belongs to the loop that made it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import fsspec.asyn

from napari_omezarr.stop import heeded_stop

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def io_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, started on the first call (and again after a fork)."""
    loop: asyncio.AbstractEventLoop = fsspec.asyn.get_loop()
    return loop


def is_io_loop() -> bool:
    """Say whether the caller runs on the I/O loop."""
    try:
        return asyncio.get_running_loop() is io_loop()
    except RuntimeError:
        return False


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the I/O loop and wait for its result.

    Parameters
    ----------
    coroutine : Coroutine
        It is cancelled if the wait ends early, by Ctrl-C for one, or by the `Stop`
        that the thread heeds.

    Returns
    -------
    T
        What the coroutine returns.

    Raises
    ------
    RuntimeError
        If called on the I/O loop, which would wait for itself.
    concurrent.futures.CancelledError
        If the `Stop` was said.
    """
    if is_io_loop():
        coroutine.close()
        raise RuntimeError("run() was called on the I/O loop; await instead")
    future = asyncio.run_coroutine_threadsafe(coroutine, io_loop())
    stop = heeded_stop()
    if stop is not None:
        stop.watch(future)
    try:
        return future.result()
    finally:
        future.cancel()


async def on_io_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine on the I/O loop, from whatever loop the caller runs on.

    Cancelling the caller cancels the coroutine.
    """
    if is_io_loop():
        return await coroutine
    future = asyncio.run_coroutine_threadsafe(coroutine, io_loop())
    return await asyncio.wrap_future(future)
