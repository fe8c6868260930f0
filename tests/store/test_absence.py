"""What counts as never written, and what is a refusal, for every way to the bytes."""

from __future__ import annotations

import json
import pickle
import zipfile

import numpy as np
import pytest
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

from disk_cache_files import cache_in
from napari_omezarr import errors
from napari_omezarr.location import Location
from napari_omezarr.pyramid import ArrayPixels
from napari_omezarr.store import clear_disk_cache, open_store, run
from napari_omezarr.store.error_mapping import (
    RequestFailed,
    says_absent,
    says_denied,
    tells_of_all,
)
from quick_retries import PIXELS, QUICK, write_image
from servers import faults
from servers.http import Bucket

DENIED = faults.s3_error(403, "AccessDenied")
REFUSALS = {
    "page": faults.Status(403, b"<html>Too many requests</html>"),
    "page with a code": faults.Status(403, b"<html><Code>AccessDenied</Code></html>"),
    "JSON": faults.Status(403, b'{"Code": "AccessDenied", "message": "no"}'),
    "nothing": faults.Status(403),
    "S3's word": DENIED,
    "another code": faults.s3_error(403, "AllAccessDisabled"),
    "expired": faults.s3_error(403, "AccessDenied", Message="Request has expired"),
    "gone": faults.Status(410),
    "sign in": faults.Status(401),
    "too many": faults.Status(429),
    "no bucket": faults.s3_error(404, "NoSuchBucket"),
    "bad request": faults.Status(400),
    "nothing to say": faults.Status(204),
}


@pytest.mark.parametrize(
    ("status", "code", "absent"),
    [
        (404, "", True),
        (404, "NoSuchKey", True),
        (404, "BlobNotFound", True),
        (404, "NoSuchBucket", False),
        (404, "ContainerNotFound", False),
        (404, "ResourceNotFound", False),
        (404, "NoSuchUpload", False),
        (410, "", False),
        (403, "NoSuchKey", False),
    ],
)
def test_what_says_absent(status, code, absent):
    assert says_absent(status, code) == absent


def test_what_says_denied():
    assert says_denied(RequestFailed(403, "AccessDenied"))
    for failure in (
        RequestFailed(403),
        RequestFailed(403, "Forbidden"),
        RequestFailed(401, "AccessDenied"),
        RequestFailed(403, "AccessDenied", expired=True),
    ):
        assert not says_denied(failure)


def test_which_parts_tell_of_the_whole():
    for wanted in (None, SuffixByteRequest(9), RangeByteRequest(0, 9)):
        assert tells_of_all(wanted)
    assert tells_of_all(OffsetByteRequest(0))
    for wanted in (RangeByteRequest(1, 9), OffsetByteRequest(1)):
        assert not tells_of_all(wanted)


# Refusals, at every way there.


@pytest.fixture
def bucket(tmp_path):
    (tmp_path / "bucket").mkdir()
    with Bucket(tmp_path) as server:
        server.lists = True
        yield server


def pixels_of(location):
    store = open_store(location, retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    return ArrayPixels(array._async_array, location.display, 8)


def reference(folder, server):
    """References of which each document is here, and each chunk is at the server."""
    said = {}
    for file in (folder / "a.zarr").rglob("*"):
        if file.is_file():
            key = file.relative_to(folder / "a.zarr").as_posix()
            is_document = file.name.startswith((".z", "zarr.json"))
            said[key] = (
                file.read_text()
                if is_document
                else [f"{server.url}/bucket/a.zarr/{key}", 0, file.stat().st_size]
            )
    (folder / "a.json").write_text(json.dumps({"version": 1, "refs": said}))
    return Location.parse(f"reference::{server.url}/bucket/a.json")


def archive(folder, server):
    with zipfile.ZipFile(folder / "a.zip", "w") as packed:
        for file in (folder / "a.zarr").rglob("*"):
            if file.is_file():
                packed.write(file, file.relative_to(folder / "a.zarr"))
    return Location.parse(f"{server.url}/bucket/a.zip")


PLACES = {
    "web": lambda _, server: Location.parse(f"{server.url}/bucket/a.zarr"),
    "signed": lambda _, server: Location.parse(f"{server.url}/bucket/a.zarr?sig=x"),
    "bucket": lambda _, server: server.place("bucket/a.zarr"),
    "references": reference,
    "zip": archive,
}


@pytest.mark.parametrize("cached", [False, True], ids=["", "cached"])
@pytest.mark.parametrize("shards", [False, True], ids=["chunks", "shards"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_refusal_is_an_error_and_is_not_kept(
    bucket, tmp_path, place, shards, cached, request
):
    write_image(tmp_path / "bucket/a.zarr", shards=shards)
    location = place(tmp_path / "bucket", bucket)
    if cached and place is archive:
        return  # all of the small archive is in the cache at once
    if cached:
        request.getfixturevalue("cache")
    pattern = "*/a.zip" if place is archive else "*/c/*"
    for name, fault in REFUSALS.items():
        if (cached or shards) and name not in ("page", "S3's word", "gone"):
            continue
        clear_disk_cache()
        pixels = pixels_of(location)
        bucket.fault(pattern, fault, forever=True)
        with pytest.raises(errors.StoreError):
            pixels[...]
        bucket.clear()
        np.testing.assert_array_equal(pixels[...], PIXELS, err_msg=name)
        np.testing.assert_array_equal(pixels_of(location)[...], PIXELS, err_msg=name)


@pytest.fixture
def cache(tmp_path):
    with cache_in(tmp_path / "cache") as folder:
        yield folder


@pytest.mark.parametrize("fault", [DENIED, *REFUSALS.values(), faults.Status(404)])
@pytest.mark.parametrize("lists", [False, True], ids=["unlisted", "listed"])
def test_a_chunk_of_a_shard_is_there(bucket, tmp_path, fault, lists):
    """Once the index says where it is."""
    folder = write_image(tmp_path / "bucket/a.zarr", shards=True)
    bucket.lists = lists
    (shard,) = folder.rglob("0/c/0/0")
    store = open_store(bucket.place("bucket/a.zarr"), retry=QUICK)
    index = run(store.read("0/c/0/0", SuffixByteRequest(16 * 4 + 4)))
    assert len(index.body) == 68
    bucket.fault("*/c/*", fault, forever=True)
    part = RangeByteRequest(8, shard.stat().st_size - 68)
    for wanted in (part, RangeByteRequest(20, 30), OffsetByteRequest(9)):
        with pytest.raises(errors.StoreError):
            run(store.read("0/c/0/0", wanted))
    with pytest.raises(errors.StoreError):
        run(store.read_part("0/c/0/0", 0, 8, index.etag))
    assert store.presumed == set()


def test_a_web_page_at_404_is_a_missing_key(http_server, tmp_path):
    folder = write_image(tmp_path / "a.zarr")
    (folder / "0/c/0/0").unlink()
    http_server.fault(
        "*/c/0/0", faults.Status(404, b"<html>not here</html>"), forever=True
    )
    found = pixels_of(Location.parse(f"{http_server.url}/a.zarr"))[...]
    assert found[:2, :2].max() == 0
    np.testing.assert_array_equal(found[2:], PIXELS[2:])


# Buckets of which it is known that nobody may list them.


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("shards", [False, True])
def test_what_is_denied_where_nothing_is_listed_is_presumed_missing(
    bucket, tmp_path, zarr_format, shards
):
    if shards and zarr_format == 2:
        return
    folder = write_image(tmp_path / "bucket/a.zarr", zarr_format, shards)
    bucket.lists = False
    name = "0.0" if zarr_format == 2 else "c/0/0"
    body = (folder / "0" / name).read_bytes()
    (folder / "0" / name).unlink()
    side = 4 if shards else 2
    expected = PIXELS.copy()
    expected[:side, :side] = 0
    store = open_store(bucket.place("bucket/a.zarr"), retry=QUICK)
    array = zarr.open_group(store, mode="r")["0"]
    pixels = ArrayPixels(array._async_array, "a", 8)
    assert store.presumed == set()
    for read in (lambda: array[...], lambda: pixels[...]):
        np.testing.assert_array_equal(read(), expected)
        assert list(store.presumed) == [f"0/{name}"]
    (note,) = [note for note in store.notes if "never written" in note]
    assert "count as empty" in note
    asked = [r for r in bucket.requests if "list-type" in r.query]
    assert len(asked) == 1
    assert "prefix=a.zarr%2F" in asked[0].query
    # It is not remembered: what is written, or allowed, since then is there.
    (folder / "0" / name).write_bytes(body)
    for read in (lambda: array[...], lambda: pixels[...]):
        np.testing.assert_array_equal(read(), PIXELS)
        assert store.presumed == set()


UNKNOWN = {
    "listed": None,
    "busy": faults.Status(503),
    "page": faults.Status(403, b"<html>go away</html>"),
    "nothing": faults.Status(403),
    "another code": faults.s3_error(403, "AllAccessDisabled"),
    "portal": faults.page(),
    "gone": faults.Status(404),
}


@pytest.mark.parametrize("answer", UNKNOWN.values(), ids=UNKNOWN)
def test_it_must_be_known_that_nothing_is_listed(bucket, tmp_path, answer):
    write_image(tmp_path / "bucket/a.zarr")
    pixels = pixels_of(bucket.place("bucket/a.zarr"))
    bucket.fault("*/c/0/0", DENIED, forever=True)
    if answer is not None:
        bucket.lists = False
        bucket.fault("/bucket/", answer, forever=True)
    for _ in range(2):
        with pytest.raises(errors.AccessDeniedError):
            pixels[...]
    assert pixels.store.presumed == set()
    listings = [r for r in bucket.requests if "list-type" in r.query]
    assert len(listings) == (3 if answer and answer.code == 503 else 1)


def test_a_document_of_the_same_image_must_have_been_read(bucket, tmp_path):
    write_image(tmp_path / "bucket/a.zarr")
    write_image(tmp_path / "bucket/b.zarr")
    bucket.lists = False
    store = open_store(bucket.place("bucket"), retry=QUICK)
    assert isinstance(store.fetch(["a.zarr/zarr.json"])["a.zarr/zarr.json"], bytes)
    answers = store.fetch(["a.zarr/0/c/9/9", "b.zarr/0/c/9/9"])
    assert answers["a.zarr/0/c/9/9"] is None
    assert isinstance(answers["b.zarr/0/c/9/9"], errors.AccessDeniedError)
    alone = run(store.answers(["a.zarr/0/c/9/8"], apart=True))
    assert isinstance(alone["a.zarr/0/c/9/8"], errors.AccessDeniedError)


def test_documents_that_are_denied_beside_others_are_missing(bucket, tmp_path):
    write_image(tmp_path / "bucket/a.zarr")
    bucket.lists = False
    store = open_store(bucket.place("bucket/a.zarr"), retry=QUICK)
    answers = store.fetch(["zarr.json", ".zattrs", "labels/zarr.json"])
    assert [type(answer) for answer in answers.values()] == [
        bytes,
        type(None),
        type(None),
    ]
    assert store.presumed == set()
    assert any("403" in note for note in store.notes)


def test_documents_that_a_web_server_refuses_are_refused(http_server, tmp_path):
    write_image(tmp_path / "a.zarr")
    http_server.forbid_missing = True
    store = open_store(Location.parse(f"{http_server.url}/a.zarr"), retry=QUICK)
    answers = store.fetch(["zarr.json", ".zattrs", "labels/zarr.json"])
    assert isinstance(answers["zarr.json"], bytes)
    assert isinstance(answers[".zattrs"], errors.AccessDeniedError)
    assert isinstance(answers["labels/zarr.json"], errors.AccessDeniedError)


def test_another_process_knows_what_was_read(bucket, tmp_path):
    write_image(tmp_path / "bucket/a.zarr")
    bucket.lists = False
    store = open_store(bucket.place("bucket/a.zarr"), retry=QUICK)
    store.fetch(["zarr.json"])
    again = pickle.loads(pickle.dumps(store))
    assert again.fetch(["0/c/9/9"]) == {"0/c/9/9": None}
    assert list(again.presumed) == ["0/c/9/9"]
