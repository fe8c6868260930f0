"""Fixtures: a Chromium, the viewers' local copies, what was written served to them.

Where something is missing, the tests are skipped and say so; ``make test-browsers``
installs it, and sets a variable by which they fail instead.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from browsers import hosts, window
from browsers.hosts import OpenFileServer, ViewerHost
from browsers.window import Chromium
from napari_omezarr.browsing import Viewer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

REQUIRED = "BROWSERS_REQUIRED"


def need(missing: str) -> None:
    if missing and os.environ.get(REQUIRED):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    need(window.missing())
    with Chromium() as browser:
        yield browser


@pytest.fixture
def page(chromium: Chromium) -> Iterator[Page]:
    page = chromium.page()
    yield page
    page.context.close()


@pytest.fixture(scope="session")
def neuroglancer() -> Iterator[ViewerHost]:
    need(hosts.missing(Viewer.NEUROGLANCER))
    with ViewerHost(Viewer.NEUROGLANCER) as host:
        yield host


@pytest.fixture(scope="session")
def vizarr() -> Iterator[ViewerHost]:
    need(hosts.missing(Viewer.VIZARR))
    with ViewerHost(Viewer.VIZARR) as host:
        yield host


@pytest.fixture(params=["neuroglancer", "vizarr"])
def host(request: pytest.FixtureRequest) -> ViewerHost:
    """Each of the viewers."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def files(tmp_path) -> Iterator[OpenFileServer]:
    """``tmp_path``, for pages to read."""
    with OpenFileServer(tmp_path) as server:
        yield server
