"""The demo's image in a real viewer: the expected colours at known places."""

from __future__ import annotations

import numpy as np
import pytest

from napari_omezarr.display import wait_until_sharp
from napari_omezarr.samples import write_cells

PLANE = 16
SCALE = 0.2
NUCLEI, MEMBRANES = (120, 2600), (120, 2000)


@pytest.fixture(scope="module")
def sample(s3_server, tmp_path_factory):
    """The sample cells on the S3 server: their address, and what was written."""
    folder = tmp_path_factory.mktemp("sample") / "cells.ome.zarr"
    made = write_cells(folder, shape=(32, 256, 256))
    s3_server.upload(folder, "public/picture/cells.ome.zarr")
    return f"s3+{s3_server.endpoint}/public/picture/cells.ome.zarr", made


@pytest.fixture
def viewer(make_napari_viewer, sample):
    """A viewer on them, two by two screen pixels for each pixel of level 0."""
    address, made = sample
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1000, 800)
    viewer.open(address, plugin="napari-omezarr")
    viewer.dims.set_point(0, PLANE * 0.5)
    camera = getattr(viewer, "scene", viewer).camera  # moved in napari 0.9
    camera.zoom = 2 / SCALE
    camera.center = (0, 128 * SCALE, 128 * SCALE)
    return viewer, made


def shown(viewer):
    """The canvas as floats from 0 to 1, once every layer is sharp."""
    for layer in viewer.layers:
        assert wait_until_sharp(layer)
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3] / 255


def at(picture, y, x):
    """What is drawn at a pixel of the image, which is two by two on the screen."""
    height, width = picture.shape[:2]
    row = int(height / 2 + (y + 0.5 - 128.5) * 2)
    column = int(width / 2 + (x + 0.5 - 128.5) * 2)
    return picture[row : row + 2, column : column + 2].mean((0, 1))


def bright(value, limits):
    low, high = limits
    return np.clip((float(value) - low) / (high - low), 0, 1)


def brightest(plane, margin=40):
    """A pixel that lies well inside an even area of the plane's brightest values."""
    inner = plane[margin:-margin, margin:-margin].astype(float)
    smooth = sum(
        np.roll(inner, (dy, dx), (0, 1)) for dy in range(-2, 3) for dx in range(-2, 3)
    )
    y, x = np.unravel_index(np.argmax(smooth), smooth.shape)
    return int(y) + margin, int(x) + margin


def test_channels_add_up_in_their_colours(viewer):
    viewer, cells = viewer
    viewer.layers["nuclei"].visible = False
    picture = shown(viewer)
    for y, x in (brightest(cells.image[0, PLANE]), brightest(cells.image[1, PLANE])):
        cyan = bright(cells.image[0, PLANE, y, x], NUCLEI)
        magenta = bright(cells.image[1, PLANE, y, x], MEMBRANES)
        expected = np.clip([magenta, cyan, cyan + magenta], 0, 1)
        np.testing.assert_allclose(at(picture, y, x), expected, atol=0.12)


def test_a_label_has_the_colour_that_the_document_gives_it(viewer):
    viewer, cells = viewer
    layer = viewer.layers["nuclei"]
    layer.opacity = 1
    picture = shown(viewer)
    y, x = brightest(cells.image[0, PLANE])
    label = int(cells.labels[PLANE, y, x])
    assert label > 0
    color = layer.colormap.color_dict[label]
    np.testing.assert_allclose(at(picture, y, x), color[:3], atol=0.05)


def test_around_the_image_the_canvas_is_black(viewer):
    viewer, _ = viewer
    assert shown(viewer)[2, 2].max() == 0


def test_scale_and_units_reach_the_viewer(viewer):
    viewer, _ = viewer
    assert {str(unit) for unit in viewer.layers.extent.units} == {"micrometer"}
    np.testing.assert_allclose(viewer.layers["Nuclei"].scale, (0.5, SCALE, SCALE))
    assert viewer.dims.axis_labels == ("z", "y", "x")
