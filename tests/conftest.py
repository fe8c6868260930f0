"""Fixtures that all tests share: servers on this machine, and a clean environment."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from napari_omezarr.demo.server import OWNER, S3Server
from napari_omezarr.user_files import CACHE_VARIABLE, FOLDER_VARIABLE
from servers.http import FileServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The same examples each time, however busy the machine is; the weekly run draws others
# (``--hypothesis-profile=default``).
settings.register_profile(
    "napari-omezarr",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("napari-omezarr")


@pytest.fixture(autouse=True)
def clean_aws_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """No sign-in of this machine reaches a test; returns the folder of empty files.

    A test that wants profiles writes them to ``config`` and ``credentials`` there.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:
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
def owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign in as whoever may write to the buckets of `s3_server`."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)


@pytest.fixture
def s3_prefix() -> str:
    """A prefix that no other test has, to be put below a bucket."""
    return f"test-{uuid.uuid4().hex[:12]}"
