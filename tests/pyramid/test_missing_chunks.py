"""Chunks that are not where the document says, or not there at all: it is said."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import zarr

import small_images
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.pyramid import ArrayPixels
from napari_omezarr.reading import read
from napari_omezarr.store import open_store
from napari_omezarr.writing import patch, write_layers
from quick_retries import PIXELS, QUICK, write_image

SPELLED = {
    "2, nested": (2, "dimension_separator", "/", False),
    "2, flat": (2, "dimension_separator", ".", False),
    "2, not said": (2, "dimension_separator", None, False),
    "3, nested": (3, "chunk_key_encoding", "/", False),
    "3, flat": (3, "chunk_key_encoding", ".", False),
    "3, shards": (3, "chunk_key_encoding", ".", True),
    "3, filters": (3, "chunk_key_encoding", ".", "filters"),
}


def misspelled(folder, zarr_format, key, said, shards):
    """Write an array of which the document tells another separator than it has."""
    stored = {"/": ".", ".": "/", None: "/"}[said]
    encoding = (
        {"name": "v2", "separator": stored}
        if zarr_format == 2
        else {"name": "default", "separator": stored}
    )
    options = {}
    if shards is True:
        options["shards"] = (4, 4)
    elif shards:
        options["filters"] = [zarr.codecs.TransposeCodec(order=(1, 0))]
    array = zarr.create_array(
        folder / "0",
        shape=PIXELS.shape,
        chunks=(2, 2),
        dtype=PIXELS.dtype,
        fill_value=0,
        zarr_format=zarr_format,
        chunk_key_encoding=encoding,
        **options,
    )
    array[...] = PIXELS
    file = folder / "0" / ("zarr.json" if zarr_format == 3 else ".zarray")
    document = json.loads(file.read_text())
    if said is None:
        del document[key]
    elif zarr_format == 2:
        document[key] = said
    else:
        document[key]["configuration"]["separator"] = said
    file.write_text(json.dumps(document))


def pixels_at(address):
    store = open_store(Location.parse(address), retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    return ArrayPixels(array._async_array, address, 8)


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
def test_chunks_under_the_other_separator_are_read(
    http_server, tmp_path, spelled, caplog
):
    misspelled(tmp_path, *spelled)
    pixels = pixels_at(http_server.url)
    before = len(http_server.requests)
    np.testing.assert_array_equal(pixels[...], PIXELS)
    (said,) = pixels.findings
    assert "its document says" in said
    assert said in pixels.store.notes
    assert [record.message for record in caplog.records] == [said]
    chunks = 4 if spelled[3] is True else 16
    # What was asked for in vain, a look, and what is there.
    assert len(http_server.requests) - before <= 2 * chunks + 3
    again = pickle.loads(pickle.dumps(pixels))
    http_server.clear()
    np.testing.assert_array_equal(again[...], PIXELS)
    assert len(http_server.requests) == chunks
    np.testing.assert_array_equal(pixels[1:5, 2:3], PIXELS[1:5, 2:3])


def test_no_chunk_at_all_is_said_and_costs_three_looks(http_server, tmp_path):
    folder = write_image(tmp_path / "a.zarr")
    shutil.rmtree(folder / "0/c")
    pixels = pixels_at(f"{http_server.url}/a.zarr")
    before = len(http_server.requests)
    for _ in range(5):
        assert not pixels[...].any()
    assert len(http_server.requests) - before == 5 * 16 + 3
    (said,) = pixels.findings
    assert "No chunk of" in said
    assert said in pixels.store.notes


def test_nothing_is_said_where_one_chunk_is_there(http_server, tmp_path):
    folder = write_image(tmp_path / "a.zarr")
    for file in (folder / "0/c").rglob("*"):
        if file.is_file() and file.relative_to(folder).as_posix() != "0/c/3/3":
            file.unlink()
    pixels = pixels_at(f"{http_server.url}/a.zarr")
    assert not pixels[:2, :2].any()
    assert pixels[...].any()
    assert not pixels[:4, :4].any()
    assert pixels.findings == ()
    looks = [r for r in http_server.requests if r.path.endswith("c.0.0")]
    assert len(looks) == 1


def without_chunks(folder):
    for chunks in [found for found in folder.rglob("c") if found.is_dir()]:
        shutil.rmtree(chunks)


def test_layers_say_it(tmp_path):
    small_images.put_image(tmp_path / "a.ome.zarr", names="zyx", shape=(4, 16, 24))
    without_chunks(tmp_path)
    layers = read_layers(tmp_path / "a.ome.zarr")
    for _, options, _ in layers:
        said = options["metadata"]["omezarr"]["warnings"]
        assert any("No chunk of" in sentence for sentence in said)


def test_labels_without_a_chunk_are_usual(tmp_path):
    small_images.put_image(tmp_path / "a.ome.zarr", "0.5")
    cells = np.ones((4, 16, 24), "u2")
    small_images.put_labels(tmp_path / "a.ome.zarr", cells=cells)
    without_chunks(tmp_path / "a.ome.zarr/labels")
    pyramid = read(Location.parse(tmp_path / "a.ome.zarr")).pyramids[1]
    assert not pyramid.levels[0].pixels[...].any()
    assert pyramid.levels[0].pixels.findings == ()


def test_a_save_says_nothing_of_what_it_need_not_write(tmp_path, caplog):
    black = (np.zeros((4, 64, 64), "u2"), {"name": "black"}, "image")
    cells = (np.zeros((4, 64, 64), "u2"), {"name": "cells"}, "labels")
    write_layers([black, cells], tmp_path / "a.ome.zarr", verify="all", levels=2)
    patch(
        tmp_path / "a.ome.zarr" / "labels" / "cells",
        (1, 1, 1),
        np.ones((1, 2, 2), "u2"),
    )
    assert not caplog.records
