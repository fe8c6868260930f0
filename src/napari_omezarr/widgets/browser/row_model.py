"""Branches of entries as a model of Qt: what is there, and how rows come and go."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import (
    QAbstractItemModel,
    QMimeData,
    QModelIndex,
    Qt,
)

from .branch import Branch
from .dragging import is_draggable, mime_of
from .row_text import spoken, tooltip

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qtpy.QtCore import QObject

    from napari_omezarr.browsing import Entry

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
        self.branches: dict[int, Branch] = {}
        self.root: Branch | None = None

    def renew(self, root: Branch | None) -> None:
        """Show another tree."""
        self.beginResetModel()
        self.root = root
        self.branches = {} if root is None else {root.key: root}
        self.endResetModel()

    def append(self, branch: Branch, entries: Sequence[Entry]) -> None:
        """Put rows after those of a branch, before its last one that only tells."""
        if entries:
            first = len(branch.entries)
            last = first + len(entries) - 1
            self.beginInsertRows(self.index_of(branch), first, last)
            branch.entries += entries
            self.endInsertRows()

    def turn_over(self, branch: Branch) -> None:
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

    def renew_tail(self, branch: Branch) -> None:
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

    def put(self, branch: Branch, row: int, entry: Entry) -> None:
        """Replace what is known of a row."""
        branch.entries[row] = entry
        if row in branch.below:
            branch.below[row].entry = entry
        index = self.index(row, 0, self.index_of(branch))
        self.dataChanged.emit(index, index)

    def opened(self, index: QModelIndex) -> Branch | None:
        """Give the branch below a row, a new one if it was not opened before."""
        if not index.isValid():
            return self.root
        parent, entry = self.branch_with(index), self.entry(index)
        if parent is None or entry is None or entry.is_leaf:
            return None
        row = index.row()
        if row not in parent.below:
            branch = new_branch(entry, parent=parent, number=row)
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

    def branch_with(self, index: QModelIndex) -> Branch | None:
        """Give the branch that a row is in."""
        return self.branches.get(index.internalId()) if index.isValid() else None

    def branch_below(self, index: QModelIndex) -> Branch | None:
        """Give the branch below a row, if it was opened; of no row the root."""
        if not index.isValid():
            return self.root
        branch = self.branch_with(index)
        return None if branch is None else branch.below.get(index.row())

    def index_of(self, branch: Branch) -> QModelIndex:
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

    def _drop(self, branch: Branch) -> None:
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


def new_branch(
    entry: Entry, *, parent: Branch | None = None, number: int = 0, prefix: str = ""
) -> Branch:
    """Make a branch with a key that no other one has, or had."""
    return Branch(next(_KEYS), entry, parent, number, prefix)
