"""Errors, connections, bookmarks, drops and copies in the browser dock; no viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QMimeData, QObject, QPoint, Qt, QUrl
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QScrollBar,
    QTabBar,
    QWidget,
)

from browser_steps import go, quiet, row, rows, said, settled, shown_browser
from gui_steps import drag_onto, until
from napari_omezarr import errors
from napari_omezarr.browsing import Entry, EntryKind
from napari_omezarr.connections import (
    Bookmark,
    Connection,
    ConnectionFile,
    Keys,
    Profile,
    demo_connection,
    key_store,
    offering,
)
from napari_omezarr.demo.server import OWNER
from napari_omezarr.location import Location
from napari_omezarr.user_files import Recents
from napari_omezarr.widgets.browser import tree_model
from napari_omezarr.widgets.browser.browser import status_text
from napari_omezarr.widgets.browser.connection_editor import ConnectionEditor
from napari_omezarr.widgets.browser.forms import (
    CopyForm,
    OpenForm,
    TableForm,
    find_choices,
)
from napari_omezarr.widgets.browser.navigation import History, above
from napari_omezarr.widgets.browser.opener import OpenRequest, folder_for
from napari_omezarr.widgets.browser.start_page import read_known_places
from napari_omezarr.widgets.browser.text import accessible_text
from napari_omezarr.widgets.browser.tree_model import MOST, EntryModel, State, TreeNode
from napari_omezarr.widgets.qt_async import pending
from servers.faults import Stalled, Status, page, s3_error
from servers.proxy import Proxy, before_buckets
from small_images import put_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_omezarr.demo.server import S3Server
    from napari_omezarr.widgets.browser.browser import Browser

CONTROLS = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
)
PARTED = (QLineEdit, QComboBox, QAbstractSpinBox, QAbstractItemView, QTabBar)
"""What has parts of its own, which Qt names or nobody reaches by keyboard."""
ROOT = "test-doors"
KEYS = Qt.Key


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server, tmp_path_factory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("doors")
    put_image(folder / "embryo.zarr", "0.5")
    with before_buckets(s3_server, folder, ROOT) as proxy:
        yield proxy


@pytest.fixture
def lab(proxy: Proxy) -> Connection:
    """A connection of the person, whose keys were typed."""
    proxy.clear()
    profile = Profile(
        "Lab", endpoint=proxy.url, sign_in="keys", start=f"s3://private/{ROOT}"
    )
    mark = Bookmark("The embryo", f"s3://private/{ROOT}/embryo.zarr", "Try this")
    connection = Connection(profile, (mark,))
    ConnectionFile().save(connection)
    key_store().hold("Lab", Keys(OWNER.key, OWNER.secret))
    return connection


def choose_connection(browser: Browser, name: str) -> None:
    """Choose in the list, as the mouse does."""
    chooser = browser.header.chooser
    chooser.setCurrentText(name)
    chooser.activated.emit(chooser.currentIndex())


def copied() -> str:
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    return clipboard.text()


def test_the_empty_state_offers_bookmarks_recent_places_and_a_paste(
    qtbot: QtBot, lab: Connection, here: str
) -> None:
    Recents().add(Location.parse(f"{here}/embryo.zarr"))
    browser = shown_browser(qtbot)
    assert browser.start_page.isVisible()
    assert not browser.tree.isVisible()
    places = browser.start_page.places
    groups = [places.topLevelItem(number) for number in range(3)]
    assert [item.text(0) for item in groups if item] == [
        "Opened",
        "Lab",
        "IDR (public)",
    ]
    lab_item = groups[1]
    assert lab_item is not None
    mark = lab_item.child(0)
    assert mark is not None
    assert "Try this" in mark.toolTip(0)
    places.setCurrentItem(mark)
    qtbot.keyClick(places, KEYS.Key_Return)
    settled(qtbot, browser)
    assert rows(browser) == ["embryo.zarr"]
    assert browser.header.chooser.currentText() == "Lab"
    browser.navigation.go()
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    clipboard.setText(f"  '{here}/'  ")
    qtbot.mouseClick(browser.start_page.paste_button, Qt.MouseButton.LeftButton)
    settled(qtbot, browser)
    assert rows(browser) == ["embryo.zarr"]
    assert browser.header.chooser.currentText() == "Any place"


def test_a_recent_place_is_forgotten_by_a_key(qtbot: QtBot, lab: Connection) -> None:
    for name in ("a", "b"):
        Recents().add(Location.parse(f"s3://bucket/{name}.zarr|profile:Lab"))
    browser = shown_browser(qtbot)
    places = browser.start_page.places
    (item,) = places.findItems(
        "a.zarr", Qt.MatchFlag.MatchStartsWith | Qt.MatchFlag.MatchRecursive
    )
    places.setCurrentItem(item)
    qtbot.keyClick(places, KEYS.Key_Delete)
    (left,) = Recents().entries()
    assert "b.zarr" in left.address
    recent = places.topLevelItem(0)
    assert recent is not None
    assert recent.childCount() == 1
    # Bookmarks are forgotten with their connection only.
    (mark,) = places.findItems(
        "The embryo", Qt.MatchFlag.MatchExactly | Qt.MatchFlag.MatchRecursive
    )
    places.setCurrentItem(mark)
    qtbot.keyClick(places, KEYS.Key_Delete)
    assert ConnectionFile().find("Lab") == lab


def test_the_running_demo_offers_its_server(
    qtbot: QtBot, s3_server: S3Server, tmp_path: Path, configuration: Path
) -> None:
    put_image(tmp_path / "cells.ome.zarr", "0.5")
    s3_server.upload(tmp_path, "public")
    with offering(demo_connection(s3_server.endpoint)):
        browser = shown_browser(qtbot)
        group = browser.start_page.places.topLevelItem(0)
        assert group is not None
        assert group.text(0) == "Demo server"
        cells = group.child(0)
        assert cells is not None
        browser.start_page.places.setCurrentItem(cells)
        qtbot.keyClick(browser.start_page.places, KEYS.Key_Return)
        settled(qtbot, browser)
        assert rows(browser) == ["cells.ome.zarr"]
        assert browser.header.chooser.currentText() == "Demo server"
    assert not list(configuration.iterdir())
    assert "Demo server" not in [c.name for c in read_known_places().connections]


def test_a_connection_leads_to_its_start_and_binds_what_is_typed(
    qtbot: QtBot, lab: Connection
) -> None:
    browser = shown_browser(qtbot)
    choose_connection(browser, "Lab")
    settled(qtbot, browser)
    assert rows(browser) == ["embryo.zarr"]
    bar = browser.header.address
    bar.clear()
    qtbot.keyClicks(bar, "private")
    qtbot.keyClick(bar, KEYS.Key_Return)
    settled(qtbot, browser)
    assert ROOT in rows(browser)
    assert browser.navigation.here[0].profile == "Lab"
    assert OWNER.secret not in repr(browser.navigation.here)
    choose_connection(browser, "Any place")
    assert browser.navigation.here


def test_a_place_of_a_connection_is_bookmarked(
    qtbot: QtBot, lab: Connection, here: str, configuration: Path
) -> None:
    browser = shown_browser(qtbot)
    go(qtbot, browser, here)
    assert not browser.buttons.bookmark.isEnabled()
    choose_connection(browser, "Lab")
    settled(qtbot, browser)
    browser.buttons.bookmark.trigger()
    assert browser.status.label.text() == f"{ROOT} is among the bookmarks of Lab."
    found = ConnectionFile().find("Lab")
    assert found is not None
    assert [mark.name for mark in found.bookmarks] == ["The embryo", ROOT]
    assert found.locate(found.bookmarks[1].address) == browser.navigation.here[0]
    assert OWNER.secret not in (configuration / "connections.json").read_text()


def test_a_refused_key_is_typed_again_in_the_connection(
    qtbot: QtBot, lab: Connection
) -> None:
    key_store().hold("Lab", Keys(OWNER.key, "wrong"))
    browser = shown_browser(qtbot)
    choose_connection(browser, "Lab")
    settled(qtbot, browser)
    assert said(qtbot, browser)[1] == "Edit the connection…"
    assert "wrong" not in str(browser.errors.error)
    qtbot.mouseClick(browser.errors.button, Qt.MouseButton.LeftButton)
    (editor,) = browser.findChildren(ConnectionEditor)
    assert editor.windowTitle() == "Lab"
    editor.reject()
    quiet(qtbot)


def test_a_connection_without_a_start_shows_its_buckets(
    qtbot: QtBot, proxy: Proxy
) -> None:
    proxy.clear()
    ConnectionFile().save(
        Connection(Profile("Bare", endpoint=proxy.url, sign_in="keys"))
    )
    key_store().hold("Bare", Keys(OWNER.key, OWNER.secret))
    browser = shown_browser(qtbot)
    choose_connection(browser, "Bare")
    settled(qtbot, browser)
    assert {"private", "public"} <= set(rows(browser))
    entry = browser.tree.rows.entry(row(browser, "public"))
    assert entry is not None
    assert entry.kind is EntryKind.BUCKET
    browser.tree.choose(row(browser, "private"))
    qtbot.keyClick(browser.tree, KEYS.Key_Return)
    settled(qtbot, browser)
    assert ROOT in rows(browser)
    key_store().hold("Bare", Keys("nobody", "nothing"))
    browser.navigation.go()
    places = browser.start_page.places
    (group,) = places.findItems("Bare", Qt.MatchFlag.MatchExactly)
    places.setCurrentItem(group)
    qtbot.keyClick(places, KEYS.Key_Return)
    settled(qtbot, browser)
    assert browser.start_page.isVisible()
    assert said(qtbot, browser)


def test_an_endpoint_in_the_address_bar_shows_its_buckets(
    qtbot: QtBot, proxy: Proxy
) -> None:
    proxy.clear()
    ConnectionFile().save(
        Connection(Profile("Lab", endpoint=proxy.url, sign_in="keys"))
    )
    key_store().hold("Lab", Keys(OWNER.key, OWNER.secret))
    browser = shown_browser(qtbot)
    choose_connection(browser, "Lab")
    settled(qtbot, browser)
    browser.header.address.setText(f"s3+{proxy.url}/")
    qtbot.keyClick(browser.header.address, KEYS.Key_Return)
    settled(qtbot, browser)
    assert {"private", "public"} <= set(rows(browser))
    browser.tree.choose(row(browser, "private"))
    qtbot.keyClick(browser.tree, KEYS.Key_Return)
    settled(qtbot, browser)
    assert ROOT in rows(browser)


def test_listing_denied_asks_for_a_sign_in(
    browser: Browser, qtbot: QtBot, proxy: Proxy
) -> None:
    proxy.clear()
    go(qtbot, browser, f"s3+{proxy.url}/private/{ROOT}|anonymous:true")
    sentence, button = said(qtbot, browser)
    assert sentence.startswith("✖ Listing is not allowed at s3+")
    assert sentence.endswith(
        "Type the full address of an image, or choose another sign-in."
    )
    assert button == "Sign in…"
    qtbot.mouseClick(browser.errors.button, Qt.MouseButton.LeftButton)
    (editor,) = browser.findChildren(ConnectionEditor)
    assert editor.form.start.value == f"s3://private/{ROOT}"
    editor.reject()
    qtbot.mouseClick(browser.errors.close_button, Qt.MouseButton.LeftButton)
    assert not browser.errors.isVisible()


def test_a_busy_server_can_be_asked_again(
    browser: Browser, qtbot: QtBot, proxy: Proxy, here: str
) -> None:
    proxy.fault("*", s3_error(400, "RequestTimeTooSkewed"), forever=True)
    go(qtbot, browser, here)
    sentence, button = said(qtbot, browser)
    assert "Set the clock." in sentence
    assert button == "Try again"
    assert rows(browser) == [sentence.removesuffix(" Set the clock.")]
    proxy.clear()
    qtbot.mouseClick(browser.errors.button, Qt.MouseButton.LeftButton)
    settled(qtbot, browser)
    assert rows(browser) == ["embryo.zarr"]
    assert not browser.errors.isVisible()


def test_nothing_there_but_an_image_above_it(
    browser: Browser, qtbot: QtBot, here: str
) -> None:
    go(qtbot, browser, f"{here}/embryo.zarr/nothing")
    sentence, button = said(qtbot, browser)
    assert sentence.endswith("is a Zarr.")
    assert button == "Open that"
    qtbot.mouseClick(browser.errors.button, Qt.MouseButton.LeftButton)
    settled(qtbot, browser)
    assert rows(browser) == ["embryo.zarr"]


def test_what_is_no_address_is_said_and_stays_to_be_mended(
    browser: Browser, qtbot: QtBot
) -> None:
    browser.navigation.go_to_pasted("ftp://host/a.zarr")
    assert browser.errors.isVisible()
    assert browser.header.address.text() == "ftp://host/a.zarr"
    qtbot.keyClick(browser.header.address, KEYS.Key_Escape)
    assert not browser.errors.isVisible()
    qtbot.keyClick(browser.header.address, KEYS.Key_Return)
    assert browser.errors.isVisible()


def test_a_row_that_cannot_be_read_says_why_in_its_tooltip(
    browser: Browser, qtbot: QtBot, proxy: Proxy, here: str
) -> None:
    proxy.fault("*/embryo.zarr/*", page(), forever=True)
    go(qtbot, browser, here)
    tip = row(browser, "embryo.zarr").data(Qt.ItemDataRole.ToolTipRole)
    assert "web page" in tip


@pytest.mark.parametrize("kind", ["text", "link", "file"])
def test_text_links_and_files_can_be_dropped(
    browser: Browser, qtbot: QtBot, here: str, tmp_path: Path, kind: str
) -> None:
    put_image(tmp_path / "embryo.zarr", "0.4")
    mime = QMimeData()
    if kind == "text":
        mime.setText(f"The data are at {here}.")
    else:
        local = kind == "file"
        url = QUrl.fromLocalFile(str(tmp_path)) if local else QUrl(here)
        mime.setUrls([url])
    drag_onto(browser, mime)
    settled(qtbot, browser)
    assert rows(browser) == ["embryo.zarr"]


def test_the_address_completes_from_what_is_known(
    qtbot: QtBot, lab: Connection, proxy: Proxy
) -> None:
    browser = shown_browser(qtbot)
    bar = browser.header.address
    qtbot.keyClicks(bar, "EMBRYO")
    completer = bar.completer()
    assert completer is not None
    address = f"s3+{proxy.url}/private/{ROOT}/embryo.zarr"
    assert completer.completionCount() == 1
    assert completer.currentCompletion() == address
    bar.setText(completer.currentCompletion())
    qtbot.keyClick(bar, KEYS.Key_Return)
    settled(qtbot, browser)
    assert rows(browser) == ["embryo.zarr"]
    # What was begun and left says again where one is.
    place = bar.text()
    bar.setText("begun")
    qtbot.keyClick(bar, KEYS.Key_Escape)
    assert bar.text() == place


def test_addresses_and_python_are_copied_without_secrets(
    browser: Browser, qtbot: QtBot, here: str, proxy: Proxy
) -> None:
    go(qtbot, browser, here)
    assert not browser.details.isVisible()
    assert not browser.buttons.open_button.isEnabled()
    browser.tree.choose(row(browser, "embryo.zarr"))
    assert browser.buttons.open_button.isEnabled()
    texts = []
    for action in browser.row_actions.copies:
        action.trigger()
        texts.append(copied())
    address, s3, web, python = texts
    assert address == f"{here}/embryo.zarr"
    assert s3 == f"s3://public/{ROOT}/embryo.zarr"
    assert web == f"{proxy.url}/public/{ROOT}/embryo.zarr"
    assert compile(python, "snippet", "exec")
    assert browser.status.label.text() == "Python copied."


def test_a_row_can_be_chosen_where_the_configuration_names_no_address(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://[lab")
    place = Location.parse("s3://b/x")
    entry = Entry(place, "x", EntryKind.IMAGE, True)
    browser.row_actions.set_row(entry, OpenRequest(place), ())
    enabled = [action.isEnabled() for action in browser.row_actions.copies]
    assert enabled == [True, True, False, True]


def test_a_link_is_given_only_where_others_can_read(
    browser: Browser, qtbot: QtBot, here: str, proxy: Proxy
) -> None:
    go(qtbot, browser, here)
    browser.tree.choose(row(browser, "embryo.zarr"))
    until(qtbot, lambda: not browser.details.busy)
    before = copied()
    (link, *_) = browser.row_actions.share.links
    proxy.fault("*", Status(403), forever=True)
    link.trigger()
    settled(qtbot, browser)
    assert "is not public" in said(qtbot, browser)[0]
    assert copied() == before
    proxy.clear()
    document = {"Access-Control-Allow-Origin": "*"}
    proxy.fault("*", Status(200, b"{}", document), forever=True)
    link.trigger()
    settled(qtbot, browser)
    assert copied() == (
        "https://ome.github.io/ome-ngff-validator/"
        f"?source={proxy.url}/public/{ROOT}/embryo.zarr"
    )
    assert browser.status.label.text().startswith("Link copied.")


def test_how_a_place_was_reached_is_said(
    browser: Browser, qtbot: QtBot, here: str
) -> None:
    go(qtbot, browser, here)
    assert browser.status.label.toolTip().endswith(" · public")


def test_the_menu_of_a_row_has_all_actions(
    browser: Browser, qtbot: QtBot, here: str
) -> None:
    go(qtbot, browser, here)
    browser.tree.choose(row(browser, "embryo.zarr"))
    browser.tree.customContextMenuRequested.emit(QPoint(5, 5))
    menu = QApplication.activePopupWidget()
    assert menu is not None
    texts = [action.text() for action in menu.actions() if action.text()]
    assert texts == [
        "Open",
        "Open…",
        "Open labels only",
        "Open region…",
        "Copy",
        "Show files",
        "Bookmark this place",
        "Open in a web viewer",
        "Labels table…",
        "Download…",
        "Upload here…",
        "New folder…",
        "Rename…",
        "Delete…",
        "View a chunk, speed test",
        "Validate",
        "Raw metadata",
        "Columns and order",
    ]
    menu.close()


def ancestors(widget: QWidget) -> Iterator[QWidget]:
    while (above := widget.parentWidget()) is not None:
        yield above
        widget = above


def nameless(window: QWidget) -> list[str]:
    """The controls that a screen reader has no word for; Qt's own parts left out."""
    return [
        f"{type(widget).__name__} in {type(widget.parentWidget()).__name__}"
        for widget in window.findChildren(QWidget)
        if isinstance(widget, CONTROLS)
        and not isinstance(widget, QScrollBar)
        and not any(isinstance(above, PARTED) for above in ancestors(widget))
        and not widget.objectName().startswith("qt_")
        and not widget.accessibleName()
        and not any(letter.isalpha() for letter in getattr(widget, "text", str)())
    ]


def test_everything_has_a_name_to_be_read_aloud(
    browser: Browser, qtbot: QtBot, here: str, tmp_path: Path
) -> None:
    go(qtbot, browser, here)
    browser.tree.choose(row(browser, "embryo.zarr"))
    until(qtbot, lambda: not browser.details.busy)
    forms = [
        ConnectionEditor(parent=browser),
        CopyForm(Location.parse, parent=browser),
        TableForm(ViewerModel(), Location.parse, parent=browser),
        OpenForm(find_choices(Location.parse(f"{here}/embryo.zarr")), browser),
    ]
    quiet(qtbot)
    browser.errors.show_error(errors.WebPageError("A page."))
    found = {type(form).__name__: nameless(form) for form in (*forms, browser)}
    assert not [name for names in found.values() for name in names], found
    for form in forms:
        form.close()
    place = Location.parse("s3://b/x")
    entry = Entry(place, "a.zarr", EntryKind.IMAGE, True, "c2 z4", "0.5")
    assert accessible_text(entry) == "a.zarr, image, c2 z4, 0.5"


def test_it_is_no_wider_than_300_pixels(browser: Browser, qtbot: QtBot) -> None:
    assert browser.minimumSizeHint().width() <= 300
    browser.errors.show_error(
        errors.AccessDeniedError("x" * 30 + " " + "y" * 200, action="Choose another.")
    )
    assert browser.minimumSizeHint().width() <= 300


def test_after_many_rows_only_the_last_one_asks_for_more() -> None:
    place = Location.parse("s3://b/x")
    node = TreeNode(1, Entry(place, ""), state=State.MORE)
    assert node.loads_on_scroll
    node.entries = [Entry(place, "a")] * MOST
    assert not node.loads_on_scroll
    assert node.tail_text() == "… show the next (5,000 of many; a filter is quicker)"
    node.entries, node.before = node.entries[:1000], MOST
    assert node.tail_text() == "… load more (5,001 to 6,000 of many)"
    node.state = State.ENDED
    assert node.tail_text() == "5,001 to 6,000: the end. F5 begins again"
    node.state, node.hidden = State.PAUSED, 4000
    assert node.tail_text() == "… look further (4,000 files so far)"


@pytest.mark.usefixtures("checked_rows")
def test_rows_that_go_take_what_was_opened_below_them_along(
    browser: Browser, qtbot: QtBot, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 20
    monkeypatch.setattr(tree_model, "MOST", most)
    go(qtbot, browser, here)
    model = browser.tree.rows
    root = model.root
    assert root is not None
    browser.tree.expand(row(browser, "embryo.zarr"))
    settled(qtbot, browser)
    browser.tree.expand(model.index(0, 0, row(browser, "embryo.zarr")))
    settled(qtbot, browser)
    assert len(model.nodes) == 3
    model.append(root, [Entry(root.entry.location, f"{n:05}") for n in range(most)])
    root.state = State.MORE
    model.update_tail(root)
    # There is no more: the page that comes in place of these is empty.
    assert model.load_more(model.index(most + 1))
    assert set(model.nodes) == {root.key}
    assert rows(browser) == ["Loading …"]
    settled(qtbot, browser)
    assert root.before == most + 1
    assert not root.entries


def test_what_is_found_of_rows_that_are_gone_is_dropped(
    qtbot: QtBot, proxy: Proxy, here: str
) -> None:
    owner = QObject()
    model = EntryModel(owner)
    model.show_place(Location.parse(here))
    until(qtbot, lambda: not pending)
    root = model.root
    assert root is not None
    model.append(root, [Entry(root.entry.location, "gone.zarr")])
    proxy.fault("*/gone.zarr/*", Stalled(), forever=True)
    model.probe_visible([model.index(1)])
    until(qtbot, lambda: [r for r in proxy.requests if "gone.zarr" in r.path])
    model.refresh(root)
    until(qtbot, lambda: root.state is State.ENDED)
    proxy.clear()
    proxy.release()
    until(qtbot, lambda: not pending)
    assert [entry.name for entry in root.entries] == ["embryo.zarr"]


def test_a_folder_is_not_dragged(browser: Browser, qtbot: QtBot, here: str) -> None:
    go(qtbot, browser, here.removesuffix(f"/{ROOT}"))
    assert browser.tree.rows.mimeData([row(browser, ROOT)]) is None
    go(qtbot, browser, here)
    mime = browser.tree.rows.mimeData([row(browser, "embryo.zarr")])
    assert mime is not None
    assert mime.text() == f"{here}/embryo.zarr"


def test_history_goes_back_and_forgets_repeats() -> None:
    history = History()
    assert not history.can_go_back
    assert history.back() == ()
    place = Location.parse("s3://bucket/a/b.zarr")
    for _ in range(2):
        history.go((place,))
    assert above(history.here) == (Location.parse("s3://bucket/a"),)
    assert above((Location.parse("s3://bucket"),)) == ()
    assert above((place, place)) == ()
    assert history.back() == ()


@pytest.mark.parametrize(
    ("path", "kind", "folder"),
    [
        ("plain", EntryKind.FOLDER, "s3://b/x/plain"),
        ("a.zarr", EntryKind.FOLDER, "s3://b/x"),
        ("uuid", EntryKind.IMAGE, "s3://b/x"),
        ("notes.txt", EntryKind.FILE, "s3://b/x"),
    ],
)
def test_here_is_a_folder_and_never_inside_an_image(
    path: str, kind: EntryKind, folder: str
) -> None:
    place = Location.parse("s3://b/x")
    entry = Entry(place, path, kind)
    assert folder_for(entry, (place,)) == Location.parse(folder)
    assert folder_for(None, (place,)) == place
    assert folder_for(None, (place, place)) is None


def test_the_status_line_counts() -> None:
    assert status_text(False, (), (1, 0), 0.0484) == "● 1 request · 48 ms"
    assert status_text(True, (), (12, 3_100_000), None) == "○ 12 requests · 3.1 MB"
    assert status_text(True, ("a", "b"), (1, 1), None) == "Opening a, b …"
    assert status_text(False, (), (0, 0), None) == ""
