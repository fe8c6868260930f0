"""Whether a browser anywhere could read a place: what a share link depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from napari_omezarr.connections import find_profile
from napari_omezarr.connections.connections import Profile
from napari_omezarr.store import Patience, http
from napari_omezarr.store.backend import Tally
from napari_omezarr.store.error_mapping import Interrupted, refusal_of
from napari_omezarr.store.sign_in import BucketAddress, bucket_address, corrected

if TYPE_CHECKING:
    from napari_omezarr.location import Location

_DOCUMENTS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
_CORRECTIONS = 2
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class Publicity:
    """Whether others can open a place in their browsers.

    Attributes
    ----------
    address : str
        The https address that everybody may have; ``""`` if there is none.
    works : bool
        Whether a viewer in a browser can read it.
    sentence, action : str
        What is missing, and what to do about it; empty if nothing is.
    """

    address: str
    works: bool
    sentence: str = ""
    action: str = ""


def web_address(location: Location) -> str:
    """Give the address under which a browser would ask for a place.

    Returns
    -------
    str
        Without a sign-in; ``""`` for places that are on no web, and for those whose
        address holds a query or a password.
    """
    if location.query or location.userinfo or location.is_archive:
        return ""
    if location.protocol in ("http", "https"):
        return location.url()
    if location.protocol == "gs":
        bucket = BucketAddress(location.root, endpoint="https://storage.googleapis.com")
        return bucket.url(location.path)
    if location.protocol == "s3":
        return _bucket(location).url(location.path)
    return ""


async def check_public(location: Location, viewer: str = "") -> Publicity:
    """Ask for a place's metadata as a viewer's page would, on the I/O loop.

    Nobody signs, and the answer must let the page of the viewer read it (CORS).

    Parameters
    ----------
    location : Location
        An image.
    viewer : str, optional
        The address of the viewer, ``https://host/…``.
    """
    if not web_address(location):
        return _nowhere(location)
    return await _ask(location, web_address(location), viewer)


async def _ask(location: Location, address: str, viewer: str) -> Publicity:
    parts = urlsplit(viewer)
    origin = f"{parts.scheme}://{parts.netloc}" if viewer else "https://example.org"
    access = http.Access(Patience(), proxy=http.proxy_for(address))
    bucket = _bucket(location) if location.protocol == "s3" else None
    denied = False
    for name in _DOCUMENTS:
        try:
            for _ in range(1 + _CORRECTIONS):
                answer = await http.get(
                    f"{address}/{name}", {"Origin": origin}, access, Tally()
                )
                refusal = refusal_of(answer.status, answer.headers, answer.body)
                better = corrected(bucket, refusal) if bucket else None
                if better is None:
                    break
                bucket, address = better, better.url(location.path)
        except Interrupted as interrupted:
            sentence = f"{location.display} does not answer: {interrupted.kind.value}."
            return Publicity(address, False, sentence, "Try again a little later.")
        if answer.status == 200:
            allowed = answer.headers.get("Access-Control-Allow-Origin", "")
            return _judged(location, address, allowed in ("*", origin))
        denied = denied or answer.status in (401, 403)
    if denied:
        sentence = f"{location.display} is not public: it asks for a sign-in."
        action = "Ask its owner to open it to everybody."
        return Publicity(address, False, sentence, action)
    sentence = f"No image is at {location.display}."
    return Publicity(address, False, sentence, "Check the address.")


def _judged(location: Location, address: str, allowed: bool) -> Publicity:
    parts = urlsplit(address)
    if not allowed:
        sentence = f"{parts.netloc} does not let web pages read {location.display}."
        action = "Ask its owner to allow cross-origin reads (CORS)."
        return Publicity(address, False, sentence, action)
    host = (parts.hostname or "").lower()
    if parts.scheme == "http" and host not in _LOCAL_HOSTS:
        sentence = f"{parts.netloc} is not encrypted, so browsers refuse to read it."
        action = "Use its https address."
        return Publicity(address, False, sentence, action)
    if host in _LOCAL_HOSTS:
        return Publicity(address, True, "This link works on this computer only.")
    return Publicity(address, True)


def _nowhere(location: Location) -> Publicity:
    sentence = f"{location.display} lies where browsers cannot read."
    action = "Save it to a public bucket."
    if location.query or location.userinfo:
        sentence = f"The address of {location.display} holds a sign-in."
        action = "Use the address of a public place."
    elif location.is_archive:
        sentence = "Viewers in browsers do not read archives."
        action = "Unpack it in a public bucket."
    elif location.protocol == "file":
        sentence = f"{location.display} lies on this computer."
    return Publicity("", False, sentence, action)


def _bucket(location: Location) -> BucketAddress:
    named = find_profile(location.profile) if location.profile else Profile("")
    return bucket_address(
        location.root,
        location.region or named.region,
        location.endpoint or named.endpoint,
        named.style,
    )
