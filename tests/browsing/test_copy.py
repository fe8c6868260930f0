"""Copies: equal byte for byte, gone on with after a kill, never over anything."""

from __future__ import annotations

import shutil
import sys
import urllib.request
import zipfile
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path

import pytest
import zarr
from zarr.storage import MemoryStore

import napari_omezarr
from child_process import child_process
from napari_omezarr import errors, plan_write, write_image
from napari_omezarr.browsing import copy_store, start
from napari_omezarr.location import Location
from napari_omezarr.store import presigned, run
from napari_omezarr.user_files import cache_folder
from napari_omezarr.writing import open_hierarchy
from servers import faults
from servers.proxy import Proxy, before_buckets
from small_images import pixels, put_image, put_labels, put_plate

AT_LEAST_ONE_IS_WRITTEN = 52
"""A list and 48 objects are asked for at once, more only after some are done."""

SCRIPT = Path(__file__).parents[1] / "interrupted_copy.py"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy") / "a b.zarr"
    put_image(folder, "0.5", chunks=(1, 1, 8, 8))
    put_labels(folder, cells=pixels((4, 16, 24)))
    return folder


@pytest.fixture(scope="module")
def proxy(s3_server, image):
    with before_buckets(s3_server, image, "test-copy/a b.zarr") as proxy:
        yield proxy


@pytest.fixture
def source(proxy):
    proxy.clear()
    return Location.parse("s3://public/test-copy/a b.zarr", endpoint=proxy.url)


def content(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in Path(folder).rglob("*")
        if file.is_file()
    }


def copied(source, target, progress=None):
    return run(copy_store(source, Location.parse(target), progress=progress))


def test_a_download_is_equal_and_tells_how_far_it_is(source, image, tmp_path):
    told = []
    done = copied(source, tmp_path / "copy.zarr", told.append)
    files = content(image)
    assert content(tmp_path / "copy.zarr") == files
    assert (done.objects, done.resumed) == (len(files), 0)
    assert done.bytes == sum(map(len, files.values()))
    assert (told[0].objects, told[-1].objects) == (0, len(files))
    assert (told[-1].bytes, told[-1].all_bytes) == (done.bytes, done.bytes)
    assert not list((cache_folder() / "copies").iterdir())


def test_the_documents_come_last(source, proxy, tmp_path):
    copied(source, tmp_path / "copy.zarr")
    names = [r.path.rpartition("/")[2] for r in proxy.requests if not r.query]
    first = names.index("zarr.json")
    assert set(names[first:]) == {"zarr.json"}
    assert proxy.requests[-1].path.endswith("a b.zarr/zarr.json")


def test_an_archive_is_unpacked(image, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.ozx", "w") as archive:
        for name, body in content(image).items():
            archive.writestr(name, body)
    copied(Location.parse(tmp_path / "x.ozx"), tmp_path / "copy.zarr")
    assert content(tmp_path / "copy.zarr") == content(image)


@pytest.mark.parametrize(
    "name",
    [
        *("../../victim", "a/../../../victim", "..\\..\\victim", "C:\\..\\..\\victim"),
        *("{root}/victim", "/{root}/victim", "//{root}/victim", "a/./../../victim"),
    ],
)
def test_no_member_of_an_archive_leads_out_of_the_download(tmp_path, name):
    archive = tmp_path / "evil.ozx"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("zarr.json", '{"zarr_format":3,"node_type":"group"}')
        member = zipfile.ZipInfo("x")
        member.filename = name.replace("{root}", str(tmp_path))
        zipped.writestr(member, b"evil")
    target = tmp_path / "down" / "copy.zarr"
    target.parent.mkdir()
    before = {archive, target.parent}
    # What starts at the root of an archive is taken from there, and stays below.
    with suppress(errors.StoreError):
        copied(Location.parse(archive), Location.parse(target))
    assert {p for p in tmp_path.rglob("*") if not p.is_relative_to(target)} == before


def test_an_archive_with_a_name_that_leads_out_is_said(tmp_path):
    archive = tmp_path / "evil.ozx"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("zarr.json", '{"zarr_format":3,"node_type":"group"}')
        zipped.writestr("../victim", b"evil")
    with pytest.raises(errors.StoreError, match="no name below a folder"):
        copied(Location.parse(archive), Location.parse(tmp_path / "copy.zarr"))
    assert not (tmp_path / "copy.zarr").exists()


@pytest.mark.parametrize("name", ["../victim", "a/../../victim", "..\\victim"])
def test_no_listing_makes_a_folder_write_elsewhere(tmp_path, name):
    hierarchy = open_hierarchy(Location.parse(tmp_path / "copy.zarr"))
    with pytest.raises(errors.StoreError, match="no name for a file"):
        hierarchy.begin_put(name, b"evil")
    assert not any(tmp_path.iterdir())


def test_up_from_bucket_to_bucket_and_down_again(
    image, proxy, owner, tmp_path, s3_prefix
):
    up = Location.parse(f"s3://private/{s3_prefix}/up.zarr", endpoint=proxy.url)
    across = Location.parse(f"s3://public/{s3_prefix}/across.zarr", endpoint=proxy.url)
    run(copy_store(Location.parse(image), up))
    run(copy_store(up, across))
    copied(across, tmp_path / "down.zarr")
    assert content(tmp_path / "down.zarr") == content(image)


def test_nothing_is_overwritten(source, owner, proxy, tmp_path):
    (tmp_path / "copy.zarr").mkdir()
    (tmp_path / "copy.zarr" / "mine.txt").write_text("mine")
    with pytest.raises(errors.TargetExistsError, match="Something is already at"):
        copied(source, tmp_path / "copy.zarr")
    assert content(tmp_path / "copy.zarr") == {"mine.txt": b"mine"}
    other = Location.parse("s3://private/test-copy", endpoint=proxy.url)
    with pytest.raises(errors.TargetExistsError):
        run(copy_store(source, other))
    done = copied(source, tmp_path / "new.zarr")
    with pytest.raises(errors.TargetExistsError):
        copied(source, tmp_path / "new.zarr")
    assert done.resumed == 0


def test_only_what_was_being_written_gives_way(source, tmp_path):
    target = tmp_path / "copy.zarr"
    target.mkdir()
    (target / "results.partial").write_text("mine")
    with pytest.raises(errors.TargetExistsError):
        copied(source, target)
    assert content(target) == {"results.partial": b"mine"}


def test_whatever_its_name_is_it_is_copied(
    image, owner, tmp_path, s3_server, s3_prefix
):
    here = tmp_path / "odd.zarr"
    shutil.copytree(image, here)
    for name in (
        ".notes",
        ".a/.b/c",
        "results.partial",
        "0/.stats",
        "..a",
        "labels/.x",
    ):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(name)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "table").write_text("far away")
    (here / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    wanted = content(here) | {"linked/table": b"far away"}
    up = Location.parse(f"s3://private/{s3_prefix}/o", endpoint=s3_server.endpoint)
    run(copy_store(Location.parse(here), up))
    copied(up, tmp_path / "down.zarr")
    copied(Location.parse(here), tmp_path / "copy.zarr")
    assert content(tmp_path / "down.zarr") == content(tmp_path / "copy.zarr") == wanted
    (here / "0" / "broken").symlink_to(tmp_path / "nowhere")
    with pytest.raises(errors.StoreError, match="leads to is not there"):
        copied(Location.parse(here), tmp_path / "other.zarr")


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_a_name_that_is_no_unicode_is_copied_or_refused(tmp_path, s3_server):
    here = tmp_path / "odd.zarr"
    here.mkdir()
    (here / "bad\udcff").write_text("1")
    copied(Location.parse(here), tmp_path / "copy.zarr")
    assert content(tmp_path / "copy.zarr") == {"bad\udcff": b"1"}
    up = Location.parse("s3://private/odd.zarr", endpoint=s3_server.endpoint)
    with pytest.raises(errors.StoreError, match="services take for another name"):
        run(copy_store(Location.parse(here), up))


def test_a_copy_goes_on_after_a_kill(source, proxy, image, tmp_path):
    target = tmp_path / "copy.zarr"
    proxy.fault("*/labels/*/c/*", faults.Stalled(), forever=True)
    command = [sys.executable, str(SCRIPT), str(source), str(target)]
    with child_process(command) as process:
        proxy.wait_for(AT_LEAST_ONE_IS_WRITTEN)
        process.kill()
    before = content(target)
    assert before
    assert "zarr.json" not in before
    proxy.clear()
    (target / "0123.copy-part").write_bytes(b"half")
    done = copied(source, target)
    whole = {name for name in before if not name.endswith((".copy-part", ".partial"))}
    assert done.resumed == len(whole) > 0
    assert content(target) == content(image)
    asked = {r.path.partition("a b.zarr/")[2] for r in proxy.requests if not r.query}
    assert not asked & whole


def test_a_cancelled_copy_goes_on(source, proxy, image, tmp_path):
    proxy.fault("*/labels/*/c/*", faults.Stalled(), forever=True)
    future = start(copy_store(source, Location.parse(tmp_path / "copy.zarr")))
    proxy.wait_for(AT_LEAST_ONE_IS_WRITTEN)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(60)
    proxy.clear()
    copied(source, tmp_path / "copy.zarr")
    assert content(tmp_path / "copy.zarr") == content(image)


def test_a_source_that_changed_meanwhile_is_copied_anew(s3_server, tmp_path, s3_prefix):
    s3_server.put(f"public/{s3_prefix}/a", b"old")
    s3_server.put(f"public/{s3_prefix}/zarr.json", b"{}")
    with Proxy(s3_server.endpoint) as proxy:
        behind = Location.parse(f"s3://public/{s3_prefix}", endpoint=proxy.url)
        target = tmp_path / "copy"
        proxy.fault("*/zarr.json", faults.s3_error(404, "NoSuchKey"), forever=True)
        with pytest.raises(errors.OMEZarrError):
            copied(behind, target)
        assert content(target) == {"a": b"old"}
        s3_server.put(f"public/{s3_prefix}/a", b"new")
        s3_server.put(f"public/{s3_prefix}/b", b"more")
        proxy.clear()
        done = copied(behind, target)
    assert (done.resumed, content(target)["a"]) == (0, b"new")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_is_copied_from_where_nothing_is_listed(
    http_server, tmp_path, version
):
    source, shards = tmp_path / "x.zarr", {}
    if version == "0.5":
        shards = {"chunks": (1, 2, 8, 8), "shards": (2, 4, 16, 24)}
    put_image(source, version, **shards)
    put_labels(source, version, cells=pixels((4, 16, 24)))
    where = Location.parse(f"{http_server.url}/x.zarr")
    done = copied(where, tmp_path / "copy.zarr")
    files = content(source)
    assert content(tmp_path / "copy.zarr") == files
    assert (done.objects, done.bytes) == (len(files), sum(map(len, files.values())))


def test_a_copy_from_where_nothing_is_listed_goes_on(http_server, tmp_path):
    put_image(tmp_path / "x.zarr", chunks=(1, 2, 8, 8))  # more than asked for at once
    where = Location.parse(f"{http_server.url}/x.zarr")
    http_server.fault("/x.zarr/2/c/*", faults.Status(501), forever=True)
    with pytest.raises(errors.StoreError):
        copied(where, tmp_path / "copy.zarr")
    http_server.clear()
    done = copied(where, tmp_path / "copy.zarr")
    assert done.resumed > 0
    assert content(tmp_path / "copy.zarr") == content(tmp_path / "x.zarr")


@pytest.mark.parametrize("level", ["1", "labels/cells/0"])
def test_a_level_is_copied_whole_from_where_nothing_is_listed(
    level, http_server, image, tmp_path
):
    shutil.copytree(image, tmp_path / "x.zarr")
    copied(Location.parse(f"{http_server.url}/x.zarr/{level}"), tmp_path / "copy.zarr")
    assert content(tmp_path / "copy.zarr") == content(image / level)
    assert len(content(image / level)) > 2


def test_an_array_of_a_store_is_copied_whole(tmp_path):
    store = MemoryStore()
    write_image(pixels((2, 16, 24)) + 1, store, axes="zyx")
    level = zarr.open_group(store)["0"]
    napari_omezarr.copy(level, tmp_path / "copy.zarr")
    found = zarr.open_array(tmp_path / "copy.zarr")
    assert (found[:] == level[:]).all()


def test_what_is_no_image_is_not_copied_from_where_nothing_is_listed(
    http_server, tmp_path
):
    put_plate(tmp_path / "x.zarr", rows=1, columns=1)
    where = Location.parse(f"{http_server.url}/x.zarr")
    with pytest.raises(errors.ListingDeniedError):
        copied(where, tmp_path / "copy.zarr")


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
@pytest.mark.parametrize("odd", ["a\\b", "a\tb", "a\x7f"])
def test_names_that_services_take_for_others_do_not_go_up(tmp_path, proxy, owner, odd):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / odd).touch()
    bucket = Location.parse("s3://private/names", endpoint=proxy.url)
    proxy.clear()
    for source, target in (("x", bucket / "x"), ("x", bucket / odd)):
        with pytest.raises(errors.OMEZarrError, match="services take for") as raised:
            copied(Location.parse(tmp_path / source), target)
        assert raised.value.action
    for write in (write_image, plan_one):
        with pytest.raises(errors.OptionError, match="services take for"):
            write(pixels((8, 8)), bucket / f"{odd}.ome.zarr", axes="yx")
    assert not [one for one in proxy.requests if one.method != "GET"]
    copied(Location.parse(tmp_path / "x"), tmp_path / "y")
    assert [file.name for file in (tmp_path / "y").iterdir()] == [odd]


def plan_one(image, address, axes):
    return plan_write([(image, {"metadata": {}}, "image")], address)


def test_a_place_is_not_copied_into_itself(image):
    where = Location.parse(image)
    link = image.with_name("link.zarr")
    link.symlink_to(image, target_is_directory=True)
    for target in (where / "copy.zarr", where.parent, Location.parse(link) / "x.zarr"):
        with pytest.raises(errors.OptionError, match="lie in each other"):
            run(copy_store(where, target))


def test_what_cannot_be_listed_written_or_found_is_said(
    source, http_server, proxy, tmp_path
):
    web = Location.parse(f"{http_server.url}/x.zarr")
    with pytest.raises(errors.ListingDeniedError):
        copied(web, tmp_path / "copy.zarr")
    with pytest.raises(errors.OptionError):
        run(copy_store(source, web))
    with pytest.raises(errors.OptionError, match="into an archive"):
        run(copy_store(source, Location.parse(tmp_path / "x.ozx")))
    with pytest.raises(errors.NodeNotFoundError, match="Nothing is at"):
        copied(source / "nowhere", tmp_path / "copy.zarr")
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.TargetExistsError, match="could not be written"):
        copied(source, tmp_path / "file" / "copy.zarr")


def test_an_object_that_fails_ends_the_copy(source, proxy, tmp_path):
    proxy.fault("*/0/c/0/*", faults.s3_error(404, "NoSuchKey"), forever=True)
    with pytest.raises(errors.NodeNotFoundError, match="has gone while"):
        copied(source, tmp_path / "copy.zarr")
    proxy.clear()
    proxy.fault("*/0/c/0/*", faults.Status(200, b"short"), forever=True)
    with pytest.raises(errors.TruncatedBodyError, match="has changed while"):
        copied(source, tmp_path / "copy.zarr")
    assert not (tmp_path / "copy.zarr" / "zarr.json").exists()


def test_one_object_can_be_lent(proxy, owner):
    place = Location.parse("s3://private/test-copy/a b.zarr", endpoint=proxy.url)
    link = run(presigned(place / "0" / "zarr.json", 60))
    with urllib.request.urlopen(link) as answer:
        assert b'"node_type"' in answer.read()
    with pytest.raises(errors.OptionError, match="is not one object"):
        run(presigned(place))


def test_nobody_lends_without_a_sign_in(source):
    with pytest.raises(errors.OptionError, match="Nobody signs in"):
        run(presigned(source / "zarr.json"))
