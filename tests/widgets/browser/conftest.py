"""A browser that is shown, and the place that a module's tests go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from browser_steps import check_always, quiet, shown_browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot

    from napari_omezarr.widgets.browser.browser import Browser
    from servers.proxy import Proxy


@pytest.fixture
def here(proxy: Proxy, request: pytest.FixtureRequest) -> str:
    """Where the module has put its images, behind its proxy, which does nothing yet."""
    proxy.clear()
    return f"s3+{proxy.url}/public/{request.module.ROOT}"


@pytest.fixture
def browser(qtbot: QtBot) -> Iterator[Browser]:
    yield shown_browser(qtbot)
    quiet(qtbot)


@pytest.fixture
def checked_rows(browser: Browser) -> None:
    """Let Qt check the rows of the browser whenever they change."""
    check_always(browser.tree.rows)
