"""What addresses are made of: fields, percent-encoding, paths and hosts.

Paths are those of this computer, and those inside stores with zarr's names.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from urllib.parse import quote, unquote

from napari_omezarr.errors import LocationError

_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def is_region(name: str) -> bool:
    """Whether it can name a region: it becomes a part of a host's name."""
    return _REGION.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Address:
    """Where something lies, and how to sign in there; all parts decoded.

    The parser builds these; `Location` is the same value with its behaviour.
    """

    protocol: str
    """``file``, ``http``, ``https``, ``s3``, ``gs``, ``az`` or ``memory``; of what
    fsspec alone knows ``sftp``, ``webdav+http``, ``webdav+https``, ``hf``, ``github``,
    ``ipfs`` or ``ipns``; ``store`` for a zarr store that a script handed over, which no
    text parses to."""
    root: str
    """``host[:port]`` of a web or SFTP address; the bucket or container; the repository
    (``datasets/owner/name@revision``, ``org:repo@revision``); the identifier of
    content; for files the drive (``C:``), the share (``//server/share``) or nothing."""
    path: str
    """Below the root, parts separated by ``/``, none at the ends."""
    member: str | None = None
    """The path inside the archive that `path` is; ``""`` is the archive's own root and
    None says that `path` is not an archive. With ``reference`` in `through` it is the
    path among the references that `path` holds."""
    query: str = field(default="", repr=False)
    """What followed ``?``, percent-encoding as pasted; it belongs to every key."""
    userinfo: str = field(default="", repr=False)
    """``user:password`` of a web or SFTP address, percent-encoding as pasted."""
    endpoint: str | None = None
    """``https://host[:port]`` of the service that holds the bucket; None is the
    protocol's own one, or what the environment says."""
    region: str | None = None
    profile: str | None = None
    """The bucket's region; the connection (or AWS profile) to sign in with."""
    anonymous: bool | None = None
    """Whether to sign in at all; None decides by trying."""
    through: tuple[str, ...] = ()
    """fsspec's filesystems that stand before the address, outermost first:
    ``reference`` (kerchunk), ``simplecache``, ``filecache``, ``blockcache``."""
    is_pasted: bool = field(default=False, compare=False, repr=False)
    """Whether the endpoint stood in the text itself: whoever wrote that may not be the
    person, so that nobody signs in there unasked. It does not count when places are
    compared."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Sentences worth telling once, like "moved to …"; they hold no secret and do not
    count when places are compared."""


# Percent-encoding: once, never twice, and without losing a byte.

# RFC 3986, 3.4: what a query may hold as it is, and the sign of an escape.
QUERY_SAFE = "%/?:@!$&'()*+,;=~-._"
USERINFO_SAFE = "%:!$&'()*+,;=~-._"
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TRAILING_STOP = re.compile(r"[ .,;]\Z")
_MISREAD_MARK = re.compile(r"[ .,;]\Z|:(?=/)")  # the end of a sentence, a scheme


def as_unicode(text: str) -> str:
    """Check that a text has bytes, and give bytes that are no UTF-8 one form."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half characters have no bytes at all
        data = b"\0"
    if b"\0" in data:
        raise LocationError(
            "The address holds characters that no address can have.",
            action="Copy it again from its source.",
        )
    return data.decode("utf-8", "surrogateescape")


def decode(text: str) -> str:
    """Undo percent-encoding; a lone ``%`` stays, ``+`` is a plus sign."""
    return as_unicode(unquote(text, errors="surrogateescape"))


encode = partial(quote, safe="/", errors="surrogateescape")
"""Encode a path for a URL; only letters, digits and ``/-._~`` stay.

``+`` is encoded too: some object stores take a bare one for a blank.
"""


def encode_address(path: str) -> str:
    """Encode a path so that it survives being pasted: no full stop at its end."""
    return _TRAILING_STOP.sub(_escape, encode(path))


def encode_rest(text: str, safe: str = QUERY_SAFE) -> str:
    """Encode what is illegal in a query and leave its own escapes as they are."""
    text = _STRAY_PERCENT.sub("%25", text)
    return quote(text, safe=safe, errors="surrogateescape")


def readable(path: str, special: str) -> str:
    """Encode only what cannot be read or, in `special`, would be misread."""
    if not path.isprintable() or any(character in path for character in special):
        path = "".join(
            quote(character, safe="", errors="surrogateescape")
            if character in special or not character.isprintable()
            else character
            for character in path
        )
    return _MISREAD_MARK.sub(_escape, path) if special else path


def join(base: str, *keys: str) -> str:
    """Go from `base` down (or, by ``..``, up) along `keys`, never above the root.

    Empty parts in the middle stay, as object keys may have them.
    """
    parts = [] if base == "" else base.split("/")
    for key in keys:
        for part in key.strip("/").split("/") if key.strip("/") else ():
            if part == "..":
                del parts[-1:]
            elif part != ".":
                parts.append(part)
    return "/".join(parts).strip("/")


def _escape(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


# Paths of this computer, by their syntax alone: POSIX, Windows, UNC, file URI.

_LONG_PREFIX = re.compile(r"^\\\\\?\\(UNC\\)?", re.IGNORECASE)
_SHARE = re.compile(r"^(?:\\\\|//)([^\\/]+)[\\/]+([^\\/]+)(.*)$", re.DOTALL)
_DRIVE = re.compile(r"^([A-Za-z]):((?:[\\/].*)?)$", re.DOTALL)
_DRIVE_IN_URI = re.compile(r"^/*([A-Za-z])[:|](?=[\\/]|$)")
_SLASHES = re.compile(r"/+")
_EITHER_SLASH = re.compile(r"[/\\]")


def parse_path(text: str) -> Address:
    r"""Parse a path; a relative one starts at the working directory.

    ``C:\data``, ``C:/data`` and ``\\server\share`` are Windows paths on every
    system. Only the working directory and the home directory are asked for.
    """
    text = _LONG_PREFIX.sub(lambda found: "\\\\" if found[1] else "", text)
    if text.startswith("\\\\"):
        return _parse_share(text)
    if drive := _DRIVE.match(text):
        return _windows(drive[1].upper() + ":", drive[2])
    if text.startswith("/"):
        return Address("file", "", join("", _SLASHES.sub("/", text)))
    return parse_path(_absolute(text))


def parse_file_uri(rest: str) -> Address:
    """Parse what follows ``file:``; ``?`` and ``#`` are part of the name."""
    rest = decode(rest)
    if drive := _DRIVE_IN_URI.match(rest):
        return _windows(drive[1].upper() + ":", rest[drive.end() :])
    if not rest.startswith("//"):
        return parse_path(rest if rest.startswith(("/", "~")) else f"/{rest}")
    host, _, path = rest[2:].partition("/")
    if host.lower() in {"", "localhost", "127.0.0.1"}:
        return parse_path("/" + path.lstrip("/"))
    return _parse_share(rest)


def _absolute(text: str) -> str:
    try:
        if text == "~" or text.startswith(("~/", "~\\")):
            return str(Path.home() / text[2:])
        return str(Path.cwd() / text)
    except (OSError, RuntimeError):
        raise LocationError(
            "The folder that this path starts from does not exist.",
            action="Give the whole path.",
        ) from None


def _parse_share(text: str) -> Address:
    share = _SHARE.match(text)
    if not share:
        raise LocationError(
            "The network path names a server but no share.",
            action=r"Write it as \\server\share\folder.",
        )
    return _windows(f"//{share[1]}/{share[2]}", share[3])


def _windows(root: str, path: str) -> Address:
    path = _SLASHES.sub("/", path.replace("\\", "/"))
    return Address("file", root, join("", path))


# Keys that others chose, behind a folder of this computer.

_ODD_ON_WINDOWS = re.compile(
    r"[<>:\"|?*\x00-\x1f]|[ .]$"
    r"|^(?:con|prn|aux|nul|com[0-9\xb9\xb2\xb3]|lpt[0-9\xb9\xb2\xb3]|conin\$|conout\$)"
    r" *(?:\.|$)",
    re.IGNORECASE,
)


def is_below(key: str, *, windows: bool = os.name == "nt") -> bool:
    r"""Say whether a key names a file below any folder that it is put behind.

    One that is absolute, goes up or holds a NUL does not; on Windows neither do drives,
    shares, devices, and names that Windows takes for others (``aux.txt``, ``a:b``).

    Examples
    --------
    >>> is_below("0/c/0/0"), is_below("a/../../b"), is_below("/etc/passwd")
    (True, False, False)
    """
    if key[:1] in ("/", "\\") or "\0" in key:
        return False
    # Going up is refused in either spelling: others unpack what is copied here.
    if ".." in key and ".." in _EITHER_SLASH.split(key):
        return False
    return not windows or not any(
        part != "." and _ODD_ON_WINDOWS.search(part)
        for part in _EITHER_SLASH.split(key)
    )


def is_beside(name: str) -> bool:
    r"""Say whether it names a file of the same folder, whoever's slashes it has.

    Examples
    --------
    >>> is_beside("a.ome.tif"), is_beside("../a.ome.tif"), is_beside(r"C:\a.tif")
    (True, False, False)
    """
    return not {"/", "\\"} & set(name) and name not in ("", ".", "..")


# Services take a backslash for a slash, and what is in a list of XML is printable
# Unicode.
_ODD_IN_KEYS = re.compile(r"[\\\x00-\x1f\x7f\ud800-\udfff]")


def is_plain_key(key: str) -> bool:
    r"""Say whether each object store keeps an object of this name by this name.

    Examples
    --------
    >>> is_plain_key("a b+c/%20"), is_plain_key("a\b")
    (True, False)
    """
    return not _ODD_IN_KEYS.search(key)


# Paths inside stores: archives, files of a node, chunks, and who owns a level.

WEB = ("http", "https")
ZARR_JSON = "zarr.json"
ZGROUP = ".zgroup"
ZARRAY = ".zarray"
ZATTRS = ".zattrs"
ZMETADATA = ".zmetadata"
DOCUMENTS = (ZARR_JSON, ZGROUP, ZARRAY, ZATTRS, ZMETADATA)
"""The names of zarr's documents, of format 3 and 2, in the order of writing them: what
makes a folder a node comes before what describes it."""
NODE_DOCUMENTS = (ZARR_JSON, ZATTRS, ZGROUP, ZARRAY)
"""Those of one node, in the order of asking: what says most comes first. What
``.zmetadata`` says, others say too."""
GROUP_DOCUMENT = {3: ZARR_JSON, 2: ZATTRS}
"""What holds the attributes of a group, by the zarr format."""
ARRAY_DOCUMENT = {3: ZARR_JSON, 2: ZARRAY}
"""What holds the metadata of an array, by the zarr format."""
ARCHIVES = (".zip", ".ozx")
MAX_OWNERS = 3
_OME_XML = re.compile(r"(?:^|/)OME/METADATA\.ome\.xml$")
_DOTTED_CHUNK = re.compile(r"\d+(\.\d+){2,}")
_FLAT_CHUNK = re.compile(r"\d+\.\d+")
_LEVEL = re.compile(r"s?\d+")
_ROW = re.compile(r"[A-Z]{1,2}")
# A plate has at most three numbers in a row (column, field, level), a series two.
_SURE_CHUNK = 5


def split_archive(path: str) -> tuple[str, str | None]:
    """Split a path after its first ``.zip`` or ``.ozx`` part; None is no archive."""
    parts = path.split("/")
    for index, part in enumerate(parts, start=1):
        if is_archive_name(part):
            return "/".join(parts[:index]), "/".join(parts[index:]).strip("/")
    return path, None


def is_archive_name(name: str) -> bool:
    """Say whether the last part of a path names an archive."""
    return name.lower().endswith(ARCHIVES)


def is_store_name(name: str) -> bool:
    """Say whether a part of a path names a store, whatever lies above it."""
    return name.lower().endswith(".zarr")


def node_path(path: str, *, in_store: bool = False) -> str:
    """Return the node that holds what a path points at; every other path stays.

    Metadata files are of the node that they lie in, ``OME/METADATA.ome.xml`` of
    the one above; chunks are of their array, where it is sure that they are
    chunks: the path starts at the root of a store (`in_store`), or goes through a
    folder called ``*.zarr``.
    """
    shorter = _without_file(path, in_store=in_store)
    while shorter != path:
        path, shorter = shorter, _without_file(shorter, in_store=in_store)
    return path


def owner_paths(path: str, *, in_store: bool = False) -> tuple[str, ...]:
    """Return the nodes that may have the array at `path` as a level, nearest first.

    At most three, never above a folder called ``*.zarr``; the path itself is
    none of them.
    """
    owners: list[str] = []
    while path and len(owners) < MAX_OWNERS and not is_store_name(path):
        path = path.rpartition("/")[0].rstrip("/")
        if path or in_store:
            owners.append(path)
    return tuple(owners)


def _without_file(path: str, *, in_store: bool) -> str:
    head, _, last = path.rpartition("/")
    if last in DOCUMENTS:
        return head.rstrip("/")
    if found := _OME_XML.search(path):
        return path[: found.start()].rstrip("/")
    parts = path.split("/")
    stores = [i for i, part in enumerate(parts, start=1) if is_store_name(part)]
    if not stores and not in_store:
        return path
    start = stores[-1] if stores else 0
    return "/".join(parts[:start] + _without_chunk(parts[start:])).rstrip("/")


def _without_chunk(parts: list[str]) -> list[str]:
    run = len(parts)
    while run and parts[run - 1].isdecimal():
        run -= 1
    if 2 <= run < len(parts) and parts[run - 1] == "c":
        return parts[: run - 1]
    if len(parts) - run >= _SURE_CHUNK:
        # The first number is a level, or an image of a series: both can open. In
        # a plate, it is the column of a well, and the field follows.
        in_plate = run == 1 and _ROW.fullmatch(parts[0])
        return parts[: run + (2 if in_plate else 1)]
    if parts and _DOTTED_CHUNK.fullmatch(parts[-1]):
        return parts[:-1]
    if (
        len(parts) > 1
        and _FLAT_CHUNK.fullmatch(parts[-1])
        and _LEVEL.fullmatch(parts[-2])
    ):
        return parts[:-1]
    return parts


def label_name(address: str) -> str:
    """Give the name of a label image, by the folder ``labels`` that it lies in.

    Empty where an address is that of something else. Where there are documents, what
    they say goes before that.
    """
    *_, above, name = ("", "", *_EITHER_SLASH.split(address.rstrip("/\\")))
    return name if above == "labels" else ""


# Addresses on web hosts and in buckets, and which web hosts are S3 endpoints.

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
    if scheme.lower() not in WEB:
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
_ENDPOINT_AND_BUCKET = re.compile(r"^//?([^/]+)()/([^/]+)(.*)$", re.DOTALL)
# Where the host has no name of its own, as that of Azure's emulator, the account stands
# before the container; elsewhere the host's name says it.
_ACCOUNT_AND_BUCKET = re.compile(r"^//?([^/]+)(/[\w-]+)/([^/]+)(.*)$", re.DOTALL)
_NAMELESS = re.compile(
    r"^//?(?:[\w-]+(?::\d*)?|\d+(?:\.\d+){3}(?::\d*)?|\[[^/]*|[^/]+:10000)(?:/|$)",
    re.ASCII,
)
_ENDPOINT_ALONE = re.compile(r"^//?([^/?#@]+)/*$")
_NAME = re.compile(r"^\$?[\w.:-]+$", re.ASCII)
# An access point, by the name that AWS gives it; tools write a key behind it.
ACCESS_POINT = re.compile(
    r"^(arn:aws[\w-]*:s3(?:-object-lambda)?:[a-z][a-z0-9-]*:\d{12}:accesspoint)[:/]"
    r"([a-z0-9-]+)(?=/|$)",
    re.IGNORECASE | re.ASCII,
)
_HOST_WITH_PORT = re.compile(r"^[\w.-]+:\d{1,5}$", re.ASCII)
_AZURE = re.compile(
    r"^([\w$-]+)@([\w-]+(?:\.z\d+)?)\.(?:dfs|blob)\.([\w.-]+)$", re.ASCII
)
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

    Without a bucket it is the service itself, whose buckets are listed. Of Azure's
    storage it may be ``//host[:port]/account/container/key``.
    """
    if protocol == "s3" and (alone := _ENDPOINT_ALONE.match(rest)):
        endpoint = parse_endpoint(f"{scheme}://{alone[1]}")
        return Address(protocol, "", "", endpoint=endpoint, is_pasted=True)
    pattern, form = _ENDPOINT_AND_BUCKET, "host/bucket"
    if protocol == "az" and _NAMELESS.match(rest):
        pattern, form = _ACCOUNT_AND_BUCKET, "host/account/container"
    found = pattern.match(rest)
    if "@" in (rest if not found else found[1]):
        raise _secret_in_address()
    if not found:
        raise _no_bucket(f"{protocol}+{scheme}", form)
    endpoint = parse_endpoint(f"{scheme}://{found[1]}") + found[2]
    if protocol == "az":  # the other name of the same account
        endpoint = endpoint.replace(".dfs.", ".blob.", 1)
    address = _address(protocol, found[3], found[4])
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
