"""Azure's blobs by our own requests, at a server that has them in memory."""

from __future__ import annotations

import asyncio
import base64
import pickle
import random
import sys
import traceback
from importlib.util import find_spec
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
import zarr
from fsspec.config import conf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.storage import LocalStore

from disk_cache_files import grow_old
from napari_omezarr import errors
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.store import (
    RequestFailed,
    WritableStore,
    open_lister,
    open_store,
    open_writable,
    run,
)
from napari_omezarr.store.azure_sign_in import Account, Tokens, account_of, shared_key
from napari_omezarr.store.azure_storage import AzureBackend
from napari_omezarr.store.http import Request
from napari_omezarr.writing import patch, write_image
from quick_retries import PIXELS, QUICK
from quick_retries import write_image as write_array
from servers import faults
from servers.azure import BOX, KEY, NAME, SAS, SECRETS, TOKEN, AzureAccount

BODY = b"some bytes"
PLACE = f"az://{BOX}/ä b"


@pytest.fixture
def azure(monkeypatch):
    with AzureAccount() as azure:
        sign_in(monkeypatch, azure)
        yield azure


def sign_in(monkeypatch, azure, **how):
    said = azure.connection_string(**how)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", said)


@pytest.fixture
def writable(azure):
    return open_writable(Location.parse(PLACE), retry=QUICK)


def body_of(writable, key):
    found = run(writable.read(key))
    return None if found is None else found.body


def told(error):
    """All that anybody is shown of an error."""
    return "".join(traceback.format_exception(error)) + repr(error)


def methods(azure):
    return [request.method for request in azure.requests]


async def keys(writable, prefix=""):
    return [(each.name, each.size) async for each in writable.objects(prefix)]


# What every object store must do.

odd_keys = st.text(
    st.sampled_from("ab/.+ %?#&=~'ü€\u2028\ufffe\x0b"), min_size=1, max_size=12
).filter(lambda key: key == key.strip("/"))


@pytest.mark.parametrize(
    "how", [{}, {"sas": SAS}, {"sas": f"?{SAS}"}, {"sas": f" ?{unquote(SAS)}\n"}]
)
def test_objects_come_and_go(azure, monkeypatch, how):
    sign_in(monkeypatch, azure, **how)
    writable = open_writable(Location.parse(PLACE), retry=QUICK)
    assert body_of(writable, "a") is None
    assert not run(writable.holds())
    for key in ("a", "c/0/1", "c/0/+ü&=%41", "cc"):
        run(writable.put(key, BODY))
        assert body_of(writable, key) == BODY
    assert methods(azure) == ["GET", "GET", *["PUT", "GET"] * 4]
    assert run(keys(writable, "c")) == [("c/0/+ü&=%41", 10), ("c/0/1", 10)]
    assert run(writable.holds("c"))
    run(writable.put("empty", b""))
    assert body_of(writable, "empty") == b""
    run(writable.delete("a"))
    run(writable.delete("a"))
    assert body_of(writable, "a") is None
    assert azure.blobs["ä b/c/0/1"] == BODY


@settings(max_examples=60)
@given(key=odd_keys, folder=odd_keys)
@example("a//b", "c/./d")
@example("..", "a/../b")
def test_any_key_is_sent_as_it_is(key, folder):
    """Or is signed in another way than it is sent, which the server refuses."""
    with pytest.MonkeyPatch.context() as patched:
        azure = server_of_all()
        azure.blobs.clear()
        sign_in(patched, azure)
        place = Location("az", BOX, folder)
        writable = open_writable(place, retry=QUICK)
        run(writable.put(key, BODY))
        assert azure.blobs == {f"{folder}/{key}": BODY}
        assert body_of(writable, key) == BODY
        assert body_of(writable, f"{key}x") is None
        assert run(keys(writable)) == [(key, len(BODY))]
        run(writable.copy(key, "other", len(BODY)))
        run(writable.delete(key))
        assert run(keys(writable)) == ([("other", 10)] if key != "other" else [])


_servers: list[AzureAccount] = []


def server_of_all():
    """One server for all examples of a property."""
    if not _servers:
        _servers.append(AzureAccount())
    return _servers[0]


@pytest.fixture(scope="module", autouse=True)
def servers_end():
    yield
    while _servers:
        _servers.pop().close()


def test_parts_are_read_by_one_request_and_ends_by_two(azure):
    azure.blobs["x/a"], azure.etags["x/a"] = bytes(range(100)), '"1"'
    azure.blobs["x/empty"], azure.etags["x/empty"] = b"", '"2"'
    store = open_store(Location.parse(f"az://{BOX}/x"), retry=QUICK)
    wanted = {
        RangeByteRequest(10, 20): range(10, 20),
        RangeByteRequest(90, 200): range(90, 100),
        OffsetByteRequest(95): range(95, 100),
        SuffixByteRequest(7): range(93, 100),
        SuffixByteRequest(700): range(100),
    }
    for part, expected in wanted.items():
        azure.clear()
        found = run(store.read("a", part))
        assert (found.body, found.etag) == (bytes(expected), '"1"')
        is_end = isinstance(part, SuffixByteRequest)
        assert methods(azure) == ["GET"] * (1 + is_end)
        assert not any("=-" in request.range for request in azure.requests)
    assert run(store.read("empty", SuffixByteRequest(5))).body == b""
    assert run(store.read("missing", SuffixByteRequest(5))) is None


@pytest.mark.parametrize("shards", [False, True])
def test_opening_asks_once_for_each_document_and_never_lists(azure, tmp_path, shards):
    write_array(tmp_path / "a.zarr", shards=shards)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            key = str(file.relative_to(tmp_path))
            azure.blobs[key], azure.etags[key] = file.read_bytes(), f'"{key}"'
    store = open_store(Location.parse(f"az://{BOX}/a.zarr"), retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    assert {request.method for request in azure.requests} == {"GET"}
    paths = [request.path for request in azure.requests]
    assert len(paths) == len(set(paths))
    np.testing.assert_array_equal(array[...], PIXELS)
    assert not any("comp=list" in request.query for request in azure.requests)
    assert store.requests == len(azure.requests)
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(zarr.open_array(again, path="0", mode="r"), PIXELS)
    assert not any(secret in str(pickle.dumps(store)) for secret in SECRETS)


@pytest.mark.parametrize("how", [{}, {"sas": SAS}])
def test_the_disk_cache_asks_whether_it_has_changed(how, azure, cache, monkeypatch):
    sign_in(monkeypatch, azure, **how)
    azure.blobs["x/a"], azure.etags["x/a"] = BODY, '"1"'
    for _ in range(2):
        store = open_store(Location.parse(f"az://{BOX}/x"), retry=QUICK)
        assert run(store.read("a")).body == BODY
        grow_old(cache)
    assert [request.status for request in azure.requests] == [200, 304]
    kept = b"".join(file.read_bytes() for file in cache.rglob("*") if file.is_file())
    assert not any(secret.encode() in kept for secret in SECRETS)


# Conditions


def test_a_document_is_replaced_only_as_it_was_read(writable):
    assert run(writable.replace("a", b"1", None))
    assert not run(writable.replace("a", b"2", None))
    first = run(writable.read("a"))
    assert run(writable.replace("a", b"2", first))
    assert not run(writable.replace("a", b"3", first))
    assert body_of(writable, "a") == b"2"
    assert run(writable.holds_conditions())


def test_of_many_who_create_one_wins(azure, writable):
    assert run(writable.holds_conditions())

    async def race():
        bodies = [b"%d" % number for number in range(20)]
        claims = (writable.replace("a", body, None) for body in bodies)
        return await asyncio.gather(*claims), bodies

    won, bodies = run(race())
    assert won.count(True) == 1
    assert body_of(writable, "a") == bodies[won.index(True)]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (409, "BlobImmutableDueToPolicy", errors.ReadOnlyError),
        (412, "LeaseIdMissing", errors.ReadOnlyError),
        (409, "ContainerBeingDeleted", errors.BucketNotFoundError),
        (404, "ContainerNotFound", errors.BucketNotFoundError),
        (403, "AuthorizationPermissionMismatch", errors.AccessDeniedError),
        (403, "AuthenticationFailed", errors.KeyNotAcceptedError),
        (507, "InsufficientStorage", errors.DiskFullError),
    ],
)
def test_what_is_no_condition_is_no_change_of_somebody_else(
    status, code, kind, azure, writable
):
    assert run(writable.holds_conditions())
    azure.fault("*/a", faults.s3_error(status, code), method="PUT")
    with pytest.raises(kind):
        run(writable.replace("a", BODY, None))


def test_a_lost_answer_to_a_conditional_write_is_no_conflict(azure, writable):
    assert run(writable.holds_conditions())
    azure.fault("*/a", faults.Lost(), method="PUT")
    assert run(writable.replace("a", BODY, None))


# Long blobs


def test_a_long_blob_goes_in_blocks_each_tried_again_alone(azure, writable):
    body = random.Random(0).randbytes((32 << 20) + 5)
    # Azure may have blocks of somebody who broke off.
    azure.waiting["ä b/c"] = {base64.b64encode(b"0" * 38).decode(): b"other"}
    busy = faults.Status(503, headers={"Retry-After": "0"})
    azure.fault("*/c", busy, faults.Proceed(), faults.Dropped(), method="PUT")
    run(writable.put("c", body))
    assert azure.blobs["ä b/c"] == body
    assert len(azure.requests) == 3 + 1 + 2
    assert azure.waiting == {}


def test_a_lost_answer_to_the_list_of_blocks_is_asked_for_again(azure, writable):
    async def piece(start, stop):
        return bytes(stop - start)

    lost = [*[faults.Proceed()] * 2, faults.Lost()]
    azure.fault("*/c", *lost, method="PUT")
    run(writable.put_pieces("c", (16 << 20) + 1, piece))
    assert azure.blobs["ä b/c"] == bytes((16 << 20) + 1)


def test_of_a_long_blob_that_breaks_off_nothing_is_seen(azure, writable):
    async def piece(start, stop):
        if start:
            raise OSError("the disk")
        return bytes(stop)

    with pytest.raises(OSError, match="the disk"):
        run(writable.put_pieces("c", (16 << 20) + 1, piece))
    assert azure.blobs == {}
    run(writable.put("c", BODY))
    assert body_of(writable, "c") == BODY


def test_of_two_who_write_one_long_blob_one_is_told(azure, writable):
    """Who is done drops the other's blocks."""
    halves = []

    async def piece(start, stop):
        if start:
            halves.append(start)
            await writable.put("c", bytes(33 << 20))
        return bytes(stop - start)

    with pytest.raises(errors.StoreError, match="Somebody else writes"):
        run(writable.put_pieces("c", (16 << 20) + 1, piece))
    assert halves
    assert azure.blobs["ä b/c"] == bytes(33 << 20)
    azure.waiting["ä b/c"] = {"c2hvcnQ=": b"of another program"}
    with pytest.raises(errors.StoreError, match="did not finish"):
        run(writable.put("c", bytes(33 << 20)))


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (412, "LeaseIdMissing", "locked by a lease"),
        (409, "SnapshotsPresent", "has snapshots"),
        (409, "InvalidBlobType", "does not let .* be changed"),
        (403, "KeyBasedAuthenticationNotPermitted", "does not accept the key"),
    ],
)
def test_what_may_not_be_changed_is_said(status, code, said, azure, writable):
    run(writable.put("a", BODY))
    azure.fault("*/a", faults.s3_error(status, code), forever=True)
    for work in (writable.put("a", b"2"), writable.delete("a")):
        with pytest.raises(errors.AccessDeniedError, match=said):
            run(work)


@pytest.mark.parametrize(
    ("code", "reading", "writing"),
    [
        ("AuthorizationFailure", "your network", "your network"),
        ("AuthorizationPermissionMismatch", "Data Reader", "Data Contributor"),
    ],
)
def test_what_may_help_who_is_refused(code, reading, writing, azure, writable):
    azure.fault("*", faults.s3_error(403, code), forever=True)
    works = (reading, writable.read("a")), (writing, writable.put("a", BODY))
    for said, work in works:
        with pytest.raises(errors.AccessDeniedError) as raised:
            run(work)
        assert said in raised.value.action


def test_clocks_that_differ(azure, writable):
    detail = "Request date header too old: 'Fri, 27 Nov 2026 20:00:00 GMT'"
    said = {"AuthenticationErrorDetail": detail}
    fault = faults.s3_error(403, "AuthenticationFailed", **said)
    azure.fault("*", fault, forever=True)
    for work in (writable.put("a", BODY), writable.read("a")):
        with pytest.raises(errors.ClockSkewError, match="clock of this computer"):
            run(work)


def test_the_service_checks_what_arrived(azure, writable):
    run(writable.put("a", BODY))
    assert azure.requests[-1].headers["content-md5"]


def test_a_copy_is_waited_for(azure, writable, monkeypatch):
    monkeypatch.setattr("napari_omezarr.store.azure_storage._COPY_PAUSE", 0)
    run(writable.put("a", BODY))
    azure.pending = 3
    busy = faults.Status(503, headers={"Retry-After": "0"})
    azure.fault("*/b", busy, faults.Dropped(), method="HEAD")
    azure.clear_log()
    run(writable.copy("a", "b", len(BODY)))
    assert methods(azure).count("PUT") == 1
    assert body_of(writable, "b") == BODY
    assert azure.pending == 0
    with pytest.raises(errors.StoreError):
        run(writable.copy("missing", "c", 1))


def test_a_copy_that_failed_is_an_error(azure, writable):
    failed = faults.Status(202, headers={"x-ms-copy-status": "failed"})
    azure.fault("*/b", failed, forever=True, method="PUT")
    with pytest.raises(errors.ServerError):
        run(writable.copy("a", "b", len(BODY)))


def test_what_may_not_be_deleted_is_said(azure, writable):
    azure.fault("*/a", faults.s3_error(409, "BlobImmutableDueToPolicy"))
    with pytest.raises(errors.ReadOnlyError):
        run(writable.delete("a"))


# Lists


def test_what_is_no_list_is_said(azure, writable):
    listing = open_lister(Location.parse(PLACE)).page
    azure.fault("*", faults.page(), forever=True)
    for work in (writable.holds(), listing()):
        with pytest.raises(errors.WebPageError):
            run(work)
    azure.clear()
    azure.fault("*", faults.Status(200, b"<Error/>"), forever=True)
    with pytest.raises(errors.ListingDeniedError):
        run(listing())


def test_pages_follow_each_other_though_some_are_empty(azure, writable):
    for number in range(5):
        run(writable.put(f"c/{number}", BODY))
    azure.page = 2
    azure.folders |= {"ä b/c", "ä b/c/empty"}  # of accounts that have folders
    assert [name for name, _ in run(keys(writable))] == [f"c/{i}" for i in range(5)]
    assert [name for name, _ in run(keys(writable, "c"))] == [f"c/{i}" for i in "01234"]
    azure.page = 1000
    rows = run(open_lister(Location.parse(PLACE)).page()).items
    assert [(row.name, row.is_folder) for row in rows] == [("c", True)]
    lister = open_lister(Location.parse(f"{PLACE}/c"))
    pages, token = [], ""
    while token or not pages:
        page = run(lister.page("", token, 2))
        pages.append([row.name for row in page.items])
        token = page.token
    assert pages == [["0", "1"], ["2", "3"], ["4"]]
    assert [row.name for row in run(lister.page("3")).items] == ["3"]
    row = run(lister.page()).items[0]
    assert (row.size, row.modified) == (10, "2026-11-27T20:00:00+00:00")
    assert row.etag.startswith("0x8D")


@pytest.mark.parametrize("public", ["", "blob", "container"])
def test_a_public_container_is_listed_where_that_is_allowed(azure, public):
    azure.public = public
    azure.blobs["a"] = BODY
    backend = AzureBackend(Account(azure.endpoint), Location("az", BOX, ""), QUICK)
    if public == "container":
        assert run(backend.listed("")).items[0].name == "a"
    else:
        with pytest.raises(RequestFailed) as raised:
            run(backend.listed(""))
        assert raised.value.code == "ResourceNotFound"


# Who signs


class Credential:
    """What gives tokens, as those of azure-identity do."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def get_token(self, *scopes):
        self.asked.append(scopes)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(token=answer, expires_on=4e9)


def with_tokens(azure, credential, **options):
    account = Account(azure.endpoint, tokens=Tokens(credential))
    return AzureBackend(account, Location("az", BOX, ""), QUICK, **options)


def test_a_token_is_asked_for_once_by_all_who_wait(azure):
    azure.blobs["a"], azure.etags["a"] = BODY, '"1"'
    credential = Credential(TOKEN)
    backend = with_tokens(azure, credential)

    async def read():
        return await asyncio.gather(*(backend.read("a") for _ in range(20)))

    assert {found.body for found in run(read())} == {BODY}
    assert credential.asked == [("https://storage.azure.com/.default",)]
    assert len(azure.requests) == 20
    run(backend.write("b", BODY))
    assert azure.blobs["b"] == BODY


def test_a_token_is_renewed_before_it_ends(azure, monkeypatch):
    azure.blobs["a"], azure.etags["a"] = BODY, '"1"'
    credential = Credential(TOKEN)
    backend = with_tokens(azure, credential)
    run(backend.read("a"))
    clock = SimpleNamespace(time=lambda: 4e9 - 200)
    monkeypatch.setattr("napari_omezarr.store.azure_sign_in.time", clock)
    run(backend.read("a"))
    assert len(credential.asked) == 2


@pytest.mark.parametrize("answer", ["a token of another tenant", OSError(TOKEN)])
def test_what_is_public_is_read_though_no_token_is_good(azure, answer):
    azure.public = "container"
    azure.blobs["a"], azure.etags["a"] = BODY, '"1"'
    credential = Credential(answer)
    backend = with_tokens(azure, credential)
    assert run(backend.read("missing")) is None
    assert run(backend.read("a")).body == BODY
    assert [item.name for item in run(backend.listed("")).items] == ["a"]
    assert len(credential.asked) == 1
    assert "authorization" not in azure.requests[-1].headers
    assert len(azure.requests) == 3 + isinstance(answer, str)
    (note,) = backend.notes
    assert "without signing in" in note


def test_a_container_that_is_not_open_any_more_is_not_empty(azure, tmp_path):
    write_array(tmp_path / "a.zarr")
    for file in tmp_path.rglob("*"):
        if file.is_file():
            key = str(file.relative_to(tmp_path))
            azure.blobs[key], azure.etags[key] = file.read_bytes(), f'"{key}"'
    azure.public = "blob"
    place = Location.parse(f"az://{BOX}/a.zarr|anonymous:true")
    array = zarr.open_array(open_store(place, retry=QUICK), path="0", mode="r")
    del azure.blobs["a.zarr/0/c/0/0"]
    assert array[:2, :2].max() == 0
    azure.public = ""
    with pytest.raises(errors.SignInNeededError, match="not open to everybody"):
        array[...]


def test_what_is_private_needs_a_sign_in(azure):
    backend = with_tokens(azure, Credential(OSError(TOKEN)))
    with pytest.raises(errors.SignInNeededError, match="Nobody is") as raised:
        run(backend.read("a"))
    assert "az login" in raised.value.action
    assert TOKEN not in told(raised.value)
    backend = with_tokens(azure, Credential("a token of another tenant"))
    with pytest.raises(RequestFailed) as refused:
        run(backend.read("a"))
    assert (refused.value.status, backend.verdict(refused.value).signed) == (401, True)


def test_who_writes_signs_in_any_case(azure):
    azure.public = "container"
    backend = with_tokens(azure, Credential(OSError(TOKEN)), writes=True)
    with pytest.raises(errors.SignInNeededError):
        run(backend.write("a", BODY))
    assert azure.requests == []


def test_without_azures_library_it_is_said_how_to_get_it(azure, monkeypatch):
    monkeypatch.setitem(sys.modules, "azure", None)
    backend = with_tokens(azure, None)
    with pytest.raises(errors.SignInNeededError) as raised:
        run(backend.read("a"))
    assert "napari-omezarr[azure]" in raised.value.action


HOST = "https://lab.blob.core.windows.net"


@pytest.mark.parametrize(
    ("environment", "address", "expected"),
    [
        ({"ACCOUNT_NAME": "lab", "ACCOUNT_KEY": KEY}, "az://c/x", (HOST, "key")),
        ({"ACCOUNT_NAME": "lab", "SAS_TOKEN": f"?{SAS}"}, "az://c/x", (HOST, "sas")),
        ({"ACCOUNT_NAME": "lab"}, "az://c/x", (HOST, "tokens")),
        ({"ACCOUNT_NAME": "lab", "ANON": "true"}, "az://c/x", (HOST, "")),
        ({"ACCOUNT_NAME": "lab", "CLIENT_ID": "me"}, "az://c/x", (HOST, "tokens")),
        (
            {"CONNECTION_STRING": f"AccountName=lab;AccountKey={KEY}"},
            "az://c/x",
            (HOST, "key"),
        ),
        (
            {
                "CONNECTION_STRING": "DefaultEndpointsProtocol=http;AccountName=lab;"
                f"AccountKey={KEY};EndpointSuffix=core.chinacloudapi.cn"
            },
            "az://c/x",
            ("http://lab.blob.core.chinacloudapi.cn", "key"),
        ),
        ({"ACCOUNT": "lab", "KEY": f"{KEY}\n"}, "az://c/x", (HOST, "key")),
        (
            {"CONNECTION_STRING": f"BlobEndpoint={HOST}/;;SharedAccessSignature={SAS}"},
            "az://c/x",
            (HOST, "sas"),
        ),
        (
            {
                "CONNECTION_STRING": f"AccountName=lab;BlobEndpoint=https://Lab.blob.core"
                f".windows.net/ ; AccountKey={KEY}"
            },
            "az://c@lab.blob.core.windows.net/x",
            (HOST, "key"),
        ),
        (
            {"ACCOUNT_NAME": "lab", "ACCOUNT_KEY": KEY},
            "az://c@lab-secondary.blob.core.windows.net/x",
            ("https://lab-secondary.blob.core.windows.net", "key"),
        ),
        (
            {"ACCOUNT_NAME": "lab", "ACCOUNT_KEY": KEY},
            "az://c@lab.z07.blob.storage.azure.net/x",
            ("https://lab.z07.blob.storage.azure.net", "tokens"),
        ),
        ({}, "az://c@lab.blob.core.windows.net/x", (HOST, "tokens")),
        (
            {"ACCOUNT_KEY": KEY},
            "az://c@lab.dfs.core.windows.net/x",
            (HOST, "key"),
        ),
        (
            {"ACCOUNT_NAME": "lab", "ACCOUNT_KEY": KEY},
            "az://c@lab.blob.core.windows.net/x",
            (HOST, "key"),
        ),
        # Nobody else's account gets a key, and no other host anything.
        (
            {"ACCOUNT_NAME": "mine", "ACCOUNT_KEY": KEY, "SAS_TOKEN": SAS},
            "az://c@lab.blob.core.windows.net/x",
            (HOST, "tokens"),
        ),
        (
            {"CONNECTION_STRING": f"AccountName=mine;AccountKey={KEY}"},
            "az://c@lab.blob.core.windows.net/x",
            (HOST, "tokens"),
        ),
        (
            {"ACCOUNT_KEY": KEY, "CLIENT_ID": "me"},
            "az://c@lab.blob.core.windows.net.evil.example/x",
            ("https://lab.blob.core.windows.net.evil.example", ""),
        ),
        (
            {"ACCOUNT_KEY": KEY},
            "az+https://evil.example/c/x",
            ("https://evil.example", ""),
        ),
        (
            {"ACCOUNT_NAME": "lab", "ACCOUNT_KEY": KEY},
            "az://c@lab.blob.core.windows.net/x?sv=1&sig=a%2Fb",
            (HOST, ""),
        ),
        (
            {"ACCOUNT_NAME": "lab", "ACCOUNT_KEY": KEY},
            "az://c/x|anonymous:true",
            (HOST, ""),
        ),
    ],
)
def test_who_signs_where(environment, address, expected, monkeypatch):
    for name, text in environment.items():
        monkeypatch.setenv(f"AZURE_STORAGE_{name}", text)
    account = account_of(Location.parse(address))
    ways = {"key": account.key, "sas": account.sas, "tokens": account.tokens}
    assert (
        account.endpoint,
        "".join(way for way, by in ways.items() if by),
    ) == expected
    assert not any(secret in repr(account) for secret in SECRETS)
    if account.sas:
        assert account.sas == SAS
    if account.key:
        assert account.name == "lab"


@pytest.mark.parametrize("name", ["az", "abfs"])
def test_what_is_configured_for_fsspec_signs(name, monkeypatch):
    mine = {"account_name": "lab", "account_key": KEY, "account_host": "lab.example"}
    monkeypatch.setitem(conf, name, mine)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "other")
    account = account_of(Location.parse("az://c/x"))
    assert (account.endpoint, account.name) == ("https://lab.example", "lab")
    assert base64.b64encode(account.key).decode() == KEY
    credential = Credential(TOKEN)
    monkeypatch.setitem(conf, name, {"account_name": "lab", "credential": credential})
    assert run(account_of(Location.parse("az://c/x")).tokens.token()) == TOKEN
    monkeypatch.setitem(conf, name, {"account_name": "lab", "credential": KEY})
    assert account_of(Location.parse("az://c/x")).key == account.key


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CONNECTION_STRING", TOKEN),
        ("CONNECTION_STRING", f"UseDevelopmentStorage=true;AccountKey={TOKEN}"),
        ("ACCOUNT_KEY", f"{TOKEN}!"),
    ],
)
def test_a_sign_in_that_is_none_is_said_and_not_shown(name, text, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "lab")
    monkeypatch.setenv(f"AZURE_STORAGE_{name}", text)
    with pytest.raises(errors.OptionError) as raised:
        open_store(Location.parse("az://c/x"))
    assert TOKEN not in told(raised.value)


def test_who_writes_by_a_link_is_told_where_its_signature_belongs():
    link = Location.parse(f"az://c@lab.blob.core.windows.net/x?{SAS}")
    with pytest.raises(errors.OptionError) as raised:
        open_writable(link)
    assert "AZURE_STORAGE_SAS_TOKEN" in raised.value.action
    assert not any(secret in told(raised.value) for secret in SECRETS)


def test_without_an_account_it_is_said_how_to_name_it():
    for opening in (open_store, open_writable, open_lister):
        with pytest.raises(errors.SignInNeededError, match="which account"):
            opening(Location.parse("az://container/a.zarr"))


@pytest.mark.skipif(bool(find_spec("adlfs")), reason="adlfs is installed")
def test_a_cache_of_fsspecs_says_what_it_needs():
    with pytest.raises(errors.OptionError, match="needs adlfs") as raised:
        open_store(Location.parse(f"simplecache::az://{BOX}/x"))
    assert raised.value.action == "Run: pip install adlfs"


# What goes wrong

FAULTS = [
    (
        faults.s3_error(503, "ServerBusy", headers={"Retry-After": "0"}),
        "ServerBusyError",
    ),
    (faults.Status(429, headers={"Retry-After": "0"}), "ServerBusyError"),
    (faults.s3_error(500, "OperationTimedOut"), "ServerError"),
    (faults.Truncated(3), "TruncatedBodyError"),
    (faults.Dropped(), "StoreConnectionError"),
    (faults.s3_error(403, "AuthorizationFailure"), "AccessDeniedError"),
    (faults.s3_error(409, "PublicAccessNotPermitted"), "SignInNeededError"),
    (faults.s3_error(401, "NoAuthenticationInformation"), "SignInNeededError"),
    (faults.s3_error(409, "BlobArchived"), "AccessDeniedError"),
    (
        faults.Status(404, b"<html>", {"x-ms-error-code": "ContainerNotFound"}),
        "BucketNotFoundError",
    ),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS, ids=lambda each: str(each)[:40])
def test_a_failure_that_lasts_is_an_error_and_one_that_heals_is_none(
    fault, kind, azure, writable
):
    azure.blobs["ä b/a"], azure.etags["ä b/a"] = BODY, '"1"'
    azure.fault("*", fault, forever=True)
    with pytest.raises(errors.StoreError) as raised:
        run(writable.read("a"))
    assert type(raised.value).__name__ == kind
    assert not any(secret in told(raised.value) for secret in SECRETS)
    tried = len(azure.requests)
    azure.clear()
    azure.fault("*", fault)
    if tried == 1:
        return
    assert tried >= QUICK.tries  # aiohttp itself asks again where nothing came
    assert body_of(writable, "a") == BODY
    assert len(azure.requests) == 2


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ({"key": base64.b64encode(b"s1gnature").decode()}, "KeyNotAcceptedError"),
        ({"sas": "sig=s1gnature"}, "KeyNotAcceptedError"),
        ({"sas": f"{SAS}&ended=1"}, "SignInExpiredError"),
    ],
)
def test_a_sign_in_that_is_no_good_is_said_and_not_shown(how, kind, azure, monkeypatch):
    sign_in(monkeypatch, azure, **how)
    with pytest.raises(errors.AccessDeniedError) as raised:
        read_layers(PLACE)
    assert type(raised.value).__name__ == kind
    assert "AZURE_STORAGE" in raised.value.action
    assert not any(secret in told(raised.value) for secret in SECRETS)


@pytest.mark.parametrize("how", [{}, {"sas": SAS}])
@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_no_other_host_gets_a_sign_in_or_a_body(
    how, code, azure, http_server, monkeypatch
):
    sign_in(monkeypatch, azure, **how)
    writable = open_writable(Location.parse(PLACE), retry=QUICK)
    azure.fault("*", faults.redirect(f"{http_server.url}/x", code), forever=True)
    for asked in (writable.read("a"), writable.put("a", BODY), run_all(writable)):
        with pytest.raises(errors.StoreError):
            run(asked)
    assert http_server.requests == []


async def run_all(writable):
    return [each async for each in writable.objects()]


def test_a_stopped_read_ends_its_requests(azure, writable):
    azure.fault("*", faults.Stalled(), forever=True)

    async def stop():
        reading = asyncio.ensure_future(writable.read("a"))
        await asyncio.to_thread(azure.wait_for, 1)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    run(stop())
    azure.clear()
    azure.wait_until_idle()


# Whole images


def test_an_image_is_saved_edited_and_resumed(azure):
    place = f"az://{BOX}/a.ome.zarr"
    pixels = np.arange(4 * 60 * 60, dtype="u2").reshape(4, 60, 60)
    full = faults.s3_error(507, "InsufficientStorage")
    azure.fault("*/c/*", *[faults.Proceed()] * 5, *[full] * 60, method="PUT")
    options = {"axes": "zyx", "chunks": (1, 30, 30), "levels": 2}
    with pytest.raises(errors.DiskFullError):
        write_image(pixels, place, **options)
    assert not any(key.endswith("a.ome.zarr/zarr.json") for key in azure.blobs)
    azure.clear()
    write_image(pixels, place, unfinished="resume", **options)
    np.testing.assert_array_equal(read_layers(place)[0][0][0], pixels)
    with pytest.raises(errors.TargetExistsError):
        write_image(pixels, place, **options)
    before = pixels[:1, :9, :9]
    patch(place, (0, 0, 0), before + 1, original=before)
    with pytest.raises(errors.ConflictError):
        patch(place, (0, 0, 0), before + 2, original=before)
    pixels[:1, :9, :9] += 1
    np.testing.assert_array_equal(read_layers(place)[0][0][0], pixels)
    assert {request.headers.get("if-match", "*")[:1] for request in azure.requests} > {
        '"'
    }


def test_a_zarr_store_over_a_container(azure, writable, tmp_path):
    store = WritableStore(writable)
    write_array(tmp_path / "a.zarr")
    expected = zarr.open_array(LocalStore(tmp_path / "a.zarr"), path="0", mode="r")
    array = zarr.create_array(store, name="b", data=expected[...], chunks=(2, 2))
    np.testing.assert_array_equal(array[...], expected[...])


# The signature is that of Azure's own library, where that is there.

words = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=9)


@settings(max_examples=60)
@given(
    method=st.sampled_from(["GET", "PUT", "DELETE", "HEAD"]),
    key=odd_keys,
    query=st.dictionaries(st.sampled_from(["comp", "marker", "prefix", "sv"]), words),
    headers=st.dictionaries(
        st.sampled_from(["Content-MD5", "Content-Type", "If-Match", "If-None-Match"])
        | st.sampled_from(["x-ms-blob-type", "x-ms-copy-source", "x-ms-version"])
        | st.sampled_from(["x-ms-blob-content-type"]),
        words.filter(bool),
    ),
    body=st.none() | st.binary(max_size=9),
)
def test_the_signature_is_that_of_azures_library(method, key, query, headers, body):
    shared = pytest.importorskip("azure.storage.blob._shared.authentication")
    from azure.core.pipeline import PipelineContext, PipelineRequest
    from azure.core.rest import HttpRequest

    from napari_omezarr.location import encode
    from napari_omezarr.store.object_store import query_of

    url = f"{HOST}/c/{encode(key)}?{query_of(query)}".rstrip("?")
    date = {"x-ms-date": "Fri, 27 Nov 2026 20:00:00 GMT"}
    ours = shared_key(Request(method, url, headers, body), date, NAME, b"secret")
    length = {"Content-Length": str(len(body))} if body else {}
    theirs = HttpRequest(method, url, headers={**headers, **date, **length})
    theirs.query = dict(
        pair.split("=", 1) for pair in query_of(query).split("&") if pair
    )
    secret = base64.b64encode(b"secret").decode()
    policy = shared.SharedKeyCredentialPolicy(NAME, secret)
    policy.on_request(PipelineRequest(theirs, PipelineContext(None)))
    assert ours == theirs.headers["Authorization"]
