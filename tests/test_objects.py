"""Objects of a mask in blocks: as if it were labelled and measured in one piece."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_omezarr.errors import OptionError
from napari_omezarr.objects import label_objects, measure_objects

ndimage = pytest.importorskip("scipy.ndimage")


@settings(max_examples=15)
@given(
    mask=arrays(bool, array_shapes(min_dims=1, max_dims=3, max_side=7)), data=st.data()
)
def test_blocks_are_labelled_and_measured_as_one_piece(mask, data):
    chunks = tuple(data.draw(st.integers(1, size)) for size in mask.shape)
    labels, count = label_objects(da.from_array(mask, chunks=chunks))
    found = labels.compute(scheduler="sync")
    expected, number = ndimage.label(mask)
    assert count == number
    pairs = set(zip(expected.ravel().tolist(), found.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(expected))
    assert ((found > 0) == mask).all()
    pixels = np.arange(mask.size).reshape(mask.shape) % 11
    table = measure_objects(labels, da.from_array(pixels, chunks=2))
    index = table["index"]
    assert index.tolist() == list(range(1, count + 1))
    for name, measure in (
        ("mean", ndimage.mean),
        ("min", ndimage.minimum),
        ("max", ndimage.maximum),
    ):
        assert np.allclose(table[name], measure(pixels, found, index))
    assert table["count"].sum() == mask.sum()
    centres = ndimage.center_of_mass(mask, found, index)
    for axis in range(mask.ndim):
        expected = [centre[axis] for centre in centres]
        assert np.allclose(table[f"centroid-{axis}"], expected)


def test_each_block_is_computed_once():
    asked = []

    def seen(block):
        asked.append(block.shape)
        return block

    mask = da.ones((8, 8), chunks=2, dtype=bool)
    mask = mask.map_blocks(seen, meta=np.empty((0, 0), bool))
    labels, count = label_objects(mask)
    assert (labels.compute() == 1).all()
    assert (count, len(asked)) == (1, 16)


def test_shapes_that_differ_are_said():
    with pytest.raises(OptionError, match="do not fit"):
        measure_objects(da.ones((2, 2), dtype=int), da.ones((2, 3)))
