"""Arrays as pictures of Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtGui import QImage, QPixmap

if TYPE_CHECKING:
    from numpy.typing import NDArray


def picture(rgb: NDArray[np.uint8]) -> QPixmap:
    """Make a picture.

    Parameters
    ----------
    rgb : numpy.ndarray
        Rows x columns x RGB, uint8.
    """
    # QImage keeps no reference to the memory; what QPixmap makes of it is a copy.
    height, width, _ = rgb.shape
    form = QImage.Format.Format_RGB888
    return QPixmap.fromImage(QImage(rgb.tobytes(), width, height, 3 * width, form))


def planes_of(pixels: np.ndarray) -> np.ndarray:
    """Give an array of any dimension as a stack of planes: plane, row, column."""
    rows = pixels if pixels.ndim > 1 else pixels.reshape(1, -1)
    return rows.reshape(-1, *rows.shape[-2:])


def grey(plane: np.ndarray, low: float, high: float) -> NDArray[np.uint8]:
    """Make a grey RGB picture of a plane; `low` is black, `high` white."""
    span = (high - low) or 1.0
    scaled = (plane.astype(np.float64) - low) / span
    shades = np.nan_to_num(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return np.repeat(shades[..., np.newaxis], 3, axis=-1)
