"""Nodes of zarr: their documents, asked for in rounds, and what they say.

What must be known to open something is written as generators: each yields the
keys it needs next and is sent their answers. ``together`` joins generators so
that all of one depth ask at once, and ``run_questions`` runs one against a store:
one round of requests for each depth, however many images, labels or wells there are.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from napari_omezarr.errors import (
    MetadataError,
    ObjectChangedError,
    OptionError,
    StoreError,
    WebPageError,
)
from napari_omezarr.location import (
    ARRAY_DOCUMENT,
    GROUP_DOCUMENT,
    ZARRAY,
    ZATTRS,
    ZGROUP,
)
from napari_omezarr.metadata import KINDS, DocumentError, load_json, parse_document
from napari_omezarr.pyramid import mean_the_same

if TYPE_CHECKING:
    from napari_omezarr.errors import OMEZarrError
    from napari_omezarr.location import Location
    from napari_omezarr.metadata import Document, Kind
    from napari_omezarr.pyramid import Pyramid
    from napari_omezarr.store import RemoteStore


T = TypeVar("T")

Answers = Mapping[str, bytes | StoreError | None]
"""By key: the bytes, None where nothing is there, or what went wrong."""

Questions = Generator[frozenset[str], Answers, T]
"""Yields keys, is sent their answers, returns what it found out."""


@dataclass(frozen=True, slots=True)
class _Ended(Generic[T]):
    """What a generator has returned."""

    result: T


def _step(
    questions: Questions[T], answers: Answers | None = None
) -> frozenset[str] | _Ended[T]:
    """Give the keys that a generator asks for next, or its end."""
    try:
        return next(questions) if answers is None else questions.send(answers)
    except StopIteration as stop:
        return _Ended(stop.value)


def ask(keys: Iterable[str]) -> Questions[Answers]:
    """Ask for some keys at once."""
    wanted = frozenset(keys)
    if not wanted:
        return {}
    answers = yield wanted
    return {key: answers[key] for key in wanted}


def together(parts: Iterable[Questions[T]]) -> Questions[list[T]]:
    """Run several generators side by side: each round of theirs is one round."""
    generators = list(parts)
    steps = dict(enumerate(map(_step, generators)))
    while True:
        waiting = {n: s for n, s in steps.items() if not isinstance(s, _Ended)}
        if not waiting:
            break
        answers = yield frozenset().union(*waiting.values())
        for number, keys in waiting.items():
            own = {key: answers[key] for key in keys}
            steps[number] = _step(generators[number], own)
    return [step.result for step in steps.values() if isinstance(step, _Ended)]


def primed(questions: Questions[T], held: Answers) -> Questions[T]:
    """Run a generator with some answers that are there before it asks."""
    step = _step(questions)
    while not isinstance(step, _Ended):
        fresh = yield from ask(key for key in step if key not in held)
        known = {key: held[key] for key in step if key in held}
        step = _step(questions, {**known, **fresh})
    return step.result


def run_questions(
    questions: Questions[T],
    store: RemoteStore,
    consolidated: Consolidated | None = None,
) -> T:
    """Run a generator to its end against a store; blocks for each round.

    Consolidated metadata that turn up on the way are taken up in ``consolidated``,
    and answer what they can without a request.
    """
    consolidated = consolidated or Consolidated()
    step = _step(questions)
    while not isinstance(step, _Ended):
        held = {key: consolidated.claimed(key) for key in step}
        missing = [key for key, body in held.items() if body is None]
        fresh = store.fetch(missing) if missing else {}
        consolidated.learn(fresh)
        step = _step(questions, {**held, **consolidated.completed(fresh)})
    return step.result


async def run_questions_async(questions: Questions[T], store: RemoteStore) -> T:
    """Run a generator to its end against a store, on the I/O loop."""
    step = _step(questions)
    while not isinstance(step, _Ended):
        step = _step(questions, await store.answers(step))
    return step.result


# Consolidated metadata: used when it is there, never needed.

_MOST_CHECKED = 32
_KNOWN_OLDER: set[str] = set()
"""Places whose consolidated metadata were found to be older than what they tell of."""


@dataclass(slots=True)
class Confirmation:
    """Asks whether documents say what consolidated metadata said of them: once.

    It goes along with the first pixels, so that it costs no round of its own.
    """

    place: str
    store: RemoteStore
    said: Mapping[str, Any]  # by key, the document
    is_needed: bool = True

    async def settle(self) -> None:
        """Raise `ObjectChangedError` if a document says otherwise by now."""
        if not self.is_needed:
            return
        answers = await self.store.answers(self.said)
        for key, body in answers.items():
            if isinstance(body, StoreError):  # whoever reads the pixels will know
                continue
            if body is None or not _means(body, self.said[key]):
                _KNOWN_OLDER.add(self.place)
                msg = f"The consolidated metadata of {self.place} are older than {key}."
                action = "Open it again: the documents themselves are read then."
                url = f"{self.place}/{key.rpartition('/')[0]}".rstrip("/")
                raise ObjectChangedError(msg, action=action, url=url)
        self.is_needed = False


class Consolidated:
    """What a group's consolidated metadata say of the documents below it.

    zarr 3 keeps them inside ``zarr.json``, zarr 2 in ``.zmetadata``. They answer
    only for what they hold: a label added later is asked for as usual.

    Whoever writes an array may leave them as they were. Where they are believed, they
    answer without a request, and `is_current` tells afterwards whether that was right;
    else only where the documents themselves are not served at all.
    """

    def __init__(self, *, believed: bool = True, place: str = "") -> None:
        self.is_older = False
        self._place = place
        self._believed = believed and place not in _KNOWN_OLDER
        self._confirmations: list[Confirmation] = []
        self._documents: dict[str, Any] = {}
        self._claims: dict[str, Any] = {}
        # The folders that have some, and those of which they are all that there is.
        self._folders: set[str] = set()
        self._alone: set[str] = set()

    def learn(self, answers: Mapping[str, Any]) -> None:
        """Take up consolidated metadata from the answers to a round."""
        for key, body in answers.items():
            prefix, _, file = key.rpartition("/")
            below = f"{prefix}/" if prefix else ""
            if not isinstance(body, bytes):
                continue
            if file == ".zmetadata":
                if not isinstance(answers.get(below + ".zattrs"), bytes):
                    self._alone.add(below)
                entries = _entries(body, "metadata")
                self._folders |= {below} if entries else set()
                self._documents |= {below + name: e for name, e in entries.items()}
            elif file == "zarr.json" and b"consolidated_metadata" in body:
                entries = _entries(body, "consolidated_metadata", "metadata")
                self._folders |= {below} if entries else set()
                self._documents |= {
                    f"{below}{name}/zarr.json": e for name, e in entries.items()
                }

    def children(self, path: str) -> list[str]:
        """Give the names directly below a group, in order; none if nothing is held."""
        below = f"{path}/" if path else ""
        keys = [key[len(below) :] for key in self._documents if key.startswith(below)]
        return sorted({key.partition("/")[0] for key in keys if "/" in key})

    def covers(self, key: str) -> bool:
        """Say whether the document at a key would be among them."""
        return any(key.startswith(folder) for folder in self._folders)

    def holds(self, key: str) -> bool:
        """Say whether the document at a key is among them."""
        return key in self._documents

    def claimed(self, key: str) -> bytes | None:
        """Give the document at a key without asking, or None if that is to be asked."""
        document = self._documents.get(key)
        if document is None or not self._believed:
            return None
        self._claims[key] = document
        return json.dumps(document).encode()

    def completed(self, answers: Answers) -> Answers:
        """Compare answers with what is held, and give that where nothing is served."""
        found = dict(answers)
        for key in answers.keys() & self._documents.keys():
            if not self._agrees(key, answers[key]):
                self.is_older = True
            elif answers[key] is None:
                found[key] = self.alone(key)
        return found

    def alone(self, key: str) -> bytes | None:
        """Give the document at a key that is served in no other place, if it is so."""
        document = self._documents.get(key)
        if document is None or not self._is_alone(key):
            return None
        return json.dumps(document).encode()

    def is_current(self, store: RemoteStore) -> bool:
        """Ask for what was answered without a request, in one round; blocks.

        Of a plate that is a document for each well: only the first ones are asked for.
        """
        claims = tuple(self._claims)[:_MOST_CHECKED]
        answers = store.fetch(claims) if claims else {}
        for confirmation in self._confirmations:
            confirmation.is_needed = not answers.keys() >= confirmation.said.keys()
        return all(self._agrees(key, body) for key, body in answers.items())

    def confirmation(
        self, store: RemoteStore, keys: Iterable[str]
    ) -> Confirmation | None:
        """Give what is to be asked of some documents, if they were not asked for."""
        said = {
            key: self._claims[key]
            for key in keys
            if key in self._claims and not self._is_alone(key)
        }
        if not said:
            return None
        made = Confirmation(self._place, store, said)
        self._confirmations.append(made)
        return made

    def _is_alone(self, key: str) -> bool:
        return any(key.startswith(below) for below in self._alone)

    def _agrees(self, key: str, body: bytes | StoreError | None) -> bool:
        if isinstance(body, StoreError):  # whoever reads the pixels will know
            return True
        if body is None:
            return self._is_alone(key)
        return _means(body, self._documents[key])


def _means(body: bytes, document: Any) -> bool:
    """Say whether a document is one that means the same, in whatever way written."""
    try:
        found = load_json(body, shortened=True)
    except DocumentError:
        return False
    if isinstance(document, dict) and "shape" in document:
        return mean_the_same(found, document)
    return _attributes(found) == _attributes(document)


def _attributes(document: Any) -> str:
    if isinstance(document, dict) and "node_type" in document:
        document = document.get("attributes")
    return json.dumps(document, sort_keys=True)


def _entries(body: bytes, *path: str) -> dict[str, Any]:
    try:
        found: Any = load_json(body, shortened=True)
    except DocumentError:
        return {}
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return {}
    return {name: entry for name, entry in found.items() if isinstance(entry, dict)}


# The nodes of a zarr hierarchy, from their documents alone, and what is to be read.


@dataclass(frozen=True, slots=True)
class GroupNode:
    """A group: its path below the store, zarr format (2 or 3) and attributes."""

    path: str
    zarr_format: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ArrayNode:
    """An array: its path, zarr format (2 or 3), metadata document, attributes."""

    path: str
    zarr_format: int
    document: Mapping[str, Any]
    attributes: Mapping[str, Any]


Node = GroupNode | ArrayNode


def join_path(path: str, *names: str) -> str:
    """Join parts of a path; empty parts are nothing."""
    return "/".join(part.strip("/") for part in (path, *names) if part.strip("/"))


def group_keys(path: str, zarr_format: int | None = None) -> tuple[str, ...]:
    """Give the keys that hold a group's attributes (both formats if unknown)."""
    formats = GROUP_DOCUMENT if zarr_format is None else (zarr_format,)
    return tuple(join_path(path, GROUP_DOCUMENT[number]) for number in formats)


def array_key(path: str, zarr_format: int) -> str:
    """Give the key that holds an array's metadata."""
    return join_path(path, ARRAY_DOCUMENT[zarr_format])


def other_format(zarr_format: int) -> int:
    """Give the zarr format that a part may be in although its group is not."""
    return 5 - zarr_format


def parse_node(
    path: str, answers: Answers, zarr_format: int | None = None
) -> Node | None:
    """Make the node at a path from the answers to `group_keys`.

    Where both formats answer, the one that says more is taken.
    """
    found: list[Node] = []
    for key in group_keys(path, zarr_format):
        body = answers[key]
        if isinstance(body, bytes):
            found.append(_node(path, key, parse_json(body, key)))
    if not found:
        raise_failures(answers[key] for key in group_keys(path, zarr_format))
        return None
    return max(found, key=_says)


def _says(node: Node) -> tuple[bool, bool, bool]:
    """Order what both formats say of one place: by what a viewer can use of it."""
    keys = node.attributes.keys() | _object(node.attributes.get("ome")).keys()
    known = isinstance(node, ArrayNode), not keys.isdisjoint(KINDS)
    return *known, bool(node.attributes)


def find_group(path: str, zarr_format: int) -> Questions[Node | None]:
    """Find what a group lists: in its own zarr format, else in the other one.

    What newer programs add to an older image is often of their own format. The
    second is asked for only where the first has nothing.
    """
    for number in (zarr_format, other_format(zarr_format)):
        answers = yield from ask(group_keys(path, number))
        found = parse_node(path, answers, number)
        if found is not None:
            return found
    return None


def find_array(path: str, zarr_format: int) -> Questions[ArrayNode | None]:
    """Find an array: in its group's zarr format, else in the other one."""
    for number in (zarr_format, other_format(zarr_format)):
        answers = yield from ask([array_key(path, number)])
        found = parse_array(path, answers, number)
        if found is not None:
            return found
    return None


def find_node(path: str) -> Questions[Node | None]:
    """Find a node that is not a group with attributes: an array, a bare group."""
    keys = {name: join_path(path, name) for name in (ZARRAY, ZGROUP)}
    answers = yield from ask(keys.values())
    array = answers[keys[ZARRAY]]
    if isinstance(array, bytes):
        return ArrayNode(path, 2, parse_json(array, keys[ZARRAY]), {})
    if isinstance(answers[keys[ZGROUP]], bytes):
        return GroupNode(path, 2, {})
    raise_failures(answers.values())
    return None


def parse_array(path: str, answers: Answers, zarr_format: int) -> ArrayNode | None:
    """Make the array at a path from the answer to `array_key`; None if missing."""
    key = array_key(path, zarr_format)
    body = answers[key]
    if isinstance(body, StoreError):
        raise body
    if body is None:
        return None
    document = parse_json(body, key)
    if zarr_format == 3 and document.get("node_type", "array") != "array":
        msg = "A level must be an array and this is a group"
        raise MetadataError(msg, where=key)
    return ArrayNode(path, zarr_format, document, _object(document.get("attributes")))


def parse_json(body: bytes, key: str) -> dict[str, Any]:
    """Parse a metadata document."""
    try:
        document = load_json(body, shortened=True)
    except DocumentError as error:
        if body.lstrip()[:1] == b"<":
            msg = "This address answers with a web page."
            action = "Look for the address of the data themselves."
            raise WebPageError(msg, action=action) from None
        raise MetadataError(str(error), where=key) from None
    if not isinstance(document, dict):
        msg = "This document is not a JSON object"
        raise MetadataError(msg, where=key)
    return document


def kind_of(node: Node, url: str = "") -> Kind | None:
    """Say what a node's attributes make it; None where they are not OME-Zarr's."""
    document = parse_document(node.attributes, zarr_format=node.zarr_format, url=url)
    return document.kind


def raise_failures(answers: Iterable[bytes | StoreError | None]) -> None:
    """Raise the first failure among some answers, if there is one."""
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer


def _node(path: str, key: str, document: dict[str, Any]) -> Node:
    if key.endswith(ZATTRS):
        return GroupNode(path, 2, document)
    attributes = _object(document.get("attributes"))
    if document.get("node_type") == "array":
        return ArrayNode(path, 3, document, attributes)
    return GroupNode(path, 3, attributes)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# What a caller may choose, and what all parts of one opening share.


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Which part of what lies at an address is opened.

    Parameters
    ----------
    labels : bool or tuple of str, optional
        Open the label images of an image: all, none, or those of these paths.
    level : int or None, optional
        Only this resolution level, 0 being the finest.
    multiscale : int, str or None, optional
        Which of several multiscales, by number or name; None is the first.
    series : int, str or None, optional
        Only this image of a bioformats2raw series or a scene, by number or path.
    coordinate_system : str or None, optional
        Which of its named coordinate systems to show an image in; None takes the
        intrinsic one (0.6), or follows the multiscale's own transforms (before).
    rows, columns, wells : tuple of str or None, optional
        Of a plate only these rows, columns (by name) and wells (like ``B3``).
    fields : int, str or None, optional
        Which fields of a plate's wells: ``"all"`` where their translations say, else
        on a grid; ``"grid"`` always on a grid; ``"each"`` one at a time, with an axis
        to step through; a number or a path for that one alone. None is all, or each
        where there are thousands.
    acquisition : int, str or None, optional
        Which acquisition of a plate, by id or name; None steps through several.

    Examples
    --------
    >>> from napari_omezarr import Location, ReadOptions, read
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> options = ReadOptions(labels=False, level=-1)
    >>> (image,) = read(Location.parse("cells.ome.zarr"), options).pyramids
    >>> image.shape
    (2, 4, 16, 16)
    """

    labels: bool | tuple[str, ...] = True
    level: int | None = None
    multiscale: int | str | None = None
    series: int | str | None = None
    coordinate_system: str | None = None
    rows: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    wells: tuple[str, ...] | None = None
    fields: int | str | None = None
    acquisition: int | str | None = None

    def __post_init__(self) -> None:
        """Refuse, in words, what is none of an option's kinds."""
        for name, kinds in _KINDS.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, kinds):
                what = " or ".join(_IN_WORDS[kind] for kind in kinds)
                msg = f"{name} is {type(value).__name__}, and has to be {what}."
                raise OptionError(msg, action="Compare it with the documentation.")


_KINDS: dict[str, tuple[type, ...]] = {
    "labels": (bool, tuple),
    "level": (Integral,),
    "multiscale": (Integral, str),
    "series": (Integral, str),
    "coordinate_system": (str,),
    **dict.fromkeys(("rows", "columns", "wells"), (tuple,)),
    "fields": (Integral, str),
    "acquisition": (Integral, str),
}
_IN_WORDS: dict[type, str] = {
    bool: "True or False",
    tuple: "a tuple of names",
    Integral: "a number",
    str: "a name",
}


@dataclass(slots=True)
class Opening:
    """What all parts of one opening share: place, store, options, and warnings."""

    location: Location
    store: RemoteStore
    options: ReadOptions
    warnings: list[str] = field(default_factory=list)
    failures: list[OMEZarrError] = field(default_factory=list)  # of parts
    consolidated: Consolidated = field(default_factory=Consolidated)
    kind: Kind | None = None
    # The attributes of the node that was opened, and what they say: some are long.
    understood: tuple[Mapping[str, Any], Document] | None = None

    def part(self) -> Opening:
        """Give the opening of one part, which keeps its warnings for itself."""
        return replace(self, warnings=[])

    def place(self, path: str) -> Location:
        """Give the place of a node by its path; of the root, the location itself."""
        return self.location / path if path else self.location


@dataclass(frozen=True, slots=True)
class Reading:
    """What was opened.

    Parameters
    ----------
    location : Location
        What was read; for a level's address its image.
    pyramids : tuple of Pyramid
        Images, each followed by its label images; at least one.
    warnings : tuple of str
        What had to be tolerated, over all pyramids, once each.
    notes : tuple of str
        How the place was reached (signed in as whom, moved, followed), once each.
    kind : Image, Labels, Plate, Well, Series, Scene or None
        What lies there, as its document says; None for a plain zarr array.

    Examples
    --------
    >>> from napari_omezarr import Location, read
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> reading = read(Location.parse("cells.ome.zarr/0"))
    >>> reading.location.name, len(reading.pyramids)
    ('cells.ome.zarr', 2)
    >>> print(*reading.notes)
    This is a level of cells.ome.zarr; the whole image was opened.
    """

    location: Location
    pyramids: tuple[Pyramid, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    kind: Kind | None = None
