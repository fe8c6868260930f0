"""Connections in their file, and keys that are never in it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import ClassVar

import keyring
import keyring.backend
import keyring.backends.chainer
import keyring.backends.fail
import keyring.errors
import numpy as np
import pytest

from napari_omezarr import errors, patch, read_layers, update_rendering, write_image
from napari_omezarr.browsing import EntryKind, Listing, list_buckets
from napari_omezarr.connections import (
    Bookmark,
    Connection,
    ConnectionFile,
    Keys,
    KeyStore,
    Profile,
    find_profile,
    key_store,
    locate,
    recent_places,
)
from napari_omezarr.demo.server import OWNER, READER
from napari_omezarr.location import Location
from napari_omezarr.store import open_store, run
from napari_omezarr.store.sign_in import KeptKeys
from napari_omezarr.user_files import Recents
from napari_omezarr.writing import read_origin
from quick_retries import QUICK
from servers.proxy import Proxy

LAB = Profile(
    "Lab",
    endpoint="https://minio.lab:9000",
    region="eu-1",
    style="path",
    sign_in="keys",
    ca_file="/etc/lab.pem",
    requester_pays=True,
    start="s3://data/2026",
)
PLANTED = Keys("PLANTED-KEY", "PLANTED-SECRET", "PLANTED-TOKEN")


class Keychain(keyring.backend.KeyringBackend):
    """A keychain in memory, as keyring has them; it can be locked."""

    priority = 5

    def __init__(self):
        super().__init__()
        self.held = {}
        self.locked = False

    def get_password(self, service, username):
        self._check()
        return self.held.get((service, username))

    def set_password(self, service, username, password):
        self._check()
        self.held[service, username] = password

    def delete_password(self, service, username):
        self._check()
        del self.held[service, username]

    def _check(self):
        if self.locked:
            raise keyring.errors.KeyringLocked


@pytest.fixture
def keychain(no_keychain):
    chain = Keychain()
    keyring.set_keyring(chain)
    return chain


def test_connections_are_kept_in_a_readable_file():
    saved = ConnectionFile()
    assert saved.connections() == ()
    connection = Connection(LAB, (Bookmark("cells", "s3://data/a.zarr", "two"),))
    saved.save(connection)
    saved.save(Connection(Profile("Other", sign_in="anonymous")))
    assert ConnectionFile().connections() == (
        connection,
        Connection(Profile("Other", sign_in="anonymous")),
    )
    rows = json.loads(saved.file.read_text())["connections"]
    assert rows[1] == {"name": "Other", "style": "auto", "sign_in": "anonymous"}


def test_a_connection_is_renamed_in_its_place_and_keeps_its_keys():
    saved = ConnectionFile()
    for name in ("a", "Lab", "c"):
        saved.save(Connection(Profile(name)))
    key_store().keep("Lab", PLANTED)
    saved.save(Connection(Profile("Other")), instead_of="Lab")
    assert [c.name for c in saved.connections()] == ["a", "Other", "c"]
    assert key_store().find("Other") == PLANTED
    assert key_store().find("Lab") is None
    saved.remove("Other")
    assert [c.name for c in saved.connections()] == ["a", "c"]
    assert key_store().find("Other") is None


def test_a_bookmark_is_bound_to_its_connection():
    saved = ConnectionFile()
    saved.save(Connection(LAB))
    saved.bookmark("Lab", Bookmark("old name", "s3://data/a.zarr"))
    saved.bookmark("Lab", Bookmark("cells", "s3://data/a.zarr"))
    saved.bookmark("nobody", Bookmark("x", "s3://data/b.zarr"))
    assert [c.bookmarks for c in saved.connections()] == [
        (Bookmark("cells", "s3://data/a.zarr"),)
    ]


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"connections": 3}', '{"connections": [1, {}, {"name": ""}]}'],
)
def test_a_broken_file_holds_no_connection(content):
    saved = ConnectionFile()
    saved.file.write_text(content)
    assert saved.connections() == ()


def test_what_is_wrong_in_a_row_is_left_out():
    saved = ConnectionFile()
    row = {
        "name": "Lab",
        "style": "odd",
        "sign_in": 3,
        "region": 4,
        "requester_pays": "yes",
        "bookmarks": [1, {"address": "ftp://x"}, {"address": "s3://a/b", "note": 1}],
    }
    saved.file.write_text(json.dumps({"connections": [row]}))
    assert saved.connections() == (
        Connection(Profile("Lab"), (Bookmark("s3://a/b", "s3://a/b"),)),
    )


def test_a_profile_is_found_among_connections_and_then_in_aws():
    ConnectionFile().save(Connection(LAB))
    assert find_profile("Lab") == LAB
    assert find_profile("other") == Profile("other", aws_profile="other")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://data/a.zarr", "s3+https://minio.lab:9000/data/a.zarr"),
        ("https://minio.lab:9000/data/a.zarr", "s3+https://minio.lab:9000/data/a.zarr"),
        ("data/a.zarr", "s3+https://minio.lab:9000/data/a.zarr"),
    ],
)
def test_an_address_of_a_connection_is_bound_to_it(text, address):
    location = locate(text, LAB)
    assert str(location) == f"{address}|region:eu-1|profile:Lab"
    assert Connection(LAB).locate(text) == location


@pytest.mark.parametrize(
    "text",
    [
        "https://elsewhere.org/a.zarr",
        "s3+https://elsewhere.org/data/a.zarr",
        "s3://data/a.zarr|profile:Other",
        "https://minio.lab:9000/data/a.zarr?X-Amz-Signature=1",
    ],
)
def test_an_address_of_elsewhere_is_left_alone(text):
    assert locate(text, LAB) == Location.parse(text)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("https://minio.lab:9000/", "https://minio.lab:9000"),
        ("MINIO.lab", "https://minio.lab"),
        ("", None),
    ],
)
def test_an_endpoint_is_spelled_as_in_addresses(typed, kept):
    saved = ConnectionFile()
    saved.save(Connection(Profile("Lab", endpoint=typed, region="")))
    (found,) = saved.connections()
    assert (found.profile.endpoint, found.profile.region) == (kept, None)


@pytest.mark.parametrize(
    "typed",
    [{"endpoint": "ftp://x"}, {"endpoint": "https://a/b"}, {"start": "ftp://y"}],
)
def test_what_is_no_address_is_not_kept(typed):
    with pytest.raises(errors.LocationError):
        ConnectionFile().save(Connection(Profile("Lab", **typed)))
    assert ConnectionFile().connections() == ()


def test_what_was_opened_last_is_bound_to_its_connection():
    ConnectionFile().save(Connection(LAB))
    recents = Recents()
    recents.add(Location.parse("s3://data/other.zarr"))
    recents.add(locate("data/a.zarr", LAB))
    assert [r.address for r in recent_places(LAB)] == [
        "s3+https://minio.lab:9000/data/a.zarr|region:eu-1|profile:Lab"
    ]
    assert recent_places(Profile("Other"), recents) == ()


def test_a_connection_without_a_name_leaves_its_settings_in_the_address():
    open_to_all = Profile("", endpoint="https://s3.embl.de", sign_in="anonymous")
    assert str(locate("s3://data/x", open_to_all)) == (
        "s3+https://s3.embl.de/data/x|anonymous:true"
    )


def test_without_a_keychain_keys_live_until_the_process_ends():
    keys = KeyStore()
    assert not keys.is_lasting
    assert "until napari closes" in keys.sentence
    assert not keys.keep("Lab", PLANTED)
    assert keys.find("Lab") == PLANTED
    assert KeyStore().find("Lab") is None
    keys.forget("Lab")
    assert keys.find("Lab") is None


def test_with_a_keychain_keys_outlive_the_process(keychain):
    assert KeyStore().is_lasting
    assert "keychain" in KeyStore().sentence
    assert KeyStore().keep("Lab", PLANTED)
    assert KeyStore().find("Lab") == PLANTED
    KeyStore().forget("Lab")
    KeyStore().forget("Lab")
    assert KeyStore().find("Lab") is None
    assert keychain.held == {}


class PlainFile(Keychain):
    """A backend that writes what it gets into a file for everybody to read."""

    priority = 0.5


def test_a_chain_is_no_better_than_what_it_writes_to(no_keychain):
    class Chain(keyring.backends.chainer.ChainerBackend):
        priority = 10
        backends: ClassVar = [PlainFile(), PlainFile()]

    keyring.set_keyring(Chain())
    assert not KeyStore().is_lasting
    assert not KeyStore().keep("Lab", PLANTED)
    assert not any(backend.held for backend in Chain.backends)
    Chain.backends = [Keychain(), PlainFile()]
    assert KeyStore().keep("Lab", PLANTED)
    assert [len(backend.held) for backend in Chain.backends] == [1, 0]


def test_a_locked_keychain_is_as_none(keychain):
    keychain.locked = True
    keys = KeyStore()
    assert not keys.keep("Lab", PLANTED)
    assert keys.find("Lab") == PLANTED
    assert keys.find("other") is None
    keys.forget("Lab")
    assert keys.find("Lab") is None


@pytest.mark.parametrize("content", ["{", "3", '["a"]'])
def test_what_another_program_left_in_the_keychain_is_no_key(keychain, content):
    keychain.held["napari-omezarr", "Lab"] = content
    assert KeyStore().find("Lab") is None


def test_no_key_is_in_a_repr_or_in_the_file():
    ConnectionFile().save(Connection(LAB))
    key_store().keep("Lab", PLANTED)
    assert (
        "PLANTED"
        not in repr(PLANTED) + repr(key_store()) + ConnectionFile().file.read_text()
    )


def test_no_signature_is_in_the_file():
    signed = "https://me:PLANTED@host/a.zarr?X-Amz-Signature=PLANTED"
    saved = ConnectionFile()
    saved.save(Connection(Profile("a", start=signed), (Bookmark("x", signed),)))
    assert "PLANTED" not in saved.file.read_text()
    (found,) = saved.connections()
    assert found.profile.start == "https://host/a.zarr"
    assert found.bookmarks == (Bookmark("x", "https://host/a.zarr"),)


def test_typed_keys_sign_in(s3_server):
    s3_server.put("private/test-keys/zarr.json", b"{}")
    profile = Profile("reader", endpoint=s3_server.endpoint, sign_in="keys")
    ConnectionFile().save(Connection(profile))
    location = locate("s3://private/test-keys", profile)
    store = open_store(location, retry=QUICK)
    answer = store.fetch(["zarr.json"])["zarr.json"]
    assert isinstance(answer, errors.SignInNeededError)
    assert "Type it again" in str(answer)
    key_store().keep("reader", Keys(READER.key, READER.secret))
    store = open_store(location, retry=QUICK)
    assert store.fetch(["zarr.json"]) == {"zarr.json": b"{}"}
    rows = Listing(location, files=True).more().result(60).entries
    assert [row.name for row in rows] == ["zarr.json"]
    key_store().keep("reader", Keys(READER.key, "PLANTED-SECRET"))
    wrong = open_store(location, retry=QUICK).fetch(["zarr.json"])["zarr.json"]
    assert isinstance(wrong, errors.KeyNotAcceptedError)
    assert "PLANTED" not in str(wrong) + repr(wrong)


def test_what_a_connection_opened_is_edited_by_it(s3_server, s3_prefix):
    profile = Profile("owner", endpoint=s3_server.endpoint, sign_in="keys")
    ConnectionFile().save(Connection(profile))
    key_store().keep("owner", Keys(OWNER.key, OWNER.secret))
    location = locate(f"s3://private/{s3_prefix}/a.ome.zarr", profile)
    write_image(np.zeros((8, 8), np.uint8), location, "yx")
    (layer,) = read_layers(location)
    layer[1]["name"] = "DAPI"
    assert update_rendering([layer]) == ("DAPI",)
    record = layer[1]["metadata"]["omezarr"]
    patch(read_origin(record).place, (2, 3), np.full((1, 1), 7, np.uint8))
    (again,) = read_layers(location)
    assert again[1]["name"] == "DAPI"
    assert np.asarray(again[0])[2, 3] == 7
    assert OWNER.secret not in repr(record)


def test_requester_pays_is_said_in_each_signed_request(s3_server):
    profile = Profile(
        "reader", endpoint=s3_server.endpoint, sign_in="keys", requester_pays=True
    )
    s3_server.put("private/test-pays/zarr.json", b"{}")
    key_store().keep("reader", Keys(READER.key, READER.secret))
    with Proxy(s3_server.endpoint) as proxy:
        profile = replace(profile, endpoint=proxy.url)
        place = Location.parse("s3://private/test-pays")
        store = open_store(place, profile=profile, retry=QUICK)
        assert store.fetch(["zarr.json"]) == {"zarr.json": b"{}"}
        (request,) = proxy.requests
    assert request.headers["x-amz-request-payer"] == "requester"
    assert "x-amz-request-payer" in request.headers["authorization"]


def test_the_buckets_of_a_connection_are_listed_if_its_sign_in_may(s3_server):
    profile = Profile("reader", endpoint=s3_server.endpoint, sign_in="keys")
    ConnectionFile().save(Connection(profile))
    key_store().keep("reader", Keys(OWNER.key, OWNER.secret))
    rows = {entry.name: entry for entry in run(list_buckets(profile))}
    assert {"public", "private"} <= set(rows)
    assert rows["private"].kind is EntryKind.BUCKET
    assert rows["private"].location == locate("s3://private", profile)
    assert Listing(rows["private"]).more().result(60).here.kind is EntryKind.BUCKET


def test_typed_keys_are_looked_up_once_and_again_when_they_change():
    chain = KeptKeys("lab")
    key_store().hold("lab", Keys("first", "secret"))
    found = run(chain.credentials())
    assert found.access_key == "first"
    assert run(chain.credentials()) is found
    key_store().hold("lab", Keys("second", "secret"))
    assert run(chain.credentials()).access_key == "second"
    key_store().forget("lab")
    assert isinstance(run(chain.credentials()), errors.SignInNeededError)
