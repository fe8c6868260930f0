"""Questions to a store, gathered into rounds; the only part of reading that asks.

What must be known to open something is written as generators: each yields the
keys it needs next and is sent their answers. ``together`` joins generators so
that all of one depth ask at once, and ``run_questions`` runs one against a store:
one round of requests for each depth, however many images, labels or wells there are.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from napari_omezarr.errors import ObjectChangedError, StoreError
from napari_omezarr.metadata import DocumentError, load_json

if TYPE_CHECKING:
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
    said: Mapping[str, str]  # by key, what the document means
    is_needed: bool = True

    async def settle(self) -> None:
        """Raise `ObjectChangedError` if a document says otherwise by now."""
        if not self.is_needed:
            return
        answers = await self.store.answers(self.said)
        for key, body in answers.items():
            if isinstance(body, StoreError):  # whoever reads the pixels will know
                continue
            if body is None or _meaning_of(body) != self.said[key]:
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
            key: _meaning(self._claims[key])
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
        return _meaning_of(body) == _meaning(self._documents[key])


def _meaning_of(body: bytes) -> str | None:
    try:
        return _meaning(load_json(body, shortened=True))
    except DocumentError:
        return None


def _meaning(document: Any) -> str:
    """Give what a document says of pixels; the rest may be written in many ways."""
    if isinstance(document, dict) and "shape" in document:
        document = {key: document.get(key) for key in _OF_PIXELS}
    elif isinstance(document, dict) and "node_type" in document:
        document = document.get("attributes")
    return json.dumps(document, sort_keys=True)


_OF_PIXELS = ("shape", "chunks", "chunk_grid", "dtype", "data_type", "compressor")


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
