"""An open image shown differently, without opening it anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.layers import Image, Labels
from qtpy.QtCore import Qt

from gui_steps import PLUGIN, until
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
