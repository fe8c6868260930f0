"""Coordinate transformations of every kind, and the way to the world."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metadata_documents import LEVEL, graph, image, system, to_world
from napari_omezarr.errors import OptionError
from napari_omezarr.metadata import parse_document, stored_parameters

LEVEL_MATRIX = np.diag([2.0, 3.0, 1.0])  # what graph() has for its only level


def read(document, **options):
    result = parse_document(document, **options)
    return result.kind.multiscales[0], result.warnings


def matrix_of(multiscale) -> np.ndarray:
    """Homogeneous, so that expectations can be multiplied."""
    matrix = multiscale.datasets[0].affine.matrix
    return np.vstack([matrix, np.eye(matrix.shape[1])[-1:]])


def check(transform, expected, **options) -> tuple[str, ...]:
    """The image is in ``world``, by ``expected`` after the level's scale."""
    document = graph(to_world(transform))
    multiscale, warnings = read(document, coordinate_system="world", **options)
    assert multiscale.coordinate_system == "world"
    full = np.vstack([expected, [0, 0, 1]])
    np.testing.assert_allclose(matrix_of(multiscale), full @ LEVEL_MATRIX)
    return warnings


# 0.4, 0.5: lists


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_multiscale_transform_applies_after_the_level(version) -> None:
    shift = {"type": "translation", "translation": [1.0, 2.0, 3.0]}
    outer = [
        {"type": "scale", "scale": [10, 10, 10]},
        {"type": "translation", "translation": [100, 200, 300]},
    ]
    document = image([LEVEL, shift], coordinateTransformations=outer, version=version)
    if version == "0.5":
        document = {"ome": document | {"version": "0.5"}}
    multiscale, warnings = read(document)
    affine = multiscale.datasets[0].affine
    assert affine.scale == (20, 5, 2.5)
    assert affine.translation == (110, 220, 330)
    assert warnings == ()


def test_levels_keep_their_own_translation() -> None:
    coarse = [
        {"type": "scale", "scale": [4.0, 1.0, 0.5]},
        {"type": "translation", "translation": [1.0, 0.25, 0.125]},
    ]
    multiscale, _ = read(image([LEVEL], coarse))
    assert [d.affine.translation for d in multiscale.datasets] == [
        (0, 0, 0),
        (1.0, 0.25, 0.125),
    ]


@pytest.mark.parametrize("transforms", [None, [], {}])
def test_a_level_without_transforms_is_in_pixels_with_a_warning(transforms) -> None:
    document = image([LEVEL])
    document["multiscales"][0]["datasets"][0]["coordinateTransformations"] = transforms
    multiscale, warnings = read(document)
    assert multiscale.datasets[0].affine.scale == (1, 1, 1)
    assert any("a pixel counts as 1" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("scale", "read_as"),
    [
        ([2, 0, 3], (2, 1, 3)),
        ([2, float("nan"), 3], (2, 1, 3)),
        ([2, float("inf"), 3], (2, 1, 3)),
        ([2, 1e308, 3], (2, 1, 3)),
        ([2, 10**400, 3], (2, 1, 3)),
        ([2, 1e-200, 3], (2, 1, 3)),
        ([2, None, 3], (2, 1, 3)),
        ([2, True, 3], (2, 1, 3)),
        ([2, "0.5", 3], (2, 0.5, 3)),
        ([2, "wide", 3], (2, 1, 3)),
        ([2, [1], 3], (2, 1, 3)),
        ([0.5, 0.25], (1, 0.5, 0.25)),
        ([9, 9, 2, 0.5, 0.25], (2, 0.5, 0.25)),
        (4, (1, 1, 4)),
        ("4", (1, 1, 4)),
    ],
)
def test_broken_scales_are_mended_with_a_warning(scale, read_as) -> None:
    multiscale, warnings = read(image([{"type": "scale", "scale": scale}]))
    assert multiscale.datasets[0].affine.scale == read_as
    silent = [None]  # null is absent, and an absent number is 1
    assert warnings or any(value in silent for value in scale)


def test_a_negative_scale_flips_and_is_no_fault() -> None:
    multiscale, warnings = read(image([{"type": "scale", "scale": [1, -2, 3]}]))
    assert multiscale.datasets[0].affine.scale == (1, -2, 3)
    assert warnings == ()


@pytest.mark.parametrize("offset", [float("nan"), float("-inf"), 1e300, "far", {}])
def test_broken_translations_are_no_translation(offset) -> None:
    shift = {"type": "translation", "translation": [1.0, offset, 3.0]}
    multiscale, warnings = read(image([LEVEL, shift]))
    assert multiscale.datasets[0].affine.translation == (1, 0, 3)
    assert warnings


def test_transforms_in_the_wrong_order_apply_as_listed() -> None:
    shift = {"type": "translation", "translation": [1.0, 1.0, 1.0]}
    multiscale, warnings = read(image([shift, LEVEL]))
    assert multiscale.datasets[0].affine.translation == (2.0, 0.5, 0.25)
    assert any("not a scale and at most one" in warning for warning in warnings)


def test_scales_whose_product_overflows_keep_the_levels_own() -> None:
    huge = [{"type": "scale", "scale": [1e30, 1, 1]}] * 20
    multiscale, warnings = read(image([LEVEL], coordinateTransformations=huge))
    assert multiscale.datasets[0].affine.scale == (2.0, 0.5, 0.25)
    assert warnings


def test_spatialdata_systems_are_choices_and_no_sequence() -> None:
    outer = [
        {
            "type": "affine",
            "affine": [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]],
            "input": {"name": "zyx", "axes": []},
            "output": {"name": "global", "axes": []},
        },
        {
            "type": "scale",
            "scale": [9, 9, 9],
            "input": {"name": "zyx"},
            "output": {"name": "other"},
        },
    ]
    document = image([LEVEL], coordinateTransformations=outer)
    multiscale, _ = read(document)
    assert multiscale.coordinate_systems == ("global", "other")
    assert multiscale.datasets[0].affine.scale == (4, 0.5, 0.25)
    assert multiscale.coordinate_system == "global"
    chosen, _ = read(document, coordinate_system="other")
    assert chosen.datasets[0].affine.scale == (18, 4.5, 2.25)


def test_there_are_no_systems_to_choose_from_before_0_6() -> None:
    with pytest.raises(OptionError, match="no coordinate system world"):
        parse_document(image(), coordinate_system="world")


# 0.6: every type

COS, SIN = 0.6, 0.8


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ({"type": "identity"}, np.eye(2, 3)),
        ({"type": "scale", "scale": [5, 7]}, [[5, 0, 0], [0, 7, 0]]),
        ({"type": "translation", "translation": [5, 7]}, [[1, 0, 5], [0, 1, 7]]),
        (
            {"type": "rotation", "rotation": [[COS, -SIN], [SIN, COS]]},
            [[COS, -SIN, 0], [SIN, COS, 0]],
        ),
        (
            {"type": "affine", "affine": [[1, 0.5, 5], [0, 2, 7]]},
            [[1, 0.5, 5], [0, 2, 7]],
        ),
        ({"type": "mapAxis", "mapAxis": [1, 0]}, [[0, 1, 0], [1, 0, 0]]),
        ({"type": "mapAxis", "mapAxis": {"x": "i", "y": "j"}}, [[0, 1, 0], [1, 0, 0]]),
        (
            {
                "type": "sequence",
                "transformations": [
                    {"type": "scale", "scale": [5, 7]},
                    {"type": "translation", "translation": [1, 2]},
                    {"type": "mapAxis", "mapAxis": [1, 0]},
                ],
            },
            [[0, 7, 2], [5, 0, 1]],
        ),
        (
            {
                "type": "sequence",
                "transformations": [
                    {"type": "projectAxis", "createdOutputs": [0]},
                    {"type": "translation", "translation": [9, 1, 2]},
                    {"type": "projectAxis", "droppedInputs": [0]},
                ],
            },
            [[1, 0, 1], [0, 1, 2]],
        ),
        (
            {
                "type": "byDimension",
                "transformations": [
                    {
                        "transformation": {"type": "translation", "translation": [-1]},
                        "inputAxes": [1],
                        "outputAxes": [0],
                    },
                    {
                        "transformation": {"type": "scale", "scale": [2]},
                        "inputAxes": [0],
                        "outputAxes": [1],
                    },
                ],
            },
            [[0, 1, -1], [2, 0, 0]],
        ),
        (
            {
                "type": "byDimension",
                "transformations": [
                    {
                        "transformation": {"type": "mapAxis", "mapAxis": [1, 0]},
                        "input_axes": ["i", "j"],
                        "output_axes": ["y", "x"],
                    }
                ],
            },
            [[0, 1, 0], [1, 0, 0]],
        ),
        (
            {
                "type": "byDimension",
                "transformations": [
                    {"type": "scale", "scale": [2], "input": ["i"], "output": ["y"]},
                    {
                        "type": "translation",
                        "translation": [3],
                        "input": ["j"],
                        "output": ["x"],
                    },
                ],
            },
            [[2, 0, 0], [0, 1, 3]],
        ),
        (
            {
                "type": "bijection",
                "forward": {"type": "scale", "scale": [2, 4]},
                "inverse": {"type": "scale", "scale": [0.5, 0.25]},
            },
            [[2, 0, 0], [0, 4, 0]],
        ),
        (
            {"type": "inverseOf", "transformation": {"type": "scale", "scale": [2, 4]}},
            [[0.5, 0, 0], [0, 0.25, 0]],
        ),
        (
            {
                "type": "inverse",
                "transformation": {
                    "type": "affine",
                    "affine": [[1, 1, 3], [0, 1, 4]],
                },
            },
            [[1, -1, 1], [0, 1, -4]],
        ),
    ],
    ids=[
        "identity",
        "scale",
        "translation",
        "rotation",
        "affine",
        "mapAxis",
        "mapAxis by name",
        "sequence",
        "sequence through 3-D",
        "byDimension",
        "byDimension by name",
        "byDimension of dev1",
        "bijection",
        "inverse of scale",
        "inverse of affine",
    ],
)
def test_every_transform_with_a_matrix_is_applied(transform, expected) -> None:
    assert check(transform, expected) == ()


def test_reverse_mapaxis_of_three_axes_is_not_its_inverse() -> None:
    """Entry i is the input that feeds output i; a cycle tells the directions apart."""
    systems = [system("array", "a", "b", "c"), system("world", "x", "y", "z")]
    level = {
        "type": "identity",
        "input": {"path": "s0"},
        "output": {"name": "array"},
    }
    document = graph(
        to_world({"type": "mapAxis", "mapAxis": [1, 2, 0]}),
        systems=systems,
        level=level,
    )
    multiscale, _ = read(document, coordinate_system="world")
    np.testing.assert_array_equal(
        multiscale.datasets[0].affine([1.0, 2.0, 3.0]), [2, 3, 1]
    )


@pytest.mark.parametrize("kind", ["affine", "rotation"])
def test_parameters_stored_as_arrays(kind) -> None:
    numbers = np.array([[0.0, -1.0], [1.0, 0.0]], dtype=">f4")
    if kind == "affine":
        numbers = np.hstack([numbers, [[5], [6]]])
    document = graph(to_world({"type": kind, "path": "coordinateTransformations/m"}))
    assert stored_parameters(document) == ("coordinateTransformations/m",)
    expected = np.zeros((2, 3))
    expected[:, : numbers.shape[1]] = numbers
    transform = {"type": kind, "path": "coordinateTransformations/m"}
    arrays = {"coordinateTransformations/m": numbers}
    assert check(transform, expected, parameters=arrays) == ()


@pytest.mark.parametrize(
    "array",
    [
        None,
        np.zeros((3000, 3000)),
        np.array([["a", "b", "c"]] * 2),
        np.zeros(()),
        np.zeros((2, 0)),
        np.full((2, 3), np.nan),
        np.array([[1 + 2j] * 3] * 2),
    ],
    ids=["missing", "large", "text", "scalar", "empty", "nan", "complex"],
)
def test_a_stored_matrix_that_is_none_leaves_the_intrinsic_system(array) -> None:
    arrays = {} if array is None else {"m": array}
    document = graph(to_world({"type": "affine", "path": "m"}))
    multiscale, warnings = read(document, parameters=arrays)
    assert multiscale.coordinate_system == "array"
    np.testing.assert_array_equal(matrix_of(multiscale), LEVEL_MATRIX)
    assert warnings


def test_stored_parameters_are_found_wherever_transforms_nest() -> None:
    rotation = {"type": "rotation", "path": "./r/"}
    nested = {
        "type": "bijection",
        "forward": {
            "type": "sequence",
            "transformations": [
                {
                    "type": "byDimension",
                    "transformations": [{"transformation": rotation}],
                },
                {"type": "displacements", "path": "field"},
                {"type": "affine", "affine": [[1, 0, 0], [0, 1, 0]], "path": "unused"},
                {"type": "affine", "path": "../outside"},
                rotation,
            ],
        },
    }
    assert stored_parameters(graph(to_world(nested))) == ("r",)
    scene = {"ome": {"scene": {"coordinateTransformations": [nested]}}}
    assert stored_parameters(scene) == ("r",)


@pytest.mark.parametrize("attributes", [{}, {"ome": 3}, {"multiscales": "x"}, []])
def test_nothing_is_stored_where_there_are_no_transforms(attributes) -> None:
    assert stored_parameters(attributes) == ()


@pytest.mark.parametrize("kind", ["displacements", "coordinates", "thin-plate"])
def test_what_has_no_matrix_is_left_out_and_the_rest_applied(kind) -> None:
    field = {"type": kind, "path": "field"}
    scale = {"type": "scale", "scale": [5, 7]}
    sequence = {"type": "sequence", "transformations": [field, scale]}
    warnings = check(sequence, [[5, 0, 0], [0, 7, 0]])
    assert any(kind in warning for warning in warnings)


def test_a_world_behind_nothing_but_a_field_is_not_shown() -> None:
    document = graph(to_world({"type": "displacements", "path": "field"}))
    multiscale, warnings = read(document)
    assert multiscale.coordinate_system == "array"
    assert any("displacements" in warning for warning in warnings)
    with pytest.raises(OptionError, match="No matrix leads"):
        parse_document(document, coordinate_system="world")


@pytest.mark.parametrize(
    "transform",
    [
        {"type": "affine", "affine": [[1, 0, 0]]},
        {"type": "affine", "affine": [[1, 0, 0], [0, 1]]},
        {"type": "affine", "affine": [[1, 0, 0, 0], [0, 1, 0, 0]]},
        {"type": "affine", "affine": "matrix"},
        {"type": "affine", "affine": []},
        {"type": "affine"},
        {"type": "rotation", "rotation": [[1, 0, 0], [0, 1, 0]]},
        {"type": "mapAxis", "mapAxis": [0, 5]},
        {"type": "mapAxis", "mapAxis": [-1, 0]},
        {"type": "mapAxis", "mapAxis": {"y": "q", "x": "i"}},
        {"type": "mapAxis", "mapAxis": []},
        {"type": "projectAxis", "droppedInputs": [0, 1]},
        {"type": "projectAxis", "droppedInputs": [4]},
        {"type": "projectAxis"},
        {"type": "byDimension", "transformations": []},
        {"type": "byDimension", "transformations": [{"inputAxes": [0]}]},
        {"type": "inverseOf", "transformation": {"type": "affine", "affine": 3}},
        {
            "type": "inverseOf",
            "transformation": {"type": "affine", "affine": [[1, 1, 0], [1, 1, 0]]},
        },
        {"type": "bijection"},
        {"type": 7},
        {},
    ],
    ids=str,
)
def test_a_broken_transform_leaves_the_intrinsic_system_with_a_warning(
    transform,
) -> None:
    multiscale, warnings = read(graph(to_world(transform)))
    assert multiscale.coordinate_system == "array"
    np.testing.assert_array_equal(matrix_of(multiscale), LEVEL_MATRIX)
    assert warnings


def test_a_transform_without_type_is_known_by_its_numbers() -> None:
    assert check({"scale": [5, 7]}, [[5, 0, 0], [0, 7, 0]])


@pytest.mark.parametrize(
    "rotation", [[[1, 0.5], [0, 1]], [[1, 0], [0, -1]]], ids=["shear", "mirror"]
)
def test_a_rotation_that_is_none_is_applied_with_a_warning(rotation) -> None:
    expected = np.hstack([rotation, [[0], [0]]])
    assert check({"type": "rotation", "rotation": rotation}, expected)


def test_axes_that_bydimension_forgets_are_passed_on() -> None:
    part = {
        "transformation": {"type": "scale", "scale": [5]},
        "inputAxes": [0],
        "outputAxes": [0],
    }
    transform = {"type": "byDimension", "transformations": [part]}
    assert check(transform, [[5, 0, 0], [0, 1, 0]])


def test_nesting_deeper_than_any_need_is_cut() -> None:
    transform = {"type": "scale", "scale": [5, 7]}
    for _ in range(5000):
        transform = {"type": "sequence", "transformations": [transform]}
    multiscale, warnings = read(graph(to_world(transform)))
    assert multiscale.coordinate_system == "array"
    assert any("too deeply" in warning for warning in warnings)
    assert stored_parameters(graph(to_world(transform))) == ()


# 0.6: which system is the world


def test_without_further_transforms_the_intrinsic_system_is_the_world() -> None:
    multiscale, warnings = read(graph())
    assert multiscale.coordinate_system == "array"
    assert multiscale.coordinate_systems == ("array",)
    assert warnings == ()


def test_of_several_systems_the_intrinsic_one_is_the_world() -> None:
    systems = [system(name, "y", "x") for name in ("second", "array", "first")]
    document = graph(
        to_world({"type": "scale", "scale": [9, 9]}, "second"),
        to_world({"type": "scale", "scale": [5, 5]}, "first"),
        systems=systems,
    )
    multiscale, warnings = read(document)
    assert multiscale.coordinate_system == "array"
    assert multiscale.coordinate_systems == ("second", "array", "first")
    assert multiscale.datasets[0].affine.scale == (2, 3)
    assert warnings == ()
    for name, factor in (("second", 9), ("first", 5), ("array", 1)):
        chosen, warnings = read(document, coordinate_system=name)
        assert chosen.coordinate_system == name
        assert chosen.datasets[0].affine.scale == (2 * factor, 3 * factor)
        assert warnings == ()


def test_systems_are_reached_through_others() -> None:
    systems = [system(name, "y", "x") for name in ("world", "between", "array")]
    onward = {"type": "translation", "translation": [1, 2]}
    document = graph(
        {"input": {"name": "between"}, "output": {"name": "world"}, **onward},
        to_world({"type": "scale", "scale": [5, 5]}, "between"),
        systems=systems,
    )
    multiscale, _ = read(document, coordinate_system="world")
    assert multiscale.coordinate_system == "world"
    assert multiscale.datasets[0].affine.translation == (1, 2)


def test_a_system_that_leads_here_is_the_world_only_when_asked_for() -> None:
    back = {"type": "scale", "scale": [4, 4], "input": "world", "output": "array"}
    multiscale, _ = read(graph(back))
    assert multiscale.coordinate_system == "array"
    multiscale, _ = read(graph(back), coordinate_system="world")
    assert multiscale.datasets[0].affine.scale == (0.5, 0.75)


def test_an_unknown_system_is_the_callers_fault() -> None:
    with pytest.raises(OptionError, match=r"system moon.*It has array, world"):
        parse_document(graph(), coordinate_system="moon", url="s3://b/i.zarr")


def test_a_world_with_another_number_of_axes_is_not_shown() -> None:
    systems = [system("array", "i", "j"), system("world", "z", "y", "x")]
    up = to_world({"type": "projectAxis", "createdOutputs": [0]})
    multiscale, warnings = read(graph(up, systems=systems))
    assert multiscale.coordinate_system == "array"
    assert any("world cannot be shown" in warning for warning in warnings)


def test_a_world_that_names_no_axes_has_those_of_the_image() -> None:
    systems = [system("array", "y", "x"), {"name": "world"}]
    shift = {"type": "translation", "translation": [1.0, 2.0]}
    multiscale, _ = read(
        graph(to_world(shift), systems=systems), coordinate_system="world"
    )
    assert (multiscale.coordinate_system, len(multiscale.world_axes)) == ("world", 2)


def test_a_singular_way_to_the_world_is_not_taken() -> None:
    flat = to_world({"type": "affine", "affine": [[1, 1, 0], [1, 1, 0]]})
    multiscale, warnings = read(graph(flat))
    assert multiscale.coordinate_system == "array"
    assert warnings


def test_transforms_to_labels_are_none_of_the_image() -> None:
    labels = {
        "type": "scale",
        "scale": [9, 9],
        "input": {"name": "array"},
        "output": {"name": "array", "path": "labels/cells"},
    }
    multiscale, warnings = read(graph(labels))
    assert multiscale.coordinate_system == "array"
    assert warnings == ()


def test_string_references_of_dev1_and_dev3_are_read() -> None:
    level = {"type": "scale", "scale": [2.0, 3.0], "input": "s0", "output": "array"}
    world = {"type": "scale", "scale": [5, 7], "input": "array", "output": "world"}
    multiscale, warnings = read(
        graph(world, level=level, version="0.6.dev3"), coordinate_system="world"
    )
    assert multiscale.coordinate_system == "world"
    assert multiscale.datasets[0].affine.scale == (10, 21)
    assert warnings == ()


def test_circles_of_transforms_end() -> None:
    back = {"type": "scale", "scale": [4, 4], "input": "world", "output": "array"}
    multiscale, _ = read(
        graph(to_world({"type": "identity"}), back), coordinate_system="world"
    )
    assert multiscale.coordinate_system == "world"
    assert multiscale.datasets[0].affine.scale == (2, 3)


def test_levels_that_lead_to_an_unknown_system_are_read_all_the_same() -> None:
    level = {
        "type": "scale",
        "scale": [2, 3],
        "input": {"path": "s0"},
        "output": {"name": "lost"},
    }
    multiscale, warnings = read(graph(level=level))
    assert multiscale.datasets[0].affine.scale == (2, 3)
    assert any("no known coordinate system" in warning for warning in warnings)


def test_level_by_sequence_and_identity() -> None:
    ends = {"input": {"path": "s0"}, "output": {"name": "array"}}
    parts = [
        {"type": "scale", "scale": [4, 6]},
        {"type": "translation", "translation": [0.5, 0.5]},
    ]
    sequence = {"type": "sequence", "transformations": parts, **ends}
    multiscale, _ = read(graph(level=sequence))
    assert multiscale.datasets[0].affine.scale == (4, 6)
    assert multiscale.datasets[0].affine.translation == (0.5, 0.5)
    multiscale, warnings = read(graph(level={"type": "identity", **ends}))
    assert multiscale.datasets[0].affine.scale == (1, 1)
    assert warnings == ()


def test_levels_that_lead_to_different_systems_go_by_the_majority() -> None:
    document = graph()
    (multiscale,) = document["ome"]["multiscales"]
    level = multiscale["datasets"][0]
    ends = {"input": {"path": "lost"}, "output": {"name": "world"}}
    lost = {"type": "scale", "scale": [9, 9], **ends}
    multiscale["datasets"] = [
        {"path": "lost", "coordinateTransformations": [lost]},
        level,
        {**level, "path": "s1"},
    ]
    parsed, warnings = read(document)
    assert parsed.coordinate_system == "array"
    assert any("different coordinate systems" in warning for warning in warnings)


def test_a_system_that_is_named_twice_counts_once() -> None:
    systems = [system("array", "i", "j"), system("array", "a", "b", "c")]
    multiscale, warnings = read(graph(systems=systems))
    assert [axis.name for axis in multiscale.axes] == ["i", "j"]
    assert any("array again" in warning for warning in warnings)


def test_a_system_without_name_is_still_a_system() -> None:
    systems = [{"axes": system("", "i", "j")["axes"]}]
    multiscale, warnings = read(graph(systems=systems))
    assert multiscale.coordinate_system == "system_0"
    assert multiscale.datasets[0].affine.scale == (2, 3)
    assert warnings


def test_a_level_whose_product_has_no_inverse_keeps_its_own() -> None:
    tiny = [{"type": "scale", "scale": [1e-30, 1e-30]}] * 6
    level = {"type": "sequence", "transformations": tiny}
    ends = {"input": {"path": "s0"}, "output": {"name": "array"}}
    outer = to_world({"type": "sequence", "transformations": tiny})
    multiscale, warnings = read(
        graph(outer, level=level | ends), coordinate_system="world"
    )
    assert multiscale.datasets[0].affine.is_invertible
    assert any("have no inverse" in warning for warning in warnings)


@pytest.mark.parametrize(
    "parts",
    [
        [{"inputAxes": [0], "outputAxes": [0, 1], "transformation": {"scale": [2]}}],
        [{"inputAxes": [0], "outputAxes": [9], "transformation": {"type": "identity"}}],
        [
            {
                "inputAxes": [0],
                "outputAxes": [0, 1],
                "transformation": {"type": "displacements", "path": "d"},
            }
        ],
    ],
    ids=["too many outputs", "no such output", "no matrix"],
)
def test_parts_that_do_not_fit_their_axes_are_left_out(parts) -> None:
    transform = {"type": "byDimension", "transformations": parts}
    multiscale, warnings = read(graph(to_world(transform)))
    assert multiscale.coordinate_system == "array"
    assert warnings


def test_of_two_parts_for_one_axis_the_last_counts() -> None:
    parts = [
        {
            "inputAxes": [axis],
            "outputAxes": [axis],
            "transformation": {"type": "scale", "scale": [factor]},
        }
        for axis, factor in ((0, 5), (1, 7), (0, 9))
    ]
    transform = {"type": "byDimension", "transformations": parts}
    assert check(transform, [[9, 0, 0], [0, 7, 0]])


def test_a_field_along_one_axis_leaves_that_axis_as_it_is() -> None:
    parts = [
        {
            "inputAxes": [0],
            "outputAxes": [0],
            "transformation": {"type": "coordinates", "path": "lookup"},
        },
        {
            "inputAxes": [1],
            "outputAxes": [1],
            "transformation": {"type": "scale", "scale": [7]},
        },
    ]
    transform = {"type": "byDimension", "transformations": parts}
    assert check(transform, [[1, 0, 0], [0, 7, 0]])


# Axes are matched by name, wherever a document has them in two orders


def side(name, axes):
    """One side of a transform, as SpatialData writes it."""
    return {"name": name, "axes": [{"name": axis} for axis in axes]}


def by_name(transform, point, axes="zyx", **options):
    """Where a point lies, by axis, in an image whose pixels are 1."""
    level = [{"type": "scale", "scale": [1.0] * len(axes)}]
    document = image(
        level,
        axes=[{"name": axis, "type": "space"} for axis in axes],
        coordinateTransformations=[transform],
    )
    multiscale, warnings = read(document, **options)
    there = multiscale.datasets[0].affine([point[axis] for axis in axes])
    names = [axis.name for axis in multiscale.world_axes]
    assert names == list(axes)
    return dict(zip(names, there, strict=True)), warnings


@given(
    st.permutations("czyx"),
    st.permutations("czyx"),
    st.permutations("czyx"),
    hnp.arrays(float, (4, 5), elements=st.integers(-9, 9).map(float)),
    st.booleans(),
)
def test_an_affine_is_that_of_its_own_axes_in_any_order(
    axes, inputs, outputs, numbers, nested
) -> None:
    assume(abs(np.linalg.det(numbers[:, :4])) > 0.5)
    transform = {
        "type": "affine",
        "affine": numbers.tolist(),
        "input": side("image", inputs),
        "output": side("global", outputs),
    }
    if nested:
        ends = {"input": side("image", axes), "output": side("global", axes)}
        transform = {"type": "sequence", "transformations": [transform]} | ends
    point = {"c": 1.0, "z": 2.0, "y": 3.0, "x": 5.0}
    there, _ = by_name(transform, point, axes)
    expected = numbers @ [*(point[axis] for axis in inputs), 1.0]
    assert there == pytest.approx(dict(zip(outputs, expected, strict=True)), abs=1e-9)


IN_TWO_ORDERS = {
    "affine": ({"affine": [[0, 2, 30], [3, 0, 40]]}, {"x": 40, "y": 46}),
    "rotation": ({"rotation": [[0, -1], [1, 0]]}, {"x": -5, "y": 2}),
    "mapAxis by name": ({"mapAxis": {"x": "y", "y": "x"}}, {"x": 2, "y": 5}),
    "mapAxis": ({"mapAxis": [0, 1]}, {"x": 2, "y": 5}),
    "scale": ({"scale": [10, 100]}, {"x": 50, "y": 200}),
    "translation": ({"translation": [10, 100]}, {"x": 15, "y": 102}),
    "identity": ({}, {"x": 5, "y": 2}),
    "sequence": (
        {
            "transformations": [
                {"type": "scale", "scale": [10, 100]},
                {"type": "translation", "translation": [1, 2]},
            ]
        },
        {"x": 51, "y": 202},
    ),
    "byDimension": (
        {
            "transformations": [
                {
                    "inputAxes": ["y"],
                    "outputAxes": ["y"],
                    "transformation": {"type": "scale", "scale": [7]},
                },
                {
                    "inputAxes": ["x"],
                    "outputAxes": ["x"],
                    "transformation": {"type": "translation", "translation": [9]},
                },
            ]
        },
        {"x": 14, "y": 14},
    ),
}


@pytest.mark.parametrize("kind", IN_TWO_ORDERS)
def test_every_transform_is_one_of_named_axes(kind) -> None:
    """From (y, x) to (x, y): as SpatialData names them, and as systems of 0.6."""
    numbers, expected = IN_TWO_ORDERS[kind]
    transform = {"type": kind.removesuffix(" by name"), **numbers}
    ends = {"input": side("image", "yx"), "output": side("global", "xy")}
    there, _ = by_name(transform | ends, {"y": 2.0, "x": 5.0}, "yx")
    assert there == pytest.approx(expected)
    document = graph(
        to_world(transform),
        level={"type": "identity", "output": {"name": "array"}},
        systems=[system("array", "y", "x"), system("world", "x", "y")],
    )
    multiscale, _ = read(document, coordinate_system="world")
    assert [axis.name for axis in multiscale.world_axes] == ["y", "x"]
    there = multiscale.datasets[0].affine([2.0, 5.0])
    assert there == pytest.approx([expected["y"], expected["x"]])


def test_axes_that_a_transform_does_not_name_pass_through() -> None:
    matrix = [[0, 2, 30], [3, 0, 40]]
    ends = {"input": side("image", "yx"), "output": side("global", "xy")}
    point = {"c": 7.0, "y": 2.0, "x": 5.0}
    there, warnings = by_name({"type": "affine", "affine": matrix} | ends, point, "cyx")
    assert there == {"c": 7, "y": 46, "x": 40}
    wide = [[0, 0, 2, 30], [0, 3, 0, 40]]
    ends["input"] = side("image", "cyx")
    there, _ = by_name({"type": "affine", "affine": wide} | ends, point, "cyx")
    assert there == {"c": 7, "y": 46, "x": 40}
    assert warnings == ()


def test_axes_of_other_names_are_matched_by_position_or_left_out() -> None:
    scale = {"type": "scale", "scale": [2, 3], "output": side("global", "vu")}
    point = {"z": 4.0, "y": 2.0, "x": 5.0}
    there, _ = by_name(scale | {"input": side("image", "vu")}, point, "yx")
    assert there == {"y": 4, "x": 15}
    there, warnings = by_name(scale | {"input": side("image", "vu")}, point)
    assert there == point
    assert any("are not those of the image" in warning for warning in warnings)
