"""A region in one call, for scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import OptionError

from .loading import load
from .placed import as_placed, crop_affine, layer_options
from .plan import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from napari_omezarr.metadata import Affine
    from napari_omezarr.pyramid import Pyramid

    from .box import Region


@dataclass(frozen=True, slots=True)
class Crop:
    """A region that was read.

    Attributes
    ----------
    data : numpy.ndarray
        In memory, with all axes of the image it was read from.
    region : Region
        Which pixels of which level.
    affine : Affine
        From an index of `data` to the world.
    """

    data: np.ndarray
    region: Region
    affine: Affine

    @property
    def placement(self) -> dict[str, Any]:
        """Options of a napari layer that lies on the image: scale and translate.

        Where those cannot say it (rotation, shear), there is an affine too.
        """
        return layer_options(self.affine)


def load_region(
    image: Pyramid | Any,
    box: Sequence[tuple[float, float] | None],
    level: int = 0,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Crop:
    """Read a box of an image at one level into memory; blocks.

    Parameters
    ----------
    image : Pyramid or napari.layers.Layer
        An image of ``read``, or an Image or Labels layer of any reader.
    box : sequence of (float, float) or None
        Low and high along each axis of the world, in its unit; None is the whole
        axis. Axes are matched from the last one back, so three ranges are z, y and
        x, and the axes before them are read whole.
    level : int, optional
        0 is the finest.
    progress : callable, optional
        Called with the bytes read and all bytes, in another thread.

    Returns
    -------
    Crop
        All pixels that the box touches, and where they lie: exactly on the image.

    Raises
    ------
    OptionError
        There is no such level, or the box lies outside of the image.
    StoreError
        A chunk could not be had.
    MemoryError
        There is no room for it.

    Examples
    --------
    >>> crop = load_region(
    ...     pyramid, [(10, 42), (120, 380.5), (90, 260)], level=1
    ... )  # doctest: +SKIP
    >>> viewer.add_image(crop.data, **crop.placement)  # doctest: +SKIP
    """
    placed = as_placed(image)
    if not 0 <= level < len(placed.levels):
        msg = f"There is no level {level}; the image has {len(placed.levels)}."
        raise OptionError(msg)
    region = placed.region(level, placed.box(box))
    (data,) = load([Part(placed.levels[level], region.bounds)], progress)
    return Crop(data, region, crop_affine(placed.affines[level], region.bounds))
