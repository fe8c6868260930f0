"""`convert` as a person types it: many files, merged files, what fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile

import napari_omezarr
import small_images
from commands import finest, run, run_json
from napari_omezarr import Location, read_layers, write_layers
from napari_omezarr.converting import (
    ConvertInput,
    ConvertRun,
    ReadChoices,
    by_pattern,
    convert_one,
    convert_plate,
    find_inputs,
    plan_jobs,
)
from napari_omezarr.errors import ClusterError
from napari_omezarr.samples import write_cells


def plane(value, *shape):
    return np.full(shape or (24, 32), value, "u2")


def write_tiff(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, photometric="minisblack", **options)


def pixels(place, number=0):
    return np.asarray(finest(read_layers(place)[number]))


@pytest.fixture
def folder(tmp_path):
    """Three TIFF files, one of them below a folder, and others that are none."""
    source = tmp_path / "raw"
    write_tiff(source / "a1.tif", plane(1))
    write_tiff(source / "a2.tiff", plane(2))
    write_tiff(source / "day 2" / "b.ome.tif", plane(3), metadata={"Name": "late"})
    (source / "notes.txt").write_text("x")
    (source / "._a1.tif").write_bytes(b"of a Mac")
    return source


def states(rows):
    return [row["state"] for row in rows]


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_what_is_called_by_no_unicode_is_told_of(tmp_path):
    name = "bad\udcff.tif"
    write_tiff(tmp_path / "raw" / name, plane(1))
    (tmp_path / "raw" / "bro\udcffken.tif").write_bytes(b"II*")
    words = ("convert", tmp_path / "raw", tmp_path / "out", "--report")
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    for report in (["told.json", "--json"], ["told.txt"]):
        said = [*map(str, words), str(tmp_path / report[0]), *report[1:]]
        command = [sys.executable, "-m", "napari_omezarr", *said]
        done = subprocess.run(command, env=environment, capture_output=True)
        assert done.returncode == 6, done.stderr
        assert b"should not" not in done.stderr
    rows = json.loads((tmp_path / "told.json").read_text())
    assert sorted(states(rows)) == ["failed", "written"]
    assert "there" in (tmp_path / "told.txt").read_text()
    run("ls", tmp_path / "out")


def test_what_a_kill_left_beside_whole_images_is_removed(tmp_path):
    for name in "abcd":
        write_tiff(tmp_path / "raw" / f"{name}.tif", plane(1))
    run("convert", tmp_path / "raw", out := tmp_path / "out")
    whole = small_images.contents(out)
    for name in ("a.ome.zarr.partial/journal", ".a.ome.zarr.saving"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("{}")  # killed between the rename and the rest
    others = ("b.ome.zarr.partial/journal", "b.ome.zarr.partial/data/0", "c.partial/x")
    others = (*others, "d.ome.zarr.partial/mine.txt")
    for name in others:
        (out / name).parent.mkdir(exist_ok=True, parents=True)
        (out / name).write_text("{}")
    assert "4 there" in run("convert", tmp_path / "raw", out)
    assert {*small_images.contents(out)} == {*whole, *others}


def test_one_file_becomes_an_image(folder, tmp_path):
    target = tmp_path / "one.ome.zarr"
    said = ("--scale", "y=0.5,x=0.25", "--units", "nm", "--chunks", "y=16,x=16")
    run("convert", folder / "a1.tif", target, *said)
    assert (pixels(target) == 1).all()
    facts = run_json("info", target)
    assert [(axis["pixel"], axis["unit"]) for axis in facts["axes"]] == [
        (0.5, "nanometer"),
        (0.25, "nanometer"),
    ]
    assert facts["levels"][0]["chunks"] == [16, 16]
    run("convert", folder / "a1.tif", target, code=5)
    run("convert", folder / "notes.txt", tmp_path / "x.ome.zarr", code=6)
    run("convert", folder / "none.tif", tmp_path / "x.ome.zarr", code=3)
    run("convert", target, code=2)


def test_a_folder_becomes_a_folder_and_a_rerun_does_what_is_missing(folder, tmp_path):
    target = folder / "converted"
    rows = run_json("convert", folder, target)
    assert states(rows) == ["written"] * 3
    for name, value in (("a1", 1), ("a2", 2), ("day 2/b", 3)):
        assert (pixels(target / f"{name}.ome.zarr") == value).all()
    before = (target / "a2.ome.zarr" / "zarr.json").stat()
    write_tiff(folder / "a3.tif", plane(4))
    rows = run_json("convert", folder, target)
    assert states(rows) == ["there", "there", "written", "there"]
    assert (target / "a2.ome.zarr" / "zarr.json").stat() == before
    rows = run_json("convert", folder, target, "--existing", "replace")
    assert states(rows) == ["written"] * 4


def test_what_fails_is_collected_and_the_others_are_done(folder, tmp_path):
    (folder / "a1.tif").write_bytes(b"no picture")
    target, report = tmp_path / "out", tmp_path / "report.json"
    text = run("convert", folder, target, "--report", report, code=6)
    assert "no whole TIFF" in text
    rows = json.loads(report.read_text())
    assert states(rows) == ["failed", "written", "written"]
    assert rows[0]["error"] == "DamagedDataError"
    assert rows[0]["inputs"] == [str(folder / "a1.tif")]
    assert sorted(path.name for path in target.iterdir()) == ["a2.ome.zarr", "day 2"]
    write_tiff(folder / "a1.tif", plane(1))
    run("convert", folder, target, "--report", tmp_path / "report.txt")
    lines = (tmp_path / "report.txt").read_text().splitlines()
    assert "written" in lines[0]
    assert "there" in lines[1]


def test_a_pattern_chooses_and_a_list_is_taken(folder, tmp_path):
    rows = run_json("convert", folder, tmp_path / "1", "--pattern", "a*.tif*")
    assert len(rows) == 2
    rows = run_json("convert", folder, tmp_path / "2", "--pattern", "day*/*.tif")
    assert [row["target"] for row in rows] == [str(tmp_path / "2/day 2/b.ome.zarr")]
    rows = run_json("convert", folder / "a?.tif", folder / "day 2", tmp_path / "3")
    assert len(rows) == 2
    run("convert", folder, tmp_path / "4", "--pattern", "*.png", code=3)
    run("convert", folder, tmp_path / "4.ome.zarr", code=2)


def write_several(folder, home):
    """Write one image as two OME-TIFF; who says so is each, the first, or a third."""
    values = np.arange(2 * 24 * 32, dtype="u2").reshape(2, 24, 32)
    files = ["p0.ome.tif", "p1.ome.tif"]
    planes = "".join(
        f'<TiffData FirstC="{c}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{file}">urn:uuid:{c}</UUID></TiffData>'
        for c, file in enumerate(files)
    )
    schema = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    whole = (
        f'<OME {schema} UUID="urn:uuid:{{}}"><Image ID="Image:0" Name="both">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="32" '
        'SizeY="24" SizeZ="1" SizeC="2" SizeT="1" PhysicalSizeX="0.5" '
        'PhysicalSizeY="0.5"><Channel ID="Channel:0" Name="red"/>'
        f'<Channel ID="Channel:1" Name="blue"/>{planes}</Pixels></Image></OME>'
    )
    part = (
        f'<OME {schema} UUID="urn:uuid:{{}}"><BinaryOnly MetadataFile="{home}"/></OME>'
    )
    for c, file in enumerate(files):
        said = whole if home in (None, file) else part
        write_tiff(folder / file, values[c], description=said.format(c), metadata=None)
    if home and home not in files:
        (folder / home).write_text(whole.format(9))
    return values


@pytest.mark.parametrize("home", [None, "p0.ome.tif", "both.companion.ome"])
def test_an_image_of_several_files_is_converted_once(home, tmp_path):
    values = write_several(tmp_path / "raw", home)
    rows = run_json("convert", tmp_path / "raw", tmp_path / "out")
    assert sorted(states(rows)) == ["joined"] * (len(rows) - 1) + ["written"]
    (place,) = (row["target"] for row in rows if row["state"] == "written")
    image = napari_omezarr.open(place)
    np.testing.assert_array_equal(image.read(), values)
    assert [channel.name for channel in image.channels] == ["red", "blue"]
    assert image.scale["x"] == 0.5
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == [
        place.rpartition("/")[2]
    ]
    last = tmp_path / "one.ome.zarr"
    run("convert", tmp_path / "raw" / "p1.ome.tif", last)  # any of them is all
    np.testing.assert_array_equal(napari_omezarr.open(last).read(), values)
    told = run(
        *("convert", tmp_path / "raw", tmp_path / "merged"),
        *("--merge", "p{c}.ome.tif"),
        code=6,
    )
    assert "parts of one image" in told


@pytest.mark.parametrize("home", [None, "p0.ome.tif", "both.companion.ome"])
def test_an_image_of_several_files_is_read_where_it_lies(
    home, proxy, s3_server, s3_prefix, owner, http_server, tmp_path
):
    values = write_several(tmp_path / "raw", home)
    s3_server.upload(tmp_path / "raw", f"private/{s3_prefix}/raw")
    source = f"s3://private/{s3_prefix}/raw"
    rows = run_json("convert", source, tmp_path / "out", "--endpoint", proxy.url)
    assert sorted(states(rows)) == ["joined"] * (len(rows) - 1) + ["written"]
    (place,) = (row["target"] for row in rows if row["state"] == "written")
    image = napari_omezarr.open(place)
    np.testing.assert_array_equal(image.read(), values)
    assert [channel.name for channel in image.channels] == ["red", "blue"]
    asked = [r.path.rpartition("/")[2] for r in proxy.requests if not r.query]
    # Once as itself, once as a part, and once more where another is asked about it.
    assert max(asked.count(name) for name in ("p0.ome.tif", "p1.ome.tif")) <= 3
    assert len([r for r in proxy.requests if "list-type" in r.query]) == 1
    web = f"{http_server.url}/raw/p1.ome.tif"
    run("convert", web, tmp_path / "web.ome.zarr")
    found = napari_omezarr.open(tmp_path / "web.ome.zarr")
    np.testing.assert_array_equal(found.read(), values)
    assert {request.method for request in http_server.requests} == {"GET"}
    (tmp_path / "raw" / "p1.ome.tif").unlink()
    web = web.replace("p1", "p0")
    told = run("convert", web, tmp_path / "less.ome.zarr", code=3)
    assert "lies in p1.ome.tif, which is not" in told
    assert not (tmp_path / "less.ome.zarr").exists()


def test_metadata_that_lie_in_an_absent_file_are_missed(tmp_path):
    write_several(tmp_path / "raw", "both.companion.ome")
    (tmp_path / "raw/both.companion.ome").unlink()
    told = run("convert", tmp_path / "raw" / "p1.ome.tif", tmp_path / "a.zarr")
    assert "Its metadata lie in both.companion.ome" in told
    (tmp_path / "raw/both.companion.ome").write_text("<OME/>")
    told = run(
        *("convert", tmp_path / "raw/both.companion.ome", tmp_path / "b.zarr"), code=6
    )
    assert "names no files" in told


def test_files_are_merged_by_their_names(tmp_path):
    source = tmp_path / "raw"
    for well in ("A1", "B2"):
        for t in (1, 2, 10):
            for c, color in enumerate(("DAPI", "GFP")):
                value = 100 * (well == "B2") + 10 * t + c
                write_tiff(source / f"{well}_t{t}_{color}.tif", plane(value, 3, 24, 32))
    names = ("--merge", "{well}_t{t}_{c}.tif", "--axes", "zyx")
    rows = run_json("convert", source, tmp_path / "out", *names)
    assert states(rows) == ["written"] * 2
    assert len(rows[0]["inputs"]) == 6
    for well in ("A1", "B2"):
        place = tmp_path / "out" / f"{well}.ome.zarr"
        facts = run_json("info", place)
        assert [axis["name"] for axis in facts["axes"]] == list("tczyx")
        assert facts["levels"][0]["shape"] == [3, 2, 3, 24, 32]
        assert [channel["name"] for channel in facts["channels"]] == ["DAPI", "GFP"]
        for c in range(2):
            found = pixels(place, c)
            expected = [100 * (well == "B2") + 10 * t + c for t in (1, 2, 10)]
            assert found[:, 0, 0, 0].tolist() == expected
            assert (found == found[:, :1, :1, :1]).all()
    (source / "A1_t2_GFP.tif").unlink()
    rows = run_json("convert", source, tmp_path / "again", *names, code=2)
    assert states(rows) == ["failed", "written"]
    assert "t 2, c GFP" in rows[0]["sentence"]
    write_tiff(source / "B2_t2_GFP.tif", plane(1, 3, 24, 30))
    rows = run_json("convert", source, tmp_path / "third", *names, code=1)
    assert "24 x 30" in rows[1]["sentence"]
    run("convert", source, tmp_path / "x", "--merge", "{well}.tif", code=2)


def test_files_are_merged_along_axes_that_they_have(tmp_path):
    source = tmp_path / "raw"
    for t in range(2):
        values = np.stack([plane(10 * t + i) for i in range(3)])
        write_tiff(source / f"s{t}.tif", values, metadata={"axes": "TYX"})
    run("convert", source, tmp_path / "film.ome.zarr", "--merge", "s{t}.tif")
    expected = [0, 1, 2, 10, 11, 12]
    assert pixels(tmp_path / "film.ome.zarr")[:, 0, 0].tolist() == expected


def write_pyramid(path, seed, *, count=3, zarr=False):
    """Write levels of noise, none of which was made of another, and give them."""
    noise = np.random.default_rng(seed)
    levels = [
        noise.integers(1, 60_000, (2, 32 // by, 48 // by), np.uint16)
        for by in (1, 2, 4)[:count]
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    if zarr:
        layer = (levels, {"multiscale": True, "axis_labels": "zyx"}, "image")
        write_layers([layer], path, existing_resolutions=True)
        return levels
    options = {"tile": (16, 16), "photometric": "minisblack"}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(levels[0], subifds=count - 1, metadata={"axes": "ZYX"}, **options)
        for level in levels[1:]:
            file.write(level, subfiletype=1, **options)
    return levels


def levels_of(place):
    image = napari_omezarr.open(place)
    return [image.read(level=number) for number in range(len(image.levels))]


@pytest.mark.parametrize("zarr", [False, True])
@pytest.mark.parametrize(
    ("names", "join"),
    [
        ("s{t}{c}", lambda each: np.stack([np.stack(each[:2]), np.stack(each[2:])])),
        ("s{z}", np.concatenate),
        ("s{c}{z}", lambda e: np.stack([np.concatenate(e[:2]), np.concatenate(e[2:])])),
    ],
)
def test_merged_files_keep_the_resolutions_that_all_have(tmp_path, names, join, zarr):
    ending = ".ome.zarr" if zarr else ".ome.tif"
    numbers = ("00", "01", "10", "11") if names.count("{") > 1 else ("0", "1")
    files = [tmp_path / "raw" / f"s{number}{ending}" for number in numbers]
    given = [write_pyramid(f, seed, zarr=zarr) for seed, f in enumerate(files)]
    expected = [join(each) for each in zip(*given, strict=True)]
    words = ("convert", tmp_path / "raw", "--merge", f"{names}{ending}")
    keep = "--use-existing-resolutions"
    run(*words, tmp_path / "kept.ome.zarr", keep)
    found = levels_of(tmp_path / "kept.ome.zarr")
    assert [level.shape for level in found] == [level.shape for level in expected]
    assert all(map(np.array_equal, found, expected))
    place = napari_omezarr.open(tmp_path / "kept.ome.zarr").levels[1].affine
    assert list(place.scale[-2:]) == [2, 2]
    if not zarr:  # one that has fewer
        write_pyramid(files[1], 1, count=2)
        (row,) = run_json(*words, tmp_path / "out", keep)
        assert any("differ" in note for note in row["notes"])


def test_fields_of_a_plate_keep_their_resolutions(tmp_path):
    given = [
        write_pyramid(tmp_path / "raw" / f"A1_{c}.ome.tif", seed)
        for seed, c in enumerate("ab")
    ]
    names = ("--plate", "--merge", "{well}_{c}.ome.tif", "--use-existing-resolutions")
    run("convert", tmp_path / "raw", tmp_path / "p.ome.zarr", *names)
    (row,) = run_json("ls", tmp_path / "p.ome.zarr" / "A" / "1")
    expected = [np.stack(each) for each in zip(*given, strict=True)]
    assert all(map(np.array_equal, levels_of(row["address"]), expected))


def test_fields_become_images_of_a_collection(tmp_path):
    for number in (1, 2):
        write_tiff(tmp_path / "raw" / f"f{number}.tif", plane(number))
    run("convert", tmp_path / "raw", tmp_path / "w.ome.zarr", "--merge", "f{field}.tif")
    names = [options["name"] for _, options, _ in read_layers(tmp_path / "w.ome.zarr")]
    assert len(names) == 2
    assert [pixels(tmp_path / "w.ome.zarr", i)[0, 0] for i in range(2)] == [1, 2]


def test_files_become_a_plate_and_more_wells_are_added(tmp_path):
    source, plate = tmp_path / "raw", tmp_path / "plate.ome.zarr"
    for well, value in (("A01", 10), ("B02", 20)):
        for field in (1, 2):
            for c, color in enumerate(("DAPI", "GFP")):
                values = plane(value + 2 * field + c)
                write_tiff(source / f"{well}_f{field}_{color}.tif", values)
    words = ("convert", source, plate, "--plate", "--merge", "{well}_f{field}_{c}.tif")
    assert len(run_json(*words)["fields"]) == 4
    facts = run_json("info", plate)
    assert facts["entry"]["kind"] == "plate"
    field = plate / "B" / "02" / "2"
    assert [pixels(field, c).max() for c in range(2)] == [24, 25]
    write_tiff(source / "B03_f1_DAPI.tif", plane(30))
    write_tiff(source / "B03_f1_GFP.tif", plane(31))
    assert "1 field written, 4 were there before" in run(*words)
    assert "0 fields written, 5 were there before" in run(*words)
    run(*words[:4], code=2)


@pytest.mark.parametrize("by_table", [False, True])
def test_a_field_that_fails_ends_no_other(by_table, tmp_path):
    source, plate = tmp_path / "raw", tmp_path / "plate.ome.zarr"
    for well in ("A1", "A2", "A3"):
        write_tiff(source / f"{well}_f1.tif", plane(1))
    (source / "A2_f1.tif").write_bytes(b"no TIFF")
    report, rows = tmp_path / "report.json", None
    if by_table:
        table = tmp_path / "plate.csv"
        wells = "\n".join(f"raw/A{n}_f1.tif,A{n}" for n in (1, 2, 3))
        table.write_text(f"image,well\n{wells}\n")
        words = ("write-plate", table, plate, "--unfinished", "resume")
    else:
        words = ("convert", source, plate, "--plate", "--merge", "{well}_f{field}.tif")
        words += ("--scale", "y=0.5", "--units", "nm", "--report", report)
    facts = run_json(*words, code=6)
    assert len(facts["fields"]) == 2
    assert "no whole TIFF" in facts["failed"][0]["sentence"]
    wells = [well.path for well in napari_omezarr.open(plate).wells()]
    assert wells == ["A/1", "A/3"]
    if not by_table:
        rows = json.loads(report.read_text())
        assert states(rows) == ["written", "failed", "written"]
        image = napari_omezarr.open(facts["fields"][0])
        assert (image.scale["y"], image.units["y"]) == (0.5, "nanometer")
    write_tiff(source / "A2_f1.tif", plane(2))
    assert "1 field written, 2 were there before" in run(*words)


def test_a_plate_is_written_by_the_cluster_that_was_named(client, tmp_path):
    distributed = pytest.importorskip("distributed")
    write_tiff(tmp_path / "A1.tif", plane(1))
    found = by_pattern(
        find_inputs([str(tmp_path)], Location.parse), "{well}.tif", of_plate=True
    )
    other = distributed.Client(client.scheduler.address, set_as_default=False)
    other.close()
    place = Location.parse(tmp_path / "plate.ome.zarr")
    run_ = ConvertRun(ReadChoices(), {"unfinished": "resume"}, client=other)
    (outcome,) = convert_plate(found, place, run_)
    assert outcome.error is ClusterError
    run_ = ConvertRun(ReadChoices(), {"unfinished": "resume"}, client=client)
    (outcome,) = convert_plate(found, place, run_)
    assert outcome.state == "written"
    assert (pixels(place / "A" / "1" / "0") == 1).all()


def test_files_are_merged_by_a_table(tmp_path):
    for name, value in (("x", 1), ("y", 2), ("z", 3)):
        write_tiff(tmp_path / "raw" / f"{name}.tif", plane(value))
    table = tmp_path / "files.csv"
    rows = ["file,image,c", "raw/y.tif,pair,red", "raw/x.tif,pair,blue", "raw/z.tif,,"]
    table.write_text("\n".join(rows))
    run("convert", "--table", table, tmp_path / "out")
    found = read_layers(tmp_path / "out" / "pair.ome.zarr")
    assert [options["name"] for _, options, _ in found] == ["blue", "red"]
    assert [np.asarray(finest(layer)).max() for layer in found] == [1, 2]
    assert (pixels(tmp_path / "out" / "z.ome.zarr") == 3).all()
    table.write_text("image\npair\n")
    run("convert", "--table", table, tmp_path / "out", code=2)


@pytest.mark.parametrize("name", ["../b", "a/../../b", "/b"])
def test_no_image_lies_outside_of_its_folder(name, folder, tmp_path):
    table = tmp_path / "files.csv"
    table.write_text(f"file,image,c\nraw/a1.tif,{name},red\n")
    told = run("convert", "--table", table, tmp_path / "out" / "in", code=2)
    assert "no name of an image" in told
    assert not (tmp_path / "out").exists()


def test_what_is_worth_knowing_of_one_image_is_printed(tmp_path):
    write_tiff(tmp_path / "a.tif", plane(1, 3, 24, 32), compression="zlib")
    target = tmp_path / "a.ome.zarr"
    assert "taken for z" in run("convert", tmp_path / "a.tif", target)
    rows = run_json("convert", tmp_path / "a.tif", tmp_path / "b.ome.zarr")
    assert "taken for z" in rows["notes"][0]


ANEW = [("convert",), ("convert", "--use-existing-resolutions"), ("rechunk",)]


@pytest.mark.parametrize("words", ANEW)
def test_an_ome_zarr_stays_what_it_is(words, tmp_path):
    places = [tmp_path / "a.zarr", tmp_path / "b.zarr"]
    two = [(plane(n), {"name": f"field {n}"}, "image") for n in (1, 2)]
    write_layers(two, places[0], merge=False)
    image = (plane(3), {"name": "cells", "axis_labels": "yx"}, "image")
    spots = ([[3, 4], [5, 6]], {"name": "spots"}, "points")
    write_layers([image, spots], places[1], name="late")
    for place, count in zip(places, (2, 1), strict=True):
        target = tmp_path / f"new {place.name}"
        # Other chunks: shards alone would be packed as they are.
        run(words[0], place, target, *words[1:], "--chunks", "y=16,x=16")
        before, now = napari_omezarr.read(place), napari_omezarr.read(target)
        assert [p.name for p in now.pyramids] == [p.name for p in before.pyramids]
        assert len(now.pyramids) == count
        kinds = [layer[2] for layer in read_layers(place)]
        assert [layer[2] for layer in read_layers(target)] == kinds
    for file in (places[1] / "tables" / "spots").rglob("zarr.json"):
        file.write_text("{")
    target = tmp_path / "lost.zarr"
    told = run(words[0], places[1], target, *words[1:], "--chunks", "y=16", code=2)
    assert "spots could not be read" in told
    assert not target.exists()


@pytest.mark.parametrize("words", ANEW)
def test_a_well_becomes_no_image_and_a_plate_no_part_of_one(words, tmp_path):
    small_images.put_plate(tmp_path / "p.zarr", rows=1, columns=2)
    target = tmp_path / "new.zarr"
    chunks = ("--chunks", "y=8,x=8")
    told = run(words[0], tmp_path / "p.zarr/A/1", target, *words[1:], *chunks, code=2)
    assert "is not one image" in told
    if words[0] == "convert":
        (tmp_path / "p.zarr").rename(tmp_path / "a_t1.zarr")
        merged = (tmp_path, target, "--pattern", "*.zarr", "--merge", "{n}_t{t}.zarr")
        assert "is not one image" in run(*words[:1], *merged, *words[1:], code=2)
    assert not target.exists()


def test_ome_zarr_among_files_are_converted_as_well(folder, tmp_path):
    write_cells(str(folder / "cells.ome.zarr"), shape=(2, 32, 32))
    rows = run_json("convert", folder, tmp_path / "out", "--version", "0.4")
    assert states(rows) == ["written"] * 4
    facts = run_json("info", tmp_path / "out" / "cells.ome.zarr")
    assert facts["entry"]["version"] == "0.4"


@pytest.mark.usefixtures("owner")
def test_a_bucket_is_converted_to_a_bucket(folder, tmp_path, s3_server, s3_prefix):
    place = f"s3://public/{s3_prefix}"
    reached = ("--endpoint", s3_server.endpoint, "--to-endpoint", s3_server.endpoint)
    run("copy", folder, f"{place}/raw", *reached[2:])
    rows = run_json("convert", f"{place}/raw", f"{place}/out", *reached)
    assert states(rows) == ["written"] * 3
    assert (
        states(run_json("convert", f"{place}/raw", f"{place}/out", *reached))
        == ["there"] * 3
    )
    for name, value in (("a1", 1), ("day 2/b", 3)):
        found = f"s3+{s3_server.endpoint}/public/{s3_prefix}/out/{name}.ome.zarr"
        assert (pixels(found) == value).all()
    rows = run_json("convert", f"{place}/raw/*.tif", tmp_path / "here", *reached[:2])
    assert len(rows) == 1


def test_a_cluster_writes_the_same_bytes(folder, tmp_path, client):
    values = np.arange(4 * 600 * 700, dtype="u2").reshape(4, 600, 700)
    write_tiff(folder / "large.tif", values, metadata={"axes": "ZYX"})
    chunks = ("--chunks", "z=1,y=256,x=256")
    run("convert", folder / "large.tif", tmp_path / "a.ome.zarr", *chunks)
    said = ("--scheduler", client.scheduler.address)
    run("convert", folder / "large.tif", tmp_path / "b.ome.zarr", *chunks, *said)
    assert_equal_trees(tmp_path / "a.ome.zarr", tmp_path / "b.ome.zarr")


def test_a_worker_that_dies_costs_what_it_had_in_work(tmp_path, client):
    """Half way through one of two ends; the other does its blocks again."""
    values = np.random.default_rng(2).integers(0, 999, (24, 256, 256), dtype="u2")
    write_tiff(tmp_path / "a.tif", values, metadata={"axes": "ZYX"})
    chunks = {"z": 1, "y": 128, "x": 128}
    place = Location.parse(str(tmp_path / "a.tif"))
    jobs, killed = [], []
    for name in ("whole", "broken"):
        target = Location.parse(str(tmp_path / f"{name}.ome.zarr"))
        jobs += plan_jobs([ConvertInput(place, "a.tif")], target)

    def kill(part):
        if part > 0.3 and not killed:
            killed.append(client.nthreads())
            address = sorted(killed[0])[0]
            client.run(os._exit, 1, workers=[address], nanny=False, on_error="ignore")

    choices = {"chunks": chunks, "levels": 2, "memory": 2**20}
    convert_one(jobs[0], ConvertRun(ReadChoices(), choices))
    convert_one(
        jobs[1], ConvertRun(ReadChoices(), choices, client=client, progress=kill)
    )
    assert len(killed) == 1
    assert_equal_trees(tmp_path / "whole.ome.zarr", tmp_path / "broken.ome.zarr")


@pytest.mark.parametrize("wrong", ["mainframe", "processes:x", "tcp://127.0.0.1"])
def test_what_is_no_scheduler_is_said(folder, tmp_path, wrong):
    words = ("convert", folder / "a1.tif", tmp_path / "c.ome.zarr")
    run(*words, "--scheduler", wrong, code=7 if ":/" in wrong else 2)


def assert_equal_trees(one, other):
    trees = [
        {
            file.relative_to(root).as_posix(): file.read_bytes()
            for file in root.rglob("*")
            if file.is_file() and file.name != "zarr.json"
        }
        for root in (one, other)
    ]
    assert trees[0] == trees[1]
    assert len(trees[0]) > 5


KILLED = """
import os, sys
from napari_omezarr import Location
from napari_omezarr.converting import *

def die(part):
    if part > 0.6:
        os._exit(9)

inputs = find_inputs([sys.argv[1]], Location.parse)
jobs = plan_jobs(inputs, Location.parse(sys.argv[2]))
choices = {"chunks": {"z": 1, "y": 64, "x": 64}}
convert_all(jobs[:1], ConvertRun(ReadChoices(), choices))
convert_all(jobs, ConvertRun(ReadChoices(), choices, progress=die))
"""


def test_a_run_that_was_killed_goes_on(tmp_path):
    source, target = tmp_path / "raw", tmp_path / "out"
    values = np.random.default_rng(1).integers(0, 999, (16, 256, 256), dtype="u2")
    write_tiff(source / "b.tif", values, metadata={"axes": "ZYX"})
    write_tiff(source / "a.tif", plane(1))
    command = [sys.executable, "-c", KILLED, source, target]
    assert subprocess.run(command, timeout=100).returncode == 9
    assert not (target / "b.ome.zarr").exists()
    chunks = [*target.glob("b.ome.zarr.partial/data/0/c/*/*/*")]
    before = {chunk.relative_to(chunk.parents[5]): chunk.stat() for chunk in chunks}
    words = ("convert", source, target, "--chunks", "z=1,y=64,x=64")
    assert states(run_json(*words)) == ["there", "written"]
    np.testing.assert_array_equal(pixels(target / "b.ome.zarr"), values)
    kept = [
        chunk
        for chunk, written in before.items()
        if (target / "b.ome.zarr" / chunk.relative_to(chunk.parts[0]))
        .stat()
        .st_mtime_ns
        == written.st_mtime_ns
    ]
    # Not all: blocks that were under way at the kill are written anew.
    assert len(kept) > 4
    assert states(run_json(*words)) == ["there"] * 2
