"""What a place sends takes no more memory, and no more time, than it may."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import zipfile

import pytest
from zarr.abc.store import RangeByteRequest

from napari_omezarr import errors
from napari_omezarr.location import Location
from napari_omezarr.pyramid import ArrayPixels
from napari_omezarr.store import RetryPolicy, for_decoding, open_store, run
from napari_omezarr.store import http as http_backend
from napari_omezarr.store.backend import at_most
from quick_retries import QUICK, write_image
from servers import faults
from servers.wire import Answer, WireServer

GIGABYTE = 1 << 30


def store_at(address):
    return open_store(Location.parse(address), retry=QUICK)


def opened(store):
    import zarr

    return ArrayPixels(zarr.open_array(store, path="0", mode="r")._async_array, "a", 8)


class Long(WireServer):
    """Answers with so many zeros, with its length or without."""

    def __init__(self, zeros=20 * GIGABYTE, *, has_length=True, **headers):
        self.zeros, self.has_length, self.headers = zeros, has_length, headers
        super().__init__()

    async def answer(self, request):
        status = 206 if request.range and "Content-Range" in self.headers else 200
        return Answer(
            status, self.headers, zeros=self.zeros, has_length=self.has_length
        )


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("key", ["zarr.json", "c/0"])
def test_a_body_without_end_is_not_read(has_length, key):
    with Long(has_length=has_length) as server, at_most(1 << 20):
        store = store_at(server.url)
        answer = run(bounded(store.answers([key])))[key]
        assert isinstance(answer, errors.DamagedDataError)
        assert len(server.requests) == 1
        assert store.bytes_received < 4 << 20


async def bounded(work, most=1 << 20):
    with at_most(most):
        return await work


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_the_body_of_an_error_is_not_read_to_its_end(http_server, status, tmp_path):
    class Failing(Long):
        async def answer(self, request):
            return Answer(status, zeros=20 * GIGABYTE)

    with Failing() as server:
        store = store_at(server.url)
        answer = store.fetch(["c/0"])["c/0"]
        assert (
            answer is None if status == 404 else isinstance(answer, errors.StoreError)
        )
        assert store.bytes_received < 8 << 20


def test_a_part_that_is_longer_than_was_asked_for_is_not_read_to_its_end():
    headers = {"Content-Range": "bytes 10-19/100"}
    with Long(has_length=False, **headers) as server:
        store = store_at(server.url)
        with pytest.raises(errors.StoreError):
            run(store.read("c/0", RangeByteRequest(10, 20)))
        assert store.bytes_received < 4 << 20


def test_a_chunk_is_no_longer_than_its_document_allows(http_server, tmp_path):
    folder = write_image(tmp_path / "a.zarr")
    pixels = opened(store_at(f"{http_server.url}/a.zarr"))
    before = pixels.store.bytes_received
    (folder / "0/c/0/0").write_bytes(bytes(8 << 20))
    with pytest.raises(errors.DamagedDataError):
        pixels[:2, :2]
    assert pixels.store.bytes_received - before < 1 << 20
    local = opened(store_at(str(folder)))
    with pytest.raises(errors.DamagedDataError):
        local[:2, :2]
    assert local.store.bytes_received < 1 << 16


def test_what_is_gzipped_is_unpacked_as_far_as_it_may_be(http_server, monkeypatch):
    bomb = gzip.compress(bytes(64 << 20))
    header = {"Content-Encoding": "gzip"}
    http_server.fault("*", faults.Status(200, bomb, header), forever=True)
    store = store_at(http_server.url)
    answer = run(bounded(store.answers(["c/0"])))["c/0"]
    assert isinstance(answer, errors.DamagedDataError)


@pytest.mark.parametrize("broken", ["cut", "more"])
def test_what_is_gzipped_is_whole_or_an_error(http_server, broken):
    body = gzip.compress(bytes(1000))
    body = body[:-5] if broken == "cut" else body + b"more"
    header = {"Content-Encoding": "gzip"}
    http_server.fault("*", faults.Status(200, body, header), forever=True)
    answer = store_at(http_server.url).fetch(["c/0"])["c/0"]
    assert isinstance(answer, errors.TruncatedBodyError)


def test_a_long_document_is_not_read(tmp_path):
    with (tmp_path / "zarr.json").open("wb") as file:
        file.truncate(200 << 20)
    store = store_at(str(tmp_path))
    answer = store.fetch(["zarr.json"])["zarr.json"]
    assert isinstance(answer, errors.DamagedDataError)
    assert store.bytes_received == 0


def test_a_member_of_an_archive_is_no_larger_than_it_says(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("zarr.json", bytes(70 << 20))
        packed.writestr("c/0", bytes(1 << 20))
    body = (tmp_path / "a.zip").read_bytes()
    size = (1 << 20).to_bytes(4, "little")
    # The directory says that the second has a hundred bytes.
    at = body.rfind(size)
    body = body[:at] + (100).to_bytes(4, "little") + body[at + 4 :]
    (tmp_path / "a.zip").write_bytes(body)
    answers = store_at(str(tmp_path / "a.zip")).fetch(["zarr.json", "c/0"])
    for answer in answers.values():
        assert isinstance(answer, errors.StoreError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_read(tmp_path, kind):
    if kind == "pipe":
        os.mkfifo(tmp_path / "zarr.json")
    else:
        (tmp_path / "zarr.json").symlink_to("/dev/zero")
    answer = store_at(str(tmp_path)).fetch(["zarr.json"])["zarr.json"]
    assert isinstance(answer, errors.StoreError)
    assert "no file" in answer.sentence


# Slow answers: the clock counts what has come, and is turned forward here.


class Dripping(WireServer):
    """Sends a byte, and the next one soon: never silent, and never done."""

    head = True

    async def _exchange(self, reader, writer):
        from servers.wire import read_request

        request = await read_request(reader)
        self._record(request)
        text = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
        if self.head:
            writer.write(text + b"\r\n")
        else:
            writer.write(text)
        while True:
            writer.write(b"x" if self.head else b"X-A: b\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("head", [True, False], ids=["body", "head"])
def test_a_byte_now_and_then_is_no_answer(head, monkeypatch):
    monkeypatch.setattr(http_backend, "_SLOWEST_ANSWER", 5000)
    patience = RetryPolicy(connect=5, silence=0.2, tries=1, total=5)
    with Dripping() as server:
        server.head = head
        store = open_store(Location.parse(server.url), retry=patience)
        answer = run(asyncio.wait_for(store.answers(["c/0"]), 20))["c/0"]
        assert isinstance(answer, errors.StoreTimeoutError)


# A long body that is only decoded is written once, into memory of its own.

LONG = 5 << 20


async def only_decoded(work):
    with for_decoding():
        return await work


@pytest.fixture
def long_body(tmp_path):
    body = os.urandom(LONG)
    (tmp_path / "long.bin").write_bytes(body)
    return body


@pytest.mark.parametrize("wanted", [None, RangeByteRequest(7, LONG)])
def test_a_long_body_is_a_view_of_memory_for_decoders_alone(
    http_server, long_body, wanted
):
    expected = long_body if wanted is None else long_body[7:]
    store = store_at(http_server.url)
    found = run(only_decoded(store.read("long.bin", wanted)))
    assert isinstance(found.body, memoryview)
    assert found.body == expected
    found = run(store.read("long.bin", wanted))
    assert isinstance(found.body, bytes)
    assert found.body == expected
    assert len(http_server.requests) == 2
    assert store.bytes_received == 2 * len(expected)


@pytest.mark.parametrize("broken", [faults.Truncated(1 << 20), faults.Reset(1 << 20)])
def test_a_long_body_that_breaks_off_is_asked_for_again(http_server, long_body, broken):
    http_server.fault("/long.bin", broken)
    store = store_at(http_server.url)
    found = run(only_decoded(store.read("long.bin")))
    assert found.body == long_body
    assert len(http_server.requests) == 2


@pytest.mark.parametrize("has_ranges", [True, False])
def test_what_lies_in_a_file_is_read_by_decoders_first(
    http_server, tmp_path, monkeypatch, has_ranges
):
    """Its directory is read for them, and is of use to everybody."""
    monkeypatch.setattr(http_backend, "_LONG", 1)
    folder = write_image(tmp_path / "source" / "a.zarr")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    body = (tmp_path / "a.zip").read_bytes()
    if not has_ranges:
        http_server.fault("/a.zip", faults.Status(200, body), forever=True)
    store = store_at(f"{http_server.url}/a.zip")
    chunk = run(only_decoded(store.read("0/c/0/0"))).body
    assert chunk == (folder / "0/c/0/0").read_bytes()
    answers = store.fetch(["zarr.json"])
    assert answers["zarr.json"] == (folder / "zarr.json").read_bytes()


def test_references_are_read_by_decoders_first(http_server, tmp_path, monkeypatch):
    monkeypatch.setattr(http_backend, "_LONG", 1)
    references = {"version": 1, "refs": {"0/c/0": "base64:AAEC", ".zgroup": "{}"}}
    (tmp_path / "refs.json").write_text(json.dumps(references))
    store = store_at(f"reference::{http_server.url}/refs.json")
    assert run(only_decoded(store.read("0/c/0"))).body == bytes([0, 1, 2])
    assert store.fetch([".zgroup"])[".zgroup"] == b"{}"
