"""Connections that need not be typed: from other programs, shipped, or offered."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import LocationError
from napari_omezarr.location import Location
from napari_omezarr.user_files import read_json

from .connections import Bookmark, Connection, Profile, Style, parse_connection
from .secrets import Keys, key_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.session import Session

# Connections taken over from the AWS configuration and from MinIO's client.

_STYLES: dict[str, Style] = {"on": "path", "off": "virtual", "auto": "auto"}
"""What MinIO's client calls the ways of naming a bucket."""


def aws_profiles() -> tuple[str, ...]:
    """List the profiles of the AWS configuration files, in their order."""
    return tuple(_aws_session().available_profiles)


def from_aws() -> tuple[Profile, ...]:
    """Make a connection for each profile of the AWS configuration files.

    They name the profile, which goes on to sign in, by SSO too: no key is read.
    """
    from botocore.exceptions import BotoCoreError

    session = _aws_session()
    try:
        configured = session.full_config.get("profiles", {})
        names = session.available_profiles
    except BotoCoreError:
        return ()
    return tuple(_from_aws(name, configured.get(name, {})) for name in names)


def _aws_session() -> Session:
    # Late: botocore takes 0.4 s to import, and an anonymous connection needs none.
    from botocore.session import Session

    return Session()


def from_mc(file: Path | None = None, *, secrets: bool = False) -> tuple[Profile, ...]:
    """Make a connection for each alias of MinIO's client.

    Its configuration lies in ``MC_CONFIG_DIR``, or in ``~/.mc``. With `secrets` the
    keys are taken over too, as ``KeyStore.keep`` keeps them: only if the person asked.
    """
    folder = Path(os.environ.get("MC_CONFIG_DIR") or "~/.mc").expanduser()
    content = read_json(file or folder / "config.json")
    aliases = content.get("aliases") if isinstance(content, dict) else None
    aliases = aliases if isinstance(aliases, dict) else {}
    found = []
    for name, alias in aliases.items():
        profile = _from_mc(name, alias) if isinstance(alias, dict) else None
        if profile is None:
            continue
        found.append(profile)
        if secrets and profile.sign_in == "keys":
            token = str(alias.get("sessionToken", ""))
            keys = Keys(str(alias["accessKey"]), str(alias.get("secretKey", "")), token)
            key_store().keep(name, keys)
    return tuple(found)


def _from_aws(name: str, settings: dict[str, Any]) -> Profile:
    nested = settings.get("s3")
    style = nested.get("addressing_style") if isinstance(nested, dict) else None
    return Profile(
        name,
        aws_profile=name,
        endpoint=_endpoint(settings.get("endpoint_url")),
        region=settings.get("region"),
        style=style if style in ("path", "virtual") else "auto",
        ca_file=settings.get("ca_bundle"),
    )


def _from_mc(name: str, alias: dict[str, Any]) -> Profile | None:
    endpoint = _endpoint(alias.get("url"))
    if endpoint is None:
        return None
    return Profile(
        name,
        endpoint=endpoint,
        style=_STYLES.get(str(alias.get("path")), "auto"),
        sign_in="keys" if alias.get("accessKey") else "anonymous",
    )


def _endpoint(text: object) -> str | None:
    """Give a service's address as our addresses have it; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        return Location.parse("s3://bucket", endpoint=text.rstrip("/")).endpoint
    except LocationError:
        return None


# Connections that come with the plugin: a data file with its date and its source.


@dataclass(frozen=True, slots=True)
class Shipped:
    """The connections that come with the plugin, as of a ``date`` (ISO 8601)."""

    date: str
    source: str
    connections: tuple[Connection, ...]


@cache
def shipped() -> Shipped:
    """Read the connections that come with the plugin."""
    file = files("napari_omezarr.connections") / "bookmarks.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    rows = tuple(parse_connection(row) for row in content["connections"])
    return Shipped(content["date"], content["source"], rows)


_offered: list[Connection] = []


@contextmanager
def offering(connection: Connection) -> Iterator[None]:
    """Offer one more connection while the block runs; nothing is written."""
    _offered.append(connection)
    try:
        yield
    finally:
        _offered.remove(connection)


def offered() -> tuple[Connection, ...]:
    """Give the connections that are offered just now."""
    return tuple(_offered)


def demo_connection(endpoint: str) -> Connection:
    """Make the connection of the demo's own server, at ``http://127.0.0.1:port``."""
    profile = Profile(
        "Demo server", endpoint=endpoint, sign_in="anonymous", start="s3://public"
    )
    bookmarks = tuple(
        Bookmark(name, f"s3+{endpoint}/public/{key}|anonymous:true")
        for name, key in (("Cells", "cells.ome.zarr"), ("Plate", "plate.ome.zarr"))
    )
    return Connection(profile, bookmarks)
