"""Files on web servers, good ones and bad ones."""

from __future__ import annotations

import asyncio
import gc
import gzip
import ssl
import time
import weakref

import numpy as np
import pytest
import trustme
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

from napari_omezarr import errors
from napari_omezarr.connections import Profile
from napari_omezarr.location import Location
from napari_omezarr.store import open_store, run
from napari_omezarr.store.http import CONNECTIONS, NEAR_CONNECTIONS, HostQueue
from quick_retries import HASTY, IMPATIENT, PIXELS, QUICK, get, write_image
from servers import faults
from servers.http import FileServer


def store_at(address, **options):
    return open_store(Location.parse(address), retry=QUICK, **options)


@pytest.fixture
def store(http_server, tmp_path):
    write_image(tmp_path / "a.zarr")
    return store_at(f"{http_server.url}/a.zarr")


def test_a_wave_answers_for_every_key(store, http_server):
    with http_server.round_count() as rounds:
        answers = store.fetch(["zarr.json", ".zattrs", "0/zarr.json", "0/zarr.json"])
    assert rounds.sizes == [3]
    assert (store.rounds, store.requests) == (1, 3)
    assert answers["0/zarr.json"].startswith(b"{")
    assert answers[".zattrs"] is None
    assert store.bytes_received >= sum(len(body or b"") for body in answers.values())
    assert store.notes == ()


def test_only_plain_gets_are_sent(store, http_server):
    store.fetch(["zarr.json", ".zattrs"])
    run(store.exists("zarr.json"))
    zarr.open_array(store, path="0", mode="r")[...]
    assert {request.method for request in http_server.requests} == {"GET"}
    encodings = {request.headers["accept-encoding"] for request in http_server.requests}
    assert encodings == {"identity"}


@pytest.mark.parametrize(
    ("wanted", "expected", "header"),
    [
        (None, b"abcdefghij", ""),
        (RangeByteRequest(2, 5), b"cde", "bytes=2-4"),
        (RangeByteRequest(8, 99), b"ij", "bytes=8-98"),
        (OffsetByteRequest(7), b"hij", "bytes=7-"),
        (OffsetByteRequest(10), b"", "bytes=10-"),
        (SuffixByteRequest(3), b"hij", "bytes=-3"),
        (SuffixByteRequest(99), b"abcdefghij", "bytes=-99"),
    ],
)
@pytest.mark.parametrize("has_ranges", [True, False])
def test_ranges(http_server, tmp_path, wanted, expected, header, has_ranges):
    (tmp_path / "a").write_bytes(b"abcdefghij")
    if not has_ranges:
        http_server.fault("*", faults.Status(200, b"abcdefghij"))
    assert get(store_at(http_server.url), "a", wanted) == expected
    assert [request.range for request in http_server.requests] == [header]


def test_a_range_behind_the_end_is_an_error(http_server, tmp_path):
    (tmp_path / "a").write_bytes(b"abcdefghij")
    with pytest.raises(errors.TruncatedBodyError, match="shorter than its index says"):
        get(store_at(http_server.url), "a", RangeByteRequest(10, 15))


def test_a_range_of_nothing_is_not_asked_for(http_server):
    assert get(store_at(http_server.url), "a", RangeByteRequest(5, 5)) == b""
    assert get(store_at(http_server.url), "a", SuffixByteRequest(0)) == b""
    assert http_server.requests == []


def test_existence_costs_a_byte(http_server, tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_bytes(b"x" * 100)
    store = store_at(http_server.url)
    exist = [run(store.exists(key)) for key in ("empty", "full", "none")]
    assert exist == [True, True, False]
    assert store.bytes_received <= 1


def test_keys_stay_below_the_location(http_server, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    store = store_at(f"{http_server.url}/a.zarr")
    assert store.fetch(["../secret.json", "0/../../secret.json"]) == {
        "../secret.json": None,
        "0/../../secret.json": None,
    }
    assert http_server.requests == []


def test_the_query_goes_with_every_key_as_it_was_pasted(http_server, tmp_path):
    write_image(tmp_path / "a b.zarr")
    query = "sv=2024-01-01&sig=a%2Fb%3D%3D&se=x+y"
    store = store_at(f"{http_server.url}/a%20b.zarr?{query}")
    assert np.array_equal(zarr.open_array(store, path="0", mode="r")[...], PIXELS)
    assert {request.query for request in http_server.requests} == {query}


def test_a_user_and_password_are_sent_as_such(http_server, tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    store_at(http_server.url.replace("//", "//ann:pass@")).fetch(["a"])
    (request,) = http_server.requests
    assert request.headers["authorization"].startswith("Basic ")


def test_redirects_are_followed_with_their_own_query(http_server, tmp_path):
    (tmp_path / "a").write_bytes(b"here")
    http_server.fault("/old/*", faults.redirect("/a?sig=%2F+%20"), forever=True)
    store = store_at(f"{http_server.url}/old")
    assert store.fetch(["a"]) == {"a": b"here"}
    assert http_server.requests[-1].query == "sig=%2F+%20"


def test_redirects_in_circles_end(http_server):
    http_server.fault("*", faults.redirect("/again"), forever=True)
    (error,) = store_at(http_server.url).fetch(["a"]).values()
    assert isinstance(error, errors.ServerError)
    assert "circles" in str(error)


def test_a_body_that_is_stored_gzipped_is_unpacked(http_server):
    answer = faults.Status(200, gzip.compress(b"{}"), {"Content-Encoding": "gzip"})
    broken = faults.Status(200, b"{}", {"Content-Encoding": "gzip"})
    http_server.fault("/a", answer)
    http_server.fault("/b", broken, forever=True)
    answers = store_at(http_server.url).fetch(["a", "b"])
    assert answers["a"] == b"{}"
    assert isinstance(answers["b"], errors.TruncatedBodyError)


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_proxy_of_the_environment_is_used(scheme, http_server, tmp_path, monkeypatch):
    url = http_server.url.removeprefix("http://")
    monkeypatch.setenv("http_proxy", f"{scheme}{url}")
    http_server.fault("http://data.invalid/x/a", faults.Status(200, b"by proxy"))
    assert store_at("http://data.invalid/x").fetch(["a"]) == {"a": b"by proxy"}
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "a").write_bytes(b"direct")
    assert store_at(http_server.url).fetch(["a"]) == {"a": b"direct"}


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def https_server(tmp_path, authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FileServer(tmp_path, tls=context) as server:
        yield server


def test_an_unknown_certificate_is_refused(https_server, tmp_path, authority):
    (tmp_path / "a").write_bytes(b"a")
    (error,) = store_at(https_server.url).fetch(["a"]).values()
    assert isinstance(error, errors.CertificateError)
    assert f"127.0.0.1:{https_server.port}" in error.sentence
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    trusting = store_at(https_server.url, profile=Profile("lab", ca_file=str(file)))
    assert trusting.fetch(["a"]) == {"a": b"a"}


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read(https_server, tmp_path, content):
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    profile = Profile("lab", ca_file=str(file))
    (error,) = store_at(https_server.url, profile=profile).fetch(["a"]).values()
    assert isinstance(error, errors.CertificateError)
    assert "cannot be read" in error.sentence
    assert https_server.requests == []


def test_https_where_there_is_only_http(http_server):
    address = http_server.url.replace("http:", "https:")
    (error,) = store_at(address).fetch(["a"]).values()
    assert isinstance(error, errors.StoreConnectionError)
    assert "http://" in error.action


def test_nobody_there(http_server):
    http_server.stop_listening()
    (error,) = store_at(http_server.url).fetch(["a"]).values()
    assert isinstance(error, errors.StoreConnectionError)
    assert "takes no connection" in error.sentence


def test_no_such_host():
    (error,) = store_at("http://nothing.invalid/a").fetch(["a"]).values()
    assert isinstance(error, errors.StoreConnectionError)
    assert error.sentence == "No host is called nothing.invalid."


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.Status(500), errors.ServerError),
        (faults.Status(502), errors.ServerError),
        (faults.Status(503), errors.ServerBusyError),
        (faults.Status(429, headers={"Retry-After": "0"}), errors.ServerBusyError),
        (faults.Reset(after=3), errors.TruncatedBodyError),
        (faults.Truncated(after=3), errors.TruncatedBodyError),
    ],
)
def test_what_passes_is_asked_again(store, http_server, fault, kind):
    http_server.fault("*/0/zarr.json", fault, fault)
    assert isinstance(store.fetch(["0/zarr.json"])["0/zarr.json"], bytes)
    assert store.requests == len(http_server.requests) == 3
    http_server.fault("*/0/zarr.json", fault, forever=True)
    error = store.fetch(["0/zarr.json"])["0/zarr.json"]
    assert type(error) is kind
    assert len(http_server.requests) == 6
    assert error.url == f"{http_server.url}/a.zarr/0/zarr.json"


def test_an_open_connection_keeps_nothing_of_its_first_request(store, http_server):
    http_server.fault("*/zarr.json", faults.Status(403), forever=True)

    def refused():
        with pytest.raises(errors.AccessDeniedError) as caught:
            get(store, "zarr.json")
        return weakref.ref(caught.value)

    refusal = refused()
    assert isinstance(store.fetch([".zattrs"]), dict)  # the loop has moved on
    gc.collect()
    assert refusal() is None


def test_a_dropped_connection(store, http_server):
    http_server.fault("*/zarr.json", *[faults.Dropped()] * 2)
    assert isinstance(store.fetch(["zarr.json"])["zarr.json"], bytes)
    http_server.fault("*/zarr.json", faults.Dropped(), forever=True)
    error = store.fetch(["zarr.json"])["zarr.json"]
    assert isinstance(error, errors.StoreConnectionError)
    assert "breaks off" in error.sentence


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.Status(400), errors.ServerError),
        (faults.Status(401), errors.SignInNeededError),
        (faults.Status(403), errors.AccessDeniedError),
        (faults.Status(405), errors.ServerError),
        (faults.Status(501), errors.ServerError),
        (faults.page(), errors.WebPageError),
        (faults.page("  \n<html>portal</html>"), errors.WebPageError),
    ],
)
def test_what_does_not_pass_is_asked_once(store, http_server, fault, kind):
    http_server.fault("*/zarr.json", fault, forever=True)
    error = store.fetch(["zarr.json"])["zarr.json"]
    assert type(error) is kind
    assert len(http_server.requests) == 1


def test_missing(store, http_server):
    http_server.fault("*/zarr.json", faults.Status(404, b"<html>not here</html>"))
    assert store.fetch(["zarr.json"]) == {"zarr.json": None}


def test_a_silent_server(http_server, tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    http_server.fault("*", faults.Stalled(), forever=True)
    store = open_store(Location.parse(http_server.url), retry=HASTY)
    (error,) = store.fetch(["a"]).values()
    assert isinstance(error, errors.StoreTimeoutError)
    http_server.wait_for(2)
    assert len(http_server.requests) == 2


def test_a_server_that_refuses_head_is_not_asked(store, http_server):
    http_server.fault("*", faults.Status(405), method="HEAD", forever=True)
    assert np.array_equal(zarr.open_array(store, path="0", mode="r")[...], PIXELS)


def test_json_called_a_page_is_json(store, http_server):
    header = {"Content-Type": "text/html"}
    http_server.fault("*/.zattrs", faults.Status(200, b'{"a": 1}', header))
    assert store.fetch([".zattrs"]) == {".zattrs": b'{"a": 1}'}


def test_a_page_instead_of_a_chunk_is_an_error(store, http_server):
    array = zarr.open_array(store, path="0", mode="r")
    http_server.fault("*/c/*", faults.page(), forever=True)
    with pytest.raises(errors.WebPageError):
        array[...]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.Status(500), errors.ServerError),
        (faults.Status(503), errors.ServerBusyError),
        (faults.Reset(after=2), errors.TruncatedBodyError),
        (faults.Truncated(after=2), errors.TruncatedBodyError),
        (faults.Stalled(), errors.StoreTimeoutError),
        (faults.s3_error(403, "ExpiredToken"), errors.SignInExpiredError),
        (faults.s3_error(404, "NoSuchBucket"), errors.BucketNotFoundError),
        (faults.page(), errors.WebPageError),
    ],
)
@pytest.mark.parametrize("shards", [False, True])
def test_a_failure_is_never_a_picture(http_server, tmp_path, fault, kind, shards):
    write_image(tmp_path / "a.zarr", shards=shards)
    location = Location.parse(f"{http_server.url}/a.zarr")
    array, failing = (
        zarr.open_array(open_store(location, retry=retry), path="0", mode="r")
        for retry in (QUICK, IMPATIENT if fault == faults.Stalled() else QUICK)
    )
    http_server.fault("*/c/0/0", fault, forever=True)
    assert np.array_equal(array[4:, 4:], PIXELS[4:, 4:])
    with pytest.raises(kind):
        failing[:4, :4]


def test_a_failure_in_the_middle_of_a_shard_is_ours_too(http_server, tmp_path):
    write_image(tmp_path / "a.zarr", shards=True)
    array = zarr.open_array(store_at(f"{http_server.url}/a.zarr"), path="0", mode="r")
    index = faults.Proceed()
    http_server.fault("*/c/0/0", index)
    http_server.fault("*/c/0/0", faults.s3_error(404, "NoSuchBucket"), forever=True)
    with pytest.raises(errors.BucketNotFoundError):
        array[:2, :2]


def test_a_page_instead_of_a_chunk_is_a_portals(store, http_server):
    store.fetch(["zarr.json"])
    http_server.fault("*/c/*", faults.page(), forever=True)
    error = store.fetch(["0/c/0/0"])["0/c/0/0"]
    assert isinstance(error, errors.WebPageError)
    assert "portal" in error.action


@pytest.mark.parametrize("how", ["nobody", "sign in"])
def test_a_proxy_is_blamed_where_it_is_the_cause(http_server, monkeypatch, how):
    proxy = "http://127.0.0.1:9" if how == "nobody" else http_server.url
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    http_server.fault("*", faults.Status(407), forever=True)
    error = store_at("http://data.invalid/a.zarr").fetch(["zarr.json"])["zarr.json"]
    assert isinstance(error, errors.StoreConnectionError)
    assert "proxy" in error.sentence
    assert "PROXY" in error.action


def test_a_redirect_to_something_else_that_is_not_there_is_no_absence(
    store, http_server
):
    http_server.fault("*/c/0/0", faults.redirect("/portal"), forever=True)
    http_server.fault(
        "/a.zarr/0/c/0/1", faults.redirect("/b.zarr/0/c/0/1"), forever=True
    )
    answers = store.fetch(["0/c/0/0", "0/c/0/1"])
    assert isinstance(answers["0/c/0/0"], errors.StoreError)
    assert answers["0/c/0/1"] is None


def test_a_far_host_is_asked_over_many_connections(http_server, tmp_path):
    keys = [f"c/{number}" for number in range(100)]
    (tmp_path / "c").mkdir()
    for key in keys:
        (tmp_path / key).write_bytes(key.encode())
    store = store_at(http_server.url)
    with http_server.round_count() as rounds:
        answers = store.fetch(keys)
    assert rounds.sizes == [CONNECTIONS, 100 - CONNECTIONS]
    assert all(answers[key] == key.encode() for key in keys)


@pytest.mark.parametrize(
    ("seconds", "taken"), [(0.0001, NEAR_CONNECTIONS), (0.1, CONNECTIONS)]
)
def test_a_host_takes_many_requests_where_their_heads_take_long(seconds, taken):
    host = HostQueue()
    host.answered(seconds)
    host.heard = time.monotonic() + 3600  # as if something came all the time
    assert run(_taken(host)) == taken


def test_a_near_host_takes_many_requests_as_soon_as_nothing_comes():
    host = HostQueue()
    host.answered(0.0001)
    assert run(_taken(host, at_least=CONNECTIONS)) == CONNECTIONS


async def _taken(host, at_least=0):
    """How many requests are sent at a time, of more than may be."""
    taken = asyncio.Semaphore(0)
    count = 0

    async def ask():
        nonlocal count
        async with host.turn():
            count += 1
            taken.release()
            await asyncio.Event().wait()

    asking = [asyncio.ensure_future(ask()) for _ in range(2 * CONNECTIONS)]
    for _ in range(at_least):
        await taken.acquire()
    for _ in range(3):
        await asyncio.sleep(0)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    return count
