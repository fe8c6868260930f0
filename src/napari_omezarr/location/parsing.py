"""From one text to one address: the steps, in their order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_omezarr.errors import LocationError

from .adapters import Adapter, apply_adapters, split_adapters, strip_prefix
from .inside import node_path, split_archive
from .links import addresses_in_link, host_of
from .local import parse_path
from .moved import follow
from .percent import as_unicode
from .schemes import WEB, parse_scheme, recover

if TYPE_CHECKING:
    from .address import Address

# A link in a link happens (a shortener, a proxy); a chain of them is a mistake.
MAX_LINKS = 5


def parse_all(text: str) -> tuple[Address, ...]:
    """Parse an address, or all those that a viewer's link carries.

    Raises
    ------
    LocationError
        If the text, or what the link carries, is no address.
    """
    addresses = []
    for inner, notes in _unwrap(recover(text), MAX_LINKS):
        address = _parse(inner)
        addresses.append(replace(address, notes=notes + address.notes))
    return tuple(dict.fromkeys(addresses))


def parse_file(text: str) -> Address:
    """Parse a path by the letter, unless it is an address that became a path.

    Raises
    ------
    LocationError
        If the path is relative and the working directory is gone.
    """
    text = as_unicode(text)
    remote = recover(f"/{text}")
    if remote != f"/{text}":
        return parse_all(remote)[0]
    return _inside(parse_path(text))


def _unwrap(text: str, depth: int) -> list[tuple[str, tuple[str, ...]]]:
    text = strip_prefix(text)
    inner = addresses_in_link(text)
    if not inner:
        return [(text, ())]
    if not depth:
        raise LocationError(
            "The link leads to a link to a link.",
            action="Paste the address of the data.",
        )
    host = host_of(text)
    note = () if host in inner[0] else (f"Taken out of a link to {host}.",)
    return [
        (address, (*note, *notes))
        for link in inner
        for address, notes in _unwrap(link, depth - 1)
    ]


def _parse(text: str) -> Address:
    base, adapters = split_adapters(text)
    return _inside(_follow_move(parse_scheme(base)), adapters)


def _inside(address: Address, adapters: tuple[Adapter, ...] = ()) -> Address:
    path, member = split_archive(address.path)
    address = apply_adapters(replace(address, path=path, member=member), adapters)
    if address.member is not None:
        return replace(address, member=node_path(address.member, in_store=True))
    return replace(address, path=node_path(address.path))


def _follow_move(address: Address) -> Address:
    """Replace a host that closed by the one that has its data."""
    if address.protocol in WEB:
        bucket, slash, path = address.path.partition("/")
        host, bucket, notes = follow(address.root, bucket)
        path = f"{bucket}{slash}{path}"
        return replace(address, root=host, path=path, notes=address.notes + notes)
    if address.endpoint:
        protocol, _, host = address.endpoint.partition("://")
        host, bucket, notes = follow(host, address.root)
        endpoint = f"{protocol}://{host}"
        notes = address.notes + notes
        return replace(address, root=bucket, endpoint=endpoint, notes=notes)
    return address


def with_options(
    address: Address,
    *,
    endpoint: str | None,
    region: str | None,
    profile: str | None,
    anonymous: bool | None,
) -> Address:
    """Fill what the address leaves open; places of this computer need none of it."""
    if address.protocol in {"file", "memory"}:
        return address
    if address.protocol not in WEB:
        address = replace(
            address,
            endpoint=address.endpoint or endpoint,
            region=address.region or region or None,
        )
    anonymous = anonymous if address.anonymous is None else address.anonymous
    profile = address.profile or profile or None
    return _follow_move(replace(address, profile=profile, anonymous=anonymous))
