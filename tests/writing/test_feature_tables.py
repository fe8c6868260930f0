"""Features of labels: few in the metadata, many in a table beside, never in between."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_omezarr import add_labels, read, read_layers, update_rendering
from napari_omezarr.location import Location
from napari_omezarr.tables import stored_tables
from napari_omezarr.writing import open_hierarchy, write_image, write_layers
from servers.http import FileServer

VERSIONS = ("0.4", "0.5", "0.6")
every_version = pytest.mark.parametrize("version", VERSIONS)
ROWS = 1000
PIXELS = (np.arange(64 * 64) % (ROWS + 1)).reshape(64, 64).astype(np.int32)


def features(rows=ROWS, start=1, scale=1.0):
    numbers = np.arange(start, start + rows)
    return {
        "index": numbers,
        "area": numbers * 0.37 * scale,
        "round": numbers % 3 == 0,
        "kind": [f"kind {n % 4}" for n in numbers],
    }


def labels(known=None, name="cells"):
    return PIXELS, {"name": name, "features": known or features()}, "labels"


def image():
    return np.ones((64, 64), np.uint16), {"name": "dapi"}, "image"


def assert_features(address, expected=None):
    (found,) = [o for _, o, kind in read_layers(address) if kind == "labels"]
    expected = expected or features()
    assert list(found["features"]) == list(expected)
    for name, column in expected.items():
        np.testing.assert_array_equal(found["features"][name], column)


def documents(folder):
    found = folder.rglob("*")
    names = ("zarr.json", ".zattrs", ".zmetadata")
    return [file for file in found if file.name in names]


@every_version
@pytest.mark.parametrize("consolidated", [True, False])
def test_many_features_are_a_table_and_no_metadata(version, consolidated, tmp_path):
    place = tmp_path / "a.ome.zarr"
    saved = write_layers(
        [image(), labels()], place, version=version, consolidated=consolidated
    )
    assert "(1,000 rows) become a table" in " ".join(saved.plan.notes)
    assert saved.plan.objects == sum(file.is_file() for file in place.rglob("*"))
    for file in documents(place):
        assert "370.0" not in file.read_text()
        assert file.stat().st_size < 60_000
    assert_features(place)
    (table,) = stored_tables(Location.parse(place))
    assert (table.name, table.label) == ("cells_features", "cells")
    # Whoever believes consolidated metadata sees the table, too.
    assert "cells_features" in zarr.open_group(place, mode="r")["tables"]


@pytest.mark.parametrize(("rows", "is_table"), [(256, False), (257, True)])
def test_from_some_hundred_rows_on_it_is_a_table(rows, is_table, tmp_path):
    write_layers([image(), labels(features(rows))], tmp_path / "a.zarr")
    assert (tmp_path / "a.zarr" / "tables").exists() == is_table
    found = read_layers(tmp_path / "a.zarr")[1][1]["features"]
    assert len(found["index"]) == rows


def test_few_rows_of_very_many_columns_are_a_table(tmp_path):
    wide = {"index": [1, 2], **{f"f{n}": [0.5, n] for n in range(2100)}}
    write_layers([image(), labels(wide)], tmp_path / "a.zarr")
    assert (tmp_path / "a.zarr" / "zarr.json").stat().st_size < 100_000
    assert_features(tmp_path / "a.zarr", wide)


@every_version
def test_labels_alone_have_their_table_inside(version, tmp_path):
    write_layers([labels()], tmp_path / "a.zarr", version=version)
    assert_features(tmp_path / "a.zarr")


def test_a_collection_has_a_table_in_each_image(tmp_path):
    other = (np.zeros((32, 32), np.uint16), {"name": "b"}, "image")
    write_layers([image(), other, labels()], tmp_path / "a.zarr")
    assert (tmp_path / "a.zarr" / "0" / "tables" / "cells_features").is_dir()
    assert_features(tmp_path / "a.zarr")


def test_an_archive_holds_its_tables(tmp_path):
    write_layers([image(), labels()], tmp_path / "a.ozx")
    with zipfile.ZipFile(tmp_path / "a.ozx") as archive:
        assert "tables/cells_features/zarr.json" in archive.namelist()
    assert_features(tmp_path / "a.ozx")


@pytest.mark.usefixtures("owner")
def test_a_bucket_gets_the_table_before_what_names_it(s3_server, s3_prefix):
    address = f"s3://private/{s3_prefix}/a.ome.zarr"
    place = Location.parse(address, endpoint=s3_server.endpoint)
    write_layers([image(), labels()], place)
    assert_features(place)
    add_labels(labels(features(start=5)), place, existing="replace")
    assert_features(place, features(start=5))
    assert [t.name for t in stored_tables(place)] == ["cells_features_2"]
    kept = open_hierarchy(place).sizes("tables")
    assert {key.split("/")[1] for key in kept if key.count("/") > 1} == {
        "cells_features_2"
    }


@every_version
def test_added_labels_bring_and_replaced_ones_change_their_table(version, tmp_path):
    place = tmp_path / "a.zarr"
    write_image(np.zeros((64, 64), np.uint16), place, "yx", version=version)
    add_labels(labels(), place)
    assert_features(place)
    add_labels(labels(features(300, scale=2)), place, existing="replace")
    assert_features(place, features(300, scale=2))
    assert [t.name for t in stored_tables(Location.parse(place))] == [
        "cells_features_2"
    ]
    group = zarr.open_group(place, mode="r")["tables"]
    assert list(group.group_keys()) == ["cells_features_2"]
    add_labels(labels(features(3)), place, existing="replace")  # few: no table
    assert stored_tables(Location.parse(place)) == ()
    found = read_layers(place)[1][1]["features"]
    assert found["index"] == [1, 2, 3]


@every_version
def test_features_are_updated_with_how_labels_look(version, tmp_path):
    place = tmp_path / "a.zarr"
    write_layers([image(), labels()], place, version=version)
    data, options, kind = read_layers(place)[1]
    assert update_rendering([(data, options, kind)]) == ()
    options["features"]["area"] = options["features"]["area"] * 2
    assert update_rendering([(data, options, kind)]) == ("cells",)
    assert_features(place, features(scale=2))
    assert [t.name for t in stored_tables(Location.parse(place))] == [
        "cells_features_2"
    ]
    assert "cells_features_2" in zarr.open_group(place, mode="r")["tables"]


def test_tables_of_others_stay_when_ours_is_replaced(tmp_path):
    place = tmp_path / "a.zarr"
    write_layers([image(), labels()], place)
    theirs = place / "tables" / "cells_features_7"
    (place / "tables" / "cells_features").rename(theirs)
    document = json.loads((theirs / "zarr.json").read_text())
    del document["attributes"]["napari_columns"]
    (theirs / "zarr.json").write_text(json.dumps(document))
    listing = place / "tables" / "zarr.json"
    listing.write_text(listing.read_text().replace("features", "features_7"))
    add_labels(labels(features(start=9)), place, existing="replace")
    assert {t.name for t in stored_tables(Location.parse(place))} == {
        "cells_features",
        "cells_features_7",
    }
    assert_features(place, features(start=9))


def test_features_that_nobody_has_read_are_saved_with_the_labels(tmp_path):
    write_layers([image(), labels()], tmp_path / "a.zarr")
    layers = read_layers(tmp_path / "a.zarr", features=False)
    assert "features" not in layers[1][1]
    write_layers(layers, tmp_path / "b.zarr")
    assert_features(tmp_path / "b.zarr")
    write_layers(read(tmp_path / "a.zarr").pyramids, tmp_path / "c.zarr")
    assert_features(tmp_path / "c.zarr")


def test_opening_asks_for_no_table(tmp_path):
    """Not one request more than for the same image without features."""
    with FileServer(tmp_path) as server:
        counts = []
        for name, layer in (("a", labels(features(3))), ("b", labels())):
            write_layers([image(), layer], tmp_path / f"{name}.zarr")
            before = len(server.requests)
            read(f"{server.url}/{name}.zarr")
            counts.append(len(server.requests) - before)
    assert counts[0] == counts[1]
    assert not [path for path in server.requests if "tables" in str(path)]


def test_a_table_that_is_gone_costs_the_features_only(tmp_path):
    import shutil

    place = tmp_path / "a.zarr"
    write_layers([image(), labels()], place)
    shutil.rmtree(place / "tables")
    _, (_, options, kind) = read_layers(place)
    assert kind == "labels"
    assert "features" not in options
    assert "cells_features" in " ".join(options["metadata"]["omezarr"]["warnings"])


def test_a_save_that_broke_off_goes_on_with_its_table(tmp_path, monkeypatch):
    from napari_omezarr.writing.commit import LocalTarget

    place = tmp_path / "a.zarr"

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalTarget, "commit", fail)
        with pytest.raises(KeyboardInterrupt):
            write_layers([image(), labels()], place)
    assert not Path(place).exists()
    write_layers([image(), labels()], place, unfinished="resume")
    assert_features(place)


@pytest.mark.parametrize("where", ["commit", "_publish"])
def test_adding_labels_that_breaks_off_loses_no_features(where, tmp_path, monkeypatch):
    """Before the labels are whole the old ones have their table; afterwards the new."""
    from napari_omezarr.writing.commit import InPlaceTarget

    place = tmp_path / "a.zarr"
    existing = "replace" if where == "commit" else "refuse"
    write_image(np.zeros((64, 64), np.uint16), place, "yx")
    if existing == "replace":
        add_labels(labels(), place)

    def fail(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(InPlaceTarget, where, fail)
        with pytest.raises(KeyboardInterrupt):
            add_labels(labels(features(start=7)), place, existing=existing)
    if existing == "replace":
        assert_features(place)
    else:
        assert len(read_layers(place)) == 1
        assert stored_tables(Location.parse(place)) == ()
    add_labels(labels(features(start=7)), place, existing=existing, unfinished="resume")
    assert_features(place, features(start=7))
    assert len(stored_tables(Location.parse(place))) == 1
