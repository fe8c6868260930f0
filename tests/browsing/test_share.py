"""Links for others, and what is missing where they would not work."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from napari_omezarr.browsing import (
    ChannelView,
    Viewer,
    ViewState,
    check_public,
    python_snippet,
    s3_address,
    share_link,
    web_address,
)
from napari_omezarr.connections import Connection, ConnectionFile, Profile
from napari_omezarr.location import Location, without_secrets
from napari_omezarr.store import open_lister, run
from servers import faults
from servers.proxy import Proxy
from small_images import put_image

ADDRESS = "https://host.org/bucket/a b.zarr".replace(" ", "%20")
VIEW = ViewState(
    center={"t": 2.0, "z": 5.0, "y": 120.5, "x": 90.0},
    zoom=4.0,
    units={"z": "micrometer", "y": "micrometer", "x": "micrometer", "t": "second"},
    channels=(
        ChannelView(0, "DAPI", "0000FF", (10.0, 200.0)),
        ChannelView(1, "GFP", "00FF00", (5.0, 99.0), visible=False),
    ),
    labels=("cells",),
    channel_axis="c",
    grid={"z": (2.0, 1.0), "y": (0.5, 10.0), "x": (0.25, 20.0)},
)


@pytest.mark.parametrize("viewer", Viewer)
@pytest.mark.parametrize("view", [None, VIEW])
def test_a_link_leads_back_to_its_image(viewer, view):
    link = share_link(ADDRESS, viewer, view)
    assert link.startswith(viewer.address)
    assert Location.parse(link) == Location.parse(ADDRESS)


def neuroglancer(view):
    link = share_link(ADDRESS, Viewer.NEUROGLANCER, view)
    return json.loads(unquote(link.partition("#!")[2]))


def test_neuroglancer_calls_an_image_as_it_is_called():
    (layer,) = neuroglancer(None)["layers"]
    assert layer["name"] == "a b.zarr"


def test_neuroglancer_is_told_where_and_how_to_look():
    state = neuroglancer(VIEW)
    assert state["dimensions"] == {
        "x": [1e-6, "m"],
        "y": [1e-6, "m"],
        "z": [1e-6, "m"],
        "t": [1.0, "s"],
    }
    assert state["displayDimensions"] == ["x", "y", "z"]
    assert state["position"] == [90.0, 120.5, 5.0, 2.0]
    assert state["crossSectionScale"] == 0.25
    assert state["layout"] == "xy"
    dapi, gfp, cells = state["layers"]
    assert dapi["source"] == f"zarr://{ADDRESS}/"
    assert (dapi["name"], dapi["visible"], gfp["visible"]) == ("DAPI", True, False)
    assert dapi["shaderControls"] == {
        "contrast": {"range": [10.0, 200.0]},
        "color": "#0000ff",
    }
    assert (gfp["localDimensions"], gfp["localPosition"]) == ({"c'": [1, ""]}, [1])
    assert {"contrast", "color"} <= set(dapi["shader"].split())
    assert cells["source"] == f"zarr://{ADDRESS}/labels/cells/"
    assert cells["type"] == "segmentation"


def test_an_image_without_channels_or_units_is_one_layer():
    view = ViewState(center={"t": 3.0, "y": 1.0, "x": 2.0}, zoom=2.0)
    state = neuroglancer(view)
    assert state["dimensions"] == {"x": [1, ""], "y": [1, ""], "t": [1, ""]}
    assert state["displayDimensions"] == ["x", "y"]
    assert state["crossSectionScale"] == 0.5
    assert [layer["type"] for layer in state["layers"]] == ["auto"]


def test_a_volume_is_a_volume():
    state = neuroglancer(replace(VIEW, displayed=("z", "y", "x")))
    assert (state["layout"], state["displayDimensions"]) == ("3d", ["x", "y", "z"])
    assert state["layers"][0]["volumeRendering"] == "max"


def test_another_plane_keeps_its_axes_and_its_zoom():
    units = VIEW.units | {"z": "nanometer"}
    state = neuroglancer(replace(VIEW, displayed=("x", "z"), units=units))
    assert state["displayDimensions"] == ["z", "x", "y"]
    # A pixel of the screen is a quarter of a nanometre, and that is the finest unit.
    assert state["crossSectionScale"] == 0.25
    state = neuroglancer(replace(VIEW, units=units))
    assert state["crossSectionScale"] == pytest.approx(250)


def test_vizarr_is_told_where_to_look_and_where_the_image_lies():
    said = parse_qs(urlsplit(share_link(ADDRESS, Viewer.VIZARR, VIEW)).query)
    state = {"zoom": 2.0, "target": [90.125, 120.75]}
    assert json.loads(said["viewState"][0]) == state
    matrix = json.loads(said["model_matrix"][0])
    assert matrix[:8] == [0.25, 0, 0, 20.0, 0, 0.5, 0, 10.0]
    assert matrix[8:] == [0, 0, 1, 0, 0, 0, 0, 1]
    assert [viewer.takes_view for viewer in Viewer] == [False, True, True, False]


@pytest.mark.parametrize("change", [{"grid": {}}, {"displayed": ("z", "x")}])
def test_vizarr_is_not_told_what_it_cannot_show(change):
    link = share_link(ADDRESS, Viewer.VIZARR, replace(VIEW, **change))
    assert link == share_link(ADDRESS, Viewer.VIZARR)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://host/a b.zarr", "https://host/a%20b.zarr"),
        ("https://host/a.zarr?token=x", ""),
        ("https://me:pw@host/a.zarr", ""),
        ("https://host/a.ozx", ""),
        ("/home/a.zarr", ""),
        ("az://container/a.zarr", ""),
        ("gs://bucket/a.zarr", "https://storage.googleapis.com/bucket/a.zarr"),
        (
            "s3://bucket/a b.zarr|region:eu-west-1",
            "https://bucket.s3.eu-west-1.amazonaws.com/a%20b.zarr",
        ),
        ("s3+https://host/bucket/a.zarr", "https://host/bucket/a.zarr"),
    ],
)
def test_places_have_web_addresses(text, address):
    assert web_address(Location.parse(text)) == address


def test_the_environment_says_where_buckets_are(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://minio.lab:9000")
    for text in ("s3://data/a.zarr", "s3://data/a.zarr|region:us-west-2"):
        assert web_address(Location.parse(text)) == "https://minio.lab:9000/data/a.zarr"


def test_the_address_of_what_is_listed_takes_no_configuration(s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    bucket = Location.parse("s3://public")
    run(open_lister(bucket).page())
    # A row of the browser asks for it in the window's thread.
    monkeypatch.setattr("napari_omezarr.store.sign_in.BucketSession", None)
    assert web_address(bucket / "a.zarr") == f"{s3_server.endpoint}/public/a.zarr"


def test_a_connection_says_where_its_buckets_are():
    profile = Profile("lab", endpoint="https://minio.lab", style="virtual")
    ConnectionFile().save(Connection(profile))
    where = Location.parse("s3://data/a.zarr|profile:lab")
    assert web_address(where) == "https://data.minio.lab/a.zarr"


OPEN = {"Access-Control-Allow-Origin": "*"}


def published(server, *answers):
    for answer in answers:
        server.fault("*", answer)
    where = Location.parse(f"{server.url}/x.zarr")
    return run(check_public(where, Viewer.VIZARR.address))


def test_a_public_image_that_lets_pages_read_it_can_be_shared(http_server):
    found = published(http_server, faults.Status(404), faults.Status(200, b"{}", OPEN))
    assert found.works
    assert found.address == f"{http_server.url}/x.zarr"
    assert "this computer only" in found.sentence
    (first, second) = http_server.requests
    assert (first.path, second.path) == ("/x.zarr/zarr.json", "/x.zarr/.zattrs")
    assert first.headers["origin"] == "https://hms-dbmi.github.io"


def test_leave_for_this_viewer_is_enough(http_server):
    origin = {"Access-Control-Allow-Origin": "https://hms-dbmi.github.io"}
    assert published(http_server, faults.Status(200, b"{}", origin)).works


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (faults.Status(200, b"{}"), "does not let web pages read"),
        (
            faults.Status(200, b"{}", {"Access-Control-Allow-Origin": "https://x.org"}),
            "does not let web pages read",
        ),
        (faults.Status(404), "No image is at"),
        (faults.Status(403), "is not public"),
        (faults.Dropped(), "does not answer"),
    ],
)
def test_what_is_missing_is_said(http_server, answer, sentence):
    found = published(http_server, *[answer] * 4)
    assert not found.works
    assert sentence in found.sentence
    assert found.action


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/home/a.zarr", "lies on this computer"),
        ("https://host/a.zarr?X-Amz-Signature=PLANTED", "holds a sign-in"),
        ("https://host/a.ozx", "do not read archives"),
        ("az://container/a.zarr", "where browsers cannot read"),
    ],
)
def test_what_no_browser_reads_is_not_asked_for(text, sentence):
    found = run(check_public(Location.parse(text)))
    assert (found.works, found.address) == (False, "")
    assert sentence in found.sentence
    assert "PLANTED" not in repr(found)


def test_a_bucket_is_asked_without_a_sign_in(s3_server, tmp_path, monkeypatch):
    put_image(tmp_path / "x.zarr")
    for bucket in ("public", "private"):
        s3_server.upload(tmp_path / "x.zarr", f"{bucket}/test-share/x.zarr")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "demo-owner")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "demo-owner-secret")
    with Proxy(s3_server.endpoint) as proxy:
        for bucket in ("public", "private"):
            where = Location.parse(
                f"s3://{bucket}/test-share/x.zarr", endpoint=proxy.url
            )
            found = run(check_public(where))
            assert found.address == f"{proxy.url}/{bucket}/test-share/x.zarr"
            assert ("is not public" in found.sentence) == (bucket == "private")
        assert not any("authorization" in r.headers for r in proxy.requests)


def test_addresses_for_the_clipboard_hold_no_secret():
    signed = Location.parse("https://me:PLANTED@host/a.zarr?X-Amz-Signature=PLANTED")
    assert without_secrets(signed) == "https://host/a.zarr"
    assert s3_address(signed) == ""
    assert "PLANTED" not in python_snippet(signed)
    assert "left out" in python_snippet(signed)
    assert s3_address(Location.parse("https://host/bucket/a b.zarr")) == (
        "s3://bucket/a b.zarr"
    )
    assert s3_address(Location.parse("/home/a.zarr")) == ""


@pytest.mark.parametrize(
    "text",
    [
        "https://host/a.zarr",
        "s3+https://host/bucket/a b.zarr|region:eu|profile:lab",
        "s3://bucket/a.zarr|anonymous:true",
    ],
)
def test_python_for_the_clipboard_names_the_same_place(text):
    where = Location.parse(text)
    (call,) = [
        node
        for node in ast.walk(ast.parse(python_snippet(where)))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".open")
    ]
    options = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    assert Location.parse(ast.literal_eval(call.args[0]), **options) == where


def test_python_for_the_clipboard_reads_the_image(tmp_path):
    put_image(tmp_path / "x.zarr")
    names: dict = {}
    exec(python_snippet(Location.parse(tmp_path / "x.zarr")), names)
    assert names["image"].read().shape == (2, 4, 16, 24)
