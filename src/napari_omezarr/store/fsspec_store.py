"""Everything that fsspec knows and we have no way of our own for: gs, az, memory."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import fsspec
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

from napari_omezarr.errors import (
    OptionError,
    SignInNeededError,
)

from . import http
from .backend import (
    LOCAL_CONCURRENCY,
    REMOTE_CONCURRENCY,
    DeepPage,
    GetResult,
    PutMode,
    RequestStats,
    StoredObject,
)
from .error_mapping import (
    ErrorContext,
    Refusal,
    Refused,
)

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest

    from napari_omezarr.location import Location

    from .backend import Attempts, Transport
    from .retry import RetryPolicy

    T = TypeVar("T")


# A path of an fsspec filesystem, and how the filesystem is called.


class GenericPlace:
    """The keys below a path of an fsspec filesystem, to be read or written.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
        If it is asynchronous, it must belong to fsspec's own loop, as by default.
    path : str
        The path in its terms.
    place : Place
        Whom to name in an error.
    foreign : tuple of types, optional
        The filesystem's own exceptions that are no OSErrors.
    """

    def __init__(
        self,
        filesystem: Any,
        path: str,
        place: ErrorContext,
        foreign: tuple[type[Exception], ...] = (),
    ) -> None:
        self.concurrency = (
            REMOTE_CONCURRENCY if filesystem.async_impl else LOCAL_CONCURRENCY
        )
        self._filesystem = filesystem
        self._path = path
        self._place = place
        self._errors: tuple[type[Exception], ...] = (OSError, *foreign)

    def at(self, key: str) -> str:
        """Give the filesystem's own path of a key."""
        return f"{self._path}/{key}".rstrip("/")

    async def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the filesystem by its name; on the I/O loop.

        Raises
        ------
        Refused
            The filesystem's service refused.
        OSError
            Something else went wrong.
        """
        try:
            if self._filesystem.async_impl:
                # The asynchronous half of fsspec's contract: an underscore before.
                return await getattr(self._filesystem, f"_{name}")(
                    *arguments, **options
                )
            method = getattr(self._filesystem, name)
            return await asyncio.to_thread(method, *arguments, **options)
        except (FileNotFoundError, IsADirectoryError):
            raise
        except self._errors as error:
            status = status_of(error)
            if not status and isinstance(error, OSError):
                raise
        raise Refused(Refusal(status, signed=True))


def status_of(error: Exception) -> int:
    """Find the HTTP status that the libraries keep under several names."""
    for name in ("status", "code", "status_code"):
        value = getattr(error, name, None)
        if isinstance(value, (int, str)) and str(value).isdigit():
            return int(value)
    return 403 if "Forbidden" in str(error) else 0


# Everything that fsspec knows and we have no way of our own for: gs, az, memory.

DRIVERS = {"gs": "gcsfs", "az": "adlfs"}
EXTRAS = {"gs": "gcs", "az": "azure"}
_NAME_THE_ACCOUNT = (
    "Use az://container@account.blob.core.windows.net/…, or set "
    "AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_CONNECTION_STRING."
)
_FOREIGN_ERRORS = {
    "gs": (("gcsfs.retry", "HttpError"), ("google.auth.exceptions", "GoogleAuthError")),
    "az": (("azure.core.exceptions", "AzureError"),),
}


class GenericTransport(GenericPlace):
    """Reads the keys below a path of an fsspec filesystem."""

    def __init__(
        self,
        filesystem: Any,
        path: str,
        place: ErrorContext,
        foreign: tuple[type[Exception], ...] = (),
    ) -> None:
        super().__init__(filesystem, path, place, foreign)
        self.stats = RequestStats()

    async def read(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        """Read a key, or a part of it."""
        start, end = bounds_of(wanted)
        self.stats.requests += 1
        try:
            body: bytes = await self.call(
                "cat_file", self.at(key), start=start, end=end
            )
        except (FileNotFoundError, IsADirectoryError):
            return None
        self.stats.received += len(body)
        return body

    async def listing(self) -> list[dict[str, Any]]:
        """List what lies directly below the path, as fsspec describes it.

        Raises
        ------
        Refused, OSError
            If the filesystem does not say.
        """
        self.stats.requests += 1
        return list(await self.call("ls", self._path, detail=True))

    def verdict(self, refused: Refused) -> Refusal:
        """Return the only answer there is."""
        return refused.refusal

    def place(self, url: str) -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        return ErrorContext(url, self._place.host, bucket=self._place.bucket)

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing happens here that is worth a sentence."""
        return ()


def generic_transport(location: Location, retry: RetryPolicy) -> Transport:
    """Choose how to read a place that is neither local, on the web nor in S3.

    Public objects of Google and Azure are read as what they are, files on the web,
    and so are those with a shared access signature. The libraries that sign in
    there are extras.
    """
    if location.protocol != "memory" and _web_is_enough(location):
        return _as_files_on_the_web(location, retry)
    return GenericTransport(*filesystem_of(location))


def filesystem_of(
    location: Location,
) -> tuple[Any, str, ErrorContext, tuple[type[Exception], ...]]:
    """Make the filesystem of a place that fsspec knows.

    Returns
    -------
    tuple
        The filesystem, the path in its terms, whom to name in an error, and the
        filesystem's own exceptions that are no OSErrors.

    Raises
    ------
    OptionError
        The library that signs in there is not installed.
    SignInNeededError
        Azure's does not know which account is meant.
    """
    if location.protocol == "memory":
        memory = fsspec.filesystem("memory")
        return memory, f"/{location.path}", ErrorContext("", "memory"), ()
    filesystem = _signed_in(location)
    place = ErrorContext("", location.protocol, bucket=location.root)
    path = f"{location.root}/{location.path}".rstrip("/")
    return filesystem, path, place, _foreign(location.protocol)


def _web_is_enough(location: Location) -> bool:
    if location.protocol == "az" and not location.endpoint:
        return False
    public = location.anonymous or bool(location.query)
    return public or find_spec(DRIVERS[location.protocol]) is None


def _as_files_on_the_web(location: Location, retry: RetryPolicy) -> Transport:
    from .http import HttpTransport

    endpoint = location.endpoint or "https://storage.googleapis.com"
    path = f"{location.root}/{location.path}".rstrip("/")
    query = f"?{location.query}" if location.query else ""

    def address(key: str) -> str:
        below = f"{path}/{key}" if key else path
        return f"{endpoint}/{quote(below, safe='/')}{query}"

    access = http.Access(retry, proxy=http.proxy_for(endpoint))
    return HttpTransport(address, access, extra=EXTRAS[location.protocol])


def _signed_in(location: Location) -> Any:
    driver = DRIVERS[location.protocol]
    if find_spec(driver) is None:
        raise OptionError(
            f"{location.display} needs {driver}, which is not installed.",
            action=f"Run: pip install 'napari-omezarr[{EXTRAS[location.protocol]}]'",
            url=location.display,
        )
    try:
        return fsspec.filesystem(location.protocol, **_options(location))
    except ValueError:  # adlfs, when nothing names an account
        sentence = f"Nothing says which account {location.display} is of."
    raise SignInNeededError(sentence, action=_NAME_THE_ACCOUNT, url=location.display)


def _options(location: Location) -> dict[str, Any]:
    """Say the wishes of a location as gcsfs and adlfs call them."""
    if location.protocol == "gs":
        return {"endpoint_url": location.endpoint} if location.endpoint else {}
    account = (location.endpoint or "").removeprefix("https://").partition(".")[0]
    return {"account_name": account} if account else {}


def _foreign(protocol: str) -> tuple[type[Exception], ...]:
    names = _FOREIGN_ERRORS[protocol]
    return tuple(getattr(import_module(module), name) for module, name in names)


def bounds_of(wanted: ByteRequest | None) -> tuple[int | None, int | None]:
    """Say a part as fsspec does: from where to where, counted from the end if < 0."""
    match wanted:
        case RangeByteRequest(start, end):
            return start, end
        case OffsetByteRequest(offset):
            return offset, None
        case SuffixByteRequest(suffix):
            return -suffix, None
        case None:
            return None, None


# Whatever fsspec can write to and we have no way of our own for: gs, az, memory.


class GenericOutlet(GenericPlace):
    """Writes the keys below a path of an fsspec filesystem.

    It knows no conditions: who writes on one has to look before.
    """

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read a key, or a part of it."""
        start, end = bounds_of(wanted)
        try:
            body = await self.call("cat_file", self.at(key), start=start, end=end)
        except (FileNotFoundError, IsADirectoryError):
            return None
        return GetResult(body, hashlib.blake2b(body, digest_size=16).hexdigest())

    async def write(
        self, key: str, body: bytes, condition: PutMode | None = None
    ) -> None:
        """Write a key, whatever is there."""
        await self.call("pipe_file", self.at(key), bytes(body))

    async def put(self, key: str, body: bytes, attempts: Attempts) -> None:
        """Write a key; the filesystem itself cuts what is long."""
        await attempts(partial(self.write, key, body))

    async def copy(self, key: str, to: str, size: int, attempts: Attempts) -> None:
        """Let the filesystem copy a key, within its service where it can."""
        await attempts(partial(self.call, "cp_file", self.at(key), self.at(to)))

    async def delete(self, key: str) -> None:
        """Delete a key."""
        try:
            await self.call("rm_file", self.at(key))
        except FileNotFoundError:
            return

    async def page(self, prefix: str, token: str = "", size: int = 1000) -> DeepPage:
        """List all at once."""
        folder = self.at(prefix)
        self._filesystem.invalidate_cache(folder)
        try:
            found = await self.call("find", folder, detail=True)
        except FileNotFoundError:
            found = {}
        above = len(self._path.strip("/")) + 1 if self._path.strip("/") else 0
        return DeepPage(
            tuple(
                StoredObject(name.strip("/")[above:], int(facts.get("size") or 0))
                for name, facts in sorted(found.items())
            )
        )

    def place(self, url: str, doing: str) -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        return replace(self._place, url=url, doing=doing)
