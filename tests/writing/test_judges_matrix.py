"""Every version and kind of image, in a bucket and in a zip file, before every judge.

On disk they are judged in ``test_writing_judges``. `CANNOT` names what a judge does not
read, and why; everything else has to come out with equal pixels and scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import yaozarrs
import zarr

from napari_omezarr.demo.server import OWNER
from napari_omezarr.location import Location
from napari_omezarr.writing import write_layers

# The judges leave sessions open, and call what others have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore")

VERSIONS = ("0.4", "0.5", "0.6")
RNG = np.random.default_rng(2)
PIXELS = RNG.integers(1, 250, (3, 2, 4, 70, 60)).astype(np.uint8)
CHUNKS = {"y": 32, "x": 32}
SCALE = {"t": 3.0, "c": 1.0, "z": 0.5, "y": 0.2, "x": 0.2}


def layer(data, names, kind="image", **options):
    scale = [SCALE[name] for name in names]
    named = {"name": kind, "axis_labels": tuple(names), "scale": scale}
    return data, {**named, **options}, kind


def coloured(names="zyx"):
    colours = {1: (1, 0, 0, 1), None: (0, 0, 0, 0)}
    data = (PIXELS[0, 0] // 90).astype(np.int32)
    return layer(data, names, "labels", colormap=colours)


KINDS = {
    "plane": ([layer(PIXELS[0, 0, 0], "yx")], PIXELS[0, 0, 0], "yx"),
    "channels": ([layer(PIXELS[0], "czyx")], PIXELS[0], "czyx"),
    "movie": ([layer(PIXELS, "tczyx")], PIXELS, "tczyx"),
    "labelled": ([layer(PIXELS[0, 0], "zyx"), coloured()], PIXELS[0, 0], "zyx"),
    "photo": (
        [layer(PIXELS[0, 0, :3].transpose(1, 2, 0), "yx", rgb=True)],
        PIXELS[0, 0, :3],
        "cyx",
    ),
}


@dataclass(frozen=True)
class Stored:
    """An image where it was written; ``sharded`` from 0.5 on for half of them."""

    place: str
    version: str
    kind: str
    address: str

    @property
    def pixels(self):
        return KINDS[self.kind][1]

    @property
    def axes(self):
        return KINDS[self.kind][2]

    def group(self):
        if self.place == "zip":
            store = zarr.storage.ZipStore(self.address, mode="r")
            return zarr.open_group(store, mode="r")
        endpoint, _, path = self.address.partition("/public/")
        options = {"anon": True, "endpoint_url": endpoint}
        return zarr.open_group(f"s3://public/{path}", mode="r", storage_options=options)


@pytest.fixture(scope="module")
def stored(s3_server, tmp_path_factory):
    """All of them, by place."""
    folder = tmp_path_factory.mktemp("judged")
    found = {"s3": [], "zip": []}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", OWNER.key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)
        for number, (version, kind) in enumerate(
            (v, k) for v in VERSIONS for k in KINDS
        ):
            shards = version != "0.4" and bool(number % 2)
            options = {"version": version, "chunks": CHUNKS, "levels": 2}
            options |= {"shards": True} if shards else {}
            path = f"public/matrix/{version}/{kind}.ome.zarr"
            target = Location.parse(f"s3://{path}", endpoint=s3_server.endpoint)
            write_layers(KINDS[kind][0], target, **options)
            address = f"{s3_server.endpoint}/{path}"
            found["s3"].append(Stored("s3", version, kind, address))
            if version != "0.4":  # RFC-9 begins with 0.5
                file = folder / f"{version}-{kind}.ozx"
                write_layers(KINDS[kind][0], file, **options)
                found["zip"].append(Stored("zip", version, kind, str(file)))
    return found


def judged_by_zarr(image):
    found = image.group()
    np.testing.assert_array_equal(found["0"][...], image.pixels)
    attributes = dict(found.attrs)
    block = attributes.get("ome", attributes)["multiscales"][0]
    (scale,) = (
        step["scale"]
        for step in block["datasets"][0]["coordinateTransformations"]
        if step["type"] == "scale"
    )
    assert scale == [SCALE[axis] for axis in image.axes]


def judged_by_tensorstore(image):
    tensorstore = pytest.importorskip("tensorstore")
    driver = "zarr" if image.version == "0.4" else "zarr3"
    kvstore = {"driver": "http", "base_url": f"{image.address}/0/"}
    if image.place == "zip":
        base = {"driver": "file", "path": image.address}
        kvstore = {"driver": "zip", "base": base, "path": "0/"}
    found = tensorstore.open({"driver": driver, "kvstore": kvstore}).result(60)
    np.testing.assert_array_equal(found.read().result(60), image.pixels)


def judged_by_yaozarrs(image):
    yaozarrs.validate_zarr_store(image.address)


def judged_by_ngff_zarr(image):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    if image.place == "s3":
        pytest.importorskip("obstore")  # by which it reads what is remote
    found = ngff_zarr.from_ngff_zarr(image.address, validate=True).images[0]
    np.testing.assert_array_equal(np.asarray(found.data), image.pixels)
    assert found.scale == {axis: SCALE[axis] for axis in image.axes}


def judged_by_ome_zarr_py(image):
    reader = pytest.importorskip("ome_zarr.reader")
    parse_url = pytest.importorskip("ome_zarr.io").parse_url
    nodes = list(reader.Reader(parse_url(image.address))())
    np.testing.assert_array_equal(np.asarray(nodes[0].data[0]), image.pixels)
    (first, *_) = nodes[0].metadata["coordinateTransformations"][0]
    assert first["scale"] == [SCALE[axis] for axis in image.axes]
    assert len(nodes) >= (2 if image.kind == "labelled" else 1)


def judged_by_ome_zarr_models(image):
    name = f"ome_zarr_models.v{image.version.replace('.', '')}.image"
    found = pytest.importorskip(name).Image.from_zarr(image.group())
    multiscales = getattr(found.attributes, "ome", found.attributes).multiscales
    assert len(multiscales[0].datasets) == 2
    assert [axis.name for axis in multiscales[0].axes] == list(image.axes)


def judged_by_bioio(image):
    library = pytest.importorskip("bioio_ome_zarr")
    reader = library.Reader(image.address)
    np.testing.assert_array_equal(np.squeeze(reader.data), np.squeeze(image.pixels))
    sizes = reader.physical_pixel_sizes
    assert (sizes.Y, sizes.X) == (0.2, 0.2)


JUDGES = {
    name.removeprefix("judged_by_"): judge
    for name, judge in list(globals().items())
    if name.startswith("judged_by_")
}

CANNOT = {
    ("yaozarrs", "s3", "0.6"): "yaozarrs knows OME-Zarr up to 0.5",
    ("yaozarrs", "zip", "0.5"): "yaozarrs opens folders and addresses, no zip files",
    ("yaozarrs", "zip", "0.6"): "yaozarrs opens folders and addresses, no zip files",
    ("ome_zarr_models", "s3", "0.6"): "ome-zarr-models 1.6 knows it up to 0.5",
    ("ome_zarr_models", "zip", "0.6"): "ome-zarr-models 1.6 knows it up to 0.5",
    ("ome_zarr_py", "zip", "0.5"): "ome-zarr-py opens folders and addresses only",
    ("ome_zarr_py", "zip", "0.6"): "ome-zarr-py opens folders and addresses only",
    ("bioio", "s3", "0.6"): "bioio-ome-zarr 3.8 knows OME-Zarr up to 0.5",
    ("bioio", "zip", "0.5"): "bioio-ome-zarr opens folders and addresses only",
    ("bioio", "zip", "0.6"): "bioio-ome-zarr opens folders and addresses only",
}
"""Which judge reads nothing of a version at a place, and why."""


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize(
    ("place", "version"),
    [(p, v) for p in ("s3", "zip") for v in VERSIONS if (p, v) != ("zip", "0.4")],
)
def test_each_judge_finds_all_kinds_as_they_were(judge, place, version, stored):
    if reason := CANNOT.get((judge, place, version)):
        pytest.skip(reason)
    images = [image for image in stored[place] if image.version == version]
    assert {image.kind for image in images} == set(KINDS)
    for image in images:
        JUDGES[judge](image)
