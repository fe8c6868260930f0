"""Views as links, text and values: what is written is read again, without secrets."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.browsing import (
    ChannelView,
    Session,
    SessionLayer,
    Viewer,
    ViewState,
    parse_session,
    session_address,
    session_in_address,
    session_text,
    share_link,
    view_in_link,
)
from napari_omezarr.claims import is_claimed, is_view_address
from napari_omezarr.errors import LocationError, OMEZarrError, OptionError

ADDRESS = "https://host/a%20b.zarr"

numbers = st.floats(-1e9, 1e9, allow_nan=False)
positive = st.floats(1e-6, 1e6)
values = st.one_of(
    st.booleans(), numbers, st.text(max_size=8), st.lists(numbers, max_size=3)
)
looks = st.dictionaries(st.text("abc_", min_size=1, max_size=6), values, max_size=4)
options = st.fixed_dictionaries(
    {}, optional={"level": st.integers(0, 9), "wells": st.lists(st.text(max_size=3))}
)
layers = st.builds(
    SessionLayer,
    st.sampled_from(["https://host/a.zarr", "s3://bucket/b.zarr|profile:Lab"]),
    st.sampled_from(["image", "labels"]),
    st.none() | st.integers(0, 9),
    st.none() | st.text(min_size=1, max_size=5),
    looks,
    options,
)
sessions = st.builds(
    Session,
    st.lists(layers, max_size=3).map(tuple),
    st.fixed_dictionaries({"zoom": positive, "center": st.lists(numbers, max_size=3)}),
    st.fixed_dictionaries({"ndisplay": st.sampled_from([2, 3])}),
)


@given(sessions)
def test_a_session_is_what_its_text_and_its_address_say(session):
    assert parse_session(session_text(session)) == session
    address = session_address(session)
    assert is_view_address(address)
    assert is_claimed(address)
    assert session_in_address(address) == session
    assert session_address(session_in_address(address)) == address


def test_a_signed_address_loses_its_signature():
    signed = SessionLayer("https://me:pw@host/a.zarr?token=pl4nted")
    (read,) = parse_session(session_text(Session((signed,)))).layers
    assert "pl4nted" not in read.address
    assert "pw" not in read.address


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"format": "other"}', "x" * 100, "[" * 100_000],
)
def test_what_is_no_session_is_said(text):
    with pytest.raises(OptionError, match="no session") as caught:
        parse_session(text)
    assert caught.value.action


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(value):
    text = session_text(Session(camera={"zoom": 1.0})).replace("1.0", value)
    with pytest.raises(OMEZarrError):
        parse_session(text)


@pytest.mark.parametrize("coded", ["", "!!", "abc", "eJw", "é"])
def test_a_broken_address_of_a_view_is_said(coded):
    with pytest.raises(LocationError, match="broken"):
        session_in_address(f"napari-omezarr://view/{coded}")


units = st.sampled_from(["micrometer", "nanometer", "millimeter", "angstrom"])
channels = st.builds(
    ChannelView,
    st.just(0),
    st.text("abc", min_size=1, max_size=4),
    st.sampled_from(["00FF00", "FF00FF", "FFFFFF"]),
    st.tuples(st.floats(0, 100), st.floats(101, 1e4)),
    st.booleans(),
)


@st.composite
def views(draw):
    unit = draw(units)
    found = [replace(c, index=at) for at, c in enumerate(draw(st.lists(channels)))]
    return ViewState(
        center={axis: draw(st.floats(-1e4, 1e4)) for axis in "xyz"},
        zoom=draw(positive),
        units=dict.fromkeys("xyz", unit),
        channels=tuple(found),
        labels=tuple(draw(st.lists(st.sampled_from(["cells", "nuclei"]), unique=True))),
        displayed=draw(st.sampled_from([("y", "x"), ("z", "y", "x"), ("z", "x")])),
        channel_axis="c" if found else "",
    )


@given(views())
def test_a_neuroglancer_link_gives_its_view_back(view):
    found = view_in_link(share_link(ADDRESS, Viewer.NEUROGLANCER, view))
    assert found.zoom == pytest.approx(view.zoom, rel=1e-9)
    assert found.center == pytest.approx(view.center)
    shown = found.channels if view.channels else ()
    assert shown == view.channels
    for name in ("units", "labels", "displayed", "channel_axis"):
        assert getattr(found, name) == getattr(view, name), name


@given(views())
def test_a_vizarr_link_gives_its_place_back(view):
    grid = {"x": (0.25, 20.0), "y": (0.5, 10.0)}
    view = replace(view, displayed=("y", "x"), grid=grid)
    found = view_in_link(share_link(ADDRESS, Viewer.VIZARR, view))
    assert found.zoom == pytest.approx(view.zoom)
    assert found.center == pytest.approx({a: view.center[a] for a in "xy"}, abs=1e-6)
    assert found.grid == grid


def test_a_link_in_metres_and_one_of_vizarr_alone():
    state = {
        "dimensions": {"x": [4e-9, "m"], "y": [4e-9, "m"], "z": [40e-9, "m"]},
        "position": [100, 200, 3],
        "crossSectionScale": 2,
        "layers": [{"type": "image", "source": "zarr://https://host/a.zarr/"}],
    }
    link = f"https://neuroglancer-demo.appspot.com/#!{quote(json.dumps(state))}"
    found = view_in_link(link)
    assert found.units == dict.fromkeys("xyz", "meter")
    assert found.center == pytest.approx({"x": 400e-9, "y": 800e-9, "z": 120e-9})
    # A pixel of the screen is two of 4 nm.
    assert found.zoom == pytest.approx(1 / 8e-9)
    text = quote('{"zoom": 1, "target": [10.5, 20.5]}')
    alone = view_in_link(
        f"https://x.github.io/vizarr/?source={ADDRESS}&viewState={text}"
    )
    assert alone.center == {"y": 20.0, "x": 10.0}
    assert alone.units == {"x": "pixel", "y": "pixel"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://host/a.zarr",
        "https://host/#!{}",
        "https://host/#!{'dimensions':{'x':[1,'m']},'position':['a']}",
        f"https://host/?source={ADDRESS}&viewState=[]",
        f"https://host/?source={ADDRESS}&viewState=%7B%22zoom%22%3A1e999%7D",
        "https://[broken",
    ],
)
def test_what_holds_no_view_is_no_error(text):
    assert view_in_link(text) is None
