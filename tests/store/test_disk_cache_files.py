"""The files of the disk cache: damaged, shared, killed in the middle, too many."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

from child_process import child_process
from disk_cache_files import SIZE, files, grow_old, pixels, store_at
from napari_omezarr.store import clear_disk_cache, disk_cache_facts, set_disk_cache
from napari_omezarr.store.backend import cut
from napari_omezarr.store.disk_cache import CachedRange, DiskCache, cache_key, covering
from napari_omezarr.store.http import Response
from quick_retries import PIXELS, get, write_image


def cut_off(bodies):
    return [body[: len(body) // 2] for body in bodies]


def empty(bodies):
    return [b""] * len(bodies)


def flip_the_last_bit(bodies):
    return [body[:-1] + bytes([body[-1] ^ 1]) for body in bodies]


def change_the_header(bodies):
    return [body.replace(b'"lifetime": null', b'"lifetime": 1234') for body in bodies]


def test_the_format_of_the_files_stays(tmp_path):
    """What an earlier version of this package kept is found."""
    line = (
        b'{"name": "%s", "validator": "1", "lifetime": null, "size": 1, "checks": [%d]}'
    )
    key = cache_key("http://a")
    text = line % (key.encode(), zlib.crc32(b"a"))
    body = b"%08x %s\na" % (zlib.crc32(text), text)
    cache = DiskCache(tmp_path, SIZE)
    cache.keep(key, Response(b"a", total=1, etag="1"))
    (kept,) = (file for file in files(tmp_path) if file.name == key)
    assert kept.read_bytes() == body
    assert cache.find(key, None).etag == "1"


def mix_up(bodies):
    return [*bodies[1:], bodies[0]]


@pytest.mark.parametrize(
    "damage", [cut_off, empty, flip_the_last_bit, change_the_header, mix_up]
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


def python(script, *arguments):
    code = textwrap.dedent(script)
    command = [sys.executable, "-c", code, *arguments]
    return child_process(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("shards", [False, True])
def test_processes_share_the_folder(cache, http_server, tmp_path, shards):
    write_image(tmp_path / "a.zarr", shards=shards)
    location = f"{http_server.url}/a.zarr"
    command = (READ, cache, location)
    with python(*command) as one, python(*command) as other:
        sums = [process.communicate()[0].split() for process in (one, other)]
    assert sums == [[f"{PIXELS.sum()}"] * 5] * 2
    http_server.clear()
    np.testing.assert_array_equal(pixels(store_at(location)), PIXELS)
    assert http_server.requests == []


WRITE = """
    import sys
    from pathlib import Path
    from napari_omezarr.store.disk_cache import cache_key
    from napari_omezarr.store.http import Response
    from napari_omezarr.store.disk_cache import DiskCache
    cache = DiskCache(Path(sys.argv[1]), 1 << 30)
    if len(sys.argv) > 2:
        import resource, signal
        sys.dont_write_bytecode = True
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    for number in range(1000):
        body = bytes([number % 256]) * 3_000_000
        response = Response(body, total=len(body), etag='"1"')
        cache.keep(cache_key(f"http://a/{number % 3}"), response)
        print(number, flush=True)
"""


def usable(folder):
    """Say how many of the answers of `WRITE` are found; each must be a whole one."""
    cache = DiskCache(folder, 1 << 30)
    found = [cache.find(cache_key(f"http://a/{number}"), None) for number in range(3)]
    bodies = [kept.body for kept in found if kept]
    assert all(len(body) == 3_000_000 and len(set(body)) == 1 for body in bodies)
    key = cache_key("http://a/0")
    cache.keep(key, Response(b"new", total=3, etag='"2"'))
    assert cache.find(key, None).body == b"new"
    return len(bodies)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_process_that_dies_in_the_middle_of_a_file_leaves_no_half(tmp_path):
    with python(WRITE, tmp_path, 1_000_000) as process:
        process.communicate()
        assert process.returncode == -signal.SIGXFSZ
    (half,) = files(tmp_path)
    assert half.stat().st_size == 1_000_000
    assert usable(tmp_path) == 0
    room = DiskCache(tmp_path, SIZE).files
    room.make_room()
    assert half.exists()
    grow_old(tmp_path, 3601)
    room.make_room()
    assert not half.exists()


def test_a_killed_process_leaves_a_usable_cache(tmp_path):
    with python(WRITE, tmp_path) as process:
        for _ in range(5):
            process.stdout.readline()
        process.kill()
        process.communicate()
    assert usable(tmp_path) >= 2


def test_what_was_used_long_ago_goes_first(tmp_path):
    cache = DiskCache(tmp_path, 1 << 20)
    keys = [cache_key(f"http://a/{number}") for number in range(32)]
    for key in keys:
        cache.keep(key, Response(bytes(20_000), total=20_000, etag='"1"'))
    grow_old(tmp_path)
    used = keys[::4]
    assert all(cache.find(key, None) for key in used)
    smaller = DiskCache(
        tmp_path, 1 << 19
    )  # the first may still be looking, with old times
    smaller.files.make_room()
    assert all(smaller.find(key, None) for key in used)
    assert smaller.files.contents()[0] <= 1 << 19


OBJECT = bytes(range(100))
extents = st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted)
requests = st.one_of(
    st.none(),
    extents.map(lambda extent: RangeByteRequest(*extent)),
    st.integers(0, 100).map(OffsetByteRequest),
    st.integers(0, 120).map(SuffixByteRequest),
)


@given(st.lists(extents, max_size=6), requests)
def test_parts_cover_exactly_what_they_hold(extents, wanted):
    parts = [CachedRange("k", "v", start, stop, 100) for start, stop in extents]
    held = {at for part in parts for at in range(part.start, part.stop)}
    expected = cut(OBJECT, wanted)
    pieces = covering(parts, wanted)
    found = [cut(OBJECT[part.start : part.stop], own) for part, own in pieces]
    assert b"".join(found) == (expected if held.issuperset(expected) else b"")


@given(st.tuples(*[st.integers(0, 10**12)] * 3))
def test_names_of_parts_are_read_as_they_are_written(numbers):
    part = CachedRange(cache_key("http://a"), "0123abcd", *numbers)
    assert CachedRange.parse(str(part)) == part


def test_parts_of_two_versions_or_sizes_are_not_joined():
    first, second = (
        CachedRange("k", "v", 0, 50, 100),
        CachedRange("k", "v", 50, 100, 100),
    )
    assert len(covering([second, first], None)) == 2
    for other in (
        CachedRange("k", "w", 50, 100, 100),
        CachedRange("k", "v", 50, 101, 101),
    ):
        assert covering([first, other], None) == []
        assert not first.fits_beside(other)
    assert first.fits_beside(second)
    assert not first.fits_beside(CachedRange("k", "v", 0, 60, 100))
