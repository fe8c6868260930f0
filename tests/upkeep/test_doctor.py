"""`doctor` on stores that are broken in each way, and `remove`."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr

from commands import assert_equal_pixels, run, run_json
from napari_omezarr import read_layers, write_image, write_layers, write_plate
from napari_omezarr.samples import write_cells


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """An image with labels in each version, which no test changes."""
    folder = tmp_path_factory.mktemp("sound")
    write_cells(str(folder / "first.ome.zarr"), shape=(4, 64, 64))
    layers = read_layers(folder / "first.ome.zarr")
    for version in ("0.4", "0.5", "0.6"):
        target = folder / f"{version}.ome.zarr"
        chunks = {"y": 16, "x": 16}
        write_layers(layers, target, version=version, chunks=chunks, levels=3)
    return folder


@pytest.fixture(params=["0.4", "0.5", "0.6"])
def store(request, sound, tmp_path):
    target = tmp_path / "cells.ome.zarr"
    shutil.copytree(sound / f"{request.param}.ome.zarr", target)
    return target


def edit(store, path, change):
    """Change the OME-Zarr metadata of a group, there and where they are held."""
    group = store / path
    new = (group / "zarr.json").exists()
    file = group / ("zarr.json" if new else ".zattrs")
    content = json.loads(file.read_text())
    change(content["attributes"]["ome"] if new else content)
    file.write_text(json.dumps(content))


def forget_copies(store):
    """Let no consolidated metadata hold what documents say."""
    (store / ".zmetadata").unlink(missing_ok=True)
    if (root := store / "zarr.json").exists():
        content = json.loads(root.read_text())
        del content["consolidated_metadata"]
        root.write_text(json.dumps(content))


def kinds(place, *words, code=6):
    return [
        row["kind"] for row in run_json("doctor", place, *words, code=code)["findings"]
    ]


def documents(store):
    names = ("zarr.json", ".zattrs", ".zarray", ".zgroup", ".zmetadata")
    return {
        file.relative_to(store).as_posix(): file.read_bytes()
        for name in names
        for file in store.rglob(name)
    }


def assert_mended(store, kind, expected, left=()):
    """It is found, mended, gone, and can be taken back."""
    before = documents(store)
    assert kind in kinds(store)
    run("doctor", store, "--fix")
    assert kinds(store, code=6 if left else 0) == list(left)
    expected()
    run("doctor", store, "--undo")
    assert documents(store) == before


def test_a_sound_store_is_sound(store):
    assert "Nothing is wrong" in run("doctor", store, "--scan")
    assert "Nothing is wrong" in run("doctor", store, "--fix")


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_others_consolidated_is_sound(tmp_path, zarr_format):
    version = "0.4" if zarr_format == 2 else "0.5"
    place = tmp_path / "a.ome.zarr"
    write_image(np.ones((8, 9), "u2"), place, "yx", version=version, consolidated=False)
    zarr.consolidate_metadata(place, zarr_format=zarr_format)
    assert "Nothing is wrong" in run("doctor", place)


def test_a_missing_level(store):
    shutil.rmtree(store / "2")

    def without():
        assert len(run_json("info", store)["levels"]) == 2

    assert_mended(store, "missing level", without, ["label levels"])
    shutil.rmtree(store / "0")
    assert "missing level" in kinds(store, "--fix")


def test_a_wrong_unit(store):
    def spoil(block):
        multiscale = block["multiscales"][0]
        systems = multiscale.get("coordinateSystems") or [multiscale]
        for axis, unit in zip(systems[0]["axes"][1:], ("µm", "um"), strict=False):
            axis["unit"] = unit

    edit(store, "", spoil)

    def right():
        units = [axis["unit"] for axis in run_json("info", store)["axes"]]
        assert units[1:] == ["micrometer"] * 3

    assert_mended(store, "unit", right)


def test_a_unit_that_is_none_is_left_to_the_person(store):
    def spoil(block):
        multiscale = block["multiscales"][0]
        systems = multiscale.get("coordinateSystems") or [multiscale]
        systems[0]["axes"][1]["unit"] = "parsnips"

    edit(store, "", spoil)
    text = run("doctor", store, "--fix", code=6)
    assert "parsnips" in text
    assert "calibrate" in text


def test_a_unit_of_another_kind_than_its_axis_is_told(store):
    def spoil(block):
        multiscale = block["multiscales"][0]
        systems = multiscale.get("coordinateSystems") or [multiscale]
        systems[0]["axes"][-1]["unit"] = "second"

    edit(store, "", spoil)
    assert "unit" in kinds(store, "--fix")


def document_of(store, level):
    array = store / level
    new = array / "zarr.json"
    return new if new.exists() else array / ".zarray"


def as_group(store):
    file = document_of(store, "1")
    number = 3 if file.name == "zarr.json" else 2
    file.unlink()
    content = {"zarr_format": number, "node_type": "group", "attributes": {}}
    name = "zarr.json" if number == 3 else ".zgroup"
    (store / "1" / name).write_text(json.dumps(content))


def without_shape(store):
    file = document_of(store, "1")
    content = json.loads(file.read_text())
    del content["shape"]
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("spoil", [as_group, without_shape])
def test_what_is_no_array_is_a_missing_level(store, spoil):
    spoil(store)

    def without():
        assert len(run_json("info", store)["levels"]) == 2

    assert_mended(store, "missing level", without, ["label levels"])


@pytest.mark.parametrize("spoiled", ["shape", "type", "order"])
def test_levels_that_are_not_of_one_image(store, spoiled):
    if spoiled == "order":
        edit(store, "", lambda block: block["multiscales"][0]["datasets"].reverse())
    else:
        file = document_of(store, "1")
        content = json.loads(file.read_text())
        if spoiled == "shape":
            content["shape"] = [size * 9 for size in content["shape"]]
        elif "data_type" in content:
            content["data_type"] = "float32"
        else:
            content["dtype"] = "<f4"
        file.write_text(json.dumps(content))
    assert "shape" in kinds(store, "--fix")


def test_what_is_tolerated_is_told(store):
    def spoil(block):
        datasets = block["multiscales"][0]["datasets"]
        datasets.append(datasets[1])

    edit(store, "", spoil)
    assert "tolerated" in kinds(store)


def test_a_document_that_is_broken_hides_nothing_else(store):
    forget_copies(store)
    whole = document_of(store, "1").read_text()
    document_of(store, "1").write_text(whole[:40])
    edit(store, "labels", lambda block: block["labels"].clear())
    before = documents(store)
    assert {"broken document", "unlisted label"} <= set(kinds(store, "--fix"))
    assert documents(store) == before
    document_of(store, "1").write_text(whole)
    run("doctor", store, "--fix")
    assert "Nothing is wrong" in run("doctor", store)


def test_labels_that_nobody_lists(store):
    edit(store, "labels", lambda block: block["labels"].clear())

    def listed():
        assert [kind for _, _, kind in read_layers(store)][-1] == "labels"

    assert_mended(store, "unlisted label", listed)


def test_a_labels_folder_that_nobody_described(store):
    forget_copies(store)
    for name in ("zarr.json", ".zattrs", ".zgroup"):
        (store / "labels" / name).unlink(missing_ok=True)

    def listed():
        assert [kind for _, _, kind in read_layers(store)][-1] == "labels"

    assert_mended(store, "unlisted label", listed)


def test_labels_that_are_not_there(store):
    edit(store, "labels", lambda block: block["labels"].append("ghosts"))

    def gone():
        assert [row["name"] for row in run_json("ls", store / "labels")] == ["nuclei"]

    assert_mended(store, "absent label", gone)


def test_labels_beside_no_image(store):
    edit(store, "", lambda block: block.pop("multiscales"))
    assert "orphan labels" in kinds(store)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_fields_of_a_plate_hold_is_sound(version, tmp_path):
    plane = np.ones((8, 9), "u2")
    write_plate({"A1": plane}, tmp_path / "p.zarr", axes="yx", version=version)
    assert kinds(tmp_path / "p.zarr", code=0) == []


def test_stale_consolidated_metadata(store):
    if (store / ".zmetadata").exists():
        file = store / ".zmetadata"
        content = json.loads(file.read_text())
        del content["metadata"]["1/.zarray"]
    else:
        file = store / "zarr.json"
        content = json.loads(file.read_text())
        content["consolidated_metadata"]["metadata"]["1"]["shape"] = [1, 2, 3, 4]
    file.write_text(json.dumps(content))
    assert_mended(store, "stale metadata", lambda: None)


def test_many_features_in_the_metadata(store):
    def spoil(block):
        rows = [{"label-value": i, "area": i / 2} for i in range(1, 1500)]
        block["image-label"]["properties"] = rows

    edit(store, "labels/nuclei", spoil)
    assert "features" in kinds(store, "--fix")


def test_documents_of_two_formats(store):
    (store / "zarr.json").exists() or pytest.skip("has none of zarr 3")
    (store / ".zgroup").write_text('{"zarr_format": 2}')
    assert kinds(store) == ["two formats"]


def fractional(store):
    file = document_of(store, "labels/nuclei/0")
    content = json.loads(file.read_text())
    name = "data_type" if "data_type" in content else "dtype"
    content[name] = "float32" if name == "data_type" else "<f4"
    file.write_text(json.dumps(content))


def of_another(store):
    def spoil(block):
        block["image-label"]["source"] = {"image": "../../../other.ome.zarr"}

    edit(store, "labels/nuclei", spoil)


def more_channels(store):
    edit(store, "", lambda b: b["omero"]["channels"].append({"label": "ghost"}))


def unlisted_level(store):
    edit(store, "", lambda block: block["multiscales"][0]["datasets"].pop())
    edit(store, "labels/nuclei", lambda b: b["multiscales"][0]["datasets"].pop())


def fewer_levels(store):
    edit(store, "labels/nuclei", lambda b: b["multiscales"][0]["datasets"].pop())


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (fewer_levels, "label levels"),
        (fractional, "label type"),
        (of_another, "label source"),
        (more_channels, "channels"),
        (unlisted_level, "unlisted level"),
    ],
)
def test_what_only_a_person_can_decide_is_told(store, spoil, kind):
    spoil(store)
    assert kind in kinds(store, "--fix")


def lost_source(store):
    edit(
        store,
        "labels/nuclei",
        lambda b: b["image-label"].update(source={"image": "../../x"}),
    )


def unsaid(store):
    edit(store, "labels/nuclei", lambda block: block.pop("image-label"))


def twice(store):
    edit(store, "labels", lambda block: block["labels"].append("nuclei"))


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lost_source, "label source"),
        (unsaid, "label"),
        (twice, "label listed twice"),
    ],
)
def test_labels_that_do_not_fit_their_image_are_mended(store, spoil, kind):
    spoil(store)

    def shown():
        assert [each for _, _, each in read_layers(store)][-1] == "labels"

    assert_mended(store, kind, shown)


def test_a_label_that_is_listed_by_no_name_is_taken_out(store):
    edit(store, "labels", lambda block: block.update(labels=[1]))
    assert {"absent label", "unlisted label"} <= set(kinds(store))
    run("doctor", store, "--fix", code=6)  # that it is no name is left in words
    assert "Nothing is wrong" in run("doctor", store)


@pytest.mark.parametrize("value", [1.5, [1], {}])
def test_labels_that_say_nonsense_of_themselves_are_mended(store, value):
    edit(store, "labels/nuclei", lambda b: b.update({"image-label": value}))
    run("doctor", store, "--fix", code=6 if value else 0)
    assert "Nothing is wrong" in run("doctor", store)


def held(store):
    """The documents that consolidated metadata hold whole, but those of the root."""
    return [key for key in documents(store) if "/" in key]


@pytest.mark.parametrize("state", ["broken", "gone"])
def test_documents_come_back_out_of_consolidated_metadata(store, state):
    whole = documents(store)
    for key in held(store):
        if state == "gone":
            (store / key).unlink()
        else:
            (store / key).write_bytes(whole[key][:-9])
    broken = documents(store)
    assert set(kinds(store)) == {f"{state} document"}
    run("doctor", store, "--fix")
    assert "Nothing is wrong" in run("doctor", store, "--scan")
    for key, body in documents(store).items():
        assert json.loads(body) == json.loads(whole[key])
    run("doctor", store, "--undo")
    assert documents(store) == broken


def test_one_document_that_is_gone_comes_back(store):
    whole = documents(store)
    for key in held(store):
        (store / key).unlink()
        assert kinds(store) == ["gone document"]
        run("doctor", store, "--fix")
        assert json.loads(documents(store)[key]) == json.loads(whole[key])


@pytest.mark.parametrize("label", ["nuclei", "labels"])
def test_what_is_gone_with_its_pixels_leaves_the_consolidated_metadata(store, label):
    # Held by them alone, an array without its chunks would read as zeros.
    gone = store / "labels" if label == "labels" else store / "labels" / label
    for file in [file for file in gone.rglob("*") if file.is_file()]:
        file.unlink()
    if label == "labels":  # and its folder
        shutil.rmtree(gone)
    before = documents(store)
    path = gone.relative_to(store).as_posix()
    assert f"Nothing is left of {path}." in run("doctor", store, code=6)
    run("doctor", store, "--fix")
    assert "Nothing is wrong" in run("doctor", store)
    assert run_json("info", store)["labels"] == []
    run("doctor", store, "--undo")
    assert documents(store) == before


@pytest.mark.parametrize("state", ["broken", "gone"])
def test_the_roots_own_documents_come_back_where_they_are_held_beside(store, state):
    (store / ".zmetadata").exists() or pytest.skip("they are held in it")
    whole = documents(store)
    for name in (".zattrs", ".zgroup"):
        (store / name).write_text("{")
        if state == "gone":
            (store / name).unlink()
    assert kinds(store) == [f"{state} document"] * 2
    run("doctor", store, "--fix")
    assert {k: json.loads(v) for k, v in documents(store).items()} == {
        key: json.loads(body) for key, body in whole.items()
    }


def test_consolidated_metadata_that_are_no_json_are_made_anew(store):
    (store / ".zmetadata").exists() or pytest.skip("they are in the root's document")
    (store / ".zmetadata").write_text('{"metadata"')
    assert_mended(store, "stale metadata", lambda: None)


def chunk_files(store, level="0"):
    names = ("zarr.json", ".zarray", ".zattrs")
    files = [f for f in (store / level).rglob("*") if f.is_file()]
    return sorted(file for file in files if file.name not in names)


def test_damaged_and_lost_chunks_are_found_by_a_scan(store):
    bright = next(file for file in chunk_files(store) if len(file.read_bytes()) > 60)
    body = bright.read_bytes()
    bright.write_bytes(body[: len(body) // 2])
    assert "Nothing is wrong" in run("doctor", store)
    assert kinds(store, "--scan") == ["damaged chunks"]
    bright.unlink()
    assert kinds(store, "--scan") == ["lost chunks"]


@pytest.mark.parametrize(
    ("size", "kind"), [(2**28, "too many chunks"), (2**40, "array")]
)
def test_a_level_that_claims_to_be_endless_is_not_scanned(store, size, kind):
    forget_copies(store)
    for level in ("0", "1"):
        file = document_of(store, level)
        content = json.loads(file.read_text())
        content["shape"] = [*content["shape"][:-2], size, size]
        file.write_text(json.dumps(content))
    assert kind in kinds(store, "--scan")


def test_damaged_shards_are_found(tmp_path):
    place = tmp_path / "a.ome.zarr"
    values = np.random.default_rng(0).integers(1, 99, (64, 64), dtype="u2")
    units = {"chunks": {"y": 8, "x": 8}, "shards": {"y": 32, "x": 32}, "levels": 2}
    write_image(values, place, "yx", **units)
    assert "Nothing is wrong" in run("doctor", place, "--scan")
    (shard, *_) = chunk_files(place)
    body = bytearray(shard.read_bytes())
    body[-20] ^= 255
    shard.write_bytes(body)
    text = run("doctor", place, "--scan", code=6)
    assert "1 shard of level 0 is damaged: 0.0" in text


def test_what_is_no_store_is_said(tmp_path):
    run("doctor", tmp_path / "nothing.zarr", code=3)
    run("doctor", tmp_path, "--undo", code=3)


# Removing.


def test_a_store_is_removed_after_it_was_agreed_to(store, tmp_path):
    count = len([file for file in store.rglob("*") if file.is_file()])
    text = run("remove", store, code=130)
    assert f"{count:,} objects" in text
    assert store.exists()
    assert json.loads(run("remove", store, "--json", code=2))["error"] == "OptionError"
    facts = run_json("remove", store, "--yes")
    assert facts["objects"] == count
    assert not store.exists()
    run("remove", store, "--yes", code=3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    run("remove", tmp_path / "mine", "--yes", code=2)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_labels_are_removed_and_no_longer_listed(store, sound):
    version = run_json("info", store)["entry"]["version"]
    run("remove", store / "labels" / "nuclei", "--yes")
    assert [kind for _, _, kind in read_layers(store)] == ["image", "image"]
    assert "Nothing is wrong" in run("doctor", store)
    original = read_layers(sound / f"{version}.ome.zarr", labels=False)
    for (found, _, _), (expected, _, _) in zip(
        read_layers(store), original, strict=True
    ):
        np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.usefixtures("owner")
def test_a_bucket_is_examined_mended_and_emptied(sound, s3_server, s3_prefix):
    place = f"s3+{s3_server.endpoint}/public/{s3_prefix}/a.ome.zarr"
    run("copy", sound / "0.5.ome.zarr", place)
    assert "Nothing is wrong" in run("doctor", place, "--scan")
    run("remove", f"{place}/2", "--yes")
    assert kinds(place) == ["missing level", "stale metadata"]
    run("doctor", place, "--fix")
    assert kinds(place) == ["label levels"]
    run("doctor", place, "--undo")
    assert_equal_pixels(place, sound / "0.5.ome.zarr")
    run("remove", place, "--yes")
    run("remove", place, "--yes", code=3)
