"""Web addresses: host, path, query, and what is illegal in each."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from napari_omezarr.errors import LocationError

from .address import Address
from .percent import USERINFO_SAFE, decode, encode_rest, join

_AUTHORITY = re.compile(r"^/{1,2}([^/?#\\]+)(.*)$", re.DOTALL)
_HOST = re.compile(r"^(\[[0-9a-f:.]+\]|[a-z0-9_.-]*[a-z0-9_-]\.?)(?::(\d{0,5}))?$")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_BARE_HOST = re.compile(r"^(localhost|\d+(\.\d+){3}|\[.*\])(:\d*)?$", re.IGNORECASE)


def parse_web(protocol: str, rest: str) -> Address:
    """Parse what follows ``http:`` or ``https:``; a fragment is dropped.

    Everything after ``?`` is the query. The path is decoded: it does not matter
    whether it arrives encoded, or decoded by Qt.

    Raises
    ------
    LocationError
        If there is no host, or none that a network could know.
    """
    found = _AUTHORITY.match(rest)
    if not found:
        raise LocationError(
            "The web address names no host.",
            action=f"Write it as {protocol}://host/path.",
        )
    userinfo, _, host = found[1].rpartition("@")
    path, _, query = found[2].partition("#")[0].partition("?")
    return Address(
        protocol,
        parse_host(protocol, host),
        join("", decode(path)),
        query=encode_rest(query),
        userinfo=encode_rest(userinfo, USERINFO_SAFE),
    )


def parse_host(protocol: str, text: str) -> str:
    """Return ``host[:port]`` in lower case, without a default port.

    Names in other alphabets become their ASCII form, as servers know them.

    Raises
    ------
    LocationError
        If it is no host name, no IP address, or the port is out of range.
    """
    found = _HOST.match(_ascii_host(text).lower())
    if not found or not _is_valid(found[1], found[2]):
        raise LocationError(
            "The address names no host that can exist.",
            action="Check what stands between // and the next /.",
        )
    host, port = found[1], found[2]
    if not port or int(port) == _DEFAULT_PORTS[protocol]:
        return host
    return f"{host}:{int(port)}"


def parse_endpoint(text: str) -> str:
    """Return the address of an S3-compatible service as ``https://host[:port]``.

    Without a scheme it is ``https``, or what `guess_protocol` says.

    Raises
    ------
    LocationError
        If it is no web address, or holds more than a host.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = guess_protocol(scheme), scheme
    if scheme.lower() not in _DEFAULT_PORTS:
        raise LocationError(
            "The endpoint is not a web address.",
            action="Write it as https://host or https://host:port.",
        )
    service = parse_web(scheme.lower(), f"//{rest}")
    if service.path or service.query or service.userinfo:
        raise LocationError(
            "The endpoint holds more than a host.",
            action="Give the bucket with the address, and keys with a connection.",
        )
    return f"{service.protocol}://{service.root}"


def guess_protocol(host: str) -> str:
    """Return ``http`` for hosts without a name: they seldom have a certificate."""
    return "http" if _BARE_HOST.match(host) else "https"


def _ascii_host(text: str) -> str:
    if text.isascii():
        return text
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def _is_valid(host: str, port: str | None) -> bool:
    if port and int(port) > 65535:
        return False
    if not host.startswith("["):
        return ".." not in host
    try:
        IPv6Address(host[1:-1])
    except ValueError:
        return False
    return True
