"""Features of labels from tables that others put beside an image."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr import read_layers
from napari_omezarr.errors import OptionError
from napari_omezarr.layers.tables import joined_features
from napari_omezarr.writing import write_image, write_layers
from stored_tables import put_by_ngio


@pytest.fixture
def image(tmp_path):
    place = tmp_path / "a.zarr"
    pixels = np.ones((8, 8), np.uint16)
    write_image(pixels, place, "yx", labels={"nuclei": pixels.astype(np.int32) * 4})
    return place


def features(image):
    (found,) = [o for _, o, kind in read_layers(image) if kind == "labels"]
    return found.get("features"), found["metadata"]["omezarr"]["warnings"]


def test_columns_keep_their_types_where_values_are_missing(tmp_path):
    whole = {"float": [1.5, 2.0, -3.0], "int": [1, 2, 3], "text": ["a", "b", "c"]}
    whole |= {"bool": [True, False, True], "box": [(1, 2), (3, 4), (5, 6)]}
    given = pd.DataFrame({"index": [1, 2, 7], **whole})
    for name in ("float", "int", "text"):
        given[f"some of {name}"] = given[name].mask(given["index"] == 2)
    given["nullable"] = given["some of int"].astype("Int64")
    layer = (np.array([[1, 2, 7]]), {"name": "cells", "features": given}, "labels")
    write_layers([layer], tmp_path / "a.zarr")
    found, _ = features(tmp_path / "a.zarr")
    assert found is not None
    shown = pd.DataFrame(found)
    assert sorted(shown) == sorted(given)
    given["nullable"] = given["some of int"]  # of pandas alone
    assert dict(shown.dtypes) == dict(given.dtypes)
    assert [tuple(box) for box in shown.pop("box")] == list(given.pop("box"))
    pd.testing.assert_frame_equal(shown, given, check_like=True)


@pytest.mark.parametrize(
    "given",
    [
        {"index": [1, 2, 1], "t": [0, 0, 1], "area": [1.5, 2.5, 3.5]},
        {"index": [1, 2], "aspect": [np.inf, 1.5]},
        {"index": [1, 2], "area": [1.5, 2.5], "later": [None, None]},
    ],
)
def test_few_rows_that_no_property_can_hold_come_back_from_a_table(tmp_path, given):
    layer = (np.array([[1, 2]]), {"name": "cells", "features": given}, "labels")
    write_layers([layer], tmp_path / "a.zarr")
    found, _ = features(tmp_path / "a.zarr")
    assert found is not None
    assert {name: list(column) for name, column in found.items()} == given


def test_a_table_of_ngio_becomes_the_features_of_its_labels(image):
    put_by_ngio(image, "csv", 3)
    found, warnings = features(image)
    assert list(found) == ["index", "area", "kind"]
    assert list(found["index"]) == [4, 2]
    assert warnings == []


def test_several_tables_are_joined_by_the_label(image):
    put_by_ngio(image, "csv", 3)
    second = image / "tables" / "more"
    (image / "tables" / "measured").rename(image / "tables" / "first")
    put_by_ngio(image, "csv", 3)
    (image / "tables" / "measured").rename(second)
    (second / "table.csv").write_text("label,mean,area,seen\n2,9,0,true\n5,8,0,false\n")
    listing = image / "tables" / "zarr.json"
    document = json.loads(listing.read_text())
    document["attributes"]["tables"] = ["first", "more"]
    listing.write_text(json.dumps(document))
    found, _ = features(image)
    assert list(found) == ["index", "area", "kind", "mean", "seen"]
    np.testing.assert_array_equal(found["mean"], [np.nan, 9])
    assert list(found["seen"]) == [None, True]
    np.testing.assert_array_equal(found["area"], [1.5, 2.5])


def test_a_table_that_is_broken_costs_itself_and_is_said(image):
    put_by_ngio(image, "csv", 3)
    (image / "tables" / "measured" / "table.csv").unlink()
    found, warnings = features(image)
    assert found is None
    assert "measured could not be read" in " ".join(warnings)


def test_features_have_no_place_of_their_own(image):
    put_by_ngio(image, "csv", 3)
    with pytest.raises(OptionError, match="features of the labels nuclei"):
        read_layers(image / "tables" / "measured")


LABELS = st.lists(st.integers(-5, 20), unique=True, max_size=8)


@given(one=LABELS, other=LABELS)
def test_rows_are_joined_to_the_label_that_they_are_about(one, other):
    columns = {"index": np.array(one, int), "a": np.array(one, int)}
    others = {"index": np.array(other, int), "b": np.array(other, float)}
    found = joined_features(columns, others)
    assert list(found["index"]) == one
    for label, value in zip(one, found.get("b", []), strict=False):
        if label in other:
            assert value == label
        else:
            assert value is None or np.isnan(value)
