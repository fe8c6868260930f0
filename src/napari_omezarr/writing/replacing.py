"""Put a new image, which is whole beside, into the place of an old one.

There is no rename in an object store. What is new is therefore copied over what is
old, by the service itself; it stays whole beside until all of it is there, so that
the work can be done again from its beginning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Literal

from napari_omezarr.errors import ConflictError, VerificationError
from napari_omezarr.user_files import read_json, write_json

from .failures import explained
from .staging import own
from .target import Listing, is_document, root_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from .staging import Staging
    from .target import Hierarchy

    Phase = Literal["writing", "switching", "switched"]

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Replacement:
    """How far it is with a replacement; kept beside the journal.

    Parameters
    ----------
    folder : str
        Where the new image is written.
    objects, size : int
        What the person agreed to lose.
    phase : {"writing", "switching", "switched"}
        The old image is whole; the new one is, beside; the new one is, in its place.
    root : Mapping
        What the old image's root documents were when the switch began: their
        `root_digests`.
    """

    folder: str
    objects: int
    size: int
    phase: Phase = "writing"
    root: Mapping[str, str] = field(default_factory=dict)

    @property
    def agreed(self) -> Listing:
        """What the person agreed to lose."""
        return Listing(self.objects, self.size)

    def keep(self, file: Path) -> None:
        """Write it to a file, whole or not at all."""
        with explained(str(file)):
            write_json(file, asdict(self))


def kept(file: Path) -> Replacement | None:
    """Read a replacement from a file; None where there is none."""
    found = read_json(file)
    return Replacement(**found) if isinstance(found, dict) else None


def root_digests(hierarchy: Hierarchy, path: str) -> dict[str, str]:
    """Name the state of each document that makes a group an image."""
    keys = root_keys(path)
    return {
        key: blake2b(found.body, digest_size=16).hexdigest()
        for key, found in zip(keys, hierarchy.read_all(keys), strict=True)
        if found is not None
    }


def take_place(
    hierarchy: Hierarchy, staging: Staging, path: str, replaced: Mapping[str, str]
) -> None:
    """Let a new image take the place of an old one; harmless to do again.

    The old documents go first: until the new root's are there, nobody finds an
    image, and nobody sees old and new pixels together.

    Parameters
    ----------
    hierarchy : Hierarchy
        Where.
    staging : Staging
        Where the new image is, whole, with its documents.
    path : str
        Of the group.
    replaced : Mapping
        The `root_digests` of what is replaced.

    Raises
    ------
    ConflictError
        Somebody else made an image there meanwhile; it was left as it is.
    VerificationError
        An object is missing, or has another size, after it was copied.
    StoreError
        Something could not be copied. All of the new image is still beside.
    """
    fresh = staging.sizes(path)
    roots = [key for key in root_keys(path) if key in fresh]
    new = root_digests(staging, path)
    for key, digest in root_digests(hierarchy, path).items():
        if digest not in (replaced.get(key), new.get(key)):
            raise ConflictError(f"{hierarchy.address} was made anew by somebody else.")
    old = own(hierarchy.sizes(path))
    inner = [key for key in old if is_document(key) and key not in root_keys(path)]
    for some in (root_keys(path), inner):
        _settle(hierarchy.begin_delete(key) for key in some if key in old)
    pixels = {key: size for key, size in fresh.items() if not is_document(key)}
    _settle(hierarchy.begin_copy(staging.at(k), k, size) for k, size in pixels.items())
    there = own(hierarchy.sizes(path))
    _compare(hierarchy.address, pixels, there)
    _settle(hierarchy.begin_delete(key) for key in there if key not in fresh)
    documents = [key for key in fresh if is_document(key) and key not in roots]
    for some in (documents, roots[:-1]):
        _settle(hierarchy.begin_copy(staging.at(key), key, fresh[key]) for key in some)
    last = staging.read(roots[-1])
    hierarchy.replace(roots[-1], last.body if last else b"", None)


def _compare(address: str, wanted: dict[str, int], found: dict[str, int]) -> None:
    for key, size in wanted.items():
        if found.get(key) != size:
            raise VerificationError(
                f"{key} of {address} is not as it was copied.",
                action="Resume: the new image is still whole beside it.",
                url=address,
            )


def _settle(begun: Iterable[Future[None]]) -> None:
    """Wait for what was begun, some at a time, and raise the first failure."""
    rest = iter(begun)
    while some := list(islice(rest, _AT_ONCE)):
        failures = [error for each in some if (error := each.exception())]
        if failures:
            raise failures[0]
