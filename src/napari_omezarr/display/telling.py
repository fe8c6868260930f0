"""What the display says to the person: in the status line and in notifications."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari.settings import get_settings
from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
    show_info,
)

from napari_omezarr.errors import OMEZarrError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .request import Notice

_ASYNC_HINT = (
    "This napari does not let OME-Zarr layers load step by step. Preferences > "
    "Experimental > Render Images Asynchronously keeps its window responsive."
)


class Telling:
    """Says each thing once; holds viewers weakly."""

    def __init__(self) -> None:
        self._lines: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._noted: set[str] = set()
        self._hinted = False

    def meets(self, viewer: Any) -> bool:
        """Write in the status line of a viewer from now on; False if it does."""
        known = viewer in self._lines
        self._lines.setdefault(viewer, "")
        return not known

    def load(self, sentence: Callable[[Any], str]) -> None:
        """Say in each viewer what is loading.

        Parameters
        ----------
        sentence : callable
            Gives it for a viewer's layers, empty when all is there.
        """
        for viewer, before in list(self._lines.items()):
            said = sentence(viewer.layers)
            # Whatever else stands there now is somebody else's, and stays.
            if said or (before and viewer.status == before):
                viewer.status = said or "Ready"
            self._lines[viewer] = said

    def know(self, notes: Iterable[str]) -> None:
        """Take notes for said: whoever opened the image has."""
        self._noted.update(notes)

    def note(self, notes: Iterable[str]) -> None:
        """Say what has become known of a place since, like that it is offline."""
        for text in notes:
            if text not in self._noted:
                self._noted.add(text)
                show_info(text)

    def fail(self, notice: Notice, retry: Callable[[], None]) -> None:
        """Say why a place fails, with a button that tries again."""
        said = str(notice.error)
        if not isinstance(notice.error, OMEZarrError):
            said = f"A chunk from {notice.place} cannot be decoded: {said}"
        # napari hands the notification's widget to what a button calls.
        actions = (("Retry", lambda *_: retry()),)
        severity = NotificationSeverity.ERROR
        notification_manager.dispatch(Notification(said, severity, actions))

    def hint_at_async(self) -> None:
        """Say what helps where the display cannot, unless it is set."""
        if not self._hinted and not get_settings().experimental.async_:
            self._hinted = True
            show_info(_ASYNC_HINT)
