"""Make the pictures of the tour that no other page has, from the running program.

There must be a display (``scripts/headless`` makes one)::

    scripts/headless .venv/bin/python scripts/pictures_tour.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

# First, for it sets what napari must find.
from pictures import COLOURS, keep, loaded_region, until, wait
from pictures_browser import IMAGE, choose, publish, resize, settle

# isort: split

import napari
import numpy as np
from qtpy.QtCore import QPoint
from qtpy.QtGui import QGuiApplication, QImage

from napari_omezarr.connections import ConnectionFile, demo_connection
from napari_omezarr.demo.server import OWNER, S3Server
from napari_omezarr.display import wait_until_sharp
from napari_omezarr.samples import write_cells
from napari_omezarr.user_files import CACHE_VARIABLE, FOLDER_VARIABLE
from napari_omezarr.widgets.browser.connection_editor import ConnectionEditor
from napari_omezarr.widgets.browser.forms import OpenForm
from napari_omezarr.widgets.open_dialog import show_open_dialog
from napari_omezarr.widgets.sessions import read_session, write_session

if TYPE_CHECKING:
    from qtpy.QtWidgets import QMenu, QWidget

SIZE = (1250, 820)


def main() -> None:
    """Paste, sign in, choose what is opened, paint, and bring all of it back."""
    with tempfile.TemporaryDirectory() as folder, S3Server() as server:
        os.environ |= {FOLDER_VARIABLE: folder, CACHE_VARIABLE: folder}
        publish(server, Path(folder) / "study")
        write_cells(Path(folder) / "lab" / "embryo.ome.zarr", shape=(8, 256, 256))
        server.upload(Path(folder) / "lab", "private/2026")
        paste(server)
        with_browser(server)
        paint(Path(folder) / "lab" / "embryo.ome.zarr")
        session(server, Path(folder) / "wednesday.omezarr.json")


def window() -> napari.Viewer:
    """Show a viewer."""
    viewer = napari.Viewer(show=False)
    viewer.window.resize(*SIZE)
    viewer.show()
    wait(0.5)
    return viewer


def paste(server: S3Server) -> None:
    """Show the dialog with an address in it."""
    ConnectionFile().save(demo_connection(server.endpoint))
    viewer = window()
    viewer.open(f"{server.endpoint}/public/study/{IMAGE}", plugin="napari-omezarr")
    until(lambda: len(viewer.layers) == len(COLOURS) + 1)
    viewer.layers.clear()
    dialog = show_open_dialog(viewer)
    dialog.line.set_address(f"{server.endpoint}/public/study/{IMAGE}")
    wait(0.5)
    keep("paste.png", on_screen(main_window(viewer)))
    dialog.close()
    viewer.close()


def with_browser(server: S3Server) -> None:
    """Show a refusal with what helps against it, and the form of an image."""
    viewer = window()
    dock, widget = viewer.window.add_plugin_dock_widget(
        "napari-omezarr", "OME-Zarr browser"
    )
    until(lambda: widget.browser)
    browser = widget.browser
    resize(dock, 400)
    browser.navigation.go_to_pasted(f"s3+{server.endpoint}/private/2026")
    until(lambda: browser.errors.isVisible())
    settle(browser)
    browser.errors.button.click()
    (editor,) = browser.findChildren(ConnectionEditor)
    until(lambda: not editor.busy)
    editor.form.name.value = "Lab MinIO"
    editor.form.access_key.value = OWNER.key
    editor.form.secret.value = OWNER.secret
    editor.test()
    until(lambda: not editor.busy)
    editor.resize(420, 570)
    place(editor, viewer, 265, 40)
    keep("sign-in.png", on_screen(main_window(viewer)))
    editor.save()
    until(lambda: not browser.errors.isVisible())
    settle(browser)
    choose(browser, "embryo.ome.zarr")
    browser.choose_part(browser.tree.entry.location)
    until(lambda: browser.findChildren(OpenForm))
    (form,) = browser.findChildren(OpenForm)
    form.level.setCurrentIndex(1)
    place(form, viewer, 265, 120)
    keep("open-choices.png", on_screen(main_window(viewer)))
    form.close()
    browser.stop()
    viewer.close()


def paint(image: Path) -> None:
    """Show labels of a region with something painted into them."""
    viewer = window()
    viewer.open(str(image), plugin="napari-omezarr")
    until(lambda: len(viewer.layers) == len(COLOURS) + 1)
    for layer in viewer.layers:
        wait_until_sharp(layer)
    _, layer = loaded_region(viewer)
    layer.contour = 2
    viewer.layers.selection = {layer}
    layer.mode, layer.brush_size = "paint", 14
    plane = int(viewer.dims.current_step[0])
    layer.selected_label = int(layer.data[plane, 100:156, 100:156].max())
    # A nucleus that is larger than it was found to be.
    around = np.argwhere(layer.data[plane] == layer.selected_label)
    for y, x in around[:: max(1, len(around) // 60)]:
        layer.paint((plane, int(y), int(x)), layer.selected_label)
    wait(1)
    keep("paint.png", viewer.screenshot(canvas_only=False, flash=False))
    viewer.close()


def session(server: S3Server, file: Path) -> None:
    """Show what a session brought back, and where that is found."""
    viewer = window()
    viewer.open(f"{server.endpoint}/public/study/{IMAGE}", plugin="napari-omezarr")
    until(lambda: len(viewer.layers) == len(COLOURS) + 1)
    nuclei, membranes, labels = viewer.layers
    nuclei.colormap, membranes.colormap, labels.contour = "yellow", "blue", 3
    membranes.gamma = 0.7
    middle = nuclei.extent.world.mean(axis=0)
    viewer.scene.camera.center, viewer.scene.camera.zoom = middle, 14
    write_session(viewer, str(file))
    viewer.layers.clear()
    read_session(viewer, str(file))
    until(lambda: len(viewer.layers) == len(COLOURS) + 1)
    for layer in viewer.layers:
        wait_until_sharp(layer)
    wait(6)  # until the notification has gone
    opened = unfolded(viewer, "IO Utilities", "OME-Zarr")
    keep("session.png", on_screen(main_window(viewer)))
    for menu in reversed(opened):
        menu.close()
    viewer.close()


def unfolded(viewer: napari.Viewer, *names: str) -> list[QMenu]:
    """Unfold menus below File, one out of the other."""
    menu = viewer.window.file_menu
    bar = viewer.window.main_menu
    menu.popup(bar.mapToGlobal(bar.actionGeometry(menu.menuAction()).bottomLeft()))
    wait(0.3)
    opened = [menu]
    for name in names:
        action = next(a for a in menu.actions() if a.text().replace("&", "") == name)
        menu.setActiveAction(action)
        corner = menu.mapToGlobal(menu.actionGeometry(action).topRight())
        menu = action.menu()
        menu.popup(corner)
        wait(0.3)
        opened.append(menu)
    return opened


def main_window(viewer: napari.Viewer) -> QWidget:
    """Give the window of a viewer."""
    return viewer.window._qt_window


def place(form: QWidget, viewer: napari.Viewer, left: int, top: int) -> None:
    """Put a form over the window."""
    form.move(main_window(viewer).mapToGlobal(QPoint(left, top)))
    form.raise_()
    wait(0.5)


def on_screen(widget: QWidget) -> np.ndarray:
    """Give what the screen shows where a window is, with what lies over it."""
    box = widget.frameGeometry()
    screen: Any = QGuiApplication.primaryScreen()
    shot = screen.grabWindow(0, box.x(), box.y(), box.width(), box.height())
    return pixels(shot.toImage())


def pixels(image: QImage) -> np.ndarray:
    """Give a picture of Qt as y, x, RGB."""
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    bits = image.constBits()
    if hasattr(bits, "setsize"):
        bits.setsize(image.sizeInBytes())
    rows = np.frombuffer(bits, np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


if __name__ == "__main__":
    main()
