"""Objects that are copied piece by piece: equal, of one state, few bytes in memory."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from napari_omezarr import errors
from napari_omezarr.browsing import copy_store, mirror_store, plan_mirror
from napari_omezarr.location import Location
from napari_omezarr.store import ObjectMeta, backend, open_store, pieces_of, run
from napari_omezarr.writing import LongObject, moving
from servers import faults
from servers.proxy import Proxy

PIECE = 5 << 20
"""Services take no smaller parts."""
SIZE = 3 * PIECE + 77
BODY = np.random.default_rng(3).bytes(SIZE)
SHARD = "0/c/0/0"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(backend, "PIECE", PIECE)
    monkeypatch.setattr(moving, "_LARGE", 2 * PIECE)


@pytest.fixture
def folder(tmp_path):
    """A store with one long object and two that are not."""
    folder = tmp_path / "long.zarr"
    for name, body in {SHARD: BODY, "0/c/0/1": b"short", "zarr.json": b"{}"}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    return folder


@pytest.fixture
def proxy(s3_server):
    with Proxy(s3_server.endpoint) as proxy:
        yield proxy


def content(folder):
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def place(proxy, s3_prefix, name="long.zarr"):
    return Location.parse(f"s3://private/{s3_prefix}/{name}", endpoint=proxy.url)


@pytest.fixture
def source(proxy, owner, s3_prefix, s3_server, folder):
    s3_server.upload(folder, f"private/{s3_prefix}/long.zarr")
    return place(proxy, s3_prefix)


@pytest.mark.parametrize("verify", [False, True])
def test_it_is_equal_up_across_and_down_again(
    folder, proxy, owner, s3_prefix, tmp_path, verify
):
    told = []
    up, across = place(proxy, s3_prefix), place(proxy, s3_prefix, "across.zarr")
    steps = [Location.parse(folder), up, across, Location.parse(tmp_path / "down.zarr")]
    for here, there in pairwise(steps):
        told.clear()
        done = run(copy_store(here, there, progress=told.append, verify=verify))
        assert (done.objects, done.bytes) == (3, SIZE + 7)
        steps_of_bytes = [each.bytes for each in told]
        assert steps_of_bytes == sorted(steps_of_bytes)
        assert steps_of_bytes[-1] == told[-1].all_bytes == SIZE + 7
        # It is told of each piece, and not only of the object.
        assert len({*steps_of_bytes}) > len(pieces_of(SIZE))
    assert content(tmp_path / "down.zarr") == content(folder)
    sizes = [len(r.body) for r in proxy.requests if r.method == "PUT"]
    assert max(sizes) <= PIECE + 4096


def test_a_piece_that_fails_is_asked_for_again_and_no_other(source, proxy, tmp_path):
    proxy.fault(
        f"*/{SHARD}", *[faults.Proceed()] * 2, faults.Truncated(99), method="GET"
    )
    run(copy_store(source, Location.parse(tmp_path / "copy.zarr")))
    assert (tmp_path / "copy.zarr" / SHARD).read_bytes() == BODY
    asked = [r.headers["range"] for r in proxy.requests if r.path.endswith(SHARD)]
    assert len(asked) == len(pieces_of(SIZE)) + 2  # its first byte, and that piece


@pytest.mark.parametrize("ends", ["cancelled", "refused"])
def test_what_ends_half_way_leaves_nothing_and_goes_on(source, proxy, tmp_path, ends):
    target = tmp_path / "copy.zarr"
    stop = faults.Stalled() if ends == "cancelled" else faults.s3_error(403, "Denied")
    begun = [faults.Proceed()] * 2
    proxy.fault(f"*/{SHARD}", *begun, *[stop] * 9, method="GET")
    copying = copy_store(source, Location.parse(target))

    async def half_way():
        task = asyncio.ensure_future(copying)
        if ends == "cancelled":
            await asyncio.to_thread(proxy.wait_for, 6)
            task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        return ended

    ended = asyncio.CancelledError, errors.AccessDeniedError
    assert isinstance(run(half_way()), ended)
    assert set(content(target)) <= {"0/c/0/1"}
    proxy.release()
    proxy.clear()
    run(copy_store(source, Location.parse(target)))
    assert (target / SHARD).read_bytes() == BODY


def test_one_that_is_replaced_meanwhile_is_not_mixed(source, s3_server, s3_prefix):
    item = ObjectMeta(SHARD, is_folder=False, size=SIZE)
    long = LongObject(open_store(source), item)
    first, *_, last = pieces_of(SIZE)
    run(long.open())
    assert run(long.piece(*first)) == BODY[:PIECE]
    s3_server.put(f"private/{s3_prefix}/long.zarr/{SHARD}", BODY[::-1])
    with pytest.raises(errors.ObjectChangedError):
        run(long.piece(*last))


def test_a_piece_that_came_wrong_is_found_by_the_checksum(source, proxy, tmp_path):
    found = run(open_store(source).read(SHARD))
    wrong = bytes([found.body[0] ^ 1]) + found.body[1:PIECE]
    said = {"ETag": found.etag, "Content-Range": f"bytes 0-{PIECE - 1}/{SIZE}"}
    whole = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    assert found.etag.strip('"') == whole
    answers = faults.Proceed(), faults.Status(206, wrong, said)
    proxy.fault(f"*/{SHARD}", *answers, method="GET")
    with pytest.raises(errors.ObjectChangedError, match="came differently twice"):
        run(copy_store(source, Location.parse(tmp_path / "copy.zarr")))
    assert SHARD not in content(tmp_path / "copy.zarr")


def test_what_is_read_back_otherwise_is_said(folder, proxy, owner, s3_prefix):
    first = place(proxy, s3_prefix)
    run(copy_store(Location.parse(folder), first))
    etag = run(open_store(first).read(SHARD)).etag
    # The same parts have the same ETag at another place.
    said = {"ETag": etag, "Content-Range": f"bytes 0-{PIECE - 1}/{SIZE}"}
    wrong = faults.Status(206, BODY[1 : PIECE + 1], said)
    proxy.fault(f"*/b.zarr/{SHARD}", faults.Proceed(), wrong, method="GET")
    second = place(proxy, s3_prefix, "b.zarr")
    with pytest.raises(errors.VerificationError, match="read back"):
        run(copy_store(Location.parse(folder), second, verify=True))


def test_what_only_looks_like_a_checksum_is_found_out_by_reading_twice(source):
    """As the ETag of an object that the service encrypts."""
    item = ObjectMeta(SHARD, is_folder=False, size=SIZE, etag="0" * 32)

    async def read():
        long = LongObject(open_store(source), item)
        await long.open()
        return b"".join([await long.piece(*span) for span in pieces_of(SIZE)])

    assert run(read()) == BODY


def test_a_mirror_compares_it_by_its_pieces(source, folder, proxy, tmp_path):
    target = Location.parse(tmp_path / "copy.zarr")
    run(mirror_store(run(plan_mirror(source, target))))
    assert content(tmp_path / "copy.zarr") == content(folder)
    body = bytearray(BODY)
    body[2 * PIECE] ^= 1
    (tmp_path / "copy.zarr" / SHARD).write_bytes(body)
    plan = run(plan_mirror(source, target))
    assert [item.name for item in plan.items] == [SHARD]
    run(mirror_store(plan))
    assert content(tmp_path / "copy.zarr") == content(folder)
    assert run(plan_mirror(source, target)).items == ()


def test_one_that_shrinks_is_said(source):
    item = ObjectMeta(SHARD, is_folder=False, size=SIZE + 1)
    with pytest.raises(errors.TruncatedBodyError, match="has changed"):
        run(LongObject(open_store(source), item).open())
    gone = replace(item, name="0/c/9/9")
    with pytest.raises(errors.NodeNotFoundError, match="has gone"):
        run(LongObject(open_store(source), gone).open())


@pytest.mark.parametrize("size", [1, PIECE, PIECE + 1, 10_000 * PIECE + 1, 1 << 43])
def test_pieces_are_all_of_it_and_no_more_than_a_service_takes(size):
    pieces = pieces_of(size)
    assert (pieces[0][0], pieces[-1][1]) == (0, size)
    assert all(a[1] == b[0] for a, b in pairwise(pieces))
    assert len(pieces) <= 10_000
