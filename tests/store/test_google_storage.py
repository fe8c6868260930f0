"""Google's storage by our own requests: signed or not, versions, pages, pieces."""

from __future__ import annotations

import gzip
import json
import math
import pickle
import threading
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import zarr
from fsspec.config import conf
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr import errors
from napari_omezarr._io_loop import start
from napari_omezarr.browsing import Listing
from napari_omezarr.location import Location
from napari_omezarr.store import (
    WritablePlace,
    google_sign_in,
    open_lister,
    open_store,
    open_writable,
    run,
    set_disk_cache,
)
from napari_omezarr.store.backend import PIECE, PutMode
from napari_omezarr.store.error_mapping import google_failure
from napari_omezarr.store.google_sign_in import GoogleSignIn
from napari_omezarr.store.google_storage import GoogleReader, GoogleWriter
from napari_omezarr.store.store import RemoteStore
from quick_retries import PIXELS, QUICK, write_image
from servers import faults
from servers.google import GoogleStorage, google_error
from servers.http import FileServer

TOKEN = "PLANTED-T0KEN"
BODY = b"some bytes"
LONG = bytes(range(256)) * (33 << 12)


@pytest.fixture
def google(monkeypatch):
    """A service that is the person's own, and asks for a token."""
    with GoogleStorage() as server:
        server.tokens = {TOKEN: "rwl"}
        monkeypatch.setitem(
            conf, "gs", {"token": TOKEN, "endpoint_url": server.url, "project": "p"}
        )
        yield server


@pytest.fixture
def place(google):
    return Location.parse(google.place("ä b/a.zarr"))


@pytest.fixture
def writable(place) -> WritablePlace:
    return open_writable(place, retry=QUICK)


@pytest.fixture
def image(google, tmp_path, place):
    """An image in the bucket, as others wrote it."""
    folder = write_image(tmp_path / "a.zarr", shards=True)
    put_files(google, folder, place)
    return place


def put_files(google, folder, place):
    run(put_all(open_writable(place), folder))
    google.clear()


async def put_all(writable, folder):
    for file in folder.rglob("*"):
        if file.is_file():
            await writable.put(file.relative_to(folder).as_posix(), file.read_bytes())


def fetched(location, key="zarr.json", **options):
    return open_store(location, retry=QUICK, **options).fetch([key])[key]


def body_of(writable, key):
    held = run(writable.read(key))
    return None if held is None else held.body


async def keys(writable, prefix=""):
    return [(each.name, each.size) async for each in writable.objects(prefix)]


def signed(request):
    return request.headers.get("authorization") == f"Bearer {TOKEN}"


# Objects.


def test_objects_come_and_go(writable, google):
    assert body_of(writable, "a") is None
    assert not run(writable.holds())
    for key in ("a", "c/0/1", "cc"):
        run(writable.put(key, BODY))
        assert body_of(writable, key) == BODY
    assert run(keys(writable, "c")) == [("c/0/1", 10)]
    assert run(writable.holds("c"))
    run(writable.delete("a"))
    run(writable.delete("a"))
    assert body_of(writable, "a") is None
    assert all(map(signed, google.requests))


@pytest.fixture(scope="module")
def shared():
    with GoogleStorage() as server:
        server.tokens = {TOKEN: "rwl"}
        yield server


@settings(max_examples=60)
@given(
    st.lists(
        st.text(st.sampled_from("ab/.+ %&=#?~'\"\\:@,;[]ü漢\t"), min_size=1).filter(
            lambda key: key.strip("/") not in ("", ".", "..")
        ),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
def test_any_key_is_written_read_listed_copied_and_deleted(shared, written):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(conf, "gs", {"token": TOKEN, "endpoint_url": shared.url})
        writable = open_writable(Location.parse(shared.place("x %41")), retry=QUICK)
        for key in written:
            run(writable.put(key, key.encode()))
        names = {f"x A/{key}" for key in written}
        assert set(shared.keys()) == names
        listed = {name for name, _ in run(keys(writable))}
        assert listed == set(written)
        for key in written:
            assert body_of(writable, key) == key.encode()
            run(writable.copy(key, "copied", 1))
            assert body_of(writable, "copied") == key.encode()
            run(writable.delete(key))
        run(writable.delete("copied"))
        assert shared.keys() == []


def test_an_image_takes_one_request_for_each_object(image, google):
    store = open_store(image, retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    assert (array[...] == PIXELS).all()
    assert {request.method for request in google.requests} == {"GET"}
    asked = [r.path.rpartition("/o/")[2] for r in google.requests if not r.range]
    assert len(asked) == len(set(asked))
    assert all("alt=media" in request.query for request in google.requests)
    assert all(map(signed, google.requests))
    assert store._backend.stats.requests == len(google.requests)


def test_parts_of_an_object_are_of_one_generation(image, google):
    store = open_store(image, retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    assert (array[:2, :2] == PIXELS[:2, :2]).all()
    (objects,) = google.buckets.values()
    for stored in objects.values():
        stored.generation += 1
    with pytest.raises(errors.ObjectChangedError):
        array[2:4, :2]


def test_what_is_stored_packed_is_read_right(image, google):
    """Google unpacks it, and then sends it whole, whatever part is asked for."""
    (objects,) = google.buckets.values()
    packed = [f"{image.path}/zarr.json", f"{image.path}/0/c/0/0"]
    for key in packed:
        objects[key].body = gzip.compress(objects[key].body)
        objects[key].is_packed = True
    store = open_store(image, retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    for part in (np.s_[:2, :2], np.s_[...]):
        np.testing.assert_array_equal(array[part], PIXELS[part])
    part = run(store.read("zarr.json", zarr.abc.store.RangeByteRequest(1, 5)))
    assert store.fetch(["zarr.json"])["zarr.json"][1:5] == part.body
    assert store.notes == ()  # that this host knew no parts


def test_the_version_of_an_object_is_its_generation(image, google):
    store = open_store(image, retry=QUICK)
    (objects,) = google.buckets.values()
    stored = objects[f"{image.path}/zarr.json"]
    assert run(store.version("zarr.json")) == str(stored.generation)


def test_what_is_on_the_disk_is_only_confirmed(cache, image, google):
    set_disk_cache(cache, max_age=0)
    first = fetched(image)
    google.clear()
    assert fetched(image) == first
    (request,) = google.requests
    assert request.status == 304


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (zarr.abc.store.RangeByteRequest(2, 5), BODY[2:5]),
        (zarr.abc.store.OffsetByteRequest(4), BODY[4:]),
        (zarr.abc.store.SuffixByteRequest(3), BODY[-3:]),
        (zarr.abc.store.RangeByteRequest(8, 99), BODY[8:]),
    ],
)
def test_parts(wanted, expected, writable, google):
    run(writable.put("a", BODY))
    google.clear()
    assert run(writable.read("a", wanted)).body == expected
    assert len(google.requests) == 1


# Who signs in, and who does not.


def test_nobody_else_is_told_the_token(image, google, tmp_path):
    with FileServer(tmp_path) as other:
        for code in (301, 302, 307, 308):
            google.clear()
            google.fault("*", faults.redirect(f"{other.url}/x", code), forever=True)
            writable = open_writable(image, retry=QUICK)
            for work in (writable.put("a", b"1"), writable.delete("a")):
                with pytest.raises(errors.StoreError):
                    run(work)
            assert isinstance(fetched(image), errors.StoreError)
            assert google.requests
        assert other.requests == []


def test_a_host_that_only_a_text_names_is_told_no_token(google):
    with GoogleStorage() as other:
        text = f"gs+{other.url}/{other.place()[5:]}"
        for anonymous in (None, True):
            place = Location.parse(text, anonymous=anonymous)
            assert fetched(place) is None
        run(open_writable(place, retry=QUICK).put("a", BODY))
        other.tokens = {"": "r"}
        with pytest.raises(errors.ListingDeniedError):
            run(open_lister(place, retry=QUICK).page())
        sent = b"".join(request.raw for request in other.requests)
    assert TOKEN.encode() not in sent
    assert google.requests == []


def test_a_default_sign_in_goes_over_no_open_line(monkeypatch):
    with GoogleStorage() as server:
        server.tokens = {"": "r"}
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url.removeprefix("http://"))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", __file__)
        assert isinstance(
            fetched(Location.parse(server.place())), errors.SignInNeededError
        )
        assert "authorization" not in server.requests[0].headers


def test_an_anonymous_place_signs_nothing(google, image):
    google.tokens[""] = "r"
    assert isinstance(fetched(Location.parse(image, anonymous=True)), bytes)
    assert "authorization" not in google.requests[-1].headers


def test_the_payer_is_named_only_if_that_was_configured(google, image):
    google.payer = "p"
    error = fetched(image)
    assert isinstance(error, errors.AccessDeniedError)
    assert "pays" in error.sentence
    assert "requester_pays" in error.action
    for payer in (True, "p"):
        conf["gs"] = {**conf["gs"], "requester_pays": payer}
        assert isinstance(fetched(image), bytes)


@pytest.mark.parametrize(
    ("set_to", "expected"),
    [
        ({"GOOGLE_APPLICATION_CREDENTIALS": "/a/key.json"}, "/a/key.json"),
        ({"CLOUDSDK_CONFIG": "/b"}, "/b/application_default_credentials.json"),
    ],
)
def test_where_a_sign_in_of_programs_lies(set_to, expected, monkeypatch):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    for name, value in set_to.items():
        monkeypatch.setenv(name, value)
    assert google_sign_in._credentials_file() == Path(expected)


@pytest.mark.parametrize(
    ("said", "endpoint"),
    [
        ({"universe_domain": "cloud.example"}, "https://storage.cloud.example"),
        ({"universe_domain": None}, "https://storage.googleapis.com"),
        ([], "https://storage.googleapis.com"),
        ("no key at all", "https://storage.googleapis.com"),
    ],
)
@pytest.mark.parametrize("how", ["default", "file", "dict"])
def test_the_cloud_is_the_one_that_the_key_is_of(
    how, said, endpoint, tmp_path, monkeypatch
):
    file = tmp_path / "key.json"
    file.write_text(json.dumps(said))
    token = {"default": None, "file": str(file), "dict": said}[how]
    if how == "default":
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setitem(conf, "gs", {"token": token})
    assert google_sign_in.google_endpoint() == endpoint
    monkeypatch.setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "other.example")
    assert google_sign_in.google_endpoint() == "https://storage.other.example"


@pytest.mark.parametrize(
    ("product", "set_to", "expected"),
    [
        ("Google Compute Engine\n", {}, True),
        ("Google Compute Engine\n", {"NO_GCE_CHECK": "true"}, False),
        ("Latitude 7490\n", {}, False),
        ("Latitude 7490\n", {"GCE_METADATA_HOST": "127.0.0.1"}, True),
        (None, {"K_SERVICE": "service"}, True),
        (None, {"CLOUD_RUN_JOB": "job"}, True),
        (None, {}, False),
    ],
)
def test_only_computers_of_google_know_who_they_are(
    product, set_to, expected, tmp_path, monkeypatch
):
    for name in (*google_sign_in._GOOGLES, "NO_GCE_CHECK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in set_to.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "product_name"
    if product:
        file.write_text(product)
    monkeypatch.setattr(google_sign_in, "_PRODUCT", file)
    assert google_sign_in._is_at_google() is expected


class Credentials:
    """As google-auth has them, while they are valid."""

    valid = True
    expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)

    def apply(self, headers):
        headers["authorization"] = f"Bearer {TOKEN}"


def test_credentials_of_a_script_sign_in(google, image):
    conf["gs"] = {**conf["gs"], "token": Credentials()}
    assert isinstance(fetched(image), bytes)


class Tokens:
    """Gives tokens that are good, or are not, or none; counts how often."""

    def __init__(self, *tokens):
        self.tokens, self.asked = list(tokens), 0
        self.answering = threading.Lock()

    def __call__(self, renew):
        with self.answering:
            self.asked += 1
            said = self.tokens[0] if len(self.tokens) == 1 else self.tokens.pop(0)
        if isinstance(said, Exception):
            raise said
        return {"Authorization": f"Bearer {said}"}, math.inf


def read_with(google, place, tokens, keys=("zarr.json",)):
    backend = GoogleReader(place, QUICK, GoogleSignIn(tokens))
    store = RemoteStore(place, backend, retry=QUICK, concurrency=64, again=lambda: None)
    return store, store.fetch(list(keys))


def test_of_all_whose_token_has_ended_one_asks_for_a_newer_one(image, google):
    tokens = Tokens("ended", TOKEN)
    keys = ["zarr.json", "0/zarr.json", *(f"0/c/{n}/{n}" for n in range(2))]
    _, found = read_with(google, image, tokens, keys)
    assert all(isinstance(body, bytes) for body in found.values())
    assert tokens.asked == 2
    assert len(google.requests) <= 2 * len(keys)


@pytest.mark.parametrize("tokens", [("ended",), ("ended", "ended too")])
def test_a_token_that_is_not_accepted_is_said_to_be_that(tokens, image, google):
    _, found = read_with(google, image, Tokens(*tokens))
    error = found["zarr.json"]
    assert type(error) is errors.SignInExpiredError
    assert "gcloud auth" in error.action
    assert "ended too" not in repr(error)


class TransportError(Exception):
    """As google-auth calls what it raises."""


class RefreshError(Exception):
    """The same."""


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (TransportError(TOKEN), errors.StoreConnectionError),
        (RefreshError(TOKEN), errors.SignInExpiredError),
        (ValueError(TOKEN), errors.SignInNeededError),
        (OSError(TOKEN), errors.SignInNeededError),
    ],
)
def test_a_sign_in_that_fails(failure, kind, image, google):
    """What is open to everybody is read all the same; all else says what is wrong."""
    _, found = read_with(google, image, Tokens(failure))
    assert type(found["zarr.json"]) is kind
    google.tokens[""] = "r"
    store, found = read_with(google, image, Tokens(failure), ["zarr.json", "nothing"])
    assert isinstance(found["zarr.json"], bytes)
    assert any("is read without signing in" in note for note in store.notes)
    assert TOKEN not in repr(found) + repr(store.notes)
    writer = GoogleWriter(image, QUICK, GoogleSignIn(Tokens(failure)))
    google.clear()
    with pytest.raises(kind):
        run(WritablePlace(image, writer, QUICK, lambda: None).put("a", BODY))
    assert google.requests == []


def test_who_has_no_access_reads_what_is_open_to_everybody(image, google):
    google.tokens = {TOKEN: "", "": "rl"}
    store = open_store(image, retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    assert (array[...] == PIXELS).all()
    (note,) = store.notes
    assert "gives no access here" in note
    assert "is read without signing in" in note
    assert sum(map(signed, google.requests)) < 4
    google.tokens = {TOKEN: "r", "": "r"}
    found = open_store(image, retry=QUICK)
    assert isinstance(found.fetch(["zarr.json"])["zarr.json"], bytes)
    google.tokens = {TOKEN: "", "": "rl"}
    error = found.fetch(["0/zarr.json"])["0/zarr.json"]
    assert isinstance(error, errors.AccessDeniedError)  # what is known is not doubted
    google.tokens = {TOKEN: "", "": ""}
    assert type(fetched(image)) is errors.AccessDeniedError


def test_no_token_is_shown(image, google, writable):
    store = open_store(image, retry=QUICK)
    google.tokens = {TOKEN: ""}
    found = [store.fetch(["zarr.json"])["zarr.json"]]
    for work in (
        writable.put("a", BODY),
        writable.delete("a"),
        writable.put("a", LONG),
    ):
        with pytest.raises(errors.AccessDeniedError) as caught:
            run(work)
        found.append(caught.value)
    assert all(isinstance(each, errors.AccessDeniedError) for each in found)
    kept = pickle.dumps((store, writable))
    backend = vars(store._backend)
    assert TOKEN not in f"{found!r} {store!r} {writable!r} {kept!r} {backend!r}"


# Where nothing was written, and where nobody may look.


@pytest.mark.parametrize("who", ["", TOKEN])
def test_what_was_never_written_where_nobody_may_list(who, image, google):
    (objects,) = google.buckets.values()
    del objects[f"{image.path}/0/c/1/1"]
    google.tokens = {who: "r"}
    location = Location.parse(image, anonymous=True) if not who else image
    store = open_store(location, retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    expected = PIXELS.copy()
    expected[4:, 4:] = 0
    assert (array[...] == expected).all()
    lists = [request for request in google.requests if request.path.endswith("/o")]
    assert len(lists) == 1 + bool(who)  # to learn that nothing may be listed


@pytest.mark.parametrize(
    "refusal",
    [
        google_error(403, "forbidden", "Request is prohibited by a policy."),
        google_error(403, "insufficientPermissions", "Insufficient scopes."),
        google_error(401, "required", "Login Required"),
        faults.Status(401, b"<html>Sign in to the network</html>"),
        faults.Status(403, b"<html>Blocked</html>"),
    ],
    ids=["policy", "scopes", "nobody", "portal", "firewall"],
)
@pytest.mark.parametrize("who", ["", TOKEN])
def test_what_is_refused_is_no_pixels(refusal, who, image, google):
    """Not even where missing objects are refused, too: that is said in other words."""
    google.tokens = {who: "r"}
    location = image if who else Location.parse(image, anonymous=True)
    store = open_store(location, retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    google.fault("*/c/*", refusal, forever=True)
    with pytest.raises((errors.AccessDeniedError, errors.SignInNeededError)):
        array[...]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (google_error(429, "rateLimitExceeded"), errors.ServerBusyError),
        (google_error(403, "userRateLimitExceeded"), errors.ServerBusyError),
        (google_error(503, "backendError"), errors.ServerBusyError),
        (google_error(500, "backendError"), errors.ServerError),
        (google_error(403, "forbidden"), errors.AccessDeniedError),
        (google_error(403, "quotaExceeded"), errors.DiskFullError),
        (google_error(403, "retentionPolicyNotMet"), errors.ReadOnlyError),
        (google_error(403, "objectUnderActiveHold"), errors.ReadOnlyError),
        (google_error(400, "invalid"), errors.ServerError),
        (faults.Dropped(), errors.StoreConnectionError),
        (faults.Status(502, b"<html>planted</html>"), errors.ServerError),
    ],
)
def test_what_does_not_pass_is_said_in_our_words(fault, kind, writable, google):
    run(writable.put("a", BODY))
    google.fault("*", fault, forever=True)
    for work in (writable.put("a", b"2"), writable.read("a"), writable.delete("a")):
        with pytest.raises(kind) as caught:
            run(work)
        assert "planted" not in str(caught.value)


@pytest.mark.parametrize("work", ["read", "put", "list"])
def test_a_bucket_that_is_not_there_is_said_to_be_that(work, google):
    place = Location.parse("gs://nowhere/a.zarr")
    writable = open_writable(place, retry=QUICK)
    works = {"put": lambda: writable.put("a", BODY), "list": lambda: keys(writable)}
    with pytest.raises(errors.BucketNotFoundError, match="nowhere"):
        run(works.get(work, lambda: open_store(place).read("a"))())


@pytest.mark.parametrize(
    "fault",
    [
        google_error(429, "rateLimitExceeded"),
        google_error(500, "backendError"),
        faults.Dropped(),
        faults.Lost(),
        faults.Truncated(3),
    ],
)
def test_passing_failures_are_tried_again(fault, writable, google):
    for method in ("POST", "GET", "DELETE"):
        google.fault("*", fault, fault, method=method)
    run(writable.put("a", BODY))
    assert body_of(writable, "a") == BODY
    assert run(keys(writable)) == [("a", 10)]
    run(writable.delete("a"))
    assert run(keys(writable)) == []


def test_what_the_service_says_of_waiting_is_heard():
    busy = google_error(429, "rateLimitExceeded")
    headers = {"Retry-After": "7"}
    failure = google_failure(busy.code, headers, busy.body, signed=True)
    assert failure.transient
    assert failure.retry_after == 7


@pytest.mark.parametrize("code", [300, 301, 304, 308, 404, 410, 412, 416, 418, 499])
def test_what_is_no_success_is_none(code, writable, google):
    """Nothing is taken for written or deleted because of an answer that is odd."""
    run(writable.put("a", BODY))
    google.fault("*", faults.Status(code), forever=True)
    works = [
        writable.put("a", b"2"),
        writable.put("a", LONG),
        writable.copy("a", "b", 1),
    ]
    works += [] if code == 404 else [writable.delete("a")]
    for work in works:
        with pytest.raises(errors.StoreError):
            run(work)
    google.clear()
    assert google.keys() == ["ä b/a.zarr/a"]


def test_a_copy_that_never_ends_does(writable, google, monkeypatch):
    monkeypatch.setattr("napari_omezarr.store.google_storage._MOST_STEPS", 9)
    run(writable.put("a", BODY))
    again = faults.Status(200, b'{"done": false, "rewriteToken": "x"}')
    google.fault("*", again, forever=True)
    with pytest.raises(errors.ServerError):
        run(writable.copy("a", "b", 1))


# Conditions: by generations, as no other is known here for writing.


def test_a_document_is_replaced_only_as_it_was_read(writable, google):
    assert run(writable.holds_conditions())
    google.clear()
    assert run(writable.replace("a", b"1", None))
    assert not run(writable.replace("a", b"2", None))
    first = run(writable.read("a"))
    assert run(writable.replace("a", b"2", first))
    assert not run(writable.replace("a", b"3", first))
    assert body_of(writable, "a") == b"2"
    reads = [request for request in google.requests if request.method == "GET"]
    assert len(reads) == 2 + 2  # ours, and after each refusal to see what is there
    assert all(r.headers["cache-control"] == "no-cache" for r in reads)


@pytest.mark.parametrize("known", [True, False])
def test_a_lost_answer_to_a_conditional_write_is_no_conflict(known, writable, google):
    google.fault("*", faults.Lost(), method="POST")
    if known:
        google.fault("*", google_error(412, "conditionNotMet"), method="POST")
    assert run(writable.replace("a", BODY, None))
    assert body_of(writable, "a") == BODY


@pytest.mark.parametrize("etag", ["", '"abc"', '"000"', "0", "CJj+x=="])
def test_an_etag_of_somebody_else_is_never_there(etag, writable, google):
    run(writable.put("a", BODY))
    assert run(writable._conditional("a", b"2", PutMode(etag))) is False
    assert body_of(writable, "a") == BODY


# Long objects, copies and lists.


def test_a_long_object_goes_in_pieces(writable, google):
    busy = google_error(503, "backendError")
    google.fault("*", faults.Dropped(), faults.Proceed(), faults.Lost(), method="PUT")
    google.fault("*", busy, method="PUT")
    run(writable.put("long", LONG))
    assert body_of(writable, "long") == LONG
    assert [upload.is_done for upload in google.uploads.values()] == [True]
    spans = {r.headers["content-range"] for r in google.requests if r.method == "PUT"}
    assert len(spans) == math.ceil(len(LONG) / PIECE)


@pytest.mark.parametrize("code", [404, 410])
@pytest.mark.parametrize("lasts", [False, True])
def test_what_the_service_has_lost_of_an_upload_is_sent_anew(
    code, lasts, writable, google
):
    lost = google_error(code, "notFound")
    google.fault("*", faults.Proceed(), *[lost] * (9 if lasts else 1), method="PUT")
    if lasts:
        with pytest.raises(errors.StoreError, match="has lost"):
            run(writable.put("long", LONG))
        assert google.keys() == []
    else:
        run(writable.put("long", LONG))
        assert body_of(writable, "long") == LONG


def test_the_answer_to_the_last_piece_may_be_lost(writable, google):
    last = math.ceil(len(LONG) / PIECE)
    google.fault("*", *[faults.Proceed()] * (last - 1), faults.Lost(), method="PUT")
    run(writable.put("long", LONG))
    assert body_of(writable, "long") == LONG
    assert len([r for r in google.requests if r.method == "PUT"]) == last + 1


def test_while_a_piece_is_sent_the_next_is_had(writable, google):
    size, had = 3 * PIECE - 5, []

    async def piece(start, stop):
        (upload,) = google.uploads.values()
        had.append((start, stop, len(upload.body)))
        return LONG[:1] * (stop - start)

    run(writable.put_pieces("long", size, piece))
    assert [stop for _, stop, _ in had] == [PIECE, 2 * PIECE, size]
    assert all(arrived < start for start, _, arrived in had[1:])
    assert len(body_of(writable, "long")) == size


def test_a_piece_that_cannot_be_had_leaves_nothing(writable, google):
    async def piece(start, stop):
        if start:
            raise errors.DamagedDataError("It is damaged.")
        return bytes(stop)

    with pytest.raises(errors.DamagedDataError):
        run(writable.put_pieces("long", 3 * PIECE, piece))
    assert google.uploads == {}
    assert google.keys() == []


def test_of_a_piece_that_was_not_kept_whole_the_rest_is_sent_again(writable, google):
    google.keeps = PIECE - (3 << 20)
    run(writable.put("long", LONG))
    assert body_of(writable, "long") == LONG


def test_a_long_object_that_fails_leaves_nothing(writable, google):
    google.fault("*", google_error(403, "forbidden"), method="PUT")
    with pytest.raises(errors.AccessDeniedError):
        run(writable.put("long", LONG))
    assert google.requests[-1].method == "DELETE"
    assert google.uploads == {}
    assert google.keys() == []


def test_who_cancels_ends_the_requests_and_leaves_nothing(writable, google):
    google.fault("*", faults.Stalled(), method="PUT", forever=True)
    sending = start(writable.put("long", LONG))
    google.wait_for(2)
    sending.cancel()
    with pytest.raises(CancelledError):
        sending.result(60)
    google.wait_for(3)
    google.release()
    google.wait_until_idle()
    assert google.uploads == {}
    assert google.keys() == []


def test_a_copy_is_made_by_the_service(writable, google):
    run(writable.put("a %/b", BODY))
    google.clear()
    run(writable.copy("a %/b", "c+d", len(BODY)))
    assert {request.method for request in google.requests} == {"POST"}
    assert body_of(writable, "c+d") == BODY


def test_lists_come_page_by_page(writable, place, google):
    google.page = 2
    for name in ("a.zarr/x", "b.zarr/x", "b.zarr/y", "c", "d/e/f"):
        run(writable.put(name, BODY))
    google.clear()
    lister = open_lister(place, retry=QUICK)
    found, token = [], ""
    while True:
        page = run(lister.page("", token))
        found += [(item.name, item.is_folder, item.size) for item in page.items]
        token = page.token
        if not token:
            break
    folders = [(name, True, None) for name in ("a.zarr", "b.zarr")]
    assert found == [*folders, ("c", False, 10), ("d", True, None)]
    assert len(google.requests) == 2
    assert [item.name for item in run(lister.page("b")).items] == ["b.zarr"]
    deep = run(lister.deep_page())
    assert [item.name for item in deep.items] == ["a.zarr/x", "b.zarr/x"]
    assert deep.token
    assert len(run(keys(writable))) == 5
    entries = Listing(place).more().result(60).entries
    assert [entry.name for entry in entries][:2] == ["a.zarr", "b.zarr"]


def test_keys_that_no_path_has_are_not_listed(place, google):
    writable = open_writable(Location.parse(google.place("")), retry=QUICK)
    for name in ("ä b/a.zarr/a", "ä b/a.zarr//b", "ä b/a.zarr/../c", "ä b/a.zarr/"):
        # As other programs name objects.
        run(writable._backend.write("x", b""))
        (objects,) = google.buckets.values()
        objects[name] = objects.pop("x")
    page = run(open_lister(place, retry=QUICK).page())
    assert [item.name for item in page.items] == ["a"]


@pytest.mark.parametrize("who", ["", TOKEN])
def test_a_bucket_that_is_not_listed_says_so(who, place, google):
    google.tokens = {who: "r"}
    location = place if who else Location.parse(place, anonymous=True)
    with pytest.raises(errors.ListingDeniedError, match="Listing is not allowed"):
        run(open_lister(location, retry=QUICK).page())


NO_LISTS = [
    b"<html></html>",
    b"[]",
    b"{}",
    b"",
    b'{"kind":1}',
    b"[" * 100_000,
    *(
        b'{"kind":"storage#objects",' + rest + b"}"
        for rest in (b'"items":[{}]', b'"items":5', b'"items":["a"]', b'"prefixes":1')
    ),
]


@pytest.mark.parametrize("body", NO_LISTS)
def test_an_answer_that_is_no_list(body, place, writable, google):
    google.fault("*", faults.Status(200, body), forever=True)
    is_page = body.startswith(b"<html")
    with pytest.raises(errors.WebPageError if is_page else errors.ListingDeniedError):
        run(open_lister(place, retry=QUICK).page())
    with pytest.raises(errors.WebPageError):
        run(keys(writable))
