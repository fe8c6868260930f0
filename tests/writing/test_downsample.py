"""Coarser pixels against plain numpy, cell by cell."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_omezarr.writing.downsample import coarser_shape, downsample

INTEGERS = [f"{sign}{bits}" for sign in ("int", "uint") for bits in (8, 16, 32, 64)]
FLOATS = ["float16", "float32", "float64"]


def cells(block, factors):
    """Every cell of a block, by its coarse index, as a flat array in C order."""
    for index in np.ndindex(*coarser_shape(block.shape, factors)):
        box = tuple(
            slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True)
        )
        yield index, block[box].ravel()


def reference(block, factors, value):
    coarse = np.empty(coarser_shape(block.shape, factors), block.dtype)
    for index, cell in cells(block, factors):
        coarse[index] = value(cell)
    return coarse


def exact_mean(cell):
    """The mean of integers with halves rounded up, in Python's unlimited ones."""
    total, count = sum(int(v) for v in cell), len(cell)
    return (2 * total + count) // (2 * count)


@st.composite
def blocks(draw, dtypes):
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    ndim = draw(st.integers(1, 4))
    shape = tuple(draw(st.integers(1, 7 if ndim < 3 else 4)) for _ in range(ndim))
    factors = tuple(draw(st.sampled_from([1, 2, 2, 3])) for _ in range(ndim))
    return draw(hnp.arrays(dtype, shape)), factors


@settings(deadline=None)
@given(blocks(INTEGERS))
def test_the_mean_of_integers_is_exact_and_rounds_halves_up(case):
    block, factors = case
    found = downsample(block, factors, "mean")
    np.testing.assert_array_equal(found, reference(block, factors, exact_mean))
    assert found.dtype == block.dtype


@settings(deadline=None)
@given(blocks(["float32", "float64"]))
def test_the_mean_of_floats_leaves_nan_out(case):
    block, factors = case
    block = np.where(np.isfinite(block), np.clip(block, -1e30, 1e30), np.nan)
    block = block.astype(case[0].dtype)

    def mean(cell):
        numbers = cell[~np.isnan(cell)].astype(np.float64)
        return numbers.mean() if len(numbers) else np.nan

    found = downsample(block, factors, "mean")
    assert found.dtype == block.dtype
    scale = np.nanmax(np.abs(block), initial=1.0)
    expected = reference(block, factors, mean)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * scale)


def test_half_floats_do_not_overflow():
    block = np.full((2, 2), 60000, np.float16)
    np.testing.assert_array_equal(downsample(block, (2, 2), "mean"), [[60000]])


def test_the_mean_of_booleans_is_the_majority():
    block = np.array([[1, 1, 0, 0], [0, 0, 1, 0]], bool)
    np.testing.assert_array_equal(downsample(block, (2, 2), "mean"), [[True, False]])


@settings(deadline=None)
@given(blocks([*INTEGERS, "bool"]))
def test_max_is_the_largest_of_each_cell(case):
    block, factors = case
    expected = reference(block, factors, np.max)
    np.testing.assert_array_equal(downsample(block, factors, "max"), expected)


def test_max_leaves_nan_out():
    block = np.array([[1.0, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(downsample(block, (1, 2), "max"), [[1.0], [np.nan]])


@settings(deadline=None)
@given(blocks([*INTEGERS, "bool"]))
def test_nearest_takes_a_pixel_next_to_the_centre(case):
    block, factors = case
    found = downsample(block, factors, "nearest")
    for index in np.ndindex(*found.shape):
        middle = [
            {min(i * f + near, size - 1) for near in ((f - 1) // 2, f // 2)}
            for i, f, size in zip(index, factors, block.shape, strict=True)
        ]
        assert found[index] in [block[place] for place in product(*middle)]


@settings(deadline=None)
@given(blocks(["uint8", "int64"]))
def test_mode_is_a_value_that_is_there_most_often(case):
    block, factors = case
    block = block % np.array(4, block.dtype)  # so that values do repeat
    found = downsample(block, factors, "mode")
    for index, cell in cells(block, factors):
        values, counts = np.unique(cell, return_counts=True)
        assert found[index] in values[counts == counts.max()]


def centre(mask):
    """The mean index of a mask's pixels along each axis."""
    return np.argwhere(mask).mean(axis=0)


@pytest.mark.parametrize("method", ["nearest", "mode"])
@pytest.mark.parametrize(("factors", "levels"), [((2, 2), 4), ((3, 2), 3)])
def test_small_discs_lie_off_to_no_side(method, factors, levels):
    """A disc of few pixels lies off as any raster of it does, but not all alike."""
    rng = np.random.default_rng(9)
    side, count = 230, 6
    middles, by = {}, np.ones(2)
    discs = np.zeros((side * count + 1, side * count - 1), np.int32)
    for value, (row, column) in enumerate(np.ndindex(count, count), 1):
        middle = (np.array((row, column)) + 0.5) * side + rng.uniform(-9, 9, 2)
        rows, columns = np.ogrid[: discs.shape[0], : discs.shape[1]]
        apart = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2
        radius = rng.uniform(70, 100)
        discs[apart < radius**2] = value
        middles[value] = middle, radius
    for _ in range(levels):
        discs, by = downsample(discs, factors, method), by * factors
        drifts, rasters = [], []
        rows, columns = np.ogrid[: discs.shape[0], : discs.shape[1]]
        for value, (middle, radius) in middles.items():
            row, column = at = (middle - (by - 1) / 2) / by
            drifts.append(np.argwhere(discs == value).mean(axis=0) - at)
            apart = ((rows - row) * by[0]) ** 2 + ((columns - column) * by[1]) ** 2
            rasters.append(np.argwhere(apart < radius**2).mean(axis=0) - at)
        assert np.abs(np.mean(drifts, axis=0)).max() <= 0.05
        far, as_drawn = (np.linalg.norm(d, axis=1).mean() for d in (drifts, rasters))
        assert far <= 1.5 * as_drawn + 0.02


@pytest.mark.parametrize("method", ["nearest", "mode"])
@pytest.mark.parametrize(
    ("shape", "middle", "radii", "factors", "levels"),
    [
        ((1024, 1024), (500.3, 411.7), (150, 150), (2, 2), 5),
        ((1021, 1023), (477.6, 530.2), (201.5, 201.5), (2, 2), 4),
        ((97, 128, 121), (47.7, 60.3, 58.9), (40, 40, 40), (2, 2, 2), 3),
        ((20, 250, 243), (9.5, 120.1, 121.8), (8, 90, 90), (1, 2, 2), 3),
        ((300, 299), (150.3, 140.6), (110, 110), (2, 1), 1),
    ],
)
def test_a_disc_stays_where_it_is(method, shape, middle, radii, factors, levels):
    """Against the analytic position, in pixels of the coarser level."""
    parts = zip(np.ogrid[tuple(map(slice, shape))], middle, radii, strict=True)
    disc = (sum(((x - c) / r) ** 2 for x, c, r in parts) < 1).astype(np.int32)
    by = np.ones(len(shape))
    for _ in range(levels):
        disc = downsample(disc, factors, method)
        by = by * factors
        drift = centre(disc) - (np.array(middle) - (by - 1) / 2) / by
        assert np.abs(drift).max() <= 0.1


@pytest.mark.parametrize("method", ["nearest", "mode"])
def test_every_disc_that_is_large_enough_to_tell_lies_within_a_tenth(method):
    """A disc of fewer pixels lies further off in any raster of it.

    Forty pixels of the level are a radius at which drawing it anew is off by 0.03.
    """
    rng = np.random.default_rng(4)
    side, count = 760, 3
    discs = np.zeros((side * count + 1, side * count + 3), np.uint8)
    middles = []
    for value, corner in enumerate(np.ndindex(count, count), 1):
        origin = np.array(corner) * side
        middle = side / 2 + rng.uniform(-20, 20, 2)
        rows, columns = np.ogrid[:side, :side]
        apart = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2
        box = discs[origin[0] :, origin[1] :][:side, :side]
        box[apart < rng.uniform(320, 350) ** 2] = value
        middles.append(origin + middle)
    for by in (2, 4, 8):
        discs = downsample(discs, (2, 2), method)
        for value, middle in enumerate(middles, 1):
            drift = centre(discs == value) - (middle - (by - 1) / 2) / by
            assert np.abs(drift).max() <= 0.1


@pytest.mark.parametrize("method", ["nearest", "mode"])
@settings(deadline=None)
@given(case=blocks(["int32", "uint64"]))
def test_labels_have_only_values_that_were_in_their_cell(method, case):
    block, factors = case
    found = downsample(block, factors, method)
    for index, cell in cells(block, factors):
        assert found[index] in cell


@pytest.mark.parametrize("method", ["mean", "nearest", "max", "mode"])
def test_factors_of_one_leave_a_block_alone(method):
    block = np.arange(6).reshape(2, 3)
    assert downsample(block, (1, 1), method) is block


@pytest.mark.parametrize("method", ["mean", "nearest", "max", "mode"])
def test_blocks_of_whole_cells_give_what_the_whole_gives(method):
    whole = np.random.default_rng(3).integers(0, 9, (7, 24)).astype(np.uint16)
    expected = downsample(whole, (2, 3), method)
    for rows, columns in product(
        (slice(0, 4), slice(4, 7)), (slice(0, 6), slice(6, 15), slice(15, 24))
    ):
        top, left = rows.start // 2, columns.start // 3
        part = downsample(whole[rows, columns], (2, 3), method, (top, left))
        height, width = part.shape
        np.testing.assert_array_equal(
            part, expected[top : top + height, left : left + width]
        )
