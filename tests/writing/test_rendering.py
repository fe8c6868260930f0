"""Colormaps, label colours and tables of napari in the words of OME-Zarr."""

from __future__ import annotations

import numpy as np
import pytest

from napari_omezarr.writing.rendering import (
    channel_color,
    folder_name,
    label_colors,
    label_properties,
)

WHITE, BLACK, RED = [1, 1, 1, 1], [0, 0, 0, 1], [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("colormap", "color", "inverted"),
    [
        (None, "FFFFFF", False),
        ("gray", "FFFFFF", False),
        ("cyan", "00FFFF", False),
        ("#12aB9f", "12AB9F", False),
        ("#12aB9f80", "12AB9F", False),
        (("#ff0000", "#000000"), "FF0000", True),
        ({"colors": np.array([BLACK, RED]), "controls": [0, 1]}, "FF0000", False),
        ({"colors": [WHITE, BLACK], "name": "gray_r"}, "FFFFFF", True),
        ({"colors": [BLACK, BLACK]}, "000000", False),
    ],
)
def test_one_colour_says_all_of_these_maps(colormap, color, inverted):
    assert channel_color(colormap) == (color, inverted, {})


@pytest.mark.parametrize(
    ("colormap", "color"),
    [
        ({"colors": [BLACK, RED, WHITE], "controls": [0, 0.5, 1]}, "FFFFFF"),
        ({"colors": [RED, WHITE]}, "FFFFFF"),
        ({"colors": [BLACK, [1, 0, 0, 0.5]]}, "FF0000"),
        ({"colors": [BLACK, RED], "interpolation": "zero"}, "FF0000"),
        (("#ff0000", "#00ff00"), "00FF00"),
    ],
)
def test_other_maps_are_kept_whole_beside_their_highest_colour(colormap, color):
    found, inverted, state = channel_color(colormap)
    assert (found, inverted) == (color, False)
    assert len(state["colormap"]["colors"]) >= 2


def test_a_name_that_only_napari_knows_is_kept_as_a_name():
    assert channel_color("turbo") == ("FFFFFF", False, {"colormap": "turbo"})


def test_label_colours_are_bytes_and_the_rest_is_remembered():
    table = {None: (0, 0, 1, 1), 0: (0, 0, 0, 0), 1: (1, 0.5, 0, 1), 7: "red"}
    colors, state = label_colors(table)
    assert colors == {1: (255, 128, 0, 255), 7: (255, 0, 0, 255)}
    assert state == {"default_color": [0, 0, 255, 255]}


@pytest.mark.parametrize("colormap", [None, object(), "labels"])
def test_colours_that_cycle_say_nothing_of_single_values(colormap):
    assert label_colors(colormap) == ({}, {})


def test_rows_are_about_the_value_of_their_index():
    table = {"index": np.array([3, 5]), "area": [1.5, float("nan")], "on": [True, None]}
    assert label_properties(table) == {3: {"area": 1.5, "on": True}, 5: {}}


def test_rows_without_an_index_are_about_their_number():
    assert label_properties(None, {}, {"kind": ["back", "cell"]}) == {
        0: {"kind": "back"},
        1: {"kind": "cell"},
    }


def test_odd_values_become_json():
    table = {
        "index": [1],
        "box": [(np.int64(1), 2.5)],
        "day": [np.datetime64("2026-01-02")],
    }
    assert label_properties(table) == {1: {"box": [1, 2.5], "day": "2026-01-02"}}


@pytest.mark.parametrize(
    ("name", "taken", "folder"),
    [
        ("cells", (), "cells"),
        ("my cells", (), "my cells"),
        ("a/b\\c:d", (), "a_b_c_d"),
        ("..", (), "labels"),
        ("", (), "labels"),
        ("__reserved", (), "reserved"),
        ("Kerne µ", (), "Kerne µ"),
        ("Cells", ("cells", "cells-2"), "Cells-3"),
    ],
)
def test_names_of_folders_are_safe_and_free(name, taken, folder):
    assert folder_name(name, taken) == folder
