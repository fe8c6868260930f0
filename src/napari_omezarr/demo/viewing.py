"""One address in a napari viewer, for a person or for a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from napari.layers import Labels
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_omezarr.display import wait_until_sharp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TICK = 100
"""Milliseconds between two questions whether to close."""
CONTOUR = 2
"""Labels are shown as outlines of so many pixels, for the image below them."""


def open_viewer(address: str) -> napari.Viewer:
    """Open an address in a viewer of its own, through this plugin."""
    viewer = napari.Viewer(title="napari-omezarr demo")
    viewer.window.resize(1280, 860)
    viewer.open(address, plugin="napari-omezarr")
    viewer.canvas.overlays.scale_bar.visible = True
    for layer in viewer.layers:
        if isinstance(layer, Labels):
            layer.contour = CONTOUR
    return viewer


def stay(viewer: napari.Viewer, is_over: Callable[[], bool]) -> None:
    """Wait until the window is closed, and close it as soon as `is_over` says so."""

    def close_if_over() -> None:
        if is_over():
            viewer.close()

    # Python handles signals only while it runs, which Qt's loop need not let it;
    # and a window that is closed before the loop runs would not end the loop.
    ticking = QTimer()
    ticking.timeout.connect(close_if_over)
    ticking.start(TICK)
    napari.run()
    ticking.stop()


def save(
    viewer: napari.Viewer, folder: Path, check: Callable[[], None]
) -> tuple[Path, Path]:
    """Save pictures once the finest pixels are there, and close the viewer.

    They go into a folder, which is made if it is not there: the whole window, and the
    canvas alone. ``check`` is called again and again; it raises to give up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    window, canvas = folder / "window.png", folder / "canvas.png"
    # The levels to wait for depend on the canvas, which has its size only now.
    QApplication.processEvents()
    for layer in viewer.layers:
        wait_until_sharp(layer)
        check()
    viewer.screenshot(window, canvas_only=False, flash=False)
    viewer.screenshot(canvas, canvas_only=True, flash=False)
    viewer.close()
    return window.resolve(), canvas.resolve()
