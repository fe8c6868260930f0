"""What lies directly below a place, page by page; the only part that lists."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from napari_omezarr.errors import (
    AccessDeniedError,
    ListingDeniedError,
    SignInNeededError,
)

from .tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_omezarr.errors import StoreError

PAGE = 1000
"""How many keys S3 gives at most with one request."""


@dataclass(frozen=True, slots=True)
class Item:
    """A folder or an object, directly below the place.

    Attributes
    ----------
    name : str
        The last part of its key, without a slash.
    is_folder : bool
        Whether it is a common prefix of keys, or a folder.
    size : int or None
        Bytes of an object.
    modified : str
        When the object was written, ISO 8601 in UTC; ``""`` if nobody says.
    """

    name: str
    is_folder: bool
    size: int | None = None
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some items; ``rest`` asks for the next ones and is ``""`` after the last."""

    items: tuple[Item, ...]
    rest: str = ""


class Lister(Protocol):
    """One way to list what lies below a place.

    Attributes
    ----------
    tally : Tally
        What it sent and received.
    """

    tally: Tally

    async def batch(self, prefix: str = "", rest: str = "", size: int = PAGE) -> Batch:
        """Give some items whose names begin with `prefix`; runs on the I/O loop.

        Parameters
        ----------
        prefix : str
            The beginning of the names; the place itself selects, where it can.
        rest : str
            Of the batch before; ``""`` for the first.
        size : int
            How many items at most.

        Raises
        ------
        StoreError
            The place did not list.
        """
        ...

    async def tree(self, rest: str = "") -> Batch:
        """Give some of all objects below, at any depth: names are whole paths.

        Raises
        ------
        StoreError
            The place did not list.
        """
        ...


class Items(Protocol):
    """What a place that needs no pages says of itself."""

    async def __call__(self) -> Iterable[Item]:
        """Give what lies directly below, in any order."""
        ...

    async def tree(self) -> Iterable[Item]:
        """Give all objects at any depth, by their whole paths."""
        ...


class WholeLister:
    """A place that gives all its items at once: a folder, an archive.

    Parameters
    ----------
    load : Items
        Gives the items; called once.
    tally : Tally, optional
        Counts what `load` sends and receives.
    """

    def __init__(self, load: Items, tally: Tally | None = None) -> None:
        self.tally = tally or Tally()
        self._load = load
        self._items: list[Item] | None = None

    async def tree(self, rest: str = "") -> Batch:
        """Give all objects at any depth, in the order of their paths."""
        return Batch(tuple(sorted(await self._load.tree(), key=_name)))

    async def batch(self, prefix: str = "", rest: str = "", size: int = PAGE) -> Batch:
        """Give the items after `rest`, which is a name, in the order of names."""
        if self._items is None:
            self._items = sorted(await self._load(), key=_name)
        start = bisect_left(self._items, max(prefix, rest), key=_name)
        if rest and start < len(self._items) and self._items[start].name == rest:
            start += 1
        found = self._items[start : start + size + 1]
        matching = [item for item in found if item.name.startswith(prefix)]
        more = len(matching) > size
        items = tuple(matching[:size])
        return Batch(items, items[-1].name if more else "")


def about_listing(error: StoreError, url: str) -> StoreError:
    """Say of "you may not" that it is only about the listing: keys may be open.

    Errors that are about the sign-in itself stay what they are.
    """
    if type(error) not in (AccessDeniedError, SignInNeededError):
        return error
    sentence = f"Listing is not allowed at {url}."
    action = "Type the full address of an image, or choose another sign-in."
    return ListingDeniedError(sentence, action=action, url=url)


def not_listed(url: str) -> ListingDeniedError:
    """Say that a web server does not tell what it holds."""
    sentence = f"{url} does not tell what it holds."
    action = "Type the full address of an image."
    return ListingDeniedError(sentence, action=action, url=url)


def _name(item: Item) -> str:
    return item.name
