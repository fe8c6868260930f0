"""The writer that napari and npe2 call: in the background of a window, else at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .claims import target_of
from .errors import (
    LocationError,
    LossError,
    NotSavedError,
    OptionError,
    TargetInUseError,
    UnsupportedDataError,
)
from .recents import without_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .location import Location

_CHOOSE = (
    "Select only the layers that it takes, or agree to that in File > IO Utilities > "
    "Save as OME-Zarr…"
)


def write(path: str, layers: Sequence[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """Save layers for napari.

    Parameters
    ----------
    path : str
        Where, as napari hands it over.
    layers : sequence of (data, options, type)
        Layer data, bottom layer first.

    Returns
    -------
    list of str
        The place, without secrets: napari keeps it in its history. Where a window
        is in use it is saved in the background and may not be there yet; empty if
        the person cancelled before that.

    Raises
    ------
    OMEZarrError
        It cannot be saved like this: none that is a ``ValueError``, which napari
        would swallow. In the background, what fails after the plan is told by a
        notification instead.
    """
    try:
        place = target_of(path)
        begun = _save(layers, place)
    except (LocationError, OptionError, UnsupportedDataError, TargetInUseError) as e:
        action = _CHOOSE if isinstance(e, LossError) else e.action
        raise NotSavedError(e.sentence, action=action, url=e.url) from e
    return [_plain(place)] if begun else []


def _save(layers: Sequence[Any], place: Location) -> bool:
    """Save, or begin to; False if the person cancelled before it began."""
    if not _viewer_is_there():
        from .writing import write_layers

        write_layers(layers, place)
        return True
    from .widgets.background import save_for_viewer

    return save_for_viewer(layers, place)


def _plain(place: Location) -> str:
    if place.protocol == "file":
        return str(place.local_path())
    return without_secrets(place)


def _viewer_is_there() -> bool:
    """Say whether we were called in the GUI thread of a napari with a window."""
    if not {"napari", "qtpy.QtWidgets"} <= sys.modules.keys():
        return False
    from .widgets.session import in_gui_of_viewer

    return in_gui_of_viewer()
