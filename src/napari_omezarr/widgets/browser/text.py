"""What rows and details say, in words and in icons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QByteArray, QRect, QRectF, Qt, QTimer, Signal
from qtpy.QtGui import QAction, QActionGroup, QIcon, QPainter, QPixmap
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtWidgets import QHeaderView, QMenu

from napari_omezarr.browsing import EntryKind
from napari_omezarr.location import DOCUMENTS
from napari_omezarr.plain_text import (
    BY,
    bytes_text,
    narrow_shape_text,
    natural_key,
    plain,
)
from napari_omezarr.store import brief
from napari_omezarr.widgets.preferences import (
    browser_preferences,
    keep_browser_preferences,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtCore import QPoint
    from qtpy.QtGui import QMouseEvent, QPaintEvent
    from qtpy.QtWidgets import QTreeView

    from napari_omezarr.browsing import (
        AxisDetails,
        ChunkPreview,
        Details,
        Entry,
        LevelDetails,
        Validation,
    )
    from napari_omezarr.metadata import ResolvedChannel


COLUMNS = ("Level", "Shape", "Chunk", "Size", "Stored", "Type", "Codec", "Shard")

_JOINING = "\N{NO-BREAK SPACE}"
_MOST_TEXT = 4 * 2**20
_TEXTS = (
    *DOCUMENTS, ".json", ".xml", ".txt", ".md", ".csv", ".tsv", ".yaml", ".yml",
)  # fmt: skip

_SYMBOLS = {
    "angstrom": "Å",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "microsecond": "µs",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
}

SIDE = 16
"""Of an icon, in pixels that do not depend on the screen."""

_FOLDER = "M1.5 13V3.5h4l1.5 2h7.5V13z"
_IMAGE = "M1.5 2.5h13v11h-13zM2 12l4-5 3 3.5 2-2 3 3.5M11 5.5h.1"
_FILE = "M3.5 1.5h6l3 3v10h-9zM9.5 1.5v3h3"
_PLATE = "M1.5 3h13v10h-13zM4.5 6h.1M8 6h.1M11.5 6h.1M4.5 10h.1M8 10h.1M11.5 10h.1"
_LEVELS = "M1.5 13.5v-11h11v11zM1.5 8h5.5v5.5M7 10.8h-2.8v2.7"
_LABELS = (
    "M5 8a3 3 0 1 0-.1 0zM11.5 13.5a2.6 2.6 0 1 0-.1 0zM11.5 6a1.6 1.6 0 1 0-.1 0z"
)
_TABLE = "M1.5 3h13v10h-13zM1.5 6.3h13M1.5 9.6h13M6 3v10"
_KIND_PATHS = {
    EntryKind.BUCKET: "M2 4c0-2 12-2 12 0l-1.5 9c0 1.5-9 1.5-9 0zM2 4c0 2 12 2 12 0",
    EntryKind.FOLDER: _FOLDER,
    EntryKind.GROUP: f"{_FOLDER}M5 10.5h6",
    EntryKind.ARCHIVE: f"{_FILE}M7 4v2M7 7v2M7 10v2",
    EntryKind.FILE: _FILE,
    EntryKind.IMAGE: _IMAGE,
    EntryKind.LEVELS: _LEVELS,
    EntryKind.LABELS: _LABELS,
    EntryKind.LABEL: _LABELS,
    EntryKind.PLATE: _PLATE,
    EntryKind.WELL: "M8 14a6 6 0 1 0-.1 0zM8 10.5a2.5 2.5 0 1 0-.1 0z",
    EntryKind.SERIES: "M1.5 5.5h9v8h-9zM4 5.5v-3h10.5v8.5h-4",
    EntryKind.SCENE: "M1.5 7.5h7v6h-7zM7 7.5v-5h7.5v7h-6",
    EntryKind.TABLES: _TABLE,
    EntryKind.TABLE: _TABLE,
    EntryKind.ARRAY: "M2 2h12v12H2zM6 2v12M10 2v12M2 6h12M2 10h12",
}
_GEAR = (
    "M8 10.5a2.5 2.5 0 1 0-.1 0zM8 1.5v2.5M8 12v2.5M1.5 8H4M12 8h2.5"
    "M3.4 3.4l1.8 1.8M10.8 10.8l1.8 1.8M12.6 3.4l-1.8 1.8"
    "M5.2 10.8l-1.8 1.8"
)
_BUTTON_PATHS = {
    "back": "M13.5 8h-11M7 3.5L2.5 8 7 12.5",
    "up": "M8 13.5v-11M3.5 7L8 2.5 12.5 7",
    "reload": "M13 8a5 5 0 1 1-1.5-3.5M13 1.5v3.5h-3.5",
    "edit": _GEAR,
    "go": "M13.5 3v5.5h-11M6 5L2.5 8.5 6 12",
}


# What a row says.


def right_text(entry: Entry, apart: frozenset[str] = frozenset()) -> str:
    """Give what stands at the right of the name: axes and version, or size and date.

    `apart` has a column of its own: contents, version, size, modified.
    """
    is_folder = entry.size is None and entry.kind is not EntryKind.BUCKET
    texts = {
        "contents": entry.summary,
        "version": entry.version,
        "size": "" if entry.size is None else bytes_text(entry.size),
        "modified": "" if is_folder else entry.modified[:10],
    }
    return _join("  ", *(text for key, text in texts.items() if key not in apart))


def tooltip(entry: Entry) -> str:
    """Give the address, what it is, and why it could not be probed."""
    place, right = entry.location.display, right_text(entry)
    return _join("\n", place, kind_text(entry), right, entry.problem)


def accessible_text(entry: Entry) -> str:
    """Give the row as one sentence for a screen reader."""
    return _join(", ", entry.name, kind_text(entry), entry.summary, entry.version)


def kind_text(entry: Entry) -> str:
    """Say what an entry is, as far as it is known."""
    if not entry.recognised and entry.looks_like_store:
        return "Zarr"
    return str(entry.kind)


# What the details panel says.


def facts_text(details: Details) -> str:
    """Say kind, version, type and axes: ``image · OME-Zarr 0.4 · uint16 · c z y x``."""
    entry = details.entry
    version = f"OME-Zarr {entry.version}" if entry.version else ""
    dtype = details.levels[0].dtype if details.levels else ""
    axes = " ".join(axis.name for axis in details.axes)
    return _join(" · ", kind_text(entry), version, dtype, axes)


def voxel_text(axes: Sequence[AxisDetails]) -> str:
    """Say the size of a pixel of the finest level: ``0.5 x 0.36 x 0.36 µm``.

    Axes follow in their order, channels left out; other units come apart.
    """
    sized = [axis for axis in axes if axis.type != "channel"]
    parts = []
    for unit, group in groupby(sized, key=lambda axis: axis.unit or ""):
        lengths = BY.join(f"{abs(axis.pixel):.4g}" for axis in group)
        parts.append(f"{lengths} {_SYMBOLS.get(unit, unit or 'pixel')}")
    return ", ".join(parts)


def axes_text(axes: Sequence[AxisDetails]) -> str:
    """Say each axis with its size and that of a pixel: ``c 2 · z 236 at 0.5 µm``."""
    return " · ".join(_axis_text(axis).replace(" ", _JOINING) for axis in axes)


def _axis_text(axis: AxisDetails) -> str:
    if axis.type == "channel":
        return f"{axis.name} {axis.size}"
    unit = axis.unit or ""
    length = f"{abs(axis.pixel):.4g} {_SYMBOLS.get(unit, unit or 'pixel')}"
    return f"{axis.name} {axis.size} at {length}"


def about_text(details: Details) -> str:
    """Say what somebody wrote about an image, and under which licence it is."""
    licence = f"Licence: {details.licence}" if details.licence else ""
    return _join("\n", licence, details.description)


def level_row(level: LevelDetails) -> tuple[str, ...]:
    """Give the cells of a level, as `COLUMNS` names them."""
    exact = "" if level.codec == "none" else "≈ "
    stored = "" if level.stored is None else f"{exact}{bytes_text(level.stored)}"
    return (
        level.path,
        narrow_shape_text(level.shape),
        narrow_shape_text(level.chunks),
        bytes_text(level.raw),
        stored,
        level.dtype,
        level.codec,
        "" if level.shards is None else narrow_shape_text(level.shards),
    )


def channels_html(channels: Sequence[ResolvedChannel], image: str) -> str:
    """Give the names of the channels, each after a square of its colour.

    Names are what somebody wrote into a file, so they are escaped.
    """
    rows = (
        f'<span style="color:#{escape(c.color)}">■</span> {escape(c.name or image)}'
        for c in channels
    )
    return " &nbsp; ".join(rows)


def labels_text(labels: Sequence[str], tables: Sequence[str] = ()) -> str:
    """Name the label images, and say what each table is."""
    named = f"Labels: {', '.join(labels)}" if labels else ""
    return _join("\n", named, *(f"Table {table}" for table in tables))


def notes_text(details: Details) -> str:
    """Say what was tolerated, and how the place was reached: a line each."""
    lines = [f"⚠ {warning}" for warning in details.warnings]
    return "\n".join((*lines, *map(brief, details.notes)))


def entry_text(entry: Entry) -> str:
    """Say what a row knows, before anybody looked further."""
    size = "" if entry.size is None else bytes_text(entry.size)
    version = f"OME-Zarr {entry.version}" if entry.version else ""
    day = entry.modified[:10]
    facts = _join(" · ", kind_text(entry), version, entry.summary, size, day)
    return _join("\n", facts, entry.problem)


def is_readable(entry: Entry) -> bool:
    """Say whether a row is a small object of text, like a metadata document."""
    if entry.kind is not EntryKind.FILE or (entry.size or 0) > _MOST_TEXT:
        return False
    return entry.name.lower().endswith(_TEXTS)


def chunk_text(chunk: ChunkPreview) -> str:
    """Say what a chunk weighs, what is in it, and how long it took."""
    milliseconds = f"{chunk.seconds * 1000:,.0f} ms"
    raw = f"{bytes_text(chunk.raw)} of {chunk.pixels.dtype}"
    low, high = chunk.pixels.min(), chunk.pixels.max()
    values = f"values {low:.6g} to {high:.6g}"
    if chunk.ratio is None:
        return (
            f"{chunk.key}: nothing is stored, all is {low:.6g}. {raw}, {milliseconds}."
        )
    stored = f"{bytes_text(chunk.stored)} stored"
    ratio = f"{chunk.ratio:.1f} times smaller"
    return f"{chunk.key}: {stored}, {ratio} than {raw}; {milliseconds}; {values}."


def findings_text(validation: Validation) -> str:
    """Give the outcome of a validation, and a line for each finding with its path."""
    mark = ("✖" if validation.findings else "✔") if validation.covered else "?"
    lines = [f"{mark} {validation.sentence}"]
    for finding in validation.findings:
        where = _join("/", finding.document, finding.where) or "the document"
        lines.append(f"{where}: {finding.problem}")
    return "\n".join(lines)


def _join(separator: str, *parts: str) -> str:
    """Join the parts that say something."""
    return separator.join(part for part in parts if part)


# Icons, drawn in the colour of the text beside them.


def kind_icon(kind: EntryKind, color: str, ratio: float) -> QPixmap:
    """Draw the icon of a kind, with `ratio` pixels of the screen for one of ours."""
    return _draw(_KIND_PATHS[kind], color, ratio)


def button_icon(name: str, color: str) -> QIcon:
    """Draw the icon of a button: back, up, reload, edit or go."""
    return QIcon(_draw(_BUTTON_PATHS[name], color, 2.0))


@lru_cache(maxsize=256)
def _draw(path: str, color: str, ratio: float) -> QPixmap:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">'
        f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.3" '
        'stroke-linecap="round" stroke-linejoin="round"/></svg>'
    )
    side = round(SIDE * ratio)
    pixmap = QPixmap(side, side)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(0, 0, side, side))
    painter.end()
    pixmap.setDevicePixelRatio(ratio)
    return pixmap


# The columns of the rows: what each says, by what it sorts, and which are shown.

_NAME_SHARE = 0.7
"""Of the room, for the names at least: what other columns lack is scrolled to."""
_HELD_SHARE = 0.6
"""Of the width, for names that others are scrolled over."""
_NARROW = 300
"""Pixels of a dock that is as narrow as it may be: wider, more columns are seen."""
_PAUSE = 300
"""Milliseconds after which a width that is dragged is remembered."""
_DOWN, _UP = Qt.SortOrder.DescendingOrder, Qt.SortOrder.AscendingOrder


@dataclass(frozen=True, slots=True)
class RowColumn:
    """What a column says of an entry, and what it sorts by: None is not known."""

    key: str
    title: str
    tip: str
    text: Callable[[Entry], str]
    rank: Callable[[Entry], Any]
    width: int


def natural(text: str) -> tuple[tuple[int, int, str], ...] | None:
    """Sort as people do, small letters as large ones; None of no text."""
    return natural_key(text.casefold()) or None


def _kind(entry: Entry) -> str:
    """Say what an entry is; nothing of a folder that nobody has looked into."""
    is_known = entry.recognised or entry.looks_like_store
    return kind_text(entry) if is_known or entry.kind is not EntryKind.FOLDER else ""


def _minute(entry: Entry) -> str:
    return entry.modified[:16].replace("T", " ")


ROW_COLUMNS = (
    RowColumn(
        "name", "Name", "", lambda entry: entry.name, lambda e: natural(e.name), 0
    ),
    RowColumn("kind", "Kind", "", _kind, lambda e: natural(_kind(e)), 70),
    RowColumn(
        "contents",
        "Contents",
        "Axes with their lengths, wells, fields",
        lambda entry: entry.summary,
        lambda entry: natural(entry.summary),
        120,
    ),
    RowColumn(
        "version",
        "Version",
        "Of OME-Zarr",
        lambda entry: entry.version,
        lambda entry: natural(entry.version),
        55,
    ),
    RowColumn(
        "size",
        "Size",
        "Of a file or an archive; that of an image is in the panel",
        lambda entry: "" if entry.size is None else bytes_text(entry.size),
        lambda entry: entry.size,
        70,
    ),
    RowColumn(
        "modified",
        "Modified",
        "When it was written (UTC); buckets say that of files only",
        _minute,
        lambda entry: entry.modified or None,
        120,
    ),
)
_KEYS = [column.key for column in ROW_COLUMNS]


def permutation(entries: Sequence[Entry], column: int, *, down: bool) -> list[int]:
    """Give the numbers of entries in the order of a column.

    What is not known comes last, whichever the direction.
    """
    ranks = [ROW_COLUMNS[column].rank(entry) for entry in entries]
    known = [number for number, rank in enumerate(ranks) if rank is not None]
    unknown = [number for number, rank in enumerate(ranks) if rank is None]
    return sorted(known, key=lambda number: ranks[number], reverse=down) + unknown


class RowHeader(QHeaderView):
    """Shows, hides and sorts by columns; how it was left is remembered."""

    columns_changed = Signal()
    """Others are shown."""

    def __init__(self, tree: QTreeView) -> None:
        super().__init__(Qt.Orientation.Horizontal, tree)
        self._tree = tree
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.timeout.connect(self._keep)
        self.setSectionsClickable(True)
        self.setSectionsMovable(False)
        self.setSortIndicatorClearable(True)
        self.setStretchLastSection(False)
        self.setMinimumSectionSize(40)
        self.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setAccessibleName("Columns")
        self.menu = QMenu("Columns and order", self)
        self.columns = {column.key: self._switch(column) for column in ROW_COLUMNS[1:]}
        self.menu.addSeparator()
        self.orders = self._order_actions()
        self.descending = self._check("Descending")
        self.descending.triggered.connect(lambda _: self._sort(self._sorted))

    @property
    def shown(self) -> frozenset[str]:
        """The keys of the columns that are shown beside the names."""
        return frozenset(key for key, one in self.columns.items() if one.isChecked())

    def restore(self) -> None:
        """Show the columns, in the order, in which they were left; first the model."""
        kept = browser_preferences()
        shown, widths = kept.get("columns"), _kept_widths()
        for number, column in enumerate(ROW_COLUMNS[1:], 1):
            width: Any = widths.get(column.key)
            is_width = isinstance(width, int) and width >= self.minimumSectionSize()
            self.resizeSection(number, width if is_width else column.width)
            is_shown = isinstance(shown, list) and column.key in shown
            self.setSectionHidden(number, not is_shown)
            self.columns[column.key].setChecked(is_shown)
        key = kept.get("sort")
        order = _DOWN if kept.get("descending") is True else _UP
        self.setSortIndicator(_KEYS.index(key) if key in _KEYS else -1, order)
        self._show_order()
        self.sectionResized.connect(self._resize)
        self.sortIndicatorChanged.connect(lambda *_: self._end_sorting())
        self.customContextMenuRequested.connect(self._show_menu)
        self.fit()

    def fit(self) -> None:
        """Give the names the width that the other columns leave."""
        room: Any = self._tree.viewport()
        others = sum(map(self.sectionSize, range(1, len(ROW_COLUMNS))))
        least = int(_NAME_SHARE * min(room.width(), _NARROW))
        self.resizeSection(0, max(least, room.width() - others))

    @property
    def held_width(self) -> int:
        """How wide names are that stay, as others are scrolled over them; else 0."""
        if not self.offset():
            return 0
        room: Any = self._tree.viewport()
        return min(self.sectionSize(0), int(_HELD_SHARE * room.width()))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the titles, the first one also where others are scrolled over it."""
        super().paintEvent(event)
        if width := self.held_width:
            painter = QPainter(self.viewport())
            self.paintSection(painter, QRect(0, 0, width, self.height()), 0)
            painter.end()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go back to the names at a press on their title."""
        bar = self._tree.horizontalScrollBar()
        if event is not None and bar and event.position().x() < self.held_width:
            bar.setValue(0)
        super().mousePressEvent(event)

    @property
    def _sorted(self) -> int:
        return self.sortIndicatorSection()

    def _check(self, text: str) -> QAction:
        action = QAction(text, self)
        action.setCheckable(True)
        self.menu.addAction(action)
        return action

    def _switch(self, column: RowColumn) -> QAction:
        switch = self._check(column.title)
        switch.setToolTip(plain(column.tip))
        switch.triggered.connect(lambda _: self._show_columns())
        return switch

    def _order_actions(self) -> list[QAction]:
        """Make the actions that sort: as listed, then by each column."""
        group, actions = QActionGroup(self), []
        titles = [f"by {column.title.lower()}" for column in ROW_COLUMNS]
        for number, title in enumerate(["as listed", *titles], -1):
            action = self._check(f"Sort {title}")
            action.setActionGroup(group)
            action.setData(number)
            actions.append(action)
        group.triggered.connect(lambda action: self._sort(action.data()))
        return actions

    def _sort(self, number: int) -> None:
        self.setSortIndicator(number, _DOWN if self.descending.isChecked() else _UP)

    def _show_order(self) -> None:
        self.orders[self._sorted + 1].setChecked(True)
        self.descending.setChecked(self.sortIndicatorOrder() == _DOWN)
        self.descending.setEnabled(self._sorted >= 0)

    def _end_sorting(self) -> None:
        self._show_order()
        self._keep()

    def _show_columns(self) -> None:
        for number, column in enumerate(ROW_COLUMNS[1:], 1):
            self.setSectionHidden(number, not self.columns[column.key].isChecked())
        self.fit()
        self._keep()
        self.columns_changed.emit()

    def _resize(self, number: int, _before: int, _now: int) -> None:
        # Names have what is left, and may be made wider for a while.
        if number:
            self.fit()
            self._pause.start(_PAUSE)

    def _keep(self) -> None:
        widths = {
            column.key: self.sectionSize(number)
            for number, column in enumerate(ROW_COLUMNS)
            if column.key in self.shown
        }
        keep_browser_preferences(
            columns=[column.key for column in ROW_COLUMNS if column.key in self.shown],
            widths={**_kept_widths(), **widths},
            sort=_KEYS[self._sorted] if self._sorted >= 0 else "",
            descending=self.sortIndicatorOrder() == _DOWN,
        )

    def _show_menu(self, position: QPoint) -> None:
        self.menu.popup(self.mapToGlobal(position))


def _kept_widths() -> dict[str, Any]:
    widths = browser_preferences().get("widths")
    return widths if isinstance(widths, dict) else {}
