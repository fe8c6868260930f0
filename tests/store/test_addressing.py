"""Where buckets answer, decided without asking anybody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.store.addressing import bucket_address, corrected
from napari_omezarr.store.error_mapping import RequestFailed


@pytest.mark.parametrize(
    ("bucket", "region", "endpoint", "style", "url"),
    [
        ("idr", None, None, "auto", "https://idr.s3.us-east-1.amazonaws.com/a/b"),
        (
            "idr",
            "eu-west-2",
            None,
            "auto",
            "https://idr.s3.eu-west-2.amazonaws.com/a/b",
        ),
        ("idr", None, None, "path", "https://s3.us-east-1.amazonaws.com/idr/a/b"),
        ("a.b", None, None, "auto", "https://s3.us-east-1.amazonaws.com/a.b/a/b"),
        ("Big", None, None, "auto", "https://s3.us-east-1.amazonaws.com/Big/a/b"),
        (
            "idr",
            "cn-north-1",
            None,
            "auto",
            "https://idr.s3.cn-north-1.amazonaws.com.cn/a/b",
        ),
        ("idr", None, "https://s3.embl.de/", "auto", "https://s3.embl.de/idr/a/b"),
        ("idr", None, "s3.embl.de", "auto", "https://s3.embl.de/idr/a/b"),
        ("idr", None, "http://h:90", "virtual", "http://idr.h:90/a/b"),
    ],
)
def test_addresses(bucket, region, endpoint, style, url):
    assert bucket_address(bucket, region, endpoint, style).url("a/b") == url


def test_keys_are_encoded_as_they_are_signed():
    address = bucket_address("b", None, "http://h")
    assert address.url("a b/ü+~%25.txt") == "http://h/b/a%20b/%C3%BC%2B~%2525.txt"


@given(st.text(min_size=1, max_size=30))
def test_no_key_changes_the_host_or_ends_the_path(key):
    url = bucket_address("bucket", None, "http://host").url(key)
    assert url.startswith("http://host/bucket/")
    assert not {"?", "#", " "} & set(url)


AWS = bucket_address("idr", None, None)
OTHER = bucket_address("idr", None, "https://store.org")


@pytest.mark.parametrize(
    ("failure", "region"),
    [
        (RequestFailed(301, "PermanentRedirect", region="eu-west-1"), "eu-west-1"),
        (
            RequestFailed(400, "AuthorizationHeaderMalformed", region="eu-west-1"),
            "eu-west-1",
        ),
        (
            RequestFailed(301, endpoint="idr.s3-eu-central-1.amazonaws.com"),
            "eu-central-1",
        ),
        (RequestFailed(307, endpoint="idr.s3.eu-north-1.amazonaws.com"), "eu-north-1"),
    ],
)
def test_the_region_is_read_from_the_refusal(failure, region):
    better = corrected(AWS, failure)
    assert better is not None
    assert better.region == region
    assert corrected(better, failure) is None


@pytest.mark.parametrize(
    "failure",
    [
        RequestFailed(301, "PermanentRedirect", endpoint="idr.store.org"),
        RequestFailed(403, "SecondLevelDomainForbidden"),
        RequestFailed(403, "PathStyleDomainForbidden"),
    ],
)
def test_virtual_hosts_on_demand(failure):
    better = corrected(OTHER, failure)
    assert better is not None
    assert better.url("a") == "https://idr.store.org/a"
    assert corrected(better, failure) is None


@pytest.mark.parametrize(
    "failure",
    [
        RequestFailed(403, "AccessDenied", region="eu-west-1"),
        RequestFailed(404, "NoSuchKey"),
        RequestFailed(301, "PermanentRedirect", endpoint="idr.other.org"),
        RequestFailed(301, region="us-east-1"),
    ],
)
def test_other_refusals_move_nothing(failure):
    assert corrected(OTHER, failure) is None


def test_a_number_has_no_virtual_hosts():
    address = bucket_address("idr", None, "http://127.0.0.1:9000")
    assert corrected(address, RequestFailed(403, "SecondLevelDomainForbidden")) is None
