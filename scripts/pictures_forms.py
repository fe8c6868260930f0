"""Make the pictures of every form from the running program: dark, light, 300 pixels.

There must be a display (``scripts/headless`` makes one)::

    PYTHONPATH=tests scripts/headless .venv/bin/python scripts/pictures_forms.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

# First, for it sets what napari must find.
from pictures import GAP, keep, until, wait
from pictures_tour import pixels

# isort: split

import napari
import numpy as np
from napari.qt import get_stylesheet
from qtpy.QtWidgets import QScrollArea, QWidget

from closing_forms import NAMES, every_form
from napari_omezarr.samples import write_cells
from napari_omezarr.user_files import CACHE_VARIABLE, FOLDER_VARIABLE
from napari_omezarr.widgets.fields import Folded
from napari_omezarr.widgets.qt_async import pending

if TYPE_CHECKING:
    from collections.abc import Sequence

SHEETS = {
    "forms-dark.png": ("dark", 420),
    "forms-light.png": ("light", 420),
    "forms-narrow.png": ("dark", 300),
}
"""The theme of each, and how wide forms are."""
HEIGHT, SHEET_HEIGHT = 700, 1500


def main() -> None:
    """Make a sheet for each theme, and one of forms as narrow as they may be."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {FOLDER_VARIABLE: folder, CACHE_VARIABLE: folder}
        image = Path(folder) / "study" / "cells.ome.zarr"
        write_cells(image, shape=(8, 128, 128))
        # napari's style is that of its application.
        viewer = napari.Viewer(show=False)
        for name, (theme, width) in SHEETS.items():
            pictures = [shown(image, form, theme, width) for form in NAMES]
            keep(name, packed(pictures))
        viewer.close()


def shown(image: Path, name: str, theme: str, width: int) -> np.ndarray:
    """Show a form unfolded, when what it asks for at first is there."""
    owner = QWidget()
    owner.setStyleSheet(get_stylesheet(theme))
    form = every_form(image)[name](owner)
    owner.resize(width, HEIGHT)
    if not form.isWindow():
        form.resize(width, HEIGHT)
        owner.show()
    form.show()
    settle(form)
    if name == "browser":
        form.navigation.go_to_pasted(str(image.parent))
        settle(form)
        form.tree.choose(form.tree.rows.find(image.name))
    elif name == "connection":
        form.form.sign_in.value = "keys"
    for part in form.findChildren(Folded):
        part.expand(animate=False)
    settle(form)
    # Tall enough for what scrolls in it.
    areas = [area for area in form.findChildren(QScrollArea) if area.isVisible()]
    more = [a.widget().sizeHint().height() - a.sizeHint().height() for a in areas]
    form.resize(width, form.sizeHint().height() + sum(more))
    wait(0.3)
    picture = pixels(form.grab().toImage())
    if picture.shape[1] != width:
        raise SystemExit(f"{name} is {picture.shape[1]} pixels wide, not {width}")
    form.close()
    owner.close()
    owner.deleteLater()
    return picture


def settle(form: Any) -> None:
    """Let a form live until it has what it asks for."""
    wait(0.4)
    until(lambda: not (pending or getattr(form, "busy", False)))
    wait(0.1)


def packed(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Put pictures below and beside each other."""
    width = pictures[0].shape[1]
    columns: list[list[np.ndarray]] = [[]]
    for picture in pictures:
        used = sum(len(each) + GAP for each in columns[-1])
        if used + len(picture) > SHEET_HEIGHT:
            columns.append([])
        columns[-1].append(picture)
    size = SHEET_HEIGHT, len(columns) * (width + GAP) - GAP, 3
    sheet = np.full(size, 128, np.uint8)
    for number, column in enumerate(columns):
        top, left = 0, number * (width + GAP)
        for picture in column:
            sheet[top : top + len(picture), left : left + width] = picture
            top += len(picture) + GAP
    return sheet


if __name__ == "__main__":
    main()
