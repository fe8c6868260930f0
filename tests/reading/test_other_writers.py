"""What other programs write, opened by us: equal pixels, equal world."""

from __future__ import annotations

import numpy as np
import pytest

import small_images
from napari_omezarr.layers import read_layers

SHAPE = (2, 4, 32, 48)


@pytest.fixture
def data():
    return small_images.pixels(SHAPE)


def check(path, data, scale):
    layers = read_layers(path)
    assert len(layers) == 2
    for channel, (levels, options, _) in enumerate(layers):
        np.testing.assert_array_equal(levels[0].compute(), data[channel])
        np.testing.assert_allclose(options["scale"], scale)
        assert set(options["units"]) == {"micrometer"}
        sizes = [level.shape for level in levels]
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.filterwarnings("ignore")
def test_ome_zarr_py(tmp_path, data, version):
    writer = pytest.importorskip("ome_zarr.writer")
    formats = pytest.importorskip("ome_zarr.format")
    writer.write_image(
        data,
        str(tmp_path / "a.zarr"),
        scale_factors=[2, 4],
        axes="czyx",
        scale={"z": 2.0, "y": 0.5, "x": 0.5},
        axes_units=dict.fromkeys("zyx", "micrometer"),
        fmt=formats.format_from_version(version),
    )
    check(tmp_path / "a.zarr", data, (2, 0.5, 0.5))


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
@pytest.mark.filterwarnings("ignore")
def test_ngff_zarr(tmp_path, data, version):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    image = ngff_zarr.to_ngff_image(
        data,
        dims=list("czyx"),
        scale={"c": 1.0, "z": 2.0, "y": 0.5, "x": 0.5},
        translation={"c": 0.0, "z": 0.0, "y": 10.0, "x": 20.0},
        axes_units=dict.fromkeys("zyx", "micrometer"),
    )
    multiscales = ngff_zarr.to_multiscales(
        image, scale_factors=[2], chunks=16, method=ngff_zarr.Methods.DASK_BIN_SHRINK
    )
    ngff_zarr.to_ngff_zarr(str(tmp_path / "a.zarr"), multiscales, version=version)
    check(tmp_path / "a.zarr", data, (2, 0.5, 0.5))
    assert read_layers(tmp_path / "a.zarr")[0][1]["translate"] == (0, 10, 20)


@pytest.mark.filterwarnings("ignore")
def test_yaozarrs(tmp_path, data):
    v05 = pytest.importorskip("yaozarrs.v05")
    write = pytest.importorskip("yaozarrs.write.v05")
    image = v05.Image.model_validate(
        {
            "version": "0.5",
            "multiscales": small_images.multiscales("0.5", "czyx", 2),
            "omero": small_images.omero(2),
        }
    )
    write.write_image(tmp_path / "a.zarr", image, small_images.levels_of(data, 2))
    check(tmp_path / "a.zarr", data, (0.5, 0.5, 0.5))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_tensorstore(tmp_path, data, version):
    tensorstore = pytest.importorskip("tensorstore")
    attributes = {"multiscales": small_images.multiscales(version, "czyx", 2)}
    small_images.put_group(tmp_path / "a.zarr", version, attributes)
    for number, level in enumerate(small_images.levels_of(data, 2)):
        spec = {
            "driver": "zarr" if version == "0.4" else "zarr3",
            "kvstore": {"driver": "file", "path": f"{tmp_path}/a.zarr/{number}/"},
        }
        store = tensorstore.open(
            spec, create=True, dtype=tensorstore.uint16, shape=level.shape
        ).result(60)
        store.write(level).result(60)
    check(tmp_path / "a.zarr", data, (0.5, 0.5, 0.5))
