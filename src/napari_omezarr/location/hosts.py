"""Addresses on web hosts and in buckets, and which web hosts are S3 endpoints."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import IPv6Address

from napari_omezarr.errors import LocationError

from .address import USERINFO_SAFE, Address, decode, encode_rest, join

# Which web hosts are S3 endpoints, and where their addresses name the bucket.

_AWS_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d"


@dataclass(frozen=True, slots=True)
class Service:
    """A family of S3 endpoints, known by the pattern of their host names."""

    host: str  # a pattern of the endpoint's own host; may have a group "region"
    endpoint: str | None = "https://{host}"  # None is AWS itself
    region: str | None = None  # where the host does not name it
    virtual: bool = True  # whether bucket.host is an address too

    def match(self, host: str) -> re.Match[str] | None:
        """Match a host, with the groups ``bucket``, ``host`` and ``region``."""
        bucket = r"(?:(?P<bucket>.+)\.)?" if self.virtual else "(?P<bucket>(?!))?"
        return re.fullmatch(f"{bucket}(?P<host>{self.host})", host)


# Addresses of static web sites (s3-website) answer no S3 request: no row has them.
SERVICES = (
    Service(
        r"s3(?:-fips|-accelerate|-external-1)?(?:\.dualstack)?"
        rf"(?:[.-](?P<region>{_AWS_REGION}))?\.amazonaws\.com(?:\.cn)?",
        endpoint=None,
    ),
    Service(r"storage\.googleapis\.com"),
    Service(
        r"[0-9a-f]{32}(?:\.(?:eu|fedramp))?\.r2\.cloudflarestorage\.com", region="auto"
    ),
    Service(
        r"(?P<region>[a-z]{3}\d)(?:\.cdn)?\.digitaloceanspaces\.com",
        endpoint="https://{region}.digitaloceanspaces.com",
    ),
    Service(r"s3(?:\.(?P<region>[a-z]{2}-[a-z]+-\d))?\.wasabisys\.com"),
    Service(r"s3\.(?P<region>[a-z]{2}-[a-z]+-\d{3})\.backblazeb2\.com"),
    Service(r"s3\.(?P<region>[a-z]{2}-[a-z]{3})\.scw\.cloud"),
    Service(r"s3\.(?P<region>[a-z0-9-]+)\.(?:io\.|perf\.)?cloud\.ovh\.net"),
    Service(r"(?P<region>[a-z]{2}-[a-z]+-\d)\.linodeobjects\.com"),
    Service(r"(?P<region>[a-z]{3}\d)\.your-objectstorage\.com"),
    Service(r"cog\.sanger\.ac\.uk"),
    Service(
        r"(?:livingobjects|uk1s3\.embassy|s3\.embassy)\.ebi\.ac\.uk", virtual=False
    ),
    Service(r"s3\.embl\.de", virtual=False),
    Service(r"radosgw\.public\.os\.wwu\.de", virtual=False),
    Service(r"minio-dev\.openmicroscopy\.org", virtual=False),
)

# Names by which institutes call their S3 hosts: good enough to read a web address
# by, but a bucket may be called so too.
CONVENTION = Service(r"(?:s3|radosgw)\.(?!.*amazonaws\.com).+", virtual=False)


def is_endpoint(host: str) -> bool:
    """Say whether the host is a known S3 endpoint, and not a bucket on one."""
    matches = (service.match(host.lower()) for service in SERVICES)
    return any(found is not None and found["bucket"] is None for found in matches)


def as_bucket(address: Address, *, path_style: bool = False) -> Address | None:
    """Read a web address as bucket and key of the S3 service behind its host, or None.

    With `path_style` an unknown host is an endpoint whose first folder is the bucket.
    """
    service, found = _service_of(address.root)
    if service is None or found is None:
        if not path_style:
            return None
        return _first_folder(address, f"{address.protocol}://{address.root}")
    groups = found.groupdict()
    endpoint = service.endpoint and service.endpoint.format(**groups)
    if endpoint and address.protocol == "http":
        endpoint = endpoint.replace("https:", "http:", 1)
    region = groups.get("region") or service.region
    if groups["bucket"] is None:
        return _first_folder(address, endpoint, region)
    return _in_bucket(address, groups["bucket"], endpoint, region)


def _service_of(host: str) -> tuple[Service | None, re.Match[str] | None]:
    for service in (*SERVICES, CONVENTION):
        if found := service.match(host):
            return service, found
    return None, None


def _first_folder(
    address: Address, endpoint: str | None, region: str | None = None
) -> Address | None:
    bucket, _, path = address.path.partition("/")
    if not bucket or (not path and address.member is not None):
        return None
    return _in_bucket(replace(address, path=join("", path)), bucket, endpoint, region)


def _in_bucket(
    address: Address, bucket: str, endpoint: str | None, region: str | None
) -> Address:
    return replace(
        address,
        protocol="s3",
        root=bucket,
        query="",  # it signs single requests
        userinfo="",
        endpoint=endpoint,
        region=region,
        is_pasted=endpoint is not None,
    )


# Web addresses: host, path, query, and what is illegal in each.

_AUTHORITY = re.compile(r"^/{1,2}([^/?#\\]+)(.*)$", re.DOTALL)
_HOST = re.compile(r"^(\[[0-9a-f:.]+\]|[a-z0-9_.-]*[a-z0-9_-]\.?)(?::(\d{0,5}))?$")
_DEFAULT_PORTS = {"http": 80, "https": 443, "sftp": 22}
_BARE_HOST = re.compile(r"^(localhost|\d+(\.\d+){3}|\[.*\])(:\d*)?$", re.IGNORECASE)


def parse_web(protocol: str, rest: str) -> Address:
    """Parse what follows ``http:`` or ``https:``; a fragment is dropped.

    Everything after ``?`` is the query. The path is decoded: it does not matter
    whether it arrives encoded, or decoded by Qt.
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
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = guess_protocol(scheme), scheme
    if scheme.lower() not in ("http", "https"):
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


# What only fsspec knows: SFTP, WebDAV, repositories, content by its identifier.

_SERVER = re.compile(r"^/{1,2}(?:([^/]*)@)?([^/@]+)(.*)$", re.DOTALL)
_REPOSITORY = re.compile(
    r"^//?((?:(?:datasets|spaces|buckets)/)?[\w.-]+/[\w.-]+(?:@[\w.%-]+)?)(/.*)?$",
    re.ASCII | re.DOTALL,
)
_GITHUB = re.compile(
    r"^//?([\w.-]+:[\w.-]+(?:@[\w.%-]+)?)(/.*)?$", re.ASCII | re.DOTALL
)
_CONTENT = re.compile(r"^//?([\w.-]+)(/.*)?$", re.ASCII | re.DOTALL)
_NAMED = {
    "hf": (_REPOSITORY, "hf://datasets/owner/name/path"),
    "github": (_GITHUB, "github://organisation:repository@revision/path"),
    "ipfs": (_CONTENT, "ipfs://identifier/path"),
    "ipns": (_CONTENT, "ipns://name/path"),
}


def parse_sftp(rest: str) -> Address:
    """Parse what follows ``sftp:``; ``?`` and ``#`` are part of a file's name.

    A path below ``~`` starts at the home directory there.
    """
    found = _SERVER.match(rest)
    if not found:
        raise LocationError(
            "The sftp:// address names no host.",
            action="Write it as sftp://user@host/path.",
        )
    return Address(
        "sftp",
        parse_host("sftp", found[2]),
        join("", decode(found[3])),
        userinfo=encode_rest(found[1] or "", USERINFO_SAFE),
    )


def parse_webdav(scheme: str, rest: str) -> Address:
    """Parse what follows ``webdav:``, ``davs:`` or ``webdav+https:``."""
    if scheme in ("webdav", "dav"):
        found = _SERVER.match(rest)
        transport = guess_protocol(found[2]) if found else "https"
    else:
        transport = "http" if scheme.endswith("+http") else "https"
    address = parse_web(transport, rest)
    if address.query:
        raise LocationError(
            "A WebDAV address has nothing after a question mark.",
            action="Take it out, and write ? in a name as %3F.",
        )
    return replace(address, protocol=f"webdav+{transport}")


def parse_named(protocol: str, rest: str) -> Address:
    """Parse what follows ``hf:``, ``github:`` or ``ipfs:``: a name, then a path."""
    pattern, form = _NAMED[protocol]
    found = pattern.match(rest)
    if not found:
        raise LocationError(
            f"The {protocol}:// address does not say where its path begins.",
            action=f"Write it as {form}.",
        )
    return Address(protocol, found[1], join("", decode(found[2] or "")))


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


# Addresses in buckets: ``s3://``, ``gs://``, ``az://`` and those with an endpoint.

_BUCKET = re.compile(r"^//?([^/]*)(.*)$", re.DOTALL)
_ENDPOINT_AND_BUCKET = re.compile(r"^//?([^/]+)/([^/]+)(.*)$", re.DOTALL)
_ENDPOINT_ALONE = re.compile(r"^//?([^/?#@]+)/*$")
_NAME = re.compile(r"^\$?[\w.:-]+$", re.ASCII)
# An access point, by the name that AWS gives it; tools write a key behind it.
ACCESS_POINT = re.compile(
    r"^(arn:aws[\w-]*:s3(?:-object-lambda)?:[a-z][a-z0-9-]*:\d{12}:accesspoint)[:/]"
    r"([a-z0-9-]+)(?=/|$)",
    re.IGNORECASE | re.ASCII,
)
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
    """
    found = _BUCKET.match(rest)
    if not found or not found[1]:
        raise _no_bucket(protocol)
    place, key = found[1], found[2]
    if _HOST_WITH_PORT.match(place) or is_endpoint(place):
        return parse_with_endpoint(protocol, guess_protocol(place), f"//{place}{key}")
    return _address(protocol, place, key)


def parse_with_endpoint(protocol: str, scheme: str, rest: str) -> Address:
    """Parse what follows ``s3+https:``: ``//host[:port]/bucket/key``.

    Without a bucket it is the service itself, whose buckets are listed.
    """
    if protocol == "s3" and (alone := _ENDPOINT_ALONE.match(rest)):
        endpoint = parse_endpoint(f"{scheme}://{alone[1]}")
        return Address(protocol, "", "", endpoint=endpoint, is_pasted=True)
    found = _ENDPOINT_AND_BUCKET.match(rest)
    if "@" in (rest if not found else found[1]):
        raise _secret_in_address()
    if not found:
        raise _no_bucket(f"{protocol}+{scheme}", "host/bucket")
    endpoint = parse_endpoint(f"{scheme}://{found[1]}")
    address = _address(protocol, found[2], found[3])
    return replace(address, endpoint=endpoint, is_pasted=True)


def _address(protocol: str, place: str, key: str) -> Address:
    endpoint, query = None, ""
    point = ACCESS_POINT.match(place + key) if protocol == "s3" else None
    if point:
        key = point.string[point.end() :]
        place = f"{point[1].lower()}:{point[2]}"  # spelled without a slash
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
    # Secrets may hold a slash.
    if "@" in place or (":" in place and "@" in key and not point):
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
