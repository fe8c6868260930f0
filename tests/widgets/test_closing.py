"""What closed forms leave to Python's collector, which runs in any thread."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING, Any

import pytest
from npe2 import PluginManifest
from qtpy.compat import isalive
from qtpy.QtCore import QObject
from qtpy.QtGui import QOpenGLContext
from qtpy.QtWidgets import QDialog, QWidget

import closing_forms
from child_process import child_process
from closing_forms import NAMES, every_form, open_and_close, wait_for_nothing_pending
from gui_steps import make_none_current
from napari_omezarr import widgets
from napari_omezarr.samples import write_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

ROUNDS = os.environ.get("CLOSING_ROUNDS", "3")
"""How often each form is opened and closed; ``make test-pyside`` takes 200."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "cells.ome.zarr"
    write_cells(path)
    return path


@pytest.fixture
def collector_keeps() -> Iterator[list[object]]:
    """What the collector finds is kept, and nothing that was there before."""
    gc.collect()
    gc.freeze()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.unfreeze()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_qt_is_left_to_the_collector(
    qtbot: QtBot, image: Path, name: str, collector_keeps: list[object]
) -> None:
    make, owner = every_form(image)[name], QWidget()
    qtbot.addWidget(owner)
    owner.show()
    # What is made once and for all.
    open_and_close(make, owner)
    wait_for_nothing_pending()
    gc.collect()
    collector_keeps.clear()
    open_and_close(make, owner)
    wait_for_nothing_pending()
    gc.collect()
    left = [one for one in collector_keeps if isinstance(one, QObject) and isalive(one)]
    assert left == []


def test_every_form_is_among_them(qtbot: QtBot, image: Path) -> None:
    for module in walk_packages(widgets.__path__, f"{widgets.__name__}."):
        import_module(module.name)
    dialogs = {each.__name__ for each in leaves(QDialog) if each is not QDialog}
    contributions = PluginManifest.from_distribution("napari-omezarr").contributions
    shown = {widget.command for widget in contributions.widgets or ()}
    docks = {
        str(command.python_name).rpartition(":")[2]
        for command in contributions.commands or ()
        if command.id in shown
    }
    owner = QWidget()
    qtbot.addWidget(owner)
    made = [make(owner) for make in every_form(image).values()]
    names = {type(form).__name__ for form in made}
    # The dock of the browser only waits until that can be made.
    assert dialogs | docks == names - {"Browser"} | {"BrowserDock"}
    wait_for_nothing_pending()


def test_no_context_of_a_hidden_viewer_stays_current(
    make_napari_viewer: Callable[[], Any],
) -> None:
    make_napari_viewer()
    make_none_current()
    assert QOpenGLContext.currentContext() is None


def leaves(kind: type) -> set[type]:
    """Our classes below one that have none below them."""
    below = [each for each in kind.__subclasses__() if "omezarr" in each.__module__]
    return set().union(*map(leaves, below)) if below else {kind}


@pytest.mark.timeout(2500, method="thread")
def test_forms_live_beside_a_thread_that_collects() -> None:
    command = [sys.executable, closing_forms.__file__, ROUNDS]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with child_process(command, limit=2400, **pipes) as process:
        said, told = process.communicate()
    assert process.returncode == 0, told
    assert said == "alive\n"
