"""A backend behind the disk cache, and the one that this process uses: off at first."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import platformdirs

from napari_omezarr.errors import ObjectChangedError, StoreConnectionError, StoreError

from .backend import FIRST_BYTE, GetResult, NoteList, ObjectBackend, looks_like_html
from .disk_cache import CacheFolder, DiskCache, Uses, cache_key
from .error_mapping import Reason, RequestFailed

if TYPE_CHECKING:
    import os

    from zarr.abc.store import ByteRequest

    from napari_omezarr.connections import Profile
    from napari_omezarr.location import Location

    from .disk_cache import CacheHit
    from .error_mapping import ErrorContext
    from .http import Response

# Which version of each object a store has read parts of, so that they fit together.
#
# The chunks of a shard are found by an index that was read before. If the shard is
# written anew in between, and the index came from the disk cache, what is at the old
# places is something else: that must be an error, and not pixels.


@dataclass(frozen=True, slots=True)
class _Version:
    etag: str
    checked: float
    from_cache: bool


class Versions:
    """The versions that the parts of objects were of, as one store met them."""

    def __init__(self) -> None:
        self._met: dict[str, _Version] = {}

    def checked(self, key: str, etag: str) -> float:
        """Return when a version was last known to be current: seconds since 1970."""
        met = self._met.get(key)
        return met.checked if met and met.etag == etag else 0

    def fetched(self, key: str, etag: str, now: float) -> None:
        """Note that the place itself just gave a part, or said it is still the same.

        Raises `ObjectChangedError` if a part of another version was taken from the
        cache.
        """
        self._compare(key, etag)
        met = self._met.get(key)
        self._met[key] = _Version(etag, now, bool(met and met.from_cache))

    def taken(self, key: str, etag: str, checked: float) -> None:
        """Note that a part was taken from the cache.

        Raises `ObjectChangedError` if another part was, that is of another version.
        """
        self._compare(key, etag)
        checked = max(checked, self.checked(key, etag))
        self._met[key] = _Version(etag, checked, from_cache=True)

    def forget(self, key: str) -> None:
        """Drop what is known of a key, of which all parts are read anew."""
        self._met.pop(key, None)

    def _compare(self, key: str, etag: str) -> None:
        met = self._met.get(key)
        if met and met.from_cache and met.etag != etag:
            sentence = "The image has changed since it was opened."
            raise ObjectChangedError(sentence, action="Open it again.")


# A backend with the disk cache before it: what was once seen is not fetched again.

_OFFLINE = {Reason.UNKNOWN_HOST, Reason.NO_CONNECTION, Reason.SILENCE}
_OFFLINE_FOR = 30


@runtime_checkable
class CacheableBackend(ObjectBackend, Protocol):
    """A backend that tells one version of an object from another."""

    def identity(self, key: str) -> str:
        """Give the web address of a key, the same however it is reached."""
        ...

    async def respond(
        self, key: str, wanted: ByteRequest | None, etag: str = ""
    ) -> Response:
        """Read as `read` does, but only if the object is not of this version."""
        ...


class CachedBackend(ObjectBackend):
    """The keys below a place, whose answers are kept on disk and taken from there.

    An answer is fresh for ``max_age`` seconds, or for as long as the server says if
    that is less. Then the place is asked whether it is still the same; if nobody is
    there to be asked it is taken as it is, and a note says so. Failures and refusals
    are never kept. ``sign_in`` says as whom the place is read, in words that are no
    secret.
    """

    def __init__(
        self, source: CacheableBackend, cache: DiskCache, max_age: float, sign_in: str
    ) -> None:
        self.concurrency = source.concurrency
        self.stats = source.stats
        self._source = source
        self._cache = cache
        self._max_age = max_age
        self._sign_in = sign_in
        self._notes = NoteList()
        self._versions = Versions()
        self._offline_until = 0.0

    async def version(self, key: str) -> str:
        """Ask the place itself."""
        return (await self._source.respond(key, FIRST_BYTE)).etag

    async def read(
        self, key: str, wanted: ByteRequest | None = None
    ) -> GetResult | None:
        """Read a key, or a part of it, from the cache or else from the place."""
        name = cache_key(self._source.identity(key), self._sign_in)
        hit = await asyncio.to_thread(self._cache.find, name, wanted)
        if hit is None:
            response = await self._source.respond(key, wanted)
            return await self._fetched(key, name, wanted, response)
        if self._is_fresh(name, hit) or time.monotonic() < self._offline_until:
            return self._taken(name, wanted, hit)
        try:
            response = await self._source.respond(key, wanted, hit.etag)
        except (RequestFailed, StoreConnectionError) as error:
            if isinstance(error, RequestFailed) and error.reason not in _OFFLINE:
                raise
            # Nobody is asked for a while: finding out that nobody answers takes long.
            self._offline_until = time.monotonic() + _OFFLINE_FOR
            self._notes.add("You are offline; shown from the cache.")
            return self._taken(name, wanted, hit)
        if response.unchanged:
            return await self._confirmed(name, wanted, hit)
        return await self._fetched(key, name, wanted, response)

    def verdict(self, failure: RequestFailed) -> RequestFailed | StoreError:
        """Say what the place says."""
        return self._source.verdict(failure)

    def context(self, url: str, doing: str = "read") -> ErrorContext:
        """Describe the place."""
        return self._source.context(url, doing)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what happened there, and here."""
        return (*self._source.notes, *self._notes.sentences)

    def _is_fresh(self, name: str, hit: CacheHit) -> bool:
        checked = max(hit.checked, self._versions.checked(name, hit.etag))
        allowed = self._max_age if hit.lifetime is None else hit.lifetime
        return 0 <= time.time() - checked < min(self._max_age, allowed)

    def _taken(
        self, name: str, wanted: ByteRequest | None, hit: CacheHit
    ) -> GetResult | None:
        self._cache.uses.hits += 1
        if wanted is not None:
            self._versions.taken(name, hit.etag, hit.checked)
        return hit.result

    def forget(self, key: str) -> None:
        """Drop what is known of the version of a key."""
        self._versions.forget(cache_key(self._source.identity(key), self._sign_in))

    async def _confirmed(
        self, name: str, wanted: ByteRequest | None, hit: CacheHit
    ) -> GetResult | None:
        self._cache.uses.confirmed += 1
        await asyncio.to_thread(self._cache.confirm, hit)
        if wanted is not None:
            self._versions.fetched(name, hit.etag, time.time())
            self._versions.taken(name, hit.etag, time.time())
        return hit.result

    async def _fetched(
        self, key: str, name: str, wanted: ByteRequest | None, response: Response
    ) -> GetResult | None:
        self._cache.uses.misses += 1
        result = response.result(wanted)
        if result is not None and looks_like_html(key, result.body):
            return result
        await asyncio.to_thread(self._cache.keep, name, response)
        if self._cache.trouble:
            self._notes.add(f"The disk cache keeps nothing: {self._cache.trouble}.")
        if wanted is not None:
            self._versions.fetched(name, response.etag, time.time())
        return result


# The disk cache of this process: off until somebody says how large it may be.

GIGABYTE = 2**30
HOUR = 3600


@dataclass(frozen=True, slots=True)
class DiskCacheFacts:
    """What can be said about the disk cache."""

    folder: Path
    """Where its files are, whether it is on or off."""
    bytes: int
    """What they take on disk, estimated."""
    entries: int
    """How many there are."""
    hits: int
    confirmed: int
    misses: int
    """How many answers this process took from it without asking anybody, took after the
    place said that they are current, and had to fetch."""


class _ProcessDiskCache:
    def __init__(self) -> None:
        self.cache: DiskCache | None = None
        self.max_age = 0.0


_in_use = _ProcessDiskCache()


def default_disk_cache_folder() -> Path:
    """Give the folder where such files belong on this system; it need not exist."""
    return Path(platformdirs.user_cache_dir("napari-omezarr", appauthor=False))


def set_disk_cache(
    folder: str | os.PathLike[str] | None = None,
    *,
    size: int = 10 * GIGABYTE,
    max_age: float = HOUR,
) -> None:
    """Keep what remote places send in a folder, for all stores opened from now on.

    Nothing is read or written yet. Our files take ``size`` bytes at most (0 turns the
    cache off and leaves them alone), in a folder of their own below, which several
    processes may share; by default it is `default_disk_cache_folder`. For ``max_age``
    seconds something is shown without asking whether it has changed; 0 asks each time.
    """
    where = _chosen(folder)
    before = _in_use.cache
    if size <= 0:
        _in_use.cache = None
    elif before is None or (before.files.base, before.files.size) != (where, size):
        _in_use.cache = DiskCache(where, size)
    _in_use.max_age = max_age


def clear_disk_cache(folder: str | os.PathLike[str] | None = None) -> None:
    """Delete all that is kept in a folder: that in use, or else the default."""
    _files(folder).clear()


def disk_cache_facts(folder: str | os.PathLike[str] | None = None) -> DiskCacheFacts:
    """Count what is kept in a folder, file by file: not for the GUI thread."""
    files = _files(folder)
    uses = _in_use.cache.uses if _in_use.cache else Uses()
    size, entries = files.contents()
    return DiskCacheFacts(
        files.folder, size, entries, uses.hits, uses.confirmed, uses.misses
    )


def with_disk_cache(
    backend: ObjectBackend, location: Location, profile: Profile | None
) -> ObjectBackend:
    """Put the disk cache before a way to a remote place, if there is one.

    Local files and memory are as near as the cache is. Places that fsspec reads are
    left alone too: it does not say of which version an object is.
    """
    if _in_use.cache is None or not isinstance(backend, CacheableBackend):
        return backend
    named = profile.name if profile else ""
    anonymous = location.anonymous or bool(profile and profile.anonymous)
    sign_in = "anonymous" if anonymous else f"as {location.profile or named}"
    return CachedBackend(backend, _in_use.cache, _in_use.max_age, sign_in)


def _chosen(folder: str | os.PathLike[str] | None) -> Path:
    return Path(folder).expanduser() if folder else default_disk_cache_folder()


def _files(folder: str | os.PathLike[str] | None) -> CacheFolder:
    if folder is None and _in_use.cache:
        return _in_use.cache.files
    return CacheFolder(_chosen(folder), 0)
