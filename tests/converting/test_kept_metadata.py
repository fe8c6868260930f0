"""What metadata say beyond ours is said again when an image is written anew."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from commands import run
from napari_omezarr import Location, read, read_layers
from small_images import pixels, put_array, put_image, put_labels

WORDS = [
    ("convert",),
    ("convert", "--use-existing-resolutions"),
    ("rechunk", "--chunks", "y=8,x=8"),
]
WINDOW = {"min": 0, "max": 1000, "start": 10, "end": 200}
OMERO = {
    "id": 7,
    "extra": "x",
    "channels": [
        {"label": "A", "color": "00ff00", "window": {**WINDOW, "w": 1}, "active": True}
        | {
            "inverted": True,
            "coefficient": 2.5,
            "family": "exponential",
            "lut": "cool",
        },
        {"label": "B", "color": "FF00FF", "window": WINDOW, "active": False},
    ],
    "rdefs": {"model": "greyscale", "defaultT": 1, "defaultZ": 2, "projection": "x"},
}
OF_LABELS = {
    "colors": [{"label-value": 1, "rgba": [255, 0, 0, 255], "by": "hand"}],
    "properties": [{"label-value": 1, "area": 12}, {"label-value": 5, "area": 1.5}],
    "source": {"image": "../../", "array": "0"},
    "extra": 1,
}


def change(path, version, function):
    """Change the attributes of a node: all of them, and those of OME-Zarr."""
    file = path / (".zattrs" if version < "0.5" else "zarr.json")
    content = json.loads(file.read_text()) if file.exists() else {}
    others = content if version < "0.5" else content.setdefault("attributes", {})
    function(others, others.get("ome", others))
    file.write_text(json.dumps(content))


def say_more(image, version):
    """Say of an image and its labels what other programs may say."""

    def of_image(others, ome):
        others |= {"foreign": {"a": 1}, "custom_attributes": [1]}
        ome |= {"omero": json.loads(json.dumps(OMERO)), "_creator": {"name": "me"}}
        (multiscale,) = ome["multiscales"]
        multiscale |= {"type": "gaussian", "metadata": {"by": 1}, "extra": "kept"}
        multiscale["axes"][0]["longName"] = "time of day"
        multiscale["axes"][1]["discrete"] = True
        scale = {"type": "scale", "scale": [0.1, 1, 1, 1, 1]}
        moved = {"type": "translation", "translation": [3, 0, 1, 2, 3]}
        multiscale["coordinateTransformations"] = [scale, moved]

    def of_labels(others, ome):
        others |= {"foreign": 2}
        ome["image-label"] = json.loads(json.dumps(OF_LABELS))
        ome["multiscales"][0]["name"] = "Cells, by hand"

    change(image, version, of_image)
    change(image / "labels" / "cells", version, of_labels)
    change(image / "labels", version, lambda others, _: others.update(by="us"))
    for path in ("0", "labels/cells/0"):
        change(image / path, version, lambda others, _, p=path: others.update(of=p))


def lost(before, now, path=""):
    """Name what is said before and not now, or otherwise."""
    if isinstance(before, dict) and isinstance(now, dict):
        missing = [f"{path}/{key}" for key in before if key not in now]
        inner = (lost(before[k], now[k], f"{path}/{k}") for k in before if k in now)
        return [*missing, *(each for some in inner for each in some)]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        inner = (lost(*pair, f"{path}/{number}") for number, pair in pairs)
        return [each for some in inner for each in some]
    return [] if before == now else [path]


def attributes(path):
    return zarr.open(path, mode="r", use_consolidated=False).attrs.asdict()


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_metadata_say_beyond_ours_stays(version, words, tmp_path):
    source, target = tmp_path / "image.zarr", tmp_path / "new.zarr"
    put_image(source, version, names="tczyx", shape=(2, 2, 4, 16, 24), count=2)
    put_labels(source, version, cells=pixels((4, 16, 24)))
    say_more(source, version)
    told = run(words[0], source, target, *words[1:], "--version", version)
    assert len(told.split()) == 2  # it is saved, and nothing else is to be said
    ours = ("/datasets", "/coordinateTransformations")
    ours += () if "resolutions" in words[-1] else ("/type", "/metadata")
    for path in ("", "labels", "labels/cells", "0", "labels/cells/0"):
        missing = lost(attributes(source / path), attributes(target / path))
        place = "multiscales/0"
        assert not [e for e in missing if not any(f"{place}{o}" in e for o in ours)]
    for before, now in zip(
        read(Location.parse(source)).pyramids,
        read(Location.parse(target)).pyramids,
        strict=True,
    ):
        assert now.channels == before.channels
        np.testing.assert_allclose(
            now.levels[0].affine.rows, before.levels[0].affine.rows
        )


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_that_do_not_fit_their_image_stay_its_labels(version, tmp_path):
    source, target = tmp_path / "image.zarr", tmp_path / "new.zarr"
    put_image(source, version, names="zyx", shape=(4, 16, 24), count=2)
    cells, part = pixels((4, 16, 24)), pixels((4, 10, 10))
    put_labels(source, version, cells=cells, part=part)

    def move(_, ome):
        moved = {"type": "translation", "translation": [0, 5, 5]}
        scale = {"type": "scale", "scale": [1, 1, 1]}
        ome["multiscales"][0]["coordinateTransformations"] = [scale, moved]

    change(source / "labels" / "cells", version, move)
    run("convert", source, target, "--version", version)
    found = {layer[1]["name"]: layer for layer in read_layers(target)}
    for name, values in (("cells", cells), ("part", part)):
        data = found[name][0]
        finest = data[0] if found[name][1].get("multiscale") else data
        np.testing.assert_array_equal(finest, values)
        assert zarr.open_group(target / "labels" / name)["0"].shape == values.shape
    assert tuple(found["cells"][1]["translate"]) == (0, 5, 5)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("dtype", ["f2", "?", "u8", "i8", "f8", ">u2", ">f4", "i1"])
def test_every_type_of_pixels_and_fill_is_read_as_it_was(dtype, version, tmp_path):
    source, target = tmp_path / "image.zarr", tmp_path / "new.zarr"
    values = (np.arange(20 * 24).reshape(20, 24) % 120 + 1).astype(dtype)
    if dtype == "u8":
        values[0, 0] = 2**64 - 1
    put_image(source, version, names="yx", shape=(20, 24), count=1)
    fill = values.dtype.type(7)
    values[8:16, 8:16] = fill  # a chunk of it, which is not stored
    put_array(source / "0", version, values, "yx", fill_value=fill)
    run("convert", source, target, "--version", version)
    found = zarr.open_group(target, mode="r")["0"]
    assert found.dtype == values.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found[:], values)


def test_another_multiscale_of_the_group_is_named(tmp_path):
    put_image(tmp_path / "image.zarr", names="yx", shape=(20, 24), count=2)

    def two(_, ome):
        ome["multiscales"] *= 2

    change(tmp_path / "image.zarr", "0.5", two)
    told = run("convert", tmp_path / "image.zarr", tmp_path / "new.zarr")
    assert "2 multiscales, of which one is written" in told
