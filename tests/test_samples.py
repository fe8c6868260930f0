"""The sample images: correct OME-Zarr by another's judgement, and worth looking at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaozarrs
import zarr
from zarr.storage import MemoryStore, ZipStore

from napari_omezarr.samples import VERSIONS, cells, write_cells, write_plate

if TYPE_CHECKING:
    from pathlib import Path

    from napari_omezarr.samples import Version

SMALL = (8, 96, 128)
every_version = pytest.mark.parametrize("version", VERSIONS)


def attributes_of(group: zarr.Group) -> dict[str, Any]:
    found = group.attrs.asdict()
    return found.get("ome", found)


def places(dataset: dict[str, Any]) -> tuple[list[float], list[float]]:
    steps = dataset["coordinateTransformations"]
    if steps[0]["type"] == "sequence":
        steps = steps[0]["transformations"]
    scale, translation = steps
    return scale["scale"], translation["translation"]


def test_the_same_seed_gives_the_same_cells() -> None:
    once, again, other = cells(SMALL), cells(SMALL), cells(SMALL, seed=2)
    np.testing.assert_array_equal(once.image, again.image)
    np.testing.assert_array_equal(once.labels, again.labels)
    assert (once.labels != other.labels).any()


def test_labels_are_the_nuclei() -> None:
    made = cells()
    nuclei, membranes = made.image
    inside = made.labels > 0
    assert nuclei[inside].min() > np.percentile(nuclei[~inside], 95)
    assert membranes[inside].mean() < 0.25 * membranes.max()
    assert len(np.unique(made.labels)) > 60


def test_dividing_nuclei_are_brighter_and_smaller() -> None:
    made = cells()
    dividing = np.isin(made.labels, sorted(made.mitotic))
    others = (made.labels > 0) & ~dividing
    assert np.median(made.image[0][dividing]) > 1.2 * np.median(made.image[0][others])
    size_of_dividing, size_of_others = (
        np.median(np.unique(made.labels[where], return_counts=True)[1])
        for where in (dividing, others)
    )
    assert size_of_dividing < 0.6 * size_of_others


def test_the_camera_has_twelve_bits() -> None:
    image = cells(SMALL).image
    assert image.dtype == np.uint16
    assert 0 < image.min() < 150
    assert 1000 < image.max() <= 4095


@pytest.mark.parametrize("shape", [(1, 40, 40), (2, 7, 300), (3, 1, 1)])
def test_small_pieces_are_cells_too(shape: tuple[int, int, int]) -> None:
    made = cells(shape)
    assert made.image.shape == (2, *shape)
    assert made.labels.shape == shape


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_another_implementation_finds_nothing_wrong(
    version: Version, tmp_path: Path
) -> None:
    image, plate = tmp_path / "cells.ome.zarr", tmp_path / "plate.ome.zarr"
    write_cells(image, version=version, shape=SMALL)
    write_plate(plate, version=version, size=32)
    yaozarrs.validate_zarr_store(image)
    yaozarrs.validate_zarr_store(plate)


def test_the_judge_does_find_faults(tmp_path: Path) -> None:
    target = tmp_path / "cells.ome.zarr"
    write_cells(target, version="0.5", shape=SMALL)
    document = target / "zarr.json"
    document.write_text(document.read_text().replace('"axes"', '"axis"'))
    with pytest.raises(ValueError, match="axes"):
        yaozarrs.validate_zarr_store(target)


@every_version
def test_pixels_are_written_as_they_are_returned(version: Version) -> None:
    store = MemoryStore()
    made = write_cells(store, version=version, shape=SMALL)
    group = zarr.open_group(store, mode="r")
    assert group.metadata.zarr_format == (2 if version == "0.4" else 3)
    np.testing.assert_array_equal(group["0"][...], made.image)
    np.testing.assert_array_equal(group["labels/nuclei/0"][...], made.labels)


@every_version
def test_levels_are_means_and_lie_where_they_say(version: Version) -> None:
    store = MemoryStore()
    made = write_cells(store, version=version, shape=SMALL)
    group = zarr.open_group(store, mode="r")
    (image,) = attributes_of(group)["multiscales"]
    assert [places(dataset) for dataset in image["datasets"]] == [
        ([1, 0.5, 0.2, 0.2], [0, 0, 0, 0]),
        ([1, 0.5, 0.4, 0.4], [0, 0, 0.1, 0.1]),
        ([1, 1.0, 0.8, 0.8], [0, 0.25, pytest.approx(0.3), pytest.approx(0.3)]),
    ]
    blocks = made.image.reshape(2, 4, 2, 24, 4, 32, 4).mean(axis=(2, 4, 6))
    assert np.abs(group["2"][...] - blocks).max() <= 0.5


@every_version
def test_axes_have_units(version: Version) -> None:
    store = MemoryStore()
    write_cells(store, version=version, shape=SMALL)
    (image,) = attributes_of(zarr.open_group(store, mode="r"))["multiscales"]
    axes = image["coordinateSystems"][0]["axes"] if version == "0.6" else image["axes"]
    assert [axis["name"] for axis in axes] == list("czyx")
    assert [axis.get("unit") for axis in axes] == [None, *["micrometer"] * 3]


@every_version
def test_labels_of_every_level_are_labels_of_the_first(version: Version) -> None:
    store = MemoryStore()
    made = write_cells(store, version=version, shape=SMALL)
    group = zarr.open_group(store, mode="r")["labels/nuclei"]
    known = set(np.unique(made.labels).tolist())
    for level in "12":
        assert set(np.unique(group[level][...]).tolist()) <= known
    block = attributes_of(group)["image-label"]
    described = {entry["label-value"] for entry in block["colors"]}
    assert described == {entry["label-value"] for entry in block["properties"]}
    assert described == known - {0}
    phases = {entry["label-value"]: entry["phase"] for entry in block["properties"]}
    assert {value for value, phase in phases.items() if phase == "mitosis"} == (
        made.mitotic
    )


@every_version
def test_channels_are_described(version: Version) -> None:
    store = MemoryStore()
    write_cells(store, version=version, shape=SMALL)
    channels = attributes_of(zarr.open_group(store, mode="r"))["omero"]["channels"]
    assert [channel["label"] for channel in channels] == ["Nuclei", "Membranes"]
    for channel in channels:
        assert re.fullmatch("[0-9A-F]{6}", channel["color"])
        assert set(channel["window"]) == {"start", "end", "min", "max"}


@every_version
def test_a_plate_has_a_well_without_data(version: Version) -> None:
    store = MemoryStore()
    wells = write_plate(store, version=version, size=32)
    group = zarr.open_group(store, mode="r")
    plate = attributes_of(group)["plate"]
    assert [well["path"] for well in plate["wells"]] == list(wells)
    assert list(wells) == ["A/1", "A/2", "A/3", "B/1", "B/2"]
    assert plate["wells"][-1] == {"path": "B/2", "rowIndex": 1, "columnIndex": 1}
    assert "B/3" not in group
    for path, pixels in wells.items():
        (field,) = attributes_of(group[path])["well"]["images"]
        np.testing.assert_array_equal(group[f"{path}/{field['path']}/0"], pixels)


@every_version
def test_samples_go_below_a_path_and_into_a_zip(
    version: Version, tmp_path: Path
) -> None:
    place = tmp_path / "samples.zip"
    with ZipStore(place, mode="w") as store:
        made = write_cells(store, version=version, shape=SMALL, path="a/cells")
        write_plate(store, version=version, size=32, path="a/plate")
    with ZipStore(place, mode="r") as store:
        image = zarr.open_array(store, path="a/cells/0", mode="r")
        np.testing.assert_array_equal(image[...], made.image)


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    write_plate(tmp_path / "plate.zarr", size=16)
    with pytest.raises(zarr.errors.ContainsGroupError):
        write_plate(tmp_path / "plate.zarr", size=16)
