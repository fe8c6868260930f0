"""A region lies on its original, judged by what napari draws and by its transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.layers import Image

from napari_omezarr.display import wait_until_sharp
from napari_omezarr.region import affine_of_layer, as_placed
from napari_omezarr.widgets.region_box import Edges, cuts

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = np.random.default_rng(7)
# Odd sizes, whose levels are no whole number of pixels smaller.
SHAPES = [(6, 61, 83), (6, 30, 41), (6, 15, 20)]
VOLUMES = [(21, 25, 29), (10, 12, 14), (5, 6, 7)]
EDGES: Edges = ((0, 6), (13, 45), (20, 71))

# Slicing a turned stack is no whole plane of it; napari says so.
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")


def image(shapes: list[tuple[int, ...]], **options: Any) -> Image:
    levels = [RNG.integers(30, 255, shape).astype("u1") for shape in shapes]
    options = {"contrast_limits": (0, 255), "multiscale": True} | options
    return Image(levels, **options)


def crop(layer: Image, edges: Edges, level: int) -> Image:
    (cut,) = cuts(layer, [], edges, level)
    bounds = tuple(slice(*bound) for bound in cut.region.bounds)
    return cut.new_layer(np.asarray(layer.data[level])[bounds])


def seen(viewer: Any) -> np.ndarray:
    for layer in viewer.layers:
        assert wait_until_sharp(layer)
    picture = viewer.screenshot(size=(500, 600), flash=False)
    return np.asarray(picture)[..., :3].astype(int)


@pytest.mark.parametrize(
    ("place", "level"),
    [
        ({}, 0),
        ({}, 1),
        ({"scale": (2, 0.36, 0.72), "translate": (10, -3, 4.5)}, 2),
        ({"scale": (1, -0.5, 0.5)}, 1),
        ({"rotate": 30}, 1),
        ({"scale": (1, 0.5, 1.5), "rotate": 20, "shear": (0, 0, 0.2)}, 2),
        ({"affine": [[1, 0, 0, 0], [0, 0, -2, 1], [0, 1, 0, 4], [0, 0, 0, 1]]}, 1),
    ],
)
def test_laid_over_its_original_it_changes_no_pixel(
    make_napari_viewer: Callable[..., Any], place: dict[str, Any], level: int
) -> None:
    viewer = make_napari_viewer(show=True)
    original = viewer.add_layer(image(SHAPES, **place))
    original.locked_data_level = level
    alone = seen(viewer)
    region = viewer.add_layer(crop(original, EDGES, level))
    both = seen(viewer)
    # Single canvas pixels on the border of two image pixels may fall either way.
    assert (alone != both).mean() < 0.002
    region.translate = np.asarray(region.translate) + np.asarray(region.scale) / 2
    assert (seen(viewer) != alone).mean() > 0.05


@pytest.mark.parametrize("level", [0, 2])
def test_in_3d_it_is_drawn_where_its_original_is(
    make_napari_viewer: Callable[..., Any], level: int
) -> None:
    viewer = make_napari_viewer(show=True, ndisplay=3)
    place = {"scale": (1.5, 0.36, 0.72), "translate": (10, -3, 4.5)}
    data = [np.zeros(shape, "u1") for shape in VOLUMES]
    # One bright spot: what lies behind another differs with where a ray begins.
    spot = tuple(size // 2 for size in VOLUMES[level])
    data[level][spot] = 255
    options: dict[str, Any] = {"contrast_limits": (0, 255), "multiscale": True}
    original = viewer.add_layer(Image(data, **options, **place))
    original.locked_data_level = level
    viewer.scene.camera.angles = (15, 25, 40)
    there = middle(seen(viewer))
    region = crop(original, ((4, 20), (6, 22), (3, 25)), level)
    original.visible = False
    viewer.mouse_over_canvas = False
    viewer.add_layer(region)
    voxel = viewer.scene.camera.zoom * np.min(region.scale)
    assert np.linalg.norm(middle(seen(viewer)) - there) < 0.1 * voxel
    region.translate = np.asarray(region.translate) + np.asarray(region.scale) / 2
    assert np.linalg.norm(middle(seen(viewer)) - there) > 0.3 * voxel


def middle(picture: np.ndarray) -> np.ndarray:
    """The row and column around which a picture's brightness lies."""
    bright = picture.sum(axis=-1).astype(float)
    assert bright.sum() > 0
    rows, columns = np.indices(bright.shape)
    return np.array([(rows * bright).sum(), (columns * bright).sum()]) / bright.sum()


@pytest.mark.parametrize(
    "place",
    [
        {"scale": (2, 0.36, 0.72), "translate": (10, -3, 4.5)},
        {"rotate": (10, 20, 30), "shear": (0.1, 0.2, 0.3), "scale": (2, 0.5, 1)},
        {"shear": [[1, 0, 0], [0.2, 1, 0], [0.1, 0.3, 1]]},
        {
            "affine": [[1, 0, 0, 5], [0, 0, -2, 1], [0.3, 1, 0, 4], [0, 0, 0, 1]],
            "scale": (3, 2, 1),
            "translate": (1, 2, 3),
        },
    ],
)
def test_the_place_of_a_layer_is_napari_s(place: dict[str, Any]) -> None:
    layer = Image(np.zeros((3, 4, 5)), **place)
    affine = affine_of_layer(layer)
    for index in RNG.integers(0, 50, (10, 3)):
        np.testing.assert_allclose(
            affine(index), layer.data_to_world(tuple(index)), rtol=1e-9, atol=1e-9
        )
    region = crop(
        Image([np.zeros((3, 4, 5))], multiscale=True, **place),
        ((0, 3), (1, 3), (2, 4)),
        0,
    )
    np.testing.assert_allclose(
        region.data_to_world((0, 0, 0)), affine((0, 1, 2)), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        region.data_to_world((2, 1, 1)), affine((2, 2, 3)), rtol=1e-9, atol=1e-9
    )


def test_the_levels_of_a_layer_are_told_from_its_shapes() -> None:
    placed = as_placed(image(SHAPES, scale=(2, 1, 1)))
    assert placed.affines[1].scale == (2, 61 / 30, 83 / 41)
    assert placed.affines[1].translation == (0, (61 / 30 - 1) / 2, (83 / 41 - 1) / 2)
