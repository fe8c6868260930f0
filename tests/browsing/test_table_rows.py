"""Tables among the rows of a place, and in what is known of it before it is opened."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_omezarr.browsing import (
    Entry,
    EntryKind,
    Listing,
    Prober,
    describe,
    python_snippet,
)
from napari_omezarr.location import Location
from napari_omezarr.writing import write_layers
from servers.http import FileServer
from small_images import put_plate
from stored_tables import put_by_ngio, put_group


def rows(place):
    page = Listing(place).more().result(timeout=60)
    prober = Prober()
    return [prober.start(entry).result(timeout=60) for entry in page.entries]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image") / "a.zarr"
    labels = np.arange(32 * 32).reshape(32, 32)
    known = {"index": np.arange(1000), "area": np.arange(1000) * 0.5}
    picture = (np.ones((32, 32), np.uint8), {"name": "dapi"}, "image")
    layers = [picture, (labels, {"name": "cells", "features": known}, "labels")]
    write_layers(layers, folder)
    return folder


def test_tables_are_rows_of_their_image(image):
    here = Location.parse(image)
    below = {entry.name: entry for entry in rows(here)}
    assert list(below) == ["levels", "labels", "tables"]
    assert (below["tables"].kind, below["tables"].summary) == (EntryKind.TABLES, "1")
    (found,) = rows(below["tables"].location)
    assert (found.kind, found.name) == (EntryKind.TABLE, "cells_features")
    assert found.summary == "features of cells"
    assert found.is_leaf
    assert found.is_openable
    names: dict = {}
    exec(python_snippet(found.location, is_table=True), names)
    assert names["image"].tables[found.name].read().columns["area"][-1] == 999 / 2


def test_a_web_server_that_lists_nothing_shows_them_too(image):
    with FileServer(image.parent) as server:
        place = Location.parse(f"{server.url}/a.zarr")
        assert rows(place)[-1].kind is EntryKind.TABLES
        (found,) = rows(place / "tables")
    assert found.summary == "features of cells"


def test_an_image_without_tables_has_no_such_row(tmp_path):
    write_layers([(np.ones((8, 8), np.uint8), {}, "image")], tmp_path / "a.zarr")
    assert [e.name for e in rows(Location.parse(tmp_path / "a.zarr"))] == ["levels"]


def test_a_plate_shows_its_tables_beside_its_wells(tmp_path):
    put_plate(tmp_path / "p.zarr", "0.4", rows=1, columns=2, fields=1)
    put_by_ngio(tmp_path / "p.zarr", "csv")
    found = rows(Location.parse(tmp_path / "p.zarr"))
    assert [entry.kind for entry in found] == [
        EntryKind.WELL,
        EntryKind.WELL,
        EntryKind.TABLES,
    ]


def test_a_broken_list_costs_the_tables_only(tmp_path):
    write_layers([(np.ones((8, 8), np.uint8), {}, "image")], tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "tables").mkdir()
    (tmp_path / "a.zarr" / "tables" / "zarr.json").write_text("{")
    assert [e.name for e in rows(Location.parse(tmp_path / "a.zarr"))] == ["levels"]


def test_the_details_say_what_tables_there_are(image):
    said = "features of cells, 1,000 rows, 2 columns, anndata"
    assert describe(Location.parse(image)).tables == (f"cells_features: {said}",)
    alone = describe(Location.parse(image / "tables" / "cells_features"))
    assert alone.entry.kind is EntryKind.TABLE
    assert alone.tables == (f"cells_features: {said}",)


def test_a_table_that_is_gone_is_said(image, tmp_path):
    put_group(tmp_path / "tables", {"tables": ["away"]}, 3)
    source = json.loads((image / "zarr.json").read_text())
    source.pop("consolidated_metadata")
    (tmp_path / "zarr.json").write_text(json.dumps(source))
    for level in image.glob("[0-9]"):
        (tmp_path / level.name).symlink_to(level)
    (said,) = describe(Location.parse(tmp_path)).tables
    assert "away" in said
    assert "not there" in said
    assert Entry(Location.parse(tmp_path), "").name
