"""Resolutions that are there already, kept as they are or, where odd, made anew."""

from __future__ import annotations

from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_omezarr
from napari_omezarr import plan_write, write_layers
from napari_omezarr.errors import OptionError

KEEP = {"existing_resolutions": True}


def levels_of(shape, factors, seed=0):
    """Levels of noise, so that none can be taken for one that was made of another."""
    noise = np.random.default_rng(seed)
    sizes = [
        tuple(-(-n // f) for n, f in zip(shape, by, strict=True)) for by in factors
    ]
    return [noise.integers(1, 60_000, size, np.uint16) for size in sizes]


def all_levels(image):
    return [image.read(level=number) for number in range(len(image.levels))]


def same(one, other):
    assert len(one) == len(other)
    for mine, theirs in zip(one, other, strict=True):
        assert np.array_equal(mine, theirs)


@settings(max_examples=8, deadline=None)
@given(
    shape=st.tuples(*[st.integers(24, 40)] * 3),
    by=st.lists(st.sampled_from([(1, 2, 2), (2, 2, 2), (1, 3, 3)]), max_size=2),
    version=st.sampled_from(["0.4", "0.5", "0.6"]),
    chunk=st.integers(3, 17),
)
def test_levels_come_back_as_they_were_given(shape, by, version, chunk):
    factors = [(1, 1, 1), *map(tuple, np.cumprod(np.array(by).reshape(-1, 3), axis=0))]
    levels = levels_of(shape, factors)
    options = {"multiscale": True, "axis_labels": "zyx", "name": "a"}
    with TemporaryDirectory() as folder:
        target = f"{folder}/a.ome.zarr"
        chosen = {"version": version, "memory": 4000, **KEEP}
        chosen["chunks"] = {"y": chunk, "x": chunk}
        write_layers([(levels, options, "image")], target, **chosen)
        image = napari_omezarr.open(target)
        same(all_levels(image), levels)
        for level, total in zip(image.levels, factors, strict=True):
            expected = image.levels[0].affine.coarser(total)
            assert np.allclose(level.affine.matrix, expected.matrix)


@pytest.fixture
def source(tmp_path):
    """Two channels and labels, whose levels were not made of each other."""
    factors = [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    channels = [levels_of((4, 32, 40), factors, seed=seed) for seed in (1, 2)]
    cells = levels_of((4, 32, 40), factors, seed=3)
    place = {"multiscale": True, "axis_labels": "zyx", "scale": (2, 0.5, 0.5)}
    layers = [
        (each, place | {"name": n}, "image")
        for n, each in zip("ab", channels, strict=True)
    ]
    layers.append((cells, place | {"name": "cells"}, "labels"))
    write_layers(layers, tmp_path / "a.ome.zarr", **KEEP)
    return tmp_path / "a.ome.zarr", channels, cells


def test_channels_and_labels_keep_their_levels(source):
    place, channels, cells = source
    image = napari_omezarr.open(place)
    same(all_levels(image), [np.stack(each) for each in zip(*channels, strict=True)])
    same(all_levels(image.labels["cells"]), cells)


@pytest.mark.parametrize("opened", [True, False])
def test_what_is_opened_is_written_with_its_levels(source, tmp_path, opened):
    place, _, cells = source
    image = napari_omezarr.open(place)
    given = image if opened else napari_omezarr.read_layers(place)
    napari_omezarr.write(given, tmp_path / "b.ome.zarr", version="0.4", **KEEP)
    again = napari_omezarr.open(tmp_path / "b.ome.zarr")
    same(all_levels(again), all_levels(image))
    same(all_levels(again.labels["cells"]), cells)
    assert again.transforms == image.transforms


def test_levels_are_made_anew_unless_they_are_to_be_kept(source, tmp_path):
    image = napari_omezarr.open(source[0])
    napari_omezarr.write(image, tmp_path / "b.ome.zarr", levels=2)
    again = napari_omezarr.open(tmp_path / "b.ome.zarr")
    assert np.array_equal(again.read(), image.read())
    assert not np.array_equal(again.read(level=1), image.read(level=1))


def test_fewer_levels_may_be_kept(source, tmp_path):
    image = napari_omezarr.open(source[0])
    napari_omezarr.write(image, tmp_path / "b.ome.zarr", levels=2, **KEEP)
    again = napari_omezarr.open(tmp_path / "b.ome.zarr")
    same(all_levels(again), all_levels(image)[:2])


@pytest.mark.parametrize("shape", [(20, 21), (33, 33), (32, 32), (16, 16, 1)])
def test_levels_that_do_not_fit_are_made_anew_and_that_is_said(shape, tmp_path):
    levels = [np.ones(size, np.uint16) for size in ((32, 32), shape)]
    layer = (levels, {"multiscale": True, "name": "a"}, "image")
    plan = plan_write([layer], tmp_path / "a.ome.zarr", levels=2, **KEEP)
    assert [level.shape for level in plan.images[0].levels] == [(32, 32), (16, 16)]
    assert any("do not fit" in note for note in plan.notes)


def test_factors_are_chosen_or_resolutions_kept(tmp_path):
    with pytest.raises(OptionError, match="factors of their own"):
        plan_write([np.ones((4, 4))], tmp_path / "a.ome.zarr", factors=2, **KEEP)
