"""Any key that numpy takes, brought into bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_omezarr.pyramid import bounded, split_box
from napari_omezarr.pyramid.boxes import chunk_parts

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=7)


@given(st.data())
def test_a_bounded_selection_gives_what_numpy_gives(data):
    shape = data.draw(SHAPES)
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=False))
    array = np.arange(np.prod(shape)).reshape(shape)
    selection = bounded(key, shape)
    box = array[tuple(slice(*bound) for bound in selection.bounds)]
    np.testing.assert_array_equal(selection.taken_from(box), array[key])


@given(st.data())
def test_the_box_is_no_larger_than_it_must_be(data):
    size = data.draw(st.integers(1, 30))
    key = data.draw(st.slices(size))
    ((start, stop),) = bounded(key, (size,)).bounds
    wanted = range(size)[key]
    assert (start, stop) == ((min(wanted), max(wanted) + 1) if wanted else (0, 0))


@pytest.mark.parametrize(
    "picked", [[3, 1, 1], np.array([-1, 0]), np.array([True, False, True, False])]
)
def test_lists_are_taken_along_their_axis(picked):
    array = np.arange(12).reshape(4, 3)
    selection = bounded((picked, slice(1, None)), array.shape)
    box = array[tuple(slice(*bound) for bound in selection.bounds)]
    np.testing.assert_array_equal(selection.taken_from(box), array[picked, 1:])


@pytest.mark.parametrize("key", [4, -5, (0, 0, 0), ([0, 9],), (..., ...)])
def test_what_lies_outside_is_an_index_error(key):
    with pytest.raises(IndexError):
        bounded(key, (4, 3))


def test_an_empty_list_takes_nothing():
    selection = bounded([], (4, 3))
    assert selection.bounds == ((0, 0), (0, 3))
    assert selection.taken_from(np.empty((0, 3))).shape == (0, 3)


def test_an_empty_box_has_no_pieces_wherever_it_lies():
    empty = ((5, 5), (0, 3))
    assert list(split_box(empty, (4, 2))) == list(chunk_parts(empty, (4, 2))) == []
