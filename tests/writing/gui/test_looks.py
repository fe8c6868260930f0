"""What of a layer is written as its looks, and what is said of the rest."""

from __future__ import annotations

import re

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_omezarr import calibrate, read_layers, update_rendering, write_image

PIXELS = np.arange(4 * 16 * 16, dtype="u2").reshape(4, 16, 16)


@pytest.fixture
def image(tmp_path):
    place = tmp_path / "a.ome.zarr"
    known = {"scale": (2, 0.5, 0.5), "translation": (1, 5, 7), "units": "um"}
    cells = {"labels": {"cells": (PIXELS > 9).astype("u1")}}
    write_image(PIXELS, place, "zyx", levels=2, chunks=8, **known, **cells)
    return place


def differing(place, number=0, **options):
    data, known, kind = read_layers(place)[number]
    return [(data, {**known, **options}, kind)]


@pytest.mark.parametrize("made", ["tuples", "layers", "a level", "labels"])
def test_nothing_is_said_where_nothing_else_differs(image, made):
    layers = read_layers(image, level=1 if made == "a level" else None)
    if made == "layers":
        layers = [
            {"image": Image, "labels": Labels}[kind](data, **options)
            for data, options, kind in layers
        ]
    written = update_rendering(layers[1:] if made == "labels" else layers)
    assert written.notes == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scale": (9, 1, 1)}, "place .* calibrate"),
        ({"translate": (9, 1, 1)}, "place .* calibrate"),
        ({"rotate": np.eye(3)[[1, 0, 2]]}, "place .* calibrate"),
        ({"shear": (0.5, 0, 0)}, "place .* calibrate"),
        ({"affine": np.diag([2.0, 2, 2, 1])}, "place .* calibrate"),
        ({"units": ("nm",) * 3}, "units .* calibrate"),
        ({"axis_labels": ("a", "y", "x")}, "names of the axes"),
        ({"depiction": "plane"}, "no word .*: depiction"),
        ({"experimental_clipping_planes": [{"normal": (0, 1, 0)}]}, "clipping planes"),
    ],
)
def test_what_stays_as_it_is_is_said(image, options, said):
    written = update_rendering(differing(image, opacity=0.5, **options))
    assert written == ("a",)  # what can be written is
    (note,) = written.notes
    assert note.startswith(("The ", "OME-Zarr"))
    assert re.search(said, note)
    again = update_rendering(differing(image))
    assert again.notes == ()  # for the image itself has not changed


def test_painted_labels_and_outlines_are_said(image):
    painted = (PIXELS > 3).astype("u1")
    ((_, known, kind),) = read_layers(image)[1:]
    known = {**known, "multiscale": False, "contour": 2}
    written = update_rendering([(painted, known, kind)])
    assert any("patch" in note for note in written.notes)
    assert any("contour" in note for note in written.notes)


def test_what_calibrate_has_changed_since_is_known_at_the_next_opening(image):
    calibrate(image, scale=3)
    assert update_rendering(read_layers(image)).notes == ()
