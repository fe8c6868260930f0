"""The rows of a place, asked for page by page below whatever is opened."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QModelIndex, Signal

from napari_omezarr.browsing import Entry, Listing

from .branch import Branch, State
from .looks import Looks
from .reply import Reply, failure
from .row_model import RowModel, new_branch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from qtpy.QtCore import QObject

    from napari_omezarr.browsing import Page
    from napari_omezarr.location import Location

    from .looks import Spot

PAGE = 1000
"""How many rows one request brings: the most that S3 gives."""

_OFFERS = (State.MORE, State.PAUSED, State.STOPPED, State.FAILED)


class EntryModel(RowModel):
    """The rows below a place, or some places; nothing in it waits.

    Parameters
    ----------
    owner : QObject
        With which it goes.
    """

    arrived = Signal(object)
    """The first `Page` of the place that is shown."""
    failed = Signal(object)
    """An OMEZarrError: some rows could not be had."""
    told = Signal()
    """Something was asked for, or came."""

    def __init__(self, owner: QObject) -> None:
        super().__init__(owner)
        self._looks = Looks(self._found, self)
        self._files = False

    @property
    def busy(self) -> bool:
        """Whether rows, or what they are, are to come."""
        loading = (b.state is State.LOADING for b in self.branches.values())
        return self._looks.busy or any(loading)

    @property
    def spent(self) -> tuple[int, int]:
        """How many requests the place that is shown took so far, and bytes."""
        listings = [b.listing for b in self.branches.values() if b.listing]
        requests = self._looks.requests + sum(one.requests for one in listings)
        received = self._looks.received + sum(one.bytes_received for one in listings)
        return requests, received

    def show_place(
        self, place: Location, *, prefix: str = "", files: bool = False
    ) -> None:
        """Show what lies at a place, from its beginning.

        Parameters
        ----------
        place : Location
            The place.
        prefix : str
            Only what begins so; the server selects.
        files : bool
            Every object as it is stored, also inside of images.
        """
        self.forget()
        self._files = files
        root = new_branch(Entry(place, ""), prefix=prefix)
        self.renew(root)
        self._fetch(root)

    def show_entries(self, entries: Sequence[Entry]) -> None:
        """Show these rows and no others: buckets, several addresses, nothing."""
        self.forget()
        self._files = False
        root = new_branch(entries[0]) if entries else None
        if root is not None:
            root.entries, root.state = list(entries), State.ENDED
        self.renew(root)

    def stop(self) -> None:
        """End everything that is asked for; what came stays."""
        self._looks.stop()
        for branch in list(self.branches.values()):
            if branch.state is State.LOADING:
                branch.stop()
                branch.listing = None
                branch.state = State.STOPPED
                self.renew_tail(branch)
        self.told.emit()

    def find(self, path: str) -> QModelIndex:
        """Find a row of the place that is shown by its path."""
        rows = self.root.entries if self.root else []
        found = (number for number, entry in enumerate(rows) if entry.path == path)
        return self.index(next(found, -1))

    def around(self, address: str) -> Branch | None:
        """Find the innermost rows that an address is to be among, if they are there."""
        found = None
        for branch in self.branches.values():
            here = branch.entry.location.display.rstrip("/")
            inner = found is None or len(here) > len(found.entry.location.display)
            if branch.entry.is_listed and address.startswith(f"{here}/") and inner:
                found = branch
        return found

    def refresh(self, branch: Branch) -> None:
        """Ask for the rows of a branch anew."""
        branch.stop()
        if branch.entries:
            self.turn_over(branch)
        branch.listing, branch.before, branch.hidden = None, 0, 0
        self._fetch(branch)

    def look_at(self, visible: Iterable[QModelIndex]) -> None:
        """Find out what visible rows are; go on where the end of rows is visible."""
        spots: dict[Spot, Entry] = {}
        for index in visible:
            entry, branch = self.entry(index), self.branch_with(index)
            if branch is not None and entry is not None and not self._files:
                spots[branch.key, index.row()] = entry
            elif branch is not None and entry is None and branch.goes_on:
                self._fetch(branch)
        self._looks.look_at(spots)

    def go_on(self, index: QModelIndex) -> bool:
        """Ask for more where the last row offers it; say whether it did."""
        branch = self.branch_with(index)
        if branch is None or self.entry(index) is not None:
            return False
        offers = branch.state in _OFFERS
        if offers:
            self._fetch(branch)
        return offers

    def hides_files(self, index: QModelIndex) -> bool:
        """Say whether this is a last row that tells of files."""
        branch = self.branch_with(index)
        is_last = branch is not None and self.entry(index) is None
        return is_last and branch is not None and branch.hidden > 0

    def canFetchMore(self, parent: QModelIndex) -> bool:
        """Say whether rows may be had that were not asked for yet.

        Not for a further page: a view of Qt asks for it before it has laid out the
        rows that came, so that all pages would come. `look_at` knows better.
        """
        branch = self.branch_below(parent)
        if branch is None:
            return self.hasChildren(parent)
        return branch.state is State.UNASKED

    def fetchMore(self, parent: QModelIndex) -> None:
        """Ask for the first page of what is being opened; returns at once."""
        branch = self.opened(parent)
        if branch is not None and branch.state is State.UNASKED:
            self._fetch(branch)

    def forget(self) -> None:
        """End everything, and hear of nothing that was asked for."""
        if self.root is not None:
            self.root.stop()
        self._looks.stop()
        self._looks = Looks(self._found, self)

    def _fetch(self, branch: Branch) -> None:
        if branch.listing is None:
            # An entry that was recognised is not looked at again.
            branch.listing = Listing(
                branch.entry, prefix=branch.prefix, files=self._files, size=PAGE
            )
        if branch.is_full:
            self.turn_over(branch)
        branch.state = State.LOADING
        receive = partial(self._receive, branch)
        branch.reply = Reply(branch.listing.more(), receive, self)
        self.renew_tail(branch)
        self.told.emit()

    def _receive(self, branch: Branch, future: Future[Page]) -> None:
        error = failure(future)
        first = not (branch.entries or branch.before)
        if error is not None:
            branch.state, branch.problem = State.FAILED, error
            self.renew_tail(branch)
            self.failed.emit(error)
        else:
            self._take(branch, future.result())
            if branch.parent is None and first:
                self.arrived.emit(future.result())
        self.told.emit()

    def _take(self, branch: Branch, page: Page) -> None:
        branch.hidden += page.hidden
        more = State.MORE if page.entries else State.PAUSED
        state = State.ENDED if page.is_last else more
        if branch.parent is not None:
            self.put(branch.parent, branch.number, page.here)
        elif page.here.is_openable and not (branch.entries or self._files):
            branch = self._alone(branch, page.here)
        branch.state = state
        self.append(branch, page.entries)
        self.renew_tail(branch)

    def _alone(self, root: Branch, image: Entry) -> Branch:
        """Show an image that was named by its address as one row, with its parts."""
        root.state = State.ENDED
        self.append(root, [image])
        self.renew_tail(root)
        branch = self.opened(self.index(0))
        return root if branch is None else branch

    def _found(self, spot: Spot, entry: Entry) -> None:
        key, row = spot
        if key in self.branches:
            self.put(self.branches[key], row, entry)
        self.told.emit()
