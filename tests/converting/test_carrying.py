"""What lies beside an image is there when it was written anew, as it was stored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from numcodecs import Delta

import stored_tables
from commands import run, run_json
from napari_omezarr import errors, read_layers, write_layers
from napari_omezarr.cli.command import UNREACHABLE
from napari_omezarr.location import Location
from napari_omezarr.opened import all_of
from napari_omezarr.reading import read_current
from servers import faults
from small_images import pixels, put_array, put_group, put_image, put_labels

DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
TEXT = np.array(["é0", "", "one and twenty"], object)
FORMATS = {"0.4": 2, "0.5": 3, "0.6": 3}


def put_text(folder, zarr_format):
    """An array of texts, as anndata has them in either format."""
    options = {"dtype": str, "zarr_format": zarr_format}
    array = zarr.create_array(folder, shape=3, chunks=2, **options)
    array[:] = TEXT


def put_all(image, version):
    """An image with labels, and all kinds of things beside them."""
    put_image(image, version, count=2)
    put_labels(image, version, cells=pixels((4, 16, 24)))
    stored_tables.put_by_ngio(image, "csv", FORMATS[version])
    stored_tables.put_group(
        image / "tables" / "ann", {"encoding-type": "anndata"}, FORMATS[version]
    )
    put_text(image / "tables" / "ann" / "names", FORMATS[version])
    listed = {"tables": ["ann", "measured"], "by": "somebody"}
    stored_tables.put_group(image / "tables", listed, FORMATS[version])
    put_group(image / "extra", version, {})
    deep = image / "extra" / "deep" / "er"
    put_array(deep, version, pixels((20, 20)), "yx", attributes={"of": "us"})
    put_group(image / "labels" / "unlisted", version, {})
    put_array(image / "labels" / "cells" / "borders", version, pixels((9, 9)), "yx")
    (image / "notes.txt").write_text("by hand")


CARRIED = ("tables/measured/", "tables/ann/", "extra/", "labels/unlisted/")
CARRIED += ("labels/cells/borders/", "notes.txt")


def beside(image):
    """The bytes of what lies beside an image, but for the documents of zarr."""
    files = {
        file.relative_to(image).as_posix(): file.read_bytes()
        for file in Path(image).rglob("*")
        if file.is_file()
    }
    return {key: body for key, body in files.items() if key.startswith(CARRIED)}


def chunks(files):
    return {k: b for k, b in files.items() if k.rpartition("/")[2] not in DOCUMENTS}


def attributes(group):
    return dict(zarr.open_group(group, mode="r", use_consolidated=False).attrs)


def assert_carried(source, target):
    """All is there, and readers find it from the root."""
    for consolidated in (None, False):
        before, now = (
            zarr.open_group(each, mode="r", use_consolidated=consolidated)
            for each in (source, target)
        )
        for path in ("extra/deep/er", "labels/cells/borders", "tables/ann/names"):
            assert (now[path][:] == before[path][:]).all()
            assert now[path].attrs.asdict() == before[path].attrs.asdict()
        assert "labels/unlisted" in now
    about = attributes(target / "tables")
    assert (about["tables"], about["by"]) == (["ann", "measured"], "somebody")
    for table in ("ann", "measured"):
        assert attributes(target / "tables" / table) == attributes(
            source / "tables" / table
        )
    features = [layer for layer in read_layers(target) if layer[2] == "labels"]
    assert "area" in features[0][1]["features"]


@pytest.mark.parametrize("words", [("convert",), ("rechunk", "--chunks", "y=16,x=16")])
@pytest.mark.parametrize(
    ("source", "target"),
    [("0.4", "0.4"), ("0.4", "0.5"), ("0.5", "0.5"), ("0.5", "0.6")],
)
def test_nothing_beside_an_image_is_lost(words, source, target, tmp_path):
    put_all(tmp_path / "a.zarr", source)
    ends = tmp_path / "a.zarr", tmp_path / "b.zarr"
    told = run(words[0], *ends, *words[1:], "--version", target)
    assert "not taken over" not in told
    before, now = map(beside, ends)
    assert chunks(before)
    if FORMATS[source] == FORMATS[target]:
        assert before.items() <= now.items()
    assert chunks(now) == chunks(before)
    assert_carried(*ends)


def test_what_is_other_bytes_in_zarr_3_stays_in_zarr_2_and_is_named(tmp_path):
    source, target = tmp_path / "a.zarr", tmp_path / "b.zarr"
    put_image(source, "0.4", count=1)
    options = {"filters": [Delta(dtype="u2")]}
    put_array(source / "odd", "0.4", pixels((9, 9)), "yx", **options)
    put_array(source / "even", "0.4", pixels((9, 9)), "yx")
    (note,) = run_json("convert", source, target)["notes"]
    assert "odd beside" in note
    assert "filters" in note
    group = zarr.open_group(target, mode="r", zarr_format=3)
    assert (group["even"][:] == pixels((9, 9))).all()
    assert (zarr.open_array(target / "odd", zarr_format=2)[:] == pixels((9, 9))).all()
    put_image(tmp_path / "c.zarr", "0.5", count=1)
    put_array(tmp_path / "c.zarr" / "late", "0.5", pixels((9, 9)), "yx")
    words = ("convert", tmp_path / "c.zarr", tmp_path / "d.zarr", "--version", "0.4")
    assert "late" in run(*words)
    assert (zarr.open_array(tmp_path / "d.zarr" / "late")[:] == pixels((9, 9))).all()


def test_what_has_the_name_of_something_written_is_a_loss(tmp_path):
    source, target = tmp_path / "a.zarr", tmp_path / "b.zarr"
    put_image(source, count=1)
    put_array(source / "1", "0.5", pixels((9, 9)), "yx")
    words = ("convert", source, target, "--levels", "2")
    assert "1 beside" in run(*words, code=2)
    assert not target.exists()
    run(*words, "--accept-losses")
    assert zarr.open_group(target)["1"].shape == (2, 2, 8, 12)


def test_without_labels_what_belongs_to_them_is_named(tmp_path):
    put_all(tmp_path / "a.zarr", "0.5")
    target = tmp_path / "b.zarr"
    told = run("convert", tmp_path / "a.zarr", target, "--no-labels")
    assert "not taken over: labels, tables" in told
    assert not (target / "labels").exists()
    assert not (target / "tables").exists()
    assert (target / "extra" / "deep" / "er" / "zarr.json").exists()


def test_where_nothing_is_listed_tables_are_named(http_server, tmp_path):
    put_all(tmp_path / "a.zarr", "0.5")
    where = f"{http_server.url}/a.zarr"
    told = run("convert", where, tmp_path / "b.zarr")
    assert "not taken over: tables/ann, tables/measured" in told


def test_a_series_keeps_what_lies_beside_its_images(tmp_path):
    source = tmp_path / "a.zarr"
    two = [(pixels((8, 8)), {"name": f"field {n}"}, "image") for n in (1, 2)]
    write_layers(two, source, merge=False)
    (source / "OME" / "METADATA.ome.xml").write_text("<OME/>")
    stored_tables.put_regions(source / "1", ["one"], [(0, 0, 4, 4)])
    for path in ("", "OME"):
        document = json.loads((source / path / "zarr.json").read_text())
        document["attributes"]["by"] = path or "root"
        (source / path / "zarr.json").write_text(json.dumps(document))
    for number in (2, 1):
        target = tmp_path / f"{number}.zarr"
        run("convert", source, target)
        assert (target / "OME" / "METADATA.ome.xml").read_text() == "<OME/>"
        table = "1/tables/FOV_ROI_table/table.csv"
        assert (target / table).read_bytes() == (source / table).read_bytes()
        assert attributes(target)["by"] == "root"
        assert attributes(target / "OME")["by"] == "OME"


def test_packing_into_shards_keeps_what_is_no_zarr(tmp_path):
    put_all(tmp_path / "a.zarr", "0.5")
    run("rechunk", tmp_path / "a.zarr", tmp_path / "b.zarr", "--shards", "yes")
    assert_carried(tmp_path / "a.zarr", tmp_path / "b.zarr")
    for file in ("notes.txt", "tables/measured/table.csv"):
        assert (tmp_path / "b.zarr" / file).read_bytes() == (
            tmp_path / "a.zarr" / file
        ).read_bytes()


def test_from_bucket_to_bucket_each_object_is_asked_for_once_and_not_again(
    proxy, s3_server, s3_prefix, owner, tmp_path
):
    put_all(tmp_path / "a.zarr", "0.5")
    s3_server.upload(tmp_path / "a.zarr", f"private/{s3_prefix}/a.zarr")
    ends = [f"s3://private/{s3_prefix}/{name}.zarr" for name in "ab"]
    at = ("--endpoint", proxy.url, "--to-endpoint", proxy.url)
    proxy.fault("*/b.zarr/extra/deep/er/c/1/1", faults.Status(501), forever=True)
    run("convert", *ends, *at, code=UNREACHABLE)
    proxy.clear()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "theirs.txt").write_text("somebody's")
    s3_server.upload(tmp_path / "more", f"private/{s3_prefix}/b.zarr/extra")
    again = run("convert", *ends, *at, "--unfinished", "resume")
    assert "saved" in again
    there = run("ls", f"{ends[1]}/extra", "--files", "--endpoint", proxy.url)
    assert "theirs.txt" in there
    sent = [r.path.partition(".zarr/")[2] for r in proxy.requests if r.method == "PUT"]
    whole = chunks(beside(tmp_path / "a.zarr")).keys()
    assert "extra/deep/er/c/1/1" in sent
    assert len(whole & set(sent)) < len(whole)
    proxy.clear()
    run("convert", ends[0], ends[1].replace("b.zarr", "c.zarr"), *at)
    for method, name in (("GET", "a"), ("PUT", "c")):
        asked = [r.path for r in proxy.requests if r.method == method]
        for key in beside(tmp_path / "a.zarr"):
            assert asked.count(f"/private/{s3_prefix}/{name}.zarr/{key}") == 1
    listed = [r.query for r in proxy.requests if "list-type" in r.query]
    listings = [query for query in listed if "a.zarr" in query]
    # The image, its labels, the labels, its tables, and what else is carried.
    assert len(listings) == 7


def test_a_source_that_changed_meanwhile_is_carried_as_it_is_now(tmp_path):
    source, target = tmp_path / "a.zarr", tmp_path / "b.zarr"
    put_all(source, "0.5")
    layers = all_of(read_current(Location.parse(source)))
    chunk = source / "extra" / "deep" / "er" / "c" / "1" / "1"
    body = chunk.read_bytes()
    chunk.write_bytes(body + b"longer")
    with pytest.raises(errors.StoreError):
        write_layers(layers, target, merge=False)
    (chunk.parent.parent / "0" / "0").unlink()
    now = all_of(read_current(Location.parse(source)))
    write_layers(now, target, merge=False, unfinished="resume")
    assert chunks(beside(target)) == chunks(beside(source))
