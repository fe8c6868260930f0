"""Layers of images that napari would not take as they are."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from napari.layers import Layer

import small_images
from napari_omezarr.errors import DamagedDataError, UnsupportedDataError
from napari_omezarr.layers import api, read_layers
from napari_omezarr.pyramid import Cast
from pixel_sources import MemoryPixels

INTEGERS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"]


def said(layer):
    return " ".join(layer[1]["metadata"]["omezarr"]["warnings"])


def made(layers):
    """Make napari's layers, which is where it refuses."""
    return [Layer.create(*layer) for layer in layers]


def put_alone(path, data, names):
    small_images.put_group(
        path, "0.5", {"multiscales": small_images.multiscales("0.5", names, 1)}
    )
    chunks = tuple(max(1, size) for size in data.shape)
    small_images.put_array(path / "0", "0.5", data, names, chunks=chunks)


def put_levels(path, types):
    """Write an image whose levels are each of another data type."""
    levels = small_images.put_image(path, count=len(types))
    for number, dtype in enumerate(types):
        shutil.rmtree(path / str(number))
        levels[number] = levels[number].astype(dtype)
        small_images.put_array(path / str(number), "0.5", levels[number], "czyx")
    return levels


@pytest.mark.parametrize(
    ("names", "shape"), [("x", (20,)), ("cx", (2, 20)), ("c", (3,)), ("tx", (2, 20))]
)
def test_a_line_is_a_picture_one_pixel_high(tmp_path, names, shape):
    data = small_images.pixels(shape)
    put_alone(tmp_path / "a.zarr", data, names)
    layers = read_layers(tmp_path / "a.zarr")
    made(layers)
    shown = np.stack([np.asarray(values) for values, _, _ in layers])
    np.testing.assert_array_equal(shown.ravel(), data.ravel())
    assert ("one pixel high" in said(layers[0])) == (names != "tx")
    assert layers[0][1]["scale"][-1] == (1.0 if names == "c" else 0.5)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("shape", [(), (7,)])
def test_an_array_of_no_plane_opens(tmp_path, zarr_format, shape):
    data = np.full(shape, 3.5, np.float32)
    array = zarr.create_array(
        str(tmp_path / "a.zarr"),
        shape=shape,
        chunks=shape,
        dtype="f4",
        zarr_format=zarr_format,
    )
    array[...] = data
    (layer,) = read_layers(tmp_path / "a.zarr")
    made([layer])
    np.testing.assert_array_equal(np.asarray(layer[0]).ravel(), data.ravel())


def test_an_image_without_pixels_is_refused_in_words(tmp_path):
    put_alone(tmp_path / "a.zarr", small_images.pixels((0, 5)), "yx")
    with pytest.raises(UnsupportedDataError, match="no pixels"):
        read_layers(tmp_path / "a.zarr")


def test_labels_without_pixels_cost_only_themselves(tmp_path):
    small_images.put_image(tmp_path / "a.zarr", names="yx", shape=(8, 8))
    folder = tmp_path / "a.zarr" / "labels"
    small_images.put_group(folder, "0.5", {"labels": ["cells"]})
    put_alone(folder / "cells", np.zeros((0, 8), np.uint8), "yx")
    (image,) = read_layers(tmp_path / "a.zarr")
    assert "cells has no pixels" in said(image)


@pytest.mark.parametrize("types", [("u2", "f4", "u1"), ("f4", "u2", "?"), ("i8", "f8")])
def test_levels_of_several_types_are_shown_as_the_finest(tmp_path, types):
    levels = put_levels(tmp_path / "a.zarr", types)
    layers = read_layers(tmp_path / "a.zarr")
    made(layers)
    for number, (data, _, _) in enumerate(layers):
        for shown, level in zip(data, levels, strict=True):
            assert shown.dtype == np.dtype(types[0])
            np.testing.assert_array_equal(shown.compute(), level[number])
    assert "Level 1 holds" in said(layers[0])


@pytest.mark.parametrize("odd", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 3])
def test_a_level_with_other_channels_is_left_out(tmp_path, odd, count):
    levels = small_images.put_image(tmp_path / "a.zarr")
    folder = tmp_path / "a.zarr" / str(odd)
    shutil.rmtree(folder)
    data = levels[odd][[0] * count]
    small_images.put_array(folder, "0.5", data, "czyx")
    layers = read_layers(tmp_path / "a.zarr")
    made(layers)
    assert len(layers) == (count if odd == 0 else 2)
    assert re.search("has (1 channel|[23] channels), not", said(layers[0]))
    expected = data[0] if odd == 0 else levels[0][0]
    shown = layers[0][0] if odd == 0 else layers[0][0][0]
    np.testing.assert_array_equal(np.asarray(shown), expected)


# Windows that do not fit the pixels.


def put_window(path, data, **window):
    attributes = {
        "multiscales": small_images.multiscales("0.5", "yx", 1),
        "omero": {"channels": [{"color": "FFFFFF", "window": window}]},
    }
    small_images.put_group(path, "0.5", attributes)
    small_images.put_array(path / "0", "0.5", data, "yx")


def shades(data, limits):
    low, high = limits
    return np.unique(np.clip((data - low) / (high - low) * 255, 0, 255).astype(int))


@pytest.mark.parametrize(
    ("dtype", "span", "start", "end"),
    [
        ("f4", (0, 1), 0, 65535),
        ("f4", (0, 1), 0, 255),
        ("f8", (1e-6, 2e-6), 0, 1),
        ("f4", (-5, -4), 0, 1),
        ("f4", (0, 1), -1e6, 1e6),
        ("f4", (0, 1e6), float("nan"), 255),
        ("f4", (0, 1), float("-inf"), float("inf")),
        ("u2", (1000, 60000), 0, 255),
        ("u2", (0, 200), 0, 65535),
        ("u2", (1000, 4000), 100, 200),
        ("u2", (1000, 4000), 5000, 6000),
        ("u2", (1000, 4000), 7, 7),
        ("u2", (1000, 4000), 4000, 1000),
        ("u1", (3, 200), 300, 900),
        ("u1", (3, 200), -900, -300),
        ("u1", (3, 200), 0, 1e30),
        ("i2", (-900, -100), 0, 65535),
        ("u4", (10**6, 10**9), 0, 65535),
        ("i8", (0, 50), -(2**63), 2**63 - 1),
    ],
)
def test_whatever_the_window_the_image_is_seen(tmp_path, dtype, span, start, end):
    data = np.linspace(*span, 16 * 24).reshape(16, 24).astype(dtype)
    put_window(tmp_path / "a.zarr", data, start=start, end=end, min=start, max=end)
    (layer,) = read_layers(tmp_path / "a.zarr")
    made([layer])
    limits = layer[1]["contrast_limits"]
    assert limits[0] < limits[1]
    assert len(shades(data, limits)) > 20
    assert "window" in said(layer)


@pytest.mark.parametrize(
    ("data", "start", "end"),
    [
        (np.linspace(0, 1, 256), 0, 1),
        (np.linspace(0, 300, 256), 100, 4000),
        (np.zeros(256), 100, 4000),
        (np.full(256, 9000.0), 0, 255),
        (np.full(256, np.nan), 0, 255),
    ],
)
def test_a_window_that_fits_or_cannot_be_judged_stays(tmp_path, data, start, end):
    put_window(tmp_path / "a.zarr", data.reshape(16, 16), start=start, end=end)
    (layer,) = read_layers(tmp_path / "a.zarr")
    assert layer[1]["contrast_limits"] == (start, end)
    assert not said(layer)


def test_a_dark_part_is_no_reason_to_replace_a_window(tmp_path):
    data = np.zeros((64, 256), np.uint16)
    data[:, 200:] = 4000
    data[:, :150] = np.arange(150) % 50
    put_window(tmp_path / "a.zarr", data, start=100, end=4000)
    (layer,) = read_layers(tmp_path / "a.zarr")
    assert layer[1]["contrast_limits"] == (100, 4000)


@pytest.mark.parametrize(("window", "chunks"), [((10, 200), 0), ((0, 65535), 1)])
def test_elsewhere_only_windows_that_say_nothing_are_looked_into(
    http_server, tmp_path, window, chunks
):
    data = small_images.pixels((8, 8))
    put_window(tmp_path / "a.zarr", data, start=window[0], end=window[1])
    (layer,) = read_layers(f"{http_server.url}/a.zarr")
    asked = [r for r in http_server.requests if "/c/" in r.path]
    assert len(asked) == chunks
    assert bool(said(layer)) == bool(chunks)


# Label values, and colours of them.


def put_labelled(path, data, colors=(), level=None):
    small_images.put_image(path, names="yx", shape=(16, 24), dtype=np.uint8)
    small_images.put_labels(path, names="yx", cells=data)
    if level is not None:
        shutil.rmtree(path / "labels" / "cells" / "1")
        small_images.put_array(path / "labels" / "cells" / "1", "0.5", level, "yx")
    listed = [{"label-value": v, "rgba": [10, 20, 30, 255]} for v in colors]
    attributes = {
        "multiscales": small_images.multiscales("0.5", "yx", 2),
        "image-label": {"colors": listed},
    }
    small_images.put_group(path / "labels" / "cells", "0.5", attributes)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ((1, 2**31), "f8", "i8"),
        ((1, 2**31), "f4", "i8"),
        ((0, -(2**40)), "f8", "i8"),
        ((1, 2**53), "f8", "i8"),
        ((1, 2.0**62), "f4", "i8"),
        ((1, 70000), "f4", "i4"),
        ((1, 2048), "f2", "i4"),
        ((1, 2**63), "f8", None),
        ((1, 1e300), "f8", None),
        ((1, 2.5), "f8", None),
    ],
)
def test_ids_stored_as_floats_are_exact_or_an_image(tmp_path, values, dtype, expected):
    data = np.tile(np.array(values, dtype), (16, 12))
    # The coarsest level, of which a sample is taken, holds both values too.
    put_labelled(tmp_path / "a.zarr", data, level=data[::2, :12])
    layer = read_layers(tmp_path / "a.zarr")[-1]
    made([layer])
    assert layer[2] == ("image" if expected is None else "labels")
    shown = layer[0][0]
    assert shown.dtype == np.dtype(expected or dtype)
    np.testing.assert_array_equal(shown.compute(), data)
    assert "cells" in said(layer)


@pytest.mark.parametrize("odd", [2.0**31, -(2.0**40), 1.5])
def test_an_id_that_no_sample_showed_is_an_error_and_never_another_id(tmp_path, odd):
    data = np.ones((16, 24), np.float32)
    data[3, 3] = odd
    put_labelled(tmp_path / "a.zarr", data)
    layer = read_layers(tmp_path / "a.zarr")[-1]
    with pytest.raises(DamagedDataError, match="whole numbers"):
        layer[0][0].compute()
    np.testing.assert_array_equal(layer[0][0][8:].compute(), data[8:])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_ids_of_every_type_are_taken_with_their_colours(tmp_path, dtype):
    ends = np.iinfo(dtype)
    data = np.zeros((16, 24), dtype)
    data[0, :3] = ends.max, ends.min, 7
    colors = [1, 7, 70000, int(ends.max), -1, int(ends.min), 2**63 - 1, 2**64 - 1]
    put_labelled(tmp_path / "a.zarr", data, colors)
    layers = read_layers(tmp_path / "a.zarr")
    labels = made(layers)[-1]
    np.testing.assert_array_equal(labels.data[0].compute(), data)
    np.testing.assert_allclose(labels.get_color(7)[:3], np.array([10, 20, 30]) / 255)
    labels.colormap.map(data)


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize(
    ("listed", "kept"),
    [((1, 2), 2), ((1, 70000), 1), ((70000, 80000), 0), ((-40000, 1), 1), ((-3, 5), 2)],
)
def test_colours_that_need_numba_are_left_out_without_it(
    tmp_path, monkeypatch, installed, listed, kept
):
    monkeypatch.setattr(api, "_LARGE_IDS", ("numpy",) if installed else ("nobody",))
    put_labelled(tmp_path / "a.zarr", np.zeros((16, 24), np.int32), listed)
    layer = read_layers(tmp_path / "a.zarr")[-1]
    colors = layer[1].get("colormap", {}).keys() & set(listed)
    assert len(colors) == (len(listed) if installed else kept)
    left_out = len(listed) - len(colors)
    assert ("numba" in said(layer)) == bool(left_out)
    if not installed:
        made([layer])[0].colormap.map(np.array([[0, 1, 70000]]))


@given(
    arrays.arrays(st.sampled_from(["f2", "f4", "f8", *INTEGERS]), 5),
    st.sampled_from(INTEGERS),
)
def test_a_cast_gives_the_same_number_or_the_nearest_or_an_error(values, name):
    dtype = np.dtype(name)
    ends = np.iinfo(dtype)
    near = Cast(MemoryPixels(values, (5,)), dtype, exact=False)[...]
    finite = [v.item() if np.isfinite(v) else 0 for v in values]
    inside = [min(max(round(v), int(ends.min)), int(ends.max)) for v in finite]
    assert near.tolist() == inside
    exact = Cast(MemoryPixels(values, (5,)), dtype)
    if inside == finite:
        assert exact[...].tolist() == finite
    else:
        with pytest.raises(DamagedDataError):
            exact[...]
