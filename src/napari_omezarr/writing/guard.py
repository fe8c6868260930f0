"""Never write over what is being read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from napari_omezarr.errors import LocationError, TargetInUseError
from napari_omezarr.location import Location

if TYPE_CHECKING:
    from collections.abc import Iterable


def not_in_use(target: str, places: Iterable[str], *, inside: bool = False) -> None:
    """Check that a target is none of the places that are read, nor around one.

    Parameters
    ----------
    target : str
        The address where something will be written.
    places : iterable of str
        The addresses of sources and of open layers.
    inside : bool, optional
        The target may lie inside such a place (labels of an open image).

    Raises
    ------
    TargetInUseError
        It is one, or holds one, or lies inside one.
    """
    aim = f"{_plain(target)}/"
    for place in places:
        read = f"{_plain(place)}/"
        if read.startswith(aim) or (not inside and aim.startswith(read)):
            raise TargetInUseError(
                f"{target} is being read: by a layer that is open, or to be saved.",
                action="Save under another name.",
                url=target,
            )


def _plain(address: str) -> str:
    """Give one spelling of an address: local paths absolute, links followed."""
    text = address.removeprefix("file://")
    text = _in_bucket(text) if "://" in text else os.path.realpath(text)
    return text.replace("\\", "/").rstrip("/")


def _in_bucket(text: str) -> str:
    """Spell what may be an object of a bucket in one way, also if it is read as web."""
    try:
        location = Location.parse(text)
    except LocationError:
        return text
    bucket = location if location.protocol == "s3" else location.as_s3(path_style=True)
    if bucket is None:
        return text
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return f"{bucket.endpoint or named or 's3:'}/{bucket.root}/{bucket.path}"
