"""An open image shown differently, without opening it anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Points
from qtpy.QtCore import Qt

from gui_steps import PLUGIN, until
from napari_omezarr import _hooks
from napari_omezarr.display.chunk_queue import FailureNotice
from napari_omezarr.display.manager import Notifier
from napari_omezarr.errors import ObjectChangedError, StoreTimeoutError
from napari_omezarr.widgets.show_again import ShowAgainForm, show_differently
from small_images import put_image

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot


@pytest.fixture
def opened(viewer: Any, tmp_path: Path) -> Any:
    put_image(tmp_path / "cells.zarr", shape=(2, 6, 32, 48), chunks=(1, 2, 8, 8))
    viewer.open(str(tmp_path / "cells.zarr"), plugin=PLUGIN)
    return viewer


def form_of(qtbot: QtBot, viewer: Any) -> ShowAgainForm:
    form = show_differently(viewer)
    assert form is not None
    qtbot.addWidget(form)
    until(qtbot, lambda: not form.busy)
    return form


def test_level_and_channels(opened: Any, qtbot: QtBot) -> None:
    first, second = opened.layers
    opened.layers.remove(second)
    opened.layers.selection = {first}
    form = form_of(qtbot, opened)
    names = [form.channels.item(row).text() for row in range(2)]
    assert names[0] == first.name
    form.level.value = 1
    form.channels.item(0).setCheckState(Qt.CheckState.Unchecked)
    form.channels.item(1).setCheckState(Qt.CheckState.Checked)
    form.apply()
    assert first.locked_data_level == 1
    assert not first.visible
    assert [layer.name for layer in opened.layers] == names
    assert opened.layers[1].source.path == first.source.path
    form.level.value = None
    form.apply()
    assert first.locked_data_level is None
    form.close()


def test_an_image_as_labels_and_back(opened: Any, qtbot: QtBot) -> None:
    first = opened.layers[0]
    first.translate = (1, 2, 3)
    opened.layers.selection = {first}
    form = form_of(qtbot, opened)
    form.kind.value = "labels"
    form.apply()
    labels = opened.layers[0]
    assert isinstance(labels, Labels)
    np.testing.assert_array_equal(labels.translate, (1, 2, 3))
    np.testing.assert_array_equal(labels.data[0][0], first.data[0][0])
    form.kind.value = "image"
    form.apply()
    assert isinstance(opened.layers[0], Image)
    assert len(opened.layers) == 2
    form.close()


def test_a_layer_of_no_address_is_told(viewer: Any, notifications: list[Any]) -> None:
    viewer.add_image(np.zeros((4, 4)))
    assert show_differently(viewer) is None
    assert "not opened from an OME-Zarr" in notifications[-1].message


def test_what_has_changed_is_opened_again_in_place(
    opened: Any, tmp_path: Path, qtbot: QtBot, notifications: list[Any]
) -> None:
    """By the button of the error that says so, and from the menu."""
    opened.add_points(np.zeros((1, 3)))
    first, second, _ = opened.layers
    first.colormap, first.opacity, second.name = "viridis", 0.5, "mine"
    place = tmp_path / "cells.zarr"
    put_image(place, shape=(2, 9, 32, 48), chunks=(1, 2, 8, 8))
    error = ObjectChangedError("It has changed.", url=f"{place}/0/c/0/0/0/0")
    notice = FailureNotice("this computer", error)
    Notifier().show_failure(notice, retry=lambda: None)
    (again, act), (retry, _) = notifications[-1].actions
    assert (again, retry) == ("Open again", "Retry")
    act(None)
    until(qtbot, lambda: first not in opened.layers and second not in opened.layers)
    new, other, points = opened.layers
    assert new.data[0].shape == other.data[0].shape == (9, 32, 48)
    assert (new.colormap.name, new.opacity, other.name) == ("viridis", 0.5, "mine")
    assert isinstance(points, Points)
    opened.layers.selection = {new}
    _hooks.open_again(opened)
    until(qtbot, lambda: new not in opened.layers)
    assert opened.layers[0].opacity == 0.5


def test_other_errors_offer_to_try_again_only(notifications: list[Any]) -> None:
    error = StoreTimeoutError("It does not answer.", url="https://host/a.zarr")
    Notifier().show_failure(FailureNotice("host", error), retry=lambda: None)
    assert [name for name, _ in notifications[-1].actions] == ["Retry"]
