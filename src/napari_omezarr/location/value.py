"""A place: where something lies and how to sign in there. It opens nothing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

from napari_omezarr.errors import LocationError

from . import rendering
from .address import Address
from .endpoints import as_bucket
from .inside import owner_paths, split_archive
from .parsing import parse_all, parse_file, with_options
from .pasted import addresses_in_text
from .percent import as_unicode, encode, encode_rest, join
from .schemes import WEB
from .web import parse_endpoint

_SUFFIX = re.compile(r"(?:\.ome)?\.(?:zarr|ozx|zip)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Location(Address):
    """A place that a person named, as a value; `Address` says what its fields are.

    Making one asks nobody: it reads no file and sends no request. ``str()`` gives
    the whole address, which parses to an equal value and may hold secrets;
    `display` and ``repr()`` hold none.

    Examples
    --------
    >>> image = Location.parse("s3://bucket/cells.ome.zarr/")
    >>> str(image / "labels" / "nuclei")
    's3://bucket/cells.ome.zarr/labels/nuclei'
    """

    @classmethod
    def parse(
        cls,
        text: str | os.PathLike[str] | Location,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        anonymous: bool | None = None,
    ) -> Location:
        """Parse whatever a person pasted: an address, a path, a link, a command.

        Pure but for the working directory and the home directory, from which
        relative paths and ``~`` start. A `Path` is taken by the letter, unless an
        address was made into one. The keywords fill what the text leaves open,
        and say nothing about local places.

        Parameters
        ----------
        text : str, path-like or Location
            The text; a Location passes through.
        endpoint : str, optional
            The S3-compatible service, ``https://host[:port]``.
        region, profile : str, optional
            The bucket's region; the connection or AWS profile.
        anonymous : bool, optional
            Whether to sign in at all; None decides by trying.

        Raises
        ------
        LocationError
            If the text is no address, not one that can be opened, or several.
        """
        found = (text,) if isinstance(text, Location) else _addresses(text)
        address = with_options(
            found[0],
            endpoint=parse_endpoint(endpoint) if endpoint else None,
            region=region,
            profile=profile,
            anonymous=anonymous,
        )
        if len(found) > 1:
            note = f"The link shows {len(found)} stores; this is the first."
            address = replace(address, notes=(*address.notes, note))
        return _location(address)

    def __truediv__(self, key: str) -> Location:
        """Return the place at `key` below this one; ``..`` leads up, to the root."""
        if self.member is not None:
            return replace(self, member=join(self.member, key), notes=())
        path, member = split_archive(join(self.path, key))
        return replace(self, path=path, member=member, notes=())

    def __str__(self) -> str:
        return rendering.full_text(self)

    @property
    def display(self) -> str:
        """The address for messages, logs and metadata: no query, no sign-in."""
        return rendering.display_text(self)

    @property
    def parent(self) -> Location:
        """The place above; of an archive its folder, of a root the root itself."""
        if self.member:
            return replace(self, member=_above(self.member), notes=())
        return replace(self, path=_above(self.path), member=None, notes=())

    @property
    def name(self) -> str:
        """The last part of the path; of a root the host, bucket, drive or share."""
        return (self.member or self.path or self.root).rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without ``.ome.zarr``, ``.zarr``, ``.ozx`` or ``.zip``."""
        stem = _SUFFIX.sub("", _SUFFIX.sub("", self.name))
        return stem or self.name

    @property
    def is_remote(self) -> bool:
        """Whether the bytes come over a network."""
        return self.protocol not in {"file", "memory"}

    @property
    def is_archive(self) -> bool:
        """Whether the place lies in a zip file; its name says so, nobody looked."""
        return self.member is not None

    @property
    def owners(self) -> tuple[Location, ...]:
        """The places that may have the array here as a level, nearest first.

        At most three, and none above a folder called ``*.zarr`` or outside of
        the archive.
        """
        if self.member is not None:
            owners = owner_paths(self.member, in_store=True)
            return tuple(replace(self, member=path, notes=()) for path in owners)
        owners = owner_paths(self.path, in_store=self.protocol in {"s3", "gs", "az"})
        return tuple(replace(self, path=path, notes=()) for path in owners)

    def url(self, key: str = "") -> str:
        """Return the encoded web address of a key below this place, with the query.

        Parameters
        ----------
        key : str
            Decoded. An archive has no keys with an address of their own.

        Raises
        ------
        LocationError
            If the place is not on the web, or `key` lies in an archive.
        """
        if self.protocol not in WEB or (key and self.is_archive):
            raise LocationError(
                f"{self.display} has no web address for what lies in it.",
                url=self.display,
            )
        user = f"{self.userinfo}@" if self.userinfo else ""
        path = "/".join(encode(part) for part in (self.path, key.strip("/")) if part)
        query = f"?{encode_rest(self.query)}" if self.query else ""
        return f"{self.protocol}://{user}{self.root}/{path}{query}"

    def local_path(self) -> Path:
        """Return the path of the file or folder; of an archive, of the zip file.

        Raises
        ------
        LocationError
            If the place is not on this computer.
        """
        if self.protocol != "file":
            raise LocationError(
                f"{self.display} is not a local path.", url=self.display
            )
        return Path(f"{self.root}/{self.path}")

    def as_s3(self, *, path_style: bool = False) -> Location | None:
        """Return the same place as bucket and key of an S3 endpoint.

        Parameters
        ----------
        path_style : bool
            Take an unknown web host for an endpoint whose first folder is the
            bucket, as MinIO and SeaweedFS serve it.

        Returns
        -------
        Location or None
            Itself if it is an ``s3`` place; None if the host is no known endpoint
            or the address names no bucket. A query is lost: it signs single
            objects, never a listing.
        """
        if self.protocol == "s3":
            return self
        if self.protocol not in WEB:
            return None
        address = as_bucket(self, path_style=path_style)
        return None if address is None else replace(_location(address), notes=())


def parse_many(text: str | os.PathLike[str]) -> tuple[Location, ...]:
    """Parse all addresses of a text: on lines, in a sentence, in a viewer's link.

    Returns
    -------
    tuple of Location
        Each once, in their order; empty if the text is.

    Raises
    ------
    LocationError
        If one of them cannot be opened.
    """
    if isinstance(text, str):
        texts = addresses_in_text(as_unicode(text))
        found = [address for one in texts for address in parse_all(one)]
    else:
        found = [parse_file(os.fsdecode(text))]
    return tuple(_location(address) for address in dict.fromkeys(found))


def _addresses(text: str | os.PathLike[str]) -> tuple[Address, ...]:
    """Return what the text names: one address, or those that one link carries."""
    if not isinstance(text, str):
        return (parse_file(os.fsdecode(text)),)
    found = dict.fromkeys(parse_all(one) for one in addresses_in_text(as_unicode(text)))
    if not found:
        raise LocationError(
            "There is no address.",
            action="Paste the address of an OME-Zarr, or choose a folder.",
        )
    if len(found) > 1:
        raise LocationError(
            f"There are {len(found)} addresses, and one is opened at a time.",
            action="Paste them one by one.",
        )
    return next(iter(found))


def _location(address: Address) -> Location:
    values = {field.name: getattr(address, field.name) for field in fields(address)}
    return Location(**values)


def _above(path: str) -> str:
    return path.rpartition("/")[0].rstrip("/")
