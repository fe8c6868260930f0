"""The children of a place, page by page: folders and images, never chunks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from napari_omezarr._io_loop import awaited, start
from napari_omezarr.connections import locate
from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    ListingDeniedError,
    NodeNotFoundError,
    OMEZarrError,
    StoreError,
)
from napari_omezarr.location import WEB, Location
from napari_omezarr.reading import (
    GroupNode,
    group_keys,
    parse_node,
    run_questions_async,
)
from napari_omezarr.store import (
    ListPage,
    all_pages,
    nothing_at,
    open_buckets,
    open_lister,
    open_store,
)

from .entries import (
    CHILD_KEYS,
    Entry,
    EntryKind,
    children,
    found_node,
    probe_keys,
    recognise,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Future

    from napari_omezarr.connections import Profile
    from napari_omezarr.store import Lister, ObjectMeta, RemoteStore, RetryPolicy

_ARCHIVES = (".ozx", ".zip")
_EMPTY_PAGES = 4
"""How many pages without a row are asked for before the person is asked again."""
AT_A_TIME = 8
"""How many rows are recognised together."""

T = TypeVar("T")

# The children of one place.


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Some children of a place."""

    entries: tuple[Entry, ...]
    """The rows."""
    is_last: bool
    """Whether there are no more."""
    hidden: int
    """How many objects of this page are not shown, as they are no images."""
    here: Entry
    """What the place itself is, as far as it is known."""
    notes: tuple[str, ...] = ()
    """How the place was reached, a sentence each."""


class Listing:
    """The children of one place, asked for page by page, ``size`` rows at most.

    The children of an image (or of labels, a plate, a series, a scene) are in its
    metadata; everything else is listed, with ``prefix`` only what begins so (the server
    selects), with ``files`` every key as it is stored. An entry that was recognised is
    not probed again. Nothing is kept but where the next page begins.
    """

    def __init__(
        self,
        place: Location | Entry,
        *,
        prefix: str = "",
        files: bool = False,
        size: int = 1000,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.here = Entry(place, "") if isinstance(place, Location) else place
        self.location = self.here.location
        if self.location.is_service:
            self.here = replace(self.here, kind=EntryKind.FOLDER, recognised=True)
        self._prefix = prefix
        self._files = files
        self._size = size
        self._retry = retry
        self._store: RemoteStore = open_store(self.location, retry=retry)
        self._lister: Lister | None = None
        self._token = ""
        self._turn = asyncio.Lock()
        self._running: set[Future[EntryPage]] = set()
        self._started = False
        self._ended = False
        self._closed = False

    @property
    def requests(self) -> int:
        """How many requests were sent so far."""
        listed = self._lister.stats.requests if self._lister else 0
        return self._store.requests + listed

    @property
    def bytes_received(self) -> int:
        """How many bytes of answers came so far."""
        listed = self._lister.stats.received if self._lister else 0
        return self._store.bytes_received + listed

    def more(self) -> Future[EntryPage]:
        """Begin to ask for the next page; returns at once.

        Returns
        -------
        concurrent.futures.Future
            Its result is a `EntryPage`, empty after the last. Its exception is a
            StoreError, or a NodeNotFoundError if nothing is at the place.
        """
        future = start(self.page())
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def close(self) -> None:
        """End what is under way, for good: cancelled futures, and empty pages after.

        A page that is on its way to another thread at this moment still arrives
        there: compare whose it is.
        """
        self._closed = True
        for future in list(self._running):
            future.cancel()

    async def page(self) -> EntryPage:
        """Ask for the next page, on the I/O loop; one after another.

        Raises
        ------
        StoreError
            The place could not be read or listed.
        NodeNotFoundError
            Nothing is there.
        """
        async with self._turn:
            if self._ended or self._closed:
                return self._page([], 0, is_last=True)
            if not self._started:
                page = await self._first()
                self._started = True
                return page
            return await self._listed(await self._next())

    async def _first(self) -> EntryPage:
        if self._files or (self.here.recognised and self.here.is_listed):
            return await self._listed(await self._next())
        if self.here.recognised or not self._is_listable():
            found = await self._children()
            return found or await self._listed(await self._next_or_why())
        # Together, as one round trip then tells whether its metadata name the children.
        named, listed = await asyncio.gather(
            _or_error(self._children()), _or_error(self._next())
        )
        if isinstance(named, EntryPage):
            return named
        if named is not None:
            self.here = replace(self.here, problem=str(named))
        if isinstance(listed, OMEZarrError):
            raise listed
        # Its levels are no folders, although it cannot be read what they are.
        if isinstance(named, StoreError) and self.here.looks_like_store:
            raise named
        if not (listed.items or listed.token or self._prefix):
            await self._explain_nothing()
        return await self._listed(listed)

    async def _next_or_why(self) -> ListPage:
        try:
            return await self._next()
        except ListingDeniedError as error:
            await self._explain_nothing(error)
            raise

    async def _children(self) -> EntryPage | None:
        """Give the children that metadata name; None where they have to be listed."""
        if self.here.kind is EntryKind.ARRAY:
            return self._page([], 0, is_last=True)
        answers = await self._store.answers((*probe_keys(""), *CHILD_KEYS))
        group = found_node("", answers)
        here = recognise(self.here, "", answers)
        if here.problem or self.here.kind is not EntryKind.LEVELS:
            self.here = here
        if group is None or (isinstance(group, GroupNode) and here.is_listed):
            return None
        if not isinstance(group, GroupNode):
            return self._page([], 0, is_last=True)
        questions = children(self.here, group, self._store, answers)
        found = await run_questions_async(questions, self._store)
        entries = [entry for entry in found if entry.name.startswith(self._prefix)]
        return self._page(entries, 0, is_last=True)

    async def _next(self) -> ListPage:
        """List one page more."""
        if self._lister is None:
            self._lister = open_lister(self.location, retry=self._retry)
        return await self._lister.page(self._prefix, self._token, self._size)

    async def _listed(self, page: ListPage) -> EntryPage:
        """Make rows of what was listed; goes on while there are none."""
        hidden = 0
        for number in range(_EMPTY_PAGES):
            rows = [entry for item in page.items if (entry := self._entry(item))]
            hidden += len(page.items) - len(rows)
            self._token = page.token
            if rows or not page.token or number == _EMPTY_PAGES - 1:
                break
            page = await self._next()
        self.here = replace(self.here, recognised=True)
        return self._page(rows, hidden, is_last=not page.token)

    def _entry(self, item: ObjectMeta) -> Entry | None:
        if self.location.is_service:
            bucket, when = EntryKind.BUCKET, item.modified
            return Entry(
                self.location, item.name, bucket, recognised=True, modified=when
            )
        if item.is_folder:
            return Entry(self.location, item.name, modified=item.modified)
        if item.name.lower().endswith(_ARCHIVES):
            kind = EntryKind.ARCHIVE
        elif self._files:
            kind = EntryKind.FILE
        else:
            return None
        return Entry(
            self.location,
            item.name,
            kind,
            recognised=self._files,
            size=item.size,
            modified=item.modified,
        )

    def _page(self, entries: list[Entry], hidden: int, *, is_last: bool) -> EntryPage:
        self._ended = is_last
        notes = (*self.location.notes, *self._store.notes)
        return EntryPage(tuple(entries), is_last, hidden, self.here, notes)

    def _is_listable(self) -> bool:
        """Whether to ask for a listing before one knows that it is needed."""
        if self.location.protocol in WEB:
            return self.location.as_s3() is not None and not self.location.query
        return True

    async def _explain_nothing(self, denied: OMEZarrError | None = None) -> None:
        """Say that nothing is here, and which Zarr there is above it.

        Raises
        ------
        NodeNotFoundError
            If the place is not the root of a bucket, or an empty folder.
        """
        place = self.location
        if place.protocol in ("file", "memory") or not place.path:
            return
        parent = place.parent
        store = open_store(parent, retry=self._retry)
        try:
            above = parse_node("", await store.answers(group_keys("")))
        except OMEZarrError:
            above = None
        sentence, action = f"Nothing is at {place.display}.", "Check the address."
        if above is not None:
            sentence = f"Nothing is at {place.display}, but {parent.display} is a Zarr."
            action = "Open that."
        if above is not None or denied is None:
            raise NodeNotFoundError(sentence, action=action, url=parent.display)


async def _or_error(work: Coroutine[Any, Any, T]) -> T | OMEZarrError:
    try:
        return await work
    except OMEZarrError as error:
        return error


# What the rows that are visible are: one round of questions for each.


class Prober:
    """Says what entries are; keep one for as long as the rows of a place are shown."""

    def __init__(self, retry: RetryPolicy | None = None) -> None:
        self._retry = retry
        self._slots = asyncio.Semaphore(AT_A_TIME)
        self._stores: dict[Location, RemoteStore] = {}

    @property
    def requests(self) -> int:
        """How many requests were sent so far."""
        return sum(store.requests for store in list(self._stores.values()))

    @property
    def bytes_received(self) -> int:
        """How many bytes of answers came so far."""
        return sum(store.bytes_received for store in list(self._stores.values()))

    def start(self, entry: Entry) -> Future[Entry]:
        """Begin to recognise an entry; returns at once.

        Returns
        -------
        concurrent.futures.Future
            Its result is the entry with what was found; one that could not be
            recognised says why in `problem`. ``cancel`` it when the row scrolls away:
            what waits for its turn then asks nothing.
        """
        return start(self.probe(entry))

    async def probe(self, entry: Entry) -> Entry:
        """Recognise an entry, on the I/O loop, when its turn has come."""
        if entry.recognised or entry.kind is EntryKind.FILE:
            return entry
        async with self._slots:
            store, path = self._store(entry)
            # Each row by itself: that others can be read says nothing of this one.
            answers = await store.answers(probe_keys(path), apart=True)
        return recognise(entry, path, answers)

    def _store(self, entry: Entry) -> tuple[RemoteStore, str]:
        """Give the store to ask: siblings share one, an archive has its own."""
        inside = entry.kind is not EntryKind.ARCHIVE
        place, path = (entry.parent, entry.path) if inside else (entry.location, "")
        if place not in self._stores:
            self._stores[place] = open_store(place, retry=self._retry)
        return self._stores[place], path


@guarded
def stored_below(place: Location) -> dict[str, tuple[int, int]]:
    """Count the objects and the bytes of each thing directly below a place; blocks.

    Raises
    ------
    ListingDeniedError, NodeNotFoundError, StoreError
        It may not be listed, nothing is there, or it could not be read.
    """
    found: dict[str, tuple[int, int]] = {}

    async def count() -> None:
        async for page in all_pages(open_lister(place).deep_page):
            for item in page.items:
                name = item.name.partition("/")[0]
                objects, size = found.get(name, (0, 0))
                found[name] = objects + 1, size + (item.size or 0)

    awaited(start(count()))
    is_folder = place.protocol == "file" and place.local_path().is_dir()
    if not found and not is_folder:
        sentence = f"Nothing is at {place.display}."
        raise nothing_at(place, sentence, "Check the address.")
    return found


@guarded
def entries_of(
    place: Location,
    *,
    files: bool = False,
    listed: Callable[[EntryPage], object] | None = None,
) -> Iterator[Entry]:
    """Give the children of a place one by one, each looked at; blocks.

    With ``files`` they are plain objects and folders as they are stored, not looked at.
    ``listed`` is given each page when it has come, before its rows are looked at.

    Raises
    ------
    ListingDeniedError, NodeNotFoundError, StoreError
        It may not be listed, nothing is there, or it could not be read.
    """
    pages, prober = Listing(place, files=files), Prober()
    is_last = False
    while not is_last:
        page = awaited(pages.more())
        if listed is not None:
            listed(page)
        looked_at = [
            None if files or entry.recognised else prober.start(entry)
            for entry in page.entries
        ]
        try:
            for entry, future in zip(page.entries, looked_at, strict=True):
                yield entry if future is None else awaited(future)
        finally:  # who reads no further asks for no more
            for future in filter(None, looked_at):
                future.cancel()
        is_last = page.is_last


# The buckets of a connection, for those few sign-ins that may list them.


@guarded
async def list_buckets(
    profile: Profile, *, retry: RetryPolicy | None = None
) -> tuple[Entry, ...]:
    """List the buckets of a connection, on the I/O loop; only if the person asks.

    Most sign-ins for public and institute data may not, which raises a
    ListingDeniedError: a bucket that is known is opened by its address.
    """
    found = await open_buckets(profile, retry=retry).buckets()
    return tuple(
        Entry(
            locate(f"s3://{bucket.name}", profile),
            "",
            EntryKind.BUCKET,
            recognised=True,
            modified=bucket.modified,
        )
        for bucket in found
    )
