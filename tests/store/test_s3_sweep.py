# ruff: noqa: E501
"""Keys, styles, sign-ins and answers of a bucket, and what comes of each.

The table was written down so that another client can be compared with the one of today:
an outcome or a number of requests that changes is a decision.
"""

from __future__ import annotations

import pytest
from zarr.abc.store import RangeByteRequest
from zarr.buffer.cpu import buffer_prototype

from napari_omezarr import errors
from napari_omezarr.connections import Profile
from napari_omezarr.demo.server import OWNER, READER
from napari_omezarr.location import Location
from napari_omezarr.store import open_store, open_writable, run
from quick_retries import QUICK
from servers import faults
from servers.http import FileServer
from servers.proxy import Proxy

BODY = bytes(range(200))
DETAILS = {
    "Resource": "/private/secret-key",
    "AWSAccessKeyId": OWNER.key,
    "StringToSign": "AWS4-HMAC-SHA256",
}


@pytest.fixture(scope="module")
def proxy(s3_server):
    with Proxy(s3_server.endpoint) as proxy:
        yield proxy
        proxy.clear()


@pytest.fixture
def sign_in(monkeypatch):
    """Sign in as a named person, or as nobody."""

    def sign_in(name):
        keys = {
            "owner": (OWNER.key, OWNER.secret),
            "reader": (READER.key, READER.secret),
            "wrong": (OWNER.key, "wrong"),
            "unknown": ("nobody", "nothing"),
        }.get(name)
        if keys:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys[0])
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys[1])

    return sign_in


def outcome(answer, body=BODY):
    """Say in a word what came of it; an error must quote nothing."""
    if answer is None:
        return "absent"
    if isinstance(answer, Exception):
        for secret in (OWNER.secret, OWNER.key, "AWS4", "planted", "secret-key"):
            assert secret not in f"{answer} {answer.__cause__} {answer.__context__}"
        return type(answer).__name__
    return "bytes" if answer == body else f"{len(answer)} bytes"


def attempted(coroutine):
    try:
        return run(coroutine)
    except errors.StoreError as error:
        return error


async def part_of(store, wanted):
    found = await store.get("a", buffer_prototype, wanted)
    return None if found is None else found.to_bytes()


def sent(proxy):
    """How many requests were sent, and how many of them were signed."""
    signed = sum("authorization" in request.headers for request in proxy.requests)
    return f"{len(proxy.requests)}/{signed}"


# Keys, as they are sent, in both styles


KEYS = {
    "zarr.json": "zarr.json",
    "c/0/1": "c/0/1",
    "a b+c": "a%20b%2Bc",
    "ü/é": "%C3%BC/%C3%A9",
    "a%20b%2F": "a%2520b%252F",
    "#h?x&y=z": "%23h%3Fx%26y%3Dz",
    "it's(1)~*!": "it%27s%281%29~%2A%21",
    "a\\b": "a%5Cb",
    "a//b": "a//b",
    "./x": "./x",
    "a/.": "a/.",
}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """A proxy that knows every host, and answers as no service does."""
    with FileServer(tmp_path_factory.mktemp("hosts")) as server:
        yield server


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("style", ["path", "virtual"])
def test_how_a_key_is_sent(key, style, hosts, monkeypatch):
    monkeypatch.setenv("http_proxy", hosts.url)
    hosts.clear()
    profile = Profile("", endpoint="http://objects.invalid", style=style)
    location = Location.parse("s3://cells/a.zarr", anonymous=True)
    store = open_store(location, profile=profile, retry=QUICK)
    assert store.fetch([key]) == {key: None}
    (request,) = hosts.requests
    place = (
        "http://objects.invalid/cells"
        if style == "path"
        else "http://cells.objects.invalid"
    )
    target = request.raw.split(b" ")[1].decode()
    assert target == f"{place}/a.zarr/{KEYS[key]}"


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_the_same_at_each_door(key, proxy, s3_prefix, sign_in):
    sign_in("owner")
    proxy.clear()
    location = Location.parse(f"s3://private/{s3_prefix}", endpoint=proxy.url)
    if key in KEPT_BY_NO_SERVER:
        pytest.skip("SeaweedFS itself makes another path of it")
    place = open_writable(location, retry=QUICK)
    run(place.put(key, BODY))
    store = open_store(location, retry=QUICK)
    assert store.fetch([key]) == {key: BODY}
    assert [r.method for r in proxy.requests] == ["PUT", "GET"]
    run(place.copy(key, f"{key} 2", len(BODY)))
    # SeaweedFS keeps a slash where it is sent a backslash.
    listed = [name.replace("\\", "/") for name in (key, f"{key} 2")]
    assert run(names(place)) == sorted(listed)
    run(place.delete(key))
    assert store.fetch([key, f"{key} 2"]) == {key: None, f"{key} 2": BODY}
    run(place.delete(f"{key} 2"))
    assert run(names(place)) == []


async def names(place):
    return sorted([entry.name async for entry in place.objects("")])


KEPT_BY_NO_SERVER = {"a//b", "./x", "a/."}


# Sign-ins and buckets


WHO = {
    ("nobody", "public"): "bytes absent SignInNeededError 3/0",
    ("nobody", "private"): "SignInNeededError SignInNeededError SignInNeededError 3/0",
    (
        "nobody",
        "no-such-bucket",
    ): "SignInNeededError SignInNeededError SignInNeededError 3/0",
    ("anonymous", "public"): "bytes absent SignInNeededError 3/0",
    (
        "anonymous",
        "private",
    ): "SignInNeededError SignInNeededError SignInNeededError 3/0",
    (
        "anonymous",
        "no-such-bucket",
    ): "SignInNeededError SignInNeededError SignInNeededError 3/0",
    ("owner", "public"): "bytes absent bytes 3/3",
    ("owner", "private"): "bytes absent bytes 3/3",
    ("owner", "no-such-bucket"): "BucketNotFoundError BucketNotFoundError bytes 3/3",
    ("reader", "public"): "bytes absent AccessDeniedError 4/2",
    ("reader", "private"): "bytes absent AccessDeniedError 3/3",
    (
        "reader",
        "no-such-bucket",
    ): "AccessDeniedError AccessDeniedError AccessDeniedError 5/3",
    ("wrong", "public"): "bytes absent KeyNotAcceptedError 4/2",
    (
        "wrong",
        "private",
    ): "KeyNotAcceptedError KeyNotAcceptedError KeyNotAcceptedError 5/3",
    (
        "wrong",
        "no-such-bucket",
    ): "KeyNotAcceptedError KeyNotAcceptedError KeyNotAcceptedError 5/3",
    ("unknown", "public"): "bytes absent KeyNotAcceptedError 4/2",
    (
        "unknown",
        "private",
    ): "KeyNotAcceptedError KeyNotAcceptedError KeyNotAcceptedError 5/3",
    (
        "unknown",
        "no-such-bucket",
    ): "KeyNotAcceptedError KeyNotAcceptedError KeyNotAcceptedError 5/3",
}


@pytest.mark.parametrize("bucket", ["public", "private", "no-such-bucket"])
@pytest.mark.parametrize(
    "who", ["nobody", "anonymous", "owner", "reader", "wrong", "unknown"]
)
def test_who_reads_what(who, bucket, proxy, s3_server, s3_prefix, sign_in):
    sign_in(who)
    name = bucket
    if bucket == "no-such-bucket":
        name = s3_prefix  # SeaweedFS makes one for whoever writes
    else:
        s3_server.put(f"{bucket}/{s3_prefix}/a", BODY)
    proxy.clear()
    location = Location.parse(
        f"s3://{name}/{s3_prefix}",
        endpoint=proxy.url,
        anonymous=True if who == "anonymous" else None,
    )
    store = open_store(location, retry=QUICK)
    found = [outcome(answer) for key in "ab" for answer in store.fetch([key]).values()]
    writable = open_writable(location, retry=QUICK)
    written = attempted(writable.put("w", BODY))
    said = "bytes" if written is None else outcome(written)
    assert f"{' '.join(found)} {said} {sent(proxy)}" == WHO[who, bucket]


# Answers that are errors


ANSWERS = {
    "200": faults.Status(200, BODY),
    "206": faults.Status(206, BODY[:10], {"Content-Range": "bytes 0-9/200"}),
    "206 elsewhere": faults.Status(
        206, BODY[9:19], {"Content-Range": "bytes 9-18/200"}
    ),
    "206 short": faults.Status(206, BODY[:5], {"Content-Range": "bytes 0-9/200"}),
    "206 without": faults.Status(206, BODY[:10]),
    "204": faults.Status(204),
    "301": faults.s3_error(301, "PermanentRedirect", **DETAILS),
    "307": faults.s3_error(307, "TemporaryRedirect", **DETAILS),
    "304": faults.Status(304),
    "400": faults.s3_error(400, "InvalidRequest", **DETAILS),
    "400 expired": faults.s3_error(400, "ExpiredToken", **DETAILS),
    "400 timeout": faults.s3_error(400, "RequestTimeout", **DETAILS),
    "401": faults.s3_error(401, "Unauthorized", **DETAILS),
    "403": faults.s3_error(403, "AccessDenied", **DETAILS),
    "403 bare": faults.Status(403),
    "403 key": faults.s3_error(403, "InvalidAccessKeyId", **DETAILS),
    "403 secret": faults.s3_error(403, "SignatureDoesNotMatch", **DETAILS),
    "403 clock": faults.s3_error(403, "RequestTimeTooSkewed", **DETAILS),
    "403 archived": faults.s3_error(403, "InvalidObjectState", **DETAILS),
    "403 quota": faults.s3_error(403, "QuotaExceeded", **DETAILS),
    "403 page": faults.Status(403, b"<!doctype html><br>planted"),
    "404": faults.s3_error(404, "NoSuchKey", **DETAILS),
    "404 bare": faults.Status(404),
    "404 bucket": faults.s3_error(404, "NoSuchBucket", **DETAILS),
    "405": faults.s3_error(405, "MethodNotAllowed", **DETAILS),
    "409": faults.s3_error(409, "OperationAborted", **DETAILS),
    "410": faults.Status(410),
    "412": faults.s3_error(412, "PreconditionFailed", **DETAILS),
    "416": faults.s3_error(416, "InvalidRange", **DETAILS),
    "429": faults.s3_error(429, "TooManyRequests", **DETAILS),
    "500": faults.s3_error(500, "InternalError", **DETAILS),
    "501": faults.s3_error(501, "NotImplemented", **DETAILS),
    "502 page": faults.Status(502, b"<html>planted</html>"),
    "503": faults.s3_error(503, "SlowDown", **DETAILS),
    "503 binary": faults.Status(503, b"\xff\xfe\xfd"),
    "507": faults.s3_error(507, "InsufficientStorage", **DETAILS),
    "599": faults.Status(599),
    "dropped": faults.Dropped(),
    "reset": faults.Reset(5),
    "truncated": faults.Truncated(5),
}
CAME_OF_IT = {
    ("200", "nobody"): "bytes 1/0 | bytes 1/0",
    ("200", "owner"): "bytes 1/1 | bytes 1/1 | done 1/1 | done 1/1",
    ("206", "nobody"): "ServerError 1/0 | bytes 1/0",
    ("206", "owner"): "ServerError 1/1 | bytes 1/1 | done 1/1 | done 1/1",
    ("206 elsewhere", "nobody"): "ServerError 1/0 | ServerError 1/0",
    (
        "206 elsewhere",
        "owner",
    ): "ServerError 1/1 | ServerError 1/1 | done 1/1 | done 1/1",
    ("206 short", "nobody"): "ServerError 1/0 | TruncatedBodyError 3/0",
    (
        "206 short",
        "owner",
    ): "ServerError 1/1 | TruncatedBodyError 3/3 | done 1/1 | done 1/1",
    ("206 without", "nobody"): "ServerError 1/0 | ServerError 1/0",
    ("206 without", "owner"): "ServerError 1/1 | ServerError 1/1 | done 1/1 | done 1/1",
    ("204", "nobody"): "ServerError 1/0 | ServerError 1/0",
    ("204", "owner"): "ServerError 1/1 | ServerError 1/1 | done 1/1 | done 1/1",
    ("301", "nobody"): "WrongRegionError 1/0 | WrongRegionError 1/0",
    (
        "301",
        "owner",
    ): "WrongRegionError 1/1 | WrongRegionError 1/1 | WrongRegionError 1/1 | WrongRegionError 1/1",
    ("307", "nobody"): "WrongRegionError 1/0 | WrongRegionError 1/0",
    (
        "307",
        "owner",
    ): "WrongRegionError 1/1 | WrongRegionError 1/1 | WrongRegionError 1/1 | WrongRegionError 1/1",
    ("304", "nobody"): "ServerError 1/0 | ServerError 1/0",
    (
        "304",
        "owner",
    ): "ServerError 1/1 | ServerError 1/1 | ServerError 1/1 | ServerError 1/1",
    ("400", "nobody"): "ServerError 1/0 | ServerError 1/0",
    (
        "400",
        "owner",
    ): "ServerError 1/1 | ServerError 1/1 | ServerError 1/1 | ServerError 1/1",
    ("400 expired", "nobody"): "SignInExpiredError 1/0 | SignInExpiredError 1/0",
    (
        "400 expired",
        "owner",
    ): "SignInExpiredError 2/1 | SignInExpiredError 2/1 | SignInExpiredError 1/1 | SignInExpiredError 1/1",
    ("400 timeout", "nobody"): "ServerError 3/0 | ServerError 3/0",
    (
        "400 timeout",
        "owner",
    ): "ServerError 3/3 | ServerError 3/3 | ServerError 3/3 | ServerError 3/3",
    ("401", "nobody"): "SignInNeededError 1/0 | SignInNeededError 1/0",
    (
        "401",
        "owner",
    ): "SignInNeededError 2/1 | SignInNeededError 2/1 | SignInNeededError 1/1 | SignInNeededError 1/1",
    ("403", "nobody"): "SignInNeededError 1/0 | SignInNeededError 1/0",
    (
        "403",
        "owner",
    ): "AccessDeniedError 2/1 | AccessDeniedError 2/1 | AccessDeniedError 1/1 | AccessDeniedError 1/1",
    ("403 bare", "nobody"): "SignInNeededError 1/0 | SignInNeededError 1/0",
    (
        "403 bare",
        "owner",
    ): "AccessDeniedError 2/1 | AccessDeniedError 2/1 | AccessDeniedError 1/1 | AccessDeniedError 1/1",
    ("403 key", "nobody"): "KeyNotAcceptedError 1/0 | KeyNotAcceptedError 1/0",
    (
        "403 key",
        "owner",
    ): "KeyNotAcceptedError 2/1 | KeyNotAcceptedError 2/1 | KeyNotAcceptedError 1/1 | KeyNotAcceptedError 1/1",
    ("403 secret", "nobody"): "KeyNotAcceptedError 1/0 | KeyNotAcceptedError 1/0",
    (
        "403 secret",
        "owner",
    ): "KeyNotAcceptedError 2/1 | KeyNotAcceptedError 2/1 | KeyNotAcceptedError 1/1 | KeyNotAcceptedError 1/1",
    ("403 clock", "nobody"): "ClockSkewError 1/0 | ClockSkewError 1/0",
    (
        "403 clock",
        "owner",
    ): "ClockSkewError 2/1 | ClockSkewError 2/1 | ClockSkewError 1/1 | ClockSkewError 1/1",
    ("403 archived", "nobody"): "AccessDeniedError 1/0 | AccessDeniedError 1/0",
    (
        "403 archived",
        "owner",
    ): "AccessDeniedError 1/1 | AccessDeniedError 1/1 | AccessDeniedError 1/1 | AccessDeniedError 1/1",
    ("403 quota", "nobody"): "DiskFullError 1/0 | DiskFullError 1/0",
    (
        "403 quota",
        "owner",
    ): "DiskFullError 1/1 | DiskFullError 1/1 | DiskFullError 1/1 | DiskFullError 1/1",
    ("403 page", "nobody"): "SignInNeededError 1/0 | SignInNeededError 1/0",
    (
        "403 page",
        "owner",
    ): "AccessDeniedError 2/1 | AccessDeniedError 2/1 | AccessDeniedError 1/1 | AccessDeniedError 1/1",
    ("404", "nobody"): "absent 1/0 | absent 1/0",
    ("404", "owner"): "absent 1/1 | absent 1/1 | ServerError 1/1 | done 1/1",
    ("404 bare", "nobody"): "absent 1/0 | absent 1/0",
    ("404 bare", "owner"): "absent 1/1 | absent 1/1 | ServerError 1/1 | done 1/1",
    ("404 bucket", "nobody"): "BucketNotFoundError 1/0 | BucketNotFoundError 1/0",
    (
        "404 bucket",
        "owner",
    ): "BucketNotFoundError 1/1 | BucketNotFoundError 1/1 | BucketNotFoundError 1/1 | BucketNotFoundError 1/1",
    ("405", "nobody"): "ServerError 1/0 | ServerError 1/0",
    (
        "405",
        "owner",
    ): "ServerError 1/1 | ServerError 1/1 | ReadOnlyError 1/1 | ReadOnlyError 1/1",
    ("409", "nobody"): "ServerError 3/0 | ServerError 3/0",
    (
        "409",
        "owner",
    ): "ServerError 3/3 | ServerError 3/3 | ServerError 3/3 | ServerError 3/3",
    ("410", "nobody"): "StoreError 1/0 | StoreError 1/0",
    (
        "410",
        "owner",
    ): "StoreError 1/1 | StoreError 1/1 | StoreError 1/1 | StoreError 1/1",
    ("412", "nobody"): "ServerError 1/0 | ServerError 1/0",
    (
        "412",
        "owner",
    ): "ServerError 1/1 | ServerError 1/1 | ServerError 1/1 | ServerError 1/1",
    ("416", "nobody"): "ServerError 1/0 | TruncatedBodyError 1/0",
    (
        "416",
        "owner",
    ): "ServerError 1/1 | TruncatedBodyError 1/1 | ServerError 1/1 | ServerError 1/1",
    ("429", "nobody"): "ServerBusyError 3/0 | ServerBusyError 3/0",
    (
        "429",
        "owner",
    ): "ServerBusyError 3/3 | ServerBusyError 3/3 | ServerBusyError 3/3 | ServerBusyError 3/3",
    ("500", "nobody"): "ServerError 3/0 | ServerError 3/0",
    (
        "500",
        "owner",
    ): "ServerError 3/3 | ServerError 3/3 | ServerError 3/3 | ServerError 3/3",
    ("501", "nobody"): "ServerError 1/0 | ServerError 1/0",
    (
        "501",
        "owner",
    ): "ServerError 1/1 | ServerError 1/1 | ServerError 1/1 | ServerError 1/1",
    ("502 page", "nobody"): "ServerError 3/0 | ServerError 3/0",
    (
        "502 page",
        "owner",
    ): "ServerError 3/3 | ServerError 3/3 | ServerError 3/3 | ServerError 3/3",
    ("503", "nobody"): "ServerBusyError 3/0 | ServerBusyError 3/0",
    (
        "503",
        "owner",
    ): "ServerBusyError 3/3 | ServerBusyError 3/3 | ServerBusyError 3/3 | ServerBusyError 3/3",
    ("503 binary", "nobody"): "ServerBusyError 3/0 | ServerBusyError 3/0",
    (
        "503 binary",
        "owner",
    ): "ServerBusyError 3/3 | ServerBusyError 3/3 | ServerBusyError 3/3 | ServerBusyError 3/3",
    ("507", "nobody"): "DiskFullError 1/0 | DiskFullError 1/0",
    (
        "507",
        "owner",
    ): "DiskFullError 1/1 | DiskFullError 1/1 | DiskFullError 1/1 | DiskFullError 1/1",
    ("599", "nobody"): "ServerError 1/0 | ServerError 1/0",
    (
        "599",
        "owner",
    ): "ServerError 1/1 | ServerError 1/1 | ServerError 1/1 | ServerError 1/1",
    ("dropped", "nobody"): "StoreConnectionError 6/0 | StoreConnectionError 6/0",
    (
        "dropped",
        "owner",
    ): "StoreConnectionError 6/6 | StoreConnectionError 6/6 | StoreConnectionError 6/6 | StoreConnectionError 6/6",
    ("reset", "nobody"): "TruncatedBodyError 3/0 | TruncatedBodyError 3/0",
    (
        "reset",
        "owner",
    ): "TruncatedBodyError 3/3 | TruncatedBodyError 3/3 | done 1/1 | done 1/1",
    ("truncated", "nobody"): "TruncatedBodyError 3/0 | TruncatedBodyError 3/0",
    (
        "truncated",
        "owner",
    ): "TruncatedBodyError 3/3 | TruncatedBodyError 3/3 | done 1/1 | done 1/1",
}


@pytest.mark.parametrize("who", ["nobody", "owner"])
@pytest.mark.parametrize("name", ANSWERS)
def test_what_comes_of_an_answer(name, who, proxy, s3_server, s3_prefix, sign_in):
    sign_in(who)
    bucket = "private" if who == "owner" else "public"
    s3_server.put(f"{bucket}/{s3_prefix}/a", BODY)
    location = Location.parse(f"s3://{bucket}/{s3_prefix}", endpoint=proxy.url)
    said = []
    for wanted, expected in ((None, BODY), (RangeByteRequest(0, 10), BODY[:10])):
        proxy.clear()
        proxy.fault("*", ANSWERS[name], forever=True)
        store = open_store(location, retry=QUICK)
        answer = attempted(part_of(store, wanted))
        said.append(f"{outcome(answer, expected)} {sent(proxy)}")
    if who == "owner":
        for change in ("put", "delete"):
            proxy.clear()
            proxy.fault("*", ANSWERS[name], forever=True)
            place = open_writable(location, retry=QUICK)
            made = place.put("a", BODY) if change == "put" else place.delete("a")
            answer = attempted(made)
            ended = "done" if answer is None else outcome(answer)
            said.append(f"{ended} {sent(proxy)}")
    assert " | ".join(said) == CAME_OF_IT[name, who]
