"""Web servers that want a token or a header, which nobody else gets to see."""

from __future__ import annotations

import pickle
import ssl

import numpy as np
import pytest
import trustme
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr import errors
from napari_omezarr.connections import (
    Connection,
    ConnectionFile,
    Keys,
    Profile,
    key_store,
    locate,
    sign_in_headers,
)
from napari_omezarr.location import Location
from napari_omezarr.store import open_lister, open_store, open_writable, run
from quick_retries import PIXELS, QUICK, write_image
from servers import faults
from servers.http import GuardedServer

TOKEN = "PLANTED-T0KEN"
HEADER = ("authorization", f"Bearer {TOKEN}")
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def server(tmp_path):
    write_image(tmp_path / "a.zarr", shards=True)
    with GuardedServer(tmp_path, HEADER) as server:
        yield server


def connect(endpoint, secret=TOKEN, **options):
    profile = Profile("Lab", endpoint=endpoint, sign_in="header", **options)
    ConnectionFile().save(Connection(profile))
    key_store().keep("Lab", Keys(endpoint, secret))
    return profile


def at(path, profile):
    return locate(f"{profile.endpoint}/{path}", profile)


def fetched(location, key="zarr.json", **options):
    return open_store(location, retry=QUICK, **options).fetch([key])[key]


def told(*servers):
    """What any of these servers was sent."""
    return [request.raw for server in servers for request in server.requests]


def test_a_token_opens_an_image(server):
    profile = connect(server.url)
    location = locate(f"{server.url}/a.zarr", profile)
    assert str(location) == f"{server.url}/a.zarr|profile:Lab"
    for store in (
        open_store(location, retry=QUICK),
        open_store(Location.parse(str(location)), retry=QUICK),
        open_store(Location.parse(f"{server.url}/a.zarr"), profile=profile),
        pickle.loads(pickle.dumps(open_store(location, retry=QUICK))),
    ):
        array = zarr.open_array(store, path="0", mode="r")
        assert np.array_equal(array[...], PIXELS)
    assert {request.method for request in server.requests} == {"GET"}
    assert {request.status for request in server.requests} <= {200, 206, 404}


def test_a_path_is_below_the_endpoint(server):
    profile = connect(server.url)
    assert locate("images/a.zarr", profile) == at("images/a.zarr", profile)


def test_a_header_of_another_name(server):
    server.header = ("x-api-key", "a key: with colons")
    location = at("a.zarr", connect(server.url, "X-API-Key: a key: with colons"))
    assert isinstance(fetched(location), bytes)
    assert "authorization" not in server.requests[-1].headers


def test_without_the_connection_nothing_is_sent(server):
    connect(server.url)
    error = fetched(Location.parse(f"{server.url}/a.zarr"))
    assert isinstance(error, errors.SignInNeededError)
    assert "connection with a token" in error.action


def test_a_wrong_token_is_said_to_be_that(server):
    location = at("a.zarr", connect(server.url, "wrong"))
    error = fetched(location)
    assert type(error) is errors.KeyNotAcceptedError
    assert "does not accept the token of Lab" in error.sentence


def test_a_token_that_may_not_read(server):
    location = at("a.zarr", connect(server.url))
    server.fault("*", faults.Status(403), forever=True)
    error = fetched(location)
    assert type(error) is errors.AccessDeniedError
    assert "This key may not read" in error.sentence


def test_a_token_that_is_not_known_any_more(server):
    location = at("a.zarr", connect(server.url))
    key_store().forget("Lab")
    error = fetched(location)
    assert isinstance(error, errors.SignInNeededError)
    assert error.action == "Type it again in the connection."
    assert server.requests == []
    key_store().keep("Lab", Keys(server.url, TOKEN))
    assert isinstance(fetched(location), bytes)


def test_a_new_token_is_used_at_once(server):
    location = at("a.zarr", connect(server.url, "wrong"))
    store = open_store(location, retry=QUICK)
    assert isinstance(store.fetch(["zarr.json"])["zarr.json"], errors.StoreError)
    key_store().keep("Lab", Keys(server.url, TOKEN))
    assert isinstance(store.fetch(["zarr.json"])["zarr.json"], bytes)


# Nobody else


@pytest.mark.parametrize("secret", [TOKEN, f"X-API-Key: {TOKEN}"])
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_no_redirect_takes_it_along(server, http_server, tmp_path, secret, code):
    location = at("old", connect(server.url, secret))
    back = faults.redirect(f"{server.url}/a.zarr/zarr.json", code)
    away = faults.redirect(f"{http_server.url}/back/zarr.json", code)
    http_server.fault("/back/*", back, forever=True)
    server.fault("/old/*", away, forever=True)
    assert isinstance(fetched(location), errors.KeyNotAcceptedError)
    assert [request.path for request in http_server.requests] == ["/back/zarr.json"]
    assert not [raw for raw in told(http_server) if b"PLANTED" in raw]
    assert [b"PLANTED" in raw for raw in told(server)] == [True, False]


def test_a_redirect_to_a_signed_address_elsewhere_is_followed(server, http_server):
    location = at("old", connect(server.url))
    there = faults.redirect(f"{http_server.url}/a.zarr/zarr.json?sig=%2F+")
    server.fault("/old/*", there)
    assert isinstance(fetched(location), bytes)
    assert http_server.requests[-1].query == "sig=%2F+"


def test_a_redirect_on_the_same_host_keeps_it(server):
    location = at("old", connect(server.url))
    server.fault("/old/*", faults.redirect("/a.zarr/zarr.json?x=%2F+"))
    assert isinstance(fetched(location), bytes)
    assert server.requests[-1].query == "x=%2F+"


def test_redirects_in_circles_end(server):
    location = at("old", connect(server.url))
    server.fault("*", faults.redirect("/again"), forever=True)
    assert "circles" in str(fetched(location))


def test_another_host_gets_nothing(server, http_server):
    """By name in the address, as `profile`, by port: not its own, not sent."""
    profile = connect(server.url)
    named = Location.parse(f"{http_server.url}/a.zarr", profile="Lab")
    plain = Location.parse(f"{http_server.url}/a.zarr")
    assert locate(str(plain), profile) == plain
    for location, options in ((named, {}), (plain, {"profile": profile})):
        store = open_store(location, retry=QUICK, **options)
        assert isinstance(store.fetch(["zarr.json"])["zarr.json"], bytes)
        assert store.notes == ("Lab signs in at another host, and was not used here.",)
    assert not [raw for raw in told(http_server) if b"PLANTED" in raw]


def test_an_endpoint_that_was_changed_in_the_file_gets_nothing(server, http_server):
    connect(server.url)
    moved = Profile("Lab", endpoint=http_server.url, sign_in="header")
    ConnectionFile().save(Connection(moved))
    error = fetched(at("a.zarr", moved))
    assert isinstance(error, errors.SignInNeededError)
    assert http_server.requests == []


@pytest.mark.parametrize("to", ["http", "https"])
def test_a_token_of_https_is_not_sent_over_http(server, tmp_path, to):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with GuardedServer(tmp_path, HEADER, tls=context) as safe:
        location = at("a.zarr", connect(safe.url, ca_file=str(file)))
        assert isinstance(fetched(location), bytes)
        if to == "http":
            plain = Location.parse(f"{server.url}/a.zarr", profile="Lab")
            assert isinstance(fetched(plain), errors.SignInNeededError)
        safe.fault("*", faults.redirect(f"{server.url}/a.zarr/zarr.json"))
        assert isinstance(fetched(location), errors.KeyNotAcceptedError)
    assert server.requests
    assert not [raw for raw in told(server) if b"PLANTED" in raw]


def test_who_asks_anonymously_or_by_the_address_sends_no_token(server):
    profile = connect(server.url)
    anonymous = Location.parse(f"{server.url}/a.zarr", profile="Lab", anonymous=True)
    own = locate(f"{server.url.replace('//', '//ann:pass@')}/a.zarr", profile)
    for location in (anonymous, own):
        assert isinstance(fetched(location), errors.SignInNeededError)
    assert not [raw for raw in told(server) if b"PLANTED" in raw]


def test_a_bucket_gets_nothing(server, s3_server):
    profile = connect(s3_server.endpoint)
    store = open_store(Location.parse("s3://public/x"), profile=profile, retry=QUICK)
    assert store.fetch(["zarr.json"]) == {"zarr.json": None}


def test_it_lists_nothing_and_writes_nothing(server):
    location = at("a.zarr", connect(server.url))
    with pytest.raises(errors.ListingDeniedError):
        run(open_lister(location).page())
    with pytest.raises(errors.OptionError):
        open_writable(location)
    # It could have had a page that lists it.
    assert [request.path for request in server.requests] == ["/a.zarr/"]


# What may be typed


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        (TOKEN, HEADERS),
        (f"Bearer {TOKEN}", HEADERS),
        (f"  Authorization:   Bearer {TOKEN} ", HEADERS),
        ("Basic YTpi", {"Authorization": "Basic YTpi"}),
        ("Private-Token: x\nX-User: ann b", {"Private-Token": "x", "X-User": "ann b"}),
        ("a.b-c_d/e+f==", {"Authorization": "Bearer a.b-c_d/e+f=="}),
    ],
)
def test_tokens_and_headers(text, headers):
    assert sign_in_headers(Keys("", text)) == headers


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "two words",
        "X-Key:",
        "X: ä",
        "a\x00b",
        "Host: evil",
        "range: bytes=0-1",
        "Content-Length: 0",
        "Transfer-Encoding: chunked",
        "X-A: 1\nHost: evil",
    ],
)
def test_what_is_neither(text):
    with pytest.raises(errors.OptionError) as told:
        sign_in_headers(Keys("", text))
    assert not text.strip() or text not in str(told.value)


@given(st.text())
def test_headers_are_safe_to_send(text):
    try:
        headers = sign_in_headers(Keys("", text))
    except errors.OptionError:
        return
    said = "".join([*headers, *headers.values()])
    assert said.isascii()
    assert said.isprintable()
