"""Objects put, replaced, deleted and listed in a bucket, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import pickle
from contextlib import AsyncExitStack

import pytest

from napari_omezarr import errors
from napari_omezarr.demo.server import OWNER, READER
from napari_omezarr.location import Location
from napari_omezarr.store import (
    GetResult,
    WritablePlace,
    WritableStore,
    open_writable,
    run,
)
from napari_omezarr.store.writable import SendingRoom
from quick_retries import QUICK
from servers import faults
from servers.bucket import Bucket

BODY = b"some bytes"


@pytest.fixture
def place(s3_prefix, proxy):
    return Location.parse(f"s3://private/{s3_prefix}/ä b", endpoint=proxy.url)


@pytest.fixture
def writable(place, owner) -> WritablePlace:
    return open_writable(place, retry=QUICK)


async def keys(writable, prefix=""):
    return [(entry.name, entry.size) async for entry in writable.objects(prefix)]


def body_of(writable, key):
    held = run(writable.read(key))
    return None if held is None else held.body


def methods(proxy):
    return [request.method for request in proxy.requests]


def test_objects_come_and_go(writable, proxy):
    assert body_of(writable, "a") is None
    assert not run(writable.holds())
    for key in ("a", "c/0/1", "c/0/+ü&=%41", "cc"):
        run(writable.put(key, BODY))
        assert body_of(writable, key) == BODY
    assert sorted(run(keys(writable, "c"))) == [("c/0/+ü&=%41", 10), ("c/0/1", 10)]
    assert [key for key, _ in run(keys(writable))] == [
        "a",
        "c/0/+ü&=%41",
        "c/0/1",
        "cc",
    ]
    assert run(writable.holds("c"))
    run(writable.delete("a"))
    run(writable.delete("a"))
    assert body_of(writable, "a") is None
    assert all("authorization" in request.headers for request in proxy.requests)


def test_the_pages_of_a_listing_follow_each_other(writable, place):
    for number in range(5):
        run(writable.put(f"c/{number}", BODY))
    backend = writable._backend
    pages, token = [], ""
    while True:
        page = run(backend.list_all("c", token, 2))
        pages.append([entry.name for entry in page.items])
        token = page.token
        if not token:
            break
    assert pages == [["c/0", "c/1"], ["c/2", "c/3"], ["c/4"]]


def test_a_writable_place_travels_to_other_processes(writable, place):
    run(writable.put("a", BODY))
    store = pickle.loads(pickle.dumps(WritableStore(writable)))
    assert store == WritableStore(writable)
    assert body_of(store.place, "a") == BODY
    assert OWNER.secret not in repr(store) + repr(writable) + str(
        pickle.dumps(writable)
    )


def test_a_document_is_replaced_only_as_it_was_read(writable):
    assert run(writable.replace("a", b"1", None))
    assert not run(writable.replace("a", b"2", None))
    first = run(writable.read("a"))
    assert run(writable.replace("a", b"2", first))
    assert not run(writable.replace("a", b"3", first))
    assert body_of(writable, "a") == b"2"


@pytest.mark.parametrize("condition", ["if-none-match", "if-match"])
def test_the_service_is_asked_to_hold_to_the_condition(condition, writable, proxy):
    """What somebody writes between our look and our write is not overwritten."""
    held = None
    if condition == "if-match":
        run(writable.put("a", b"1"))
        held = run(writable.read("a"))
    proxy.clear()
    proxy.fault("*", faults.s3_error(412, "PreconditionFailed"), method="PUT")
    assert not run(writable.replace("a", b"2", held))
    put = next(request for request in proxy.requests if request.method == "PUT")
    assert put.headers[condition] == (held.etag if held else "*")


@pytest.fixture
def bucket():
    with Bucket(knows_conditions=True) as bucket:
        yield bucket


def below(bucket, path):
    place = Location.parse(f"s3://bucket/{path}", endpoint=bucket.url, anonymous=True)
    return open_writable(place, retry=QUICK)


@pytest.mark.parametrize("code", ["OperationAborted", "ConditionalRequestConflict"])
def test_writes_that_meet_are_sent_again(code, writable, proxy):
    met = faults.s3_error(409, code)
    proxy.fault("*", met, method="PUT")
    run(writable.put("a", b"1"))
    held = run(writable.read("a"))
    assert run(writable.holds_conditions())
    proxy.fault("*", met, method="PUT")
    assert run(writable.replace("a", b"2", held))
    proxy.fault("*", met, method="PUT")
    assert not run(writable.replace("a", b"3", held))
    assert body_of(writable, "a") == b"2"


def test_what_is_gone_has_changed(writable, proxy):
    """S3 answers 404 where the object of a condition is not there any more."""
    run(writable.put("a", b"1"))
    held = run(writable.read("a"))
    assert run(writable.holds_conditions())
    run(writable.delete("a"))
    proxy.fault("*", faults.s3_error(404, "NoSuchKey"), method="PUT")
    assert not run(writable.replace("a", b"2", held))
    assert body_of(writable, "a") is None


def test_what_marks_a_folder_is_no_other_object(bucket):
    """Programs put objects whose keys end in a slash; others have the same name."""
    files = {"f": b"1", "f/a": b"2", "f/a/b": b"3"}
    bucket.objects = {**files, "f/": b"", "f/a/": b"", "e/": b""}
    writable = below(bucket, "f")
    assert run(keys(writable)) == [("a", 1), ("a/", 0), ("a/b", 1)]
    store = WritableStore(writable)
    assert run(all_of_store(store)) == ["a", "a/b"]
    run(writable.delete("a/"))
    assert bucket.objects.keys() == files.keys() | {"f/", "e/"}
    assert not run(below(bucket, "e").holds())
    assert not run(below(bucket, "").holds("e"))
    assert run(below(bucket, "").holds("f"))


def test_what_marks_a_folder_is_copied(writable):
    run(writable.put("f/", b""))
    run(writable.put("f/a", b"1"))
    for name, size in (("", 0), ("a", 1)):
        run(writable.copy(f"f/{name}", f"g/{name}", size))
    assert run(keys(writable)) == [("f/", 0), ("f/a", 1), ("g/", 0), ("g/a", 1)]


async def all_of_store(store):
    return [key async for key in store.list()]


def test_a_list_that_breaks_off_is_an_error(writable, proxy):
    more = b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"
    proxy.fault("*", faults.Status(200, more), forever=True)
    for work in (keys(writable), writable.holds()):
        with pytest.raises(errors.ServerError, match="breaks its list"):
            run(work)


@pytest.mark.parametrize("known", [True, False])
def test_a_lost_answer_to_a_conditional_write_is_no_conflict(known, writable, proxy):
    """The second try finds what the first one wrote."""
    proxy.fault("*", faults.Lost(), method="PUT")
    if known:
        again = faults.s3_error(412, "PreconditionFailed")
        proxy.fault("*", again, method="PUT")
    assert run(writable.replace("a", BODY, None))
    assert body_of(writable, "a") == BODY


def test_a_service_that_knows_no_conditions_is_written_to_all_the_same(writable, proxy):
    proxy.fault("*", faults.s3_error(501, "NotImplemented"), method="PUT")
    assert run(writable.replace("a", BODY, None))
    assert body_of(writable, "a") == BODY
    assert not run(writable.replace("a", b"2", GetResult(b"other", "tag")))


@pytest.mark.parametrize(
    "fault",
    [
        faults.s3_error(503, "SlowDown"),
        faults.s3_error(500, "InternalError"),
        faults.Dropped(),
        faults.Lost(),
    ],
    ids=["busy", "failed", "dropped", "lost"],
)
def test_passing_failures_are_tried_again(fault, writable, proxy):
    for method in ("PUT", "GET", "DELETE"):
        proxy.fault("*", fault, fault, method=method)
    run(writable.put("a", BODY))
    assert body_of(writable, "a") == BODY
    assert run(keys(writable)) == [("a", 10)]
    run(writable.delete("a"))
    assert run(keys(writable)) == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.s3_error(503, "SlowDown"), errors.ServerBusyError),
        (faults.s3_error(500, "InternalError"), errors.ServerError),
        (faults.s3_error(403, "AccessDenied"), errors.AccessDeniedError),
        (faults.s3_error(403, "QuotaExceeded"), errors.DiskFullError),
        (faults.s3_error(507, "InsufficientStorage"), errors.DiskFullError),
        (faults.s3_error(405, "MethodNotAllowed"), errors.ReadOnlyError),
        (faults.s3_error(404, "NoSuchBucket"), errors.BucketNotFoundError),
        (faults.s3_error(400, "ExpiredToken"), errors.SignInExpiredError),
        (faults.Dropped(), errors.StoreConnectionError),
    ],
)
def test_what_does_not_pass_is_said_in_our_words(fault, kind, writable, proxy):
    run(writable.put("a", BODY))
    proxy.fault("*", fault, forever=True)
    for coroutine in (writable.put("a", b"2"), writable.delete("a")):
        with pytest.raises(kind) as caught:
            run(coroutine)
        assert OWNER.secret not in str(caught.value)
        assert "planted" not in str(caught.value)


def test_who_may_only_read_is_told_so(place, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER.secret)
    writable = open_writable(place, retry=QUICK)
    with pytest.raises(errors.AccessDeniedError, match="may not write to s3"):
        run(writable.put("a", BODY))
    with pytest.raises(errors.AccessDeniedError, match="may not delete s3"):
        run(writable.delete("a"))


def test_nobody_writes_without_signing_in(place):
    writable = open_writable(place, retry=QUICK)
    with pytest.raises(errors.SignInNeededError, match="without signing in"):
        run(writable.put("a", BODY))


def test_a_sign_in_that_is_renewed_meanwhile_goes_on(
    place, proxy, clean_aws_environment
):
    file = clean_aws_environment / "credentials"

    def sign_in(token):
        lines = [f"aws_access_key_id={OWNER.key}"]
        lines += [f"aws_secret_access_key={OWNER.secret}"]
        lines += [f"aws_session_token={token}"] if token else []
        file.write_text("\n".join(["[default]", *lines]))

    sign_in("old")
    writable = open_writable(place, retry=QUICK)
    proxy.fault("*", faults.s3_error(400, "ExpiredToken"), forever=True)
    with pytest.raises(errors.SignInExpiredError):
        run(writable.put("a", BODY))
    proxy.clear()
    sign_in("")
    proxy.fault("*", faults.s3_error(400, "ExpiredToken"), method="PUT")
    run(writable.put("a", BODY))
    tokens = ["x-amz-security-token" in request.headers for request in proxy.requests]
    assert tokens == [False, False] or tokens == [True, False]


def test_a_long_object_goes_in_parts(writable, proxy):
    body = bytes(range(256)) * (33 << 12)
    proxy.fault("*", faults.Dropped(), faults.s3_error(503, "SlowDown"), method="PUT")
    run(writable.put("long", body))
    assert body_of(writable, "long") == body
    sent = [request for request in proxy.requests if "partNumber" in request.query]
    assert len(sent) == 3 + 2
    assert methods(proxy).count("POST") == 2


@pytest.mark.parametrize(
    "end",
    [
        None,
        faults.s3_error(200, "InternalError"),
        faults.Status(
            200, b"<?xml version='1.0'?>\n\n <Error xmlns='x'><Code>A</Code>"
        ),
        faults.Status(200, b"  \n "),
        faults.Status(200, b"OK"),
        faults.page(),
    ],
    ids=["part", "error", "late error", "blanks", "garbage", "page"],
)
def test_a_long_object_that_fails_leaves_nothing(end, writable, proxy):
    """S3 says "200 OK" before it knows whether it is."""
    body = bytes(33 << 20)
    if end is None:
        proxy.fault("*", faults.s3_error(403, "AccessDenied"), method="PUT")
    else:
        proxy.fault("*", faults.Proceed(), end, end, end, method="POST")
    with pytest.raises(errors.StoreError):
        run(writable.put("long", body))
    assert proxy.requests[-1].method == "DELETE"
    assert "uploadId" in proxy.requests[-1].query
    assert body_of(writable, "long") is None


@pytest.mark.parametrize("text", ["<html></html>", "<!DOCTYPE html><br>"])
def test_a_page_instead_of_a_listing(text, writable, proxy):
    proxy.fault("*", faults.page(text), forever=True, method="GET")
    with pytest.raises(errors.WebPageError):
        run(keys(writable))


def test_other_object_stores_are_written_through_fsspec(tmp_path):
    writable = open_writable(Location.parse(f"memory://{tmp_path.name}/a.zarr"))
    assert not run(writable.holds())
    assert body_of(writable, "c/0") is None
    run(writable.put("c/0", BODY))
    assert run(writable.replace("d", b"1", None))
    assert not run(writable.replace("d", b"2", None))
    assert run(keys(writable)) == [("c/0", 10), ("d", 1)]
    run(writable.delete("c/0"))
    run(writable.delete("c/0"))
    assert run(keys(writable)) == [("d", 1)]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://host.example/a.zarr", "Nothing can be saved"),
        (
            "https://b.s3.amazonaws.com/a.zarr?X-Amz-Signature=x",
            "one object to be read",
        ),
        ("gs://bucket/a.zarr", "gcsfs"),
    ],
)
def test_places_that_cannot_be_written_to_say_so_at_once(address, said):
    with pytest.raises(errors.OptionError, match=said):
        open_writable(Location.parse(address))


def test_a_known_web_address_of_a_bucket_is_that_bucket():
    address = "https://bucket.s3.eu-west-1.amazonaws.com/a.zarr"
    assert open_writable(Location.parse(address)).concurrency == 64


def test_a_zarr_store_over_a_writable_place_lists_and_refuses_when_read_only(writable):
    store = WritableStore(writable)

    async def listed():
        return [key async for key in store.list()], [
            k async for k in store.list_dir("")
        ]

    run(writable.put("c/0/1", BODY))
    run(writable.put("zarr.json", b"{}"))
    assert run(listed()) == (["c/0/1", "zarr.json"], ["c", "zarr.json"])
    assert run(store.exists("zarr.json"))
    closed = store.with_read_only(True)
    assert closed != store
    with pytest.raises(ValueError, match="reading only"):
        run(closed.delete("zarr.json"))
    assert len({store, WritableStore(writable)}) == 1


async def put_all(writable, size, count):
    body = bytes(size)
    await asyncio.gather(*(writable.put(f"c/{i}", body) for i in range(count)))


def test_few_large_objects_are_sent_at_first_and_small_ones_at_once(writable, proxy):
    """Sixty on a slow line would all end too late, and none before."""
    for size, first in ((1 << 20, 4), (10_000, 24)):
        with proxy.round_count() as rounds:
            run(put_all(writable, size, 24))
        assert rounds.sizes[0] == first
        assert sum(rounds.sizes) == 24


def test_slow_objects_leave_room_for_fewer_and_fast_ones_for_more():
    async def learned(*ended):
        room = SendingRoom()
        async with AsyncExitStack() as under_way:
            for _ in range(4):
                await under_way.enter_async_context(room.taken(1 << 20))
            for size, seconds in ended:
                room.learn(size, seconds)
            return room.most >> 20

    assert run(learned()) == 4
    assert run(learned((1 << 20, 0.1), (1 << 20, 0.1))) == 10
    assert run(learned((8 << 20, 3))) == 5
    assert run(learned((1 << 20, 10))) == 2
    assert run(learned((16 << 20, 10))) == 6  # a long one is not slow for that


def test_what_waits_for_room_can_be_given_up(writable, proxy):
    async def give_up_all():
        proxy.fault("*", faults.Stalled(), method="PUT", forever=True)
        tasks = [
            asyncio.ensure_future(writable.put(f"c/{i}", bytes(1 << 20)))
            for i in range(12)
        ]
        await asyncio.to_thread(proxy.wait_for, 4)
        for task in tasks[3:9]:
            task.cancel()
        await asyncio.gather(*tasks[3:9], return_exceptions=True)
        proxy.clear()
        await asyncio.gather(*tasks[:3], *tasks[9:])
        return len([key async for key in writable.objects("c")])

    assert run(give_up_all()) == 6
