"""The writer as npe2 calls it, in a program without napari's window."""

from __future__ import annotations

import logging
import os

import numpy as np
import pytest
from npe2 import PluginManifest, write

from napari_omezarr._hooks import write_layers as write_path
from napari_omezarr.errors import (
    NotSavedError,
    OMEZarrError,
    TargetExistsError,
)
from napari_omezarr.layers import read_layers

PLUGIN = "napari-omezarr"
IMAGE = np.random.default_rng(3).integers(0, 500, (2, 3, 40, 50)).astype(np.uint16)
SECRET = "sQuEaMiSh0sSiFrAgE"


@pytest.fixture
def manager(npe2pm):
    """npe2 with our plugin alone."""
    npe2pm.register(PluginManifest.from_distribution(PLUGIN))
    return npe2pm


def image(number=0, data=IMAGE, **options):
    options = {"name": f"channel {number}", "axis_labels": ("z", "y", "x"), **options}
    return data[number], options, "image"


def labels(**options):
    data = (IMAGE[0] // 100).astype(np.uint8)
    return data, {"name": "cells", "axis_labels": ("z", "y", "x"), **options}, "labels"


POINTS = (np.zeros((4, 3)), {"name": "spots"}, "points")
VECTORS = (np.zeros((4, 2, 3)), {"name": "arrows"}, "vectors")


def finest(layer):
    data, options, _ = layer
    return np.asarray(data[0] if options.get("multiscale") else data)


@pytest.mark.usefixtures("manager")
@pytest.mark.parametrize("name", ["a.ome.zarr", "a.zarr", "a.ozx", "a.zarr.zip"])
@pytest.mark.parametrize("kinds", [1, 3])
def test_one_layer_and_several_are_saved_by_name(tmp_path, name, kinds):
    layers = [image(0), image(1), labels()][:kinds]
    target = str(tmp_path / name)
    assert write(target, layers, plugin_name=PLUGIN) == [target]
    found = read_layers(target)
    assert [kind for _, _, kind in found] == ["image", "image", "labels"][:kinds]
    for one, other in zip(found, layers, strict=True):
        np.testing.assert_array_equal(finest(one), other[0])


@pytest.mark.parametrize(
    ("types", "ours"),
    [
        (["image"], True),
        (["labels"], True),
        (["image", "image", "labels"], True),
        (["image", "points"], True),
        (["points", "shapes"], True),
    ],
)
def test_the_manifest_claims_layers_by_suffix_only(manager, types, ours):
    for suffix in (".ome.zarr", ".ozx"):
        writer, path = manager.get_writer(f"/x/a{suffix}", types)
        assert bool(writer) is ours
        assert path == f"/x/a{suffix}"
    for other in ("/x/a.tif", "/x/a.csv"):
        assert manager.get_writer(other, types)[0] is None


@pytest.mark.usefixtures("manager")
def test_a_lone_layer_without_suffix_gets_ours_if_we_are_asked(tmp_path):
    (path,) = write(str(tmp_path / "a"), [image()], plugin_name=PLUGIN)
    assert path == str(tmp_path / "a.ome.zarr")
    assert read_layers(path)


def test_a_name_without_suffix_gets_one(tmp_path):
    layers = [image(0), image(1)]
    assert write_path(str(tmp_path / "a"), layers) == [str(tmp_path / "a.ome.zarr")]


def test_other_layers_are_named_and_nothing_is_written(tmp_path):
    with pytest.raises(NotSavedError, match="arrows is left out") as caught:
        write_path(str(tmp_path / "a.ome.zarr"), [image(), VECTORS])
    assert "Select only" in caught.value.action
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([image(data=IMAGE.astype(complex))], "complex128"),
        ([image(data=IMAGE.astype(object))], "object"),
        ([(IMAGE[0] / 2, {"name": "x"}, "labels")], "float64"),
        ([POINTS], "no image and no labels"),
    ],
)
def test_what_cannot_be_saved_is_said_before_anything_is_written(
    tmp_path, layers, said
):
    # No ValueError: napari would say that no plugin can write this.
    with pytest.raises(NotSavedError, match=said) as caught:
        write_path(str(tmp_path / "a.ome.zarr"), layers)
    assert not isinstance(caught.value, ValueError)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_left_alone(tmp_path):
    target = str(tmp_path / "a.ome.zarr")
    write_path(target, [image()])
    with pytest.raises(TargetExistsError):
        write_path(target, [image(1)])
    np.testing.assert_array_equal(finest(read_layers(target)[0]), IMAGE[0])
    with pytest.raises(NotSavedError, match="being read"):
        write_path(target, read_layers(target))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OMEZarrError, match="may not write"):
        write_path(str(tmp_path / "a.ome.zarr"), [image()])


def test_a_place_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TargetExistsError, match="a file is in the way"):
        write_path(str(tmp_path / "file" / "a.ome.zarr"), [image()])
    assert (tmp_path / "file").read_bytes() == b""


def test_extra_attributes_of_the_original_are_kept(tmp_path):
    import zarr

    write_path(str(tmp_path / "a.ome.zarr"), [image(0), image(1)])
    group = zarr.open_group(str(tmp_path / "a.ome.zarr"))
    group.attrs["microscope"] = {"objective": "40x"}
    for version in (tmp_path / "b.ome.zarr", tmp_path / "c.ozx"):
        write_path(str(version), read_layers(tmp_path / "a.ome.zarr"))
        (first, *_) = read_layers(version)
        assert first[1]["metadata"]["omezarr"]["extras"]["microscope"] == {
            "objective": "40x"
        }


@pytest.mark.parametrize(
    "path",
    [
        f"s3+http://AKIAEXAMPLE:{SECRET}@127.0.0.1:9/bucket/a.ome.zarr",
        f"http://127.0.0.1:9/b/a.ome.zarr?X-Amz-Signature={SECRET}",
        f"ftp://user:{SECRET}@host/a.ome.zarr",
    ],
)
def test_a_secret_in_an_address_is_nowhere_to_be_seen(path, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(OMEZarrError) as caught:
        write_path(path, [image()])
    seen = [str(caught.value), repr(caught.value), caught.value.url, caplog.text]
    cause = caught.value.__cause__
    seen += [str(cause), repr(cause)]
    assert not any(SECRET in text for text in seen)


def test_no_address_is_an_error(tmp_path):
    with pytest.raises(NotSavedError):
        write_path("s3://", [image()])
