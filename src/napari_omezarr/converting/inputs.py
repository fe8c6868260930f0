"""What is to be converted: files, folders, prefixes of buckets and patterns."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from napari_omezarr.doors import guarded
from napari_omezarr.errors import NodeNotFoundError
from napari_omezarr.location import NODE_DOCUMENTS, Location
from napari_omezarr.plain_text import natural_key
from napari_omezarr.store import open_lister, open_store, run

from .formats import is_known, is_zarr_name, stem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from napari_omezarr.store import ListPage, ObjectMeta

_DEEPEST = 20
"""How far down is looked: links of folders may lead in a circle."""


@dataclass(frozen=True, slots=True)
class ConvertInput:
    """One file, or one OME-Zarr, and its path below the place that was named."""

    location: Location
    name: str

    @property
    def target_name(self) -> str:
        """What its image is called."""
        parent = PurePosixPath(self.name).parent
        return (parent / f"{stem_of(self.name)}.ome.zarr").as_posix()


@guarded
def find_inputs(
    sources: Iterable[str],
    parse: Callable[[str], Location],
    *,
    pattern: str = "",
    apart: Location | None = None,
) -> list[ConvertInput]:
    """Find all inputs at some places, in natural order of each.

    Parameters
    ----------
    sources : Iterable of str
        Files, OME-Zarr, folders or prefixes (looked through at any depth), or any of
        them with ``*``, ``?`` and ``[...]`` in their last parts.
    parse : callable
        Makes a location of an address.
    pattern : str, optional
        Which files of folders; their name or, with a slash, their path below. All that
        can be read if empty.
    apart : Location, optional
        What lies there is left out: where the results go.

    Raises
    ------
    NodeNotFoundError
        There are none.
    LocationError, StoreError
        A place is none, or could not be listed.
    """
    found: dict[Location, ConvertInput] = {}
    for source in sources:
        place, wanted = _split(source)
        for each in _below(parse(place), wanted or pattern, apart):
            found.setdefault(each.location, each)
    if not found:
        named = ", ".join(sources)
        sentence = f"There is nothing to convert at {parse(named).display}."
        action = "Name files, or a folder and a pattern, like --pattern '*.tif'."
        raise NodeNotFoundError(sentence, action=action)
    return list(found.values())


def _split(source: str) -> tuple[str, str]:
    """Part a source into a place and the pattern in its last parts, if it has one."""
    magic = re.compile(r"[*\[]" if "://" in source else r"[*?\[]")
    parts = source.replace("\\", "/").split("/") if "*" in source else source.split("/")
    first = next((i for i, part in enumerate(parts) if magic.search(part)), None)
    if first is None:
        return source, ""
    place = "/".join(parts[:first]) or ("/" if source.startswith("/") else ".")
    return place, "/" + "/".join(parts[first:])


def _below(
    place: Location, pattern: str, apart: Location | None
) -> Iterator[ConvertInput]:
    if not pattern and (is_known(place.name) or place.is_archive):
        yield ConvertInput(place, place.name)
        return
    if _is_file(place) or (is_zarr_name(place.name) or _is_zarr(place)):
        yield ConvertInput(place, place.name)
        return
    deep = not pattern.startswith("/") or "**" in pattern
    found = _walk(place, "", _DEEPEST if deep else pattern.count("/") - 1, apart)
    for name in sorted(found, key=natural_key):
        if _matches(name, pattern):
            yield ConvertInput(place / name, name)


def _matches(name: str, pattern: str) -> bool:
    """Whether a path fits: a pattern without a slash is about the name alone."""
    if not pattern:
        return is_known(name)
    if "/" not in pattern:
        return fnmatch.fnmatchcase(name.rpartition("/")[2], pattern)
    parts = pattern.lstrip("/").split("/")
    return _fits(name.split("/"), parts)


def _fits(names: list[str], parts: list[str]) -> bool:
    """Whether a path fits a pattern, part by part; ``**`` is any number of them."""
    if not names or not parts:
        return not names and not [part for part in parts if part != "**"]
    if parts[0] == "**":
        return _fits(names, parts[1:]) or _fits(names[1:], parts)
    return fnmatch.fnmatchcase(names[0], parts[0]) and _fits(names[1:], parts[1:])


def _walk(
    place: Location, path: str, depth: int, apart: Location | None
) -> Iterator[str]:
    """Give the paths of files and of OME-Zarr; what is hidden is left out."""
    here = place / path if path else place
    for item in _items(here):
        name = f"{path}/{item.name}" if path else item.name
        if item.name.startswith(".") or here / item.name == apart:
            continue
        if not item.is_folder or is_zarr_name(item.name):
            yield name
        elif depth:
            yield from _walk(place, name, depth - 1, apart)


def _items(place: Location) -> Sequence[ObjectMeta]:
    lister = open_lister(place)

    async def all_pages() -> list[ObjectMeta]:
        page: ListPage = await lister.page()
        items = [*page.items]
        while page.token:
            page = await lister.page(token=page.token)
            items += page.items
        return items

    return run(all_pages())


def _is_file(place: Location) -> bool:
    return place.protocol == "file" and place.local_path().is_file()


def _is_zarr(place: Location) -> bool:
    """Whether there are documents of zarr; a place that says nothing has none."""
    answers = open_store(place).fetch(NODE_DOCUMENTS)
    return any(isinstance(answer, bytes) for answer in answers.values())
