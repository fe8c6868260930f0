"""Work on the I/O loop, for callers in other threads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from napari_omezarr.store.loop import io_loop

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

T = TypeVar("T")


def start(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Begin some work on the I/O loop; returns at once.

    Returns
    -------
    concurrent.futures.Future
        Its ``cancel`` ends the requests that are under way; callbacks that are
        added to it run on the loop, so they must return at once.
    """
    return asyncio.run_coroutine_threadsafe(coroutine, io_loop())
