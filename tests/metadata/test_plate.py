"""Plates and wells, sparse and contradictory ones too."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metadata_documents import plate
from napari_omezarr.errors import MetadataError
from napari_omezarr.metadata import (
    Acquisition,
    PlateWell,
    WellImage,
    parse_document,
    with_wells,
)

NAMES = st.text('AB1.(|+*é"\\/', min_size=1, max_size=2)
SOME = st.none() | st.sets(NAMES, max_size=3)


def parsed(*wells, **more):
    document = parse_document(plate(*wells, **more))
    return document.kind, document.warnings


def test_a_sparse_plate_keeps_all_rows_and_columns() -> None:
    kind, warnings = parsed(
        {"path": "B/3", "rowIndex": 1, "columnIndex": 2},
        {"path": "A/1", "rowIndex": 0, "columnIndex": 0},
        name="screen",
        field_count=4,
        acquisitions=[{"id": 0, "name": "first"}, {"id": 7}],
    )
    assert (kind.name, kind.field_count) == ("screen", 4)
    assert (kind.rows, kind.columns) == (("A", "B"), ("1", "2", "3"))
    assert kind.wells == (PlateWell("B/3", 1, 2), PlateWell("A/1", 0, 0))
    assert kind.acquisitions == (Acquisition(0, "first"), Acquisition(7))
    assert warnings == ()


def test_without_indices_the_path_places_a_well() -> None:
    kind, warnings = parsed({"path": "B/2"}, version="0.1")
    assert kind.wells == (PlateWell("B/2", 1, 1),)
    assert warnings == ()


def test_indices_place_a_well_whose_path_does_not_tell() -> None:
    kind, _ = parsed({"path": "well_17", "rowIndex": 1, "columnIndex": 2})
    assert kind.wells == (PlateWell("well_17", 1, 2),)
    kind, _ = parsed({"path": "B/02", "rowIndex": 1, "columnIndex": 1})
    assert kind.wells == (PlateWell("B/02", 1, 1),)


def test_the_path_wins_over_indices_with_a_warning() -> None:
    kind, warnings = parsed({"path": "A/2", "rowIndex": 1, "columnIndex": 0})
    assert kind.wells == (PlateWell("A/2", 0, 1),)
    assert sum("contradicts" in warning for warning in warnings) == 2


def test_rows_and_columns_that_only_wells_name_are_added() -> None:
    kind, warnings = parsed({"path": "C/9"}, rows=None, columns=[])
    assert (kind.rows, kind.columns) == (("C",), ("9",))
    assert kind.wells == (PlateWell("C/9", 0, 0),)
    assert warnings


def test_an_index_beyond_the_plate_makes_no_giant_plate() -> None:
    kind, warnings = parsed({"path": "Z/1", "rowIndex": 10**12, "columnIndex": 0})
    assert len(kind.rows) == 3
    assert kind.wells == (PlateWell("Z/1", 2, 0),)
    assert any("not on the plate" in warning for warning in warnings)


@pytest.mark.parametrize(
    "well",
    [
        {},
        None,
        3,
        {"path": None},
        {"path": "../../x"},
        {"path": "nowhere"},
        {"path": "nowhere", "rowIndex": -1, "columnIndex": 0},
        {"path": "nowhere", "rowIndex": 0.5, "columnIndex": 0},
        {"path": "A/1"},
    ],
    ids=str,
)
def test_wells_without_place_or_twice_are_left_out_with_a_warning(well) -> None:
    kind, warnings = parsed({"path": "A/1", "rowIndex": 0, "columnIndex": 0}, well)
    assert [each.path for each in kind.wells] == ["A/1"]
    assert warnings


@pytest.mark.parametrize("wells", [None, [], {}, "A/1", [None], 0])
def test_a_plate_without_wells_is_refused(wells) -> None:
    with pytest.raises(MetadataError, match=r"lists no well \(plate/wells\)"):
        parse_document(plate() | {"plate": {"rows": [], "columns": [], "wells": wells}})


@pytest.mark.parametrize("block", [[], "x", 3, {}, True])
def test_a_plate_that_is_no_object_is_refused(block) -> None:
    with pytest.raises(MetadataError, match="lists no well"):
        parse_document({"plate": block})


@pytest.mark.parametrize("names", [[{}], [{"name": ""}], [None], [{"name": "A"}] * 2])
def test_broken_names_are_warnings(names) -> None:
    kind, warnings = parsed({"path": "A/1"}, rows=names)
    assert "A" in kind.rows
    assert warnings


def test_numbers_as_names_are_read_as_text() -> None:
    kind, warnings = parsed({"path": "A/2"}, columns=[{"name": 1}, {"name": 2}])
    assert kind.columns == ("1", "2")
    assert kind.wells[0].column == 1
    assert warnings


@pytest.mark.parametrize(
    "acquisitions", [[{}], [{"id": 1}, {"id": 1}], [{"id": "one"}], 3, [None]]
)
def test_acquisitions_without_id_of_their_own_are_left_out(acquisitions) -> None:
    kind, warnings = parsed(acquisitions=acquisitions)
    assert len(kind.acquisitions) <= 1
    assert warnings


@pytest.mark.parametrize("count", [0, -1, "many", 1.5])
def test_a_field_count_that_is_none_is_a_warning(count) -> None:
    kind, warnings = parsed(field_count=count)
    assert kind.field_count is None
    assert warnings


def test_a_plate_of_1536_wells() -> None:
    rows = [{"name": f"r{index}"} for index in range(32)]
    columns = [{"name": str(index)} for index in range(48)]
    wells = [
        {"path": f"r{row}/{column}", "rowIndex": row, "columnIndex": column}
        for row in range(32)
        for column in range(48)
    ]
    kind, warnings = parsed(*wells, rows=rows, columns=columns)
    assert len(kind.wells) == 1536
    assert kind.wells[-1] == PlateWell("r31/47", 31, 47)
    assert warnings == ()


def test_a_well_lists_its_fields_in_order() -> None:
    images = [{"path": "2", "acquisition": 1}, {"path": "field.a"}, {"path": "2"}]
    document = parse_document({"well": {"images": images, "version": "0.4"}})
    assert document.kind.images == (WellImage("2", 1), WellImage("field.a"))


@pytest.mark.parametrize("images", [None, [], [{}], [{"path": "../x"}], "0", 3])
def test_a_well_without_fields_is_refused(images) -> None:
    with pytest.raises(MetadataError, match="lists no field of view"):
        parse_document({"well": {"images": images}})


@given(paths=st.lists(st.tuples(NAMES, NAMES)), rows=SOME, columns=SOME)
def test_wells_are_chosen_in_the_text_as_in_what_is_parsed(paths, rows, columns):
    listed = ["/".join(path) for path in paths]
    text = json.dumps({"wells": [{"path": p} for p in listed]}, ensure_ascii=False)
    kept = with_wells(text.encode(), rows, columns)
    if not listed or any(set(p) & set('"\\') or p.count("/") > 1 for p in listed):
        return  # such wells are not plain: they may all be left, to be parsed
    wanted = [
        path
        for path, (row, column) in zip(listed, paths, strict=True)
        if (rows is None or row in rows) and (columns is None or column in columns)
    ]
    found = [] if kept is None else json.loads(kept)["wells"]
    assert [well["path"] for well in found] == wanted


@pytest.mark.parametrize("name", ["B03", "b3", "B/3", "b/03"])
def test_a_well_in_the_text_is_found_however_it_is_written(name) -> None:
    wells = [{"path": path} for path in ("A/03", "B/03", "B/13", "BB/3")]
    kept = with_wells(json.dumps({"wells": wells}).encode(), None, None, [name])
    assert json.loads(kept)["wells"] == wells[1:2]
