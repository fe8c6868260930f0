"""Views that come back: copied, saved, pasted from viewers on the web."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pytest
from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from gui_steps import PLUGIN, until
from napari_omezarr.browsing import (
    Session,
    SessionLayer,
    Viewer,
    parse_session,
    session_in_address,
    session_text,
    share_link,
)
from napari_omezarr.location import Location
from napari_omezarr.reading import ReadOptions
from napari_omezarr.widgets.browser.actions import present_view
from napari_omezarr.widgets.open import add_layers, open_place
from napari_omezarr.widgets.open_dialog import OpenDialog
from napari_omezarr.widgets.qt_async import pending
from napari_omezarr.widgets.sessions import (
    copy_view,
    dress,
    open_session,
    read_session,
    session_of,
    write_session,
)
from napari_omezarr.widgets.viewer_layers import image_address
from servers.http import FileServer
from small_images import put_image, put_labels, put_plate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("views")
    put_image(folder / "cells.zarr", shape=(2, 6, 32, 48), chunks=(1, 2, 8, 8))
    put_labels(folder / "cells.zarr", nuclei=np.ones((6, 32, 48), "u2"))
    with FileServer(folder) as server:
        yield f"{server.url}/cells.zarr"


@pytest.fixture
def dressed(viewer: Any, image: str) -> Any:
    """A viewer in which somebody has changed about everything."""
    viewer.open(image, plugin=PLUGIN)
    first, second, labels = viewer.layers
    first.colormap, first.contrast_limits, first.gamma = "viridis", (3, 77), 0.5
    first.opacity, first.blending = 0.4, "minimum"
    second.visible, second.name = False, "mine"
    second.translate = np.asarray(second.translate) + 1
    labels.contour = 2
    viewer.layers.move(2, 0)
    viewer.add_points([(0, 0, 0)])
    viewer.dims.set_point(0, viewer.dims.range[0].start + 1)
    viewer.scene.camera.center, viewer.scene.camera.zoom = (0, 7.5, 9.25), 3.5
    return viewer


def test_a_copied_view_is_shown_again_exactly(
    dressed: Any,
    make_napari_viewer: Callable[..., Any],
    qtbot: QtBot,
    notifications: list[Any],
) -> None:
    session, left = session_of(dressed)
    assert (len(session.layers), left) == (3, 1)
    address = copy_view(dressed)
    assert QApplication.clipboard().text() == address
    assert "Left out: 1 layer without an address" in notifications[-1].message
    assert session_in_address(address) == session
    other = make_napari_viewer()
    other.open(address, plugin=PLUGIN)
    until(qtbot, lambda: len(other.layers) == 3 and not pending)
    assert session_of(other)[0] == session


def test_what_was_chosen_comes_back(
    make_napari_viewer: Callable[..., Any], qtbot: QtBot, tmp_path: Path
) -> None:
    """Levels, channels, wells, labels of a plate, images as labels and the reverse."""
    lab = tmp_path / "labels"  # the name of a folder like any other
    put_image(lab / "a.zarr", shape=(2, 4, 16, 24))
    put_labels(lab / "a.zarr", cells=np.ones((4, 16, 24), "u2"))
    put_plate(lab / "plate.zarr")
    for field in lab.glob("plate.zarr/*/*/0"):
        put_labels(
            field,
            names="yx",
            cells=np.ones((16, 24), "u2"),
            nuclei=np.full((16, 24), 2, "u2"),
        )
    viewer = make_napari_viewer()
    image, plate = str(lab / "a.zarr"), str(lab / "plate.zarr")
    part = ReadOptions(level=1)
    add_layers(viewer, open_place(Location.parse(image), part, [1]))
    whole = add_layers(viewer, open_place(Location.parse(image)))
    viewer.layers.remove(whole[1])
    viewer.open(image, plugin=PLUGIN, layer_type="labels")
    viewer.open(f"{image}/labels/cells", plugin=PLUGIN, layer_type="image")
    viewer.add_layer(Layer.create(*whole[0].as_layer_data_tuple()))
    chosen = ReadOptions(wells=("B2", "A1"), fields=0)
    _, _, cells, nuclei = add_layers(viewer, open_place(Location.parse(plate), chosen))
    viewer.layers.remove(cells)
    until(qtbot, lambda: not pending)  # contrasts are estimated later
    session, left = session_of(viewer)
    assert not left
    assert session.layers[0].options == {"level": 1}
    told = parse_session(session_text(session)).layers[-1].options
    assert told == {"wells": ["B2", "A1"], "fields": 0, "labels": ["nuclei"]}
    other = make_napari_viewer()
    open_session(other, session)
    until(qtbot, lambda: len(other.layers) == len(viewer.layers) and not pending)
    assert session_of(other)[0] == session
    for one, again in zip(viewer.layers, other.layers, strict=True):
        assert type(one) is type(again)
        assert one.name == again.name
        data, same = (
            each.data if each.multiscale else [each.data] for each in (one, again)
        )
        assert [level.shape for level in data] == [level.shape for level in same]
        np.testing.assert_array_equal(data[-1], same[-1])
    assert image_address(nuclei) == plate


def test_what_a_session_asks_for_in_vain_is_told(
    viewer: Any, qtbot: QtBot, tmp_path: Path, notifications: list[Any]
) -> None:
    put_image(tmp_path / "a.zarr", shape=(2, 4, 16, 24))
    place = str(tmp_path / "a.zarr")
    wishes = [
        SessionLayer(place, channel=0, options={"level": 7}),
        SessionLayer(place, channel=5),
        SessionLayer(f"{place}/gone", channel=0),
        SessionLayer(place, channel=1),
    ]
    open_session(viewer, Session(tuple(wishes)))
    until(qtbot, lambda: len(viewer.layers) == 1 and not pending)
    told = " ".join(record.message for record in notifications)
    assert "No longer there: 3 layers of the session." in told
    notifications.clear()
    odd = Session((SessionLayer(place, channel=0, options={"lens": 2}),))
    open_session(viewer, odd)
    until(qtbot, lambda: notifications)
    assert "opened with lens" in notifications[0].message


def test_a_session_is_a_file_without_secrets(
    dressed: Any,
    make_napari_viewer: Callable[..., Any],
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.omezarr.json"
    write_session(dressed, str(path))
    assert path.stat().st_size < 10_000
    other = make_napari_viewer()
    read_session(other, str(path))
    until(qtbot, lambda: len(other.layers) == 3 and not pending)
    assert session_of(other)[0] == session_of(dressed)[0]
    assert isinstance(other.layers[0], Labels)


def test_a_neuroglancer_link_restores_what_it_shows(
    dressed: Any, make_napari_viewer: Callable[..., Any], qtbot: QtBot, image: str
) -> None:
    place = Location.parse(image)
    view = present_view(dressed, place)
    link = share_link(image, Viewer.NEUROGLANCER, view)
    other = make_napari_viewer()
    dialog = OpenDialog(other)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    qtbot.addWidget(dialog)
    dialog.line.set_address(link)
    dialog.open_address()
    until(qtbot, lambda: len(other.layers) == 3 and not pending)
    found = present_view(other, place)
    assert found.center == pytest.approx(view.center)
    assert found.zoom == pytest.approx(view.zoom)
    assert found.labels == view.labels
    shown = {c.index: (c.color, c.contrast, c.visible) for c in found.channels}
    assert shown == {c.index: (c.color, c.contrast, c.visible) for c in view.channels}


def test_a_vizarr_link_dropped_looks_at_the_same_place(
    viewer: Any, qtbot: QtBot, image: str
) -> None:
    state = quote('{"zoom": 2, "target": [10.5, 20.5]}')
    link = f"https://hms-dbmi.github.io/vizarr/?source={image}&viewState={state}"
    viewer.open(link, plugin=PLUGIN)
    until(qtbot, lambda: viewer.scene.camera.zoom != 1 and not pending)
    layer = viewer.layers[0]
    expected = layer.data_to_world((0, 20.0, 10.0))
    until(
        qtbot,
        lambda: np.allclose(viewer.scene.camera.center[-2:], expected[-2:]),
    )


def test_looks_that_this_napari_does_not_know_are_told(
    viewer: Any, notifications: list[Any]
) -> None:
    layer = viewer.add_image(np.zeros((4, 4)))
    dress(layer, {"rendering": "none such", "gamma": 0.7, "opacity": "much"})
    assert layer.gamma == 0.7
    told = " ".join(record.message for record in notifications)
    assert "rendering of" in told
    assert "opacity of" in told


def test_a_file_that_is_no_session_is_told(
    viewer: Any, tmp_path: Path, notifications: list[Any]
) -> None:
    (tmp_path / "a.json").write_text("{}")
    for name in ("a.json", "none.json"):
        assert read_session(viewer, str(tmp_path / name)) is None
    assert len(notifications) == 2
