"""The reader that napari and npe2 call: layers in a viewer, layer data elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .claims import is_claimed, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def reader_for(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[Any]] | None:
    """Give the function that opens an address, or several; None if it is not ours."""
    return read if all(map(is_claimed, _addresses(path))) else None


def read(path: str | Sequence[str]) -> list[Any]:
    """Open addresses for napari.

    Parameters
    ----------
    path : str or sequence of str
        One address, or several that are opened together (``stack=True``).

    Returns
    -------
    list
        Layers where a viewer runs, ready to be added: only so can a reader set
        the ends of the contrast slider and hook in the display. Layer data
        elsewhere, as ``npe2.read`` promises.

    Raises
    ------
    OMEZarrError
        It could not be opened; the error says why, and what to do.
    """
    if _viewer_runs():
        from .widgets.loading import core_is_loaded

        if not core_is_loaded():
            return [(None,)]  # napari's sign for "nothing, and ask no other reader"
        from .widgets.opening import open_for_viewer

        return open_for_viewer(_addresses(path))
    from .layers import read_layers

    places = [place_of(address) for address in _addresses(path)]
    return [layer for place in places for layer in read_layers(place)]


def _addresses(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else list(path)


def _viewer_runs() -> bool:
    """Say whether we were called in the GUI thread of a napari with a window."""
    # Importing either to find out would cost seconds in a program without them.
    if not {"napari", "qtpy.QtWidgets"} <= sys.modules.keys():
        return False
    from .widgets.session import in_gui_of_viewer

    return in_gui_of_viewer()
