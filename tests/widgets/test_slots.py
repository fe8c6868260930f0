"""Exceptions in what Qt calls: told in a sentence, and napari lives on."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import napari_omezarr
from child_process import child_process
from gui_steps import until
from napari_omezarr.errors import OMEZarrError, UnexpectedError
from napari_omezarr.widgets.qt_async import Task, failure

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QApplication

SLOTS = """
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
application = QApplication([])
from napari_omezarr.errors import OMEZarrError
import napari_omezarr.widgets.qt_async

def sentence():
    raise OMEZarrError("It is gone.", action="Look elsewhere.")

def bug():
    QTimer.singleShot(0, lambda: print("alive", flush=True))
    QTimer.singleShot(1, application.quit)
    raise ZeroDivisionError("of ours")

QTimer.singleShot(0, sentence)
QTimer.singleShot(1, bug)
application.exec()
"""


def test_an_exception_in_a_slot_ends_nothing_before_napari_runs() -> None:
    # In a process of its own: PyQt ends it, and pytest-qt would keep it from that.
    command = [sys.executable, "-c", SLOTS]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with child_process(command, **pipes) as process:
        said, told = process.communicate()
        assert process.returncode == 0, told
    assert "alive" in said
    assert "It is gone. Look elsewhere." in said + told
    assert "ZeroDivisionError" in told
    sentences = told[: told.index("ZeroDivisionError")]
    assert "OMEZarrError" not in sentences


def _raise(error: BaseException) -> None:
    raise error


def test_a_task_ends_in_an_error_of_ours(qapp: QApplication, qtbot: QtBot) -> None:
    outcomes: list[OMEZarrError | None] = []
    for error in (OMEZarrError("known"), KeyError("x")):
        task = Task(lambda error=error: _raise(error))
        task.start(lambda outcome: outcomes.append(failure(outcome)))
    until(qtbot, lambda: len(outcomes) == 2)
    unknown, known = sorted(outcomes, key=str)
    assert type(unknown) is UnexpectedError
    assert isinstance(unknown.__cause__, KeyError)
    assert str(known) == "known"


def test_giving_up_is_no_error(qapp: QApplication) -> None:
    task = Task(lambda: _raise(CancelledError()))
    task.start()
    with pytest.raises(CancelledError):
        task.future.result(60)


def test_signals_carry_objects_and_no_containers() -> None:
    """PySide makes a map of text of a dict, and drops the call where it cannot."""
    root = Path(napari_omezarr.__file__).parent
    found = [
        f"{file.name}: {signal[0]}"
        for file in root.rglob("*.py")
        for signal in re.finditer(
            r"Signal\([^)]*\b(dict|list|tuple|set)\b", file.read_text()
        )
    ]
    assert not found


def test_what_a_window_begins_with_is_there_before_what_reads() -> None:
    """The GUI thread imports it; the second for zarr and dask passes in another."""
    first = ["widgets.qt_async", "widgets.open_dialog", "widgets.browser.dock"]
    modules = ", ".join(f"napari_omezarr.{name}" for name in first)
    code = f"import sys, napari, {modules}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, check=True, timeout=120)
    found = set(run.stdout.decode().split())
    assert not {"zarr", "dask.array", "aiohttp", "botocore"} & found
