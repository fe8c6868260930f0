"""Files on a web server: plain GETs, the query with each, redirects followed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import web
from .byterange import FIRST_BYTE
from .reply import headers_for, reply_of
from .tally import Tally
from .translation import Place
from .transport import REMOTE_CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarr.abc.store import ByteRequest

    from .refusal import Refusal, Refused
    from .reply import Reply


class HttpTransport:
    """The keys below a web address.

    Parameters
    ----------
    address : callable
        From a key to its whole address, encoded and with the query.
    access : web.Access
        What to trust and how long to wait.
    bucket : str, optional
        The bucket behind the address, if it is one.
    extra : str, optional
        Our extra dependency that could sign in here.
    """

    concurrency = REMOTE_CONCURRENCY

    def __init__(
        self,
        address: Callable[[str], str],
        access: web.Access,
        *,
        bucket: str = "",
        extra: str = "",
    ) -> None:
        self.tally = Tally()
        self._bucket = bucket
        self._extra = extra
        self._address = address
        self._access = access

    async def read(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        """Read a key by one GET."""
        return (await self.reply(key, wanted)).part(wanted)

    async def reply(
        self, key: str, wanted: ByteRequest | None, validator: str = ""
    ) -> Reply:
        """Read a key by one GET, unless the object is of the version that is named."""
        headers = headers_for(wanted, validator)
        answer = await web.get(self._address(key), headers, self._access, self.tally)
        return reply_of(answer, headers)

    async def version(self, key: str) -> str:
        """Ask for the first byte, and take the version that the answer names."""
        return (await self.reply(key, FIRST_BYTE)).validator

    def identity(self, key: str) -> str:
        """Return the address, with whatever signs it."""
        return self._address(key)

    def verdict(self, refused: Refused) -> Refusal:
        """Return the only answer there is."""
        return refused.refusal

    def place(self, url: str) -> Place:
        """Describe this place for the words of an error about `url`."""
        parts = urlsplit(self._address(""))
        host = parts.netloc.rpartition("@")[2]
        return Place(
            url,
            host,
            bucket=self._bucket,
            has_query=bool(parts.query),
            extra=self._extra,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing happens here that is worth a sentence."""
        return ()
