"""What helps against an error, as a button; pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from napari_omezarr.errors import OMEZarrError

LONGEST = 34
"""Letters of an action that is no more than its button."""

_RUN = "Run: "
_SAID_BY_BUTTON = ("Check", "Choose", "Open", "Type")


class Remedy(Enum):
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


_BY_ERROR: tuple[tuple[type[OMEZarrError], Remedy], ...] = (
    (ListingDeniedError, Remedy.ADDRESS),
    (ClockSkewError, Remedy.RETRY),
    (SignInExpiredError, Remedy.RETRY),
    (SignInNeededError, Remedy.SIGN_IN),
    (KeyNotAcceptedError, Remedy.EDIT),
    (AccessDeniedError, Remedy.ANOTHER),
    (BucketNotFoundError, Remedy.EDIT),
    (CertificateError, Remedy.CA_FILE),
    (WrongRegionError, Remedy.EDIT),
    (WebPageError, Remedy.ADDRESS),
    (LocationError, Remedy.ADDRESS),
    (NodeNotFoundError, Remedy.ADDRESS),
    (StoreConnectionError, Remedy.RETRY),
    (StoreTimeoutError, Remedy.RETRY),
    (ServerBusyError, Remedy.RETRY),
    (ServerError, Remedy.RETRY),
    (TruncatedBodyError, Remedy.RETRY),
    (MetadataError, Remedy.METADATA),
)
_TEXTS = {
    Remedy.NONE: "",
    Remedy.RETRY: "Try again",
    Remedy.COMMAND: "Copy the command",
    Remedy.SIGN_IN: "Sign in…",
    Remedy.ANOTHER: "Choose another sign-in",
    Remedy.EDIT: "Edit the connection…",
    Remedy.CA_FILE: "Choose a CA file…",
    Remedy.ANONYMOUS: "Try without signing in",
    Remedy.ADDRESS: "Type an address",
    Remedy.PARENT: "Open that",
    Remedy.METADATA: "Show the metadata",
}
_SAME = (Remedy.CA_FILE, Remedy.SIGN_IN, Remedy.ANONYMOUS, Remedy.EDIT)
"""Buttons that take in another way the action that the error names."""


def remedy_for(error: OMEZarrError, *, is_named: bool = False) -> Remedy:
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
        return Remedy.PARENT
    if isinstance(error, SignInExpiredError) and command(error):
        return Remedy.COMMAND
    if is_named and isinstance(error, (SignInNeededError, KeyNotAcceptedError)):
        return Remedy.ANONYMOUS
    fitting = (remedy for kind, remedy in _BY_ERROR if isinstance(error, kind))
    return next(fitting, Remedy.NONE)


def command(error: OMEZarrError) -> str:
    """Give the command that an error names as its action; ``""`` if it names none."""
    return error.action.removeprefix(_RUN) if error.action.startswith(_RUN) else ""


def words(error: OMEZarrError, remedy: Remedy) -> tuple[str, str]:
    """Give what the bar says, and what its button does.

    An action that the button is said to take is not said twice.
    """
    action = error.action
    first = action.partition(" ")[0]
    on_button = remedy not in (Remedy.NONE, Remedy.RETRY, Remedy.COMMAND)
    brief = first in _SAID_BY_BUTTON and len(action) <= LONGEST
    if remedy in _SAME or (on_button and brief):
        action = ""
    return f"{error.sentence} {action}".rstrip(), _TEXTS[remedy]
