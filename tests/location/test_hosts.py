"""Web addresses of S3 services, and hosts that moved."""

import pytest

from napari_omezarr.location import Location
from napari_omezarr.location.parse import MOVES

R2 = "0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com"


@pytest.mark.parametrize(
    ("address", "endpoint", "region"),
    [
        ("https://s3.amazonaws.com/lab/x", None, None),
        ("https://s3.eu-west-1.amazonaws.com/lab/x", None, "eu-west-1"),
        ("https://s3-us-west-2.amazonaws.com/lab/x", None, "us-west-2"),
        ("https://s3.dualstack.us-east-2.amazonaws.com/lab/x", None, "us-east-2"),
        ("https://s3.cn-north-1.amazonaws.com.cn/lab/x", None, "cn-north-1"),
        ("https://lab.s3.amazonaws.com/x", None, None),
        ("http://lab.s3.us-gov-west-1.amazonaws.com/x", None, "us-gov-west-1"),
        ("https://lab.s3-eu-central-1.amazonaws.com/x", None, "eu-central-1"),
        ("https://lab.s3.dualstack.us-east-1.amazonaws.com/x", None, "us-east-1"),
        ("https://lab.s3-accelerate.amazonaws.com/x", None, None),
        ("https://storage.googleapis.com/lab/x", "storage.googleapis.com", None),
        ("https://lab.storage.googleapis.com/x", "storage.googleapis.com", None),
        (f"https://{R2}/lab/x", R2, "auto"),
        (f"https://lab.{R2}/x", R2, "auto"),
        (
            "https://lab.nyc3.cdn.digitaloceanspaces.com/x",
            "nyc3.digitaloceanspaces.com",
            "nyc3",
        ),
        (
            "https://nyc3.digitaloceanspaces.com/lab/x",
            "nyc3.digitaloceanspaces.com",
            "nyc3",
        ),
        ("https://s3.wasabisys.com/lab/x", "s3.wasabisys.com", None),
        (
            "https://lab.s3.eu-central-1.wasabisys.com/x",
            "s3.eu-central-1.wasabisys.com",
            "eu-central-1",
        ),
        (
            "https://lab.s3.us-west-004.backblazeb2.com/x",
            "s3.us-west-004.backblazeb2.com",
            "us-west-004",
        ),
        ("https://lab.s3.fr-par.scw.cloud/x", "s3.fr-par.scw.cloud", "fr-par"),
        (
            "https://lab.s3.gra.io.cloud.ovh.net/x",
            "s3.gra.io.cloud.ovh.net",
            "gra",
        ),
        (
            "https://lab.us-east-1.linodeobjects.com/x",
            "us-east-1.linodeobjects.com",
            "us-east-1",
        ),
        (
            "https://lab.fsn1.your-objectstorage.com/x",
            "fsn1.your-objectstorage.com",
            "fsn1",
        ),
        ("https://livingobjects.ebi.ac.uk/lab/x", "livingobjects.ebi.ac.uk", None),
        ("https://uk1s3.embassy.ebi.ac.uk/lab/x", "livingobjects.ebi.ac.uk", None),
        ("https://s3.embl.de/lab/x", "s3.embl.de", None),
        ("https://radosgw.public.os.wwu.de/lab/x", "radosgw.public.os.wwu.de", None),
        ("https://lab.cog.sanger.ac.uk/x", "cog.sanger.ac.uk", None),
        ("https://s3.some-institute.org/lab/x", "s3.some-institute.org", None),
    ],
)
def test_a_web_address_of_an_endpoint_knows_its_bucket(address, endpoint, region):
    location = Location.parse(f"{address}?X-Amz-Signature=1").as_s3()
    assert (location.protocol, location.root, location.path) == ("s3", "lab", "x")
    assert location.endpoint == (endpoint and f"https://{endpoint}")
    assert location.region == region
    assert location.query == ""
    assert Location.parse(str(location)) == location


@pytest.mark.parametrize(
    "address",
    [
        "https://lab.s3-website-us-east-1.amazonaws.com/x",
        "https://lab.s3-website.eu-central-1.amazonaws.com/x",
        "https://point-123.s3-accesspoint.us-east-1.amazonaws.com/x",
        "https://pub-0123456789abcdef.r2.dev/x",
        "https://host/bucket/x",
        "https://s3.amazonaws.com/",
        "https://livingobjects.ebi.ac.uk",
        "https://notdigitaloceanspaces.com/lab/x",
        "http://localhost:9000/lab/x",
        "gs://bucket/x",
        "/data/x",
    ],
)
def test_other_places_are_no_s3(address):
    assert Location.parse(address).as_s3() is None


def test_an_unknown_host_may_be_taken_for_an_endpoint():
    location = Location.parse("http://localhost:8333/lab/a/x.zarr")
    s3 = location.as_s3(path_style=True)
    assert s3 == Location.parse("s3+http://localhost:8333/lab/a/x.zarr")
    assert s3.as_s3() is s3
    assert Location.parse("http://localhost:8333/").as_s3(path_style=True) is None
    assert Location.parse("http://localhost/x.zip/a").as_s3(path_style=True) is None


def test_an_archive_stays_one_in_its_bucket():
    location = Location.parse("https://lab.s3.amazonaws.com/a/x.ozx/0").as_s3()
    assert (location.root, location.path, location.member) == ("lab", "a/x.ozx", "0")


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("s3://livingobjects.ebi.ac.uk/idr/x.zarr", "https://livingobjects.ebi.ac.uk"),
        ("s3://minio.lab.org:9000/idr/x.zarr", "https://minio.lab.org:9000"),
        ("s3://localhost:9000/idr/x.zarr", "http://localhost:9000"),
    ],
)
def test_an_endpoint_in_the_place_of_the_bucket_is_seen(address, endpoint):
    location = Location.parse(address)
    assert (location.endpoint, location.root) == (endpoint, "idr")
    assert location.path == "x.zarr"


@pytest.mark.parametrize(
    "address",
    [
        "https://uk1s3.embassy.ebi.ac.uk/bia-integrator-data/x.zarr?a=1",
        "https://s3.embassy.ebi.ac.uk/bia-integrator-data/x.zarr?a=1",
        "https://livingobjects.ebi.ac.uk/bia-integrator-data/x.zarr?a=1",
        "uk1s3.embassy.ebi.ac.uk/bia-integrator-data/x.zarr/.zattrs?a=1",
    ],
)
def test_a_moved_address_opens_at_its_new_place_with_a_note(address):
    location = Location.parse(address)
    new = "https://livingobjects.ebi.ac.uk/bioimaging-integrator-data/x.zarr?a=1"
    assert str(location) == new
    assert len(location.notes) == 1
    assert "livingobjects.ebi.ac.uk/bioimaging-integrator-data" in location.notes[0]
    assert "2026-04" in location.notes[0]
    assert not Location.parse(new).notes


def test_a_moved_endpoint_is_followed_too():
    old = "https://uk1s3.embassy.ebi.ac.uk"
    for location in (
        Location.parse("s3+https://uk1s3.embassy.ebi.ac.uk/bia-integrator-data/x"),
        Location.parse("s3://bia-integrator-data/x", endpoint=old),
    ):
        assert location.endpoint == "https://livingobjects.ebi.ac.uk"
        assert location.root == "bioimaging-integrator-data"
        assert location.notes
    assert Location.parse(f"{old}/idr/x").root == "livingobjects.ebi.ac.uk"


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.host)
def test_every_row_of_the_table_leads_on_and_says_its_source(move):
    assert move.source.startswith("https://")
    moved = Location.parse(f"https://{move.host}/any/x.zarr")
    assert moved.root not in {move.host for move in MOVES}
    assert moved.path == "any/x.zarr"


def test_a_plain_http_address_gives_a_plain_http_endpoint():
    bucket = Location.parse("http://s3.lab.example:9000/data/a.zarr").as_s3()
    assert bucket is not None
    assert bucket.endpoint == "http://s3.lab.example:9000"
