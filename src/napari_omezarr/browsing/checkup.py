"""What a connection may do: list buckets, list here, read."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_omezarr.connections import locate, vault
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.store import open_buckets, open_lister, open_store

from .recognition import probe_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_omezarr.connections import Keys
    from napari_omezarr.connections.connections import Profile
    from napari_omezarr.location import Location
    from napari_omezarr.store import Batch, Patience

_FEW = 20


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a connection was asked to do.

    Attributes
    ----------
    what : str
        ``list buckets``, ``list here`` or ``read``.
    works : bool or None
        None where it could not be tried.
    sentence : str
        What came of it, for the person.
    action : str
        What she can do about it.
    """

    what: str
    works: bool | None
    sentence: str
    action: str = ""


async def check_connection(
    profile: Profile,
    text: str = "",
    *,
    keys: Keys | None = None,
    patience: Patience | None = None,
) -> tuple[Check, Check, Check]:
    """Try what a connection may do, on the I/O loop; it need not be saved.

    Parameters
    ----------
    profile : Profile
        The connection.
    text : str, optional
        Where to list and read; by default where it starts.
    keys : Keys, optional
        What was typed, if it is not kept yet.
    patience : Patience, optional
        How long to wait, and how often to ask.

    Returns
    -------
    tuple of Check
        Buckets, list here, read: in this order. None of them raises.

    Raises
    ------
    LocationError
        The text is no address.
    """
    start = text or profile.start
    place = locate(start, replace(profile, name="")) if start else None
    with _held(profile, keys) as tried:
        if place is None:
            return await _buckets(tried, patience), *_UNTRIED
        return await asyncio.gather(
            _buckets(tried, patience),
            _list_here(place, tried, patience),
            _read(place, tried, patience),
        )


_NO_PLACE = "Not tried: no place is named."
_UNTRIED = (
    Check("list here", None, _NO_PLACE, "Name a place to start at."),
    Check("read", None, _NO_PLACE, "Name a place to start at."),
)


@contextmanager
def _held(profile: Profile, keys: Keys | None) -> Iterator[Profile]:
    """Lend typed keys to the connection under a name that nobody else has."""
    if keys is None:
        yield profile
        return
    name = f"{profile.name} (test {uuid4().hex[:8]})"
    vault().hold(name, keys)
    try:
        yield replace(profile, name=name)
    finally:
        vault().forget(name)


async def _buckets(profile: Profile, patience: Patience | None) -> Check:
    try:
        found = await open_buckets(profile, patience=patience).buckets()
    except OMEZarrError as error:
        return Check("list buckets", False, error.sentence, error.action)
    count = len(found)
    noun = "bucket" if count == 1 else "buckets"
    return Check("list buckets", True, f"Lists {count} {noun}.")


async def _list_here(
    place: Location, profile: Profile, patience: Patience | None
) -> Check:
    try:
        batch = await _batch(place, profile, patience)
    except OMEZarrError as error:
        return Check("list here", False, error.sentence, error.action)
    if not batch.items:
        return Check("list here", True, f"{place.display} is empty.")
    return Check("list here", True, f"Lists {place.display}.")


async def _read(place: Location, profile: Profile, patience: Patience | None) -> Check:
    """Read metadata here, or else the beginning of an object that is listed."""
    store = open_store(place, profile=profile, patience=patience)
    answers = await store.answers(probe_keys(""))
    if any(isinstance(body, bytes) for body in answers.values()):
        return Check("read", True, f"Reads {place.display}.")
    failed = (answer for answer in answers.values() if isinstance(answer, OMEZarrError))
    problem: OMEZarrError | None = next(failed, None)
    try:
        batch = await _batch(place, profile, patience)
        name = next((i.name for i in batch.items if not i.is_folder), None)
        if name is not None and await store.exists(name):
            return Check("read", True, f"Reads {(place / name).display}.")
    except OMEZarrError as error:
        problem = problem or error
    if problem is not None:
        return Check("read", False, problem.sentence, problem.action)
    return Check("read", None, "There is nothing here to be read.")


async def _batch(place: Location, profile: Profile, patience: Patience | None) -> Batch:
    return await open_lister(place, profile=profile, patience=patience).batch(size=_FEW)
