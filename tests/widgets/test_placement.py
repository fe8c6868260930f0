"""Layers that are moved into another coordinate system of their image."""

from __future__ import annotations

import numpy as np
import pytest

import small_images
from gui_steps import PLUGIN, until
from napari_omezarr import _hooks
from napari_omezarr.layers import read_layers
from napari_omezarr.reading import ReadOptions, read
from napari_omezarr.widgets.open_dialog import show_open_dialog
from napari_omezarr.widgets.show_again import choose_coordinate_system

TURNED = [[0, -2, 30], [2, 0, 40]]


@pytest.fixture
def image(tmp_path):
    """An image of y, x with labels and a system in which it is turned."""
    multiscale = small_images.multiscales("0.6", "yx", 2)[0]
    multiscale["coordinateSystems"].append(
        {"name": "stage", "axes": small_images.axes("yx")}
    )
    multiscale["coordinateTransformations"] = [
        {
            "type": "affine",
            "affine": TURNED,
            "input": {"name": "physical"},
            "output": {"name": "stage"},
        }
    ]
    extra = {"multiscales": [multiscale]}
    options = {"names": "yx", "shape": (16, 24), "count": 2, "extra": extra}
    small_images.put_image(tmp_path / "a.ome.zarr", "0.6", **options)
    cells = small_images.pixels((16, 24), np.uint8)
    small_images.put_labels(tmp_path / "a.ome.zarr", "0.6", "yx", cells=cells)
    return str(tmp_path / "a.ome.zarr")


def corner(layer):
    return layer.data_to_world((1, 2))


def test_the_layers_of_an_image_move_into_the_system_that_is_chosen(
    viewer, image, qtbot
):
    picture, labels = viewer.open(image, plugin=PLUGIN)
    np.testing.assert_allclose(corner(picture), (0.5, 1))
    viewer.layers.selection = {picture}
    dialog = choose_coordinate_system(viewer)
    assert dialog.comboBoxItems() == ["physical", "stage"]
    assert dialog.textValue() == "physical"
    dialog.setTextValue("stage")
    dialog.accept()
    until(qtbot, lambda: corner(picture)[0] != 0.5)
    np.testing.assert_allclose(corner(picture), (28, 41))
    assert picture.metadata["omezarr"]["coordinate_system"] == "stage"
    np.testing.assert_allclose(corner(labels), (28, 41))  # which lie over it
    assert labels.metadata["omezarr"]["coordinate_system"] == "stage"
    viewer.layers.selection = {picture}
    dialog = choose_coordinate_system(viewer)
    dialog.setTextValue("physical")
    dialog.accept()
    until(qtbot, lambda: np.allclose(corner(picture), (0.5, 1)))
    np.testing.assert_allclose(corner(labels), (0.5, 1))


def test_without_another_system_there_is_nothing_to_choose(viewer, image, qtbot):
    _, labels = viewer.open(image, plugin=PLUGIN)
    viewer.layers.selection = {labels}
    assert choose_coordinate_system(viewer) is None
    _hooks.choose_coordinate_system(viewer)


def test_the_dialog_takes_the_name_of_a_system(viewer, image, qtbot):
    dialog = show_open_dialog(viewer)
    dialog.line.set_address(image)
    dialog.system.setText("moon")
    dialog.open_button.click()
    until(qtbot, lambda: "It has physical, stage" in dialog.message.text())
    dialog.system.setText("stage")
    dialog.open_button.click()
    until(qtbot, lambda: len(viewer.layers) == 2)
    np.testing.assert_allclose(corner(viewer.layers[0]), (28, 41))


def test_in_python_the_system_is_an_option(image):
    (_, own, _), _ = read_layers(image)
    (_, options, _), (_, labels, _) = read_layers(image, coordinate_system="stage")
    np.testing.assert_array_equal(labels["affine"], options["affine"])
    assert not labels["metadata"]["omezarr"]["warnings"]
    assert own["metadata"]["omezarr"]["coordinate_systems"] == ["physical", "stage"]
    assert options["metadata"]["omezarr"]["coordinate_system"] == "stage"


def test_one_level_moves_as_one_level(viewer, image, qtbot):
    for data, options, kind in read_layers(image, level=1):
        viewer._add_layer_from_data(data, options, kind)
    picture, labels = viewer.layers
    assert picture.metadata["omezarr"]["options"] == {"level": 1}
    before = picture.data_to_world((3, 4))
    viewer.layers.selection = {picture}
    dialog = choose_coordinate_system(viewer)
    dialog.setTextValue("stage")
    dialog.accept()
    until(qtbot, lambda: picture.metadata["omezarr"]["coordinate_system"] == "stage")
    y, x = before
    for layer in (picture, labels):
        np.testing.assert_allclose(
            layer.data_to_world((3, 4)), (30 - 2 * x, 40 + 2 * y)
        )


@pytest.mark.parametrize("axes", ["cyx", "zyx"])
def test_labels_follow_an_image_that_has_an_axis_more(tmp_path, axes):
    """Where the turn mixes that axis with others they stay, and it is said."""
    turned = [[1, 0, 0, 0], [0, 0, -2, 30], [0, 2, 0, 40]]
    if axes == "zyx":
        turned[0][1] = 1
    multiscale = small_images.multiscales("0.6", axes, 2)[0]
    system = {"name": "stage", "axes": small_images.axes(axes)}
    multiscale["coordinateSystems"].append(system)
    way = {"input": {"name": "physical"}, "output": {"name": "stage"}}
    way |= {"type": "affine", "affine": turned}
    multiscale["coordinateTransformations"] = [way]
    extra = {"multiscales": [multiscale]}
    options = {"names": axes, "shape": (2, 16, 24), "count": 2, "extra": extra}
    small_images.put_image(tmp_path / "a.zarr", "0.6", **options)
    cells = small_images.pixels((16, 24), np.uint8)
    small_images.put_labels(tmp_path / "a.zarr", "0.6", "yx", cells=cells)
    options = ReadOptions(coordinate_system="stage")
    reading = read(str(tmp_path / "a.zarr"), options)
    labels = reading.pyramids[-1]
    said = any("no coordinate system stage" in text for text in reading.warnings)
    assert said == (axes == "zyx")
    point = labels.levels[0].affine([2, 4])
    np.testing.assert_allclose(point, (1, 2) if said else (26, 42))
