"""The other docks of this plugin, brought up from the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_omezarr.browsing import Kind

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_omezarr.browsing import Entry
    from napari_omezarr.location import Location

    from .navigation import Stop

PLUGIN = "napari-omezarr"
REGION = "OME-Zarr region"
SAVE = "Save as OME-Zarr…"


_IMAGES = (Kind.IMAGE, Kind.LEVELS, Kind.PLATE, Kind.SERIES, Kind.SCENE)


def folder_for(entry: Entry | None, shown: Stop) -> Location | None:
    """Say into which folder "here" is: the row's, or that of the place.

    Parameters
    ----------
    entry : Entry or None
        The row that is chosen; beside an image is here, too.
    shown : tuple of Location
        The place, or places, that are shown.
    """
    if entry is not None and entry.is_listed and not entry.looks_like_store:
        return entry.location
    if entry is not None and (entry.kind in _IMAGES or entry.looks_like_store):
        return entry.location.parent
    return shown[0] if len(shown) == 1 else None


def show_region(viewer: ViewerModel | None) -> None:
    """Bring up the dock that cuts a region out of the layer that is chosen."""
    _show(viewer, REGION)


def save_into(viewer: ViewerModel | None, place: Location) -> None:
    """Bring up the dock that saves, with a target in a folder.

    Parameters
    ----------
    viewer : ViewerModel or None
        Whose layers are saved; one without a window has no docks.
    place : Location
        The folder.
    """
    dock = _show(viewer, SAVE)
    if dock is not None:
        dock.view.target.take_place(place)


def _show(viewer: ViewerModel | None, name: str) -> Any:
    window = getattr(viewer, "window", None)
    return window.add_plugin_dock_widget(PLUGIN, name)[1] if window else None
