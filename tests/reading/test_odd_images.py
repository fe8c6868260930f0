"""Images as they are in the world: what is right is shown, what is odd is said."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile

import numcodecs
import numpy as np
import pytest
import zarr

import small_images
from napari_omezarr.errors import (
    NodeNotFoundError,
    ObjectChangedError,
    UnsupportedDataError,
)
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.reading import ReadOptions, read

FORMATS = {2: "0.4", 3: "0.5"}


def opened(path, **options):
    return read(Location.parse(path), ReadOptions(**options))


def put_mixed(path, *, group, levels, labels=None, label=None, label_level=None):
    """Write an image whose parts are each of the Zarr format that is named."""
    data = small_images.put_image(path, FORMATS[group])
    for number, zarr_format in enumerate(levels):
        if zarr_format != group:
            shutil.rmtree(path / str(number))
            version = FORMATS[zarr_format]
            small_images.put_array(path / str(number), version, data[number], "czyx")
    cells = small_images.pixels((4, 16, 24), np.uint8, seed=1)
    if labels is not None:
        small_images.put_labels(path, FORMATS[labels], cells=cells)
        folder = path / "labels" / "cells"
        if label != labels:
            shutil.rmtree(folder)
            small_images.put_labels(path, FORMATS[label], cells=cells)
            remove = ".zattrs" if label == 2 else "zarr.json"
            (path / "labels" / remove).unlink()
            small_images.put_group(
                path / "labels", FORMATS[labels], {"labels": ["cells"]}
            )
        if label_level != label:
            shutil.rmtree(folder / "0")
            version = FORMATS[label_level]
            small_images.put_array(folder / "0", version, cells, "zyx")
    return data, cells


def other(zarr_format):
    return 5 - zarr_format


@pytest.mark.parametrize("group", [2, 3])
@pytest.mark.parametrize("odd", [(0,), (2,), (1, 2), (0, 1, 2)])
def test_levels_of_the_other_zarr_format_are_found(tmp_path, group, odd):
    formats = [other(group) if n in odd else group for n in range(3)]
    levels, _ = put_mixed(tmp_path / "a.zarr", group=group, levels=formats)
    reading = opened(tmp_path / "a.zarr")
    (image,) = reading.pyramids
    for level, data in zip(image.levels, levels, strict=True):
        np.testing.assert_array_equal(level.pixels[...], data)
    said = [text for text in reading.warnings if "Zarr version" in text]
    assert len(said) == len(odd)


@pytest.mark.parametrize("group", [2, 3])
@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("label", [2, 3])
@pytest.mark.parametrize("level", [2, 3])
def test_labels_open_in_any_mixture_of_formats(tmp_path, group, labels, label, level):
    _, cells = put_mixed(
        tmp_path / "a.zarr",
        group=group,
        levels=[group] * 3,
        labels=labels,
        label=label,
        label_level=level,
    )
    reading = opened(tmp_path / "a.zarr")
    _, found = reading.pyramids
    assert found.name == "cells"
    np.testing.assert_array_equal(found.levels[0].pixels[...], cells)
    mixed = len({group, labels, label, level}) > 1
    assert any("Zarr version" in text for text in reading.warnings) == mixed


def test_both_formats_may_list_labels(tmp_path):
    path = tmp_path / "a.zarr"
    small_images.put_image(path, "0.4")
    data = small_images.pixels((4, 16, 24), np.uint8)
    small_images.put_labels(path, "0.4", old=data)
    small_images.put_labels(path, "0.5", new=data)
    names = [pyramid.name for pyramid in opened(path).pyramids]
    assert names == ["a", "old", "new"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_empty_group_of_the_other_format_hides_nothing(tmp_path, version):
    small_images.put_image(tmp_path / "a.zarr", version)
    if version == "0.5":
        (tmp_path / "a.zarr" / ".zattrs").write_text('{"made": "by zarr 2"}')
    else:
        document = '{"zarr_format": 3, "node_type": "group", "attributes": {"a": 1}}'
        (tmp_path / "a.zarr" / "zarr.json").write_text(document)
    assert opened(tmp_path / "a.zarr").pyramids[0].version == version


@pytest.mark.parametrize("group", [2, 3])
def test_an_image_of_the_other_format_in_a_series_is_found(tmp_path, group):
    path = tmp_path / "a.zarr"
    small_images.put_series(path, FORMATS[group], count=2)
    shutil.rmtree(path / "1")
    (data, _) = put_mixed(path / "1", group=other(group), levels=[other(group)] * 3)
    reading = opened(path)
    np.testing.assert_array_equal(reading.pyramids[1].levels[0].pixels[...], data[0])
    assert any("Zarr version" in text for text in reading.warnings)


@pytest.mark.parametrize("group", [2, 3])
def test_the_other_format_costs_one_round_where_it_is_needed(
    http_server, tmp_path, group
):
    odd = other(group)
    put_mixed(tmp_path / "a.zarr", group=group, levels=[group, odd, odd])
    with http_server.round_count() as rounds:
        read(Location.parse(f"{http_server.url}/a.zarr"))
    assert rounds.count == 3
    assert len(http_server.requests) == 5 + 3 + 2


# Whatever was tolerated is said: in the reading, in each layer it is about.


def said(layer):
    return layer[1]["metadata"]["omezarr"]["warnings"]


def test_a_level_that_is_missing_is_said_of_its_own_image(tmp_path):
    path = tmp_path / "a.zarr"
    small_images.put_image(path)
    small_images.put_labels(path, cells=small_images.pixels((4, 16, 24), np.uint8))
    shutil.rmtree(path / "1")
    image, _, cells = read_layers(path)
    assert [text for text in said(image) if "Level 1" in text]
    assert not [text for text in said(cells) if "Level 1" in text]


def test_a_level_that_is_missing_of_labels_is_said_of_the_labels(tmp_path):
    path = tmp_path / "a.zarr"
    small_images.put_image(path)
    small_images.put_labels(path, cells=small_images.pixels((4, 16, 24), np.uint8))
    shutil.rmtree(path / "labels" / "cells" / "0")
    image, _, cells = read_layers(path)
    assert [text for text in said(cells) if "labels/cells/0" in text]
    assert not said(image)


@pytest.mark.parametrize("wanted", [True, ("cells",)])
def test_labels_that_are_missing_are_said_of_their_image(tmp_path, wanted):
    path = tmp_path / "a.zarr"
    small_images.put_image(path)
    small_images.put_labels(path, cells=small_images.pixels((4, 16, 24), np.uint8))
    shutil.rmtree(path / "labels" / "cells")
    for layer in read_layers(path, labels=wanted):
        assert [text for text in said(layer) if "labels/cells" in text]


def test_labels_that_are_not_listed_open_when_they_are_named(tmp_path):
    path = tmp_path / "a.zarr"
    small_images.put_image(path)
    data = small_images.pixels((4, 16, 24), np.uint8)
    small_images.put_labels(path, cells=data, nuclei=data)
    small_images.put_group(path / "labels", "0.5", {"labels": ["nuclei"]})
    layers = read_layers(path, labels=["cells"])
    assert [options["name"] for _, options, _ in layers][-1] == "cells"
    assert [text for text in said(layers[0]) if "not among the labels" in text]


def test_an_image_missing_from_a_series_is_said_of_all_the_others(tmp_path):
    small_images.put_series(tmp_path / "a.zarr")
    shutil.rmtree(tmp_path / "a.zarr" / "1")
    layers = read_layers(tmp_path / "a.zarr")
    assert len(layers) == 4
    for layer in layers:
        assert [text for text in said(layer) if "The image 1" in text]


def test_what_is_odd_about_one_image_of_a_series_is_said_of_it_alone(tmp_path):
    small_images.put_series(tmp_path / "a.zarr")
    shutil.rmtree(tmp_path / "a.zarr" / "1" / "0")
    layers = read_layers(tmp_path / "a.zarr")
    about = [any("1/0" in text for text in said(layer)) for layer in layers]
    assert about == [False] * 2 + [True] * 2 + [False] * 2


def test_what_layers_carry_is_what_the_reading_says(tmp_path):
    path = tmp_path / "a.zarr"
    put_mixed(path, group=2, levels=[3, 2, 2], labels=3, label=3, label_level=2)
    shutil.rmtree(path / "2")
    (path / "labels" / "cells" / "1" / "zarr.json").unlink()
    reading = opened(path)
    layers = read_layers(path)
    everything = {text for layer in layers for text in said(layer)}
    assert everything == set(reading.warnings)
    assert len(everything) == len(reading.warnings) >= 4


# Archives.


def pack(folder, file, *inside):
    with zipfile.ZipFile(file, "w") as archive:
        for place in inside:
            for path in folder.rglob("*"):
                if path.is_file():
                    archive.write(path, place + path.relative_to(folder).as_posix())
    return file


def test_of_several_images_in_an_archive_one_must_be_chosen(tmp_path):
    levels = small_images.put_image(tmp_path / "a.zarr")
    inside = "data/a.zarr/", "data/b.zarr/", "c.zarr/"
    file = pack(tmp_path / "a.zarr", tmp_path / "all.zip", *inside)
    with pytest.raises(NodeNotFoundError, match="holds 3 images: c"):
        opened(file)
    with pytest.raises(NodeNotFoundError) as raised:
        opened(tmp_path / "all.zip" / "data")
    named = raised.value.action.rpartition("like ")[2].rstrip(".")
    assert named.endswith("all.zip/data/a.zarr")
    (image,) = opened(named).pyramids
    np.testing.assert_array_equal(image.levels[0].pixels[...], levels[0])


@pytest.mark.parametrize("name", ["a", "a.zarr", "a.ome.zarr", "a.bin", "a.zip.part"])
@pytest.mark.parametrize("served", [False, True])
def test_an_archive_is_known_by_its_content(http_server, tmp_path, name, served):
    levels = small_images.put_image(tmp_path / "source", "0.4")
    pack(tmp_path / "source", tmp_path / name, "data/image.zarr/")
    place = f"{http_server.url}/{name}?download=1" if served else tmp_path / name
    reading = opened(place)
    assert any("zip file" in note for note in reading.notes)
    np.testing.assert_array_equal(reading.pyramids[0].levels[0].pixels[...], levels[0])
    again = read(Location.parse(str(reading.location)))
    assert again.pyramids[0].shape == reading.pyramids[0].shape


def test_what_is_not_there_is_no_archive_either(http_server, tmp_path):
    (tmp_path / "words").write_text("PK is not enough")
    said = {"words": "is a file, and no OME-Zarr", "nothing": "There is no OME-Zarr"}
    for name, here in said.items():
        with pytest.raises(NodeNotFoundError, match="There is no OME-Zarr"):
            opened(f"{http_server.url}/{name}")
        with pytest.raises(NodeNotFoundError, match=here):
            opened(tmp_path / name)


# Consolidated metadata: older than the arrays, or all that there is.


def put_consolidated(path, version):
    """Write an image with labels and consolidated metadata."""
    levels = small_images.put_image(path, version)
    cells = small_images.pixels((4, 16, 24), np.uint8)
    small_images.put_labels(path, version, cells=cells)
    consolidate(path, version)
    return levels, cells


def consolidate(path, version):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(path), zarr_format=2 if version < "0.5" else 3)


@pytest.fixture(params=["local", "http"])
def address(request, tmp_path):
    if request.param == "local":
        return str(tmp_path)
    return request.getfixturevalue("http_server").url


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("what", ["0", "labels/cells/0"])
def test_arrays_that_grew_after_consolidation_are_shown_whole(
    tmp_path, address, version, what
):
    levels, cells = put_consolidated(tmp_path / "a.zarr", version)
    grown = double(tmp_path / "a.zarr" / what, levels[0] if what == "0" else cells)
    layers = read_layers(f"{address}/a.zarr")
    layer = layers[0] if what == "0" else layers[-1]
    expected = grown[0] if what == "0" else grown
    np.testing.assert_array_equal(layer[0][0].compute(), expected)
    assert [text for text in said(layer) if "consolidated metadata" in text]


def double(path, data):
    """Let an array grow to twice its planes, whatever is consolidated above it."""
    grown = np.concatenate([data, data], axis=data.ndim - 3)
    array = zarr.open_array(str(path))
    array.resize(grown.shape)
    array[...] = grown
    return grown


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("what", ["0", "labels/cells/0"])
def test_pixels_of_an_outdated_document_are_an_error_and_then_right(
    tmp_path, http_server, version, what
):
    """`read` takes no round to know it: the first pixels tell."""
    levels, cells = put_consolidated(tmp_path / "a.zarr", version)
    number = 0 if what == "0" else 1
    address = f"{http_server.url}/a.zarr"
    pixels = read(address).pyramids[number].levels[0].pixels
    np.testing.assert_array_equal(pixels[...], (levels[0], cells)[number])
    told = len(http_server.requests)
    pixels[0, 0]
    assert not [
        r for r in http_server.requests[told:] if "/." in r.path or "json" in r.path
    ]
    grown = double(tmp_path / "a.zarr" / what, (levels[0], cells)[number])
    reading = read(address)
    pixels = reading.pyramids[number].levels[0].pixels
    with pytest.raises(ObjectChangedError, match="older than") as caught:
        pixels[0]
    assert address in str(caught.value)
    reading = read(address)
    np.testing.assert_array_equal(reading.pyramids[number].levels[0].pixels[...], grown)
    assert [text for text in reading.warnings if "consolidated metadata" in text]


_BIG = {"name": "bytes", "configuration": {"endian": "big"}}
_TRANSPOSED = {"name": "transpose", "configuration": {"order": [0, 1, 3, 2]}}
OTHERWISE = {
    "order": ("0.4", {"order": "F"}),
    "filters": ("0.4", {"filters": [numcodecs.Delta(dtype="u2")]}),
    "compressor": ("0.4", {"compressors": [numcodecs.GZip()]}),
    "type": ("0.4", {"dtype": ">u2"}),
    "fill value 2": ("0.4", {"fill_value": 7}),
    "fill value 3": ("0.5", {"fill_value": 7}),
    "byte order": ("0.5", {"serializer": _BIG}),
    "transposed": ("0.5", {"filters": [_TRANSPOSED]}),
    "codec": (
        "0.5",
        {"compressors": [{"name": "gzip", "configuration": {"level": 1}}]},
    ),
    "chunks": ("0.5", {"chunks": (1, 1, 8, 8)}),
}


@pytest.mark.parametrize("otherwise", OTHERWISE)
def test_pixels_are_never_decoded_by_an_outdated_document(
    tmp_path, http_server, otherwise
):
    version, options = OTHERWISE[otherwise]
    plain = {"compressors": None, "fill_value": 0}
    path = tmp_path / "a.zarr"
    (data,) = small_images.put_image(path, version, count=1, **plain)
    consolidate(path, version)
    options = {"dtype": data.dtype} | plain | options
    dtype = options.pop("dtype")
    data[0, 0] = options["fill_value"]
    shutil.rmtree(path / "0")
    small_images.put_array(path / "0", version, data.astype(dtype), "czyx", **options)
    address = f"{http_server.url}/a.zarr"
    pixels = read(address).pyramids[0].levels[0].pixels
    with pytest.raises(ObjectChangedError):
        pixels[...]
    reading = read(address)
    np.testing.assert_array_equal(reading.pyramids[0].levels[0].pixels[...], data)
    assert [text for text in reading.warnings if "consolidated metadata" in text]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_was_calibrated_or_deleted_since_consolidation_is_an_error(
    tmp_path, http_server, version
):
    put_consolidated(tmp_path / "a.zarr", version)
    document = tmp_path / "a.zarr" / "labels" / "cells"
    document /= ".zattrs" if version == "0.4" else "zarr.json"
    text = document.read_text()
    document.write_text(text.replace("0.5", "0.25"))
    assert document.read_text() != text
    image, labels = read(f"{http_server.url}/a.zarr").pyramids
    with pytest.raises(ObjectChangedError):
        labels.levels[0].pixels[0]
    shutil.rmtree(tmp_path / "a.zarr" / "2")
    with pytest.raises(ObjectChangedError):
        image.levels[2].pixels[0]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_level_that_is_gone_since_consolidation_is_left_out(
    tmp_path, address, version
):
    put_consolidated(tmp_path / "a.zarr", version)
    shutil.rmtree(tmp_path / "a.zarr" / "1")
    image, *_ = read_layers(f"{address}/a.zarr")
    assert [level.shape for level in image[0]] == [(4, 16, 24), (4, 4, 6)]
    assert [text for text in said(image) if "Level 1" in text]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_consolidated_metadata_that_are_right_are_not_spoken_of(
    tmp_path, address, version
):
    put_consolidated(tmp_path / "a.zarr", version)
    assert not [
        text for layer in read_layers(f"{address}/a.zarr") for text in said(layer)
    ]


def test_an_image_of_which_only_zmetadata_is_served_opens(tmp_path, address):
    levels, cells = put_consolidated(tmp_path / "a.zarr", "0.4")
    for name in (".zgroup", ".zattrs", ".zarray"):
        for document in (tmp_path / "a.zarr").rglob(name):
            document.unlink()
    image, _, labels = read_layers(f"{address}/a.zarr")
    np.testing.assert_array_equal(image[0][0].compute(), levels[0][0])
    np.testing.assert_array_equal(labels[0][0].compute(), cells)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_to_know_whether_they_are_older_costs_one_round(http_server, tmp_path, version):
    put_consolidated(tmp_path / "a.zarr", version)
    with http_server.round_count() as rounds:
        read_layers(f"{http_server.url}/a.zarr")
    assert rounds.count == 2


# Array documents of drafts, and of careless writers.


def renamed_bytes(document):
    document["codecs"][0]["name"] = "endian"


def drafts_type(document):
    document.update(data_type="<u2", codecs=[])


def in_floats(document):
    document.update(shape=[16.0, 24.0])
    document["chunk_grid"]["configuration"]["chunk_shape"] = [8.0, 8.0]


ODD_3 = {
    "endian": renamed_bytes,
    "no codec": lambda document: document.update(codecs=[]),
    "codecs missing": lambda document: document.pop("codecs"),
    "type of zarr 2": drafts_type,
    "transpose C": lambda document: document["codecs"].insert(
        0, {"name": "transpose", "configuration": {"order": "C"}}
    ),
    "floats": in_floats,
    "float format": lambda document: document.update(zarr_format=3.0),
    "no node type": lambda document: document.pop("node_type"),
    "no fill value": lambda document: document.pop("fill_value"),
    "fill null": lambda document: document.update(fill_value=None),
    "fill NaN": lambda document: document.update(fill_value="NaN"),
    "names short": lambda document: document.update(dimension_names=["y"]),
    "encoding a word": lambda document: document.update(chunk_key_encoding="default"),
    "no encoding": lambda document: document.pop("chunk_key_encoding"),
}
ODD_2 = {
    "no order": lambda document: document.pop("order"),
    "no fill value": lambda document: document.pop("fill_value"),
    "no compressor": lambda document: document.pop("compressor"),
    "no filters": lambda document: document.pop("filters"),
    "no format": lambda document: document.pop("zarr_format"),
    "format a word": lambda document: document.update(zarr_format="2"),
    "type a name": lambda document: document.update(dtype="uint16"),
    "type native": lambda document: document.update(dtype="=u2"),
    "fill NaN": lambda document: document.update(fill_value="NaN"),
    "fill a word": lambda document: document.update(fill_value="0"),
    "separator null": lambda document: document.update(dimension_separator=None),
}


def change(file, edit):
    document = json.loads(file.read_text())
    edit(document)
    file.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("version", "odd"), [("0.5", n) for n in ODD_3] + [("0.4", n) for n in ODD_2]
)
def test_an_odd_array_document_is_understood(tmp_path, version, odd):
    path = tmp_path / "a.zarr"
    (data,) = small_images.put_image(
        path,
        version,
        names="yx",
        shape=(16, 24),
        count=1,
        compressors=None,
        # One chunk, which is called the same with either separator.
        **({"chunks": (16, 24)} if odd == "separator null" else {}),
    )
    if odd == "separator null":
        (path / "0" / "0" / "0").rename(path / "0" / "0.0")
    document = path / "0" / ("zarr.json" if version == "0.5" else ".zarray")
    change(document, (ODD_3 if version == "0.5" else ODD_2)[odd])
    reading = opened(path)
    np.testing.assert_array_equal(reading.pyramids[0].levels[0].pixels[...], data)


def of_no_size(document):
    document["chunk_grid"]["configuration"]["chunk_shape"] = [0, 8]


def of_no_size_inside(document):
    inner = {"chunk_shape": [8, 0], "codecs": [{"name": "bytes"}]}
    document["codecs"] = [{"name": "sharding_indexed", "configuration": inner}]


@pytest.mark.parametrize("edit", [of_no_size, of_no_size_inside])
def test_chunks_of_no_size_are_refused(tmp_path, edit):
    """The newest zarr reads them as others, with a warning."""
    path = tmp_path / "a.zarr"
    small_images.put_image(path, names="yx", shape=(16, 24), count=1)
    change(path / "0" / "zarr.json", edit)
    with pytest.raises(UnsupportedDataError, match="chunks is none"):
        opened(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_draft_says_the_order_of_bytes_by_the_type(tmp_path, order):
    path = tmp_path / "a.zarr"
    (data,) = small_images.put_image(
        path,
        names="yx",
        shape=(8, 8),
        count=1,
        compressors=None,
        serializer=zarr.codecs.BytesCodec(endian="big" if order == ">" else "little"),
    )
    change(
        path / "0" / "zarr.json",
        lambda document: document.update(data_type=f"{order}u2", codecs=[]),
    )
    reading = opened(path)
    np.testing.assert_array_equal(reading.pyramids[0].levels[0].pixels[...], data)
    assert any("order of bytes" in text for text in reading.warnings)
