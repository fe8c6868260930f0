"""Groups that are no image but hold some: what is said of them, and what it costs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr

import small_images
from napari_omezarr.errors import ImageChoiceError, NodeNotFoundError
from napari_omezarr.location import Location
from napari_omezarr.reading import read
from small_images import put_group, put_image, put_labels

VERSIONS = ["0.4", "0.5", "0.6"]


def put_bare_group(path, version):
    """A group that says nothing of itself: zarr 2 then has no attributes at all."""
    put_group(path, version, {})
    if version == "0.4":
        (path / ".zattrs").unlink()
        (path / ".zgroup").write_text('{"zarr_format": 2}')


def put_spatial_store(path, version):
    """The groups of a SpatialData store, with two images, labels and a table."""
    for name in ("", "images", "tables", "shapes"):
        put_bare_group(path / name, version)
    for name in ("he", "dapi"):
        put_image(path / "images" / name, version, names="yx", shape=(16, 24))
    put_labels(path, version, cells=small_images.pixels((4, 16, 24), np.uint8))
    put_bare_group(path / "tables" / "counts", version)


def refused(location):
    with pytest.raises(ImageChoiceError) as caught:
        read(location)
    return caught.value


PATHS = ("images/dapi", "images/he", "labels/cells")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_store_of_images_names_them_all(tmp_path, version):
    put_spatial_store(tmp_path / "sd.zarr", version)
    error = refused(Location.parse(tmp_path / "sd.zarr"))
    assert error.paths == PATHS
    assert "holds 3 images: images/dapi, images/he, labels/cells." in error.sentence
    assert error.action.endswith("sd.zarr/images/dapi.")
    for path in error.paths:
        assert read(Location.parse(tmp_path / "sd.zarr") / path).pyramids
    assert refused(Location.parse(tmp_path / "sd.zarr" / "images")).paths == (
        "dapi",
        "he",
    )


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("version", VERSIONS)
def test_over_http_consolidated_metadata_name_them_in_one_round(
    http_server, tmp_path, version
):
    put_spatial_store(tmp_path / "sd.zarr", version)
    zarr.consolidate_metadata(
        str(tmp_path / "sd.zarr"), zarr_format=2 if version == "0.4" else 3
    )
    with http_server.round_count() as rounds:
        error = refused(Location.parse(f"{http_server.url}/sd.zarr"))
    assert error.paths == PATHS
    assert rounds.count == (2 if version == "0.4" else 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_over_http_usual_names_are_tried_where_nothing_lists(
    http_server, tmp_path, version
):
    put_spatial_store(tmp_path / "sd.zarr", version)
    error = refused(Location.parse(f"{http_server.url}/sd.zarr"))
    assert error.paths == ("labels/cells",)
    shutil.rmtree(tmp_path / "sd.zarr" / "labels")
    with pytest.raises(NodeNotFoundError, match=r"It holds images\.") as caught:
        read(Location.parse(f"{http_server.url}/sd.zarr"))
    assert (
        caught.value.action
        == f"Open one of them, like {http_server.url}/sd.zarr/images."
    )


def test_a_bucket_is_listed(s3_server, s3_prefix, tmp_path):
    put_spatial_store(tmp_path / "sd.zarr", "0.5")
    s3_server.upload(tmp_path / "sd.zarr", f"public/{s3_prefix}/sd.zarr")
    place = Location.parse(
        f"s3://public/{s3_prefix}/sd.zarr", endpoint=s3_server.endpoint
    )
    assert refused(place).paths == PATHS


def test_a_folder_of_images_without_any_document_names_them(tmp_path):
    for name in ("b.ome.zarr", "a.ome.zarr"):
        put_image(tmp_path / "day 1" / name, names="yx", shape=(16, 24))
    assert refused(Location.parse(tmp_path / "day 1")).paths == (
        "a.ome.zarr",
        "b.ome.zarr",
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(NodeNotFoundError, match="There is no OME-Zarr"):
        read(Location.parse(tmp_path / "empty"))


def test_many_images_are_counted_up_to_a_limit_and_some_named(tmp_path):
    put_bare_group(tmp_path / "a.zarr", "0.5")
    document = {
        "ome": {"version": "0.5", "multiscales": [{"datasets": [{"path": "0"}]}]}
    }
    for number in range(260):
        put_group(tmp_path / "a.zarr" / f"{number:03}", "0.5", document["ome"])
    error = refused(Location.parse(tmp_path / "a.zarr"))
    assert len(error.paths) == 256
    assert "holds at least 256 images: 000, " in error.sentence
    assert "007 and 248 more." in error.sentence


def test_what_is_broken_beside_an_image_does_not_hide_it(tmp_path):
    put_bare_group(tmp_path / "a.zarr", "0.5")
    put_image(tmp_path / "a.zarr" / "good", names="yx", shape=(16, 24))
    for name, text in ("page", "<html>"), ("list", "[]"), ("null", json.dumps(None)):
        (tmp_path / "a.zarr" / name).mkdir()
        (tmp_path / "a.zarr" / name / "zarr.json").write_text(text)
    put_group(tmp_path / "a.zarr" / "odd", "0.5", {"multiscales": [3]})
    assert refused(Location.parse(tmp_path / "a.zarr")).paths == ("good",)
