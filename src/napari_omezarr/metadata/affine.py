"""Affine maps between coordinate systems, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Affine:
    """A map from N to M coordinates: ``output = linear @ input + offset``.

    Parameters
    ----------
    rows : tuple of tuple of float
        M rows of N + 1 numbers, row-major; the last column is the offset, in the
        unit of the output (0.6, "affine"). Equal values compare and hash equal.
    """

    rows: tuple[tuple[float, ...], ...]

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
    def identity(cls, ndim: int) -> Affine:
        """Leave ``ndim`` coordinates as they are."""
        return cls.from_scale([1.0] * ndim)

    def coarser(self, factors: Sequence[float]) -> Affine:
        """Place a coarser level: a pixel's centre is that of those it stands for.

        Its index 0 lies (factor - 1) / 2 finer pixels from theirs (0.6, "multiscales").
        """
        shift = Affine.from_translation([(by - 1) / 2 for by in factors])
        return self @ shift @ Affine.from_scale(factors)

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
        linear = self.linear
        return linear.shape[0] == linear.shape[1] and not np.any(
            linear[~np.eye(len(linear), dtype=bool)]
        )

    @property
    def is_invertible(self) -> bool:
        """Whether it is square, finite and has an inverse in double precision."""
        linear = self.linear
        if linear.shape[0] != linear.shape[1] or not np.isfinite(self.matrix).all():
            return False
        # Axes of very unequal scale (nm next to s) are no singularity: compare
        # directions, not lengths, as a plain condition number would.
        lengths = np.abs(self.scale)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            return False
        return bool(np.linalg.cond(linear / lengths) < 1e12)

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
