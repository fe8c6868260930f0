"""What our errors say: a sentence, an action, and never a secret."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback

import pytest
import zarr
from botocore import exceptions as aws
from zarr.buffer.cpu import buffer_prototype

from napari_omezarr import errors
from napari_omezarr.location import Location
from napari_omezarr.store import open_store, run
from napari_omezarr.store.error_mapping import (
    ErrorContext,
    Reason,
    RequestFailed,
    sign_in_error,
    translate,
)
from quick_retries import HASTY, QUICK, write_image
from servers import faults
from servers.proxy import Proxy

S3 = ErrorContext("s3://b/k", "s3.org", bucket="b", profile="lab")
WEB = ErrorContext("https://h/k", "h")
SIGNED_LINK = ErrorContext("https://h/k", "h", has_query=True)


@pytest.mark.parametrize(
    ("problem", "place", "kind", "text"),
    [
        (
            RequestFailed(403, "AccessDenied", signed=True),
            S3,
            errors.AccessDeniedError,
            "This key may not read s3://b/k. Choose another profile.",
        ),
        (
            RequestFailed(403, "AccessDenied"),
            S3,
            errors.SignInNeededError,
            "s3://b/k is not open to everybody. "
            "Choose a profile, or sign in with AWS (AWS_PROFILE).",
        ),
        (
            RequestFailed(403),
            WEB,
            errors.AccessDeniedError,
            "h does not let https://h/k be read. Check the address.",
        ),
        (
            RequestFailed(403),
            SIGNED_LINK,
            errors.AccessDeniedError,
            "h does not let https://h/k be read. "
            "Ask for a new link: the signature in this one is not accepted.",
        ),
        (
            RequestFailed(409, "PublicAccessNotPermitted"),
            ErrorContext("az://b/k", "h", bucket="b", sign_in="Sign in so."),
            errors.SignInNeededError,
            "az://b/k is not open to everybody. Sign in so.",
        ),
        (
            RequestFailed(403, "AuthenticationFailed"),
            SIGNED_LINK,
            errors.AccessDeniedError,
            "h does not let https://h/k be read. "
            "Ask for a new link: the signature in this one is not accepted.",
        ),
        (
            RequestFailed(401),
            WEB,
            errors.SignInNeededError,
            "h answers only those who have signed in. "
            "Make a connection with a token for it, or use another address.",
        ),
        (
            RequestFailed(403, "AccessDenied", expired=True),
            SIGNED_LINK,
            errors.SignInExpiredError,
            "The signature of this address has ended. Ask for a new link.",
        ),
        (
            RequestFailed(400, "ExpiredToken", expired=True, signed=True),
            S3,
            errors.SignInExpiredError,
            "Your AWS sign-in for profile lab has ended. "
            "Run: aws sso login --profile lab",
        ),
        (
            RequestFailed(403, "SignatureDoesNotMatch", signed=True),
            S3,
            errors.KeyNotAcceptedError,
            "s3.org does not accept the key or its secret. "
            "Edit the profile, or the AWS_ variables that hold the key.",
        ),
        (
            RequestFailed(403, "RequestTimeTooSkewed", skew=1230),
            S3,
            errors.ClockSkewError,
            "The clock of this computer differs by 20 min from that of s3.org. "
            "Set the clock.",
        ),
        (
            RequestFailed(404, "NoSuchBucket"),
            S3,
            errors.BucketNotFoundError,
            "There is no bucket b at s3.org. Check its name and the endpoint.",
        ),
        (
            RequestFailed(301, "PermanentRedirect", region="eu-west-1"),
            S3,
            errors.WrongRegionError,
            "The bucket b lives in region eu-west-1. "
            "Set the region of the profile, or AWS_REGION.",
        ),
        (
            RequestFailed(403, "InvalidObjectState"),
            S3,
            errors.AccessDeniedError,
            "s3://b/k is in cold storage. Ask its owner to restore it.",
        ),
        (
            RequestFailed(503),
            WEB,
            errors.ServerBusyError,
            "h asks to slow down, and still did after all tries. "
            "Try again a little later.",
        ),
        (
            RequestFailed(502),
            WEB,
            errors.ServerError,
            "h failed (status 502) in all tries. Try again a little later.",
        ),
        (
            RequestFailed(418),
            WEB,
            errors.ServerError,
            "h answers with status 418 at https://h/k. Check the address.",
        ),
        (
            RequestFailed(reason=Reason.CERTIFICATE),
            WEB,
            errors.CertificateError,
            "The certificate of h is not trusted. "
            "Name the CA file of your institution in SSL_CERT_FILE or AWS_CA_BUNDLE.",
        ),
        (
            PermissionError(13, "Permission denied"),
            ErrorContext("/data/k"),
            errors.AccessDeniedError,
            "/data/k may not be read by you. Ask its owner, or change the permissions.",
        ),
        (
            OSError(5, "Input/output error"),
            ErrorContext("/data/k"),
            errors.StoreError,
            "/data/k cannot be read (Input/output error). "
            "Check the disk, or the connection to it.",
        ),
    ],
)
def test_texts(problem, place, kind, text):
    error = translate(problem, place)
    assert type(error) is kind
    assert str(error) == text
    assert error.url == place.url


@pytest.mark.parametrize("kind", Reason)
def test_every_kind_of_interruption_has_a_text(kind):
    error = translate(RequestFailed(reason=kind), WEB)
    assert isinstance(error, errors.StoreError)
    assert error.sentence.endswith(".")
    assert error.action
    assert "{" not in error.sentence


@pytest.mark.parametrize("status", range(300, 600))
@pytest.mark.parametrize("place", [S3, WEB])
def test_every_status_has_a_text(status, place):
    error = translate(RequestFailed(status), place)
    assert isinstance(error, errors.StoreError)
    assert error.action


def test_our_own_errors_stay_what_they_are():
    error = errors.TruncatedBodyError("It ended.")
    assert translate(error, WEB) is error


ENDED = errors.SignInExpiredError
NEEDED = errors.SignInNeededError


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (aws.ProfileNotFound(profile="lab"), NEEDED),
        (
            aws.PartialCredentialsError(provider="env", cred_var="key"),
            errors.KeyNotAcceptedError,
        ),
        (aws.UnauthorizedSSOTokenError(), ENDED),
        (aws.SSOTokenLoadError(error_msg="x"), ENDED),
        (aws.TokenRetrievalError(provider="sso", error_msg="x"), ENDED),
        (aws.ClientError({"Error": {"Code": "ExpiredToken"}}, "AssumeRole"), ENDED),
        (aws.ClientError({"Error": {"Code": "UnauthorizedException"}}, "Get"), ENDED),
        (aws.ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole"), NEEDED),
        (aws.CredentialRetrievalError(provider="process", error_msg="x"), NEEDED),
        (aws.ConfigParseError(path="x"), NEEDED),
        (aws.NoCredentialsError(), NEEDED),
        (PermissionError(13, "Permission denied"), NEEDED),
    ],
)
def test_what_is_wrong_with_a_sign_in(error, kind):
    translated = sign_in_error(error, "lab")
    assert type(translated) is kind
    assert translated.action


# Planted secrets

SECRETS = {
    "key": "AKIAPLANTEDKEY",
    "secret": "planted/secret+part",
    "token": "plantedTOKEN==",
    "signature": "plantedSIGNATURE",
    "password": "plantedPASSWORD",
}


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SECRETS["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS["secret"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRETS["token"])


def everything_said(error):
    """The error with all that hangs on it, even what a traceback does not show."""
    said = [repr(error), str(error), repr(vars(error))]
    said += traceback.format_exception(error)
    for below in (error.__cause__, error.__context__):
        if below is not None:
            said += everything_said(below)
    return said


def assert_no_secret(texts):
    together = "\n".join(texts)
    for secret in SECRETS.values():
        assert secret not in together


LEAKS = [
    faults.s3_error(
        403,
        "SignatureDoesNotMatch",
        AWSAccessKeyId=SECRETS["key"],
        StringToSign=SECRETS["signature"],
    ),
    faults.s3_error(403, "AccessDenied", Message=SECRETS["signature"]),
    faults.s3_error(400, "ExpiredToken", Token0=SECRETS["token"]),
    faults.Status(500, SECRETS["signature"].encode()),
    faults.redirect(f"http://nothing.invalid/?sig={SECRETS['signature']}"),
    faults.redirect(f"ftp://nothing/?sig={SECRETS['signature']}"),
    faults.redirect("/again?sig=" + SECRETS["signature"]),
    faults.page(f"<html>{SECRETS['password']}</html>"),
    faults.Status(200, b"x", {"Content-Encoding": "gzip"}),
    faults.Reset(after=1),
    faults.Truncated(after=1),
    faults.Dropped(),
    faults.Stalled(),
]


@pytest.mark.parametrize("fault", LEAKS)
@pytest.mark.parametrize("protocol", ["http", "s3"])
def test_no_secret_is_told(http_server, planted, caplog, fault, protocol, tmp_path):
    caplog.set_level(logging.DEBUG)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/zarr.json").write_text("{}")
    http_server.fault("*", fault, forever=True)
    address = http_server.url.replace("//", f"//ann:{SECRETS['password']}@")
    location = Location.parse(f"{address}/b?sig={SECRETS['signature']}")
    if protocol == "s3":
        location = Location.parse("s3://b", endpoint=http_server.url)
    is_silent = fault == faults.Stalled()
    store = open_store(location, retry=HASTY if is_silent else QUICK)
    (error,) = store.fetch(["zarr.json"]).values()
    assert isinstance(error, errors.StoreError)
    assert error.__context__ is None
    with pytest.raises(errors.StoreError) as raised:
        run(store.get("zarr.json", buffer_prototype))
    said = [repr(store), str(store), *store.notes, *error_texts(error, raised.value)]
    assert_no_secret([*said, caplog.text])


def error_texts(*raised):
    return [text for error in raised for text in everything_said(error)]


def test_no_key_is_pickled(planted):
    store = open_store(Location.parse("s3://b"), retry=QUICK)
    body = pickle.dumps(store)
    for name in ("key", "secret", "token"):
        assert SECRETS[name].encode() not in body


def test_signing_says_nothing_in_the_log(s3_server, s3_prefix, planted, caplog):
    caplog.set_level(logging.DEBUG)
    s3_server.put(f"public/{s3_prefix}/zarr.json", b"{}")
    with Proxy(s3_server.endpoint) as proxy:
        location = Location.parse(f"s3://public/{s3_prefix}", endpoint=proxy.url)
        store = open_store(location, retry=QUICK)
        assert store.fetch(["zarr.json"]) == {"zarr.json": b"{}"}
        assert SECRETS["key"] in proxy.requests[0].headers["authorization"]
    assert_no_secret([caplog.text, *store.notes])


def test_errors_survive_pickling():
    error = errors.SignInNeededError("Who?", action="Say it.", url="s3://b")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.url) == ("Who? Say it.", "s3://b")


def test_cancelling_is_not_translated(http_server, tmp_path):
    write_image(tmp_path / "a.zarr")
    location = Location.parse(f"{http_server.url}/a.zarr")
    array = zarr.open_array(open_store(location), path="0", mode="r")
    http_server.fault("*/c/*", faults.Stalled(), forever=True)
    http_server.clear_log()

    async def give_up():
        reading = asyncio.ensure_future(array.async_array.getitem(...))
        await asyncio.to_thread(http_server.wait_for, 1)
        reading.cancel()
        await reading

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(give_up())
