"""Checks of a place: its metadata, what a connection may do there, its speed."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from itertools import islice, product
from math import isfinite, prod
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from napari_omezarr.connections import checked, key_store, locate
from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    CertificateError,
    KeyNotAcceptedError,
    MetadataError,
    MissingPackageError,
    OMEZarrError,
    StoreConnectionError,
    StoreTimeoutError,
)
from napari_omezarr.metadata import Image, Labels, parse_document, unlike_levels
from napari_omezarr.plain_text import bytes_text, counted
from napari_omezarr.pyramid import chunk_box, chunk_counts
from napari_omezarr.reading import (
    GroupNode,
    ReadOptions,
    group_keys,
    join_path,
    parse_node,
    read_current,
)
from napari_omezarr.store import (
    nothing_at,
    open_buckets,
    open_lister,
    open_store,
    open_writable,
    run,
)

from .details import array_of
from .entries import CHILD_KEYS, probe_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_omezarr.connections import Keys, Profile
    from napari_omezarr.location import Location
    from napari_omezarr.metadata import Kind
    from napari_omezarr.pyramid import ArrayPixels
    from napari_omezarr.store import ListPage, RemoteStore, RetryPolicy

# A second opinion on the metadata: our own reader tolerates what is against the
# specification; yaozarrs, an optional package, does not.

COVERED = ("0.4", "0.5")
"""The versions that the validator knows."""

_LABELS = 100
"""So many of the labels that are listed are looked at."""

_MODELS = (
    ("plate", "Plate"),
    ("well", "Well"),
    ("image-label", "LabelImage"),
    ("multiscales", "Image"),
    ("labels", "LabelsGroup"),
    ("series", "Series"),
    ("bioformats2raw.layout", "Bf2Raw"),
)
"""The key that tells what a document is, and the validator's model for it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is against the specification.

    ``where`` is the path in the document, like ``multiscales/0/axes``; ``document`` is
    the path of the group, ``""`` or ``labels``.
    """

    document: str
    where: str
    problem: str


@dataclass(frozen=True, slots=True)
class Validation:
    """The outcome: which version was checked, by what, and what was found.

    ``covered`` is False where the validator does not know the version: nothing was
    checked then, and ``sentence`` says so.
    """

    version: str
    covered: bool
    sentence: str
    findings: tuple[Finding, ...] = ()


@guarded
def validate(location: Location) -> Validation:
    """Check the metadata of a group, of its labels group and what that lists; blocks.

    Raises
    ------
    MissingPackageError
        The validator is not installed.
    NodeNotFoundError
        There is no group of OME-Zarr.
    StoreError
        The documents could not be read.
    """
    if find_spec("yaozarrs") is None:
        sentence = "The validator is not installed."
        action = "Run: pip install 'napari-omezarr[validate]'"
        raise MissingPackageError(sentence, action=action)
    store = open_store(location)
    answers = store.fetch((*group_keys(""), *CHILD_KEYS))
    root = parse_node("", answers)
    version = _version(root) if isinstance(root, GroupNode) else None
    if not isinstance(root, GroupNode) or version is None:
        sentence = f"{location.display} says nothing of OME-Zarr."
        raise nothing_at(location, sentence, "Check the address.")
    if version not in COVERED:
        sentence = (
            f"The validator does not know OME-Zarr {version}; nothing is checked."
        )
        return Validation(version, False, sentence)
    findings = [*_findings("", root)]
    labels = parse_node("labels", answers)
    if isinstance(labels, GroupNode):
        findings += _findings("labels", labels)
        findings += _of_labels(store, root, labels)
    count = len(findings)
    sentence = f"Valid OME-Zarr {version}."
    if count:
        things = "thing is" if count == 1 else "things are"
        sentence = f"{count} {things} against OME-Zarr {version}."
    return Validation(version, True, sentence, tuple(findings))


def _of_labels(
    store: RemoteStore, root: GroupNode, labels: GroupNode
) -> Iterator[Finding]:
    """Check the labels that are listed, by themselves and against their image."""
    listed, image = _kind(labels), _kind(root)
    names = listed.paths[:_LABELS] if isinstance(listed, Labels) else ()
    paths = [join_path("labels", name) for name in names]
    answers = store.fetch([key for path in paths for key in group_keys(path)])
    for path in paths:
        node = parse_node(path, answers)
        if not isinstance(node, GroupNode):  # doctor tells what is not there
            continue
        yield from _findings(path, node)
        found = _kind(node)
        if isinstance(found, Image) and isinstance(image, Image):
            told = unlike_levels(found, image)
            if told:
                yield Finding(path, "multiscales/0/datasets", f"The labels {told}")


def _kind(group: GroupNode) -> Kind | None:
    try:
        return parse_document(group.attributes, zarr_format=group.zarr_format).kind
    except MetadataError:
        return None


def _version(group: GroupNode) -> str | None:
    """Give the version, also of a document that our own reader gives up on."""
    try:
        return parse_document(group.attributes, zarr_format=group.zarr_format).version
    except MetadataError:
        inner = group.attributes.get("ome")
        stated = inner.get("version") if isinstance(inner, dict) else None
        return str(stated) if stated else "0.4"


def _findings(path: str, group: GroupNode) -> tuple[Finding, ...]:
    yaozarrs = import_module("yaozarrs")
    node_type = _node_type(yaozarrs, group)
    namespaced = group.attributes.get("ome")
    document = namespaced if group.zarr_format == 3 else dict(group.attributes)
    if not isinstance(document, dict):
        return (Finding(path, "", "The attributes have no ome object"),)
    if odd := tuple(_unnumbered(document)):
        return tuple(
            Finding(path, where, "JSON has no number that is NaN or infinite")
            for where in odd
        )
    try:
        yaozarrs.validate_ome_object(document, node_type)
    except ValueError as error:  # pydantic's ValidationError is one
        rows: list[dict[str, Any]] = getattr(error, "errors", list)()
    else:
        return ()
    every = (Finding(path, _where(row["loc"]), str(row["msg"])) for row in rows)
    return tuple(dict.fromkeys(every))


def _unnumbered(document: dict[str, Any]) -> Iterator[str]:
    """Give the paths of numbers that Python's JSON has, and JSON has not."""
    left: list[tuple[str, Any]] = [("", document)]
    while left:
        where, value = left.pop()
        if isinstance(value, float) and not isfinite(value):
            yield where
        elif isinstance(value, dict | list):
            rows = value.items() if isinstance(value, dict) else enumerate(value)
            left += [(f"{where}/{key}".lstrip("/"), each) for key, each in rows]


def _node_type(yaozarrs: Any, group: GroupNode) -> Any:
    """Choose what the document is to be, so that only that is complained about."""
    models = yaozarrs.v05 if group.zarr_format == 3 else yaozarrs.v04
    attributes = group.attributes
    inner = attributes.get("ome", attributes) if group.zarr_format == 3 else attributes
    for key, name in _MODELS:
        if isinstance(inner, dict) and key in inner:
            return getattr(models, name)
    return None


def _where(loc: tuple[Any, ...]) -> str:
    """Give the path in the document, without the names of the validator's models."""
    steps = [str(step) for step in loc]
    return "/".join(
        step for step in steps if not step[:1].isupper() and "[" not in step
    )


# What a connection may do: list buckets, list here, read.

_FEW = 20


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a connection was asked to do.

    ``what`` is ``list buckets``, ``list here`` or ``read``; ``works`` is None where it
    could not be tried. ``sentence`` says what came of it, ``action`` what to do then.
    """

    what: str
    works: bool | None
    sentence: str
    action: str = ""


_NO_PLACE = "Not tried: no place is named."
_UNTRIED = (
    Check("list here", None, _NO_PLACE, "Name a place to start at."),
    Check("read", None, _NO_PLACE, "Name a place to start at."),
)


async def check_connection(
    profile: Profile,
    text: str = "",
    *,
    keys: Keys | None = None,
    retry: RetryPolicy | None = None,
) -> tuple[Check, Check, Check]:
    """Try to list the buckets, to list a place and to read there, on the I/O loop.

    The connection and its keys need not be saved. The place is the address in `text`,
    or where the connection starts. Only an address that is none raises, a
    LocationError; all else is in the checks, which come in this order.
    """
    profile = checked(profile)
    if keys is not None and profile.sign_in == "header":
        keys = replace(keys, access_key=profile.endpoint or "")
    start = text or profile.start
    place = locate(start, replace(profile, name="")) if start else None
    with _held(profile, keys) as tried:
        if place is None:
            return await _buckets(tried, retry), *_UNTRIED
        return await asyncio.gather(
            _buckets(tried, retry),
            _list_here(place, tried, retry),
            _read(place, tried, retry),
        )


async def check_list(
    profile: Profile,
    text: str = "",
    *,
    keys: Keys | None = None,
    retry: RetryPolicy | None = None,
) -> tuple[Check, ...]:
    """Try all that a sign-in may be good for, on the I/O loop, as `check_connection`.

    The checks are ``reach``, ``list here``, ``read``, ``write`` and ``list buckets``.
    To find out whether it may write, a small object is put there and deleted again.
    """
    buckets, listed, read = await check_connection(
        profile, text, keys=keys, retry=retry
    )
    profile = checked(profile)
    start = text or profile.start
    place = locate(start, replace(profile, name="")) if start else None
    if place is None:
        reach = Check("reach", None, _NO_PLACE, "Name a place to start at.")
        return reach, listed, read, replace(reach, what="write"), buckets
    if keys is not None and profile.sign_in == "header":
        keys = replace(keys, access_key=profile.endpoint or "")
    with _held(profile, keys) as tried:
        reach, write = await asyncio.gather(
            _reach(place, tried, retry), _write(place, tried, retry)
        )
    return reach, listed, read, write, buckets


async def _reach(place: Location, profile: Profile, retry: RetryPolicy | None) -> Check:
    where = place.endpoint or (place.root if place.protocol != "s3" else "AWS")
    try:
        await _batch(place, profile, retry)
    except (CertificateError, StoreConnectionError, StoreTimeoutError) as error:
        return _failed("reach", error, profile)
    except OMEZarrError:
        pass  # what it says is said by another check; it answers
    return Check("reach", True, f"Reaches {where}.")


async def _write(place: Location, profile: Profile, retry: RetryPolicy | None) -> Check:
    name = f".napari-omezarr-test-{uuid4().hex[:8]}"
    if place.protocol == "file":
        return Check("write", None, "Not tried: this is a folder of this computer.")
    try:
        # Beside an image that the connection begins with, and not in it.
        folder = place.parent if place.name.endswith(".zarr") else place
        writable = open_writable(folder, profile=profile, retry=retry)
        await writable.put(name, b"")
        await writable.delete(name)
    except OMEZarrError as error:
        return _failed("write", error, profile)
    return Check("write", True, f"Writes to {folder.display}.")


def _failed(what: str, error: OMEZarrError, profile: Profile) -> Check:
    action = error.action
    if isinstance(error, KeyNotAcceptedError) and profile.sign_in == "keys":
        action = "Correct them in this connection."
    return Check(what, False, error.sentence, action)


@contextmanager
def _held(profile: Profile, keys: Keys | None) -> Iterator[Profile]:
    """Lend typed keys to the connection under a name that nobody else has."""
    if keys is None:
        yield profile
        return
    name = f"{profile.name} (test {uuid4().hex[:8]})"
    key_store().hold(name, keys)
    try:
        yield replace(profile, name=name)
    finally:
        key_store().forget(name)


async def _buckets(profile: Profile, retry: RetryPolicy | None) -> Check:
    if profile.sign_in == "header":
        return Check("list buckets", None, "Not tried: a web server has none.")
    try:
        found = await open_buckets(profile, retry=retry).buckets()
    except OMEZarrError as error:
        return _failed("list buckets", error, profile)
    return Check("list buckets", True, f"Lists {counted(len(found), 'bucket')}.")


async def _list_here(
    place: Location, profile: Profile, retry: RetryPolicy | None
) -> Check:
    try:
        batch = await _batch(place, profile, retry)
    except OMEZarrError as error:
        return _failed("list here", error, profile)
    if not batch.items:
        return Check("list here", True, f"{place.display} is empty.")
    return Check("list here", True, f"Lists {place.display}.")


async def _read(place: Location, profile: Profile, retry: RetryPolicy | None) -> Check:
    """Read metadata here, or else the beginning of an object that is listed."""
    store = open_store(place, profile=profile, retry=retry)
    answers = await store.answers(probe_keys(""))
    if any(isinstance(body, bytes) for body in answers.values()):
        return Check("read", True, f"Reads {place.display}.")
    failed = (answer for answer in answers.values() if isinstance(answer, OMEZarrError))
    problem: OMEZarrError | None = next(failed, None)
    try:
        batch = await _batch(place, profile, retry)
        name = next((i.name for i in batch.items if not i.is_folder), None)
        if name is not None and await store.exists(name):
            return Check("read", True, f"Reads {(place / name).display}.")
        # A folder of images holds no object itself.
        inner = next((i.name for i in batch.items if i.is_folder), None)
        below = await store.answers(probe_keys(inner)) if inner is not None else {}
        if any(isinstance(body, bytes) for body in below.values()):
            return Check("read", True, f"Reads {(place / str(inner)).display}.")
    except OMEZarrError as error:
        problem = problem or error
    if problem is not None:
        return _failed("read", problem, profile)
    return Check("read", None, "There is nothing here to be read.")


async def _batch(
    place: Location, profile: Profile, retry: RetryPolicy | None
) -> ListPage:
    return await open_lister(place, profile=profile, retry=retry).page(size=_FEW)


# How fast a place is: the time of a small answer, and bytes in a second.

_LATENCIES = 5
_CHUNKS = 32
_BYTES = 32 * 2**20
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a place answered.

    ``latency`` is the median of five small answers, one after another, in seconds;
    ``rate`` is in bytes per second, from `requests` that brought `received` bytes.
    """

    latency: float
    rate: float
    requests: int
    received: int

    @property
    def sentence(self) -> str:
        """Both figures, for the person."""
        milliseconds = f"{self.latency * 1000:.0f} ms for an answer"
        if not self.received:
            return f"{milliseconds}; nothing is stored that could be read."
        rate = bytes_text(self.rate)
        return f"{milliseconds}, {rate}/s over {self.requests} requests."


def measure_speed(location: Location) -> Speed:
    """Measure how fast the chunks of an image come; blocks for ten seconds at most.

    Reads at most 32 chunks of its finest level, of 32 MiB without compression, from
    its beginning; a disk cache that has them makes the place seem fast.
    """
    reading = read_current(location, ReadOptions(labels=False, level=0))
    pixels = array_of(reading.pyramids[0].levels[0].pixels)
    return run(_measure(pixels))


async def _measure(pixels: ArrayPixels) -> Speed:
    chunk_bytes = max(1, prod(pixels.chunks) * pixels.dtype.itemsize)
    count = max(1, min(_CHUNKS, _BYTES // chunk_bytes))
    every = product(*map(range, chunk_counts(pixels.shape, pixels.chunks)))
    some = islice(every, count)
    boxes = [chunk_box(index, pixels.chunks, pixels.shape) for index in some]
    key = pixels.stored_key((0,) * pixels.ndim)
    await pixels.store.exists(key)  # opens the connection
    latency = median([await _seconds(pixels, key) for _ in range(_LATENCIES)])
    store = pixels.store
    requests, received, begin = store.requests, store.bytes_received, perf_counter()
    try:
        async with asyncio.timeout(_SECONDS):
            await asyncio.gather(*map(pixels.read, boxes))
    except TimeoutError:
        pass  # what came until then is the answer
    seconds = max(perf_counter() - begin, 1e-9)
    received = store.bytes_received - received
    return Speed(latency, received / seconds, store.requests - requests, received)


async def _seconds(pixels: ArrayPixels, key: str) -> float:
    begin = perf_counter()
    await pixels.store.exists(key)
    return perf_counter() - begin
