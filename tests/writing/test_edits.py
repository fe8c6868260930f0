"""Labels added, looks written back, pixels patched: all else stays as it is."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from napari_omezarr.errors import (
    ConflictError,
    DiskFullError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    TargetExistsError,
    UnexpectedError,
)
from napari_omezarr.layers import read_layers
from napari_omezarr.writing import (
    add_labels,
    append,
    calibrate,
    open_existing,
    patch,
    update_rendering,
    write_image,
    write_layers,
)
from napari_omezarr.writing.downsample import downsample
from napari_omezarr.writing.existing import changed, update_image
from napari_omezarr.writing.from_layers import describe
from napari_omezarr.writing.hierarchy import FolderHierarchy, StoreHierarchy
from napari_omezarr.writing.labels import GroupList
from small_images import contents, put_image, put_labels

VERSIONS = ("0.4", "0.5", "0.6")
every_version = pytest.mark.parametrize("version", VERSIONS)

RNG = np.random.default_rng(11)
IMAGE = RNG.integers(0, 999, (2, 6, 301, 270)).astype(np.uint16)
LABELS = RNG.integers(0, 4, (6, 301, 270)).astype(np.int32)
PLACED = {"axis_labels": ("z", "y", "x"), "scale": (2.0, 0.5, 0.5)}


def written(tmp_path, version="0.5", **choices):
    place = tmp_path / "a.ome.zarr"
    options = {"scale": (1, 2, 0.5, 0.5), "labels": {"old": LABELS}, "levels": 3}
    write_image(IMAGE, place, "czyx", version=version, **options, **choices)
    return place


def labels(name="new", values=LABELS, **options):
    return values, {"name": name, **PLACED, **options}, "labels"


def changes(before, folder):
    after = contents(folder)
    return {key for key in before | after if before.get(key) != after.get(key)}


@every_version
@pytest.mark.parametrize("consolidated", [True, False])
def test_labels_join_those_that_are_there(version, consolidated, tmp_path):
    place = written(tmp_path, version, consolidated=consolidated)
    before = contents(place)
    add_labels(labels(values=LABELS + 1), place, verify="all")
    touched = {k for k in changes(before, place) if not k.startswith("labels/new/")}
    listing = "labels/.zattrs" if version == "0.4" else "labels/zarr.json"
    root = ".zmetadata" if version == "0.4" else "zarr.json"
    assert touched == ({listing, root} if consolidated else {listing})
    found = read_layers(place)
    assert [layer[1]["name"] for layer in found[2:]] == ["old", "new"]
    np.testing.assert_array_equal(np.asarray(found[2][0][0]), LABELS)
    np.testing.assert_array_equal(np.asarray(found[3][0][0]), LABELS + 1)
    image = [level.shape for level in found[0][0]]
    assert [level.shape for level in found[3][0]] == image
    assert found[3][1]["scale"] == found[0][1]["scale"]


@every_version
def test_labels_are_added_to_an_image_that_others_wrote(version, tmp_path):
    """Its levels were cut, not kept, where a size is odd, and it has no labels yet."""
    levels = put_image(tmp_path / "a.zarr", version, shape=(2, 4, 17, 25), count=1)
    assert levels[0].shape == (2, 4, 17, 25)
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="a")
    form = group["0"].metadata.to_dict()
    cut = {"chunks": (1, 1, 8, 8), "dtype": "uint16"}
    if version == "0.4":
        cut["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    else:
        cut["dimension_names"] = form["dimension_names"]
    group.create_array("1", shape=(2, 4, 8, 12), **cut)
    document = tmp_path / "a.zarr" / (".zattrs" if version == "0.4" else "zarr.json")
    content = json.loads(document.read_text())
    attributes = content if version == "0.4" else content["attributes"]["ome"]
    datasets = attributes["multiscales"][0]["datasets"]
    second = json.loads(json.dumps(datasets[0]).replace('"0"', '"1"'))
    datasets.append(json.loads(json.dumps(second).replace("0.5, 0.5]", "1.0, 1.0]")))
    document.write_text(json.dumps(content))
    values = RNG.integers(0, 4, (4, 17, 25))
    options = {"name": "cells", "scale": (0.5,) * 3, "axis_labels": ("z", "y", "x")}
    options["units"] = ("micrometer",) * 3
    add_labels((values, options, "labels"), tmp_path / "a.zarr", verify="all")
    found = read_layers(tmp_path / "a.zarr")[-1]
    assert [level.shape for level in found[0]] == [(4, 17, 25), (4, 8, 12)]
    coarse = downsample(values, (1, 2, 2), "nearest")[:, :8, :12]
    np.testing.assert_array_equal(np.asarray(found[0][1]), coarse)


def test_labels_of_a_name_that_is_taken(tmp_path):
    place = written(tmp_path)
    with pytest.raises(TargetExistsError):
        add_labels(labels("old"), place)
    add_labels(labels("old", LABELS + 1), place, existing="beside")
    add_labels(labels("old", LABELS + 2), place, existing="replace")
    found = {o["name"]: np.asarray(d[0]) for d, o, _ in read_layers(place)[2:]}
    assert GroupList(FolderHierarchy(place, ""), "labels").names() == ("old", "old-2")
    np.testing.assert_array_equal(found["old"], LABELS + 2)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (labels(values=LABELS[:, :-1]), "6 x 300 x 270"),
        (labels(scale=(1, 1, 1)), "pixel sizes"),
        (labels(axis_labels=("t", "y", "x")), "axes"),
        ((IMAGE[0], {"name": "image", **PLACED}, "image"), "only labels"),
    ],
)
def test_labels_that_do_not_fit_are_refused(layer, said, tmp_path):
    place = written(tmp_path)
    before = contents(place)
    with pytest.raises(OptionError, match=said):
        add_labels(layer, place)
    assert changes(before, place) == set()


def test_labels_of_one_plane_may_have_size_one(tmp_path):
    place = written(tmp_path)
    add_labels(labels(values=LABELS[:1]), place)
    assert read_layers(place)[3][0][0].shape == (1, 301, 270)


def test_labels_that_broke_off_are_not_listed_and_can_be_resumed(tmp_path):
    place = written(tmp_path)

    class Failing:
        shape, dtype, broken = LABELS.shape, LABELS.dtype, True

        def __getitem__(self, key):
            if self.broken and key[0].start >= 2:
                raise DiskFullError("no more")
            return LABELS[key]

    source = Failing()
    choices = {"memory": 1000, "chunks": {"z": 1, "y": 301, "x": 270}}
    with pytest.raises(DiskFullError):
        add_labels(labels(values=source), place, **choices)
    assert [layer[1]["name"] for layer in read_layers(place)[2:]] == ["old"]
    source.broken = False
    half = place / "labels" / "new" / "0" / "c" / "0" / "0" / f"0.{32 * 'a'}.partial"
    half.write_bytes(b"what a killed process leaves")
    add_labels(labels(values=source), place, unfinished="resume", **choices)
    assert not half.exists()
    np.testing.assert_array_equal(np.asarray(read_layers(place)[3][0][0]), LABELS)


def test_the_list_of_labels_is_read_again_when_somebody_else_changes_it():
    hierarchy = StoreHierarchy(MemoryStore(), "here")
    hierarchy.put("list", b'{"names": ["a"]}')
    rivals = iter(["b", "c"])

    def extended(document):
        name = next(rivals, None)
        if name:
            rival = {"names": [*document["names"], name]}
            hierarchy.put("list", json.dumps(rival).encode())
        return {"names": [*document["names"], "mine"]}

    changed(hierarchy, "list", extended)
    names = json.loads(hierarchy.read("list").body)["names"]
    assert names == ["a", "b", "c", "mine"]


def test_who_is_always_overtaken_gives_up(monkeypatch):
    monkeypatch.setattr("napari_omezarr.writing.update.LONGEST", 0)
    hierarchy = StoreHierarchy(MemoryStore(), "here")

    def never(document):
        hierarchy.put("list", json.dumps({"n": str(document)}).encode())
        return {}

    with pytest.raises(ConflictError):
        changed(hierarchy, "list", never)


@pytest.mark.parametrize("hierarchy", ["folder", "store"])
def test_a_document_is_replaced_only_as_it_was_read(hierarchy, tmp_path):
    place = (
        FolderHierarchy(tmp_path, "here")
        if hierarchy == "folder"
        else StoreHierarchy(MemoryStore(), "here")
    )
    assert place.read("deep/key") is None
    place.replace("deep/key", b"one", None)
    first = place.read("deep/key")
    place.replace("deep/key", b"two", first)
    for outdated in (first, None):
        with pytest.raises(ConflictError):
            place.replace("deep/key", b"three", outdated)
    assert place.read("deep/key").body == b"two"
    assert place.sizes("deep") == {"deep/key": 3}
    place.begin_copy("deep/key", "other/copy", 3).result(60)
    assert place.sizes("") == {"deep/key": 3, "other/copy": 3}
    place.remove("deep")
    assert place.read("deep/key") is None
    place.remove("deep")


@every_version
@pytest.mark.parametrize("consolidated", [True, False])
def test_rendering_is_written_back_and_nothing_else(version, consolidated, tmp_path):
    place = written(tmp_path, version, consolidated=consolidated)
    before = contents(place)
    first, second, old = read_layers(place)
    display = {"name": "DAPI", "colormap": "blue", "contrast_limits": (3.0, 40.0)}
    display |= {"visible": False, "gamma": 2.0}
    colors = {"colormap": {1: (1, 0, 0, 1), None: (0.6, 0.6, 0.6, 1)}}
    features = {"features": {"index": [1, 2], "area": [5, 6.5]}}
    changed_layers = [
        (first[0], first[1] | display, "image"),
        (old[0], old[1] | colors | features, "labels"),
    ]
    assert update_rendering(changed_layers) == ("DAPI", "old")
    allowed = {"zarr.json", ".zattrs", ".zmetadata", "labels/old/zarr.json"}
    assert changes(before, place) <= allowed | {"labels/old/.zattrs"}
    found = read_layers(place)
    assert {key: found[0][1][key] for key in display} == display
    assert found[1][1]["name"] == second[1]["name"]
    assert found[1][1]["contrast_limits"] == second[1]["contrast_limits"]
    assert found[2][1]["colormap"][1] == (1, 0, 0, 1)
    assert found[2][1]["features"] == {"index": [1, 2], "area": [5, 6.5]}
    update_rendering(read_layers(place))
    assert update_rendering(read_layers(place)) == ()


class Overtaken(FolderHierarchy):
    """Somebody else is faster, once."""

    def __init__(self, path, rival):
        super().__init__(path, str(path))
        self.rival = rival

    def replace(self, key, body, expected):
        rival, self.rival = self.rival, None
        if rival:
            rival()
        super().replace(key, body, expected)


@pytest.mark.parametrize("theirs", [0, 1])
def test_looks_that_somebody_else_changes_meanwhile(theirs, tmp_path):
    """Those of another channel stay; those of the same are a conflict."""
    place = written(tmp_path)
    mine, rivals = read_layers(place)[:2], read_layers(place)[:2]
    rivals[theirs][1]["contrast_limits"] = (8, 88)
    mine[0][1]["contrast_limits"] = (5, 55)
    hierarchy = Overtaken(place, lambda: update_rendering([rivals[theirs]]))
    specs = [describe(mine[0])]
    if theirs == 0:
        with pytest.raises(ConflictError, match="has just changed how"):
            update_image(specs, hierarchy)
    else:
        assert update_image(specs, hierarchy) == (mine[0][1]["name"],)
    found = [tuple(layer[1]["contrast_limits"]) for layer in read_layers(place)[:2]]
    assert found[theirs] == (8, 88)
    assert (found[0] == (5, 55)) == (theirs == 1)


def test_rendering_keeps_what_the_document_says_beyond_us(tmp_path):
    put_image(tmp_path / "a.zarr", "0.5", count=1)
    document = tmp_path / "a.zarr" / "zarr.json"
    content = json.loads(document.read_text())
    content["attributes"]["ome"]["omero"]["channels"][0]["wavelength"] = 405
    content["attributes"]["lab"] = "ours"
    document.write_text(json.dumps(content))
    data, options, kind = read_layers(tmp_path / "a.zarr")[0]
    update_rendering([(data, options | {"colormap": "red"}, kind)])
    attributes = json.loads(document.read_text())["attributes"]
    channel = attributes["ome"]["omero"]["channels"][0]
    assert (channel["wavelength"], channel["color"]) == (405, "FF0000")
    assert attributes["lab"] == "ours"


@pytest.mark.parametrize("names", [None, ["DAPI", "GFP"]])
def test_names_that_nobody_changed_are_not_made_longer(names, tmp_path):
    """The image's name before a channel's is for the list of layers alone."""
    place = tmp_path / "cells.ome.zarr"
    limits = [(0, 9)] * 2
    pixels = np.zeros((2, 32, 32), "u1")
    write_image(pixels, place, "cyx", channels=names, contrast_limits=limits)
    file = place / "zarr.json"
    document = json.loads(file.read_text())
    channels = document["attributes"]["ome"]["omero"]["channels"]
    for channel in channels:
        channel.pop("label") if names is None else None
    file.write_text(json.dumps(document))
    before = [options["name"] for _, options, _ in read_layers(place)]
    looks = read_layers(place)
    for _, options, _ in looks:
        options |= {"colormap": "red", "gamma": 2.0, "name": f"{options['name']} [1]"}
    looks[1][1]["name"] = "mine"
    update_rendering(looks)
    assert update_rendering(looks) == ()  # which say already what was written
    document = json.loads(file.read_text())
    channels = document["attributes"]["ome"]["omero"]["channels"]
    first = "DAPI" if names else None
    assert [channel.get("label") for channel in channels] == [first, "mine"]
    found = [options for _, options, _ in read_layers(place)]
    assert [options["name"] for options in found] == [before[0], "mine"]
    assert [(o["colormap"], o["gamma"]) for o in found] == [("red", 2.0)] * 2


def test_rendering_in_a_collection_reaches_its_consolidated_metadata(tmp_path):
    layers = [
        (np.zeros((8, 9), np.uint8), {"name": "a", "contrast_limits": (0, 1)}, "image"),
        (np.zeros((7, 9), np.uint8), {"name": "b", "contrast_limits": (0, 1)}, "image"),
    ]
    write_layers(layers, tmp_path / "a.zarr")
    data, options, kind = read_layers(tmp_path / "a.zarr")[1]
    update_rendering([(data, options | {"colormap": "cyan"}, kind)])
    assert read_layers(tmp_path / "a.zarr")[1][1]["colormap"] == "cyan"


def test_layers_from_nowhere_cannot_be_updated(tmp_path):
    with pytest.raises(OptionError, match="not opened"):
        update_rendering([(np.zeros((4, 4)), {"name": "a"}, "image")])
    put_image(tmp_path / "a.zarr", "0.5", count=1)
    layer = (np.zeros((4, 4)), {"name": "a", "contrast_limits": (0, 1)}, "image")
    with pytest.raises(OptionError, match="which channel"):
        update_rendering([layer], tmp_path / "a.zarr")
    with pytest.raises(NodeNotFoundError):
        update_rendering([layer], tmp_path / "b.zarr")


def test_versions_that_are_not_written_are_refused(tmp_path):
    put_image(tmp_path / "a.zarr", "0.3", count=1)
    with pytest.raises(OptionError, match=r"0\.3"):
        open_existing(FolderHierarchy(tmp_path / "a.zarr", "here"))


def test_metadata_without_arrays_are_no_image_to_change(tmp_path):
    place = written(tmp_path)
    (place / "1" / "zarr.json").unlink()
    with pytest.raises(NodeNotFoundError, match="Level 1"):
        open_existing(FolderHierarchy(place, "here"))


def by_hand(image, values, start, steps, method):
    """All levels of an image in which a box was replaced, made anew as a whole."""
    whole = image.copy()
    box = tuple(
        slice(first, first + size)
        for first, size in zip(start, values.shape, strict=True)
    )
    whole[box] = values
    levels = [whole]
    for step in steps:
        levels.append(downsample(levels[-1], step, method))
    return levels


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_patch_makes_all_levels_as_if_written_anew(data):
    shape = tuple(data.draw(st.integers(2, 40)) for _ in range(2))
    image = np.random.default_rng(0).integers(0, 5, shape).astype(np.int16)
    store = MemoryStore()
    layer = (image, {"name": "cells"}, "labels")
    method = data.draw(st.sampled_from(["nearest", "mode"]))
    shards = data.draw(st.sampled_from([None, (8, 10)]))
    write_layers([layer], store, chunks=(4, 5), shards=shards, levels=3,
                 label_method=method)  # fmt: skip
    start = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    sizes = (
        data.draw(st.integers(1, size - first))
        for first, size in zip(start, shape, strict=True)
    )
    values = np.random.default_rng(1).integers(5, 9, tuple(sizes)).astype(np.int16)
    patch(store, start, values)
    group = zarr.open_group(store, mode="r")
    count = len(list(group.array_keys()))
    expected = by_hand(image, values, start, [(2, 2)] * (count - 1), method)
    for number, level in enumerate(expected):
        np.testing.assert_array_equal(group[str(number)][...], level)


def test_a_patch_touches_only_what_it_must(tmp_path):
    write_image(IMAGE, tmp_path / "b.zarr", "czyx", chunks=(1, 1, 64, 64), levels=2)
    before = contents(tmp_path / "b.zarr")
    original = IMAGE[0:1, 2:4, 10:140, 5:80]
    edited = original.copy()
    edited[0, 1, 100:120, :5] += 1
    done = patch(tmp_path / "b.zarr", (0, 2, 10, 5), edited, original=original)
    # Rows 110 to 130 of plane 3: two chunks, and two of the level of half the size.
    assert changes(before, tmp_path / "b.zarr") == {
        "0/c/0/3/1/0", "0/c/0/3/2/0", "1/c/0/1/0/0", "1/c/0/1/1/0",
    }  # fmt: skip
    assert done.objects == 2


def test_a_patch_keeps_what_others_did_elsewhere_and_refuses_a_conflict(tmp_path):
    place = written(tmp_path) / "labels" / "old"
    original = LABELS[0:2, 0:50, 0:60].copy()
    theirs = original.copy()
    theirs[0, 0:10, 0:10] = 70
    patch(place, (0, 0, 0), theirs)
    mine = original.copy()
    mine[1, 20:30, 20:30] = 80
    patch(place, (0, 0, 0), mine, original=original)
    found = zarr.open_array(str(place / "0"), mode="r")[0:2, 0:50, 0:60]
    assert (found[0, 0:10, 0:10] == 70).all()
    assert (found[1, 20:30, 20:30] == 80).all()
    before = contents(place)
    clash = original.copy()
    clash[0, 5, 5] = 90
    with pytest.raises(ConflictError, match="at z 0, y 5, x 5"):
        patch(place, (0, 0, 0), clash, original=original)
    assert changes(before, place) == set()


def test_a_patch_that_changes_nothing_writes_nothing(tmp_path):
    place = written(tmp_path) / "labels" / "old"
    same = LABELS[0:1, 0:5, 0:5]
    assert patch(place, (0, 0, 0), same, original=same.copy()).objects == 0
    assert patch(place, (0, 0, 0), same).objects == 0


def test_a_patch_that_broke_off_is_mended_by_doing_it_again(tmp_path):
    """The finest level has it already; the coarser ones follow."""
    place = written(tmp_path) / "labels" / "old"
    original = LABELS[0:2, 0:50, 0:60]
    edited = original + 7
    before = contents(place)
    patch(place, (0, 0, 0), edited, original=original)
    whole = contents(place)
    for key in changes(before, place):
        if not key.startswith("0/"):
            (place / key).write_bytes(before[key])
    assert contents(place) != whole
    assert patch(place, (0, 0, 0), edited, original=original).objects == 0
    assert contents(place) == whole


@pytest.mark.parametrize(
    ("start", "values", "said"),
    [
        ((0, 300, 0), np.zeros((1, 5, 5), np.int32), "outside"),
        ((0, 0), np.zeros((5, 5), np.int32), "3 axes, the pixels have 2, .* begin 2"),
        ((0, 0, 0), np.zeros((5, 5), np.int32), "3 axes, the pixels have 2"),
        ((0, 0), np.zeros((1, 5, 5), np.int32), "3 axes, .* begin 2"),
        ((0, 0, 0), np.int32(7), "3 axes, the pixels have 0"),
        ((0, 0, -1), np.zeros((1, 1, 1), np.int32), "outside"),
        ((0, 0.5, 0), np.zeros((1, 1, 1), np.int32), "begins at a pixel"),
        (0, np.zeros((1, 1, 1), np.int32), "begins at a pixel"),
        ((0, 0, 0), np.full((1, 1, 1), 0.5), "does not go into"),
        ((0, 0, 0), np.full((1, 1, 1), 2**40), "do not fit"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(start, values, said, tmp_path):
    place = written(tmp_path) / "labels" / "old"
    with pytest.raises(OptionError, match=said):
        patch(place, start, values)


def test_put_labels_of_the_tests_are_read_as_listed(tmp_path):
    put_image(tmp_path / "a.zarr", "0.4", count=1)
    assert GroupList(FolderHierarchy(tmp_path / "a.zarr", ""), "labels").names() == ()
    put_labels(tmp_path / "a.zarr", "0.4", x=np.zeros((4, 16, 24), int))
    assert GroupList(FolderHierarchy(tmp_path / "a.zarr", ""), "labels").names() == (
        "x",
    )


EDITS = {
    "calibrate": lambda place: calibrate(place, scale={"x": 3.0}),
    "append": lambda place: append(place, np.ones((1, 4, 16, 24), "u2"), "c"),
    "patch": lambda place: patch(place, (0, 0, 0, 0), np.ones((1, 1, 1, 1), "u2")),
    "labels": lambda place: add_labels(np.ones((4, 16, 24), "u1"), place, name="new"),
}


EMPTY_SHARDS = {
    "name": "sharding_indexed",
    "configuration": {
        "chunk_shape": [0] * 4,
        "codecs": [{"name": "bytes"}],
        "index_codecs": [{"name": "bytes"}, {"name": "crc32c"}],
    },
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", None),
        ("shape", 0.5),
        ("shape", [2, 4, 16, "x"]),
        ("shape", [2, 4, 16, -24]),
        ("shape", [2, 4, 16]),
        ("zarr_format", [1]),
        ("codecs", 1),
        ("codecs", [{}]),
        ("chunk_grid", True),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [0] * 4}}),
        ("codecs", [EMPTY_SHARDS]),
        ("chunk_key_encoding", 7),
        ("data_type", "x"),
        ("dimension_names", [[]]),
        ("storage_transformers", 0.5),
    ],
)
def test_an_array_that_is_none_is_told_and_left(tmp_path, key, value, edit):
    place = tmp_path / "a.ome.zarr"
    put_image(place, "0.5")
    file = place / "0" / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {key: value}))
    before = contents(place)
    failure = None
    try:
        EDITS[edit](place)
    except OMEZarrError as error:
        failure = error
    assert type(failure) is not UnexpectedError, failure.__cause__
    if failure is not None:
        assert contents(place) == before
    else:  # who needs no pixel needs no more than the shape
        assert edit in ("calibrate", "labels")
