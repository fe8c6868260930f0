"""What helps against an error, as a button; pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from napari_omezarr.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    CertificateError,
    ClockSkewError,
    ListingDeniedError,
    LocationError,
    NodeNotFoundError,
    ServerBusyError,
    ServerError,
    SignInExpiredError,
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

_SAID_BY_BUTTON = ("Check", "Choose", "Open", "Type")


class Remedy(Enum):
    """What the button of an error does."""

    NONE = auto()
    RETRY = auto()
    SIGN_IN = auto()
    CONNECTION = auto()
    ADDRESS = auto()
    PARENT = auto()


_BY_ERROR: tuple[tuple[type[OMEZarrError], Remedy], ...] = (
    (ListingDeniedError, Remedy.ADDRESS),
    (ClockSkewError, Remedy.RETRY),
    (SignInExpiredError, Remedy.RETRY),
    (AccessDeniedError, Remedy.SIGN_IN),
    (BucketNotFoundError, Remedy.CONNECTION),
    (CertificateError, Remedy.CONNECTION),
    (WrongRegionError, Remedy.CONNECTION),
    (WebPageError, Remedy.ADDRESS),
    (LocationError, Remedy.ADDRESS),
    (NodeNotFoundError, Remedy.ADDRESS),
    (StoreConnectionError, Remedy.RETRY),
    (StoreTimeoutError, Remedy.RETRY),
    (ServerBusyError, Remedy.RETRY),
    (ServerError, Remedy.RETRY),
    (TruncatedBodyError, Remedy.RETRY),
)
_TEXTS = {
    Remedy.NONE: "",
    Remedy.RETRY: "Try again",
    Remedy.SIGN_IN: "Choose another sign-in",
    Remedy.CONNECTION: "Choose another connection",
    Remedy.ADDRESS: "Type an address",
    Remedy.PARENT: "Open that",
}


def remedy_for(error: OMEZarrError) -> Remedy:
    """Say what is most likely to help; the first that fits."""
    if isinstance(error, NodeNotFoundError) and error.action == "Open that.":
        return Remedy.PARENT
    fitting = (remedy for kind, remedy in _BY_ERROR if isinstance(error, kind))
    return next(fitting, Remedy.NONE)


def words(error: OMEZarrError, remedy: Remedy) -> tuple[str, str]:
    """Give what the bar says, and what its button does.

    An action that the button is said to take is not said twice.
    """
    action = error.action
    first = action.partition(" ")[0]
    on_button = remedy not in (Remedy.NONE, Remedy.RETRY)
    if on_button and first in _SAID_BY_BUTTON and len(action) <= LONGEST:
        action = ""
    return f"{error.sentence} {action}".rstrip(), _TEXTS[remedy]
