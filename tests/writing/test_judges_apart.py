"""What we write, opened by libraries that need an environment of their own.

``make test-judges`` makes one. spatialdata opens no image but those of its own stores;
ngio reads images of the same kind with the layouts that it shares with it.
"""

from __future__ import annotations

import numpy as np
import pytest

from commands import run
from napari_omezarr import read_layers, write_plate
from napari_omezarr.writing import append, write_image, write_layers

# The judges call what others have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore")

PIXELS = np.random.default_rng(4).integers(1, 900, (2, 3, 6, 130, 121)).astype("u2")
LABELS = (PIXELS[:, 0] // 300).astype(np.uint32)
UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
NAMES = ["DAPI", "GFP", "RFP"]
KINDS = {"tczyx": (), "zyx": (0, 0), "cyx": (0, slice(None), 0), "yx": (0, 0, 0)}
STORED = [("0.4", None), ("0.5", None), ("0.5", True)]

stored = pytest.mark.parametrize(
    ("version", "shards"), STORED, ids=["0.4", "0.5", "0.5 in shards"]
)


def written(place, axes, version, shards):
    pixels = PIXELS[KINDS[axes]]
    options = {"channels": NAMES} if "c" in axes else {"name": "one"}
    if axes == "tczyx":
        options["labels"] = {"cells": LABELS}
    units = {name: unit for name, unit in UNITS.items() if name in axes}
    scale = [{"t": 3.0, "c": 1.0, "z": 2.0}.get(name, 0.5) for name in axes]
    write_image(
        pixels, place, axes, scale=scale, units=units, version=version, shards=shards,
        levels=3, **options,
    )  # fmt: skip
    return pixels, scale


@stored
@pytest.mark.parametrize("axes", KINDS)
def test_iohub_reads_pixels_scale_axes_and_channels(axes, version, shards, tmp_path):
    iohub = pytest.importorskip("iohub")
    place = tmp_path / "a.ome.zarr"
    pixels, scale = written(place, axes, version, shards)
    with iohub.open_ome_zarr(place, mode="r") as found:
        np.testing.assert_array_equal(found["0"][:], pixels)
        assert found["2"].shape[-2:] == (33, 31)
        assert found.scale == scale
        assert [axis.name for axis in found.axes] == list(axes)
        assert found.channel_names == (NAMES if "c" in axes else ["one"])


@pytest.mark.parametrize("ends", [("0.4", "0.4"), ("0.4", "0.5"), ("0.5", "0.5")])
def test_a_table_of_anndata_goes_with_its_image(ends, tmp_path):
    anndata = pytest.importorskip("anndata")
    ngio, pandas = pytest.importorskip("ngio"), pytest.importorskip("pandas")
    source, target = tmp_path / "a.ome.zarr", tmp_path / "b.ome.zarr"
    written(source, "tczyx", ends[0], None)
    numbers = np.arange(1, 9)
    columns = {"label": numbers, "said": [f"é{number}" for number in numbers]}
    rows = pandas.DataFrame(columns, index=list(map(str, numbers)))
    table = anndata.AnnData(X=np.random.default_rng(0).random((8, 3)), obs=rows)
    anndata.settings.zarr_write_format = 2 if ends[0] == "0.4" else 3
    container = ngio.open_ome_zarr_container(str(source))
    container.add_table("measured", ngio.tables.FeatureTable(table), backend="anndata")
    told = run("convert", source, target, "--version", ends[1])
    assert "measured" not in told
    before, now = (
        ngio.open_ome_zarr_container(str(each)).get_table("measured").dataframe
        for each in (source, target)
    )
    pandas.testing.assert_frame_equal(now, before)
    read = [
        anndata.read_zarr(each / "tables" / "measured") for each in (source, target)
    ]
    np.testing.assert_array_equal(read[1].X, read[0].X)
    assert list(read[1].obs["said"]) == list(columns["said"])


@stored
@pytest.mark.parametrize("axes", KINDS)
def test_ngio_reads_pixels_sizes_channels_and_labels(axes, version, shards, tmp_path):
    ngio = pytest.importorskip("ngio")
    place = tmp_path / "a.ome.zarr"
    pixels, _ = written(place, axes, version, shards)
    found = ngio.open_ome_zarr_container(str(place))
    image = found.get_image()
    np.testing.assert_array_equal(image.get_as_numpy(), pixels)
    assert (image.pixel_size.y, image.pixel_size.x) == (0.5, 0.5)
    if "z" in axes:
        assert image.pixel_size.z == 2
    assert found.channel_labels == (NAMES if "c" in axes else ["one"])
    if axes == "tczyx":
        assert found.list_labels() == ["cells"]
        np.testing.assert_array_equal(found.get_label("cells").get_as_numpy(), LABELS)


@stored
def test_ngio_reads_labels_of_a_coarser_level_in_their_place(version, shards, tmp_path):
    ngio = pytest.importorskip("ngio")
    place = tmp_path / "a.ome.zarr"
    fine = {"scale": (1, 0.5, 0.5), "axis_labels": "zyx", "units": ("um",) * 3}
    half = {**fine, "scale": (1, 1, 1), "translate": (0, 0.25, 0.25), "name": "half"}
    labels = LABELS[0, :, ::2, ::2]
    layers = [(PIXELS[0, 0], fine, "image"), (labels, half, "labels")]
    write_layers(layers, place, version=version, shards=shards, levels=3)
    label = ngio.open_ome_zarr_container(str(place)).get_label("half")
    np.testing.assert_array_equal(label.get_as_numpy(), labels)
    assert (label.pixel_size.z, label.pixel_size.y, label.pixel_size.x) == (1, 1, 1)


@stored
def test_both_read_what_was_appended(version, shards, tmp_path):
    iohub = pytest.importorskip("iohub")
    ngio = pytest.importorskip("ngio")
    place = tmp_path / "a.ome.zarr"
    pixels, _ = written(place, "cyx", version, shards)
    append(place, PIXELS[1, :1, 1], "c", channels=["more"])
    both = np.concatenate([pixels, PIXELS[1, :1, 1]])
    with iohub.open_ome_zarr(place, mode="r") as found:
        np.testing.assert_array_equal(found["0"][:], both)
        assert found.channel_names == [*NAMES, "more"]
    image = ngio.open_ome_zarr_container(str(place)).get_image()
    np.testing.assert_array_equal(image.get_as_numpy(), both)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_both_read_a_plate(version, tmp_path):
    iohub = pytest.importorskip("iohub")
    ngio = pytest.importorskip("ngio")
    place = tmp_path / "plate.zarr"
    first, second = PIXELS, PIXELS[::-1]
    rows = [
        {"well": "A1", "image": first, "acquisition": 0},
        {"well": "A1", "image": second, "acquisition": 1},
        {"well": "B3", "image": second, "acquisition": 0},
    ]
    choices = {"axes": "tczyx", "units": UNITS, "channels": NAMES, "levels": 2}
    write_plate(rows, place, version=version, **choices)
    with iohub.open_ome_zarr(place, mode="r", layout="hcs") as found:
        held = dict(found.positions())
        assert sorted(held) == ["A/1/0", "A/1/1", "B/3/0"]
        np.testing.assert_array_equal(held["A/1/1"]["0"][:], second)
        assert found.channel_names == NAMES
    plate = ngio.open_ome_zarr_plate(str(place))
    assert (plate.rows, plate.columns) == (["A", "B"], ["1", "3"])
    assert plate.acquisition_ids == [0, 1]
    image = plate.get_image("B", "3", "0").get_image()
    np.testing.assert_array_equal(image.get_as_numpy(), second)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_of_iohub_is_laid_out_and_gets_more_wells(version, tmp_path):
    iohub = pytest.importorskip("iohub")
    place = tmp_path / "plate.zarr"
    options = {"layout": "hcs", "mode": "w", "channel_names": NAMES}
    with iohub.open_ome_zarr(place, version=version, **options) as plate:
        for well, pixels in (("A1", PIXELS), ("B2", PIXELS[::-1])):
            position = plate.create_position(well[0], well[1], "000")
            position.create_image("0", pixels, chunks=(1, 1, 1, 64, 64))
    write_plate({"B4": PIXELS}, place, axes="tczyx", units=UNITS, channels=NAMES)
    layers = read_layers(place)
    assert [options["name"] for _, options, _ in layers] == NAMES
    data = layers[1][0]
    data = data[0] if isinstance(data, list) else data
    gap = 121 // 32
    for row, column, pixels in ((0, 0, PIXELS), (1, 1, PIXELS[::-1]), (1, 2, PIXELS)):
        top, left = row * (130 + gap), column * (121 + gap)
        shown = data[..., top : top + 130, left : left + 121].compute()
        np.testing.assert_array_equal(shown, pixels[:, 1])
