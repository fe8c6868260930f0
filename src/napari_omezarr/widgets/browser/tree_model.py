"""The rows of a place as a model of Qt, asked for page by page."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractItemModel, QMimeData, QModelIndex, Qt, QUrl, Signal

from napari_omezarr.browsing import Entry, EntryKind, Listing, Prober
from napari_omezarr.location import without_secrets
from napari_omezarr.plain_text import counted, plain
from napari_omezarr.widgets.qt_async import FutureWatcher, failure

from .text import ROW_COLUMNS, accessible_text, permutation, tooltip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence, Set
    from concurrent.futures import Future

    from qtpy.QtCore import QObject

    from napari_omezarr.browsing import EntryPage
    from napari_omezarr.errors import OMEZarrError
    from napari_omezarr.location import Location

MOST = 5_000
"""Rows that are held at a time. Qt lays out all of them when some are added, 5 ms for
each thousand in the GUI thread; and nobody scrolls further to find a name."""

_PAGE = 1000
"""How many rows one request brings: the most that S3 gives."""

_OURS = "|auto:"
"""At the end of an address, says that it is a Zarr of whatever version. No other
reader claims such names, so that napari does not ask which one is to open it."""

_NOWHERE = QModelIndex()
_KEYS = count(1)
_COLUMNS = len(ROW_COLUMNS)
_SORTING = "Click to sort the rows that are loaded: up, down, as listed"
_ROLES = Qt.ItemDataRole
_NO_FLAGS = Qt.ItemFlag.NoItemFlags
_FLAGS = (
    Qt.ItemFlag.ItemIsEnabled
    | Qt.ItemFlag.ItemIsSelectable
    | Qt.ItemFlag.ItemIsDragEnabled
)

RowKey = tuple[int, int]
"""The key of a node and the number of an entry in it."""


class State(Enum):
    """How far the rows of a node are."""

    UNASKED = auto()
    LOADING = auto()
    MORE = auto()
    PAUSED = auto()
    """Pages came that had no row: the person is asked before there are more."""
    STOPPED = auto()
    """Loading was cancelled; it can begin again."""
    FAILED = auto()
    ENDED = auto()


_CONTINUED_BY_ROW = (State.MORE, State.PAUSED, State.STOPPED, State.FAILED)


@dataclass(slots=True, eq=False)
class TreeNode:
    """The rows below one entry.

    Rows that nobody opened are entries and nothing else, as there may be thousands
    of them.
    """

    # Tells it from every other node, also of a tree that was there before.
    key: int
    entry: Entry
    parent: TreeNode | None = None
    # That of its entry in `parent`.
    number: int = 0
    # What the names of its rows begin with.
    prefix: str = ""
    entries: list[Entry] = field(default_factory=list)
    # Their numbers in the order of the rows, and back; None shows them as listed.
    order: list[int] | None = None
    places: list[int] = field(default_factory=list)
    # How many rows came before `entries`, and are no longer held.
    before: int = 0
    # The nodes of those entries that were opened, by number.
    below: dict[int, TreeNode] = field(default_factory=dict)
    state: State = State.UNASKED
    # How many objects are no rows.
    hidden: int = 0
    problem: OMEZarrError | None = None
    listing: Listing | None = None
    watcher: FutureWatcher | None = None
    # The text of one more row at the end; "" is none.
    tail: str = ""

    @property
    def count(self) -> int:
        """How many rows it has, the one at the end included."""
        return len(self.entries) + bool(self.tail)

    @property
    def loads_on_scroll(self) -> bool:
        """Whether the next page comes by scrolling, and not by the last row only."""
        is_as_listed = self.order is None
        return self.state is State.MORE and not self.is_full and is_as_listed

    @property
    def is_full(self) -> bool:
        """Whether further rows come in place of those that are there."""
        return len(self.entries) >= MOST

    def number_at(self, row: int) -> int:
        """Give the number of the entry in a row; the row that is none is the last."""
        if self.order is None or row >= len(self.order):
            return row
        return self.order[row]

    def row_of(self, number: int) -> int:
        """Give the row of an entry."""
        if self.order is None or number >= len(self.order):
            return number
        return self.places[number]

    def arrange(self, column: int, *, down: bool) -> None:
        """Put the rows in the order of a column; as listed if that is below 0.

        What the metadata name stays in their order, which means something.
        """
        self.order = None
        if column >= 0 and self.entry.is_listed:
            self.order = permutation(self.entries, column, down=down)
            self.places = [0] * len(self.order)
            for row, number in enumerate(self.order):
                self.places[number] = row

    def tail_text(self) -> str:
        """Say what comes after the rows; ``""`` if nothing is to be said."""
        if self.state is State.ENDED:
            return self._end() if self.entries else self._nothing()
        problem = self.problem.sentence if self.problem else ""
        more = "show the next" if self.is_full else "load more"
        many = "many; a filter is quicker" if self.is_full else "many"
        if self.order is not None:
            many = "many; only these are sorted"
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
            return f"No image, but {counted(self.hidden, 'file')}. Show files"
        return "Nothing is here."

    def stop(self) -> None:
        """End what is asked for here and below."""
        if self.watcher is not None:
            self.watcher.abandon()
        if self.listing is not None:
            self.listing.close()
        for node in self.below.values():
            node.stop()


# What a drag of rows takes along, for napari and for people.


def mime_data(places: Iterable[Location]) -> QMimeData:
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
    return QUrl(f"{place}{_OURS}")


# The model of Qt.


class RowModel(QAbstractItemModel):
    """The rows that are there, of a root that is not shown itself.

    An index carries the key of the node that its row is in, and no pointer: one
    that a view kept from a tree that is gone finds nothing.
    """

    def __init__(self, owner: QObject) -> None:
        super().__init__(owner)
        self.nodes: dict[int, TreeNode] = {}
        self.root: TreeNode | None = None
        self._column, self._down = -1, False

    def set_root(self, root: TreeNode | None) -> None:
        """Show another tree."""
        self.beginResetModel()
        self.root = root
        self.nodes = {} if root is None else {root.key: root}
        if root is not None:
            root.arrange(self._column, down=self._down)
        self.endResetModel()

    def append(self, node: TreeNode, entries: Sequence[Entry]) -> None:
        """Put rows after those of a node, before the one that says what comes next."""
        if entries:
            first = len(node.entries)
            last = first + len(entries) - 1
            self.beginInsertRows(self.index_of(node), first, last)
            node.entries += entries
            if node.order is not None:
                node.order += range(first, last + 1)
                node.places += range(first, last + 1)
            self.endInsertRows()
            if self._column >= 0:
                self._arrange([node])

    def drop_rows(self, node: TreeNode) -> None:
        """Let the rows of a node go, for those that follow them."""
        count = len(node.entries)
        self.beginRemoveRows(self.index_of(node), 0, count - 1)
        for below in node.below.values():
            below.stop()
            self._forget(below)
        node.below.clear()
        node.before += count
        node.entries = []
        node.order = None
        self.endRemoveRows()

    def sort(
        self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder
    ) -> None:
        """Sort the rows that are there, and those that come; below 0 not at all.

        Nothing is asked for. What is found out of rows later does not move them.
        """
        self._column, self._down = column, order == Qt.SortOrder.DescendingOrder
        nodes = list(self.nodes.values())
        self._arrange(nodes)
        for node in nodes:
            self.update_tail(node)

    def _arrange(self, nodes: Iterable[TreeNode]) -> None:
        """Arrange the rows of nodes anew; what is chosen, or open, stays so."""
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        held = [(self.nodes.get(i.internalId()), self.number(i)) for i in before]
        for node in nodes:
            node.arrange(self._column, down=self._down)
        after = [
            index
            if node is None
            else self.createIndex(node.row_of(number), index.column(), node.key)
            for index, (node, number) in zip(before, held, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def update_tail(self, node: TreeNode) -> None:
        """Say after the rows of a node what its state is."""
        before, text = node.tail, node.tail_text()
        where, row = self.index_of(node), len(node.entries)
        if before and text:
            node.tail = text
            self._tell_of(row, where)
        elif text:
            self.beginInsertRows(where, row, row)
            node.tail = text
            self.endInsertRows()
        elif before:
            self.beginRemoveRows(where, row, row)
            node.tail = ""
            self.endRemoveRows()

    def replace(self, node: TreeNode, number: int, entry: Entry) -> None:
        """Replace what is known of an entry."""
        node.entries[number] = entry
        if number in node.below:
            node.below[number].entry = entry
        self._tell_of(node.row_of(number), self.index_of(node))

    def _tell_of(self, row: int, where: QModelIndex) -> None:
        """Let views show a row anew."""
        last = len(ROW_COLUMNS) - 1
        self.dataChanged.emit(self.index(row, 0, where), self.index(row, last, where))

    def open_node(self, index: QModelIndex) -> TreeNode | None:
        """Give the node below a row, a new one if it was not opened before."""
        if not index.isValid():
            return self.root
        parent, entry = self.node_of(index), self.entry(index)
        if parent is None or entry is None or entry.is_leaf:
            return None
        number = parent.number_at(index.row())
        if number not in parent.below:
            node = new_node(entry, parent=parent, number=number)
            parent.below[number] = self.nodes[node.key] = node
        return parent.below[number]

    def entry(self, index: QModelIndex) -> Entry | None:
        """Give the entry of a row; None of one that only says something."""
        node = self.node_of(index)
        if node is None or index.row() >= len(node.entries):
            return None
        return node.entries[node.number_at(index.row())]

    def number(self, index: QModelIndex) -> int:
        """Give the number of a row among those that were listed."""
        node, row = self.node_of(index), index.row()
        return row if node is None else node.number_at(row)

    def parent_entry(self, index: QModelIndex) -> Entry | None:
        """Give the entry that a row lies below."""
        node = self.node_of(index)
        return None if node is None else node.entry

    def node_of(self, index: QModelIndex) -> TreeNode | None:
        """Give the node that a row is in."""
        return self.nodes.get(index.internalId()) if index.isValid() else None

    def child_node(self, index: QModelIndex) -> TreeNode | None:
        """Give the node below a row, if it was opened; of no row the root."""
        if not index.isValid():
            return self.root
        node, row = self.node_of(index), index.row()
        if node is None or index.column() or row >= len(node.entries):
            return None
        return node.below.get(node.number_at(row))

    def index_of(self, node: TreeNode) -> QModelIndex:
        """Give the index of the row that a node is below."""
        if node.parent is None:
            return QModelIndex()
        return self.createIndex(node.parent.row_of(node.number), 0, node.parent.key)

    def index(
        self, row: int, column: int = 0, parent: QModelIndex = _NOWHERE
    ) -> QModelIndex:
        """Give the index of a row."""
        # Qt asks for the index of each row, and for its children, whenever it lays
        # them out: these two are written for speed.
        node = self.child_node(parent) if parent.isValid() else self.root
        if node is None or not 0 <= row < node.count or not 0 <= column < _COLUMNS:
            return QModelIndex()
        return self.createIndex(row, column, node.key)

    def parent(self, index: QModelIndex = _NOWHERE) -> QModelIndex:  # type: ignore[override]
        """Give the index of what a row lies below."""
        node = self.node_of(index)
        return QModelIndex() if node is None else self.index_of(node)

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """Count the rows that are there."""
        node = self.child_node(parent)
        return 0 if node is None else node.count

    def columnCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """Count the columns; in the first one all is painted that is in no other."""
        return _COLUMNS

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = _ROLES.DisplayRole
    ) -> Any:
        """Give the titles of the columns."""
        if orientation == Qt.Orientation.Horizontal and 0 <= section < _COLUMNS:
            column = ROW_COLUMNS[section]
            match role:
                case _ROLES.DisplayRole:
                    return column.title
                case _ROLES.ToolTipRole:
                    return f"{column.tip}\n{_SORTING}".lstrip()
        return None

    def hasChildren(self, parent: QModelIndex = _NOWHERE) -> bool:
        """Say whether a row can be opened, before anybody asked what is below."""
        if not parent.isValid():
            return self.root is not None
        node, row = self.nodes.get(parent.internalId()), parent.row()
        if node is None or row >= len(node.entries) or parent.column():
            return False
        return not node.entries[node.number_at(row)].is_leaf

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Let every row be chosen, and tried to be dragged; see `mimeData`.

        A view asks for the flags of all rows at each page that comes.
        """
        return _FLAGS if index.isValid() else _NO_FLAGS

    def data(self, index: QModelIndex, role: int = _ROLES.DisplayRole) -> Any:
        """Give the texts of a row."""
        node, entry = self.node_of(index), self.entry(index)
        if node is None:
            return None
        match role:
            case _ROLES.DisplayRole if index.column():
                return ROW_COLUMNS[index.column()].text(entry) if entry else ""
            case _ROLES.DisplayRole:
                return entry.name if entry else node.tail
            case _ROLES.ToolTipRole:
                return plain(tooltip(entry) if entry else node.tail)
            case _ROLES.AccessibleTextRole if not index.column():
                return accessible_text(entry) if entry else node.tail
        return None

    def _forget(self, node: TreeNode) -> None:
        """Forget a node, and those below it."""
        self.nodes.pop(node.key, None)
        for below in node.below.values():
            self._forget(below)

    def mimeTypes(self) -> list[str]:
        """Say what dragged rows are: links."""
        return ["text/uri-list", "text/plain"]

    def mimeData(self, indexes: Iterable[QModelIndex]) -> QMimeData | None:
        """Give the addresses of rows, as napari takes them; None drags nothing."""
        rows = (index for index in indexes if not index.column())
        entries = [entry for index in rows if (entry := self.entry(index))]
        opens = (e for e in entries if e.is_openable or e.looks_like_store)
        places = [e.location for e in opens if is_draggable(e.location)]
        return mime_data(places) if places else None


def new_node(
    entry: Entry, *, parent: TreeNode | None = None, number: int = 0, prefix: str = ""
) -> TreeNode:
    """Make a node with a key that no other one has, or had."""
    return TreeNode(next(_KEYS), entry, parent, number, prefix)


class RowProber:
    """Finds out what visible rows are, and stops for those that no longer are."""

    def __init__(self, found: Callable[[RowKey, Entry], None], owner: QObject) -> None:
        self._found = found
        self._owner = owner
        self._prober = Prober()
        self._asked: dict[RowKey, FutureWatcher] = {}

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

    def probe_visible(self, visible: Mapping[RowKey, Entry]) -> None:
        """Probe these rows where nothing is known, and no others."""
        self._abandon(self._asked.keys() - visible.keys())
        for row_key, entry in visible.items():
            if row_key not in self._asked and _is_unknown(entry):
                future = self._prober.start(entry)
                receive = partial(self._receive, row_key)
                self._asked[row_key] = FutureWatcher(future, receive, self._owner)

    def stop(self) -> None:
        """Probe nothing any more."""
        self.probe_visible({})

    def forget(self, node: TreeNode) -> None:
        """Probe no row of a node any more, for others take their numbers."""
        self._abandon({row_key for row_key in self._asked if row_key[0] == node.key})

    def _abandon(self, row_keys: Set[RowKey]) -> None:
        for row_key in row_keys:
            self._asked.pop(row_key).abandon()

    def _receive(self, row_key: RowKey, future: Future[Entry]) -> None:
        self._asked.pop(row_key, None)
        # What cannot be probed is an entry with a problem, not an exception.
        if failure(future) is None:
            self._found(row_key, future.result())


def _is_unknown(entry: Entry) -> bool:
    known = entry.recognised or entry.problem
    return not known and entry.kind not in (EntryKind.FILE, EntryKind.BUCKET)


class EntryModel(RowModel):
    """The rows below a place, or some places; nothing in it waits."""

    arrived = Signal(object)
    """The first `EntryPage` of the place that is shown."""
    failed = Signal(object)
    """An OMEZarrError: some rows could not be had."""
    changed = Signal()
    """Something was asked for, or came."""

    def __init__(self, owner: QObject) -> None:
        super().__init__(owner)
        self._prober = RowProber(self._found, self)
        self._files = False

    @property
    def busy(self) -> bool:
        """Whether rows, or what they are, are to come."""
        loading = (node.state is State.LOADING for node in self.nodes.values())
        return self._prober.busy or any(loading)

    @property
    def spent(self) -> tuple[int, int]:
        """How many requests the place that is shown took so far, and bytes."""
        listings = [node.listing for node in self.nodes.values() if node.listing]
        requests = self._prober.requests + sum(one.requests for one in listings)
        received = self._prober.received + sum(one.bytes_received for one in listings)
        return requests, received

    def show_place(
        self, place: Location, *, prefix: str = "", files: bool = False
    ) -> None:
        """Show what lies at a place, or what begins so there; or all of its objects."""
        self._cancel()
        self._files = files
        root = new_node(Entry(place, ""), prefix=prefix)
        self.set_root(root)
        self._fetch(root)

    def show_entries(self, entries: Sequence[Entry]) -> None:
        """Show these rows and no others: buckets, several addresses, nothing."""
        self._cancel()
        self._files = False
        root = new_node(entries[0]) if entries else None
        if root is not None:
            root.entries, root.state = list(entries), State.ENDED
        self.set_root(root)

    def stop(self) -> None:
        """End everything that is asked for; what came stays."""
        self._prober.stop()
        for node in list(self.nodes.values()):
            if node.state is State.LOADING:
                node.stop()
                node.listing = None
                node.state = State.STOPPED
                self.update_tail(node)
        self.changed.emit()

    def find(self, path: str) -> QModelIndex:
        """Find a row of the place that is shown by its path."""
        if self.root is None:
            return QModelIndex()
        every = enumerate(self.root.entries)
        found = next((number for number, entry in every if entry.path == path), -1)
        return self.index(self.root.row_of(found) if found >= 0 else -1)

    def node_around(self, address: str) -> TreeNode | None:
        """Find the innermost rows that an address is to be among, if they are there."""
        found = None
        for node in self.nodes.values():
            here = node.entry.location.display.rstrip("/")
            inner = found is None or len(here) > len(found.entry.location.display)
            if node.entry.is_listed and address.startswith(f"{here}/") and inner:
                found = node
        return found

    def drop_rows(self, node: TreeNode) -> None:
        """Let the rows of a node go, and nothing be found of them any more."""
        self._prober.forget(node)
        super().drop_rows(node)

    def refresh(self, node: TreeNode) -> None:
        """Ask for the rows of a node anew."""
        node.stop()
        if node.entries:
            self.drop_rows(node)
        node.listing, node.before, node.hidden = None, 0, 0
        self._fetch(node)

    def probe_visible(self, visible: Iterable[QModelIndex]) -> None:
        """Probe visible rows, and load more where the end of rows is visible."""
        entries: dict[RowKey, Entry] = {}
        for index in visible:
            entry, node = self.entry(index), self.node_of(index)
            if node is not None and entry is not None and not self._files:
                entries[node.key, self.number(index)] = entry
            elif node is not None and entry is None and node.loads_on_scroll:
                self._fetch(node)
        self._prober.probe_visible(entries)

    def load_more(self, index: QModelIndex) -> bool:
        """Ask for more where the last row offers it; say whether it did."""
        node = self.node_of(index)
        if node is None or self.entry(index) is not None:
            return False
        offers = node.state in _CONTINUED_BY_ROW
        if offers:
            self._fetch(node)
        return offers

    def tells_of_files(self, index: QModelIndex) -> bool:
        """Say whether this is a last row that tells of files."""
        node = self.node_of(index)
        return node is not None and self.entry(index) is None and node.hidden > 0

    def canFetchMore(self, parent: QModelIndex) -> bool:
        """Say whether rows may be had that were not asked for yet.

        Not for a further page: a view of Qt asks for it before it has laid out the
        rows that came, so that all pages would come. `probe_visible` knows better.
        """
        node = self.child_node(parent)
        if node is None:
            return self.hasChildren(parent)
        return node.state is State.UNASKED

    def fetchMore(self, parent: QModelIndex) -> None:
        """Ask for the first page of what is being opened; returns at once."""
        node = self.open_node(parent)
        if node is not None and node.state is State.UNASKED:
            self._fetch(node)

    def _cancel(self) -> None:
        """End everything, and receive nothing that was asked for."""
        if self.root is not None:
            self.root.stop()
        self._prober.stop()
        self._prober = RowProber(self._found, self)

    def _fetch(self, node: TreeNode) -> None:
        if node.listing is None:
            # An entry that was recognised is not probed again.
            node.listing = Listing(
                node.entry, prefix=node.prefix, files=self._files, size=_PAGE
            )
        if node.is_full:
            self.drop_rows(node)
        node.state = State.LOADING
        receive = partial(self._receive, node)
        node.watcher = FutureWatcher(node.listing.more(), receive, self)
        self.update_tail(node)
        self.changed.emit()

    def _receive(self, node: TreeNode, future: Future[EntryPage]) -> None:
        error = failure(future)
        first = not (node.entries or node.before)
        if error is not None:
            node.state, node.problem = State.FAILED, error
            self.update_tail(node)
            self.failed.emit(error)
        else:
            self._take(node, future.result())
            if node.parent is None and first:
                self.arrived.emit(future.result())
        self.changed.emit()

    def _take(self, node: TreeNode, page: EntryPage) -> None:
        node.hidden += page.hidden
        more = State.MORE if page.entries else State.PAUSED
        state = State.ENDED if page.is_last else more
        if node.parent is not None:
            self.replace(node.parent, node.number, page.here)
        elif page.here.is_openable and not (node.entries or self._files):
            node = self._show_one_image(node, page.here)
        node.state = state
        self.append(node, page.entries)
        self.update_tail(node)

    def _show_one_image(self, root: TreeNode, image: Entry) -> TreeNode:
        """Show an image that was named by its address as one row, with its parts."""
        root.state = State.ENDED
        self.append(root, [image])
        self.update_tail(root)
        node = self.open_node(self.index(0))
        return root if node is None else node

    def _found(self, row_key: RowKey, entry: Entry) -> None:
        key, number = row_key
        if key in self.nodes:
            self.replace(self.nodes[key], number, entry)
        self.changed.emit()
