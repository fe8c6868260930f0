"""Every door takes what people have in hand, as what it is, or says a sentence."""

from __future__ import annotations

import shutil

import dask.array as da
import numpy as np
import pytest
import xarray
import zarr
from zarr.storage import LocalStore, MemoryStore

import napari_omezarr
from napari_omezarr import (
    add_labels,
    add_tables,
    append,
    patch,
    read,
    read_layers,
    write_image,
    write_layers,
    write_plate,
)
from napari_omezarr.errors import (
    OMEZarrError,
    OptionError,
    UnfinishedWriteError,
)
from napari_omezarr.store import run

PIXELS = np.arange(2 * 8 * 10, dtype="uint16").reshape(2, 8, 10)
SCALE = (2.0, 0.5, 0.25)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An image with a scale and labels, and its labels saved alone."""
    home = tmp_path_factory.mktemp("given")
    labels = {"cells": PIXELS.astype("uint8")}
    image = home / "image.ome.zarr"
    write_image(PIXELS, image, "zyx", scale=SCALE, channels="DAPI", labels=labels)
    group = zarr.open_group(home / "levels.zarr", mode="w")
    for name, array in (("fine", PIXELS), ("coarse", PIXELS[:, ::2, ::2])):
        group.create_array(name, data=array, chunks=(1, 4, 4))
    write_plate({"A1": PIXELS[0]}, home / "plate.zarr", axes="yx")
    return home


def group_in_memory(_):
    store = MemoryStore()
    write_image(PIXELS, store, "zyx", scale=SCALE, channels="DAPI")
    return zarr.open_group(store, mode="r")


def root_array(_):
    store = MemoryStore()
    zarr.create_array(
        store, data=PIXELS, chunks=(1, 4, 4), dimension_names=("z", "y", "x")
    )
    return store


IMAGES = {
    "group": lambda home: zarr.open_group(home / "image.ome.zarr", mode="r"),
    "store": lambda home: LocalStore(home / "image.ome.zarr", read_only=True),
    "memory": group_in_memory,
    "inner": lambda home: zarr.open_group(home, path="image.ome.zarr", mode="r"),
    "opened": lambda home: napari_omezarr.open(home / "image.ome.zarr"),
    "reading": lambda home: read(home / "image.ome.zarr"),
    "pyramid": lambda home: read(home / "image.ome.zarr").pyramids[0],
    "layer data": lambda home: read_layers(home / "image.ome.zarr")[0],
}
"""What knows its scale and channels."""
BRINGING = ("group", "store", "inner", "opened", "reading", "part")
"""What has labels of its own, which lie in eight bits."""
ARRAYS = {
    "numpy": lambda _: PIXELS,
    "nested": lambda _: PIXELS.tolist(),
    "dask": lambda _: da.from_array(PIXELS, chunks=(1, 5, 5)),
    "planes": lambda _: [da.from_array(plane) for plane in PIXELS],
    "xarray": lambda _: xarray.DataArray(PIXELS, dims=("z", "y", "x")),
    "array": lambda home: zarr.open_array(home / "image.ome.zarr" / "0", mode="r"),
    "async": lambda home: zarr.open_array(home / "levels.zarr/fine").async_array,
    "root array": root_array,
    "levels": lambda _: [PIXELS, PIXELS[:, ::2, ::2]],
    "plain group": lambda home: zarr.open_group(home / "levels.zarr", mode="r"),
    "level": lambda home: read(home / "image.ome.zarr").pyramids[0].levels[0],
    "pixels": lambda home: read(home / "image.ome.zarr").pyramids[0].levels[0].pixels,
    "part": lambda home: napari_omezarr.open(home / "image.ome.zarr").isel(z=(0, 2)),
}


def finest(place, number=0):
    return np.asarray(read(place).pyramids[number].levels[0].pixels)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_saved_with_all_that_it_knows(name, folder, tmp_path):
    given = IMAGES[name](folder)
    for number, save in enumerate((write_image, write_layers, napari_omezarr.write)):
        save(given, tmp_path / f"{number}.ome.zarr")
        found = read(tmp_path / f"{number}.ome.zarr").pyramids
        assert found[0].levels[0].affine.scale == SCALE
        assert [channel.name for channel in found[0].channels] == ["DAPI"]
        np.testing.assert_array_equal(found[0].levels[0].pixels, PIXELS)
        assert [each.name for each in found[1:]] == ["cells"] * (name in BRINGING)


@pytest.mark.parametrize("name", [*IMAGES, *ARRAYS])
def test_every_door_takes_it(name, folder, tmp_path):
    given = {**IMAGES, **ARRAYS}[name](folder)
    film, volume, zero = MemoryStore(), MemoryStore(), PIXELS * 0
    if name in ARRAYS:
        saved = MemoryStore()
        write_image(given, saved, "zyx", levels=1)
        np.testing.assert_array_equal(finest(saved), PIXELS)
    elif name != "pyramid":  # as what is opened
        write_plate({"A1": given}, tmp_path / "plate.zarr", levels=1)
        np.testing.assert_array_equal(finest(tmp_path / "plate.zarr/A/1/0"), PIXELS)
    write_image(zero[None].astype(int), film, "tzyx", levels=1)
    append(film, given)
    np.testing.assert_array_equal(finest(film), [zero, PIXELS])
    write_image(zero, volume, "zyx", scale=SCALE, labels={"own": given}, levels=1)
    own = PIXELS.astype("uint8") if name in BRINGING else PIXELS
    np.testing.assert_array_equal(finest(volume, 1), own)
    if name == "nested":  # whole numbers of 64 bits
        given = np.asarray(given, "uint16")
    patch(volume, (0, 0, 0), given)
    np.testing.assert_array_equal(finest(volume), PIXELS)
    if name in ("pyramid", "layer data", "memory"):  # says that it is an image
        with pytest.raises(OptionError, match="only labels are added"):
            add_labels(given, volume, name="more")
        return
    add_labels(given, volume, name="more")
    np.testing.assert_array_equal(finest(volume, 2), own)


def test_what_labels_an_image_brings_can_be_left_or_follow(folder, tmp_path):
    group = IMAGES["group"](folder)
    write_image(group, tmp_path / "alone.ome.zarr", labels={})
    assert len(read(tmp_path / "alone.ome.zarr").pyramids) == 1
    write_image(group, tmp_path / "moved.ome.zarr", scale=3, name="moved")
    image, labels = read(tmp_path / "moved.ome.zarr").pyramids
    assert image.levels[0].affine.scale == labels.levels[0].affine.scale == (3, 3, 3)
    beside = zarr.open_group(folder, path="image.ome.zarr/labels", mode="r")
    write_image(PIXELS, tmp_path / "named.ome.zarr", "zyx", labels=beside)
    assert [each.name for each in read(tmp_path / "named.ome.zarr").pyramids[1:]] == [
        "cells"
    ]


def test_levels_that_nothing_describes_are_one_image(folder, tmp_path):
    group = ARRAYS["plain group"](folder)
    write_layers(group, tmp_path / "a.ome.zarr", existing_resolutions=True)
    (pyramid,) = read(tmp_path / "a.ome.zarr").pyramids
    assert [level.shape for level in pyramid.levels] == [(2, 8, 10), (2, 4, 5)]
    np.testing.assert_array_equal(pyramid.levels[1].pixels, PIXELS[:, ::2, ::2])
    named = root_array(None)
    write_layers([named, named], tmp_path / "b.ome.zarr")
    names = [axis.name for axis in read(tmp_path / "b.ome.zarr").pyramids[0].axes]
    assert names == ["c", "z", "y", "x"]


def various(home):
    group = zarr.create_group(MemoryStore())
    group.create_array("image", data=PIXELS)
    group.create_array("mask", data=PIXELS[:, ::2, ::2].astype("uint8"))
    return group


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (various, "holds 2 arrays that are no levels"),
        (lambda home: zarr.open_group(home / "plate.zarr", mode="r"), "is a plate"),
        (lambda _: MemoryStore(), "no image"),
        (lambda home: zarr.open_group(home, mode="a"), "holds 2 images"),
        (lambda home: [IMAGES["group"](home)] * 2, "These are 2 layers"),
    ],
    ids=["various", "plate", "empty", "above", "two"],
)
def test_what_is_no_image_is_said_at_every_door(given, said, folder, tmp_path):
    held, volume = given(folder), MemoryStore()
    write_image(PIXELS, volume, "zyx", levels=1)
    for number, call in enumerate(
        [
            lambda at: write_image(held, at, "zyx"),
            lambda at: write_image(PIXELS, at, "zyx", labels=held),
            lambda at: write_layers(held, at),
            lambda at: write_plate([{"well": "A1", "image": held}], at),
            lambda at: append(volume, held, "t"),
            lambda at: patch(volume, (0, 0, 0), held),
            lambda at: add_labels(held, volume),
        ]
    ):
        if isinstance(held, list) and number in (2, 3):
            continue  # two images
        with pytest.raises(OMEZarrError, match=said):
            call(tmp_path / f"{number}.ome.zarr")
    assert list(tmp_path.glob("*.ome.zarr")) == []


@pytest.mark.parametrize("block", [True, False])
def test_nothing_is_added_inside_a_label_image(block, folder, tmp_path):
    image = tmp_path / "image.ome.zarr"
    write_image(PIXELS[0], image, "yx", labels={"cells": PIXELS[0] > 3}, levels=1)
    cells = image / "labels" / "cells"
    if not block:  # which labels should have, and may lack
        group = zarr.open_group(cells, mode="a")
        ome = dict(group.attrs["ome"])
        del ome["image-label"]
        group.attrs["ome"] = ome
    before = sorted(cells.rglob("*"))
    layer = (PIXELS[0], {"name": "own"}, "labels")
    spots = (np.array([[1, 2]]), {"name": "spots"}, "points")
    for call in (
        lambda: add_labels(PIXELS[0], cells),
        lambda: add_labels(layer, str(cells)),
        lambda: add_labels(layer, zarr.open_group(cells)),
        lambda: add_tables([spots], cells),
    ):
        with pytest.raises(OptionError, match="is a label image, and") as error:
            call()
        assert f"Give {image}." in str(error.value)
    assert sorted(cells.rglob("*")) == before
    patch(cells, (0, 0), np.full((1, 1), 9, "uint8"))
    assert finest(image, 1)[0, 0] == 9


def stop(progress):
    if progress.done:
        raise ZeroDivisionError


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_what_somebody_took_away_is_not_resumed(kind, tmp_path):
    """A note of blocks that are not there any more would leave holes."""
    image = tmp_path / "image.ome.zarr" if kind == "folder" else MemoryStore()
    write_image(PIXELS, image, "zyx", levels=1)
    options = {"name": "own", "chunks": (1, 8, 10), "levels": 1, "memory": 1}
    with pytest.raises(ZeroDivisionError):
        add_labels(PIXELS, image, progress=stop, **options)
    with pytest.raises(UnfinishedWriteError):
        add_labels(PIXELS, image, **options)
    if kind == "folder":
        shutil.rmtree(image / "labels")
    else:
        run(image.clear())
        write_image(PIXELS, image, "zyx", levels=1)
    add_labels(PIXELS, image, **options)
    np.testing.assert_array_equal(finest(image, 1), PIXELS)
