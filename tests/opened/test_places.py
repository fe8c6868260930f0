"""Plates, wells, series, scenes and labels, opened; and what is done with places."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import napari_omezarr
import small_images
from napari_omezarr.errors import NodeNotFoundError, OptionError, UnknownNameError
from napari_omezarr.opened import OMECollection, OMEImage, OMEPlate, OMEWell


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    small_images.put_image(folder / "image.ome.zarr")
    cells = np.ones((4, 16, 24), np.uint16)
    small_images.put_labels(folder / "image.ome.zarr", cells=cells, nuclei=cells)
    small_images.put_plate(folder / "plate.ome.zarr", fields=2, missing=("B/3",))
    small_images.put_series(folder / "series.ome.zarr")
    return folder


def test_a_plate_gives_wells_and_fields(places):
    plate = napari_omezarr.open(places / "plate.ome.zarr")
    assert isinstance(plate, OMEPlate)
    assert (plate.kind, plate.name, plate.rows, plate.columns) == (
        "plate",
        "screen",
        ("A", "B"),
        ("1", "2", "3"),
    )
    assert [well.path for well in plate.wells()][:2] == ["A/1", "A/2"]
    well = plate["B2"]
    assert (well.row, well.column) == ("B", "2")
    first, second = well.fields()
    assert first.name == "B/2/0"
    assert np.array_equal(first.read(), small_images.pixels((2, 16, 24), seed=8))
    assert np.array_equal(
        second.read(), small_images.pixels((2, 16, 24), seed=4 * 2 + 1)
    )
    assert plate.image.shape == (2, 32, 144)
    assert "6 wells: A/1, A/2" in repr(plate)
    assert [each.path for each in plate] == [each.path for each in plate.wells()]
    assert len(plate) == 6
    assert plate["b02"].path == plate["B/2"].path == "B/2"
    assert "B02" in plate
    assert "C1" not in plate
    for missing in ("C/1", "C1", "", 0):
        with pytest.raises(OptionError, match="no well"):
            _ = plate[missing]
    with pytest.raises(NodeNotFoundError):
        plate["B/3"].fields()


NAMED = {
    "labels": ("image.ome.zarr", lambda image: image.labels),
    "labels of a part": ("image.ome.zarr", lambda image: image.isel(y=(0, 4)).labels),
    "labels that were sent": (
        "image.ome.zarr",
        lambda image: pickle.loads(pickle.dumps(image)).labels,
    ),
    "tables": ("image.ome.zarr", lambda image: image.tables),
    "wells": ("plate.ome.zarr", lambda plate: plate),
    "tables of a plate": ("plate.ome.zarr", lambda plate: plate.tables),
    "images of a series": ("series.ome.zarr", lambda series: series),
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_name_that_is_not_there_is_said_with_those_that_are(places, kind):
    place, part = NAMED[kind]
    found = part(napari_omezarr.open(places / place))
    with pytest.raises(UnknownNameError, match="nix") as unknown:
        _ = found["nix"]
    assert isinstance(unknown.value, KeyError)
    named = [getattr(each, "path", getattr(each, "name", each)) for each in found]
    assert all(name in unknown.value.action for name in named)


def test_a_well_opens_by_itself_and_travels(places):
    well = napari_omezarr.open(places / "plate.ome.zarr" / "A" / "2")
    assert isinstance(well, OMEWell)
    assert (well.path, len(well.fields())) == ("A/2", 2)
    assert pickle.loads(pickle.dumps(well)).fields()[0].shape == (2, 16, 24)
    assert well.mosaic().dims == ("c", "y", "x")


def test_all_fields_of_a_plate_come_one_by_one(tmp_path):
    small_images.put_plate(tmp_path / "p.ome.zarr", rows=1, columns=2, fields=2)
    names = [f.name for f in napari_omezarr.open(tmp_path / "p.ome.zarr").fields()]
    assert names == ["A/1/0", "A/1/1", "A/2/0", "A/2/1"]


def test_a_series_is_a_sequence_of_images_by_number_and_name(places, tmp_path):
    series = napari_omezarr.open(places / "series.ome.zarr")
    assert isinstance(series, OMECollection)
    assert (series.kind, len(series)) == ("series", 3)
    assert series["scan 1"] is series[1] is series["1"]
    assert [image.name for image in series] == ["scan 0", "scan 1", "scan 2"]
    napari_omezarr.write(series, tmp_path / "again.ome.zarr")
    again = napari_omezarr.open(tmp_path / "again.ome.zarr")
    assert [image.name for image in again] == [image.name for image in series]
    for one, other in zip(again, series, strict=True):
        assert np.array_equal(one.read(), other.read())


def test_labels_open_by_themselves(places):
    labels = napari_omezarr.open(places / "image.ome.zarr" / "labels")
    assert (labels.kind, [each.kind for each in labels]) == ("labels", ["labels"] * 2)
    one = napari_omezarr.open(places / "image.ome.zarr" / "labels" / "cells")
    assert isinstance(one, OMEImage)
    assert one.kind == "labels"


def test_a_plain_array_is_an_image(tmp_path):
    small_images.put_array(tmp_path / "a.zarr", "0.5", np.ones((8, 8), "u1"), "yx")
    array = napari_omezarr.open(tmp_path / "a.zarr")
    assert (array.version, array.dims, array.shape) == (None, ("y", "x"), (8, 8))


def test_what_open_gives_is_written_whole(places, tmp_path):
    image = napari_omezarr.open(places / "image.ome.zarr")
    napari_omezarr.write(image, tmp_path / "b.ome.zarr", version="0.4")
    again = napari_omezarr.open(tmp_path / "b.ome.zarr")
    assert np.array_equal(again.read(), image.read())
    assert again.channels == image.channels
    assert again.transforms[0] == image.transforms[0]
    assert list(again.labels) == ["cells", "nuclei"]
    assert again.version == "0.4"


def test_several_images_are_written_as_a_collection_with_their_labels(places, tmp_path):
    image = napari_omezarr.open(places / "image.ome.zarr")
    other = napari_omezarr.open(places / "series.ome.zarr")[0].isel(x=slice(0, 10))
    napari_omezarr.write([image, other], tmp_path / "b.ome.zarr")
    again = napari_omezarr.open(tmp_path / "b.ome.zarr")
    assert [list(each.labels) for each in again] == [["cells", "nuclei"], []]


@pytest.mark.parametrize("inside", ["", "A/1"])
def test_a_plate_is_not_written_as_if_it_were_an_image(places, tmp_path, inside):
    plate = napari_omezarr.open(places / "plate.ome.zarr" / inside)
    with pytest.raises(OptionError, match="not one image"):
        napari_omezarr.write(plate, tmp_path / "b.ome.zarr")


def test_labels_and_pixels_are_written_into_what_open_gave(tmp_path):
    pixels = np.zeros((16, 16), np.uint16)
    napari_omezarr.write(pixels, tmp_path / "a.ome.zarr", axes="yx")
    image = napari_omezarr.open(tmp_path / "a.ome.zarr")
    napari_omezarr.add_labels(np.ones((16, 16), np.uint8), image, name="cells")
    napari_omezarr.patch(image, (2, 3), np.full((1, 1), 9, np.uint16))
    again = napari_omezarr.open(image)
    assert again.read()[2, 3] == 9
    label = again.labels["cells"]
    napari_omezarr.add_labels(label, image, name="again")
    assert napari_omezarr.open(image).labels["again"].read().all()


def test_a_copy_a_list_and_a_check_take_what_was_opened(places, tmp_path):
    image = napari_omezarr.open(places / "image.ome.zarr")
    told = []
    copied = napari_omezarr.copy(image, tmp_path / "b.ome.zarr", progress=told.append)
    assert copied.objects == told[-1].all_objects
    entries = {entry.name: entry for entry in napari_omezarr.listing(places)}
    assert [entry.kind.value for _, entry in sorted(entries.items())] == [
        "image",
        "plate",
        "series",
    ]
    assert napari_omezarr.open(entries["image.ome.zarr"]).shape == image.shape
    assert [entry.name for entry in napari_omezarr.listing(image, files=True)]
    if pytest.importorskip("yaozarrs"):
        assert napari_omezarr.validate(copied.target).covered


def test_an_option_that_is_none_is_said(places):
    with pytest.raises(OptionError, match="colour is no option"):
        napari_omezarr.open(places / "image.ome.zarr", colour="red")
    (name,) = napari_omezarr.open(places / "image.ome.zarr", labels="cells").labels
    assert name == "cells"


def test_tables_are_those_beside_the_image_and_features_those_of_labels(tmp_path):
    napari_omezarr.write(np.zeros((16, 16), np.uint16), tmp_path / "a.ome.zarr")
    image = napari_omezarr.open(tmp_path / "a.ome.zarr")
    assert image.tables == {}
    numbers = np.arange(256, dtype=np.uint16).reshape(16, 16)
    few = {"index": [1, 2], "area": [3.5, 4.5]}
    many = {"index": np.arange(1, 256), **{f"m{i}": np.arange(255) for i in range(20)}}
    napari_omezarr.add_labels(numbers, image, name="few", features=few)
    napari_omezarr.add_labels(numbers, image, name="many", features=many)
    again = napari_omezarr.open(image)
    assert again.labels["few"].features() == few
    assert again.features() == {}
    (table,) = again.tables.values()
    assert table.label == "many"
    read = again.labels["many"].features()
    assert {name: list(column) for name, column in read.items()} == {
        name: list(column) for name, column in many.items()
    }
    (options,) = [
        o for _, o, _ in napari_omezarr.read_layers(again) if o["name"] == "many"
    ]
    assert list(options["features"]["m3"]) == list(many["m3"])
    with pytest.raises(OptionError, match="a layer has its own"):
        napari_omezarr.add_labels(again.labels["few"], image, name="x", features=few)
