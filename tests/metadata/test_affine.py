"""Affine maps: composition, inverse, and what they say about axes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_omezarr.metadata import Affine

NUMBERS = st.floats(-100, 100, allow_subnormal=False)


def matrices(rows: int = 3, columns: int = 4):
    return arrays(float, (rows, columns), elements=NUMBERS)


def test_builders_make_what_they_say() -> None:
    np.testing.assert_array_equal(Affine.identity(2).matrix, [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(
        Affine.from_scale([2, -3]).matrix, [[2, 0, 0], [0, -3, 0]]
    )
    np.testing.assert_array_equal(
        Affine.from_translation([4, 5]).matrix, [[1, 0, 4], [0, 1, 5]]
    )
    assert Affine.from_linear([[0, 1], [1, 0], [0, 0]]).shape == (3, 3)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=5))
def test_a_diagonal_map_scales_and_then_shifts(pairs) -> None:
    factors, offsets = zip(*pairs, strict=True)
    one_by_one = Affine.from_translation(offsets) @ Affine.from_scale(factors)
    diagonal = Affine.from_diagonal(factors, offsets)
    assert diagonal == one_by_one
    assert diagonal.is_invertible == all(factors)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_map_that_is_not_finite_has_no_inverse(odd) -> None:
    assert not Affine.from_diagonal([1, odd], [0, 0]).is_invertible
    assert not Affine.from_diagonal([1, 2], [0, odd]).is_invertible


@pytest.mark.parametrize("matrix", [[1.0, 2.0], [[1.0]], np.zeros((0, 3)), [[[1.0]]]])
def test_what_is_no_matrix_makes_no_affine(matrix) -> None:
    with pytest.raises(ValueError, match="expected an M x"):
        Affine.from_matrix(matrix)


def test_equal_maps_compare_and_hash_equal() -> None:
    one, other = Affine.from_scale([1, 2]), Affine.from_matrix([[1, 0, 0], [0, 2, 0]])
    assert one == other
    assert len({one, other}) == 1


def test_matrix_is_a_copy_that_cannot_change_the_value() -> None:
    affine = Affine.identity(2)
    affine.matrix[:] = 7
    assert affine == Affine.identity(2)


@given(matrices(2, 4), matrices(3, 5), arrays(float, (6, 4), elements=NUMBERS))
def test_composition_applies_the_right_one_first(last, first, points) -> None:
    last, first = Affine.from_matrix(last), Affine.from_matrix(first)
    np.testing.assert_allclose(
        (last @ first)(points), last(first(points)), rtol=1e-9, atol=1e-6
    )


def test_composition_of_maps_that_do_not_meet_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 coordinates, but got 3"):
        Affine.identity(2) @ Affine.identity(3)


@given(matrices())
def test_inverse_undoes_what_is_invertible(matrix) -> None:
    affine = Affine.from_matrix(matrix)
    if affine.is_invertible and np.linalg.cond(affine.linear) < 1e6:
        np.testing.assert_allclose(
            (affine.inverse() @ affine).matrix, np.eye(3, 4), atol=1e-6
        )


@pytest.mark.parametrize(
    "matrix",
    [
        [[1, 2, 0], [2, 4, 0]],
        [[0, 0, 0], [0, 1, 0]],
        [[1, 0, 0, 0], [0, 1, 0, 0]],
        [[np.inf, 0, 0], [0, 1, 0]],
        [[1, 0, np.nan], [0, 1, 0]],
        [[1e200, 1e200, 0], [1e200, -1e200, 0]],
    ],
    ids=["dependent", "zero", "not square", "infinite", "nan", "overflowing"],
)
def test_maps_without_inverse_say_so(matrix) -> None:
    affine = Affine.from_matrix(matrix)
    assert not affine.is_invertible
    with pytest.raises(ValueError, match="no inverse"):
        affine.inverse()


def test_axes_of_very_unequal_scale_are_no_singularity() -> None:
    affine = Affine.from_scale([1e-12, 1e12, 1])
    assert affine.is_invertible
    np.testing.assert_allclose(affine.inverse().scale, [1e12, 1e-12, 1])


def test_scale_and_translation_of_a_diagonal_map_keep_signs() -> None:
    affine = Affine.from_translation([7, 8]) @ Affine.from_scale([-2, 3])
    assert affine.is_diagonal
    assert affine.scale == (-2, 3)
    assert affine.translation == (7, 8)


def test_scale_of_a_rotation_is_the_length_of_a_step() -> None:
    turned = Affine.from_linear([[0.6, -0.8], [0.8, 0.6]]) @ Affine.from_scale([2, 5])
    assert not turned.is_diagonal
    np.testing.assert_allclose(turned.scale, [2, 5])


def test_output_of_follows_permutations_and_stops_at_mixtures() -> None:
    swapped = Affine.from_linear([[0, 0, 2], [0, 1, 0], [3, 0, 0]])
    assert [swapped.output_of(axis) for axis in range(3)] == [2, 1, 0]
    sheared = Affine.from_linear([[1, 0, 0], [0, 1, 1], [0, 0, 1]])
    assert [sheared.output_of(axis) for axis in range(3)] == [0, None, None]


def test_without_drops_an_axis_and_its_output() -> None:
    swapped = Affine.from_matrix([[0, 0, 2, 10], [0, 1, 0, 11], [3, 0, 0, 12]])
    assert swapped.without(0).rows == ((0, 2, 10), (1, 0, 11))
    with pytest.raises(ValueError, match="axis 1"):
        Affine.from_linear([[1, 0, 0], [0, 1, 1], [0, 0, 1]]).without(1)
    with pytest.raises(ValueError, match="axis 0"):
        Affine.identity(1).without(0)


@given(
    matrix=arrays(float, (3, 4), elements=st.floats(-100, 100)),
    factors=st.lists(st.integers(1, 8), min_size=3, max_size=3),
)
def test_coarser_is_a_shift_and_a_scale_before_the_map(matrix, factors):
    affine = Affine.from_matrix(matrix)
    shift = Affine.from_translation([(by - 1) / 2 for by in factors])
    expected = affine @ shift @ Affine.from_scale(factors)
    np.testing.assert_allclose(
        affine.coarser(factors).matrix, expected.matrix, atol=1e-9
    )


def test_coarser_takes_a_factor_for_each_axis():
    with pytest.raises(ValueError, match="2 factors"):
        Affine.identity(2).coarser([2])
