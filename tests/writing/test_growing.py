"""Images that grow in place, and that are said to lie elsewhere."""

from __future__ import annotations

import json

import dask
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from napari_omezarr.errors import (
    ConflictError,
    MetadataError,
    OptionError,
    TargetClaimedError,
    UnsupportedDataError,
    WriteCancelledError,
)
from napari_omezarr.layers import read_layers
from napari_omezarr.reading import read
from napari_omezarr.writing import (
    add_labels,
    append,
    calibrate,
    journal,
    update_rendering,
    write_image,
)
from napari_omezarr.writing.existing import Calibration, calibrate_image
from napari_omezarr.writing.given import open_hierarchy, parsed

RNG = np.random.default_rng(3)
FILM = RNG.integers(0, 999, (7, 2, 5, 50, 44)).astype(np.uint16)
CUT = {"chunks": (2, 1, 3, 20, 20), "levels": 3}
VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
AXES = "tczyx"


def levels(place, axes=AXES):
    """All levels, put together from the layers of the channels."""
    channels = [
        data if options.get("multiscale") else [data]
        for data, options, kind in read_layers(place)
        if kind == "image"
    ]
    axis = axes.index("c") if "c" in axes else None
    if axis is None:
        return [np.asarray(level) for level in channels[0]]
    return [np.stack(some, axis) for some in zip(*channels, strict=True)]


def same(place, other, axes=AXES):
    for one, two in zip(levels(place, axes), levels(other, axes), strict=True):
        np.testing.assert_array_equal(one, two)


@VERSIONS
@pytest.mark.parametrize("consolidated", [True, False])
def test_time_points_come_behind_at_all_levels(version, consolidated, tmp_path):
    options = {"version": version, "consolidated": consolidated, **CUT}
    write_image(FILM, tmp_path / "whole.zarr", AXES, **options)
    place = tmp_path / "a.zarr"
    write_image(FILM[:3], place, AXES, **options)
    appended = append(place, FILM[3])
    assert (appended.axis, appended.start, appended.stop) == ("t", 3, 4)
    append(place, FILM[4:])
    same(place, tmp_path / "whole.zarr")
    mode = {"use_consolidated": True} if consolidated else {}
    group = zarr.open_group(str(place), mode="r", **mode)
    assert group["2"].shape[0] == 7


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_what_was_appended_is_as_if_it_was_saved_at_once(data):
    shape = tuple(data.draw(st.integers(1, 9)) for _ in range(3))
    film = np.random.default_rng(1).integers(0, 5, shape).astype(np.int16)
    chunks = tuple(data.draw(st.integers(1, 4)) for _ in range(3))
    shards = tuple(c * data.draw(st.integers(1, 3)) for c in chunks)
    options = {"chunks": chunks, "levels": 2}
    if data.draw(st.booleans()):
        options["shards"] = shards
    place, whole = MemoryStore(), MemoryStore()
    cut = data.draw(st.integers(1, shape[0]))
    write_image(film[:cut], place, "tyx", **options)
    write_image(film, whole, "tyx", **options)
    if cut < shape[0]:
        append(place, film[cut:])
    same(place, whole, "tyx")


@VERSIONS
def test_channels_come_behind_with_their_looks(version, tmp_path):
    place = tmp_path / "a.zarr"
    write_image(FILM, place, AXES, version=version, channels=["DAPI", "GFP"], **CUT)
    looks = read_layers(place)
    looks[0][1]["gamma"] = 2.0
    update_rendering(looks)
    more = FILM[:, :1] + 1
    append(place, more, "c", channels=["RFP"], colors=["FF0000"])
    append(place, more[:, 0] + 1, "c", contrast_limits=[(3, 30)])
    found = read_layers(place)
    assert [options["name"] for _, options, _ in found] == [
        "DAPI", "GFP", "RFP", "channel 3",
    ]  # fmt: skip
    assert found[0][1]["gamma"] == 2.0
    assert tuple(found[3][1]["contrast_limits"]) == (3, 30)
    np.testing.assert_array_equal(np.asarray(found[2][0][0]), more[:, 0])
    low, high = found[2][1]["contrast_limits"]
    assert 0 <= low < high <= 1000


def test_channels_look_as_the_image_that_is_appended_says(tmp_path):
    place, more = tmp_path / "a.zarr", tmp_path / "more.zarr"
    write_image(FILM[:, :1], place, AXES, channels=["DAPI"], **CUT)
    limits = [(100, 900), (200, 800)]
    looks = {"channels": ["RFP", "Cy5"], "colors": ["FF0000", "FFFF00"]}
    write_image(FILM[:, :2], more, AXES, **looks, contrast_limits=limits, **CUT)
    append(place, read(more), "c")
    append(place, read_layers(more)[1], "c", channels=["dye"])
    write_image(FILM[:, :2], tmp_path / "plain.zarr", AXES, **CUT)
    append(place, read(tmp_path / "plain.zarr"), "c", colors=["00FF00", "0000FF"])
    found = [options for _, options, _ in read_layers(place)]
    assert [(options["name"], options["colormap"]) for options in found] == [
        ("DAPI", "gray"), ("RFP", "red"), ("Cy5", "yellow"), ("dye", "yellow"),
        ("a channel 4", "green"), ("a channel 5", "blue"),
    ]  # fmt: skip
    assert [tuple(options["contrast_limits"]) for options in found[1:4]] == [
        *limits, limits[1],
    ]  # fmt: skip


@pytest.mark.parametrize("lacking", [(0,), (1,), (0, 1), ()])
def test_axes_of_one_pixel_may_be_left_out(lacking, tmp_path):
    """A volume from a camera has no axis of channels, and the film has one of one."""
    film, place = FILM[:, :1], tmp_path / "a.zarr"
    write_image(film[:3], place, AXES, levels=1)
    append(place, film[3:4].squeeze(lacking))
    np.testing.assert_array_equal(levels(place)[0], film[:4])


def test_labels_grow_by_themselves(tmp_path):
    place = tmp_path / "a.zarr"
    film, cells = FILM[:, 0, 0], (FILM[:, 0, 0] // 100).astype(np.uint8)
    write_image(film[:4], place, "tyx", labels={"cells": cells[:4]}, levels=2)
    append(place, film[4:])
    append(place / "labels" / "cells", cells[4:])
    found = read_layers(place)
    assert [data[0].shape for data, _, _ in found] == [film.shape, film.shape]
    np.testing.assert_array_equal(np.asarray(found[1][0][0]), cells)


class Failing:
    """Pixels that can be read until they cannot."""

    def __init__(self, values, reads):
        self.values, self.reads = values, reads
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, key):
        self.reads -= 1
        if self.reads < 0:
            raise WriteCancelledError("no more")
        return self.values[key]


def test_what_broke_off_was_never_seen_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_omezarr.writing.growing._AT_ONCE", 4)
    place = tmp_path / "a.zarr"
    write_image(FILM[:3], place, AXES, **CUT)
    write_image(FILM, tmp_path / "whole.zarr", AXES, **CUT)
    with pytest.raises(WriteCancelledError):
        append(place, Failing(FILM[3:], 20))
    np.testing.assert_array_equal(levels(place)[0], FILM[:3])
    source = Failing(FILM[3:], 999)
    append(place, source)
    all_reads = 3 * 2 * 2 * 3 * 3
    assert 999 - source.reads <= all_reads - 16 + 3
    same(place, tmp_path / "whole.zarr")


def test_what_broke_off_does_not_mix_with_other_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_omezarr.writing.growing._AT_ONCE", 4)
    place = tmp_path / "a.zarr"
    write_image(FILM[:3], place, AXES, **CUT)
    with pytest.raises(WriteCancelledError):
        append(place, Failing(FILM[3:] + 1, 20))
    append(place, FILM[3:])
    np.testing.assert_array_equal(levels(place)[0], FILM)


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_an_end_that_broke_off_is_brought_to_it_and_not_done_twice(
    left, tmp_path, monkeypatch
):
    """After some documents; readers find the old image, or the new one."""
    place = tmp_path / "a.zarr"
    write_image(FILM[:3], place, AXES, **CUT)
    hierarchy = open_hierarchy(parsed(place))
    done = []

    inner = type(hierarchy).replace

    def breaks(self, key, body, expected):
        if key.endswith("zarr.json"):
            if len(done) == left:
                raise ConnectionError
            done.append(key)
        inner(self, key, body, expected)

    with monkeypatch.context() as broken:
        broken.setattr(type(hierarchy), "replace", breaks)
        with pytest.raises(ConnectionError):
            append(place, FILM[3:])
    # The finest level's document is the third; what is consolidated is older then.
    found = FILM if left == 3 else FILM[:3]
    np.testing.assert_array_equal(levels(place)[0], found)
    append(place, FILM[3:])
    np.testing.assert_array_equal(levels(place)[0], FILM)
    append(place, FILM[:1])  # and what comes then is something new
    np.testing.assert_array_equal(levels(place)[0][:7], FILM)
    assert levels(place)[0].shape[0] == 8


def test_who_appends_has_the_image_for_himself(tmp_path):
    place = tmp_path / "a.zarr"
    write_image(FILM[:3], place, AXES, **CUT)
    mine = journal.claim_of(open_hierarchy(parsed(place)), "", str(place))
    with mine.held(), pytest.raises(TargetClaimedError):
        append(place, FILM[3:])
    np.testing.assert_array_equal(levels(place)[0], FILM[:3])


def test_what_is_not_computed_yet_is_no_array(tmp_path):
    write_image(FILM[:3], tmp_path / "a.zarr", AXES, **CUT)
    with pytest.raises(UnsupportedDataError, match="from_delayed"):
        append(tmp_path / "a.zarr", dask.delayed(np.zeros)(FILM.shape))


@pytest.mark.parametrize(
    ("values", "axis", "choices", "said"),
    [
        (FILM, "z", {}, "axis of space"),
        (FILM, "w", {}, "no axis w"),
        (FILM[..., :-1], "t", {}, "do not fit behind"),
        (FILM.astype(float), "t", {}, "does not go into"),
        (FILM, "t", {"channels": ["a"]}, "no axis of channels"),
    ],
)
def test_what_does_not_fit_is_refused(values, axis, choices, said, tmp_path):
    place = tmp_path / "a.zarr"
    write_image(FILM[:3], place, AXES, **CUT)
    with pytest.raises(OptionError, match=said):
        append(place, values, axis, **choices)
    np.testing.assert_array_equal(levels(place)[0], FILM[:3])


# Where an image lies.


def worlds(place):
    return [
        (
            o["name"],
            np.round(o["scale"], 9).tolist(),
            np.round(o["translate"], 9).tolist(),
        )
        for _, o, _ in read_layers(place)
    ]


@VERSIONS
def test_an_image_is_calibrated_as_if_it_was_saved_so(version, tmp_path):
    image, cells = FILM[0, 0], (FILM[0, 0] // 100).astype(np.uint8)
    wrong = {"scale": (2, 1, 1), "translation": (1, 3, 3), "units": "pixel"}
    right = {"scale": (1, 0.5, 0.5), "translation": (9, 0, -3), "units": "micrometer"}
    options = {"version": version, "labels": {"cells": cells}, "levels": 3}
    place, other = tmp_path / "a.zarr", tmp_path / "b.zarr"
    write_image(image, place, "zyx", name="n", **wrong, **options)
    write_image(image, other, "zyx", name="n", **right, **options)
    calibrate(place, **right)
    assert worlds(place) == worlds(other)
    for one, two in zip(read_layers(place), read_layers(other), strict=True):
        assert one[1]["units"] == two[1]["units"]
    name = ".zattrs" if version == "0.4" else "zarr.json"
    documents = [json.loads((p / name).read_text()) for p in (place, other)]
    plain = [d if version == "0.4" else d["attributes"]["ome"] for d in documents]
    assert plain[0]["multiscales"] == plain[1]["multiscales"]
    held = [json.loads((p / ".zmetadata").read_text()) for p in (place, other)
            if version == "0.4"]  # fmt: skip
    assert not held or held[0] == held[1]
    for none in (0, {"z": 0}, np.nan):
        with pytest.raises(OptionError):
            calibrate(place, scale=none)
    calibrate(place, scale={"z": 7}, name="embryo")
    assert [o["scale"][0] for _, o, _ in read_layers(place)] == [7, 7]
    looks = read_layers(place)[1][1] | {"name": "new", "multiscale": False}
    add_labels((cells, looks, "labels"), place)  # on the same grid


def _left_out(levels):
    del levels[1]["coordinateTransformations"]


def _put_twice(levels):
    levels.append(levels[0])


def _put_in(levels):
    levels.append(7)


@VERSIONS
@pytest.mark.parametrize("spoil", [_left_out, _put_twice, _put_in])
def test_levels_of_which_not_all_is_right_are_calibrated_or_refused(
    spoil, version, tmp_path
):
    place = tmp_path / "a.zarr"
    write_image(FILM[0, 0], place, "zyx", version=version, levels=2)
    file = place / (".zattrs" if version == "0.4" else "zarr.json")
    content = json.loads(file.read_text())
    block = content if version == "0.4" else content["attributes"]["ome"]
    spoil(block["multiscales"][0]["datasets"])
    file.write_text(json.dumps(content))
    if spoil is _left_out:
        calibrate(place, scale=3)
        assert read_layers(place)[0][1]["scale"][0] == 3
        return
    with pytest.raises(MetadataError, match="levels"):
        calibrate(place, scale=3)
    assert json.loads(file.read_text()) == content


def test_a_calibration_by_two_at_a_time_is_a_conflict(tmp_path):
    place = tmp_path / "a.zarr"
    write_image(FILM[0, 0], place, "zyx", scale=(1, 1, 1))
    hierarchy = open_hierarchy(parsed(place))

    class Overtaken(type(hierarchy)):
        rival = True

        def replace(self, key, body, expected):
            if self.rival:
                self.rival = False
                calibrate(place, scale=(3, 1, 1))
            super().replace(key, body, expected)

    overtaken = Overtaken(place, str(place))
    with pytest.raises(ConflictError, match="where"):
        calibrate_image(overtaken, Calibration(scale=(2, 1, 1)), ())
    assert [o["scale"][0] for _, o, _ in read_layers(place)] == [3]
