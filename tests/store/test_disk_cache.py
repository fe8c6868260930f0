"""The disk cache before real servers: what is asked again, what is kept, what never."""

from __future__ import annotations

import email.utils
import zipfile

import numpy as np
import pytest
import zarr
from zarr.abc.store import RangeByteRequest, SuffixByteRequest

import small_images
from disk_cache_files import DAY, SIZE, files, grow_old, pixels, store_at
from napari_omezarr import errors
from napari_omezarr.demo.server import OWNER
from napari_omezarr.layers import read_layers
from napari_omezarr.store import (
    clear_disk_cache,
    disk_cache_facts,
    open_store,
    set_disk_cache,
)
from quick_retries import PIXELS, QUICK, get, write_image
from servers import faults
from servers.http import Bucket, FileServer
from servers.proxy import Proxy

OFFLINE = "You are offline; shown from the cache."


def statuses(server):
    return {request.status for request in server.requests}


@pytest.fixture(params=["plain", "sharded"])
def layout(request):
    return request.param


@pytest.fixture(params=["http", "s3 public", "s3 private"])
def image(request, tmp_path, layout, monkeypatch):
    """Give a server with a request log, and a way to open the image behind it."""
    folder = write_image(tmp_path / "a.zarr", shards=layout == "sharded")
    if request.param == "http":
        server = request.getfixturevalue("http_server")
        yield server, lambda: store_at(f"{server.url}/a.zarr")
        return
    s3_server = request.getfixturevalue("s3_server")
    prefix = request.getfixturevalue("s3_prefix")
    bucket = request.param.split()[1]
    s3_server.upload(folder, f"{bucket}/{prefix}/a.zarr")
    if bucket == "private":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)
    place = f"s3://{bucket}/{prefix}/a.zarr"
    with Proxy(s3_server.endpoint) as proxy:
        yield proxy, lambda: store_at(place, endpoint=proxy.url)


def test_a_second_opening_asks_nobody(cache, image):
    server, opened = image
    np.testing.assert_array_equal(pixels(opened()), PIXELS)
    server.clear()
    second = opened()
    np.testing.assert_array_equal(pixels(second), PIXELS)
    assert server.requests == []
    assert (second.requests, second.bytes_received) == (0, 0)
    facts = disk_cache_facts()
    assert facts.entries == len(files(cache))
    assert facts.misses == facts.hits > 0
    assert facts.bytes > sum(file.stat().st_size for file in files(cache))


def test_after_a_while_it_is_asked_whether_that_is_still_so(cache, image):
    server, opened = image
    pixels(opened())
    grow_old(cache)
    server.clear()
    second = opened()
    np.testing.assert_array_equal(pixels(second), PIXELS)
    assert 304 in statuses(server) <= {304, 404}
    assert len(server.requests) == len({request.path for request in server.requests})
    server.clear()
    np.testing.assert_array_equal(pixels(opened()), PIXELS)
    assert server.requests == []


def test_with_no_age_allowed_it_is_always_asked(cache, image):
    server, opened = image
    set_disk_cache(cache, size=SIZE, max_age=0)
    pixels(opened())
    server.clear()
    np.testing.assert_array_equal(pixels(opened()), PIXELS)
    assert 304 in statuses(server) <= {304, 404}


def test_nobody_asked_for_a_cache(http_server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    write_image(tmp_path / "a.zarr")
    pixels(store_at(f"{http_server.url}/a.zarr"))
    assert not (tmp_path / "caches").exists()
    assert disk_cache_facts().entries == 0


def test_it_is_where_the_system_keeps_such_things(http_server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    (tmp_path / "a").write_bytes(b"a")
    set_disk_cache(size=SIZE)
    try:
        store_at(http_server.url).fetch(["a"])
        assert "napari-omezarr" in str(disk_cache_facts().folder)
        assert disk_cache_facts().entries == 1
    finally:
        clear_disk_cache()
        set_disk_cache(size=0)
    assert disk_cache_facts().entries == 0


@pytest.mark.parametrize("protocol", ["file", "memory"])
def test_what_is_near_is_not_kept(cache, tmp_path, protocol):
    write_image(tmp_path / "a.zarr")
    if protocol == "memory":
        import fsspec

        fsspec.filesystem("memory").put(str(tmp_path / "a.zarr"), "/c", recursive=True)
    address = tmp_path / "a.zarr" if protocol == "file" else "memory://c"
    np.testing.assert_array_equal(pixels(store_at(address)), PIXELS)
    assert files(cache) == []


def test_what_is_not_there_is_remembered(cache, http_server, tmp_path):
    sparse = zarr.create_array(
        tmp_path / "a.zarr" / "0", shape=(64, 64), chunks=(8, 8), dtype="u2"
    )
    sparse[:8, :8] = 7
    address = f"{http_server.url}/a.zarr"
    before = pixels(store_at(address))
    http_server.clear()
    np.testing.assert_array_equal(pixels(store_at(address)), before)
    assert http_server.requests == []
    sparse[8:16, :8] = 9
    grow_old(cache)
    assert pixels(store_at(address))[8, 0] == 9
    http_server.clear()
    assert pixels(store_at(address))[8, 0] == 9
    assert http_server.requests == []


def test_what_is_presumed_missing_is_not_remembered(cache, tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket/zarr.json").write_text("{}")
    with Bucket(tmp_path) as server:
        for _ in range(2):
            server.clear()
            store = open_store(server.place("bucket"), retry=QUICK)
            assert store.fetch(["zarr.json", "c/0"])["c/0"] is None
            assert "/bucket/c/0" in {request.path for request in server.requests}
    assert len(files(cache)) == 1


FAILURES = {
    "500": faults.Status(500),
    "503": faults.Status(503),
    "403": faults.Status(403),
    "403, denied": faults.s3_error(403, "AccessDenied"),
    "410": faults.Status(410),
    "401": faults.Status(401),
    "truncated": faults.Truncated(1),
    "reset": faults.Reset(1),
    "dropped": faults.Dropped(),
    "page": faults.page(),
    "unchanged, unasked": faults.Status(304),
    "part, unasked": faults.Status(206, b"abc"),
    "not gzipped": faults.Status(200, b"{}", {"Content-Encoding": "gzip"}),
    "no bucket": faults.s3_error(404, "NoSuchBucket"),
}


@pytest.mark.parametrize("fault", FAILURES.values(), ids=FAILURES)
def test_a_failure_is_not_kept(cache, http_server, tmp_path, fault):
    (tmp_path / "zarr.json").write_bytes(b"{}")
    http_server.fault("*", fault, forever=True)
    (answer,) = store_at(http_server.url).fetch(["zarr.json"]).values()
    assert isinstance(answer, errors.StoreError)
    assert files(cache) == []
    http_server.clear()
    assert store_at(http_server.url).fetch(["zarr.json"]) == {"zarr.json": b"{}"}


@pytest.mark.parametrize("fault", [faults.Status(500), faults.Status(403)])
def test_a_failure_is_not_covered_up_by_what_is_kept(
    cache, http_server, tmp_path, fault
):
    (tmp_path / "a").write_bytes(b"a")
    store_at(http_server.url).fetch(["a"])
    grow_old(cache)
    http_server.fault("*", fault, forever=True)
    (answer,) = store_at(http_server.url).fetch(["a"]).values()
    assert isinstance(answer, errors.StoreError)
    http_server.clear()
    assert store_at(http_server.url).fetch(["a"]) == {"a": b"a"}
    assert statuses(http_server) == {304}


def test_what_has_changed_replaces_what_was(cache, http_server, tmp_path):
    (tmp_path / "a").write_bytes(b"first")
    assert store_at(http_server.url).fetch(["a"]) == {"a": b"first"}
    (tmp_path / "a").write_bytes(b"second")
    assert store_at(http_server.url).fetch(["a"]) == {"a": b"first"}
    grow_old(cache)
    assert store_at(http_server.url).fetch(["a"]) == {"a": b"second"}
    (kept,) = files(cache)
    assert b"first" not in kept.read_bytes()
    (tmp_path / "a").unlink()
    grow_old(cache)
    assert store_at(http_server.url).fetch(["a"]) == {"a": None}
    (kept,) = files(cache)
    assert kept.read_bytes() == b""


@pytest.mark.parametrize(
    ("headers", "status", "again"),
    [
        ({"Cache-Control": "private, No-Store"}, 200, 200),
        ({"Cache-Control": "no-store"}, 404, 404),
        ({"Vary": "*"}, 200, 200),
        ({"Cache-Control": "no-cache", "ETag": '"1"'}, 200, 304),
        ({"Cache-Control": "max-age=0", "ETag": '"1"'}, 200, 304),
        ({"Cache-Control": "no-cache"}, 404, 404),
        ({"Cache-Control": 'public, max-age="60"', "ETag": '"1"'}, 200, None),
        ({"Cache-Control": "max-age=99", "ETag": '"1"'}, 404, None),
        ({"Cache-Control": "max-age=soon", "Vary": "Origin"}, 200, None),
    ],
)
def test_what_the_server_wishes(cache, http_server, headers, status, again):
    body = b"a" if status == 200 else b""
    http_server.fault("*", faults.Status(status, body, headers))
    expected = {"a": body or None}
    assert store_at(http_server.url).fetch(["a"]) == expected
    http_server.clear()
    http_server.fault("*", faults.Status(again or 500, body if again == 200 else b""))
    assert store_at(http_server.url).fetch(["a"]) == expected
    assert statuses(http_server) == ({again} if again else set())


def test_the_servers_time_may_be_over_before_ours(cache, http_server):
    headers = {"Cache-Control": "max-age=1800", "ETag": 'W/"1"'}
    for status in (200, 404):
        http_server.fault(f"/{status}", faults.Status(status, b"", headers))
    answers = store_at(http_server.url).fetch(["200", "404"])
    grow_old(cache, 1000)
    assert store_at(http_server.url).fetch(["200", "404"]) == answers
    http_server.clear()
    grow_old(cache, 1000)
    http_server.fault("/200", faults.Status(304))
    assert store_at(http_server.url).fetch(["200", "404"]) == answers
    sent = {r.path: r.headers.get("if-none-match") for r in http_server.requests}
    assert sent == {"/200": 'W/"1"', "/404": None}


def test_a_server_that_knows_only_dates(cache, http_server):
    date = email.utils.formatdate(0, usegmt=True)
    http_server.fault("*", faults.Status(200, b"a", {"Last-Modified": date}))
    store_at(http_server.url).fetch(["a"])
    grow_old(cache)
    http_server.fault("*", faults.Status(304))
    assert store_at(http_server.url).fetch(["a"]) == {"a": b"a"}
    assert http_server.requests[-1].headers["if-modified-since"] == date


def test_a_server_that_knows_no_versions(cache, http_server):
    answers = [faults.Status(200, b"first"), faults.Status(200, b"second")]
    http_server.fault("/a", *answers)
    store = store_at(http_server.url)
    assert [store.fetch(["a"])["a"] for _ in "12"] == [b"first", b"first"]
    grow_old(cache)
    assert store_at(http_server.url).fetch(["a"]) == {"a": b"second"}
    part = faults.Status(206, b"cd", {"Content-Range": "bytes 2-3/9"})
    http_server.fault("/part", part, part)
    for _ in range(2):
        assert get(store, "part", RangeByteRequest(2, 4)) == b"cd"
    assert len(files(cache)) == 1


def ranges_of(server):
    ranges = [request.range for request in server.requests]
    server.clear()
    return ranges


def test_parts_are_joined_and_cut(cache, http_server, tmp_path):
    body = bytes(range(200))
    (tmp_path / "a").write_bytes(body)
    store = store_at(http_server.url)
    get(store, "a", SuffixByteRequest(61))
    get(store, "a", RangeByteRequest(50, 100))
    get(store, "a", RangeByteRequest(90, 150))
    assert ranges_of(http_server) == ["bytes=-61", "bytes=50-99", "bytes=90-149"]
    again = store_at(http_server.url)
    assert get(again, "a", RangeByteRequest(60, 190)) == body[60:190]
    assert get(again, "a", SuffixByteRequest(150)) == body[50:]
    assert get(again, "a", RangeByteRequest(199, 300)) == body[199:]
    assert ranges_of(http_server) == []
    assert get(again, "a", RangeByteRequest(40, 60)) == body[40:60]
    assert get(again, "a") == body
    assert ranges_of(http_server) == ["bytes=40-59", ""]
    assert len(files(cache)) == 1
    assert get(again, "a", RangeByteRequest(10, 20)) == body[10:20]
    assert ranges_of(http_server) == []


def test_parts_of_two_versions_are_never_joined(cache, http_server, tmp_path):
    (tmp_path / "a").write_bytes(b"old index, old chunk")
    index, chunk = RangeByteRequest(0, 9), RangeByteRequest(11, 20)
    assert get(store_at(http_server.url), "a", index) == b"old index"
    (tmp_path / "a").write_bytes(b"new chunk, new index")
    store = store_at(http_server.url)
    assert get(store, "a", index) == b"old index"
    for _ in range(2):
        with pytest.raises(errors.StoreError, match=r"has changed.*Open it again"):
            get(store, "a", chunk)
    reopened = store_at(http_server.url)
    assert get(reopened, "a", index) == b"new chunk"
    assert get(reopened, "a", chunk) == b"new index"
    names = [file.name for file in files(cache)]
    assert len(names) == 2


def test_an_old_index_is_asked_about_before_it_is_used(cache, http_server, tmp_path):
    folder = write_image(tmp_path / "a.zarr", shards=True)
    address = f"{http_server.url}/a.zarr"
    pixels(store_at(address))
    grow_old(cache)
    zarr.open_array(folder / "0")[...] = 100 + PIXELS
    np.testing.assert_array_equal(pixels(store_at(address)), 100 + PIXELS)


def test_a_zip_file_on_the_web(cache, http_server, tmp_path):
    folder = write_image(tmp_path / "a.zarr")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder))
    np.testing.assert_array_equal(pixels(store_at(f"{http_server.url}/a.zip")), PIXELS)
    http_server.clear()
    np.testing.assert_array_equal(pixels(store_at(f"{http_server.url}/a.zip")), PIXELS)
    assert http_server.requests == []


def test_one_sign_in_is_not_shown_what_another_saw(
    cache, s3_server, s3_prefix, monkeypatch
):
    s3_server.put(f"private/{s3_prefix}/zarr.json", b"{}")
    place = f"s3://private/{s3_prefix}"
    with monkeypatch.context() as signed_in:
        signed_in.setenv("AWS_ACCESS_KEY_ID", OWNER.key)
        signed_in.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)
        store = store_at(place, endpoint=s3_server.endpoint)
        assert store.fetch(["zarr.json"]) == {"zarr.json": b"{}"}
    store = store_at(place, endpoint=s3_server.endpoint, anonymous=True)
    (answer,) = store.fetch(["zarr.json"]).values()
    assert isinstance(answer, errors.AccessDeniedError)


@pytest.fixture
def seen(cache, tmp_path):
    """An image of which one plane was seen; its server is gone. Gives both."""
    folder = tmp_path / "a.ome.zarr"
    # A shard that is small is read whole, so what was not seen lies in another.
    sharded = {"shards": (1, 2, 16, 16)}
    levels = small_images.put_image(folder, "0.5", chunks=(1, 1, 8, 8), **sharded)
    with FileServer(tmp_path) as server:
        address = f"{server.url}/a.ome.zarr"
        ((data, _, _), *_) = read_layers(address)
        data[0][1].compute()
    return address, levels[0][0]


@pytest.mark.parametrize("age", [0, DAY])
def test_offline_an_image_opens_as_far_as_it_was_seen(cache, seen, age):
    address, expected = seen
    grow_old(cache, age)
    ((data, *_), *_) = read_layers(address)
    np.testing.assert_array_equal(data[0][1].compute(), expected[1])
    with pytest.raises(errors.StoreConnectionError):
        data[0][3].compute()


@pytest.mark.parametrize("protocol", ["http", "s3"])
def test_offline_is_said_once(cache, request, tmp_path, protocol):
    folder = write_image(tmp_path / "a.zarr")
    if protocol == "http":
        server, address = FileServer(tmp_path), "{}/a.zarr"
        options = {}
    else:
        s3_server = request.getfixturevalue("s3_server")
        prefix = request.getfixturevalue("s3_prefix")
        s3_server.upload(folder, f"public/{prefix}")
        server, address = Proxy(s3_server.endpoint), f"s3://public/{prefix}"
        options = {"endpoint": server.url}
    address = address.format(server.url)
    with server:
        pixels(store_at(address, **options))
    fresh = store_at(address, **options)
    np.testing.assert_array_equal(pixels(fresh), PIXELS)
    assert OFFLINE not in fresh.notes
    grow_old(cache)
    stale = store_at(address, **options)
    np.testing.assert_array_equal(pixels(stale), PIXELS)
    assert stale.notes.count(OFFLINE) == 1
    assert 0 < stale.requests < 5  # of twenty keys: those that were asked for at once


ROLE = """
[profile lab]
role_arn = arn:aws:iam::1:role/lab
source_profile = base
region = us-east-1
[profile base]
aws_access_key_id = a
aws_secret_access_key = b
"""
ASSUMED = f"""<AssumeRoleResponse><AssumeRoleResult><Credentials>
<AccessKeyId>{OWNER.key}</AccessKeyId><SecretAccessKey>{OWNER.secret}</SecretAccessKey>
<SessionToken></SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>"""


def test_offline_nobody_can_sign_in_and_need_not(
    cache, s3_server, s3_prefix, clean_aws_environment, tmp_path, monkeypatch
):
    (clean_aws_environment / "config").write_text(ROLE)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3_server.put(f"private/{s3_prefix}/zarr.json", b"{}")
    place = f"s3://private/{s3_prefix}"
    options = {"endpoint": s3_server.endpoint, "profile": "lab"}
    with FileServer(tmp_path) as sign_in:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sign_in.url)
        sign_in.fault("*", faults.Status(200, ASSUMED.encode()), forever=True)
        expected = store_at(place, **options).fetch(["zarr.json"])
        assert expected == {"zarr.json": b"{}"}
    grow_old(cache)
    monkeypatch.setenv("AWS_REGION", "us-east-1")  # what was learnt begins anew
    store = store_at(place, **options)
    assert store.fetch(["zarr.json"]) == expected
    assert OFFLINE in store.notes
    (answer,) = store.fetch(["other.json"]).values()
    assert isinstance(answer, errors.StoreConnectionError)
