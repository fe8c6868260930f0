"""Everything that fsspec knows and we have no way of our own for: gs, az, memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import fsspec
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

from napari_omezarr.errors import OptionError, SignInNeededError

from .backend import (
    LOCAL_CONCURRENCY,
    PAGE,
    REMOTE_CONCURRENCY,
    GetResult,
    ListPage,
    ObjectBackend,
    ObjectMeta,
    PutMode,
    RequestStats,
    WritableBackend,
)
from .error_mapping import ErrorContext, RequestFailed

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest

    from napari_omezarr.location import Location

    from .backend import Attempts
    from .retry import RetryPolicy

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


class FsspecBackend(WritableBackend):
    """The keys below a path of an fsspec filesystem, to be read or written.

    It names no versions and knows no conditions: who writes on one has to look before.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
        If it is asynchronous, it must belong to fsspec's own loop, as by default.
    path : str
        The path in its terms.
    place : ErrorContext
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
        self.stats = RequestStats()
        self._filesystem = filesystem
        self._path = path
        self._place = place
        self._errors: tuple[type[Exception], ...] = (OSError, *foreign)

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read a key, or a part of it."""
        start, end = bounds_of(wanted)
        self.stats.requests += 1
        try:
            body = await self._call("cat_file", self._at(key), start=start, end=end)
        except (FileNotFoundError, IsADirectoryError):
            return None
        self.stats.received += len(body)
        return GetResult(body)

    async def list_folder(self) -> list[dict[str, Any]]:
        """List what lies directly below the path, as fsspec describes it."""
        self.stats.requests += 1
        return list(await self._call("ls", self._path, detail=True))

    async def write(
        self, key: str, body: bytes, condition: PutMode | None = None
    ) -> None:
        """Write a key, whatever is there."""
        await self._call("pipe_file", self._at(key), bytes(body))

    async def put(self, key: str, body: bytes, attempts: Attempts) -> None:
        """Write a key; the filesystem itself cuts what is long."""
        await attempts(partial(self.write, key, body))

    async def copy(self, key: str, to: str, size: int, attempts: Attempts) -> None:
        """Let the filesystem copy a key, within its service where it can."""
        await attempts(partial(self._call, "cp_file", self._at(key), self._at(to)))

    async def delete(self, key: str) -> None:
        """Delete a key."""
        try:
            await self._call("rm_file", self._at(key))
        except FileNotFoundError:
            return

    async def list_all(
        self, prefix: str, token: str = "", size: int = PAGE
    ) -> ListPage:
        """List all at once."""
        folder = self._at(prefix)
        self._filesystem.invalidate_cache(folder)
        try:
            found = await self._call("find", folder, detail=True)
        except FileNotFoundError:
            found = {}
        above = len(self._path.strip("/")) + 1 if self._path.strip("/") else 0
        return ListPage(
            tuple(
                ObjectMeta(name.strip("/")[above:], False, int(facts.get("size") or 0))
                for name, facts in sorted(found.items())
            )
        )

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe this place for the words of an error about `url`."""
        return replace(self._place, url=url, doing=doing)

    def _at(self, key: str) -> str:
        return f"{self._path}/{key}".rstrip("/")

    async def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the filesystem by its name; on the I/O loop."""
        try:
            if self._filesystem.async_impl:
                # The asynchronous half of fsspec's contract: an underscore before.
                method = getattr(self._filesystem, f"_{name}")
                return await method(*arguments, **options)
            method = getattr(self._filesystem, name)
            return await asyncio.to_thread(method, *arguments, **options)
        except (FileNotFoundError, IsADirectoryError):
            raise
        except self._errors as error:
            status = status_of(error)
            if not status and isinstance(error, OSError):
                raise
        raise RequestFailed(status, signed=True)


def status_of(error: Exception) -> int:
    """Find the HTTP status that the libraries keep under several names."""
    for name in ("status", "code", "status_code"):
        value = getattr(error, name, None)
        if isinstance(value, (int, str)) and str(value).isdigit():
            return int(value)
    return 403 if "Forbidden" in str(error) else 0


def open_backend(location: Location, retry: RetryPolicy) -> ObjectBackend:
    """Choose how to read a place that is neither local, on the web nor in S3.

    Public objects of Google and Azure are read as what they are, files on the web,
    and so are those with a shared access signature. The libraries that sign in
    there are extras.
    """
    if location.protocol != "memory" and _web_is_enough(location):
        return _as_files_on_the_web(location, retry)
    return FsspecBackend(*filesystem_of(location))


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


def _as_files_on_the_web(location: Location, retry: RetryPolicy) -> ObjectBackend:
    from .http import Access, HttpBackend, proxy_for

    endpoint = location.endpoint or "https://storage.googleapis.com"
    path = f"{location.root}/{location.path}".rstrip("/")
    query = f"?{location.query}" if location.query else ""

    def address(key: str) -> str:
        below = f"{path}/{key}" if key else path
        return f"{endpoint}/{quote(below, safe='/')}{query}"

    access = Access(retry, proxy=proxy_for(endpoint))
    return HttpBackend(address, access, extra=EXTRAS[location.protocol])


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
