"""What is in this folder needs napari and a Qt binding, and says so to pytest.

Where either is missing the folder is left out whole, so that the other tests can be
run in an environment without them: ``make test-core``.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytestqt.qtbot import QtBot

# Read when napari is imported: the tests have no settings file, and write none.
os.environ["NAPARI_CONFIG"] = ""

HERE = Path(__file__).parent
BINDINGS = ("PyQt6", "PySide6")

if not find_spec("napari") or not any(find_spec(name) for name in BINDINGS):
    collect_ignore_glob = ["test_*.py"]


# First, because pytest's own hook then selects by marker.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gui)


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any], qtbot: QtBot) -> Iterator[Any]:
    """A viewer; the test is over when what it has opened is."""
    from napari_omezarr.widgets.qt_async import running

    yield make_napari_viewer()
    qtbot.waitUntil(lambda: not running, timeout=30_000)
