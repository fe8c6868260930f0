"""Places that fsspec knows, on real servers where their packages are installed.

``make test-filesystems`` gets all packages; without one, its tests are skipped and say
what is missing.
"""

from __future__ import annotations

import re

import fsspec
import numpy as np
import pytest
from fsspec.config import conf
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

from napari_omezarr import read_layers, write_image
from napari_omezarr._io_loop import run
from napari_omezarr.browsing import Listing
from napari_omezarr.errors import (
    AccessDeniedError,
    CertificateError,
    NodeNotFoundError,
    OptionError,
    SignInNeededError,
    StoreConnectionError,
    StoreError,
    WebPageError,
)
from napari_omezarr.location import Location
from napari_omezarr.store import WritablePlace, open_store, open_writable
from napari_omezarr.store.error_mapping import ErrorContext
from napari_omezarr.store.filesystems import KINDS, SharedFilesystem
from napari_omezarr.store.fsspec_backend import FsspecBackend, filesystem_of
from quick_retries import PIXELS, QUICK
from quick_retries import write_image as write_array
from servers import faults, filesystems, hubs
from servers.filesystems import PASSWORD, USER, missing
from servers.http import FileServer

IMAGE = np.random.default_rng(0).integers(0, 999, (2, 6, 60, 80)).astype("u2")
PARTS = [
    RangeByteRequest(0, 7),
    RangeByteRequest(3, 11),
    RangeByteRequest(15, 20),
    RangeByteRequest(10, 99),
    OffsetByteRequest(4),
    SuffixByteRequest(5),
    SuffixByteRequest(99),
]
BODY = bytes(range(20))


@pytest.fixture
def known_hosts(tmp_path, monkeypatch):
    """A file of host keys that this person trusts, as fsspec's configuration names."""
    file = tmp_path / "known_hosts"
    file.touch()
    monkeypatch.setitem(conf, "sftp", {"known_hosts": str(file)})
    return file


@pytest.fixture
def sftp(tmp_path, known_hosts):
    if lacks := missing("sshfs", "asyncssh"):
        pytest.skip(lacks)
    (tmp_path / "served").mkdir()
    with filesystems.SFTPServer(tmp_path / "served") as server:
        known_hosts.write_text(server.host_key)
        yield server


@pytest.fixture
def webdav(tmp_path):
    if lacks := missing("webdav4", "wsgidav", "cheroot"):
        pytest.skip(lacks)
    (tmp_path / "served").mkdir()
    with filesystems.webdav(tmp_path / "served") as host:
        yield host


@pytest.fixture(params=["sftp", "webdav", "memory"])
def place(request):
    """An address below which one may write, on each server."""
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        return "memory://folder"
    server = request.getfixturevalue(request.param)
    if request.param == "sftp":
        return f"{server.address}/folder"
    password = PASSWORD.replace("/", "%2F")
    return f"webdav+http://{USER}:{password}@{server}/folder"


def body_of(place: str, wanted=None):
    store = open_store(Location.parse(place), retry=QUICK)
    found = run(store.read("", wanted))
    return found if found is None else found.body


# Written, read and listed.


def test_what_is_written_is_what_is_read(place):
    address = f"{place}/written a+b.ome.zarr"
    write_image(IMAGE, address, axes="czyx")
    for channel, (data, _, _) in enumerate(read_layers(address)):
        np.testing.assert_array_equal(np.asarray(data), IMAGE[channel])


def test_shards_are_read_by_their_parts(place):
    address = f"{place}/sharded.ome.zarr"
    write_image(
        IMAGE, address, axes="czyx", chunks=(1, 2, 20, 20), shards=(1, 6, 60, 80)
    )
    ((data, _, _), _) = read_layers(address)
    np.testing.assert_array_equal(np.asarray(data[2, 20:40]), IMAGE[0, 2, 20:40])


def test_an_image_is_one_row_of_its_folder(place):
    write_image(IMAGE, f"{place}/rows/one.zarr", axes="czyx")
    page = Listing(Location.parse(f"{place}/rows")).more().result(30)
    assert [entry.name for entry in page.entries] == ["one.zarr"]


def test_nothing_there_is_no_failure(place):
    with pytest.raises(NodeNotFoundError):
        read_layers(f"{place}/nothing.zarr")


def test_a_zip_opens_from_each_place(place, tmp_path):
    write_image(IMAGE, tmp_path / "image.ozx", axes="czyx")
    body = (tmp_path / "image.ozx").read_bytes()
    backend = FsspecBackend(*filesystem_of(Location.parse(place)))
    run(backend.write("image.ozx", body))
    ((data, _, _), _) = read_layers(f"{place}/image.ozx")
    np.testing.assert_array_equal(np.asarray(data), IMAGE[0])


@pytest.mark.parametrize("wanted", PARTS, ids=str)
def test_a_part_has_the_bytes_that_were_asked_for(place, wanted):
    location = Location.parse(place)
    backend = FsspecBackend(*filesystem_of(location))
    run(backend.write("part", BODY))
    expected = {
        RangeByteRequest: lambda: BODY[wanted.start : wanted.end],
        OffsetByteRequest: lambda: BODY[wanted.offset :],
        SuffixByteRequest: lambda: BODY[-wanted.suffix :],
    }[type(wanted)]()
    assert body_of(f"{place}/part", wanted) == expected
    # The backend that writes reads too, for edits and for what is checked after.
    assert run(backend.read("part", wanted)).body == expected


def test_no_secret_is_shown(place):
    address = f"{place}/nothing.zarr"
    location = Location.parse(address)
    store = open_store(location)
    with pytest.raises(NodeNotFoundError) as raised:
        read_layers(address)
    for text in (repr(location), str(store), repr(store), repr(raised.getrepr())):
        assert "s3cr3t" not in text


# SFTP.


def test_a_wrong_password_is_said(sftp):
    address = sftp.address.replace("s3cr3t", "wr0ng")
    with pytest.raises(SignInNeededError, match="does not let you sign in"):
        read_layers(f"{address}/a.zarr")


def test_an_unknown_host_key_is_refused(sftp, known_hosts):
    known_hosts.write_text("")
    with pytest.raises(CertificateError, match="The key of the host"):
        read_layers(f"{sftp.address}/a.zarr")


def test_without_a_configuration_ssh_s_own_known_hosts_decide(sftp, monkeypatch):
    monkeypatch.setitem(conf, "sftp", {})
    with pytest.raises(CertificateError):
        read_layers(f"{sftp.address}/a.zarr")


def test_what_may_not_be_read_is_never_missing(sftp):
    write_array(sftp.root / "a.zarr")
    store = open_store(Location.parse(f"{sftp.address}/a.zarr"), retry=QUICK)
    assert run(store.read("zarr.json")) is not None
    sftp.forbidden.add(b"/a.zarr/0/c/0/0")
    with pytest.raises(AccessDeniedError):
        run(store.read("0/c/0/0"))


def test_a_connection_that_broke_is_made_anew(sftp):
    (sftp.root / "file").write_bytes(BODY)
    store = open_store(Location.parse(f"{sftp.address}/file"), retry=QUICK)
    assert run(store.read("")).body == BODY
    sftp.disconnect()
    assert run(store.read("")).body == BODY


def test_no_server_is_said(sftp):
    address = re.sub(r":\d+$", ":1", sftp.address)
    with pytest.raises(StoreConnectionError, match="takes no connection"):
        read_layers(f"{address}/a.zarr")


def test_a_home_directory_is_a_path(sftp):
    (sftp.root / "file").write_bytes(BODY)
    assert body_of(f"{sftp.address}/~/file") == BODY


# WebDAV.


@pytest.mark.skipif(bool(missing("webdav4")), reason=missing("webdav4") or "there")
def test_a_portal_before_webdav_has_written_nothing(tmp_path):
    with FileServer(tmp_path) as server:
        server.fault("*", faults.page(), forever=True)
        place = Location.parse(f"webdav+{server.url}/a.zarr")
        writable = open_writable(place, retry=QUICK)
        for work in (
            writable.put("b", BODY),
            writable.copy("b", "c", len(BODY)),
            writable.delete("b"),
            writable.holds(),
        ):
            with pytest.raises(WebPageError):
                run(work)


def test_webdav_says_who_may_read(webdav):
    with pytest.raises(SignInNeededError):
        read_layers(f"webdav+http://{webdav}/a.zarr")


def test_webdav_signs_in_by_fsspec_s_configuration(webdav, monkeypatch):
    monkeypatch.setitem(conf, "webdav", {"auth": [USER, PASSWORD]})
    address = f"webdav+http://{webdav}/deep/er/a.ome.zarr"
    write_image(IMAGE, address, axes="czyx")
    ((data, _, _), _) = read_layers(address)
    np.testing.assert_array_equal(np.asarray(data), IMAGE[0])


# What needs the outside, at a stand-in.


@pytest.fixture
def gateway(tmp_path, monkeypatch):
    """A gateway of IPFS as HTTP serves it: a folder for each identifier."""
    if lacks := missing("ipfsspec"):
        pytest.skip(lacks)
    from ipfsspec.async_ipfs import get_gateway

    write_array(tmp_path / "ipfs" / "bafy" / "a.zarr", shards=True)
    with FileServer(tmp_path) as server:
        monkeypatch.setenv("IPFS_GATEWAY", server.url)
        get_gateway.cache_clear()
        yield server
    get_gateway.cache_clear()


def test_ipfs_is_read_through_the_gateway(gateway):
    ((data, _, _),) = read_layers("ipfs://bafy/a.zarr/0")
    np.testing.assert_array_equal(np.asarray(data), PIXELS)
    with pytest.raises(NodeNotFoundError):
        read_layers("ipfs://bafy/b.zarr")


@pytest.mark.skipif(bool(missing("ipfsspec")), reason=missing("ipfsspec") or "there")
def test_without_a_gateway_ipfs_says_how_to_name_one(monkeypatch, tmp_path):
    from ipfsspec.async_ipfs import get_gateway

    for name in ("IPFS_GATEWAY", "IPFSSPEC_GATEWAYS", "IPFS_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    get_gateway.cache_clear()
    with pytest.raises(OptionError, match="gateway") as raised:
        read_layers("ipfs://bafy/a.zarr")
    assert "IPFS_GATEWAY" in raised.value.action
    get_gateway.cache_clear()


@pytest.fixture
def hub(request, tmp_path, monkeypatch):
    """A stand-in of GitHub or Hugging Face, and the address of its repository."""
    kind = request.param
    if lacks := missing({"github": "requests", "hf": "huggingface_hub"}[kind]):
        pytest.skip(lacks)
    for place in ("one.ome.zarr", "more/two.ome.zarr"):
        write_image(IMAGE, tmp_path / place, axes="czyx")
    shards = {"chunks": (1, 2, 20, 20), "shards": (1, 6, 60, 80)}
    write_image(IMAGE, tmp_path / "sharded.ome.zarr", axes="czyx", **shards)
    (tmp_path / "large").write_bytes(bytes(range(250)) * 5000)
    with {"github": hubs.GitHub, "hf": hubs.HuggingFace}[kind](tmp_path) as server:
        if kind == "hf":
            monkeypatch.setitem(conf, "hf", {"endpoint": server.url})
            yield server, f"hf://datasets/{hubs.OWNER}/{hubs.NAME}"
            return
        from fsspec.implementations.github import GithubFileSystem

        for name in ("url", "content_url"):
            outside = getattr(GithubFileSystem, name)
            here = outside.replace("https://api.github.com", server.url)
            monkeypatch.setattr(GithubFileSystem, name, here)
        monkeypatch.setattr(GithubFileSystem, "cachable", False)
        yield server, f"github://{hubs.OWNER}:{hubs.NAME}@main"


HUBS = pytest.mark.parametrize("hub", ["github", "hf"], indirect=True)


@HUBS
@pytest.mark.parametrize("name", ["one", "more/two", "sharded"])
def test_an_image_of_a_repository_is_read(hub, name):
    ((data, _, _), _) = read_layers(f"{hub[1]}/{name}.ome.zarr")
    np.testing.assert_array_equal(np.asarray(data), IMAGE[0])


@HUBS
def test_a_repository_is_walked(hub):
    page = Listing(Location.parse(hub[1])).more().result(30)
    names = ["more", "one.ome.zarr", "sharded.ome.zarr"]
    assert [entry.name for entry in page.entries] == names
    page = Listing(Location.parse(f"{hub[1]}/more")).more().result(30)
    assert [entry.name for entry in page.entries] == ["two.ome.zarr"]


@HUBS
@pytest.mark.parametrize("wanted", [RangeByteRequest(700_000, 700_009)], ids=str)
def test_a_part_of_a_large_file_of_a_repository(hub, wanted):
    expected = (bytes(range(250)) * 5000)[wanted.start : wanted.end]
    assert body_of(f"{hub[1]}/large", wanted) == expected


@HUBS
def test_nothing_there_in_a_repository(hub):
    with pytest.raises(NodeNotFoundError):
        read_layers(f"{hub[1]}/nothing.ome.zarr")


@HUBS
def test_a_repository_that_is_not_open_is_no_empty_place(hub):
    other = hub[1].replace(hubs.NAME, "other")
    with pytest.raises(StoreError):
        read_layers(f"{other}/one.ome.zarr")
    with pytest.raises(StoreError):
        Listing(Location.parse(other)).more().result(30)


@pytest.mark.parametrize("hub", ["hf"], indirect=True)
def test_a_private_dataset_is_read_by_its_token(hub, monkeypatch):
    server, address = hub
    server.token = "hf_s3cr3t"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    with pytest.raises(StoreError) as raised:
        read_layers(f"{address}/one.ome.zarr")
    assert "HF_TOKEN" in (raised.value.action or "")
    monkeypatch.setitem(conf, "hf", {"endpoint": server.url, "token": server.token})
    ((data, _, _), _) = read_layers(f"{address}/one.ome.zarr")
    np.testing.assert_array_equal(np.asarray(data), IMAGE[0])
    assert "s3cr3t" not in repr(Location.parse(address))


# What fsspec raises, in our words; and what is not installed.


@pytest.mark.parametrize(
    ("address", "package", "extra"),
    [
        ("sftp://host/a.zarr", "sshfs", "sftp"),
        ("hf://datasets/owner/name/a.zarr", "huggingface_hub", "hf"),
        ("ipfs://bafy/a.zarr", "ipfsspec", "ipfs"),
        ("simplecache::gs://bucket/a.zarr", "gcsfs", "gcs"),
        ("github://org:repo@main/a.zarr", "requests", "github"),
        ("reference::/refs.parq", "pyarrow", "kerchunk"),
    ],
)
def test_what_is_not_installed_is_said_in_one_sentence(
    address, package, extra, monkeypatch, tmp_path
):
    from napari_omezarr.store import filesystems as made

    monkeypatch.setattr(made, "find_spec", lambda _: None)
    with pytest.raises(OptionError, match=f"needs {package}, which is not") as raised:
        read_layers(address)
    assert raised.value.action == f"Run: pip install 'napari-omezarr[{extra}]'"


class Faulty(fsspec.AbstractFileSystem):
    """A filesystem that raises what it is told to, with a secret in the text."""

    cachable = False

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def cat_file(self, path, start=None, end=None, **_):
        raise self.error

    def makedirs(self, path, exist_ok=False):
        raise self.error

    def find(self, path, **_):
        raise self.error

    def rm_file(self, path):
        raise self.error

    def _open(self, path, **_):
        raise self.error


class Careless(Faulty):
    """A filesystem that gives the whole file for any range, as fsspec's HTTP may."""

    def __init__(self) -> None:
        super().__init__(OSError())

    def cat_file(self, path, start=None, end=None, **_):
        return BODY

    def info(self, path, **_):
        return {"name": path, "size": self.size_said, "type": "file"}

    size_said = len(BODY)


def _backend(filesystem):

    return FsspecBackend(filesystem, "x", ErrorContext("odd://x", "odd"))


class LibraryError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        LibraryError("token=s3cr3t"),
        KeyError("s3cr3t"),
        OSError(5, "s3cr3t"),
        OSError("s3cr3t"),
        PermissionError("s3cr3t"),
        ValueError("https://s3cr3t@host"),
    ],
    ids=repr,
)
def test_a_foreign_exception_is_ours_and_quotes_nothing(error):
    from napari_omezarr.store.backend import FAILURES
    from napari_omezarr.store.error_mapping import translate

    backend = _backend(Faulty(error))
    with pytest.raises(FAILURES) as raised:
        run(backend.read("key"))
    said = translate(raised.value, backend.context("odd://x/key"))
    assert isinstance(said, StoreError)
    assert "s3cr3t" not in f"{said}{said.__cause__}{said.__context__}"
    assert "s3cr3t" not in repr(raised.value)


@pytest.mark.parametrize("work", ["put", "copy", "delete", "objects", "read"])
@pytest.mark.parametrize(
    "error", [LibraryError("s3cr3t"), PermissionError("s3cr3t"), ConnectionError()]
)
def test_whatever_is_done_no_foreign_exception_comes_out(work, error):
    place = Location.parse("webdav+http://host/a.zarr")
    shown = ErrorContext("odd://x", "odd")
    made = SharedFilesystem(shown, KINDS[place.protocol], made=Faulty(error))
    backend = FsspecBackend(made, "x", shown)
    writable = WritablePlace(place, backend, QUICK, lambda: None)

    async def objects():
        return [each async for each in writable.objects()]

    works = {
        "put": lambda: writable.put("b/c", BODY),
        "copy": lambda: writable.copy("b/c", "d/e", len(BODY)),
        "delete": lambda: writable.delete("b/c"),
        "objects": objects,
        "read": lambda: writable.read("b/c"),
    }
    with pytest.raises(StoreError) as raised:
        run(works[work]())
    assert "s3cr3t" not in repr(raised.value)


def test_no_such_file_is_absence_but_no_such_repository_is_not():
    assert run(_backend(Faulty(FileNotFoundError("x"))).read("key")) is None
    refused = type("RepositoryNotFoundError", (Exception,), {})()
    error = FileNotFoundError("x")
    error.__cause__ = refused
    with pytest.raises(AccessDeniedError, match="open to you"):
        run(_backend(Faulty(error)).read("key"))
    gone = type("ClientError", (Exception,), {})()
    gone.response = {"Error": {"Code": "NoSuchBucket"}}
    error.__cause__ = gone
    with pytest.raises(StoreError):
        run(_backend(Faulty(error)).read("key"))


@pytest.mark.parametrize("wanted", PARTS, ids=str)
def test_a_whole_file_for_a_range_is_cut_right(wanted):
    found = run(_backend(Careless()).read("key", wanted))
    expected = {
        RangeByteRequest: lambda: BODY[wanted.start : wanted.end],
        OffsetByteRequest: lambda: BODY[wanted.offset :],
        SuffixByteRequest: lambda: BODY[-wanted.suffix :],
    }[type(wanted)]()
    assert found.body == expected


def test_what_is_neither_the_part_nor_the_whole_is_refused(monkeypatch):
    from napari_omezarr.store import RequestFailed

    monkeypatch.setattr(Careless, "size_said", 100)
    with pytest.raises(RequestFailed):
        run(_backend(Careless()).read("key", RangeByteRequest(3, 11)))
