"""What a group is, its version, and what must never be raised."""

from __future__ import annotations

import numpy as np
import pytest

from metadata_documents import LEVEL, graph, image, plate, scene, to_world, with_omero
from napari_omezarr.errors import MetadataError, OptionError
from napari_omezarr.metadata import (
    Affine,
    Axis,
    Dataset,
    Image,
    Labels,
    Multiscale,
    Plate,
    Scene,
    Series,
    Well,
    fit_axes,
    names_a_kind,
    parse_document,
)

WELL = {"well": {"images": [{"path": "0"}], "version": "0.4"}}


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        (image(), Image),
        (graph(), Image),
        (plate(), Plate),
        (WELL, Well),
        ({"labels": ["cells"]}, Labels),
        ({"ome": {"labels": ["cells"], "version": "0.5"}}, Labels),
        ({"bioformats2raw.layout": 3}, Series),
        ({"ome": {"series": ["0", "1"], "version": "0.5"}}, Series),
        (
            scene(to_world({"type": "identity", "input": {"path": "a", "name": "b"}})),
            Scene,
        ),
    ],
    ids=[
        "0.4",
        "0.6",
        "plate",
        "well",
        "labels",
        "labels 0.5",
        "bf2raw",
        "series",
        "scene",
    ],
)
def test_the_kind_of_a_group(attributes, kind) -> None:
    document = parse_document(attributes)
    assert type(document.kind) is kind
    assert document.attributes == attributes.get("ome", attributes)


@pytest.mark.parametrize(
    "attributes",
    [{}, {"ome": {}}, {"ome": {"version": "0.5"}}, {"omero": {}}, {"plate": None}],
)
def test_a_group_that_says_nothing_of_ome_zarr_is_no_error(attributes) -> None:
    document = parse_document(attributes)
    assert (document.kind, document.version) == (None, None)


@pytest.mark.parametrize("attributes", [None, [], "multiscales", 3])
def test_attributes_that_are_no_object_are_refused(attributes) -> None:
    with pytest.raises(MetadataError, match="not an object"):
        parse_document(attributes, url="https://host/image.zarr")


@pytest.mark.parametrize(
    ("first", "second", "kind", "warned"),
    [
        (plate(), {"bioformats2raw.layout": 3}, Plate, False),
        (plate(), image(), Plate, True),
        (image(), {"labels": ["a"]}, Image, True),
        (image(), {"bioformats2raw.layout": 3}, Image, True),
        ({"series": ["0"]}, {"bioformats2raw.layout": 3}, Series, False),
    ],
    ids=["plate in bf2raw", "plate, image", "image, labels", "image, bf2raw", "series"],
)
def test_of_two_kinds_the_larger_container_counts(first, second, kind, warned) -> None:
    document = parse_document({**second, **first})
    assert type(document.kind) is kind
    assert any("is also" in warning for warning in document.warnings) is warned


def test_series_lists_its_images_and_a_bioformats2raw_root_does_not() -> None:
    assert parse_document({"series": ["0", "cells", "../up", 3]}).kind.paths == (
        "0",
        "cells",
        "3",
    )
    assert parse_document({"bioformats2raw.layout": 3}).kind.paths is None
    assert parse_document({"bioformats2raw.layout": 4}).warnings


# Versions


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("0.1", "0.1"),
        ("0.2", "0.2"),
        ("0.4", "0.4"),
        ("0.4.1", "0.4"),
        ("v0.4", "0.4"),
        ("0.5.2", "0.5"),
        ("0.6", "0.6"),
        ("0.6rc0", "0.6"),
        ("0.6.dev3", "0.6"),
        ("0.6-dev4", "0.6"),
        ("0.9.dev1", "0.9.dev1"),
    ],
)
def test_known_versions_are_read_without_a_word(written, read_as) -> None:
    document = parse_document(image(version=written))
    assert document.version == read_as
    assert document.warnings == ()


@pytest.mark.parametrize("written", ["0.7", "0.9.dev2", "1.0", "12.34.56"])
def test_a_newer_version_is_read_as_well_as_can_be(written) -> None:
    document = parse_document(image(version=written))
    assert document.version == written
    assert document.kind.multiscales[0].datasets[0].affine.scale == (2, 0.5, 0.25)
    assert any("not known here" in warning for warning in document.warnings)


@pytest.mark.parametrize("written", [0.4, 4, "four", [], {}, True, "9" * 5000])
def test_a_version_that_is_none_is_inferred_with_a_warning(written) -> None:
    document = parse_document(image(version=written))
    assert document.version == "0.4"
    assert document.warnings


@pytest.mark.parametrize(
    ("attributes", "version"),
    [
        (image([], axes=None, version=None), "0.1"),
        (image([], axes=["y", "x"], version=None), "0.3"),
        (image(version=None), "0.4"),
        ({"ome": image(version=None)}, "0.5"),
        (image(version=None, coordinateSystems=[]), "0.6"),
        (plate(version=None), "0.4"),
    ],
    ids=["no axes", "string axes", "objects", "ome", "systems", "plate"],
)
def test_an_absent_version_is_inferred_from_the_structure(attributes, version) -> None:
    document = parse_document(attributes)
    assert document.version == version
    assert any("There is no version" in warning for warning in document.warnings)


def test_the_version_of_the_namespace_counts_first() -> None:
    document = parse_document({"ome": image(version="0.4") | {"version": "0.5"}})
    assert document.version == "0.5"


def test_the_version_of_omero_is_not_the_images() -> None:
    attributes = with_omero(version="0.1")
    assert parse_document(attributes).version == "0.4"


@pytest.mark.parametrize(
    ("version", "zarr_format", "warned"),
    [("0.4", 2, False), ("0.4", 3, True), ("0.5", 3, False), ("0.5", 2, True)],
)
def test_a_version_in_the_wrong_zarr_format_is_a_warning(
    version, zarr_format, warned
) -> None:
    document = parse_document(image(version=version), zarr_format=zarr_format)
    assert any("Zarr version" in warning for warning in document.warnings) is warned


def test_a_converted_group_is_read_by_its_newer_metadata() -> None:
    attributes = image(version="0.4", name="old")
    attributes["ome"] = image(version=None, name="new") | {"version": "0.5"}
    assert parse_document(attributes).kind.multiscales[0].name == "new"


@pytest.mark.parametrize("ome", [{"version": "0.5"}, 7, "OME", [1]])
def test_an_ome_key_that_says_nothing_hides_nothing(ome) -> None:
    document = parse_document(image() | {"ome": ome})
    assert isinstance(document.kind, Image)


# Images


def test_0_1_has_five_axes_and_no_transforms() -> None:
    document = parse_document({"multiscales": [{"datasets": [{"path": "0"}]}]})
    multiscale = document.kind.multiscales[0]
    assert [axis.name for axis in multiscale.axes] == list("tczyx")
    assert multiscale.datasets == (Dataset("0", Affine.identity(5)),)
    assert multiscale.axes_assumed


def test_axes_that_are_missing_follow_the_scales() -> None:
    document = parse_document(image(axes=None))
    multiscale = document.kind.multiscales[0]
    assert [axis.name for axis in multiscale.axes] == list("zyx")
    assert any("has no axes" in warning for warning in document.warnings)


def test_several_multiscales_are_all_there() -> None:
    attributes = image()
    attributes["multiscales"].append({"name": "other", "datasets": [{"path": "b"}]})
    names = [each.name for each in parse_document(attributes).kind.multiscales]
    assert names == ["cells", "other"]


def test_one_broken_multiscale_does_not_hide_the_others() -> None:
    attributes = image()
    attributes["multiscales"] += [{}, None, 3, {"datasets": [{"path": "../../x"}]}]
    document = parse_document(attributes)
    assert [each.name for each in document.kind.multiscales] == ["cells"]
    assert sum("is left out" in warning for warning in document.warnings) == 4


@pytest.mark.parametrize("value", [[], {}, "x", 3, [[]], [None], [{}], False])
def test_multiscales_that_hold_no_image_are_refused(value) -> None:
    with pytest.raises(MetadataError, match="multiscales") as caught:
        parse_document({"multiscales": value}, url="https://host/image.zarr")
    assert caught.value.url == "https://host/image.zarr"
    assert caught.value.where.startswith("multiscales")


def test_datasets_without_path_or_with_the_same_are_left_out() -> None:
    attributes = image()
    level = attributes["multiscales"][0]["datasets"][0]
    attributes["multiscales"][0]["datasets"] = [{"foo": 1}, level, level, "7"]
    document = parse_document(attributes)
    paths = [each.path for each in document.kind.multiscales[0].datasets]
    assert paths == ["0", "7"]
    assert len(document.warnings) >= 2


def test_omero_and_image_label_belong_to_every_multiscale() -> None:
    attributes = with_omero({"label": "DAPI"}) | {"image-label": {}}
    attributes["multiscales"] *= 2
    for multiscale in parse_document(attributes).kind.multiscales:
        assert multiscale.rendering.channels[0].label == "DAPI"
        assert multiscale.label.source == "../../"


def test_warnings_of_a_hopeless_document_are_few() -> None:
    transforms = [{"type": "scale", "scale": [1, 1, 1], "extra": 1}, {"type": "x"}]
    attributes = image(*[[{"type": f"t{n}"}, *transforms] for n in range(200)])
    warnings = parse_document(attributes).warnings
    assert len(warnings) == 51
    assert "more problems" in warnings[-1]


# Paths


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("0", "0"),
        ("a/b", "a/b"),
        ("/0", "0"),
        ("0/", "0"),
        ("./0", "0"),
        ("a//b", "a/b"),
    ],
)
def test_paths_are_read_relative_to_the_group(written, path) -> None:
    attributes = image()
    attributes["multiscales"][0]["datasets"][0]["path"] = written
    assert parse_document(attributes).kind.multiscales[0].datasets[0].path == path


@pytest.mark.parametrize(
    "written",
    [
        "..",
        "../x",
        "a/../../x",
        "/..",
        "a\\..\\..\\x",
        "C:/x",
        "c:\\x",
        "/C:/x",
        "a/..",
    ],
)
def test_paths_that_lead_out_of_the_group_are_refused(written) -> None:
    attributes = image()
    attributes["multiscales"][0]["datasets"][0]["path"] = written
    with pytest.raises(MetadataError, match="leads out of its group") as caught:
        parse_document(attributes)
    assert caught.value.where == "multiscales/0/datasets/0/path"


@pytest.mark.parametrize(
    "written", ["", "/", ".", "\ud800", "a\0b", "a\nb", [], {}, True]
)
def test_paths_that_no_store_can_hold_are_left_out(written) -> None:
    attributes = image([LEVEL], [LEVEL])
    attributes["multiscales"][0]["datasets"][0]["path"] = written
    document = parse_document(attributes)
    assert [each.path for each in document.kind.multiscales[0].datasets] == ["1"]
    assert all(warning.encode() for warning in document.warnings)


# Fitting


def multiscale_of(*axes, affine=None) -> Multiscale:
    values = tuple(Axis(name) for name in axes)
    affine = affine or Affine.from_scale(range(1, len(axes) + 1))
    return Multiscale("", values, (Dataset("0", affine),), world_axes=values)


def test_axes_that_fit_are_left_alone() -> None:
    multiscale = multiscale_of("y", "x")
    assert fit_axes(multiscale, 2) == (multiscale, ())


@pytest.mark.parametrize(
    ("ndim", "names", "scale"),
    [
        (2, ["y", "x"], (3, 4)),
        (1, ["x"], (4,)),
        (6, ["dim_0", "dim_1", "c", "z", "y", "x"], (1, 1, 1, 2, 3, 4)),
    ],
)
def test_axes_are_matched_from_the_last(ndim, names, scale) -> None:
    fitted, warnings = fit_axes(multiscale_of("c", "z", "y", "x"), ndim)
    assert [axis.name for axis in fitted.axes] == names
    assert fitted.world_axes == fitted.axes
    assert fitted.datasets[0].affine.scale == scale
    assert f"{ndim} dimensions" in warnings[0]


def test_new_axes_have_names_of_their_own() -> None:
    fitted, _ = fit_axes(multiscale_of("dim_0", "x"), 3)
    assert [axis.name for axis in fitted.axes] == ["dim_1", "dim_0", "x"]


def test_a_dropped_axis_takes_its_world_axis_along() -> None:
    swapped = Affine.from_linear([[0, 0, 5], [0, 3, 0], [2, 0, 0]])
    fitted, _ = fit_axes(multiscale_of("a", "b", "c", affine=swapped), 2)
    assert [axis.name for axis in fitted.axes] == ["b", "c"]
    assert [axis.name for axis in fitted.world_axes] == ["a", "b"]
    np.testing.assert_array_equal(fitted.datasets[0].affine.linear, [[0, 5], [3, 0]])


def test_a_mixed_axis_cannot_be_dropped() -> None:
    turned = Affine.from_linear([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]])
    with pytest.raises(MetadataError, match="mixes an axis"):
        fit_axes(multiscale_of("z", "y", "x", affine=turned), 2)


def test_arrays_without_dimensions_are_no_image() -> None:
    with pytest.raises(MetadataError, match="no dimensions"):
        fit_axes(multiscale_of("x"), 0)


def test_the_system_asked_for_may_be_in_one_image_of_several() -> None:
    attributes = graph(to_world({"type": "identity"}))
    attributes["ome"]["multiscales"].append(image()["multiscales"][0])
    document = parse_document(attributes, coordinate_system="world")
    assert len(document.kind.multiscales) == 1
    with pytest.raises(OptionError):
        parse_document(attributes, coordinate_system="moon")


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        None,
        [],
        {"ome": 5},
        {"ome": {}},
        {"ome": {"version": "0.5", "series": ["0"]}},
        {"image-label": {}},
        {"labels": ["cells"]},
        {"multiscales": [{"datasets": [{"path": "0"}]}], "ome": {}},
        plate(),
        {"something": "else"},
    ],
)
def test_a_kind_is_named_where_one_is_found(attributes):
    named = names_a_kind(attributes)
    if isinstance(attributes, dict):
        assert named == (parse_document(attributes).kind is not None)
    else:
        assert not named
