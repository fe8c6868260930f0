"""The rows of a place, asked for page by page below whatever is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import (
    QAbstractItemModel,
    QMimeData,
    QModelIndex,
    Qt,
    QUrl,
    Signal,
)

from napari_omezarr.browsing import Entry, EntryKind, Listing, Prober
from napari_omezarr.user_files import without_secrets
from napari_omezarr.widgets.qt_async import FutureWatcher, failure

from .text import spoken, tooltip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from qtpy.QtCore import QObject

    from napari_omezarr.browsing import EntryPage
    from napari_omezarr.errors import OMEZarrError
    from napari_omezarr.location import Location

# A place in the tree with the rows that it has so far; no Qt.

MOST = 5_000
"""Rows that are held at a time. Qt lays out all of them when some are added, 5 ms for
each thousand in the GUI thread; and nobody scrolls further to find a name."""


class State(Enum):
    """How far the rows of a branch are."""

    UNASKED = auto()
    LOADING = auto()
    MORE = auto()
    PAUSED = auto()
    """Pages came that had no row: the person is asked before there are more."""
    STOPPED = auto()
    """Loading was cancelled; it can begin again."""
    FAILED = auto()
    ENDED = auto()


@dataclass(slots=True, eq=False)
class TreeNode:
    """The rows below one entry.

    Rows that nobody opened are entries and nothing else, as there may be thousands
    of them.

    Attributes
    ----------
    key : int
        Tells it from every other branch, also of a tree that was there before.
    entry : Entry
        What it is below.
    parent : Branch or None
        None is the place that the tree shows.
    number : int
        Its row in `parent`.
    prefix : str
        What its names begin with.
    entries : list of Entry
        The rows.
    before : int
        How many rows came before these, and are no longer held.
    below : dict
        The branches of those rows that were opened, by row.
    state : State
        Whether there is more.
    hidden : int
        How many objects are no rows.
    tail : str
        The text of one more row at the end; ``""`` is none.
    """

    key: int
    entry: Entry
    parent: TreeNode | None = None
    number: int = 0
    prefix: str = ""
    entries: list[Entry] = field(default_factory=list)
    before: int = 0
    below: dict[int, TreeNode] = field(default_factory=dict)
    state: State = State.UNASKED
    hidden: int = 0
    problem: OMEZarrError | None = None
    listing: Listing | None = None
    reply: FutureWatcher | None = None
    tail: str = ""

    @property
    def count(self) -> int:
        """How many rows it has, the one at the end included."""
        return len(self.entries) + bool(self.tail)

    @property
    def goes_on(self) -> bool:
        """Whether the next page comes by scrolling, and not by the last row only."""
        return self.state is State.MORE and not self.is_full

    @property
    def is_full(self) -> bool:
        """Whether further rows come in place of those that are there."""
        return len(self.entries) >= MOST

    def tail_text(self) -> str:
        """Say what comes after the rows; ``""`` if nothing is to be said."""
        if self.state is State.ENDED:
            return self._end() if self.entries else self._nothing()
        problem = self.problem.sentence if self.problem else ""
        more = "show the next" if self.is_full else "load more"
        many = "many; a filter is quicker" if self.is_full else "many"
        return {
            State.UNASKED: "",
            State.LOADING: "Loading …",
            State.MORE: f"… {more} ({self._count()} of {many})",
            State.PAUSED: f"… look further ({self.hidden:,} files so far)",
            State.STOPPED: "… cancelled; load again",
            State.FAILED: f"✖ {problem}",
        }[self.state]

    def _count(self) -> str:
        last = f"{self.before + len(self.entries):,}"
        return f"{self.before + 1:,} to {last}" if self.before else last

    def _end(self) -> str:
        """Say where the rows are that went, if some did."""
        return f"{self._count()}: the end. F5 begins again" if self.before else ""

    def _nothing(self) -> str:
        if self.prefix:
            return f"Nothing begins with “{self.prefix}”."
        if self.hidden:
            files = "1 file" if self.hidden == 1 else f"{self.hidden:,} files"
            return f"No image, but {files}. Show files"
        return "Nothing is here."

    def stop(self) -> None:
        """End what is asked for here and below."""
        if self.reply is not None:
            self.reply.abandon()
        if self.listing is not None:
            self.listing.close()
        for branch in self.below.values():
            branch.stop()


# Addresses on the clipboard of a drag: as napari takes them, and as people do.

OURS = "|auto:"
"""At the end of an address, says that it is a Zarr of whatever version. No other
reader claims such names, so that napari does not ask which one is to open it."""


def mime_of(places: Iterable[Location]) -> QMimeData:
    """Give links to some places, and the same as text.

    napari makes addresses of links, and of links to files paths. A link keeps all
    that opening needs, a signature too; the text is for people, and has none.
    """
    found = list(places)
    mime = QMimeData()
    mime.setUrls([_link(place) for place in found])
    mime.setText("\n".join(map(without_secrets, found)))
    return mime


def is_draggable(place: Location) -> bool:
    """Say whether napari can take it: of local files it must find them by their path.

    What lies in an archive of this computer has none.
    """
    return place.protocol not in ("file", "memory") or not place.member


def _link(place: Location) -> QUrl:
    if place.protocol == "file":
        return QUrl.fromLocalFile(str(place.local_path()))
    return QUrl(f"{place}{OURS}")


# Branches of entries as a model of Qt: what is there, and how rows come and go.

NOWHERE = QModelIndex()

_KEYS = count(1)
_ROLES = Qt.ItemDataRole
_NO_FLAGS = Qt.ItemFlag.NoItemFlags
_FLAGS = (
    Qt.ItemFlag.ItemIsEnabled
    | Qt.ItemFlag.ItemIsSelectable
    | Qt.ItemFlag.ItemIsDragEnabled
)


class RowModel(QAbstractItemModel):
    """The rows that are there, of a root that is not shown itself.

    An index carries the key of the branch that its row is in, and no pointer: one
    that a view kept from a tree that is gone finds nothing.

    Parameters
    ----------
    owner : QObject
        With which it goes.
    """

    def __init__(self, owner: QObject) -> None:
        super().__init__(owner)
        self.branches: dict[int, TreeNode] = {}
        self.root: TreeNode | None = None

    def renew(self, root: TreeNode | None) -> None:
        """Show another tree."""
        self.beginResetModel()
        self.root = root
        self.branches = {} if root is None else {root.key: root}
        self.endResetModel()

    def append(self, branch: TreeNode, entries: Sequence[Entry]) -> None:
        """Put rows after those of a branch, before its last one that only tells."""
        if entries:
            first = len(branch.entries)
            last = first + len(entries) - 1
            self.beginInsertRows(self.index_of(branch), first, last)
            branch.entries += entries
            self.endInsertRows()

    def turn_over(self, branch: TreeNode) -> None:
        """Let the rows of a branch go, for those that follow them."""
        count = len(branch.entries)
        self.beginRemoveRows(self.index_of(branch), 0, count - 1)
        for below in branch.below.values():
            below.stop()
            self._drop(below)
        branch.below.clear()
        branch.before += count
        branch.entries = []
        self.endRemoveRows()

    def renew_tail(self, branch: TreeNode) -> None:
        """Say after the rows of a branch what its state is."""
        before, text = branch.tail, branch.tail_text()
        where, row = self.index_of(branch), len(branch.entries)
        if before and text:
            branch.tail = text
            index = self.index(row, 0, where)
            self.dataChanged.emit(index, index)
        elif text:
            self.beginInsertRows(where, row, row)
            branch.tail = text
            self.endInsertRows()
        elif before:
            self.beginRemoveRows(where, row, row)
            branch.tail = ""
            self.endRemoveRows()

    def put(self, branch: TreeNode, row: int, entry: Entry) -> None:
        """Replace what is known of a row."""
        branch.entries[row] = entry
        if row in branch.below:
            branch.below[row].entry = entry
        index = self.index(row, 0, self.index_of(branch))
        self.dataChanged.emit(index, index)

    def opened(self, index: QModelIndex) -> TreeNode | None:
        """Give the branch below a row, a new one if it was not opened before."""
        if not index.isValid():
            return self.root
        parent, entry = self.branch_with(index), self.entry(index)
        if parent is None or entry is None or entry.is_leaf:
            return None
        row = index.row()
        if row not in parent.below:
            branch = new_node(entry, parent=parent, number=row)
            parent.below[row] = self.branches[branch.key] = branch
        return parent.below[row]

    def entry(self, index: QModelIndex) -> Entry | None:
        """Give the entry of a row; None of one that only says something."""
        branch = self.branch_with(index)
        if branch is None or index.row() >= len(branch.entries):
            return None
        return branch.entries[index.row()]

    def entry_above(self, index: QModelIndex) -> Entry | None:
        """Give the entry that a row lies below."""
        branch = self.branch_with(index)
        return None if branch is None else branch.entry

    def branch_with(self, index: QModelIndex) -> TreeNode | None:
        """Give the branch that a row is in."""
        return self.branches.get(index.internalId()) if index.isValid() else None

    def branch_below(self, index: QModelIndex) -> TreeNode | None:
        """Give the branch below a row, if it was opened; of no row the root."""
        if not index.isValid():
            return self.root
        branch = self.branch_with(index)
        return None if branch is None else branch.below.get(index.row())

    def index_of(self, branch: TreeNode) -> QModelIndex:
        """Give the index of the row that a branch is below."""
        if branch.parent is None:
            return QModelIndex()
        return self.createIndex(branch.number, 0, branch.parent.key)

    def index(
        self, row: int, column: int = 0, parent: QModelIndex = NOWHERE
    ) -> QModelIndex:
        """Give the index of a row."""
        # Qt asks for the index of each row, and for its children, whenever it lays
        # them out: these two are written for speed.
        branch = self.branch_below(parent) if parent.isValid() else self.root
        if branch is None or column or not 0 <= row < branch.count:
            return QModelIndex()
        return self.createIndex(row, 0, branch.key)

    def parent(self, index: QModelIndex = NOWHERE) -> QModelIndex:  # type: ignore[override]
        """Give the index of what a row lies below."""
        branch = self.branch_with(index)
        return QModelIndex() if branch is None else self.index_of(branch)

    def rowCount(self, parent: QModelIndex = NOWHERE) -> int:
        """Count the rows that are there."""
        branch = self.branch_below(parent)
        return 0 if branch is None else branch.count

    def columnCount(self, parent: QModelIndex = NOWHERE) -> int:
        """Count the columns: one, in which all is painted."""
        return 1

    def hasChildren(self, parent: QModelIndex = NOWHERE) -> bool:
        """Say whether a row can be opened, before anybody asked what is below."""
        if not parent.isValid():
            return self.root is not None
        branch, row = self.branches.get(parent.internalId()), parent.row()
        if branch is None or row >= len(branch.entries):
            return False
        return not branch.entries[row].is_leaf

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Let every row be chosen, and tried to be dragged; see `mimeData`.

        A view asks for the flags of all rows at each page that comes.
        """
        return _FLAGS if index.isValid() else _NO_FLAGS

    def data(self, index: QModelIndex, role: int = _ROLES.DisplayRole) -> Any:
        """Give the texts of a row."""
        branch, entry = self.branch_with(index), self.entry(index)
        if branch is None:
            return None
        match role:
            case _ROLES.DisplayRole:
                return entry.name if entry else branch.tail
            case _ROLES.ToolTipRole:
                return tooltip(entry) if entry else branch.tail
            case _ROLES.AccessibleTextRole:
                return spoken(entry) if entry else branch.tail
        return None

    def _drop(self, branch: TreeNode) -> None:
        """Forget a branch, and those below it."""
        self.branches.pop(branch.key, None)
        for below in branch.below.values():
            self._drop(below)

    def mimeTypes(self) -> list[str]:
        """Say what dragged rows are: links."""
        return ["text/uri-list", "text/plain"]

    def mimeData(self, indexes: Iterable[QModelIndex]) -> QMimeData | None:
        """Give the addresses of rows, as napari takes them; None drags nothing."""
        entries = [entry for index in indexes if (entry := self.entry(index))]
        opens = (e for e in entries if e.is_openable or e.looks_like_store)
        places = [e.location for e in opens if is_draggable(e.location)]
        return mime_of(places) if places else None


def new_node(
    entry: Entry, *, parent: TreeNode | None = None, number: int = 0, prefix: str = ""
) -> TreeNode:
    """Make a branch with a key that no other one has, or had."""
    return TreeNode(next(_KEYS), entry, parent, number, prefix)


# Looking at the rows that are visible, and no longer at those that are not.

Spot = tuple[int, int]
"""The key of a branch and a row in it."""


class RowProber:
    """The questions about rows that are under way.

    Parameters
    ----------
    found : callable
        Gets the spot and what lies there, in the GUI thread.
    owner : QObject
        Whose method that is.
    """

    def __init__(self, found: Callable[[Spot, Entry], None], owner: QObject) -> None:
        self._found = found
        self._owner = owner
        self._prober = Prober()
        self._asked: dict[Spot, FutureWatcher] = {}

    @property
    def busy(self) -> bool:
        """Whether an answer is to come."""
        return bool(self._asked)

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return self._prober.requests

    @property
    def received(self) -> int:
        """How many bytes came."""
        return self._prober.bytes_received

    def look_at(self, visible: Mapping[Spot, Entry]) -> None:
        """Ask about these rows where nothing is known, and about no others."""
        for spot in self._asked.keys() - visible.keys():
            self._asked.pop(spot).abandon()
        for spot, entry in visible.items():
            if spot not in self._asked and _is_open(entry):
                future = self._prober.start(entry)
                receive = partial(self._receive, spot)
                self._asked[spot] = FutureWatcher(future, receive, self._owner)

    def stop(self) -> None:
        """End all questions."""
        self.look_at({})

    def _receive(self, spot: Spot, future: Future[Entry]) -> None:
        self._asked.pop(spot, None)
        # What cannot be looked at is an entry with a problem, not an exception.
        if failure(future) is None:
            self._found(spot, future.result())


def _is_open(entry: Entry) -> bool:
    known = entry.recognised or entry.problem
    return not known and entry.kind not in (EntryKind.FILE, EntryKind.BUCKET)


# The rows of a place, asked for page by page below whatever is opened.

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
    """The first `EntryPage` of the place that is shown."""
    failed = Signal(object)
    """An OMEZarrError: some rows could not be had."""
    told = Signal()
    """Something was asked for, or came."""

    def __init__(self, owner: QObject) -> None:
        super().__init__(owner)
        self._looks = RowProber(self._found, self)
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
        root = new_node(Entry(place, ""), prefix=prefix)
        self.renew(root)
        self._fetch(root)

    def show_entries(self, entries: Sequence[Entry]) -> None:
        """Show these rows and no others: buckets, several addresses, nothing."""
        self.forget()
        self._files = False
        root = new_node(entries[0]) if entries else None
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

    def around(self, address: str) -> TreeNode | None:
        """Find the innermost rows that an address is to be among, if they are there."""
        found = None
        for branch in self.branches.values():
            here = branch.entry.location.display.rstrip("/")
            inner = found is None or len(here) > len(found.entry.location.display)
            if branch.entry.is_listed and address.startswith(f"{here}/") and inner:
                found = branch
        return found

    def refresh(self, branch: TreeNode) -> None:
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
        self._looks = RowProber(self._found, self)

    def _fetch(self, branch: TreeNode) -> None:
        if branch.listing is None:
            # An entry that was recognised is not looked at again.
            branch.listing = Listing(
                branch.entry, prefix=branch.prefix, files=self._files, size=PAGE
            )
        if branch.is_full:
            self.turn_over(branch)
        branch.state = State.LOADING
        receive = partial(self._receive, branch)
        branch.reply = FutureWatcher(branch.listing.more(), receive, self)
        self.renew_tail(branch)
        self.told.emit()

    def _receive(self, branch: TreeNode, future: Future[EntryPage]) -> None:
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

    def _take(self, branch: TreeNode, page: EntryPage) -> None:
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

    def _alone(self, root: TreeNode, image: Entry) -> TreeNode:
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
