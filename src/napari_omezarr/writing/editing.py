"""Change images that are there: add labels, update how they look, patch pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import OptionError
from napari_omezarr.location import Location

from .api import make_executor, split_choices
from .described import describe
from .edit import Edit
from .engine import Running
from .existing import open_existing
from .guard import not_in_use
from .labelling import save_labels
from .opening import open_hierarchy, parsed
from .patching import patch_image
from .rendering import folder_name
from .updating import update_image

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence
    from threading import Event

    import numpy as np
    from zarr.abc.store import Store

    from .engine import Progress
    from .existing import ExistingImage
    from .options import Method
    from .patching import Patched
    from .picture import Picture
    from .saving import Saved
    from .target import Hierarchy

    Address = str | os.PathLike[str] | Location | Store

_HEIGHT = 5
"""How far up consolidated metadata are looked for: plate, row, well, image, labels."""


def add_labels(  # noqa: PLR0913 - one verb, all its choices by name
    layer: Any,
    address: Address,
    *,
    name: str | None = None,
    client: Any | None = None,
    in_use: Iterable[str] = (),
    progress: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
    **choices: Any,
) -> Saved:
    """Save labels into an image that is there; blocks until it lists them.

    Parameters
    ----------
    layer : napari layer or layer data tuple
        Labels on the image's grid, with its axes or without some (channels).
    address : str, path, Location or zarr store
        The image's group.
    name : str or None, optional
        Of the label image; None: as the layer is called.
    client, in_use, progress, cancel, **choices
        As for `write_layers`; the version is the image's, and ``existing`` is about
        labels of the same name.

    Raises
    ------
    OMEZarrError
        See `labelling.save_labels`.
    """
    options, conduct = split_choices(choices)
    place = parsed(address)
    hierarchy = open_hierarchy(place)
    picture = describe(layer)
    if conduct.existing != "beside":
        folder = folder_name(name or picture.name, ())
        read = [*picture.source.places, *in_use]
        not_in_use(f"{hierarchy.address}/labels/{folder}", read, inside=True)
    executor = make_executor(client, options, conduct)
    try:
        return save_labels(
            picture,
            hierarchy,
            options,
            conduct,
            executor,
            Running(progress, cancel, conduct.verify),
            name=name,
            above=_above(place),
        )
    finally:
        executor.close()


def update_rendering(
    layers: Iterable[Any], address: Address | None = None
) -> tuple[str, ...]:
    """Write how layers look into the images they were opened from; pixels stay.

    Names, colours, contrast, visibility, label colours and features, and what
    napari knows beyond; all else in the metadata stays as it is.

    Parameters
    ----------
    layers : iterable
        Napari layers or layer data tuples, opened from OME-Zarr.
    address : str, path, Location or zarr store, optional
        The image that all of them belong to, instead of where they came from.

    Returns
    -------
    tuple of str
        The names of the layers whose metadata were written.

    Raises
    ------
    OptionError
        A layer does not come from an OME-Zarr.
    OMEZarrError
        See `updating.update_image`.
    """
    groups: dict[str, list[Picture]] = {}
    for layer in layers:
        picture = describe(layer)
        home = picture.origin.address if picture.origin else ""
        if not home and address is None:
            raise OptionError(
                f"{picture.name} was not opened from an OME-Zarr.",
                action="Save it as a new image.",
            )
        groups.setdefault("" if address else home, []).append(picture)
    written: list[str] = []
    for home, pictures in groups.items():
        place = parsed(home if address is None else address)
        written += update_image(pictures, open_hierarchy(place), _above(place))
    return tuple(written)


def patch(
    address: Address,
    start: Sequence[int],
    values: np.ndarray,
    *,
    original: np.ndarray | None = None,
    method: Method | None = None,
) -> Patched:
    """Write an edited region into an image, and into its coarser levels.

    Parameters
    ----------
    address : str, path, Location or zarr store
        The group of the image, or of a label image.
    start : sequence of int
        Where the region begins in the finest level, for all its axes.
    values : numpy.ndarray
        The edited pixels, of as many axes.
    original : numpy.ndarray or None, optional
        The pixels before they were edited. With them only what was edited is
        written, and not where somebody else has changed the same meanwhile.
    method : {"mean", "nearest", "max", "mode"} or None, optional
        How coarser pixels are made; None: as the image says of itself, else
        nearest for labels and mean for images.

    Raises
    ------
    OMEZarrError
        See `patching.patch_image` and `existing.open_existing`.
    """
    image = open_existing(open_hierarchy(parsed(address)))
    edit = Edit(tuple(int(first) for first in start), values, original)
    return patch_image(image, edit, method or _method(image))


def _method(image: ExistingImage) -> Method:
    is_label = image.multiscale.label is not None
    allowed: tuple[Method, ...] = (
        ("nearest", "mode") if is_label else ("mean", "nearest", "max")
    )
    return next((method for method in allowed if method == image.method), allowed[0])


def _above(place: Location | Store) -> list[tuple[Hierarchy, str]]:
    """Give the groups above an image, with the way from there to the image."""
    found: list[tuple[Hierarchy, str]] = []
    if not isinstance(place, Location):
        return found
    path = ""
    for _ in range(_HEIGHT):
        if not place.path or place.parent == place:
            break
        path = f"{place.name}/{path}" if path else place.name
        place = place.parent
        found.append((open_hierarchy(place), path))
    return found
