"""Ways down that are seldom: scenes, unlisted series, broken documents, odd places."""

from __future__ import annotations

import json
import sys

import fsspec
import pytest

from napari_omezarr import errors
from napari_omezarr.browsing import Entry, EntryKind, Listing, Prober, raw_documents
from napari_omezarr.browsing.entries import size_text
from napari_omezarr.location import Location
from napari_omezarr.store import open_lister, open_store, run
from napari_omezarr.store.local import FolderItems
from quick_retries import QUICK
from servers import faults
from servers.wire import Answer, WireServer
from small_images import pixels, put_array, put_group, put_image, put_plate


def listed(where, **options):
    return Listing(where, retry=QUICK, **options).more().result(60)


def probed(where, path=""):
    return Prober(QUICK).start(Entry(Location.parse(where), path)).result(60)


def names(page):
    return [entry.name for entry in page.entries]


def test_a_scene_has_its_images_for_children(tmp_path):
    scene = {
        "coordinateSystems": [
            {"name": "world", "axes": [{"name": "x"}, {"name": "y"}]}
        ],
        "coordinateTransformations": [
            {
                "type": "identity",
                "input": {"path": name, "name": "physical"},
                "output": {"name": "world"},
            }
            for name in ("a", "b")
        ],
    }
    put_group(tmp_path / "x.zarr", "0.6", {"scene": scene})
    assert probed(tmp_path, "x.zarr").summary == "2 images"
    page = listed(Location.parse(tmp_path / "x.zarr"))
    assert (page.here.kind, names(page)) == (EntryKind.SCENE, ["a", "b"])


def test_a_series_that_nothing_lists_is_counted(tmp_path):
    put_group(tmp_path / "x.zarr", "0.4", {"bioformats2raw.layout": 3})
    for number in range(9):
        put_group(tmp_path / "x.zarr" / str(number), "0.4", {"multiscales": []})
    page = listed(Location.parse(tmp_path / "x.zarr"))
    assert names(page) == [str(number) for number in range(9)]


def test_a_series_group_says_how_many_images_it_lists(tmp_path):
    put_group(tmp_path / "OME", "0.5", {"series": ["0"]})
    assert probed(tmp_path, "OME").summary == "1 image"


def test_labels_that_are_broken_cost_no_levels(tmp_path):
    put_image(tmp_path / "x.zarr")
    (tmp_path / "x.zarr" / "labels").mkdir()
    (tmp_path / "x.zarr" / "labels" / "zarr.json").write_text("{")
    levels, labels = listed(Location.parse(tmp_path / "x.zarr")).entries
    assert (levels.kind, labels.kind) == (EntryKind.LEVELS, EntryKind.LABELS)
    assert "not JSON" in labels.problem
    put_group(tmp_path / "x.zarr" / "labels", "0.5", {"other": 3})
    assert len(listed(Location.parse(tmp_path / "x.zarr")).entries) == 1


def test_a_plain_group_is_listed(tmp_path):
    put_group(tmp_path / "x.zarr", "0.5", {"other": 3})
    put_array(tmp_path / "x.zarr" / "raw", "0.5", pixels((4, 4)), "yx")
    page = listed(Location.parse(tmp_path / "x.zarr"))
    assert names(page) == ["raw"]
    assert probed(tmp_path / "x.zarr").kind is EntryKind.GROUP


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_arrays_of_both_formats_are_recognised(tmp_path, version):
    put_array(tmp_path / "raw", version, pixels((4, 6)), "yx")
    if version == "0.4":
        (tmp_path / "raw" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["y", "x"]}')
    row = probed(tmp_path, "raw")
    assert row.kind is EntryKind.ARRAY
    assert row.is_openable
    assert "4\N{MULTIPLICATION SIGN}6" in row.summary
    assert listed(Location.parse(tmp_path / "raw")).entries == ()


def test_an_image_with_other_levels_has_axes_but_no_sizes(tmp_path):
    put_image(tmp_path / "x.zarr", names="yx", shape=(8, 8), count=1)
    document = json.loads((tmp_path / "x.zarr" / "zarr.json").read_text())
    document["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = "s0"
    (tmp_path / "x.zarr" / "zarr.json").write_text(json.dumps(document))
    assert probed(tmp_path, "x.zarr").summary == "y x"


@pytest.mark.parametrize("broken", ["3", "{", '{"shape": "no"}', "[" * 9999])
def test_a_level_that_is_broken_costs_the_sizes_only(tmp_path, broken):
    put_image(tmp_path / "x.zarr", names="yx", shape=(8, 8), count=1)
    (tmp_path / "x.zarr" / "0" / "zarr.json").write_text(broken)
    row = probed(tmp_path, "x.zarr")
    assert (row.kind, row.summary) == (EntryKind.IMAGE, "y x")


def test_a_document_that_is_broken_is_listed_as_a_folder(tmp_path):
    (tmp_path / "x.zarr" / "inside").mkdir(parents=True)
    (tmp_path / "x.zarr" / "zarr.json").write_text("{")
    page = listed(Location.parse(tmp_path / "x.zarr"))
    assert names(page) == ["inside"]
    assert "not JSON" in page.here.problem


def test_a_place_in_memory_is_listed():
    memory = fsspec.filesystem("memory")
    memory.pipe("/listing/x.zarr/zarr.json", b"{}")
    memory.pipe("/listing/a.zip", b"")
    try:
        assert names(listed(Location.parse("memory://listing"))) == ["a.zip", "x.zarr"]
        rows = listed(Location.parse("memory://listing"), files=True).entries
        assert [(row.name, row.size) for row in rows] == [
            ("a.zip", 0),
            ("x.zarr", None),
        ]
        assert listed(Location.parse("memory://nowhere")).entries == ()
        with pytest.raises(errors.ListingDeniedError):
            run(open_lister(Location.parse("memory://listing")).deep_page())
    finally:
        memory.rm("/listing", recursive=True)


class Odd(WireServer):
    """A listing with keys that no path of ours has."""

    async def answer(self, request):
        body = (
            b"<ListBucketResult><Contents><Key>x/a</Key></Contents>"
            b"<Contents><Key>x//b</Key></Contents>"
            b"<Contents><Key>x/../c</Key></Contents><Name>bucket</Name>"
            b"</ListBucketResult>"
        )
        return Answer(200, {"Content-Type": "application/xml"}, body)


def test_keys_that_no_path_has_are_not_listed():
    with Odd() as server:
        where = Location.parse("s3://bucket/x", endpoint=server.url, anonymous=True)
        assert names(listed(where, files=True)) == ["a"]
        (request,) = server.requests
        assert request.path == "/bucket/"


@pytest.mark.parametrize("body", [b"<Other/>", b"no xml", b""])
def test_an_answer_that_is_no_listing(body, http_server):
    http_server.fault("/bucket/", faults.Status(200, body), forever=True)
    where = Location.parse("s3://bucket/x", endpoint=http_server.url, anonymous=True)
    with pytest.raises(errors.ListingDeniedError, match="does not tell what it holds"):
        listed(where)


def test_a_zip_file_that_is_none_says_so(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no archive")
    with pytest.raises(errors.StoreError, match="not a zip archive"):
        listed(Location.parse(tmp_path / "x.zip"))


def test_an_archive_behind_a_refusal_says_so(http_server):
    http_server.fault("*", faults.Status(403), forever=True)
    with pytest.raises(errors.AccessDeniedError):
        listed(Location.parse(f"{http_server.url}/x.zip"), files=True)


@pytest.mark.skipif(sys.platform == "win32", reason="links need leave on Windows")
def test_a_link_to_nowhere_is_listed_and_is_no_missing_object(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    place = Location.parse(tmp_path)
    assert names(listed(place, files=True)) == ["gone", "real"]
    assert [item.name for item in run(FolderItems(place).deep())] == ["gone"]
    with pytest.raises(errors.StoreError, match="leads to is not there"):
        run(open_store(place).read("gone"))


@pytest.mark.skipif(sys.platform == "win32", reason="links need leave on Windows")
def test_all_that_links_lead_to_is_listed_without_end(tmp_path):
    for name in ("a/b/file", "c/.file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    for link, to in (("a/c", "c"), ("c/a", "a"), ("a/up", ""), ("a/self", "a/self")):
        (tmp_path / link).symlink_to(tmp_path / to)
    found = {item.name for item in run(FolderItems(Location.parse(tmp_path)).deep())}
    assert found == {"a/b/file", "a/c/.file", "a/self", "c/.file", "c/a/b/file"} | {
        "c/a/self"
    }


def test_a_local_listing_goes_on_page_by_page(tmp_path):
    for number in range(25):
        (tmp_path / f"f{number:02}").mkdir()
    listing = Listing(Location.parse(tmp_path), size=10)
    pages = [listing.more().result(60) for _ in range(3)]
    assert [len(page.entries) for page in pages] == [10, 10, 5]
    assert [page.is_last for page in pages] == [False, False, True]
    assert [n for page in pages for n in names(page)] == [f"f{n:02}" for n in range(25)]
    filtered = Listing(Location.parse(tmp_path), prefix="f1", size=4)
    assert names(filtered.more().result(60)) == ["f10", "f11", "f12", "f13"]
    assert names(filtered.more().result(60)) == ["f14", "f15", "f16", "f17"]
    assert names(filtered.more().result(60)) == ["f18", "f19"]


def test_an_entry_says_what_can_be_done_with_it(tmp_path):
    place = Location.parse(tmp_path)
    folder, file = Entry(place, "x.zarr"), Entry(place, "a.txt", EntryKind.FILE)
    assert folder.looks_like_store
    assert not folder.is_leaf
    assert (file.is_leaf, file.is_openable, file.is_listed) == (True, False, False)
    assert Prober().start(file).result(60) is file
    assert Entry(place, "").name == tmp_path.name
    assert not Entry(place, "a.zip", EntryKind.ARCHIVE).is_openable


@pytest.mark.parametrize(
    ("axes", "shape", "text"),
    [
        ("zyx", (236, 275, 271), "z236 275\N{MULTIPLICATION SIGN}271"),
        ("xy", (4, 6), "x4 y6"),
        ("zyx", (), "z y x"),
        ((), (4, 6), "4\N{MULTIPLICATION SIGN}6"),
    ],
)
def test_sizes_are_said_in_few_words(axes, shape, text):
    assert size_text(axes, shape) == text


def test_the_document_of_a_plate_has_no_levels(tmp_path):
    put_plate(tmp_path / "x.zarr", rows=1, columns=1)
    assert list(raw_documents(Location.parse(tmp_path / "x.zarr"))) == ["zarr.json"]


def test_a_well_and_a_field_lead_down_to_levels(tmp_path):
    put_plate(tmp_path / "x.zarr", rows=1, columns=1, fields=1)
    (well,) = listed(Location.parse(tmp_path / "x.zarr")).entries
    assert probed(tmp_path / "x.zarr", "A/1").summary == "1 field"
    (field,) = listed(well).entries
    (levels,) = listed(field).entries
    assert levels.kind is EntryKind.LEVELS
    assert names(listed(levels)) == ["0", "1"]
