"""Axes: names, types, units and orientation, as documents have them."""

from __future__ import annotations

import pytest

from metadata_documents import SPACE, graph, image, system, to_world
from napari_omezarr.errors import MetadataError
from napari_omezarr.metadata import (
    Axis,
    channel_axis,
    default_axes,
    known_unit,
    normalized_unit,
    parse_document,
    unit_size,
)
from napari_omezarr.metadata.axes import LENGTHS, ORIENTATIONS, TIMES


def parsed(axes, version="0.4"):
    document = parse_document(image([], version=version, axes=axes))
    return document.kind.multiscales[0].axes, document.warnings


@pytest.mark.parametrize("name", sorted(LENGTHS | TIMES))
def test_pint_knows_every_unit_that_we_hand_on(name) -> None:
    pint = pytest.importorskip("pint")
    registry = pint.get_application_registry()
    kind = "[length]" if name in LENGTHS else "[time]"
    assert dict(registry.Unit(name).dimensionality) == {kind: 1}
    assert str(registry.Unit(name)) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("micrometer", "micrometer"),
        ("Micrometer", "micrometer"),
        ("micrometers", "micrometer"),
        ("micrometre", "micrometer"),
        ("micron", "micrometer"),
        ("Microns", "micrometer"),
        ("um", "micrometer"),
        ("\u00b5m", "micrometer"),
        ("\u03bcm", "micrometer"),
        (" µm ", "micrometer"),
        ("nm", "nanometer"),
        ("mm", "millimeter"),
        ("Mm", "megameter"),
        ("\u00c5", "angstrom"),
        ("\u212b", "angstrom"),
        ("Angstroms", "angstrom"),
        ("inches", "inch"),
        ("feet", "foot"),
        ("s", "second"),
        ("sec", "second"),
        ("seconds", "second"),
        ("µs", "microsecond"),
        ("ms", "millisecond"),
        ("min", "minute"),
        ("h", "hour"),
        ("days", "day"),
        ("", None),
        (" ", None),
        (None, None),
        ("pixel", None),
        ("furlong", None),
        ("s" * 10_000, None),
    ],
)
def test_units_as_people_write_them(text, name) -> None:
    assert known_unit(text) == name


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("µm", (1e-6, "m")),
        ("angstrom", (1e-10, "m")),
        ("decameter", (10, "m")),
        ("meter", (1, "m")),
        ("inch", (0.0254, "m")),
        ("ms", (1e-3, "s")),
        ("hours", (3600, "s")),
        ("pixel", None),
        (None, None),
    ],
)
def test_units_in_metres_and_seconds(text, size) -> None:
    assert unit_size(text) == size


def test_all_units_have_their_size() -> None:
    assert {unit_size(unit)[1] for unit in LENGTHS} == {"m"}
    assert {unit_size(unit)[1] for unit in TIMES} == {"s"}


@pytest.mark.parametrize(
    ("type_", "unit", "name"),
    [
        ("space", "um", "micrometer"),
        ("space", "second", None),
        ("time", "um", None),
        ("time", "s", "second"),
        ("channel", "um", None),
        ("custom", "um", "micrometer"),
        (None, "s", "second"),
    ],
)
def test_a_unit_must_be_of_the_kind_of_its_axis(type_, unit, name) -> None:
    assert normalized_unit(Axis("a", type_, unit)) == name


def test_axes_keep_order_type_and_the_text_of_the_unit() -> None:
    axes, warnings = parsed(
        [
            {"name": "t", "type": "time", "unit": "s"},
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", "unit": "µm"},
            {"name": "x", "type": "space", "unit": None},
        ]
    )
    assert axes == (
        Axis("t", "time", "s"),
        Axis("c", "channel"),
        Axis("y", "space", "µm"),
        Axis("x", "space"),
    )
    assert warnings[:-1] == ()
    assert channel_axis(axes) == 1


def test_string_axes_get_the_types_that_their_names_imply() -> None:
    axes, warnings = parsed(["c", "y", "x"], version="0.3")
    assert [axis.type for axis in axes] == ["channel", "space", "space"]
    assert warnings == ()


def test_string_axes_in_a_later_version_are_tolerated() -> None:
    axes, _ = parsed(["c", "y", "x"], version="0.4")
    assert [axis.name for axis in axes] == ["c", "y", "x"]


def test_an_axis_without_type_gets_one_by_name_and_a_warning() -> None:
    axes, warnings = parsed([{"name": "c"}, {"name": "y"}, {"name": "stage"}])
    assert [axis.type for axis in axes] == ["channel", "space", None]
    assert sum("has no type" in warning for warning in warnings) == 3


def test_custom_types_and_null_types_stay() -> None:
    axes, _ = parsed([{"name": "angle", "type": "Angle"}, {"name": "q", "type": None}])
    assert [axis.type for axis in axes] == ["angle", None]


@pytest.mark.parametrize("unit", ["furlong", 7, ["um"]])
def test_an_unknown_unit_is_a_warning(unit) -> None:
    axes, warnings = parsed([{"name": "x", "type": "space", "unit": unit}, SPACE[0]])
    assert normalized_unit(axes[0]) is None
    assert any("axes/0/unit" in warning for warning in warnings)


@pytest.mark.parametrize("unit", [" ", "", None, "pixel"])
def test_no_unit_is_no_warning(unit) -> None:
    _, warnings = parsed([{"name": "x", "type": "space", "unit": unit}, SPACE[0]])
    assert not any("/unit" in warning for warning in warnings)


def test_the_key_units_is_read_as_unit() -> None:
    axes, warnings = parsed([{"name": "x", "type": "space", "units": "nm"}, SPACE[0]])
    assert axes[0].unit == "nm"
    assert any("axes/0/units" in warning for warning in warnings)


def test_axes_without_name_or_with_the_same_name_get_their_own() -> None:
    axes, warnings = parsed([{"type": "space"}, SPACE[1], SPACE[1], SPACE[1]])
    assert [axis.name for axis in axes] == ["dim_0", "y", "y_2", "y_3"]
    assert any("used twice" in warning for warning in warnings)


def test_default_axes_are_the_last_of_tczyx() -> None:
    names = ["".join(axis.name for axis in default_axes(n)) for n in (1, 2, 3, 4, 5)]
    assert names == ["x", "yx", "zyx", "czyx", "tczyx"]
    assert [axis.name for axis in default_axes(7)[:2]] == ["dim_0", "dim_1"]


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ("x", "1 axes are outside"),
        ("yxtc", "order"),
        ("ttyx", "several axes of time"),
        ("tzyxczyx", "8 axes are outside"),
    ],
)
def test_axes_that_the_version_does_not_allow_are_kept_with_a_warning(
    names, fault
) -> None:
    axes, warnings = parsed(list(names), version="0.3")
    assert len(axes) == len(names)
    assert any(fault in warning for warning in warnings)


def test_six_axes_in_any_order_are_fine_in_0_9() -> None:
    document = {
        "ome": {
            "version": "0.9.dev1",
            "multiscales": [
                {
                    "coordinateSystems": [
                        {
                            "name": "w",
                            "axes": [
                                {"name": name, "type": type_}
                                for name, type_ in zip(
                                    "xyzctp",
                                    ["space"] * 3 + ["channel", "time", "phase"],
                                    strict=True,
                                )
                            ],
                        }
                    ],
                    "datasets": [
                        {
                            "path": "0",
                            "coordinateTransformations": [
                                {
                                    "type": "scale",
                                    "scale": [1, 2, 3, 1, 5, 6],
                                    "input": {"path": "0"},
                                    "output": {"name": "w"},
                                }
                            ],
                        }
                    ],
                }
            ],
        }
    }
    result = parse_document(document, zarr_format=3)
    assert result.version == "0.9.dev1"
    assert result.warnings == ()
    assert result.kind.multiscales[0].datasets[0].affine.scale == (1, 2, 3, 1, 5, 6)


def test_more_axes_than_an_array_can_have_are_refused() -> None:
    with pytest.raises(MetadataError, match="axes are more than"):
        parsed([{"name": f"a{index}"} for index in range(1000)])


def oriented(*orientations, type_="space"):
    axes = [
        {"name": name, "type": type_, "orientation": orientation}
        for name, orientation in zip("zyx", orientations, strict=False)
    ]
    return parsed(axes, version="0.9.dev1")


@pytest.mark.parametrize("value", sorted(ORIENTATIONS))
def test_anatomical_orientation_is_read(value) -> None:
    axes, warnings = oriented({"type": "anatomical", "value": value}, None)
    assert [axis.orientation for axis in axes] == [value, None]
    assert not any("orient" in warning for warning in warnings)


def test_orientation_as_a_string_is_read_with_a_warning() -> None:
    axes, warnings = oriented("left-to-right")
    assert axes[0].orientation == "left-to-right"
    assert any("orientation" in warning for warning in warnings)


def test_the_vocabulary_has_its_24_words() -> None:
    assert len(ORIENTATIONS) == 24


@pytest.mark.parametrize(
    "orientation",
    [
        {"type": "anatomical", "value": "up"},
        {"type": "gravity", "value": "left-to-right"},
        {"value": "left-to-right"},
        7,
        [],
    ],
)
def test_an_unknown_orientation_is_ignored_with_a_warning(orientation) -> None:
    axes, warnings = oriented(orientation)
    assert axes[0].orientation is None
    assert any("orientation" in warning for warning in warnings)


def test_orientation_belongs_to_space_and_to_one_axis_per_direction() -> None:
    word = {"type": "anatomical", "value": "left-to-right"}
    axes, warnings = oriented(word, type_="time")
    assert axes[0].orientation is None
    assert any("not spatial" in warning for warning in warnings)
    antonym = {"type": "anatomical", "value": "right-to-left"}
    _, warnings = oriented(word, antonym)
    assert any("same anatomical direction" in warning for warning in warnings)


def test_array_axes_take_type_and_unit_from_the_world() -> None:
    systems = [
        {"name": "array", "axes": [{"name": n, "type": "array"} for n in ("0", "1")]},
        {
            "name": "world",
            "axes": [
                {"name": "c", "type": "channel"},
                {"name": "x", "type": "space", "unit": "mm"},
            ],
        },
    ]
    document = parse_document(
        graph(to_world({"type": "mapAxis", "mapAxis": [1, 0]}), systems=systems),
        coordinate_system="world",
    )
    multiscale = document.kind.multiscales[0]
    assert multiscale.axes == (Axis("0", "space", "mm"), Axis("1", "channel"))
    assert multiscale.world_axes == (Axis("c", "channel"), Axis("x", "space", "mm"))


def test_system_axes_are_axes_too() -> None:
    document = {
        "ome": {"multiscales": [{"coordinateSystems": [system("w", "y", "y")]}]}
    }
    document["ome"]["multiscales"][0]["datasets"] = [{"path": "0"}]
    axes = parse_document(document).kind.multiscales[0].axes
    assert [axis.name for axis in axes] == ["y", "y_2"]
