"""What a thread waits for ends when another says so."""

from __future__ import annotations

import asyncio
import gc
import warnings
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from napari_omezarr._io_loop import Stop, outcome
from napari_omezarr.location import Location
from napari_omezarr.reading import read
from servers import faults

if TYPE_CHECKING:
    from servers.http import FileServer


def opened(stop: Stop, url: str) -> object:
    with stop.heeded():
        return read(Location.parse(url))


@pytest.mark.parametrize("fault", [faults.Stalled(), faults.Status(503)])
def test_requests_and_pauses_end(http_server: FileServer, fault: faults.Fault) -> None:
    http_server.fault("*", fault, forever=True)
    stop = Stop()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(opened, stop, f"{http_server.url}/a.zarr")
        http_server.wait_for(1)
        stop.say()
        assert isinstance(reading.exception(20), CancelledError)


def test_what_begins_later_ends_at_once(http_server: FileServer) -> None:
    http_server.fault("*", faults.Stalled(), forever=True)
    stop = Stop()
    stop.say()
    stop.say()
    with pytest.raises(CancelledError):
        opened(stop, f"{http_server.url}/a.zarr")
    http_server.release()


def test_others_go_on(http_server: FileServer) -> None:
    stop = Stop()
    stop.say()
    with stop.heeded():
        pass
    with pytest.raises(FileNotFoundError):
        read(Location.parse(f"{http_server.url}/a.zarr"))


def test_a_future_may_end_where_garbage_is_collected() -> None:
    # Which happens in any thread, also in one that holds the lock.
    stop, future = Stop(), Future[None]()
    stop.watch(future)

    def collected() -> None:
        with stop._lock:
            future.cancel()

    thread = Thread(target=collected, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


async def _answer() -> int:
    return 1


async def _cancelled_at(steps: int) -> None:
    asking = asyncio.create_task(outcome(_answer()))
    for _ in range(steps):
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("steps", [1, 2])
def test_who_is_cancelled_before_work_begins_leaves_none_unawaited(steps: int) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        asyncio.run(_cancelled_at(steps))
        gc.collect()
    assert not [each for each in said if "never awaited" in str(each.message)]


def test_the_outcome_of_work_is_what_it_gives_or_raises() -> None:
    async def fail() -> int:
        raise KeyError("key")

    assert asyncio.run(outcome(_answer())) == 1
    assert isinstance(asyncio.run(outcome(fail())), KeyError)
