"""What we write, judged by programs that share no line with us.

The JSON schemas of the specification are used where they lie beside the project
(``OMEZARR_CONFORMANCE`` names their folder).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaozarrs
import zarr

from napari_omezarr.writing import add_labels, write_layers

DEFAULT = Path(__file__).parents[2] / "../shared/conformance"
SCHEMAS = Path(os.environ.get("OMEZARR_CONFORMANCE", DEFAULT)) / "schemas"

VERSIONS = ("0.4", "0.5", "0.6")
IMAGE = np.random.default_rng(1).integers(0, 900, (2, 5, 301, 270)).astype(np.uint16)
LABELS = (IMAGE[0] // 300).astype(np.int32)
PLACED = {
    "scale": (0.5, 0.2, 0.2),
    "translate": (10.0, 0.0, -4.0),
    "units": ("micrometer",) * 3,
    "axis_labels": ("z", "y", "x"),
}


def cells():
    """Two channels with a label image that has colours and properties."""
    channels = [
        (IMAGE[n], {"name": f"marker {n}", "contrast_limits": (0, 900), **PLACED})
        for n in range(2)
    ]
    described = {
        "name": "nuclei",
        "colormap": {1: (1, 0, 0, 1), 2: (0, 0.2, 1, 0.5), None: (0, 0, 0, 0)},
        "features": {"index": [1, 2], "area": [3.5, 4.0], "class": ["a", "b"]},
        **PLACED,
    }
    return [*channels, (LABELS, described, "labels")]


def plane():
    return [(IMAGE[0, 0], {"name": "plane", "axis_labels": ("y", "x")}, "image")]


def movie():
    names = ("t", "c", "z", "y", "x")
    data = IMAGE.reshape(1, *IMAGE.shape).astype(np.float32)
    return [(data, {"name": "movie", "axis_labels": names}, "image")]


def several():
    return [*plane(), *cells()]


def picture():
    data = IMAGE[0, 0, :, :, None].astype(np.uint8).repeat(3, axis=2)
    return [(data, {"name": "photo", "rgb": True}, "image")]


def turned():
    return [(IMAGE[0], {"name": "turned", "rotate": 20, **PLACED}, "image")]


def mirrored():
    scale = {"scale": (0.5, -0.2, 0.2)}
    return [(IMAGE[0], {"name": "mirrored", **PLACED, **scale}, "image")]


KINDS = {
    f.__name__: f for f in (cells, plane, movie, several, picture, turned, mirrored)
}

every_kind = pytest.mark.parametrize(
    ("version", "kind"),
    [
        (version, kind)
        for version in VERSIONS
        for kind in KINDS
        if kind not in ("turned", "mirrored") or version == "0.6"
    ],
)


def written(folder, version, kind, **choices):
    place = folder / f"{kind}.ome.zarr"
    write_layers(KINDS[kind](), place, version=version, **choices)
    if kind == "cells":
        more = (LABELS + 1, {"name": "more", **PLACED}, "labels")
        add_labels((more[0], more[1] | {"colormap": {1: (1, 1, 0, 1)}}, more[2]), place)
    return place


def images(place, kind):
    return [place / "0", place / "1"] if kind == "several" else [place]


def attributes(group):
    document = group / "zarr.json"
    if document.exists():
        return json.loads(document.read_text())["attributes"]
    return json.loads((group / ".zattrs").read_text())


@every_kind
def test_the_schemas_accept_every_group(version, kind, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    dialect = pytest.importorskip("referencing.jsonschema").DRAFT202012
    if not SCHEMAS.is_dir():
        pytest.skip("the schemas of the specification are not here")
    resources = [
        (schema["$id"], dialect.create_resource(schema))
        for file in (SCHEMAS / version).glob("*.schema")
        if "$id" in (schema := json.loads(file.read_text()))
    ]
    registry = referencing.Registry().with_resources(resources)

    def judge(name, group):
        schema = json.loads((SCHEMAS / version / name).read_text())
        validator = jsonschema.Draft202012Validator(schema, registry=registry)
        errors = [error.message for error in validator.iter_errors(attributes(group))]
        assert errors == [], group

    place = written(tmp_path, version, kind)
    for image in images(place, kind):
        judge("strict_image.schema", image)
        if (image / "labels").exists():
            for label in ("nuclei", "more") if kind == "cells" else ("nuclei",):
                judge("strict_label.schema", image / "labels" / label)
                judge("strict_image.schema", image / "labels" / label)
    if kind == "several":
        judge("bf2raw.schema", place)


@every_kind
def test_yaozarrs_accepts_it(version, kind, tmp_path):
    if version == "0.6":
        pytest.skip("yaozarrs knows OME-Zarr up to 0.5")
    place = written(tmp_path, version, kind, shards=version != "0.4" or None)
    for image in images(place, kind):
        yaozarrs.validate_zarr_store(image)


@every_kind
def test_zarr_reads_the_same_pixels_with_and_without_consolidated(
    version, kind, tmp_path
):
    place = written(tmp_path, version, kind)
    first = images(place, kind)[0]
    plain = zarr.open_group(str(place), mode="r", use_consolidated=False)
    held = zarr.open_group(str(place), mode="r", use_consolidated=True)
    relative = first.relative_to(place).as_posix().strip(".")
    name = f"{relative}/0".strip("/")
    np.testing.assert_array_equal(plain[name][...], held[name][...])
    assert plain[name].metadata == held[name].metadata
    found = {path for path, _ in plain.members(max_depth=None)}
    assert found == {path for path, _ in held.members(max_depth=None)}
    if kind == "cells":
        np.testing.assert_array_equal(plain["0"][...], IMAGE)
        np.testing.assert_array_equal(plain["labels/more/0"][...], LABELS + 1)


@every_kind
def test_tensorstore_reads_the_same_pixels(version, kind, tmp_path):
    tensorstore = pytest.importorskip("tensorstore")
    place = images(written(tmp_path, version, kind), kind)[0]
    driver = "zarr" if version == "0.4" else "zarr3"
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{place}/1/"}}
    found = tensorstore.open(spec).result(60).read().result(60)
    expected = zarr.open_array(str(place / "1"), mode="r")[...]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("codec", ["zstd", "blosc-zstd", "blosc-lz4", "gzip", "none"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_tensorstore_decodes_every_codec(version, codec, shards, tmp_path):
    tensorstore = pytest.importorskip("tensorstore")
    if version == "0.4" and shards:
        pytest.skip("Zarr v2 has no shards")
    place = tmp_path / "a.zarr"
    choices = {"codec": codec, "shards": shards, "chunks": (100, 100)}
    write_layers(plane(), place, version=version, **choices)
    driver = "zarr" if version == "0.4" else "zarr3"
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{place}/0/"}}
    found = tensorstore.open(spec).result(60).read().result(60)
    np.testing.assert_array_equal(found, IMAGE[0, 0])


@every_kind
def test_ngff_zarr_reads_the_same_pixels_and_scale(version, kind, tmp_path):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    place = images(written(tmp_path, version, kind), kind)[0]
    image = ngff_zarr.from_ngff_zarr(str(place), validate=True).images[0]
    expected = zarr.open_array(str(place / "0"), mode="r")[...]
    np.testing.assert_array_equal(np.asarray(image.data), expected)
    if kind == "cells":
        assert image.scale == {"c": 1.0, "z": 0.5, "y": 0.2, "x": 0.2}
        assert image.translation == {"c": 0.0, "z": 10.0, "y": 0.0, "x": -4.0}
        assert image.axes_units["z"] == "micrometer"


@every_kind
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_ome_zarr_py_reads_the_same_pixels(version, kind, tmp_path):
    reader = pytest.importorskip("ome_zarr.reader")
    parse_url = pytest.importorskip("ome_zarr.io").parse_url
    place = images(written(tmp_path, version, kind), kind)[0]
    nodes = list(reader.Reader(parse_url(str(place)))())
    expected = zarr.open_array(str(place / "0"), mode="r")[...]
    np.testing.assert_array_equal(np.asarray(nodes[0].data[0]), expected)
    if kind == "cells":
        assert nodes[0].metadata["channel_names"] == ["marker 0", "marker 1"]
        assert len(nodes) >= 3


@every_kind
def test_ome_zarr_models_accepts_it(version, kind, tmp_path):
    models = {"0.4": "ome_zarr_models.v04.image", "0.5": "ome_zarr_models.v05.image"}
    if version not in models:
        pytest.skip("ome-zarr-models 1.6, as it installs beside napari, ends at 0.5")
    model = pytest.importorskip(models[version]).Image
    for image in images(written(tmp_path, version, kind), kind):
        found = model.from_zarr(zarr.open_group(str(image), mode="r"))
        multiscales = getattr(found.attributes, "ome", found.attributes).multiscales
        assert len(multiscales[0].datasets) == 2
