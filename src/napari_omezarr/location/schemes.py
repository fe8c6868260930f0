"""Dispatch by scheme to the syntax that a text follows."""

from __future__ import annotations

import re

from napari_omezarr.errors import LocationError

from .address import Address
from .buckets import parse_bucket, parse_with_endpoint
from .endpoints import is_endpoint
from .local import parse_file_uri, parse_path
from .percent import decode, join
from .web import guess_protocol, parse_web

BUCKETS = {
    "s3": "s3",
    "s3a": "s3",
    "s3n": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "abfss": "az",
}
WEB = ("http", "https")
# What a scheme may look like; a single letter is a Windows drive.
SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):(.*)$", re.DOTALL)
_ARN = re.compile(r"^arn:aws[\w-]*:s3:::", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"^([\w-][\w.-]+:\d{1,5})(?=/|$)", re.ASCII)
_BARE_HOST = re.compile(r"^([\w-]+(?:\.[\w-]+)+)/", re.ASCII)
# What pathlib and Qt's save dialog leave of an address: a folder of ours before
# it, and perhaps one slash of two.
_MANGLED = re.compile(
    r"^(?:[A-Za-z]:)?[\\/](?:.*?[\\/])?"
    r"((?:(?:s3|gs|az)\+)?https?|s3a?|gc?s|az|abfss?|zarr[23]?):[\\/]{1,2}(?=[^\\/])",
    re.IGNORECASE | re.DOTALL,
)


def recover(text: str) -> str:
    """Return the remote address that a local path was made of, or the text.

    ``/cwd/s3:/bucket/x.zarr`` was ``s3://bucket/x.zarr``.
    """
    found = _MANGLED.match(text)
    if not found:
        return text
    rest = text[found.end() :].replace("\\", "/")
    return f"{found[1]}://{rest}"


def parse_scheme(text: str) -> Address:
    """Parse one address, by its scheme or as a path of this computer.

    Raises
    ------
    LocationError
        If the scheme is none that can be opened, or what follows is incomplete.
    """
    text = _ARN.sub("s3://", text)
    if host := _HOST_AND_PORT.match(text):
        return parse_web(guess_protocol(host[1]), f"//{text}")
    found = SCHEME.match(text)
    if found:
        return _parse_known(found[1].lower(), found[2])
    bare = _BARE_HOST.match(text)
    if bare and (is_endpoint(bare[1]) or bare[1].startswith("www.")):
        return parse_web("https", f"//{text}")
    return parse_path(text)


def _parse_known(scheme: str, rest: str) -> Address:
    if scheme in WEB:
        return parse_web(scheme, rest)
    if scheme in BUCKETS:
        return parse_bucket(BUCKETS[scheme], rest)
    if scheme == "file":
        return parse_file_uri(rest)
    if scheme == "memory":
        return Address("memory", "", join("", decode(rest)))
    service, _, transport = scheme.partition("+")
    if service in BUCKETS and transport in WEB:
        return parse_with_endpoint(BUCKETS[service], transport, rest)
    # The scheme is told only if it looks like one: it might be half of a secret.
    what = f"{scheme}:// addresses" if rest.startswith("//") else "This address"
    verb = "cannot" if rest.startswith("//") else "is of no kind that can"
    raise LocationError(
        f"{what} {verb} be opened.",
        action="Use a local path, or an http(s)://, s3://, gs:// or az:// address.",
    )
