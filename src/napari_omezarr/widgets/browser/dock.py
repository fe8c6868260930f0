"""What napari docks: a browser, as soon as what it needs is imported."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout

from napari_omezarr.widgets.docks import Dock
from napari_omezarr.widgets.qt_async import Task

if TYPE_CHECKING:
    from concurrent.futures import Future

    import napari.viewer

    from .browser import Browser

# What takes a second or more to import, the first time.
CORE = (
    "napari_omezarr.browsing",
    "napari_omezarr.layers",
    "napari_omezarr.store.object_store",
)

_EXPANDING = (QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)


class BrowserDock(Dock):
    """The dock "OME-Zarr browser"; it has no browser while the core is imported."""

    tab = "Browser (OME-Zarr)"

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.browser: Browser | None = None
        self._waiting = QLabel("Starting …", self)
        # Else napari puts empty room below the browser.
        self._waiting.setSizePolicy(*_EXPANDING)
        self.setMinimumWidth(300)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._waiting)
        if all(name in sys.modules for name in CORE):
            self._build()
            return
        Task(_import_core).start(self._begin, self)

    def _begin(self, outcome: Future[None]) -> None:
        outcome.result()
        self._build()

    def _build(self) -> None:
        from .browser import Browser

        self.browser = Browser(self._viewer, self)
        self.browser.setSizePolicy(*_EXPANDING)
        layout = self.layout()
        if layout is not None:
            layout.replaceWidget(self._waiting, self.browser)
        self._waiting.hide()


def _import_core() -> None:
    for name in CORE:
        import_module(name)
