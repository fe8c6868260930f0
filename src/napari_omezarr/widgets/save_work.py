"""What the save dock does in threads; the imports are there too, for they are heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import Event

    from napari_omezarr.location import Location
    from napari_omezarr.writing import Progress

    from .opening import Opened
    from .save_survey import Survey
    from .save_wish import Wish

    Tell = Callable[[Progress], None]

_OF_LABELS = (
    "label_codec", "label_level", "label_method", "verify", "accept_losses",
    "existing", "unfinished",
)  # fmt: skip


def look(wish: Wish) -> Survey:
    """Find out what would be written, and what is in its way."""
    from .save_survey import survey

    return survey(wish)


def remove(place: Location, wish: Wish) -> Survey:
    """Remove what a save that broke off has left, and look again."""
    from .save_survey import discard, survey

    discard(place, wish.options)
    return survey(wish)


def remove_labels(place: Location, wish: Wish) -> Survey:
    """Remove what adding labels has left where it broke off, and look again."""
    from .save_survey import discard_added, survey

    discard_added(place, wish)
    return survey(wish)


def save_new(
    wish: Wish, place: Location, conduct: Mapping[str, Any], tell: Tell, cancel: Event
) -> Location:
    """Save layers; give where they are, which is another place if that was asked."""
    from napari_omezarr.writing import write_layers

    saved = write_layers(
        wish.layers,
        place,
        in_use=wish.in_use,
        progress=tell,
        cancel=cancel,
        **{**wish.options, **conduct},
    )
    name = saved.address.replace("\\", "/").rpartition("/")[2]
    return place if name == place.name else place.parent / name


def save_into(
    wish: Wish, place: Location, conduct: Mapping[str, Any], tell: Tell, cancel: Event
) -> Location:
    """Add labels to the image at a place, one layer after the other."""
    from napari_omezarr.writing import add_labels

    chosen = {**wish.options, **conduct}
    options = {key: chosen[key] for key in _OF_LABELS if key in chosen}
    for layer in wish.layers:
        add_labels(
            layer, place, in_use=wish.in_use, progress=tell, cancel=cancel, **options
        )
    return place


def open_saved(place: Location) -> Opened:
    """Read what is needed to show what was saved."""
    from .opening import open_place

    return open_place(place)
