"""What else can be done with a row: tables, copies, web viewers, a closer look."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QAction

from napari_omezarr.browsing import Kind
from napari_omezarr.connections import locate
from napari_omezarr.errors import OptionError
from napari_omezarr.location import Location

from .copy_form import CopyForm
from .docks import folder_for
from .share_actions import ShareActions
from .table_form import TableForm

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from qtpy.QtWidgets import QMenu, QWidget

    from napari_omezarr.browsing import Entry

    from .chooser import ConnectionChooser
    from .details import DetailsPanel
    from .navigation import Stop
    from .wish import Wish

_TABLES = (".tsv", ".csv", ".parquet", ".pq")


class RowTools(QObject):
    """The actions that have no button of their own.

    Parameters
    ----------
    viewer : ViewerModel or None
        Whose view is shared, and whose labels get tables.
    chooser : ConnectionChooser
        What is typed is an address of the connection that is chosen.
    details : DetailsPanel
        Where one looks closer.
    parent : QWidget
        Owns menus and forms.
    """

    failed = Signal(object)
    """An `OMEZarrError`."""

    def __init__(
        self,
        viewer: ViewerModel | None,
        chooser: ConnectionChooser,
        details: DetailsPanel,
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._chooser = chooser
        self._parent = parent
        self._entry: Entry | None = None
        self._here: Stop = ()
        self.share = ShareActions(viewer, parent)
        self.table = self._action("Labels table…", self._add_table)
        self.download = self._action("Download…", self._download)
        self.upload = self._action("Upload here…", self._upload)
        self.looks = [
            self._action(text, partial(details.turn_to, page))
            for text, page in (
                ("View a chunk, speed test", details.data),
                ("Validate", details.validation),
                ("Raw metadata", details.metadata),
            )
        ]

    def add_to(self, copy_menu: QMenu, more_menu: QMenu) -> None:
        """Put the actions into the menus of the row."""
        copy_menu.addActions([*self.share.copies, self.share.signed])
        more_menu.addMenu(self.share.menu)
        more_menu.addSeparator()
        more_menu.addActions([self.table, self.download, self.upload])
        more_menu.addSeparator()
        more_menu.addActions(self.looks)

    def set_row(self, entry: Entry | None, wish: Wish | None, here: Stop) -> None:
        """Offer what can be done with a row.

        Parameters
        ----------
        entry : Entry or None
            The row; None is none.
        wish : Wish or None
            What opening it means.
        here : tuple of Location
            The place, or places, that are shown.
        """
        self._entry, self._here = entry, here
        opens = entry is not None and (entry.is_openable or entry.looks_like_store)
        is_file = entry is not None and entry.kind is Kind.FILE
        shared = wish.location if wish is not None and (opens or is_file) else None
        self.share.set_location(shared, is_file=is_file)
        self.download.setEnabled(entry is not None and entry.kind is not Kind.BUCKET)
        self.upload.setEnabled(folder_for(entry, here) is not None)
        for action in self.looks:
            action.setEnabled(entry is not None)

    def parse(self, text: str) -> Location:
        """Parse what is typed, as an address of the connection that is chosen.

        Raises
        ------
        LocationError
            It is none.
        """
        connection = self._chooser.connection
        return locate(text, connection.profile) if connection else Location.parse(text)

    def _add_table(self) -> None:
        if self._viewer is None:
            sentence = "There is no viewer with labels."
            self.failed.emit(OptionError(sentence, action="Open labels first."))
            return
        entry = self._entry
        is_one = entry is not None and entry.name.lower().endswith(_TABLES)
        place = entry.location if entry is not None and is_one else None
        TableForm(self._viewer, self.parse, place=place, parent=self._parent).show()

    def _download(self) -> None:
        if self._entry is not None:
            source = self._entry.location
            CopyForm(self.parse, source=source, parent=self._parent).show()

    def _upload(self) -> None:
        folder = folder_for(self._entry, self._here)
        CopyForm(self.parse, folder=folder, parent=self._parent).show()

    def _action(self, text: str, slot: Callable[[], object]) -> QAction:
        action = QAction(text, self)
        action.triggered.connect(lambda: slot())
        return action
