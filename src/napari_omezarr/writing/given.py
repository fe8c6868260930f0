"""What stands for images that are there: zarr groups and stores, readings, viewers."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_omezarr.errors import ImageChoiceError, NodeNotFoundError, OptionError
from napari_omezarr.metadata import Plate, Well
from napari_omezarr.reading import read_current
from napari_omezarr.store import is_zarr, location_of, store_and_path

from .source import read_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.pyramid import Pyramid


def is_closed(given: Any) -> bool:
    """Whether something is to be opened before it has layers or pixels."""
    if isinstance(given, zarr.Array | zarr.AsyncArray | np.ndarray | np.generic):
        return False
    in_memory = isinstance(given, memoryview) or hasattr(given, "__array_interface__")
    return is_zarr(given) or in_memory


def opened(given: Any) -> Any:
    """Give what a zarr group or store holds; everything else as it is.

    That is a `Reading` where it is OME-Zarr, else its array, or its arrays as levels.
    Only documents are read.

    Raises
    ------
    OptionError
        It is a plate or a well, or holds several arrays that are no levels.
    OMEZarrError
        It could not be read, or nothing is there that could be saved.
    """
    if not is_closed(given):
        return given
    if not is_zarr(given):
        return np.asarray(given)  # an image of Pillow, a memoryview
    try:
        reading = read_current(given)
    except ImageChoiceError:
        raise
    except NodeNotFoundError as error:
        arrays = _arrays(given)
        if not arrays:
            place = location_of(given).display
            raise OptionError(
                f"{place} holds no image and no array.",
                action="Give a group that does.",
                url=place,
            ) from error
        return arrays[0] if len(arrays) == 1 else arrays
    if isinstance(reading.kind, Plate | Well):
        what = type(reading.kind).__name__.lower()
        raise OptionError(
            f"{reading.location.display} is a {what}, and not one image.",
            action="Open it, and save its mosaic or its fields.",
            url=reading.location.display,
        )
    if reading.kind is None:  # a store that is one array
        store, path = store_and_path(given)
        with read_from(given):
            return zarr.open_array(store, path=path, mode="r")
    return reading


def _arrays(given: Any) -> list[Any]:
    """Give the arrays that lie directly in a group, the largest first."""
    store, path = store_and_path(given)
    with read_from(given):
        try:
            group = zarr.open_group(store, path=path, mode="r")
        except FileNotFoundError:  # there is nothing at all
            return []
        found = dict(group.arrays())
    arrays = sorted(found.values(), key=lambda array: -math.prod(array.shape))
    alike = len({array.dtype for array in arrays}) <= 1
    if not alike or not all(is_coarser(*pair) for pair in itertools.pairwise(arrays)):
        names = ", ".join(sorted(found)[:8])
        raise OptionError(
            f"This zarr group holds {len(found)} arrays that are no levels of one "
            f"image: {names}.",
            action="Give one of them.",
        )
    return arrays


def is_coarser(finer: Any, coarser: Any) -> bool:
    """Whether an array can be the next level below another one."""
    pairs = zip(finer.shape, coarser.shape, strict=False)
    return (
        len(finer.shape) == len(coarser.shape)
        and all(small <= large for large, small in pairs)
        and math.prod(coarser.shape) < math.prod(finer.shape)
    )


def the_image(pyramids: Sequence[Pyramid]) -> Pyramid:
    """Give the one image, or else the one label image, of what was opened.

    Raises
    ------
    OptionError
        There are several.
    """
    images = [each for each in pyramids if each.label is None] or list(pyramids)
    if len(images) != 1:
        names = ", ".join(each.name for each in images[:8])
        raise OptionError(
            f"These are {len(images)} images, and one is needed: {names}.",
            action="Give one of them, or use write_layers for all.",
        )
    return images[0]


def the_labels(pyramids: Sequence[Pyramid]) -> Pyramid:
    """Give the one label image of what was opened, or else its image.

    Raises
    ------
    OptionError
        There are several.
    """
    labels = [each for each in pyramids if each.label is not None]
    return the_image(labels or pyramids)
