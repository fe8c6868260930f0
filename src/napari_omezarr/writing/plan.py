"""What will be written, decided completely before a byte moves; values only."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .arrays import Compression, array_document
from .pyramid_plan import COPIES, Level, Pass

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from .options import Method, WriteOptions
    from .picture import Picture

_RATIOS = {"none": 1.0, "blosc-lz4": 0.7}
_USUAL_RATIO = 0.6
_LABEL_RATIO = 0.06
"""How much of an image, and of labels, is usually left after compression."""


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """One image, or label image, that will be written.

    Parameters
    ----------
    path : str
        Of its group in the store; empty for the root.
    picture : Picture
        What is written: pixels, place, looks.
    levels : tuple of Level
        Finest first.
    passes : tuple of Pass
        In which the levels are written.
    method : {"mean", "nearest", "max", "mode"}
        How coarser levels are made.
    codec : Compression
        Of the chunks.
    labels : tuple of str
        The names of its label images, which lie in ``labels`` below it.
    reason : str
        Why it does not share an image with others, or belong to one.
    """

    path: str
    picture: Picture
    levels: tuple[Level, ...]
    passes: tuple[Pass, ...]
    method: Method
    codec: Compression
    labels: tuple[str, ...] = ()
    reason: str = ""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels, in native byte order."""
        return self.picture.source.dtype

    @property
    def is_label(self) -> bool:
        """Whether it is a label image."""
        return self.picture.label is not None

    @property
    def raw_bytes(self) -> int:
        """The size of all levels without compression."""
        pixels = sum(math.prod(level.shape) for level in self.levels)
        return pixels * self.dtype.itemsize

    @property
    def objects(self) -> int:
        """How many objects hold its pixels, empty ones counted."""
        return sum(level.objects for level in self.levels)

    @property
    def estimated_bytes(self) -> int:
        """About what will be stored; a guess from experience, not from pixels."""
        usual = _LABEL_RATIO if self.is_label else _USUAL_RATIO
        ratio = _RATIOS.get(self.codec.name, usual)
        return int(self.raw_bytes * ratio)

    def array_path(self, level: Level) -> str:
        """Give the path of a level's array in the store."""
        return f"{self.path}/{level.path}" if self.path else level.path


@dataclass(frozen=True, slots=True)
class Plan:
    """All that will be written, and what there is to say before.

    Parameters
    ----------
    images : tuple of ImagePlan
        Each image is followed by its label images.
    options : WriteOptions
        As they were asked for.
    name : str
        Of the whole, after its address.
    collection : bool
        The root is a bioformats2raw layout of several images.
    losses : tuple of str
        What this version cannot keep; nothing is written until that is agreed to.
    notes : tuple of str
        What is worth knowing, a sentence each.
    """

    images: tuple[ImagePlan, ...]
    options: WriteOptions
    name: str
    collection: bool = False
    losses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def objects(self) -> int:
        """How many objects will be stored: chunks or shards, and documents."""
        per_array = 1
        per_group = 2 if self.options.version == "0.4" else 1
        groups = len(self.images) + sum(bool(image.labels) for image in self.images)
        groups += 2 * self.collection
        arrays = sum(len(image.levels) for image in self.images)
        documents = arrays * per_array + groups * per_group
        if self.options.version == "0.4" and self.options.consolidated:
            documents += 1
        return documents + sum(image.objects for image in self.images)

    @property
    def raw_bytes(self) -> int:
        """The size of all pixels without compression."""
        return sum(image.raw_bytes for image in self.images)

    @property
    def estimated_bytes(self) -> int:
        """About what will be stored."""
        return sum(image.estimated_bytes for image in self.images)

    @property
    def blocks(self) -> int:
        """How many blocks will be worked through."""
        return sum(p.count for image in self.images for p in image.passes)

    @property
    def memory(self) -> int:
        """Bytes that are needed above what the source holds, at most."""
        most = self.options.memory
        return max(
            int(COPIES * block_bytes(image, walk)) * width(image, walk, most)
            for image in self.images
            for walk in image.passes
        )

    @property
    def places(self) -> frozenset[str]:
        """The addresses that are read while this is written."""
        return frozenset().union(*(i.picture.source.places for i in self.images))

    @property
    def digest(self) -> str:
        """Names all that decides on stored pixels: equal digests, equal chunks."""
        text = json.dumps([_fingerprint(self, image) for image in self.images])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def summary(self) -> str:
        """Say it in one line, for a person."""
        levels = max(len(image.levels) for image in self.images)
        kinds = [f"{self.objects:,} objects", f"about {_size(self.estimated_bytes)}"]
        kinds.append(f"{levels} level{'s' if levels > 1 else ''}")
        return ", ".join(kinds)

    def walks(self) -> Iterator[tuple[int, int, ImagePlan, Pass]]:
        """Give all passes in the order in which they are made, with their numbers."""
        for number, image in enumerate(self.images):
            for turn, walk in enumerate(image.passes):
                yield number, turn, image, walk


def level_document(plan: Plan, image: ImagePlan, level: Level) -> dict[str, Any]:
    """Give the metadata document of a level's array."""
    return array_document(
        version=plan.options.version,
        shape=level.shape,
        chunks=level.chunks,
        shards=level.shards,
        dtype=image.dtype,
        codec=image.codec,
        names=[axis.name for axis in image.picture.axes],
    )


def width(image: ImagePlan, walk: Pass, memory: int) -> int:
    """Give how many blocks of a pass may be in work at a time; at least one."""
    fitting = int(memory / COPIES / max(1, block_bytes(image, walk)))
    return max(1, min(walk.count, fitting))


def block_bytes(image: ImagePlan, walk: Pass) -> int:
    """Give the bytes of one block as it is read."""
    return math.prod(walk.block) * image.dtype.itemsize


def with_looks(plan: Plan, number: int, looks: Any) -> Plan:
    """Give the plan with other looks for one image."""
    image = plan.images[number]
    picture = replace(image.picture, looks=tuple(looks))
    images = list(plan.images)
    images[number] = replace(image, picture=picture)
    return replace(plan, images=tuple(images))


def _fingerprint(plan: Plan, image: ImagePlan) -> list[Any]:
    return [
        image.path,
        image.method,
        [level_document(plan, image, level) for level in image.levels],
        [level.step for level in image.levels],
        [[walk.first, walk.last, walk.block] for walk in image.passes],
    ]


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.3g} {unit}" if count < 100 else f"{count:.0f} {unit}"
