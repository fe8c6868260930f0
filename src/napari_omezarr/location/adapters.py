"""What stands around an address: ``zarr://``, ``zip::``, ``|zip:inner|zarr3:``.

The pipes are neuroglancer's and TensorStore's. We add three of our own, so that
the text of a place says how to sign in: ``|profile:``, ``|region:``, ``|anonymous:``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_omezarr.errors import LocationError

from .percent import decode, join

if TYPE_CHECKING:
    from .address import Address

_PREFIX = re.compile(r"^zarr[23]?:(?://)?(?=[A-Za-z][\w+.-]+:|/|~)", re.IGNORECASE)
_SEPARATOR_OPTION = re.compile(
    r"[?&#]dimension_separator=(?:/|\.|%2F|%2E)", re.IGNORECASE
)
_CHAIN = re.compile(
    r"^(?:(zip)(?:://([^:]*))?|simplecache|filecache|blockcache)::", re.IGNORECASE
)
_PIPE = re.compile(r"([a-z][a-z0-9-]*)(?::([^?]*))?", re.IGNORECASE | re.DOTALL)
_ENCODED_PIPE = re.compile(
    r"%7C(?=(?:auto|zarr[23]?|profile|region|anonymous):)", re.IGNORECASE
)
_HAS_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/")
_FORMATS = {"zarr", "zarr2", "zarr3", "auto"}
_OPTIONS = {"profile", "region", "anonymous"}


@dataclass(frozen=True, slots=True)
class Adapter:
    """One step from an address to what is meant: ``|name:body``, body decoded."""

    name: str
    body: str


def strip_prefix(text: str) -> str:
    """Take ``zarr://`` (``zarr2://``, ``zarr3://``) off an address that follows it."""
    found = _PREFIX.match(text)
    if not found:
        return text
    return _SEPARATOR_OPTION.sub("", text[found.end() :])


def split_adapters(text: str) -> tuple[str, tuple[Adapter, ...]]:
    """Split into the address itself and what stands around it, outermost last.

    A local path is left alone: a ``|`` may be part of a file's name. Qt encodes the
    pipes of a link that is dropped; in a path of ours the colon would be encoded, too.

    Raises
    ------
    LocationError
        If a pipe names a format that is not Zarr.
    """
    chained: list[Adapter] = []
    while found := _CHAIN.match(text):
        if found[1]:
            chained.append(Adapter("zip", decode(found[2] or "")))
        text = text[found.end() :]
    piped: list[Adapter] = []
    if _HAS_SCHEME.match(text):
        text = _ENCODED_PIPE.sub("|", text)
    while _HAS_SCHEME.match(text):
        base, _, pipe = text.rpartition("|")
        found = _PIPE.fullmatch(pipe)
        if not base or not found:
            break
        piped.append(_checked(Adapter(found[1].lower(), decode(found[2] or ""))))
        text = base
    return text, (*reversed(chained), *reversed(piped))


def _checked(adapter: Adapter) -> Adapter:
    if adapter.name in _FORMATS | _OPTIONS | {"zip"}:
        return adapter
    raise LocationError(
        f"The address is said to hold {adapter.name}, which is not Zarr.",
        action="Paste the address of a Zarr store.",
    )


def apply_adapters(address: Address, adapters: tuple[Adapter, ...]) -> Address:
    """Go into the archive and down the path that the adapters say.

    Raises
    ------
    LocationError
        If they lead into an archive inside an archive.
    """
    for adapter in adapters:
        if adapter.name == "zip":
            address = _into_archive(address, adapter.body)
        elif adapter.name in _FORMATS:
            address = _below(address, adapter.body)
        elif adapter.name == "anonymous":
            address = replace(address, anonymous=adapter.body.lower() != "false")
        elif adapter.name == "region":
            address = replace(address, region=adapter.body or None)
        else:
            address = replace(address, profile=adapter.body or None)
    return address


def _into_archive(address: Address, member: str) -> Address:
    if address.member:
        raise LocationError(
            "The address leads into an archive inside an archive.",
            action="Unpack the outer one.",
        )
    return replace(address, member=join("", member))


def _below(address: Address, key: str) -> Address:
    if address.member is not None:
        return replace(address, member=join(address.member, key))
    return replace(address, path=join(address.path, key))
