"""What goes wrong while browsing: one sentence, one action, and no secret."""

from __future__ import annotations

import logging
import pickle
import ssl
import traceback

import pytest
import trustme

from napari_omezarr import errors
from napari_omezarr.browsing import (
    Entry,
    Listing,
    Prober,
    check_connection,
    check_public,
    copy_store,
    describe,
    measure_speed,
    python_snippet,
    raw_documents,
    read_table,
    thumbnail,
    validate,
    view_chunk,
    web_address,
)
from napari_omezarr.connections import (
    Connection,
    ConnectionFile,
    Keys,
    Profile,
    key_store,
    locate,
)
from napari_omezarr.demo.server import READER
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location, without_secrets
from napari_omezarr.store import open_store, run
from napari_omezarr.user_files import Recents, cache_folder
from quick_retries import QUICK
from servers import faults
from servers.http import FileServer, GuardedServer
from servers.proxy import before_buckets
from small_images import put_image


@pytest.fixture(scope="module")
def proxy(s3_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors") / "x.zarr"
    put_image(folder)
    with before_buckets(s3_server, folder, "test-errors/x.zarr") as proxy:
        yield proxy


@pytest.fixture
def server(proxy):
    """The proxy anew, with a profile name of its own so that nothing is remembered."""
    proxy.clear()
    return proxy


@pytest.fixture
def signed(server, request):
    """A connection that signs in with the reader's keys, and its name."""
    name = request.node.name
    profile = Profile(name, endpoint=server.url, sign_in="keys")
    ConnectionFile().save(Connection(profile))
    key_store().hold(name, Keys(READER.key, READER.secret))
    yield locate("s3://private/test-errors", profile)
    key_store().forget(name)


def listed(where):
    return Listing(where, retry=QUICK).more().result(60)


def test_nobody_to_sign_is_told_and_does_not_stop_anything(server):
    where = Location.parse("s3://public/test-errors", endpoint=server.url)
    page = listed(where)
    assert [entry.name for entry in page.entries] == ["x.zarr"]
    assert describe(where / "x.zarr").notes == (
        "A public bucket is read without signing in: public.",
    )


EVERYWHERE = [
    (
        faults.s3_error(403, "InvalidAccessKeyId"),
        errors.KeyNotAcceptedError,
        "does not accept the key",
        "Edit the profile",
    ),
    (
        faults.s3_error(403, "SignatureDoesNotMatch"),
        errors.KeyNotAcceptedError,
        "does not accept the key",
        "Edit the profile",
    ),
    (
        faults.s3_error(403, "RequestTimeTooSkewed", headers=faults.time_ahead(-17)),
        errors.ClockSkewError,
        "differs by",
        "Set the clock",
    ),
    (
        faults.s3_error(400, "ExpiredToken"),
        errors.SignInExpiredError,
        "has ended",
        "Sign in with AWS again",
    ),
    (
        faults.s3_error(404, "NoSuchBucket"),
        errors.BucketNotFoundError,
        "There is no bucket private at",
        "Check its name and the endpoint",
    ),
    (
        faults.s3_error(503, "SlowDown"),
        errors.ServerBusyError,
        "asks to slow down",
        "Try again a little later",
    ),
    (faults.Status(500), errors.ServerError, "failed (status 500)", "Try again"),
    (
        faults.Dropped(),
        errors.StoreConnectionError,
        "breaks off",
        "Try again a little later",
    ),
]


@pytest.mark.parametrize(("fault", "kind", "sentence", "action"), EVERYWHERE)
def test_what_goes_wrong_is_said_with_what_to_do(
    server, signed, fault, kind, sentence, action
):
    server.fault("*", fault, forever=True)
    with pytest.raises(kind) as told:
        listed(signed)
    assert sentence in told.value.sentence
    assert action in told.value.action
    row = Prober(QUICK).start(Entry(signed, "x.zarr")).result(60)
    assert sentence in row.problem


def test_an_ended_sign_in_of_a_profile_names_the_command(server, clean_aws_environment):
    (clean_aws_environment / "credentials").write_text(
        f"[lab]\naws_access_key_id = {READER.key}\n"
        f"aws_secret_access_key = {READER.secret}\n"
    )
    where = Location.parse("s3://private/x", endpoint=server.url, profile="lab")
    server.fault("*", faults.s3_error(400, "ExpiredToken"), forever=True)
    with pytest.raises(errors.SignInExpiredError, match="aws sso login --profile lab"):
        listed(where)


def test_metadata_that_may_not_be_read(server, signed):
    server.fault("*/x.zarr/*", faults.s3_error(403, "AccessDenied"), forever=True)
    row = Prober(QUICK).start(Entry(signed, "x.zarr")).result(60)
    assert "This key may not read" in row.problem
    assert "Choose another profile." in row.problem


def test_a_bucket_of_another_region_is_followed(server, signed):
    elsewhere = faults.s3_error(400, "AuthorizationHeaderMalformed", Region="eu-west-1")
    server.fault("/private/", elsewhere)
    page = listed(signed)
    assert [entry.name for entry in page.entries] == ["x.zarr"]
    lists = [r for r in server.requests if "list-type" in r.query]
    assert "eu-west-1" in lists[-1].headers["authorization"]


def test_a_bucket_that_stays_elsewhere_is_named(server, signed):
    moved = faults.s3_error(301, "PermanentRedirect", Region="eu-west-1")
    server.fault("*", moved, forever=True)
    with pytest.raises(errors.WrongRegionError, match="region eu-west-1"):
        listed(signed)


def test_a_certificate_that_nobody_trusts(tmp_path):
    authority = trustme.CA()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FileServer(tmp_path, tls=context) as server:
        where = Location.parse("s3://bucket/x", endpoint=server.url, anonymous=True)
        with pytest.raises(errors.CertificateError, match="is not trusted"):
            listed(where)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        profile = Profile(
            "lab",
            endpoint=server.url,
            sign_in="anonymous",
            ca_file=str(tmp_path / "ca.pem"),
        )
        ConnectionFile().save(Connection(profile))
        with pytest.raises(errors.OMEZarrError) as told:
            listed(locate("s3://bucket/x", profile))
        assert not isinstance(told.value, errors.CertificateError)


def test_a_page_for_people_is_not_taken_for_data(http_server):
    http_server.fault("*", faults.page(), forever=True)
    with pytest.raises(errors.WebPageError, match="answers with a web page"):
        listed(Location.parse(f"{http_server.url}/x.zarr"))


def test_a_chunk_that_may_not_be_read_is_not_empty(server, signed):
    server.fault("*/c/0/0/0/0", faults.s3_error(403, "AccessDenied"), forever=True)
    with pytest.raises(errors.AccessDeniedError):
        view_chunk(signed / "x.zarr", 0, (0, 0, 0, 0))
    server.clear()
    server.fault("*/c/0/0/0/0", faults.s3_error(404, "NoSuchKey"), forever=True)
    assert view_chunk(signed / "x.zarr", 0, (0, 0, 0, 0)).is_missing


def test_a_planted_secret_is_nowhere(
    server, s3_server, http_server, tmp_path, configuration, caplog, request
):
    caplog.set_level(logging.DEBUG)
    said = []
    planted = Keys("PLANTED-KEY", "PLANTED-SECRET", "PLANTED-TOKEN")
    profile = Profile("planted", endpoint=server.url, sign_in="keys")
    ConnectionFile().save(Connection(profile))
    key_store().keep("planted", planted)
    request.addfinalizer(lambda: key_store().forget("planted"))
    where = locate("s3://private/test-errors/x.zarr", profile)
    query = Location.parse(
        f"{http_server.url}/x.zarr?X-Amz-Signature=PLANTED-SIGNATURE"
    )
    put_image(tmp_path / "x.zarr")
    http_server.fault("*", faults.Status(403), forever=True)
    for place in (where, query):
        for attempt in (
            lambda place=place: listed(place),
            lambda place=place: describe(place),
            lambda place=place: thumbnail(place),
            lambda place=place: view_chunk(place, 0, (0,)),
            lambda place=place: run(
                copy_store(place, Location.parse(tmp_path / "copy.zarr"))
            ),
        ):
            with pytest.raises(errors.OMEZarrError) as told:
                attempt()
            said += traceback.format_exception(told.value)
            said.append(repr(told.value))
        Recents().add(place)
        said += [repr(place), python_snippet(place), without_secrets(place)]
        said += [
            web_address(place),
            repr(Prober(QUICK).start(Entry(place, "")).result(60)),
        ]
    said.append(repr(run(check_connection(profile, "s3://private", keys=planted))))
    said += [repr(key_store()), repr(planted), repr(profile), caplog.text]
    said += [r.getMessage() + repr(r.args) for r in caplog.records]
    for folder in (configuration, cache_folder()):
        said += [f.read_text() for f in folder.rglob("*") if f.is_file()]
    assert len(said) > 40
    assert not [text for text in said if "PLANTED" in text]


def test_a_signature_that_works_is_kept_nowhere(
    http_server, tmp_path, configuration, caplog
):
    """What is made of a place that only a signature opens: files, texts, layers."""
    caplog.set_level(logging.DEBUG)
    put_image(tmp_path / "x.zarr")
    (tmp_path / "cells.csv").write_text("label,area\n1,3\n")
    address = f"{http_server.url}/{{}}?X-Amz-Signature=PLANTED-SIGNATURE"
    where = Location.parse(address.format("x.zarr"))
    made = [
        describe(where),
        thumbnail(where),
        view_chunk(where, 0, (0, 0, 0, 0)),
        measure_speed(where),
        validate(where),
        raw_documents(where),
        read_table(Location.parse(address.format("cells.csv"))),
        run(check_public(where)),
        read_layers(where),
        [python_snippet(where), without_secrets(where), web_address(where)],
    ]
    assert all("PLANTED-SIGNATURE" in r.query for r in http_server.requests[:-1])
    # A copy that breaks off leaves a journal; one that ends leaves the copy.
    target = Location.parse(tmp_path / "copy.zarr")
    http_server.fault("*/c/0/*", faults.Status(400), forever=True)
    with pytest.raises(errors.OMEZarrError) as told:
        run(copy_store(where, target))
    journals = list((cache_folder() / "copies").iterdir())
    assert journals
    kept = [
        file.read_bytes()
        for folder in (configuration, cache_folder())
        for file in folder.rglob("*")
        if file.is_file()
    ]
    assert len(kept) > 1  # a thumbnail, too
    http_server.clear()
    run(copy_store(where, target))
    kept += [f.read_bytes() for f in (tmp_path / "copy.zarr").rglob("*") if f.is_file()]
    said = [repr(each) for each in made]
    said += [caplog.text, *traceback.format_exception(told.value)]
    assert not [text for text in said if "PLANTED" in text]
    assert not [body for body in kept if b"PLANTED" in body]


def test_a_token_is_nowhere_but_in_its_requests(
    tmp_path, configuration, caplog, request
):
    """Whether it opens the place or not: files, texts, layers, logs, errors."""
    caplog.set_level(logging.DEBUG)
    put_image(tmp_path / "x.zarr")
    request.addfinalizer(lambda: key_store().forget("planted"))
    with GuardedServer(tmp_path, ("x-api-key", "PLANTED-TOKEN")) as server:
        keys = Keys(server.url, "X-API-Key: PLANTED-TOKEN")
        profile = Profile("planted", endpoint=server.url, sign_in="header")
        ConnectionFile().save(Connection(profile))
        key_store().keep("planted", keys)
        where = locate(f"{server.url}/x.zarr", profile)
        layers = read_layers(where)
        made = [
            describe(where),
            thumbnail(where),
            view_chunk(where, 0, (0, 0, 0, 0)),
            measure_speed(where),
            validate(where),
            raw_documents(where),
            run(check_public(where)),
            run(check_connection(profile, str(where), keys=keys)),
            layers,
            [layer[1] for layer in layers],
            [python_snippet(where), without_secrets(where), web_address(where)],
            [profile, keys, key_store(), open_store(where)],
            repr(pickle.dumps(open_store(where))),
            repr(pickle.dumps(layers[0][0])),
        ]
        run(copy_store(where, Location.parse(tmp_path / "copy.zarr")))
        Recents().add(where)
        sent = [r for r in server.requests if b"PLANTED" in r.raw]
        assert len(sent) > 20
        said = [repr(each) for each in made]
        for fault in (faults.Status(403), faults.Status(401), faults.Status(400)):
            server.fault("/x.zarr/*", fault, forever=True)
            for attempt in (describe, thumbnail, read_layers):
                with pytest.raises(errors.OMEZarrError) as told:
                    attempt(where)
                said += traceback.format_exception(told.value)
                said.append(repr(vars(told.value)))
            server.clear()
    said += [caplog.text]
    said += [r.getMessage() + repr(r.args) for r in caplog.records]
    kept = [
        file.read_bytes()
        for folder in (configuration, cache_folder(), tmp_path)
        for file in folder.rglob("*")
        if file.is_file()
    ]
    assert len(kept) > 10
    assert not [text for text in said if "PLANTED" in text]
    assert not [body for body in kept if b"PLANTED" in body]


def test_a_place_that_stalls_can_be_left(server):
    server.fault("*", faults.Stalled(), forever=True)
    listing = Listing(Location.parse("s3://public/x", endpoint=server.url))
    page = listing.more()
    server.wait_for(1)
    assert page.cancel()
    assert page.cancelled()
