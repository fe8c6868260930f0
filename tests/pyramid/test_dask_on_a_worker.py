"""Tasks of a cluster's worker that wait for pixels leave its threads to others."""

from __future__ import annotations

import asyncio
import threading

import dask.array as da
import numpy as np
import pytest

from napari_omezarr.errors import StoreError
from napari_omezarr.pyramid import dask_arrays, to_dask
from pixel_sources import MemoryPixels

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")
WAIT = 60


class CrowdPixels(MemoryPixels):
    """Nothing is given before so many boxes are asked for at a time, or all were.

    Pixels that are sent to a worker of this process share what they have seen.
    """

    wanted = most = under_way = asked = 0
    broken = False

    @classmethod
    def reset(cls, wanted, *, broken=False):
        cls.wanted, cls.broken = wanted, broken
        cls.most = cls.under_way = cls.asked = 0

    async def read(self, bounds):
        cls = CrowdPixels
        cls.asked += 1
        cls.under_way += 1
        cls.most = max(cls.most, cls.under_way)
        try:
            async with asyncio.timeout(WAIT):
                while cls.most < cls.wanted:
                    await asyncio.sleep(0.001)
            if cls.broken:
                raise StoreError("It is broken.", action="Mend it.", url="x")
        finally:
            cls.under_way -= 1
        return self.array[tuple(slice(*bound) for bound in bounds)]


@pytest.fixture
def pixels(monkeypatch):
    monkeypatch.setattr(dask_arrays, "MANY_CHUNKS", 2)
    monkeypatch.setattr(dask_arrays, "BLOCK_BYTES", 400)
    array = np.arange(16 * 10 * 10, dtype=np.int32).reshape(16, 10, 10)
    return CrowdPixels(array, (1, 5, 5))  # 16 blocks of 400 bytes


@pytest.fixture(scope="module")
def client():
    """A worker of one thread, in this process."""
    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tcp",
            dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.parametrize("use", ["compute", "sum", "slice"])
def test_many_blocks_are_waited_for_by_one_thread(use, pixels, client):
    CrowdPixels.reset(dask_arrays.MOST_AWAY + 1)
    array = to_dask(pixels)
    assert array.npartitions == 16
    by_dask, by_numpy = {
        "compute": (array, pixels.array),
        "sum": (array.sum(axis=1), pixels.array.sum(axis=1)),
        "slice": (array[3:, 2:4, 7], pixels.array[3:, 2:4, 7]),
    }[use]
    got = client.compute(by_dask).result(timeout=WAIT)
    np.testing.assert_array_equal(got, by_numpy)
    assert CrowdPixels.most == dask_arrays.MOST_AWAY + 1
    assert CrowdPixels.asked == (13 if use == "slice" else 16)


@pytest.mark.parametrize("size", [0, 400, 900])
def test_what_is_waited_for_is_bounded(size, pixels, client, monkeypatch):
    monkeypatch.setattr(dask_arrays, "AWAY_BYTES", size)
    away = max(1, size // 400)
    CrowdPixels.reset(away + 1)
    got = client.compute(to_dask(pixels)).result(timeout=WAIT)
    np.testing.assert_array_equal(got, pixels.array)
    assert CrowdPixels.most == away + 1


def test_an_error_leaves_the_worker_as_it_was(pixels, client):
    CrowdPixels.reset(1, broken=True)
    with pytest.raises(StoreError, match="broken"):
        client.compute(to_dask(pixels)).result(timeout=WAIT)
    CrowdPixels.reset(dask_arrays.MOST_AWAY + 1)
    got = client.compute(to_dask(pixels) + 1).result(timeout=WAIT)
    np.testing.assert_array_equal(got, pixels.array + 1)


def test_threads_that_a_task_has_started_read_in_their_place(pixels, client):
    CrowdPixels.reset(1)

    def total(array):
        return int(array.sum().compute(scheduler="threads", num_workers=2))

    got = client.submit(total, to_dask(pixels)).result(timeout=WAIT)
    assert got == pixels.array.sum()


class Using:
    """How many threads use a block at a time; a worker of this process tells it."""

    running = most = 0

    @classmethod
    def use(cls, block):
        cls.running += 1
        cls.most = max(cls.most, cls.running)
        threading.Event().wait(0.02)  # long enough to be met by others
        cls.running -= 1
        return block


def test_blocks_are_computed_with_in_the_threads(pixels, client):
    CrowdPixels.reset(1)
    Using.most = 0
    array = da.map_blocks(Using.use, to_dask(pixels), meta=np.empty((0,) * 3, np.int32))
    got = client.compute(array).result(timeout=WAIT)
    np.testing.assert_array_equal(got, pixels.array)
    assert Using.most == 1
