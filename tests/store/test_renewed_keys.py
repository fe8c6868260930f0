"""Keys that end while an image is read: renewed, or an error that says what to do."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from napari_omezarr import errors
from napari_omezarr.location import Location
from napari_omezarr.pyramid import to_dask
from napari_omezarr.reading import read
from napari_omezarr.store import open_store
from quick_retries import QUICK
from servers.faults import s3_error
from servers.http import FileServer
from servers.wire import Answer, Request
from small_images import pixels as random_pixels
from small_images import put_image

KEYS = "/keys"
FAR = "2099-01-01T00:00:00Z"
SECRET = "not-for-any-log"


class Service(FileServer):
    """A bucket, and the service that gives keys for it; the first one ends early.

    Attributes
    ----------
    lasts : int
        How many objects the first key is good for; all others are good for ever.
    given : list
        What is answered to who asks for keys, one after another, the last for ever.
    """

    def __init__(self, root):
        self.lasts = 1 << 30
        self.given = []
        self.asked = 0
        self.used = Counter()
        self.refused = Counter()
        super().__init__(root)

    async def answer(self, request: Request) -> Answer:
        if request.path == KEYS or request.method == "POST":
            self.asked += 1
            return self.given[min(self.asked, len(self.given)) - 1]
        token = request.headers.get("x-amz-security-token")
        if token is None:
            return as_answer(s3_error(403, "AccessDenied"))
        self.used[token] += 1
        if token == "first" and self.used[token] > self.lasts:
            self.refused[request.path] += 1
            return as_answer(s3_error(400, "ExpiredToken"))
        return await super().answer(request)


def as_answer(fault):
    return Answer(fault.code, fault.headers, fault.body)


def keys(token, ends=FAR):
    said = {"AccessKeyId": token, "SecretAccessKey": SECRET, "Token": token}
    return Answer(200, {}, json.dumps(said | {"Expiration": ends}).encode())


def from_sts(token):
    body = f"""<AssumeRoleWithWebIdentityResponse
        xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
        <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{token}</AccessKeyId>
        <SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>{token}</SessionToken>
        <Expiration>{FAR}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
        </AssumeRoleWithWebIdentityResponse>"""
    return Answer(200, {}, body.encode())


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A bucket with an image in 64 chunks, and the same in 4 shards."""
    folder = tmp_path_factory.mktemp("buckets")
    made = {"names": "yx", "shape": PIXELS.shape, "count": 1, "chunks": (4, 4)}
    put_image(folder / "lab" / "chunks", **made)
    put_image(folder / "lab" / "shards", **made, shards=(16, 16))
    return folder


PIXELS = random_pixels((32, 32))


@pytest.fixture
def service(images):
    with Service(images) as server:
        yield server


@pytest.fixture
def by_container(service, monkeypatch):
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}{KEYS}")


@pytest.fixture
def by_sts(service, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("who I am")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.url)


def pixels_at(service, name):
    location = Location.parse(f"s3://lab/{name}", endpoint=service.url)
    return read(location).pyramids[0].levels[0].pixels


@pytest.mark.parametrize("name", ["chunks", "shards"])
@pytest.mark.parametrize("how", [lambda pixels: pixels[...], to_dask])
@pytest.mark.usefixtures("by_container")
def test_keys_that_end_in_the_middle_of_a_read_are_renewed(service, name, how):
    service.given = [keys("first"), keys("second")]
    pixels = pixels_at(service, name)
    service.lasts = service.used["first"] + 2
    assert np.array_equal(np.asarray(how(pixels)), PIXELS)
    # One asks for all that were under way, and each of them is asked for once more.
    assert service.asked == 2
    assert service.refused
    assert set(service.refused.values()) == {1}
    assert set(service.used) == {"first", "second"}


@pytest.mark.usefixtures("by_container")
def test_keys_that_are_about_to_end_are_renewed_before_they_are_used(service):
    service.given = [keys("first", "2001-01-01T00:00:00Z"), keys("second")]
    assert np.array_equal(pixels_at(service, "chunks")[...], PIXELS)
    assert service.asked == 2
    assert set(service.used) == {"second"}


ENDED = as_answer(s3_error(400, "ExpiredTokenException"))
USELESS = {
    "no keys": ("by_container", Answer(200, {}, b"{}")),
    "ended": ("by_container", keys(SECRET, "2001-01-01T00:00:00Z")),
    "no date": ("by_container", keys(SECRET, "soon")),
    "no document": ("by_sts", Answer(200, {}, SECRET.encode())),
    "refused": ("by_sts", ENDED),
}


@pytest.mark.parametrize(("way", "useless"), USELESS.values(), ids=USELESS)
def test_keys_that_cannot_be_renewed_are_an_error_of_ours(
    service, way, useless, request, caplog
):
    request.getfixturevalue(way)
    give = keys if way == "by_container" else from_sts
    service.given = [give("first"), useless]
    pixels = pixels_at(service, "chunks")
    service.lasts = service.used["first"] + 2
    with pytest.raises(errors.SignInExpiredError) as caught:
        pixels[...]
    assert caught.value.action
    # Whoever comes later asks once more, and is told why nobody signs.
    with pytest.raises(errors.AccessDeniedError) as later:
        pixels[:4, :4]
    assert later.value.action
    said = f"{caught.value} {later.value} {caplog.text}"
    assert SECRET not in said
    service.given = [give("third")]
    assert np.array_equal(pixels[:4, :4], PIXELS[:4, :4])


@pytest.mark.parametrize(("way", "useless"), USELESS.values(), ids=USELESS)
def test_who_never_gets_keys_is_told_so(service, way, useless, request, caplog):
    request.getfixturevalue(way)
    service.given = [useless]
    location = Location.parse("s3://lab/chunks", endpoint=service.url)
    (answer,) = open_store(location, retry=QUICK).fetch(["zarr.json"]).values()
    assert isinstance(answer, errors.StoreError)
    assert answer.action
    assert SECRET not in f"{answer} {caplog.text}"
