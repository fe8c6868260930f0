"""The store as zarr, dask and several threads use it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace

import numpy as np
import pytest
import zarr
from zarr.abc.store import SuffixByteRequest
from zarr.buffer.cpu import buffer_prototype
from zarr.storage import StorePath

from napari_omezarr import errors
from napari_omezarr._io_loop import io_loop
from napari_omezarr.location import Location
from napari_omezarr.store import open_store, run
from quick_retries import PIXELS, QUICK, write_image
from servers import faults


@pytest.fixture
def image(http_server, tmp_path):
    """Make the store of an image."""

    def make(zarr_format=3, shards=False, **options):
        write_image(tmp_path / "a.zarr", zarr_format, shards)
        location = Location.parse(f"{http_server.url}/a.zarr")
        return open_store(location, retry=QUICK, **options)

    return make


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_reads_through_it(image, zarr_format):
    store = image(zarr_format)
    assert np.array_equal(zarr.open_group(store, mode="r")["0"][...], PIXELS)
    assert np.array_equal(
        zarr.open_array(store, path="0", mode="r")[3, 1:7], PIXELS[3, 1:7]
    )


def test_the_index_of_a_shard_is_fetched_once(image, http_server):
    array = zarr.open_array(image(shards=True), path="0", mode="r")
    http_server.clear()
    for row in range(0, 4, 2):
        for column in range(0, 4, 2):
            part = np.s_[row : row + 2, column : column + 2]
            assert np.array_equal(array[part], PIXELS[part])
    suffixes = [r for r in http_server.requests if r.range.startswith("bytes=-")]
    assert len(suffixes) == 1
    assert len(http_server.requests) == 1 + 4


def test_an_index_at_the_beginning_is_fetched_once_too(http_server, tmp_path):
    codec = zarr.codecs.ShardingCodec(chunk_shape=(2, 2), index_location="start")
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=(8, 8),
        dtype="u2",
        chunks=(4, 4),
        serializer=codec,
        compressors=None,
    )
    array[...] = PIXELS
    location = Location.parse(f"{http_server.url}/a.zarr")
    remote = zarr.open_array(open_store(location), mode="r")
    http_server.clear()
    for row in range(4):
        assert np.array_equal(remote[row, :2], PIXELS[row, :2])
    indexes = [r for r in http_server.requests if r.range.startswith("bytes=0-")]
    assert len(indexes) == 1


def test_an_absent_shard_is_asked_for_once(image, http_server, tmp_path):
    array = zarr.open_array(image(shards=True), path="0", mode="r")
    (tmp_path / "a.zarr/0/c/0/0").unlink()
    http_server.clear()
    for row in range(3):
        assert not array[row, :2].any()
    assert len(http_server.requests) == 1


def test_indexes_asked_for_at_once_share_a_request(image, http_server):
    store = image(shards=True)
    size = SuffixByteRequest(4 * 16 + 4)

    async def together():
        keys = ["0/c/0/0"] * 5 + ["0/c/1/1"] * 5
        return await asyncio.gather(
            *(store.get(key, buffer_prototype, size) for key in keys)
        )

    assert {len(buffer) for buffer in run(together())} == {68}
    assert len(http_server.requests) == 2


def test_several_ranges_at_once(image):
    store = image()
    key = "0/zarr.json"
    wanted = [(key, None), (key, SuffixByteRequest(3)), ("none", None)]
    whole, end, nothing = run(store.get_partial_values(buffer_prototype, wanted))
    assert whole.to_bytes()[-3:] == end.to_bytes()
    assert nothing is None


def test_it_is_for_reading_only(image):
    store = image()
    with pytest.raises(ValueError, match=r"read-only|reading only"):
        zarr.create_array(store, name="1", shape=(1,), dtype="u1")
    with pytest.raises(ValueError, match="reading only"):
        store.with_read_only(False)
    with pytest.raises(ValueError, match="reading only"):
        run(store.delete("zarr.json"))
    assert store.with_read_only(True) is store
    assert store.read_only
    assert not store.supports_writes
    assert not store.supports_deletes


def test_it_never_lists(image):
    store = image()
    assert not store.supports_listing
    with pytest.raises(NotImplementedError, match="never lists"):
        store.list()
    for listing in (store.list_prefix, store.list_dir):
        with pytest.raises(NotImplementedError, match="never lists"):
            listing("")


def test_stores_are_equal_by_their_location(http_server):
    location = Location.parse(f"{http_server.url}/a.zarr?sig=x")
    store = open_store(location)
    assert store == open_store(location)
    assert hash(store) == hash(open_store(location))
    assert store != open_store(location / "0")
    assert store != location


def test_it_is_the_same_in_another_process(image):
    store = image(concurrency=3)
    store.fetch(["zarr.json"])
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert again.concurrency == 3
    assert again.requests == 0
    array = zarr.open_array(StorePath(again, "0"), mode="r")
    copy = pickle.loads(pickle.dumps(array))
    assert np.array_equal(copy[...], PIXELS)


def test_every_loop_and_thread_may_use_it(image):
    store = image()
    array = zarr.open_array(store, path="0", mode="r")

    async def from_another_loop():
        buffer = await store.get("zarr.json", buffer_prototype)
        return buffer.to_bytes(), await store.exists("none")

    body, exists = asyncio.run(from_another_loop())
    assert body.startswith(b"{")
    assert not exists
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        rounds = [pool.submit(store.fetch, ["zarr.json", "none"]) for _ in range(8)]
        parts = [pool.submit(array.__getitem__, row) for row in range(8)]
    assert all(each.result(60)["none"] is None for each in rounds)
    assert np.array_equal([part.result(60) for part in parts], PIXELS)


def test_the_io_loop_does_not_wait_for_itself(image):
    store = image()

    async def fetch():
        return store.fetch(["zarr.json"])

    with pytest.raises(RuntimeError, match="await"):
        run(fetch())


def test_run_returns_and_raises_what_the_coroutine_does():
    async def answer():
        return asyncio.get_running_loop()

    async def fail():
        raise KeyError("x")

    assert run(answer()) is io_loop()
    with pytest.raises(KeyError):
        run(fail())


@pytest.mark.parametrize("key", ["0/c/0/0", "0/zarr.json"])
def test_cancelling_frees_the_place_of_a_stalled_request(image, http_server, key):
    store = image(concurrency=1)
    http_server.fault(f"*/{key}", faults.Stalled())

    async def give_up():
        asked = asyncio.ensure_future(
            store.get(key, buffer_prototype, SuffixByteRequest(4))
        )
        await asyncio.to_thread(http_server.wait_for, 1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        return await store.get("zarr.json", buffer_prototype)

    assert asyncio.run(give_up()) is not None


def test_cancelling_ends_a_pause_between_tries(http_server):
    busy = faults.Status(503, headers={"Retry-After": "1000"})
    http_server.fault("*", busy, forever=True)
    location = Location.parse(http_server.url)
    patient = type(QUICK)(tries=9, longest_pause=500, total=5000)
    store = open_store(location, retry=patient)
    stopped = threading.Event()

    async def give_up():
        asked = asyncio.ensure_future(store.get("a", buffer_prototype))
        await asyncio.to_thread(http_server.wait_for, 1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        stopped.set()

    asyncio.run(give_up())
    assert stopped.is_set()
    assert len(http_server.requests) == 1


def test_python_ends_without_a_word(http_server, tmp_path):
    write_image(tmp_path / "a.zarr")
    program = f"""
        from napari_omezarr.location import Location
        from napari_omezarr.store import open_store
        store = open_store(Location.parse({http_server.url!r} + "/a.zarr"))
        assert store.fetch(["zarr.json"])["zarr.json"]
    """
    # asyncio's debug mode, which -X dev brings, reports slow steps of a busy machine.
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_no_more_at_once_than_allowed(image, http_server):
    store = image(concurrency=2)
    with http_server.round_count() as rounds:
        store.fetch([f"{number}" for number in range(6)])
    assert rounds.sizes == [2, 2, 2]


def test_many_at_once(image, http_server):
    store = image()
    assert store.concurrency == 64
    with http_server.round_count() as rounds:
        answers = store.fetch([f"{number}" for number in range(64)])
    assert rounds.sizes == [64]
    assert set(answers.values()) == {None}


def test_a_broken_key_does_not_spoil_the_wave(image, http_server):
    http_server.fault("*/.zattrs", faults.Status(500), forever=True)
    answers = image().fetch(["zarr.json", ".zattrs", "none"])
    assert isinstance(answers["zarr.json"], bytes)
    assert isinstance(answers[".zattrs"], errors.ServerError)
    assert answers["none"] is None


def test_importing_the_store_waits_for_no_network_library():
    """Windows open at once; what is heavy is imported where it is needed."""
    code = "import sys, napari_omezarr.store; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not {"aiohttp", "aiobotocore", "botocore"} & set(found.stdout.split())


@pytest.mark.parametrize("scheme", ["https", "gs", "s3"])
def test_a_name_of_any_bytes_is_asked_for_by_each_of_the_ways_alike(
    http_server, scheme
):
    if scheme == "https":
        place = Location.parse(f"{http_server.url}/a")
    else:
        place = Location.parse(f"{scheme}://a", endpoint=http_server.url)
        place = replace(place, anonymous=True)
    store = open_store(place / "b+c %é\udcff", retry=QUICK)
    assert store.fetch(["d"]) == {"d": None}
    bucket = "/storage/v1/b/a/o" if scheme == "gs" else "/a"
    asked = http_server.requests[-1].path
    assert asked == f"{bucket}/b+c %é\N{REPLACEMENT CHARACTER}/d"
