"""How a save becomes visible: by a rename here, elsewhere by the last document."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import Enum, auto
from itertools import islice
from time import sleep
from typing import TYPE_CHECKING, Any, Literal

from napari_omezarr.atomic_file import (
    beside,
    flush_below,
    flush_to_disk,
    is_partial,
    rename_new,
)
from napari_omezarr.errors import (
    AccessDeniedError,
    ConflictError,
    ListingDeniedError,
    TargetClaimedError,
    TargetExistsError,
    VerificationError,
)
from napari_omezarr.location import DOCUMENTS, NODE_DOCUMENTS
from napari_omezarr.store import probe_key
from napari_omezarr.user_files import cache_folder, read_json, write_json

from . import update
from .hierarchy import (
    FolderHierarchy,
    StoredSize,
    digest,
    explained,
    files_below,
    is_document,
    remove,
    replacement_folder,
    root_keys,
    size_of,
    without_replacements,
)
from .journal import FileClaim, claim_of, notes_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from napari_omezarr.store import GetResult

    from .encode import ZarrDocument
    from .hierarchy import Claim, Hierarchy

    Phase = Literal["writing", "switching", "switched"]

# Targets on this computer: written beside their place, then renamed.

_EPOCH = (1980, 1, 1, 0, 0, 0)
_OURS = frozenset({"data", "journal", "packed", "landing", "agreed", "replaced"})


def zip_folder(folder: Path, archive: Path, version: str) -> None:
    """Put a hierarchy into a zip file, in the order of RFC-9.

    Members are stored as they are (chunks are compressed already), the root's
    document first, then the other documents breadth-first, then the chunks; the
    comment names the version. Equal folders give equal files.
    """
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, allowZip64=True) as packed:
        packed.comment = json.dumps({"ome": {"version": version}}).encode()
        names = [file.relative_to(folder).as_posix() for file in files_below(folder)]
        for name in sorted(names, key=_rank):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr = 0o644 << 16
            file = folder / name
            member.file_size = file.stat().st_size
            with file.open("rb") as source, packed.open(member, "w") as sink:
                while part := source.read(1 << 20):
                    sink.write(part)


def _rank(name: str) -> tuple[bool, int, str]:
    file = name.rpartition("/")[2]
    return file not in DOCUMENTS, name.count("/"), name


class LocalTarget:
    """A folder that will appear whole: a rename is its commit.

    Until then everything lies in ``<name>.partial`` beside it, with its journal; for
    the moment between two renames also what is replaced, whole.
    """

    def __init__(self, path: Path, address: str = "") -> None:
        self.path = path
        self.address = address or str(path)
        self.partial = beside(path, ".partial")
        self.journal = self.partial / "journal"
        self.claim: Claim = FileClaim(path, self.address)
        self.staged: Hierarchy = FolderHierarchy(self.partial / "data", self.address)
        """The folder that will be renamed."""

    def occupied(self) -> StoredSize | None:
        """Say what is at the place; None where it is free."""
        with explained(self.address):
            if not _is_there(self.path):
                return None
            if self._is_replaceable():
                return size_of(self.path)
        raise _no_image(self.address)

    def holds_bare_group(self, found: StoredSize) -> bool:
        """Say whether what is at the place is a group with nothing in it."""
        return _is_bare(FolderHierarchy(self.path, self.address), "", found)

    switching = False
    notes: tuple[str, ...] = ()

    def try_writing(self) -> None:
        """Make a file where it would be, or where its folder would; it goes at once."""
        with explained(self.address):
            with suppress(FileNotFoundError):
                self.path.lstat()  # a name can be too long
            folder = next(above for above in self.path.parents if above.exists())
            tempfile.TemporaryFile(dir=folder).close()

    def unfinished(self) -> bool:
        """Whether there is a journal, and the data that it is about."""
        return self.journal.is_file() and (self.partial / "data").is_dir()

    def agreed(self) -> StoredSize | None:
        """Give what an unfinished save is to replace; None once that has given way."""
        found = read_json(self.partial / "agreed") if self.unfinished() else None
        if not isinstance(found, dict) or (self.partial / "replaced").exists():
            return None
        return StoredSize(**found)

    def begin(self, replaced: StoredSize | None = None) -> None:
        """Make the folder beside the place; what is there stays until the end."""
        with explained(self.address):
            if not self.unfinished():
                self._clear()
            (self.partial / "data").mkdir(parents=True, exist_ok=True)
            if replaced is not None:
                write_json(self.partial / "agreed", asdict(replaced))

    def commit(
        self, documents: Sequence[ZarrDocument], replaced: StoredSize | None = None
    ) -> None:
        """Write the documents and rename."""
        for document in documents:
            self.staged.put(document.key, document.body)
        self.staged.remove_partials("")
        with explained(self.address):
            finished = self._finished()
            # A loss of power must not leave an image with chunks that are empty.
            flush_below(self.partial)
            self._give_way(replaced)
            try:
                rename_new(finished, self.path)
            except FileExistsError:
                raise self._changed("appeared meanwhile") from None
            flush_to_disk(self.path.parent)
            self._clear()

    def finish(self) -> None:
        """Nothing is left to do after a rename."""

    def discard(self) -> None:
        """Remove the folder beside the place; what had given way comes back."""
        with explained(self.address):
            self._clear()

    def tidy(self) -> None:
        """Remove what a save has left that was killed once its image was whole.

        What goes on, is somebody else's, or is no save stays.
        """
        if self.unfinished() or not self.partial.is_dir():
            return
        with suppress(TargetClaimedError, TargetExistsError), self.claim.held():
            if _is_there(self.path) and not self.unfinished():
                self.discard()

    def _clear(self) -> None:
        """Remove the folder beside the place, if it is one of ours."""
        if not self.partial.exists():
            return
        ours = self.partial.is_dir() and all(
            # A file that was being written when a process was killed is ours, too.
            name in _OURS or is_partial(name)
            for name in (each.name for each in self.partial.iterdir())
        )
        if not ours:
            raise TargetExistsError(
                f"{self.partial} is in the way, and it is not a save of ours.",
                action="Rename it, or choose another name.",
                url=self.address,
            )
        old = self.partial / "replaced"
        if _is_there(old) and not _is_there(self.path):
            old.rename(self.path)
        remove(self.partial)

    def _finished(self) -> Path:
        return self.partial / "data"

    def _is_replaceable(self) -> bool:
        if not self.path.is_dir():
            return False
        known = any((self.path / name).is_file() for name in NODE_DOCUMENTS)
        return known or not any(self.path.iterdir())

    def _give_way(self, replaced: StoredSize | None) -> None:
        """Rename what is to be replaced, if it is what the person was shown."""
        found = self.occupied()
        if found is None:
            return
        if found != replaced:
            said = "has changed since" if replaced else "appeared meanwhile"
            raise self._changed(said)
        self.path.rename(self.partial / "replaced")

    def _changed(self, said: str) -> TargetExistsError:
        return TargetExistsError(
            f"{self.address} {said}; it was left as it is.",
            action="Look at it, then resume or save beside it.",
            url=self.address,
        )


class ArchiveTarget(LocalTarget):
    """One zip file (``.ozx``, ``.zarr.zip``), packed from a folder beside it.

    Chunks come in any order, and an archive can only grow: it is made once all
    is there, with the root's document first (RFC-9).
    """

    def __init__(self, path: Path, version: str, address: str = "") -> None:
        super().__init__(path, address)
        self.version = version

    def unfinished(self) -> bool:
        """Whether there is a journal with its data, and the file is not made yet."""
        packed, landing = self.partial / "packed", self.partial / "landing"
        return super().unfinished() and not (landing.exists() and not packed.exists())

    def _finished(self) -> Path:
        packed = self.partial / "packed"
        zip_folder(self.partial / "data", packed, self.version)
        # From here on a missing file was renamed to where it belongs.
        (self.partial / "landing").touch()
        return packed

    def _is_replaceable(self) -> bool:
        return self.path.is_file()

    def holds_bare_group(self, found: StoredSize) -> bool:
        """Say that an archive is never taken for one."""
        return False


def _no_image(address: str) -> TargetExistsError:
    sentence = f"{address} is there, and it is no OME-Zarr."
    return TargetExistsError(sentence, action="Choose another name.", url=address)


def _is_bare(hierarchy: Hierarchy, path: str, found: StoredSize) -> bool:
    documents = [each for each in hierarchy.read_all(root_keys(path)) if each]
    if found.objects != len(documents):
        return False
    try:
        said = [json.loads(document.body) for document in documents]
    except ValueError:
        return False
    return all(isinstance(each, dict) and _says_nothing(each) for each in said)


def _says_nothing(document: Mapping[str, Any]) -> bool:
    """Say whether a document makes a group, without attributes, and no more."""
    return (
        document.keys() <= {"zarr_format", "node_type", "attributes"}
        and document.get("node_type") in (None, "group")
        and not document.get("attributes")
    )


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


# Targets without rename: arrays first, and what makes them an image last.

_AT_ONCE = 1000


# Put a new image, which is whole beside, into the place of an old one.
#
# There is no rename in an object store. What is new is therefore copied over what is
# old, by the service itself; it stays whole beside until all of it is there, so that
# the work can be done again from its beginning.


@dataclass(frozen=True, slots=True)
class Replacement:
    """How far it is with a replacement; kept beside the journal.

    The new image is in ``folder``, the person agreed to lose ``objects`` of ``size``
    bytes, and ``root`` are the old image's `root_digests` when the switch began.
    """

    folder: str
    objects: int
    size: int
    phase: Phase = "writing"
    """The old image is whole; the new one is, beside; the new one is, in its place."""
    root: Mapping[str, str] = field(default_factory=dict)

    @property
    def agreed(self) -> StoredSize:
        """What the person agreed to lose."""
        return StoredSize(self.objects, self.size)

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
        key: digest(found.body)
        for key, found in zip(keys, hierarchy.read_all(keys), strict=True)
        if found is not None
    }


def take_place(
    hierarchy: Hierarchy, folder: str, path: str, replaced: Mapping[str, str]
) -> None:
    """Let a new image take the place of an old one; harmless to do again.

    The old documents go first: until the new root's are there, nobody finds an
    image, and nobody sees old and new pixels together. Until all is there the new
    image stays whole in its folder, with its documents.
    """
    staged = hierarchy.below(folder)
    fresh = staged.sizes(path)
    roots = [key for key in root_keys(path) if key in fresh]
    new = root_digests(staged, path)
    for key, found in root_digests(hierarchy, path).items():
        if found not in (replaced.get(key), new.get(key)):
            raise ConflictError(f"{hierarchy.address} was made anew by somebody else.")
    old = without_replacements(hierarchy.sizes(path))
    inner = [key for key in old if is_document(key) and key not in root_keys(path)]
    for some in (root_keys(path), inner):
        _settle(hierarchy.begin_delete(key) for key in some if key in old)
    pixels = {key: size for key, size in fresh.items() if not is_document(key)}
    _settle(_copies(hierarchy, folder, pixels))
    there = without_replacements(hierarchy.sizes(path))
    _compare(hierarchy.address, pixels, there)
    _settle(hierarchy.begin_delete(key) for key in there if key not in fresh)
    documents = [key for key in fresh if is_document(key) and key not in roots]
    for some in (documents, roots[:-1]):
        _settle(_copies(hierarchy, folder, {key: fresh[key] for key in some}))
    last = staged.read(roots[-1])
    hierarchy.replace(roots[-1], last.body if last else b"", None)


def _copies(
    hierarchy: Hierarchy, folder: str, sizes: Mapping[str, int]
) -> Iterator[Future[None]]:
    for key, size in sizes.items():
        yield hierarchy.begin_copy(f"{folder}/{key}", key, size)


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


# Places that may be written to but not listed: what can be seen of them.


class ListAccess(Enum):
    """How much of a place can be seen."""

    CLEAR = auto()
    """It can be listed."""
    KEYS = auto()
    """Only whether a key is there."""
    DIM = auto()
    """As a missing key and one that may not be read are answered alike, not even that
    before something of ours was read: S3 says 403 to who may not list."""


def find_documents(
    hierarchy: Hierarchy, path: str, denied: ListingDeniedError
) -> ListAccess:
    """Look for documents by name; what nobody can count is never replaced."""
    access = ListAccess.KEYS
    for key in root_keys(path):
        try:
            found = hierarchy.read(key)
        except AccessDeniedError as error:
            if type(error) is not AccessDeniedError:  # the sign-in itself is no good
                raise
            access = ListAccess.DIM
            continue
        if found is not None:
            place = f"{hierarchy.address}/{path}".rstrip("/")
            raise TargetExistsError(
                f"{place} exists, and may not be listed to say what would be replaced.",
                action="Choose another name, or sign in as somebody who may list it.",
                url=place,
            ) from denied
    return access


def probe_write(hierarchy: Hierarchy, path: str) -> None:
    """Write and read an object: from then on "denied" means "not there"."""
    key = probe_key(path)
    hierarchy.put(key, b"")
    hierarchy.read(key)
    with suppress(AccessDeniedError):
        hierarchy.begin_delete(key).result()


# Groups that become images.


class InPlaceTarget:
    """A group of a hierarchy that becomes an image when its documents are written.

    What replaces an image is written whole into a folder beside before that is
    touched; see `take_place`. ``announce`` is called once the documents are there (to
    list the image as a label of another), ``retire`` before it is replaced.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        path: str = "",
        announce: Callable[[], None] | None = None,
        retire: Callable[[], None] | None = None,
    ) -> None:
        self.path = path
        self.address = f"{hierarchy.address}/{path}" if path else hierarchy.address
        self.journal = journal_path(self.address)
        self.claim = claim_of(hierarchy, path, self.address)
        self._hierarchy = hierarchy
        self._announce = announce or _nothing
        self._retire = retire or _nothing
        self._committing = self.journal.with_suffix(".committing")
        self._replacing = self.journal.with_suffix(".replacing")
        self._access = ListAccess.CLEAR

    @property
    def staged(self) -> Hierarchy:
        """Where arrays are written before they are an image."""
        replacement = self._replacement()
        if replacement is None:
            return self._hierarchy
        return self._hierarchy.below(replacement.folder)

    @property
    def switching(self) -> bool:
        """Whether the new image is whole, and the old one has begun to give way."""
        replacement = self._replacement()
        return replacement is not None and replacement.phase != "writing"

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be found out about the place, once it was looked at."""
        if self._access is ListAccess.CLEAR:
            return ()
        return (
            f"{self.address} may not be listed: only its metadata were looked for, "
            "not what else may lie there.",
        )

    def try_writing(self) -> None:
        """Put an object there, and delete it."""
        probe_write(self._hierarchy, self.path)

    def occupied(self) -> StoredSize | None:
        """Say what is at the place; None where nothing is there yet.

        What an unfinished save of ours has written does not count.
        """
        if self.switching or self._is_committing():
            return None
        try:
            holds = self._hierarchy.holds(self.path)
        except ListingDeniedError as error:
            self._access = find_documents(self._hierarchy, self.path, error)
            return None
        if not holds:
            return None
        if any(self._hierarchy.read_all(root_keys(self.path))):
            return StoredSize.of(without_replacements(self._hierarchy.sizes(self.path)))
        if self.unfinished():
            return None
        raise _no_image(self.address)

    def holds_bare_group(self, found: StoredSize) -> bool:
        """Say whether what is at the place is a group with nothing in it."""
        return _is_bare(self._hierarchy, self.path, found)

    def unfinished(self) -> bool:
        """Whether there is a journal, or who saved from elsewhere is gone.

        A journal of what somebody has taken away since is about nothing.
        """
        if self.journal.is_file():
            return not self._is_emptied()
        if not self.claim.left_behind:
            return False
        return not any(self._hierarchy.read_all(root_keys(self.path)))

    def _is_emptied(self) -> bool:
        try:
            if self._replacement() is not None or self._hierarchy.holds(self.path):
                return False
        except ListingDeniedError:
            return False
        # What was stopped before its first block has nothing that could be missing.
        return notes_blocks(self.journal)

    def agreed(self) -> StoredSize | None:
        """Give what an unfinished save is to replace."""
        replacement = self._replacement()
        return replacement.agreed if replacement and self.unfinished() else None

    def begin(self, replaced: StoredSize | None = None) -> None:
        """Make ready; what is replaced stays whole until what is new is whole."""
        if self.occupied() != replaced:
            raise self._changed()
        if self._access is ListAccess.DIM:
            probe_write(self._hierarchy, self.path)
        with explained(str(self.journal)):
            self.journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.unfinished():
            return
        self._forget()
        if replaced is not None:
            fresh = Replacement(replacement_folder(), replaced.objects, replaced.size)
            fresh.keep(self._replacing)

    def commit(
        self, documents: Sequence[ZarrDocument], replaced: StoredSize | None = None
    ) -> None:
        """Write the documents, and make the image visible with the root's."""
        replacement = self._replacement()
        if self.occupied() != (replacement and replacement.agreed):
            raise self._changed()
        *inner, last = documents
        arrived = self._arrived()
        if replacement is None:
            with explained(str(self._committing)):
                sent = {"key": last.key, "digest": digest(last.body)}
                write_json(self._committing, sent)
        staged = self.staged
        staged.remove_partials(self.path)
        writing = [staged.begin_put(each.key, each.body) for each in inner]
        for done in writing:
            done.result()
        if replacement is not None:
            staged.put(last.key, last.body)
            old = root_digests(self._hierarchy, self.path)
            replace(replacement, phase="switching", root=old).keep(self._replacing)
            self.finish()
            return
        self._publish(last, arrived)
        self._announce()
        self._forget()

    def finish(self) -> None:
        """Bring a replacement to its end, once the old image has begun to give way."""
        replacement = self._replacement()
        if replacement is None or replacement.phase == "writing":
            return
        if replacement.phase == "switching":
            self._retire()
            take_place(self._hierarchy, replacement.folder, self.path, replacement.root)
            self._announce()
            replace(replacement, phase="switched").keep(self._replacing)
        self._hierarchy.remove(replacement.folder)
        self._forget()

    def _publish(self, root: ZarrDocument, arrived: GetResult | None) -> None:
        """Write the document that makes the image, unless somebody else was first."""
        try:
            self._hierarchy.replace(root.key, root.body, arrived)
        except ConflictError as error:
            found = self._hierarchy.read(root.key)
            if found is None or found.body != root.body:
                raise self._changed() from error

    def _is_committing(self) -> bool:
        """Whether a commit has begun, and nobody else has made an image since."""
        sent = read_json(self._committing)
        if not isinstance(sent, dict):
            return False
        found = self._root(sent["key"])
        return found is None or digest(found.body) == sent["digest"]

    def _arrived(self) -> GetResult | None:
        """Give the root's document as an earlier commit of ours has sent it.

        A request that was given up when a save was cancelled may still arrive.
        """
        sent = read_json(self._committing)
        return self._root(sent["key"]) if self._is_committing() else None

    def _root(self, key: str) -> GetResult | None:
        try:
            return self._hierarchy.read(key)
        except AccessDeniedError:  # how S3 says "not there" to who may not list
            return None

    def _changed(self) -> TargetExistsError:
        return TargetExistsError(
            f"{self.address} appeared or changed meanwhile; it was left as it is.",
            action="Save under another name.",
            url=self.address,
        )

    def discard(self) -> None:
        """Remove the arrays that no document has made an image of.

        Where somebody else has made one meanwhile, all is left as it is. Where the
        old image has begun to give way, the new one takes its place: both would be
        lost.
        """
        if self.switching:
            self.finish()
        elif self._replacement() is not None:
            self.staged.remove("")
        elif self.unfinished() and self.occupied() is None:
            self._hierarchy.remove(self.path)
            if self._is_committing() and self._hierarchy.folder is None:
                # The root's document may still be on its way, and would stand alone.
                sleep(update.LOOK_AGAIN)
                if self._arrived() is not None:
                    self._hierarchy.remove(self.path)
        self._forget()

    def _replacement(self) -> Replacement | None:
        return kept(self._replacing)

    def _forget(self) -> None:
        for file in (self.journal, self._committing, self._replacing):
            file.unlink(missing_ok=True)


def journal_path(address: str) -> Path:
    """Give the file in the person's cache that belongs to an address."""
    name = hashlib.blake2b(address.encode(), digest_size=16).hexdigest()
    return cache_folder() / "unfinished" / f"{name}.jsonl"


def _nothing() -> None:
    """Do nothing."""
