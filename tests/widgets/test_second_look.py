"""What a newcomer stumbled over, one thing after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt

from browser_steps import go, row, settled, shown_browser
from gui_steps import PLUGIN, dropped, until
from napari_omezarr.display.notifications import CanvasSign, canvas_sign
from napari_omezarr.location import Location
from napari_omezarr.user_files import Recents
from napari_omezarr.widgets import open
from servers.faults import Stalled
from small_images import put_image, put_labels

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from servers.http import FileServer


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    put_image(folder / "cells.zarr", shape=(2, 6, 32, 48), chunks=(1, 2, 8, 8))
    put_labels(folder / "cells.zarr", nuclei=np.ones((6, 32, 48), "u2"))
    (folder / "empty").mkdir()
    return folder


def test_details_get_the_room_that_rows_do_not_need(qtbot: QtBot, images: Path) -> None:
    browser = shown_browser(qtbot)
    browser.resize(300, 860)
    go(qtbot, browser, str(images))
    browser.tree.choose(row(browser, "cells.zarr"))
    until(qtbot, lambda: not browser.details.busy)
    above, below = browser.splitter.sizes()
    assert above <= 120
    assert below > 400
    # Rows that unfold get theirs.
    browser.tree.expand(row(browser, "cells.zarr"))
    settled(qtbot, browser)
    unfolded, _ = browser.splitter.sizes()
    assert unfolded > above
    browser.tree.collapse(row(browser, "cells.zarr"))
    assert browser.splitter.sizes()[0] == above
    # A folder has little to tell, and leaves the room to the rows.
    browser.tree.choose(row(browser, "empty"))
    above, below = browser.splitter.sizes()
    assert above > below
    # Where somebody moves it, it stays, also in another browser.
    browser.tree.choose(row(browser, "cells.zarr"))
    browser.splitter.setSizes([400, 300])
    browser.splitter.splitterMoved.emit(400, 1)
    kept = browser.splitter.sizes()[0] / sum(browser.splitter.sizes())
    browser.stop()
    other = shown_browser(qtbot)
    other.resize(300, 860)
    go(qtbot, other, str(images))
    other.tree.choose(row(other, "cells.zarr"))
    settled(qtbot, other)
    found = other.splitter.sizes()[0] / sum(other.splitter.sizes())
    assert found == pytest.approx(kept, abs=0.05)
    other.stop()


def test_recent_places_say_where_they_are_in_two_lists(qtbot: QtBot) -> None:
    Recents().add(Location.parse("https://one.example/cells.zarr"))
    Recents().add(Location.parse("https://two.example/cells.zarr"))
    Recents().add(Location.parse("s3://lab/new.zarr"), saved=True)
    browser = shown_browser(qtbot)
    places = browser.start_page.places
    groups = [places.topLevelItem(number) for number in range(2)]
    assert [group.text(0) for group in groups] == ["Opened", "Saved"]
    texts = [groups[0].child(at).text(0) for at in range(2)]
    assert [text.split(" · ")[:2] for text in texts] == [
        ["cells.zarr", "two.example"],
        ["cells.zarr", "one.example"],
    ]
    assert groups[1].child(0).text(0).startswith("new.zarr · lab")


def test_rows_dropped_on_the_canvas_are_opened_by_us(
    viewer: Any, qtbot: QtBot, images: Path
) -> None:
    browser = shown_browser(qtbot, viewer)
    viewer.show()
    go(qtbot, browser, str(images))
    browser.tree.choose(row(browser, "cells.zarr"))
    canvas = viewer.window._qt_window.centralWidget()
    catch = browser.tree.catcher.eventFilter
    mime = browser.tree.rows.mimeData(browser.tree.selectedIndexes())
    assert not catch(browser, dropped(mime))
    assert catch(canvas, dropped(mime))
    until(qtbot, lambda: len(viewer.layers) == 3)
    assert viewer.layers[0].source.path == str(images / "cells.zarr")
    browser.stop()


def test_labels_that_are_read_lazily_say_how_to_paint_them(
    viewer: Any, qtbot: QtBot, images: Path
) -> None:
    viewer.show()
    viewer.open(str(images / "cells.zarr"), plugin=PLUGIN)
    (labels,) = (layer for layer in viewer.layers if isinstance(layer, Labels))
    assert not labels.editable
    viewer.layers.selection.active = viewer.layers[0]
    sign = canvas_sign("omezarr labels", at_top=True)
    assert sign is not None
    assert sign.isHidden()
    viewer.layers.selection.active = labels
    assert "These labels are read from cells.zarr" in sign.text()
    assert sign.isVisible()
    sign.linkActivated.emit("edit")
    assert sign.isHidden()
    docks = viewer.window.dock_widgets
    (region,) = (dock for name, dock in docks.items() if "region" in name)
    assert region.form.layer.value is labels
    assert region.form.level.value == 0
    # Who does not want it is not told again.
    viewer.layers.selection.active = viewer.layers[0]
    viewer.layers.selection.active = labels
    sign.linkActivated.emit("leave")
    viewer.layers.selection.active = viewer.layers[0]
    viewer.layers.selection.active = labels
    assert sign.isHidden()
    open._left.clear()


def test_what_is_to_come_is_said_before_the_first_of_it_comes(
    viewer: Any, qtbot: QtBot, tmp_path: Path, http_server: FileServer
) -> None:
    put_image(tmp_path / "b c.zarr", shape=(1, 6, 32, 48), chunks=(1, 1, 32, 48))
    viewer.show()
    http_server.fault("*/c/*", Stalled(), forever=True)
    viewer.open(f"{http_server.url}/b%20c.zarr", plugin=PLUGIN)
    sign = canvas_sign("omezarr loading")
    assert sign is not None
    until(qtbot, sign.isVisible)
    assert "to come, 0 bytes from 127.0.0.1" in sign.text()
    # It lies on the picture: the sliders below that are free.
    slider = viewer.window._qt_viewer.dims
    assert slider.isVisible()
    assert sign.geometry().bottom() < slider.mapTo(sign.parent(), QPoint(0, 0)).y()
    http_server.clear()
    until(qtbot, sign.isHidden)
    # And napari names the image as people do.
    (layer,) = viewer.layers
    assert layer.source.path == f"{http_server.url}/b c.zarr"
    assert layer.get_status((0, 0, 0), world=True)["layer_base"] == "b c.zarr"


def test_a_sign_keeps_its_corner_and_takes_no_mouse(viewer: Any, qtbot: QtBot) -> None:
    viewer.show()
    canvas = viewer.window._qt_window.centralWidget()
    sign = CanvasSign(canvas)
    sign.say("3 chunks to come, 1.2 MB from idr")
    bottom = canvas.height() - sign.geometry().bottom()
    assert 0 < bottom < 20
    assert sign.testAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
    # All of it is to be read, however narrow the canvas is.
    sign.say("3 chunks to come, 1.2 MB from " + 40 * "idr ")
    assert sign.width() <= canvas.width()
    assert sign.height() >= sign.heightForWidth(sign.width()) > bottom
    assert canvas.height() - sign.geometry().bottom() == bottom
    sign.say("")
    assert sign.isHidden()
