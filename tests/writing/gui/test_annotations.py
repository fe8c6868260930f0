"""Layers of points, shapes and tracks: saved beside an image, read back the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from napari.layers import Image, Layer, Points, Shapes, Tracks

from napari_omezarr import read_layers, write_layers

IMAGE = np.ones((16, 24), np.uint8)
PLACED = {"scale": (0.5, 0.25), "units": "micrometer"}
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


def saved(layer, folder, **options):
    """Save a layer with an image, and read it back."""
    write_layers([Image(IMAGE, name="dapi", **PLACED), layer], folder, **options)
    _, data = read_layers(folder)
    return Layer.create(*data)


def assert_same(found, layer, *names):
    assert type(found) is type(layer)
    assert found.name == layer.name
    np.testing.assert_array_equal(found.scale, layer.scale)
    np.testing.assert_array_equal(found.translate, layer.translate)
    pd.testing.assert_frame_equal(
        found.features, layer.features, check_column_type=False, check_dtype=False
    )
    for name in names:
        np.testing.assert_array_equal(getattr(found, name), getattr(layer, name), name)


@st.composite
def point_layers(draw):
    count, ndim = draw(st.integers(0, 5)), draw(st.integers(2, 4))
    data = draw(arrays.arrays(np.float64, (count, ndim), elements=numbers))
    sizes = st.floats(0.5, 90) if draw(st.booleans()) else st.just(7.0)
    features = {
        "q": draw(arrays.arrays(np.float64, count, elements=numbers)),
        "kind": draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count)),
    }
    scale = draw(st.sampled_from([1.0, 0.3]))
    return Points(
        data,
        ndim=ndim,
        name=draw(st.sampled_from(["spots", "a/b"])),
        size=draw(st.lists(sizes, min_size=count, max_size=count)) or 3,
        features=features if count else None,
        face_color=draw(st.sampled_from(["red", "#12345678"])),
        symbol=draw(st.sampled_from(["disc", "square"])),
        opacity=draw(st.sampled_from([1.0, 0.25])),
        scale=(scale,) * ndim,
    )


@settings(max_examples=12)
@given(layer=point_layers())
def test_points_come_back_as_they_were(layer, tmp_path_factory):
    found = saved(layer, tmp_path_factory.mktemp("points") / "a.zarr")
    names = ("data", "opacity")
    if len(layer.data):
        names += ("size", "face_color", "symbol", "shown")
    assert_same(found, layer, *names)


TYPES = {"rectangle": 4, "ellipse": 4, "polygon": 5, "path": 3, "line": 2}


@st.composite
def shape_layers(draw):
    types = draw(st.lists(st.sampled_from(list(TYPES)), min_size=1, max_size=4))
    data = []
    for kind in types:
        top, left, side = draw(st.tuples(*[st.integers(0, 40)] * 3))
        corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0], [0.5, -1]])
        data.append(corners[: TYPES[kind]] * (side + 1.5) + [top, left])
    widths = [draw(st.sampled_from([1.0, 2.5])) for _ in types]
    return Shapes(
        data,
        shape_type=types,
        name="rois",
        edge_width=widths,
        edge_color=draw(st.sampled_from(["red", "#11223344"])),
        face_color=[draw(st.sampled_from(["blue", "transparent"])) for _ in types],
        features={"n": np.arange(len(types))},
        translate=draw(st.sampled_from([(0, 0), (3.5, -2)])),
    )


@settings(max_examples=8)
@given(layer=shape_layers())
def test_shapes_come_back_as_they_were(layer, tmp_path_factory):
    found = saved(layer, tmp_path_factory.mktemp("shapes") / "a.zarr")
    assert_same(found, layer, "edge_width", "edge_color", "face_color", "z_index")
    assert list(found.shape_type) == list(layer.shape_type)
    for one, other in zip(found.data, layer.data, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_tracks_come_back_with_their_graph(version, tmp_path):
    rows = [[1, 0, 2, 3], [1, 1, 3, 4], [2, 2, 4, 4], [2, 3, 5, 5], [3, 2, 2, 2]]
    rows.append([3, 3, 1, 1])
    layer = Tracks(
        np.array(rows, float),
        name="lineage",
        graph={2: [1], 3: [1]},
        features={"speed": np.arange(6) * 0.5},
        tail_length=12,
    )
    found = saved(layer, tmp_path / "a.zarr", version=version)
    np.testing.assert_array_equal(found.data, layer.data)
    assert found.graph == layer.graph
    assert found.tail_length == 12
    np.testing.assert_array_equal(found.features["speed"], layer.features["speed"])
    assert found.axis_labels == ("t", "y", "x")


def test_layers_of_each_kind_go_together(tmp_path):
    layers = [
        Image(IMAGE, name="dapi"),
        Points(np.ones((3, 2)), name="spots"),
        Points(np.zeros((2, 2)), name="spots"),
        Shapes([np.array([[0, 0], [4, 4]])], shape_type="line", name="rois"),
        Tracks(np.array([[0, 0, 1, 1], [0, 1, 2, 2]]), name="way"),
    ]
    written = write_layers(layers, tmp_path / "a.ozx")
    assert written.plan.losses == ()
    found = read_layers(tmp_path / "a.ozx")
    assert [kind for _, _, kind in found] == [
        "image",
        "points",
        "points",
        "shapes",
        "tracks",
    ]
    # Once more, from what was read: nothing is lost on the way.
    again = write_layers(found, tmp_path / "b.zarr")
    assert [t.name for t in again.plan.annotations] == [
        t.name for t in written.plan.annotations
    ]
