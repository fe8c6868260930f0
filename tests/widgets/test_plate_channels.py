"""Channels that only later wells of a plate have: they add themselves."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.layers import Image

from gui_steps import until
from napari_omezarr import Location, write_image
from napari_omezarr.display import wait_until_sharp
from napari_omezarr.errors import OutgrownError
from napari_omezarr.widgets.open import add_layers, open_place
from napari_omezarr.widgets.plate_navigator import PlateNavigator
from servers.http import FileServer
from small_images import put_group

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from servers.wire import Answer, Request

pytestmark = [pytest.mark.gui, pytest.mark.timeout(120, method="thread")]

WIDTH = 24


def put_plate(path: Path, wells: Sequence[Sequence[str]]) -> np.ndarray:
    """Write a plate of one row, whose wells have these channels; gives their pixels.

    They are (channel, y, x), the channels in the order in which they come first.
    """
    every = list(dict.fromkeys(name for well in wells for name in well))
    expected = np.zeros((len(every), 16, WIDTH * len(wells)), np.uint16)
    names = [str(number) for number in range(1, len(wells) + 1)]
    listed = [
        {"path": f"A/{name}", "rowIndex": 0, "columnIndex": number}
        for number, name in enumerate(names)
    ]
    columns = [{"name": name} for name in names]
    plate = {"rows": [{"name": "A"}], "columns": columns, "wells": listed}
    put_group(path, "0.5", {"plate": plate})
    rng = np.random.default_rng(len(wells))
    for number, (name, channels) in enumerate(zip(names, wells, strict=True)):
        well = path / "A" / name
        put_group(well, "0.5", {"well": {"images": [{"path": "0"}]}})
        field = rng.integers(1, 4000, (len(channels), 16, WIDTH)).astype(np.uint16)
        write_image(field, well / "0", "cyx", channels=list(channels), levels=1)
        at = [every.index(channel) for channel in channels]
        expected[at, :, number * WIDTH : (number + 1) * WIDTH] = field
    return expected


def shown(viewer: Any) -> dict[str, np.ndarray]:
    """What each layer of an image holds, by its name."""
    layers = [layer for layer in viewer.layers if isinstance(layer, Image)]
    assert all(map(wait_until_sharp, layers))
    return {layer.name: np.asarray(layer.data) for layer in layers}


def are_sharp(viewer: Any) -> bool:
    """Whether all layers show all; what failed before others came is asked again."""
    with contextlib.suppress(OutgrownError):
        return all(map(wait_until_sharp, viewer.layers))
    return False


PLATES = {
    # The wells that are looked at when it is opened have two channels.
    "named": [["DNA", "GFP"]] * 5 + [["GFP", "RFP"]] + [["DNA", "GFP"]] * 10,
    # The last one is looked at as well, yet not asked what its channels are.
    "seen, and not named": [["DNA", "GFP"]] * 11 + [["DNA", "GFP", "RFP"]],
    "several, one by one": [["DNA"]] * 5 + [["RFP"], ["Cy5", "RFP"]] + [["DNA"]] * 9,
}


@pytest.mark.parametrize("kind", PLATES)
def test_a_channel_of_a_later_well_becomes_a_layer_by_itself(
    kind: str,
    http_server: Any,
    tmp_path: Path,
    make_napari_viewer: Any,
    qtbot: QtBot,
    notifications: list[Any],
) -> None:
    wells = PLATES[kind]
    place = tmp_path / f"{tmp_path.name}.zarr"
    expected = put_plate(place, wells)
    names = list(dict.fromkeys(name for well in wells for name in well))
    viewer = make_napari_viewer(show=True)
    address = Location.parse(f"{http_server.url}/{place.name}")
    first = add_layers(viewer, open_place(address))
    first[0].name, first[0].opacity = "mine", 0.5
    viewer.layers.selection = {first[0]}
    dock = PlateNavigator(viewer)
    qtbot.addWidget(dock)
    every = {"mine", *names[1:]}
    until(qtbot, lambda: {layer.name for layer in viewer.layers} >= every)
    until(qtbot, lambda: are_sharp(viewer))
    held = shown(viewer)
    assert held.keys() == every
    for name, pixels in zip(["mine", *names[1:]], expected, strict=True):
        np.testing.assert_array_equal(held[name], pixels, err_msg=name)
    assert viewer.layers[0] is first[0]  # what was there is there
    assert (first[0].opacity, viewer.layers.selection) == (0.5, {first[0]})
    assert {said.severity.name for said in notifications} <= {"INFO"}
    added = any("Added " in said.message for said in notifications)
    assert added is (kind != "seen, and not named")  # there it has got its name
    # A value that is only a guess would have the new layer saturated.
    until(qtbot, lambda: all(la.contrast_limits[1] > 1000 for la in viewer.layers))
    until(qtbot, lambda: all(la.contrast_limits[1] < 5000 for la in viewer.layers))
    dock._tick()
    assert dock.again.isHidden()
    # From a well back to the plate: all of its layers.
    for layer in viewer.layers:
        layer.visible = False
    viewer.layers.selection.active = first[0]
    dock.open_plate()
    assert all(layer.visible for layer in viewer.layers)


class HeldServer(FileServer):
    """Gives what a field says of itself once that is free."""

    held = ""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.free = threading.Event()

    async def answer(self, request: Request) -> Answer:
        if self.held and request.path.endswith(self.held):
            await asyncio.to_thread(self.free.wait, 60)
        return await super().answer(request)


def test_channels_that_come_one_after_another_are_added_once_each(
    tmp_path: Path, make_napari_viewer: Any, qtbot: QtBot, notifications: list[Any]
) -> None:
    wells = [["DNA"]] * 5 + [["RFP"]] + [["DNA"]] * 3 + [["Cy5"]] + [["DNA"]] * 6
    put_plate(tmp_path / "p.zarr", wells)
    viewer = make_napari_viewer()
    with HeldServer(tmp_path) as server:
        opened = open_place(Location.parse(f"{server.url}/p.zarr"))
        server.held = "/A/10/0/zarr.json"
        add_layers(viewer, opened)
        until(qtbot, lambda: "RFP" in viewer.layers)
        assert "Cy5" not in viewer.layers
        server.free.set()
        until(qtbot, lambda: "Cy5" in viewer.layers)
        until(qtbot, lambda: are_sharp(viewer))
        assert sorted(layer.name for layer in viewer.layers) == ["Cy5", "DNA", "RFP"]
        assert {said.severity.name for said in notifications} <= {"INFO"}
        for layer, well in (("RFP", 5), ("Cy5", 9)):
            pixels = np.asarray(viewer.layers[layer].data).any(axis=0)
            assert pixels.reshape(16, WIDTH).any(axis=1).nonzero()[0].tolist() == [well]


def test_outside_a_viewer_no_channel_is_left_out_without_a_word(
    http_server: Any, tmp_path: Path
) -> None:
    place = tmp_path / f"{tmp_path.name}.zarr"
    put_plate(place, PLATES["named"])
    address = Location.parse(f"{http_server.url}/{place.name}")
    for _ in range(2):
        specs = open_place(address).specs
        names = [spec.options["name"] for spec in specs]
        with contextlib.suppress(OutgrownError):
            np.asarray(specs[0].data[0])
    assert names == ["DNA", "GFP", "RFP"]
