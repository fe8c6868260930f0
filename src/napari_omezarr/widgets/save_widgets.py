"""The parts of the save dock: layers, target, options, progress."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, LineEdit
from napari.layers import Image, Labels, Layer, Points, Shapes, Tracks
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.location import without_secrets
from napari_omezarr.plain_text import plain

from .fields import FlowingRow, form_rows, heading, make_narrow, show_text
from .open_dialog import AddressLine
from .save_model import AUTO, SaveAction, options_of, progress_text, share_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_omezarr.location import Location
    from napari_omezarr.writing import Progress

_ROWS = 5
"""Rows of layers that are shown at a time."""
_LAYER = Qt.ItemDataRole.UserRole

# The options, as widgets of magicgui in groups.

_CODECS = (AUTO, "zstd", "blosc-zstd", "blosc-lz4", "gzip", "none")

_CHOICES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "version": ("Version", ("0.5", "0.4", "0.6"), "0.4 for older programs"),
    "layout": (
        "Shaped for",
        (AUTO, "plane", "volume"),
        "Chunks that are flat in z, or near cubes",
    ),
    "codec": ("Codec", _CODECS, "All are lossless"),
    "label_codec": ("Codec of labels", _CODECS, "All are lossless"),
    "image_method": (
        "Images by",
        ("mean", "nearest", "max"),
        "How a coarser pixel is made of finer ones",
    ),
    "label_method": (
        "Labels by",
        ("nearest", "mode"),
        "Labels are never averaged",
    ),
    "verify": (
        "Verify",
        ("sample", "all", "none"),
        "Read back what was stored, and compare",
    ),
}
_TEXTS = {
    "levels": ("Levels", "A number; auto is until no side is above 256"),
    "factors": ("Downsampling factor", "Like 1 2 2, or z=1 y=2 x=2"),
    "chunks": ("Chunk", "Pixels, like 1 64 256 256, or z=1 y=256"),
    "shards": ("Shard", "Pixels, or none"),
    "level": ("Compression level", "A number, higher is smaller and slower"),
    "name": ("Name", "Of the image; else it keeps the one it has"),
    "axis_names": ("Rename axes", "Like t=z"),
    "units": ("Units", "Like z=micrometer y=micrometer x=micrometer"),
}
_SWITCHES = {
    "merge": "merge channels of one grid",
    "consolidated": "consolidated metadata",
}
_GROUPS = {
    "Format": ("version", "merge", "consolidated"),
    "Levels": ("levels", "factors", "image_method", "label_method"),
    "Chunks": ("layout", "chunks", "shards"),
    "Compression": ("codec", "level", "label_codec"),
    "Names": ("name", "axis_names", "units"),
    "Checks": ("verify",),
}
_NOT_REMEMBERED = ("name", "axis_names", "units")
"""They are about one image."""

_MADE: list[CheckBox | ComboBox | LineEdit] = []
"""The fields of every form that was made, whose dock may be closed.

They lie in cycles with filters of events of their own. Python's collector, which runs
in any thread, must not find those: PySide would delete them there.
"""


class SaveForm(QObject):
    """The options, in a column; the fields have the names of `WriteOptions`."""

    changed = Signal()
    """Something was set by the person."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._fields = {n: _field(n) for group in _GROUPS.values() for n in group}
        _MADE.extend(self._fields.values())
        rows: list[Any] = []
        for title, names in _GROUPS.items():
            rows += [heading(title), *(self._fields[name] for name in names)]
        self.column, _ = form_rows(rows)
        for name, field in self._fields.items():
            make_narrow(field.native)
            field.native.setObjectName(name)
            field.native.setAccessibleName(field.label or field.text)
            field.changed.connect(self._tell)
        self.show_automatic({})

    def __getitem__(self, name: str) -> Any:
        """Return a field."""
        return self._fields[name]

    def to_remember(self) -> dict[str, Any]:
        """Return the values that are of use for another image, too."""
        return {k: v for k, v in self._values().items() if k not in _NOT_REMEMBERED}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Set fields, as far as they still know the values."""
        for name, value in values.items():
            field = self._fields.get(name)
            if field is None or type(value) is not type(field.value):
                continue
            if name in _TEXTS:
                field.value = "" if value == AUTO else value
            elif name not in _CHOICES or value in _CHOICES[name][1]:
                field.value = value

    def options(self) -> dict[str, Any]:
        """Return keyword arguments for ``write_layers``; see `options_of`."""
        return options_of(self._values())

    def show_automatic(self, known: Mapping[str, str]) -> None:
        """Say what is left open, and what that comes to: ``auto: 1 x 64 x 64``."""
        for name, field in self._fields.items():
            found = known.get(name, "")
            if name in _TEXTS:
                empty = "" if name in _NOT_REMEMBERED else AUTO
                said = f"{empty}: {found}" if empty and found else found or empty
                field.native.setPlaceholderText(said)
                field.tooltip = plain(f"{_TEXTS[name][1]}\n{said}".strip())
            elif isinstance(field, ComboBox) and AUTO in field.choices:
                row = field.choices.index(AUTO)
                field.native.setItemText(row, f"{AUTO}: {found}" if found else AUTO)

    def _values(self) -> dict[str, Any]:
        return {name: field.value for name, field in self._fields.items()}

    def _tell(self) -> None:
        self.changed.emit()


def _field(name: str) -> Any:
    if name in _SWITCHES:
        return CheckBox(name=name, text=_SWITCHES[name], value=True, label="")
    if name in _TEXTS:
        return LineEdit(name=name, label=_TEXTS[name][0])
    label, choices, tip = _CHOICES[name]
    return ComboBox(name=name, label=label, choices=choices, tooltip=tip)


# The layers: which are saved, and what becomes of each.


class SaveLayers(QListWidget):
    """A row for each layer, with a box to check it, and its role once it is known."""

    chosen = Signal()
    """Another set of layers is checked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._unchecked: set[int] = set()
        self.setAccessibleName("Layers to save")
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFixedHeight(_ROWS * (self.fontMetrics().height() + 8))
        self.itemChanged.connect(self._take)

    def begin_with(self, layers: Iterable[Layer], selected: Iterable[Layer]) -> None:
        """Offer layers; several that are selected are those that are meant."""
        wanted = list(selected)
        every = list(layers)
        if len(wanted) > 1:
            self._unchecked = {id(layer) for layer in every if layer not in wanted}
        self.refill(every)

    def refill(self, layers: Iterable[Layer]) -> None:
        """Offer these layers, topmost first; those unchecked before stay so."""
        self.blockSignals(True)
        self.clear()
        for layer in reversed(list(layers)):
            item = QListWidgetItem(layer.name, self)
            item.setData(_LAYER, layer)
            if not isinstance(layer, Image | Labels | Points | Shapes | Tracks):
                kind = type(layer).__name__.lower()
                item.setText(f"{layer.name} — {kind} are not saved")
                item.setToolTip(plain(f"OME-Zarr has no place for {kind} layers."))
                item.setFlags(Qt.ItemFlag.NoItemFlags)
                continue
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            on = id(layer) not in self._unchecked
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        self.blockSignals(False)
        self.chosen.emit()

    def layers(self) -> list[Layer]:
        """Return the checked layers, bottom first, as napari has them."""
        checked = [item for item in self._items() if _is_checked(item)]
        return [item.data(_LAYER) for item in reversed(checked)]

    def set_roles(self, roles: Mapping[str, str]) -> None:
        """Say behind each checked layer what becomes of it."""
        self.blockSignals(True)
        for item in self._items():
            if not item.flags():
                continue
            name = item.data(_LAYER).name
            role = roles.get(name, "") if _is_checked(item) else ""
            item.setText(f"{name} → {role}" if role else name)
            item.setToolTip(plain(item.text()))
        self.blockSignals(False)

    def _take(self, item: QListWidgetItem) -> None:
        layer = id(item.data(_LAYER))
        if _is_checked(item):
            self._unchecked.discard(layer)
        else:
            self._unchecked.add(layer)
        self.chosen.emit()

    def _items(self) -> list[QListWidgetItem]:
        found: list[Any] = [self.item(row) for row in range(self.count())]
        return found


def _is_checked(item: QListWidgetItem) -> bool:
    return bool(item.flags()) and item.checkState() == Qt.CheckState.Checked


# Sentences and progress.


def sentence_label(parent: QWidget) -> QLabel:
    """Make a label for sentences: wrapped, plain, and to be copied."""
    label = QLabel(parent)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    flag = Qt.TextInteractionFlag
    label.setTextInteractionFlags(
        flag.TextSelectableByMouse | flag.TextSelectableByKeyboard
    )
    label.setVisible(False)
    return label


class SaveProgress(QWidget):
    """A bar with the share, the rate and the time left, and a button to cancel."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = QProgressBar(self)
        self.text = QLabel(self)
        self.cancel = QPushButton("&Cancel", self)
        self.bar.setAccessibleName("Saved so far")
        self.bar.setTextVisible(False)
        row, layout = QHBoxLayout(), QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.text)
        row.addStretch()
        row.addWidget(self.cancel)
        layout.addWidget(self.bar)
        layout.addLayout(row)
        self._first: tuple[Progress, float] | None = None

    def begin(self) -> None:
        """Show that something is under way, of unknown length."""
        self._first = None
        self.bar.setRange(0, 0)
        self.text.setText("Starting …")
        self.cancel.setEnabled(True)

    def show_progress(self, progress: Progress) -> None:
        """Show how far it is."""
        now = perf_counter()
        first, since = self._first = self._first or (progress, now)
        self.bar.setRange(0, 1000)
        self.bar.setValue(int(1000 * share_of(progress)))
        self.text.setText(progress_text(progress, first, now - since))

    def stopping(self) -> None:
        """Show that it will stop as soon as its requests have ended."""
        self.cancel.setEnabled(False)
        self.text.setText("Stopping …")


# Where to save: any address, a chosen folder, and what is in the way there.


class SaveTarget(QWidget):
    """A line for the address, a button for folders, and the state of the place."""

    changed = Signal()
    """Another address stands there."""
    asked = Signal(object)
    """The `SaveAction` that the person has chosen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = AddressLine(self)
        self.line.setPlaceholderText("A folder, s3://…, or a .ozx file")
        self.line.setAccessibleName("Target")
        self.browse = QPushButton("…", self)
        self.browse.setAccessibleName("Choose a folder")
        self.browse.setToolTip("Choose a folder of this computer")
        self.state = sentence_label(self)
        self.buttons = {a: QPushButton(a.value, self) for a in SaveAction}
        self._row = FlowingRow()
        self._name = "image.ome.zarr"
        self._arrange()
        self.line.textChanged.connect(self.changed)
        self.browse.clicked.connect(self.choose_folder)
        for action, button in self.buttons.items():
            button.clicked.connect(partial(self.asked.emit, action))
        self.show_state("", ())

    def suggest(self, name: str) -> None:
        """Remember what the image would be called in a folder."""
        self._name = name

    def choose_folder(self) -> None:
        """Let the person choose a folder; the image will lie in it."""
        dialog = QFileDialog(self, "Save into the folder")
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly, True)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.take_folder)
        dialog.open()

    def take_folder(self, folder: str) -> None:
        """Put the image into a folder; one that is an OME-Zarr is the target."""
        is_one = folder.rstrip("/").endswith(".zarr")
        self.line.set_address(folder if is_one else f"{folder}/{self._name}")

    def take_place(self, place: Location) -> None:
        """Put the image into a place that the browser shows."""
        self.line.set_address(without_secrets(place / self._name))

    def show_state(self, text: str, actions: Iterable[SaveAction]) -> None:
        """Say what is at the place, and offer what can be done about it."""
        offered = frozenset(actions)
        show_text(self.state, text)
        for action, button in self.buttons.items():
            self._row.removeWidget(button)
            button.setVisible(action in offered)
            if action in offered:
                self._row.addWidget(button)

    def _arrange(self) -> None:
        line, layout = QHBoxLayout(), QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.line)
        line.addWidget(self.browse)
        self.browse.setFixedWidth(28)
        layout.addLayout(line)
        layout.addWidget(self.state)
        layout.addLayout(self._row)
