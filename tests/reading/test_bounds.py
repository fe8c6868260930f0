"""Documents that list a million of something, or are a bomb themselves: bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import huge_documents
import small_images
from child_process import child_process
from napari_omezarr.errors import (
    AccessDeniedError,
    MetadataError,
    OMEZarrError,
    UnsupportedDataError,
)
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.metadata import DocumentError, load_json, node
from napari_omezarr.metadata.node import MOST_ELEMENTS
from napari_omezarr.reading import ReadOptions, read, reader
from napari_omezarr.reading.image import MOST_CHANNELS, MOST_IMAGES
from servers import faults

MANY = 21_000


def change(path, **attributes):
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | attributes))


def texts(reading):
    return " ".join(w for p in reading.pyramids for w in p.warnings)


@pytest.fixture
def image(tmp_path):
    small_images.put_image(tmp_path / "a.zarr", "0.4", count=2)
    return tmp_path / "a.zarr"


def asked(http_server, path):
    http_server.clear()
    reading = read(Location.parse(f"{http_server.url}/{path}"))
    return reading, len(http_server.requests)


def test_of_many_labels_the_first_ones_are_opened(image, http_server):
    small_images.put_labels(image, "0.4", cells=np.zeros((4, 16, 24), "u1"))
    names = ["cells", *(f"label {n}" for n in range(MANY)), "last"]
    change(image / "labels/.zattrs", labels=names)
    reading, requests = asked(http_server, "a.zarr")
    assert len(reading.pyramids) == 2
    assert requests < 5 * MOST_IMAGES
    assert f"the first {MOST_IMAGES} are opened" in texts(reading)
    options = ReadOptions(labels=("last",))
    said = texts(read(Location.parse(image), options))
    assert "labels/last is not" in said


def test_of_many_images_the_first_ones_are_opened(tmp_path, http_server):
    path = tmp_path / "b.zarr"
    small_images.put_group(path, "0.4", {"bioformats2raw.layout": 3})
    small_images.put_group(path / "OME", "0.4", {"series": list(map(str, range(MANY)))})
    for number in (0, 150):
        small_images.put_image(path / str(number), "0.4", count=1)
    reading, requests = asked(http_server, "b.zarr")
    assert len(reading.pyramids) == 1
    assert requests < 8 * MOST_IMAGES
    assert f"the first {MOST_IMAGES} are opened" in texts(reading)
    chosen = read(Location.parse(path), ReadOptions(series=150))
    assert chosen.pyramids[0].location.name == "150"


def test_many_channels_are_one_layer(tmp_path):
    path = tmp_path / "c.zarr"
    data = np.zeros((MOST_CHANNELS + 1, 2, 2), "u1")
    small_images.put_group(
        path, "0.5", {"multiscales": small_images.multiscales("0.5", "cyx", 1)}
    )
    small_images.put_array(path / "0", "0.5", data, "cyx", chunks=data.shape)
    ((found, options, _),) = read_layers(path)
    assert found.shape == data.shape
    assert options["axis_labels"] == ("c", "y", "x")
    assert "501 channels" in " ".join(options["metadata"]["omezarr"]["warnings"])


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"omero": {"channels": [{"label": "a"}] * MANY}}, "21,000 entries"),
        ({"multiscales": [{"datasets": [{"path": "0"}]}] * 200}, "200 entries"),
    ],
    ids=["channels", "multiscales"],
)
def test_of_long_lists_the_first_entries_are_read(image, attributes, said):
    change(image / ".zattrs", **attributes)
    reading = read(Location.parse(image))
    assert said in texts(reading)


def test_of_many_levels_the_first_are_asked_for(image, http_server):
    levels = [{"path": str(n)} for n in range(MANY)]
    (multiscale,) = small_images.multiscales("0.4", "czyx", 2)
    change(image / ".zattrs", multiscales=[{**multiscale, "datasets": levels}])
    reading, requests = asked(http_server, "a.zarr")
    assert len(reading.pyramids[0].levels) == 2
    # Each may be of the other format.
    assert requests < 150
    assert "21,000 entries" in texts(reading)


def test_of_many_colours_the_first_ones_are_read(image):
    small_images.put_labels(image, "0.4", cells=np.zeros((4, 16, 24), "u1"))
    colors = [{"label-value": n, "rgba": [1, 2, 3, 255]} for n in range(MANY)]
    change(image / "labels/cells/.zattrs", **{"image-label": {"colors": colors}})
    label = read(Location.parse(image)).pyramids[-1].label
    assert len(label.colors) == MOST_ELEMENTS


# Documents.

DOCUMENTS = {
    b'["' + b"x" * (65 << 20) + b'"]': "MB long",
    b"[" + b"{}," * 1_500_000 + b"{}]": "holds more",
    b"[" * 101 + b"]" * 101: "nested too deep",
    b'{"a":' * 5000 + b"1" + b"}" * 5000: "nested too deep",
    b"[" * 90: "not JSON",
    b"": "not JSON",
    b"\xff\xfe": "not JSON",
    b"9" * 5000: "not JSON",
}


@pytest.mark.parametrize("said", sorted(set(DOCUMENTS.values())))
def test_a_document_that_is_too_much_is_refused_in_words(said, image):
    for body in (body for body, why in DOCUMENTS.items() if why == said):
        with pytest.raises(DocumentError, match=said):
            load_json(body)
        (image / ".zattrs").write_bytes(body)
        # A store may refuse so many bytes before.
        with pytest.raises(OMEZarrError, match=f"{said}|more bytes"):
            read(Location.parse(image))


HUGE = {"wells": 1, "colours": 2}
"""Of a million of these in one document: how many layers there are at least."""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told as Linux does")
def test_a_million_of_something_takes_little_memory(tmp_path):
    kinds = huge_documents.KINDS if "OMEZARR_HUGE" in os.environ else HUGE
    command = [sys.executable, huge_documents.__file__, tmp_path, *kinds]
    with child_process(command, stdout=subprocess.PIPE, text=True) as opening:
        told = opening.communicate()[0].splitlines()
    lines = {line.split()[0]: line.split()[1:] for line in told}
    assert lines.keys() == set(kinds)
    for kind, (layers, _, grown, noted) in lines.items():
        assert int(layers) >= HUGE.get(kind, kind != "axes"), kind
        assert int(grown) < 300, kind
        assert noted == "1" or kind in ("series", "images"), kind


texts_of_json = st.text(st.sampled_from('a"\\[]{},: é'), max_size=6)
values_of_json = st.recursive(
    st.none() | st.integers(-9, 9) | texts_of_json,
    lambda inner: (
        st.lists(inner, max_size=9) | st.dictionaries(texts_of_json, inner, max_size=4)
    ),
    max_leaves=60,
)


def cut_short(value):
    if isinstance(value, dict):
        return {key: cut_short(each) for key, each in value.items()}
    return [cut_short(v) for v in value[:4]] if isinstance(value, list) else value


@settings(max_examples=60)
@given(st.dictionaries(texts_of_json, values_of_json), st.sampled_from([None, 2]))
def test_long_lists_are_cut_and_nothing_else_is_changed(value, indent):
    body = json.dumps(value, indent=indent, ensure_ascii=False).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "MOST_ELEMENTS", 3)
        patch.setattr(node, "_size", lambda text: (text == body) << 40)
        if cut_short(value) == value:
            with pytest.raises(DocumentError):
                load_json(body, shortened=True)
        else:
            assert load_json(body, shortened=True) == cut_short(value)


PLAIN = {
    "colors": {"label-value": 1, "rgba": [1, 2, 3, 4]},
    "properties": {"label-value": 1, "class": "a]"},
    "coordinateTransformations": {"type": "scale", "scale": [1, 2]},
}


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from([*PLAIN]), st.integers(0, 9), st.booleans()),
        max_size=5,
    ),
    st.sampled_from([None, 2]),
)
def test_plain_lists_are_cut_at_once_and_nothing_else_is_changed(lists, indent):
    value = {
        str(number): {key: [PLAIN[key]] * count + [odd] * (not plain), "more": "x"}
        for number, (key, count, plain) in enumerate(lists)
        for odd in [{"label-value": "[{", "more": [[1], {"type": "}]"}]}]
    }
    body = json.dumps(value, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "MOST_ELEMENTS", 3)
        found = json.loads(node._with_few_entries(body))
    for number, (key, _, plain) in enumerate(lists):
        whole, cut = value[str(number)], found[str(number)]
        cuts = [whole[key][:4]] if plain and key != "properties" else []
        assert cut[key] in (cuts or [whole[key], whole[key][:4]])
        assert cut["more"] == "x"


def test_of_many_images_in_xml_the_first_names_are_read(tmp_path, monkeypatch):
    path = tmp_path / "b.zarr"
    small_images.put_group(path, "0.4", {"bioformats2raw.layout": 3})
    small_images.put_image(path / "0", "0.4", count=1)
    (path / "OME").mkdir()
    inner = "<Image Name='first'><Image Name='inner'/></Image>"
    (path / "OME/METADATA.ome.xml").write_text(
        f"<o:OME xmlns:o='x'>{inner}{'<Image/>' * 9000}</o:OME>"
    )
    monkeypatch.setattr(reader, "_MOST_LISTED", 3)
    (image,) = read(Location.parse(path)).pyramids
    assert image.name == "first"
    assert [f"image {n} " in " ".join(image.warnings) for n in (3, 4)] == [True, False]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_level_whose_document_is_too_long_costs_itself(tmp_path, version):
    small_images.put_image(tmp_path / "a.zarr", version, count=3)
    name = ".zarray" if version == "0.4" else "zarr.json"
    for level in (1, 0):
        document = tmp_path / "a.zarr" / str(level) / name
        with document.open("ab") as file:
            file.write(b" " * (65 << 20))
        (image,) = read(tmp_path / "a.zarr").pyramids
        assert [each.path for each in image.levels] == (["0", "2"] if level else ["2"])
        assert f"{level}/{name} has more bytes" in " ".join(image.warnings)


def test_one_refused_image_of_a_series_costs_itself(tmp_path, http_server):
    path = tmp_path / "b.zarr"
    small_images.put_group(path, "0.4", {"bioformats2raw.layout": 3})
    small_images.put_group(path / "OME", "0.4", {"series": ["0", "1"]})
    for number in range(2):
        small_images.put_image(path / str(number), "0.4", count=1)
    http_server.fault("*/b.zarr/0/*", faults.Status(401), forever=True)
    (image,) = read(f"{http_server.url}/b.zarr").pyramids
    assert image.location.name == "1"
    assert "The image 0 could not be opened" in " ".join(image.warnings)
    http_server.fault("*/b.zarr/1/*", faults.Status(401), forever=True)
    with pytest.raises(AccessDeniedError, match="signed in"):
        read(f"{http_server.url}/b.zarr")


def test_usual_documents_are_parsed():
    deep = b"[" * 100 + b"]" * 100
    assert load_json(deep)
    assert load_json(b'{"a": 1, "a": 2}') == {"a": 2}
    assert load_json(json.dumps({"s": "[{" * 60}).encode())


@pytest.mark.parametrize(
    "shape",
    [[1] * 65, [2**70, 4], [2**40, 2**40], [-1, 4], [1.5, 4], ["4", 4]],
    ids=str,
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_shape_that_is_none_leaves_the_level_out(tmp_path, version, shape):
    path = tmp_path / "d.zarr"
    small_images.put_image(path, version, names="yx", shape=(8, 8), count=1)
    document = path / "0" / (".zarray" if version == "0.4" else "zarr.json")
    array = json.loads(document.read_text()) | {"shape": shape}
    if version == "0.4":
        array["chunks"] = [1] * len(shape)
    document.write_text(json.dumps(array))
    with pytest.raises((UnsupportedDataError, MetadataError)) as raised:
        read(Location.parse(path))
    assert len(str(raised.value)) < 600


wells_of_json = st.fixed_dictionaries(
    {"path": texts_of_json},
    optional={"more": values_of_json, "rowIndex": st.integers()},
)


@settings(max_examples=60)
@given(st.lists(wells_of_json, min_size=5, max_size=9), st.sampled_from([None, 2]))
def test_wells_of_a_plate_are_cut_whatever_they_are_called(wells, indent):
    value = {"plate": {"name": "]}", "wells": wells, "rows": [{"name": "wells: ["}]}}
    body = json.dumps(value, indent=indent, ensure_ascii=False).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "MOST_WELLS", 3)
        patch.setattr(node, "MOST_ELEMENTS", 3)
        patch.setattr(node, "_LARGE", 0)
        patch.setattr(node, "_size", lambda text: (text == body) << 40)
        found = load_json(body, shortened=True)
    assert len(found["plate"]["wells"]) == 4
    assert cut_short(found) == cut_short(value)
