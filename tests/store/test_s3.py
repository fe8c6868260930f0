"""Buckets of a real S3 server: who signs, what happens if that is no good, where."""

from __future__ import annotations

import getpass
import hashlib
import json
import sys
import textwrap
from datetime import datetime

import numpy as np
import pytest
import zarr

from napari_omezarr import errors
from napari_omezarr.connections import (
    Connection,
    ConnectionFile,
    Keys,
    Profile,
    aws_profiles,
    key_store,
)
from napari_omezarr.demo.server import OWNER, READER
from napari_omezarr.location import Location
from napari_omezarr.store import brief, open_lister, open_store, open_writable, run
from napari_omezarr.store.sign_in import AwsChain
from quick_retries import PIXELS, QUICK, write_image
from servers import faults

KEYS = ["zarr.json", "0/zarr.json", ".zattrs", "labels/zarr.json"]


@pytest.fixture(scope="module")
def images(s3_server, tmp_path_factory):
    """The same image below ``public/`` and ``private/``, at this prefix."""
    folder = write_image(tmp_path_factory.mktemp("s3") / "a.zarr")
    for bucket in ("public", "private"):
        s3_server.upload(folder, f"{bucket}/test-s3/a b.zarr")
    return "test-s3/a b.zarr"


@pytest.fixture
def place(images, proxy):
    """Make the location of the image in a bucket; each test has its own endpoint."""

    def make(bucket, **options):
        address = f"s3://{bucket}/{images}"
        return Location.parse(address, endpoint=proxy.url, **options)

    return make


@pytest.fixture
def sign_in(monkeypatch):
    def sign_in(identity, token=None, secret=None):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", identity.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret or identity.secret)
        if token:
            monkeypatch.setenv("AWS_SESSION_TOKEN", token)

    return sign_in


def kinds(answers):
    return [type(answer).__name__ for answer in answers.values()]


FOUND = ["bytes", "bytes", "NoneType", "NoneType"]


def signed(request):
    return "authorization" in request.headers


def test_a_public_bucket_needs_no_sign_in(place, proxy):
    store = open_store(place("public"), retry=QUICK)
    with proxy.round_count() as rounds:
        assert kinds(store.fetch(KEYS)) == FOUND
    assert rounds.sizes == [4]
    assert not any(signed(request) for request in proxy.requests)
    assert store.notes == ("A public bucket is read without signing in: public.",)
    assert [brief(note) for note in store.notes] == ["public"]


@pytest.mark.parametrize("identity", [OWNER, READER])
def test_a_private_bucket_with_keys(place, proxy, sign_in, identity):
    sign_in(identity)
    store = open_store(place("private"), retry=QUICK)
    with proxy.round_count() as rounds:
        assert kinds(store.fetch(KEYS)) == FOUND
    assert rounds.sizes == [4]
    assert np.array_equal(zarr.open_array(store, path="0", mode="r")[...], PIXELS)
    assert {request.method for request in proxy.requests} == {"GET"}
    assert all(signed(request) for request in proxy.requests)
    assert store.notes == ()


def pasted(bucket, images, proxy, **options):
    return Location.parse(f"s3+{proxy.url}/{bucket}/{images}", **options)


def test_an_endpoint_that_a_text_names_gets_no_key_for_what_is_public(
    images, proxy, sign_in
):
    sign_in(OWNER, token="token")
    store = open_store(pasted("public", images, proxy), retry=QUICK)
    assert [store.fetch([key])[key] is None for key in KEYS] == [0, 0, 1, 1]
    assert not any(signed(request) for request in proxy.requests)
    assert len(proxy.requests) == len(KEYS)
    listed = run(open_lister(pasted("public", images, proxy), retry=QUICK).page())
    assert listed.items
    assert not any(signed(request) for request in proxy.requests)


def test_an_endpoint_that_a_text_names_is_asked_with_the_key_where_it_must(
    images, proxy, sign_in
):
    sign_in(OWNER)
    store = open_store(pasted("private", images, proxy), retry=QUICK)
    assert kinds(store.fetch(KEYS[:1])) == ["bytes"]
    assert [signed(request) for request in proxy.requests] == [False, True]
    assert kinds(store.fetch(KEYS)) == FOUND
    again = open_store(pasted("private", images, proxy), retry=QUICK)
    assert kinds(again.fetch(KEYS)) == FOUND
    assert all(signed(request) for request in proxy.requests[1:])
    assert store.notes == ()


def test_missing_keys_of_an_open_place_are_no_reason_for_a_key(images, proxy, sign_in):
    sign_in(OWNER)
    for path in ("/public", "/public/", *(f"*/{key}" for key in KEYS[2:])):
        proxy.fault(path, faults.s3_error(403, "AccessDenied"), forever=True)
    store = open_store(pasted("public", images, proxy), retry=QUICK)
    assert kinds(store.fetch(KEYS[:1])) == ["bytes"]
    assert kinds(store.fetch(KEYS)) == FOUND
    assert not any(signed(request) for request in proxy.requests)


@pytest.mark.parametrize("says", ["connection", "profile", "environment", "argument"])
def test_an_endpoint_that_the_person_names_gets_the_key(
    says, images, proxy, sign_in, monkeypatch
):
    sign_in(OWNER)
    location, profile = pasted("private", images, proxy), None
    match says:
        case "connection":
            ConnectionFile().save(Connection(Profile("lab", endpoint=proxy.url)))
            location = pasted("private", images, proxy, profile="lab")
        case "profile":
            profile = Profile("lab", endpoint=proxy.url)
        case "environment":
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"{proxy.url}/")
        case "argument":
            location = Location.parse(f"s3://private/{images}", endpoint=proxy.url)
    store = open_store(location, profile=profile, retry=QUICK)
    assert kinds(store.fetch(KEYS)) == FOUND
    assert all(signed(request) for request in proxy.requests)


@pytest.mark.parametrize("endpoint", ["http://lab.example", None])
def test_keys_that_were_typed_for_an_endpoint_go_to_no_other(endpoint, images, proxy):
    """Whoever wrote an address can name a connection and any endpoint."""
    profile = Profile("lab", endpoint=endpoint, sign_in="keys")
    ConnectionFile().save(Connection(profile))
    key_store().keep("lab", Keys(OWNER.key, OWNER.secret))
    store = open_store(pasted("private", images, proxy, profile="lab"), retry=QUICK)
    found = store.fetch(KEYS[:1])[KEYS[0]]
    assert isinstance(found, errors.SignInNeededError)
    assert proxy.requests
    assert not any(signed(request) for request in proxy.requests)


NO_BUCKETS = b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>"


@pytest.mark.parametrize(
    "answer", [faults.Status(200, NO_BUCKETS), faults.s3_error(403, "AccessDenied")]
)
@pytest.mark.parametrize("who", ["owner", "nobody"])
def test_the_buckets_of_an_endpoint_are_asked_for_without_a_key_first(
    answer, who, proxy, sign_in
):
    if who == "owner":
        sign_in(OWNER)
    proxy.fault("/", answer)
    lister = open_lister(Location.parse(f"s3+{proxy.url}/"), retry=QUICK)
    if who == "owner":
        names = {item.name for item in run(lister.page()).items}
        assert {"private", "public"} <= names
        assert [signed(request) for request in proxy.requests] == [False, True]
    elif answer.code == 200:
        assert run(lister.page()).items == ()
        assert len(proxy.requests) == 1
    else:
        with pytest.raises(errors.StoreError):
            run(lister.page())
        assert len(proxy.requests) == 1


def test_without_a_key_an_endpoint_is_asked_once(images, proxy):
    answers = open_store(pasted("private", images, proxy), retry=QUICK).fetch(KEYS)
    assert set(kinds(answers)) == {"SignInNeededError"}
    assert len(proxy.requests) == len(KEYS)


def test_a_private_bucket_without_keys(place, proxy):
    answers = open_store(place("private"), retry=QUICK).fetch(KEYS)
    assert set(kinds(answers)) == {"SignInNeededError"}
    assert "profile" in answers["zarr.json"].action
    assert len(proxy.requests) == len(KEYS)


def test_ranges_are_signed_too(place, sign_in):
    sign_in(OWNER)
    store = open_store(place("private"), retry=QUICK)
    shard = zarr.open_array(store, path="0", mode="r")
    assert np.array_equal(shard[3:5, 3:5], PIXELS[3:5, 3:5])


def test_anonymous_on_purpose(place, proxy, sign_in):
    sign_in(OWNER)
    store = open_store(place("public", anonymous=True), retry=QUICK)
    assert kinds(store.fetch(KEYS)) == FOUND
    assert not any(signed(request) for request in proxy.requests)
    assert store.notes == ()
    private = open_store(place("private", anonymous=True), retry=QUICK)
    assert set(kinds(private.fetch(KEYS))) == {"SignInNeededError"}


def test_a_wrong_key_does_not_close_a_public_bucket(place, proxy, sign_in):
    sign_in(OWNER, secret="wrong")
    store = open_store(place("public"), retry=QUICK)
    assert kinds(store.fetch(KEYS)) == FOUND
    (note,) = store.notes
    assert "does not accept the key" in note
    assert "The bucket public is read without signing in." in note
    proxy.clear()
    again = open_store(place("public"), retry=QUICK)
    assert kinds(again.fetch(KEYS)) == FOUND
    assert not any(signed(request) for request in proxy.requests)
    assert again.notes == store.notes


def test_a_wrong_key_and_a_private_bucket(place, sign_in):
    sign_in(OWNER, secret="wrong")
    store = open_store(place("private"), retry=QUICK)
    assert set(kinds(store.fetch(KEYS))) == {"KeyNotAcceptedError"}
    assert store.notes == ()


def test_an_unknown_key(place, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    store = open_store(place("private"), retry=QUICK)
    assert set(kinds(store.fetch(KEYS))) == {"KeyNotAcceptedError"}


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidToken", "AccessDenied"])
def test_a_sign_in_that_is_no_good_here(place, proxy, sign_in, code):
    sign_in(OWNER)
    for key in KEYS:
        proxy.fault(f"*/{key}", faults.s3_error(403, code))
    store = open_store(place("public"), retry=QUICK)
    assert kinds(store.fetch(KEYS)) == FOUND
    (note,) = store.notes
    assert note.endswith("The bucket public is read without signing in.")


def test_an_expired_sign_in_and_a_private_bucket(place, proxy, sign_in):
    sign_in(OWNER, token="token")
    # However often each is asked for: a connection that broke is asked again.
    proxy.fault("*", faults.s3_error(400, "ExpiredToken"), forever=True)
    answers = open_store(place("private"), retry=QUICK).fetch(KEYS)
    assert set(kinds(answers)) == {"SignInExpiredError"}
    assert answers["zarr.json"].sentence == "Your AWS sign-in has ended."


def test_a_sign_in_that_ends_later(place, proxy, sign_in):
    sign_in(OWNER)
    store = open_store(place("private"), retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    expired = faults.s3_error(400, "ExpiredToken")
    proxy.fault("*/c/0/0", expired, faults.Proceed())
    with pytest.raises(errors.SignInExpiredError):
        array[:2, :2]
    assert np.array_equal(array[:2, :2], PIXELS[:2, :2])


def test_no_permission(place, s3_server, s3_prefix, sign_in):
    s3_server.put(f"other/{s3_prefix}/zarr.json", b"{}")
    sign_in(READER)
    location = Location.parse(f"s3://other/{s3_prefix}", endpoint=s3_server.endpoint)
    (error,) = open_store(location, retry=QUICK).fetch(["zarr.json"]).values()
    assert type(error) is errors.AccessDeniedError
    assert error.sentence == f"This key may not read {location.display}/zarr.json."
    assert "profile" in error.action


def test_no_such_bucket(place, sign_in):
    sign_in(OWNER)
    store = open_store(place("no-such-bucket"), retry=QUICK)
    assert set(kinds(store.fetch(KEYS))) == {"BucketNotFoundError"}


def test_clocks_that_differ(place, proxy, sign_in):
    sign_in(OWNER)
    ahead = faults.time_ahead(20)
    skewed = faults.s3_error(403, "RequestTimeTooSkewed", headers=ahead)
    proxy.fault("*/zarr.json", *[skewed] * 3)
    store = open_store(place("private"), retry=QUICK)
    answers = store.fetch(["zarr.json"])
    assert kinds(answers) == ["ClockSkewError"]
    assert "differs by 20 min" in answers["zarr.json"].sentence


def test_a_clock_that_differs_is_made_up_for_in_reading(place, proxy, sign_in):
    """Told a wrong time, we are refused by a service that then says the right one."""
    sign_in(OWNER)
    behind = faults.time_ahead(-40)
    proxy.fault("*", faults.s3_error(403, "RequestTimeTooSkewed", headers=behind))
    store = open_store(place("private"), retry=QUICK)
    assert kinds(store.fetch(["zarr.json"])) == ["bytes"]
    assert all("clock of this computer differs" in each for each in store.notes)
    dates = [request.headers["x-amz-date"] for request in proxy.requests]
    times = [datetime.strptime(date, "%Y%m%dT%H%M%SZ") for date in dates]
    assert [round((each - times[0]).total_seconds() / 600) for each in times] == [
        *(0, -4, 0)
    ]


def test_who_writes_must_have_a_clock_that_is_right(place, proxy, sign_in):
    """A claim holds until a time, which others compare with theirs."""
    sign_in(OWNER)
    ahead = faults.time_ahead(20)
    proxy.fault("*", faults.s3_error(403, "RequestTimeTooSkewed", headers=ahead))
    with pytest.raises(errors.ClockSkewError):
        run(open_writable(place("private"), retry=QUICK).put("new", b"a"))


# Profiles and configuration files


def test_a_web_address_of_a_bucket_is_signed_on_demand(images, http_server, configure):
    # Nobody outside of this machine answers to the name, so the file server does.
    configure(
        credentials="""
        [lab]
        aws_access_key_id = key
        aws_secret_access_key = secret
        """
    )
    address = "http://s3.invalid/cells/a.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("http_proxy", http_server.url)
        plain = open_store(Location.parse(address), retry=QUICK)
        plain.fetch(["zarr.json"])
        named = open_store(Location.parse(address, profile="lab"), retry=QUICK)
        named.fetch(["zarr.json"])
        http_server.fault("*", faults.s3_error(403, "AccessDenied"), forever=True)
        (error,) = plain.fetch(["zarr.json"]).values()
    assert [signed(request) for request in http_server.requests[:2]] == [False, True]
    assert len({request.path for request in http_server.requests}) == 1
    assert isinstance(error, errors.SignInNeededError)


@pytest.fixture
def configure(clean_aws_environment):
    def configure(config="", credentials=""):
        folder = clean_aws_environment
        (folder / "config").write_text(textwrap.dedent(config))
        (folder / "credentials").write_text(textwrap.dedent(credentials))

    return configure


def test_a_profile_of_the_configuration(place, configure, sign_in, monkeypatch):
    configure(
        credentials=f"""
        [lab]
        aws_access_key_id = {OWNER.key}
        aws_secret_access_key = {OWNER.secret}
        """
    )
    assert aws_profiles() == ("lab",)
    sign_in(OWNER, secret="wrong")  # an explicit profile goes before the environment
    named = open_store(place("private", profile="lab"), retry=QUICK)
    assert kinds(named.fetch(KEYS)) == FOUND
    given = open_store(
        place("private"), retry=QUICK, profile=Profile("x", aws_profile="lab")
    )
    assert kinds(given.fetch(KEYS)) == FOUND


def test_a_profile_of_the_environment(place, configure, monkeypatch, proxy):
    configure(
        config=f"""
        [profile lab]
        aws_access_key_id = {OWNER.key}
        aws_secret_access_key = {OWNER.secret}
        endpoint_url = {proxy.url}
        region = eu-south-9
        """
    )
    monkeypatch.setenv("AWS_PROFILE", "lab")
    location = Location.parse(f"s3://private/{place('private').path}")
    assert kinds(open_store(location, retry=QUICK).fetch(KEYS)) == FOUND
    assert "/eu-south-9/s3/" in proxy.requests[0].headers["authorization"]


def test_an_explicit_profile_does_not_fall_back(place, configure):
    configure(
        credentials="""
        [lab]
        aws_access_key_id = nobody
        aws_secret_access_key = nothing
        """
    )
    store = open_store(place("public", profile="lab"), retry=QUICK)
    assert set(kinds(store.fetch(KEYS))) == {"KeyNotAcceptedError"}


def test_a_profile_that_does_not_exist(place, monkeypatch, proxy):
    answers = open_store(place("public", profile="nobody"), retry=QUICK).fetch(KEYS)
    assert set(kinds(answers)) == {"SignInNeededError"}
    assert answers["zarr.json"].sentence == "There is no AWS profile nobody."
    assert proxy.requests == []
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    store = open_store(place("public"), retry=QUICK)
    assert kinds(store.fetch(KEYS)) == FOUND
    assert store.notes[0].startswith("There is no AWS profile nobody.")


SSO = """
[profile lab]
sso_session = lab
sso_account_id = 111122223333
sso_role_name = reader
region = eu-central-1

[sso-session lab]
sso_region = eu-central-1
sso_start_url = https://nothing.invalid/start-of-napari-omezarr-tests
"""


def test_an_ended_sso_sign_in(place, configure, monkeypatch):
    configure(config=SSO)
    monkeypatch.setenv("AWS_PROFILE", "lab")
    store = open_store(place("public"), retry=QUICK)
    assert kinds(store.fetch(KEYS)) == FOUND
    assert store.notes[0].startswith("Your AWS sign-in for profile lab has ended.")
    answers = open_store(place("private"), retry=QUICK).fetch(KEYS)
    assert set(kinds(answers)) == {"SignInExpiredError"}
    assert answers["zarr.json"].action == "Run: aws sso login --profile lab"


def test_half_a_key(place, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "alone")
    store = open_store(place("public"), retry=QUICK)
    assert kinds(store.fetch(KEYS)) == FOUND
    assert store.notes[0].startswith("Your AWS credentials are not complete.")
    answers = open_store(place("private"), retry=QUICK).fetch(KEYS)
    assert set(kinds(answers)) == {"KeyNotAcceptedError"}


def test_a_broken_configuration(place, configure):
    configure(config="this is no configuration")
    store = open_store(place("public"), retry=QUICK)
    assert kinds(store.fetch(KEYS)) == FOUND
    assert store.notes[0].startswith("Your AWS sign-in fails.")


def test_a_role_that_wants_a_code_is_said_and_nobody_waits_for_it(
    place, configure, monkeypatch
):
    """Botocore would ask in the terminal, and hold all other requests meanwhile."""
    monkeypatch.setattr(getpass, "getpass", None)
    configure(
        config="""
        [profile lab]
        role_arn = arn:aws:iam::123456789012:role/reader
        source_profile = me
        mfa_serial = arn:aws:iam::123456789012:mfa/me
        region = us-east-1
        [profile me]
        aws_access_key_id = key
        aws_secret_access_key = secret
        """
    )
    store = open_store(place("private", profile="lab"), retry=QUICK)
    (error,) = store.fetch(["zarr.json"]).values()
    assert isinstance(error, errors.SignInNeededError)
    assert "asks for a code" in error.sentence
    assert "--profile lab" in error.action


@pytest.mark.parametrize(
    "config",
    [
        "[profile lab]\nservices = local\n[services local]\ns3 = text",
        "[profile lab]\nservices = missing",
        "services = text\n[profile lab]\nservices = local",
        "[profile lab]\nendpoint_url = http://h\n"
        "ignore_configured_endpoint_urls = true",
    ],
)
def test_sections_that_name_no_endpoint_leave_it_to_aws(config, configure):
    configure(config=config)
    assert AwsChain("lab").endpoint is None


@pytest.mark.parametrize("endpoint", ["http://[::1", "ftp://host", "s3://bucket"])
def test_an_endpoint_that_is_no_web_address_is_said(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with pytest.raises(errors.OptionError, match="no web address"):
        open_store(Location.parse("s3://bucket/x")).fetch(["zarr.json"])


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_the_endpoint_of_the_environment(place, images, proxy, monkeypatch, variable):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://nothing.invalid")
    monkeypatch.setenv(variable, proxy.url)
    location = Location.parse(f"s3://public/{images}")
    assert kinds(open_store(location, retry=QUICK).fetch(KEYS)) == FOUND
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    elsewhere = open_store(
        Location.parse(f"s3://public/{images}"),
        profile=Profile("", endpoint=proxy.url),
        retry=QUICK,
    )
    assert kinds(elsewhere.fetch(KEYS)) == FOUND


def test_the_endpoint_of_a_service_section(images, proxy, configure, monkeypatch):
    configure(
        config=f"""
        [profile lab]
        services = ours

        [services ours]
        s3 =
            endpoint_url = {proxy.url}
        """
    )
    monkeypatch.setenv("AWS_PROFILE", "lab")
    location = Location.parse(f"s3://public/{images}")
    assert kinds(open_store(location, retry=QUICK).fetch(KEYS)) == FOUND


def test_signing_in_while_napari_runs(place, sign_in):
    location = place("private")
    before = open_store(location, retry=QUICK)
    assert set(kinds(before.fetch(KEYS))) == {"SignInNeededError"}
    sign_in(OWNER)
    assert kinds(open_store(location, retry=QUICK).fetch(KEYS)) == FOUND


def test_a_machine_of_amazon(place, http_server, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", http_server.url)
    role = "/latest/meta-data/iam/security-credentials/"
    document = f"""{{"Code": "Success", "AccessKeyId": "{OWNER.key}",
        "SecretAccessKey": "{OWNER.secret}", "Token": "t",
        "Expiration": "2099-01-01T00:00:00Z"}}"""
    http_server.fault("/latest/api/token", faults.Status(200, b"token"), forever=True)
    http_server.fault(role, faults.Status(200, b"role"), forever=True)
    answer = faults.Status(200, document.encode())
    http_server.fault(f"{role}role", answer, forever=True)
    store = open_store(place("private"), retry=QUICK)
    store.fetch(KEYS)
    assert http_server.requests[-1].path == f"{role}role"
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    http_server.clear()
    assert set(kinds(open_store(place("private"), retry=QUICK).fetch(KEYS))) == {
        "SignInNeededError"
    }
    assert http_server.requests == []


# AWS's chain, each link of it against a stand-in for the service that gives the keys.

GIVEN = f"""
    <AccessKeyId>{OWNER.key}</AccessKeyId><SecretAccessKey>{OWNER.secret}
    </SecretAccessKey><SessionToken>given</SessionToken>
    <Expiration>2099-01-01T00:00:00Z</Expiration>"""


def sts(action):
    body = f"""<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
        <{action}Result><Credentials>{GIVEN}</Credentials></{action}Result>
        </{action}Response>"""
    return faults.Status(200, body.encode())


def as_json(key="AccessKeyId", secret="SecretAccessKey", **further):
    keys = {key: OWNER.key, secret: OWNER.secret, **further}
    return json.dumps(keys)


def by_process(folder, url, monkeypatch):
    (folder / "keys.json").write_text(as_json(Version=1, SessionToken="given"))
    script = "import sys; sys.stdout.write(open(sys.argv[1]).read())"
    (folder / "give.py").write_text(script)
    command = f'"{sys.executable}" "{folder / "give.py"}" "{folder / "keys.json"}"'
    monkeypatch.setenv("AWS_PROFILE", "lab")
    return f"[profile lab]\ncredential_process = {command}", {}


def by_container(folder, url, monkeypatch):
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/keys")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pass")
    body = as_json(Token="given", Expiration="2099-01-01T00:00:00Z")
    return "", {"/keys": faults.Status(200, body.encode())}


def by_web_identity(folder, url, monkeypatch):
    (folder / "token").write_text("who I am")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
    return "", {"*": sts("AssumeRoleWithWebIdentity")}


def by_role(folder, url, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "lab")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
    config = f"""
        [profile lab]
        role_arn = arn:aws:iam::123456789012:role/reader
        source_profile = me
        region = us-east-1
        [profile me]
        aws_access_key_id = {OWNER.key}
        aws_secret_access_key = {OWNER.secret}
        """
    return config, {"*": sts("AssumeRole")}


def by_sso(folder, url, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "lab")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", url)
    # Botocore finds the folder, which is below the person's home, as it is imported.
    cache = folder / "cache"
    cache.mkdir()
    place = "botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR"
    monkeypatch.setattr(place, str(cache))
    start = "https://nothing.invalid/start"
    name = f"{hashlib.sha1(start.encode()).hexdigest()}.json"
    token = {"accessToken": "whole", "expiresAt": "2099-01-01T00:00:00Z"}
    (cache / name).write_text(json.dumps(token | {"startUrl": start}))
    config = f"""
        [profile lab]
        sso_account_id = 123456789012
        sso_role_name = reader
        sso_region = eu-central-1
        sso_start_url = {start}
        """
    names = {"key": "accessKeyId", "secret": "secretAccessKey"}
    keys = as_json(**names, sessionToken="given", expiration=4070908800000)
    body = f'{{"roleCredentials": {keys}}}'
    return config, {"*": faults.Status(200, body.encode())}


@pytest.mark.parametrize(
    "link", [by_process, by_container, by_web_identity, by_role, by_sso]
)
def test_each_link_of_the_chain_signs(
    link, place, proxy, http_server, configure, tmp_path, monkeypatch
):
    config, answers = link(tmp_path, http_server.url, monkeypatch)
    configure(config=config)
    for path, answer in answers.items():
        http_server.fault(path, answer, forever=True)
    # The server behind knows no such token: what counts is who asks it.
    proxy.fault("*", faults.Status(200, b"{}"), forever=True)
    store = open_store(place("private"), retry=QUICK)
    assert store.fetch(["zarr.json", "0/zarr.json"]) == dict.fromkeys(
        ["zarr.json", "0/zarr.json"], b"{}"
    )
    assert len(http_server.requests) == bool(answers)
    assert {r.headers["x-amz-security-token"] for r in proxy.requests} == {"given"}
    asked = {request.headers["authorization"] for request in proxy.requests}
    assert all(f"Credential={OWNER.key}/" in text for text in asked)
    assert "given" not in repr(store) + str(store.notes)


# Where the bucket is


@pytest.mark.parametrize(
    "refusal",
    [
        faults.s3_error(400, "AuthorizationHeaderMalformed", Region="eu-west-1"),
        faults.s3_error(
            301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-1"}
        ),
    ],
)
def test_the_region_is_followed_and_remembered(place, proxy, sign_in, refusal):
    sign_in(OWNER)
    proxy.fault("*", refusal)
    store = open_store(place("private"), retry=QUICK)
    assert kinds(store.fetch(["zarr.json"])) == ["bytes"]
    assert store.notes == ("The bucket private lives in region eu-west-1.",)
    assert kinds(store.fetch(KEYS)) == FOUND
    assert len(proxy.requests) == 2 + len(KEYS)
    regions = [r.headers["authorization"].split("/")[2] for r in proxy.requests]
    assert regions == ["us-east-1"] + ["eu-west-1"] * (1 + len(KEYS))


def test_a_region_that_does_not_help(place, proxy, sign_in):
    sign_in(OWNER)
    refusal = faults.s3_error(301, "PermanentRedirect", Region="eu-west-1")
    proxy.fault("*", refusal, forever=True)
    answers = open_store(place("private"), retry=QUICK).fetch(["zarr.json"])
    assert kinds(answers) == ["WrongRegionError"]
    assert "eu-west-1" in answers["zarr.json"].sentence
    assert len(proxy.requests) == 2


@pytest.mark.parametrize("region", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_of_the_environment(place, proxy, sign_in, monkeypatch, region):
    sign_in(OWNER)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-south-8")
    monkeypatch.setenv(region, "eu-south-9")
    open_store(place("private"), retry=QUICK).fetch(["zarr.json"])
    assert "/eu-south-9/s3/" in proxy.requests[0].headers["authorization"]
    explicit = place("private", region="eu-south-7")
    open_store(explicit, retry=QUICK).fetch(["zarr.json"])
    assert "/eu-south-7/s3/" in proxy.requests[-1].headers["authorization"]


@pytest.mark.skipif(sys.platform == "win32", reason="a colon in a file name")
def test_the_bucket_moves_into_the_host_on_demand(http_server, tmp_path, monkeypatch):
    # The file server plays a proxy: it alone knows these hosts.
    monkeypatch.setenv("http_proxy", http_server.url)
    folder = tmp_path / "http:" / "cells.objects.invalid"
    folder.mkdir(parents=True)
    (folder / "zarr.json").write_bytes(b"{}")
    refusal = faults.s3_error(403, "SecondLevelDomainForbidden")
    http_server.fault("http://objects.invalid/*", refusal, forever=True)
    location = Location.parse("s3://cells", endpoint="http://objects.invalid")
    store = open_store(location, retry=QUICK)
    assert store.fetch(["zarr.json"]) == {"zarr.json": b"{}"}
    assert store.fetch(["zarr.json"]) == {"zarr.json": b"{}"}
    assert "cells is addressed by its own host name." in store.notes
    hosts = [request.path.split("/")[2] for request in http_server.requests]
    assert hosts == ["objects.invalid"] + ["cells.objects.invalid"] * 2


def test_a_busy_server_is_asked_again(place, proxy, sign_in):
    sign_in(OWNER)
    busy = faults.s3_error(503, "SlowDown", headers={"Retry-After": "0"})
    proxy.fault("*/zarr.json", busy, busy)
    store = open_store(place("private"), retry=QUICK)
    assert kinds(store.fetch(["zarr.json"])) == ["bytes"]
    proxy.fault("*/zarr.json", busy, forever=True)
    answers = store.fetch(["zarr.json"])
    assert kinds(answers) == ["ServerBusyError"]
    assert len(proxy.requests) == 6
