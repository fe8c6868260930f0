"""Fixtures of the tests that need napari's window."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.utils.notifications import Notification


@pytest.fixture(autouse=True)
def application(qapp: object) -> None:
    """Have Qt's application for each test: without one a picture ends the process."""


@pytest.fixture(autouse=True)
def no_transfers() -> Iterator[None]:
    """No copy of another test in the list of transfers."""
    yield
    module = sys.modules.get("napari_omezarr.widgets.transfers")
    if module is not None:
        for transfer in list(module.transfers().copies):
            module.transfers().remove(transfer)


@pytest.fixture
def notifications() -> Iterator[list[Notification]]:
    """The notifications of this test."""
    # Late, for these tests are left out where napari is not installed.
    from napari.utils.notifications import notification_manager

    notification_manager.records.clear()
    records: list[Notification] = []
    notification_manager.notification_ready.connect(records.append)
    yield records
    notification_manager.notification_ready.disconnect(records.append)
