"""What is to be converted, and which library reads it.

Inputs are files, folders, prefixes of buckets and patterns; they are read by us, by
tifffile, or by another library that is installed.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from napari_omezarr.doors import guarded
from napari_omezarr.errors import NodeNotFoundError, OptionError, UnsupportedDataError
from napari_omezarr.location import NODE_DOCUMENTS, Location
from napari_omezarr.opened import all_of, stored_plate
from napari_omezarr.plain_text import natural_key
from napari_omezarr.reading import ReadOptions, read_current
from napari_omezarr.store import all_items, open_lister, open_store, run

from .formats import SUFFIXES as OTHERS
from .formats import images_of_file
from .tiff import COMPANION, SUFFIXES, first_tiff
from .tiff_images import images_of_tiff, no_such_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from napari_omezarr.opened import StoredPlate
    from napari_omezarr.store import ObjectMeta

# Which library reads a file: ours, tifffile, or another that is installed.

_ZARR = (".zarr", ".ozx", ".zarr.zip")
_TIFF = (*SUFFIXES, COMPANION)


@dataclass(frozen=True, slots=True)
class ReadChoices:
    """How inputs are to be read.

    ``axes`` are letters for the axes of files that do not say them, ``series`` is one
    image of a file with several; without ``labels`` those of OME-Zarr are left out;
    with ``resolutions`` the coarser ones that an input has are looked for.
    """

    axes: str | None = None
    series: int | None = None
    labels: bool = True
    resolutions: bool = False

    def __post_init__(self) -> None:
        axes = self.axes
        if axes is not None and not (
            axes.isascii() and axes.isalpha() and len(set(axes.lower())) == len(axes)
        ):
            sentence = f"{axes!r} names no axes."
            raise OptionError(sentence, action="Write a letter for each, like tcyx.")
        if self.series is not None and self.series < 0:
            sentence = f"There is no image {self.series} in any file."
            raise OptionError(sentence, action="Count them from 0.")


def is_zarr_name(name: str) -> bool:
    """Whether something is called as OME-Zarr are."""
    return name.lower().endswith(_ZARR)


def is_known(name: str) -> bool:
    """Whether something is called as what is converted when a folder is named."""
    return is_zarr_name(name) or name.lower().endswith((*_TIFF, *OTHERS))


def stem_of(name: str) -> str:
    """Give a name without its folder and its suffixes: ``a/b.ome.tif`` is ``b``."""
    last = name.rpartition("/")[2]
    for suffix in sorted((*_ZARR, *_TIFF, *OTHERS), key=len, reverse=True):
        if last.lower().endswith(suffix) and len(last) > len(suffix):
            return last[: -len(suffix)].removesuffix(".ome")
    return last.rpartition(".")[0] or last


def read_images(location: Location, choices: ReadChoices) -> list[Any]:
    """Give the images of an input as layers or specs to be saved; lazily, if it can be.

    Raises
    ------
    UnsupportedDataError
        No installed library reads it.
    OMEZarrError
        It could not be read.
    """
    if location.name.lower().endswith(_TIFF):
        return images_of_tiff(
            first_tiff(location),
            axes=choices.axes,
            series=choices.series,
            resolutions=choices.resolutions,
        )
    if _is_ome_zarr(location):
        return _of_zarr(location, choices)
    if not _is_file(location):
        sentence = f"{location.display} is read from this computer only."
        action = "Copy the file here first; TIFF and OME-Zarr are read where they are."
        raise UnsupportedDataError(sentence, action=action, url=location.display)
    images = images_of_file(location, stem_of(location.name))
    if choices.series is None:
        return images
    if choices.series >= len(images):
        raise no_such_image(location, choices.series, len(images))
    return images[choices.series : choices.series + 1]


def plate_of(source: ConvertInput | Any) -> StoredPlate | None:
    """Read what a plate says that is to be converted; None where it is none.

    Raises
    ------
    OMEZarrError
        As `stored_plate`.
    """
    location = source.location if isinstance(source, ConvertInput) else None
    if location is None or location.name.lower().endswith(_TIFF):
        return None
    return stored_plate(location) if _is_ome_zarr(location) else None


def _is_ome_zarr(location: Location) -> bool:
    """Whether it is to be read as OME-Zarr, as far as its name says."""
    if location.is_archive or _is_file(location):
        return location.is_archive
    name = location.name
    return is_zarr_name(name) or not name.lower().endswith(OTHERS)


def _of_zarr(location: Location, choices: ReadChoices) -> list[Any]:
    # Pyramids say of which image they are, and where each of their levels lies.
    reading = read_current(location, ReadOptions(labels=choices.labels))
    return all_of(reading, beside=choices.labels)


# What is to be converted: files, folders, prefixes of buckets and patterns.

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

    Sources are files, OME-Zarr, folders or prefixes (looked through at any depth), or
    any of them with ``*``, ``?`` and ``[...]`` in their last parts. Of folders
    ``pattern`` chooses files by their name or, with a slash, their path below; what
    lies ``apart``, where the results go, is left out.

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
    return run(all_items(open_lister(place).page))


def _is_file(place: Location) -> bool:
    return place.protocol == "file" and place.local_path().is_file()


def _is_zarr(place: Location) -> bool:
    """Whether there are documents of zarr; a place that says nothing has none."""
    answers = open_store(place).fetch(NODE_DOCUMENTS)
    return any(isinstance(answer, bytes) for answer in answers.values())
