"""Files of this computer, and what only fsspec knows."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial

import fsspec
import numpy as np
import pytest
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

from napari_omezarr import errors
from napari_omezarr.location import Location
from napari_omezarr.store import open_store, run
from napari_omezarr.store.backend import retrying
from napari_omezarr.store.error_mapping import ErrorContext, RequestFailed
from napari_omezarr.store.fsspec_backend import FsspecBackend
from quick_retries import PIXELS, QUICK, get, write_image
from servers import faults

RANGES = [
    (None, b"abcdefghij"),
    (RangeByteRequest(2, 5), b"cde"),
    (RangeByteRequest(8, 99), b"ij"),
    (OffsetByteRequest(7), b"hij"),
    (SuffixByteRequest(3), b"hij"),
    (SuffixByteRequest(99), b"abcdefghij"),
]


@pytest.fixture
def letters(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a b%20#").write_bytes(b"abcdefghij")
    return open_store(Location.parse(tmp_path))


@pytest.mark.parametrize(("wanted", "expected"), RANGES)
def test_ranges(letters, wanted, expected):
    assert get(letters, "a b%20#", wanted) == expected


@pytest.mark.parametrize("key", ["none", "folder", "a b%20#/below", "../folder/.."])
def test_missing(letters, key):
    assert letters.fetch([key]) == {key: None}


def test_a_missing_folder(tmp_path):
    store = open_store(Location.parse(tmp_path / "none"))
    assert store.fetch(["zarr.json"]) == {"zarr.json": None}


def test_local_places_are_asked_gently(letters):
    assert letters.concurrency == 8
    letters.fetch(["a b%20#", "none"])
    assert (letters.rounds, letters.requests, letters.bytes_received) == (1, 2, 10)


@pytest.mark.parametrize("shards", [False, True])
def test_zarr_reads_local_files(tmp_path, shards):
    store = open_store(Location.parse(write_image(tmp_path / "a", shards=shards)))
    array = zarr.open_array(store, path="0", mode="r")
    assert np.array_equal(array[1:7, 3:], PIXELS[1:7, 3:])


@pytest.mark.skipif(
    sys.platform == "win32" or os.environ.get("USER") == "root" or os.getuid() == 0,
    reason="nobody is refused",
)
def test_a_file_that_may_not_be_read(letters, tmp_path):
    (tmp_path / "closed").touch(mode=0)
    (error,) = letters.fetch(["closed"]).values()
    assert isinstance(error, errors.AccessDeniedError)


def test_a_name_that_is_too_long(letters):
    (error,) = letters.fetch(["x" * 5000]).values()
    assert type(error) is errors.StoreError
    assert "cannot be read" in error.sentence


@pytest.fixture
def memory():
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/test-store/a", b"abcdefghij")
    yield open_store(Location.parse("memory://test-store"))
    filesystem.rm("/test-store", recursive=True)


@pytest.mark.parametrize(("wanted", "expected"), RANGES)
def test_ranges_in_memory(memory, wanted, expected):
    assert get(memory, "a", wanted) == expected


def test_missing_in_memory(memory):
    assert memory.fetch(["none", "a"]) == {"none": None, "a": b"abcdefghij"}


@pytest.fixture
def asynchronous(http_server):
    """An asynchronous filesystem of fsspec's."""
    filesystem = fsspec.filesystem("http", skip_instance_cache=True)
    place = ErrorContext("", "host", bucket="b")
    backend = FsspecBackend(filesystem, http_server.url, place)

    def ask(key, wanted):
        attempt = partial(backend.read, key, wanted)
        return run(retrying(attempt, QUICK, asyncio.Semaphore(4)))

    return ask


@pytest.mark.parametrize(("wanted", "expected"), RANGES[:4])
def test_asynchronous_filesystems(
    asynchronous, http_server, tmp_path, wanted, expected
):
    (tmp_path / "a").write_bytes(b"abcdefghij")
    assert asynchronous("a", wanted).body == expected
    assert asynchronous("none", wanted) is None


def test_the_errors_of_asynchronous_filesystems(asynchronous, http_server, tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    http_server.fault("*", faults.Status(503), faults.Status(403))
    failure = asynchronous("a", None)
    assert isinstance(failure, RequestFailed)
    assert failure.status == 403


def test_a_public_bucket_of_google_needs_no_library():
    store = open_store(Location.parse("gs://bucket/a b.zarr", anonymous=True))
    assert store._backend.identity("0/c") == (
        "https://storage.googleapis.com/storage/v1/b/bucket/o/a%20b.zarr%2F0%2Fc"
        "?alt=media"
    )


def test_a_shared_access_signature_of_azure_needs_no_library():
    address = "abfs://images@lab.dfs.core.windows.net/a.zarr?sv=1&sig=a%2Fb"
    store = open_store(Location.parse(address))
    assert store._backend.identity("0/c") == (
        "https://lab.blob.core.windows.net/images/a.zarr/0/c?sv=1&sig=a%2Fb"
    )
