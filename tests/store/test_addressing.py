"""Where buckets answer, decided without asking anybody."""

from __future__ import annotations

from contextlib import suppress
from functools import cache, partial
from io import BytesIO
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.connections import Profile
from napari_omezarr.errors import OptionError, StoreError
from napari_omezarr.location import Location
from napari_omezarr.store import open_lister, open_store, open_writable, run
from napari_omezarr.store.addressing import bucket_address, corrected
from napari_omezarr.store.error_mapping import RequestFailed
from napari_omezarr.store.sign_in import shared_bucket
from quick_retries import QUICK
from servers.http import FileServer


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
        ("idr", None, "http://[::1]:90", "virtual", "http://[::1]:90/idr/a/b"),
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


OTHER_HOST = "http://objects.invalid"
CHINA = "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/my-ap"
GOVERNMENT = "arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint/my-ap"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """A proxy that knows every host, and has nothing."""
    with FileServer(tmp_path_factory.mktemp("hosts")) as server:
        yield server


def asked_by_botocore(point, region):
    """What botocore sends to read, list, write and copy, as the environment says."""
    asked = []

    def answer(request, **_):
        asked.append(request)
        return AWSResponse(request.url, 404, {}, BytesIO())

    session = botocore.session.Session()
    client = session.create_client("s3", region_name=region)
    client.meta.events.register("before-send.s3", answer)
    copied = {"Bucket": point, "Key": "a b.zarr/0"}
    for ask in (
        partial(client.get_object, Key="a b.zarr/0"),
        partial(client.list_objects_v2, Prefix="a b.zarr/"),
        partial(client.put_object, Key="a b.zarr/0", Body=b"x"),
        partial(client.copy_object, Key="a b.zarr/1", CopySource=copied),
    ):
        # It takes an answer without a text for one that it cannot read.
        with suppress(ClientError, AttributeError):
            ask(Bucket=point)
    client.close()
    assert len(asked) == 4
    return {told(each.method, each.url, each.headers) for each in asked}


def told(method, url, headers):
    """Say what decides where a request goes, and who answers for it."""
    parts = urlsplit(url)
    words = {
        name.lower(): text.decode() if isinstance(text, bytes) else text
        for name, text in headers.items()
    }
    scope = words["authorization"].split("/")[2:4]
    # Both spellings of the name are right.
    source = words.get("x-amz-copy-source", "").replace("point%3A", "point/")
    return method, parts.netloc, parts.path, *scope, source


@pytest.mark.parametrize(
    ("point", "said", "style"),
    [
        (ACCESS_POINT, "argument", "auto"),
        (ACCESS_POINT, "text", "path"),
        (LAMBDA, "connection", "auto"),
        (f"{ACCESS_POINT}".replace("/", ":"), "AWS_ENDPOINT_URL", "auto"),
        (LAMBDA, "AWS_ENDPOINT_URL_S3", "path"),
        (ACCESS_POINT, "config", "virtual"),
        (CHINA, "argument", "auto"),
        (GOVERNMENT, "config", "auto"),
    ],
)
def test_an_access_point_at_an_endpoint_is_asked_as_by_botocore(
    point, said, style, hosts, clean_aws_environment, monkeypatch
):
    monkeypatch.setenv("http_proxy", hosts.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    lines = [f"s3 =\n  addressing_style = {style}\n"]
    if said == "config":
        lines.append(f"endpoint_url = {OTHER_HOST}\n")
    elif said.startswith("AWS"):
        monkeypatch.setenv(said, OTHER_HOST)
    (clean_aws_environment / "config").write_text("[default]\n" + "".join(lines))
    text = f"s3+{OTHER_HOST}/{point}" if said == "text" else f"s3://{point}"
    location = Location.parse(
        f"{text}/a b.zarr", endpoint=OTHER_HOST if said == "argument" else None
    )
    assert Location.parse(str(location)) == location
    endpoint = OTHER_HOST if said in ("connection", "text") else None
    # The access point's own region counts, whatever else is said.
    profile = Profile("", endpoint=endpoint, region="eu-central-1", style=style)
    hosts.clear()
    place = open_writable(location, profile=profile, retry=QUICK)
    lister = open_lister(location, profile=profile, retry=QUICK)
    open_store(location, profile=profile, retry=QUICK).fetch(["0"])
    for work in (lister.page(""), place.put("0", b"x"), place.copy("0", "1", 1)):
        with suppress(StoreError):
            run(work)
    ours = {
        told(request.method, request.raw.split(b" ")[1].decode(), request.headers)
        for request in hosts.requests
        if "authorization" in request.headers
    }
    if not said.startswith("AWS"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", OTHER_HOST)
    region = point.split(":")[3]
    assert ours == asked_by_botocore(point, region)


@pytest.mark.parametrize("point", [ACCESS_POINT, LAMBDA, CHINA, GOVERNMENT])
def test_an_access_point_is_known_by_its_whole_name(point):
    # Another region may have one with the same name and account.
    address = bucket_address(Location.parse(point).root, None, None)
    assert address.name == point


def test_an_endpoint_that_is_no_address_is_told(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://[::zz]:9000")
    store = open_store(Location.parse("s3://cells/a.zarr"))
    with pytest.raises(OptionError, match="no web address"):
        store.fetch(["zarr.json"])


def test_the_region_of_a_host_of_aws_counts():
    place = Location.parse("s3+https://s3-accesspoint.eu-west-1.amazonaws.com/ap-1/x")
    address = bucket_address(place.root, "us-east-1", place.endpoint)
    assert address.url("x") == "https://ap-1.s3-accesspoint.eu-west-1.amazonaws.com/x"


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
