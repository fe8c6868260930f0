"""fsspec's filesystems: how each is made for a place, and what its failures mean.

Nothing is asked before the first read. What a filesystem raises may be of any type and
quote anything; what leaves this module is ours and quotes nothing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote

import fsspec
from fsspec.config import conf

from napari_omezarr._io_loop import outcome
from napari_omezarr.connections import (
    find_profile,
    is_stranger,
    key_store,
    wished,
)
from napari_omezarr.errors import (
    AccessDeniedError,
    CertificateError,
    OptionError,
    SignInNeededError,
    StoreError,
)
from napari_omezarr.location import WEB

from .error_mapping import ErrorContext, Reason, RequestFailed, says_absent

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_omezarr.location import Location

    from .error_mapping import Failure

T = TypeVar("T")

_CONNECT = 15


# What is known of each kind of filesystem.


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of filesystem needs, and how far its words can be taken."""

    package: str = ""
    extra: str = ""
    """What must be installed, and our extra that brings it."""
    is_parallel: bool = False
    """Whether many requests at a time do well."""
    cuts_ranges: bool = False
    """Whether its ``cat_file`` cuts a part right."""
    renames: bool = False
    """Whether a file is written under another name first, and renamed."""
    makes_folders: bool = False
    """Whether the folder of a file must be made before it."""
    file_options: Mapping[str, Any] = field(default_factory=dict)
    """How to open a file to read a part of it, and no more than that."""
    host: str = ""
    """Who is asked, if the address does not say."""
    sign_in: str = "Say in fsspec's configuration how to sign in."
    """What to do where signing in fails."""


_WEBDAV = Kind(
    "webdav4",
    "webdav",
    makes_folders=True,
    sign_in="Put user:password@ before the host, or auth into fsspec's configuration.",
)
KINDS: dict[str, Kind] = {
    "memory": Kind(cuts_ranges=True, host="memory"),
    "sftp": Kind(
        "sshfs",
        "sftp",
        is_parallel=True,
        renames=True,
        sign_in="Check the user's name and the keys: ssh must work without a question.",
    ),
    "webdav+http": _WEBDAV,
    "webdav+https": _WEBDAV,
    "hf": Kind(
        "huggingface_hub",
        "hf",
        # Its reading ahead would take a whole file for the part it asked for.
        file_options={"cache_type": "none"},
        host="huggingface.co",
        sign_in="Run: hf auth login, or set HF_TOKEN.",
    ),
    "github": Kind(
        "requests",
        "github",
        host="github.com",
        sign_in="Put username and token of github into fsspec's configuration.",
    ),
    # These two behind a cache of fsspec's.
    "az": Kind("adlfs", cuts_ranges=True, host="Azure's storage"),
    "gs": Kind("gcsfs", "gcs", cuts_ranges=True, host="Google's storage"),
    "ipfs": Kind("ipfsspec", "ipfs", is_parallel=True, host="the IPFS gateway"),
    "ipns": Kind("ipfsspec", "ipfs", is_parallel=True, host="the IPFS gateway"),
}
_PLAIN = Kind(cuts_ranges=True)
_CACHE = Kind()


def require(package: str, extra: str, url: str) -> None:
    """Say in one sentence what to install, if a package is not there.

    Raises
    ------
    OptionError
        It is not installed.
    """
    if package and find_spec(package) is None:
        install = f"'napari-omezarr[{extra}]'" if extra else package
        raise OptionError(
            f"{url} needs {package}, which is not installed.",
            action=f"Run: pip install {install}",
            url=url,
        )


# One filesystem for all stores of a host.

_shared: dict[tuple[str, ...], asyncio.Task[Any]] = {}
"""Filesystems that are made or being made, by what they were made from."""


class SharedFilesystem:
    """A filesystem that is made at the first use, and anew after it broke.

    It is made in a thread, as that may connect. ``key`` is what it is made from: who
    asks for the same gets the same.
    """

    def __init__(
        self,
        place: ErrorContext,
        kind: Kind = _PLAIN,
        *,
        make: Callable[[], Any] | None = None,
        key: tuple[str, ...] = (),
        made: Any = None,
    ) -> None:
        self.place = place
        self.made = made
        self.kind = kind
        self._make = make
        self._key = key

    @property
    def is_parallel(self) -> bool:
        """Whether many requests at a time do well."""
        return (
            bool(self.made.async_impl) if self._make is None else self.kind.is_parallel
        )

    @property
    def is_cache(self) -> bool:
        """Whether it is one of fsspec's caches."""
        return self.kind is _CACHE

    @property
    def host(self) -> str:
        """Who is asked."""
        return self.place.host or self.kind.host

    async def get(self) -> Any:
        """Give the filesystem; the first who asks makes it, on the I/O loop."""
        if self._make is None:
            return self.made
        task = _shared.get(self._key)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = asyncio.ensure_future(outcome(asyncio.to_thread(self._make)))
            _shared[self._key] = task
        made = await asyncio.shield(task)
        if isinstance(made, Exception):
            if _shared.get(self._key) is task:
                del _shared[self._key]
            raise self.explain(made)
        self.made = made
        return made

    def drop(self, filesystem: Any) -> None:
        """Forget a filesystem whose connection broke."""
        task = _shared.get(self._key)
        if task is not None and task.done() and task.result() is filesystem:
            del _shared[self._key]

    async def check_absent(self, path: str) -> None:
        """Make sure that "no such file" was about the place, and not about a cache.

        Raises
        ------
        StoreError
            It was not.
        """
        if not self.is_cache:
            return
        filesystem = await self.get()
        answer = await outcome(asyncio.to_thread(filesystem.fs.info, path))
        if isinstance(answer, FileNotFoundError) and is_absence(answer):
            return
        if isinstance(answer, Exception):
            raise self.explain(answer)
        raise StoreError(
            f"The folder of the cache before {self.place.url} cannot be used.",
            action="Check cache_storage in fsspec's configuration.",
            url=self.place.url,
        )

    def explain(self, error: Exception) -> Failure:
        """Reduce what a filesystem raised to what we know of it."""
        if isinstance(error, (StoreError, RequestFailed)):
            return error
        said = _chain(error)
        names = {cls.__name__ for each in said for cls in type(each).__mro__}
        if (refused := self._refused(names)) is not None:
            return refused
        if status := next(filter(None, map(status_of, said)), 0):
            return self._answered(status, said)
        for known, reason in _REASONS:
            if isinstance(known, frozenset):
                if names & known:
                    return RequestFailed(reason=reason)
            elif any(isinstance(each, known) for each in said):
                return RequestFailed(reason=reason)
        return self._unknown(error)

    def _refused(self, names: set[str]) -> Failure | None:
        """Say what the types of errors mean that are about the sign-in, or the room."""
        url = self.place.url
        if names & _UNKNOWN_KEYS:
            sentence = f"The key of the host {self.host} is not known."
            action = "Connect to it once by ssh in a terminal, and check the key."
            return CertificateError(sentence, action=action, url=url)
        if names & _UNKNOWN_USERS:
            sentence = f"{self.host} does not let you sign in."
            return SignInNeededError(sentence, action=self.kind.sign_in, url=url)
        if names & _NO_REPOSITORY:
            sentence = f"{url} is in no repository that is open to you."
            return AccessDeniedError(sentence, action=self.kind.sign_in, url=url)
        code = errno.EACCES if names & _NOT_ALLOWED else 0
        code = errno.ENOSPC if names & _NO_ROOM else code
        return OSError(code, os.strerror(code)) if code else None

    def _answered(self, status: int, said: list[BaseException]) -> Failure:
        if status == 401:
            sentence = f"{self.host} answers only those who have signed in."
            action = self.kind.sign_in
            return SignInNeededError(sentence, action=action, url=self.place.url)
        left = next(filter(None, (_requests_left(each) for each in said)), "")
        if status == 403 and left == "0":
            return RequestFailed(429)
        # The code keeps it from being taken for S3's word for a missing key.
        return RequestFailed(status, code="Refused" if status == 403 else "")

    def _unknown(self, error: Exception) -> Failure:
        code = error.errno if isinstance(error, OSError) else None
        # A file that is not there may be one of the sign-in: no key is missing then.
        if code and code not in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
            return OSError(code, os.strerror(code))
        # The name of an exception's type is no text of a server.
        sentence = f"{self.place.url} cannot be reached ({type(error).__name__})."
        action = "Check the address, and what fsspec's configuration says of it."
        return StoreError(sentence, action=action, url=self.place.url)


_UNKNOWN_KEYS = frozenset({"HostKeyNotVerifiable", "BadHostKeyException"})
_UNKNOWN_USERS = frozenset({"PermissionDenied", "AuthenticationException"})
_NOT_ALLOWED = frozenset(
    {
        "SFTPPermissionDenied",
        "SFTPWriteProtect",
        "PermissionError",
        "ForbiddenOperation",
    }
)
_NO_ROOM = frozenset(
    {"SFTPNoSpaceOnFilesystem", "SFTPQuotaExceeded", "InsufficientStorage"}
)
# Hugging Face says "not found" of a repository that one may not see, and fsspec of a
# bucket: what lies in them is not missing.
_NO_REPOSITORY = frozenset(
    {
        "RepositoryNotFoundError",
        "RevisionNotFoundError",
        "BucketNotFoundError",
        "GatedRepoError",
        "NoSuchBucket",
    }
)
_REASONS: tuple[tuple[Any, Reason], ...] = (
    ((ssl.SSLCertVerificationError,), Reason.CERTIFICATE),
    ((ssl.SSLError,), Reason.ENCRYPTION),
    ((socket.gaierror,), Reason.UNKNOWN_HOST),
    ((ConnectionRefusedError,), Reason.NO_CONNECTION),
    ((TimeoutError,), Reason.SILENCE),
    (frozenset({"TimeoutException", "Timeout", "FSTimeoutError"}), Reason.SILENCE),
    (
        frozenset(
            {
                "ChannelOpenError",
                "ClientConnectionError",
                "DisconnectError",
                "NetworkError",
                "ProtocolError",
                "RemoteProtocolError",
                "RequestException",
                "SFTPConnectionLost",
                "SFTPNoConnection",
            }
        ),
        Reason.BROKEN,
    ),
    ((ConnectionError, EOFError), Reason.BROKEN),
)


def is_absence(error: BaseException) -> bool:
    """Say whether "not found" means that one object is missing, and nothing else."""
    said = _chain(error)
    names = {cls.__name__ for each in said for cls in type(each).__mro__}
    if names & (_NO_REPOSITORY | _UNKNOWN_USERS | _NOT_ALLOWED):
        return False
    return all(says_absent(status_of(each) or 404, _code(each)) for each in said)


def _chain(error: BaseException) -> list[BaseException]:
    """Give an error and what it was raised from."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found


def status_of(error: BaseException) -> int:
    """Find the HTTP status that the libraries keep under several names; 0 if none."""
    for said in (error, getattr(error, "response", None)):
        for name in ("status", "status_code", "code"):
            value = str(getattr(said, name, ""))
            # SSH has small numbers of its own under these names.
            if value.isdecimal() and 300 <= int(value) < 600:
                return int(value)
    return 0


def _code(error: BaseException) -> str:
    """Find the code of S3's error document, as botocore keeps it."""
    response = getattr(error, "response", None)
    found = response.get("Error") if isinstance(response, Mapping) else None
    return str(found.get("Code", "")) if isinstance(found, Mapping) else ""


def _requests_left(error: BaseException) -> str:
    """Read how many requests GitHub grants yet."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    return str(headers.get("x-ratelimit-remaining", "")) if headers else ""


# From a location to its filesystem.


def shared_filesystem(
    location: Location,
) -> tuple[SharedFilesystem, str | Callable[[str], str]]:
    """Give the filesystem of a place, not made yet, and the path in its terms.

    Raises
    ------
    OptionError
        Its package is not installed.
    """
    caches = [name for name in location.through if name != "reference"]
    inner = replace(location, through=(), notes=())
    named = inner.profile if caches and inner.protocol in WEB else None
    if named and find_profile(named).sign_in == "header":
        # It would send headers along to wherever a server sends it on.
        raise OptionError(
            f"The token of {named} is not given to fsspec's {caches[0]}.",
            action=f"Leave {caches[0]}:: out; the plugin's own disk cache keeps what "
            "was read.",
            url=location.display,
        )
    kind = KINDS.get(location.protocol, _PLAIN)
    require(kind.package, kind.extra, location.display)
    make, path = _maker(inner)
    host = location.root if location.protocol in _HOSTS else kind.host
    place = ErrorContext(location.display, host or location.display)
    # What the person configured belongs to it: a changed password is another one.
    key = (*caches, location.protocol, *_identity(inner), repr(sorted(conf.items())))
    for name in reversed(caches):
        make, kind = partial(_cached, name, make), _CACHE
    return SharedFilesystem(place, kind, make=make, key=key), path


_HOSTS = ("sftp", "webdav+http", "webdav+https", "http", "https")


def _identity(location: Location) -> tuple[str, ...]:
    names = ("root", "userinfo", "endpoint", "region", "profile", "anonymous", "query")
    said = tuple(str(getattr(location, name)) for name in names)
    if location.protocol != "s3":
        return said
    return (*said, repr(wished(location, None)), str(key_store().revision))


def _cached(name: str, make: Callable[[], Any]) -> Any:
    return fsspec.filesystem(name, fs=make(), skip_instance_cache=True)


def _maker(
    location: Location,
) -> tuple[Callable[[], Any], str | Callable[[str], str]]:
    """Give what makes the filesystem of a place, and the path in its terms."""
    protocol = location.protocol
    if protocol == "s3":
        return partial(_s3, location), f"{location.root}/{location.path}".rstrip("/")
    options = _OPTIONS[protocol](location) if protocol in _OPTIONS else {}
    path: str | Callable[[str], str]
    match protocol:
        case "memory":
            path = f"/{location.path}"
        case "file":
            path = str(location.local_path())
        case "http" | "https":
            path = location.url
        case "sftp":
            path = _remote_path(location)
        case "webdav+http" | "webdav+https" | "github":
            path = location.path
        case _:
            path = f"{location.root}/{location.path}".rstrip("/")
    known = "webdav" if protocol.startswith("webdav+") else protocol
    return partial(_filesystem, known, **options), path


def _filesystem(protocol: str, **options: Any) -> Any:
    """Make a filesystem, with what the person configured where nothing else is said."""
    # fsspec merges these by the names that a class gives itself, and some give none.
    configured = {**conf.get(protocol, {})}
    if protocol == "sftp":
        configured = {**conf.get("ssh", {}), **configured}
    return fsspec.filesystem(
        protocol, **{**configured, **options}, skip_instance_cache=True
    )


def _signs_in(location: Location) -> tuple[str, str]:
    user, _, password = location.userinfo.partition(":")
    return unquote(user), unquote(password)


def _ssh(location: Location) -> dict[str, Any]:
    host, _, port = location.root.rpartition(":")
    if not host or location.root.endswith("]"):
        host, port = location.root, ""
    user, password = _signs_in(location)
    options: dict[str, Any] = {
        "host": host.strip("[]"),
        "connect_timeout": _CONNECT,
        "login_timeout": 2 * _CONNECT,
        "keepalive_interval": _CONNECT,
    }
    if not (conf.get("ssh", {}) | conf.get("sftp", {})).get("known_hosts"):
        # sshfs would take any key; this asks ~/.ssh/known_hosts, as ssh does.
        options["known_hosts"] = ()
    if port:
        options["port"] = int(port)
    if user:
        options["username"] = user
    if password:
        options["password"] = password
    return options


def _remote_path(location: Location) -> str:
    """Give the path at an SFTP server: from its root, or from the home directory."""
    if location.path == "~":
        return "."
    return location.path[2:] if location.path[:2] == "~/" else f"/{location.path}"


def _webdav(location: Location) -> dict[str, Any]:
    transport = location.protocol.removeprefix("webdav+")
    options: dict[str, Any] = {
        "base_url": f"{transport}://{location.root}",
        "event_hooks": {"response": [_refuse_page]},
    }
    user, password = _signs_in(location)
    if user:
        options["auth"] = (user, password)
    elif auth := conf.get("webdav", {}).get("auth"):
        options["auth"] = tuple(auth)  # JSON has lists
    return options


def _refuse_page(response: Any) -> None:
    """Take no page of a portal for an answer; what was made is 201, page or not."""
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    if is_page and response.status_code == 200 and response.request.method != "GET":
        raise RequestFailed(reason=Reason.WEB_PAGE)


def _github(location: Location) -> dict[str, Any]:
    name, _, revision = location.root.partition("@")
    organisation, _, repository = name.partition(":")
    options = {"org": organisation, "repo": repository}
    return {**options, "sha": unquote(revision)} if revision else options


def _s3(location: Location) -> Any:
    from .sign_in import s3_filesystem  # late: it loads AWS's libraries

    profile = wished(location, None)
    if is_stranger(location, None):
        profile = replace(profile, sign_in="anonymous")
    return s3_filesystem(profile, conf.get("s3", {}))


def _az(location: Location) -> dict[str, Any]:
    host = (location.endpoint or "").rpartition("/")[2]
    said = {"account_name": host.partition(".")[0], "account_host": host}
    signs = {"sas_token": location.query} if location.query else {}
    return (said if host else {}) | ({"anon": True} if location.anonymous else signs)


def _gs(location: Location) -> dict[str, Any]:
    return {"token": "anon"} if location.anonymous else {}


_OPTIONS: dict[str, Callable[[Location], dict[str, Any]]] = {
    "sftp": _ssh,
    "webdav+http": _webdav,
    "webdav+https": _webdav,
    "github": _github,
    "az": _az,
    "gs": _gs,
}


def as_web(location: Location) -> Location:
    """Give the web address under which a WebDAV server has a file to be read."""
    user = location.userinfo
    auth = conf.get("webdav", {}).get("auth")
    if not user and auth:
        user = ":".join(quote(str(part), safe="") for part in auth)
    protocol = location.protocol.removeprefix("webdav+")
    return replace(location, protocol=protocol, userinfo=user)


def gateway_of(location: Location) -> str:
    """Find the IPFS gateway of this computer, as ipfsspec does.

    Raises
    ------
    OptionError
        There is none, or ipfsspec is not installed.
    """
    require("ipfsspec", "ipfs", location.display)
    from ipfsspec.async_ipfs import get_gateway

    try:
        configured = conf.get("ipfs", {}).get("gateway_addr")
        return str(get_gateway(location.protocol, configured).url).rstrip("/")
    except RuntimeError:
        sentence = f"{location.display} is read through a gateway, and none is named."
    raise OptionError(
        sentence,
        action="Set IPFS_GATEWAY to its address, like https://ipfs.io.",
        url=location.display,
    )
