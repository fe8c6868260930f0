"""The fields of forms: widgets of Qt, each with a label, a value and one signal.

Those of magicgui, of which the options of a save are made, have these too. They lie in
cycles with filters of events of their own: where Python's collector finds those in
another thread, PySide deletes them there. Forms that come and go are made of these.
"""

from __future__ import annotations

from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QRectF, QSize, Qt, Signal, SignalInstance
from qtpy.QtGui import QIcon, QPainter, QPen, QPixmap
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLayout,
    QLayoutItem,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible, QFlowLayout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from magicgui.widgets.bases import ValueWidget
    from qtpy.QtGui import QPaintEvent

_LEAST = 60
"""Of a field, in pixels: many stand in a dock of 300."""
_GAP = 4
"""Between the parts of a row that goes on below, in pixels."""
_LINE = 1.5
"""Of the ring round what has the keyboard, in pixels."""


class TextField(QLineEdit):
    """A line of text."""

    changed: SignalInstance = Signal()
    """Another text stands there."""

    def __init__(self, label: str, hint: str = "") -> None:
        super().__init__()
        self.label = label
        make_narrow(self)
        self.setAccessibleName(label)
        self.setPlaceholderText(hint)
        self.textChanged.connect(self.changed)

    @property
    def value(self) -> str:
        """The text."""
        return self.text()

    @value.setter
    def value(self, text: str) -> None:
        self.setText(text)

    def __repr__(self) -> str:
        # Never what was typed: some of these hold secrets.
        return f"{type(self).__name__}({self.label})"


class SecretField(TextField):
    """A secret: nobody reads it over the shoulder."""

    def __init__(self, label: str, hint: str = "") -> None:
        super().__init__(label, hint)
        self.setEchoMode(QLineEdit.EchoMode.Password)


class ChoiceField(QComboBox):
    """One of several values, by their texts; long ones do not make it wide."""

    changed: SignalInstance = Signal()
    """Another value is chosen."""

    def __init__(self, label: str, choices: Iterable[tuple[str, Any]] = ()) -> None:
        super().__init__()
        self.label = label
        self._values: list[Any] = []
        make_narrow(self)
        self.setAccessibleName(label)
        self.offer(choices)
        self.currentIndexChanged.connect(self.changed)

    def offer(self, choices: Iterable[tuple[str, Any]]) -> None:
        """Offer other values; the chosen one stays if it is among them."""
        before, found = self.value, list(choices)
        self.blockSignals(True)
        self.clear()
        self._values = [value for _, value in found]
        self.addItems([text for text, _ in found])
        self.blockSignals(False)
        if before in self._values:
            self.setCurrentIndex(self._values.index(before))
        elif before is not None or found:
            self.changed.emit()

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values that are offered."""
        return tuple(self._values)

    @property
    def value(self) -> Any:
        """The value that is chosen; None where there is none."""
        row = self.currentIndex()
        return self._values[row] if 0 <= row < len(self._values) else None

    @value.setter
    def value(self, value: Any) -> None:
        self.setCurrentIndex(self._values.index(value))


class SwitchField(QCheckBox):
    """Yes or no; its text says what."""

    changed: SignalInstance = Signal()
    """It was switched."""

    def __init__(self, text: str, on: bool = False) -> None:
        super().__init__(text)
        self.label = ""
        self.setChecked(on)
        self.toggled.connect(lambda _: self.changed.emit())

    @property
    def value(self) -> bool:
        """Whether it is on."""
        return self.isChecked()

    @value.setter
    def value(self, on: bool) -> None:
        self.setChecked(on)


class FileField(QWidget):
    """The path of a file, with a button to choose one."""

    def __init__(self, label: str, pattern: str) -> None:
        super().__init__()
        self.label = label
        self._pattern = pattern
        self.line_edit = TextField(label)
        self.button = QPushButton("…")
        self.button.setFixedWidth(28)
        self.button.setAccessibleName(f"Choose the {label}")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line_edit)
        layout.addWidget(self.button)
        self.setFocusProxy(self.line_edit)
        self.button.clicked.connect(self.choose)

    def choose(self) -> None:
        """Let the person choose; nothing waits for it."""
        dialog = QFileDialog(self, self.label, filter=self._pattern)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(self.line_edit.setText)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()


Field = TextField | ChoiceField | SwitchField | FileField


_LONGEST = 17
"""Characters in a line of a label: in a narrow dock, fields need the room."""


def make_narrow(field: QWidget) -> None:
    """Let a field be as narrow as a dock needs it."""
    if isinstance(field, QLineEdit):
        field.setMinimumWidth(_LEAST)
    elif isinstance(field, QComboBox):
        field.setMinimumContentsLength(3)
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        field.setSizeAdjustPolicy(policy)
        field.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


def form_rows(
    fields: Sequence[Field | QLabel | ValueWidget[Any]],
) -> tuple[QWidget, QFormLayout]:
    """Put fields below each other, all with one left edge; a label is a heading."""
    widget = QWidget()
    layout = QFormLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    for field in fields:
        native = field if isinstance(field, QWidget) else field.native
        # A check box says itself what it is.
        if isinstance(field, QLabel) or isinstance(native, QCheckBox):
            layout.addRow(native)
        else:
            layout.addRow(fill(field.label, _LONGEST), native)
    return widget, layout


class FlowingRow(QFlowLayout):
    """A row that goes on below where a dock is too narrow for it."""

    def __init__(self) -> None:
        super().__init__()
        # Style sheets know no distance of their own.
        self.setHorizontalSpacing(_GAP)
        self.setVerticalSpacing(_GAP)

    def addItem(self, item: QLayoutItem | None) -> None:
        """Give the item its place, also when the row is shown already."""
        super().addItem(item)
        self.invalidate()


def scroll_in(owner: QWidget, inner: QWidget) -> None:
    """Let a form scroll in a dock that is not as tall as it, and never sideways."""
    scroll, layout = QScrollArea(owner), QVBoxLayout(owner)
    # Its fields have the keyboard, and it follows them.
    scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    scroll.setWidget(inner)
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    inner.setMinimumWidth(0)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(scroll)


class Folded(QCollapsible):
    """A part that unfolds; its mark points to the right while it is closed.

    superqt paints marks in the colour that text had when they were made: another
    than the theme's. So this one is a letter of the text.
    """

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        # A null icon is false in PySide6, and superqt would then keep none at all.
        pixel = QPixmap(1, 1)
        pixel.fill(Qt.GlobalColor.transparent)
        icons = {"expandedIcon": QIcon(pixel), "collapsedIcon": QIcon(pixel)}
        super().__init__(title, parent, **icons)
        self.toggleButton().setIconSize(QSize(1, 1))
        self._title = title
        # At the left edge of the form that it is a part of, open or not.
        for layout, above in ((self.layout(), 0), (self.content().layout(), 4)):
            if layout is not None:
                layout.setContentsMargins(0, above, 0, 0)
        self.toggled.connect(self._mark)
        self._mark(False)

    def _mark(self, is_open: bool) -> None:
        self.setText(f"{'▾' if is_open else '▸'} {self._title}")
        # superqt only makes it low, and Tab would go through what nobody sees.
        self.content().setEnabled(is_open)


def heading(text: str) -> QLabel:
    """Make the heading of a group of fields."""
    label = QLabel(text)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label


# Which widget has the keyboard. napari's stylesheet shows it of none but lines of text.


def tab_as_laid_out(owner: QWidget) -> None:
    """Let Tab go through what is laid out in the order in which it is read.

    Qt goes through it as it was made, and what is made anew comes last.
    """
    layout = owner.layout()
    stops = [] if layout is None else list(_laid_out(layout))
    for before, after in pairwise(stops):
        QWidget.setTabOrder(before, after)


def _laid_out(layout: QLayout) -> Iterator[QWidget]:
    for part in _parts(layout):
        if isinstance(part, QLayout):
            yield from _laid_out(part)
            continue
        if part.focusPolicy() != Qt.FocusPolicy.NoFocus:
            yield part
        below = part.layout()
        if below is not None:
            yield from _laid_out(below)


def _parts(layout: QLayout) -> list[QWidget | QLayout]:
    """Give what lies directly in a layout, in the order in which it is read.

    Not by ``itemAt``: PySide keeps the item that it gives beyond the item's own end,
    and takes what Qt makes next at its address for it.
    """
    owner = layout.parentWidget()
    near: list[QObject] = [*layout.children(), *(owner.children() if owner else ())]
    some = [part for part in near if isinstance(part, QWidget | QLayout)]
    found = [part for part in some if layout.indexOf(part) >= 0]
    if not isinstance(layout, QGridLayout):
        return sorted(found, key=layout.indexOf)
    cell = layout.getItemPosition
    return sorted(found, key=lambda part: cell(layout.indexOf(part)))


class FocusRing(QWidget):
    """A line round the widget that it lies on, which nobody can click."""

    def __init__(self, owner: QWidget) -> None:
        super().__init__(owner)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        owner.installEventFilter(self)
        self.setGeometry(owner.rect())
        self.raise_()
        self.show()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Follow the size of the widget."""
        is_resize = event is not None and event.type() == QEvent.Type.Resize
        if is_resize and isinstance(watched, QWidget):
            self.setGeometry(watched.rect())
        return False

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the line, in the colour of the text."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(self.palette().color(self.foregroundRole()), _LINE))
        half = _LINE / 2
        inner = QRectF(self.rect()).adjusted(half, half, -half, -half)
        painter.drawRoundedRect(inner, 2, 2)
        painter.end()


class FocusFollower(QObject):
    """Keeps a ring round that widget of ours which has the keyboard."""

    def __init__(self, application: QApplication) -> None:
        super().__init__(application)
        self._ring: FocusRing | None = None
        application.focusChanged.connect(self._follow)

    def _follow(self, _before: QWidget | None, now: QWidget | None) -> None:
        ring, self._ring = self._ring, None
        if ring is not None and isalive(ring):  # type: ignore[no-untyped-call]
            # At once: until events are handled there would be two of them.
            ring.setParent(None)
            ring.deleteLater()
        if now is not None and _is_ours(now):
            self._ring = FocusRing(now)


def show_focus() -> None:
    """Show from now on which widget of ours has the keyboard."""
    application = QApplication.instance()
    if isinstance(application, QApplication) and not application.findChildren(
        FocusFollower, options=Qt.FindChildOption.FindDirectChildrenOnly
    ):
        FocusFollower(application)


def _is_ours(widget: QWidget | None) -> bool:
    """Say whether a widget lies in one that this package made."""
    while widget is not None:
        if type(widget).__module__.startswith("napari_omezarr."):
            return True
        widget = widget.parentWidget()
    return False


def plain_label(parent: QWidget) -> QLabel:
    """Make a label for text that somebody else wrote; it may be copied by mouse."""
    label = QLabel(parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    # A name may be one long word, which must not make the dock wide.
    label.setMinimumWidth(1)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def show_text(label: QLabel, text: str) -> None:
    """Show a text; no text takes no room."""
    label.setText(text)
    label.setVisible(bool(text))
