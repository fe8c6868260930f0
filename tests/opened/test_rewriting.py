"""Plates written anew as plates: fields, documents, gaps; what fails, what goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import product
from threading import Event

import numpy as np
import pytest
import yaozarrs
import zarr

import napari_omezarr
import small_images
import stored_tables
from commands import run, run_json
from napari_omezarr import Location, rewrite_plate
from napari_omezarr.converting import ConvertRun, ReadChoices, convert_plate
from napari_omezarr.errors import OptionError, TargetExistsError, TargetInUseError
from napari_omezarr.opened import stored_plate

CHUNKS = ("--chunks", "y=16,x=8")
FIELDS = [f"{row}/{n}/{f}" for row, n, f in product("AB", (1, 2, 3), (0, 1))]
XML = "OME/METADATA.ome.xml"


def document(place, version):
    return place / (".zattrs" if version == "0.4" else "zarr.json")


def attributes(place, version):
    """What a group says, wherever its version puts that; without the version."""
    said = json.loads(document(place, version).read_text())
    said = said if version == "0.4" else said["attributes"]
    said |= said.pop("ome", {})
    said.pop("version", None)
    for key in ("plate", "well", "image-label"):
        said.get(key, {}).pop("version", None)
    return said


def changed(place, version, change):
    file = document(place, version)
    said = json.loads(file.read_text())
    inner = said if version == "0.4" else said["attributes"]
    change(inner if version == "0.4" else inner["ome"], inner)
    file.write_text(json.dumps(said))


def put_plate(place, version, acquisitions=0, absent=()):
    """A plate of 6 wells of 2 fields with what other programs put into documents.

    What is ``absent``, fields or wells, is listed and not there.
    """
    small_images.put_plate(place, version, columns=3, fields=2)
    labels = np.zeros((16, 24), np.uint8)
    labels[2:9, 3:12] = 1
    small_images.put_labels(place / "A/1/0", version, "yx", cells=labels)

    def of_plate(block, others):
        others["facility"] = {"order": [12, None]}
        block["plate"]["wells"].reverse()
        block["plate"]["wells"][0]["compound"] = "DMSO"
        block["plate"]["rows"][1]["concentration"] = 0.5
        if acquisitions:
            block["plate"]["acquisitions"] = [
                {"id": n, "name": f"day {n}", "maximumfieldcount": 1, "starttime": n}
                for n in range(acquisitions)
            ]

    def of_well(block, others):
        others["seeded"] = "monday"
        images = block["well"]["images"]
        images.reverse()
        for number, image in enumerate(images[:acquisitions]):
            image["acquisition"] = number
        images[0]["focus"] = 1.5

    def of_field(block, others):
        others["stage"] = [1, 2]
        block["omero"] |= {
            "id": 7,
            "rdefs": {"model": "color", "defaultZ": 0, "defaultT": 0},
        }

    changed(place, version, of_plate)
    for field in FIELDS:
        changed(place / field, version, of_field)
    for well in {field[:3] for field in FIELDS}:
        changed(place / well, version, of_well)
    small_images.put_group(
        place / "OME", version, {"series": [f for f in FIELDS if f not in absent]}
    )
    (place / XML).write_text("<OME/>")
    for path in absent:
        shutil.rmtree(place / path)


def pixels(place):
    """All arrays below a place, by path."""
    arrays = {*place.rglob(".zarray"), *place.rglob("zarr.json")}
    found = {}
    for file in arrays:
        if "shape" in json.loads(file.read_text()):
            path = file.parent.relative_to(place).as_posix()
            found[path] = zarr.open_array(file.parent, mode="r")[...]
    return found


def assert_equal_plates(place, version, other, wanted, fields=FIELDS, levels=2):
    groups = {"", "OME"} | {f[:1] for f in fields} | {f[:3] for f in fields}
    for path in groups:
        here = place / path
        if document(here, version).exists():
            assert attributes(other / path, wanted) == attributes(here, version)
    for field in fields:
        now = attributes(other / field, wanted)
        before = attributes(place / field, version)
        for said in (now, before):
            assert said.pop("_creator", None) is None or said is now
            said.pop("multiscales")
        assert {k: v for k, v in now["omero"].items() if k != "channels"} == {
            k: v for k, v in before["omero"].items() if k != "channels"
        }
        for then, later in zip(
            before["omero"]["channels"], now["omero"]["channels"], strict=True
        ):
            assert (
                later.items()
                >= {k: v for k, v in then.items() if k != "window"}.items()
            )
        assert now["stage"] == before["stage"]
    before, now = pixels(place), pixels(other)
    kept = {path: v for path, v in before.items() if int(path[-1]) < levels}
    assert now.keys() == kept.keys()
    assert all(np.array_equal(now[path], kept[path]) for path in now)


SOME, MOST = ("A/2/1", "B/3"), ("A/1", "A/2", "A/3/0", "B/1/0", "B/1/1")


@pytest.mark.parametrize(
    ("version", "verb", "wanted", "acquisitions", "absent"),
    [
        ("0.4", "convert", "0.5", 2, ()),
        ("0.4", "rechunk", "0.4", 0, SOME),
        ("0.5", "rechunk", "0.4", 2, ()),
        ("0.5", "convert", "0.6", 1, MOST),
        ("0.6", "rechunk", "0.6", 2, SOME),
        ("0.6", "convert", "0.4", 0, MOST),
    ],
)
def test_a_plate_stays_what_it_is(
    version, verb, wanted, acquisitions, absent, tmp_path
):
    place, target = tmp_path / "p.zarr", tmp_path / "new.zarr"
    put_plate(place, version, acquisitions, absent)
    fields = [f for f in FIELDS if f not in absent and f[:3] not in absent]
    words = (verb, place, target, *CHUNKS, "--use-existing-resolutions")
    words += () if verb == "rechunk" and wanted == version else ("--version", wanted)
    facts = run_json(*words)
    found = [field.rpartition("new.zarr/")[2] for field in facts["fields"]]
    assert sorted(found) == fields
    assert not facts["failed"]
    empty = [field.rpartition("new.zarr/")[2] for field in facts.get("absent", ())]
    assert sorted(empty) == sorted(absent)
    assert_equal_plates(place, version, target, wanted, fields)
    assert not any((target / path).exists() for path in absent)
    assert (target / XML).read_text() == "<OME/>"
    level = zarr.open_array(target / fields[0] / "1", mode="r")
    assert level.chunks == (2, 8, 8)
    if not absent and wanted < "0.6":
        yaozarrs.validate_zarr_store(str(target))
    assert "Nothing is wrong" in run("doctor", target) or absent
    before = small_images.contents(target)
    there = f"0 fields written, {len(fields)} were there before"
    assert there in run(*words)
    assert small_images.contents(target) == before


def test_levels_are_made_anew_and_labels_left_out(tmp_path):
    place, target = tmp_path / "p.zarr", tmp_path / "new.zarr"
    put_plate(place, "0.5")
    stored_tables.put_regions(place, ["A/1"], [(0, 0, 4, 4)])
    told = run("convert", place, target, "--levels", "1", "--no-labels")
    assert "12 fields written" in told
    assert "beside p.zarr is not taken over: tables" in told
    assert pixels(target).keys() == {f"{field}/0" for field in FIELDS}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (("--chunks", "y=999,x=8", "--codec", "auto", "--shards", "no"), ""),
        (("--chunks", "y=5"), "chunks of 2 x 16 x 8,"),
        (("--shards", "y=32,x=16", "--codec", "gzip"), "no shards, the codec blosc-"),
    ],
)
def test_what_is_there_otherwise_is_told(said, told, tmp_path):
    place, target, images = (tmp_path / name for name in ("p.zarr", "new.zarr", "out"))
    put_plate(place, "0.5")
    run("convert", place, target, *CHUNKS)
    run("convert", place / "A/1/0", images, *CHUNKS)
    before = small_images.contents(tmp_path)
    for words in ((place, target), (place / "A/1/0", images)):
        again = run("convert", *words, *said)
        assert ("was there before has " in again) == bool(told)
        assert told in again
    assert small_images.contents(tmp_path) == before


@pytest.mark.parametrize(
    ("version", "wanted"), [("0.4", "0.4"), ("0.4", "0.5"), ("0.5", "0.6")]
)
def test_what_lies_beside_the_rows_goes_with_the_plate(version, wanted, tmp_path):
    place, target = tmp_path / "p.zarr", tmp_path / "new.zarr"
    put_plate(place, version)
    tables = zarr.open_group(place, mode="r+").create_group(
        "tables", attributes={"tables": ["mine"], "kept": True}
    )
    mine = tables.create_group("mine", attributes={"type": "roi"})
    mine.create_array("X", data=np.arange(6, dtype="f4"), chunks=(2,))
    (place / "notes").mkdir()
    (place / "notes" / ".day 1.txt").write_text("wet")
    words = ("convert", place, target, "--version", wanted)
    assert "not taken over" not in run(*words)
    there = zarr.open_group(target / "tables", mode="r")
    assert dict(there.attrs) == {"tables": ["mine"], "kept": True}
    assert dict(there["mine"].attrs) == {"type": "roi"}
    np.testing.assert_array_equal(there["mine/X"][:], np.arange(6))
    assert there.metadata.zarr_format == (2 if wanted == "0.4" else 3)
    assert (target / "notes" / ".day 1.txt").read_text() == "wet"
    assert (target / XML).read_text() == "<OME/>"
    before = small_images.contents(target)
    run(*words)
    assert small_images.contents(target) == before
    # What went on at the new plate stays, and what is not whole is made so.
    added = zarr.open_group(target / "tables", mode="r+")
    added.attrs["tables"] = ["other", "mine"]
    chunk = next(f for f in (target / "tables/mine/X").rglob("*") if "." not in f.name)
    chunk.unlink() if chunk.is_file() else shutil.rmtree(chunk)
    run(*words)
    there = zarr.open_group(target / "tables", mode="r")
    assert there.attrs["tables"] == ["other", "mine"]
    np.testing.assert_array_equal(there["mine/X"][:], np.arange(6))


def test_a_plate_among_other_inputs_becomes_a_plate_among_images(tmp_path):
    put_plate(tmp_path / "raw" / "p.zarr", "0.4", absent=["B/3"])
    small_images.put_image(tmp_path / "raw" / "image.zarr")
    words = ("convert", tmp_path / "raw", tmp_path / "out")
    for first, second in (("written", "written"), ("there", "there")):
        rows = run_json(*words)
        assert [row["state"] for row in rows] == [first, *[second] * 10, "absent"]
    assert napari_omezarr.open(tmp_path / "out" / "p.ome.zarr").kind == "plate"


@pytest.mark.usefixtures("owner")
def test_a_damaged_field_is_told_and_done_when_it_is_mended(
    tmp_path, s3_server, s3_prefix
):
    place, report = tmp_path / "p.zarr", tmp_path / "report.json"
    put_plate(place, "0.5", 2)
    home = f"s3+{s3_server.endpoint}/public/{s3_prefix}"
    broken = place / "A/2/1/0/c/0/0/1"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    (place / "B/3/zarr.json").write_text("{")
    run("copy", place, f"{home}/p.zarr")
    words = ("convert", f"{home}/p.zarr", f"{home}/new.zarr", *CHUNKS, "--levels", "1")
    facts = run_json(*words, "--report", report, code=6)
    failed = [each["target"].rpartition("new.zarr/")[2] for each in facts["failed"]]
    assert sorted(failed) == ["A/2/1", "B/3"]
    states = [row["state"] for row in json.loads(report.read_text())]
    assert sorted(states) == ["failed"] * 2 + ["written"] * 9
    now = tmp_path / "now.zarr"
    run("copy", f"{home}/new.zarr", now)
    assert not (now / "A/2/1").exists()
    assert [e["path"] for e in attributes(now / "A/2", "0.5")["well"]["images"]] == [
        "0"
    ]
    broken.write_bytes(whole)
    shutil.copy(place / "B/2/zarr.json", place / "B/3/zarr.json")
    run("mirror", "--yes", place, f"{home}/p.zarr")
    assert "3 fields written, 9 were there before" in run(*words)
    run("mirror", "--yes", f"{home}/new.zarr", now)
    assert_equal_plates(place, "0.5", now, "0.5", levels=1)


KILLED = """
import os, sys
from napari_omezarr import Location
from napari_omezarr.converting import *
from napari_omezarr.opened import stored_plate

def die(part):
    if part > 0.4:
        os._exit(9)

here, there = map(Location.parse, sys.argv[1:])
choices = {"unfinished": "resume", "chunks": {"y": 16, "x": 8}}
run = ConvertRun(ReadChoices(), choices, progress=die)
convert_plate(stored_plate(here), there, run)
"""


def test_a_run_that_was_killed_or_stopped_does_what_is_missing(tmp_path):
    place, target = tmp_path / "p.zarr", tmp_path / "new.zarr"
    put_plate(place, "0.5")
    command = [sys.executable, "-c", KILLED, place, target]
    assert subprocess.run(command, timeout=100).returncode == 9
    assert not document(target, "0.5").exists()
    done = [field for field in FIELDS if document(target / field, "0.5").exists()]
    assert 0 < len(done) < 9  # four may have been in work
    before = {f: document(target / f, "0.5").stat().st_mtime_ns for f in done}
    cancel = Event()

    def stop(_):
        cancel.set()

    choices = {"unfinished": "resume", "chunks": {"y": 16, "x": 8}}
    go_on = ConvertRun(ReadChoices(), choices, progress=stop, cancel=cancel)
    here, there = Location.parse(place), Location.parse(target)
    outcomes = convert_plate(stored_plate(here), there, go_on)
    assert outcomes[-1].state == "stopped"
    assert {each.state for each in outcomes} <= {"there", "written", "stopped"}
    assert "fields written" in run("convert", place, target, *CHUNKS)
    assert {f: document(target / f, "0.5").stat().st_mtime_ns for f in done} == before
    assert_equal_plates(place, "0.5", target, "0.5", levels=1)


def test_a_cluster_writes_the_same(client, tmp_path):
    place = tmp_path / "p.zarr"
    put_plate(place, "0.4")
    run("convert", place, tmp_path / "a.zarr", *CHUNKS)
    said = ("--scheduler", client.scheduler.address)
    said += ("--version", "0.5")
    run("rechunk", place, tmp_path / "b.zarr", *CHUNKS, *said)
    one, other = (small_images.contents(tmp_path / n) for n in ("a.zarr", "b.zarr"))
    assert one == other


def test_what_is_there_stays_unless_it_is_asked_for(tmp_path):
    place, target = tmp_path / "p.zarr", tmp_path / "new.zarr"
    put_plate(place, "0.5")
    with pytest.raises(OptionError, match="no plate"):
        rewrite_plate(place / "A/1/0", target)
    with pytest.raises(TargetInUseError):
        rewrite_plate(place, place / "inner.zarr")
    hidden = document(place / "A/1", "0.5").rename(tmp_path / "hidden")
    some = rewrite_plate(napari_omezarr.open(place), target, levels=1)
    assert [bool(each.saved) for each in some].count(True) == 10
    before = small_images.contents(target)
    with pytest.raises(TargetExistsError, match="exists already"):
        rewrite_plate(place, target)
    hidden.rename(document(place / "A/1", "0.5"))
    small_images.put_plate(tmp_path / "other.zarr", columns=4)
    for existing in ("refuse", "replace"):
        with pytest.raises(TargetExistsError, match="another plate"):
            rewrite_plate(
                tmp_path / "other.zarr", target, unfinished="resume", existing=existing
            )
    assert small_images.contents(target) == before
    beside = rewrite_plate(place, target, existing="beside", levels=1)
    assert {each.address.rpartition("/new")[2][:7] for each in beside} == {"-2.zarr"}
    more = rewrite_plate(place, target, unfinished="resume", levels=1)
    assert [bool(each.saved) for each in more].count(True) == 2
    anew = rewrite_plate(place, target, existing="replace", levels=2)
    assert all(each.saved for each in anew)
    assert attributes(target, "0.5") == attributes(place, "0.5")
    document(place / "B/2", "0.5").unlink()
    lost = [each for each in rewrite_plate(place, tmp_path / "c.zarr") if each.error]
    assert "no metadata, and something is in it" in str(lost[0].error)
