"""Addresses on the clipboard of a drag: as napari takes them, and as people do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QMimeData, QUrl

from napari_omezarr.user_files import without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_omezarr.location import Location

OURS = "|auto:"
"""At the end of an address, says that it is a Zarr of whatever version. No other
reader claims such names, so that napari does not ask which one is to open it."""


def mime_of(places: Iterable[Location]) -> QMimeData:
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
    return QUrl(f"{place}{OURS}")
