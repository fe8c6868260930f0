"""The head of the panel: name, facts and address, with a small picture beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from napari_omezarr.browsing import Thumbnail, thumbnail
from napari_omezarr.browsing.thumbnails import set_thumbnail_cache
from napari_omezarr.widgets.disk_cache import thumbnail_room
from napari_omezarr.widgets.latest import Latest

from .pane import plain_label
from .raster import picture
from .reply import failure

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari_omezarr.location import Location

SIDE = 96
"""The longer edge of the small picture, in pixels of the screen."""


class Heading(QWidget):
    """Says what is chosen; fetches the small picture.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.

    Attributes
    ----------
    name, facts, address, picture : QLabel
        Its parts.
    """

    failed = Signal(object)
    """An `OMEZarrError`: there is no picture."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name, self.facts, self.address = (plain_label(self) for _ in range(3))
        font = self.name.font()
        font.setBold(True)
        self.name.setFont(font)
        self.picture = QLabel(self)
        self._latest = Latest(self._hear, self)
        layout = QGridLayout(self)
        layout.setContentsMargins(4, 4, 4, 2)
        layout.setColumnStretch(0, 1)
        top = Qt.AlignmentFlag.AlignTop
        for row, label in enumerate((self.name, self.facts, self.address)):
            layout.addWidget(label, row, 0, top)
        layout.addWidget(self.picture, 0, 1, 3, 1, top)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.clear_picture()

    @property
    def busy(self) -> bool:
        """Whether the picture is to come."""
        return self._latest.busy

    def clear_picture(self) -> None:
        """Show no picture, and want none."""
        self._latest.forget()
        self.picture.clear()
        self.picture.hide()

    def fetch_picture(self, location: Location) -> None:
        """Show a small picture of an image, as soon as there is one."""
        self.clear_picture()
        set_thumbnail_cache(thumbnail_room())
        self._latest.ask(lambda: lambda: thumbnail(location))

    def _hear(self, outcome: Future[Thumbnail]) -> None:
        error = failure(outcome)
        if error is not None:
            self.failed.emit(error)
            return
        found = outcome.result()
        self.picture.setToolTip(found.sentence)
        self.picture.setAccessibleName(found.sentence)
        if found.pixels is not None:
            keep = Qt.AspectRatioMode.KeepAspectRatio
            smooth = Qt.TransformationMode.SmoothTransformation
            pixels = picture(found.pixels)
            self.picture.setPixmap(pixels.scaled(SIDE, SIDE, keep, smooth))
            self.picture.show()
