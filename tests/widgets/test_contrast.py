"""Contrast that no metadata give: estimated while the window lives."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Image

from gui_steps import PLUGIN, until
from napari_omezarr.location import Location
from napari_omezarr.widgets.open import estimate_later, open_place, slider_range
from napari_omezarr.widgets.qt_async import pending
from servers.faults import Stalled, Status

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QApplication

    from servers.http import FileServer

MAKESHIFT = (0, 65535)


@pytest.fixture
def plane(tmp_path: Path, http_server: FileServer) -> str:
    """A plain array, which says nothing of contrast; its values are 100 to 199."""
    pixels = np.linspace(100, 199, 64 * 64).astype(np.uint16).reshape(64, 64)
    zarr.save_array(str(tmp_path / "plane.zarr"), pixels)
    return f"{http_server.url}/plane.zarr"


def limits(layer: Any) -> tuple[float, ...]:
    return tuple(layer.contrast_limits)


def test_it_is_set_when_it_is_there(
    viewer: Any, plane: str, http_server: FileServer, qtbot: QtBot
) -> None:
    http_server.fault("*/c/*", Stalled(), forever=True)
    (layer,) = viewer.open(plane, plugin=PLUGIN)
    assert limits(layer) == MAKESHIFT
    http_server.clear()
    until(qtbot, lambda: limits(layer) != MAKESHIFT)
    low, high = limits(layer)
    assert 100 <= low < 102
    assert 197 < high <= 199
    bottom, top = layer.contrast_limits_range
    assert bottom <= low
    assert high < top < MAKESHIFT[1]


def test_it_is_not_set_when_the_person_was_faster(
    viewer: Any, plane: str, http_server: FileServer, qtbot: QtBot
) -> None:
    http_server.fault("*/c/*", Stalled(), forever=True)
    (layer,) = viewer.open(plane, plugin=PLUGIN)
    layer.contrast_limits = (10, 20)
    http_server.clear()
    until(qtbot, lambda: not pending)
    assert limits(layer) == (10, 20)


def test_a_layer_that_is_gone_is_let_go(
    qapp: QApplication, plane: str, http_server: FileServer, qtbot: QtBot
) -> None:
    levels = open_place(Location.parse(plane)).specs[0].levels
    http_server.fault("*/c/*", Stalled(), forever=True)
    layer = Image(np.zeros((64, 64), np.uint16), contrast_limits=MAKESHIFT)
    estimate_later(layer, levels)
    gone = weakref.ref(layer)
    del layer
    gc.collect()
    assert gone() is None
    http_server.clear()
    until(qtbot, lambda: not pending)


def test_a_failure_leaves_the_makeshift(
    viewer: Any, plane: str, http_server: FileServer, qtbot: QtBot
) -> None:
    http_server.fault("*/c/*", Status(401), forever=True)
    (layer,) = viewer.open(plane, plugin=PLUGIN)
    until(qtbot, lambda: not pending)
    assert limits(layer) == MAKESHIFT


@pytest.mark.parametrize(
    ("found", "dtype", "expected"),
    [
        ((10, 20), "uint8", (0, 255)),
        ((-5, 20), "int8", (-128, 127)),
        ((100, 200), "uint16", (0, 300)),
        ((60000, 65000), "uint16", (0, 65535)),
        ((-10, 10), "int16", (-30, 30)),
        ((0.25, 0.5), "float32", (0, 0.75)),
        ((-1, 1), "float64", (-3, 3)),
    ],
)
def test_the_slider_is_wider_than_the_limits(
    found: tuple[float, float], dtype: str, expected: tuple[float, float]
) -> None:
    assert slider_range(found, np.dtype(dtype)) == expected


@given(
    st.sampled_from(["uint8", "int16", "uint16", "int32", "uint64"]).map(np.dtype),
    st.data(),
)
def test_the_slider_holds_the_limits_and_stays_in_the_type(
    dtype: np.dtype[Any], data: st.DataObject
) -> None:
    information = np.iinfo(dtype)
    values = st.integers(int(information.min), int(information.max))
    low, high = sorted((float(data.draw(values)), float(data.draw(values))))
    bottom, top = slider_range((low, high), dtype)
    assert float(information.min) <= bottom <= low <= high <= top
    assert top <= float(information.max)
