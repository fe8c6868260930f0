"""Opens and closes forms, breaks and mends images, while another thread collects.

Started as a process of its own, with the number of rounds: what goes wrong here ends
the process, or freezes it.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import TYPE_CHECKING

import zarr
from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtCore import QEvent, QEventLoop, QTimer
from qtpy.QtWidgets import QApplication, QDialog, QWidget

from napari_omezarr.display import Engine, attach, use_engine, wait_until_sharp
from napari_omezarr.errors import DamagedDataError
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.pyramid import ArrayPixels, to_dask
from napari_omezarr.samples import write_cells
from napari_omezarr.store import open_store, run
from napari_omezarr.widgets.browser.browser import Browser
from napari_omezarr.widgets.browser.connection_editor import ConnectionEditor
from napari_omezarr.widgets.browser.forms import (
    CopyForm,
    DeleteForm,
    OpenForm,
    TableForm,
    find_choices,
    folder_form,
    rename_form,
)
from napari_omezarr.widgets.open_dialog import OpenDialog
from napari_omezarr.widgets.plate_navigator import PlateNavigator
from napari_omezarr.widgets.plate_writer import PlateWriter
from napari_omezarr.widgets.qt_async import pending
from napari_omezarr.widgets.region_dock import RegionDock
from napari_omezarr.widgets.roi_dock import RoiDock
from napari_omezarr.widgets.save_dock import SaveDock
from napari_omezarr.widgets.show_again import ShowAgainForm
from quick_retries import PIXELS, write_image

if TYPE_CHECKING:
    from collections.abc import Callable

    Forms = dict[str, Callable[[QWidget], QWidget]]

NAMES = (
    "connection", "open", "copy", "table", "folder", "rename", "delete", "dialog",
    "show differently", "browser", "region", "save", "plate", "write plate",
    "regions of interest",
)  # fmt: skip
"""Of all forms: the dialogs, then the docks."""
PAUSE = 0.01
"""Seconds between collections: several in the life of each form, and time for forms."""
SURELY_MENDED = 4
"""Rounds at first in which an image is broken and mended, then one in as many."""
STARTED = 20
"""Milliseconds for which a form is open: what it asks for is under way by then."""


def every_form(image: Path) -> Forms:
    """How each form is made, with the widget that it belongs to."""
    place = Location.parse(str(image))
    choices = find_choices(place)
    model = ViewerModel()
    for data in read_layers(image):
        model.add_layer(Layer.create(*data))

    def parented(form: QWidget, owner: QWidget) -> QWidget:
        form.setParent(owner)
        return form

    return {
        "connection": lambda owner: ConnectionEditor(parent=owner),
        "open": lambda owner: OpenForm(choices, owner),
        "copy": lambda owner: CopyForm(Location.parse, parent=owner),
        "table": lambda owner: TableForm(model, Location.parse, parent=owner),
        "folder": lambda owner: folder_form(place.parent, owner),
        "rename": lambda owner: rename_form(place, frozenset(), owner),
        "delete": lambda owner: DeleteForm([place], frozenset(), owner),
        "dialog": lambda owner: OpenDialog(model, owner),
        "show differently": lambda owner: ShowAgainForm(model, model.layers[0], owner),
        "browser": lambda owner: Browser(model, owner),
        "region": lambda owner: parented(RegionDock(model), owner),
        "save": lambda owner: parented(SaveDock(model), owner),
        "plate": lambda owner: parented(PlateNavigator(model), owner),
        "write plate": lambda owner: parented(PlateWriter(model), owner),
        "regions of interest": lambda owner: parented(RoiDock(model), owner),
    }


def run_events(milliseconds: int) -> None:
    """Let Qt do what is to be done, and delete what is to be deleted."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def open_and_close(make: Callable[[QWidget], QWidget], owner: QWidget) -> None:
    """Show a form, and close it while what it asked for may be under way."""
    form = make(owner)
    form.show()
    run_events(STARTED)
    if isinstance(form, QDialog):
        form.reject()
    else:
        form.close()
        form.deleteLater()
    del form
    run_events(1)


def wait_for_nothing_pending() -> None:
    """Wait until what was under way has ended."""
    while pending:
        run_events(10)


def break_and_mend(folder: Path) -> None:
    """Show an image with a damaged chunk, and again when it is whole.

    What went wrong is let go of by the thread that brings the chunk.
    """
    engine = Engine()
    use_engine(engine)
    chunk = write_image(folder / "image.zarr") / "0" / "c" / "0" / "0"
    whole = chunk.read_bytes()
    chunk.write_bytes(b"damaged")
    place = Location.parse(str(folder / "image.zarr" / "0"))
    pixels = ArrayPixels(run(zarr.AsyncArray.open(open_store(place))), str(place), 8)
    layer = Image(to_dask(pixels), contrast_limits=(0, 64), visible=False)
    attach(layer, [pixels])
    layer.visible = True
    with suppress(DamagedDataError):
        wait_until_sharp(layer)
        sys.exit("a damaged chunk was shown")
    chunk.write_bytes(whole)
    engine.fetcher.retry()
    if not wait_until_sharp(layer) or layer.get_value((0, 0)) != PIXELS[0, 0]:
        sys.exit("a chunk that was mended was not shown")


def main(rounds: int) -> None:
    application = QApplication.instance() or QApplication([])
    owner = QWidget()
    owner.show()
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "cells.ome.zarr"
        write_cells(image)
        forms = every_form(image)

        unseen = Event()

        def allocate() -> None:
            while True:
                held = [{"a": [number]} for number in range(2000)]
                gc.collect()
                # What is there stays: looked at each time, it would take all the time.
                if unseen.is_set():
                    gc.freeze()
                    unseen.clear()
                sleep(PAUSE if held else 0)

        parent = os.getppid()
        Thread(target=allocate, daemon=True).start()
        for number in range(rounds):
            # Not while a form is open: it is to be found when it is closed.
            unseen.set()
            while unseen.is_set():
                run_events(1)
            for make in forms.values():
                open_and_close(make, owner)
            if os.getppid() != parent:
                sys.exit("nobody waits any more")
            # As long as six forms, so that a busy machine is done with 200 in time.
            if number < SURELY_MENDED or not number % SURELY_MENDED:
                break_and_mend(Path(folder))
        wait_for_nothing_pending()
    assert application is not None
    sys.stdout.write("alive\n")
    sys.stdout.flush()
    # The thread would meet a Qt that is taken apart.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
