"""Write with ours, read with ours: equal layers; open, save, open again: the same."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from napari_omezarr.errors import OMEZarrError, OptionError
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.pyramid import to_dask
from napari_omezarr.reading import read
from napari_omezarr.writing import (
    add_labels,
    append,
    patch,
    write_image,
    write_layers,
)
from pixel_sources import MemoryPixels
from small_images import put_image, put_labels

VERSIONS = ("0.4", "0.5", "0.6")
UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "nanometer"}
DTYPES = [
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64", ">u2", ">f4",
]  # fmt: skip
every_version = pytest.mark.parametrize("version", VERSIONS)


def finest(data):
    return np.asarray(data[0] if isinstance(data, list) else data)


def said(layer):
    """What is to be equal: all options but where the layer was read from."""
    _, options, kind = layer
    kept = {key: value for key, value in options.items() if key != "metadata"}
    return kind, {key: _plain(value) for key, value in kept.items()}


def _plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else value


def assert_equal_layers(found, expected):
    assert [said(layer) for layer in found] == [said(layer) for layer in expected]
    for (one, *_), (other, *_) in zip(found, expected, strict=True):
        levels = zip(_levels(one), _levels(other), strict=True)
        for a, b in levels:
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def _levels(data):
    return data if isinstance(data, list) else [data]


@st.composite
def saves(draw):
    """Channels, perhaps labels, and the options to write them with."""
    names = draw(st.sampled_from(["yx", "zyx", "tyx", "tzyx"]))
    shape = tuple(draw(st.integers(1, 7 if axis in "tz" else 25)) for axis in names)
    version = draw(st.sampled_from(VERSIONS))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    numbers = st.floats(1e-3, 1e3, allow_subnormal=False)
    places = st.floats(-1e6, 1e6, allow_subnormal=False)
    placed = {
        "scale": tuple(draw(numbers) for _ in names),
        "translate": tuple(draw(places) for _ in names),
        "axis_labels": tuple(names),
        "units": tuple(UNITS[axis] for axis in names),
    }
    count = draw(st.integers(1, 3))
    layers = []
    for index in range(count):
        low = draw(st.integers(0, 50))
        values = rng.integers(0, 2 if dtype.kind == "b" else 120, shape).astype(dtype)
        top = 1 if dtype.kind == "b" else low + draw(st.integers(1, 70))
        low = 0 if dtype.kind == "b" else low
        options = {
            "name": draw(st.sampled_from(["DAPI", "µ-tubulin", 'a/b "c"', "λ 488"]))
            + str(index),
            "colormap": draw(st.sampled_from(["red", "gray", "#12ab9f", "cyan"])),
            "contrast_limits": (float(low), float(top)),
            "visible": draw(st.booleans()),
            **placed,
            **draw(st.sampled_from([{}, {"gamma": 0.5, "opacity": 0.25}])),
        }
        if count > 1:
            options["blending"] = "additive"
        layers.append((values, options, "image"))
    if draw(st.booleans()):
        kind = draw(st.sampled_from(["uint8", "int32", "int64", "uint64"]))
        options = {
            "name": draw(st.sampled_from(["nuclei", "a/b", "cells 2"])),
            **placed,
        }
        layers.append((rng.integers(0, 5, shape).astype(kind), options, "labels"))
    sizes = {axis: draw(st.integers(3, 16)) for axis in names}
    choices = {
        "version": version,
        "chunks": draw(st.sampled_from([None, sizes])),
        "shards": draw(st.sampled_from([None, True])) if version != "0.4" else None,
        "codec": draw(st.sampled_from(["auto", "none", "blosc-lz4", "gzip"])),
        "levels": draw(st.sampled_from([None, 1, 3])),
        "label_method": draw(st.sampled_from(["nearest", "mode"])),
        "consolidated": draw(st.booleans()),
        "memory": draw(st.sampled_from([2000, 10**8])),
        "verify": draw(st.sampled_from(["all", "sample"])),
    }
    return layers, choices


@settings(max_examples=25, deadline=None)
@given(saves())
def test_what_is_written_is_what_is_read(case):
    layers, choices = case
    with TemporaryDirectory() as folder:
        place = Path(folder) / "a.ome.zarr"
        write_layers(layers, place, **choices)
        found = read_layers(place)
        assert len(found) == len(layers)
        for (data, options, kind), (values, given_options, given_kind) in zip(
            found, layers, strict=True
        ):
            assert kind == given_kind
            native = values.astype(values.dtype.newbyteorder("="))
            np.testing.assert_array_equal(finest(data), native)
            assert finest(data).dtype == native.dtype
            assert {key: options[key] for key in given_options} == given_options
            for finer, coarser in itertools.pairwise(_levels(data)):
                if kind == "labels":
                    assert np.isin(np.asarray(coarser), np.asarray(finer)).all()
        again = Path(folder) / "b.ome.zarr"
        write_layers(found, again, **choices)
        assert_equal_layers(read_layers(again), found)


@every_version
def test_opening_saving_and_opening_a_foreign_image_gives_equal_layers(
    version, tmp_path
):
    rng = np.random.default_rng(2)
    extra = {"com.example.lab": {"microscope": 7}}
    if version == "0.4":
        put_image(tmp_path / "a.zarr", version, count=1, extra=extra)
    else:
        put_image(tmp_path / "a.zarr", version, count=1)
        document = tmp_path / "a.zarr" / "zarr.json"
        content = json.loads(document.read_text())
        content["attributes"] |= extra
        content["attributes"]["ome"]["_creator"] = {"name": "scope"}
        document.write_text(json.dumps(content))
    put_labels(tmp_path / "a.zarr", version, cells=rng.integers(0, 3, (4, 16, 24)))
    first = read_layers(tmp_path / "a.zarr")
    for target in VERSIONS:
        place = tmp_path / f"{target}.zarr"
        write_layers(first, place, version=target, levels=1)
        found = read_layers(place)
        assert [said(layer) for layer in found[:2]] == [
            said(layer) for layer in first[:2]
        ]
        np.testing.assert_array_equal(finest(found[2][0]), finest(first[2][0]))
        assert found[2][1]["colormap"] == first[2][1]["colormap"]
        assert found[2][1]["features"] == first[2][1]["features"]
        image = read(Location.parse(place)).pyramids[0]
        assert image.extras["com.example.lab"] == {"microscope": 7}
        if version != "0.4" and target != "0.4":
            assert image.attributes["_creator"] == {"name": "scope"}


def test_the_range_and_the_first_slice_of_the_original_are_kept(tmp_path):
    put_image(tmp_path / "a.zarr", "0.5", count=1)
    document = tmp_path / "a.zarr" / "zarr.json"
    content = json.loads(document.read_text())
    content["attributes"]["ome"]["omero"]["rdefs"] = {"defaultZ": 2, "model": "color"}
    document.write_text(json.dumps(content))
    write_layers(read_layers(tmp_path / "a.zarr"), tmp_path / "b.zarr")
    image = read(Location.parse(tmp_path / "b.zarr")).pyramids[0]
    assert image.channels[0].contrast_range == (0, 1000)
    assert image.default_point == {1: 2}


def test_rotation_and_shear_are_kept_in_0_6(tmp_path):
    data = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[0.6, -0.8], [0.8, 0.6]]
    matrix[0, 3] = 12.5
    options = {
        "name": "turned",
        "scale": (2.0, 0.5, 0.25),
        "affine": matrix,
        "axis_labels": ("z", "y", "x"),
        "units": ("micrometer",) * 3,
    }
    write_layers([(data, options, "image")], tmp_path / "a.zarr", version="0.6")
    found = read_layers(tmp_path / "a.zarr")[0][1]
    np.testing.assert_allclose(found["scale"], options["scale"])
    np.testing.assert_allclose(found["affine"], matrix, atol=1e-12)
    assert found["metadata"]["omezarr"]["coordinate_system"] == "world"
    plain = read_layers(tmp_path / "a.zarr", coordinate_system="physical")[0][1]
    assert "affine" not in plain
    np.testing.assert_allclose(plain["scale"], options["scale"])
    write_layers(read_layers(tmp_path / "a.zarr"), tmp_path / "b.zarr", version="0.6")
    again = read_layers(tmp_path / "b.zarr")[0][1]
    np.testing.assert_allclose(again["affine"], found["affine"], atol=1e-12)


@pytest.mark.parametrize(
    "lies",
    [
        {"scale": (-2, 0.5), "translate": (9, 0)},
        {"scale": (2, 0.5), "rotate": 30},
        {"scale": (2, 0.5), "affine": np.array([[1, 0.1, 4], [0, -1, 7], [0, 0, 1]])},
    ],
    ids=["mirrored", "rotated", "sheared and mirrored"],
)
@pytest.mark.parametrize("given_in", ["its world", "its pixels and units", "no words"])
def test_labels_join_an_image_that_scales_do_not_place(lies, given_in, tmp_path):
    """In 0.6 a scale is above 0, and what else there is leads to a second system."""
    place = tmp_path / "a.zarr"
    pixels = np.arange(3 * 40 * 30, dtype=np.uint16).reshape(3, 40, 30)
    options = {"axis_labels": ("c", "y", "x"), **_with_channel(lies)}
    write_layers([(pixels, options, "image")], place, version="0.6", levels=2)
    document = json.loads((place / "zarr.json").read_text())["attributes"]["ome"]
    for dataset in document["multiscales"][0]["datasets"]:
        assert '"scale": [-' not in json.dumps(dataset)
        assert "-" not in json.dumps(dataset["coordinateTransformations"])
    labels = np.eye(40, 30, dtype=np.uint8)
    (plain, *_) = read_layers(place, coordinate_system="physical")
    said = {"its world": lies, "its pixels and units": {"scale": plain[1]["scale"]}}
    if given_in in said:
        add_labels((labels, {"name": "cells", **said[given_in]}, "labels"), place)
    else:
        add_labels(labels, place, name="cells")
    *channels, found = read_layers(place)
    keys = ("scale", "translate", "affine", "rotate", "shear")
    for key in keys:
        expected = channels[0][1].get(key)
        if expected is None:
            assert found[1].get(key) is None
        else:
            np.testing.assert_allclose(found[1][key], expected, atol=1e-12)
    np.testing.assert_array_equal(finest(found[0]), labels)
    np.testing.assert_array_equal(finest(channels[1][0]), pixels[1])


def _with_channel(lies):
    """The same transforms behind an axis of channels."""
    more = {
        k: (1, *v) if k == "scale" else (0, *v)
        for k, v in lies.items()
        if k in ("scale", "translate")
    }
    return {**lies, **more}


def test_ids_that_other_viewers_lack_are_said(tmp_path):
    image = np.zeros((2, 9, 9), np.uint8)
    for number, (value, dtype, said) in enumerate(
        [(-3, "i2", "below 0"), (2**40, "i8", "2**32"), (2**60, "u8", "2**53")]
    ):
        labels = np.full((9, 9), value, dtype)
        saved = write_layers(
            [(image[0], {}, "image"), (labels, {"name": "ids"}, "labels")],
            tmp_path / f"{number}.zarr",
        )
        assert [said in note for note in saved.notes] == [True]
    assert not write_layers([(image[0], {}, "labels")], tmp_path / "plain.zarr").notes


@every_version
@pytest.mark.parametrize("shards", [None, (1, 64, 64)])
def test_what_is_nan_is_not_stored_where_the_source_does_not_either(
    version, shards, tmp_path
):
    if version == "0.4" and shards:
        pytest.skip("0.4 has no shards")
    pixels = np.full((2, 100, 90), np.nan, np.float32)
    pixels[0, :20, :20], pixels[1, 70:90, 70:] = 3, -1
    source = zarr.create_array(
        MemoryStore(), shape=pixels.shape, chunks=(1, 32, 32), dtype="f4",
        fill_value=np.nan, zarr_format=2 if version == "0.4" else 3,
    )  # fmt: skip
    source[:] = pixels
    place = tmp_path / "a.zarr"
    chosen = {"version": version, "levels": 2, "chunks": (1, 32, 32), "shards": shards}
    write_image(source, place, "tyx", verify="all", **chosen)
    chunks = [p for p in (place / "0").rglob("*") if p.is_file() and p.name[-1] != "n"]
    assert len([p for p in chunks if not p.name.startswith(".z")]) == 2
    assert np.isnan(zarr.open_array(place / "0", mode="r").fill_value)
    np.testing.assert_array_equal(finest(read_layers(place)[0][0]), pixels)
    # What is appended and edited goes by the same rule.
    append(place, np.full((1, 100, 90), np.nan, np.float32))
    patch(place, (2, 50, 50), np.ones((1, 4, 4), np.float32))
    levels = [np.asarray(level) for level in read_layers(place)[0][0]]
    assert [np.nansum(level[2]) for level in levels] == [16, 4]
    assert [np.isfinite(level[2]).sum() for level in levels] == [16, 4]


@every_version
def test_what_only_napari_knows_is_kept(version, tmp_path):
    ramp = {
        "name": "fire",
        "colors": [[0, 0, 0, 1], [1, 0.5, 0, 1], [1, 1, 1, 1]],
        "controls": [0, 0.25, 1],
        "interpolation": "linear",
    }
    options = {
        "name": "one",
        "colormap": ramp,
        "contrast_limits": (1.0, 9.0),
        "gamma": 0.7,
        "opacity": 0.5,
        "blending": "minimum",
        "rendering": "attenuated_mip",
        "attenuation": 0.2,
        "interpolation2d": "linear",
    }
    labels = {
        "name": "Zellen / neu",
        "opacity": 0.4,
        "visible": False,
        "colormap": {None: (0, 0, 1, 1), 1: (1, 0, 0, 1)},
    }
    data = np.zeros((8, 9), np.uint8)
    layers = [(data, options, "image"), (data, labels, "labels")]
    write_layers(layers, tmp_path / "a.zarr", version=version)
    image, cells = read_layers(tmp_path / "a.zarr")
    assert {key: image[1][key] for key in options} == options
    assert {k: cells[1][k] for k in ("name", "opacity", "visible")} == {
        "name": "Zellen / neu", "opacity": 0.4, "visible": False
    }  # fmt: skip
    assert cells[1]["colormap"][None] == (0, 0, 1, 1)


def test_kept_state_gives_way_when_another_program_recolours(tmp_path):
    options = {"colormap": "viridis", "gamma": 0.5, "contrast_limits": (0, 1)}
    data = np.zeros((8, 9), np.uint8)
    write_layers([(data, {"name": "a", **options}, "image")], tmp_path / "a.zarr")
    assert read_layers(tmp_path / "a.zarr")[0][1]["colormap"] == "viridis"
    document = tmp_path / "a.zarr" / "zarr.json"
    content = json.loads(document.read_text())
    content["attributes"]["ome"]["omero"]["channels"][0]["color"] = "00FF00"
    document.write_text(json.dumps(content))
    assert read_layers(tmp_path / "a.zarr")[0][1]["colormap"] == "green"


@pytest.mark.parametrize("junk", [7, [], {"channels": 3}, {"channels": ["x"]}, {
    "channels": [{"label": "a", "color": "FFFFFF", "gamma": -3, "opacity": "very",
                  "blending": [], "colormap": {"colors": "red"}}]
}, {"labels": {"default_color": [1, 2]}}])  # fmt: skip
def test_a_broken_napari_key_costs_nothing(junk, tmp_path):
    data = np.zeros((8, 9), np.uint8)
    options = {"name": "a", "contrast_limits": (0, 1)}
    write_layers([(data, options, "image")], tmp_path / "a.zarr")
    document = tmp_path / "a.zarr" / "zarr.json"
    content = json.loads(document.read_text())
    content["attributes"]["napari"] = junk
    document.write_text(json.dumps(content))
    found = read_layers(tmp_path / "a.zarr")[0][1]
    assert found["name"] == "a"
    assert "gamma" not in found
    assert found["colormap"] == "gray"


@every_version
def test_several_images_keep_their_names_and_their_labels(version, tmp_path):
    small, large = np.zeros((8, 9), np.uint8), np.ones((20, 30), np.uint8)
    layers = [
        (small, {"name": "one", "contrast_limits": (0, 5)}, "image"),
        (large, {"name": "two", "contrast_limits": (0, 5)}, "image"),
        (large, {"name": "cells"}, "labels"),
    ]
    write_layers(layers, tmp_path / "a.zarr", version=version)
    found = read_layers(tmp_path / "a.zarr")
    assert [(o["name"], kind) for _, o, kind in found] == [
        ("one", "image"), ("two", "image"), ("cells", "labels"),
    ]  # fmt: skip
    np.testing.assert_array_equal(finest(found[2][0]), large)


@every_version
def test_labels_alone_are_an_image_of_labels(version, tmp_path):
    labels = np.arange(72).reshape(8, 9)
    write_layers([(labels, {"name": "cells"}, "labels")], tmp_path / "a.zarr",
                 version=version)  # fmt: skip
    ((data, options, kind),) = read_layers(tmp_path / "a.zarr")
    assert (options["name"], kind) == ("cells", "labels")
    np.testing.assert_array_equal(finest(data), labels)


@every_version
@pytest.mark.parametrize("channels", [3, 4])
def test_rgb_stays_rgb(version, channels, tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (30, 40, channels), np.uint8)
    layer = (data, {"name": "photo", "rgb": True, "gamma": 0.5}, "image")
    write_layers([layer], tmp_path / "a.zarr", version=version)
    ((found, options, _),) = read_layers(tmp_path / "a.zarr")
    assert options["rgb"]
    assert options["gamma"] == 0.5
    np.testing.assert_array_equal(finest(found), data)


@every_version
def test_six_axes_are_written_and_read(version, tmp_path):
    data = np.arange(2 * 3 * 2 * 2 * 5 * 7).reshape(2, 3, 2, 2, 5, 7).astype(np.int16)
    write_image(data, tmp_path / "a.zarr", "abczyx", version=version)
    found = read_layers(tmp_path / "a.zarr")
    assert len(found) == 2
    for index, layer in enumerate(found):
        np.testing.assert_array_equal(finest(layer[0]), data[:, :, index])


def test_contrast_is_taken_from_the_written_pixels_where_nobody_says(tmp_path):
    data = np.zeros((2, 300, 300), np.float32)
    data[1] = np.linspace(5, 6, 300)
    data[1, 0, 0] = np.nan
    write_image(data, tmp_path / "a.zarr", "cyx", verify="all")
    found = read_layers(tmp_path / "a.zarr")
    low, high = found[1][1]["contrast_limits"]
    assert 5 <= low < 5.1
    assert 5.9 < high <= 6


def test_write_image_says_all_there_is_to_say(tmp_path):
    data = np.zeros((2, 4, 5, 6), np.uint8)
    write_image(
        data,
        tmp_path / "a.zarr",
        "czyx",
        scale={"z": 2.0},
        translation=(0, 1, 2, 3),
        units={"z": "µm", "y": "um", "x": "nm"},
        name="embryo",
        channels=["DAPI", "GFP"],
        colors=["0000ff", "#00FF00"],
        contrast_limits=[(0, 10), (5, 20)],
        labels={"cells": np.ones((4, 5, 6), int)},
    )
    first, second, labels = (
        options for _, options, _ in read_layers(tmp_path / "a.zarr")
    )
    assert (first["name"], first["colormap"]) == ("DAPI", "blue")
    assert second["contrast_limits"] == (5, 20)
    assert second["scale"] == labels["scale"] == (2, 1, 1)
    assert second["translate"] == (1, 2, 3)
    assert labels["units"] == ("micrometer", "micrometer", "nanometer")
    assert read(Location.parse(tmp_path / "a.zarr")).pyramids[0].name == "embryo"


class Lazy:
    """What another plugin may give: shape, dtype, indexing; counts what is read."""

    def __init__(self, data, chunks=None):
        self.data, self.shape, self.dtype = data, data.shape, data.dtype
        self.read = np.zeros(data.shape, int)
        if chunks:
            self.chunks = chunks

    def __getitem__(self, key):
        self.read[key] += 1
        return self.data[key]


@pytest.mark.parametrize("memory", [40_000, 10**8])
@pytest.mark.parametrize("chunks", [None, (3, 50, 31), (7, 7, 7)])
def test_every_source_pixel_is_read_once(chunks, memory, tmp_path):
    data = np.random.default_rng(0).integers(0, 99, (20, 90, 310)).astype(np.uint16)
    source = Lazy(data, chunks)
    sizes = {"z": 4, "y": 32, "x": 40}
    layer = (source, {"name": "a", "axis_labels": "zyx"}, "image")
    choices = {"chunks": sizes, "levels": 4, "memory": memory, "verify": "all"}
    write_layers([layer], tmp_path / "a.zarr", **choices)
    assert (source.read == 1).all()
    np.testing.assert_array_equal(finest(read_layers(tmp_path / "a.zarr")[0][0]), data)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_levels_do_not_depend_on_how_an_image_is_cut(version, tmp_path):
    data = np.random.default_rng(0).integers(0, 999, (7, 97, 130)).astype(np.uint16)
    ways = [
        {"chunks": {"z": 2, "y": 32, "x": 32}, "memory": 1000},
        {"chunks": {"z": 5, "y": 33, "x": 50}, "memory": 10**8},
        {"chunks": {"z": 50, "y": 500, "x": 500}, "memory": 50_000, "workers": 3},
    ]
    found = []
    for number, way in enumerate(ways):
        place = tmp_path / f"{number}.zarr"
        write_image(data, place, "zyx", version=version, levels=4, **way)
        found.append([np.asarray(level) for level in read_layers(place)[0][0]])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("kind", ["numpy", "list", "dask", "ours", "zarr", "pyramid"])
def test_every_kind_of_source_gives_its_pixels(kind, tmp_path):
    data = np.random.default_rng(0).integers(0, 99, (3, 90, 80)).astype(np.int16)
    array = zarr.create_array(MemoryStore(), shape=data.shape, dtype=">i2",
                              chunks=(1, 20, 30))  # fmt: skip
    array[...] = data
    pixels = MemoryPixels(data, (1, 20, 30))
    sources = {
        "numpy": data,
        "list": data.tolist(),
        "dask": da.from_array(data, chunks=(2, 50, 33)) + 1 - 1,
        "ours": to_dask(pixels),
        "zarr": array,
        "pyramid": None,
    }
    if kind == "pyramid":
        write_image(data, tmp_path / "first.zarr", "zyx")
        pyramids = read(Location.parse(tmp_path / "first.zarr")).pyramids
        write_layers(pyramids, tmp_path / "a.zarr")
    else:
        write_image(np.asarray(sources[kind]) if kind == "list" else sources[kind],
                    tmp_path / "a.zarr", "zyx")  # fmt: skip
    np.testing.assert_array_equal(finest(read_layers(tmp_path / "a.zarr")[0][0]), data)
    if kind == "ours":
        assert len(pixels.reads) == 1


def test_channels_of_one_stored_image_are_read_together(tmp_path):
    data = np.random.default_rng(0).integers(0, 99, (2, 3, 40, 50)).astype(np.uint16)
    write_image(data, tmp_path / "a.zarr", "czyx", chunks=(2, 3, 40, 50))
    layers = read_layers(tmp_path / "a.zarr")
    saved = write_layers(layers, tmp_path / "b.zarr")
    assert saved.plan.images[0].spec.source.chunks == (2, 3, 40, 50)
    for one, two in zip(read_layers(tmp_path / "b.zarr"), layers, strict=True):
        np.testing.assert_array_equal(finest(one[0]), finest(two[0]))


def test_a_store_object_is_written_to_as_it_is():
    store = MemoryStore()
    data = np.arange(12).reshape(3, 4)
    write_image(data, store, "yx")
    np.testing.assert_array_equal(zarr.open_group(store, mode="r")["0"][...], data)


def test_labels_whose_axes_nobody_named_take_those_of_their_image(tmp_path):
    data = np.zeros((3, 20, 30), np.uint8)
    named = {"axis_labels": ("t", "y", "x"), "units": ("s", "um", "um")}
    painted = {"name": "painted", "axis_labels": ("-3", "-2", "-1")}
    layers = [(data, {"name": "movie", **named}, "image"), (data, painted, "labels")]
    write_layers(layers, tmp_path / "a.zarr")
    labels = read_layers(tmp_path / "a.zarr")[1][1]
    assert labels["axis_labels"] == ("t", "y", "x")
    assert labels["units"] == ("second", "micrometer", "micrometer")
    add_labels((data, painted | {"name": "more"}, "labels"), tmp_path / "a.zarr")
    assert read_layers(tmp_path / "a.zarr")[2][1]["axis_labels"] == ("t", "y", "x")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"axes": "zz"}, "does not name"),
        ({"axes": "czyx"}, "does not name"),
        ({"scale": (1, 2)}, "do not fit"),
        ({"translation": {"q": 1}}, "no axis q"),
        ({"axes": "cyx", "channels": ["a"]}, "1 names do not fit 3 channels"),
        ({"labels": {"a": np.zeros((2, 2), int)}}, "have 2 axes"),
        ({"labels": {"a": np.zeros((3, 8, 9))}}, "whole numbers"),
    ],
)
def test_write_image_refuses_what_does_not_fit(said, problem, tmp_path):
    data = np.zeros((3, 8, 9), np.uint8)
    with pytest.raises(OMEZarrError, match=problem):
        write_image(data, tmp_path / "a.zarr", **{"axes": "zyx", **said})
    assert list(tmp_path.iterdir()) == []


def test_an_array_of_four_axes_must_name_them(tmp_path):
    with pytest.raises(OptionError, match="many things"):
        write_image(np.zeros((2, 3, 4, 5)), tmp_path / "a.zarr")


def test_names_of_an_array_that_has_them_are_taken():
    class Named:
        dims = ("t", "y", "x")
        data = np.zeros((2, 3, 4), np.uint8)
        shape, dtype = data.shape, data.dtype

    store = MemoryStore()
    write_image(Named(), store)
    group = zarr.open_group(store, mode="r")
    assert group["0"].metadata.dimension_names == ("t", "y", "x")


@pytest.mark.parametrize(
    ("address", "version", "problem"),
    [
        ("https://example.org/a.zarr", "0.5", "Nothing can be saved"),
        ("a.ozx", "0.4", "zip file"),
        ("a.ozx/inside.zarr", "0.5", "Nothing can be saved"),
    ],
)
def test_places_that_cannot_be_written_are_said(address, version, problem, tmp_path):
    place = address if "://" in address else tmp_path / address
    with pytest.raises(OptionError, match=problem):
        write_image(np.zeros((3, 4)), str(place), version=version)


def test_text_that_napari_is_shown_plain_is_saved_as_it_was(tmp_path):
    name, kind = "<b>DNA</b>", "<i>round"
    channels = [{"label": name, "color": "FFFFFF"}]
    extra = {"omero": {"channels": channels}}
    options = {"names": "cyx", "shape": (1, 16, 24), "count": 1, "extra": extra}
    put_image(tmp_path / "a.zarr", "0.4", **options)
    cells = np.arange(384, dtype=np.uint8).reshape(16, 24)
    put_labels(tmp_path / "a.zarr", "0.4", "yx", cells=cells)
    document = tmp_path / "a.zarr" / "labels" / "cells" / ".zattrs"
    block = json.loads(document.read_text())
    block["image-label"]["properties"] = [{"label-value": 1, "<u>class": kind}]
    document.write_text(json.dumps(block))
    layers = read_layers(tmp_path / "a.zarr")
    assert "<b>" not in layers[0][1]["name"] + str(layers[1][1]["features"])
    write_layers(layers, tmp_path / "b.zarr", version="0.4")
    written = json.loads((tmp_path / "b.zarr" / ".zattrs").read_text())
    assert written["omero"]["channels"][0]["label"] == name
    written = json.loads((tmp_path / "b.zarr/labels/cells/.zattrs").read_text())
    assert written["image-label"]["properties"] == [
        {"label-value": 1, "<u>class": kind}
    ]
    renamed = (layers[0][0], {**layers[0][1], "name": "GFP"}, "image")
    write_layers([renamed], tmp_path / "c.zarr", version="0.4")
    written = json.loads((tmp_path / "c.zarr" / ".zattrs").read_text())
    assert written["omero"]["channels"][0]["label"] == "GFP"
