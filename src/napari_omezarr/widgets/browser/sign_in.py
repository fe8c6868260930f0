"""Signing in where it is needed, for windows that know nothing of the browser."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_omezarr.connections import ConnectionFile

from .connection_editor import ConnectionEditor
from .errors import ErrorAction, bare_address, proposed_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

    from napari_omezarr.location import Location


def sign_in(
    refused: Location, parent: QWidget, go_on: Callable[[Location], object]
) -> ConnectionEditor:
    """Bring up a connection for a place that was refused; then go on there."""
    editor = ConnectionEditor(proposed_connection(refused), parent=parent)
    editor.saved.connect(partial(_end, refused, go_on))
    editor.show()
    editor.form.focus_field(ErrorAction.SIGN_IN)
    return editor


def _end(
    refused: Location, go_on: Callable[[Location], object], name: str, _done: str
) -> None:
    connection = ConnectionFile().find(name)
    if connection is not None:
        go_on(connection.locate(bare_address(refused)))
