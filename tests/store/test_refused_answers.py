"""What is read from the answers of servers, and what is dropped."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.errors import AccessDeniedError, SignInExpiredError
from napari_omezarr.store.error_mapping import (
    ErrorContext,
    RequestFailed,
    failure_of,
    says_denied,
    translate,
)
from servers.faults import time_ahead


def xml(**elements: str) -> bytes:
    inside = "".join(f"<{name}>{text}</{name}>" for name, text in elements.items())
    return f'<?xml version="1.0"?>\n<Error>{inside}</Error>'.encode()


def test_codes_and_regions_are_read_from_the_document():
    body = xml(Code="AuthorizationHeaderMalformed", Region="eu-west-1")
    failure = failure_of(400, {}, body)
    assert failure == RequestFailed(
        400, "AuthorizationHeaderMalformed", region="eu-west-1"
    )


def test_the_header_names_the_region_too():
    body = xml(Code="PermanentRedirect", Endpoint="b.s3-eu-west-2.amazonaws.com")
    failure = failure_of(301, {"x-amz-bucket-region": "eu-west-2"}, body)
    assert failure.region == "eu-west-2"
    assert failure.endpoint == "b.s3-eu-west-2.amazonaws.com"


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (400, xml(Code="ExpiredToken"), {}),
        (403, xml(Code="AccessDenied", Message="Request has expired"), {}),
        (
            403,
            xml(
                Code="AuthenticationFailed",
                AuthenticationErrorDetail="Signature not valid in the specified time.",
            ),
            {"x-ms-error-code": "AuthenticationFailed"},
        ),
    ],
)
def test_what_has_ended(status, body, headers):
    failure = failure_of(status, headers, body)
    assert failure.expired
    assert not failure.denied


@pytest.mark.parametrize(
    ("failure", "denied"),
    [
        (RequestFailed(403), True),
        (RequestFailed(403, "AccessDenied"), True),
        (RequestFailed(403, "SignatureDoesNotMatch"), False),
        (RequestFailed(401), False),
        (RequestFailed(503, "AccessDenied"), False),
    ],
)
def test_denied(failure, denied):
    assert failure.denied == denied


@pytest.mark.parametrize(
    ("failure", "busy", "transient"),
    [
        (RequestFailed(503), True, True),
        (RequestFailed(429), True, True),
        (RequestFailed(403, "SlowDown"), True, True),
        (RequestFailed(500), False, True),
        (RequestFailed(400, "RequestTimeout"), False, True),
        (RequestFailed(501), False, False),
        (RequestFailed(403), False, False),
        (RequestFailed(400), False, False),
    ],
)
def test_transient(failure, busy, transient):
    assert (failure.busy, failure.transient) == (busy, transient)


def test_retry_after_in_both_spellings():
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90)
    assert failure_of(503, {"Retry-After": "7"}, b"").retry_after == 7
    assert failure_of(503, {"Retry-After": "\u00b2"}, b"").retry_after == 0
    dated = failure_of(503, {"Retry-After": format_datetime(soon, usegmt=True)}, b"")
    assert 60 < dated.retry_after <= 90


def test_the_skew_of_the_clocks():
    body = xml(Code="RequestTimeTooSkewed")
    for minutes in (20, -20):
        failure = failure_of(403, time_ahead(minutes), body)
        assert round(failure.skew / 60) == minutes
    for said in ({}, {"Date": ""}, {"Date": "Thu, 01 Jan 2026 00:00:00"}):
        assert failure_of(403, said, body).skew == 0
    assert failure_of(403, time_ahead(20), xml(Code="AccessDenied")).skew == 0


def frame(start, now):
    said = f"Start [{start}] - Expiry [Fri, 27 Nov 2026 20:00:00 GMT] - Current [{now}]"
    text = f"Signature not valid in the specified time frame: {said}"
    return xml(Code="AuthenticationFailed", AuthenticationErrorDetail=text)


@pytest.mark.parametrize(
    ("start", "now", "begins"),
    [
        (10, 9, "2026-11-27 10:00 UTC"),
        (9, 10, ""),
        ("no date", 9, ""),
        (10, "no date", ""),
    ],
)
@pytest.mark.parametrize("query", [True, False])
def test_a_signature_may_begin_later(start, now, begins, query):
    hours = [
        f"Fri, 27 Nov 2026 {each:02}:00:00 GMT" if isinstance(each, int) else each
        for each in (start, now)
    ]
    failure = failure_of(403, {}, frame(*hours))
    assert failure.begins == begins
    place = ErrorContext("u", "h", bucket="b", has_query=query, sign_in="Sign in.")
    error = translate(failure, place)
    assert isinstance(error, SignInExpiredError)
    assert ("ended" in error.sentence) is not bool(begins)
    assert begins in error.sentence


DENIED = "User: a is not authorized to perform: {} on resource: b because of c"


@pytest.mark.parametrize(
    ("message", "denied", "said"),
    [
        ("Access Denied", True, "This key may not read u."),
        (DENIED.format("s3:ListBucket"), True, "This key may not read u."),
        (DENIED.format("s3:GetObject"), False, "This key may not read u."),
        (DENIED.format("kms:Decrypt"), False, "u is encrypted with a key"),
    ],
)
def test_what_is_denied_for_another_reason_is_not_missing(message, denied, said):
    """Who may not list is told so of a key that is missing, and of nothing else."""
    failure = failure_of(403, {}, xml(Code="AccessDenied", Message=message))
    assert says_denied(failure) is denied
    error = translate(replace(failure, signed=True), ErrorContext("u", "h", bucket="b"))
    assert isinstance(error, AccessDeniedError)
    assert error.sentence.startswith(said)


@pytest.mark.parametrize(
    "said",
    [
        {"Code": "KMS.DisabledException"},
        {
            "Code": "InvalidRequest",
            "Message": "The object was stored using a form of Server Side Encryption. "
            "The correct parameters must be provided to retrieve the object.",
        },
    ],
)
def test_what_needs_a_key_says_so(said):
    error = translate(failure_of(400, {}, xml(**said)), ErrorContext("u", "h"))
    assert error.sentence.startswith("u is encrypted with a key")


@given(st.integers(300, 599), st.binary(max_size=200), st.text(max_size=40))
def test_nothing_that_a_server_says_is_too_much(status, body, header):
    failure = failure_of(status, {"Retry-After": header, "Date": header}, body)
    assert failure.status == status
    assert failure.retry_after >= 0
