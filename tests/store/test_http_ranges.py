"""Parts of files, from web servers that know ranges badly or not at all."""

from __future__ import annotations

import random
import zipfile

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.buffer.cpu import buffer_prototype

from napari_omezarr import errors
from napari_omezarr.location import Location
from napari_omezarr.store import open_store, run, set_disk_cache
from quick_retries import PIXELS, QUICK, get, write_image
from servers import faults, habits
from servers.habits import HabitServer
from servers.wire import Answer

RIGHT = {
    "good": None,
    "no suffix, 400": habits.refuses_suffixes(400),
    "no suffix, 501": habits.refuses_suffixes(501),
    "no suffix, 416": habits.refuses_suffixes(416),
    "no suffix, 416 with size": habits.refuses_suffixes(416, says_size=True),
    "suffix ignored": habits.ignores_suffixes,
    "suffix taken for beginning": habits.takes_suffixes_for_beginnings,
    "no ranges": habits.has_no_ranges,
    "no ranges, no suffix": habits.has_no_ranges_and_refuses_suffixes,
    "no ranges, no length": habits.has_no_ranges_and_no_length,
    "gzip": habits.gzips_wholes,
    "gzip with ranges": habits.gzips_parts,
    "unit in capitals": habits.says_bytes_in_capitals,
}
WRONG = {
    "shifted": habits.shifts,
    "short": habits.cuts_short,
    "shorter than announced": habits.lies_about_the_length,
    "no Content-Range": habits.says_no_range,
    "multipart": habits.sends_many_parts,
    "416 always": habits.refuses_parts_that_are_there,
}
BODY = random.Random(1).randbytes(1000)
LARGE = random.Random(2).randbytes(3 << 20)
"""Long enough that its end is asked for, and not taken out of the whole."""


def store_at(server, path="", **options):
    location = Location.parse(f"{server.url}/{path}".rstrip("/"))
    return open_store(location, retry=QUICK, **options)


def expected(body, wanted):
    match wanted:
        case RangeByteRequest(start, end):
            return body[start:end]
        case OffsetByteRequest(offset):
            return body[offset:]
        case SuffixByteRequest(suffix):
            return body[max(0, len(body) - suffix) :]
    return body


@pytest.fixture
def server(tmp_path):
    with HabitServer(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    for size in (0, 1, 10, 1000):
        (folder / str(size)).write_bytes(BODY[:size])
    with HabitServer(folder) as server:
        yield server


def wishes():
    place = st.integers(0, 1100)
    ranges = st.builds(RangeByteRequest, place, place)
    return st.one_of(
        st.none(),
        ranges,
        st.builds(OffsetByteRequest, place),
        st.builds(SuffixByteRequest, place),
    )


@given(
    st.sampled_from([*RIGHT, *WRONG]),
    st.lists(st.tuples(st.sampled_from([0, 1, 10, 1000]), wishes()), max_size=6),
)
def test_bytes_are_right_or_an_error(swept, habit, asked):
    swept.habit = (RIGHT | WRONG)[habit]
    store = store_at(swept)
    for size, wanted in asked:
        try:
            got = get(store, str(size), wanted)
        except errors.StoreError:
            behind = isinstance(wanted, RangeByteRequest) and wanted.start >= size
            assert behind or habit in WRONG
        else:
            assert got == expected(BODY[:size], wanted)


@pytest.mark.parametrize("habit", WRONG)
@pytest.mark.parametrize(
    "wanted", [RangeByteRequest(2, 500), SuffixByteRequest(5), OffsetByteRequest(900)]
)
def test_another_part_is_an_error(server, tmp_path, habit, wanted):
    (tmp_path / "a").write_bytes(BODY)
    server.habit = WRONG[habit]
    with pytest.raises((errors.ServerError, errors.TruncatedBodyError)) as raised:
        get(store_at(server), "a", wanted)
    assert raised.value.url == f"{server.url}/a"
    assert get(store_at(server), "a") == BODY


def test_a_part_whose_size_nobody_says_must_be_as_long_as_asked(server, tmp_path):
    (tmp_path / "a").write_bytes(BODY)
    server.habit = habits.hides_the_size
    store = store_at(server)
    assert get(store, "a", RangeByteRequest(2, 500)) == BODY[2:500]
    for wanted in (RangeByteRequest(900, 1100), OffsetByteRequest(900)):
        with pytest.raises(errors.ServerError, match="another part"):
            get(store, "a", wanted)
    server.clear_log()
    assert get(store, "a", SuffixByteRequest(5)) == BODY[-5:]
    said = [(request.method, request.range) for request in server.requests]
    assert said == [
        ("GET", "bytes=-5"),
        ("GET", "bytes=0-0"),
        ("HEAD", ""),
        ("GET", "bytes=995-999"),
    ]


@pytest.mark.parametrize(
    ("habit", "first", "then"),
    [
        ("no suffix, 400", ["-5", "0-0", "exact"], ["0-0", "exact"]),
        ("no suffix, 501", ["-5", "0-0", "exact"], ["0-0", "exact"]),
        ("no suffix, 416", ["-5", "0-0", "exact"], ["0-0", "exact"]),
        ("no suffix, 416 with size", ["-5", "exact"], ["0-0", "exact"]),
        ("suffix ignored", ["-5", "exact"], ["0-0", "exact"]),
        ("suffix taken for beginning", ["-5", "exact"], ["0-0", "exact"]),
        ("no ranges", ["-5", "exact"], ["-5"]),
        ("no ranges, no suffix", ["-5", "0-0"], ["0-0"]),
        ("good", ["-5"], ["-5"]),
    ],
)
def test_a_host_is_asked_once_what_it_knows(server, tmp_path, habit, first, then):
    (tmp_path / "a").write_bytes(LARGE)
    (tmp_path / "b").write_bytes(LARGE)
    server.habit = RIGHT[habit]
    store = store_at(server)
    exact = f"{len(LARGE) - 5}-{len(LARGE) - 1}"
    for key, asked in (("a", first), ("b", then)):
        server.clear_log()
        assert get(store, key, SuffixByteRequest(5)) == LARGE[-5:]
        said = [request.range.removeprefix("bytes=") for request in server.requests]
        assert said == [exact if each == "exact" else each for each in asked]
        assert {request.method for request in server.requests} == {"GET"}


def test_what_is_missing_is_missing_where_the_end_cannot_be_asked_for(server, tmp_path):
    server.fault("/a", faults.Status(400))
    assert get(store_at(server), "a", SuffixByteRequest(5)) is None
    assert [request.range for request in server.requests] == ["bytes=-5", "bytes=0-0"]


def test_a_refusal_of_everything_stays_one(server, tmp_path):
    (tmp_path / "a").write_bytes(BODY)
    server.fault("/a", faults.Status(400), forever=True)
    with pytest.raises(errors.ServerError, match="status 400"):
        get(store_at(server), "a", SuffixByteRequest(5))


def test_an_object_that_changes_its_length_meanwhile_is_asked_again(server, tmp_path):
    (tmp_path / "a").write_bytes(BODY)
    server.habit = habits.refuses_suffixes(400)
    short = faults.Status(206, b"x", {"Content-Range": "bytes 0-0/996"})
    server.fault("/a", faults.Proceed(), short)
    assert get(store_at(server), "a", SuffixByteRequest(5)) == BODY[-5:]


# Images


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("habit", RIGHT)
def test_sharded_images_open(server, tmp_path, habit, cached):
    write_image(tmp_path / "a.zarr", shards=True)
    server.habit = RIGHT[habit]
    if cached:
        set_disk_cache(tmp_path / "cache")
    try:
        for _ in range(1 + cached):
            array = zarr.open_array(store_at(server, "a.zarr"), path="0", mode="r")
            assert np.array_equal(array[1:3, 5:7], PIXELS[1:3, 5:7])
            assert np.array_equal(array[...], PIXELS)
    finally:
        set_disk_cache(size=0)


@pytest.mark.parametrize("habit", WRONG)
def test_shards_in_wrong_parts_are_never_pixels(server, tmp_path, habit):
    write_image(tmp_path / "a.zarr", shards=True)
    server.habit = WRONG[habit]
    array = zarr.open_array(store_at(server, "a.zarr"), path="0", mode="r")
    with pytest.raises(errors.StoreError):
        array[:1, :1]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("habit", RIGHT)
def test_archives_open(server, tmp_path, habit, method):
    folder = write_image(tmp_path / "a.zarr", shards=True)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
        archive.writestr("long", LARGE)  # so that it is not taken whole by chance
    server.habit = RIGHT[habit]
    array = zarr.open_array(store_at(server, "a.zip"), path="0", mode="r")
    assert np.array_equal(array[...], PIXELS)


def test_a_whole_body_serves_all_parts_of_it(server, tmp_path):
    write_image(tmp_path / "a.zarr", shards=True)
    server.habit = habits.has_no_ranges
    store = store_at(server, "a.zarr")
    assert np.array_equal(zarr.open_array(store, path="0", mode="r")[...], PIXELS)
    shards = [r.path for r in server.requests if "/c/" in r.path]
    assert len(shards) == len(set(shards)) == 4


def test_that_a_host_has_no_ranges_is_said_once(server, tmp_path):
    (tmp_path / "a").write_bytes(BODY)
    store = store_at(server)
    assert get(store, "a", RangeByteRequest(0, 10)) == BODY[:10]
    assert store.notes == ()
    server.habit = habits.has_no_ranges
    for _ in range(2):
        assert get(store, "a", RangeByteRequest(5, 10)) == BODY[5:10]
    (note,) = store.notes
    assert "only whole" in note


def test_the_version_is_asked_for_where_bodies_are_kept(server, tmp_path):
    (tmp_path / "a").write_bytes(BODY)
    server.habit = lambda answer, request, body: Answer(
        200, {"ETag": f'"{server.version}"'}, body
    )
    store = store_at(server)
    for version in "12":
        server.version = version
        assert get(store, "a", RangeByteRequest(0, 10)) == BODY[:10]
        assert run(store.version("a")) == f'"{version}"'


def test_what_was_changed_is_read_anew_where_bodies_are_kept(server, tmp_path):
    (tmp_path / "a").write_bytes(BODY)
    server.habit = habits.has_no_ranges
    store = store_at(server)
    assert get(store, "a", RangeByteRequest(1, 10)) == BODY[1:10]
    (tmp_path / "a").write_bytes(BODY[::-1])
    store.forget("a")
    assert get(store, "a", RangeByteRequest(1, 10)) == BODY[::-1][1:10]


# Bounds

GIGABYTE = 1 << 30


def sends(size, *, beginning=b"", has_length=True):
    def habit(answer, request, body):
        zeros = size - len(beginning)
        return Answer(200, {}, beginning, zeros=zeros, has_length=has_length)

    return habit


@pytest.mark.parametrize(
    ("size", "wanted", "has_length"),
    [
        (20 * GIGABYTE, SuffixByteRequest(1000), True),
        (20 * GIGABYTE, RangeByteRequest(19 * GIGABYTE, 19 * GIGABYTE + 1000), True),
        (20 * GIGABYTE, OffsetByteRequest(1000), True),
        (20 * GIGABYTE, SuffixByteRequest(1000), False),
        (20 * GIGABYTE, RangeByteRequest(1000, 2000), False),
    ],
)
def test_a_long_body_instead_of_a_part_is_refused(
    server, tmp_path, size, wanted, has_length
):
    (tmp_path / "a").touch()
    server.habit = sends(size, has_length=has_length)
    store = store_at(server)
    with pytest.raises(errors.ServerError, match="only whole"):
        get(store, "a", wanted)
    assert store.bytes_received < 80 << 20
    (note,) = store.notes
    assert "only whole" in note


def test_of_a_long_body_no_more_is_read_than_the_part(server, tmp_path):
    (tmp_path / "a").touch()
    server.habit = sends(20 * GIGABYTE, beginning=BODY)
    store = store_at(server)
    assert get(store, "a", RangeByteRequest(100, 1100)) == BODY[100:] + bytes(100)
    assert store.bytes_received == 1100
    assert "only whole" in store.notes[0]


def test_long_bodies_that_are_wanted_together_come_once_each(server, tmp_path):
    for key in "abcdefgh":
        (tmp_path / key).touch()
    size = 8 << 20
    server.habit = sends(size)
    store = store_at(server)

    async def all_at_once():
        wanted = [(key, RangeByteRequest(0, 10)) for key in "abcdefgh"]
        return await store.get_partial_values(buffer_prototype, wanted)

    assert [part.to_bytes() for part in run(all_at_once())] == [bytes(10)] * 8
    assert store.bytes_received == 8 * size
    assert get(store, "h", RangeByteRequest(50, 60)) == bytes(10)
    assert len(server.requests) == 8
