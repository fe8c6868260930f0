"""Images in zip files, here and far away."""

from __future__ import annotations

import io
import struct
import zipfile
from unicodedata import normalize

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.buffer.cpu import buffer_prototype

from napari_omezarr import errors
from napari_omezarr.demo.server import OWNER
from napari_omezarr.location import Location
from napari_omezarr.store import open_store, run
from napari_omezarr.store.backend import at_most
from napari_omezarr.store.zip import NotAnArchive, parse_directory, parse_end
from quick_retries import PIXELS, QUICK, write_image
from servers import faults

METHODS = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}


def pack(folder, file, method=zipfile.ZIP_STORED, inside=""):
    with zipfile.ZipFile(file, "w", method) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, inside + path.relative_to(folder).as_posix())
    return file


@pytest.fixture
def folder(tmp_path):
    return write_image(tmp_path / "source" / "a.zarr", shards=True)


@pytest.fixture(params=["local", "http", "s3"])
def serve(request, tmp_path, monkeypatch):
    """Give the location of a file that is in one of three places."""

    def serve(file):
        if request.param == "local":
            return Location.parse(file)
        if request.param == "http":
            server = request.getfixturevalue("http_server")
            return Location.parse(f"{server.url}/{file.name}")
        server = request.getfixturevalue("s3_server")
        path = f"private/{request.getfixturevalue('s3_prefix')}/{file.name}"
        server.put(path, file.read_bytes())
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)
        return Location.parse(f"s3://{path}", endpoint=server.endpoint)

    return serve


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["a.zip", "a.ozx"])
def test_an_image_in_an_archive(serve, folder, tmp_path, method, name):
    location = serve(pack(folder, tmp_path / name, METHODS[method]))
    store = open_store(location, retry=QUICK)
    answers = store.fetch(["zarr.json", "0/zarr.json", ".zattrs"])
    assert answers["zarr.json"] == (folder / "zarr.json").read_bytes()
    assert answers[".zattrs"] is None
    assert store.requests == 3  # the directory, and two members
    array = zarr.open_array(store, path="0", mode="r")
    assert np.array_equal(array[...], PIXELS)
    assert np.array_equal(array[1:3, 5:7], PIXELS[1:3, 5:7])
    below = open_store(location / "0", retry=QUICK)
    assert np.array_equal(zarr.open_array(below, mode="r")[...], PIXELS)


def test_the_bound_of_a_chunk_is_not_that_of_the_directory(serve, folder, tmp_path):
    location = serve(pack(folder, tmp_path / "a.zip"))
    store = open_store(location, retry=QUICK)

    async def read():
        with at_most(10):
            return await store.read("0/c/9/9")

    assert run(read()) is None


def test_an_archive_of_a_folder_is_its_folder(folder, tmp_path):
    file = pack(folder, tmp_path / "a.zip", inside="my image.zarr/")
    store = open_store(Location.parse(file))
    assert np.array_equal(zarr.open_array(store, path="0", mode="r")[...], PIXELS)
    (note,) = store.notes
    assert "my image.zarr" in note
    inside = open_store(Location.parse(file) / "my image.zarr")
    assert np.array_equal(zarr.open_array(inside, path="0", mode="r")[...], PIXELS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, b"abcdefghij"),
        (RangeByteRequest(2, 5), b"cde"),
        (RangeByteRequest(8, 99), b"ij"),
        (OffsetByteRequest(7), b"hij"),
        (OffsetByteRequest(10), b""),
        (SuffixByteRequest(3), b"hij"),
        (SuffixByteRequest(99), b"abcdefghij"),
    ],
)
def test_ranges(tmp_path, method, wanted, expected):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", METHODS[method]) as archive:
        archive.writestr("ä/letters", b"abcdefghij")
    store = open_store(Location.parse(tmp_path / "a.zip"))
    buffer = run(store.get("ä/letters", buffer_prototype, wanted))
    assert buffer.to_bytes() == expected


def test_parts_cost_one_request_each(http_server, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("shard", bytes(range(256)) * 4000)
    store = open_store(Location.parse(f"{http_server.url}/a.zip"))
    for start in range(1, 5):
        wanted = RangeByteRequest(start, start + 2)
        assert run(store.get("shard", buffer_prototype, wanted)).to_bytes() == bytes(
            [start, start + 1]
        )
    assert len(http_server.requests) == 2 + 4  # the directory, the header, the parts
    assert store.bytes_received < 300_000


def test_a_large_directory_costs_one_request_more(http_server, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(4000):
            archive.writestr(f"0/c/{number:060}", str(number))
    store = open_store(Location.parse(f"{http_server.url}/a.zip"))
    assert store.fetch([f"0/c/{3999:060}"]) == {f"0/c/{3999:060}": b"3999"}
    assert store.fetch([f"0/c/{7:060}", "none"]) == {f"0/c/{7:060}": b"7", "none": None}
    assert len(http_server.requests) == 2 + 2


class Unseekable(io.BytesIO):
    """Makes zipfile write sizes behind the members, and local headers without them."""

    def seekable(self):
        return False


@pytest.mark.parametrize("method", METHODS)
def test_archives_written_as_a_stream(tmp_path, method):
    stream = Unseekable()
    with zipfile.ZipFile(stream, "w", METHODS[method]) as archive:
        archive.writestr("a", b"first")
        archive.writestr("b", b"second")
    (tmp_path / "a.zip").write_bytes(stream.getvalue())
    store = open_store(Location.parse(tmp_path / "a.zip"))
    assert store.fetch(["a", "b"]) == {"a": b"first", "b": b"second"}


def test_zip64(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(9):
            with archive.open(str(number), "w", force_zip64=True) as member:
                member.write(b"%d" % number * 150)
    assert b"PK\x06\x06" in (tmp_path / "a.zip").read_bytes()
    store = open_store(Location.parse(tmp_path / "a.zip"))
    answers = store.fetch([str(number) for number in range(9)])
    assert answers == {str(number): b"%d" % number * 150 for number in range(9)}
    wanted = SuffixByteRequest(2)
    assert run(store.get("7", buffer_prototype, wanted)).to_bytes() == b"77"


def test_extra_fields_and_comments(tmp_path):
    info = zipfile.ZipInfo("a")
    info.extra = b"\xfe\xca\x06\x00filler"
    info.comment = b"a comment of the member"
    with zipfile.ZipFile(tmp_path / "a.ozx", "w") as archive:
        archive.comment = b'{"ome": {"version": "0.5"}}'
        archive.writestr(info, b"content")
        archive.mkdir("folder")
    store = open_store(Location.parse(tmp_path / "a.ozx"))
    assert store.fetch(["a", "folder"]) == {"a": b"content", "folder": None}


def test_names_of_other_systems(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = "0\\c\\0"
        archive.writestr(info, b"chunk")
    assert open_store(Location.parse(tmp_path / "a.zip")).fetch(["0/c/0"]) == {
        "0/c/0": b"chunk"
    }
    inside = Location.parse(tmp_path / "a.zip") / "0\\c"
    assert open_store(inside).fetch(["0"]) == {"0": b"chunk"}


@pytest.mark.parametrize(
    "content", [b"", b"not an archive", b"PK\x05\x06", b"x" * 70000]
)
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    (error,) = open_store(Location.parse(tmp_path / "a.zip")).fetch(["a"]).values()
    assert isinstance(error, errors.StoreError)
    assert "not a zip archive" in error.sentence


def test_names_in_the_code_page_of_old(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cell", b"content")
    old = (tmp_path / "a.zip").read_bytes().replace(b"cell", b"c\x84ll")  # cäll
    (tmp_path / "a.zip").write_bytes(old)
    store = open_store(Location.parse(tmp_path / "a.zip"))
    assert store.fetch(["cäll"]) == {"cäll": b"content"}


def test_two_folders_are_no_image(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("one", "two"):
            archive.write(folder / "zarr.json", f"{name}/zarr.json")
    store = open_store(Location.parse(tmp_path / "a.zip"))
    assert store.fetch(["zarr.json"]) == {"zarr.json": None}
    assert isinstance(store.fetch(["one/zarr.json"])["one/zarr.json"], bytes)


def test_an_archive_that_was_cut(folder, tmp_path):
    file = pack(folder, tmp_path / "a.zip")
    file.write_bytes(file.read_bytes()[:-30])
    (error,) = open_store(Location.parse(file)).fetch(["zarr.json"]).values()
    assert isinstance(error, errors.StoreError)


def test_a_damaged_member(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", b"content")
    damaged = (tmp_path / "a.zip").read_bytes().replace(b"content", b"cOntent")
    (tmp_path / "a.zip").write_bytes(damaged)
    (error,) = open_store(Location.parse(tmp_path / "a.zip")).fetch(["a"]).values()
    assert isinstance(error, errors.StoreError)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_compression_is_named(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a", b"content")
    (error,) = open_store(Location.parse(tmp_path / "a.zip")).fetch(["a"]).values()
    assert isinstance(error, errors.StoreError)
    assert "compressed in an unusual way" in error.sentence


def test_no_archive_at_all(serve, tmp_path):
    (tmp_path / "b.zip").touch()
    location = serve(tmp_path / "b.zip")
    store = open_store(location.parent / "a.zip", retry=QUICK)
    assert store.fetch(["zarr.json"]) == {"zarr.json": None}


def test_failures_pass_through_an_archive(http_server, folder, tmp_path):
    pack(folder, tmp_path / "a.zip")
    store = open_store(Location.parse(f"{http_server.url}/a.zip"), retry=QUICK)
    http_server.fault("*", faults.Status(500), faults.Truncated(after=10))
    assert isinstance(store.fetch(["zarr.json"])["zarr.json"], bytes)
    http_server.fault("*", faults.Status(403), forever=True)
    http_server.forbid_missing = True
    other = open_store(Location.parse(f"{http_server.url}/b.zip"), retry=QUICK)
    (error,) = other.fetch(["zarr.json"]).values()
    assert isinstance(error, errors.AccessDeniedError)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_are_too_strange(junk):
    for tail in (junk, b"PK\x05\x06" + junk, b"PK\x06\x07" + b"\xff" * 16 + junk):
        try:
            end = parse_end(tail)
        except NotAnArchive:
            continue
        assert end.size >= 0
    sizes = [0, 2**32 - 1, 2**32 - 1, 0, len(junk), 0, 0, 0, 0, 0]
    larger = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 6, *sizes) + junk
    for listing in (junk, b"PK\x01\x02" + junk, larger):
        counts = [0, 0, 1, 1, len(listing), 0, 0]
        end = struct.pack("<4s4H2LH", b"PK\5\6", *counts)
        try:
            parse_directory(listing + end, 0, 0)
        except NotAnArchive:
            continue


@settings(deadline=None, max_examples=30)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="/\\\x00"), min_size=1),
        st.binary(max_size=100),
        max_size=5,
    )
)
def test_the_directory_agrees_with_zipfile(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        infos = archive.infolist()
    body = stream.getvalue()
    end = parse_end(body)
    assert end.tail == 0
    directory = parse_directory(body, 0, end.start)
    found = {
        name: (member.header_offset, member.file_size)
        for name, member in directory.members.items()
    }
    assert found == {
        info.filename.removeprefix("./"): (info.header_offset, info.file_size)
        for info in infos
    }


# Archives as people upload them: the image lies deeper, or there are several.


def packed(folder, file, *inside):
    """Pack one folder under several names, or at several depths."""
    with zipfile.ZipFile(file, "w") as archive:
        for place in inside:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, place + path.relative_to(folder).as_posix())
        archive.writestr("__MACOSX/data/._zarr.json", b"junk")
        archive.writestr("README.txt", b"words")
    return file


@pytest.mark.parametrize("inside", ["", "a/", "data/exp 1/a.zarr/", "a/b/c/d/e/f/"])
@pytest.mark.parametrize("below", ["", "0", "0/c/0"])
def test_an_image_lies_at_any_depth(folder, tmp_path, inside, below):
    file = packed(folder, tmp_path / "a.zip", inside)
    answer = "zarr.json" if below in ("", "0") else "0"
    expected = (folder / below / answer).is_file()
    store = open_store(Location.parse(file) / below if below else Location.parse(file))
    assert (store.fetch([answer])[answer] is not None) == expected
    named = Location.parse(file) / f"{inside}{below}".rstrip("/")
    assert store.fetch([answer]) == open_store(named).fetch([answer])


def test_folders_above_the_image_can_be_named(folder, tmp_path):
    file = packed(folder, tmp_path / "a.zip", "data/exp1/a.zarr/")
    for above in ("data", "data/exp1", "data/exp1/a.zarr"):
        store = open_store(Location.parse(file) / above)
        assert store.fetch(["zarr.json"])["zarr.json"] is not None


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_accents_are_understood_in_either_spelling(folder, tmp_path, stored, asked):
    file = tmp_path / "a.zip"
    for name in ("Zellüberstände", "zwölf"):  # so that neither is the only image
        path = pack(
            folder, tmp_path / f"{name}.zip", inside=f"{normalize(stored, name)}/"
        )
        with zipfile.ZipFile(path) as one, zipfile.ZipFile(file, "a") as archive:
            for member in one.namelist():
                archive.writestr(member, one.read(member))
    place = Location.parse(f"{file}/{normalize(asked, 'Zellüberstände')}")
    body = open_store(place, retry=QUICK).fetch(["zarr.json"])["zarr.json"]
    assert body == (folder / "zarr.json").read_bytes()


def test_of_several_images_one_is_chosen(folder, tmp_path):
    inside = "data/a.zarr/", "data/a.zarr-old/", "data/more/b.zarr/", "c.zarr/"
    place = Location.parse(packed(folder, tmp_path / "a.zip", *inside))
    store = open_store(place)
    assert store.fetch(["zarr.json"]) == {"zarr.json": None}
    assert sorted(store.choices) == sorted(name.rstrip("/") for name in inside)
    below = open_store(place / "data")
    assert below.fetch(["zarr.json"]) == {"zarr.json": None}
    assert below.choices == ("a.zarr", "a.zarr-old", "more/b.zarr")
    assert open_store(place / "data/more").fetch(["zarr.json"])["zarr.json"]
    within = open_store(place / "c.zarr" / "nothing")
    assert within.fetch(["zarr.json"]) == {"zarr.json": None}
    assert not within.choices


def test_an_address_may_go_on_behind_the_archive(http_server, folder, tmp_path):
    (tmp_path / "a.zip").mkdir()
    pack(folder, tmp_path / "a.zip" / "content", inside="data/a.zarr/")
    place = Location.parse(f"{http_server.url}/a.zip/content?download=1")
    store = open_store(place, retry=QUICK)
    body = (folder / "zarr.json").read_bytes()
    assert store.fetch(["zarr.json"]) == {"zarr.json": body}
    below = open_store(place / "0", retry=QUICK)
    assert np.array_equal(zarr.open_array(below, mode="r")[...], PIXELS)


@pytest.mark.parametrize(
    "answer",
    [
        faults.Status(200, b'{"links": {}}', {"Content-Type": "application/json"}),
        faults.page(),
        faults.Status(403),
        faults.Status(405),
        faults.Status(410),
    ],
)
def test_what_answers_before_the_archive_is_not_it(
    http_server, folder, tmp_path, answer
):
    (tmp_path / "a.zip").mkdir()
    pack(folder, tmp_path / "a.zip" / "content")
    http_server.fault("*/a.zip", answer, forever=True)
    place = Location.parse(f"{http_server.url}/a.zip/content")
    assert open_store(place, retry=QUICK).fetch(["zarr.json"])["zarr.json"]


def test_a_folder_may_be_called_like_an_archive(folder, tmp_path):
    folder.rename(tmp_path / "a.zip")
    for place, key in (("a.zip", "0/zarr.json"), ("a.zip/0", "zarr.json")):
        store = open_store(Location.parse(tmp_path / place))
        assert store.fetch([key])[key] is not None


@pytest.mark.parametrize("inside", ["", "below/"])
def test_an_archive_that_is_replaced_is_read_anew(http_server, tmp_path, inside):
    """Its old directory leads to other bytes, or to none."""
    for number in range(2):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as packed:
            names = ["zarr.json", "c/0", "c/1"][:: 1 - 2 * number]
            for name in names:
                packed.writestr(f"{inside}{name}", f"{name} of {number}".encode() * 9)
    (tmp_path / "a.zip").write_bytes((tmp_path / "0.zip").read_bytes())
    place = Location.parse(f"{http_server.url}/a.zip/{inside}".rstrip("/"))
    store = open_store(place, retry=QUICK)
    assert store.fetch(["c/0"])["c/0"] == b"c/0 of 0" * 9
    (tmp_path / "a.zip").write_bytes((tmp_path / "1.zip").read_bytes())
    for name in ("c/1", "c/0", "zarr.json"):
        assert store.fetch([name])[name] == f"{name} of 1".encode() * 9


# Archives in archives, and directories that lie.


@pytest.mark.parametrize("asked", ["", "/inner.ome.zarr.zip", "/inner.ome.zarr.zip/0"])
def test_an_archive_in_an_archive_is_read_where_it_is_stored(
    folder, serve, tmp_path, asked
):
    inner = pack(folder, tmp_path / "inner.ome.zarr.zip", zipfile.ZIP_DEFLATED)
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(inner, inner.name)
        archive.writestr("README.txt", "an image")
    store = open_store(serve(outer) / asked.lstrip("/") if asked else serve(outer))
    key = "zarr.json" if asked.endswith("/0") else "0/zarr.json"
    found = run(store.get(key, buffer_prototype))
    assert found is not None
    assert found.to_bytes() == (folder / "0/zarr.json").read_bytes()
    assert any("in the archive" in note for note in store.notes)


@pytest.mark.parametrize("asked", ["", "inner.ozx"])
def test_an_archive_that_is_packed_twice_is_to_be_unpacked(folder, tmp_path, asked):
    inner, outer = pack(folder, tmp_path / "inner.ozx"), tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(inner, inner.name)
    place = Location.parse(outer)
    store = open_store(place / asked if asked else place)
    with pytest.raises(errors.StoreError, match="packed a second time") as caught:
        run(store.get("zarr.json", buffer_prototype))
    assert "inner.ozx" in caught.value.action


def lying(body, field, value, layout="<I"):
    """Write a value into a field of all entries of the directory."""
    changed, at = bytearray(body), 0
    while (at := changed.find(b"PK\x01\x02", at)) >= 0:
        struct.pack_into(layout, changed, at + field, value)
        at += 4
    return bytes(changed)


@pytest.mark.parametrize("lie", ["offsets", "directory", "end"])
def test_a_directory_that_leads_outside_is_damage_at_once(
    folder, tmp_path, http_server, lie
):
    file = pack(folder, tmp_path / "a.ozx")
    body = file.read_bytes()
    if lie == "offsets":
        body = lying(body, 42, 2**31)
    elif lie == "directory":
        changed = bytearray(body)
        struct.pack_into("<I", changed, body.rfind(b"PK\x05\x06") + 16, 2**31)
        body = bytes(changed)
    else:
        body += b"PK\x05\x06" + b"\xff" * 40
    file.write_bytes(body)
    # With the patience that people have, of which none is needed.
    store = open_store(Location.parse(f"{http_server.url}/a.ozx"))
    with pytest.raises(errors.StoreError, match="not a zip archive"):
        run(store.get("zarr.json", buffer_prototype))
    assert len(http_server.requests) <= 4


def test_what_is_encrypted_says_so(folder, tmp_path):
    file = pack(folder, tmp_path / "a.ozx")
    file.write_bytes(lying(file.read_bytes(), 8, 1, "<H"))
    store = open_store(Location.parse(file))
    with pytest.raises(errors.StoreError, match="is encrypted") as caught:
        run(store.get("zarr.json", buffer_prototype))
    assert "password" in caught.value.action
