"""Rows page by page: of buckets, folders, archives, and of what is in an image."""

from __future__ import annotations

import tracemalloc
import zipfile
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from long_bucket import LongBucket
from napari_omezarr import errors
from napari_omezarr.browsing import Entry, EntryKind, Listing, Prober
from napari_omezarr.connections import (
    Connection,
    ConnectionFile,
    Keys,
    Profile,
    key_store,
    locate,
)
from napari_omezarr.demo.server import OWNER
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from quick_retries import QUICK
from servers import faults
from servers.proxy import Proxy
from small_images import pixels, put_image, put_labels, put_plate, put_series

ROOT = "test-browsing"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder of every kind of node, with and without ``.zarr`` in its name."""
    folder = tmp_path_factory.mktemp("tree")
    put_image(folder / "old.zarr", "0.4")
    put_image(folder / "a b+c é", "0.5")
    put_labels(folder / "a b+c é", "0.5", cells=pixels((4, 16, 24)))
    put_plate(folder / "plate.zarr", "0.4", rows=1, columns=2, fields=2)
    put_series(folder / "series.zarr", "0.4", count=2)
    (folder / "plain" / "deep").mkdir(parents=True)
    (folder / "plain" / "deep" / "readme.txt").write_text("hello")
    (folder / "notes.txt").write_text("notes")
    with zipfile.ZipFile(folder / "packed.ozx", "w") as archive:
        for file in sorted((folder / "old.zarr").rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder / "old.zarr"))
    return folder


@pytest.fixture(scope="module")
def bucket(s3_server, tree):
    for name in ("public", "private"):
        s3_server.upload(tree, f"{name}/{ROOT}")
    return s3_server


@pytest.fixture(scope="module")
def proxy(bucket):
    with Proxy(bucket.endpoint) as proxy:
        yield proxy


@pytest.fixture
def fresh(proxy):
    proxy.clear()
    return proxy


def place(server, path=ROOT, bucket="public", **options):
    return Location.parse(f"s3://{bucket}/{path}", endpoint=server.url, **options)


def listed(where, **options):
    return Listing(where, retry=QUICK, **options).more().result(60)


def names(page):
    return [entry.name for entry in page.entries]


NAMES = ["a b+c é", "old.zarr", "packed.ozx", "plain", "plate.zarr", "series.zarr"]


def test_a_bucket_shows_folders_and_archives_after_one_wave(fresh):
    with fresh.round_count() as rounds:
        page = listed(place(fresh))
    assert names(page) == NAMES
    assert (page.is_last, page.hidden, rounds.count) == (True, 1, 1)
    lists = [request for request in fresh.requests if "list-type" in request.query]
    assert [request.path for request in lists] == ["/public/"]


def test_a_listing_counts_what_it_cost(fresh, tree):
    listing = Listing(place(fresh), retry=QUICK)
    listing.more().result(60)
    assert listing.requests == len(fresh.requests) > 1
    assert listing.bytes_received > 0
    packed = Listing(Location.parse(tree / "packed.ozx"), files=True)
    packed.more().result(60)
    assert packed.requests > 0


def test_a_folder_and_an_archive_show_the_same(tree):
    assert names(listed(Location.parse(tree))) == NAMES
    inside = listed(Location.parse(tree / "packed.ozx"))
    assert inside.here.kind is EntryKind.IMAGE
    assert names(listed(Location.parse(tree / "packed.ozx"), files=True)) == [
        ".zattrs",
        ".zgroup",
        "0",
        "1",
        "2",
    ]


def test_every_row_is_recognised_in_one_wave(fresh):
    page = listed(place(fresh))
    prober = Prober(QUICK)
    fresh.clear_log()
    with fresh.round_count() as rounds:
        tasks = [
            prober.start(entry) for entry in page.entries if entry.name != "packed.ozx"
        ]
        found = {entry.name: entry for entry in (task.result(60) for task in tasks)}
    assert rounds.count == 1
    assert prober.requests == len(fresh.requests) == 5 * len(tasks)
    assert {name: entry.kind for name, entry in found.items()} == {
        "a b+c é": EntryKind.IMAGE,
        "old.zarr": EntryKind.IMAGE,
        "plain": EntryKind.FOLDER,
        "plate.zarr": EntryKind.PLATE,
        "series.zarr": EntryKind.SERIES,
    }
    assert all(entry.recognised for entry in found.values())
    assert found["old.zarr"].summary == "c2 z4 16\N{MULTIPLICATION SIGN}24"
    assert found["old.zarr"].version == "0.4"
    assert found["plate.zarr"].summary == "1\N{MULTIPLICATION SIGN}2, 2 fields"


def test_an_archive_is_recognised(tree):
    entry = Entry(Location.parse(tree), "packed.ozx", EntryKind.ARCHIVE)
    assert Prober().start(entry).result(60).kind is EntryKind.IMAGE


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_an_image_has_its_parts_for_children_and_no_chunk(where, tree, fresh):
    root = Location.parse(tree) if where == "folder" else place(fresh)
    page = listed(root / "a b+c é")
    assert page.here.kind is EntryKind.IMAGE
    assert [(e.kind, e.name, e.summary) for e in page.entries] == [
        (EntryKind.LEVELS, "levels", "3"),
        (EntryKind.LABELS, "labels", "1"),
    ]
    levels, labels = page.entries
    arrays = listed(levels)
    assert names(arrays) == ["0", "1", "2"]
    first = Prober(QUICK).start(arrays.entries[0]).result(60)
    assert first.kind is EntryKind.ARRAY
    assert first.is_leaf
    assert first.summary == "c2 z4 16\N{MULTIPLICATION SIGN}24 uint16"
    assert listed(first).entries == ()
    (cells,) = listed(labels).entries
    assert cells.location == root / "a b+c é" / "labels" / "cells"
    assert Prober(QUICK).start(cells).result(60).kind is EntryKind.LABEL


def test_plates_and_series_are_walked_by_their_metadata(http_server, tmp_path):
    put_plate(tmp_path / "plate.zarr", "0.5", rows=1, columns=2, fields=2)
    put_series(tmp_path / "series.zarr", "0.5", count=2)
    root = Location.parse(http_server.url)
    wells = listed(root / "plate.zarr").entries
    assert [well.name for well in wells] == ["A/1", "A/2"]
    assert names(listed(wells[1])) == ["0", "1"]
    assert names(listed(root / "series.zarr")) == ["0 · scan 0", "1 · scan 1"]
    assert not any("list-type" in request.query for request in http_server.requests)


def test_a_web_server_that_lists_nothing_says_so(http_server, tmp_path):
    put_image(tmp_path / "x.zarr")
    root = Location.parse(http_server.url)
    with pytest.raises(errors.ListingDeniedError, match="does not tell what it holds"):
        listed(root / "folder")
    with pytest.raises(errors.NodeNotFoundError, match=r"but .*x\.zarr is a Zarr"):
        listed(root / "x.zarr" / "typo")


def test_an_s3_service_behind_an_unknown_host_is_found(fresh):
    assert names(listed(Location.parse(f"{fresh.url}/public/{ROOT}"))) == NAMES


def test_what_is_not_there_is_said_with_what_is(fresh):
    with pytest.raises(errors.NodeNotFoundError, match=r"but .*old\.zarr is a Zarr"):
        listed(place(fresh) / "old.zarr" / "typo")
    with pytest.raises(errors.NodeNotFoundError, match="Nothing is at"):
        listed(place(fresh) / "nowhere" / "at all")
    with pytest.raises(errors.NodeNotFoundError, match="There is no folder"):
        listed(Location.parse("/nowhere/at/all"))


def test_the_server_filters(fresh):
    page = listed(place(fresh), prefix="pl")
    assert names(page) == ["plain", "plate.zarr"]
    asked = [r.query for r in fresh.requests if "list-type" in r.query]
    assert [query.endswith(f"prefix={ROOT}%2Fpl") for query in asked] == [True]


def test_files_are_shown_when_asked_for(fresh, tree):
    for root in (place(fresh), Location.parse(tree)):
        rows = {entry.name: entry for entry in listed(root, files=True).entries}
        assert rows["notes.txt"].kind is EntryKind.FILE
        assert rows["notes.txt"].size == 5
        assert rows["notes.txt"].modified.endswith("Z")
        inside = listed(root / "old.zarr" / "0", files=True)
        assert ".zarray" in names(inside)


def test_a_listing_that_is_denied_names_the_way_on(fresh):
    fresh.fault("/public/", faults.s3_error(403, "AccessDenied"), forever=True)
    with pytest.raises(
        errors.ListingDeniedError, match="Type the full address"
    ) as told:
        listed(place(fresh))
    assert told.value.url.endswith(ROOT)
    assert listed(place(fresh) / "old.zarr").here.kind is EntryKind.IMAGE


def test_an_image_that_may_not_be_read_is_no_folder_beside_one_that_may(fresh):
    rows = {entry.name: entry for entry in listed(place(fresh)).entries}
    denied = f"*/{ROOT}/old.zarr/*"
    fresh.fault(denied, faults.s3_error(403, "AccessDenied"), forever=True)
    prober = Prober(QUICK)
    series = prober.start(rows["series.zarr"]).result(60)
    assert series.kind is EntryKind.SERIES
    assert "not open to everybody" in prober.start(rows["old.zarr"]).result(60).problem


def test_a_private_bucket_asks_for_a_sign_in(fresh):
    with pytest.raises(errors.ListingDeniedError):
        listed(place(fresh, bucket="private"))


def test_what_is_listed_is_not_a_service(fresh):
    fresh.fault("/public/", faults.page())
    with pytest.raises(errors.StoreError):
        listed(place(fresh))


def test_pages_follow_each_other_and_memory_stays_flat():
    with LongBucket(100_000) as server:
        listing = Listing(
            Location.parse("s3://bucket/many", endpoint=server.url, anonymous=True),
            retry=QUICK,
        )
        first = listing.more().result(60)
        assert len(first.entries) == 1000
        assert not first.is_last
        lists = [r for r in server.requests if "list-type" in r.query]
        assert len(lists) == 1
        listing.more().result(60)
        tracemalloc.start()
        rows = sum(len(listing.more().result(60).entries) for _ in range(10))
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert rows == 10_000
        assert kept < 2_000_000  # a page of rows is about that, ten are not
        assert len([r for r in server.requests if "list-type" in r.query]) == 12


def test_files_alone_cost_few_requests_before_the_person_is_asked():
    with LongBucket(100_000, ending="") as server:
        listing = Listing(
            Location.parse("s3://bucket/many", endpoint=server.url, anonymous=True),
            retry=QUICK,
        )
        page = listing.more().result(60)
        assert (page.entries, page.hidden, page.is_last) == ((), 4000, False)
        assert len([r for r in server.requests if "list-type" in r.query]) == 4


def test_a_filter_reaches_the_last_of_very_many():
    with LongBucket(100_000) as server:
        many = Location.parse("s3://bucket/many", endpoint=server.url, anonymous=True)
        page = listed(many, prefix="item-09999")
        assert names(page) == [f"item-09999{digit}" for digit in range(10)]
        assert page.is_last


def test_some_thousand_real_keys(s3_server):
    keys = [f"public/test-many/f{number:04}/x" for number in range(1500)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: s3_server.put(key, b"x"), keys))
    where = Location.parse("s3://public/test-many", endpoint=s3_server.endpoint)
    listing = Listing(where)
    pages = [listing.more().result(60) for _ in range(2)]
    assert [len(page.entries) for page in pages] == [1000, 500]
    assert [page.is_last for page in pages] == [False, True]
    found = [name for page in pages for name in names(page)]
    assert found == [f"f{number:04}" for number in range(1500)]
    assert listing.more().result(60).entries == ()


def test_after_closing_no_page_comes(fresh):
    fresh.fault("/public/", faults.Stalled(), forever=True)
    listing = Listing(place(fresh), retry=QUICK)
    page = listing.more()
    fresh.wait_for(10)  # one lists, nine ask what is here
    listing.close()
    with pytest.raises(CancelledError):
        page.result(60)
    fresh.clear()
    assert listing.more().result(60).entries == ()
    assert not fresh.requests


def test_a_row_that_scrolled_away_asks_nothing(fresh):
    fresh.fault("*zarr.json", faults.Stalled(), forever=True)
    prober = Prober(QUICK)
    rows = [Entry(place(fresh), f"row-{number}") for number in range(9)]
    tasks = [prober.start(row) for row in rows]
    fresh.wait_for(40)
    assert tasks[8].cancel()
    asked = fresh.requests
    fresh.clear()
    assert [task.result(60).kind for task in tasks[:8]] == [EntryKind.FOLDER] * 8
    assert not any("row-8" in request.path for request in (*asked, *fresh.requests))


def test_a_row_that_cannot_be_looked_at_says_why(fresh):
    fresh.fault("*/broken/*", faults.Status(500), forever=True)
    row = Prober(QUICK).start(Entry(place(fresh), "broken")).result(60)
    assert not row.recognised
    assert "failed" in row.problem


# The buckets of an object store


def test_an_object_store_shows_the_buckets_that_one_may_see(fresh):
    service = Location.parse(f"s3+{fresh.url}/")
    name = "test-listing"
    profile = Profile(name, endpoint=fresh.url, sign_in="keys")
    ConnectionFile().save(Connection(profile))
    key_store().hold(name, Keys(OWNER.key, OWNER.secret))
    try:
        page = listed(locate(str(service), profile))
        assert {"private", "public"} <= set(names(page))
        assert {entry.kind for entry in page.entries} == {EntryKind.BUCKET}
        assert page.is_last
        (private,) = (entry for entry in page.entries if entry.name == "private")
        assert private.location == locate("s3://private", profile)
        assert len(fresh.requests) == 1
        assert ROOT in names(listed(private))
        chosen = listed(locate(str(service), profile), prefix="priv")
        assert names(chosen) == ["private"]
    finally:
        key_store().forget(name)


@pytest.mark.parametrize(
    "fault",
    [
        faults.s3_error(403, "AccessDenied"),
        faults.page(),
        faults.Status(404),
        faults.Status(501),
    ],
)
def test_an_object_store_that_does_not_list_says_so(fresh, fault):
    fresh.fault("/", fault, forever=True)
    where = Location.parse(f"s3+{fresh.url}/", anonymous=True)
    with pytest.raises(errors.StoreError) as told:
        listed(where)
    assert told.value.action
    assert len(fresh.requests) == 1


def test_an_object_store_itself_holds_nothing(fresh):
    where = Location.parse(f"s3+{fresh.url}/", anonymous=True)
    with pytest.raises(errors.BucketNotFoundError, match="names no bucket"):
        read_layers(where)
    assert fresh.requests == []
