"""An answer that is not the bytes asked for, reduced to its facts.

Bodies of errors are parsed here and dropped: those of S3 quote the access key and
the string that was signed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_omezarr.errors import StoreError

_ELEMENT = re.compile(
    r"<(Code|Message|AuthenticationErrorDetail|Region|Endpoint|RequestTime|ServerTime)>"
    r"([^<]*)<"
)
_EXPIRED_CODES = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
# S3 and Azure have no code for a signed address whose time is over, only these words.
_EXPIRED_WORDS = ("Request has expired", "Signature not valid in the specified time")
_BUSY_CODES = {"SlowDown", "ServiceUnavailable", "ServerBusy", "Throttling"}
_DENIED_CODES = {"", "AccessDenied", "AllAccessDisabled", "Forbidden"}
_FAILED_CODES = {"InternalError", "RequestTimeout", "OperationTimedOut"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server answered, but not with the bytes.

    Attributes
    ----------
    status : int
        The HTTP status.
    code : str
        The code of S3's (or Azure's) error document, ``""`` if there is none.
    region, endpoint : str
        Where the bucket lives instead, if the answer says so.
    retry_after : float
        Seconds that the server asks to wait, 0 if it does not ask.
    skew : float
        Seconds by which the clocks differ, if that is what is wrong.
    expired : bool
        Whether a sign-in or a signed address has ended.
    signed : bool
        Whether the request was signed with somebody's key.
    """

    status: int
    code: str = ""
    region: str = ""
    endpoint: str = ""
    retry_after: float = 0
    skew: float = 0
    expired: bool = False
    signed: bool = False

    @property
    def busy(self) -> bool:
        """Whether the server asks to slow down."""
        return self.status in (429, 503) or self.code in _BUSY_CODES

    @property
    def denied(self) -> bool:
        """Whether it says "you may not", with nothing wrong in the sign-in.

        This is what S3 answers for a missing key to whoever may not list.
        """
        unsaid = self.code in _DENIED_CODES and not self.expired
        return self.status == 403 and unsaid

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed a little later."""
        failed = self.status in (408, 500, 502, 504) or self.code in _FAILED_CODES
        return self.busy or failed


class Refused(Exception):
    """Carries a `Refusal` out of a transport.

    Parameters
    ----------
    refusal : Refusal
        The last answer.
    before : Refusal or StoreError, optional
        What was wrong with signing in, if `refusal` is the answer to a second
        request that was sent without.
    """

    def __init__(
        self, refusal: Refusal, before: Refusal | StoreError | None = None
    ) -> None:
        super().__init__(f"{refusal.status} {refusal.code}".rstrip())
        self.refusal = refusal
        self.before = before


def refusal_of(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Reduce an answer to what it says about the refusal.

    Parameters
    ----------
    status : int
        The HTTP status.
    headers : Mapping
        The headers; looked up by the usual spelling.
    body : bytes
        The body, of which only S3's error document is understood.
    """
    said = _elements(body)
    code = said.get("Code") or headers.get("x-ms-error-code", "")
    message = said.get("Message", "") + said.get("AuthenticationErrorDetail", "")
    expired = code in _EXPIRED_CODES or any(word in message for word in _EXPIRED_WORDS)
    return Refusal(
        status=status,
        code=code,
        region=headers.get("x-amz-bucket-region") or said.get("Region", ""),
        endpoint=said.get("Endpoint", ""),
        retry_after=_seconds(headers.get("Retry-After", "")),
        skew=_skew(said) if code == "RequestTimeTooSkewed" else 0,
        expired=expired,
    )


def _elements(body: bytes) -> dict[str, str]:
    if body.lstrip()[:1] != b"<":
        return {}
    return dict(_ELEMENT.findall(body[:8192].decode(errors="replace")))


def _seconds(retry_after: str) -> float:
    """Read a ``Retry-After``: seconds, or a date."""
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0
    if until.tzinfo is None:
        return 0
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _skew(said: Mapping[str, str]) -> float:
    """Compare the two clocks that S3 names, in two spellings of the time."""
    try:
        ours = datetime.strptime(said["RequestTime"], "%Y%m%dT%H%M%SZ")
        theirs = datetime.strptime(said["ServerTime"], "%Y-%m-%dT%H:%M:%SZ")
    except (KeyError, ValueError):
        return 0
    return abs((theirs - ours).total_seconds())
