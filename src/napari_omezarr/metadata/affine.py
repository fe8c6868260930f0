"""Affine maps between coordinate systems, and in the words of napari's layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray


# Beyond these no microscope and no telescope measures, and products overflow.
SMALLEST, LARGEST = 1e-30, 1e30


def is_size(number: float) -> bool:
    """Whether a number can be the size of a pixel; below 0 it is mirrored."""
    return SMALLEST <= abs(number) <= LARGEST


@dataclass(frozen=True, slots=True)
class Affine:
    """A map from N to M coordinates: ``output = linear @ input + offset``."""

    rows: tuple[tuple[float, ...], ...]
    """M rows of N + 1 numbers, row-major; the last column is the offset, in the unit of
    the output (0.6, "affine"). Equal values compare and hash equal."""

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> Affine:
        """Make the map of an M x (N+1) matrix."""
        array = np.asarray(matrix, dtype=float)
        if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] < 2:
            raise ValueError(f"expected an M x (N+1) matrix, but got {array.shape}")
        return cls(tuple(tuple(row) for row in array.tolist()))

    @classmethod
    def from_linear(cls, linear: ArrayLike) -> Affine:
        """Make the map of an M x N matrix without offset."""
        array = np.asarray(linear, dtype=float)
        return cls.from_matrix(np.hstack([array, np.zeros((len(array), 1))]))

    @classmethod
    def from_scale(cls, factors: Sequence[float]) -> Affine:
        """Scale each of N axes by its factor."""
        return cls.from_linear(np.diag(np.asarray(factors, dtype=float)))

    @classmethod
    def from_translation(cls, offsets: Sequence[float]) -> Affine:
        """Shift each of N axes by its offset."""
        offset = np.asarray(offsets, dtype=float)[:, None]
        return cls.from_matrix(np.hstack([np.eye(len(offset)), offset]))

    @classmethod
    def from_diagonal(
        cls, factors: Sequence[float], offsets: Sequence[float]
    ) -> Affine:
        """Scale each of N axes by its factor, and then shift it by its offset."""
        none = [0.0] * len(factors)
        rows = (
            (*none[:axis], float(factor), *none[axis + 1 :], float(offset))
            for axis, (factor, offset) in enumerate(zip(factors, offsets, strict=True))
        )
        return cls(tuple(rows))

    @classmethod
    def identity(cls, ndim: int) -> Affine:
        """Leave ``ndim`` coordinates as they are."""
        return cls.from_scale([1.0] * ndim)

    def coarser(self, factors: Sequence[float]) -> Affine:
        """Place a coarser level: a pixel's centre is that of those it stands for.

        Its index 0 lies (factor - 1) / 2 finer pixels from theirs (0.6, "multiscales").
        """
        if len(factors) != self.ndim_in:
            raise ValueError(f"expected {self.ndim_in} factors, but got {len(factors)}")
        shifts = [(float(by) - 1) / 2 for by in factors]
        return Affine(
            tuple(
                (
                    *(size * float(by) for size, by in zip(row, factors, strict=False)),
                    sum(map(mul, row, shifts)) + row[-1],
                )
                for row in self.rows
            )
        )

    @property
    def ndim_in(self) -> int:
        """N, the number of input coordinates."""
        return len(self.rows[0]) - 1

    @property
    def ndim_out(self) -> int:
        """M, the number of output coordinates."""
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """M and N + 1."""
        return len(self.rows), len(self.rows[0])

    @property
    def matrix(self) -> NDArray[np.float64]:
        """A new M x (N+1) array."""
        return np.array(self.rows, dtype=float)

    @property
    def linear(self) -> NDArray[np.float64]:
        """A new M x N array: the matrix without its offset."""
        return self.matrix[:, :-1]

    @property
    def offset(self) -> NDArray[np.float64]:
        """A new array of M offsets."""
        return self.matrix[:, -1]

    @property
    def translation(self) -> tuple[float, ...]:
        """Where input 0 lands, in output units; M numbers."""
        return tuple(row[-1] for row in self.rows)

    @property
    def scale(self) -> tuple[float, ...]:
        """Output units per step along each of the N input axes.

        Signed where the map is diagonal (negative means flipped), else the length
        of each column.
        """
        if self.is_diagonal:
            return tuple(row[index] for index, row in enumerate(self.rows))
        with np.errstate(over="ignore"):
            columns: list[float] = np.linalg.norm(self.linear, axis=0).tolist()
        return tuple(columns)

    @property
    def is_diagonal(self) -> bool:
        """Whether scale and translation say all: no rotation, shear, permutation."""
        return self.ndim_in == self.ndim_out and not any(
            any(row[:index]) or any(row[index + 1 : -1])
            for index, row in enumerate(self.rows)
        )

    @property
    def is_invertible(self) -> bool:
        """Whether it is square, finite and has an inverse in double precision."""
        square = self.ndim_in == self.ndim_out
        if not square or not all(map(math.isfinite, chain(*self.rows))):
            return False
        if self.is_diagonal:
            return all(self.scale)
        # Axes of very unequal scale (nm next to s) are no singularity: compare
        # directions, not lengths, as a plain condition number would.
        linear, lengths = self.linear, np.abs(self.scale)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            return False
        return bool(np.linalg.cond(linear / lengths) < 1e12)

    @property
    def has_sizes(self) -> bool:
        """Whether a pixel has a size along each axis, mirrored or not."""
        return self.is_invertible and all(map(is_size, self.scale))

    def __matmul__(self, first: Affine) -> Affine:
        """Return the map that applies ``first`` and then this one."""
        if first.ndim_out != self.ndim_in:
            raise ValueError(
                f"expected {self.ndim_in} coordinates, but got {first.ndim_out}"
            )
        with np.errstate(all="ignore"):
            matrix = self.linear @ first.matrix
            matrix[:, -1] += self.offset
        return Affine.from_matrix(matrix)

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of shape (..., N) to points of shape (..., M)."""
        mapped: NDArray[np.float64] = (
            np.asarray(points, dtype=float) @ self.linear.T + self.offset
        )
        return mapped

    def inverse(self) -> Affine:
        """Return the map from the outputs back to the inputs."""
        if not self.is_invertible:
            raise ValueError("this map has no inverse")
        lengths = np.abs(self.scale)
        with np.errstate(all="ignore"):
            inverse = np.linalg.inv(self.linear / lengths) / lengths[:, None]
            offset = -inverse @ self.offset[:, None]
        return Affine.from_matrix(np.hstack([inverse, offset]))

    def output_of(self, axis: int) -> int | None:
        """Return the one output that input ``axis`` alone feeds, or None.

        None where the axis is mixed with another by rotation or shear, or feeds
        none or several outputs.
        """
        linear = self.linear != 0
        fed = np.flatnonzero(linear[:, axis])
        if len(fed) != 1 or linear[fed[0]].sum() != 1:
            return None
        return int(fed[0])

    def below(self, count: int) -> Affine:
        """Put ``count`` axes in front that it leaves as they are."""
        matrix = np.zeros((self.ndim_out + count, self.ndim_in + count + 1))
        matrix[:count, :count] = np.eye(count)
        matrix[count:, count:] = self.matrix
        return Affine.from_matrix(matrix)

    def without(self, axis: int) -> Affine:
        """Drop input ``axis`` and the output that it alone feeds."""
        output = self.output_of(axis)
        if output is None or self.ndim_in < 2:
            raise ValueError(f"axis {axis} cannot be taken apart from the others")
        matrix = np.delete(np.delete(self.matrix, axis, axis=1), output, axis=0)
        return Affine.from_matrix(matrix)


# The words that napari has for the place of a layer.


def layer_options(affine: Affine) -> dict[str, Any]:
    """Give the options that place a napari layer; those left out are napari's own.

    ``scale`` is always the pixel size, so that whoever reads it gets it; what a scale
    and a translation cannot say (rotation, shear, swapped axes) is in ``affine``,
    which napari applies after them.
    """
    if affine.is_diagonal:
        return {"scale": affine.scale, "translate": affine.translation}
    matrix = np.eye(affine.ndim_in + 1)
    matrix[:-1] = affine.matrix
    matrix[:-1, :-1] /= affine.scale
    return {"scale": affine.scale, "affine": matrix}


def layer_affine(options: Mapping[str, Any], ndim: int) -> Affine:
    """Compose the transforms of a layer into one map, N x (N+1).

    ``scale``, ``shear``, ``rotate``, ``translate`` apply in this order, and then
    ``affine``; each may be absent, or shorter than the layer (whose RGB axis does not
    count), in which case it is about the last axes.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # a scale may be infinite
        linear = (
            _embedded(_rotation(options.get("rotate")), ndim)
            @ _embedded(_shear(options.get("shear")), ndim)
            @ _embedded(np.diag(_numbers(options.get("scale"))), ndim)
        )
    offset = np.zeros(ndim)
    translate = _numbers(options.get("translate"))
    offset[ndim - len(translate) :] = translate
    own = Affine.from_matrix(np.hstack([linear, offset[:, None]]))
    outer = _matrix(options.get("affine"), ndim)
    return own if outer is None else outer @ own


def _numbers(value: Any) -> list[float]:
    return [] if value is None else [float(v) for v in np.ravel(value)]


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
