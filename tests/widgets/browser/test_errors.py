"""Each thing that goes wrong, at a server, and the button that the dock offers."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trustme
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication

from browser_steps import go, quiet, row, rows, said, settled, shown_browser
from gui_steps import until
from napari_omezarr import errors
from napari_omezarr.connections import (
    Connection,
    ConnectionFile,
    Keys,
    Profile,
    key_store,
    sign_in_helps,
)
from napari_omezarr.demo.server import OWNER, READER
from napari_omezarr.location import Location
from napari_omezarr.store import open as opening
from napari_omezarr.widgets.browser.connection_editor import ConnectionEditor
from napari_omezarr.widgets.browser.errors import ErrorAction, action_for, bar_texts
from quick_retries import QUICK
from servers.faults import Status, page, s3_error
from servers.proxy import Proxy, before_buckets
from small_images import put_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_omezarr.demo.server import S3Server
    from napari_omezarr.widgets.browser.browser import Browser

ROOT = "test-browser-errors"
IMAGE = "embryo.zarr"


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server, tmp_path_factory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("errors")
    put_image(folder / IMAGE, "0.5")
    (folder / "broken.zarr").mkdir()
    (folder / "broken.zarr" / "zarr.json").write_text('{"attributes": ')
    with before_buckets(s3_server, folder, ROOT) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "RetryPolicy", lambda: QUICK)


@pytest.fixture
def lab(proxy: Proxy) -> str:
    """A connection of the person's, whose keys were typed; returns its start."""
    proxy.clear()
    profile = Profile("Lab", endpoint=proxy.url, sign_in="keys")
    ConnectionFile().save(Connection(profile))
    key_store().hold("Lab", Keys(OWNER.key, OWNER.secret))
    return f"s3://private/{ROOT}|profile:Lab"


def press(qtbot: QtBot, browser: Browser) -> None:
    """Press the button of the bar, and wait for what comes of it."""
    qtbot.mouseClick(browser.errors.button, Qt.MouseButton.LeftButton)
    settled(qtbot, browser)


def choose(qtbot: QtBot, browser: Browser, name: str) -> None:
    """Choose a row and wait until the panel has nothing more to say."""
    settled(qtbot, browser)
    browser.tree.choose(row(browser, name))
    # What is found out of a row has the panel ask once more.
    settled(qtbot, browser)
    until(qtbot, lambda: not browser.details.busy)
    settled(qtbot, browser)


def editor_of(browser: Browser) -> ConnectionEditor:
    (editor,) = browser.findChildren(ConnectionEditor)
    return editor


def test_metadata_that_may_not_be_read_lead_to_the_connection(
    qtbot: QtBot, proxy: Proxy, lab: str
) -> None:
    browser = shown_browser(qtbot)
    proxy.fault(f"*/{IMAGE}/*", s3_error(403, "AccessDenied"), forever=True)
    go(qtbot, browser, lab)
    choose(qtbot, browser, IMAGE)
    sentence, button = said(qtbot, browser)
    assert sentence.startswith("✖ This key may not read s3://private/")
    assert button == "Sign in…"
    # What is an image by its name shows none of its levels as folders.
    browser.tree.expand(row(browser, IMAGE))
    settled(qtbot, browser)
    (below,) = rows(browser, row(browser, IMAGE))
    assert below.startswith("✖ This key may not read")
    press(qtbot, browser)
    editor = editor_of(browser)
    assert editor.windowTitle() == "Lab"
    assert editor.form.secret.value == ""
    editor.reject()
    quiet(qtbot)


def test_the_panel_is_asked_again_and_its_error_goes_with_the_row(
    browser: Browser, qtbot: QtBot, proxy: Proxy, here: str
) -> None:
    go(qtbot, browser, here)
    proxy.fault(f"*/{IMAGE}/*", page(), forever=True)
    choose(qtbot, browser, IMAGE)
    assert "answers with a web page" in said(qtbot, browser)[0]
    browser.tree.choose(row(browser, "broken.zarr"))
    assert not browser.errors.isVisible()
    until(qtbot, lambda: not browser.details.busy)
    sentence, button = said(qtbot, browser)
    assert "not JSON" in sentence
    assert button == "Show the metadata"
    press(qtbot, browser)
    until(qtbot, lambda: not browser.details.busy)
    assert '{"attributes": ' in browser.details.metadata.text.toPlainText()
    proxy.clear()
    proxy.fault(f"*/{IMAGE}/*", s3_error(400, "RequestTimeTooSkewed"), forever=True)
    choose(qtbot, browser, IMAGE)
    sentence, button = said(qtbot, browser)
    assert button == "Try again"
    proxy.clear()
    press(qtbot, browser)
    until(qtbot, lambda: not browser.details.busy)
    assert not browser.errors.isVisible()
    assert "OME-Zarr 0.5" in browser.details.header.facts.text()
    assert "✖" not in browser.details.header.facts.text()


def test_a_tab_that_fails_says_so_in_the_bar(
    browser: Browser, qtbot: QtBot, proxy: Proxy, here: str
) -> None:
    go(qtbot, browser, here)
    choose(qtbot, browser, IMAGE)
    panel = browser.details
    proxy.fault(f"*/{IMAGE}/*", s3_error(400, "RequestTimeTooSkewed"), forever=True)
    panel.show_tab(panel.validation)
    until(qtbot, lambda: not panel.busy)
    assert "clock of this computer" in said(qtbot, browser)[0]
    assert panel.validation.message.text().startswith("✖ The clock")
    proxy.clear()
    press(qtbot, browser)
    until(qtbot, lambda: not panel.busy)
    assert panel.validation.text.toPlainText().startswith("✔")


def test_an_ended_sign_in_gives_its_command_and_then_another_try(
    browser: Browser,
    qtbot: QtBot,
    proxy: Proxy,
    here: str,
    clean_aws_environment: Path,
) -> None:
    (clean_aws_environment / "credentials").write_text(
        f"[lab]\naws_access_key_id = {READER.key}\n"
        f"aws_secret_access_key = {READER.secret}\n"
    )
    proxy.fault("*", s3_error(400, "ExpiredToken"), forever=True)
    go(qtbot, browser, f"s3+{proxy.url}/private/{ROOT}|profile:lab")
    sentence, button = said(qtbot, browser)
    assert "Your AWS sign-in for profile lab has ended." in sentence
    assert button == "Copy the command"
    press(qtbot, browser)
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    assert clipboard.text() == "aws sso login --profile lab"
    assert said(qtbot, browser)[1] == "Try again"
    proxy.clear()
    press(qtbot, browser)
    assert IMAGE in rows(browser)


def test_a_profile_that_does_not_sign_in_can_be_left_out(
    browser: Browser, qtbot: QtBot, proxy: Proxy, here: str
) -> None:
    go(qtbot, browser, f"s3+{proxy.url}/public/{ROOT}|profile:nobody")
    sentence, button = said(qtbot, browser)
    assert sentence == "✖ There is no AWS profile nobody."
    assert button == "Try without signing in"
    press(qtbot, browser)
    assert IMAGE in rows(browser)
    assert not browser.errors.isVisible()


def test_who_must_sign_in_gets_a_connection_for_the_place(
    browser: Browser, qtbot: QtBot, proxy: Proxy, here: str, configuration: Path
) -> None:
    proxy.fault("*", Status(401), forever=True)
    go(qtbot, browser, f"s3+{proxy.url}/private/{ROOT}/{IMAGE}")
    assert said(qtbot, browser)[1] == "Sign in…"
    press(qtbot, browser)
    proxy.clear()
    editor = editor_of(browser)
    form = editor.form
    assert editor.windowTitle() == "private"
    assert form.endpoint.value == proxy.url
    assert form.start.value == f"s3://private/{ROOT}/{IMAGE}"
    assert editor.focusWidget() is form.access_key
    qtbot.keyClicks(form.access_key, OWNER.key)
    qtbot.keyClicks(form.secret, OWNER.secret)
    editor.save()
    until(qtbot, lambda: not editor.busy)
    settled(qtbot, browser)
    assert rows(browser) == [IMAGE]
    assert browser.header.chooser.currentText() == "private"
    assert OWNER.secret not in (configuration / "connections.json").read_text()
    key_store().forget("private")


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (s3_error(404, "NoSuchBucket"), "There is no bucket public"),
        (s3_error(301, "PermanentRedirect", Region="eu-west-1"), "region eu-west-1"),
    ],
)
def test_what_is_wrong_with_a_bucket_is_mended_in_its_connection(
    browser: Browser,
    qtbot: QtBot,
    proxy: Proxy,
    here: str,
    fault: Status,
    sentence: str,
) -> None:
    proxy.fault("*", fault, forever=True)
    go(qtbot, browser, f"{here}|anonymous:true")
    assert sentence in said(qtbot, browser)[0]
    assert said(qtbot, browser)[1] == "Edit the connection…"
    press(qtbot, browser)
    editor = editor_of(browser)
    assert editor.form.endpoint.value == proxy.url
    assert editor.form.start.value == f"s3://public/{ROOT}"
    editor.reject()


@pytest.mark.parametrize("way", ["file", "unverified"])
def test_a_certificate_of_their_own_is_trusted_by_its_file_or_for_one_host(
    browser: Browser, qtbot: QtBot, s3_server: S3Server, proxy: Proxy, tmp_path, way
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Proxy(s3_server.endpoint, context) as server:
        go(qtbot, browser, f"s3+{server.url}/public/{ROOT}|anonymous:true")
        sentence, button = said(qtbot, browser)
        assert sentence.endswith("is not trusted.")
        assert button == "Choose a CA file…"
        press(qtbot, browser)
        editor = editor_of(browser)
        form = editor.form
        assert form.more.isExpanded()
        assert not form.unverified.value
        assert editor.focusWidget() is form.ca_file.line_edit
        if way == "file":
            form.ca_file.line_edit.value = str(tmp_path / "ca.pem")
        else:
            form.unverified.value = True
        form.sign_in.value = "anonymous"
        editor.save()
        until(qtbot, lambda: not editor.busy)
        settled(qtbot, browser)
        assert IMAGE in rows(browser)
        noted = "is not checked" in browser.status.label.toolTip()
        assert noted == (way == "unverified")
        # It counts for the endpoint of the connection, and for no other.
        with Proxy(s3_server.endpoint, context) as other:
            go(qtbot, browser, f"s3+{other.url}/public/{ROOT}|profile:public")
            assert browser.errors.isVisible() == (way == "unverified")


def test_a_server_that_asks_to_slow_down_is_asked_again(
    browser: Browser, qtbot: QtBot, proxy: Proxy, here: str
) -> None:
    proxy.fault("*", s3_error(503, "SlowDown"), forever=True)
    go(qtbot, browser, here)
    sentence, button = said(qtbot, browser)
    assert "asks to slow down" in sentence
    assert button == "Try again"
    proxy.clear()
    press(qtbot, browser)
    assert IMAGE in rows(browser)


def test_a_web_page_asks_for_an_address(
    browser: Browser, qtbot: QtBot, proxy: Proxy, here: str
) -> None:
    proxy.fault("*", page(), forever=True)
    go(qtbot, browser, f"{proxy.url}/portal/{IMAGE}")
    sentence, button = said(qtbot, browser)
    assert "answers with a web page." in sentence
    assert button == "Type an address"
    press(qtbot, browser)
    assert browser.focusWidget() is browser.header.address


def test_opening_that_failed_is_tried_again(
    qtbot: QtBot, viewer, proxy: Proxy, here: str
) -> None:
    browser = shown_browser(qtbot, viewer)
    go(qtbot, browser, here)
    choose(qtbot, browser, IMAGE)
    proxy.fault(f"*/{IMAGE}/*", s3_error(400, "RequestTimeTooSkewed"), forever=True)
    browser.row_actions.open.trigger()
    until(qtbot, lambda: not browser.opener.names)
    settled(qtbot, browser)
    assert said(qtbot, browser)[1] == "Try again"
    proxy.clear()
    press(qtbot, browser)
    until(qtbot, lambda: len(viewer.layers) > 0)
    quiet(qtbot)


SIGN_IN = errors.SignInNeededError("Nobody.", action="Sign in with AWS.")
EXPIRED = errors.SignInExpiredError("Over.", action="Run: aws sso login")


@pytest.mark.parametrize(
    ("error", "named", "action", "sentence"),
    [
        (
            errors.AccessDeniedError("No.", action="Choose another profile."),
            False,
            ErrorAction.SIGN_IN,
            "No.",
        ),
        (EXPIRED, False, ErrorAction.COMMAND, "Over. Run: aws sso login"),
        (errors.SignInExpiredError("Over."), False, ErrorAction.RETRY, "Over."),
        (SIGN_IN, False, ErrorAction.SIGN_IN, "Nobody."),
        (SIGN_IN, True, ErrorAction.ANONYMOUS, "Nobody."),
        (errors.KeyNotAcceptedError("No key."), False, ErrorAction.EDIT, "No key."),
        (errors.CertificateError("Not trusted."), False, ErrorAction.CA_FILE, None),
        (
            errors.WebPageError("A page.", action="Check the address."),
            False,
            ErrorAction.ADDRESS,
            "A page.",
        ),
        (errors.MetadataError("Broken"), False, ErrorAction.METADATA, "Broken."),
        (
            errors.NodeNotFoundError("Not here, above.", action="Open that."),
            False,
            ErrorAction.PARENT,
            "Not here, above.",
        ),
        (errors.OptionError("No.", action="Yes."), False, ErrorAction.NONE, "No. Yes."),
    ],
)
def test_each_error_has_its_action(
    error: errors.OMEZarrError, named: bool, action: ErrorAction, sentence: str | None
) -> None:
    assert action_for(error, is_named=named) is action
    said, button = bar_texts(error, action)
    assert said == (sentence or error.sentence)
    assert bool(button) == (action is not ErrorAction.NONE)


@pytest.mark.parametrize(
    ("address", "kind", "helps"),
    [
        ("s3://lab/a.zarr", errors.AccessDeniedError, True),
        ("https://host/a.zarr", errors.SignInNeededError, True),
        ("s3://lab/a.zarr", errors.ReadOnlyError, False),
        ("s3://lab/a.zarr", errors.ClockSkewError, False),
        ("/lab/a.zarr", errors.AccessDeniedError, False),
        ("sftp://host/a.zarr", errors.SignInNeededError, False),
    ],
)
def test_a_sign_in_is_offered_only_where_a_connection_can_help(
    address: str, kind: type[errors.OMEZarrError], helps: bool
) -> None:
    place, error = Location.parse(address), kind("No.")
    assert sign_in_helps(error, place) is helps
    offered = action_for(error, place)
    assert offered is (ErrorAction.SIGN_IN if helps else ErrorAction.RETRY)


def test_every_error_of_a_place_has_a_button() -> None:
    def kinds(kind: type[errors.OMEZarrError]) -> list[type[errors.OMEZarrError]]:
        return [
            kind,
            *(each for below in kind.__subclasses__() for each in kinds(below)),
        ]

    bare = {errors.StoreError, errors.DiskFullError}
    for kind in set(kinds(errors.StoreError)) - bare:
        assert action_for(kind("It failed.")) is not ErrorAction.NONE


def test_a_profile_takes_any_certificate_at_its_own_endpoint_only() -> None:
    from napari_omezarr.connections import locate
    from napari_omezarr.location import Location
    from napari_omezarr.store.open import wished

    lab = Profile("Lab", endpoint="https://lab:9000", unverified=True)
    ConnectionFile().save(Connection(lab))
    assert ConnectionFile().find("Lab") == Connection(lab)
    assert wished(locate("s3://b/x", lab), None).unverified
    assert not wished(
        Location.parse("s3+https://other/b/x|profile:Lab"), None
    ).unverified
    aws = replace(lab, endpoint=None)
    assert not wished(Location.parse("s3://b/x"), aws).unverified
