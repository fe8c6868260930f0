"""Addresses and Python for the clipboard; never with a secret."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .publicity import web_address

if TYPE_CHECKING:
    from napari_omezarr.location import Location


def plain_address(location: Location) -> str:
    """Give the address that opens here again: without query and password.

    What says how to sign in stays: the name of a profile, an endpoint, a region.
    """
    return str(replace(location, query="", userinfo="", notes=()))


def s3_address(location: Location) -> str:
    """Give the ``s3://`` form, as other programs take it; ``""`` if it has none."""
    bucket = location.as_s3(path_style=True) if not location.query else None
    if bucket is None:
        return ""
    return f"s3://{bucket.root}/{bucket.path}".rstrip("/")


def https_address(location: Location) -> str:
    """Give the web form; ``""`` if it has none, or would need a sign-in."""
    return web_address(location)


def python_snippet(location: Location) -> str:
    """Write Python that opens a place: the profile by its name, and no secret.

    It runs with napari as with the package alone.
    """
    keywords = {
        "endpoint": location.endpoint,
        "region": location.region,
        "profile": location.profile,
        "anonymous": location.anonymous,
    }
    bare = replace(
        location,
        query="",
        userinfo="",
        endpoint=None,
        region=None,
        profile=None,
        anonymous=None,
        notes=(),
    )
    given = [f"    {k}={v!r},\n" for k, v in keywords.items() if v is not None]
    place = f"{str(bare)!r}"
    if given:
        place = f"\n    {place},\n{''.join(given)}"
    left_out = location.query or location.userinfo
    note = "# The address was signed; the signature is left out.\n" if left_out else ""
    return (
        f"from napari_omezarr import Location, read\n\n{note}"
        f"location = Location.parse({place})\n"
        "image = read(location).pyramids[0]\n"
        "finest = image.data()[0]  # a dask array: nothing is read yet\n"
    )
