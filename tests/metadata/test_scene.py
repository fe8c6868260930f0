"""Scenes: where each image lies, by transforms in either direction."""

from __future__ import annotations

import numpy as np
import pytest

from metadata_documents import scene, system
from napari_omezarr.errors import MetadataError, OptionError
from napari_omezarr.metadata import Affine, Axis, parse_document

WORLD = [system("world", "y", "x")]


def edge(source, target, **transform):
    def end(place):
        path, _, name = place.rpartition("/")
        return {"name": name} | ({"path": path} if path else {})

    transform = transform or {"type": "identity"}
    return {"input": end(source), "output": end(target), **transform}


def shift(*offsets):
    return {"type": "translation", "translation": list(offsets)}


def parsed(*transforms, systems=WORLD, **options):
    document = parse_document(scene(*transforms, systems=systems), **options)
    return document.kind, document.warnings


def test_tiles_lie_in_the_scenes_system() -> None:
    kind, warnings = parsed(
        edge("tile_0/physical", "world", **shift(0, 0)),
        edge("tile_1/physical", "world", **shift(0, 348)),
    )
    assert (kind.world, kind.world_path) == ("world", "")
    assert [axis.name for axis in kind.axes] == ["y", "x"]
    assert [(i.path, i.system, i.affine.translation) for i in kind.images] == [
        ("tile_0", "physical", (0, 0)),
        ("tile_1", "physical", (0, 348)),
    ]
    assert warnings == ()


def test_an_image_that_the_world_leads_to_is_placed_by_the_inverse() -> None:
    kind, _ = parsed(edge("world", "tile/physical", **shift(5, 7)))
    assert kind.images[0].affine.translation == (-5, -7)


def test_images_are_placed_through_other_images() -> None:
    kind, _ = parsed(
        edge("b/physical", "a/physical", type="scale", scale=[2, 2]),
        edge("a/physical", "world", **shift(5, 7)),
    )
    expected = Affine.from_matrix([[2, 0, 5], [0, 2, 7]])
    assert {image.path: image.affine for image in kind.images}["b"] == expected


def test_without_systems_the_first_transform_leads_to_the_world() -> None:
    affine = [[0.5, 0, 3], [0, 2, 4]]
    kind, _ = parsed(
        edge("moving/physical", "fixed/physical", type="affine", affine=affine),
        systems=None,
    )
    assert (kind.world, kind.world_path) == ("physical", "fixed")
    assert kind.axes == ()
    places = {image.path: image.affine for image in kind.images}
    np.testing.assert_allclose(places["moving"].matrix, affine)
    assert places["fixed"] == Affine.identity(2)


def test_identity_takes_its_size_from_the_world_or_has_none() -> None:
    kind, warnings = parsed(edge("tile/physical", "world"))
    assert kind.images[0].affine == Affine.identity(2)
    kind, _ = parsed(edge("a/physical", "b/physical"), systems=None)
    assert [image.affine for image in kind.images] == [None, None]
    assert warnings == ()


def test_a_field_gives_a_warning_and_the_rest_of_the_chain() -> None:
    forward = {
        "type": "sequence",
        "transformations": [{"type": "displacements", "path": "d"}, shift(1, 2)],
    }
    kind, warnings = parsed(
        edge("tile/physical", "world", type="bijection", forward=forward, inverse={})
    )
    assert kind.images[0].affine == Affine.from_translation([1, 2])
    assert any("displacements" in warning for warning in warnings)


def test_an_image_without_matrix_stays_at_its_own_place_with_a_warning() -> None:
    kind, warnings = parsed(
        edge("a/physical", "world", type="coordinates", path="c"),
        edge("b/physical", "world", **shift(1, 2)),
    )
    assert kind.images[0].affine is None
    assert any("no matrix leads from a/physical" in warning for warning in warnings)


def test_a_projection_into_the_world_keeps_its_shape() -> None:
    kind, _ = parsed(
        edge("a/physical", "world", type="affine", affine=[[1, 0, 0, 0], [0, 1, 0, 0]])
    )
    assert kind.images[0].affine.shape == (2, 4)


def test_parameters_of_a_scene_may_be_stored() -> None:
    matrix = np.array([[0, 1, 3], [1, 0, 4]])
    kind, _ = parsed(
        edge("a/physical", "world", type="affine", path="coordinateTransformations/a"),
        parameters={"coordinateTransformations/a": matrix},
    )
    np.testing.assert_array_equal(kind.images[0].affine.matrix, matrix)


def test_the_world_can_be_chosen() -> None:
    systems = [*WORLD, system("stage", "y", "x")]
    transforms = [
        edge("tile/physical", "world", **shift(1, 1)),
        edge("world", "stage", **shift(10, 10)),
    ]
    kind, warnings = parsed(*transforms, systems=systems)
    assert kind.world == "world"
    assert kind.coordinate_systems == ("world", "stage")
    assert warnings == ()
    kind, _ = parsed(*transforms, systems=systems, coordinate_system="stage")
    assert kind.images[0].affine.translation == (11, 11)
    with pytest.raises(OptionError, match=r"system moon.*It has world, stage"):
        parsed(*transforms, systems=systems, coordinate_system="moon")


@pytest.mark.parametrize(
    "block",
    [
        {},
        [],
        "x",
        3,
        {"coordinateTransformations": []},
        {"coordinateTransformations": [None, 3, {}, {"type": "scale"}]},
        {"coordinateTransformations": [edge("../out/physical", "world")]},
        {"coordinateTransformations": [edge("world", "other")]},
    ],
    ids=str,
)
def test_a_scene_without_images_is_refused(block) -> None:
    with pytest.raises(MetadataError, match="names no image"):
        parse_document({"ome": {"version": "0.6", "scene": block}})


@pytest.mark.parametrize(
    "transform",
    [
        {"type": "projectAxis", "droppedInputs": [0]},
        {"type": "byDimension", "transformations": [{"inputAxes": [1]}]},
    ],
    ids=["projectAxis", "byDimension"],
)
def test_what_needs_the_number_of_axes_of_an_unread_image_is_left_out(
    transform,
) -> None:
    kind, warnings = parsed(edge("tile/physical", "world", **transform))
    assert kind.images[0].affine is None
    assert any("left out" in w or "ignored" in w for w in warnings)


BY_DIMENSION = {
    "type": "byDimension",
    "transformations": [
        {
            "inputAxes": ["x"],
            "outputAxes": ["x"],
            "transformation": {"type": "translation", "translation": [9]},
        },
        {
            "inputAxes": ["y"],
            "outputAxes": ["y"],
            "transformation": {"type": "scale", "scale": [2]},
        },
    ],
}


def test_axes_of_images_that_are_read_make_more_transforms_matrices() -> None:
    axes = {("tile", "physical"): (Axis("y"), Axis("x"))}
    way = edge("tile/physical", "world", **BY_DIMENSION)
    unread, _ = parsed(way)
    read, warnings = parsed(way, image_axes=axes)
    assert unread.images[0].affine is None
    expected = Affine.from_matrix([[2, 0, 0], [0, 1, 9]])
    assert read.images[0].affine == expected
    assert warnings == ()


def test_a_projection_has_a_matrix_once_its_image_is_read() -> None:
    axes = {("tile", "physical"): (Axis("z"), Axis("y"), Axis("x"))}
    drop = edge("tile/physical", "world", type="projectAxis", droppedInputs=[0])
    read, _ = parsed(drop, image_axes=axes)
    assert read.images[0].affine == Affine.from_matrix([[0, 1, 0, 0], [0, 0, 1, 0]])
