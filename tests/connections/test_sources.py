"""Connections taken over from other programs, and those that are shipped."""

from __future__ import annotations

import json
from datetime import date

import pytest

from napari_omezarr.connections import (
    Keys,
    Profile,
    belongs,
    demo_connection,
    from_aws,
    from_mc,
    key_store,
    locate,
    shipped,
)
from napari_omezarr.location import Location


def test_aws_profiles_become_connections(clean_aws_environment):
    (clean_aws_environment / "config").write_text(
        "[profile lab]\nregion = eu-1\nendpoint_url = https://minio.lab:9000/\n"
        "ca_bundle = /etc/lab.pem\ns3 =\n    addressing_style = path\n"
        "[profile sso]\nsso_session = work\n[profile odd]\nendpoint_url = ftp://x\n"
    )
    (clean_aws_environment / "credentials").write_text(
        "[lab]\naws_access_key_id = PLANTED\naws_secret_access_key = PLANTED\n"
    )
    assert {profile.name: profile for profile in from_aws()} == {
        "lab": Profile(
            "lab",
            aws_profile="lab",
            endpoint="https://minio.lab:9000",
            region="eu-1",
            style="path",
            ca_file="/etc/lab.pem",
        ),
        "sso": Profile("sso", aws_profile="sso"),
        "odd": Profile("odd", aws_profile="odd"),
    }
    assert "PLANTED" not in repr(from_aws())


def test_a_broken_aws_configuration_gives_no_connection(clean_aws_environment):
    (clean_aws_environment / "config").write_text("[profile lab\n")
    assert from_aws() == ()


MC = {
    "version": "10",
    "aliases": {
        "lab": {
            "url": "https://minio.lab:9000/",
            "accessKey": "PLANTED-KEY",
            "secretKey": "PLANTED-SECRET",
            "path": "on",
        },
        "play": {"url": "https://play.min.io", "accessKey": "", "path": "auto"},
        "odd": {"url": 3},
        "broken": {"url": "ftp://x"},
        "none": 3,
    },
}


@pytest.mark.parametrize("secrets", [False, True])
def test_aliases_of_mc_become_connections(tmp_path, monkeypatch, secrets):
    (tmp_path / "config.json").write_text(json.dumps(MC))
    monkeypatch.setenv("MC_CONFIG_DIR", str(tmp_path))
    found = from_mc(secrets=secrets)
    assert found == (
        Profile("lab", endpoint="https://minio.lab:9000", style="path", sign_in="keys"),
        Profile("play", endpoint="https://play.min.io", sign_in="anonymous"),
    )
    assert "PLANTED" not in repr(found)
    kept = Keys("PLANTED-KEY", "PLANTED-SECRET") if secrets else None
    assert key_store().find("lab") == kept


@pytest.mark.parametrize("content", ["{", "[]", '{"aliases": []}'])
def test_without_aliases_there_is_nothing_to_take_over(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    assert from_mc(tmp_path / "config.json") == ()


def test_every_shipped_place_parses_and_belongs_to_its_connection():
    content = shipped()
    assert date.fromisoformat(content.date) >= date(2026, 11, 1)
    assert content.source
    names = [connection.name for connection in content.connections]
    assert len(names) == len(set(names)) >= 6
    for connection in content.connections:
        assert connection.profile.anonymous
        start = connection.locate(connection.profile.start)
        assert belongs(start, connection.profile)
        others = [c for c in content.connections if c is not connection]
        assert not any(belongs(start, other.profile) for other in others)
        for bookmark in connection.bookmarks:
            assert belongs(Location.parse(bookmark.address), connection.profile)


def test_a_place_belongs_to_the_connection_that_it_names():
    profile = Profile("lab", endpoint="https://minio.lab:9000")
    assert belongs(locate("s3://data/x", profile), profile)
    assert not belongs(Location.parse("s3://data/x"), profile)


def test_the_demo_is_a_connection():
    demo = demo_connection("http://127.0.0.1:8333")
    assert demo.locate("s3://public/x").endpoint == "http://127.0.0.1:8333"
    assert all(
        belongs(Location.parse(bookmark.address), demo.profile)
        for bookmark in demo.bookmarks
    )
