"""Places that may be written to but not listed: what can be seen of them."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_omezarr.errors import AccessDeniedError, TargetExistsError

from .target import root_keys

if TYPE_CHECKING:
    from napari_omezarr.errors import ListingDeniedError

    from .target import Hierarchy


class Sight(Enum):
    """How much of a place can be seen."""

    CLEAR = auto()
    """It can be listed."""
    KEYS = auto()
    """Only whether a key is there."""
    DIM = auto()
    """As a missing key and one that may not be read are answered alike, not even that
    before something of ours was read: S3 says 403 to who may not list."""


def look(hierarchy: Hierarchy, path: str, denied: ListingDeniedError) -> Sight:
    """Look for a group's documents by their names.

    Raises
    ------
    TargetExistsError
        There are some. Nothing is replaced that cannot be counted.
    StoreError
        The place did not answer.
    """
    sight = Sight.KEYS
    for key in root_keys(path):
        try:
            found = hierarchy.read(key)
        except AccessDeniedError as error:
            if type(error) is not AccessDeniedError:  # the sign-in itself is no good
                raise
            sight = Sight.DIM
            continue
        if found is not None:
            place = f"{hierarchy.address}/{path}".rstrip("/")
            raise TargetExistsError(
                f"{place} exists, and may not be listed to say what would be replaced.",
                action="Choose another name, or sign in as somebody who may list it.",
                url=place,
            ) from denied
    return sight


def prove(hierarchy: Hierarchy, path: str) -> None:
    """Write an object and read it, to know that "denied" means "not there" elsewhere.

    Raises
    ------
    AccessDeniedError
        What is written cannot be read, so that nobody knows what is there.
    """
    key = f"{path}/.probe-{uuid4().hex[:12]}".lstrip("/")
    hierarchy.put(key, b"")
    hierarchy.read(key)
    with suppress(AccessDeniedError):
        hierarchy.begin_delete(key).result()
