"""An open image shown differently, without opening it anew."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Points
from qtpy.QtCore import Qt

from gui_steps import PLUGIN, until
from napari_omezarr import _hooks
from napari_omezarr.display import Settings, shared_engine, wait_until_sharp
from napari_omezarr.display.chunk_queue import FailureNotice
from napari_omezarr.display.manager import Notifier
from napari_omezarr.errors import ObjectChangedError, StoreTimeoutError
from napari_omezarr.widgets import show_again
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


def test_a_place_that_was_asked_for_outlives_opening_again(
    viewer: Any, tmp_path: Path, qtbot: QtBot
) -> None:
    put_image(tmp_path / "cells.zarr", shape=(2, 6, 32, 48))
    place = {"scale": (5, 1, 1), "translate": (1, 2, 3)}
    layer, other = viewer.open(str(tmp_path / "cells.zarr"), plugin=PLUGIN, **place)
    viewer.layers.remove(other)
    for _ in range(2):
        viewer.layers.selection = {layer}
        _hooks.open_again(viewer)
        until(qtbot, lambda gone=layer: gone not in viewer.layers)
        (layer,) = viewer.layers
        np.testing.assert_array_equal(layer.scale, place["scale"])
        np.testing.assert_array_equal(layer.translate, place["translate"])


def test_other_errors_offer_to_try_again_only(notifications: list[Any]) -> None:
    error = StoreTimeoutError("It does not answer.", url="https://host/a.zarr")
    Notifier().show_failure(FailureNotice("host", error), retry=lambda: None)
    assert [name for name, _ in notifications[-1].actions] == ["Retry"]


# What changes behind a layer that is shown.


@pytest.fixture
def shown(viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An image of which only what is looked at was read, and no image before."""
    engine = shared_engine()
    few = Settings(True, engine.settings.cache_bytes, 2**24, 0)
    monkeypatch.setattr(engine, "settings", few)
    monkeypatch.setattr(engine, "follows_preferences", False)
    monkeypatch.setattr(show_again, "_PAUSE", math.inf)
    put_image(tmp_path / "cells.zarr", count=1, **FIRST)
    (layer,) = viewer.open(str(tmp_path / "cells.zarr"), plugin=PLUGIN)
    viewer.dims.set_point(0, 0)
    assert wait_until_sharp(layer)
    return viewer


FIRST: dict[str, Any] = {"names": "zyx", "shape": (40, 32, 48), "chunks": (1, 8, 8)}
THEN: dict[str, Any] = {"names": "zyx", "shape": (40, 64, 48), "chunks": (1, 16, 16)}


def look_at_another_plane(viewer: Any, z: int) -> None:
    viewer.dims.set_point(0, z * float(viewer.layers[0].scale[0]))


def test_an_image_that_was_written_anew_is_shown_as_it_is_now(
    shown: Any, tmp_path: Path, qtbot: QtBot, notifications: list[Any]
) -> None:
    (first,) = shown.layers
    first.colormap, first.name, first.contrast_limits = "viridis", "mine", (3, 70)
    first.translate = (0, 5, 6)
    shown.scene.camera.zoom = 3.5
    levels = put_image(tmp_path / "cells.zarr", count=1, seed=5, **THEN)
    look_at_another_plane(shown, 30)
    until(qtbot, lambda: first not in shown.layers)
    (new,) = shown.layers
    assert wait_until_sharp(new)
    assert new.data.shape == (40, 64, 48)
    np.testing.assert_array_equal(new.data[30], levels[0][30])
    assert (new.name, new.colormap.name) == ("mine", "viridis")
    assert tuple(new.contrast_limits) == (3, 70)
    np.testing.assert_array_equal(new.translate, (0, 5, 6))
    assert shown.scene.camera.zoom == 3.5
    assert shown.dims.current_step[0] == 30
    assert shown.layers.selection == {new}
    assert "cells.zarr has changed since it was opened" in notifications[-1].message
    # Where that does not help, it is for the person to say so.
    put_image(tmp_path / "cells.zarr", count=1, seed=6, **FIRST)
    notifications.clear()
    look_at_another_plane(shown, 12)
    until(qtbot, lambda: notifications)
    assert [n for n, _ in notifications[-1].actions] == ["Open again", "Retry"]
    assert list(shown.layers) == [new]


def test_what_was_changed_by_hand_is_not_replaced_unasked(
    shown: Any, tmp_path: Path, qtbot: QtBot, notifications: list[Any]
) -> None:
    (layer,) = shown.layers
    (twin,) = shown.open(str(tmp_path / "cells.zarr"), plugin=PLUGIN)
    twin.data = np.asarray(twin.data) + 1
    put_image(tmp_path / "cells.zarr", count=1, seed=5, **THEN)
    look_at_another_plane(shown, 30)
    until(qtbot, lambda: notifications)
    assert [name for name, _ in notifications[-1].actions] == ["Open again", "Retry"]
    assert list(shown.layers) == [layer, twin]


def test_a_layer_that_does_not_tell_its_image_has_no_other_replaced(
    shown: Any, tmp_path: Path, qtbot: QtBot, notifications: list[Any]
) -> None:
    (layer,) = shown.layers
    put_image(tmp_path / "other.zarr", count=1, **FIRST)
    (other,) = shown.open(str(tmp_path / "other.zarr"), plugin=PLUGIN)
    layer.metadata = {}
    shown.layers.selection = {other}
    put_image(tmp_path / "cells.zarr", count=1, seed=5, **THEN)
    look_at_another_plane(shown, 30)
    until(qtbot, lambda: notifications)
    assert [name for name, _ in notifications[-1].actions] == ["Open again", "Retry"]
    assert list(shown.layers) == [layer, other]
