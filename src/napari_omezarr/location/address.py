"""The fields of an address, and the percent-encoding of its parts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from napari_omezarr.errors import LocationError


@dataclass(frozen=True, slots=True)
class Address:
    """Where something lies, and how to sign in there; all parts decoded.

    The parser builds these; `Location` is the same value with its behaviour.

    Attributes
    ----------
    protocol : str
        ``file``, ``http``, ``https``, ``s3``, ``gs``, ``az`` or ``memory``; of what
        fsspec alone knows ``sftp``, ``webdav+http``, ``webdav+https``, ``hf``,
        ``github``, ``ipfs`` or ``ipns``; ``store`` for a zarr store that a script
        handed over, which no text parses to.
    root : str
        ``host[:port]`` of a web or SFTP address; the bucket or container; the
        repository (``datasets/owner/name@revision``, ``org:repo@revision``); the
        identifier of content; for files the drive (``C:``), the share
        (``//server/share``) or nothing.
    path : str
        Below the root, parts separated by ``/``, none at the ends.
    member : str or None
        The path inside the archive that `path` is; ``""`` is the archive's own
        root and None says that `path` is not an archive. With ``reference`` in
        `through` it is the path among the references that `path` holds.
    query : str
        What followed ``?``, percent-encoding as pasted; it belongs to every key.
    userinfo : str
        ``user:password`` of a web or SFTP address, percent-encoding as pasted.
    endpoint : str or None
        ``https://host[:port]`` of the service that holds the bucket; None is the
        protocol's own one, or what the environment says.
    region, profile : str or None
        The bucket's region; the connection (or AWS profile) to sign in with.
    anonymous : bool or None
        Whether to sign in at all; None decides by trying.
    through : tuple of str
        fsspec's filesystems that stand before the address, outermost first:
        ``reference`` (kerchunk), ``simplecache``, ``filecache``, ``blockcache``.
    is_pasted : bool
        Whether the endpoint stood in the text itself: whoever wrote that may not be
        the person, so that nobody signs in there unasked. It does not count when
        places are compared.
    notes : tuple of str
        Sentences worth telling once, like "moved to …"; they hold no secret and
        do not count when places are compared.
    """

    protocol: str
    root: str
    path: str
    member: str | None = None
    query: str = field(default="", repr=False)
    userinfo: str = field(default="", repr=False)
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    anonymous: bool | None = None
    through: tuple[str, ...] = ()
    is_pasted: bool = field(default=False, compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False)


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


def encode(text: str) -> str:
    """Encode a path for a URL; only letters, digits and ``/-._~`` stay.

    ``+`` is encoded too: some object stores take a bare one for a blank.
    """
    return quote(text, safe="/", errors="surrogateescape")


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
