"""What the omero block says: ranges that reach every pixel, the plane shown first."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_omezarr.errors import WriteCancelledError
from napari_omezarr.layers import read_layers
from napari_omezarr.writing import update_rendering, write_image, write_layers


def omero(folder, version="0.5"):
    name = ".zattrs" if version == "0.4" else "zarr.json"
    content = json.loads((folder / name).read_text())
    content = content.get("attributes", content)
    return content.get("ome", content)["omero"]


def windows(folder):
    return [channel["window"] for channel in omero(folder)["channels"]]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
def test_windows_reach_the_lowest_and_the_highest_pixel_of_each_channel(
    dtype, tmp_path
):
    pixels = np.full((2, 5, 90, 90), 50, dtype)
    pixels[0, 4, 88, 1], pixels[1, 0, 3, 89] = 120, 3
    write_image(pixels, tmp_path / "a.ome.zarr", "czyx", chunks=(1, 1, 30, 30))
    first, second = windows(tmp_path / "a.ome.zarr")
    assert (first["min"], first["max"]) == (50, 120)
    assert (second["min"], second["max"]) == (3, 50)


def test_windows_of_whole_numbers_are_whole_and_of_others_without_nan(tmp_path):
    noise = np.random.default_rng(0).normal(1000, 50, (400, 400))
    write_image(noise.astype("uint16"), tmp_path / "a.ome.zarr")
    assert all(isinstance(v, int) for v in windows(tmp_path / "a.ome.zarr")[0].values())
    noise[3, 4:7] = np.nan, np.inf, -np.inf
    write_image(noise, tmp_path / "b.ome.zarr")
    window = windows(tmp_path / "b.ome.zarr")[0]
    finite = noise[np.isfinite(noise)]
    assert (window["min"], window["max"]) == (finite.min(), finite.max())


def test_a_range_that_is_given_is_widened_and_never_narrowed(tmp_path):
    pixels = np.full((40, 40), 7, "uint16")
    pixels[0, 0] = 5000
    options = {"contrast_limits": (1, 20), "contrast_limits_range": (0, 4095)}
    write_layers([(pixels, options, "image")], tmp_path / "a.ome.zarr")
    expected = {"start": 1, "end": 20, "min": 0, "max": 5000}
    assert windows(tmp_path / "a.ome.zarr") == [expected]


def test_a_resumed_save_knows_the_pixels_of_before(tmp_path):
    class Cancel:
        asked = 0

        def is_set(self):
            self.asked += 1
            return self.asked > 8

    pixels = np.full((40, 300, 300), 7, "uint16")
    pixels[0, 0, 0] = 60000
    choices = {"memory": 2**20, "chunks": (1, 128, 128), "workers": 1}
    target = tmp_path / "a.ome.zarr"
    with pytest.raises(WriteCancelledError):
        write_image(pixels, target, "zyx", cancel=Cancel(), **choices)
    write_image(pixels, target, "zyx", unfinished="resume", **choices)
    assert windows(target)[0]["max"] == 60000


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_plane_that_is_shown_first_is_said(version, tmp_path):
    pixels = np.zeros((3, 2, 7, 8, 8), "uint8")
    write_image(pixels, tmp_path / "a.ome.zarr", version=version)
    known = {"model": "color", "defaultT": 0, "defaultZ": 3}
    assert omero(tmp_path / "a.ome.zarr", version)["rdefs"] == known
    position = {"t": 2, "z": 99}  # there is no such plane
    write_image(pixels, tmp_path / "b.ome.zarr", version=version, position=position)
    chosen = {**known, "defaultT": 2}
    assert omero(tmp_path / "b.ome.zarr", version)["rdefs"] == chosen
    layers = read_layers(tmp_path / "b.ome.zarr")
    layers[0][1]["name"] = "renamed"
    update_rendering(layers)
    assert omero(tmp_path / "b.ome.zarr", version)["rdefs"] == chosen


def test_who_made_an_image_is_said(tmp_path):
    write_image(np.zeros((9, 9), "uint8"), tmp_path / "a.ome.zarr")
    content = json.loads((tmp_path / "a.ome.zarr" / "zarr.json").read_text())
    creator = content["attributes"]["ome"]["_creator"]
    assert creator["name"] == "napari-omezarr"
    assert creator["version"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32])
@pytest.mark.parametrize("top", [2, 7, 256])
def test_limits_are_the_percentiles_of_the_pixels(tmp_path, dtype, top):
    """Numbers of which there are few are counted and not sorted."""
    pixels = np.random.default_rng(top).integers(0, top, (53, 61)).astype(dtype)
    pixels[7] = min(40 * top, np.iinfo(dtype).max)
    write_image(pixels, tmp_path / "a.ome.zarr", levels=1)
    (window,) = windows(tmp_path / "a.ome.zarr")
    low, high = np.percentile(pixels, (0.1, 99.9))
    assert (window["start"], window["end"]) == (np.floor(low), np.ceil(high))
