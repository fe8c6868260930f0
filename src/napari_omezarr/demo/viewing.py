"""One address in a napari viewer, for a person or for a picture."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TICK = 100
"""Milliseconds between looks at what Qt does not announce."""


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
    viewer.scale_bar.visible = True

    def close(_number: int, _frame: object) -> None:
        viewer.close()

    signal.signal(signal.SIGINT, close)
    signal.signal(signal.SIGTERM, close)
    # Python looks for signals only while it runs, which Qt's loop need not let it.
    ticking = QTimer()
    ticking.timeout.connect(_nothing)
    ticking.start(TICK)
    yield viewer
    ticking.stop()


def stay() -> None:
    """Wait until the last window is closed."""
    napari.run()


def save(viewer: napari.Viewer, folder: Path) -> list[Path]:
    """Save pictures once the pixels are there, and close the viewer.

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
    _wait(lambda: all(layer.loaded for layer in viewer.layers))
    viewer.screenshot(window, canvas_only=False, flash=False)
    viewer.screenshot(canvas, canvas_only=True, flash=False)
    viewer.close()
    return [window.resolve(), canvas.resolve()]


def _wait(ready: Callable[[], bool]) -> None:
    """Let Qt work until something is so; the ticking timer wakes this up."""
    QApplication.processEvents()
    while not ready():
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)


def _nothing() -> None:
    """Let Python run, in which it handles signals."""
