"""Tables about labels from anywhere, matched to the labels."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from napari_omezarr import errors
from napari_omezarr.browsing import read_table
from napari_omezarr.location import Location
from stored_tables import parquet

TSV = "label_id\tarea\tclass\tcount\n1\t1.5\tcell\t3\n7\t\tdirt\t4\n"


def table(folder, name, content):
    (folder / name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    return read_table(Location.parse(folder / name))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", TSV),
        ("a.csv", "\ufeff" + TSV.replace("\t", ",")),
        ("a.csv", TSV.replace("\t", ";").replace("\n", "\r\n")),
        (
            "a.parquet",
            parquet(
                label_id=[1, 7],
                area=[1.5, None],
                **{"class": ["cell", "dirt"]},
                count=[3, 4],
            ),
        ),
    ],
)
def test_the_rows_are_about_labels(tmp_path, name, content):
    found = table(tmp_path, name, content)
    assert found.label_column == "label_id"
    assert found.candidates == ("label_id", "count")
    features = found.features()
    assert list(features) == ["index", "area", "class", "count"]
    np.testing.assert_array_equal(features["index"], [1, 7])
    np.testing.assert_array_equal(features["area"], [1.5, np.nan])
    assert list(features["class"]) == ["cell", "dirt"]
    assert features["index"].dtype == np.int64


@pytest.mark.parametrize("where", ["http", "s3"])
def test_a_table_may_lie_anywhere(where, tmp_path, http_server, s3_server):
    (tmp_path / "a.tsv").write_text(TSV)
    s3_server.put("public/test-table/a.tsv", TSV.encode())
    address = {
        "http": f"{http_server.url}/a.tsv",
        "s3": f"s3+{s3_server.endpoint}/public/test-table/a.tsv",
    }
    assert read_table(Location.parse(address[where])).label_column == "label_id"


def test_another_column_can_be_chosen(tmp_path):
    found = table(tmp_path, "a.csv", "number,index\n3,1\n4,2\n")
    assert found.label_column == "index"
    features = found.features("number")
    assert list(features) == ["index"]
    np.testing.assert_array_equal(features["index"], [3, 4])


def test_whole_numbers_may_be_written_with_a_point(tmp_path):
    found = table(tmp_path, "a.csv", "Label,x\n1.0,2.5\n2.0,3.5\n")
    assert (found.label_column, found.candidates) == ("Label", ("Label",))
    assert found.features()["index"].dtype == np.int64


def test_without_a_column_for_labels_the_person_is_asked(tmp_path):
    found = table(tmp_path, "a.csv", "x,y\n1.5,a\n2,b\n")
    assert found.label_column == ""
    with pytest.raises(errors.OptionError, match="possible: none"):
        found.features()
    with pytest.raises(errors.OptionError, match="y does not say"):
        found.features("y")


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [
        ("a.xlsx", "", errors.UnsupportedDataError, "no table that is known"),
        ("a.csv", b"\xff\xfe", errors.MetadataError, "no table in plain text"),
        ("a.csv", "a,b\n", errors.MetadataError, "has no rows"),
        ("a.csv", "a,b\n1\n", errors.MetadataError, "differ in length"),
        ("a.parquet", "no", errors.MetadataError, "no Parquet"),
    ],
)
def test_what_is_no_table_is_said(tmp_path, name, content, kind, words):
    with pytest.raises(kind, match=words):
        table(tmp_path, name, content)


def test_a_table_that_is_not_there(tmp_path, s3_server):
    with pytest.raises(errors.NodeNotFoundError):
        read_table(Location.parse(tmp_path / "a.csv"))
    private = f"s3+{s3_server.endpoint}/private/test-table/a.tsv"
    with pytest.raises(errors.StoreError):
        read_table(Location.parse(private))


def test_without_pyarrow_the_way_to_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(errors.UnsupportedDataError, match="pip install pyarrow"):
        table(tmp_path, "a.parquet", b"")
