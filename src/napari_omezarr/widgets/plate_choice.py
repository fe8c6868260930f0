"""What of a plate is opened: wells, fields, an acquisition, in one row of a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIELDS = {
    "All fields": None,
    "On a grid": "grid",
    "One at a time": "each",
    "The first": 0,
}


class PlateChoice(QWidget):
    """Wells, fields and acquisition; all empty, a plate is opened as it is."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.wells = QLineEdit(self)
        self.wells.setPlaceholderText("Of a plate: wells, like B  or  3  or  B3 C4")
        self.fields = QComboBox(self)
        self.fields.addItems(list(_FIELDS))
        self.fields.setToolTip("Which fields of each well")
        self.acquisition = QLineEdit(self)
        self.acquisition.setPlaceholderText("Acquisition")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.wells, 3)
        layout.addWidget(self.fields, 1)
        layout.addWidget(self.acquisition, 1)

    def options(self) -> dict[str, Any]:
        """Give what was chosen, as options of reading."""
        acquisition: int | str | None = self.acquisition.text().strip() or None
        if isinstance(acquisition, str) and acquisition.isdigit():
            acquisition = int(acquisition)
        return {
            **wells_named(self.wells.text().replace(",", " ").split()),
            "fields": _FIELDS[self.fields.currentText()],
            "acquisition": acquisition,
        }


def wells_named(words: Sequence[str]) -> dict[str, tuple[str, ...] | None]:
    """Tell rows (letters), columns (digits) and wells (both) apart."""
    rows = tuple(word for word in words if word.isalpha())
    columns = tuple(word for word in words if word.isdigit())
    wells = tuple(word for word in words if word not in (*rows, *columns))
    return {"rows": rows or None, "columns": columns or None, "wells": wells or None}
