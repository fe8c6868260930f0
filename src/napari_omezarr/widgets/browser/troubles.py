"""What went wrong anywhere in the dock, and what the button beside it does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QGuiApplication

from napari_omezarr.connections import Connection
from napari_omezarr.connections.connections import Profile
from napari_omezarr.user_files import without_secrets

from .remedy import Remedy, command, remedy_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_omezarr.errors import OMEZarrError
    from napari_omezarr.location import Location

    from .details import DetailsPanel
    from .error_bar import ErrorBar
    from .header import Header
    from .opener import Opener
    from .walk import Walk


class Troubles(QObject):
    """Shows errors of the dock's parts in its bar, and does what the bar offers.

    Parameters
    ----------
    bar : ErrorBar
        Shows them.
    header : Header
        Where the connection and the address are.
    walk : Walk
        Says where one is.
    parent : QObject
        Its owner.
    """

    edit_wanted = Signal(object, object)
    """A `Connection` to edit, and the `Remedy` for which."""

    def __init__(
        self, bar: ErrorBar, header: Header, walk: Walk, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._bar = bar
        self._header = header
        self._walk = walk
        self._again: Callable[[], object] = walk.reload
        self._place: Location | None = None
        self._of_panel = False
        self._panel: DetailsPanel | None = None
        bar.asked.connect(self.help)

    def hear_opener(self, opener: Opener) -> None:
        """Show what could not be opened, which can be tried once more."""

        def show(error: OMEZarrError) -> None:
            self.show(error, opener.place, opener.again)

        opener.failed.connect(show)

    def hear_panel(self, panel: DetailsPanel) -> None:
        """Show what could not be found out of a row, until another one is chosen."""
        self._panel = panel

        def show(error: OMEZarrError) -> None:
            self.show(error, panel.location, panel.again)
            self._of_panel = True

        panel.failed.connect(show)
        panel.began.connect(self._forget_panel)

    def show(
        self,
        error: OMEZarrError,
        place: Location | None = None,
        again: Callable[[], object] | None = None,
    ) -> None:
        """Show an error.

        Parameters
        ----------
        error : OMEZarrError
            What went wrong.
        place : Location, optional
            Where; by default what the dock shows.
        again : callable, optional
            Tries it once more; by default the rows are asked for anew.
        """
        here = self._walk.here
        self._place = place or (here[0] if len(here) == 1 else None)
        self._again = again or self._walk.reload
        self._of_panel = False
        self._bar.show_error(error, remedy_for(error, is_named=self._is_named()))

    def help(self, remedy: Remedy) -> None:
        """Do what the button of an error says."""
        match remedy:
            case Remedy.RETRY:
                self._bar.clear()
                self._again()
            case Remedy.ADDRESS:
                self._header.address.setFocus()
                self._header.address.selectAll()
            case Remedy.PARENT:
                self._walk.up()
            case Remedy.COMMAND:
                self._copy_command()
            case Remedy.ANONYMOUS:
                self._go_unsigned()
            case Remedy.METADATA:
                self._show_metadata()
            case Remedy.ANOTHER if self._own() is None and self._walk.known.own:
                self._header.chooser.setFocus()
                self._header.chooser.showPopup()
            case _:
                self.edit_wanted.emit(self._own() or self._new(), remedy)

    def _own(self) -> Connection | None:
        """Give the person's connection that the place is one of, or is chosen."""
        chosen = self._header.chooser.connection
        found = self._walk.known.owner(self._place) if self._place else None
        connection = found or chosen
        return connection if connection in self._walk.known.own else None

    def _is_named(self) -> bool:
        """Say whether nobody but an AWS profile of the address was to sign in."""
        place = self._place
        return bool(place and place.profile) and self._own() is None

    def _new(self) -> Connection:
        """Propose a connection for the place, as far as its address says it."""
        place = self._place.as_s3() if self._place else None
        if place is None:
            return Connection(Profile(""))
        start = without_secrets(replace(place, profile=None, endpoint=None))
        profile = Profile(
            place.root,
            aws_profile=place.profile,
            endpoint=place.endpoint,
            region=place.region,
            start=start.partition("|")[0],
        )
        return Connection(profile)

    def _copy_command(self) -> None:
        clipboard, error = QGuiApplication.clipboard(), self._bar.error
        if clipboard is not None and error is not None:
            clipboard.setText(command(error))
            self._bar.show_error(error, Remedy.RETRY)

    def _go_unsigned(self) -> None:
        if self._place is not None:
            self._walk.go(replace(self._place, anonymous=True))

    def _show_metadata(self) -> None:
        if self._panel is not None:
            self._panel.turn_to(self._panel.metadata)

    def _forget_panel(self) -> None:
        if self._of_panel:
            self._bar.clear()
