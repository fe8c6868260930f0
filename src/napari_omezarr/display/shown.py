"""One layer's display: from napari's slice requests to looks at a view, and back."""

from __future__ import annotations

import dataclasses
import weakref
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from .look import Look
from .marking import image_mark, label_mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from .view import View

REQUEST_FIELDS = frozenset(
    {
        "slice_input",
        "data_slice",
        "data_at_data_level",
        "data_at_thumbnail_level",
        "data_level",
        "thumbnail_level",
        "corner_pixels",
        "multiscale",
    }
)
"""What is read from, or replaced in, the slice requests of napari's layers."""


class Shown:
    """The display of one layer; holds the layer weakly, and knows no Qt.

    Parameters
    ----------
    layer : napari.layers.Layer
        The layer; only what is public of it is used here.
    arrays : list of array
        The layer's data; requests for any others are not answered.
    view : View
        What it looks at.
    label : bool
        It shows labels.

    Attributes
    ----------
    dirty : bool
        Another look would show more than the last one.
    risen : bool
        A finer volume may be complete, which ``steer`` would show.
    look_again : callable
        Called after a look in 3-D, or the first one after, with this object; it is
        to call ``steer`` soon, though not at once.
    """

    look_again: Callable[[Shown], None]

    def __init__(
        self, layer: Any, arrays: list[Any], view: View, *, label: bool
    ) -> None:
        self._layer = weakref.ref(layer)
        self._arrays = arrays
        self.view = view
        self.label = label
        self._lock: int | None = None
        self._flat = True
        self.dirty = False
        self.risen = False

    @property
    def layer(self) -> Any:
        """The layer, None when it is gone."""
        return self._layer()

    def answered(self, request: Any) -> Any:
        """Give napari's slice request with levels in it that answer at once."""
        layer = self.layer
        level = request.data_level
        if layer is None or request.data_at_data_level is not self._arrays[level]:
            return request
        self.dirty = False
        request = self._affordable(layer, request)
        look = self._look(layer, request)
        picture, thumbnail = self.view.look(look)
        self._flat = len(look.displayed) == 2
        if look.climbs or self._lock is not None:
            self.look_again(self)
        return dataclasses.replace(
            request, data_at_data_level=picture, data_at_thumbnail_level=thumbnail
        )

    def steer(self) -> None:
        """Show a volume as fine as it is there, or free the level, back in 2-D."""
        if self.layer is None:
            return
        self.view.climb.begin()
        level = self.view.climb.ready()
        if level is not None:
            self._lock_at(level)
        elif self._flat:
            self._lock_at(None)

    def free(self) -> None:
        """Want nothing any more, and leave the choice of the level to napari."""
        self.view.release()
        if self.layer is not None:
            self._lock_at(None)

    def _lock_at(self, level: int | None) -> None:
        before, self._lock = self._lock, level
        # Another level than ours was chosen by the person, who keeps it.
        if before != level and self._locked() == before:
            self.layer.locked_data_level = level

    def _locked(self) -> int | None:
        locked: int | None = self.layer.locked_data_level
        return locked

    def _affordable(self, layer: Any, request: Any) -> Any:
        """Replace a level that somebody locked in 2-D if its plane is too large."""
        displayed = tuple(request.slice_input.displayed)
        if len(displayed) == 3 or layer.locked_data_level is None:
            return request
        level = self.view.affordable(request.data_level, displayed)
        if level == request.data_level:
            return request
        corners = np.zeros_like(request.corner_pixels)
        for axis in displayed:
            corners[1, axis] = self.view.grids[level].shape[axis] - 1
        return dataclasses.replace(request, data_level=level, corner_pixels=corners)

    def _look(self, layer: Any, request: Any) -> Look:
        displayed = tuple(request.slice_input.displayed)
        point = tuple(None if isnan(p) else float(p) for p in request.data_slice.point)
        grid = self.view.grids[request.data_level]
        centre = [size / 2 for size in grid.shape]
        if len(displayed) == 2:
            for axis in displayed:
                centre[axis] = float(request.corner_pixels[:, axis].mean()) + 0.5
        volume = request.multiscale and len(displayed) == 3
        if self.label:
            mark = label_mark(layer.colormap, grid.dtype)
        else:
            mark = image_mark(grid.dtype, None if layer.rgb else layer.contrast_limits)
        return Look(
            level=request.data_level,
            thumbnail=request.thumbnail_level,
            displayed=displayed,
            point=point,
            centre=tuple(centre),
            mark=mark,
            climbs=volume and layer.locked_data_level in (None, self._lock),
        )
