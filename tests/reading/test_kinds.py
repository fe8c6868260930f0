"""What opens from each kind of address, and what is said where it cannot."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr

import small_images
from napari_omezarr.errors import (
    MetadataError,
    NodeNotFoundError,
    OptionError,
    UnsupportedDataError,
    WebPageError,
)
from napari_omezarr.location import Location
from napari_omezarr.reading import ReadOptions, read

VERSIONS = ["0.4", "0.5", "0.6"]


def opened(path, **options):
    return read(Location.parse(path), ReadOptions(**options))


def edit(path, change):
    """Change a JSON document in place."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("version", VERSIONS)
def test_an_image_has_its_levels_axes_channels_and_world(tmp_path, version):
    levels = small_images.put_image(tmp_path / "a.zarr", version)
    (image,) = opened(tmp_path / "a.zarr").pyramids
    assert image.version == version
    assert image.name == "a"
    assert [axis.name for axis in image.axes] == list("czyx")
    assert image.channel_axis == 0
    assert [channel.name for channel in image.channels] == ["marker 0", "marker 1"]
    assert [channel.visible for channel in image.channels] == [True, False]
    for number, (level, data) in enumerate(zip(image.levels, levels, strict=True)):
        np.testing.assert_array_equal(level.pixels[...], data)
        factor = 2**number
        matrix = np.asarray(level.affine.matrix)
        assert np.diag(matrix).tolist() == [1, 0.5, 0.5 * factor, 0.5 * factor]
        assert matrix[:, -1].tolist() == [0, 0] + [0.25 * (factor - 1)] * 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_channel_is_one_array_without_its_axis(tmp_path, version):
    levels = small_images.put_image(tmp_path / "a.zarr", version)
    (image,) = opened(tmp_path / "a.zarr").pyramids
    for data, level in zip(image.data(1), levels, strict=True):
        np.testing.assert_array_equal(data.compute(), level[1])
    with pytest.raises(IndexError):
        image.channel(2)


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_come_with_their_image(tmp_path, version):
    small_images.put_image(tmp_path / "a.zarr", version)
    data = small_images.pixels((4, 16, 24), np.uint8)
    small_images.put_labels(tmp_path / "a.zarr", version, cells=data, nuclei=data + 1)
    image, cells, nuclei = opened(tmp_path / "a.zarr").pyramids
    assert (image.label, cells.name, nuclei.name) == (None, "cells", "nuclei")
    assert cells.label.colors == {1: (255, 0, 0, 255)}
    np.testing.assert_array_equal(nuclei.levels[0].pixels[...], data + 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_open_from_their_own_addresses(tmp_path, version):
    small_images.put_image(tmp_path / "a.zarr", version)
    data = small_images.pixels((4, 16, 24), np.uint8)
    small_images.put_labels(tmp_path / "a.zarr", version, cells=data, nuclei=data)
    (cells,) = opened(tmp_path / "a.zarr" / "labels" / "cells").pyramids
    assert (cells.name, cells.label is not None) == ("cells", True)
    both = opened(tmp_path / "a.zarr" / "labels").pyramids
    assert [label.name for label in both] == ["cells", "nuclei"]


def test_a_label_image_without_its_block_is_known_by_its_place(tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    folder = tmp_path / "a.zarr" / "labels" / "cells"
    small_images.put_image(folder, names="zyx", shape=(4, 16, 24), dtype=np.uint8)
    (cells,) = opened(folder).pyramids
    assert cells.label is not None


def test_some_labels_can_be_chosen(tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    data = small_images.pixels((4, 16, 24), np.uint8)
    small_images.put_labels(tmp_path / "a.zarr", cells=data, nuclei=data)
    assert len(opened(tmp_path / "a.zarr", labels=False).pyramids) == 1
    chosen = opened(tmp_path / "a.zarr", labels=("nuclei",)).pyramids
    assert [pyramid.name for pyramid in chosen] == ["a", "nuclei"]


def test_a_label_that_is_listed_and_missing_costs_only_itself(tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    data = small_images.pixels((4, 16, 24), np.uint8)
    small_images.put_labels(tmp_path / "a.zarr", cells=data, nuclei=data)
    shutil.rmtree(tmp_path / "a.zarr" / "labels" / "cells")
    reading = opened(tmp_path / "a.zarr")
    assert [pyramid.name for pyramid in reading.pyramids] == ["a", "nuclei"]
    assert any("labels/cells" in warning for warning in reading.warnings)


@pytest.mark.parametrize("text", ["{", "[]", '"labels"', '{"ome": 3}'])
def test_a_broken_labels_group_costs_only_the_labels(tmp_path, text):
    small_images.put_image(tmp_path / "a.zarr", "0.4")
    (tmp_path / "a.zarr" / "labels").mkdir()
    (tmp_path / "a.zarr" / "labels" / ".zattrs").write_text(text)
    assert len(opened(tmp_path / "a.zarr").pyramids) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_level_opens_the_image_it_belongs_to(tmp_path, version):
    small_images.put_image(tmp_path / "a.zarr", version)
    reading = opened(tmp_path / "a.zarr" / "1")
    assert reading.pyramids[0].name == "a"
    assert len(reading.pyramids[0].levels) == 3
    assert any("level" in note for note in reading.notes)


@pytest.mark.parametrize("level", [0, 2, -1])
def test_one_level_can_be_asked_for(tmp_path, level):
    levels = small_images.put_image(tmp_path / "a.zarr")
    (image,) = opened(tmp_path / "a.zarr", level=level).pyramids
    assert len(image.levels) == 1
    np.testing.assert_array_equal(image.levels[0].pixels[...], levels[level])


@pytest.mark.parametrize(
    "options", [{"level": 3}, {"multiscale": "other"}, {"multiscale": 4}]
)
def test_an_option_that_does_not_fit_says_what_there_is(tmp_path, options):
    small_images.put_image(tmp_path / "a.zarr")
    with pytest.raises(OptionError, match="There is no"):
        opened(tmp_path / "a.zarr", **options)


def test_of_several_multiscales_the_first_opens_and_others_by_name(tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    second = small_images.multiscales("0.5", "czyx", 1, name="coarse")
    second[0]["datasets"][0]["path"] = "2"
    edit(
        tmp_path / "a.zarr" / "zarr.json",
        lambda d: d["attributes"]["ome"]["multiscales"].extend(second),
    )
    reading = opened(tmp_path / "a.zarr")
    assert any("coarse" in warning for warning in reading.warnings)
    (image,) = opened(tmp_path / "a.zarr", multiscale="coarse").pyramids
    assert [level.path for level in image.levels] == ["2"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_series_gives_all_its_images_with_their_names(tmp_path, version):
    data = small_images.put_series(tmp_path / "a.zarr", version)
    images = opened(tmp_path / "a.zarr").pyramids
    assert [image.name for image in images] == ["scan 0", "scan 1", "scan 2"]
    for image, first in zip(images, data, strict=True):
        np.testing.assert_array_equal(image.levels[0].pixels[...], first)
    (one,) = opened(tmp_path / "a.zarr", series=1).pyramids
    assert one.name == "scan 1"


def test_a_series_without_ome_xml_uses_its_list(tmp_path):
    small_images.put_series(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "OME" / "METADATA.ome.xml").unlink()
    assert len(opened(tmp_path / "a.zarr").pyramids) == 3


def test_a_series_without_a_list_uses_its_ome_xml(tmp_path):
    small_images.put_series(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "OME" / "zarr.json").unlink()
    assert len(opened(tmp_path / "a.zarr").pyramids) == 3


@pytest.mark.parametrize("count", [1, 8, 9])
def test_a_series_without_any_list_is_counted(tmp_path, count):
    small_images.put_series(tmp_path / "a.zarr", count=count)
    shutil.rmtree(tmp_path / "a.zarr" / "OME")
    assert len(opened(tmp_path / "a.zarr").pyramids) == count


def test_broken_ome_xml_costs_only_the_names(tmp_path):
    small_images.put_series(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "OME" / "METADATA.ome.xml").write_text("<OME>")
    reading = opened(tmp_path / "a.zarr")
    assert len(reading.pyramids) == 3
    assert any("OME-XML" in warning for warning in reading.warnings)


def test_an_image_missing_from_a_series_costs_only_itself(tmp_path):
    small_images.put_series(tmp_path / "a.zarr")
    shutil.rmtree(tmp_path / "a.zarr" / "1")
    reading = opened(tmp_path / "a.zarr")
    assert [image.name for image in reading.pyramids] == ["scan 0", "scan 2"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plate_is_one_mosaic_with_holes(tmp_path, version):
    found = small_images.put_plate(tmp_path / "a.zarr", version, missing=("A/2", "B/3"))
    (plate,) = opened(tmp_path / "a.zarr").pyramids
    assert (plate.name, plate.shape) == ("screen", (2, 32, 72))
    expected = np.zeros((2, 32, 72), np.uint16)
    for (row, column), field in found.items():
        top, left = row * 16, column * 24
        expected[:, top : top + 16, left : left + 24] = field
    np.testing.assert_array_equal(plate.levels[0].pixels[...], expected)
    np.testing.assert_array_equal(
        plate.levels[1].pixels[...], small_images.halved(expected)
    )
    np.testing.assert_array_equal(plate.data(1)[0].compute(), expected[1])


def test_a_plate_whose_first_well_is_missing_opens(tmp_path):
    small_images.put_plate(tmp_path / "a.zarr", missing=("A/1",))
    (plate,) = opened(tmp_path / "a.zarr").pyramids
    assert plate.shape == (2, 32, 72)


def test_a_plate_with_no_well_at_all_says_so(tmp_path):
    small_images.put_plate(
        tmp_path / "a.zarr", missing=tuple(f"{r}/{c}" for r in "AB" for c in "123")
    )
    with pytest.raises(NodeNotFoundError, match="wells"):
        opened(tmp_path / "a.zarr")


def test_a_well_whose_field_has_another_name_is_found(tmp_path):
    found = small_images.put_plate(tmp_path / "a.zarr")
    well = tmp_path / "a.zarr" / "B" / "2"
    (well / "0").rename(well / "17")
    small_images.put_group(well, "0.5", {"well": {"images": [{"path": "17"}]}})
    (plate,) = opened(tmp_path / "a.zarr").pyramids
    np.testing.assert_array_equal(plate.levels[0].pixels[:, 16:32, 24:48], found[1, 1])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_well_shows_its_fields_side_by_side(tmp_path, version):
    small_images.put_plate(tmp_path / "a.zarr", version, fields=3)
    (well,) = opened(tmp_path / "a.zarr" / "A" / "1").pyramids
    assert well.shape == (2, 32, 48)
    assert not well.levels[0].pixels[:, 16:, 24:].any()
    assert well.levels[0].pixels[:, 16:, :24].any()


def test_a_well_whose_fields_know_their_place_shows_them_there(tmp_path):
    small_images.put_plate(tmp_path / "a.zarr", fields=2)

    def shift(document):
        dataset = document["attributes"]["ome"]["multiscales"][0]["datasets"][0]
        steps = dataset["coordinateTransformations"]
        steps.append({"type": "translation", "translation": [0, 100, 50]})

    edit(tmp_path / "a.zarr" / "A" / "1" / "1" / "zarr.json", shift)
    fields = opened(tmp_path / "a.zarr" / "A" / "1").pyramids
    shifts = [np.asarray(f.levels[0].affine.matrix)[:, -1].tolist() for f in fields]
    assert shifts == [[0, 0, 0], [0, 100, 50]]


def test_a_scene_puts_each_image_in_its_place(tmp_path):
    for name in ("left", "right"):
        small_images.put_image(
            tmp_path / "a.zarr" / name, "0.6", names="yx", shape=(16, 24)
        )
    step = {
        "type": "translation",
        "translation": [0, 12],
        "input": {"path": "right", "name": "physical"},
        "output": {"name": "world"},
    }
    still = step | {
        "translation": [0, 0],
        "input": {"path": "left", "name": "physical"},
    }
    system = {"name": "world", "axes": small_images.axes("yx")}
    scene = {"coordinateTransformations": [still, step], "coordinateSystems": [system]}
    small_images.put_group(tmp_path / "a.zarr", "0.6", {"scene": scene})
    images = opened(tmp_path / "a.zarr").pyramids
    shifts = [np.asarray(i.levels[0].affine.matrix)[:, -1].tolist() for i in images]
    assert shifts == [[0, 0], [0, 12]]


def test_a_scene_moves_all_levels_and_leaves_images_that_its_transform_does_not_fit(
    tmp_path,
):
    ends = {"input": {"path": "tile", "name": "physical"}, "output": {"name": "world"}}
    axes = [{"name": name, "type": "space"} for name in "vu"]
    fitting = {"type": "translation", "translation": [5, 6]}
    # From two axes to three, in a world that does not say how many it has.
    unfitting = {"type": "affine", "affine": [[1, 0, 5], [0, 1, 6], [1, 1, 7]]}
    for name, transform, known in ("a", fitting, axes), ("b", unfitting, []):
        folder = tmp_path / f"{name}.zarr"
        small_images.put_image(folder / "tile", "0.6", names="yx", shape=(16, 24))
        scene = {
            "coordinateTransformations": [transform | ends],
            "coordinateSystems": [{"name": "world", "axes": known}],
        }
        small_images.put_group(folder, "0.6", {"scene": scene})
    own = opened(tmp_path / "a.zarr" / "tile").pyramids[0]
    moved = opened(tmp_path / "a.zarr").pyramids[0]
    for level, before in zip(moved.levels, own.levels, strict=True):
        np.testing.assert_allclose(
            level.affine.matrix - before.affine.matrix, [[0, 0, 5], [0, 0, 6]]
        )
    assert [axis.name for axis in moved.world_axes] == ["v", "u"]
    left = opened(tmp_path / "b.zarr")
    assert left.pyramids[0].levels[0].affine == own.levels[0].affine
    assert any("is not one of 2 axes" in warning for warning in left.warnings)


def test_a_scene_transforms_by_axes_that_only_its_images_name(tmp_path):
    small_images.put_image(
        tmp_path / "a.zarr" / "tile", "0.6", names="yx", shape=(16, 24)
    )

    def along(name, **transformation):
        return {
            "inputAxes": [name],
            "outputAxes": [name],
            "transformation": transformation,
        }

    steps = [
        along("y", type="scale", scale=[3]),
        along("x", type="translation", translation=[5]),
    ]
    ends = {"input": {"path": "tile", "name": "physical"}}
    ways = [
        ends
        | {
            "type": "byDimension",
            "transformations": steps,
            "output": {"name": "world"},
        },
        ends | {"type": "scale", "scale": [7, 7], "output": {"name": "stage"}},
    ]
    systems = [
        {"name": name, "axes": small_images.axes("yx")} for name in ("world", "stage")
    ]
    scene = {"coordinateTransformations": ways, "coordinateSystems": systems}
    small_images.put_group(tmp_path / "a.zarr", "0.6", {"scene": scene})
    reading = opened(tmp_path / "a.zarr")
    own = opened(tmp_path / "a.zarr" / "tile").pyramids[0].levels[0].affine
    matrix = np.asarray(reading.pyramids[0].levels[0].affine.matrix)
    np.testing.assert_allclose(
        matrix, np.diag([3, 1]) @ own.matrix + [[0, 0, 0], [0, 0, 5]]
    )
    assert not any("own coordinates" in warning for warning in reading.warnings)
    assert "Shown in coordinate system world; others are stage." in reading.notes
    (stage,) = opened(tmp_path / "a.zarr", coordinate_system="stage").pyramids
    np.testing.assert_allclose(
        stage.levels[0].affine.matrix, 7 * np.asarray(own.matrix)
    )


def test_what_is_odd_about_a_plate_is_said(tmp_path):
    small_images.put_plate(tmp_path / "a.zarr", "0.4")

    def spoil(attributes):
        attributes["labels"] = ["cells"]

    edit(tmp_path / "a.zarr" / ".zattrs", spoil)
    warnings = opened(tmp_path / "a.zarr").warnings
    assert any("read as plate" in warning for warning in warnings)


def test_a_matrix_in_an_array_of_its_own_is_read(tmp_path):
    small_images.put_image(
        tmp_path / "a.zarr", "0.6", names="yx", shape=(16, 24), count=1
    )
    matrix = np.array([[0.0, 2.0, 5.0], [3.0, 0.0, 7.0]])
    small_images.put_array(tmp_path / "a.zarr" / "matrix", "0.6", matrix, "ij")

    def turn(document):
        multiscale = document["attributes"]["ome"]["multiscales"][0]
        multiscale["coordinateSystems"].append(
            {"name": "stage", "axes": small_images.axes("yx")}
        )
        multiscale["coordinateTransformations"] = [
            {
                "type": "affine",
                "path": "matrix",
                "input": {"name": "physical"},
                "output": {"name": "stage"},
            }
        ]

    edit(tmp_path / "a.zarr" / "zarr.json", turn)
    reading = opened(tmp_path / "a.zarr")
    assert np.asarray(reading.pyramids[0].levels[0].affine.matrix).tolist() == [
        [0.5, 0, 0],
        [0, 0.5, 0],
    ]
    assert reading.notes == ("Shown in coordinate system physical; others are stage.",)
    (image,) = opened(tmp_path / "a.zarr", coordinate_system="stage").pyramids
    expected = [[0, 1, 5], [1.5, 0, 7]]
    assert np.asarray(image.levels[0].affine.matrix).tolist() == expected


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plain_array_opens(tmp_path, version):
    data = small_images.pixels((3, 16, 24))
    small_images.put_array(tmp_path / "plain.zarr", version, data, "zyx")
    (image,) = opened(tmp_path / "plain.zarr").pyramids
    np.testing.assert_array_equal(image.levels[0].pixels[...], data)
    assert (image.version, image.name) == (None, "plain")
    if version == "0.5":
        assert [axis.name for axis in image.axes] == list("zyx")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plain_group_says_what_it_holds(tmp_path, version):
    small_images.put_image(tmp_path / "a.zarr" / "0", version)
    if version == "0.5":
        document = {"zarr_format": 3, "node_type": "group", "attributes": {"x": 1}}
        (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(document))
    else:
        (tmp_path / "a.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    with pytest.raises(NodeNotFoundError, match=r"holds 1 image: 0\. Open one of them"):
        opened(tmp_path / "a.zarr")


def test_nothing_there_says_so(tmp_path):
    with pytest.raises(NodeNotFoundError, match="There is no OME-Zarr at"):
        opened(tmp_path / "a.zarr")


def test_a_web_page_is_told_from_data(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text("<!doctype html><p>Hello</p>")
    with pytest.raises(WebPageError, match="web page"):
        opened(tmp_path / "a.zarr")


def test_what_is_not_json_is_named(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text("{")
    with pytest.raises(MetadataError, match="JSON"):
        opened(tmp_path / "a.zarr")


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_level_is_left_out(tmp_path, missing):
    small_images.put_image(tmp_path / "a.zarr")
    shutil.rmtree(tmp_path / "a.zarr" / str(missing))
    reading = opened(tmp_path / "a.zarr")
    paths = [level.path for level in reading.pyramids[0].levels]
    assert paths == [str(n) for n in range(3) if n != missing]
    assert any(f"Level {missing}" in warning for warning in reading.warnings)


def test_no_level_at_all_is_not_found(tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    for number in range(3):
        shutil.rmtree(tmp_path / "a.zarr" / str(number))
    with pytest.raises(NodeNotFoundError, match="Level 0"):
        opened(tmp_path / "a.zarr")


def test_a_level_that_is_not_smaller_is_left_out(tmp_path):
    levels = small_images.put_image(tmp_path / "a.zarr")
    small_images.put_array(tmp_path / "a.zarr" / "1", "0.5", levels[0], "czyx")
    reading = opened(tmp_path / "a.zarr")
    assert [level.path for level in reading.pyramids[0].levels] == ["0", "2"]
    assert any("not smaller" in warning for warning in reading.warnings)


def test_levels_that_are_listed_coarsest_first_are_turned_round(tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    edit(
        tmp_path / "a.zarr" / "zarr.json",
        lambda d: d["attributes"]["ome"]["multiscales"][0]["datasets"].reverse(),
    )
    (image,) = opened(tmp_path / "a.zarr").pyramids
    assert [level.path for level in image.levels] == ["0", "1", "2"]


def test_a_codec_that_is_not_known_is_named(tmp_path):
    small_images.put_image(tmp_path / "a.zarr", count=1)
    edit(
        tmp_path / "a.zarr" / "0" / "zarr.json",
        lambda d: d["codecs"].append({"name": "squash", "configuration": {}}),
    )
    with pytest.raises(UnsupportedDataError, match="squash"):
        opened(tmp_path / "a.zarr")


@pytest.mark.parametrize("dtype", [">u2", "<f4", "?", "i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_number_comes_in_native_byte_order(tmp_path, dtype, order):
    data = small_images.pixels((5, 7)).astype(dtype)
    array = zarr.create_array(
        str(tmp_path / "a.zarr"),
        shape=data.shape,
        dtype=data.dtype,
        chunks=(2, 4),
        order=order,
        zarr_format=2,
    )
    array[...] = data
    (image,) = opened(tmp_path / "a.zarr").pyramids
    result = image.levels[0].pixels[...]
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, data)


def test_complex_values_are_refused_by_name(tmp_path):
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(4, 4), dtype="complex64")
    with pytest.raises(UnsupportedDataError, match="complex64"):
        opened(tmp_path / "a.zarr")


def test_a_missing_chunk_is_the_fill_value(tmp_path):
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(4, 4), chunks=(2, 2), dtype="u1", fill_value=7
    )
    array[:2, :2] = 1
    (image,) = opened(tmp_path / "a.zarr").pyramids
    expected = np.full((4, 4), 7)
    expected[:2, :2] = 1
    np.testing.assert_array_equal(image.levels[0].pixels[...], expected)


def test_the_first_point_is_what_the_document_says(tmp_path):
    block = small_images.omero(2) | {
        "rdefs": {"defaultT": 1, "defaultZ": 3, "model": "color"}
    }
    small_images.put_image(tmp_path / "a.zarr", extra={"omero": block})
    (image,) = opened(tmp_path / "a.zarr").pyramids
    assert image.default_point == {1: 3}


def test_a_level_of_other_dimensions_is_left_out(tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    flat = small_images.pixels((8, 12))
    small_images.put_array(tmp_path / "a.zarr" / "1", "0.5", flat, "yx")
    reading = opened(tmp_path / "a.zarr")
    assert [level.path for level in reading.pyramids[0].levels] == ["0", "2"]
    assert any("2 dimensions, not 4" in warning for warning in reading.warnings)
