"""Every public conformance document: the right kind, and the right geometry.

The documents are not part of this project. ``OMEZARR_CONFORMANCE`` names their
folder; without it, and without the default folder, there is nothing to run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from napari_omezarr.errors import MetadataError
from napari_omezarr.metadata import (
    Image,
    Labels,
    Plate,
    Scene,
    Series,
    Well,
    fit_axes,
    parse_document,
)

DEFAULT = Path(__file__).parents[2] / "../shared/conformance"
FOLDER = Path(os.environ.get("OMEZARR_CONFORMANCE", DEFAULT))

KINDS = {
    "image": Image,
    "label": Image,
    "labels": Labels,
    "plate": Plate,
    "well": Well,
    "bf2raw": Series,
    "series": Series,
    "scene": Scene,
}

# What is wrong with these stores is wrong with their arrays; the documents are fine.
FAULTS_OF_ARRAYS = {
    "ome-zarr-examples/invalid/image-03.zarr": "its array is missing",
    "ome-zarr-examples/invalid/image-04.zarr": "its second level has two dimensions",
}

# Their wells' paths and indices contradict each other.
WARNED_THOUGH_VALID = {"ome-zarr-examples/valid/plate-01.zarr"}


def records() -> list[dict]:
    try:
        manifest = json.loads((FOLDER / "manifest.json").read_text())
    except FileNotFoundError:
        return []
    return [record for record in manifest if record["form"] != "schema"]


RECORDS = records()
pytestmark = pytest.mark.skipif(not RECORDS, reason="no conformance documents here")


def each(*, valid: bool):
    chosen = [record for record in RECORDS if record["valid"] is valid]
    return pytest.mark.parametrize(
        "record", chosen, ids=[record["file"] for record in chosen]
    )


def without_comments(text: str) -> str:
    """Cut ``//`` to the end of the line, but not inside a string."""
    lines = []
    for line in text.splitlines():
        inside = False
        for index, character in enumerate(line):
            if character == '"' and line[index - 1] != "\\":
                inside = not inside
            if not inside and line.startswith("//", index):
                line = line[:index]
                break
        lines.append(line)
    return "\n".join(lines)


def attributes_of(path: Path) -> dict:
    content = json.loads(without_comments(path.read_text()))
    return content["attributes"] if "node_type" in content else content


def documents_of(record: dict) -> list[Path]:
    """The record's own document first, then those of the groups below it."""
    path = FOLDER / record["file"]
    if path.is_file():
        return [path]
    return sorted(path.rglob(".zattrs"), key=lambda each: len(each.parts))


# The reference: world transforms from raw JSON, without a line of the package.


def reference_step(transform: dict, ndim: int) -> np.ndarray:
    """A homogeneous matrix of one transform of the types the documents use."""
    matrix = np.eye(ndim + 1)
    match transform["type"]:
        case "scale":
            matrix[:ndim, :ndim] = np.diag(transform["scale"])
        case "translation":
            matrix[:ndim, ndim] = transform["translation"]
        case "mapAxis":
            matrix[:ndim, :ndim] = np.eye(ndim)[transform["mapAxis"]]
        case "affine":
            matrix[:ndim] = transform["affine"]
        case "sequence":
            return reference_chain(transform["transformations"], ndim)
        case "bijection":
            return reference_step(transform["forward"], ndim)
        case "displacements" | "identity":
            pass
        case other:
            raise AssertionError(f"the reference does not know {other}")
    return matrix


def reference_chain(transforms: list[dict], ndim: int) -> np.ndarray:
    total = np.eye(ndim + 1)
    for transform in transforms:
        total = reference_step(transform, ndim) @ total
    return total


def reference_ndim(multiscale: dict) -> int:
    systems = multiscale.get("coordinateSystems", [{}])
    axes = multiscale.get("axes") or systems[0].get("axes")
    return len(axes) if axes else 5


def reference_worlds(multiscale: dict, system: str | None = None) -> list[np.ndarray]:
    """Level matrices; a list of multiscale transforms comes after (0.4, 0.5).

    With named systems (0.6) only the one that leads to `system` does.
    """
    ndim = reference_ndim(multiscale)
    outer = multiscale.get("coordinateTransformations", [])
    if "coordinateSystems" in multiscale:
        outer = [each for each in outer if each["output"] == {"name": system}]
    return [
        reference_chain([*dataset.get("coordinateTransformations", []), *outer], ndim)[
            :ndim
        ]
        for dataset in multiscale["datasets"]
    ]


def test_the_reference_knows_what_comes_first() -> None:
    """S2 (S1 i + t1) + t2, worked out by hand."""
    inner = [
        {"type": "scale", "scale": [2]},
        {"type": "translation", "translation": [3]},
    ]
    outer = [
        {"type": "scale", "scale": [10]},
        {"type": "translation", "translation": [100]},
    ]
    multiscale = {
        "axes": ["x"],
        "datasets": [{"coordinateTransformations": inner}],
        "coordinateTransformations": outer,
    }
    np.testing.assert_array_equal(reference_worlds(multiscale)[0], [[20, 130]])


@each(valid=True)
def test_valid_documents_are_what_they_are(record) -> None:
    document = parse_document(attributes_of(documents_of(record)[0]))
    if document.kind is None:
        # Label examples are blocks of a label image without its multiscales.
        assert record["kind"] == "label"
        assert document.label.colors
    elif record["kind"] == "other":
        assert isinstance(document.kind, Image)
    else:
        assert isinstance(document.kind, KINDS[record["kind"]])
    assert document.version in (record["version"], None)


@each(valid=True)
def test_valid_documents_give_no_warning_but_about_what_they_lack(record) -> None:
    expected = ("There is no version", "no multiscales", "displacements")
    unexpected = [
        warning
        for path in documents_of(record)
        for warning in parse_document(attributes_of(path)).warnings
        if not any(words in warning for words in expected)
    ]
    assert bool(unexpected) is (record["file"] in WARNED_THOUGH_VALID)


@each(valid=True)
def test_valid_images_lie_where_the_reference_says(record) -> None:
    for path in documents_of(record):
        attributes = attributes_of(path)
        raw = attributes.get("ome", attributes).get("multiscales", [])
        kind = parse_document(attributes).kind
        assert isinstance(kind, Image) is bool(raw)
        for parsed, multiscale in zip(
            getattr(kind, "multiscales", ()), raw, strict=True
        ):
            paths = [dataset["path"] for dataset in multiscale["datasets"]]
            assert [dataset.path for dataset in parsed.datasets] == paths
            assert_lies_at(parsed, reference_worlds(multiscale))
            if "coordinateSystems" in multiscale:
                target = multiscale["datasets"][0]["coordinateTransformations"][0]
                assert target["output"] == {"name": parsed.coordinate_system}


def assert_lies_at(parsed, worlds) -> None:
    for dataset, world in zip(parsed.datasets, worlds, strict=True):
        np.testing.assert_allclose(dataset.affine.matrix, world)


@each(valid=True)
def test_each_system_of_a_valid_image_can_be_chosen(record) -> None:
    attributes = attributes_of(documents_of(record)[0])
    kind = parse_document(attributes).kind
    raw = attributes.get("ome", attributes).get("multiscales", [])
    for number, parsed in enumerate(getattr(kind, "multiscales", ())):
        listed = raw[number].get("coordinateSystems", [])
        assert parsed.coordinate_systems == tuple(each["name"] for each in listed)
        for name in parsed.coordinate_systems:
            chosen = parse_document(attributes, coordinate_system=name).kind
            worlds = reference_worlds(raw[number], name)
            assert_lies_at(chosen.multiscales[number], worlds)


@each(valid=True)
def test_valid_scenes_lie_where_the_reference_says(record) -> None:
    attributes = attributes_of(documents_of(record)[0])
    kind = parse_document(attributes).kind
    if not isinstance(kind, Scene):
        assert record["kind"] != "scene"
        return
    places = {image.path: image.affine.matrix for image in kind.images}
    for transform in attributes["ome"]["scene"]["coordinateTransformations"]:
        ndim = len(places[transform["input"]["path"]])
        target = transform["output"].get("path")
        onward = np.eye(ndim + 1)
        if target is not None:
            onward[:ndim] = places[target]
        expected = (onward @ reference_step(transform, ndim))[:ndim]
        np.testing.assert_allclose(places[transform["input"]["path"]], expected)


@each(valid=False)
def test_invalid_documents_are_tolerated_with_a_word_or_refused(record) -> None:
    try:
        document = parse_document(attributes_of(documents_of(record)[0]))
    except MetadataError as error:
        refusal = error
    else:
        refusal = None
    if record["file"] in FAULTS_OF_ARRAYS:
        assert isinstance(document.kind, Image)
    elif refusal is None:
        assert document.kind is None or document.warnings
    else:
        assert refusal.where
        assert not record["strict"]  # breaks no MUST: has to open


@each(valid=True)
def test_the_axes_fit_the_arrays_of_whole_stores(record) -> None:
    for path in documents_of(record):
        kind = parse_document(attributes_of(path)).kind
        for multiscale in getattr(kind, "multiscales", ()):
            array = path.parent / multiscale.datasets[0].path / ".zarray"
            if array.exists():
                ndim = len(json.loads(array.read_text())["shape"])
                assert fit_axes(multiscale, ndim) == (multiscale, ())
