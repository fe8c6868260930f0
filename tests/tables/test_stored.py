"""The layouts of ngio and spatialdata, as others write them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.errors import MetadataError, OptionError, UnsupportedDataError
from napari_omezarr.location import Location
from napari_omezarr.tables import (
    by_well,
    csv_bytes,
    feature_source,
    feature_table,
    named_table,
    open_table,
    parse_file,
    stored_tables,
    table_in_words,
    table_of,
    unit_of,
)
from stored_tables import put_by_ngio, put_group, put_table


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("backend", ["csv", "parquet", "json"])
def test_each_backend_of_ngio_is_read(backend, zarr_format, tmp_path):
    (found,) = stored_tables(put_by_ngio(tmp_path, backend, zarr_format))
    assert (found.kind, found.label, found.backend) == (
        "feature_table",
        "nuclei",
        backend,
    )
    assert found.shape() == (2, 3)
    features = found.read().features()
    assert list(features) == ["index", "area", "kind"]
    assert list(features["index"]) == [4, 2]
    np.testing.assert_array_equal(features["area"], [1.5, 2.5])
    assert list(features["kind"]) == ["a", "b"]
    assert open_table(found.location).read().features().keys() == features.keys()


def test_a_backend_of_tomorrow_is_said(tmp_path):
    place = put_by_ngio(tmp_path, "csv")
    attributes = tmp_path / "tables" / "measured" / ".zattrs"
    attributes.write_text(attributes.read_text().replace('"csv"', '"arrow"'))
    (found,) = stored_tables(place)
    with pytest.raises(UnsupportedDataError, match="stored as arrow"):
        found.read()


def test_what_is_listed_and_is_no_table_is_left_out(tmp_path):
    put_group(tmp_path / "tables", {"tables": ["a", "../b", "", 3, "c"]})
    put_group(tmp_path / "tables" / "c", {"something": "else"})
    assert stored_tables(Location.parse(tmp_path)) == ()
    assert named_table(Location.parse(tmp_path), "../tables/c") is None


def test_tables_without_a_list_are_found_by_listing(tmp_path):
    """Spatialdata lists none."""
    put_table(tmp_path, feature_table({"area": [1.0]}, [3]), name="counts")
    content = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    (tmp_path / "tables" / "zarr.json").write_text(json.dumps(content))
    assert [t.name for t in stored_tables(Location.parse(tmp_path))] == ["counts"]


WORDS = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=6)


@given(
    numbers=st.lists(st.integers(-(2**60), 2**60), min_size=1, max_size=5),
    floats=st.lists(st.floats(allow_infinity=False), min_size=5, max_size=5),
    words=st.lists(WORDS.map(lambda w: f"w {w}"), min_size=5, max_size=5),
)
def test_csv_is_read_back_as_it_was(numbers, floats, words):
    rows = len(numbers)
    columns = {"n": numbers, "f": floats[:rows], "w": words[:rows]}
    table = table_of(columns)
    found = parse_file("csv", csv_bytes(table.columns), "here")
    assert list(found) == list(columns)
    np.testing.assert_array_equal(found["n"], numbers)
    np.testing.assert_array_equal(found["f"], np.array(floats[:rows]))
    assert list(found["w"]) == [word.strip() for word in columns["w"]]


@pytest.mark.parametrize(
    "named",
    [
        {"row": ["B", "b", "C"], "column": [3, 3, 12]},
        {"row": ["B", "B", "C"], "column": ["03", "3", "12"]},
        {"row": ["B", "B", "C"], "column": [3.0, 3.0, 12.0]},
        {"well": ["B03", "B3", "C12"]},
        {"Well": ["B/03", "B/3/1", "C-12"]},
        {"path_in_plate": ["B/03/0", "B/03/1", "C/12/0"]},
    ],
)
def test_conditions_belong_to_wells(named):
    table = table_of({**named, "dose": [1.0, 3.0, 10.0], "drug": ["x", "x", None]})
    wells = ["A/1", "B/03", "C/12"]
    assert by_well(table, "dose", wells) == {"B/03": 2.0, "C/12": 10.0}
    assert by_well(table, "drug", wells) == {"B/03": "x"}


@pytest.mark.parametrize(
    ("columns", "unit"),
    [
        ({"dose": [1]}, ""),
        ({"dose (µM)": [1]}, "µM"),
        ({"dose [ ng/ml ]": [1]}, "ng/ml"),
        ({"dose_nM": [1]}, "nM"),
        ({"dose_ug_ml": [1]}, "ug/ml"),
        ({"mean_intensity": [1]}, ""),
        ({"dose": [1, 2], "dose_unit": ["mM", "mM"]}, "mM"),
        ({"dose": [1, 2], "unit": ["mM", "M"]}, ""),
    ],
)
def test_units_are_those_that_a_table_says(columns, unit):
    assert unit_of(table_of(columns), next(iter(columns))) == unit


@pytest.mark.parametrize(
    ("columns", "wells"),
    [
        ({"row": ["ABCDEF", "AAA"], "column": [1, 2000]}, ["ABCDEF/1", "AAA/2000"]),
        ({"well": ["abcdef1", " AAA 2000 "]}, ["ABCDEF/1", "AAA/2000"]),
        ({"row": [1.0, 2.0], "column": [2, 3]}, ["1/02", "2/3"]),
        ({"Well ": ["1/b", "2/C"]}, ["1/B", "2/C"]),
        ({"row": ["A", "B", "C"], "column": [1, 2, np.nan]}, ["A/1", "B/2"]),
        ({"row": ["A", "B", None], "column": [1.0, 2.0, np.inf]}, ["A/1", "B/2"]),
    ],
)
def test_wells_of_any_name_have_conditions_and_rows_without_one_cost_themselves(
    columns, wells
):
    said = ["5 µM of 薬", "no drug", "?"][: len(next(iter(columns.values())))]
    found = by_well(table_of({**columns, "the drug": said}), "the drug", wells)
    assert found == dict(zip(wells, said, strict=False))


@pytest.mark.parametrize(
    ("body", "columns"),
    [
        ("id,x\n1_0,2\n2_1,3\n", {"id": ["1_0", "2_1"], "x": [2, 3]}),
        ("x,x,y\n1,2,3\n", {"x": [1], "x_2": [2], "y": [3]}),
        ("a;y\n1,5;x\n2;z\n", {"a": [1.5, 2.0], "y": ["x", "z"]}),
        ("dose,n\n5 µM,1\n".encode("cp1252"), {"dose": ["5 µM"], "n": [1]}),
        ("dose\tn\n5 µM\t1\n".encode("utf-16"), {"dose": ["5 µM"], "n": [1]}),
    ],
)
def test_text_of_other_programs_is_read_as_it_is_meant(body, columns):
    bytes_ = body if isinstance(body, bytes) else body.encode()
    found = parse_file("csv", bytes_, "a.csv")
    assert {name: column.tolist() for name, column in found.items()} == columns


def test_rows_of_several_label_images_without_a_column_for_them_are_refused(tmp_path):
    said = {"region": ["cells", "nuclei"], "region_key": "which"}
    said |= {"type": "feature_table", "index_key": "label", "backend": "csv"}
    put_group(tmp_path / "tables", {"tables": ["t"]}, 3)
    put_group(tmp_path / "tables" / "t", said, 3)
    (tmp_path / "tables" / "t" / "table.csv").write_text("label,area\n1,2\n")
    (table,) = stored_tables(Location.parse(tmp_path))
    with pytest.raises(MetadataError, match="which rows are about which labels"):
        replace(table, label="cells").read()


@pytest.mark.parametrize("labels", [[1.5, 2], [1, np.nan], [1e300, 1], [np.inf, 1]])
def test_what_is_no_label_is_refused(labels):
    table = table_of({"label": labels, "area": [1, 2]}, "label")
    with pytest.raises(OptionError, match="no whole numbers"):
        table.features()
    whole = table_of({"label": [1.0, 1.0], "area": [1, 2]}, "label").features()
    assert whole["index"].tolist() == [1, 1]


def test_tables_that_know_no_wells_say_so():
    table = table_of({"dose": [1.0]})
    with pytest.raises(OptionError, match="nothing of wells"):
        by_well(table, "dose", ["A/1"])
    with pytest.raises(OptionError, match="no column drug"):
        by_well(table, "drug", ["A/1"])


def test_a_document_that_names_very_much_or_leads_elsewhere_is_bounded(tmp_path):
    put_table(tmp_path, feature_table({"n": [1, 2]}, [3, 7]))
    file = tmp_path / "tables" / "cells_features" / "obs" / "zarr.json"
    document = json.loads(file.read_text())
    order = ["../../../secret", *document["attributes"]["column-order"]]
    document["attributes"]["column-order"] = order + ["away"] * 20_000
    file.write_text(json.dumps(document))
    (found,) = stored_tables(Location.parse(tmp_path))
    assert list(found.read().columns) == ["label", "n"]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_rows_about_several_label_images_go_to_each_its_own(zarr_format, tmp_path):
    columns = {
        "sample": ["first", "labels/second", "first"],
        "cell": [2, 2, 7],
        "area": [1.0, 2.0, 3.0],
    }
    put_table(tmp_path, table_of(columns), zarr_format, "", "table")
    document = (
        tmp_path / "tables/table" / (".zattrs" if zarr_format == 2 else "zarr.json")
    )
    content = json.loads(document.read_text())
    said = content if zarr_format == 2 else content["attributes"]
    said |= {"region": ["first", "second"], "region_key": "sample"}
    said |= {"instance_key": "cell", "spatialdata-encoding-type": "ngff:regions_table"}
    for name in ("type", "index_key"):
        said.pop(name, None)
    document.write_text(json.dumps(content))
    (table,) = stored_tables(Location.parse(tmp_path))
    assert (table.regions, table.label, table.key) == (("first", "second"), "", "cell")
    assert table.read().columns["sample"].tolist() == columns["sample"]
    assert table_in_words(said) == "features of first, second"
    for name, cells, areas in (("first", [2, 7], [1, 3]), ("second", [2], [2])):
        place = Location.parse(tmp_path / "labels" / name)
        (found,) = feature_source(place).others()
        features = found.read().features()
        assert features["index"].tolist() == cells
        assert features["area"].tolist() == areas
        assert "sample" not in features
