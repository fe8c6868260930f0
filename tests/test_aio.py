"""The verbs to be awaited: what they give, and what a cancellation leaves."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import numpy as np
import pytest

import interrupted_save
import napari_omezarr
from gated_pixels import LONG
from napari_omezarr import aio
from napari_omezarr.errors import NodeNotFoundError, UnfinishedWriteError
from servers import faults

PIXELS = np.arange(4 * 8 * 8, dtype=np.uint16).reshape(4, 8, 8)


def put(place, pixels=PIXELS):
    napari_omezarr.write(pixels, place, axes="tyx")
    return place


def test_each_verb_of_the_package_can_be_awaited():
    verbs = {n for n in napari_omezarr.__all__ if n[0].islower()} - {"aio"}
    assert set(aio.__all__) == verbs | {"to_thread"}
    for name in verbs - {"listing"}:
        assert inspect.iscoroutinefunction(getattr(aio, name))
        assert getattr(aio, name).__doc__ == getattr(napari_omezarr, name).__doc__


def test_an_image_is_written_changed_and_read_on_a_loop(tmp_path):
    place = tmp_path / "a.ome.zarr"

    async def work():
        await aio.write(PIXELS, place, axes="tyx")
        image = await aio.open(place)
        await aio.append(image, PIXELS[:1], axis="t")
        await aio.add_labels(np.ones((5, 8, 8), np.uint8), place, name="cells")
        await aio.patch(place, (4, 0, 0), np.full((1, 1, 1), 7, np.uint16))
        await aio.calibrate(place, scale={"y": 0.5, "x": 0.5})
        await aio.copy(place, tmp_path / "b.ome.zarr")
        assert (await aio.validate(tmp_path / "b.ome.zarr")).covered
        names = [entry.name async for entry in aio.listing(tmp_path)]
        both = await asyncio.gather(*(aio.open(tmp_path / name) for name in names))
        features = await aio.to_thread(both[1].labels["cells"].features)
        with pytest.raises(NodeNotFoundError):
            await aio.open(tmp_path / "none.ome.zarr")
        return names, both, features

    names, (first, second), features = asyncio.run(work())
    assert names == ["a.ome.zarr", "b.ome.zarr"]
    assert first.shape == second.shape == (5, 8, 8)
    assert second.read()[4, 0, 0] == 7
    assert second.scale["x"] == 0.5
    assert not features


@pytest.mark.parametrize("verb", ["open", "read", "copy", "listing"])
def test_requests_end_when_who_waits_is_cancelled(verb, http_server, tmp_path):
    put(tmp_path / "a.ome.zarr")
    http_server.fault("*", faults.Stalled(), forever=True)
    address = f"{http_server.url}/a.ome.zarr"

    async def listed():
        return [entry async for entry in aio.listing(address)]

    async def work():
        target = [tmp_path / "b.ome.zarr"] if verb == "copy" else []
        call = listed() if verb == "listing" else getattr(aio, verb)(address, *target)
        task = asyncio.create_task(call)
        await asyncio.to_thread(http_server.wait_for, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, LONG)  # the server never answers

    asyncio.run(work())


def test_a_save_that_is_cancelled_has_ended_and_goes_on(tmp_path):
    place, pixels = tmp_path / "a.ome.zarr", interrupted_save.image()
    asked, gate = Event(), Event()

    def hold(progress):
        if progress.done:
            asked.set()
            assert gate.wait(LONG)

    choices = {"axes": "zyx", "workers": 1, **interrupted_save.OPTIONS}

    async def work():
        task = asyncio.create_task(aio.write(pixels, place, progress=hold, **choices))
        assert await asyncio.to_thread(asked.wait, LONG)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # twice is once
        for _ in range(9):
            await asyncio.sleep(0)
        assert not task.done()  # its thread is held
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    with pytest.raises(UnfinishedWriteError):
        napari_omezarr.write(pixels, place, **choices)
    napari_omezarr.write(pixels, place, unfinished="resume", **choices)
    assert np.array_equal(napari_omezarr.open(place).read(), pixels)


def test_an_edit_that_has_begun_is_done_whole(tmp_path):
    place = put(tmp_path / "a.ome.zarr")
    begun, gate = Event(), Event()

    class Late:
        def __array__(self, dtype=None, copy=None):
            begun.set()
            assert gate.wait(LONG)
            return np.full((1, 8, 8), 9, np.uint16)

    async def work():
        task = asyncio.create_task(aio.patch(place, (0, 0, 0), Late()))
        assert await asyncio.to_thread(begun.wait, LONG)
        task.cancel()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert (napari_omezarr.open(place).read()[0] == 9).all()


def test_what_waits_for_a_thread_never_begins_when_it_is_cancelled(tmp_path):
    place = put(tmp_path / "a.ome.zarr")
    begun, gate = Event(), Event()

    async def work():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        first = asyncio.create_task(
            aio.to_thread(lambda: begun.set() or gate.wait(LONG))
        )
        while not begun.is_set():
            await asyncio.sleep(0)
        second = asyncio.create_task(aio.calibrate(place, scale={"y": 3, "x": 3}))
        for _ in range(9):
            await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert not first.done()
        gate.set()
        assert await first

    with suppress(asyncio.CancelledError):
        asyncio.run(work())
    assert napari_omezarr.open(place).scale["x"] == 1
