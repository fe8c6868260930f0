"""What we write to S3 and into zip files, judged by other programs; and bioio's word.

The bucket is public, so that each judge reads it in its own way over HTTP.
"""

from __future__ import annotations

import numpy as np
import pytest
import yaozarrs
import zarr

from napari_omezarr.demo.server import OWNER
from napari_omezarr.location import Location
from napari_omezarr.writing import add_labels, write_layers
from writing.test_judges import IMAGE, KINDS, LABELS, PLACED, VERSIONS, every_kind

# The judges leave sessions open, and call what others have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore")

every_version = pytest.mark.parametrize("version", VERSIONS)
zipped = pytest.mark.parametrize("version", ["0.5", "0.6"])


def write_cells(place, version):
    write_layers(KINDS["cells"](), place, version=version, **shards(version))
    # ome-zarr-models stumbles over labels of 0.5 without colours, which are optional.
    described = {"name": "more", "colormap": {1: (1, 1, 0, 1)}, **PLACED}
    add_labels((LABELS + 1, described, "labels"), place)


def shards(version):
    return {} if version == "0.4" else {"shards": True}


@pytest.fixture(scope="module")
def stored(s3_server):
    """Images of each version on S3; gives their addresses over HTTP."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", OWNER.key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)
        for version in VERSIONS:
            address = f"s3://public/judged/{version}.ome.zarr"
            place = Location.parse(address, endpoint=s3_server.endpoint)
            write_cells(place, version)
    return f"{s3_server.endpoint}/public/judged"


@pytest.fixture
def url(stored, version):
    return f"{stored}/{version}.ome.zarr"


@every_version
def test_zarr_reads_s3(version, url):
    group = zarr.open_group(url, mode="r")
    np.testing.assert_array_equal(group["0"][...], IMAGE)
    np.testing.assert_array_equal(group["labels/more/0"][...], LABELS + 1)


@every_version
def test_tensorstore_reads_s3(version, url):
    tensorstore = pytest.importorskip("tensorstore")
    driver = "zarr" if version == "0.4" else "zarr3"
    kvstore = {"driver": "http", "base_url": f"{url}/labels/nuclei/0/"}
    found = tensorstore.open({"driver": driver, "kvstore": kvstore}).result(60)
    np.testing.assert_array_equal(found.read().result(60), LABELS)


@every_version
def test_yaozarrs_accepts_s3(version, url):
    if version == "0.6":
        pytest.skip("yaozarrs knows OME-Zarr up to 0.5")
    yaozarrs.validate_zarr_store(url)


@every_version
def test_ngff_zarr_reads_s3(version, url):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    pytest.importorskip("obstore")  # by which it reads what is remote
    image = ngff_zarr.from_ngff_zarr(url, validate=True).images[0]
    np.testing.assert_array_equal(np.asarray(image.data), IMAGE)
    assert image.scale == {"c": 1.0, "z": 0.5, "y": 0.2, "x": 0.2}


@every_version
def test_ome_zarr_py_reads_s3(version, url):
    reader = pytest.importorskip("ome_zarr.reader")
    parse_url = pytest.importorskip("ome_zarr.io").parse_url
    nodes = list(reader.Reader(parse_url(url))())
    np.testing.assert_array_equal(np.asarray(nodes[0].data[0]), IMAGE)
    assert nodes[0].metadata["channel_names"] == ["marker 0", "marker 1"]


@every_version
def test_ome_zarr_models_accepts_s3(version, url):
    models = {"0.4": "ome_zarr_models.v04.image", "0.5": "ome_zarr_models.v05.image"}
    if version not in models:
        pytest.skip("ome-zarr-models 1.6, as it installs beside napari, ends at 0.5")
    model = pytest.importorskip(models[version]).Image
    endpoint, _, path = url.partition("/public/")
    options = {"anon": True, "endpoint_url": endpoint}  # it lists what is there
    group = zarr.open_group(f"s3://public/{path}", mode="r", storage_options=options)
    found = model.from_zarr(group)
    multiscales = getattr(found.attributes, "ome", found.attributes).multiscales
    assert len(multiscales[0].datasets) == 2


@every_version
def test_bioio_reads_s3(version, url):
    library = pytest.importorskip("bioio_ome_zarr")
    if version == "0.6":
        pytest.skip("bioio-ome-zarr 3.8 knows OME-Zarr up to 0.5")
    judged_by_bioio(library.Reader(url), IMAGE)


@every_kind
def test_bioio_reads_the_same_pixels_and_scale(version, kind, tmp_path):
    library = pytest.importorskip("bioio_ome_zarr")
    if version == "0.6" or kind == "several":
        pytest.skip("bioio-ome-zarr 3.8 knows images of OME-Zarr up to 0.5")
    place = tmp_path / f"{kind}.ome.zarr"
    write_layers(KINDS[kind](), place, version=version)
    expected = zarr.open_array(str(place / "0"), mode="r")[...]
    judged_by_bioio(library.Reader(str(place)), expected)


def judged_by_bioio(reader, expected):
    np.testing.assert_array_equal(np.squeeze(reader.data), np.squeeze(expected))
    if expected is IMAGE:
        assert list(reader.channel_names) == ["marker 0", "marker 1"]
        sizes = reader.physical_pixel_sizes
        assert (sizes.Z, sizes.Y, sizes.X) == (0.5, 0.2, 0.2)


@zipped
@pytest.mark.parametrize("kind", ["cells", "several"])
def test_zarr_and_tensorstore_read_a_zip_file(version, kind, tmp_path):
    tensorstore = pytest.importorskip("tensorstore")
    place = tmp_path / "a.ozx"
    write_layers(KINDS[kind](), place, version=version)
    path = "1/labels/nuclei/0" if kind == "several" else "labels/nuclei/0"
    with zarr.storage.ZipStore(place, mode="r") as store:
        found = zarr.open_group(store, mode="r")[path][...]
    np.testing.assert_array_equal(found, LABELS)
    base = {"driver": "file", "path": str(place)}
    kvstore = {"driver": "zip", "base": base, "path": f"{path}/"}
    array = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result(60)
    np.testing.assert_array_equal(array.read().result(60), LABELS)


@zipped
def test_ngff_zarr_reads_a_zip_file(version, tmp_path):
    ngff_zarr = pytest.importorskip("ngff_zarr")
    write_layers(KINDS["cells"](), tmp_path / "a.ozx", version=version)
    found = ngff_zarr.from_ngff_zarr(str(tmp_path / "a.ozx"), validate=True).images[0]
    np.testing.assert_array_equal(np.asarray(found.data), IMAGE)
    assert found.translation["z"] == 10.0
