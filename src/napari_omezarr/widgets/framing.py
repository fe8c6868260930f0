"""Let the canvas show a box of the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .qt_async import main_window

if TYPE_CHECKING:
    from napari.components import ViewerModel

FILLED = 0.9
"""How much of the canvas the box takes."""


def show_box(viewer: ViewerModel, first: Any, last: Any) -> None:
    """Show a box from one corner to another, along the world's last two axes."""
    centre, size = np.mean([first, last], axis=0), np.abs(np.subtract(first, last))
    camera = viewer.scene.camera
    camera.center = (*camera.center[:-2], *centre)
    window = main_window()
    central = None if window is None else window.centralWidget()
    if central is not None:
        canvas = np.array([central.height(), central.width()])
        camera.zoom = FILLED * float(np.min(canvas / np.maximum(size, 1e-12)))
