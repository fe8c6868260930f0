"""Small pictures of kinds, drawn in the colour of the text beside them."""

from __future__ import annotations

from functools import lru_cache

from qtpy.QtCore import QByteArray, QRectF, Qt
from qtpy.QtGui import QIcon, QPainter, QPixmap
from qtpy.QtSvg import QSvgRenderer

from napari_omezarr.browsing import Kind

SIDE = 16
"""Of a picture, in pixels that do not depend on the screen."""

_FOLDER = "M1.5 13V3.5h4l1.5 2h7.5V13z"
_IMAGE = "M1.5 2.5h13v11h-13zM2 12l4-5 3 3.5 2-2 3 3.5M11 5.5h.1"
_FILE = "M3.5 1.5h6l3 3v10h-9zM9.5 1.5v3h3"
_PLATE = "M1.5 3h13v10h-13zM4.5 6h.1M8 6h.1M11.5 6h.1M4.5 10h.1M8 10h.1M11.5 10h.1"
_LEVELS = "M1.5 13.5v-11h11v11zM1.5 8h5.5v5.5M7 10.8h-2.8v2.7"
_LABELS = (
    "M5 8a3 3 0 1 0-.1 0zM11.5 13.5a2.6 2.6 0 1 0-.1 0zM11.5 6a1.6 1.6 0 1 0-.1 0z"
)
_PATHS = {
    Kind.BUCKET: "M2 4c0-2 12-2 12 0l-1.5 9c0 1.5-9 1.5-9 0zM2 4c0 2 12 2 12 0",
    Kind.FOLDER: _FOLDER,
    Kind.GROUP: f"{_FOLDER}M5 10.5h6",
    Kind.ARCHIVE: f"{_FILE}M7 4v2M7 7v2M7 10v2",
    Kind.FILE: _FILE,
    Kind.IMAGE: _IMAGE,
    Kind.LEVELS: _LEVELS,
    Kind.LABELS: _LABELS,
    Kind.LABEL: _LABELS,
    Kind.PLATE: _PLATE,
    Kind.WELL: "M8 14a6 6 0 1 0-.1 0zM8 10.5a2.5 2.5 0 1 0-.1 0z",
    Kind.SERIES: "M1.5 5.5h9v8h-9zM4 5.5v-3h10.5v8.5h-4",
    Kind.SCENE: "M1.5 7.5h7v6h-7zM7 7.5v-5h7.5v7h-6",
    Kind.ARRAY: "M2 2h12v12H2zM6 2v12M10 2v12M2 6h12M2 10h12",
}
_GEAR = (
    "M8 10.5a2.5 2.5 0 1 0-.1 0zM8 1.5v2.5M8 12v2.5M1.5 8H4M12 8h2.5"
    "M3.4 3.4l1.8 1.8M10.8 10.8l1.8 1.8M12.6 3.4l-1.8 1.8"
    "M5.2 10.8l-1.8 1.8"
)
_SIGNS = {
    "back": "M13.5 8h-11M7 3.5L2.5 8 7 12.5",
    "up": "M8 13.5v-11M3.5 7L8 2.5 12.5 7",
    "reload": "M13 8a5 5 0 1 1-1.5-3.5M13 1.5v3.5h-3.5",
    "edit": _GEAR,
    "go": "M13.5 3v5.5h-11M6 5L2.5 8.5 6 12",
}


def kind_picture(kind: Kind, color: str, ratio: float) -> QPixmap:
    """Draw the picture of a kind.

    Parameters
    ----------
    kind : Kind
        What is to be told.
    color : str
        ``#rrggbb``.
    ratio : float
        How many pixels of the screen one of ours is.
    """
    return _drawn(_PATHS[kind], color, ratio)


def sign(name: str, color: str, ratio: float = 2.0) -> QIcon:
    """Draw the sign of a button: back, up, reload, edit or go."""
    return QIcon(_drawn(_SIGNS[name], color, ratio))


@lru_cache(maxsize=256)
def _drawn(path: str, color: str, ratio: float) -> QPixmap:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">'
        f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.3" '
        'stroke-linecap="round" stroke-linejoin="round"/></svg>'
    )
    side = round(SIDE * ratio)
    picture = QPixmap(side, side)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(0, 0, side, side))
    painter.end()
    picture.setDevicePixelRatio(ratio)
    return picture
