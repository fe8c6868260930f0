"""What went wrong in the dock, and a button that helps against it."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from itertools import chain, count
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QGridLayout, QPushButton, QToolButton, QWidget

from napari_omezarr.connections import Connection, Profile, belongs, sign_in_helps
from napari_omezarr.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    CertificateError,
    ClockSkewError,
    DamagedDataError,
    KeyNotAcceptedError,
    ListingDeniedError,
    LocationError,
    MetadataError,
    NodeNotFoundError,
    NotEnoughMemoryError,
    ObjectChangedError,
    ReadOnlyError,
    ServerBusyError,
    ServerError,
    SignInExpiredError,
    SignInNeededError,
    StoreConnectionError,
    StoreTimeoutError,
    TruncatedBodyError,
    WebPageError,
    WrongRegionError,
)
from napari_omezarr.location import WEB, without_secrets
from napari_omezarr.widgets.fields import plain_label

from .controls import copy_to_clipboard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_omezarr.errors import OMEZarrError
    from napari_omezarr.location import Location

    from .details import DetailsPanel
    from .header import BrowserHeader
    from .navigation import Navigation
    from .opener import Opener

_LONGEST = 34
"""Letters of an action that says no more than its button."""

_RUN = "Run: "
_SAID_BY_BUTTON = ("Check", "Choose", "Open", "Type")


class ErrorAction(Enum):
    """What the button of an error does, by the text on it."""

    NONE = ""
    RETRY = "Try again"
    COMMAND = "Copy the command"
    SIGN_IN = "Sign in…"
    """Brings up the connection, or a new one for this place."""
    EDIT = "Edit the connection…"
    """Brings up the connection where something in it is wrong."""
    CA_FILE = "Choose a CA file…"
    """The same, where one says which certificates are trusted."""
    ANONYMOUS = "Try without signing in"
    ADDRESS = "Type an address"
    PARENT = "Open that"
    METADATA = "Show the metadata"


_BY_ERROR: tuple[tuple[type[OMEZarrError], ErrorAction], ...] = (
    (ListingDeniedError, ErrorAction.ADDRESS),
    (ClockSkewError, ErrorAction.RETRY),
    (ReadOnlyError, ErrorAction.RETRY),
    (SignInExpiredError, ErrorAction.RETRY),
    (SignInNeededError, ErrorAction.SIGN_IN),
    (KeyNotAcceptedError, ErrorAction.EDIT),
    (AccessDeniedError, ErrorAction.SIGN_IN),
    (BucketNotFoundError, ErrorAction.EDIT),
    (CertificateError, ErrorAction.CA_FILE),
    (WrongRegionError, ErrorAction.EDIT),
    (WebPageError, ErrorAction.ADDRESS),
    (LocationError, ErrorAction.ADDRESS),
    (NodeNotFoundError, ErrorAction.ADDRESS),
    (StoreConnectionError, ErrorAction.RETRY),
    (StoreTimeoutError, ErrorAction.RETRY),
    (ServerBusyError, ErrorAction.RETRY),
    (ServerError, ErrorAction.RETRY),
    (TruncatedBodyError, ErrorAction.RETRY),
    (ObjectChangedError, ErrorAction.RETRY),
    (DamagedDataError, ErrorAction.RETRY),
    (NotEnoughMemoryError, ErrorAction.RETRY),
    (MetadataError, ErrorAction.METADATA),
)
_SAME_ADVICE = (
    ErrorAction.CA_FILE,
    ErrorAction.SIGN_IN,
    ErrorAction.ANONYMOUS,
    ErrorAction.EDIT,
)
"""Buttons that take in another way the action that the error names."""


def action_for(
    error: OMEZarrError, place: Location | None = None, *, is_named: bool = False
) -> ErrorAction:
    """Say what is most likely to help at a place.

    `is_named`: the address names an AWS profile, and nothing else was tried.
    """
    if isinstance(error, NodeNotFoundError) and error.action == "Open that.":
        return ErrorAction.PARENT
    if isinstance(error, SignInExpiredError) and command(error):
        return ErrorAction.COMMAND
    if is_named and isinstance(error, (SignInNeededError, KeyNotAcceptedError)):
        return ErrorAction.ANONYMOUS
    # Refused, and not only a server that lists nothing.
    if isinstance(error, ListingDeniedError) and "sign-in" in error.action:
        return ErrorAction.SIGN_IN
    fitting = (action for kind, action in _BY_ERROR if isinstance(error, kind))
    found = next(fitting, ErrorAction.NONE)
    is_beyond = place is not None and not sign_in_helps(error, place)
    if found is ErrorAction.SIGN_IN and is_beyond:
        return ErrorAction.RETRY
    return found


def command(error: OMEZarrError) -> str:
    """Give the command that an error names as its action; ``""`` if it names none."""
    return error.action.removeprefix(_RUN) if error.action.startswith(_RUN) else ""


def bar_texts(error: OMEZarrError, action: ErrorAction) -> tuple[str, str]:
    """Give what the bar says, and what is on its button.

    What the error names as its action is left out if the button says the same.
    """
    named = error.action
    is_brief = named.partition(" ")[0] in _SAID_BY_BUTTON and len(named) <= _LONGEST
    no_advice = (ErrorAction.NONE, ErrorAction.RETRY, ErrorAction.COMMAND)
    is_same = action in _SAME_ADVICE and not isinstance(error, ListingDeniedError)
    if is_same or (is_brief and action not in no_advice):
        named = ""
    return f"{error.sentence} {named}".rstrip(), action.value


class ErrorPanel(QFrame):
    """Shows one error of the dock and a button against it; hidden without an error."""

    edit_wanted = Signal(object, object, object)
    """A `Connection` to edit, and the `ErrorAction` for which."""

    def __init__(
        self, header: BrowserHeader, navigation: Navigation, parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._header = header
        self._navigation = navigation
        self.error: OMEZarrError | None = None
        self._action = ErrorAction.NONE
        self._place: Location | None = None
        self._again: Callable[[], object] = navigation.reload
        self._is_of_details = False
        self._details: DetailsPanel | None = None
        self.sentence = plain_label(self)
        self.button = QPushButton(self)
        self.close_button = QToolButton(self)
        self.close_button.setText("✕")
        self.close_button.setAutoRaise(True)
        self.close_button.setAccessibleName("Dismiss")
        self.setFrameShape(QFrame.Shape.StyledPanel)
        top, right = Qt.AlignmentFlag.AlignTop, Qt.AlignmentFlag.AlignRight
        layout = QGridLayout(self)
        layout.setContentsMargins(6, 4, 4, 4)
        layout.setColumnStretch(0, 1)
        layout.addWidget(self.sentence, 0, 0)
        layout.addWidget(self.close_button, 0, 1, top)
        layout.addWidget(self.button, 1, 0, 1, 2, right)
        self.button.clicked.connect(self._help)
        self.close_button.clicked.connect(self.clear)
        self.hide()

    def watch_opener(self, opener: Opener) -> None:
        """Show what could not be opened, which can be tried once more."""

        def show(error: OMEZarrError) -> None:
            self.show_error(error, opener.place, opener.again)

        opener.failed.connect(show)

    def watch_details(self, details: DetailsPanel) -> None:
        """Show what could not be found out of a row, until another one is chosen."""
        self._details = details

        def show(error: OMEZarrError) -> None:
            self.show_error(error, details.location, details.again)
            self._is_of_details = True

        details.failed.connect(show)
        details.began.connect(self._clear_of_details)

    def show_error(
        self,
        error: OMEZarrError,
        place: Location | None = None,
        again: Callable[[], object] | None = None,
    ) -> None:
        """Show an error of a place, by default of the one that the dock shows.

        `again` tries it once more; by default the rows are asked for anew.
        """
        here = self._navigation.here
        self._place = place or (here[0] if len(here) == 1 else None)
        self._again = again or self._navigation.reload
        self._is_of_details = False
        # Nobody but an AWS profile of the address was to sign in.
        is_named = bool(self._place and self._place.profile) and self._own() is None
        self._show(error, action_for(error, self._place, is_named=is_named))

    def clear(self) -> None:
        """Show no error any more."""
        self.error = None
        self.hide()

    def _show(self, error: OMEZarrError, action: ErrorAction) -> None:
        self.error, self._action = error, action
        sentence, button = bar_texts(error, action)
        self.sentence.setText(f"✖ {sentence}")
        self.sentence.setAccessibleName(str(error))
        self.button.setText(button)
        self.button.setVisible(action is not ErrorAction.NONE)
        self.show()

    def _help(self) -> None:
        match self._action:
            case ErrorAction.RETRY:
                self.clear()
                self._again()
            case ErrorAction.ADDRESS:
                self._header.address.setFocus()
                self._header.address.selectAll()
            case ErrorAction.PARENT:
                self._navigation.up()
            case ErrorAction.COMMAND if self.error is not None:
                copy_to_clipboard(command(self.error))
                self._show(self.error, ErrorAction.RETRY)
            case ErrorAction.ANONYMOUS if self._place is not None:
                self._navigation.go(replace(self._place, anonymous=True))
            case ErrorAction.METADATA if self._details is not None:
                self._details.show_tab(self._details.metadata)
            case _:
                self._mend_connection()

    def _mend_connection(self) -> None:
        """Bring up the connection, or a new one for the place."""
        own = self._navigation.known_places.own
        connection = self._own() or fitting_connection(self._place, own)
        self.edit_wanted.emit(connection, self._action, self._place)

    def _own(self) -> Connection | None:
        """Give the person's connection that the place is one of, or is chosen."""
        known = self._navigation.known_places
        found = known.owner(self._place) if self._place else None
        connection = found or self._header.chooser.connection
        return connection if connection in known.own else None

    def _clear_of_details(self) -> None:
        if self._is_of_details:
            self.clear()


def fitting_connection(
    refused: Location | None, own: Sequence[Connection]
) -> Connection:
    """Give the person's connection for a place, or propose one for it.

    It is the one that the place is one of, else one at the same endpoint that signs in.
    """
    proposed = _proposed_profile(refused)
    if refused is not None:
        found = [each for each in own if belongs(refused, each.profile)]
        found += [each for each in own if _signs_in_at(each, proposed.endpoint)]
        if found:
            return found[0]
    taken = {each.name for each in own}
    names = (f"{proposed.name} {number}" for number in count(2))
    free = (name for name in chain([proposed.name], names) if name not in taken)
    return Connection(replace(proposed, name=next(free)))


def _signs_in_at(connection: Connection, endpoint: str | None) -> bool:
    profile = connection.profile
    return bool(endpoint) and profile.endpoint == endpoint and not profile.anonymous


def _proposed_profile(refused: Location | None) -> Profile:
    """Fill in what an address says: endpoint and bucket, or the web server's host."""
    place = refused.as_s3() if refused else None
    if place is not None:
        return Profile(
            place.root,
            aws_profile=place.profile,
            endpoint=place.endpoint,
            region=place.region,
            start=bare_address(place),
        )
    if refused is not None and refused.protocol in WEB:
        origin, start = f"{refused.protocol}://{refused.root}", bare_address(refused)
        host = refused.root.partition(":")[0]
        return Profile(host, endpoint=origin, sign_in="header", start=start)
    return Profile("")


def bare_address(place: Location) -> str:
    """Give the address of a place, also in an archive, and nothing to sign in with."""
    bucket = place.as_s3() or place
    bare = replace(bucket, profile=None, endpoint=None, region=None, anonymous=None)
    return without_secrets(bare)
