"""Make the pictures of the browser's panel and forms from the running program.

There must be a display (``scripts/headless`` makes one)::

    scripts/headless .venv/bin/python scripts/pictures_panel.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

# First, for it sets what napari must find.
from pictures import FOLDER, GAP, until, wait
from pictures_browser import IMAGE, publish, settle

# isort: split

import napari
import numpy as np
from qtpy.QtGui import QImage, QPainter

from napari_omezarr.connections import Connection, ConnectionFile, Profile
from napari_omezarr.demo.server import S3Server
from napari_omezarr.location import Location
from napari_omezarr.user_files import (
    CACHE_VARIABLE,
    FOLDER_VARIABLE,
    configuration_folder,
)
from napari_omezarr.widgets.browser.connection_editor import ConnectionEditor
from napari_omezarr.widgets.browser.forms import CopyForm, TableForm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QWidget

    from napari_omezarr.widgets.browser.browser import Browser

WIDTH, HEIGHT = 330, 420
SECRET = "no real secret"


def main() -> None:
    """Make both pictures: the tabs of the panel, dark; the forms, light."""
    with tempfile.TemporaryDirectory() as folder, S3Server() as server:
        os.environ |= {FOLDER_VARIABLE: folder, CACHE_VARIABLE: folder}
        publish(server, Path(folder) / "study")
        lab = Profile("Lab MinIO", endpoint=server.endpoint, sign_in="anonymous")
        ConnectionFile().save(Connection(lab))
        viewer = napari.Viewer(show=False)
        viewer.show()
        _, dock = viewer.window.add_plugin_dock_widget(
            "napari-omezarr", "OME-Zarr browser"
        )
        until(lambda: dock.browser)
        browser = dock.browser
        browser.navigation.go_to_pasted(
            f"s3+{server.endpoint}/public/study|anonymous:true"
        )
        settle(browser)
        browser.tree.choose(browser.tree.rows.find(IMAGE))
        settle(browser)
        beside(tabs(browser), "browser-panel.png")
        viewer.theme = "light"
        beside(forms(viewer, browser, lab), "browser-forms.png")
        viewer.close()


def tabs(browser: Browser) -> list[QImage]:
    """Show each tab of the panel."""
    panel, made = browser.details, []
    style = browser.window().styleSheet()
    panel.setParent(None)
    panel.setStyleSheet(style)
    panel.resize(WIDTH, HEIGHT)
    panel.show()
    for number in range(panel.tabs.count()):
        panel.tabs.setCurrentIndex(number)
        if panel.chunk.isVisible():
            panel.chunk.show_button.click()
        settle(browser)
        made.append(grabbed(panel))
    panel.setParent(browser)
    return made


def forms(viewer: napari.Viewer, browser: Browser, lab: Profile) -> list[QImage]:
    """Show the editor after a test, the form of a table, and that of a copy."""
    editor = ConnectionEditor(Connection(lab), stored=True, parent=browser)
    editor.form.start.value = f"public/study/{IMAGE}"
    editor.show()
    until(lambda: not editor.busy)
    editor.test()
    until(lambda: not editor.busy)
    # Typed after the test, for a server that nobody has to sign in at.
    editor.form.sign_in.value = "keys"
    editor.form.access_key.value = "lab-key"
    editor.form.secret.value = SECRET
    source = Location.parse(f"s3://lab-data/{IMAGE}|profile:Lab MinIO")
    copy = CopyForm(browser.navigation.locate, source=source, parent=browser)
    copy.target.line.set_address(f"/data/{IMAGE}")
    table = TableForm(viewer, browser.navigation.locate, parent=browser)
    rows = "label_id,area,phase\n" + "".join(
        f"{n},{900 - 7 * n},G1\n" for n in range(1, 9)
    )
    file = configuration_folder() / "nuclei.csv"
    file.write_text(rows)
    table.place.take_chosen(str(file))
    table.look_or_add()
    until(lambda: not table.busy)
    # The folder is another at each run; a change of the line forgets the table.
    table.place.line.blockSignals(True)
    table.place.line.setText("/data/nuclei.csv")
    made = []
    for form, height in ((editor, HEIGHT + 80), (copy, 180), (table, 380)):
        form.show()
        form.resize(WIDTH, height)
        wait(0.5)
        made.append(grabbed(form))
        form.close()
    return made


def grabbed(widget: QWidget) -> QImage:
    """Give what a widget shows."""
    return widget.grab().toImage()


def beside(images: Sequence[QImage], name: str) -> None:
    """Write pictures beside each other."""
    width = sum(image.width() for image in images) + GAP * (len(images) - 1)
    height = int(np.max([image.height() for image in images]))
    whole = QImage(width, height, QImage.Format.Format_RGB32)
    whole.fill(0xFFFFFF)
    painter, left = QPainter(whole), 0
    for image in images:
        painter.drawImage(left, 0, image)
        left += image.width() + GAP
    painter.end()
    whole.save(str(FOLDER / name))


if __name__ == "__main__":
    main()
