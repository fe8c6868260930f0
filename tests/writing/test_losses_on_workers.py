"""What workers cannot read is refused as it is in threads, unless agreed to."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest

import napari_omezarr
import small_images
from napari_omezarr import append, patch, read_layers, write_image
from napari_omezarr.errors import LossError
from napari_omezarr.pyramid import pixels_of
from servers.http import Bucket

pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")
AXES = {2: "yx", 3: "zyx"}


def refused_chunk(folder, server):
    """A bucket that may not be listed refuses a chunk."""
    place = folder / "bucket/a.ome.zarr"
    small_images.put_image(place, names="zyx", shape=(2, 16, 16), count=2)
    (place / "0/c/0/1/0").unlink()
    return server.place("bucket/a.ome.zarr"), "accept_refused"


def lost_field(folder, server):
    """A field of a plate cannot be read."""
    place = folder / "bucket/p.zarr"
    small_images.put_plate(place, rows=1, columns=3)
    (place / "A/2/0/zarr.json").write_text("{")
    return place, "accept_losses"


@pytest.fixture(params=[refused_chunk, lost_field])
def lost(request, tmp_path):
    """An image with a hole, and what lets one agree to it."""
    (tmp_path / "bucket").mkdir()
    with Bucket(tmp_path) as server:
        place, agree = request.param(tmp_path, server)
        data = read_layers(place)[0][0]
        yield (data[0] if isinstance(data, list) else data), agree


def opened_by_tasks(data):
    pixels = pixels_of(data)
    block = dask.delayed(lambda: pixels[...])()
    return da.from_delayed(block, data.shape, data.dtype)


def computed_by_tasks(data):
    def task():
        return (data + 0).compute(scheduler="threads")

    return da.from_delayed(dask.delayed(task)(), data.shape, data.dtype)


class Lazy:
    """An array of somebody's own, computed wherever dask computes."""

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, key):
        return self.array[key].compute()


MADE = {
    "sum": lambda data: data + 0,
    "reduced": lambda data: data - data.min(),
    "kept by others": lambda data: da.from_array(pixels_of(data), 16) + 0,
    "opened by tasks": opened_by_tasks,
    "computed by tasks": computed_by_tasks,
    "lazy": lambda data: Lazy(data + 0),
}


@pytest.mark.parametrize("made", MADE)
def test_a_save_needs_an_agreement(made, lost, client, tmp_path):
    data, agree = lost
    target = tmp_path / "saved.zarr"
    options = {"levels": 1, "client": client, "unfinished": "remove"}
    with pytest.raises(LossError) as told:
        write_image(MADE[made](data), target, AXES[data.ndim], **options)
    assert agree in told.value.action
    assert not target.exists()
    options[agree] = True
    write_image(MADE[made](data), target, AXES[data.ndim], **options)
    saved = np.asarray(napari_omezarr.open(target).levels[0].pixels)
    np.testing.assert_array_equal(saved, np.asarray(MADE[made](data)[...]))


@pytest.mark.parametrize("made", ["sum", "lazy"])
@pytest.mark.parametrize(
    "change",
    [
        lambda film, made, data: append(film, made(data), "t"),
        lambda film, made, data: patch(film, (0,) * (data.ndim + 1), made(data[None])),
    ],
    ids=["append", "patch"],
)
def test_a_part_of_an_image_is_not_made_of_it(change, made, lost, client, tmp_path):
    data, _ = lost
    film = tmp_path / "film.zarr"
    before = np.ones((1, *data.shape), data.dtype)
    write_image(before, film, "t" + AXES[data.ndim])
    with client.as_current(), pytest.raises(LossError) as told:
        change(film, MADE[made], data)
    assert "accept" not in told.value.action
    now = np.asarray(napari_omezarr.open(film).levels[0].pixels)
    np.testing.assert_array_equal(now, before)


def test_what_others_compute_there_is_not_refused(lost, client):
    data, _ = lost
    assert client.compute(data + 0).result(timeout=60).shape == data.shape
