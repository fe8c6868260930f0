"""The editor of connections, by keyboard and mouse; keys stay out of all files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QLineEdit

from browser_steps import settled, shown_browser
from gui_steps import until
from napari_omezarr.connections import (
    Bookmark,
    Connection,
    ConnectionFile,
    Keys,
    Profile,
    key_store,
)
from napari_omezarr.demo.server import OWNER
from napari_omezarr.widgets.browser.connection_editor import ConnectionEditor
from napari_omezarr.widgets.qt_async import pending
from servers.http import GuardedServer
from small_images import put_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_omezarr.demo.server import S3Server

PLANTED = "pl4nted-s3cret/+="
KEYS = Qt.Key


@pytest.fixture(scope="module")
def server(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> S3Server:
    folder = tmp_path_factory.mktemp("private")
    put_image(folder / "embryo.zarr", "0.5")
    s3_server.upload(folder, "private/test-editor")
    return s3_server


@pytest.fixture
def edit(qtbot: QtBot) -> Iterator[Callable[..., ConnectionEditor]]:
    def show(profile: Profile | None = None, *marks: Bookmark) -> ConnectionEditor:
        connection = Connection(profile, marks) if profile else None
        if connection is not None:
            ConnectionFile().save(connection)
        editor = ConnectionEditor(connection, stored=connection is not None)
        editor.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        qtbot.addWidget(editor)
        with qtbot.waitExposed(editor, timeout=60_000):
            editor.show()
        until(qtbot, lambda: not editor.busy)
        return editor

    yield show
    until(qtbot, lambda: not pending)


def typed(qtbot: QtBot, field: object, text: str) -> None:
    line: QLineEdit = field
    line.clear()
    qtbot.keyClicks(line, text)


def keyed(qtbot: QtBot, editor: ConnectionEditor, endpoint: str, secret: str) -> None:
    form = editor.form
    typed(qtbot, form.name, "Lab")
    typed(qtbot, form.endpoint, endpoint)
    typed(qtbot, form.start, "private/test-editor/embryo.zarr")
    form.sign_in.value = "keys"
    typed(qtbot, form.access_key, OWNER.key)
    typed(qtbot, form.secret, secret)


def checks_of(qtbot: QtBot, editor: ConnectionEditor) -> list[str]:
    qtbot.mouseClick(editor.test_button, Qt.MouseButton.LeftButton)
    until(qtbot, lambda: not editor.busy)
    return editor.message.text().splitlines()


def test_a_connection_is_typed_tested_saved_and_used(
    qtbot: QtBot, server: S3Server, configuration: Path
) -> None:
    browser = shown_browser(qtbot)
    qtbot.mouseClick(browser.header.buttons["edit"], Qt.MouseButton.LeftButton)
    editor = browser.findChild(ConnectionEditor)
    until(qtbot, lambda: not editor.busy)
    keyed(qtbot, editor, server.endpoint, OWNER.secret)
    lines = checks_of(qtbot, editor)
    assert [line[:8] for line in lines] == [
        "✔ Reache", "✔ Lists ", "✔ Reads ", "✔ Writes", "✔ Lists ",
    ]  # fmt: skip
    assert lines[4].endswith("buckets.")
    assert key_store().find("Lab") is None
    assert ConnectionFile().find("Lab") is None
    qtbot.keyClick(editor.form.name, KEYS.Key_Return)
    settled(qtbot, browser)
    assert browser.header.chooser.currentText() == "Lab"
    assert browser.header.address.text().endswith("private/test-editor/embryo.zarr")
    assert browser.tree.rows.index(0).data() == "embryo.zarr"
    assert key_store().find("Lab") == Keys(OWNER.key, OWNER.secret)
    written = "".join(f.read_text() for f in configuration.rglob("*") if f.is_file())
    assert '"Lab"' in written
    assert OWNER.secret not in written
    assert OWNER.key not in written
    browser.stop()
    settled(qtbot, browser)


def test_a_secret_is_shown_nowhere_and_does_not_stay(
    edit: Callable[..., ConnectionEditor],
    qtbot: QtBot,
    server: S3Server,
    configuration: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    editor = edit()
    keyed(qtbot, editor, server.endpoint, PLANTED)
    form = editor.form
    typed(qtbot, form.token, "")
    for field in (form.secret, form.token):
        assert field.echoMode() == QLineEdit.EchoMode.Password
        assert field.displayText() != PLANTED
    lines = checks_of(qtbot, editor)
    assert [line[0] for line in lines] == ["✔", "✖", "✖", "✖", "✖"]
    assert "does not accept the key or its secret. Correct them in this" in lines[1]
    # The reason is said once.
    assert lines[2:] == [
        f"✖ Does not {what}, for the same reason."
        for what in ("read", "write", "list buckets")
    ]
    shown = (*map(repr, form.fields), repr(form.keys()), *lines)
    qtbot.keyClick(form.secret, KEYS.Key_Escape)
    assert not editor.isVisible()
    assert form.secret.value == form.access_key.value == ""
    assert not form.secret.isUndoAvailable()
    files = [f.read_text() for f in configuration.rglob("*") if f.is_file()]
    clipboard = QApplication.clipboard().text()
    for text in (*shown, *files, caplog.text, clipboard):
        assert PLANTED not in text


def test_kept_keys_are_not_shown_and_stay_unless_others_are_typed(
    edit: Callable[..., ConnectionEditor], qtbot: QtBot, server: S3Server
) -> None:
    keys = Keys(OWNER.key, OWNER.secret)
    key_store().keep("Lab", keys)
    mark = Bookmark("one", "s3://private/one|profile:Lab")
    profile = Profile(
        "Lab",
        endpoint=server.endpoint,
        sign_in="keys",
        start="private/test-editor/embryo.zarr",
        style="path",
        requester_pays=True,
    )
    editor = edit(profile, mark)
    form = editor.form
    assert form.secret.value == form.access_key.value == ""
    assert form.secret.placeholderText() == "kept; type to replace it"
    assert form.profile() == profile
    typed(qtbot, form.name, "Laboratory")
    assert [line[0] for line in checks_of(qtbot, editor)] == ["✔"] * 5
    with qtbot.waitSignal(editor.saved, timeout=60_000) as saved:
        editor.save_button.click()
    assert saved.args == ["Laboratory", "Laboratory saved."]
    assert key_store().find("Laboratory") == keys
    assert key_store().find("Lab") is None
    assert [c.name for c in ConnectionFile().connections()] == ["Laboratory"]
    assert ConnectionFile().find("Laboratory").bookmarks == (mark,)


def test_another_sign_in_forgets_the_keys(
    edit: Callable[..., ConnectionEditor], qtbot: QtBot
) -> None:
    key_store().keep("Lab", Keys("a", "b"))
    editor = edit(Profile("Lab", sign_in="keys"))
    editor.form.sign_in.value = "anonymous"
    assert not editor.form.secret.isVisible()
    with qtbot.waitSignal(editor.saved, timeout=60_000):
        editor.save_button.click()
    assert key_store().find("Lab") is None
    assert ConnectionFile().find("Lab").profile.anonymous


def test_a_token_is_typed_tested_saved_and_used(
    qtbot: QtBot, tmp_path: Path, configuration: Path
) -> None:
    put_image(tmp_path / "embryo.zarr", "0.5")
    with GuardedServer(tmp_path, ("x-api-key", PLANTED)) as server:
        browser = shown_browser(qtbot)
        qtbot.mouseClick(browser.header.buttons["edit"], Qt.MouseButton.LeftButton)
        editor = browser.findChild(ConnectionEditor)
        until(qtbot, lambda: not editor.busy)
        form = editor.form
        typed(qtbot, form.name, "Lab")
        typed(qtbot, form.start, f"{server.url}/embryo.zarr")
        assert not form.header.isVisible()
        form.sign_in.value = "header"
        assert form.header.isVisible()
        assert form.key_store.isVisible()
        assert not form.secret.isVisible()
        assert form.header.echoMode() == QLineEdit.EchoMode.Password
        assert form.missing().startswith("Type the endpoint")
        typed(qtbot, form.endpoint, f"{server.url}/")
        assert form.missing() == "Type a token, or a header as Name: value."
        typed(qtbot, form.header, f"X-API-Key: {PLANTED}")
        lines = checks_of(qtbot, editor)
        assert [line[0] for line in lines] == ["✔", "✖", "✔", "✖", "?"]
        assert PLANTED not in "".join((*lines, *map(repr, form.fields)))
        qtbot.keyClick(form.name, KEYS.Key_Return)
        settled(qtbot, browser)
        assert browser.header.chooser.currentText() == "Lab"
        assert browser.tree.rows.index(0).data() == "embryo.zarr"
        browser.stop()
        settled(qtbot, browser)
    assert key_store().find("Lab") == Keys(server.url, f"X-API-Key: {PLANTED}")
    assert ConnectionFile().find("Lab").profile.endpoint == server.url
    written = "".join(f.read_text() for f in configuration.rglob("*") if f.is_file())
    assert '"Lab"' in written
    assert PLANTED not in written


def test_a_kept_token_stays_for_its_endpoint_alone(
    edit: Callable[..., ConnectionEditor], qtbot: QtBot
) -> None:
    key_store().keep("Lab", Keys("https://host", PLANTED))
    editor = edit(Profile("Lab", endpoint="https://host", sign_in="header"))
    form = editor.form
    assert form.header.value == ""
    assert form.header.placeholderText() == "kept; type to replace it"
    assert form.missing() == ""
    typed(qtbot, form.endpoint, "https://other")
    assert form.missing().startswith("Type a token")
    typed(qtbot, form.endpoint, "https://host")
    with qtbot.waitSignal(editor.saved, timeout=60_000):
        editor.save_button.click()
    assert key_store().find("Lab") == Keys("https://host", PLANTED)


def test_it_says_where_keys_go(edit: Callable[..., ConnectionEditor]) -> None:
    editor = edit()
    assert not editor.form.key_store.isVisible()
    editor.form.sign_in.value = "keys"
    assert editor.form.key_store.isVisible()
    assert editor.form.key_store.text() == key_store().sentence


def test_aws_profiles_are_offered(
    edit: Callable[..., ConnectionEditor], qtbot: QtBot, clean_aws_environment: Path
) -> None:
    (clean_aws_environment / "config").write_text(
        "[profile lab]\nregion = eu-west-1\n[profile home]\n"
    )
    editor = edit(Profile("Away", aws_profile="gone"))
    assert editor.form.aws_profile.isVisible()
    assert set(editor.form.aws_profile.choices) == {"lab", "home", "gone"}
    assert editor.form.profile().aws_profile == "gone"
    editor.form.aws_profile.value = "lab"
    with qtbot.waitSignal(editor.saved, timeout=60_000):
        editor.save_button.click()
    assert ConnectionFile().find("Away").profile.aws_profile == "lab"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "✖ Type a name."),
        ({"sign_in": "keys", "access_key": "a"}, "✖ Type key and secret."),
        ({"endpoint": "no address at all"}, "✖ "),
        ({"name": "Taken"}, "✖ There is another connection called Taken."),
    ],
)
def test_what_cannot_be_saved_is_said(
    edit: Callable[..., ConnectionEditor],
    qtbot: QtBot,
    fields: dict[str, str],
    said: str,
) -> None:
    ConnectionFile().save(Connection(Profile("Taken")))
    editor = edit()
    for name, value in ({"name": "New"} | fields).items():
        getattr(editor.form, name).value = value
    editor.save_button.click()
    until(qtbot, lambda: not editor.busy)
    assert editor.message.text().startswith(said)
    assert editor.isVisible()
    assert [c.name for c in ConnectionFile().connections()] == ["Taken"]


def test_a_folder_that_cannot_be_written_is_said(
    edit: Callable[..., ConnectionEditor],
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_omezarr.user_files import FOLDER_VARIABLE

    editor = edit(Profile("Lab"))
    (tmp_path / "file").touch()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file"))
    for press in (editor.save, editor.remove, editor.remove):
        press()
        until(qtbot, lambda: not editor.busy)
    assert "could not be written" in editor.message.text()
    assert editor.isVisible()


def test_the_start_that_is_no_address_fails_the_test(
    edit: Callable[..., ConnectionEditor], qtbot: QtBot
) -> None:
    editor = edit()
    typed(qtbot, editor.form.start, "ftp://nowhere")
    assert checks_of(qtbot, editor)[0].startswith("✖")


def test_remove_asks_once_more(
    edit: Callable[..., ConnectionEditor], qtbot: QtBot
) -> None:
    key_store().keep("Lab", Keys("a", "b"))
    editor = edit(Profile("Lab", sign_in="keys"))
    editor.remove_button.click()
    assert ConnectionFile().find("Lab")
    with qtbot.waitSignal(editor.saved, timeout=60_000) as saved:
        editor.remove_button.click()
    assert saved.args == ["", "Lab removed."]
    assert ConnectionFile().find("Lab") is None
    assert key_store().find("Lab") is None


def test_a_new_one_leaves_the_old_one(
    edit: Callable[..., ConnectionEditor], qtbot: QtBot
) -> None:
    editor = edit(Profile("Lab", region="here"))
    editor.new_button.click()
    assert editor.form.profile() == Profile("")
    assert not editor.remove_button.isVisible()
    typed(qtbot, editor.form.name, "Second")
    with qtbot.waitSignal(editor.saved, timeout=60_000):
        editor.save_button.click()
    assert [c.name for c in ConnectionFile().connections()] == ["Lab", "Second"]


def test_others_are_taken_over_keys_only_if_asked(
    edit: Callable[..., ConnectionEditor],
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clean_aws_environment: Path,
    configuration: Path,
) -> None:
    alias = {"url": "https://minio.lab:9000", "accessKey": "a", "secretKey": PLANTED}
    aliases = {"lab": alias, "own": alias}
    (tmp_path / "config.json").write_text(json.dumps({"aliases": aliases}))
    monkeypatch.setenv("MC_CONFIG_DIR", str(tmp_path))
    (clean_aws_environment / "config").write_text("[profile away]\n")
    key_store().keep("own", Keys("mine", "mine"))
    editor = edit(Profile("own", sign_in="keys"))
    for action in editor.import_menu.actions()[:2]:
        action.trigger()
        until(qtbot, lambda: not editor.busy)
    assert [c.name for c in ConnectionFile().connections()] == ["own", "away", "lab"]
    assert editor.message.text() == (
        "Took over 1 connection. 1 had a name that is taken."
    )
    assert key_store().find("lab") is None
    ConnectionFile().remove("lab")
    editor.import_menu.actions()[2].trigger()
    until(qtbot, lambda: not editor.busy)
    assert key_store().find("lab") == Keys("a", PLANTED)
    assert key_store().find("own") == Keys("mine", "mine")
    for file in configuration.rglob("*"):
        assert not file.is_file() or PLANTED not in file.read_text()


def test_it_fits_a_narrow_screen_and_keys_reach_everything(
    edit: Callable[..., ConnectionEditor], qtbot: QtBot
) -> None:
    editor = edit()
    editor.resize(300, 480)
    assert editor.width() == 300
    form = editor.form
    names = {field.accessibleName() for field in form.fields}
    assert {"Name", "Endpoint", "Region", "Start at", "Sign in", "Secret"} <= names
    form.name.setFocus()
    for expected in (form.endpoint, form.region, form.start):
        qtbot.keyClick(editor.focusWidget(), KEYS.Key_Tab)
        assert editor.focusWidget() is expected
