"""From what went wrong with a request to our errors: one sentence, one action each.

The only module that knows what backends mean. Nothing that a server or a library
wrote is quoted: it may hold keys, signatures or signed addresses.

It has also the one table, for every door and every way there, of what counts as *never
written*. A chunk that was never written is the fill value; a chunk that was refused is
an error. The two must never be mistaken for each other, so that an object counts as
absent only by what stands here.

========================  =============================================================
answer                    means
========================  =============================================================
404 without a code, or    never written, if what was asked for tells of the object as a
with one of an object     whole: all of it, its end, or its beginning (an index)
404 of something of       an error: a portal, a sign-in page
another name, after a
redirect
404 with another code     an error: the bucket, the account or the upload is not
                          there, or is not open to who asks
the same for a part from  an error: who asks for that knows that the object is there
the middle of an object   (a chunk of a shard, a member of an archive)
``ENOENT``, ``ENOTDIR``,  never written: there is no such file. A path that is a folder
``EISDIR``                is none
a member that is not in   never written
an archive's directory,
a key that references or
a store do not know
403 that is S3's own      *presumed* never written, if it was all of an object of a
``AccessDenied``          bucket that was asked for, without a signed address; if the
document, and names no    bucket has said that this sign-in may not list below the
other action than         location (S3 then answers so for keys that are missing); and
listing                   if a document above the key could be read with the same
                          sign-in. Else an error
any other 403, and 400,   an error, whatever the body is: a page, JSON, nothing
401, 407, 410, 429, 451
anything else             an error
========================  =============================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING

from zarr.abc.store import OffsetByteRequest, RangeByteRequest

from napari_omezarr import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zarr.abc.store import ByteRequest

    from napari_omezarr.errors import StoreError


# Why a request brought no bytes, reduced to facts.

_DOCUMENT = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*\?>\s*)?<Error[\s>]")
_ELEMENT = re.compile(
    r"<(Code|Message|AuthenticationErrorDetail|Region|Endpoint)>([^<]*)<"
)
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,40}", re.IGNORECASE)
_EXPIRED_CODES = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
# S3 and Azure have no code for a signed address whose time is over, only these words;
# Azure none for clocks that differ.
_EXPIRED_WORDS = ("Request has expired", "Signature not valid in the specified time")
_CLOCK_WORDS = "Request date header"
# How Azure says from when on a signature holds.
_FRAME = re.compile(r"Start \[([^]]{1,40})\].*Current \[([^]]{1,40})\]")
# What AWS says that somebody may not, where it says more than "AccessDenied".
_ACTION = re.compile(r"not authorized to perform: (kms:|s3:(?!ListBucket\b))")
_SEALED = "object was stored using a form of Server Side Encryption"
_BUSY_CODES = {"SlowDown", "ServiceUnavailable", "ServerBusy", "Throttling"}
_DENIED_CODES = {"", "AccessDenied", "AllAccessDisabled", "Forbidden"}
_FAILED_CODES = {
    *("InternalError", "RequestTimeout", "OperationTimedOut"),
    # Of two writes that meet, a condition or not: S3 asks to send them again.
    *("OperationAborted", "ConditionalRequestConflict"),
}


class Reason(Enum):
    """Why a request failed: an answer that is an error, or no whole answer at all."""

    REFUSED = "the service answered with an error"
    CERTIFICATE = "the certificate is not trusted"
    NO_CA_FILE = "the certificates to trust cannot be read"
    ENCRYPTION = "the two sides do not agree how to encrypt"
    UNKNOWN_HOST = "no such host"
    NO_CONNECTION = "refused, or no way there"
    BROKEN = "the connection ended early"
    SILENCE = "no answer in time"
    TRUNCATED = "the body ended early"
    CIRCLES = "redirects without end"
    UNUSABLE = "not an address that can be asked"
    WEB_PAGE = "a page for people"
    PORTAL = "a page for people, where there were data before"
    PROXY = "the proxy takes no connection, or refuses it"
    BROKEN_OFF = "a list that has more, and does not say how to ask for that"
    WRONG_RANGE = "another part than the one that was asked for"
    TOO_LONG = "more bytes than the object can have"
    NO_RANGES = "all of a long object, where a part was asked for"
    ENCODED = "packed, which nobody asked for"


# Not frozen: Python itself sets the traceback of an exception that is raised.
@dataclass(unsafe_hash=True)
class RequestFailed(Exception):
    """One request brought no bytes; holds no text of a server or a library."""

    status: int = 0
    """The HTTP status; 0 if there was no whole answer."""
    code: str = ""
    """The code of S3's (or Azure's) error document, ``""`` if there is none."""
    reason: Reason = Reason.REFUSED
    """Why there was no whole answer, or `Reason.REFUSED`."""
    region: str = ""
    endpoint: str = ""
    """Where the bucket lives instead, if the answer says so."""
    retry_after: float = 0
    """Seconds that the server asks to wait, 0 if it does not ask."""
    skew: float = 0
    """Seconds by which its clock is ahead of ours, if that is what is wrong."""
    begins: str = ""
    """From when on a signed address holds, if it does not yet."""
    expired: bool = False
    """Whether a sign-in or a signed address has ended."""
    signed: bool = False
    """Whether the request was signed with somebody's key."""
    signed_failure: RequestFailed | StoreError | None = field(
        default=None, compare=False
    )
    """What was wrong with signing in, if this is the answer to a second request that
    was sent without."""

    @property
    def busy(self) -> bool:
        """Whether the server asks to slow down."""
        return self.status in (429, 503) or self.code in _BUSY_CODES

    @property
    def denied(self) -> bool:
        """Whether it says "you may not", with nothing wrong in the sign-in.

        What it says of a missing key stands in the table.
        """
        unsaid = self.code in _DENIED_CODES and not self.expired
        return self.status == 403 and unsaid

    @property
    def transient(self) -> bool:
        """Whether the same request may well succeed a little later."""
        failed = self.status in (408, 500, 502, 504) or self.code in _FAILED_CODES
        interrupted = self.reason in (Reason.BROKEN, Reason.SILENCE, Reason.TRUNCATED)
        return self.busy or failed or interrupted


def failure_of(status: int, headers: Mapping[str, str], body: bytes) -> RequestFailed:
    """Reduce an answer that is an error to its facts."""
    # Bodies are dropped here: those of S3 quote the access key and what was signed.
    said = _elements(body)
    code = said.get("Code") or headers.get("x-ms-error-code", "")
    message = said.get("Message", "") + said.get("AuthenticationErrorDetail", "")
    expired = code in _EXPIRED_CODES or any(word in message for word in _EXPIRED_WORDS)
    if code == "AuthenticationFailed" and _CLOCK_WORDS in message:
        code = "RequestTimeTooSkewed"
    elif code == "AccessDenied" and (action := _ACTION.search(message)):
        # Not of a key that is missing: who may not list is told so of that action.
        code = "Sealed" if action[1] == "kms:" else "Forbidden"
    elif code.startswith("KMS.") or _SEALED in message:
        code = "Sealed"
    is_skewed = code == "RequestTimeTooSkewed"
    return RequestFailed(
        status=status,
        code=code,
        region=_region(headers.get("x-amz-bucket-region") or said.get("Region", "")),
        endpoint=said.get("Endpoint", ""),
        retry_after=_seconds(headers.get("Retry-After", "")),
        skew=_ahead(headers.get("Date", "")) if is_skewed else 0,
        begins=_begins(message),
        expired=expired,
    )


# What Google's storage says in JSON, or in a sentence where bytes were asked for, in
# the codes of its (and S3's) documents in XML.
_GOOGLE_CODES = {
    "backendError": "InternalError",
    "internalError": "InternalError",
    "objectUnderActiveHold": "BlobImmutableDueToPolicy",
    "quotaExceeded": "QuotaExceeded",
    "rateLimitExceeded": "SlowDown",
    "retentionPolicyNotMet": "BlobImmutableDueToPolicy",
    "userRateLimitExceeded": "SlowDown",
}
_GOOGLE_REASON = re.compile(rb'"reason"\s*:\s*"(\w+)"')
_GOOGLE_WORDS = (
    (b"bucket does not exist", "NoSuchBucket"),
    (b"requester pays bucket", "UserProjectMissing"),
    # Of who may not. "forbidden" is said of much else too: policies, scopes, bills.
    (b" does not have storage.", "AccessDenied"),
)


def google_failure(
    status: int, headers: Mapping[str, str], body: bytes, *, signed: bool
) -> RequestFailed:
    """Reduce an answer of Google's JSON API that is an error to its facts.

    It answers 401 to who has not signed in, whatever is there, where S3 answers 403.
    """
    reason = _GOOGLE_REASON.search(bytes(body[:8192]))
    code = _GOOGLE_CODES.get(reason[1].decode() if reason else "", "")
    for words, means in _GOOGLE_WORDS:
        code = means if words in body[:8192] else code
    if status == 401 and not signed:
        status = 403
    if code == "SlowDown":
        status = 429
    waiting = _seconds(headers.get("Retry-After", ""))
    return RequestFailed(status, code, retry_after=waiting, signed=signed)


def _region(said: str) -> str:
    """Take a region only where it is one: it becomes a part of a host's name."""
    return said if _REGION.fullmatch(said) else ""


def _elements(body: bytes) -> dict[str, str]:
    if _DOCUMENT.match(body) is None:
        return {}
    return dict(_ELEMENT.findall(body[:8192].decode(errors="replace")))


def _seconds(retry_after: str) -> float:
    """Read a ``Retry-After``: seconds, or a date."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    return max(0.0, _ahead(retry_after))


def _ahead(text: str) -> float:
    """Say by how many seconds a date is ahead of now; 0 if it is none."""
    date = _date(text)
    return (date - datetime.now(UTC)).total_seconds() if date else 0


def _begins(message: str) -> str:
    """Read from when on a signature holds, if it is said that it does not yet."""
    found = _FRAME.search(message)
    start, now = map(_date, found.groups()) if found else (None, None)
    return f"{start:%Y-%m-%d %H:%M} UTC" if start and now and start > now else ""


def _date(text: str) -> datetime | None:
    """Read a date as HTTP writes it; None if it is none."""
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else None


# The sentences and actions.

_SIGN_IN = "Choose a profile, or sign in with AWS (AWS_PROFILE)."
_TOKEN = "Make a connection with a token for it, or use another address."
_LATER = "Try again a little later."
_CHECK = "Check the address, and whether this computer is online."


@dataclass(frozen=True, slots=True)
class ErrorContext:
    """Where something went wrong, in words that hold no secret."""

    url: str
    """The address of the key, without query and sign-in."""
    host: str = ""
    """Who was asked."""
    bucket: str = ""
    profile: str | None = None
    has_query: bool = False
    """Whether the address carries a query, which may be a signature."""
    sign_in: str = ""
    """What to do to sign in there, or as somebody else, if that is not AWS's."""
    doing: str = "read"
    """What was tried: "read", "write to", "list" or "delete"."""


Failure = RequestFailed | errors.StoreError | OSError
"""What an attempt raises."""


def translate(failure: Failure, place: ErrorContext) -> StoreError:
    """Say what went wrong as one of our errors; one of ours stays what it is."""
    if isinstance(failure, errors.StoreError):
        return failure
    if not isinstance(failure, RequestFailed):
        return _failed(failure, place)
    if failure.reason is not Reason.REFUSED:
        made, sentence, action = _REASONS[failure.reason]
        said = sentence.format(host=place.host or place.url, url=place.url)
        return made(said, action=action, url=place.url)
    code = "ExpiredToken" if failure.expired else failure.code
    say = _CODES.get(code) or _STATUSES.get(failure.status)
    if say is None and failure.busy:
        say = _busy
    elif say is None and failure.status >= 500 and failure.transient:
        say = _server_failed
    return (say or _odd)(failure, place)


def _denied(failure: RequestFailed, place: ErrorContext) -> StoreError:
    if failure.signed:
        sentence = f"This key may not {place.doing} {place.url}."
        action = place.sign_in or "Choose another profile."
        return errors.AccessDeniedError(sentence, action=action, url=place.url)
    if place.bucket and not place.has_query:
        sentence = f"{place.url} is not open to everybody."
        if place.doing != "read":
            sentence = f"Nobody may {place.doing} {place.url} without signing in."
        action = place.sign_in or _SIGN_IN
        return errors.SignInNeededError(sentence, action=action, url=place.url)
    sentence = f"{place.host} does not let {place.url} be read."
    action = "Check the address."
    if place.has_query:
        action = "Ask for a new link: the signature in this one is not accepted."
    return errors.AccessDeniedError(sentence, action=action, url=place.url)


def _sign_in_needed(failure: RequestFailed, place: ErrorContext) -> StoreError:
    if failure.signed and place.profile and not place.bucket:
        sentence = f"{place.host} does not accept the token of {place.profile}."
        action = "Type it again in the connection."
        return errors.KeyNotAcceptedError(sentence, action=action, url=place.url)
    sentence = f"{place.host} answers only those who have signed in."
    action = place.sign_in or (_SIGN_IN if place.bucket else _TOKEN)
    return errors.SignInNeededError(sentence, action=action, url=place.url)


def _expired(failure: RequestFailed, place: ErrorContext) -> StoreError:
    if failure.begins:
        sentence = f"The signature for {place.host} holds from {failure.begins} on."
        action = "Wait until then, or ask for a new one."
        return errors.SignInExpiredError(sentence, action=action, url=place.url)
    if place.has_query:
        sentence = "The signature of this address has ended."
        action = "Ask for a new link."
        return errors.SignInExpiredError(sentence, action=action, url=place.url)
    if place.sign_in:
        sentence = f"Your sign-in at {place.host} has ended."
        action = place.sign_in
        return errors.SignInExpiredError(sentence, action=action, url=place.url)
    return _sign_in_ended(place.profile, place.url)


def _sign_in_ended(profile: str | None, url: str = "") -> StoreError:
    sentence = "Your AWS sign-in has ended."
    action = "Sign in with AWS again, or renew AWS_SESSION_TOKEN."
    if profile:
        sentence = f"Your AWS sign-in for profile {profile} has ended."
        action = f"Run: aws sso login --profile {profile}"
    return errors.SignInExpiredError(sentence, action=action, url=url)


def _key_not_accepted(failure: RequestFailed, place: ErrorContext) -> StoreError:
    if place.has_query:
        return _denied(failure, place)
    sentence = f"{place.host} does not accept the key or its secret."
    edit = "Edit the profile, or the AWS_ variables that hold the key."
    action = place.sign_in or edit
    return errors.KeyNotAcceptedError(sentence, action=action, url=place.url)


def _private(_: RequestFailed, place: ErrorContext) -> StoreError:
    """Of Azure's: whoever is unknown is not told whether there is a container."""
    return _denied(RequestFailed(403), place)


def _clock(failure: RequestFailed, place: ErrorContext) -> StoreError:
    minutes = round(abs(failure.skew) / 60)
    by = f" by {minutes} min" if minutes else ""
    sentence = f"The clock of this computer differs{by} from that of {place.host}."
    return errors.ClockSkewError(sentence, action="Set the clock.", url=place.url)


def _no_bucket(_: RequestFailed, place: ErrorContext) -> StoreError:
    sentence = f"There is no bucket {place.bucket or place.url} at {place.host}."
    action = "Check its name and the endpoint."
    return errors.BucketNotFoundError(sentence, action=action, url=place.url)


def _payer_needed(_: RequestFailed, place: ErrorContext) -> StoreError:
    sentence = f"Who reads {place.bucket or place.url} pays for it."
    action = "Name your project as requester_pays of gs in fsspec's configuration."
    return errors.AccessDeniedError(sentence, action=action, url=place.url)


def _elsewhere(failure: RequestFailed, place: ErrorContext) -> StoreError:
    where = f"in region {failure.region}" if failure.region else "in another region"
    sentence = f"The bucket {place.bucket or place.url} lives {where}."
    action = "Set the region of the profile, or AWS_REGION."
    return errors.WrongRegionError(sentence, action=action, url=place.url)


def _busy(_: RequestFailed, place: ErrorContext) -> StoreError:
    sentence = f"{place.host} asks to slow down, and still did after all tries."
    return errors.ServerBusyError(sentence, action=_LATER, url=place.url)


def _server_failed(failure: RequestFailed, place: ErrorContext) -> StoreError:
    sentence = f"{place.host} failed (status {failure.status}) in all tries."
    return errors.ServerError(sentence, action=_LATER, url=place.url)


def _full(_: RequestFailed, place: ErrorContext) -> StoreError:
    sentence = f"There is no room left at {place.host} for {place.url}."
    action = "Ask its owner for more, then resume."
    return errors.DiskFullError(sentence, action=action, url=place.url)


def _takes_none(failure: RequestFailed, place: ErrorContext) -> StoreError:
    if failure.status == 405 and place.doing == "read":  # as some answer to a range
        return _odd(failure, place)
    sentence = f"{place.host} does not let {place.url} be changed."
    action = "Choose another place."
    return errors.ReadOnlyError(sentence, action=action, url=place.url)


def _walled(failure: RequestFailed, place: ErrorContext) -> StoreError:
    """Of Azure's: mostly a firewall, of which nobody is told more."""
    said = _denied(failure, place)
    action = "Ask its owner whether your network is let through, and what you may do."
    return type(said)(said.sentence, action=action, url=place.url)


def _without_role(failure: RequestFailed, place: ErrorContext) -> StoreError:
    """Of Azure's: who owns an account may not read it, without a role for that."""
    said = _denied(failure, place)
    role = "Storage Blob Data " + ("Reader" if place.doing == "read" else "Contributor")
    action = f"Ask its owner for the role {role}, or for a signature that allows it."
    return type(said)(said.sentence, action=action, url=place.url)


def _leased(_: RequestFailed, place: ErrorContext) -> StoreError:
    sentence = f"{place.url} is locked by a lease that somebody holds at {place.host}."
    action = "Wait until it ends, or let it be broken in Azure's portal."
    return errors.ReadOnlyError(sentence, action=action, url=place.url)


def _has_snapshots(_: RequestFailed, place: ErrorContext) -> StoreError:
    sentence = f"{place.url} has snapshots, and is not deleted without them."
    action = "Delete its snapshots first, in Azure's portal."
    return errors.ReadOnlyError(sentence, action=action, url=place.url)


def _met(_: RequestFailed, place: ErrorContext) -> StoreError:
    sentence = f"Somebody else writes {place.url} at the same time, or did not finish."
    action = "Write it again when nobody else does."
    return errors.StoreError(sentence, action=action, url=place.url)


def _sealed(_: RequestFailed, place: ErrorContext) -> StoreError:
    sentence = f"{place.url} is encrypted with a key that you have not, or may not use."
    action = "Ask its owner to let you use the key, or for a copy without it."
    return errors.AccessDeniedError(sentence, action=action, url=place.url)


def _archived(_: RequestFailed, place: ErrorContext) -> StoreError:
    sentence = f"{place.url} is in cold storage."
    action = "Ask its owner to restore it."
    return errors.AccessDeniedError(sentence, action=action, url=place.url)


def _proxy(_: RequestFailed, place: ErrorContext) -> StoreError:
    made, sentence, action = _REASONS[Reason.PROXY]
    said = sentence.format(host=place.host or place.url)
    return made(said, action=action, url=place.url)


def _odd(failure: RequestFailed, place: ErrorContext) -> StoreError:
    sentence = f"{place.host} answers with status {failure.status} at {place.url}."
    return errors.ServerError(sentence, action="Check the address.", url=place.url)


def _gone(_: RequestFailed, place: ErrorContext) -> StoreError:
    sentence = f"{place.url} has been removed for good, says {place.host}."
    action = "Ask its owner where it is now."
    return errors.StoreError(sentence, action=action, url=place.url)


_CODES: dict[str, Callable[[RequestFailed, ErrorContext], StoreError]] = {
    "AccessDenied": _denied,
    "AllAccessDisabled": _denied,
    "AuthFailure": _key_not_accepted,
    "AuthenticationFailed": _key_not_accepted,
    "AuthorizationFailure": _walled,
    "AuthorizationHeaderMalformed": _elsewhere,
    "AuthorizationPermissionMismatch": _without_role,
    "BlobArchived": _archived,
    "BlobBeingRehydrated": _archived,
    "BlobImmutableDueToPolicy": _takes_none,
    "ContainerBeingDeleted": _no_bucket,
    "ContainerNotFound": _no_bucket,
    "ExpiredToken": _expired,
    "IllegalLocationConstraintException": _elsewhere,
    "InvalidAccessKeyId": _key_not_accepted,
    "InvalidAuthenticationInfo": _key_not_accepted,
    "InvalidBlobOrBlock": _met,
    "InvalidBlobType": _takes_none,
    "InvalidBlockList": _met,
    "InvalidClientTokenId": _key_not_accepted,
    "InvalidObjectState": _archived,
    "InvalidSecurity": _key_not_accepted,
    "InvalidToken": _key_not_accepted,
    "InsufficientStorage": _full,
    "KeyBasedAuthenticationNotPermitted": _key_not_accepted,
    "LeaseIdMissing": _leased,
    "NoSuchBucket": _no_bucket,
    "PermanentRedirect": _elsewhere,
    "PublicAccessNotPermitted": _private,
    "QuotaExceeded": _full,
    "RequestTimeTooSkewed": _clock,
    "ResourceNotFound": _private,
    "Sealed": _sealed,
    "SignatureDoesNotMatch": _key_not_accepted,
    "SnapshotsPresent": _has_snapshots,
    "TemporaryRedirect": _elsewhere,
    "TokenRefreshRequired": _expired,
    "UserProjectMissing": _payer_needed,
    "XMinioStorageFull": _full,
}
_STATUSES: dict[int, Callable[[RequestFailed, ErrorContext], StoreError]] = {
    401: _sign_in_needed,
    403: _denied,
    405: _takes_none,
    407: _proxy,
    410: _gone,
    507: _full,
}


_REASONS: dict[Reason, tuple[type[StoreError], str, str]] = {
    Reason.CERTIFICATE: (
        errors.CertificateError,
        "The certificate of {host} is not trusted.",
        "Name the CA file of your institution in SSL_CERT_FILE or AWS_CA_BUNDLE.",
    ),
    Reason.NO_CA_FILE: (
        errors.CertificateError,
        "The file of the certificates to trust at {host} cannot be read.",
        "Choose another CA file, or correct AWS_CA_BUNDLE.",
    ),
    Reason.ENCRYPTION: (
        errors.StoreConnectionError,
        "No encrypted connection to {host} comes about.",
        "Check whether its address begins with http:// instead of https://.",
    ),
    Reason.UNKNOWN_HOST: (
        errors.StoreConnectionError,
        "No host is called {host}.",
        _CHECK,
    ),
    Reason.NO_CONNECTION: (
        errors.StoreConnectionError,
        "{host} takes no connection.",
        _CHECK,
    ),
    Reason.BROKEN: (
        errors.StoreConnectionError,
        "The connection to {host} breaks off, in all tries.",
        _LATER,
    ),
    Reason.SILENCE: (
        errors.StoreTimeoutError,
        "{host} does not answer in time, in all tries.",
        _LATER,
    ),
    Reason.TRUNCATED: (
        errors.TruncatedBodyError,
        "{url} ends before its announced length, in all tries.",
        _LATER,
    ),
    Reason.CIRCLES: (
        errors.ServerError,
        "{host} sends {url} on in circles.",
        "Check the address.",
    ),
    Reason.UNUSABLE: (
        errors.StoreConnectionError,
        "{url} is not an address that can be asked.",
        "Check the address.",
    ),
    Reason.WEB_PAGE: (
        errors.WebPageError,
        "{url} answers with a web page.",
        "Use the address of the data, not of the page that shows them.",
    ),
    Reason.PORTAL: (
        errors.WebPageError,
        "{host} answers with a web page instead of {url}.",
        "Sign in there in a browser, or look whether a portal or a firewall of your "
        "network stands between.",
    ),
    Reason.PROXY: (
        errors.StoreConnectionError,
        "The proxy that this computer names for {host} does not let it be reached.",
        "Check HTTPS_PROXY and HTTP_PROXY, or the proxy in the system's settings.",
    ),
    Reason.BROKEN_OFF: (
        errors.ServerError,
        "{host} breaks its list of {url} off, and does not say how it goes on.",
        "Ask its owner for a server that knows ListObjectsV2.",
    ),
    Reason.WRONG_RANGE: (
        errors.ServerError,
        "{host} sends another part of {url} than was asked for.",
        "Ask its owner for a server that serves byte ranges (Range, Content-Range).",
    ),
    Reason.TOO_LONG: (
        errors.DamagedDataError,
        "{url} has more bytes than it can have, and is not read.",
        "Ask its owner to copy it again.",
    ),
    Reason.ENCODED: (
        errors.ServerError,
        "{host} sends {url} packed (Content-Encoding) in a way that is not read here.",
        "Ask its owner for a server that sends files as they are.",
    ),
    Reason.NO_RANGES: (
        errors.ServerError,
        "{host} sends files only whole, and {url} is too long for that.",
        "Ask its owner for a server that serves byte ranges, or copy the file here.",
    ),
}


def _failed(error: OSError, place: ErrorContext) -> StoreError:
    """Translate what the operating system says of a file, or of a filesystem."""
    made: type[StoreError] = errors.StoreError
    verb = {"read": "read", "list": "listed", "delete": "deleted"}.get(place.doing)
    reason = error.strerror or "unknown reason"
    sentence = f"{place.url} cannot be {verb or 'written'} ({reason})."
    action = "Check the disk, or the connection to it."
    if isinstance(error, PermissionError):
        made = errors.AccessDeniedError
        sentence = f"{place.url} may not be {verb or 'written'} by you."
        action = "Ask its owner, or change the permissions."
    return made(sentence, action=action, url=place.url)


_ENDED_CODES = {"ExpiredToken", "ForbiddenException", "UnauthorizedException"}


def sign_in_error(error: Exception, profile: str | None) -> StoreError:
    """Say why AWS's chain could not sign in: a BotoCoreError, ClientError, OSError."""
    from botocore import exceptions as aws  # late: only who signs in needs it

    if isinstance(error, errors.StoreError):
        return error
    if isinstance(error, aws.ProfileNotFound):
        sentence = f"There is no AWS profile {profile}."
        action = "Choose another, or run: aws configure"
        return errors.SignInNeededError(sentence, action=action)
    if isinstance(error, aws.PartialCredentialsError):
        sentence = "Your AWS credentials are not complete."
        action = "Set both the access key and its secret, or neither."
        return errors.KeyNotAcceptedError(sentence, action=action)
    response = error.response if isinstance(error, aws.ClientError) else {}
    code = response.get("Error", {}).get("Code", "")
    ended = (aws.SSOError, aws.TokenRetrievalError, aws.LoginError)
    if isinstance(error, ended) or code in _ENDED_CODES:
        return _sign_in_ended(profile)
    if isinstance(error, (aws.ConnectionError, aws.HTTPClientError)):
        sentence = "The service that signs you in with AWS does not answer."
        action = "Check your connection to the network."
        return errors.StoreConnectionError(sentence, action=action)
    sentence = "Your AWS sign-in fails."
    named = f" --profile {profile}" if profile else ""
    action = f"Run: aws sts get-caller-identity{named}"
    return errors.SignInNeededError(sentence, action=action)


GOOGLE_SIGN_IN = "Run: gcloud auth application-default login"


def google_sign_in_error(error: Exception) -> StoreError:
    """Say why gcsfs or google-auth could not sign in."""
    kinds = {each.__name__ for each in type(error).__mro__}  # they may not be there
    if "TransportError" in kinds:
        sentence = "The service that signs you in with Google does not answer."
        action = "Check your connection to the network."
        return errors.StoreConnectionError(sentence, action=action)
    if "RefreshError" in kinds:
        sentence = "Your Google sign-in has ended."
        return errors.SignInExpiredError(sentence, action=GOOGLE_SIGN_IN)
    sentence = "Your Google sign-in fails."
    return errors.SignInNeededError(sentence, action=GOOGLE_SIGN_IN)


def sign_in_problem(
    failure: RequestFailed | StoreError | None, place: ErrorContext
) -> str:
    """Say in a sentence what was wrong with a sign-in that is not needed after all."""
    if failure is None:
        return "No AWS credentials were found."
    if isinstance(failure, RequestFailed) and failure.denied:
        return "Your AWS sign-in gives no access here."
    return translate(failure, place).sentence


# What counts as absent.

NO_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""What an operating system, or a filesystem, raises where there is no such file."""

_OBJECT_CODES = {
    "",
    "404",  # botocore's, of an answer without a body
    "BlobNotFound",
    "NoSuchKey",
    "NoSuchObject",
    "NotFound",
}
"""The codes, of S3, Azure and others, that are about one object and nothing else.

Not Azure's ``ResourceNotFound``: so it calls a container that is not open to whom it
does not know, whatever is in there."""


def says_absent(status: int, code: str = "") -> bool:
    """Say whether an answer says that there is no such object."""
    return status == 404 and code in _OBJECT_CODES


def says_denied(failure: RequestFailed) -> bool:
    """Say whether an answer is S3's own "you may not", with a sign-in that is right."""
    refused = failure.status == 403 and failure.code == "AccessDenied"
    return refused and not failure.expired


def says_changed(failure: Failure, *, was_there: bool = True) -> bool:
    """Say whether an object was not written because it is not as it was expected.

    S3 answers 409 where two conditional requests meet, and 412 afterwards, or 404 where
    what ``was_there`` is gone; Azure 409 where something is there that should not be.
    Each has reasons of its own too.
    """
    if not isinstance(failure, RequestFailed) or failure.code in _CODES:
        return False
    if was_there and says_absent(failure.status, failure.code):
        return True
    return failure.status in (409, 412)


def tells_of_all(wanted: ByteRequest | None) -> bool:
    """Say whether a request finds out whether an object is there at all."""
    match wanted:
        case RangeByteRequest(start, _) | OffsetByteRequest(start):
            return start == 0
    return True
