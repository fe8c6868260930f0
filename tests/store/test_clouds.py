"""Google's and Azure's storage on emulators; gcsfs and adlfs sign in, and judge.

They run with ``make test-clouds``, which gets the emulators; elsewhere they are
skipped and say what is missing.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from uuid import uuid4

import fsspec
import numpy as np
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from zarr.abc.store import SuffixByteRequest

from napari_omezarr import read_layers, write_image
from napari_omezarr.browsing import Listing
from napari_omezarr.errors import (
    AccessDeniedError,
    NodeNotFoundError,
    SignInExpiredError,
    SignInNeededError,
    TargetExistsError,
)
from napari_omezarr.location import Location
from napari_omezarr.store import RequestFailed, open_lister, open_writable, run
from napari_omezarr.store.azure_sign_in import Account, Tokens
from napari_omezarr.store.azure_storage import AzureBackend
from napari_omezarr.store.google_sign_in import _Finder, google_endpoint, google_sign_in
from napari_omezarr.store.http import Request
from quick_retries import QUICK
from servers import clouds
from servers.google import GoogleStorage
from servers.wire import Answer, WireServer

PIXELS = np.random.default_rng(0).integers(0, 999, (2, 6, 60, 80)).astype("u2")


@pytest.fixture(scope="module")
def google():
    if clouds.MISSING_GOOGLE:
        pytest.skip(clouds.MISSING_GOOGLE)
    with clouds.google_storage() as address:
        yield address


@pytest.fixture(scope="module")
def strict():
    if clouds.MISSING_FAKE:
        pytest.skip(clouds.MISSING_FAKE)
    with clouds.strict_google_storage() as address:
        yield address


@pytest.fixture(scope="module")
def azure(tmp_path_factory):
    if clouds.MISSING_AZURE:
        pytest.skip(clouds.MISSING_AZURE)
    with clouds.azure_storage(tmp_path_factory.mktemp("azure")) as address:
        yield address


@pytest.fixture(params=["google", "strict", "azure"])
def cloud(request, monkeypatch):
    """The address of a bucket, in an environment that is signed in there."""
    address = request.getfixturevalue(request.param)
    if request.param != "azure":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address.rstrip("/"))
        return f"gs://{clouds.BUCKET}"
    fsspec.get_filesystem_class("az").clear_instance_cache()
    sign_in = clouds.connection_string(address)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", sign_in)
    fsspec.filesystem("az").mkdir(clouds.BUCKET)
    return f"az://{clouds.BUCKET}"


def test_what_is_written_is_what_is_read(cloud):
    address = f"{cloud}/written a+b.ome.zarr"
    write_image(PIXELS, address, axes="czyx")
    for channel, (data, _, _) in enumerate(read_layers(address)):
        np.testing.assert_array_equal(np.asarray(data), PIXELS[channel])
    with pytest.raises(TargetExistsError):
        write_image(PIXELS, address, axes="czyx")


@pytest.mark.parametrize("cloud", ["azure"], indirect=True)
def test_the_emulator_is_known_by_its_whole_address(cloud, azure):
    write_image(PIXELS[0], f"{cloud}/whole.zarr", axes="zyx")
    ((data, _, _),) = read_layers(f"az+{azure}/{clouds.BUCKET}/whole.zarr")
    np.testing.assert_array_equal(np.asarray(data), PIXELS[0])


def test_an_image_is_one_row_of_its_bucket(cloud):
    write_image(PIXELS, f"{cloud}/rows/one.zarr", axes="czyx")
    page = Listing(Location.parse(f"{cloud}/rows")).more().result(30)
    assert [entry.name for entry in page.entries] == ["one.zarr"]


def test_what_is_listed_is_what_is_there_now(cloud):
    for count in (1, 2):
        write_image(PIXELS[0], f"{cloud}/now/{count}.zarr", axes="zyx")
        page = Listing(Location.parse(f"{cloud}/now")).more().result(30)
        assert len(page.entries) == count


def test_nothing_there_is_no_refusal(cloud):
    with pytest.raises(NodeNotFoundError):
        read_layers(f"{cloud}/nothing.zarr")


ODD_KEYS = ["a b", "a+b", "ü€", "a%20b", "100%", "a?b", "a#b&c=d", "x//y", "~'b;c:d@e"]


@pytest.fixture
def container(azure, monkeypatch):
    """A container that is empty, and how adlfs sees it."""
    fsspec.get_filesystem_class("az").clear_instance_cache()
    sign_in = clouds.connection_string(azure)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", sign_in)
    name, judge = f"c{uuid4().hex}", fsspec.filesystem("az")
    judge.mkdir(name)
    return name, judge


@pytest.mark.parametrize("key", ODD_KEYS)
def test_what_adlfs_writes_is_read_and_what_it_reads_is_written(key, container):
    name, judge = container
    place = open_writable(Location.parse(f"az://{name}/f"))
    run(place.put(key, b"ours"))
    assert judge.cat_file(f"{name}/f/{key}") == b"ours"
    judge.pipe_file(f"{name}/f/{key}", b"theirs", overwrite=True)
    assert run(place.read(key)).body == b"theirs"
    assert run(place.read(key, SuffixByteRequest(2))).body == b"rs"
    run(place.copy(key, "copy", 6))
    assert judge.cat_file(f"{name}/f/copy") == b"theirs"
    for each in (key, "copy"):
        run(place.delete(each))
    assert not run(place.holds())


def test_azures_blobs_are_long_conditional_and_listed_in_pages(container):
    name, judge = container
    place = open_writable(Location.parse(f"az://{name}/f"))
    body = np.random.default_rng(1).bytes((33 << 20) + 1)
    run(place.put("long", body))
    assert judge.cat_file(f"{name}/f/long") == body
    assert run(place.holds_conditions())

    async def race():
        return await asyncio.gather(
            *(place.replace("raced", b"%d" % number, None) for number in range(8))
        )

    assert run(race()).count(True) == 1
    found = run(place.read("raced"))
    assert run(place.replace("raced", b"x", found))
    assert not run(place.replace("raced", b"y", found))
    lister, rows, token = open_lister(Location.parse(f"az://{name}/f")), [], ""
    while token or not rows:
        page = run(lister.page("", token, 1))
        rows += [(row.name, row.size) for row in page.items]
        token = page.token
    assert rows == [("long", len(body)), ("raced", 1)]


PUBLIC = {"x-ms-blob-public-access": "blob"}


def a_token(seconds):
    """Make what azurite takes for a token of Azure's; nobody has signed it."""
    now = int(time.time())
    said = {"iat": now - 60, "nbf": now - 60, "exp": now + seconds}
    said |= {"iss": "https://sts.windows.net/t/", "aud": "https://storage.azure.com"}
    parts = ({"alg": "none", "typ": "JWT"}, said)
    coded = (base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts)
    token = ".".join(each.decode().rstrip("=") for each in coded) + ".x"
    return SimpleNamespace(token=token, expires_on=now + seconds)


@pytest.mark.skipif(bool(clouds.MISSING_AZURE), reason=clouds.MISSING_AZURE or "there")
def test_azure_takes_our_tokens_and_what_is_public_needs_none(tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key, ca = (str(tmp_path / name) for name in ("chain.pem", "key.pem", "ca"))
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    options = ("--cert", chain, "--key", key, "--oauth", "basic")
    with clouds.azure_storage(tmp_path, *options) as address:

        def signed(seconds, container, **how):
            credential = SimpleNamespace(get_token=lambda _: a_token(seconds))
            account = Account(address, tokens=Tokens(credential))
            backend = AzureBackend(account, Location("az", container, ""), QUICK, **how)
            backend._access = replace(backend._access, ca_file=ca)
            return backend

        for name, more in (("private", {}), ("public", PUBLIC)):
            writer = signed(3600, name, writes=True)
            url = f"{writer._container}?restype=container"
            headers = {"Content-Type": "application/octet-stream", **more}
            run(writer._sent(Request("PUT", url, headers, b"")))
            run(writer.write("a b", b"abc"))
            assert run(signed(3600, name).read("a b")).body == b"abc"
        assert [item.name for item in run(writer.listed("")).items] == ["a b"]
        assert run(signed(-30, "public").read("a b")).body == b"abc"
        with pytest.raises(RequestFailed) as raised:
            run(signed(-30, "private").read("a b"))
        assert raised.value.status in (401, 403)


def test_azure_is_read_through_a_cache_of_fsspecs_by_adlfs(container):
    name, _ = container
    write_image(PIXELS[0], f"az://{name}/a.zarr", axes="zyx")
    layers = read_layers(f"simplecache::az://{name}/a.zarr")
    np.testing.assert_array_equal(np.asarray(layers[0][0]), PIXELS[0])


def test_a_wrong_key_is_said_and_not_shown(azure, monkeypatch):
    fsspec.get_filesystem_class("az").clear_instance_cache()
    sign_in = clouds.connection_string(azure, clouds.WRONG_KEY)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", sign_in)
    with pytest.raises(AccessDeniedError) as raised:
        read_layers(f"az://{clouds.BUCKET}/a.zarr")
    assert clouds.WRONG_KEY not in repr(raised.getrepr())


@pytest.mark.skipif(bool(clouds.MISSING_AZURE), reason=clouds.MISSING_AZURE or "there")
def test_without_an_account_azure_says_how_to_name_it():
    fsspec.get_filesystem_class("az").clear_instance_cache()
    with pytest.raises(SignInNeededError, match="which account"):
        read_layers(f"az://{clouds.BUCKET}/a.zarr")


# Google's own ways of signing in, at a service that gives tokens.


class TokenService(WireServer):
    """Gives a token to who comes with a signed statement; each is another one."""

    def __init__(self):
        self.given = 0
        self.refuses = False
        super().__init__()

    async def answer(self, request):
        if self.refuses:
            return Answer(400, {}, b'{"error": "invalid_grant"}')
        self.given += 1
        said = {"access_token": f"token-{self.given}", "expires_in": 3600}
        return Answer(
            200, {"Content-Type": "application/json"}, json.dumps(said).encode()
        )


@pytest.fixture
def tokens():
    with TokenService() as service:
        yield service


@pytest.fixture
def guarded(tokens, tmp_path, monkeypatch):
    """A bucket for a service account, whose key lies in a file that fsspec is told."""
    if clouds.MISSING_GOOGLE:
        pytest.skip(clouds.MISSING_GOOGLE)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    account = {
        "type": "service_account",
        "client_email": "who@example.org",
        "private_key": text.decode(),
        "token_uri": f"{tokens.url}/token",
    }
    file = tmp_path / "key.json"
    file.write_text(json.dumps(account))
    with GoogleStorage() as server:
        server.tokens = {"token-1": "rwl"}
        told = {"token": str(file), "endpoint_url": server.url}
        monkeypatch.setitem(fsspec.config.conf, "gs", told)
        yield server


def test_the_key_of_a_service_account_signs_in_once_for_all(guarded, tokens):
    place = guarded.place("a.zarr")
    write_image(PIXELS[0], place, axes="zyx")
    ((data, _, _),) = read_layers(place)
    np.testing.assert_array_equal(np.asarray(data), PIXELS[0])
    assert tokens.given == 1
    sent = {request.headers.get("authorization") for request in guarded.requests}
    assert sent == {"Bearer token-1"}


def test_the_default_sign_in_is_found_where_gcloud_leaves_it(
    guarded, tokens, tmp_path, monkeypatch
):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.setitem(fsspec.config.conf, "gs", {"requester_pays": "payer"})
    sign_in = google_sign_in(Location.parse("gs://bucket/a.zarr"))
    headers = run(sign_in.headers(None))
    assert headers["authorization"] == "Bearer token-1"
    assert headers["x-goog-user-project"] == "payer"
    assert google_sign_in(Location.parse("gs://other/b")) is sign_in
    (tmp_path / "key.json").touch()
    assert google_sign_in(Location.parse("gs://other/b")) is not sign_in
    assert "token-1" not in repr(sign_in)


def test_a_key_of_another_cloud_signs_for_that_one(guarded, tokens, tmp_path):
    file = tmp_path / "key.json"
    said = {**json.loads(file.read_text()), "universe_domain": "cloud.example"}
    file.write_text(json.dumps(said))
    fsspec.config.conf["gs"] = {"token": str(file)}
    assert google_endpoint() == "https://storage.cloud.example"
    sign_in = google_sign_in(Location.parse("gs://bucket/a.zarr"))
    signs, middle = run(sign_in.headers(None))["authorization"].split(".")[:2]
    assert signs.startswith("Bearer ")
    assert b"devstorage" in base64.urlsafe_b64decode(f"{middle}===")
    assert tokens.given == 0


PERSON = {"client_id": "764086051850-x", "client_secret": "x", "refresh_token": "x"}
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a"
WORKFORCE = "//iam.googleapis.com/locations/global/workforcePools/a/providers/b"
TOKENS = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
PROGRAM_SIGN_INS = {
    "authorized_user": PERSON,
    "external_account": {
        "audience": f"{AUDIENCE}/providers/b",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": "/nowhere"},
    },
    "external_account_authorized_user": {
        **PERSON,
        "audience": WORKFORCE,
        "token_url": "https://sts.googleapis.com/v1/oauthtoken",
    },
    "impersonated_service_account": {
        "service_account_impersonation_url": f"{TOKENS}/a@b.c:generateAccessToken",
        "source_credentials": {**PERSON, "type": "authorized_user"},
    },
}


@pytest.mark.parametrize("kind", PROGRAM_SIGN_INS)
def test_each_kind_of_file_that_gcloud_leaves_is_read_in_silence(
    kind, tmp_path, monkeypatch
):
    """napari shows warnings, and google-auth warns all whom gcloud has signed in."""
    if clouds.MISSING_GOOGLE:
        pytest.skip(clouds.MISSING_GOOGLE)
    file = tmp_path / "adc.json"
    file.write_text(json.dumps({"type": kind, **PROGRAM_SIGN_INS[kind]}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    who, payer = _Finder({})._find()
    assert callable(who.apply)
    assert payer == ""


def test_nobody_is_asked_for_who_has_never_signed_in(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    if clouds.MISSING_GOOGLE:
        pytest.skip(clouds.MISSING_GOOGLE)
    sign_in = google_sign_in(Location.parse("gs://bucket/a.zarr"))
    assert run(sign_in.headers(None)) == {}


def test_a_token_that_is_refused_is_renewed_once(guarded, tokens):
    place = guarded.place("a.zarr")
    write_image(PIXELS[0], place, axes="zyx")
    guarded.tokens = {"token-2": "rwl"}
    read_layers(place)
    assert tokens.given == 2
    guarded.tokens, tokens.refuses = {}, True
    with pytest.raises(SignInExpiredError, match="Your Google sign-in has ended"):
        read_layers(place)


def test_a_sign_in_that_fails_is_no_way_round_what_is_open(guarded, tokens):
    place = guarded.place("a.zarr")
    write_image(PIXELS[0], place, axes="zyx")
    guarded.tokens, tokens.refuses = {"": "r"}, True
    ((data, _, _),) = read_layers(place)
    np.testing.assert_array_equal(np.asarray(data), PIXELS[0])
    with pytest.raises(SignInExpiredError):
        write_image(PIXELS[0], guarded.place("b.zarr"), axes="zyx")


def test_google_holds_conditions_and_gives_pages(strict, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", strict.rstrip("/"))
    place = Location.parse(f"gs://{clouds.BUCKET}/strict ü")
    writable = open_writable(place)
    assert run(writable.holds_conditions())
    assert run(writable.replace("a", b"1", None))
    assert not run(writable.replace("a", b"2", None))
    first = run(writable.read("a"))
    assert run(writable.replace("a", b"2", first))
    assert not run(writable.replace("a", b"3", first))
    assert run(writable.read("a")).body == b"2"
    for key in ("b/c", "b/d", "e"):
        run(writable.put(key, bytes(33 << 20) + b"end"))
    run(writable.copy("e", "f", 33 << 20))
    assert run(writable.read("f", SuffixByteRequest(3))).body == b"end"
    lister, names, token = open_lister(place), [], ""
    while not names or token:
        page = run(lister.page("", token, 2))
        names, token = names + [item.name for item in page.items], page.token
    assert names == ["a", "b", "e", "f"]


def test_gcsfs_and_we_read_what_the_other_has_written(google, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.rstrip("/"))
    # The class that fsspec names asks first, for a minute, what no emulator answers.
    core = import_module("gcsfs.core")
    theirs = core.GCSFileSystem(token="anon", skip_instance_cache=True)
    place = Location.parse(f"gs://{clouds.BUCKET}/both ü")
    ours = open_writable(place)
    for key in ("a b", "c+d/%41", "e#f?g", "ü/漢"):
        run(ours.put(key, key.encode()))
        assert theirs.cat_file(f"{clouds.BUCKET}/both ü/{key}") == key.encode()
        theirs.pipe_file(f"{clouds.BUCKET}/both ü/{key}", b"theirs")
        assert run(ours.read(key)).body == b"theirs"
    long = bytes(33 << 20) + b"end"
    run(ours.put("long", long))
    assert theirs.info(f"{clouds.BUCKET}/both ü/long")["size"] == len(long)
    run(ours.copy("long", "copied", len(long)))
    assert theirs.cat_file(f"{clouds.BUCKET}/both ü/copied") == long
