"""Plates that are written: from arrays, images and files, by several at once."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import yaozarrs

import napari_omezarr
from commands import finest, run
from napari_omezarr import Location, add_plate_labels, read, read_layers, write_plate
from napari_omezarr.errors import OptionError, TargetExistsError
from napari_omezarr.samples import write_cells
from stored_tables import put_group

VERSIONS = ["0.4", "0.5", "0.6"]


def field(value, shape=(64, 96)):
    return np.random.default_rng(value).integers(1, 999, shape).astype(np.uint16)


def wells_of(path):
    document = json.loads((path / "zarr.json").read_text())
    plate = document["attributes"]["ome"]["plate"]
    return [well["path"] for well in plate["wells"]]


@pytest.mark.parametrize("version", VERSIONS)
def test_arrays_become_a_plate_and_wells_are_added(tmp_path, version):
    place = tmp_path / "p.zarr"
    first = write_plate(
        {"B2": field(1), "A/1": [field(2), field(3)]},
        place,
        axes="yx",
        scale=0.5,
        version=version,
        name="screen",
        levels=2,
    )
    assert [saved.address.rpartition("p.zarr/")[2] for saved in first] == [
        "B/2/0",
        "A/1/0",
        "A/1/1",
    ]
    write_plate({"C10": field(4), "B/2": []} | {"C9": field(5)}, place, axes="yx")
    plate = napari_omezarr.open(place, fields=0)
    assert (plate.name, plate.rows) == ("screen", ("A", "B", "C"))
    assert plate.columns == ("1", "2", "9", "10")
    assert plate.paths == ("A/1", "B/2", "C/9", "C/10")
    (layer,) = read_layers(place, fields=0)
    assert layer[1]["name"] == "screen"
    shown = layer[0][0].compute()
    np.testing.assert_array_equal(shown[:64, :96], field(2))
    np.testing.assert_array_equal(shown[132:196, 294:390], field(4))
    if version < "0.6":
        yaozarrs.validate_zarr_store(str(place))
    (second,) = read_layers(place, fields=1, wells=["A1"])
    np.testing.assert_array_equal(second[0][0].compute(), field(3))


def test_a_well_has_one_name_however_it_is_written(tmp_path):
    place = tmp_path / "p.zarr"
    rows = [{"well": w, "image": field(n)} for n, w in enumerate(("B03", "b3", "C3"))]
    write_plate(rows, place, axes="yx", levels=1)
    assert wells_of(place) == ["B/03", "C/03"]
    write_plate([{"well": "D3", "image": field(4)}], place, axes="yx", levels=1)
    more = [{"well": "B3", "field": "2", "image": field(5)}]
    write_plate(more, place, axes="yx", levels=1)
    assert wells_of(place) == ["B/03", "C/03", "D/03"]
    document = json.loads((place / "zarr.json").read_text())
    assert document["attributes"]["ome"]["plate"]["field_count"] == 3
    for name in ("B03", "b3", "B/3", "b/03"):
        (layer,) = read_layers(place, wells=[name], fields=0)
        np.testing.assert_array_equal(np.asarray(layer[0]), field(0))
    with pytest.raises(OptionError, match="no well B4"):
        read_layers(place, wells=["B4"])


def test_images_layers_and_acquisitions_become_fields(tmp_path):
    cells = write_cells(tmp_path / "cells.zarr", shape=(2, 64, 64))
    layers = read_layers(tmp_path / "cells.zarr")
    rows = [
        {"row": "A", "column": 1, "image": tmp_path / "cells.zarr", "acquisition": 0},
        {"row": "A", "column": 1, "image": lambda: layers, "acquisition": "1"},
    ]
    write_plate(rows, tmp_path / "p.zarr")
    found = read_layers(tmp_path / "p.zarr")
    assert [kind for _, _, kind in found] == ["image", "image", "labels"]
    assert found[0][1]["axis_labels"] == ("acquisition", "z", "y", "x")
    for step in (0, 1):
        np.testing.assert_array_equal(finest(found[1])[step].compute(), cells.image[1])
        np.testing.assert_array_equal(finest(found[2])[step].compute(), cells.labels)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ({"A": np.ones((2, 2))}, "is no well"),
        ([{"well": "A1"}], "names no image"),
        ([{"image": np.ones((2, 2))}], "does not say its well"),
        ([{"well": "A1", "image": 1, "acquisition": "x"}], "is no acquisition"),
        ([{"well": "A1", "image": 1, "acquisition": -1}], "is no acquisition"),
        ([{"well": "A1", "image": 1, "acquisition": 2.7}], "is no acquisition"),
        ([{"row": "A", "column": np.nan, "image": 1}], "does not say its well"),
        *(
            ([{"well": "A1", "image": 1, "field": name}], "no name of a field")
            for name in ("..", "../../../x", "/x", "a/b", ".zattrs", "zarr.json", "é")
        ),
        ([{"well": "A1", "image": 1, "field": "0"}] * 2, "named twice"),
    ],
)
def test_what_says_no_place_is_refused_before_anything_is_written(
    tmp_path, images, said
):
    with pytest.raises(OptionError, match=said):
        write_plate(images, tmp_path / "p.zarr")
    assert not (tmp_path / "p.zarr").exists()


def test_names_of_fields_are_those_that_the_version_has(tmp_path):
    rows = [{"well": "A1", "image": field(1), "field": "0_mip", "acquisition": 0}]
    with pytest.raises(OptionError, match="letters and digits"):
        write_plate(rows, tmp_path / "p.zarr", axes="yx", levels=1)
    write_plate(rows, tmp_path / "p.zarr", axes="yx", levels=1, version="0.6")
    for name in ("..", "__x", "zarr.json", "a/b"):
        rows[0]["field"] = name
        with pytest.raises(OptionError, match="no name of a field"):
            write_plate(rows, tmp_path / "p.zarr", axes="yx", levels=1)


def test_rows_of_pandas_have_floats_where_some_are_missing(tmp_path):
    place = tmp_path / "p.zarr"
    rows = [
        {"row": "A", "column": 1.0, "field": 3.0, "acquisition": 2.0},
        {"row": "A", "column": 2.0, "field": np.nan, "acquisition": np.nan},
    ]
    rows = [{**row, "well": np.nan, "image": field(1)} for row in rows]
    write_plate(rows, place, axes="yx", levels=1)
    assert wells_of(place) == ["A/1", "A/2"]
    well = json.loads((place / "A" / "1" / "zarr.json").read_text())
    listed = well["attributes"]["ome"]["well"]["images"]
    assert listed == [{"path": "3", "acquisition": 2}]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_that_was_made_to_be_filled_is(tmp_path, version):
    place = tmp_path / "p.zarr"
    plate = {"rows": [], "columns": [{"name": "01"}], "wells": [], "name": "empty"}
    if version == "0.4":
        put_group(place, {"plate": {**plate, "version": "0.4"}}, 2)
    else:
        put_group(place, {"ome": {"version": "0.5", "plate": plate}}, 3)
    write_plate({"B1": field(4)}, place, axes="yx", levels=1)
    shown = read(Location.parse(place))
    assert (shown.kind.name, shown.kind.rows, shown.kind.columns) == (
        "empty",
        ("B",),
        ("01",),
    )
    values = read_layers(place)[0][0].compute()
    np.testing.assert_array_equal(values, field(4))
    assert (place / "B" / "01" / "0").is_dir()


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": None, "columns": None},
        {"rows": ["A"], "columns": [{"name": "9"}]},
        {"acquisitions": None},
        {"acquisitions": [None], "field_count": None},
        {"wells": [None, {"path": "A/1"}]},
    ],
)
def test_a_plate_of_others_that_lists_things_wrongly_gets_a_well(tmp_path, changed):
    place = tmp_path / "p.zarr"
    write_plate({"A1": field(1)}, place, axes="yx", levels=1)
    document = json.loads((place / "zarr.json").read_text())
    document["attributes"]["ome"]["plate"] |= changed
    (place / "zarr.json").write_text(json.dumps(document))
    write_plate({"B2": field(2)}, place, axes="yx", levels=1)
    plate = json.loads((place / "zarr.json").read_text())["attributes"]["ome"]["plate"]
    names = {kind: [e["name"] for e in plate[kind]] for kind in ("rows", "columns")}
    for well in plate["wells"]:
        row, column = (
            names["rows"][well["rowIndex"]],
            names["columns"][well["columnIndex"]],
        )
        assert well["path"] == f"{row}/{column}"
    assert [well["path"] for well in plate["wells"]] == ["A/1", "B/2"]


def test_what_is_there_stays_unless_it_is_to_be_replaced_or_gone_on(tmp_path):
    place = tmp_path / "p.zarr"
    write_plate({"A1": field(1)}, place, axes="yx")
    with pytest.raises(TargetExistsError, match="has a field 0 already"):
        write_plate({"A2": field(5), "A1": field(2)}, place, axes="yx")
    assert wells_of(place) == ["A/1", "A/2"]  # what was whole is listed
    again = {"A1": field(2), "A3": field(3)}
    assert len(write_plate(again, place, axes="yx", unfinished="resume")) == 1
    write_plate({"A1": field(7)}, place, axes="yx", existing="replace")
    shown = read_layers(place)[0][0].compute()
    np.testing.assert_array_equal(shown[:, :96], field(7))
    np.testing.assert_array_equal(shown[:, 2 * 98 : 2 * 98 + 96], field(3))
    with pytest.raises(OptionError, match=r"is OME-Zarr 0\.5, not 0\.4"):
        write_plate({"A4": field(1)}, place, axes="yx", version="0.4")
    with pytest.raises(OptionError, match="is no plate"):
        write_plate({"A4": field(1)}, place / "A" / "1" / "0", axes="yx")


def in_place(where, request, tmp_path):
    if where == "folder":
        return tmp_path / "p.zarr"
    request.getfixturevalue("owner")
    server = request.getfixturevalue("s3_server")
    prefix = request.getfixturevalue("s3_prefix")
    return Location.parse(f"s3://private/{prefix}/p.zarr", endpoint=server.endpoint)


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_several_add_wells_and_fields_at_once(where, request, tmp_path):
    place = in_place(where, request, tmp_path)

    def add(number):
        rows = [
            {"well": f"{'AB'[number % 2]}{number}", "image": field(number, (8, 8))},
            {"well": "C1", "field": f"{number}", "image": field(9, (8, 8))},
        ]
        return write_plate(rows, place, axes="yx", levels=1, workers=1)

    with ThreadPoolExecutor(4) as pool:
        assert sum(map(len, pool.map(add, range(6)))) == 12
    plate = napari_omezarr.open(place)
    assert len(plate.paths) == 7
    shown = read_layers(place, wells=["C1"], fields="each")[0][0]
    assert shown.shape == (6, 8, 8)
    assert all((shown[n].compute() == field(9, (8, 8))).all() for n in range(6))


def test_consolidated_metadata_learn_of_new_wells(tmp_path):
    import zarr

    place = tmp_path / "p.zarr"
    write_plate({"A1": field(1)}, place, axes="yx")
    with pytest.warns(zarr.errors.ZarrUserWarning):
        zarr.consolidate_metadata(str(place))
    write_plate({"A2": field(2)}, place, axes="yx")
    document = json.loads((place / "zarr.json").read_text())
    held = document["consolidated_metadata"]["metadata"]
    assert {"A/2", "A/2/0", "A/2/0/0"} <= held.keys()
    assert wells_of(place) == ["A/1", "A/2"]


def test_wells_that_differ_are_known_though_each_field_has_its_own_metadata(
    tmp_path, http_server
):
    # Each field's group has consolidated metadata, which say nothing of other wells.
    wells = {"A1": field(1), "A2": field(2, (80, 120)), "B1": field(3).astype("f4")}
    write_plate(wells, tmp_path / "p.zarr", axes="yx")
    (plate,) = read(tmp_path / "p.zarr").pyramids
    assert plate.name == "p"
    shown = plate.levels[0].pixels[...]
    assert shown.dtype == np.float32
    np.testing.assert_array_equal(shown[:64, :96], wells["A1"])
    np.testing.assert_array_equal(shown[:80, 122:242], wells["A2"])
    np.testing.assert_array_equal(shown[82:146, :96], wells["B1"])
    served = read(f"{http_server.url}/p.zarr")
    np.testing.assert_array_equal(served.pyramids[0].levels[0].pixels[...], shown)


def test_labels_of_the_picture_go_into_the_fields_they_lie_on(tmp_path):
    place = tmp_path / "p.zarr"
    write_plate({"A1": [field(1), field(2)], "A2": field(3)}, place, axes="yx")
    (plate,) = read_layers(place)
    cells = np.zeros(plate[0].shape, np.int32)
    cells[5:9, 90:120] = 7  # over both fields of A1, and the gap between them
    assert add_plate_labels(cells, plate, name="cells") == ("A/1/0", "A/1/1")
    image, labels = read_layers(place)
    kept = cells.copy()
    kept[:, 96] = 0
    np.testing.assert_array_equal(labels[0].compute(), kept)
    assert image[1]["name"] == plate[1]["name"]
    edited = kept.copy()
    edited[5:9, 100:120] = 0
    edited[20:24, 200:210] = 9
    before = {p: p.stat().st_mtime_ns for p in (place / "A" / "1" / "0").rglob("*")}
    said = add_plate_labels(edited, plate, name="cells", original=kept)
    assert said == ("A/1/1", "A/2/0")
    np.testing.assert_array_equal(read_layers(place)[1][0].compute(), edited)
    assert before == {p: p.stat().st_mtime_ns for p in before}
    with pytest.raises(OptionError, match="The labels are 3 x 3"):
        add_plate_labels(cells[:3, :3], place, name="cells")
    with pytest.raises(OptionError, match="no plate"):
        add_plate_labels(cells, place / "A" / "2" / "0", name="cells")
    # A well of one field is that image: where its labels go is said.
    well = place / "A" / "2"
    for image in (well, read_layers(well)[0]):
        with pytest.raises(OptionError, match="add_labels") as caught:
            add_plate_labels(cells, image, name="cells")
        assert str(well / "0") in str(caught.value)


@pytest.mark.parametrize("inside", ["A/2", "A/2/0"])
def test_labels_made_on_the_one_field_of_a_well_go_into_it(tmp_path, inside):
    place = tmp_path / "p.zarr"
    write_plate({"A1": field(1), "A2": field(2)}, place, axes="yx")
    image, *_ = read_layers(place / inside)
    finest = image[0][0] if isinstance(image[0], list) else image[0]
    cells = np.zeros(finest.shape, np.int32)
    assert add_plate_labels(cells, image, name="cells") == ()
    cells[3:5, 7:9] = 4
    assert add_plate_labels(cells, image, name="cells") == ("A/2/0",)
    edited = cells.copy()
    edited[3, 7] = 0
    said = add_plate_labels(edited, image, name="cells", original=cells)
    assert said == ("A/2/0",)
    stored = read_layers(place / "A" / "2" / "0" / "labels" / "cells")[0][0]
    finest = np.asarray(stored[0] if isinstance(stored, list) else stored)
    np.testing.assert_array_equal(finest, edited)
    assert not (place / "A" / "1" / "0" / "labels").exists()


def test_a_table_of_files_becomes_a_plate_by_the_command(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "one.tif", field(1))
    write_cells(tmp_path / "two.zarr", shape=(2, 64, 96))
    with (tmp_path / "plate.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerows([["Well", "Path"], ["A01", "one.tif"], ["B02", "two.zarr"]])
    arguments = ["write-plate", str(tmp_path / "plate.csv"), str(tmp_path / "p.zarr")]
    assert "2 fields written" in run(*arguments)
    assert wells_of(tmp_path / "p.zarr") == ["A/01", "B/02"]
    assert "has a field 0 already" in run(*arguments, code=5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_py_reads_the_plate(tmp_path, version):
    parse_url = pytest.importorskip("ome_zarr.io").parse_url
    reader = pytest.importorskip("ome_zarr.reader")
    fields = {"A1": field(1), "A2": field(2), "B1": field(3)}
    write_plate(fields, tmp_path / "p.zarr", axes="yx", version=version)
    (node, *_) = reader.Reader(parse_url(str(tmp_path / "p.zarr")))()
    assert any(isinstance(spec, reader.Plate) for spec in node.specs)
    shown = np.asarray(node.data[0])
    np.testing.assert_array_equal(shown[:64, :96], fields["A1"])
    np.testing.assert_array_equal(shown[64:, :96], fields["B1"])
