"""Our docks in napari's window: tabs of each other, and where they were put."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt

from gui_steps import PLUGIN, until
from napari_omezarr.widgets.docks import add_dock, dock_of

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QDockWidget

NAMES = [
    "OME-Zarr browser",
    "OME-Zarr region",
    "OME-Zarr plate",
    "Write OME-Zarr plate",
    "OME-Zarr regions of interest",
    "Save as OME-Zarr…",
]


def opened(qtbot: QtBot, viewer: Any, name: str) -> QDockWidget:
    """A dock of ours, as napari's menu brings it up, once it has its place."""
    dock = dock_of(viewer.window.add_plugin_dock_widget(PLUGIN, name)[1])
    assert dock is not None
    until(qtbot, lambda: dock.windowTitle().endswith("(OME-Zarr)"))
    return dock


def test_docks_of_ours_in_one_column_are_tabs(viewer: Any, qtbot: QtBot) -> None:
    viewer.window.resize(1280, 860)
    viewer.show()
    window = viewer.window._qt_window
    first, *others = [opened(qtbot, viewer, name) for name in NAMES]
    assert set(window.tabifiedDockWidgets(first)) == set(others)
    # Whichever is on top has the whole column, and the last one is.
    last = others[-1]
    until(qtbot, lambda: not last.visibleRegion().isEmpty())
    assert first.visibleRegion().isEmpty()
    assert last.height() > 0.8 * window.centralWidget().height()
    # They are told from each other by their first words, however narrow they are.
    words = [dock.windowTitle().split()[0] for dock in (first, *others)]
    assert len({*words}) == len(NAMES)


def test_what_is_asked_for_again_comes_to_the_front(viewer: Any, qtbot: QtBot) -> None:
    viewer.show()
    region = opened(qtbot, viewer, "OME-Zarr region")
    opened(qtbot, viewer, "OME-Zarr plate")
    until(qtbot, region.visibleRegion().isEmpty)
    add_dock(viewer, "OME-Zarr region")
    until(qtbot, lambda: not region.visibleRegion().isEmpty())
    region.hide()
    add_dock(viewer, "OME-Zarr region")
    until(qtbot, lambda: not region.visibleRegion().isEmpty())


def test_a_dock_stays_where_a_person_has_put_it(viewer: Any, qtbot: QtBot) -> None:
    viewer.show()
    window = viewer.window._qt_window
    left = opened(qtbot, viewer, "OME-Zarr region")
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, left)
    apart = opened(qtbot, viewer, "OME-Zarr regions of interest")
    apart.setFloating(True)
    plate = opened(qtbot, viewer, "OME-Zarr plate")
    for dock in (left, apart, plate):
        assert window.tabifiedDockWidgets(dock) == []
    # One that was taken out of the tabs is not put back when it is shown again.
    writer = opened(qtbot, viewer, "Write OME-Zarr plate")
    assert window.tabifiedDockWidgets(plate) == [writer]
    window.removeDockWidget(writer)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, writer)
    writer.show()
    qtbot.waitExposed(writer)
    assert window.tabifiedDockWidgets(plate) == []
