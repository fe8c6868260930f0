"""What napari's notifications say about an opening: each thing once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari.utils.notifications import (
    notification_manager,
    show_error,
    show_info,
    show_warning,
)
from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_omezarr.errors import OMEZarrError
    from napari_omezarr.reading import Reading

MOST = 5
"""Sentences in one notification; the layers' metadata hold all warnings."""

_noted: set[str] = set()


def tell(readings: Iterable[Reading]) -> None:
    """Show the warnings and notes of what was opened, in one notification.

    Warnings are of the data, and come each time. Notes say how a place was reached
    (without signing in, at its new host), and one is enough until napari ends.
    """
    opened = list(readings)
    warnings = _unique(text for reading in opened for text in reading.warnings)
    notes = _unique(text for reading in opened for text in reading.notes)
    notes = [text for text in notes if text not in _noted]
    _noted.update(notes)
    sentences = [*notes, *warnings]
    if sentences:
        show = show_warning if warnings else show_info
        show(_joined(sentences))


def explain(error: OMEZarrError) -> None:
    """Show an error's sentence and action, once the caller has raised it.

    Depending on how the person came here, napari shows an error that a reader
    raises, or wraps it, or asks for another reader and says nothing of the cause.
    So look first what it has told, as soon as the event loop is back.
    """
    told_before = len(notification_manager.records)
    QTimer.singleShot(0, partial(_unless_told, error, told_before))


def _unless_told(error: OMEZarrError, told_before: int) -> None:
    records = notification_manager.records[told_before:]
    if not any(error.sentence in str(record.message) for record in records):
        show_error(str(error))


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _joined(sentences: Sequence[str]) -> str:
    shown = list(sentences[:MOST])
    hidden = len(sentences) - MOST
    if hidden > 0:
        shown.append(f"… and {hidden} more, in the layers' metadata.")
    return "\n".join(shown)
