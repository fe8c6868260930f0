"""Paths of this computer, by their syntax alone: POSIX, Windows, UNC, file URI."""

from __future__ import annotations

import re
from pathlib import Path

from napari_omezarr.errors import LocationError

from .address import Address
from .percent import decode, join

_LONG_PREFIX = re.compile(r"^\\\\\?\\(UNC\\)?", re.IGNORECASE)
_SHARE = re.compile(r"^(?:\\\\|//)([^\\/]+)[\\/]+([^\\/]+)(.*)$", re.DOTALL)
_DRIVE = re.compile(r"^([A-Za-z]):((?:[\\/].*)?)$", re.DOTALL)
_DRIVE_IN_URI = re.compile(r"^/*([A-Za-z])[:|](?=[\\/]|$)")
_SLASHES = re.compile(r"/+")


def parse_path(text: str) -> Address:
    r"""Parse a path; a relative one starts at the working directory.

    ``C:\data``, ``C:/data`` and ``\\server\share`` are Windows paths on every
    system. Only the working directory and the home directory are asked for.

    Raises
    ------
    LocationError
        If the path is relative and the working directory is gone.
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
