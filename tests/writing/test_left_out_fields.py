"""A field of a plate that cannot be read is shown as a hole, and never saved as one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import napari_omezarr
import small_images
from napari_omezarr import append, patch, read_layers, write_image, write_layers
from napari_omezarr.errors import LossError

FIELD = "A/2/0"
WIDTH = 24
SAID = r"stays empty|a coarser one is shown"


def unknown_codec(plate):
    for level in ("0", "1"):
        place = plate / FIELD / level / "zarr.json"
        said = json.loads(place.read_text())
        place.write_text(json.dumps(said | {"codecs": [{"name": "nobody.has"}]}))


def no_image(plate):
    (plate / FIELD / "zarr.json").write_text("{")


def no_well(plate):
    (plate / "A/2" / "zarr.json").write_text("{")


def no_finest_level(plate):
    shutil.rmtree(plate / FIELD / "0")


SPOIL = [unknown_codec, no_image, no_well, no_finest_level]


@pytest.fixture
def plate(tmp_path):
    small_images.put_plate(tmp_path / "p.zarr", rows=1, columns=3)
    return tmp_path / "p.zarr"


def as_read(place):
    return read_layers(place)


def computed(place):
    """What a plugin makes of the layers: graphs of dask's over ours."""
    return [([a + 0 for a in data], told, kind) for data, told, kind in as_read(place)]


@pytest.mark.parametrize("make", [as_read, computed])
@pytest.mark.parametrize("spoil", SPOIL)
def test_a_save_needs_an_agreement(spoil, make, plate, tmp_path):
    spoil(plate)
    target = tmp_path / "b.zarr"
    for _ in range(2):  # also where it is known by now
        with pytest.raises(LossError, match=SAID) as no:
            write_layers(make(plate), target, levels=1, unfinished="remove")
        assert "accept_losses" in no.value.action
        assert not target.exists()
    options = {"levels": 1, "accept_losses": True, "unfinished": "remove"}
    write_layers(make(plate), target, **options)
    saved = np.asarray(napari_omezarr.open(target).levels[0].pixels)
    assert saved[..., :WIDTH].any()
    assert saved[..., -WIDTH:].any()


@pytest.mark.parametrize("spoil", SPOIL)
def test_what_does_not_touch_the_field_is_saved(spoil, plate, tmp_path):
    whole = np.asarray(read_layers(plate)[0][0][0])
    spoil(plate)
    layers = read_layers(plate)
    assert not (np.asarray(layers[0][0][0]) == whole).all()  # seen, and known by now
    left = [([data[0][..., :WIDTH]], told, kind) for data, told, kind in layers]
    write_layers(left, tmp_path / "b.zarr", levels=1)
    saved = np.asarray(napari_omezarr.open(tmp_path / "b.zarr").levels[0].pixels)
    np.testing.assert_array_equal(saved[0], whole[..., :WIDTH])


@pytest.mark.parametrize("spoil", SPOIL)
def test_a_part_of_an_image_is_not_made_of_it(spoil, plate, tmp_path):
    spoil(plate)
    data = read_layers(plate)[0][0][0]
    film = tmp_path / "film.zarr"
    write_image(np.ones((1, *data.shape), np.uint16), film, "tyx")
    for way in (
        lambda: append(film, data, "t"),
        lambda: patch(film, (0, 0, 0), data[None]),
    ):
        with pytest.raises(LossError) as told:
            way()
        assert "accept" not in told.value.action
    now = np.asarray(napari_omezarr.open(film).levels[0].pixels)
    assert now.shape == (1, *data.shape)
    assert (now == 1).all()


def test_a_well_that_is_not_there_is_empty(plate, tmp_path):
    shutil.rmtree(plate / "A/2")
    write_layers(read_layers(plate), tmp_path / "b.zarr", levels=1)
