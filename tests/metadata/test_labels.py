"""The labels group and the image-label block."""

from __future__ import annotations

import pytest

from metadata_documents import image
from napari_omezarr.errors import MetadataError
from napari_omezarr.metadata import ImageLabel, parse_document


def labelled(block):
    document = parse_document(image() | {"image-label": block})
    return document.kind.multiscales[0].label, document.warnings


def test_paths_of_labels_are_kept_in_order_and_once() -> None:
    document = parse_document({"labels": ["nuclei", "original/0", "nuclei", "/cells"]})
    assert document.kind.paths == ("nuclei", "original/0", "cells")


def test_labels_without_usable_path_are_left_out_with_a_warning() -> None:
    document = parse_document({"labels": ["../../secret", "", None, {}, 7, "cells"]})
    assert document.kind.paths == ("7", "cells")
    assert len(document.warnings) >= 5


def test_no_labels_are_no_fault() -> None:
    document = parse_document({"labels": []})
    assert document.kind.paths == ()
    assert document.warnings == ()


@pytest.mark.parametrize("labels", ["cells", {"cells": 1}, 3])
def test_labels_that_are_no_list_are_refused(labels) -> None:
    with pytest.raises(MetadataError, match="no list of paths"):
        parse_document({"labels": labels})


def test_a_whole_block_is_read() -> None:
    label, warnings = labelled(
        {
            "version": "0.4",
            "colors": [
                {"label-value": 1, "rgba": [255, 0, 0, 255]},
                {"label-value": 4.0, "rgba": [0, 255, 255, 128]},
                {"label-value": 9},
            ],
            "properties": [
                {"label-value": 1, "area (pixels)": 1200, "class": "foo"},
                {"label-value": 4, "nested": {"a": [1]}},
            ],
            "source": {"image": "../../../image"},
        }
    )
    assert label == ImageLabel(
        colors={1: (255, 0, 0, 255), 4: (0, 255, 255, 128)},
        properties={
            1: {"area (pixels)": 1200, "class": "foo"},
            4: {"nested": {"a": [1]}},
        },
        source="../../../image",
    )
    assert warnings == ()


def test_an_image_without_block_is_no_label() -> None:
    assert parse_document(image()).kind.multiscales[0].label is None


@pytest.mark.parametrize("key", ["colors", "properties"])
def test_the_last_of_two_entries_counts(key) -> None:
    entries = [
        {"label-value": 1, "rgba": [1, 2, 3, 4]},
        {"label-value": 1, "rgba": [5, 6, 7, 8]},
    ]
    label, warnings = labelled({key: entries})
    last = {"colors": (5, 6, 7, 8), "properties": {"rgba": [5, 6, 7, 8]}}
    assert getattr(label, key)[1] == last[key]
    assert any("repeats label value 1" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("rgba", "read_as"),
    [
        ([1, 2, 3], (1, 2, 3, 255)),
        ([300, -4, 3, 255], (255, 0, 3, 255)),
        ([0.5, 0.0, 1.0, 1.0], (128, 0, 255, 255)),
        ([1, 2], None),
        ([1, 2, 3, 4, 5], None),
        ("FF0000", None),
        ([1, None, 3, 4], None),
        ([1, float("nan"), 3, 4], None),
        ([], None),
    ],
)
def test_broken_colors_are_mended_or_left_out_with_a_warning(rgba, read_as) -> None:
    label, warnings = labelled({"colors": [{"label-value": 1, "rgba": rgba}]})
    assert label.colors == ({} if read_as is None else {1: read_as})
    assert warnings


@pytest.mark.parametrize("value", [None, "one", 1.5, True, [1], 2**64, -(2**70), 1e300])
def test_entries_without_label_value_are_left_out_with_a_warning(value) -> None:
    entry = {"label-value": value, "rgba": [1, 2, 3, 4]}
    label, warnings = labelled({"colors": [entry], "properties": [entry]})
    assert (label.colors, label.properties) == ({}, {})
    assert warnings


@pytest.mark.parametrize("block", [[], "x", 3, {"colors": 3}, {"properties": [None]}])
def test_a_broken_block_still_marks_a_label_image(block) -> None:
    label, warnings = labelled(block)
    assert label == ImageLabel()
    assert warnings


@pytest.mark.parametrize(
    ("source", "path"),
    [
        (None, "../../"),
        ({}, "../../"),
        ({"image": 3}, "3"),
        ("../x", "../x"),
        ([], "../../"),
    ],
)
def test_the_source_defaults_to_the_image_around(source, path) -> None:
    label, _ = labelled({"source": source})
    assert label.source == path


def test_a_block_without_multiscales_is_kept_beside_no_kind() -> None:
    block = {"version": "0.4", "colors": [{"label-value": 1, "rgba": [1, 2, 3, 4]}]}
    document = parse_document({"image-label": block})
    assert document.kind is None
    assert document.version == "0.4"
    assert document.label.colors == {1: (1, 2, 3, 4)}
    assert any("no multiscales" in warning for warning in document.warnings)
