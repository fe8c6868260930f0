"""Where a layer lies, from the words of its layer data to one affine map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.metadata import Affine, Axis, known_unit
from napari_omezarr.metadata.axes import TIMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_ORDER = {"time": 0, "space": 2}


def layer_affine(options: Mapping[str, Any], ndim: int) -> Affine:
    """Compose the transforms of a layer into one map, N x (N+1).

    Parameters
    ----------
    options : Mapping
        Layer options: ``scale``, ``shear``, ``rotate``, ``translate``, applied in
        this order, and then ``affine``; each may be absent, or shorter than the
        layer, in which case it is about the last axes.
    ndim : int
        The number of the layer's axes, without that of RGB.
    """
    linear = (
        _embedded(_rotation(options.get("rotate")), ndim)
        @ _embedded(_shear(options.get("shear")), ndim)
        @ _embedded(_diagonal(options.get("scale")), ndim)
    )
    offset = np.zeros(ndim)
    translate = _numbers(options.get("translate"))
    offset[ndim - len(translate) :] = translate
    own = Affine.from_matrix(np.hstack([linear, offset[:, None]]))
    outer = _matrix(options.get("affine"), ndim)
    return own if outer is None else outer @ own


def named_axes(
    names: Sequence[str], units: Sequence[str | None], known: Mapping[str, Axis]
) -> tuple[Axis, ...]:
    """Make axes of the labels and units of a layer.

    Parameters
    ----------
    names : sequence of str
        Axis labels; napari's own placeholders (``-1``, ``-2``) become the last of
        t, c, z, y, x.
    units : sequence of str or None
        Of the same length; ``pixel`` and None are no unit.
    known : Mapping of str to Axis
        The axes of the image that the layer came from: they know types.
    """
    proper = _proper_names([str(name) for name in names])
    return tuple(
        Axis(name, _type(name, unit, known), _unit(unit))
        for name, unit in zip(proper, units, strict=True)
    )


def spec_order(axes: Sequence[Axis]) -> tuple[int, ...]:
    """Give the order that OME-Zarr wants: time, channel or custom, space (0.4)."""
    return tuple(
        sorted(range(len(axes)), key=lambda i: _ORDER.get(axes[i].type or "", 1))
    )


def permuted(affine: Affine, order: Sequence[int]) -> Affine:
    """Give the map of an image whose axes, and whose world's, are in a new order."""
    matrix = affine.matrix
    columns = [*order, matrix.shape[1] - 1]
    return Affine.from_matrix(matrix[list(order)][:, columns])


def extended(affine: Affine, position: int) -> Affine:
    """Give the map of an image with one more axis, which lies on its own."""
    matrix = np.insert(affine.matrix, position, 0.0, axis=1)
    matrix = np.insert(matrix, position, 0.0, axis=0)
    matrix[position, position] = 1.0
    return Affine.from_matrix(matrix)


def are_placeholders(names: Sequence[str]) -> bool:
    """Whether axis labels are what napari puts where nobody named the axes."""
    return list(names) == [str(index - len(names)) for index in range(len(names))]


def _proper_names(names: list[str]) -> list[str]:
    ndim = len(names)
    if are_placeholders(names):
        known = "tzyx" if ndim <= 4 else "tczyx"
        spare = [f"dim_{index}" for index in range(ndim - 5)]
        return [*spare, *known[-ndim:]]
    taken: list[str] = []
    for index, name in enumerate(names):
        free = name and name not in taken
        taken.append(name if free else f"dim_{index}")
    return taken


def _type(name: str, unit: str | None, known: Mapping[str, Axis]) -> str | None:
    if name in known and known[name].type:
        return known[name].type
    if name.lower() in _TYPES:
        return _TYPES[name.lower()]
    found = known_unit(unit)
    if found is None:
        return None
    return "time" if found in TIMES else "space"


def _unit(unit: str | None) -> str | None:
    text = None if unit is None else str(unit)
    if text in (None, "", "pixel", "dimensionless"):
        return None
    return known_unit(text) or text


def _numbers(value: Any) -> list[float]:
    return [] if value is None else [float(v) for v in np.ravel(value)]


def _diagonal(scale: Any) -> np.ndarray:
    return np.diag(_numbers(scale)) if scale is not None else np.eye(0)


def _rotation(rotate: Any) -> np.ndarray:
    """Make a matrix: napari takes an angle in degrees, or the matrix itself."""
    if rotate is None:
        return np.eye(0)
    array = np.asarray(rotate, dtype=float)
    if array.ndim == 2:
        return array
    if array.ndim == 1:
        return _yaw_pitch_roll(array)
    angle = np.deg2rad(float(array))
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _yaw_pitch_roll(angles: np.ndarray) -> np.ndarray:
    alpha, beta, gamma = np.deg2rad(angles)
    yaw, pitch, roll = np.eye(3), np.eye(3), np.eye(3)
    yaw[:2, :2] = _rotation(np.rad2deg(alpha))
    turn = _rotation(np.rad2deg(beta))
    pitch[np.ix_([0, 2], [0, 2])] = turn.T
    roll[1:, 1:] = _rotation(np.rad2deg(gamma))
    matrix: np.ndarray = yaw @ pitch @ roll
    return matrix


def _shear(shear: Any) -> np.ndarray:
    """Make a matrix: napari takes the upper triangle as a vector, or the matrix."""
    if shear is None:
        return np.eye(0)
    array = np.asarray(shear, dtype=float)
    if array.ndim == 2:
        return array
    ndim = (1 + round(np.sqrt(1 + 8 * array.size))) // 2
    matrix = np.eye(ndim)
    matrix[np.triu_indices(ndim, 1)] = array
    return matrix


def _embedded(matrix: np.ndarray, ndim: int) -> np.ndarray:
    full = np.eye(ndim)
    count = min(len(matrix), ndim)
    if count:
        full[ndim - count :, ndim - count :] = matrix[-count:, -count:]
    return full


def _matrix(value: Any, ndim: int) -> Affine | None:
    if value is None:
        return None
    matrix = np.asarray(getattr(value, "affine_matrix", value), dtype=float)
    count = matrix.shape[1] - 1
    full = np.eye(ndim + 1)
    full[ndim - count :, ndim - count :] = matrix[: count + 1][-(count + 1) :]
    return Affine.from_matrix(full[:-1])
