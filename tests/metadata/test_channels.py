"""The omero block: what it says, and what is shown where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metadata_documents import with_omero
from napari_omezarr.metadata import (
    Channel,
    Rendering,
    Window,
    is_rgb,
    parse_document,
    resolve_channels,
)
from napari_omezarr.metadata.channels import parse_color
from napari_omezarr.metadata.node import DocumentNotes, JsonNode

FULL = {"start": 0, "end": 255, "min": 0, "max": 255}


def rendered(*channels, **more):
    document = parse_document(with_omero(*channels, **more))
    return document.kind.multiscales[0].rendering, document.warnings


def resolved(*windows, dtype="uint16"):
    channels = tuple(Channel(window=window) for window in windows)
    return resolve_channels(Rendering(channels), len(channels), dtype)


def test_a_whole_omero_block_is_read() -> None:
    channel = {
        "label": "DAPI",
        "color": "0000ff",
        "window": {"start": 10, "end": 500.5, "min": 0, "max": 65535},
        "active": False,
        "inverted": True,
    }
    rdefs = {"model": "greyscale", "defaultT": 3, "defaultZ": 4}
    rendering, warnings = rendered(channel, rdefs=rdefs)
    assert rendering == Rendering(
        channels=(Channel("DAPI", "0000FF", Window(10, 500.5, 0, 65535), False, True),),
        model="greyscale",
        default_t=3,
        default_z=4,
    )
    assert warnings == ()


def test_no_omero_is_no_rendering() -> None:
    document = parse_document(with_omero() | {"omero": None})
    assert document.kind.multiscales[0].rendering is None


@pytest.mark.parametrize("omero", [[], "x", 3, {}, {"channels": None}])
def test_an_empty_omero_is_a_warning(omero) -> None:
    document = parse_document(with_omero() | {"omero": omero})
    rendering = document.kind.multiscales[0].rendering
    assert rendering is None or rendering.channels == ()
    assert document.warnings


@pytest.mark.parametrize(
    ("color", "digits"),
    [
        ("ff0000", "FF0000"),
        ("#FF0000", "FF0000"),
        ("0xFF0000", "FF0000"),
        ("FF000080", "FF0000"),
        ("#f00", "FF0000"),
        (" 00FF00 ", "00FF00"),
        ("red", None),
        ("", None),
        (255, None),
        (["FF0000"], None),
        ("FF00", None),
    ],
)
def test_colors_as_people_write_them(color, digits) -> None:
    rendering, warnings = rendered({"color": color})
    assert rendering.channels[0].color == digits
    fine = isinstance(color, str) and color.strip().upper() == digits
    assert bool(warnings) is not fine


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (None, None),
        ({}, None),
        ([], None),
        ({"start": float("nan"), "end": None}, None),
        ({"start": "1", "end": 2}, Window(1, 2)),
        ({"min": 0, "max": 9}, Window(min=0, max=9)),
    ],
)
def test_windows_with_what_numbers_they_have(window, expected) -> None:
    rendering, _ = rendered({"window": window})
    assert rendering.channels[0].window == expected


@pytest.mark.parametrize("channel", [None, 3, "DAPI", [], {}])
def test_channels_that_say_nothing_are_shown_with_defaults(channel) -> None:
    rendering, _ = rendered(channel)
    assert rendering.channels == (Channel(),)


@pytest.mark.parametrize(
    ("active", "read_as"), [(False, False), (None, True), (0, False), ("no", True)]
)
def test_flags_that_are_no_booleans(active, read_as) -> None:
    rendering, warnings = rendered({"active": active})
    assert rendering.channels[0].active is read_as
    assert bool(warnings) is not (active is None or active is False)


@pytest.mark.parametrize("rdefs", [{"defaultT": -1, "defaultZ": "z"}, {"model": "hsv"}])
def test_broken_defaults_are_warnings(rdefs) -> None:
    rendering, warnings = rendered({}, rdefs=rdefs)
    assert (rendering.default_t, rendering.default_z) == (None, None)
    assert rendering.model == "color"
    assert warnings


# Resolving


@pytest.mark.parametrize(
    ("count", "colors"),
    [
        (1, ["FFFFFF"]),
        (2, ["FF00FF", "00FF00"]),
        (
            8,
            [
                "00FFFF",
                "FFFF00",
                "FF00FF",
                "FF0000",
                "00FF00",
                "0000FF",
                "00FFFF",
                "FFFF00",
            ],
        ),
    ],
)
def test_default_colors_are_naparis(count, colors) -> None:
    channels, warnings = resolve_channels(None, count, "uint16")
    assert [channel.color for channel in channels] == colors
    assert all(channel.contrast_limits is None for channel in channels)
    assert all(channel.visible for channel in channels)
    assert warnings == ()


def test_the_cycle_is_that_of_the_napari_that_is_installed() -> None:
    colormaps = pytest.importorskip("napari.utils.colormaps")
    for count, names in ((2, "magenta green"), (3, "cyan yellow magenta")):
        channels, _ = resolve_channels(None, count, "uint8")
        for channel, name in zip(channels, names.split(), strict=True):
            top = colormaps.ensure_colormap(name).colors[-1]
            assert bytes.fromhex(channel.color) == bytes(
                np.round(top[:3] * 255).astype(np.uint8)
            )


def test_names_are_the_labels_else_numbers() -> None:
    rendering = Rendering((Channel("DAPI"), Channel("  "), Channel()))
    channels, _ = resolve_channels(rendering, 3, "uint8")
    assert [channel.name for channel in channels] == ["DAPI", "channel 1", "channel 2"]
    (only,), _ = resolve_channels(None, 1, "uint8")
    assert only.name == ""


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_and_too_many_channels(count) -> None:
    rendering = Rendering((Channel("a", "123456"), Channel("b")))
    channels, warnings = resolve_channels(rendering, count, "uint8")
    assert len(channels) == count
    assert channels[0].color == "123456"
    assert f"describes 2 channels and the image has {count}" in warnings[0]


def test_greyscale_is_white_whatever_the_colors() -> None:
    rendering = Rendering((Channel(color="FF0000"), Channel()), model="greyscale")
    channels, _ = resolve_channels(rendering, 2, "uint8")
    assert [channel.color for channel in channels] == ["FFFFFF"] * 2


def test_hidden_and_inverted_channels_stay_so() -> None:
    rendering = Rendering((Channel(active=False, inverted=True),))
    (channel,), _ = resolve_channels(rendering, 1, "uint8")
    assert not channel.visible
    assert channel.inverted


@pytest.mark.parametrize(
    ("window", "dtype", "limits", "span", "fault"),
    [
        (None, "uint16", None, None, None),
        (Window(10, 500, 0, 4095), "uint16", (10, 500), (0, 4095), None),
        (Window(10, 500), "uint16", (10, 500), (0, 65535), None),
        (Window(10, 500), "uint32", (10, 500), None, None),
        (Window(10, 500), "float32", (10, 500), None, None),
        (Window(min=0, max=4095), "uint16", None, (0, 4095), None),
        (Window(end=9, min=1), "uint16", (1, 9), (0, 65535), None),
        (Window(start=9), "uint16", None, None, "only one end"),
        (Window(5, 5, 0, 255), "uint8", None, (0, 255), "empty"),
        (Window(0, 0, 0, 0), "uint8", None, None, "empty"),
        (Window(500, 10, 0, 4095), "uint16", (10, 500), (0, 4095), "turned round"),
        (Window(0, 65535, 0, 65535), "uint8", (0, 255), (0, 255), "wider"),
        (Window(-5, 100, -5, 300), "uint8", (0, 100), (0, 255), "wider"),
        (Window(1000, 2000, 0, 4095), "uint8", None, (0, 255), "empty"),
        (Window(-5.5, 2e9, -10, 3e9), "float32", (-5.5, 2e9), (-10, 3e9), None),
        (Window(10, 500, 100, 200), "uint16", (10, 500), (10, 500), None),
        (Window(10, 500, 200, 100), "uint16", (10, 500), (10, 500), None),
        (Window(0, 1), "bool", (0, 1), (0, 1), None),
        (Window(-9, 9), ">i2", (-9, 9), (-32768, 32767), None),
    ],
)
def test_windows_become_contrast(window, dtype, limits, span, fault) -> None:
    (channel,), warnings = resolved(window, dtype=dtype)
    assert channel.contrast_limits == limits
    assert channel.contrast_range == span
    assert (fault is None) == (warnings == ())
    assert fault is None or any(fault in warning for warning in warnings)


NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(Window, start=NUMBER, end=NUMBER, min=NUMBER, max=NUMBER),
    st.sampled_from(["bool", "uint8", "int16", "uint64", "float32", "complex64"]),
)
def test_contrast_is_always_something_that_can_be_set(window, dtype) -> None:
    (channel,), _ = resolved(window, dtype=dtype)
    limits, span = channel.contrast_limits, channel.contrast_range
    assert limits is None or limits[0] < limits[1]
    assert span is None or span[0] < span[1]
    if limits and span:
        assert span[0] <= limits[0] < limits[1] <= span[1]


# RGB


def picture(colors="FF0000 00FF00 0000FF", window=FULL, **more) -> Rendering:
    one = None if window is None else Window(**window)
    channels = tuple(Channel(color=c, window=one) for c in colors.split())
    return Rendering(channels, **more)


@pytest.mark.parametrize(
    ("rendering", "count", "dtype", "expected"),
    [
        (picture(), 3, "uint8", True),
        (picture(window=None), 3, "uint8", True),
        (picture("FF0000 00FF00 0000FF FFFFFF"), 4, "uint8", True),
        (picture("FF0000 00FF00 0000FF 00FFFF"), 4, "uint8", False),
        (picture("00FF00 FF0000 0000FF"), 3, "uint8", False),
        (picture(window=FULL | {"end": 128}), 3, "uint8", False),
        (picture(), 3, "uint16", False),
        (picture(), 4, "uint8", False),
        (picture("FF0000 00FF00"), 2, "uint8", False),
        (picture(model="greyscale"), 3, "uint8", False),
        (None, 3, "uint8", False),
    ],
    ids=[
        "rgb",
        "no windows",
        "alpha",
        "fourth dye",
        "order",
        "narrow window",
        "uint16",
        "one channel more",
        "two",
        "greyscale",
        "no omero",
    ],
)
def test_what_is_one_picture(rendering, count, dtype, expected) -> None:
    assert is_rgb(rendering, count, dtype) is expected


def test_a_hidden_channel_is_no_part_of_a_picture() -> None:
    channels = [*picture().channels[:2], Channel(color="0000FF", active=False)]
    assert not is_rgb(Rendering(tuple(channels)), 3, "uint8")


@pytest.mark.parametrize(
    ("written", "color"),
    [
        (-16776961, "FF0000"),
        ("-16711681", "FF00FF"),
        (4278190335, "FF0000"),
        ([255, 0, 0], "FF0000"),
        ([1.0, 0.5, 0], "FF8000"),
        ([0, 0, 1, 255], "000001"),
        ("rgb(255, 0, 128)", "FF0080"),
        ("rgba(255 0 128 1)", "FF0080"),
        ([300, 0, 0], None),
        ("rgb(999, 0, 0)", None),
        (2**40, None),
        (True, None),
    ],
)
def test_a_colour_in_another_notation_is_understood_with_a_note(written, color):
    notes = DocumentNotes()
    assert parse_color(JsonNode(written, "color", notes)) == color
    assert len(notes.collected()) == 1
