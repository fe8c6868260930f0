"""Connections by name, the file that keeps them, and which places belong to one."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from napari_omezarr.errors import (
    AccessDeniedError,
    ClockSkewError,
    LocationError,
    ReadOnlyError,
)
from napari_omezarr.location import WEB, Location, without_secrets
from napari_omezarr.user_files import (
    Recents,
    configuration_folder,
    read_json,
    write_json,
)

from .secrets import Keys, key_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from botocore.session import Session

    from napari_omezarr.user_files import Recent

Style = Literal["auto", "path", "virtual"]

SignIn = Literal["automatic", "anonymous", "profile", "environment", "keys", "header"]
"""How a connection signs in: by whatever works, never, with an AWS profile (SSO too),
with what the environment has, with keys that the person typed, or at a web server with
a token or headers that she typed."""
TYPED_SIGN_INS = ("keys", "header")
SERVED = ("s3", *WEB)
"""The protocols of places that a connection can be for."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How to reach a service and as whom, by the name that the person gave it.

    It is what a `Location` names and what a store signs in with; a `Connection` adds
    the places that the person keeps for it. No secret is in it.
    """

    name: str
    """What the person calls it."""
    aws_profile: str | None = None
    """The AWS profile that signs in; None leaves it to the environment."""
    endpoint: str | None = None
    """``https://host[:port]`` of an S3-compatible service; None is AWS."""
    region: str | None = None
    """Where the buckets live, if it is known."""
    style: Style = "auto"
    """Whether buckets are named in the path or in the host."""
    sign_in: SignIn = "automatic"
    """As whom. With an `aws_profile`, "automatic" is "profile". Keys are looked up in
    the key store under the connection's name; so are a token or headers, which go to
    the web server at `endpoint` and nowhere else."""
    ca_file: str | None = None
    """Certificates to trust besides those that this computer trusts."""
    unverified: bool = False
    """Take whatever certificate the endpoint shows: whoever is in between can read
    along. It counts for that endpoint only, and never for AWS."""
    requester_pays: bool = False
    """Agree to pay for what is read, where the owner asks for that."""
    start: str = ""
    """The address to begin at; ``""`` if there is none."""

    def __post_init__(self) -> None:
        if self.aws_profile and self.sign_in == "automatic":
            object.__setattr__(self, "sign_in", "profile")

    @property
    def anonymous(self) -> bool:
        """Whether it never signs in."""
        return self.sign_in == "anonymous"


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A place with a name; ``address`` parses to it, ``note`` says what is there."""

    name: str
    address: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Connection:
    """A profile with the bookmarks of the person who made it."""

    profile: Profile
    bookmarks: tuple[Bookmark, ...] = ()

    @property
    def name(self) -> str:
        """What the person calls it."""
        return self.profile.name

    def locate(self, text: str) -> Location:
        """Parse an address as one of this connection's; see ``locate``."""
        return locate(text, self.profile)


# The person's connections in their file: readable, and without a secret.


class ConnectionFile:
    """The file with all connections, in the order in which the person made them.

    By default it is ``connections.json`` in the configuration folder.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file or configuration_folder() / "connections.json"

    def connections(self) -> tuple[Connection, ...]:
        """Give the connections; what a broken file holds is left out."""
        content = read_json(self.file)
        rows = content.get("connections") if isinstance(content, dict) else None
        rows = rows if isinstance(rows, list) else []
        found = (parse_connection(row) for row in rows if isinstance(row, dict))
        return tuple({c.name: c for c in found if c.name}.values())

    def find(self, name: str) -> Connection | None:
        """Find a connection by its name."""
        return next((c for c in self.connections() if c.name == name), None)

    def save(self, connection: Connection, *, instead_of: str = "") -> None:
        """Add a connection, or replace the one of its name.

        Where it had another name before, it replaces that one (`instead_of`), and the
        keys move along.

        Raises
        ------
        LocationError
            Its endpoint is no address of a service, or its start is none of a place.
        OSError
            The file cannot be written.
        """
        bookmarks = tuple(
            replace(each, address=_without_secrets(each.address))
            for each in connection.bookmarks
        )
        connection = Connection(checked(connection.profile), bookmarks)
        old = instead_of or connection.name
        before = self.connections()
        names = [c.name for c in before]
        fresh = [c for c in before if c.name not in (old, connection.name)]
        position = names.index(old) if old in names else len(fresh)
        fresh.insert(min(position, len(fresh)), connection)
        self._write(fresh)
        if old != connection.name and (keys := key_store().find(old)):
            key_store().keep(connection.name, keys)
            key_store().forget(old)

    def remove(self, name: str) -> None:
        """Forget a connection, with its bookmarks and its keys."""
        self._write(c for c in self.connections() if c.name != name)
        key_store().forget(name)

    def bookmark(self, name: str, bookmark: Bookmark) -> None:
        """Bind a bookmark to a connection; one of the same address is replaced."""
        found = self.find(name)
        if found is not None:
            others = [b for b in found.bookmarks if b.address != bookmark.address]
            self.save(replace(found, bookmarks=(*others, bookmark)))

    def _write(self, connections: Iterable[Connection]) -> None:
        rows = [_row(connection) for connection in connections]
        write_json(self.file, {"connections": rows})


def checked(profile: Profile) -> Profile:
    """Check what was typed, and spell the endpoint as addresses do.

    A signature or a password in the start's address is left out.

    Raises
    ------
    LocationError
        The endpoint is no address of a service, the region none that can exist, or the
        start no address of a place.
    """
    endpoint = (profile.endpoint or "").rstrip("/")
    there = Location.parse("s3://bucket", endpoint=endpoint, region=profile.region)
    endpoint = there.endpoint or ""
    spelled = replace(profile, endpoint=endpoint or None, region=profile.region or None)
    if not spelled.start:
        return spelled
    place = _parsed(spelled.start, spelled)
    if place.query or place.userinfo:
        return replace(spelled, start=without_secrets(place))
    return spelled


def find_profile(name: str) -> Profile:
    """Find a connection of the person by its name, else take it for an AWS profile."""
    # Whether AWS's files have such a profile is found out when it signs in.
    found = ConnectionFile().find(name)
    return found.profile if found else Profile(name, aws_profile=name)


def wished(location: Location, profile: Profile | None) -> Profile:
    """Join what the location says with the profile; the location goes before."""
    named = profile or Profile("")
    if location.profile:
        named = find_profile(location.profile)
    wished = replace(
        named,
        endpoint=location.endpoint or named.endpoint,
        region=location.region or named.region,
        unverified=named.unverified and _is_at(location, named.endpoint),
    )
    # A token for a web server signs nothing for a bucket, and keys that were typed for
    # a connection are for its endpoint: an address can name any other beside it.
    elsewhere = location.is_pasted and location.endpoint != named.endpoint
    is_other = named.sign_in == "header" or (named.sign_in == "keys" and elsewhere)
    if location.anonymous or is_other:
        return replace(wished, sign_in="anonymous")
    if location.anonymous is False and named.anonymous:
        return replace(wished, sign_in="automatic")
    return wished


def is_stranger(location: Location, profile: Profile | None) -> bool:
    """Say whether only the text of an address names its endpoint, and no connection."""
    if not location.is_pasted or location.profile:
        return False
    return profile is None or profile.endpoint != location.endpoint


def _is_at(location: Location, endpoint: str | None) -> bool:
    """Say whether a place is at an endpoint, and not at one that it names itself."""
    return endpoint is not None and location.endpoint in (None, endpoint)


def locate(text: str, profile: Profile) -> Location:
    """Parse an address as one of a connection's, bound to it by its name.

    A web address at the connection's own endpoint becomes bucket and key. An address
    that names another endpoint, or another profile, is not of this connection and is
    left as it is. With an endpoint, ``bucket/prefix`` is an address too. A profile
    without a name leaves its settings in the address.
    """
    location = _parsed(text, profile)
    if location.profile or location.protocol not in SERVED:
        return location
    if profile.sign_in == "header":
        at_home = is_web_home(location, profile)
        return replace(location, profile=profile.name or None) if at_home else location
    if profile.endpoint and location.protocol != "s3":
        bucket = location.as_s3(path_style=True)
        if bucket is None or bucket.endpoint != profile.endpoint or location.query:
            return location
        location = bucket
    if location.endpoint not in (None, profile.endpoint):
        return location
    return Location.parse(
        location,
        endpoint=profile.endpoint,
        region=profile.region,
        profile=None if is_plain(profile) else profile.name or None,
        anonymous=True if profile.anonymous else None,
    )


def is_web_home(location: Location, profile: Profile) -> bool:
    """Say whether a token of a connection may go to a place: its own web server.

    Not where the address signs in by itself, nor by another protocol or port.
    """
    origin = f"{location.protocol}://{location.root}"
    own = location.protocol in WEB and origin == profile.endpoint
    return own and not (location.userinfo or location.anonymous)


def is_plain(profile: Profile) -> bool:
    """Say whether an address can hold all of a connection, so that it need not name it.

    That is so for public places; their addresses then work for everybody.
    """
    trust = profile.ca_file or profile.unverified
    beyond = trust or profile.requester_pays or profile.style == "virtual"
    return profile.anonymous and not beyond


def belongs(location: Location, profile: Profile) -> bool:
    """Say whether a place is one of a connection's, as ``locate`` would make it."""
    if not is_plain(profile):
        return location.profile == profile.name
    endpoint, region = location.endpoint, location.region
    same = (endpoint, region or None) == (profile.endpoint, profile.region or None)
    bucket = Location.parse(profile.start).root if profile.start else location.root
    where = profile.endpoint is not None or location.root == bucket
    return location.protocol == "s3" and bool(location.anonymous) and same and where


def sign_in_helps(error: Exception, place: Location) -> bool:
    """Say whether a connection could lift what refuses a place.

    Not a wrong clock, a store that nobody writes, nor a place that no connection signs
    in to, as a folder of this computer.
    """
    refused = isinstance(error, AccessDeniedError)
    beyond = isinstance(error, ClockSkewError | ReadOnlyError)
    return refused and not beyond and place.protocol in SERVED


def recent_places(
    profile: Profile, recents: Recents | None = None
) -> tuple[Recent, ...]:
    """Give the places that were opened last with a connection, newest first."""
    every = (recents or Recents()).entries()
    return tuple(e for e in every if belongs(Location.parse(e.address), profile))


def _parsed(text: str, profile: Profile) -> Location:
    head, _, _ = text.strip().partition("/")
    if head and profile.endpoint and not set(head) & set(":~.\\|") and head.islower():
        above = f"{profile.endpoint}/" if profile.sign_in == "header" else "s3://"
        return Location.parse(f"{above}{text.strip()}")
    return Location.parse(text)


def _without_secrets(address: str) -> str:
    """Give an address without signature and password, unchanged if it has none."""
    place = Location.parse(address)
    return without_secrets(place) if place.query or place.userinfo else address


def _row(connection: Connection) -> dict[str, Any]:
    row = {key: value for key, value in asdict(connection.profile).items() if value}
    if connection.bookmarks:
        row["bookmarks"] = [asdict(bookmark) for bookmark in connection.bookmarks]
    return row


def parse_connection(row: dict[str, Any]) -> Connection:
    """Read a row of the file; what is wrong in it is left out."""
    texts = {f.name: row.get(f.name) for f in fields(Profile)}
    kept = {key: value for key, value in texts.items() if isinstance(value, str)}
    if kept.get("style") not in get_args(Style):
        kept.pop("style", None)
    if kept.get("sign_in") not in get_args(SignIn):
        kept.pop("sign_in", None)
    kept.setdefault("name", "")
    profile = Profile(**kept)  # type: ignore[arg-type]  # the two literals, checked above
    profile = replace(
        profile,
        requester_pays=row.get("requester_pays") is True,
        unverified=row.get("unverified") is True,
    )
    rows = row.get("bookmarks")
    rows = rows if isinstance(rows, list) else []
    return Connection(profile, tuple(b for each in rows if (b := _bookmark(each))))


def _bookmark(row: Any) -> Bookmark | None:
    if not isinstance(row, dict) or not isinstance(row.get("address"), str):
        return None
    try:
        Location.parse(row["address"])
    except LocationError:
        return None
    name, note = row.get("name"), row.get("note")
    return Bookmark(
        name if isinstance(name, str) else row["address"],
        row["address"],
        note if isinstance(note, str) else "",
    )


# Connections that need not be typed: from other programs, shipped, or offered.

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
