"""Points, shapes and tracks that are added to an image that is there."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from napari_omezarr import add_tables, read, read_layers, write_image
from napari_omezarr.errors import NodeNotFoundError, OptionError, TargetExistsError
from napari_omezarr.location import Location
from napari_omezarr.tables import stored_tables
from stored_tables import put_group

PIXELS = np.ones((32, 32), np.uint16)


def spots(*places, name="spots"):
    return np.array(places, float), {"name": name}, "points"


def kept(address):
    return {
        options["name"]: np.asarray(data).tolist()
        for data, options, kind in read_layers(address)
        if kind != "image"
    }


@pytest.fixture(params=["0.4", "0.5", "0.6"])
def place(request, tmp_path):
    place = tmp_path / "a.zarr"
    write_image(PIXELS, place, "yx", version=request.param)
    return place


def test_they_come_back_with_the_image(place):
    assert add_tables([spots((1, 2)), spots((3, 4), name="more")], place) == (
        "spots",
        "more",
    )
    assert kept(place) == {"spots": [[1, 2]], "more": [[3, 4]]}
    # Whoever believes consolidated metadata sees them, too.
    assert "spots" in zarr.open_group(place, mode="r")["tables"]


def test_what_is_there_is_replaced_only_when_that_is_asked_for(place):
    add_tables([spots((1, 2))], place)
    with pytest.raises(TargetExistsError, match="a table spots"):
        add_tables([spots((5, 6))], place)
    assert kept(place) == {"spots": [[1, 2]]}
    add_tables([spots((5, 6))], place, existing="replace")
    assert kept(place) == {"spots": [[5, 6]]}
    assert len(stored_tables(Location.parse(place))) == 1
    group = zarr.open_group(place, mode="r")["tables"]
    assert len(list(group.group_keys())) == 1
    add_tables([spots((7, 8))], place, existing="beside")
    assert len(stored_tables(Location.parse(place))) == 2


def test_a_table_of_somebody_else_is_never_replaced(place):
    zarr_format = 2 if (place / ".zgroup").exists() else 3
    put_group(place / "tables", {"tables": ["spots"]}, zarr_format)
    said = {"type": "generic_table", "backend": "csv"}
    put_group(place / "tables" / "spots", said, zarr_format)
    (place / "tables" / "spots" / "table.csv").write_text("a\n1\n")
    for existing in ("refuse", "replace"):
        with pytest.raises(TargetExistsError, match="a table spots"):
            add_tables([spots((1, 2))], place, existing=existing)
    assert add_tables([spots((1, 2))], place, existing="beside") == ("spots_2",)
    assert (place / "tables" / "spots" / "table.csv").read_text() == "a\n1\n"


@pytest.mark.usefixtures("owner")
def test_a_bucket_gets_them(s3_server, s3_prefix):
    address = f"s3://private/{s3_prefix}/a.ome.zarr"
    place = Location.parse(address, endpoint=s3_server.endpoint)
    write_image(PIXELS, place, "yx")
    add_tables([spots((1, 2))], place)
    add_tables([spots((3, 4))], place, existing="replace")
    assert kept(place) == {"spots": [[3, 4]]}


def test_what_is_no_place_or_no_image_is_said(tmp_path):
    with pytest.raises(NodeNotFoundError):
        add_tables([spots((1, 2))], tmp_path / "nothing.zarr")
    write_image(PIXELS, tmp_path / "a.zarr", "yx")
    with pytest.raises(OptionError, match="labels layers"):
        add_tables([(PIXELS, {"name": "a"}, "labels")], tmp_path / "a.zarr")
    pyramids = read(tmp_path / "a.zarr").pyramids
    with pytest.raises(OptionError, match="Images"):
        add_tables(pyramids, tmp_path / "a.zarr")
    document = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    assert "napari" not in document["attributes"]
