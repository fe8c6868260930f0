"""The panel of a row: what is shown of an image before it is opened; no viewer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor

from gui_steps import until
from napari_omezarr.browsing import (
    AxisDetails,
    ChunkPreview,
    Details,
    Entry,
    EntryKind,
    LevelDetails,
)
from napari_omezarr.location import Location
from napari_omezarr.metadata import ResolvedChannel
from napari_omezarr.widgets.browser.details import (
    DetailsPanel,
    grey,
    planes_of,
    to_pixmap,
)
from napari_omezarr.widgets.browser.text import (
    about_text,
    axes_text,
    channels_html,
    chunk_text,
    is_readable,
    level_row,
    voxel_text,
)
from napari_omezarr.widgets.qt_async import pending
from servers.proxy import Proxy
from small_images import pixels, put_group, put_image, put_labels, put_plate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

ROOT = "test-details"
BY = " \N{MULTIPLICATION SIGN} "
KEYS = Qt.Key


@pytest.fixture(scope="module")
def proxy(s3_server, tmp_path_factory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("images")
    put_image(folder / "embryo", "0.5")
    put_labels(folder / "embryo", "0.5", levels=3, cells=pixels((4, 16, 24)))
    put_image(folder / "old.zarr", "0.4")
    wrong = {"multiscales": [{"axes": [], "datasets": []}]}
    put_group(folder / "broken.zarr", "0.5", wrong)
    s3_server.upload(folder, f"public/{ROOT}")
    with Proxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def panel(qtbot: QtBot) -> Iterator[DetailsPanel]:
    panel = DetailsPanel()
    qtbot.addWidget(panel)
    panel.resize(300, 500)
    with qtbot.waitExposed(panel, timeout=60_000):
        panel.show()
    yield panel
    panel.stop()
    until(qtbot, lambda: not pending)


def at(proxy: Proxy, path: str) -> Location:
    proxy.clear()
    return Location.parse(f"s3+{proxy.url}/public/{ROOT}/{path}|anonymous:true")


def shown(qtbot: QtBot, panel: DetailsPanel, place: Location, kind: EntryKind) -> None:
    panel.display(Entry(place, "", kind, recognised=True))
    until(qtbot, lambda: not panel.busy)


def cells(panel: DetailsPanel) -> list[list[str]]:
    table = panel.image.levels
    columns = [n for n in range(table.columnCount()) if not table.isColumnHidden(n)]
    return [
        [table.item(row, n).text() for n in columns] for row in range(table.rowCount())
    ]


def tab(panel: DetailsPanel, name: str) -> None:
    names = [panel.tabs.tabText(n).replace("&", "") for n in range(panel.tabs.count())]
    panel.tabs.setCurrentIndex(names.index(name))


def test_an_image_is_described_at_300_pixels_wide(
    panel: DetailsPanel, qtbot: QtBot, proxy: Proxy
) -> None:
    shown(qtbot, panel, at(proxy, "embryo"), EntryKind.IMAGE)
    assert panel.header.name.text() == "embryo"
    assert panel.header.facts.text() == "image · OME-Zarr 0.5 · uint16 · c z y x"
    assert panel.header.address.text().endswith(f"/public/{ROOT}/embryo")
    assert panel.image.voxel.text() == f"Pixel: 0.5{BY}0.5{BY}0.5 µm"
    axes = panel.image.axes.text().replace("\N{NO-BREAK SPACE}", " ")
    assert axes.startswith("Axes: c 2 · z 4 at 0.5 µm · y 16 at ")
    assert panel.image.about.isHidden()
    rows = cells(panel)
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert rows[0][1] == "2x4x16x24".replace("x", BY.strip())
    assert rows[0][3] == "6.14 kB"
    assert "uint16" in rows[0]
    assert "#00FF00" in panel.image.channels.text()
    assert panel.image.labels.text() == "Labels: cells"
    assert not panel.image.notes.isVisible()
    assert panel.header.thumbnail.pixmap().width() == 96
    assert (
        panel.header.thumbnail.accessibleName() == "The middle of the coarsest level."
    )
    assert panel.width() == 300
    assert panel.minimumSizeHint().width() <= 300


def test_a_plate_has_a_picture_of_its_wells(
    panel: DetailsPanel, qtbot: QtBot, tmp_path: Path
) -> None:
    put_plate(tmp_path / "screen.zarr", missing=("A/1",))
    shown(qtbot, panel, Location.parse(tmp_path / "screen.zarr"), EntryKind.PLATE)
    thumbnail = panel.header.thumbnail
    assert thumbnail.accessibleName() == "The 6 wells that are listed."
    picture = thumbnail.pixmap().toImage()
    assert picture.width() == 96 > picture.height()
    first, second = (
        {picture.pixelColor(x, 8).name() for x in range(left, left + 20)}
        for left in (4, 38)
    )
    assert first == {"#000000"}  # listed, and not there
    assert len(second) > 10


def test_enter_opens_a_level(panel: DetailsPanel, qtbot: QtBot, proxy: Proxy) -> None:
    shown(qtbot, panel, at(proxy, "embryo"), EntryKind.IMAGE)
    table = panel.image.levels
    with qtbot.waitSignal(panel.open_wanted, timeout=60_000) as wanted:
        table.setCurrentCell(1, 0)
        qtbot.keyClick(table, KEYS.Key_Return)
    assert wanted.args[0].options.level == 1
    assert wanted.args[0].location == panel.chunk.location
    with qtbot.waitSignal(panel.open_wanted, timeout=60_000) as wanted:
        position = table.visualItemRect(table.item(2, 0)).center()
        qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=position)
        qtbot.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=position)
    assert wanted.args[0].options.level == 2


def test_what_is_no_longer_chosen_is_not_fetched(
    panel: DetailsPanel, qtbot: QtBot, proxy: Proxy
) -> None:
    passed = at(proxy, "old.zarr")
    panel.display(Entry(passed, "", EntryKind.IMAGE, recognised=True))
    shown(qtbot, panel, at(proxy, "embryo"), EntryKind.IMAGE)
    assert proxy.requests
    assert not [r for r in proxy.requests if "old.zarr" in r.path]
    # What is told again of the same row asks nothing again.
    proxy.clear()
    shown(qtbot, panel, at(proxy, "embryo"), EntryKind.IMAGE)
    assert not proxy.requests


def test_a_late_answer_is_dropped(
    panel: DetailsPanel, qtbot: QtBot, proxy: Proxy
) -> None:
    from servers.faults import Stalled

    slow = at(proxy, "old.zarr")
    proxy.fault("*old.zarr*", Stalled(), forever=True)
    panel.display(Entry(slow, "", EntryKind.IMAGE, recognised=True))
    until(qtbot, lambda: proxy.requests)
    panel.clear()
    assert not panel.isVisible()
    place = Location.parse(f"s3+{proxy.url}/public/{ROOT}/embryo|anonymous:true")
    shown(qtbot, panel, place, EntryKind.IMAGE)
    proxy.release()
    until(qtbot, lambda: not pending)
    assert panel.header.facts.text().startswith("image · OME-Zarr 0.5")
    proxy.clear()


def test_each_tab_asks_when_one_looks(
    panel: DetailsPanel, qtbot: QtBot, proxy: Proxy
) -> None:
    shown(qtbot, panel, at(proxy, "embryo"), EntryKind.IMAGE)
    proxy.clear()
    tab(panel, "Metadata")
    until(qtbot, lambda: not panel.busy)
    assert proxy.requests
    documents = [
        panel.metadata.document.itemText(n)
        for n in range(panel.metadata.document.count())
    ]
    assert documents[0] == "zarr.json"
    assert "0/zarr.json" in documents
    text = json.loads(panel.metadata.text.toPlainText())
    assert text["attributes"]["ome"]["version"] == "0.5"
    panel.metadata.document.setCurrentText("0/zarr.json")
    assert '"node_type": "array"' in panel.metadata.text.toPlainText()
    tab(panel, "Validate")
    until(qtbot, lambda: not panel.busy)
    assert panel.validation.text.toPlainText() == "✔ Valid OME-Zarr 0.5."
    proxy.clear()
    tab(panel, "Metadata")
    assert not proxy.requests


def test_findings_come_with_their_paths(
    panel: DetailsPanel, qtbot: QtBot, proxy: Proxy
) -> None:
    tab(panel, "Validate")
    shown(qtbot, panel, at(proxy, "broken.zarr"), EntryKind.IMAGE)
    assert "✖" in panel.header.facts.text()
    first, *findings = panel.validation.text.toPlainText().splitlines()
    assert first.startswith("✖")
    assert "against OME-Zarr 0.5" in first
    assert any(finding.startswith("multiscales/0/axes: ") for finding in findings)


def test_a_chunk_is_seen_and_weighed(
    panel: DetailsPanel, qtbot: QtBot, proxy: Proxy
) -> None:
    shown(qtbot, panel, at(proxy, "embryo"), EntryKind.IMAGE)
    tab(panel, "Chunks")
    data = panel.chunk
    assert data.level.currentIndex() == 2
    data.level.setCurrentIndex(0)
    assert [box.prefix() for box in data.index] == ["c ", "z ", "y ", "x "]
    assert not data.picture.isVisible()
    data.show_button.setFocus()
    qtbot.keyClick(data.show_button, KEYS.Key_Space)
    until(qtbot, lambda: not panel.busy)
    assert data.picture.isVisible()
    text = data.text.text()
    assert text.startswith("0/c/")
    assert "stored" in text
    assert "times smaller" in text
    assert " ms" in text
    qtbot.mouseClick(data.speed_button, Qt.MouseButton.LeftButton)
    until(qtbot, lambda: not panel.busy)
    assert "for an answer" in data.text.text()
    shown(qtbot, panel, at(proxy, "old.zarr"), EntryKind.IMAGE)
    assert not data.picture.isVisible()


def test_a_refused_chunk_says_so_and_can_be_asked_again(
    panel: DetailsPanel, qtbot: QtBot, proxy: Proxy
) -> None:
    from servers.faults import Status

    shown(qtbot, panel, at(proxy, "embryo"), EntryKind.IMAGE)
    tab(panel, "Chunks")
    proxy.fault("*/c/*", Status(403, b"<Error><Code>AccessDenied</Code></Error>"))
    proxy.fault("*embryo/zarr.json", Status(403), forever=True)
    panel.chunk.show_button.click()
    until(qtbot, lambda: not panel.busy)
    assert panel.chunk.message.text().startswith("✖")
    assert panel.chunk.show_button.isEnabled()
    proxy.clear()
    panel.chunk.show_button.click()
    until(qtbot, lambda: not panel.busy)
    assert panel.chunk.message.text() == ""
    assert panel.chunk.picture.isVisible()


def test_a_place_that_fails_says_why_and_a_folder_asks_nothing(
    panel: DetailsPanel, qtbot: QtBot, proxy: Proxy
) -> None:
    place = at(proxy, "broken.zarr")
    shown(qtbot, panel, place, EntryKind.IMAGE)
    assert "✖" in panel.header.facts.text()
    folder = at(proxy, "")
    shown(qtbot, panel, folder, EntryKind.FOLDER)
    assert not proxy.requests
    assert not panel.tabs.isVisible()


def test_a_document_among_the_files_is_read(
    panel: DetailsPanel, qtbot: QtBot, proxy: Proxy
) -> None:
    place = at(proxy, "embryo")
    entry = Entry(place, "zarr.json", EntryKind.FILE, size=900)
    panel.display(entry)
    until(qtbot, lambda: not panel.busy)
    assert "900 bytes" in panel.header.facts.text()
    assert json.loads(panel.metadata.text.toPlainText())["node_type"] == "group"
    missing = Entry(place, "gone.json", EntryKind.FILE, size=900)
    panel.display(missing)
    until(qtbot, lambda: not panel.busy)
    assert panel.metadata.message.text().startswith("✖ There is no ")


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [("zarr.json", 10, True), ("0", 10, False), ("big.json", 10**8, False)],
)
def test_only_small_texts_are_read(name: str, size: int, expected: bool) -> None:
    entry = Entry(Location.parse("s3://bucket"), name, EntryKind.FILE, size=size)
    assert is_readable(entry) is expected


def test_words_for_axes_and_levels() -> None:
    axes = (
        AxisDetails("t", "time", "second", 3, 2.0),
        AxisDetails("c", "channel", None, 2, 1.0),
        AxisDetails("y", "space", "micrometer", 9, 0.25),
        AxisDetails("x", "space", "micrometer", 9, 0.25),
        AxisDetails("q", "other", None, 9, 1.0),
    )
    assert voxel_text(axes) == f"2 s, 0.25{BY}0.25 µm, 1 pixel"
    assert axes_text(axes).endswith("\N{NO-BREAK SPACE}pixel")
    place = Location.parse("s3://b/x")
    said = Details(Entry(place, ""), "x", licence="CC0 1.0", description="Cells")
    assert about_text(said) == "Licence: CC0 1.0\nCells"
    level = LevelDetails("0", (8, 8), (4, 4), (8, 8), "uint8", "zstd", 64, 20)
    row = level_row(level)
    assert row[4] == "≈ 20 bytes"
    assert row[-1] == f"8{BY.strip()}8"


def test_names_of_channels_are_no_markup() -> None:
    channel = ResolvedChannel("<img src=x>", "FF00FF", None, None)
    html = channels_html((channel,), "image")
    assert "<img" not in html
    assert "#FF00FF" in html


def test_arrays_become_pictures() -> None:
    assert planes_of(np.zeros(7)).shape == (1, 1, 7)
    assert planes_of(np.zeros((2, 3, 4, 5))).shape == (6, 4, 5)
    plane = np.array([[0.0, 5.0], [10.0, np.nan]])
    made = to_pixmap(grey(plane, 0, 10)).toImage()
    shades = [made.pixelColor(x, y) for x, y in ((0, 0), (0, 1), (1, 1))]
    assert shades == [QColor(0, 0, 0), QColor(255, 255, 255), QColor(0, 0, 0)]


def test_a_chunk_that_is_not_stored_says_so() -> None:
    empty = ChunkPreview(
        "0/c/0/0", (0, 0), np.zeros((4, 4), np.uint8), 0, 16, 0.01, True
    )
    assert chunk_text(empty) == (
        "0/c/0/0: nothing is stored, all is 0. 16 bytes of uint8, 10 ms."
    )
