"""What napari's notifications say of ours; the only door to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
)

from napari_omezarr.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Action = tuple[str, Callable[..., Any]]


def show_info(text: str, *actions: Action) -> None:
    """Tell something; an action is the text of a button and what it does."""
    _show(text, NotificationSeverity.INFO, actions)


def show_warning(text: str) -> None:
    """Tell what may matter."""
    _show(text, NotificationSeverity.WARNING, ())


def show_error(text: str, *actions: Action) -> None:
    """Tell what went wrong, and what may be done about it."""
    _show(text, NotificationSeverity.ERROR, actions)


def _show(text: str, severity: NotificationSeverity, actions: Sequence[Action]) -> None:
    notification_manager.dispatch(Notification(plain(text), severity, actions))
