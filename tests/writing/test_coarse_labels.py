"""Labels that were made at a coarser level than their image's finest."""

from __future__ import annotations

import numpy as np
import pytest
import yaozarrs

from napari_omezarr.errors import OptionError
from napari_omezarr.layers import read_layers
from napari_omezarr.reading import read
from napari_omezarr.writing import add_labels, plan_write, write_image, write_layers

IMAGE = np.random.default_rng(0).integers(0, 99, (6, 501, 430)).astype("uint16")


@pytest.fixture
def image(tmp_path):
    place = tmp_path / "image.ome.zarr"
    write_image(
        IMAGE, place, "zyx", scale=(2, 0.5, 0.5), translation=(1, 7, 9), levels=4
    )
    return place


def segmented(image, level, shifted=True):
    """Labels as somebody makes them of a level: its pixels, with its scale."""
    data, options, _ = read_layers(image)[0]
    pyramid = read(image).pyramids[0]
    affine = pyramid.levels[level].affine
    cells = (np.asarray(data[level]) > 50).astype("int32")
    translate = affine.translation if shifted else options["translate"]
    placed = {"scale": affine.scale, "translate": translate}
    return cells, {"name": "cells", "axis_labels": ("z", "y", "x"), **placed}


@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("level", [1, 2])
def test_labels_of_a_level_are_labels_of_the_image(level, shifted, image, tmp_path):
    cells, options = segmented(image, level, shifted)
    layers = read_layers(image)
    target = tmp_path / "copy.ome.zarr"
    write_layers([*layers, (cells, options, "labels")], target, levels=4)
    add_labels((cells, options), image)
    add_labels(cells, image, name="pixels")
    for place in (target, image):
        pyramid, *labels = read(place).pyramids
        assert labels
        for label in labels:
            np.testing.assert_array_equal(label.levels[0].pixels[...], cells)
            shapes = [each.pixels.shape for each in label.levels]
            known = [each.pixels.shape for each in pyramid.levels[level:]]
            assert shapes[: len(known)] == known
            assert len(shapes) == len(pyramid.levels)
            expected = pyramid.levels[level].affine.scale
            np.testing.assert_allclose(label.levels[0].affine.scale, expected)


def test_a_validator_accepts_the_image_with_such_labels(image):
    """It wants as many levels of labels as there are of the image."""
    add_labels(segmented(image, 2), image)
    yaozarrs.validate_zarr_store(image)


def test_labels_as_coarse_as_no_level_have_levels_of_their_own(image, tmp_path):
    cells = np.ones((6, 167, 144), "uint8")
    options = {"scale": (2, 1.5, 1.5), "translate": (1, 7.5, 9.5)}
    layers = [*read_layers(image), (cells, options, "labels")]
    plan = plan_write(layers, tmp_path / "copy.ome.zarr", levels=2)
    assert [each.path for each in plan.images] == ["", "labels/labels"]
    shapes = [level.shape for level in plan.images[1].levels]
    assert shapes == [(6, 167, 144), (3, 84, 72)]
    for count in (None, 1, 5):
        plan = plan_write(layers, tmp_path / "copy.ome.zarr", levels=count)
        of_image, of_labels = [len(each.levels) for each in plan.images]
        assert of_labels == of_image == (count or of_image)


@pytest.mark.parametrize(
    ("shape", "scale"),
    [
        ((6, 251, 215), (2, 0.5, 0.5)),
        ((6, 200, 215), (2, 1, 1)),
        ((6, 251, 9), (2, 1, 1)),
    ],
)
def test_labels_that_do_not_cover_the_image_are_none_of_it(shape, scale, image):
    layer = np.ones(shape, "uint8"), {"scale": scale, "translate": (1, 7, 9)}
    with pytest.raises(OptionError, match="do not fit"):
        add_labels(layer, image)


def test_labels_of_64_bits_are_noted():
    cells = (np.ones((8, 8), "int64"), {"name": "cells"}, "labels")
    assert any("64 bits" in note for note in plan_write([cells], "a.ome.zarr").notes)
