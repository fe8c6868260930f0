"""Markup in every text that others choose: no window, napari's included, renders it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtGui import QTextDocument
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QComboBox,
    QLabel,
    QTableWidget,
)

from browser_steps import go, quiet, row, settled, shown_browser
from gui_steps import PLUGIN, until
from napari_omezarr.connections import Bookmark, Connection, ConnectionFile, Profile
from napari_omezarr.display import wait_until_sharp
from napari_omezarr.errors import MetadataError
from napari_omezarr.location import Location
from napari_omezarr.widgets.browser.forms import CopyForm, TableForm
from napari_omezarr.widgets.open_dialog import OpenDialog
from napari_omezarr.widgets.region_dock import RegionDock
from napari_omezarr.widgets.save_dock import SaveDock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from servers.http import FileServer

NAME = "<img src=x.png><b>bold"


def write_planted(folder: Path, markup: str) -> None:
    """An image all of whose texts are markup."""
    channels = [
        {"label": f"{markup}{number}", "color": "FF0000", "window": window}
        for number, window in enumerate(
            [{"start": 0, "end": 9, "min": 0, "max": 9}] * 2
        )
    ]
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": f"{markup}{n}", "type": "space", "unit": markup} for n in "yx"]
    write_group(folder, "image", axes, markup, {"omero": {"channels": channels}})
    label = {"properties": [{"label-value": 1, markup: markup}], "version": "0.4"}
    write_group(
        folder / "labels" / NAME, "labels", axes[1:], markup, {"image-label": label}
    )
    write(folder / "labels" / ".zattrs", {"labels": [NAME, f"{NAME} gone"]})
    write(folder / "labels" / ".zgroup", {"zarr_format": 2})


def write_group(
    folder: Path, kind: str, axes: list[Any], markup: str, more: dict[str, Any]
) -> None:
    shape = (2, 16, 16)[-len(axes) :]
    array = np.ones(shape, "u2" if kind == "image" else "i4")
    zarr.create_array(
        folder / markup.replace("/", "_")[:8], data=array, zarr_format=2, chunks=shape
    )
    dataset = {
        "path": markup.replace("/", "_")[:8],
        "coordinateTransformations": [{"type": "scale", "scale": [1] * len(shape)}],
    }
    multiscale = {"name": markup, "type": markup, "version": "0.4", "axes": axes}
    document = {"multiscales": [multiscale | {"datasets": [dataset]}], **more}
    document |= {"description": markup, "license": markup, "creator": {"name": markup}}
    write(folder / ".zattrs", document)
    write(folder / ".zgroup", {"zarr_format": 2})


def write(file: Path, document: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document), encoding="utf8")


def texts() -> Iterator[tuple[str, str, Qt.TextFormat]]:
    """All that widgets show which Qt may render: where, what, and how."""
    auto = Qt.TextFormat.AutoText
    for widget in QApplication.allWidgets():
        where = f"{type(widget).__module__}.{type(widget).__name__}"
        yield f"tooltip of {where}", widget.toolTip(), auto
        for action in widget.actions():
            yield f"action of {where}", action.toolTip(), auto
        if isinstance(widget, QLabel):
            yield where, widget.text(), widget.textFormat()
        views = isinstance(widget, (QAbstractItemView, QComboBox))
        if views and widget.model() is not None:
            for index in below(widget.model(), QModelIndex(), 3):
                tip = widget.model().data(index, Qt.ItemDataRole.ToolTipRole)
                yield f"tooltip in {where}", tip or "", auto
        if isinstance(widget, QTableWidget):
            for column in range(widget.columnCount()):
                header = widget.horizontalHeaderItem(column)
                yield where, header.toolTip() if header else "", auto


def below(model: Any, parent: QModelIndex, depth: int) -> Iterator[QModelIndex]:
    for number in range(min(model.rowCount(parent), 20)):
        index = model.index(number, 0, parent)
        yield index
        if depth:
            yield from below(model, index, depth - 1)


class Watch:
    """What was looked at, and what was rendered of it."""

    def __init__(self) -> None:
        self.planted = 0
        self.rendered: set[str] = set()

    def look(self) -> None:
        QApplication.processEvents()
        for where, text, how in texts():
            self.planted += "img src" in text
            if "<" not in text and "&" not in text:
                continue
            if how == Qt.TextFormat.AutoText and not Qt.mightBeRichText(text):
                continue
            if how == Qt.TextFormat.PlainText:
                continue
            document = QTextDocument()
            document.setHtml(text)
            # A picture stands there as one character, and is asked for when drawn.
            shown = document.toPlainText()
            if "\ufffc" in shown or ("bold" in text and "<b>bold" not in shown):
                self.rendered.add(f"{where}: {text[:80]}")


def test_no_text_of_others_is_rendered(
    viewer: Any, qtbot: QtBot, tmp_path: Path, http_server: FileServer
) -> None:
    markup = f'<img src="{http_server.url}/planted.png"><b>bold'
    markup += f"<a href='file:{tmp_path}'><img src='{tmp_path}/x.png'>"
    data = tmp_path / "data"
    write_planted(data / f"{NAME}.zarr", markup)
    (data / f"{NAME}.broken.zarr").mkdir()
    (data / f"{NAME}.broken.zarr" / ".zattrs").write_text("{", encoding="utf8")
    (data / f"{NAME}.csv").write_text(f"label,{NAME}\n1,{NAME}\n", encoding="utf8")
    marks = (Bookmark(NAME, str(data), markup),)
    ConnectionFile().save(Connection(Profile(NAME, endpoint=http_server.url), marks))
    watch = Watch()

    viewer.open(str(data / f"{NAME}.zarr"), plugin=PLUGIN)
    until(qtbot, lambda: len(viewer.layers) == 3)
    for layer in viewer.layers:
        assert wait_until_sharp(layer)
        viewer.layers.selection = {layer}
        viewer.status = layer.get_status((0, 0))
        watch.look()
    viewer.status = "; ".join(layer.name for layer in viewer.layers)
    watch.look()

    browser = shown_browser(qtbot, viewer)
    quiet(qtbot)
    watch.look()
    go(qtbot, browser, str(data))
    for name in (f"{NAME}.zarr", f"{NAME}.broken.zarr"):
        index = row(browser, name)
        browser.tree.setCurrentIndex(index)
        browser.tree.expand(index)
        settled(qtbot, browser)
        for tab in range(browser.details.tabs.count()):
            browser.details.tabs.setCurrentIndex(tab)
            quiet(qtbot)
        watch.look()
    browser.choose_part(Location.parse(str(data / f"{NAME}.zarr")))
    quiet(qtbot)
    browser.errors.show_error(MetadataError(NAME, where=NAME, url=NAME))
    browser.status.show_state(busy=True, opening=[NAME], spent=(1, 1))
    watch.look()

    place = Location.parse(str(data / f"{NAME}.csv"))
    forms = [
        TableForm(viewer, Location.parse, place=place, parent=browser),
        CopyForm(Location.parse, source=place, parent=browser),
        OpenDialog(viewer),
        SaveDock(viewer),
        RegionDock(viewer),
    ]
    for form in forms:
        qtbot.addWidget(form)
        form.show()
        quiet(qtbot)
    forms[0].look_or_add()
    until(qtbot, lambda: not forms[0].busy)
    watch.look()
    assert not watch.rendered
    assert watch.planted > 20
    assert not [r.path for r in http_server.requests if "planted" in r.path]
