"""From a place back to text: the whole address, and the one for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .inside import is_archive_name
from .percent import encode, encode_address, readable

if TYPE_CHECKING:
    from .address import Address

# File names that no part of the parser takes for anything else.
_PLAIN_PATH = re.compile(
    r"(?:[A-Za-z]:)?(?:/[\w.()+,=@~#-][\w.()+,=@~# -]*)+(?<=[\w)])"
)
# A folder "C:" of a POSIX root, which a URI could not tell from a drive.
_LIKE_DRIVE = re.compile(r"[A-Za-z][:|](?:[\\/]|$)")
_MISREAD = '%#?|"<>`'


def full_text(address: Address) -> str:
    """Return the text that parses to the same place; it may hold secrets.

    Local paths stay plain as long as nothing in them could be misread; else they
    are ``file:`` URIs. How to sign in follows as ``|profile:…``.
    """
    if address.protocol == "file":
        plain = _join(f"{address.root}/{address.path}", address.member)
        is_named = address.member is None or is_archive_name(address.path)
        if is_named and _PLAIN_PATH.fullmatch(plain) and not plain.startswith("//"):
            return plain
    base = _base(address, address.userinfo) + encode_address(_path(address))
    if address.query:
        base += f"?{address.query}"
    return base + _pipes(address)


def display_text(address: Address) -> str:
    """Return the address for people: readable, and without any secret."""
    if address.protocol == "file":
        path = _join(f"{address.root}/{address.path}", address.member)
        path = path.replace("/", "\\") if address.root.startswith("//") else path
        return readable(path, "")
    return _base(address, "") + readable(_path(address), _MISREAD)


def _path(address: Address) -> str:
    if address.member and is_archive_name(address.path):
        return f"{address.path}/{address.member}"
    return address.path


def _join(path: str, member: str | None) -> str:
    return f"{path}/{member}" if member else path


def _base(address: Address, userinfo: str) -> str:
    match address.protocol:
        case "file":
            return _file_base(address)
        case "memory":
            return "memory://"
        case "http" | "https":
            at = f"{userinfo}@" if userinfo else ""
            return f"{address.protocol}://{at}{address.root}/"
    if address.endpoint:
        return f"{address.protocol}+{address.endpoint}/{address.root}/"
    return f"{address.protocol}://{address.root}/"


def _file_base(address: Address) -> str:
    if address.root.startswith("//"):
        return f"file:{encode(address.root)}/"
    if address.root:
        return f"file:///{address.root}/"
    return "file:///./" if _LIKE_DRIVE.match(address.path) else "file:///"


def _pipes(address: Address) -> str:
    pipes = []
    if address.member is not None and not is_archive_name(address.path):
        pipes.append(f"|zip:{encode_address(address.member)}")
    if address.region:
        pipes.append(f"|region:{encode_address(address.region)}")
    if address.profile:
        pipes.append(f"|profile:{encode_address(address.profile)}")
    if address.anonymous is not None:
        pipes.append(f"|anonymous:{str(address.anonymous).lower()}")
    return "".join(pipes)
