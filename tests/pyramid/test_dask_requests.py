"""What dask computations of remote images ask for, with threads and on a cluster."""

from __future__ import annotations

from itertools import product

import dask.array as da
import numpy as np
import pytest

from napari_omezarr.errors import StoreError
from napari_omezarr.location import Location
from napari_omezarr.pyramid import dask_arrays
from napari_omezarr.reading import read
from servers.faults import Status
from small_images import put_image

CHANNELS, PLANES, ROWS, COLUMNS = 2, 4, 5, 6


@pytest.fixture
def image(http_server, tmp_path):
    """The pixels of an image, and the dask array of them from a server."""
    shape = (CHANNELS, PLANES, 8 * ROWS, 8 * COLUMNS - 3)
    (level,) = put_image(tmp_path / "a.zarr", shape=shape, count=1, chunks=(1, 1, 8, 8))
    (pyramid,) = read(Location.parse(f"{http_server.url}/a.zarr")).pyramids
    http_server.clear_log()
    return level, pyramid


@pytest.fixture(params=["chunks", "merged chunks"])
def blocks(request, monkeypatch):
    """Whether blocks are merged: of a few small chunks, as of very many large ones."""
    if request.param == "merged chunks":
        monkeypatch.setattr(dask_arrays, "MANY_CHUNKS", 8)
        monkeypatch.setattr(dask_arrays, "BLOCK_BYTES", 2000)


def asked(server):
    """The chunks that were asked for, in order."""
    return sorted(request.path.partition("/0/c/")[2] for request in server.requests)


def chunks(c=range(CHANNELS), z=range(PLANES), y=range(ROWS), x=range(COLUMNS)):
    return sorted("/".join(map(str, place)) for place in product(c, z, y, x))


USES = {
    "compute": (lambda a: a, lambda a: a, {}),
    "plane": (lambda a: a[1, 2], lambda a: a[1, 2], {"c": [1], "z": [2]}),
    "box": (
        lambda a: a[0, 1:3, 9:20, 5:17],
        lambda a: a[0, 1:3, 9:20, 5:17],
        {"c": [0], "z": [1, 2], "y": [1, 2], "x": [0, 1, 2]},
    ),
    "line": (
        lambda a: a[1, :, 3, 9],
        lambda a: a[1, :, 3, 9],
        {"c": [1], "y": [0], "x": [1]},
    ),
    "map_blocks": (
        lambda a: da.map_blocks(np.negative, a, dtype=a.dtype),
        np.negative,
        {},
    ),
    "mean": (lambda a: a.mean(), lambda a: a.mean(), {}),
    "projection": (lambda a: a[0].max(axis=0), lambda a: a[0].max(axis=0), {"c": [0]}),
    "rechunk": (lambda a: a.rechunk((2, 4, 7, 11)), lambda a: a, {}),
}


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("use", USES)
def test_each_chunk_that_is_needed_is_asked_for_once(use, image, http_server):
    level, pyramid = image
    by_dask, by_numpy, needed = USES[use]
    got = by_dask(pyramid.data()[0]).compute()
    np.testing.assert_allclose(got, by_numpy(level))
    assert asked(http_server) == chunks(**needed)


def test_channels_that_are_stacked_again_are_asked_for_once(image, http_server):
    level, pyramid = image
    stacked = da.stack([pyramid.data(channel)[0] for channel in range(CHANNELS)])
    np.testing.assert_array_equal(stacked.compute(), level)
    assert asked(http_server) == chunks()


def test_a_chunk_that_is_refused_is_our_error(image, http_server):
    _, pyramid = image
    http_server.fault("*/0/c/1/2/3/4", Status(401), forever=True)
    with pytest.raises(StoreError):
        pyramid.data()[0].compute()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("use", ["compute", "box", "map_blocks", "mean", "rechunk"])
def test_a_cluster_asks_for_each_chunk_once(use, image, http_server, client):
    level, pyramid = image
    by_dask, by_numpy, needed = USES[use]
    got = client.compute(by_dask(pyramid.data()[0])).result(timeout=120)
    np.testing.assert_allclose(got, by_numpy(level))
    assert asked(http_server) == chunks(**needed)


@pytest.mark.filterwarnings("ignore")
def test_an_error_on_a_cluster_is_ours(image, http_server, client):
    _, pyramid = image
    http_server.fault("*/0/c/1/2/3/4", Status(401), forever=True)
    with pytest.raises(StoreError):
        client.compute(pyramid.data()[0]).result(timeout=120)


@pytest.mark.filterwarnings("ignore")
def test_processes_read_the_same(image):
    level, pyramid = image
    array = pyramid.data()[0][0, :2]
    got = array.compute(scheduler="processes", num_workers=2)
    np.testing.assert_array_equal(got, level[0, :2])
