"""An image whose finest level is gone is shown, and never saved as if it were whole."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import napari_omezarr
import small_images
from commands import run
from napari_omezarr import append, patch, read_layers, write_image, write_layers
from napari_omezarr.errors import LossError


def gone(place, level):
    shutil.rmtree(place / level)


def unknown(place, level):
    """Its codec is one that nobody has."""
    document = place / level / "zarr.json"
    said = json.loads(document.read_text())
    document.write_text(json.dumps(said | {"codecs": [{"name": "nobody.has"}]}))


def put(place, *lost, spoil=gone, turned=False):
    small_images.put_image(place)
    if turned:
        document = place / "zarr.json"
        said = json.loads(document.read_text())
        said["attributes"]["ome"]["multiscales"][0]["datasets"].reverse()
        document.write_text(json.dumps(said))
    for level in lost:
        spoil(place, level)
    return place


DOORS = {
    "convert": lambda a, b, *yes: run("convert", a, b, *yes, code=0 if yes else 2),
    "existing resolutions": lambda a, b, *yes: run(
        "convert", "--use-existing-resolutions", a, b, *yes, code=0 if yes else 2
    ),
    "rechunk": lambda a, b, *yes: run(
        "rechunk", a, b, "--chunks", "x=8,y=8,z=1,c=1", *yes, code=0 if yes else 2
    ),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("spoil", [gone, unknown])
def test_each_command_asks_first(door, spoil, tmp_path):
    place, target = put(tmp_path / "a.zarr", "0", spoil=spoil), tmp_path / "b.zarr"
    assert "level 0 is lost" in DOORS[door](place, target)
    assert not target.exists()
    DOORS[door](place, target, "--accept-losses")
    assert napari_omezarr.open(target).shape == (2, 4, 8, 12)


# Listed coarsest first, one level that is left does not tell on which side it was.
KNOWN = [
    (["0"], ("0",), False),
    (["0"], ("0",), True),
    (["0", "1"], ("0", "1"), False),
    (["1"], (), False),
    (["1"], (), True),
    ([], (), True),
]


@pytest.mark.parametrize(("lost", "told", "turned"), KNOWN)
def test_layers_and_what_open_gives_know_it(lost, told, turned, tmp_path):
    place, target = put(tmp_path / "a.zarr", *lost, turned=turned), tmp_path / "b.zarr"
    image, layers = napari_omezarr.open(place), read_layers(place)
    assert sorted(image.lost_levels) == list(told)
    assert sorted(image.isel(y=(0, 4)).lost_levels) == list(told)
    for given, save in ((image, napari_omezarr.write), (layers, write_layers)):
        if told:
            with pytest.raises(LossError, match="is coarser than it was"):
                save(given, target)
            assert not target.exists()
        else:
            save(given, target)
            shutil.rmtree(target)


@pytest.mark.parametrize("kind", ["image", "layer"])
def test_what_has_lost_its_finest_level_is_not_appended(kind, tmp_path):
    """To an image that is as coarse as what is left, it would fit."""
    place, film = put(tmp_path / "a.zarr", "0"), tmp_path / "film.zarr"
    given = napari_omezarr.open(place) if kind == "image" else read_layers(place)[0]
    shape = napari_omezarr.open(place).shape if kind == "image" else given[0][0].shape
    axes = "tczyx" if kind == "image" else "tzyx"
    write_image(np.zeros((1, *shape), np.uint16), film, axes)
    with pytest.raises(LossError, match="level 0 is lost"):
        append(film, given)
    with pytest.raises(LossError, match="level 0 is lost"):
        patch(film, (0,) * len(axes), given)
    if kind == "image":
        assert "level 0 is lost" in run("append", place, film, code=2)
    assert not np.asarray(napari_omezarr.open(film).levels[0].pixels).any()
    pixels = given.levels[0].pixels if kind == "image" else given[0][0]
    assert append(film, pixels).stop == 2


def test_a_coarser_level_that_was_chosen_is_no_loss(tmp_path):
    place, target = put(tmp_path / "a.zarr", "0"), tmp_path / "b.zarr"
    with pytest.raises(LossError):
        write_layers(read_layers(place, level=0), target)
    write_layers(read_layers(place, level=1), target)
    assert napari_omezarr.open(target).shape == (2, 4, 4, 6)
