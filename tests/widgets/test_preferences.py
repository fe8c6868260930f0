"""The preferred reader: what napari's chooser needs to stay away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.plugins.utils import get_preferred_reader
from napari.settings import get_settings
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QApplication, QDialog

from gui_steps import drop, every_turn, until
from napari_omezarr import _hooks
from napari_omezarr.samples import write_cells
from napari_omezarr.widgets import preferences
from napari_omezarr.widgets.preferences import PATTERNS, PLUGIN, preferred, restored
from servers.faults import Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from servers.http import FileServer

CHOICES = st.dictionaries(
    st.sampled_from(["*", "*.tif", "/data/*.zarr", *PATTERNS]),
    st.sampled_from(["napari", "napari-ome-zarr", PLUGIN]),
)


@pytest.fixture(autouse=True)
def choices() -> Iterator[Any]:
    """napari's reader choices, empty again after the test."""
    plugins = get_settings().plugins
    plugins.extension2reader = {}
    yield plugins
    plugins.extension2reader = {}


@pytest.fixture
def choosers() -> Iterator[list[str]]:
    """The labels of napari's "Choose reader" dialogs, which are closed as they come."""
    seen: list[str] = []

    def refuse() -> None:
        for widget in QApplication.topLevelWidgets():
            if isinstance(widget, QDialog) and widget.objectName() == "Choose reader":
                seen.append(widget.windowTitle())
                widget.reject()

    timer = every_turn(refuse)
    yield seen
    timer.stop()


@pytest.fixture
def cells(tmp_path: Path, http_server: FileServer) -> str:
    write_cells(tmp_path / "cells.ome.zarr", shape=(2, 64, 64))
    return f"{http_server.url}/cells.ome.zarr"


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/cells.zarr",
        "https://host/cells.ome.zarr",
        "https://host/cells.zarr/",
        "https://host/cells.zarr?X-Amz-Signature=ab/cd",
        "https://host/cells.zarr/labels/nuclei",
        "https://host/cells.ome.zarr.zip",
        "https://host/cells.zarr.zip?sig=x",
        "https://host/cells.ozx",
        "https://host/cells.ozx?sig=x",
        "cells.zarr",
    ],
)
def test_napari_finds_the_preference_for_every_address(address: str) -> None:
    assert get_preferred_reader(address) is None
    preferences.prefer()
    assert get_preferred_reader(address) == PLUGIN


@pytest.mark.parametrize("inside", ["", "labels/nuclei"])
def test_napari_finds_it_for_local_folders(tmp_path: Path, inside: str) -> None:
    folder = tmp_path / "cells.zarr" / inside
    folder.mkdir(parents=True)
    preferences.prefer()
    assert get_preferred_reader(str(folder)) == PLUGIN


@pytest.mark.parametrize("address", ["image.tif", "https://host/image.tif", "a.zip"])
def test_other_files_are_left_alone(address: str) -> None:
    preferences.prefer()
    assert get_preferred_reader(address) is None


@given(CHOICES)
def test_the_choices_of_others_stay(before: dict[str, str]) -> None:
    after = preferred(before)
    others = {p: r for p, r in before.items() if p not in PATTERNS}
    if others.get("*") == PLUGIN:
        del others["*"]
    assert {p: r for p, r in after.items() if p not in PATTERNS} == others
    assert [after[pattern] for pattern in PATTERNS] == [PLUGIN] * len(PATTERNS)
    assert preferred(after) == after


@given(CHOICES)
def test_what_was_replaced_comes_back(before: dict[str, str]) -> None:
    replaced = {p: r for p, r in before.items() if p in PATTERNS and r != PLUGIN}
    after = restored(preferred(before), replaced)
    assert after == {p: r for p, r in before.items() if r != PLUGIN}


def test_a_catch_all_of_another_reader_does_not_win(choices: Any) -> None:
    choices.extension2reader = {"*": "napari"}
    preferences.prefer()
    assert get_preferred_reader("https://host/cells.zarr") == PLUGIN
    assert get_preferred_reader("image.tif") == "napari"


def test_undoing_gives_back_what_was_there(choices: Any) -> None:
    choices.extension2reader = {"*.zarr": "napari-ome-zarr", "*.tif": "napari"}
    preferences.prefer()
    preferences.prefer()
    notification_manager.records.clear()
    preferences.stop_preferring()
    assert choices.extension2reader == {"*.zarr": "napari-ome-zarr", "*.tif": "napari"}
    assert "napari-ome-zarr" in notification_manager.records[-1].message


def test_undoing_nothing_is_harmless(choices: Any) -> None:
    preferences.stop_preferring()
    assert choices.extension2reader == {}


def test_one_command_turns_it_on_and_off(choices: Any) -> None:
    _hooks.toggle_preferred_reader()
    assert get_preferred_reader("https://host/cells.zarr") == PLUGIN
    _hooks.toggle_preferred_reader()
    assert choices.extension2reader == {}


def test_both_commands_say_what_they_did() -> None:
    notification_manager.records.clear()
    preferences.prefer()
    preferences.stop_preferring()
    assert [".zarr" in r.message for r in notification_manager.records] == [True, False]


def test_napari_asks_at_a_drop_and_then_no_longer(
    viewer: Any, cells: str, choosers: list[str]
) -> None:
    drop(viewer, cells)
    assert len(choosers) == 1
    assert not viewer.layers
    preferences.prefer()
    choosers.clear()
    drop(viewer, cells)
    assert len(viewer.layers) == 3
    assert choosers == []


def test_a_failed_drop_is_explained_beside_naparis_question(
    viewer: Any,
    cells: str,
    choosers: list[str],
    http_server: FileServer,
    qtbot: QtBot,
) -> None:
    preferences.prefer()
    notification_manager.records.clear()
    http_server.fault("*", Status(403), forever=True)
    drop(viewer, cells)
    # napari offers the readers that are left, in a dialog of its own.
    assert len(choosers) == 1
    until(qtbot, lambda: notification_manager.records)
    assert len(notification_manager.records) == 1
    assert not viewer.layers
