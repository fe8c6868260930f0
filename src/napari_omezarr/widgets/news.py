"""What one part of the window has done, for whoever shows it."""

from __future__ import annotations

from functools import cache

from qtpy.QtCore import QObject, Signal


class News(QObject):
    """Is told of writing, and tells it on; all in the GUI thread."""

    written = Signal(str)
    """The address, without secrets, of an image or a copy that was written."""


@cache
def news() -> News:
    """Give the one for this process."""
    return News()
