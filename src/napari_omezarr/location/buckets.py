"""Addresses in buckets: ``s3://``, ``gs://``, ``az://`` and those with an endpoint."""

from __future__ import annotations

import re
from dataclasses import replace

from napari_omezarr.errors import LocationError

from .address import Address
from .endpoints import is_endpoint
from .percent import decode, encode_rest, join
from .web import guess_protocol, parse_endpoint

_BUCKET = re.compile(r"^//?([^/]*)(.*)$", re.DOTALL)
_ENDPOINT_AND_BUCKET = re.compile(r"^//?([^/]+)/([^/]+)(.*)$", re.DOTALL)
_NAME = re.compile(r"^\$?[\w.:-]+$", re.ASCII)
_HOST_WITH_PORT = re.compile(r"^[\w.-]+:\d{1,5}$", re.ASCII)
_AZURE = re.compile(r"^([\w$-]+)@([\w-]+)\.(?:dfs|blob)\.([\w.-]+)$", re.ASCII)
_SIGNATURE = re.compile(
    r"X-Amz-|X-Goog-|Signature=|AWSAccessKeyId=|Policy=|sig=|token=", re.IGNORECASE
)


def parse_bucket(protocol: str, rest: str) -> Address:
    """Parse what follows ``s3:``, ``gs:`` or ``az:``.

    In ``s3`` and ``gs`` keys ``?`` and ``#`` are characters like any other; an
    ``az`` address may end in a query (its shared access signature). Escapes
    like ``%20`` are decoded. Where the bucket should stand, a known endpoint or
    a ``host:port`` is one: the bucket then is the first folder.

    Raises
    ------
    LocationError
        If no bucket is named, or a secret stands where none belongs.
    """
    found = _BUCKET.match(rest)
    if not found or not found[1]:
        raise _no_bucket(protocol)
    place, key = found[1], found[2]
    if _is_service(place):
        return parse_with_endpoint(protocol, guess_protocol(place), f"//{place}{key}")
    return _address(protocol, place, key)


def parse_with_endpoint(protocol: str, scheme: str, rest: str) -> Address:
    """Parse what follows ``s3+https:``: ``//host[:port]/bucket/key``.

    Raises
    ------
    LocationError
        If the host or the bucket is missing.
    """
    found = _ENDPOINT_AND_BUCKET.match(rest)
    if "@" in (rest if not found else found[1]):
        raise _secret_in_address()
    if not found:
        raise _no_bucket(f"{protocol}+{scheme}", "host/bucket")
    endpoint = parse_endpoint(f"{scheme}://{found[1]}")
    return replace(_address(protocol, found[2], found[3]), endpoint=endpoint)


def _address(protocol: str, place: str, key: str) -> Address:
    endpoint, query = None, ""
    if protocol == "az":
        key, _, query = key.partition("?")
        if account := _AZURE.match(place):
            place = account[1]
            endpoint = f"https://{account[2]}.blob.{account[3]}".lower()
    elif _SIGNATURE.search(key.partition("?")[2]):
        raise LocationError(
            f"A signature does not work with {protocol}:// addresses.",
            action="Paste the https:// address that was signed.",
        )
    if "@" in place or (":" in place and "@" in key):  # secrets may hold a slash
        raise _secret_in_address()
    if not _NAME.match(place):
        raise _no_bucket(protocol)
    return Address(
        protocol,
        place,
        join("", decode(key)),
        query=encode_rest(query),
        endpoint=endpoint,
    )


def _is_service(place: str) -> bool:
    return bool(_HOST_WITH_PORT.match(place)) or is_endpoint(place)


def _no_bucket(protocol: str, place: str = "bucket") -> LocationError:
    return LocationError(
        f"The {protocol}:// address names no bucket.",
        action=f"Write it as {protocol}://{place}/path.",
    )


def _secret_in_address() -> LocationError:
    return LocationError(
        "The address holds a sign-in, and addresses are shown and kept.",
        action="Take it out and sign in with a connection or an AWS profile.",
    )
