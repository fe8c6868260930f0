"""A path of an fsspec filesystem, and how the filesystem is called."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .refusal import Refusal, Refused
from .transport import LOCAL_CONCURRENCY, REMOTE_CONCURRENCY

if TYPE_CHECKING:
    from .translation import Place


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
        place: Place,
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
