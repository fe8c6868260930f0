"""What addresses are made of: their fields, percent-encoding, and paths.

Paths are those of this computer, and those inside stores with zarr's names.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote

from napari_omezarr.errors import LocationError


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


# Services take a backslash for a slash, and what is in a list of XML is printable.
_ODD_IN_KEYS = re.compile(r"[\\\x00-\x1f\x7f]")


def is_plain_key(key: str) -> bool:
    r"""Say whether each object store keeps an object of this name by this name.

    Examples
    --------
    >>> is_plain_key("a b+c/%20"), is_plain_key("a\b")
    (True, False)
    """
    return not _ODD_IN_KEYS.search(key)


# Paths inside stores: archives, files of a node, chunks, and who owns a level.

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
