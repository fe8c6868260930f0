"""Small pictures: the stored one, the coarsest level in its colours, kept on disk."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from napari_omezarr.browsing import thumbnail
from napari_omezarr.browsing.thumbnails import (
    ThumbnailCache,
    composite,
    label_colours,
    set_thumbnail_cache,
)
from napari_omezarr.location import Location
from napari_omezarr.metadata import ResolvedChannel
from napari_omezarr.user_files import cache_folder
from servers.http import FileServer
from servers.plates import PlateServer
from small_images import put_image, put_labels


def omero(*colors, **window):
    window = {"min": 0, "max": 255, "start": 0, "end": 200} | window
    return {
        "omero": {"channels": [{"color": c, "window": window} for c in colors]},
    }


def test_the_middle_plane_is_seen_in_the_colours_of_its_channels(tmp_path):
    levels = put_image(tmp_path / "x.zarr", extra=omero("FF0000", "00FF00"))
    found = thumbnail(Location.parse(tmp_path / "x.zarr"))
    plane = levels[-1][:, 2].astype(float) / 200 * 255
    expected = np.stack([plane[0], plane[1], np.zeros_like(plane[0])], axis=-1)
    np.testing.assert_allclose(found.pixels, np.clip(expected, 0, 255), atol=1)
    assert "coarsest level" in found.sentence


def test_hidden_channels_are_not_seen(tmp_path):
    put_image(tmp_path / "x.zarr")  # the second channel is not active
    picture = thumbnail(Location.parse(tmp_path / "x.zarr")).pixels
    assert picture[..., 1].any()
    assert not picture[..., [0, 2]].any()


def test_labels_have_colours(tmp_path):
    put_image(tmp_path / "x.zarr")
    labels = np.zeros((4, 16, 24), np.uint8)
    labels[:, :8] = 1
    labels[:, 8:, 12:] = 7
    put_labels(tmp_path / "x.zarr", cells=labels)
    where = Location.parse(tmp_path / "x.zarr" / "labels" / "cells")
    picture = thumbnail(where).pixels
    np.testing.assert_array_equal(picture[0, 0], [255, 0, 0])  # its own colour
    assert picture[-1, -1].any()
    assert not picture[-1, 0].any()


def test_large_planes_are_thinned_to_a_small_picture(tmp_path):
    put_image(
        tmp_path / "x.zarr", names="yx", shape=(600, 900), count=1, chunks=(300, 300)
    )
    assert thumbnail(Location.parse(tmp_path / "x.zarr")).pixels.shape == (150, 225, 3)


def test_what_is_too_large_or_no_picture_has_none(tmp_path):
    put_image(tmp_path / "x.zarr", names="yx", shape=(64, 64), count=1)
    found = thumbnail(Location.parse(tmp_path / "x.zarr"), most_bytes=1000)
    assert found.pixels is None
    assert "too large" in found.sentence


def test_a_plate_shows_some_wells_and_where_the_others_are():
    with PlateServer(4, 12, size=64, missing=("A/1",)) as server:
        found = thumbnail(Location.parse(server.address))
        fields = {r.path for r in server.requests if r.path.endswith("/c/0/0")}
    assert found.sentence == "The 48 wells that are listed, 24 of them as they are."
    assert len(fields) <= 24
    assert found.pixels.shape[1] <= 256
    greys = (found.pixels == 40).all(axis=-1)
    assert 0.3 < greys.mean() < 0.6  # half of the wells, and the one that is not there
    assert (found.pixels.any(axis=-1) & ~greys).mean() > 0.3


@pytest.mark.parametrize("axes", ["yxc", "cyx"])
def test_rgb_is_seen_as_it_is(tmp_path, axes):
    shape = (16, 24, 3) if axes == "yxc" else (3, 16, 24)
    extra = {
        "omero": {
            "channels": [
                {
                    "color": color,
                    "window": {"start": 0, "end": 255, "min": 0, "max": 255},
                }
                for color in ("FF0000", "00FF00", "0000FF")
            ],
            "rdefs": {"model": "color"},
        }
    }
    (data,) = put_image(
        tmp_path / "x.zarr",
        names=axes,
        shape=shape,
        count=1,
        dtype=np.uint8,
        extra=extra,
    )
    picture = thumbnail(Location.parse(tmp_path / "x.zarr")).pixels
    expected = data if axes == "yxc" else np.moveaxis(data, 0, -1)
    np.testing.assert_array_equal(picture, expected)


def stored(folder, names, width=64):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :32] = (10, 200, 30)
    Image.fromarray(picture).save(folder / "small.png")
    document = json.loads((folder / "zarr.json").read_text())
    document["attributes"]["thumbnails"] = [
        {"path": name, "width": width} for name in names
    ]
    (folder / "zarr.json").write_text(json.dumps(document))
    return picture


def test_a_stored_picture_goes_first(tmp_path):
    put_image(tmp_path / "x.zarr")
    picture = stored(tmp_path / "x.zarr", ["small.png"])
    found = thumbnail(Location.parse(tmp_path / "x.zarr"))
    np.testing.assert_array_equal(found.pixels, picture)
    assert "stored" in found.sentence


@pytest.mark.parametrize("name", ["missing.png", "zarr.json", ""])
def test_a_stored_picture_that_is_none_is_replaced(tmp_path, name):
    put_image(tmp_path / "x.zarr")
    stored(tmp_path / "x.zarr", [name])
    assert "coarsest" in thumbnail(Location.parse(tmp_path / "x.zarr")).sentence


@pytest.mark.parametrize("name", ["../out.png", "{root}/out.png", "..\\out.png"])
def test_no_picture_outside_the_image_is_shown(tmp_path, name):
    put_image(tmp_path / "x.zarr")
    stored(tmp_path / "x.zarr", [name.replace("{root}", str(tmp_path))])
    Image.new("RGB", (64, 64)).save(tmp_path / "out.png")
    assert "stored" not in thumbnail(Location.parse(tmp_path / "x.zarr")).sentence


def test_the_stored_picture_of_the_right_size_is_taken(tmp_path):
    put_image(tmp_path / "x.zarr")
    stored(tmp_path / "x.zarr", ["small.png"])
    document = json.loads((tmp_path / "x.zarr" / "zarr.json").read_text())
    rows = [{"path": "no.png", "width": 16}, {"path": "small.png", "width": 300}, 3]
    document["attributes"]["thumbnails"] = rows
    (tmp_path / "x.zarr" / "zarr.json").write_text(json.dumps(document))
    assert "stored" in thumbnail(Location.parse(tmp_path / "x.zarr")).sentence


@pytest.mark.parametrize("with_picture", [False, True])
def test_a_remote_picture_is_made_once_for_each_version(tmp_path, with_picture):
    put_image(tmp_path / "x.zarr", count=1, names="yx", shape=(8, 8))
    if with_picture:
        stored(tmp_path / "x.zarr", ["small.png"])
    read = "/x.zarr/small.png" if with_picture else "/x.zarr/0/c/0/0"

    def whole():
        return sum(r.path == read and not r.range for r in server.requests)

    with FileServer(tmp_path) as server:
        where = Location.parse(f"{server.url}/x.zarr")
        first = thumbnail(where)
        assert whole() == 1
        np.testing.assert_array_equal(thumbnail(where).pixels, first.pixels)
        assert whole() == 1
        if with_picture:
            Image.fromarray(np.full((9, 9, 3), 9, np.uint8)).save(
                tmp_path / "x.zarr" / "small.png"
            )
        else:
            put_image(tmp_path / "x.zarr", count=1, names="yx", shape=(8, 8), seed=5)
        assert not np.array_equal(thumbnail(where).pixels, first.pixels)
        assert whole() == 2
    kept = [file.name for file in (cache_folder() / "thumbnails").iterdir()]
    assert len(kept) == 2
    assert not any("127.0" in name or "zarr" in name for name in kept)
    ThumbnailCache().clear()
    assert not list((cache_folder() / "thumbnails").iterdir())


def test_a_folder_that_cannot_be_written_costs_no_picture(tmp_path):
    (tmp_path / "file").write_text("")
    cache = ThumbnailCache(tmp_path / "file")
    where = Location.parse("https://host/x.zarr")
    cache.keep(where, "1", np.zeros((4, 4, 3), np.uint8))
    assert cache.find(where, "1") is None
    cache.keep(where, "", np.zeros((4, 4, 3), np.uint8))
    assert cache.find(where, "") is None


def test_what_was_not_used_longest_goes_where_there_is_too_much(tmp_path):
    places = [Location.parse(f"https://host/{name}") for name in "abc"]
    picture = np.zeros((4, 4, 3), np.uint8)
    cache = ThumbnailCache(tmp_path)
    for age, place in enumerate(places[:2]):
        cache.keep(place, "1", picture)
        (file,) = (file for file in tmp_path.iterdir() if file.stat().st_mtime > 1e9)
        os.utime(file, (age, age))
    assert cache.find(places[0], "1") is not None
    size = file.stat().st_size
    ThumbnailCache(tmp_path, size=2 * size).keep(places[2], "1", picture)
    found = [cache.find(place, "1") is not None for place in places]
    assert found == [True, False, True]


def test_no_room_keeps_and_uses_no_picture(tmp_path):
    place, picture = Location.parse("https://host/a"), np.zeros((4, 4, 3), np.uint8)
    ThumbnailCache(tmp_path).keep(place, "1", picture)
    set_thumbnail_cache(0)
    try:
        assert ThumbnailCache(tmp_path).find(place, "1") is None
        ThumbnailCache(tmp_path).keep(place, "2", picture)
    finally:
        set_thumbnail_cache()
    assert len(list(tmp_path.iterdir())) == 1
    assert ThumbnailCache(tmp_path).find(place, "1") is not None


def channel(color="FFFFFF", limits=None, inverted=False):
    return ResolvedChannel("", color, limits, None, inverted=inverted)


def test_limits_that_show_nothing_are_replaced():
    plane = np.linspace(500, 1000, 64).reshape(8, 8)
    picture = composite([plane], [channel(limits=(5000, 9000))])
    assert picture.min() == 0
    assert picture.max() == 255


def test_an_even_plane_and_one_without_numbers_are_pictures():
    assert not composite([np.full((4, 4), 7.0)], [channel()]).any()
    assert not composite([np.full((4, 4), np.nan)], [channel()]).any()
    assert composite([np.zeros((4, 4))], [channel(limits=(0, 1), inverted=True)]).all()


def test_neighbouring_labels_differ():
    picture = label_colours(np.array([[0, 1], [2, 3]]), {})
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 4
    assert not picture[0, 0].any()


def test_a_picture_is_a_png(tmp_path):
    cache = ThumbnailCache(tmp_path)
    cache.keep(Location.parse("https://host/x"), "1", np.zeros((4, 4, 3), np.uint8))
    (file,) = tmp_path.iterdir()
    assert Image.open(io.BytesIO(file.read_bytes())).format == "PNG"


@pytest.mark.parametrize("axis", range(3))
def test_an_image_without_pixels_has_no_picture(tmp_path, axis):
    put_image(tmp_path / "a.zarr", "0.4", names="zyx", shape=(4, 16, 24), count=1)
    document = tmp_path / "a.zarr" / "0" / ".zarray"
    array = json.loads(document.read_text())
    array["shape"][axis] = 0
    document.write_text(json.dumps(array))
    assert thumbnail(Location.parse(tmp_path / "a.zarr")).pixels is None
