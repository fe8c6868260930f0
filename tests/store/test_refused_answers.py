"""What is read from the answers of servers, and what is dropped."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.store.error_mapping import Refusal, refusal_of


def xml(**elements: str) -> bytes:
    inside = "".join(f"<{name}>{text}</{name}>" for name, text in elements.items())
    return f'<?xml version="1.0"?>\n<Error>{inside}</Error>'.encode()


def test_codes_and_regions_are_read_from_the_document():
    body = xml(Code="AuthorizationHeaderMalformed", Region="eu-west-1")
    refusal = refusal_of(400, {}, body)
    assert refusal == Refusal(400, "AuthorizationHeaderMalformed", region="eu-west-1")


def test_the_header_names_the_region_too():
    body = xml(Code="PermanentRedirect", Endpoint="b.s3-eu-west-2.amazonaws.com")
    refusal = refusal_of(301, {"x-amz-bucket-region": "eu-west-2"}, body)
    assert refusal.region == "eu-west-2"
    assert refusal.endpoint == "b.s3-eu-west-2.amazonaws.com"


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
    refusal = refusal_of(status, headers, body)
    assert refusal.expired
    assert not refusal.denied


@pytest.mark.parametrize(
    ("refusal", "denied"),
    [
        (Refusal(403), True),
        (Refusal(403, "AccessDenied"), True),
        (Refusal(403, "SignatureDoesNotMatch"), False),
        (Refusal(401), False),
        (Refusal(503, "AccessDenied"), False),
    ],
)
def test_denied(refusal, denied):
    assert refusal.denied == denied


@pytest.mark.parametrize(
    ("refusal", "busy", "passing"),
    [
        (Refusal(503), True, True),
        (Refusal(429), True, True),
        (Refusal(403, "SlowDown"), True, True),
        (Refusal(500), False, True),
        (Refusal(400, "RequestTimeout"), False, True),
        (Refusal(501), False, False),
        (Refusal(403), False, False),
        (Refusal(400), False, False),
    ],
)
def test_passing(refusal, busy, passing):
    assert (refusal.busy, refusal.passing) == (busy, passing)


def test_retry_after_in_both_spellings():
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90)
    assert refusal_of(503, {"Retry-After": "7"}, b"").retry_after == 7
    dated = refusal_of(503, {"Retry-After": format_datetime(soon, usegmt=True)}, b"")
    assert 60 < dated.retry_after <= 90


def test_the_skew_of_the_clocks():
    body = xml(
        Code="RequestTimeTooSkewed",
        RequestTime="20260101T120000Z",
        ServerTime="2026-01-01T12:20:00Z",
    )
    assert refusal_of(403, {}, body).skew == 20 * 60
    assert refusal_of(403, {}, xml(Code="RequestTimeTooSkewed")).skew == 0


@given(st.integers(300, 599), st.binary(max_size=200), st.text(max_size=40))
def test_nothing_that_a_server_says_is_too_much(status, body, header):
    refusal = refusal_of(status, {"Retry-After": header}, body)
    assert refusal.status == status
    assert refusal.retry_after >= 0
