"""What is read from the answers of servers, and what is dropped."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.store.error_mapping import RequestFailed, failure_of


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
    body = xml(
        Code="RequestTimeTooSkewed",
        RequestTime="20260101T120000Z",
        ServerTime="2026-01-01T12:20:00Z",
    )
    assert failure_of(403, {}, body).skew == 20 * 60
    assert failure_of(403, {}, xml(Code="RequestTimeTooSkewed")).skew == 0


@given(st.integers(300, 599), st.binary(max_size=200), st.text(max_size=40))
def test_nothing_that_a_server_says_is_too_much(status, body, header):
    failure = failure_of(status, {"Retry-After": header}, body)
    assert failure.status == status
    assert failure.retry_after >= 0
