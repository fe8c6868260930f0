"""The line that says where one is, and takes one elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QStringListModel, Qt, Signal
from qtpy.QtWidgets import QCompleter

from napari_omezarr.location import Location, parse_many
from napari_omezarr.widgets.address_line import AddressLine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qtpy.QtWidgets import QWidget


class AddressBar(AddressLine):
    """Takes anything a person pastes; completes from what is known.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    wanted = Signal()
    """Enter, or a completion was taken."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._known: dict[str, Location] = {}
        self._here: Location | None = None
        self._words = QStringListModel(self)
        completer = QCompleter(self._words, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.setCompleter(completer)
        self.setAccessibleName("Address")
        self.setToolTip("Where this is; paste any address and press Enter")
        self.returnPressed.connect(self.wanted)

    def complete_from(self, known: Mapping[str, Location]) -> None:
        """Complete from these places, by what people see of their addresses."""
        self._known = dict(known)
        self._words.setStringList(list(self._known))

    def show_place(self, place: Location | None) -> None:
        """Say where one is; how to sign in there is kept, and not shown."""
        self._here = place
        self.set_address(place.display if place else "")
        self.setCursorPosition(0)

    def places(self, parse: Callable[[str], Location]) -> tuple[Location, ...]:
        """Give the places that the line names.

        Parameters
        ----------
        parse : callable
            Makes a place of one address, as one of the connection that is chosen.

        Raises
        ------
        LocationError
            It names none that could be opened.
        """
        text = self.address_text()
        if self._here is not None and text == self._here.display:
            return (self._here,)
        if text in self._known:
            return (self._known[text],)
        if "\n" in text:
            return parse_many(text)
        return (parse(text),) if text else ()
