"""What the disk cache is told by, and that no secret is in it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from disk_cache_files import files, pixels, store_at
from napari_omezarr.demo.server import OWNER
from napari_omezarr.store import disk_cache_facts
from napari_omezarr.store.disk_cache import cache_key
from quick_retries import PIXELS, write_image

SECRETS = {
    "user": "//ann:PLANTED@",
    "aws": "?X-Amz-Credential=PLANTED&X-Amz-Signature=PLANTED&X-Amz-Expires=60",
    "azure": "?sv=2024-01-01&se=PLANTED&sp=r&sig=PLANTED%2F",
    "google": "?X-Goog-Signature=PLANTED&GoogleAccessId=PLANTED",
    "token": "?token=PLANTED",
    "other": "?whatever=PLANTED",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_secret_is_on_disk(cache, http_server, tmp_path, secret):
    write_image(tmp_path / "a.zarr", shards=True)
    if secret.startswith("//"):
        address = http_server.url.replace("//", secret) + "/a.zarr"
    else:
        address = f"{http_server.url}/a.zarr{secret}"
    np.testing.assert_array_equal(pixels(store_at(address)), PIXELS)
    assert len(files(cache)) > 3
    for file in files(cache):
        assert "PLANTED" not in str(file)
        assert "127.0.0.1" not in str(file)
        assert b"PLANTED" not in file.read_bytes()
    assert "PLANTED" not in repr(disk_cache_facts())


def test_keys_of_s3_are_not_on_disk(cache, s3_server, s3_prefix, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)
    s3_server.upload(write_image(tmp_path / "a.zarr"), f"private/{s3_prefix}")
    place = f"s3://private/{s3_prefix}"
    pixels(store_at(place, endpoint=s3_server.endpoint))
    assert files(cache)
    planted = [OWNER.key.encode(), OWNER.secret.encode(), b"Signature="]
    for file in files(cache):
        assert not any(secret in file.read_bytes() for secret in planted)


def test_a_new_signature_is_not_a_new_image(cache, http_server, tmp_path):
    write_image(tmp_path / "a.zarr")
    address = f"{http_server.url}/a.zarr?X-Amz-Date=1&X-Amz-Signature="
    pixels(store_at(f"{address}a"))
    http_server.clear()
    pixels(store_at(f"{address}b"))
    assert http_server.requests == []


PLAIN = "https://host/a/b?version=1"


@pytest.mark.parametrize(
    "same",
    [
        "https://HOST/a/b?version=1",
        "https://:pass@host/a/b?version=1",
    ],
)
def test_the_same_object(same):
    assert cache_key(same) == cache_key(PLAIN)
    assert re.fullmatch("[0-9a-f]{32}", cache_key(same))


@pytest.mark.parametrize(
    "other",
    [
        "http://host/a/b?version=1",
        "https://host/a/B?version=1",
        "https://host/a/b?version=2",
        "https://host/a/b",
        "https://host/a/b?version=1&X-Amz-Signature=x",
        "https://ann@host/a/b?version=1",
        "https://host:8443/a/b?version=1",
    ],
)
def test_another_object_or_another_reader(other):
    assert cache_key(other) != cache_key(PLAIN)
    assert cache_key(PLAIN, "as lab") != cache_key(PLAIN)


def test_azures_short_names_mean_nothing_without_a_signature():
    first, second = (f"https://host/a?se={number}" for number in "12")
    assert cache_key(first) != cache_key(second)
    assert cache_key(f"{first}&sig=x") == cache_key(f"{second}&sig=y")
