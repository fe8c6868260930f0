"""Everything that fsspec knows and we have no way of our own for: gs, az, memory."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import fsspec
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

from napari_omezarr.errors import OptionError, SignInNeededError

from .generic_place import GenericPlace
from .tally import Tally
from .translation import Place

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest

    from napari_omezarr.location import Location

    from .patience import Patience
    from .refusal import Refusal, Refused
    from .transport import Transport

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
        place: Place,
        foreign: tuple[type[Exception], ...] = (),
    ) -> None:
        super().__init__(filesystem, path, place, foreign)
        self.tally = Tally()

    async def read(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        """Read a key, or a part of it."""
        start, end = bounds_of(wanted)
        self.tally.requests += 1
        try:
            body: bytes = await self.call(
                "cat_file", self.at(key), start=start, end=end
            )
        except (FileNotFoundError, IsADirectoryError):
            return None
        self.tally.received += len(body)
        return body

    async def listing(self) -> list[dict[str, Any]]:
        """List what lies directly below the path, as fsspec describes it.

        Raises
        ------
        Refused, OSError
            If the filesystem does not say.
        """
        self.tally.requests += 1
        return list(await self.call("ls", self._path, detail=True))

    def verdict(self, refused: Refused) -> Refusal:
        """Return the only answer there is."""
        return refused.refusal

    def place(self, url: str) -> Place:
        """Describe this place for the words of an error about `url`."""
        return Place(url, self._place.host, bucket=self._place.bucket)

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing happens here that is worth a sentence."""
        return ()


def generic_transport(location: Location, patience: Patience) -> Transport:
    """Choose how to read a place that is neither local, on the web nor in S3.

    Public objects of Google and Azure are read as what they are, files on the web,
    and so are those with a shared access signature. The libraries that sign in
    there are extras.
    """
    if location.protocol != "memory" and _web_is_enough(location):
        return _as_files_on_the_web(location, patience)
    return GenericTransport(*filesystem_of(location))


def filesystem_of(
    location: Location,
) -> tuple[Any, str, Place, tuple[type[Exception], ...]]:
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
        return memory, f"/{location.path}", Place("", "memory"), ()
    filesystem = _signed_in(location)
    place = Place("", location.protocol, bucket=location.root)
    path = f"{location.root}/{location.path}".rstrip("/")
    return filesystem, path, place, _foreign(location.protocol)


def _web_is_enough(location: Location) -> bool:
    if location.protocol == "az" and not location.endpoint:
        return False
    public = location.anonymous or bool(location.query)
    return public or find_spec(DRIVERS[location.protocol]) is None


def _as_files_on_the_web(location: Location, patience: Patience) -> Transport:
    from . import web
    from .http import HttpTransport

    endpoint = location.endpoint or "https://storage.googleapis.com"
    path = f"{location.root}/{location.path}".rstrip("/")
    query = f"?{location.query}" if location.query else ""

    def address(key: str) -> str:
        below = f"{path}/{key}" if key else path
        return f"{endpoint}/{quote(below, safe='/')}{query}"

    access = web.Access(patience, proxy=web.proxy_for(endpoint))
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
