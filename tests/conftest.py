"""Fixtures that all tests share: servers on this machine, and a clean environment."""

from __future__ import annotations

import gc
import os
import signal
import sys
import uuid
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keyring
import keyring.backends.fail
import pytest
from hypothesis import HealthCheck, settings

from napari_omezarr.connections import key_store
from napari_omezarr.demo.server import OWNER, S3Server
from napari_omezarr.user_files import CACHE_VARIABLE, FOLDER_VARIABLE
from servers.http import FileServer
from servers.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytestqt.qtbot import QtBot

HERE = Path(__file__).parent
GUI_FOLDERS = {"gui", "widgets"}
"""What lies below one of these needs napari and a Qt binding."""
BINDINGS = ("PyQt6", "PySide6")

# Read when napari is imported: the tests have no settings file, and write none.
os.environ["NAPARI_CONFIG"] = ""

# A shell in which the run was started in the background has it ignored, and so would
# the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where either is missing these folders are left out whole, so that the other tests
# can be run in an environment without them: ``make test-core``.
if not find_spec("napari") or not any(find_spec(name) for name in BINDINGS):
    collect_ignore_glob = [
        f"{depth}{name}" for name in GUI_FOLDERS for depth in ("", "*/")
    ]

# Every program that tests start would compile all of napari anew, for seconds.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

LONG = {
    "test_demo.py",
    "test_kills.py",
    "test_cluster.py",
    "test_hostile_stores.py",
    "test_bounds.py",
    "test_closing.py",
    "test_slots.py",
    "test_races.py",
    "test_dask_requests.py",
    "test_interruption.py",
    "test_convert.py",
}
"""Tests of many seconds are in these: begun first, none is waited for at the end."""

# The same examples each time, however busy the machine is; the weekly run draws others
# (``--hypothesis-profile=default``).
settings.register_profile(
    "napari-omezarr",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("napari-omezarr")


# First, because pytest's own hook then selects by marker.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if GUI_FOLDERS & set(item.path.relative_to(HERE).parts):
            item.add_marker(pytest.mark.gui)
            # A modal dialog never lets Python handle the signal of the other method.
            item.add_marker(pytest.mark.timeout(method="thread"))
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(autouse=True)
def frozen_heap(request: pytest.FixtureRequest) -> None:
    """What the tests before have left is not looked through again and again.

    Each test of a viewer collects garbage some times, which takes as long as the heap
    is large.
    """
    if "make_napari_viewer" in request.fixturenames:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def no_context_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No context of a canvas is current any more; one that is shown lets go itself.

    It is Python's: with PySide, the thread that collects it deletes it there, and Qt
    would read it, in the next tests, wherever the GUI thread deletes a window.
    """
    yield
    if "make_napari_viewer" in request.fixturenames and "PySide6" in sys.modules:
        from gui_steps import make_none_current

        make_none_current()


@pytest.fixture(scope="session", autouse=True)
def manifests_read_once() -> Iterator[None]:
    """Let the manifests of all plugins be read once, and not for each viewer.

    They are known from the first test on, whichever it is.
    """
    from npe2 import PluginManager, PluginManifest

    discover = PluginManifest.discover
    found = cache(lambda paths: tuple(discover(paths)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "discover", lambda paths=(): found(tuple(paths)))
        PluginManager.instance().discover()
        yield


@pytest.fixture(autouse=True)
def clean_aws_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """No sign-in of this machine reaches a test; returns the folder of empty files.

    A test that wants profiles writes them to ``config`` and ``credentials`` there.
    """
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("aws")
    for variable, name in (
        ("AWS_CONFIG_FILE", "config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    ):
        (folder / name).touch()
        monkeypatch.setenv(variable, str(folder / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return folder


@pytest.fixture(autouse=True)
def configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Our own files (recent places, journals) in empty folders, not in the person's."""
    folder = tmp_path_factory.mktemp("configuration")
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
    return folder


@pytest.fixture(autouse=True)
def no_keychain() -> Iterator[None]:
    """No keychain, of this machine or of another test, and no key of another test."""
    # Not only left out: keyring would take any class of a keychain that it finds, those
    # that tests define too, and what one test keeps there another would find.
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    key_store.cache_clear()
    yield
    key_store.cache_clear()
    keyring.set_keyring(before)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy between the tests and their servers."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def http_server(tmp_path: Path) -> Iterator[FileServer]:
    """A file server over ``tmp_path``."""
    with FileServer(tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """SeaweedFS with the buckets ``public`` and ``private``; starts in about 4 s."""
    with S3Server() as server:
        yield server


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    """A proxy before `s3_server`, which counts, delays and breaks."""
    with Proxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign in as whoever may write to the buckets of `s3_server`."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """What napari's notifications have said since the test began."""
    from napari.utils.notifications import notification_manager

    notification_manager.records.clear()
    yield notification_manager.records
    notification_manager.records.clear()


@pytest.fixture
def s3_prefix() -> str:
    """A prefix that no other test has, to be put below a bucket."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A dask cluster of two processes, for the tests of one module."""
    pytest.importorskip("distributed")
    from napari_omezarr.converting import scheduled

    with scheduled("processes:2") as client:
        yield client


@pytest.fixture
def qtbot(qapp: Any, request: pytest.FixtureRequest) -> QtBot:
    """pytest-qt's own, which waits longer for a window on a busy machine."""
    from pytestqt.qtbot import QtBot

    class PatientBot(QtBot):
        def waitExposed(self, widget: Any, *, timeout: int = 60_000) -> Any:
            return super().waitExposed(widget, timeout=max(timeout, 60_000))

        wait_exposed = waitExposed

    return PatientBot(request)


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any], qtbot: QtBot) -> Iterator[Any]:
    """A viewer; the test is over when what it has opened is."""
    from napari_omezarr.widgets.qt_async import pending

    yield make_napari_viewer()
    qtbot.waitUntil(lambda: not pending, timeout=60_000)
