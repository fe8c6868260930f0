"""The browser as napari docks it: started, dragged out of, closed in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from browser_steps import go, quiet, row, settled
from gui_steps import NAMES, PLUGIN, dropped, names, until
from napari_omezarr.location import Location
from napari_omezarr.samples import write_cells
from napari_omezarr.widgets.browser.dock import BrowserDock
from napari_omezarr.widgets.browser.tree_model import is_draggable, mime_data
from napari_omezarr.widgets.region_dock import RegionDock
from napari_omezarr.widgets.save_dock import SaveDock
from servers.faults import Stalled
from servers.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot

    from napari_omezarr.widgets.browser.browser import Browser

ROOT = "test-docked"


@pytest.fixture(scope="module")
def proxy(s3_server, tmp_path_factory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("docked")
    # Nothing in the name says what it is.
    write_cells(folder / "a b+c é", shape=(2, 64, 64))
    s3_server.upload(folder, f"public/{ROOT}")
    with Proxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def browser(viewer: Any, qtbot: QtBot) -> Iterator[Browser]:
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "OME-Zarr browser")
    assert isinstance(dock, BrowserDock)
    until(qtbot, lambda: dock.browser is not None)
    assert dock.browser is not None
    yield dock.browser
    quiet(qtbot)


def test_a_row_is_dragged_onto_the_canvas_and_opens_without_a_question(
    browser: Browser, viewer: Any, qtbot: QtBot, proxy: Proxy
) -> None:
    go(qtbot, browser, f"s3+{proxy.url}/public/{ROOT}|anonymous:true")
    index = row(browser, "a b+c é")
    model = browser.tree.rows
    # The window of the test is not on the screen, where rows would be looked at.
    model.probe_visible([index])
    settled(qtbot, browser)
    mime = model.mimeData([index])
    assert mime.text().startswith(f"s3+{proxy.url}/public/{ROOT}/a")
    viewer.window._qt_viewer.dropEvent(dropped(mime))
    until(qtbot, lambda: len(viewer.layers) == 3)
    assert names(viewer.layers) == NAMES
    go(qtbot, browser, f"s3+{proxy.url}/public/{ROOT}/a b+c é|anonymous:true")
    browser.row_actions.region.trigger()
    until(qtbot, lambda: viewer.window._qt_window.findChildren(RegionDock))
    assert len(viewer.layers) == 6
    browser.navigation.up()
    settled(qtbot, browser)
    browser.buttons.save_button.click()
    (saving,) = viewer.window._qt_window.findChildren(SaveDock)
    target = saving.view.target.line.address_text()
    assert target.startswith(f"s3+{proxy.url}/public/{ROOT}/")
    assert target.endswith(".ome.zarr|anonymous:true")
    until(qtbot, lambda: not saving.looking)
    # The window goes while rows, and what one of them is, are still to come.
    proxy.fault("*", Stalled(), forever=True)
    browser.navigation.reload()
    until(qtbot, lambda: browser.tree.rows.busy)
    viewer.close()
    proxy.clear()


@pytest.mark.parametrize(
    "address",
    [
        "s3+https://host/bucket/a b+c é.zarr|region:eu-1|profile:my lab",
        "s3://bucket/100%25 sure|anonymous:true",
        "https://host/p q?X-Amz-Signature=a%2Fb",
        "/data/a b+c é.zarr",
        "/data/packed.ozx",
    ],
)
def test_a_dragged_address_comes_through_napari_as_it_was(address: str) -> None:
    place = Location.parse(address)
    mime = mime_data([place])
    (url,) = mime.urls()
    # This is what napari makes of it.
    text = url.toLocalFile() if url.isLocalFile() else url.toString()
    assert Location.parse(text) == place
    assert "Signature" not in mime.text()
    assert is_draggable(place)
    assert is_draggable(place / "labels") is not (place.name == "packed.ozx")
