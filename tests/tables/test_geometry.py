"""Places in tables: what we save of layers, regions, coordinates, and WKB."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr import read_layers
from napari_omezarr.errors import MetadataError, NodeNotFoundError, OptionError
from napari_omezarr.layers import regions_of
from napari_omezarr.location import Location
from napari_omezarr.tables import (
    GEOMETRY,
    csv_bytes,
    geometry_of,
    stored_tables,
    table_of,
)
from napari_omezarr.tables.geometry import parse_wkb
from napari_omezarr.writing import write_image
from stored_tables import parquet, put_group, put_regions

# Regions of interest, as ngio writes them.


@pytest.fixture
def regions(tmp_path):
    place = tmp_path / "a.zarr"
    scale, moved = (0.5, 0.25), (100.0, 0.0)
    options = {"units": "micrometer", "scale": scale, "translation": moved}
    write_image(np.ones((40, 80), np.uint8), place, "yx", **options)
    put_regions(place, ["FOV_1", "FOV_2"], [(0, 0, 10, 20), (10, 0, 10, 20)])
    return place


def test_regions_are_shapes_at_the_edges_of_their_pixels(regions):
    ((data, options, kind),) = read_layers(regions / "tables" / "FOV_ROI_table")
    assert kind == "shapes"
    assert list(options["features"]["name"]) == ["FOV_1", "FOV_2"]
    assert options["units"] == ("micrometer", "micrometer")
    world = np.array(data[1]) * options["scale"] + options["translate"]
    # The image begins half a pixel before the centre of its first one, at 100, 0.
    np.testing.assert_allclose(world.min(axis=0), [100 - 0.25 + 10, -0.125])
    np.testing.assert_allclose(world.max(axis=0), [100 - 0.25 + 20, 20 - 0.125])


def test_regions_are_found_by_their_names(regions):
    (table,) = stored_tables(Location.parse(regions))
    found = regions_of(table)
    assert list(found) == ["FOV_1", "FOV_2"]
    assert found["FOV_2"] == (slice(109.75, 119.75), slice(-0.125, 19.875))


# Columns of coordinates, as many programs write them.


@pytest.mark.parametrize(
    "columns",
    [
        {"y": [1.0, 2.0], "x": [3.0, 4.0]},
        {"X": [3.0, 4.0], "Y": [1.0, 2.0]},
        {"x_micrometer": [3, 4], "y_micrometer": [1, 2]},
        {"centroid-0": [1, 2], "centroid-1": [3, 4]},
        {"index": [0, 1], "axis-0": [1, 2], "axis-1": [3, 4]},
        {"POSITION_X": [3, 4], "POSITION_Y": [1, 2], "POSITION_T": [0, 1]},
    ],
)
def test_a_csv_with_coordinates_is_points(columns, tmp_path):
    (tmp_path / "a.csv").write_bytes(csv_bytes(table_of(columns).columns))
    ((data, options, kind),) = read_layers(tmp_path / "a.csv")
    assert kind == "points"
    np.testing.assert_array_equal(data, [[1, 3], [2, 4]])
    assert options["axis_labels"] == ("y", "x")
    named = "x_micrometer" in columns
    assert options["units"][0] == ("micrometer" if named else "pixel")


def test_a_csv_of_places_in_time_is_tracks(tmp_path):
    columns = {
        "track_id": [2, 1, 1],
        "frame": [0, 1, 0],
        "x": [9, 2, 1],
        "y": [8, 4, 3],
    }
    columns["speed"] = [0.1, 0.2, 0.3]
    (tmp_path / "a.csv").write_bytes(csv_bytes(table_of(columns).columns))
    ((data, options, kind),) = read_layers(tmp_path / "a.csv")
    assert kind == "tracks"
    np.testing.assert_array_equal(data, [[1, 0, 3, 1], [1, 1, 4, 2], [2, 0, 8, 9]])
    assert list(options["features"]["speed"]) == [0.3, 0.2, 0.1]


def test_spots_of_trackmate_and_detections_of_qupath_have_places(tmp_path):
    lines = ["LABEL,TRACK_ID,POSITION_X,POSITION_Y,FRAME", "Label,Track ID,X,Y,Frame"]
    lines += [lines[-1], ",,(micron),(micron),", "ID1,4,1.5,2.5,0", "ID2,4,2,3,1"]
    (tmp_path / "spots.csv").write_text("\n".join(lines))
    ((data, _, kind),) = read_layers(tmp_path / "spots.csv")
    assert (kind, data.tolist()) == ("tracks", [[4, 0, 2.5, 1.5], [4, 1, 3, 2]])
    (tmp_path / "cells.tsv").write_text("Centroid X µm\tCentroid Y µm\n1\t2\n")
    ((data, options, kind),) = read_layers(tmp_path / "cells.tsv")
    assert (kind, data.tolist()) == ("points", [[2, 1]])
    assert options["units"] == ("micrometer", "micrometer")


def test_rows_that_lie_nowhere_are_left_out_and_said(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,kind\n1,2,a\n,3,b\n4,inf,c\n5,6,d\n")
    ((data, options, _),) = read_layers(tmp_path / "a.csv")
    assert data.tolist() == [[2, 1], [6, 5]]
    assert options["features"]["kind"] == ["a", "d"]
    assert "2 rows of a.csv" in options["metadata"]["warnings"][0]
    place = tmp_path / "a.zarr"
    write_image(np.ones((40, 80), np.uint8), place, "yx")
    put_regions(place, ["F1", "F2"], [(0, 0, 10, np.nan), (10, 0, 10, 20)])
    ((shapes, options, _),) = read_layers(place / "tables" / "FOV_ROI_table")
    assert (len(shapes), options["shape_type"]) == (1, ["rectangle"])
    assert list(options["features"]["name"]) == ["F2"]


COLUMNS = {"y": [1.0, 2.0], "x": [1.0, 2.0], "shape": [1, 0], "track_id": [0.5, 1]}


@pytest.mark.parametrize(
    "said",
    [
        {"axes": 5},
        {"axes": []},
        {"axes": ["nowhere"]},
        {"units": 5},
        {"features": [1]},
        {"looks": [1]},
        {"affine": "x"},
        {"affine": [[1, 0, 0], [0, 1, "a"]]},
        {"kind": None},
        {"kind": "shapes"},
        {"kind": "tracks"},
    ],
)
def test_a_layer_that_is_described_wrongly_is_one_of_our_errors(said):
    described = {"kind": "points", "axes": ["y", "x"], **said}
    table = replace(table_of(COLUMNS), attributes={GEOMETRY: described})
    with pytest.raises(OptionError, match="where its rows are"):
        geometry_of(table)


def test_tables_of_nothing_that_has_a_place_say_so(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"label,area\n1,2\n")
    with pytest.raises(OptionError, match="no columns x and y"):
        read_layers(tmp_path / "a.csv")
    with pytest.raises(OptionError, match="no numbers"):
        geometry_of(table_of({"x": ["a"], "y": ["b"]}))


def test_an_address_of_nothing_keeps_its_error(tmp_path):
    with pytest.raises(NodeNotFoundError, match="no OME-Zarr"):
        read_layers(tmp_path / "nothing.zarr")


# Elements of a spatialdata.


def put_element(folder, kind, transform=None, /, **columns):
    said = {"encoding-type": f"ngff:{kind}", "axes": ["x", "y"]}
    said["coordinateTransformations"] = [transform or {"type": "identity"}]
    put_group(folder, {**said, "spatialdata_attrs": {"version": "0.2"}}, 3)
    body = parquet(**columns)
    if kind == "points":
        (folder / "points.parquet").mkdir()
        (folder / "points.parquet" / "part.0.parquet").write_bytes(body)
    else:
        (folder / "shapes.parquet").write_bytes(body)


def test_points_of_a_spatialdata_are_points_in_its_world(tmp_path):
    scale = {"type": "scale", "scale": [0.5, 0.25]}
    put_element(tmp_path, "points", scale, x=[2.0, 4.0], y=[4.0, 8.0], gene=["a", "b"])
    ((data, options, kind),) = read_layers(tmp_path)
    assert kind == "points"
    np.testing.assert_array_equal(data, [[1, 1], [2, 2]])
    assert list(options["features"]["gene"]) == ["a", "b"]


def test_points_in_several_files_are_all_read(tmp_path):
    put_element(tmp_path, "points", x=[0.0], y=[0.0])
    for number in range(1, 20):
        file = tmp_path / "points.parquet" / f"part.{number}.parquet"
        file.write_bytes(parquet(x=[float(number)], y=[0.0]))
    ((data, _, _),) = read_layers(tmp_path)
    np.testing.assert_array_equal(data[:, 1], np.arange(20))


def test_circles_of_a_spatialdata_are_ellipses(tmp_path):
    circles = [wkb("point", [[10.0, 20.0]]), wkb("point", [[30.0, 5.0]])]
    put_element(tmp_path, "shapes", geometry=circles, radius=[2.0, 3.0])
    ((data, options, kind),) = read_layers(tmp_path)
    assert (kind, options["shape_type"]) == ("shapes", ["ellipse", "ellipse"])
    np.testing.assert_array_equal(data[0].min(axis=0), [18, 8])
    np.testing.assert_array_equal(data[0].max(axis=0), [22, 12])


def test_polygons_of_a_spatialdata_keep_their_features(tmp_path):
    ring = [[0, 0], [4, 0], [4, 3], [0, 0]]
    several = wkb("multipolygon", [[ring], [ring]])
    put_element(
        tmp_path, "shapes", geometry=[wkb("polygon", [ring]), several], kind=["a", "b"]
    )
    ((data, options, _),) = read_layers(tmp_path)
    assert options["shape_type"] == ["polygon"] * 3
    assert list(options["features"]["kind"]) == ["a", "b", "b"]
    np.testing.assert_array_equal(data[0], [[0, 0], [0, 4], [3, 4]])


def test_a_damaged_geometry_is_one_of_our_errors(tmp_path):
    put_element(tmp_path, "shapes", geometry=[wkb("point", [[1.0, 2.0]])[:-3]])
    with pytest.raises(MetadataError, match="damaged"):
        read_layers(tmp_path)


_CODES = {"point": 1, "line": 2, "polygon": 3, "multipolygon": 6}


def wkb(kind, parts, order="<"):
    """Write a geometry as the Open Geospatial Consortium has it."""
    flag = b"\x01" if order == "<" else b"\x00"
    ndim = np.ravel(np.array(parts, object)[0]).size if kind == "point" else 2
    z = 1000 if ndim == 3 else 0
    head = flag + struct.pack(f"{order}I", _CODES[kind] + z)

    def numbers(rows):
        return np.array(rows, f"{order}f8").tobytes()

    def ring(rows):
        return struct.pack(f"{order}I", len(rows)) + numbers(rows)

    if kind == "point":
        return head + numbers(parts)
    if kind == "line":
        return head + ring(parts)
    count = struct.pack(f"{order}I", len(parts))
    inner = [ring(p) if kind == "polygon" else wkb("polygon", p, order) for p in parts]
    return head + count + b"".join(inner)


ROWS = st.lists(
    st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=3, max_size=6
)


@given(order=st.sampled_from("<>"), rows=ROWS, holes=st.lists(ROWS, max_size=2))
def test_outlines_are_read_from_well_known_binary(order, rows, holes):
    for kind, parts in (
        ("line", rows),
        ("polygon", [rows, *holes]),
        ("multipolygon", [[rows, *holes]]),
    ):
        (found,) = parse_wkb(wkb(kind, parts, order))
        np.testing.assert_array_equal(found, np.array(rows))


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_geometry_or_refused(body):
    with suppress(ValueError, struct.error, LookupError):
        parse_wkb(body)


def test_the_documents_of_an_image_name_what_was_saved_with_it(tmp_path):
    from napari_omezarr import write_layers

    picture = (np.ones((8, 8), np.uint8), {"name": "a"}, "image")
    spots = (np.ones((2, 2)), {"name": "spots"}, "points")
    write_layers([picture, spots], tmp_path / "a.zarr")
    attributes = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    assert attributes["attributes"]["napari"] == {"tables": ["spots"]}
