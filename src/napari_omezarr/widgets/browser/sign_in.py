"""Signing in where it is needed, for windows that know nothing of the browser."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_omezarr.connections import ConnectionFile
from napari_omezarr.display.notifications import show_info

from .connection_editor import ConnectionEditor
from .errors import ErrorAction, bare_address, fitting_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtWidgets import QWidget

    from napari_omezarr.location import Location

    Places = Sequence[Location]


def sign_in(
    refused: Places, parent: QWidget, go_on: Callable[[Places], object]
) -> ConnectionEditor:
    """Bring up a connection for places that were refused; then go on there."""
    own = ConnectionFile().connections()
    connection = fitting_connection(refused[0], own)
    editor = ConnectionEditor(connection, stored=connection in own, parent=parent)
    editor.saved.connect(partial(_end, refused, go_on))
    editor.show()
    editor.form.focus_field(ErrorAction.SIGN_IN)
    return editor


def _end(
    refused: Places, go_on: Callable[[Places], object], name: str, done: str
) -> None:
    connection = ConnectionFile().find(name)
    if connection is not None:
        # Also where its keys are, which may not be for long.
        show_info(done)
        go_on([connection.locate(bare_address(place)) for place in refused])
