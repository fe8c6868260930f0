"""Layers of napari itself, saved and opened again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Vectors
from napari.utils.colormaps import Colormap, DirectLabelColormap
from napari.utils.transforms import CompositeAffine

from napari_omezarr.errors import LossError
from napari_omezarr.layers import read_layers
from napari_omezarr.metadata import layer_affine
from napari_omezarr.writing import update_rendering, write_layers

pytestmark = pytest.mark.gui

PLACED = {
    "scale": (2, 0.5, 0.25),
    "translate": (5, -1, 3),
    "units": ("um", "um", "um"),
    "axis_labels": ("z", "y", "x"),
}
DATA = np.random.default_rng(0).integers(0, 200, (6, 40, 50)).astype(np.uint8)


def opened(place):
    return [Layer.create(*layer) for layer in read_layers(place)]


def first(layer):
    return np.asarray(layer.data[0] if layer.multiscale else layer.data)


def test_a_viewer_full_of_layers_comes_back(tmp_path):
    viewer = ViewerModel()
    fire = Colormap([[0, 0, 0, 1], [1, 0.5, 0, 1], [1, 1, 1, 1]], name="fire",
                    controls=[0, 0.25, 1])  # fmt: skip
    green = viewer.add_image(DATA, name="GFP", colormap="green", gamma=0.6,
                             contrast_limits=(5, 90), blending="additive",
                             **PLACED)  # fmt: skip
    green.contrast_limits_range = (0, 180)
    viewer.add_image(DATA[::-1], name="hot", colormap=fire, opacity=0.5,
                     contrast_limits=(1, 2), visible=False, **PLACED)  # fmt: skip
    colors = {None: "yellow", 1: "red", 2: [0, 0.5, 0, 0.2]}
    viewer.add_labels(
        DATA // 70,
        name="cells",
        colormap=DirectLabelColormap(color_dict=colors),
        features={"index": [1, 2], "area": [3.5, 4], "class": ["a", "b"]},
        opacity=0.3,
        **PLACED,
    )
    saved = write_layers(viewer.layers, tmp_path / "a.zarr")
    assert len(saved.plan.images) == 2
    found = opened(tmp_path / "a.zarr")
    assert [layer.name for layer in found] == ["GFP", "hot", "cells"]
    for one, other in zip(found, viewer.layers, strict=True):
        np.testing.assert_array_equal(first(one), other.data)
        for key in ("scale", "translate"):
            np.testing.assert_allclose(getattr(one, key), getattr(other, key))
        for key in ("units", "axis_labels", "opacity", "visible", "blending"):
            assert getattr(one, key) == getattr(other, key)
    for one, other in zip(found[:2], viewer.layers[:2], strict=True):
        assert one.contrast_limits == other.contrast_limits
        assert one.gamma == other.gamma
        np.testing.assert_allclose(one.colormap.colors, other.colormap.colors)
        np.testing.assert_allclose(one.colormap.controls, other.colormap.controls)
    cells, original = found[2], viewer.layers[2]
    np.testing.assert_array_equal(cells.features["area"], original.features["area"])
    values = np.array([0, 1, 2, 7])
    np.testing.assert_allclose(
        cells.colormap.map(values), original.colormap.map(values), atol=1 / 255
    )


def test_open_layers_are_updated_in_place(tmp_path):
    layer = Image(DATA, name="one", **PLACED)
    write_layers([layer], tmp_path / "a.zarr")
    (found,) = opened(tmp_path / "a.zarr")
    found.colormap, found.name = "magenta", "renamed"
    found.contrast_limits = (3, 4)
    update_rendering([found])
    (again,) = opened(tmp_path / "a.zarr")
    assert (again.name, again.colormap.name) == ("renamed", "magenta")
    assert again.contrast_limits == [3, 4]


def test_rgb_and_plain_layers(tmp_path):
    photo = Image(np.zeros((20, 30, 3), np.uint8), name="photo", rgb=True)
    plain = Labels(np.ones((20, 30), np.int64), name="plain")
    write_layers([photo, plain], tmp_path / "a.zarr")
    image, labels = opened(tmp_path / "a.zarr")
    assert image.rgb
    assert labels.name == "plain"
    assert image.axis_labels == labels.axis_labels == ("y", "x")


def test_vectors_are_refused_by_name(tmp_path):
    with pytest.raises(LossError, match="arrows"):
        write_layers([Image(DATA), Vectors(name="arrows")], tmp_path / "a.zarr")


numbers = st.floats(0.1, 10)
angles = st.floats(-180, 180)


@st.composite
def transforms(draw):
    ndim = draw(st.sampled_from([2, 3]))
    rotate = draw(angles) if ndim == 2 else [draw(angles) for _ in range(3)]
    return {
        "scale": [draw(numbers) for _ in range(ndim)],
        "translate": [draw(angles) for _ in range(ndim)],
        "rotate": rotate,
        "shear": [draw(st.floats(-1, 1)) for _ in range(ndim * (ndim - 1) // 2)],
    }


# napari says so of every layer that is turned out of the plane that it shows.
@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@settings(max_examples=40, deadline=None)
@given(transforms(), st.booleans())
def test_a_layer_lies_where_napari_says(options, as_tuple):
    ndim = len(options["scale"])
    expected = CompositeAffine(**options).affine_matrix[:-1]
    if as_tuple:
        layer = Image(np.zeros((3,) * ndim), **options)
        options = layer.as_layer_data_tuple()[1]
    found = layer_affine(options, ndim).matrix
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_an_affine_comes_after_the_rest():
    outer = np.array([[0.6, -0.8, 4], [0.8, 0.6, 5], [0, 0, 1]])
    layer = Image(np.zeros((3, 3)), scale=(2, 3), translate=(1, 1), affine=outer)
    found = layer_affine(layer.as_layer_data_tuple()[1], 2)
    point = np.array([2.0, 7.0])
    np.testing.assert_allclose(found(point), layer.data_to_world(point))
