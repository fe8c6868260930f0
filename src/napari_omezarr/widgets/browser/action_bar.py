"""The buttons for the row that is chosen: Open, Copy, More."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtGui import QAction
from qtpy.QtWidgets import QHBoxLayout, QMenu, QPushButton, QWidget

if TYPE_CHECKING:
    from .row_actions import RowActions


class ActionBar(QWidget):
    """One line of buttons, each with its menu.

    Parameters
    ----------
    actions : RowActions
        What they do.
    parent : QWidget
        Its owner.

    Attributes
    ----------
    more_menu : QMenu
        What has no button of its own; others add to it.
    """

    def __init__(self, actions: RowActions, parent: QWidget) -> None:
        super().__init__(parent)
        self._open = actions.open
        self.more_menu = QMenu("More", self)
        self.show_files = QAction("Show files", self)
        self.show_files.setCheckable(True)
        self.show_files.setToolTip("Every object as it is stored, also in images")
        self.bookmark = QAction("Bookmark this place", self)
        self.bookmark.setToolTip("Keep it with the connection that is chosen")
        self.more_menu.addActions([self.show_files, self.bookmark])
        self.open_button = QPushButton("Open", self)
        self.open_button.setAccessibleName("Open the row as layers")
        self.open_button.clicked.connect(actions.open.trigger)
        actions.open.changed.connect(self._follow)
        self._follow()
        self.save_button = QPushButton("Save here…", self)
        self.save_button.setToolTip("Save layers into this place")
        ways = _button(actions.open_menu, self)
        ways.setText("▾")
        ways.setAccessibleName("More ways to open")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.open_button)
        layout.addWidget(ways)
        layout.addWidget(self.save_button)
        layout.addWidget(_button(actions.copy_menu, self))
        layout.addWidget(_button(self.more_menu, self))
        layout.addStretch()

    def _follow(self) -> None:
        self.open_button.setEnabled(self._open.isEnabled())


def _button(menu: QMenu, parent: QWidget) -> QPushButton:
    button = QPushButton(f"{menu.title()} ▾", parent)
    button.setMenu(menu)
    # napari's style draws a second arrow, over the text.
    button.setStyleSheet("QPushButton::menu-indicator { image: none; width: 0; }")
    button.setAccessibleName(menu.title())
    return button
