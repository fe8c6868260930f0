"""The doors: what comes in, and what fails behind them, is an error of ours."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import small_images
from napari_omezarr.browsing import describe, thumbnail
from napari_omezarr.errors import OMEZarrError, OptionError, UnexpectedError
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.reading import read

ODD = {
    "nothing": None,
    "a number": 3.5,
    "bytes": b"a.zarr",
    "an object": object(),
    "a list": ["a.zarr"],
    "a mapping": {"path": "a.zarr"},
    "an array": np.zeros(3),
    "no text": "",
    "blanks": " \t\n",
    "half a character": "\ud800.zarr",
    "the end of a string": "a\0b.zarr",
    "a port that is none": "http://127.0.0.1:999999/a.zarr",
    "half an address": "http://[::1/a.zarr",
    "a host alone": "https://",
    "no bucket": "s3://",
    "an unknown scheme": "gopher://x/a.zarr",
    "much text": "a/" * 5000,
    "this file": __file__,
    "a folder": Path(__file__).parent,
}


@pytest.mark.parametrize("source", ODD.values(), ids=ODD)
@pytest.mark.parametrize("door", [read, read_layers])
def test_odd_sources_are_errors_of_ours(door, source):
    with pytest.raises(OMEZarrError) as caught:
        door(source)
    assert type(caught.value) is not UnexpectedError, caught.value.__cause__
    assert caught.value.sentence


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doors") / "a.zarr"
    small_images.put_image(folder, "0.4", count=2)
    return folder


def came(door, *args, **options):
    """The class of what a door gives, or of its error if this is ours."""
    try:
        return type(door(*args, **options))
    except OMEZarrError as error:
        return type(error)


WRONG = {
    "channels": ["ab", [1.5], [None], 9, [True, "x"], {}, [-1]],
    "labels": [None, 3, [["a"]], {"a": 1}, "nuclei"],
    "level": ["0", 1.5, [0], 99, -99],
    "multiscale": [1.5, ["a"], "none", 99],
    "series": [1.5, ["a"], {}],
    "coordinate_system": [3, ["a"], "none"],
    "wells": [3, "Z99", [["A"]]],
    "fields": [1.5, [1]],
    "acquisition": [1.5, {}],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, each in WRONG.items() for value in each]
)
def test_odd_options_are_an_image_or_an_error_of_ours(image, name, value):
    assert came(read_layers, image, **{name: value}) in (list, OptionError)


# JSON values that a document of an image may have in the place of any other.
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(string.printable, max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, path=()):
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


@settings(max_examples=60)
@given(st.data())
def test_any_value_anywhere_is_layers_or_an_error_of_ours(image, data):
    document = image / data.draw(st.sampled_from([".zattrs", "0/.zarray"]))
    before = document.read_text()
    content = json.loads(before)
    *way, last = data.draw(st.sampled_from(list(places(content))))
    held = content
    for key in way:
        held = held[key]
    held[last] = data.draw(values)
    try:
        document.write_text(json.dumps(content))
        assert came(read_layers, image) is not UnexpectedError
    finally:
        document.write_text(before)


@pytest.mark.parametrize("change", ["0-D", "no path", "no list", "a type", "codec"])
@pytest.mark.parametrize("door", [read, read_layers, thumbnail, describe])
def test_each_error_has_an_address_and_something_to_do(tmp_path, change, door):
    path = tmp_path / "a.zarr"
    small_images.put_image(path, "0.4", names="yx", shape=(8, 8), count=1)
    image = json.loads((path / ".zattrs").read_text())
    array = json.loads((path / "0/.zarray").read_text())
    if change == "0-D":
        array |= {"shape": [], "chunks": []}
    elif change == "no path":
        image["multiscales"][0]["datasets"] = [{}]
    elif change == "no list":
        image["multiscales"] = {}
    elif change == "a type":
        array["dtype"] = "<c16"
    else:
        array["compressor"] = {"id": "of tomorrow"}
    (path / ".zattrs").write_text(json.dumps(image))
    (path / "0/.zarray").write_text(json.dumps(array))
    with pytest.raises(OMEZarrError) as caught:
        door(Location.parse(path))
    error = caught.value
    assert error.action
    assert str(path) in error.url
    assert str(path) in str(error)
