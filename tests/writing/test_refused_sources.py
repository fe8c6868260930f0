"""Chunks that a source refuses are never saved or copied as empty, unless agreed to."""

from __future__ import annotations

from threading import Thread

import numpy as np
import pytest
import xarray

import small_images
from napari_omezarr.browsing import copy_store, thumbnail
from napari_omezarr.errors import LossError, StoreError
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.store import run
from napari_omezarr.writing import append, patch, write_image, write_layers
from servers import faults
from servers.http import Bucket

DENIED = faults.s3_error(403, "AccessDenied")


@pytest.fixture
def bucket(tmp_path):
    (tmp_path / "bucket").mkdir()
    small_images.put_image(
        tmp_path / "bucket/a.ome.zarr", names="zyx", shape=(2, 16, 16), count=2
    )
    with Bucket(tmp_path) as server:
        yield server


def first(layers):
    data = layers[0][0]
    return data[0] if isinstance(data, list) else data


def derived(layers):
    """What a plugin makes of a layer: a graph of dask's over ours."""
    (data, options, kind), *_ = layers
    return [([level + 0 for level in data], options, kind)]


class Lazy:
    """An array of somebody's own that computes ours with dask's own threads."""

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, key):
        return self.array[key].compute()


@pytest.mark.parametrize(
    "make",
    [
        lambda data: xarray.DataArray(data, dims=list("zyx")),
        lambda data: xarray.DataArray(data, dims=list("zyx")) + 0,
        Lazy,
        lambda data: Lazy(data + 0),
    ],
    ids=["xarray", "xarray, computed", "lazy", "lazy, computed"],
)
def test_it_does_not_matter_who_computes_what_is_saved(make, bucket, tmp_path):
    (tmp_path / "bucket/a.ome.zarr/0/c/0/1/0").unlink()
    data = make(first(read_layers(bucket.place("bucket/a.ome.zarr"))))
    with pytest.raises(LossError, match="nobody can tell"):
        write_image(data, tmp_path / "saved.ome.zarr", "zyx")
    assert not (tmp_path / "saved.ome.zarr").exists()


@pytest.mark.parametrize("make", [list, derived], ids=["read", "computed"])
def test_a_save_needs_an_agreement(bucket, tmp_path, make):
    (tmp_path / "bucket/a.ome.zarr/0/c/0/1/0").unlink()
    layers = make(read_layers(bucket.place("bucket/a.ome.zarr")))
    target = tmp_path / "saved.ome.zarr"
    with pytest.raises(LossError, match="nobody can tell") as told:
        write_layers(layers, target, levels=1)
    assert "accept_refused" in told.value.action
    assert not target.exists()
    write_layers(layers, target, levels=1, accept_refused=True, unfinished="resume")
    saved = np.asarray(first(read_layers(target)))
    assert not saved[:, 8:, :8].any()
    assert saved[:, 8:, 8:].any()


def test_a_copy_needs_an_agreement(bucket, tmp_path):
    (tmp_path / "bucket/a.ome.zarr/0/c/0/1/0").unlink()
    source = bucket.place("bucket/a.ome.zarr")
    target = Location.parse(tmp_path / "copied.ome.zarr")
    with pytest.raises(LossError, match="as empty"):
        run(copy_store(source, target))
    assert not (tmp_path / "copied.ome.zarr/zarr.json").exists()
    run(copy_store(source, target, accept_refused=True))
    assert first(read_layers(target)).shape == (2, 16, 16)


def test_a_thumbnail_of_refused_parts_is_not_kept(bucket, tmp_path):
    chunks = sorted((tmp_path / "bucket/a.ome.zarr/1/c").rglob("0/0"))
    before = {file: file.read_bytes() for file in chunks if file.is_file()}
    source = bucket.place("bucket/a.ome.zarr")
    for file in before:
        file.unlink()
    assert "refused" in thumbnail(source).sentence
    for file, body in before.items():
        file.write_bytes(body)
    whole = thumbnail(source)
    assert "refused" not in whole.sentence
    assert whole.pixels.any()


@pytest.mark.parametrize(
    "fault",
    [DENIED, faults.Status(403, b"<html>no</html>"), faults.Status(410)],
    ids=["denied", "page", "gone"],
)
def test_a_refusal_ends_a_save_and_a_copy(bucket, tmp_path, fault):
    bucket.lists = True
    layers = read_layers(bucket.place("bucket/a.ome.zarr"))
    bucket.fault("*/0/c/0/1/0", fault, forever=True)
    with pytest.raises(StoreError):
        write_layers(layers, tmp_path / "saved.ome.zarr", verify="all")
    assert not (tmp_path / "saved.ome.zarr").exists()
    source = bucket.place("bucket/a.ome.zarr")
    with pytest.raises(StoreError):
        run(copy_store(source, Location.parse(tmp_path / "copied.ome.zarr")))
    assert not (tmp_path / "copied.ome.zarr/zarr.json").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda film, pixels: append(film, pixels, "t"),
        lambda film, pixels: patch(film, (0, 0, 0, 0), pixels[None]),
    ],
    ids=["append", "patch"],
)
def test_a_part_of_an_image_is_not_made_of_what_is_refused(change, bucket, tmp_path):
    (tmp_path / "bucket/a.ome.zarr/0/c/0/1/0").unlink()
    pixels = first(read_layers(bucket.place("bucket/a.ome.zarr")))
    film = tmp_path / "film.ome.zarr"
    write_image(np.ones((1, *pixels.shape), np.uint16), film, "tzyx")
    with pytest.raises(LossError, match="nobody can tell") as told:
        change(film, pixels)
    assert "accept" not in told.value.action
    now = np.asarray(first(read_layers(film)))
    assert now.shape in {(1, *pixels.shape), pixels.shape}
    assert (now == 1).all()


class LookedAtMeanwhile:
    """An array; while it is read, somebody else looks at other pixels."""

    def __init__(self, array, others):
        self.array, self.others = array, others
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, key):
        looking = Thread(target=lambda: np.asarray(self.others))
        looking.start()
        looking.join(60)
        return self.array[key]


def test_what_others_look_at_meanwhile_is_not_what_is_saved(bucket, tmp_path):
    (tmp_path / "bucket/a.ome.zarr/0/c/0/1/0").unlink()
    refused = first(read_layers(bucket.place("bucket/a.ome.zarr")))
    film = tmp_path / "film.ome.zarr"
    pixels = np.ones((1, 2, 16, 16), np.uint16)
    write_image(LookedAtMeanwhile(pixels, refused), film, "tzyx")
    append(film, LookedAtMeanwhile(pixels[0], refused), "t")
    patch(film, (0, 0, 0, 0), LookedAtMeanwhile(2 * pixels, refused))
    now = np.asarray(first(read_layers(film)))
    assert now.shape == (2, 2, 16, 16)
    assert (now[0] == 2).all()
    assert (now[1] == 1).all()
