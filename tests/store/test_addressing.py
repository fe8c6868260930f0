"""Where buckets answer, decided without asking anybody."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.connections import Profile
from napari_omezarr.location import Location
from napari_omezarr.store.addressing import bucket_address, corrected
from napari_omezarr.store.error_mapping import RequestFailed
from napari_omezarr.store.sign_in import shared_bucket


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


ACCESS_POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint/my-ap"
LAMBDA = "arn:aws:s3-object-lambda:us-west-2:123456789012:accesspoint/my-ap"


@pytest.mark.parametrize("stack", ["", "dual"])
@pytest.mark.parametrize("fips", ["", "fips"])
@pytest.mark.parametrize(
    ("bucket", "region"),
    [
        ("idr", "eu-west-1"),
        ("with.dots", "eu-west-1"),
        ("idr", "us-gov-west-1"),
        ("data--use1-az4--x-s3", "us-east-1"),
        ("data--apne1-az4--x-s3", "ap-northeast-1"),
        (ACCESS_POINT, "us-west-2"),
        (LAMBDA, "us-west-2"),
    ],
)
def test_hosts_and_signatures_are_those_of_botocore(bucket, region, fips, stack, aws):
    if bucket is LAMBDA and stack:
        pytest.skip("AWS has no such host")
    location = Location.parse(f"s3://{bucket}/a/b.zarr")
    ours = bucket_address(
        location.root,
        None if location.endpoint or "--" in bucket else region,
        location.endpoint,
        fips=bool(fips),
        dual_stack=bool(stack),
    )
    sent = []

    def answer(request, **_):
        sent.append(request)
        return AWSResponse(request.url, 200, {}, BytesIO())

    theirs = aws(region, bool(fips), bool(stack))
    theirs.meta.events.register("before-send.s3", answer, unique_id="sent")
    theirs.get_object(Bucket=bucket, Key="a/b.zarr")
    theirs.meta.events.unregister("before-send.s3", unique_id="sent")
    (request,) = sent
    assert ours.url(location.path) == request.url
    scope = request.headers["Authorization"].decode().split("/")
    assert [ours.region, ours.signed_as] == scope[2:4]


@pytest.fixture(scope="module")
def aws():
    """Make clients of botocore, which are asked for addresses and nothing else."""
    session = botocore.session.Session()

    @cache
    def client(region, fips, dual_stack):
        return session.create_client(
            "s3",
            region_name=region,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            config=Config(
                use_fips_endpoint=fips,
                use_dualstack_endpoint=dual_stack,
                s3={"disable_s3_express_session_auth": True},
            ),
        )

    return client


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("https://s3.dualstack.eu-west-1.amazonaws.com/", None),
        ("S3-Fips.us-east-2.amazonaws.com", "https://idr.s3-fips.us-east-2{}"),
        ("https://s3.eu-west-1.amazonaws.com", None),
        ("http://s3.eu-west-1.amazonaws.com", "http://s3.eu-west-1{}/idr"),
        ("https://s3-accelerate.amazonaws.com", "https://idr.s3-accelerate{}"),
        (
            "https://s3.eu-west-1.amazonaws.com.evil.org",
            "https://s3.eu-west-1{}.evil.org/idr",
        ),
        ("https://evil-s3.eu-west-1.amazonaws.com", "https://evil-s3.eu-west-1{}/idr"),
    ],
)
def test_hosts_of_aws_may_be_given_as_endpoints(endpoint, url):
    url = url or endpoint.rstrip("/").replace("https://", "https://idr.")
    address = bucket_address("idr", None, endpoint, fips=False)
    assert address.url("a") == f"{url.format('.amazonaws.com')}/a"


def test_a_host_of_aws_follows_the_region():
    address = bucket_address(
        "idr", None, "https://s3.dualstack.eu-west-1.amazonaws.com"
    )
    better = corrected(address, RequestFailed(301, region="eu-north-1"))
    assert better is not None
    assert better.url("a") == "https://idr.s3.dualstack.eu-north-1.amazonaws.com/a"


def test_other_endpoints_have_no_such_hosts():
    address = bucket_address("idr", None, "http://h", fips=True, dual_stack=True)
    assert address == bucket_address("idr", None, "http://h")


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


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "s3-fips.us-east-1"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "s3.dualstack.us-east-1"),
        ({"config": "use_fips_endpoint = true"}, "s3-fips.us-east-1"),
        ({"config": "s3 =\n  use_dualstack_endpoint = true"}, "s3.dualstack.us-east-1"),
        ({"AWS_USE_FIPS_ENDPOINT": "false"}, "s3.us-east-1"),
    ],
)
def test_which_hosts_the_person_wants(
    settings, host, clean_aws_environment, monkeypatch
):
    for name, text in settings.items():
        if name == "config":
            (clean_aws_environment / name).write_text(f"[default]\n{text}\n")
        else:
            monkeypatch.setenv(name, text)
    address = shared_bucket("idr", Profile(""), automatic=True).address
    assert address.url("a") == f"https://idr.{host}.amazonaws.com/a"
