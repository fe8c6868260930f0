"""What ``napari.yaml`` names; each opens a door and does nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari.viewer


def get_reader(path: str | Sequence[str]) -> Callable[..., list[Any]] | None:
    """Give the reader of an address, by its name alone."""
    from .reader import reader_for

    return reader_for(path)


def write_layers(path: str, layers: list[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """Save layers."""
    from .writer import write

    return write(path, layers)


def open_dialog(viewer: napari.viewer.Viewer) -> None:
    """Show the dialog that opens any address."""
    from .widgets.open_dialog import show_open_dialog

    show_open_dialog(viewer)


def update_looks(viewer: napari.viewer.Viewer) -> None:
    """Write how layers look into the images they were opened from."""
    from .widgets.edits import update_looks

    update_looks(viewer)


def write_back(viewer: napari.viewer.Viewer) -> None:
    """Write the edited pixels of a region into its image."""
    from .widgets.edits import write_back

    write_back(viewer)


def prefer_reader() -> None:
    """Make this plugin the preferred reader."""
    from .widgets.preference import prefer

    prefer()


def stop_preferring_reader() -> None:
    """Take that back."""
    from .widgets.preference import stop_preferring

    stop_preferring()


def clear_disk_cache() -> None:
    """Delete what the disk cache holds."""
    from .widgets.disk_cache import clear

    clear()


def sample_cells() -> list[tuple[Any, dict[str, Any], str]]:
    """Compute the sample image."""
    from .sample_layers import cells_layers

    return cells_layers()
