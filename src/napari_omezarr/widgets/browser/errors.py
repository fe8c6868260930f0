"""One line at the bottom: what is going on, or what it has cost."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from time import monotonic
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QSize, Qt, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QWidget,
)
from superqt import QElidingLabel

from napari_omezarr.connections import Connection, Profile
from napari_omezarr.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    CertificateError,
    ClockSkewError,
    KeyNotAcceptedError,
    ListingDeniedError,
    LocationError,
    MetadataError,
    NodeNotFoundError,
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
from napari_omezarr.user_files import without_secrets
from napari_omezarr.widgets.quantities import bytes_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_omezarr.errors import OMEZarrError
    from napari_omezarr.location import Location

    from .details import DetailsPanel
    from .header import Header
    from .navigation import Navigation
    from .opener import Opener

# What helps against an error, as a button; pure.

LONGEST = 34
"""Letters of an action that is no more than its button."""

_RUN = "Run: "
_SAID_BY_BUTTON = ("Check", "Choose", "Open", "Type")


class ErrorAction(Enum):
    """What the button of an error does."""

    NONE = auto()
    RETRY = auto()
    COMMAND = auto()
    """Copies the command that helps."""
    SIGN_IN = auto()
    """Brings up the connection, or a new one for this place."""
    ANOTHER = auto()
    """The same, or the other connections."""
    EDIT = auto()
    """Brings up the connection where something in it is wrong."""
    CA_FILE = auto()
    """The same, where one says which certificates are trusted."""
    ANONYMOUS = auto()
    ADDRESS = auto()
    PARENT = auto()
    METADATA = auto()


_BY_ERROR: tuple[tuple[type[OMEZarrError], ErrorAction], ...] = (
    (ListingDeniedError, ErrorAction.ADDRESS),
    (ClockSkewError, ErrorAction.RETRY),
    (SignInExpiredError, ErrorAction.RETRY),
    (SignInNeededError, ErrorAction.SIGN_IN),
    (KeyNotAcceptedError, ErrorAction.EDIT),
    (AccessDeniedError, ErrorAction.ANOTHER),
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
    (MetadataError, ErrorAction.METADATA),
)
_TEXTS = {
    ErrorAction.NONE: "",
    ErrorAction.RETRY: "Try again",
    ErrorAction.COMMAND: "Copy the command",
    ErrorAction.SIGN_IN: "Sign in…",
    ErrorAction.ANOTHER: "Choose another sign-in",
    ErrorAction.EDIT: "Edit the connection…",
    ErrorAction.CA_FILE: "Choose a CA file…",
    ErrorAction.ANONYMOUS: "Try without signing in",
    ErrorAction.ADDRESS: "Type an address",
    ErrorAction.PARENT: "Open that",
    ErrorAction.METADATA: "Show the metadata",
}
_SAME = (
    ErrorAction.CA_FILE,
    ErrorAction.SIGN_IN,
    ErrorAction.ANONYMOUS,
    ErrorAction.EDIT,
)
"""Buttons that take in another way the action that the error names."""


def action_for(error: OMEZarrError, *, is_named: bool = False) -> ErrorAction:
    """Say what is most likely to help; the first that fits.

    Parameters
    ----------
    error : OMEZarrError
        What went wrong.
    is_named : bool
        Whether the address names an AWS profile that signs in, so that nothing else
        was tried.
    """
    if isinstance(error, NodeNotFoundError) and error.action == "Open that.":
        return ErrorAction.PARENT
    if isinstance(error, SignInExpiredError) and command(error):
        return ErrorAction.COMMAND
    if is_named and isinstance(error, (SignInNeededError, KeyNotAcceptedError)):
        return ErrorAction.ANONYMOUS
    fitting = (remedy for kind, remedy in _BY_ERROR if isinstance(error, kind))
    return next(fitting, ErrorAction.NONE)


def command(error: OMEZarrError) -> str:
    """Give the command that an error names as its action; ``""`` if it names none."""
    return error.action.removeprefix(_RUN) if error.action.startswith(_RUN) else ""


def words(error: OMEZarrError, remedy: ErrorAction) -> tuple[str, str]:
    """Give what the bar says, and what its button does.

    An action that the button is said to take is not said twice.
    """
    action = error.action
    first = action.partition(" ")[0]
    on_button = remedy not in (ErrorAction.NONE, ErrorAction.RETRY, ErrorAction.COMMAND)
    brief = first in _SAID_BY_BUTTON and len(action) <= LONGEST
    if remedy in _SAME or (on_button and brief):
        action = ""
    return f"{error.sentence} {action}".rstrip(), _TEXTS[remedy]


# What went wrong anywhere in the dock, and what the button beside it does.


class ErrorPanel(QObject):
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
    """A `Connection` to edit, and the `ErrorAction` for which."""

    def __init__(
        self, bar: ErrorBar, header: Header, walk: Navigation, parent: QObject
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
        self._bar.show_error(error, action_for(error, is_named=self._is_named()))

    def help(self, remedy: ErrorAction) -> None:
        """Do what the button of an error says."""
        match remedy:
            case ErrorAction.RETRY:
                self._bar.clear()
                self._again()
            case ErrorAction.ADDRESS:
                self._header.address.setFocus()
                self._header.address.selectAll()
            case ErrorAction.PARENT:
                self._walk.up()
            case ErrorAction.COMMAND:
                self._copy_command()
            case ErrorAction.ANONYMOUS:
                self._go_unsigned()
            case ErrorAction.METADATA:
                self._show_metadata()
            case ErrorAction.ANOTHER if self._own() is None and self._walk.known.own:
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
            self._bar.show_error(error, ErrorAction.RETRY)

    def _go_unsigned(self) -> None:
        if self._place is not None:
            self._walk.go(replace(self._place, anonymous=True))

    def _show_metadata(self) -> None:
        if self._panel is not None:
            self._panel.turn_to(self._panel.metadata)

    def _forget_panel(self) -> None:
        if self._of_panel:
            self._bar.clear()


# A bar for what went wrong: one sentence, and one button that does something.


class ErrorBar(QFrame):
    """Hidden while nothing is wrong; never a window of its own.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    asked = Signal(object)
    """The `ErrorAction` whose button was pressed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.error: OMEZarrError | None = None
        self.remedy = ErrorAction.NONE
        self.sentence = QLabel(self)
        self.sentence.setWordWrap(True)
        # A name may be one long word, which must not make the dock wide.
        self.sentence.setMinimumWidth(1)
        self.sentence.setTextFormat(Qt.TextFormat.PlainText)
        self.sentence.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
        )
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
        self.button.clicked.connect(self._ask)
        self.close_button.clicked.connect(self.clear)
        self.hide()

    def show_error(
        self, error: OMEZarrError, remedy: ErrorAction | None = None
    ) -> None:
        """Say what happened, and offer what helps.

        Parameters
        ----------
        error : OMEZarrError
            What went wrong.
        remedy : Remedy, optional
            What the button does; by default what helps against such errors.
        """
        self.error = error
        self.remedy = remedy = remedy or action_for(error)
        said, text = words(error, remedy)
        self.sentence.setText(f"✖ {said}")
        self.sentence.setAccessibleName(str(error))
        self.button.setText(text)
        self.button.setVisible(remedy is not ErrorAction.NONE)
        self.show()

    def clear(self) -> None:
        """Say nothing any more."""
        self.error = None
        self.hide()

    def _ask(self) -> None:
        if self.error is not None:
            self.asked.emit(self.remedy)


# One line at the bottom: what is going on, or what it has cost.


class StatusLine(QWidget):
    """Says how many requests a place took; a button ends what is going on.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label: QLabel = QElidingLabel(parent=self)
        self.cancel = QPushButton("Cancel", self)
        self.cancel.setAccessibleName("Cancel what is going on (Esc)")
        self._begun = monotonic()
        self._seconds: float | None = None
        self._notes: tuple[str, ...] = ()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 0, 2, 0)
        layout.addWidget(self.label, stretch=1)
        layout.addWidget(self.cancel)
        self.cancel.hide()

    def minimumSizeHint(self) -> QSize:
        """Keep the height of the button also while it is hidden.

        Otherwise the rows above move, and one more of them becomes visible and is
        probed, whenever something begins or ends.
        """
        height = self.cancel.sizeHint().height()
        return super().minimumSizeHint().expandedTo(QSize(0, height))

    def begin(self) -> None:
        """Count from now on: another place is asked."""
        self._begun, self._seconds = monotonic(), None
        self._notes = ()

    def arrive(self, notes: Sequence[str]) -> None:
        """Stop the clock, for the first rows are there; keep how they were had."""
        self._notes = tuple(notes)
        if self._seconds is None:
            self._seconds = monotonic() - self._begun

    def say(self, text: str) -> None:
        """Say a sentence, until something else is to be said."""
        self.label.setText(text)
        self.label.setToolTip(text)

    def show_state(
        self, *, busy: bool, opening: Sequence[str], spent: tuple[int, int]
    ) -> None:
        """Say what is going on."""
        self.cancel.setVisible(busy or bool(opening))
        text = status_text(busy, opening, spent, self._seconds)
        self.say(" · ".join(part for part in (text, *self._notes) if part))


def status_text(
    busy: bool,
    opening: Sequence[str],
    spent: tuple[int, int],
    seconds: float | None,
) -> str:
    """Put into words what is going on.

    Parameters
    ----------
    busy : bool
        Whether rows are to come.
    opening : sequence of str
        What is being opened.
    spent : tuple of int
        Requests, and bytes.
    seconds : float or None
        From the first question to the first rows.
    """
    if opening:
        return f"Opening {', '.join(opening)} …"
    requests, received = spent
    parts = [f"{requests:,} request{'s' if requests != 1 else ''}"] if requests else []
    if received:
        parts.append(bytes_text(received))
    if seconds is not None:
        parts.append(f"{seconds * 1000:,.0f} ms")
    return f"{'○' if busy else '●'} {' · '.join(parts)}" if parts else ""
