"""The same pixels from everywhere: disk, zip, HTTP, and S3 for everybody or some."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

import small_images
from napari_omezarr.demo.server import OWNER
from napari_omezarr.errors import AccessDeniedError
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = ["0.4", "0.5", "0.6"]
PLACES = [
    "local",
    "zip",
    "zip over http",
    "http",
    "s3 public",
    "s3 private",
    "s3 public with expired keys",
]


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def image(tmp_path, version):
    """A folder with an image and a label image; and their finest levels."""
    folder = tmp_path / "a.ome.zarr"
    sharded = {} if version == "0.4" else {"shards": (1, 4, 16, 16)}
    levels = small_images.put_image(folder, version, chunks=(1, 1, 8, 8), **sharded)
    cells = small_images.pixels((4, 16, 24), np.uint8)
    small_images.put_labels(folder, version, cells=cells)
    return folder, levels[0], cells


def zipped(folder: Path) -> Path:
    target = folder.parent / "a.ome.zarr.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder))
    return target


@pytest.fixture
def address(request, image, monkeypatch):
    """The address of the image at a place, with what the place needs set up."""
    folder, _, _ = image
    place = request.param
    if place == "local":
        return folder
    if place == "zip":
        return zipped(folder)
    if place.endswith("http"):
        server = request.getfixturevalue("http_server")
        name = zipped(folder).name if place.startswith("zip") else folder.name
        return f"{server.url}/{name}"
    server = request.getfixturevalue("s3_server")
    prefix = request.getfixturevalue("s3_prefix")
    bucket = "private" if "private" in place else "public"
    server.upload(folder, f"{bucket}/{prefix}/a.ome.zarr")
    if "private" in place:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)
    elif "expired" in place:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "gone")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "gone-secret")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "gone-token")
    return Location.parse(
        f"s3://{bucket}/{prefix}/a.ome.zarr", endpoint=server.endpoint
    )


@pytest.mark.parametrize("address", PLACES, indirect=True)
def test_pixels_colours_and_scale_are_the_same_from_everywhere(address, image):
    _, finest, cells = image
    first, second, label = read_layers(address)
    for channel, (data, options, _) in enumerate((first, second)):
        np.testing.assert_array_equal(data[0].compute(), finest[channel])
        assert options["scale"] == (0.5, 0.5, 0.5)
    assert first[1]["colormap"] == "green"
    np.testing.assert_array_equal(label[0][0].compute(), cells)
    assert label[2] == "labels"


@pytest.mark.parametrize("address", PLACES, indirect=True)
def test_a_label_opens_from_its_own_address_everywhere(address, image):
    _, _, cells = image
    place = Location.parse(address) / "labels" / "cells"
    ((data, _, kind),) = read_layers(place)
    assert kind == "labels"
    np.testing.assert_array_equal(data[0].compute(), cells)


@pytest.mark.parametrize("version", ["0.5"], indirect=True)
def test_a_private_image_is_not_open_to_everybody(image, s3_server, s3_prefix):
    s3_server.upload(image[0], f"private/{s3_prefix}/a.ome.zarr")
    place = f"s3://private/{s3_prefix}/a.ome.zarr"
    with pytest.raises(AccessDeniedError):
        read_layers(place, endpoint=s3_server.endpoint)
