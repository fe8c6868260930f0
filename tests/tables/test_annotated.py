"""Tables written as AnnData-Zarr: read back the same, and by others."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.location import Location
from napari_omezarr.tables import (
    feature_table,
    open_table,
    stored_tables,
    table_of,
)
from stored_tables import put_table

both_formats = pytest.mark.parametrize("zarr_format", [2, 3])


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for name, column in expected.items():
        assert found[name].dtype == column.dtype, name
        np.testing.assert_array_equal(found[name], column)


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0"),
    max_size=8,
)
COLUMNS = {
    "i1": st.integers(-128, 127),
    "u8": st.integers(0, 2**64 - 1),
    "i8": st.integers(-(2**63), 2**63 - 1),
    "f4": st.floats(width=32),
    "f8": st.floats(),
    "?": st.booleans(),
    "text": TEXT,
    "gaps": st.none() | TEXT,
    "maybe": st.none() | st.booleans(),
}
NAMES = TEXT.filter(lambda name: name not in ("index", ""))


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 6))
    kinds = draw(st.dictionaries(NAMES, st.sampled_from(list(COLUMNS)), max_size=6))
    columns = {}
    for name, kind in kinds.items():
        values = draw(st.lists(COLUMNS[kind], min_size=rows, max_size=rows))
        numbers = kind not in ("text", "gaps", "maybe")
        columns[name] = np.array(values, kind if numbers else object)
    return columns, draw(st.lists(st.integers(0, 2**40), min_size=rows, max_size=rows))


@both_formats
@settings(max_examples=12)
@given(drawn=tables())
def test_a_table_is_read_back_as_it_was(zarr_format, tmp_path_factory, drawn):
    columns, labels = drawn
    table = feature_table(columns, labels)
    folder = tmp_path_factory.mktemp("image")
    (found,) = stored_tables(put_table(folder, table, zarr_format))
    assert (found.kind, found.label, found.key) == ("feature_table", "cells", table.key)
    assert found.shape() == (len(labels), len(table.columns))
    features = found.read().features()
    assert list(features.pop("index")) == labels
    assert_equal(features, {n: c for n, c in table.columns.items() if n != table.key})


def test_columns_of_pandas_and_lists_become_plain_columns():
    frame = pd.DataFrame(
        {
            "kind": pd.Categorical(["a", None, "b"]),
            "count": pd.array([1, None, 3], "Int64"),
            "seen": pd.array([True, None, False], "boolean"),
            "day": pd.to_datetime(["2026-01-02", None, "2026-01-03"]),
            "box": [[1, 2], [3, 4], [5]],
            "mixed": [1, "a", None],
        }
    )
    found = table_of(frame).columns
    assert list(found["kind"]) == ["a", None, "b"]
    np.testing.assert_array_equal(found["count"], [1, np.nan, 3])
    assert list(found["seen"]) == [True, None, False]
    assert [str(day)[:10] for day in found["day"]] == [
        "2026-01-02",
        "None",
        "2026-01-03",
    ]
    assert list(found["box"]) == ["[1, 2]", "[3, 4]", "[5]"]
    assert list(found["mixed"]) == ["1", "a", None]


@both_formats
def test_others_read_what_we_write(zarr_format, tmp_path):
    """In an environment that has them, as those below: make test-judges."""
    anndata = pytest.importorskip("anndata")
    columns = {"area": np.array([1.5, 2.5]), "class": ["a", None], "n": [1, 2]}
    put_table(tmp_path, feature_table(columns, [3, 7]), zarr_format)
    found = anndata.read_zarr(str(tmp_path / "tables" / "cells_features"))
    assert list(found.obs["label"]) == [3, 7]
    assert list(found.to_df()["area"]) == [1.5, 2.5]


@both_formats
def test_ngio_finds_our_features_by_their_labels(zarr_format, tmp_path):
    ngio_tables = pytest.importorskip("ngio.tables")
    columns = {"area": np.array([1.5, 2.5]), "class": ["a", "b"]}
    put_table(tmp_path, feature_table(columns, [3, 7]), zarr_format)
    tables = ngio_tables.open_tables_container(str(tmp_path / "tables"))
    found = tables.get("cells_features")
    assert found.reference_label == "cells"
    assert list(found.dataframe.index) == [3, 7]
    assert list(found.dataframe["area"]) == [1.5, 2.5]


@both_formats
@pytest.mark.filterwarnings("default")  # its own, of what it is built on
def test_spatialdata_validates_our_features(zarr_format, tmp_path):
    spatialdata = pytest.importorskip("spatialdata")
    put_table(tmp_path, feature_table({"area": [1.5, 2.5]}, [3, 7]), zarr_format)
    group = {"zarr_format": zarr_format, "node_type": "group", "attributes": {}}
    name = "zarr.json" if zarr_format == 3 else ".zgroup"
    (tmp_path / name).write_text(json.dumps(group))
    found = spatialdata.read_zarr(tmp_path, selection=("tables",))
    table = found.tables["cells_features"]
    spatialdata.models.TableModel().validate(table)
    assert table.uns["spatialdata_attrs"]["region"] == "cells"


@pytest.mark.parametrize(
    ("key", "damage"),
    [
        ("obs/zarr.json", b"{"),
        ("obs/_index/zarr.json", b'{"zarr_format": 3, "node_type": "array"}'),
        ("X/c/0/0", b"no chunk"),
        ("obs/class/c/0", b"no chunk"),
    ],
)
def test_a_damaged_table_is_one_of_our_errors(key, damage, tmp_path):
    from napari_omezarr.errors import OMEZarrError

    table = feature_table({"area": [1.5, 2.5], "class": ["a", "b"]}, [3, 7])
    put_table(tmp_path, table)
    folder = tmp_path / "tables" / "cells_features"
    (folder / key).write_bytes(damage)
    with pytest.raises(OMEZarrError):
        open_table(Location.parse(folder)).read()
