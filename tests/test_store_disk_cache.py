"""The disk cache before real servers: what is asked again, what is kept, what never."""

from __future__ import annotations

import email.utils
import os
import signal
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
import zarr
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.buffer.cpu import buffer_prototype

import small_images
from hurried import HASTY, PIXELS, write_image
from napari_omezarr import errors
from napari_omezarr.demo.server import OWNER
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.store import (
    clear_disk_cache,
    disk_cache_facts,
    open_store,
    run,
    set_disk_cache,
)
from napari_omezarr.store.cachekey import cache_key
from napari_omezarr.store.reply import Reply
from napari_omezarr.store.shelf import Shelf
from servers import faults
from servers.http import FileServer
from servers.proxy import Proxy

SIZE = 64 << 20
DAY = 24 * 3600
OFFLINE = "You are offline; shown from the cache."


@pytest.fixture
def cache(tmp_path_factory):
    """The folder of a disk cache that is on, with files fresh for an hour."""
    folder = tmp_path_factory.mktemp("cache")
    set_disk_cache(folder, size=SIZE, max_age=3600)
    yield folder
    set_disk_cache(size=0)


def files(folder):
    return [
        file
        for file in folder.rglob("*")
        if file.is_file() and file.name != "CACHEDIR.TAG"
    ]


def grow_old(folder, seconds=DAY):
    """Make all that is kept look as if it had been fetched long ago."""
    for file in files(folder):
        times = file.stat()
        os.utime(file, (times.st_atime - seconds, times.st_mtime - seconds))


def store_at(address, **options):
    return open_store(Location.parse(address, **options), patience=HASTY)


def pixels(store):
    return zarr.open_array(store, path="0", mode="r")[...]


def get(store, key, wanted=None):
    buffer = run(store.get(key, buffer_prototype, wanted))
    return None if buffer is None else buffer.to_bytes()


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


def test_a_refusal_that_stands_for_missing_is_not_remembered(cache, tmp_path):
    (tmp_path / "zarr.json").write_text("{}")
    with FileServer(tmp_path, forbid_missing=True) as server:
        for _ in range(2):
            server.clear()
            store = store_at(server.url)
            assert store.fetch(["zarr.json", "c/0"])["c/0"] is None
            assert "/c/0" in {request.path for request in server.requests}
    assert len(files(cache)) == 1


FAILURES = {
    "500": faults.Status(500),
    "503": faults.Status(503),
    "403": faults.Status(403),
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
    headers = {"Cache-Control": "max-age=60", "ETag": 'W/"1"'}
    for status in (200, 404):
        http_server.fault(f"/{status}", faults.Status(status, b"", headers))
    answers = store_at(http_server.url).fetch(["200", "404"])
    grow_old(cache, 59)
    assert store_at(http_server.url).fetch(["200", "404"]) == answers
    http_server.clear()
    grow_old(cache, 2)
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


def cut_off(bodies):
    return [body[: len(body) // 2] for body in bodies]


def empty(bodies):
    return [b""] * len(bodies)


def flip_the_last_bit(bodies):
    return [body[:-1] + bytes([body[-1] ^ 1]) for body in bodies]


def change_the_label(bodies):
    return [body.replace(b'"lifetime": null', b'"lifetime": 1234') for body in bodies]


def mix_up(bodies):
    return [*bodies[1:], bodies[0]]


@pytest.mark.parametrize(
    "damage", [cut_off, empty, flip_the_last_bit, change_the_label, mix_up]
)
@pytest.mark.parametrize("shards", [False, True])
def test_damaged_files_are_fetched_again(cache, http_server, tmp_path, damage, shards):
    write_image(tmp_path / "a.zarr", shards=shards)
    address = f"{http_server.url}/a.zarr"
    pixels(store_at(address))
    kept = [file for file in files(cache) if file.stat().st_size]
    damaged = damage([file.read_bytes() for file in kept])
    for file, body in zip(kept, damaged, strict=True):
        assert file.read_bytes() != body
        file.write_bytes(body)
    http_server.clear()
    np.testing.assert_array_equal(pixels(store_at(address)), PIXELS)
    assert len(http_server.requests) == len(kept)
    http_server.clear()
    np.testing.assert_array_equal(pixels(store_at(address)), PIXELS)
    assert http_server.requests == []


def test_what_else_lies_in_the_folder_does_no_harm(cache, http_server, tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    store_at(http_server.url).fetch(["a"])
    (kept,) = files(cache)
    for name in (f"{kept.name}-0-x", "README", f"{kept.name}-12345678-9-1-4"):
        (kept.parent / name).write_bytes(b"?")
    (cache / "mine.txt").write_text("mine")
    assert get(store_at(http_server.url), "a", RangeByteRequest(0, 1)) == b"a"
    clear_disk_cache()
    assert [file.name for file in files(cache)] == ["mine.txt"]


def test_a_folder_that_cannot_be_used(cache, http_server, tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    file = tmp_path / "file"
    file.touch()
    set_disk_cache(file, size=SIZE)
    for _ in range(2):
        store = store_at(http_server.url)
        assert store.fetch(["a"]) == {"a": b"a"}
        (note,) = store.notes
        assert note.startswith("The disk cache keeps nothing: ")
    clear_disk_cache()
    assert disk_cache_facts().entries == 0


def test_the_size_is_kept_to(cache, http_server, tmp_path):
    size = 4 << 20
    set_disk_cache(cache, size=size)
    names = [f"{number}" for number in range(200)]
    for name in names:
        (tmp_path / name).write_bytes(os.urandom(50_000))
    store = store_at(http_server.url)
    for name in names:
        store.fetch([name])
        assert disk_cache_facts().bytes <= size
    assert size / 2 < disk_cache_facts().bytes <= size
    http_server.clear()
    store.fetch(names[-10:])
    assert http_server.requests == []
    (tmp_path / "large").write_bytes(bytes(size // 4))
    assert len(store.fetch(["large"])["large"]) == size // 4
    assert disk_cache_facts().bytes <= size


READ = """
    import sys, zarr
    from napari_omezarr.location import Location
    from napari_omezarr.store import open_store, set_disk_cache
    set_disk_cache(sys.argv[1], size=64 << 20)
    for _ in range(5):
        store = open_store(Location.parse(sys.argv[2]))
        print(zarr.open_array(store, path="0", mode="r")[...].sum())
"""


def started(script, *arguments):
    code = textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("image", ["http"], indirect=True)
def test_processes_share_the_folder(cache, image):
    server, opened = image
    location = opened().location
    processes = [started(READ, cache, location) for _ in range(2)]
    sums = [process.communicate()[0].split() for process in processes]
    assert sums == [[f"{PIXELS.sum()}"] * 5] * 2
    server.clear()
    np.testing.assert_array_equal(pixels(opened()), PIXELS)
    assert server.requests == []


WRITE = """
    import sys
    from pathlib import Path
    from napari_omezarr.store.cachekey import cache_key
    from napari_omezarr.store.reply import Reply
    from napari_omezarr.store.shelf import Shelf
    shelf = Shelf(Path(sys.argv[1]), 1 << 30)
    if len(sys.argv) > 2:
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    for number in range(1000):
        body = bytes([number % 256]) * 3_000_000
        reply = Reply(body, total=len(body), validator='"1"')
        shelf.keep(cache_key(f"http://a/{number % 3}"), reply)
        print(number, flush=True)
"""


def usable(folder):
    """Say how many of the answers of `WRITE` are found; each must be a whole one."""
    shelf = Shelf(folder, 1 << 30)
    found = [shelf.find(cache_key(f"http://a/{number}"), None) for number in range(3)]
    bodies = [kept.body for kept in found if kept]
    assert all(len(body) == 3_000_000 and len(set(body)) == 1 for body in bodies)
    key = cache_key("http://a/0")
    shelf.keep(key, Reply(b"new", total=3, validator='"2"'))
    assert shelf.find(key, None).body == b"new"
    return len(bodies)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_process_that_dies_in_the_middle_of_a_file_leaves_no_half(tmp_path):
    process = started(WRITE, tmp_path, 1_000_000)
    process.communicate()
    assert process.returncode == -signal.SIGXFSZ
    (half,) = files(tmp_path)
    assert half.stat().st_size == 1_000_000
    assert usable(tmp_path) == 0
    room = Shelf(tmp_path, SIZE).room
    room.make_room()
    assert half.exists()
    grow_old(tmp_path, 3601)
    room.make_room()
    assert not half.exists()


def test_a_killed_process_leaves_a_usable_cache(tmp_path):
    process = started(WRITE, tmp_path)
    for _ in range(5):
        process.stdout.readline()
    process.kill()
    process.communicate()
    assert usable(tmp_path) >= 2


SECRETS = {
    "user": "//ann:PLANTED@",
    "aws": "?X-Amz-Credential=PLANTED&X-Amz-Signature=PLANTED&X-Amz-Expires=60",
    "azure": "?sv=2024-01-01&se=PLANTED&sp=r&sig=PLANTED%2F",
    "google": "?X-Goog-Signature=PLANTED&GoogleAccessId=PLANTED",
    "token": "?token=PLANTED",
    "other": "?whatever=PLANTED",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_secret_is_on_disk(cache, http_server, tmp_path, secret):
    write_image(tmp_path / "a.zarr", shards=True)
    if secret.startswith("//"):
        address = http_server.url.replace("//", secret) + "/a.zarr"
    else:
        address = f"{http_server.url}/a.zarr{secret}"
    np.testing.assert_array_equal(pixels(store_at(address)), PIXELS)
    assert len(files(cache)) > 3
    for file in files(cache):
        assert "PLANTED" not in str(file)
        assert "127.0.0.1" not in str(file)
        assert b"PLANTED" not in file.read_bytes()
    assert "PLANTED" not in repr(disk_cache_facts())


def test_keys_of_s3_are_not_on_disk(cache, image):
    _, opened = image
    pixels(opened())
    planted = [OWNER.key.encode(), OWNER.secret.encode(), b"Signature="]
    for file in files(cache):
        assert not any(secret in file.read_bytes() for secret in planted)


def test_a_new_signature_is_not_a_new_image(cache, http_server, tmp_path):
    write_image(tmp_path / "a.zarr")
    address = f"{http_server.url}/a.zarr?X-Amz-Date=1&X-Amz-Signature="
    pixels(store_at(f"{address}a"))
    http_server.clear()
    pixels(store_at(f"{address}b"))
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
    sharded = {"shards": (1, 4, 16, 16)}
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
