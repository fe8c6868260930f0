"""What ``napari.yaml`` names: the reader, the writer, commands, the sample image.

napari imports this module to ask whether a name is ours, so nothing slow is imported
before a door is really opened.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .claims import is_claimed, place_of, target_of
from .errors import (
    LocationError,
    LossError,
    NodeNotFoundError,
    NotSavedError,
    OptionError,
    TargetInUseError,
    UnsupportedDataError,
)
from .location import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from tempfile import TemporaryDirectory

    import napari.viewer

    from .errors import OMEZarrError
    from .location import Location

_CHOOSE = (
    "Select only the layers that it takes, or agree to that in File > IO Utilities > "
    "OME-Zarr > Save as OME-Zarr…"
)
_SAMPLE_SHAPE = (16, 384, 384)
"""z, y, x: large enough for three levels, small enough to be there at once."""


def get_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[Any]] | None:
    """Return the function that opens an address, or several; None if it is not ours."""
    return read if all(map(is_claimed, _addresses(path))) else None


def read(path: str | Sequence[str]) -> list[Any]:
    """Open an address for napari, or several together (``stack=True``).

    Where a viewer runs these are layers, ready to be added: only so can a reader set
    the ends of the contrast slider and hook in the display. Elsewhere it is layer
    data, as ``npe2.read`` promises.
    """
    if _in_gui_of_viewer():
        from .widgets.qt_async import wait_for_import

        if not wait_for_import("napari_omezarr.widgets.sessions"):
            return [(None,)]  # napari's sign for "nothing, and ask no other reader"
        from .widgets.open_dialog import offer_images
        from .widgets.sessions import open_addresses

        return open_addresses(_addresses(path), offer_images)
    from .layers import read_layers

    places = [place_of(address) for address in _addresses(path)]
    return [layer for place in places for layer in read_layers(place)]


def _addresses(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else list(path)


def write_layers(
    path: str, layers: Sequence[tuple[Any, dict[str, Any], str]]
) -> list[str]:
    """Save layer data for napari, bottom layer first; return the place, if any.

    It is without secrets, for napari keeps it in its history. Where a window is in
    use it is saved in the background and may not be there yet; then a notification
    tells what fails after the plan. No error is a ``ValueError``, which napari would
    swallow.
    """
    try:
        return _saved(layers, target_of(path))
    except (LocationError, OptionError, UnsupportedDataError, TargetInUseError) as e:
        raise _no_value_error(e) from e


def _saved(layers: Sequence[Any], place: Location) -> list[str]:
    """Save, or begin to; empty if the person cancelled before it began."""
    if _in_gui_of_viewer():
        from .widgets.qt_async import wait_for_import

        if not wait_for_import("napari_omezarr.widgets.background_save"):
            return []
        from .widgets.background_save import save_for_viewer

        if not save_for_viewer(layers, place):
            return []
    else:
        from .writing import add_tables, go_beside, write_layers

        is_added = False
        if go_beside(layers):
            # Where no image is that they could lie beside, they are what is refused.
            with suppress(NodeNotFoundError):
                add_tables(layers, place)
                is_added = True
        if not is_added:
            write_layers(layers, place)
    is_local = place.protocol == "file"
    return [str(place.local_path()) if is_local else without_secrets(place)]


def _no_value_error(error: OMEZarrError) -> NotSavedError:
    """Say the same as an error that napari does not swallow."""
    action = _CHOOSE if isinstance(error, LossError) else error.action
    return NotSavedError(error.sentence, action=action, url=error.url)


def open_dialog(viewer: napari.viewer.Viewer) -> None:
    """Show the dialog that opens any address."""
    from .widgets.open_dialog import show_open_dialog

    show_open_dialog(viewer)


def sign_in(
    refused: Sequence[Location],
    parent: Any,
    go_on: Callable[[Sequence[Location]], object],
) -> None:
    """Bring up a sign-in for places that were refused; then go on with them."""
    from .widgets.qt_async import wait_for_import

    if wait_for_import("napari_omezarr.widgets.browser.connection_editor"):
        from .widgets.browser.connection_editor import sign_in

        sign_in(refused, parent, go_on)


def update_rendering(viewer: napari.viewer.Viewer) -> None:
    """Write how layers look into the images that they were opened from."""
    from .widgets.edit_back import update_rendering

    update_rendering(viewer)


def write_back(viewer: napari.viewer.Viewer) -> None:
    """Write the edited pixels of a region into its image."""
    from .widgets.edit_back import write_back

    write_back(viewer)


def undo_write_back() -> None:
    """Take back what was last written of an edited region."""
    from .widgets.edit_back import undo_last

    undo_last()


def choose_coordinate_system(viewer: napari.viewer.Viewer) -> None:
    """Show the image of the selected layer in another of its coordinate systems."""
    from .widgets.show_again import choose_coordinate_system

    choose_coordinate_system(viewer)


def show_differently(viewer: napari.viewer.Viewer) -> None:
    """Show the image of the selected layer at another level, with other channels."""
    from .widgets.show_again import show_differently

    show_differently(viewer)


def open_again(
    viewer: napari.viewer.Viewer,
    about: str = "",
    by_itself: bool = False,
    channels: Sequence[str] = (),
) -> bool:
    """Open images anew: of the selected layers, or what an error is about.

    Where that is only that it has channels of which there are no layers yet, by itself
    these are added.
    """
    from .widgets.plate_channels import show_channels
    from .widgets.show_again import open_again

    added = by_itself and show_channels(viewer, about, channels)
    return added or bool(open_again(viewer, about, by_itself=by_itself))


def copy_view(viewer: napari.viewer.Viewer) -> None:
    """Copy what is shown, and how, as one address."""
    from .widgets.sessions import copy_view

    copy_view(viewer)


def save_session(viewer: napari.viewer.Viewer) -> None:
    """Keep what is shown, and how, in a small file."""
    from .widgets.sessions import save_session

    save_session(viewer)


def open_session(viewer: napari.viewer.Viewer) -> None:
    """Show what a small file holds."""
    from .widgets.qt_async import wait_for_import

    if wait_for_import("napari_omezarr.widgets.sessions"):
        from .widgets.sessions import load_session

        load_session(viewer)


def retry() -> None:
    """Ask again for the chunks that could not be had."""
    from .display import shared_engine

    shared_engine().fetcher.retry()


def toggle_preferred_reader() -> None:
    """Make this plugin the preferred reader, or no longer."""
    from .widgets.preferences import toggle_preferred

    toggle_preferred()


def clear_disk_cache() -> None:
    """Delete what the disk cache holds."""
    from .widgets.preferences import clear

    clear()


def sample_cells() -> list[tuple[Any, dict[str, Any], str]]:
    """Compute an epithelium: nuclei, membranes and labels."""
    from .layers import read_layers

    return read_layers(Path(_sample_folder().name) / "epithelium.ome.zarr")


@cache
def _sample_folder() -> TemporaryDirectory[str]:
    """Write the sample once; the folder goes when Python ends."""
    from .samples import write_cells

    folder = tempfile.TemporaryDirectory(prefix="napari-omezarr-")
    place = Path(folder.name) / "epithelium.ome.zarr"
    write_cells(place, shape=_SAMPLE_SHAPE)
    return folder


def _in_gui_of_viewer() -> bool:
    """Say whether we were called in the GUI thread of a napari with a window."""
    # Importing either to find out would cost seconds in a program without them.
    if not {"napari", "qtpy.QtWidgets"} <= sys.modules.keys():
        return False
    from .widgets.qt_async import in_gui_of_viewer

    return in_gui_of_viewer()
