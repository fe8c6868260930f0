"""The tabs with texts: what a validator says, and the metadata as stored."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import QComboBox, QPlainTextEdit, QVBoxLayout, QWidget

from napari_omezarr.browsing import pretty, raw_documents, validate
from napari_omezarr.errors import NodeNotFoundError, StoreError
from napari_omezarr.store import open_store

from .detail_text import findings_text
from .pane import Pane

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_omezarr.browsing import Validation
    from napari_omezarr.location import Location


class ValidationPane(Pane):
    """Validates as soon as one looks here.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = _text("Findings of the validator", self)
        _stack(self, self.message, self.text)
        self.empty()

    def empty(self) -> None:
        """Show no findings."""
        self.text.clear()

    def look(self) -> None:
        """Validate the place."""
        if self.location is not None:
            self.ask(partial(validate, self.location), "Validating …")

    def answer(self, result: Validation) -> None:
        """Show what was found."""
        self.text.setPlainText(findings_text(result))


class MetadataPane(Pane):
    """Shows the documents of a place as they are stored, one at a time.

    Parameters
    ----------
    parent : QWidget, optional
        Its owner.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._documents: Mapping[str, str] = {}
        self._is_file = False
        self.document = QComboBox(self)
        self.document.setAccessibleName("Document")
        self.document.setMinimumContentsLength(8)
        self.text = _text("Metadata as stored", self)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.document.currentTextChanged.connect(self._show)
        _stack(self, self.message, self.document, self.text)
        self.empty()

    def set_file(self, is_file: bool) -> None:
        """Say whether the place is one object, whose text is wanted then."""
        self._is_file = is_file

    def empty(self) -> None:
        """Show no document."""
        self._documents = {}
        self.document.clear()
        self.document.hide()
        self.text.clear()

    def look(self) -> None:
        """Read the documents."""
        if self.location is not None:
            function = _content if self._is_file else raw_documents
            self.ask(partial(function, self.location), "Reading …")

    def answer(self, result: Mapping[str, str]) -> None:
        """Offer the documents, and show the first."""
        self._documents = result
        self.document.addItems(list(result))
        self.document.setVisible(len(result) > 1)
        if not result:
            self.say("There is no metadata here.")

    def _show(self, key: str) -> None:
        self.text.setPlainText(self._documents.get(key, ""))


def _content(location: Location) -> Mapping[str, str]:
    """Read one object; blocks.

    Raises
    ------
    NodeNotFoundError
        It is gone.
    StoreError
        It could not be read.
    """
    body = open_store(location).fetch([""])[""]
    if isinstance(body, StoreError):
        raise body
    if body is None:
        sentence = f"There is no {location.display}."
        raise NodeNotFoundError(sentence, url=location.display)
    return {location.name: pretty(body)}


def _text(name: str, parent: QWidget) -> QPlainTextEdit:
    text = QPlainTextEdit(parent)
    text.setReadOnly(True)
    # Tab goes on to the next widget.
    text.setTabChangesFocus(True)
    text.setAccessibleName(name)
    return text


def _stack(pane: QWidget, *widgets: QWidget) -> None:
    layout = QVBoxLayout(pane)
    layout.setContentsMargins(2, 2, 2, 2)
    for widget in widgets:
        layout.addWidget(widget)
