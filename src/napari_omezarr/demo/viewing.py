"""One address in a napari viewer, for a person or for a picture."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import napari
from napari.layers import Labels
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_omezarr.display import wait_until_sharp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TICK = 100
"""Milliseconds between looks for signals."""
CONTOUR = 2
"""Labels are shown as outlines of so many pixels, for the image below them."""


@contextmanager
def opened(address: str) -> Iterator[napari.Viewer]:
    """Open an address in a viewer of its own, through this plugin.

    Parameters
    ----------
    address : str
        What a person would paste.

    Yields
    ------
    napari.Viewer
        With its layers. An interrupt or a request to terminate closes it from now
        on, instead of ending the program on the spot.
    """
    viewer = napari.Viewer(title="napari-omezarr demo")
    viewer.window.resize(1280, 860)
    viewer.open(address, plugin="napari-omezarr")
    viewer.canvas.overlays.scale_bar.visible = True
    for layer in viewer.layers:
        if isinstance(layer, Labels):
            layer.contour = CONTOUR

    asked = False

    def ask(_number: int, _frame: object) -> None:
        nonlocal asked
        asked = True

    def close_if_asked() -> None:
        if asked:
            viewer.close()

    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGTERM, ask)
    # Python looks for signals only while it runs, which Qt's loop need not let it;
    # and a window that is closed before the loop runs would not end the loop.
    ticking = QTimer()
    ticking.timeout.connect(close_if_asked)
    ticking.start(TICK)
    yield viewer
    ticking.stop()


def stay() -> None:
    """Wait until the last window is closed."""
    napari.run()


def save(viewer: napari.Viewer, folder: Path) -> list[Path]:
    """Save pictures once the finest pixels are there, and close the viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        One that is shown.
    folder : Path
        Where they go; made if it is not there.

    Returns
    -------
    list of Path
        The picture of the whole window, and that of its canvas alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    window, canvas = folder / "window.png", folder / "canvas.png"
    # The levels to wait for depend on the canvas, which has its size only now.
    QApplication.processEvents()
    for layer in viewer.layers:
        wait_until_sharp(layer)
    viewer.screenshot(window, canvas_only=False, flash=False)
    viewer.screenshot(canvas, canvas_only=True, flash=False)
    viewer.close()
    return [window.resolve(), canvas.resolve()]
