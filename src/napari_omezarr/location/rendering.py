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
    base = _base(address, encode(address.root)) + encode_address(_path(address))
    if address.query:
        base += f"?{address.query}"
    return base + _pipes(address)


def display_text(address: Address) -> str:
    """Return the address for people: readable, and without any secret."""
    if address.protocol == "file":
        path = _join(f"{address.root}/{address.path}", address.member)
        path = path.replace("/", "\\") if address.root.startswith("//") else path
        return readable(path, "")
    return _base(address, address.root, "") + readable(_path(address), _MISREAD)


def _path(address: Address) -> str:
    if address.member and is_archive_name(address.path):
        return f"{address.path}/{address.member}"
    return address.path


def _join(path: str, member: str | None) -> str:
    return f"{path}/{member}" if member else path


def _base(address: Address, file_root: str, userinfo: str | None = None) -> str:
    match address.protocol:
        case "file" if address.root.startswith("//"):
            return f"file:{file_root}/"
        case "file":
            return f"file:///{address.root}/" if address.root else "file:///"
        case "memory":
            return "memory://"
        case "http" | "https":
            user = address.userinfo if userinfo is None else userinfo
            at = f"{user}@" if user else ""
            return f"{address.protocol}://{at}{address.root}/"
    if address.endpoint:
        return f"{address.protocol}+{address.endpoint}/{address.root}/"
    return f"{address.protocol}://{address.root}/"


def _pipes(address: Address) -> str:
    pipes = []
    if address.member is not None and not is_archive_name(address.path):
        pipes.append(f"|zip:{encode(address.member)}")
    if address.region:
        pipes.append(f"|region:{encode(address.region)}")
    if address.profile:
        pipes.append(f"|profile:{encode(address.profile)}")
    if address.anonymous is not None:
        pipes.append(f"|anonymous:{str(address.anonymous).lower()}")
    return "".join(pipes)
