"""Questions to a store, gathered into rounds; the only part of reading that asks.

What must be known to open something is written as generators: each yields the
keys it needs next and is sent their answers. ``together`` joins generators so
that all of one depth ask at once, and ``run_questions`` runs one against a store:
one round of requests for each depth, however many images, labels or wells there are.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from napari_omezarr.errors import StoreError
from napari_omezarr.metadata import DocumentError, load_json

if TYPE_CHECKING:
    from napari_omezarr.store import RemoteStore

T = TypeVar("T")

Answers = Mapping[str, bytes | StoreError | None]
"""By key: the bytes, None where nothing is there, or what went wrong."""

Questions = Generator[frozenset[str], Answers, T]
"""Yields keys, is sent their answers, returns what it found out."""


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
    results: dict[int, T] = {}
    waiting: dict[int, frozenset[str]] = {}

    def advance(number: int, answers: Answers | None) -> None:
        generator = generators[number]
        try:
            waiting[number] = (
                next(generator) if answers is None else generator.send(answers)
            )
        except StopIteration as stop:
            results[number] = stop.value

    for number in range(len(generators)):
        advance(number, None)
    while waiting:
        answers = yield frozenset().union(*waiting.values())
        for number, keys in list(waiting.items()):
            del waiting[number]
            advance(number, {key: answers[key] for key in keys})
    return [results[number] for number in range(len(generators))]


def primed(questions: Questions[T], held: Answers) -> Questions[T]:
    """Run a generator with some answers that are there before it asks."""
    answers: Answers | None = None
    while True:
        try:
            keys = next(questions) if answers is None else questions.send(answers)
        except StopIteration as stop:
            result: T = stop.value
            return result
        fresh = yield from ask(key for key in keys if key not in held)
        answers = {**{key: held[key] for key in keys if key in held}, **fresh}


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
    answers: Answers | None = None
    while True:
        try:
            keys = next(questions) if answers is None else questions.send(answers)
        except StopIteration as stop:
            result: T = stop.value
            return result
        held = {key: consolidated.answer(key) for key in keys}
        missing = [key for key, body in held.items() if body is None]
        fresh = store.fetch(missing) if missing else {}
        consolidated.learn(fresh)
        answers = {**held, **fresh}


async def run_questions_async(questions: Questions[T], store: RemoteStore) -> T:
    """Run a generator to its end against a store, on the I/O loop."""
    answers: Answers | None = None
    while True:
        try:
            keys = next(questions) if answers is None else questions.send(answers)
        except StopIteration as stop:
            result: T = stop.value
            return result
        answers = await store.answers(keys)


# Consolidated metadata: used when it is there, never needed.


class Consolidated:
    """What a group's consolidated metadata say of the documents below it.

    zarr 3 keeps them inside ``zarr.json``, zarr 2 in ``.zmetadata``. They answer
    only for what they hold: a label added later is asked for as usual.
    """

    def __init__(self) -> None:
        self._documents: dict[str, Any] = {}

    def learn(self, answers: Mapping[str, Any]) -> None:
        """Take up consolidated metadata from the answers to a round."""
        for key, body in answers.items():
            prefix, _, file = key.rpartition("/")
            below = f"{prefix}/" if prefix else ""
            if not isinstance(body, bytes):
                continue
            if file == ".zmetadata":
                entries = _entries(body, "metadata")
                self._documents |= {below + name: e for name, e in entries.items()}
            elif file == "zarr.json" and b"consolidated_metadata" in body:
                entries = _entries(body, "consolidated_metadata", "metadata")
                self._documents |= {
                    f"{below}{name}/zarr.json": e for name, e in entries.items()
                }

    def children(self, path: str) -> list[str]:
        """Give the names directly below a group, in order; none if nothing is held."""
        below = f"{path}/" if path else ""
        keys = [key[len(below) :] for key in self._documents if key.startswith(below)]
        return sorted({key.partition("/")[0] for key in keys if "/" in key})

    def answer(self, key: str) -> bytes | None:
        """Give the document at a key as its bytes, or None if it is not held."""
        document = self._documents.get(key)
        return None if document is None else json.dumps(document).encode()


def _entries(body: bytes, *path: str) -> dict[str, Any]:
    try:
        found: Any = load_json(body)
    except DocumentError:
        return {}
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return {}
    return {name: entry for name, entry in found.items() if isinstance(entry, dict)}
