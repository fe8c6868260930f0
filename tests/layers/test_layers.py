"""Pyramids as layer data: names, colours, contrast, places, labels."""

from __future__ import annotations

import json

import numcodecs
import numpy as np
import pytest

import small_images
from napari_omezarr.errors import DamagedDataError, OptionError
from napari_omezarr.layers import estimate_contrast, layer_data, read_layers
from napari_omezarr.location import Location
from napari_omezarr.reading import ReadOptions, read
from pixel_sources import MemoryPixels

VERSIONS = ["0.4", "0.5", "0.6"]


def layers(path, *, system=None, **choices):
    options = ReadOptions(coordinate_system=system)
    return layer_data(read(Location.parse(path), options).pyramids, **choices)


def names(path):
    return [layer.options["name"] for layer in layers(path)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_channel_becomes_a_layer_with_all_that_the_document_says(tmp_path, version):
    levels = small_images.put_image(tmp_path / "a.zarr", version)
    first, second = read_layers(tmp_path / "a.zarr")
    data, options, kind = first
    assert kind == "image"
    assert options["name"] == "marker 0"
    assert options["colormap"] == "green"
    assert options["contrast_limits"] == (10, 200)
    assert options["blending"] == "additive"
    assert options["scale"] == (0.5, 0.5, 0.5)
    assert options["translate"] == (0, 0, 0)
    assert options["units"] == ("micrometer",) * 3
    assert options["axis_labels"] == ("z", "y", "x")
    assert (options["visible"], second[1]["visible"]) == (True, False)
    assert options["multiscale"] is True
    for level, expected in zip(data, levels, strict=True):
        np.testing.assert_array_equal(level.compute(), expected[0])


def test_the_range_of_the_slider_is_the_windows(tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    assert layers(tmp_path / "a.zarr")[0].contrast_range == (0, 1000)


def test_one_level_is_no_multiscale(tmp_path):
    small_images.put_image(tmp_path / "a.zarr", count=1)
    data, options, _ = read_layers(tmp_path / "a.zarr")[0]
    assert options["multiscale"] is False
    assert data.shape == (4, 16, 24)


def test_metadata_keep_where_a_layer_came_from(tmp_path):
    small_images.put_image(tmp_path / "a.zarr", "0.4")
    kept = layers(tmp_path / "a.zarr")[1].options["metadata"]["omezarr"]
    assert kept["address"] == str(tmp_path / "a.zarr")
    assert (kept["version"], kept["channel"]) == ("0.4", 1)
    assert kept["paths"] == ["0", "1", "2"]
    assert kept["attributes"]["multiscales"][0]["name"] == "image"
    json.dumps(kept)


@pytest.mark.parametrize(
    ("color", "colormap"),
    [
        ("FF0000", "red"),
        ("00ff00", "green"),
        ("FFFFFF", "gray"),
        ("00FFFF", "cyan"),
        ("12AB0F", "#12ab0f"),
    ],
)
def test_a_colour_is_naparis_own_colormap_where_they_are_equal(
    tmp_path, color, colormap
):
    channel = {"label": "a", "color": color, "active": True}
    small_images.put_image(
        tmp_path / "a.zarr", extra={"omero": {"channels": [channel] * 2}}
    )
    assert layers(tmp_path / "a.zarr")[0].options["colormap"] == colormap


def test_an_inverted_channel_runs_from_its_colour_to_black(tmp_path):
    channel = {"label": "a", "color": "FF0000", "inverted": True}
    small_images.put_image(
        tmp_path / "a.zarr", extra={"omero": {"channels": [channel] * 2}}
    )
    assert layers(tmp_path / "a.zarr")[0].options["colormap"] == ("#ff0000", "#000000")


def test_an_image_without_channels_goes_by_its_name(tmp_path):
    small_images.put_image(tmp_path / "cells.ome.zarr", names="zyx", shape=(4, 16, 24))
    assert names(tmp_path / "cells.ome.zarr") == ["cells"]
    assert "blending" not in layers(tmp_path / "cells.ome.zarr")[0].options


def test_channels_without_labels_are_numbered(tmp_path):
    small_images.put_image(tmp_path / "cells.zarr", extra={"omero": None})
    assert names(tmp_path / "cells.zarr") == ["cells channel 0", "cells channel 1"]


def test_of_several_images_each_layer_names_its_own(tmp_path):
    small_images.put_series(tmp_path / "a.zarr", count=2)
    assert names(tmp_path / "a.zarr") == [
        "scan 0 marker 0",
        "scan 0 marker 1",
        "scan 1 marker 0",
        "scan 1 marker 1",
    ]


def test_channels_can_be_chosen(tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    (only,) = read_layers(tmp_path / "a.zarr", channels=[1])
    assert only[1]["name"] == "marker 1"
    with pytest.raises(OptionError, match="no channel 2"):
        read_layers(tmp_path / "a.zarr", channels=[2])


def put_rgb(path, channels=3, dtype=np.uint8):
    colors = ("FF0000", "00FF00", "0000FF", "FFFFFF")[:channels]
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    listed = [{"color": c, "active": True, "window": window} for c in colors]
    return small_images.put_image(
        path,
        shape=(channels, 4, 16, 24),
        extra={"omero": {"channels": listed}},
        dtype=dtype,
    )


@pytest.mark.parametrize("channels", [3, 4])
def test_red_green_blue_is_one_picture(tmp_path, channels):
    levels = put_rgb(tmp_path / "a.zarr", channels)
    ((data, options, _),) = read_layers(tmp_path / "a.zarr")
    assert options["rgb"] is True
    assert len(options["scale"]) == 3
    for level, expected in zip(data, levels, strict=True):
        np.testing.assert_array_equal(level.compute(), np.moveaxis(expected, 0, -1))


def test_red_green_blue_of_sixteen_bits_are_channels(tmp_path):
    put_rgb(tmp_path / "a.zarr", dtype=np.uint16)
    assert len(layers(tmp_path / "a.zarr")) == 3


def put_transform(path, transform):
    """An image of 0.6 whose world is another system than the physical one."""
    multiscale = small_images.multiscales("0.6", "yx", 1)[0]
    systems = multiscale["coordinateSystems"]
    systems.append({"name": "stage", "axes": small_images.axes("yx")})
    ends = {"input": {"name": "physical"}, "output": {"name": "stage"}}
    multiscale["coordinateTransformations"] = [transform | ends]
    small_images.put_image(
        path,
        "0.6",
        names="yx",
        shape=(16, 24),
        count=1,
        extra={"multiscales": [multiscale]},
    )


def world(options):
    """The layer's whole transform, as napari composes it."""
    ndim = len(options["scale"])
    matrix = np.eye(ndim + 1)
    matrix[:-1, :-1] = np.diag(options["scale"])
    matrix[:-1, -1] = options.get("translate", [0] * ndim)
    return np.asarray(options.get("affine", np.eye(ndim + 1))) @ matrix


@pytest.mark.parametrize(
    "matrix",
    [[[0.8, -0.6, 3], [0.6, 0.8, 4]], [[1, 0.5, 0], [0, 2, 7]], [[0, 1, 0], [1, 0, 0]]],
)
def test_rotation_shear_and_swapped_axes_are_kept(tmp_path, matrix):
    put_transform(tmp_path / "a.zarr", {"type": "affine", "affine": matrix})
    options = layers(tmp_path / "a.zarr", system="stage")[0].options
    expected = np.vstack([matrix, [0, 0, 1]]) @ np.diag([0.5, 0.5, 1])
    np.testing.assert_allclose(world(options), expected)
    assert min(options["scale"]) > 0


def test_a_flip_is_a_negative_scale(tmp_path):
    put_transform(tmp_path / "a.zarr", {"type": "scale", "scale": [-1, 2]})
    flipped = layers(tmp_path / "a.zarr", system="stage")[0].options
    assert flipped["scale"] == (-0.5, 1.0)
    own = layers(tmp_path / "a.zarr")[0].options
    assert own["scale"] == (0.5, 0.5)
    record = own["metadata"]["omezarr"]
    assert record["coordinate_system"] == "physical"
    assert record["coordinate_systems"] == ["physical", "stage"]


def put_labelled(path, data, **change):
    small_images.put_image(path)
    small_images.put_labels(path, cells=data)
    document = json.loads((path / "labels" / "cells" / "zarr.json").read_text())
    document["attributes"]["ome"] |= change
    (path / "labels" / "cells" / "zarr.json").write_text(json.dumps(document))


def test_labels_have_their_colours_and_features_and_lie_on_top(tmp_path):
    put_labelled(tmp_path / "a.zarr", small_images.pixels((4, 16, 24), np.uint8))
    *images, cells = layers(tmp_path / "a.zarr")
    assert [image.kind for image in images] == ["image", "image"]
    assert cells.kind == "labels"
    assert cells.options["colormap"][1] == (1, 0, 0, 1)
    assert cells.options["colormap"][0] == (0, 0, 0, 0)
    assert cells.options["colormap"][None][3] == 1
    assert cells.options["features"] == {"index": [1], "area": [12], "class": ["cell"]}


def test_labels_without_colours_are_napari_coloured(tmp_path):
    data = small_images.pixels((4, 16, 24), np.uint8)
    put_labelled(tmp_path / "a.zarr", data, **{"image-label": {}})
    cells = layers(tmp_path / "a.zarr")[-1]
    assert "colormap" not in cells.options
    assert "features" not in cells.options


def test_labels_without_units_take_their_images(tmp_path):
    bare = small_images.multiscales("0.5", "zyx", 2)
    for axis in bare[0]["axes"]:
        axis.pop("unit")
    data = small_images.pixels((4, 16, 24), np.uint8)
    put_labelled(tmp_path / "a.zarr", data, multiscales=bare)
    assert {layer.options["units"] for layer in layers(tmp_path / "a.zarr")} == {
        ("micrometer",) * 3
    }


@pytest.mark.parametrize(
    ("dtype", "expected"), [("f4", "i4"), ("?", "u1"), ("u8", "u8"), ("i2", "i2")]
)
def test_label_values_become_integers_that_napari_takes(tmp_path, dtype, expected):
    data = small_images.pixels((4, 16, 24)).astype(dtype)
    put_labelled(tmp_path / "a.zarr", data)
    cells = layers(tmp_path / "a.zarr")[-1]
    assert (cells.kind, cells.data[0].dtype) == ("labels", np.dtype(expected))
    np.testing.assert_array_equal(cells.data[0].compute(), data)


def test_labels_with_fractions_are_an_image(tmp_path):
    put_labelled(tmp_path / "a.zarr", small_images.pixels((4, 16, 24)) / np.float32(3))
    cells = layers(tmp_path / "a.zarr")[-1]
    assert (cells.kind, cells.needs_contrast) == ("image", True)


def test_labels_with_one_channel_lose_its_axis(tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    data = small_images.pixels((1, 4, 16, 24), np.uint8)
    small_images.put_labels(tmp_path / "a.zarr", names="czyx", cells=data)
    assert layers(tmp_path / "a.zarr")[-1].data[0].shape == (4, 16, 24)


def test_without_a_window_contrast_comes_from_the_coarsest_level(tmp_path):
    small_images.put_image(
        tmp_path / "a.zarr", extra={"omero": small_images.omero(2, window=False)}
    )
    assert layers(tmp_path / "a.zarr")[0].needs_contrast
    low, high = read_layers(tmp_path / "a.zarr")[0][1]["contrast_limits"]
    assert 0 <= low < 10
    assert 190 < high <= 200


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.zeros((8, 8)), (0, 1)),
        (np.full((8, 8), 7, np.uint16), (7, 8)),
        (np.full((8, 8), np.nan), (0, 1)),
        (np.where(np.eye(8, dtype=bool), np.inf, 5.0), (5, 6)),
        (np.zeros((0, 8)), (0, 1)),
        (np.full((8, 8), 1e20), (1e20, 1e20 + 2**14)),
        (np.array([[-128] * 2, [127] * 2], np.int8), (-128, 127)),
        (np.array([[-30_000, 30_000]] * 2, np.int16), (-30_000, 30_000)),
        (np.array([[0] + [100] * 9], np.int8) - 28, (-28, 72)),
    ],
)
def test_contrast_of_odd_values_is_still_a_range(values, expected):
    assert estimate_contrast([MemoryPixels(values, (4, 4))]) == expected


def test_contrast_reads_few_chunks_around_the_middle():
    pixels = MemoryPixels(
        np.arange(10 * 1024 * 1024).reshape(10, 1024, 1024), (1, 64, 64)
    )
    estimate_contrast([pixels])
    ((bounds),) = pixels.reads
    assert bounds[0] == (4, 5)
    assert np.prod([stop - start for start, stop in bounds]) <= 8 * 64 * 64


# Damage, and types of which there is nothing to estimate.


class Damaged(MemoryPixels):
    """Some chunks of it are damaged."""

    def __init__(self, values, chunks, damaged):
        super().__init__(values, chunks)
        self.damaged = damaged

    async def read(self, bounds):
        for index in np.argwhere(self.damaged):
            corner = index * self.chunks
            inside = zip(bounds, corner, self.chunks, strict=True)
            if all(start < at + by and at < stop for (start, stop), at, by in inside):
                raise DamagedDataError("It is damaged.")
        return await super().read(bounds)


def test_contrast_is_estimated_from_chunks_that_are_whole():
    values = np.arange(64, dtype="u2").reshape(8, 8)
    damaged = np.zeros((4, 4), bool)
    damaged[2, :] = damaged[:, 2] = True
    pixels = Damaged(values, (2, 2), damaged)
    low, high = estimate_contrast([pixels])
    assert 0 <= low < 10
    assert 50 < high <= 63
    all_damaged = Damaged(values[::2, ::2], (2, 2), np.ones((2, 2), bool))
    assert estimate_contrast([pixels, all_damaged]) == (low, high)
    assert estimate_contrast([all_damaged]) == (0, 65535)
    assert len(all_damaged.reads) == 0


def test_so_much_is_tried_and_no_more():
    pixels = Damaged(np.zeros((4000, 4000), "u1"), (4, 4), np.ones((1000, 1000), bool))
    tried = []

    async def read(bounds):
        tried.append(bounds)
        raise DamagedDataError("It is damaged.")

    pixels.read = read
    estimate_contrast([pixels])
    assert len(tried) <= 1 + 24


@pytest.mark.parametrize("version", VERSIONS)
def test_an_image_of_bool_opens(tmp_path, version):
    plain = {"omero": small_images.omero(2, window=False)}
    path = tmp_path / "a.zarr"
    levels = small_images.put_image(path, version, extra=plain, dtype=bool)
    assert not layers(path)[0].needs_contrast
    data, options, _ = read_layers(path)[0]
    assert options["contrast_limits"] == (0, 1)
    np.testing.assert_array_equal(data[0], levels[0][0])
    assert estimate_contrast([MemoryPixels(levels[0][0], (4, 16, 24))]) == (0, 1)


@pytest.mark.parametrize("codec", ["zlib", "lzma", "blosc", "zstd"])
def test_a_damaged_chunk_costs_that_chunk(tmp_path, codec):
    plain = {"omero": small_images.omero(2, window=False)}
    path, chunk = tmp_path / "a.zarr", "1/0/0/0/0"
    options = {
        "compressors": numcodecs.get_codec({"id": codec}),
        "chunks": (1, 2, 8, 8),
    }
    levels = small_images.put_image(path, "0.4", extra=plain, count=2, **options)
    body = (path / chunk).read_bytes()
    (path / chunk).write_bytes(body[: len(body) // 2])
    (data, options, _), (other, _, _) = read_layers(path)
    assert options["contrast_limits"] != (0, 65535)
    np.testing.assert_array_equal(data[0], levels[0][0])
    np.testing.assert_array_equal(data[1][..., 8:], levels[1][0][..., 8:])
    np.testing.assert_array_equal(other[1], levels[1][1])
    with pytest.raises(DamagedDataError, match=f"{chunk} is damaged"):
        data[1].compute()
