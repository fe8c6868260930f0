"""Walking in the browser dock by keyboard and mouse, over S3; no viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt

from browser_steps import go, row, rows, settled
from gui_steps import until
from long_bucket import LongBucket
from napari_omezarr.browsing import EntryKind
from servers.proxy import Proxy, before_buckets
from small_images import pixels, put_image, put_labels, put_plate, put_series

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_omezarr.widgets.browser.browser import Browser

ROOT = "test-dock"
KEYS = Qt.Key
BY = "\N{MULTIPLICATION SIGN}"
NAMES = ["embryo", "old.zarr", "plain", "plate.zarr", "series.zarr"]


@pytest.fixture(scope="module")
def proxy(s3_server, tmp_path_factory) -> Iterator[Proxy]:
    """A proxy before a bucket with an image of every kind."""
    folder = tmp_path_factory.mktemp("tree")
    put_image(folder / "embryo", "0.5")
    put_labels(folder / "embryo", "0.5", cells=pixels((4, 16, 24)))
    put_image(folder / "old.zarr", "0.4")
    put_plate(folder / "plate.zarr", "0.4", rows=1, columns=2, fields=2)
    put_series(folder / "series.zarr", "0.4", count=2)
    (folder / "plain" / "deep").mkdir(parents=True)
    (folder / "plain" / "deep" / "notes.txt").write_text("hello")
    with before_buckets(s3_server, folder, ROOT) as proxy:
        yield proxy


def said(browser: Browser) -> dict[str, str]:
    """What is known of each row of the place that is shown."""
    model = browser.tree.rows
    indexes = (model.index(number) for number in range(model.rowCount()))
    entries = (entry for index in indexes if (entry := model.entry(index)))
    return {
        entry.name: f"{entry.kind} {entry.summary} {entry.version}" for entry in entries
    }


@pytest.mark.usefixtures("checked_rows")
def test_an_address_shows_images_and_folders_and_what_they_are(
    browser: Browser, qtbot: QtBot, proxy: Proxy, here: str
) -> None:
    qtbot.keyClicks(browser.header.address, here)
    qtbot.keyClick(browser.header.address, KEYS.Key_Return)
    assert browser.tree.rows.busy
    assert rows(browser) == ["Loading …"]
    settled(qtbot, browser)
    assert rows(browser) == NAMES
    assert said(browser) == {
        "embryo": f"image c2 z4 16{BY}24 0.5",
        "old.zarr": f"image c2 z4 16{BY}24 0.4",
        "plain": "folder  ",
        "plate.zarr": f"plate 1{BY}2, 2 fields 0.4",
        "series.zarr": "series  ",
    }
    lists = [request for request in proxy.requests if "list-type" in request.query]
    assert len(lists) == 1
    requests, received = browser.tree.rows.spent
    assert requests == len(proxy.requests)
    assert f"{requests} requests · {received / 1000:.3g} kB · " in (
        browser.status.label.text()
    )


@pytest.mark.usefixtures("checked_rows")
def test_parts_of_an_image_are_its_children_and_chunks_are_none(
    browser: Browser, qtbot: QtBot, here: str
) -> None:
    go(qtbot, browser, here)
    image = row(browser, "embryo")
    browser.tree.choose(image)
    qtbot.keyClick(browser.tree, KEYS.Key_Right)
    settled(qtbot, browser)
    assert rows(browser, image) == ["levels", "labels"]
    levels = browser.tree.rows.index(0, 0, image)
    browser.tree.expand(levels)
    browser.tree.expand(browser.tree.rows.index(1, 0, image))
    settled(qtbot, browser)
    assert rows(browser, levels) == ["0", "1", "2"]
    level = browser.tree.rows.index(0, 0, levels)
    assert not browser.tree.rows.hasChildren(level)
    assert browser.tree.rows.parent(level) == levels
    entry = browser.tree.rows.entry(level)
    assert entry is not None
    assert entry.summary == f"c2 z4 16{BY}24 uint16"
    plate = row(browser, "plate.zarr")
    browser.tree.expand(plate)
    settled(qtbot, browser)
    assert rows(browser, plate) == ["A/1", "A/2"]


def test_keys_walk_down_up_and_back(browser: Browser, qtbot: QtBot, here: str) -> None:
    tree = browser.tree
    go(qtbot, browser, here)
    tree.choose(row(browser, "plain"))
    qtbot.keyClick(tree, KEYS.Key_Return)
    settled(qtbot, browser)
    assert browser.header.address.text() == f"{here}/plain"
    assert rows(browser) == ["deep"]
    tree.choose(row(browser, "deep"))
    qtbot.keyClick(tree, KEYS.Key_Return)
    settled(qtbot, browser)
    assert rows(browser) == ["No image, but 1 file. Show files"]
    tree.choose(tree.rows.index(0))
    qtbot.keyClick(tree, KEYS.Key_Return)
    settled(qtbot, browser)
    assert rows(browser) == ["notes.txt"]
    assert tree.rows.index(0).data(Qt.ItemDataRole.ToolTipRole).count("5 bytes") == 1
    browser.buttons.show_files.setChecked(False)
    qtbot.keyClick(tree, KEYS.Key_Backspace)
    settled(qtbot, browser)
    assert (tree.entry.name if tree.entry else "") == "deep"
    alt = Qt.KeyboardModifier.AltModifier
    for expected in ("plain/deep", "plain", ""):
        qtbot.keyClick(tree, KEYS.Key_Left, alt)
        settled(qtbot, browser)
        assert browser.header.address.text() == f"{here}/{expected}".rstrip("/")
    assert (tree.entry.name if tree.entry else "") == "plain"


def test_letters_filter_at_the_server_and_f5_asks_again(
    browser: Browser, qtbot: QtBot, proxy: Proxy, here: str
) -> None:
    tree = browser.tree
    go(qtbot, browser, here)
    proxy.clear()
    tree.setFocus()
    qtbot.keyClicks(tree, "p")
    assert browser.focusWidget() is browser.header.filter
    qtbot.keyClicks(browser.header.filter, "la")
    qtbot.keyClick(browser.header.filter, KEYS.Key_Down)
    settled(qtbot, browser)
    assert rows(browser) == ["plain", "plate.zarr"]
    prefixes = [
        request.query for request in proxy.requests if "prefix" in request.query
    ]
    assert [f"prefix={ROOT}%2Fpla" in query for query in prefixes] == [True]
    qtbot.keyClicks(browser.header.filter, "x")
    until(qtbot, lambda: rows(browser) == ["Nothing begins with “plax”."])
    qtbot.keyClick(browser.header.filter, KEYS.Key_Escape)
    until(qtbot, lambda: rows(browser) == NAMES)
    settled(qtbot, browser)
    proxy.clear()
    qtbot.keyClick(tree, KEYS.Key_F5)
    settled(qtbot, browser)
    assert rows(browser) == NAMES
    assert proxy.requests


def test_up_from_a_bucket_is_the_start_page(
    browser: Browser, qtbot: QtBot, here: str
) -> None:
    go(qtbot, browser, here)
    assert not browser.start_page.isVisible()
    browser.header.buttons["up"].click()
    settled(qtbot, browser)
    assert ROOT in rows(browser)
    browser.header.buttons["up"].click()
    assert browser.start_page.isVisible()
    assert not browser.header.buttons["up"].isEnabled()
    qtbot.keyClick(browser.tree, KEYS.Key_Backspace)
    assert browser.start_page.isVisible()
    browser.header.buttons["back"].click()
    settled(qtbot, browser)
    assert browser.tree.isVisible()


def test_the_address_of_an_image_shows_it_as_one_row_that_is_chosen(
    browser: Browser, qtbot: QtBot, here: str
) -> None:
    go(qtbot, browser, f"look at <{here}/embryo/zarr.json>.")
    assert rows(browser) == ["embryo"]
    index = browser.tree.rows.index(0)
    assert browser.tree.isExpanded(index)
    assert rows(browser, index) == ["levels", "labels"]
    assert browser.tree.entry is not None
    assert browser.tree.entry.kind is EntryKind.IMAGE
    assert browser.details.isVisible()
    assert "image" in browser.details.header.facts.text()
    assert browser.details.header.address.text() == f"{here}/embryo"


def test_several_addresses_are_rows(browser: Browser, qtbot: QtBot, here: str) -> None:
    go(qtbot, browser, f"{here}/embryo\n{here}/plain\n")
    assert rows(browser) == [f"{here}/embryo", f"{here}/plain"]
    assert said(browser)[f"{here}/embryo"].startswith("image")
    assert browser.header.address.text() == ""
    qtbot.keyClick(browser.tree, KEYS.Key_F5)
    settled(qtbot, browser)
    assert len(rows(browser)) == 2
    browser.tree.choose(browser.tree.rows.index(1))
    qtbot.keyClick(browser.tree, KEYS.Key_Return)
    settled(qtbot, browser)
    assert browser.header.address.text() == f"{here}/plain"


def test_a_long_place_comes_as_one_scrolls_and_only_visible_rows_are_probed(
    browser: Browser, qtbot: QtBot
) -> None:
    with LongBucket(2500) as long:
        go(qtbot, browser, f"s3+{long.url}/bucket/many|anonymous:true")
        model = browser.tree.rows
        assert model.rowCount() == 1001
        assert rows(browser)[-1] == "… load more (1,000 of many)"
        on_screen = sum(1 for _ in browser.tree.visible_rows())
        assert on_screen < 40
        probed = {
            r.path.split("/")[3] for r in long.requests if "list-type" not in r.query
        }
        assert len({name for name in probed if "item" in name}) <= on_screen
        browser.tree.scrollToBottom()
        settled(qtbot, browser)
        assert model.rowCount() == 2001
        browser.tree.choose(model.index(2000))
        qtbot.keyClick(browser.tree, KEYS.Key_Return)
        settled(qtbot, browser)
        assert model.rowCount() == 2500
        assert rows(browser)[-1] == "item-002499"


def test_cancel_ends_the_waiting_and_a_row_goes_on(
    browser: Browser, qtbot: QtBot, proxy: Proxy, here: str
) -> None:
    from servers.faults import Stalled

    proxy.fault("*", Stalled(), forever=True)
    browser.navigation.go_to_pasted(here)
    until(qtbot, lambda: proxy.requests)
    assert browser.status.cancel.isVisible()
    qtbot.keyClick(browser.tree, KEYS.Key_Escape)
    assert rows(browser) == ["… cancelled; load again"]
    assert not browser.status.cancel.isVisible()
    proxy.clear()
    proxy.release()
    qtbot.mouseClick(
        browser.tree.viewport(),
        Qt.MouseButton.LeftButton,
        pos=browser.tree.visualRect(browser.tree.rows.index(0)).center(),
    )
    settled(qtbot, browser)
    assert rows(browser) == NAMES


def test_no_row_is_chosen_until_somebody_does(
    browser: Browser, qtbot: QtBot, tmp_path: Path
) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    browser.header.address.setFocus()
    browser.header.address.setText(str(tmp_path))
    qtbot.keyClick(browser.header.address, KEYS.Key_Return)
    browser.tree.setFocus()
    settled(qtbot, browser)
    assert rows(browser) == ["a", "b", "c"]
    assert not browser.tree.currentIndex().isValid()
    qtbot.keyClick(browser.tree, KEYS.Key_Down)
    assert browser.tree.currentIndex().data() == "a"
