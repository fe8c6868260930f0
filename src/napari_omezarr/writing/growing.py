"""An image that is there grows along an axis that is not space, at all its levels."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from concurrent.futures import CancelledError
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr._io_loop import results
from napari_omezarr.doors import stopped_by
from napari_omezarr.errors import ConflictError, OptionError
from napari_omezarr.pyramid import shape_of, slices, slices_within, split_box, whole_box

from .commit import journal_path
from .downsample import downsample
from .encode import ZarrDocument
from .engine import WHOLE, Progress, checksum
from .existing import (
    changed,
    document_of,
    ome_block,
    open_existing,
    read_group,
    refresh,
)
from .from_arrays import Channels, channel_displays
from .image_spec import whole_range
from .journal import BlockNote, Journal, claim_of, journal_digest
from .patching import StoredObject, read_whole
from .rendering import NAPARI, channel_document
from .source import Stacked, known, reading_pool
from .update import Change, update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from threading import Event

    from napari_omezarr.pyramid import Bounds
    from napari_omezarr.store import GetResult

    from .engine import StoredArray
    from .existing import ExistingImage
    from .hierarchy import Hierarchy
    from .image_spec import ChannelDisplay
    from .options import Method
    from .source import PixelSource

_AT_ONCE = 32
"""Objects after which it is noted what is done, and looked whether to stop."""
_LOOKED_AT = 3
"""So many objects that are done show whether the source is still the same."""
_READERS = 8
_POOL = "omezarr-append"


@dataclass(frozen=True, slots=True)
class Appended:
    """What was appended: from where to where, along which axis of which image."""

    address: str
    axis: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What is to be appended along an axis, and who is told of it."""

    source: PixelSource
    axis: str
    method: Method
    channels: Channels = field(default_factory=Channels)
    shown: tuple[ChannelDisplay, ...] = ()
    """How the source says that its channels are shown, if it does."""
    progress: Callable[[Progress], None] | None = None
    cancel: Event | None = None


def grow(
    hierarchy: Hierarchy, growth: Growth, above: Iterable[tuple[Hierarchy, str]] = ()
) -> Appended:
    """Append, as the only one who does; what broke off before goes on."""
    claim = claim_of(hierarchy, "", hierarchy.address)
    with stopped_by(growth.cancel, "Appending", "Do it again to go on."), claim.held():
        image = open_existing(hierarchy)
        growing = _Growing(image, growth)
        path = journal_path(f"{hierarchy.address} grows")
        around = [(hierarchy, ""), *above]
        finished = growing.before()
        if finished is not None and journal_digest(path) == finished.digest:
            is_same = finished.is_begun_by(Journal(path, finished.digest))
            finished.publish(around)
            path.unlink(missing_ok=True)
            if is_same:  # only its last steps were missing
                return finished.appended
        with Journal(path, growing.digest) as journal:
            growing.check_source(journal)
            growing.write(journal)
        claim.check(thoroughly=True)
        growing.publish(around)
        path.unlink(missing_ok=True)
        return growing.appended


class _Growing:
    """The arrays of an image as they will be, and what is to be written of them."""

    def __init__(
        self, image: ExistingImage, growth: Growth, old: int | None = None
    ) -> None:
        self.image, self.growth = image, growth
        self.axis = _axis(image, growth.axis)
        finest = image.levels[0].shape
        self.old = finest[self.axis] if old is None else old
        self.source = _fitting(growth.source, image, self.axis)
        self.new = self.old + self.source.shape[self.axis]
        # Levels of which an append that broke off has written the document, too.
        same = [_resized(level, self.axis, self.old) for level in image.levels]
        self.steps = replace(image, levels=tuple(same)).structure.steps
        if any(step[self.axis] > 1 for step in self.steps):
            raise OptionError(
                f"The coarser levels of {image.hierarchy.address} are coarser along "
                f"{growth.axis}, too.",
                action="Save the longer image anew.",
            )
        self.levels = [_resized(level, self.axis, self.new) for level in image.levels]
        self.displays = self._displays()

    def _displays(self) -> tuple[ChannelDisplay, ...]:
        """Say how new channels are to be shown; none along another axis."""
        channels = self.growth.channels
        axis = self.image.multiscale.axes[self.axis]
        if axis.type != "channel" or self.image.is_label:
            if channels != Channels():
                raise OptionError(
                    f"{self.growth.axis} is no axis of channels, which have names."
                )
            return ()
        names = [f"channel {number}" for number in range(self.old, self.new)]
        made = channel_displays(
            channels if channels.names else replace(channels, names=names),
            self.new - self.old,
            "",
        )
        if len(self.growth.shown) != len(made):
            return made
        pairs = zip(made, self.growth.shown, strict=True)
        return tuple(
            replace(
                known,
                name=usual.name if channels.names or _is_number(known) else known.name,
                color=usual.color if channels.colors else known.color,
                limits=usual.limits or known.limits,
                span=None if usual.limits else known.span,
            )
            for usual, known in pairs
        )

    def before(self) -> _Growing | None:
        """Give the same as it was before, if all its pixels are there by now."""
        count = self.new - self.old
        if self.old <= count:
            return None
        return _Growing(self.image, self.growth, self.old - count)

    @property
    def appended(self) -> Appended:
        """What it comes to."""
        address = self.image.hierarchy.address
        return Appended(address, self.growth.axis, self.old, self.new)

    @property
    def digest(self) -> str:
        """Names all that decides on what is written."""
        documents = [dict(level.document) for level in self.levels]
        text = json.dumps([documents, self.growth.method, self.old, self.new])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def region(self, level: int) -> Bounds:
        """Give what is new of a level."""
        box = list(whole_box(self.levels[level].shape))
        box[self.axis] = self.old, self.new
        return tuple(box)

    def is_begun_by(self, journal: Journal) -> bool:
        """Whether what the journal says is done has the pixels that are given now."""
        done = (
            (box, check)
            for number, box in enumerate(self._boxes(0))
            for _, _, check in journal.checks((0, 0, number))
        )
        with reading_pool(1, _POOL) as pool:
            return all(
                checksum(*results([pool.submit(self._read, box)])) == check
                for box, check in islice(done, _LOOKED_AT)
            )

    def check_source(self, journal: Journal) -> None:
        """Check that an append that goes on has the pixels that it had."""
        if not self.is_begun_by(journal):
            journal.begin_anew()

    def write(self, journal: Journal) -> None:
        """Write all pixels, finer levels first, but what the journal says is done."""
        boxes = [
            ((0, level, number), box)
            for level in range(len(self.levels))
            for number, box in enumerate(self._boxes(level))
        ]
        itemsize = self.levels[0].dtype.itemsize
        done, read = 0, 0
        total = math.prod(self.source.shape) * itemsize
        rest = iter(boxes)
        while some := list(islice(rest, _AT_ONCE)):
            if self.growth.cancel is not None and self.growth.cancel.is_set():
                raise CancelledError
            # A level is made of what is stored of the finer one.
            for level in sorted({key[1] for key, _ in some}):
                todo = [
                    each
                    for each in some
                    if each[0][1] == level and each[0] not in journal.done
                ]
                self._write_some(level, todo, journal)
            done += len(some)
            read += sum(
                int(np.prod(shape_of(box))) * itemsize
                for (_, n, _), box in some
                if not n
            )
            if self.growth.progress is not None:
                self.growth.progress(Progress(done, len(boxes), read, total))

    def publish(self, around: Sequence[tuple[Hierarchy, str]]) -> None:
        """Let readers see it: the documents of the arrays, the finest one last.

        Who finds only some of them finds the old image, with coarser levels that hold
        more than it; who reads consolidated metadata finds the one or the other.
        """
        hierarchy = self.image.hierarchy
        keys = [level.document_key for level in self.levels]
        for key in reversed(keys):
            changed(hierarchy, key, self._longer)
        group = read_group(hierarchy, "")
        if group is not None and self.displays:
            shown = partial(self._shown, group.zarr_format, self._limited())
            changed(hierarchy, group.key, shown)

        def documents() -> list[ZarrDocument]:
            found = hierarchy.read_all(keys)
            contents = zip(keys, found, strict=True)
            now = read_group(hierarchy, "")
            grown = [ZarrDocument(k, document_of(f, k)) for k, f in contents if f]
            return [*grown, ZarrDocument(now.key, now.content)] if now else grown

        refresh(around, documents)

    def _boxes(self, level: int) -> list[Bounds]:
        return list(split_box(self.region(level), self.levels[level].chunks))

    def _read(self, box: Bounds) -> np.ndarray:
        """Read a box of the source, by where it will be."""
        inner = list(box)
        start, stop = inner[self.axis]
        inner[self.axis] = start - self.old, stop - self.old
        with known():
            values = self.source.read(tuple(inner))
        return np.asarray(values).astype(self.levels[0].dtype)

    def _write_some(
        self, level: int, todo: Sequence[tuple[Any, Bounds]], journal: Journal
    ) -> None:
        hierarchy = self.image.hierarchy
        array = self.levels[level]

        def made(item: tuple[Any, Bounds]) -> np.ndarray:
            return self._read(item[1]) if level == 0 else self._coarser(level, item[1])

        with reading_pool(min(_READERS, hierarchy.concurrency), _POOL) as pool:
            values = results([pool.submit(made, item) for item in todo])
        changes = [
            _Deposit(StoredObject(array, box), box, pixels)
            for (_, box), pixels in zip(todo, values, strict=True)
        ]
        update(hierarchy, changes)
        for (key, _), pixels in zip(todo, values, strict=True):
            checks = ((0, WHOLE, checksum(pixels)),) if level == 0 else ()
            journal.add(key, BlockNote(checks))

    def _coarser(self, level: int, box: Bounds) -> np.ndarray:
        finer, step = self.levels[level - 1], self.steps[level]
        cells = tuple(
            (start * by, min(stop * by, size))
            for (start, stop), by, size in zip(box, step, finer.shape, strict=True)
        )
        first = [start for start, _ in box]
        values = downsample(read_whole(finer, cells), step, self.growth.method, first)
        return values[slices(whole_box(shape_of(box)))]

    def _longer(self, document: dict[str, Any] | None) -> dict[str, Any] | None:
        if document is None or document["shape"][self.axis] not in (self.old, self.new):
            raise ConflictError(
                f"{self.image.hierarchy.address} has been changed by somebody else.",
                action="Look at it, and then append again.",
                url=self.image.hierarchy.address,
            )
        document["shape"][self.axis] = self.new
        return document

    def _limited(self) -> list[ChannelDisplay]:
        """Give the contrast of each new channel, else by its coarsest level."""
        if all(display.limits is not None for display in self.displays):
            return list(self.displays)
        last = len(self.levels) - 1
        pixels = read_whole(self.levels[last], self.region(last))
        limited = []
        for index, display in enumerate(self.displays):
            values = np.take(pixels, index, self.axis)
            values = values[np.isfinite(values)]
            low, high = float(values.min(initial=0)), float(values.max(initial=0))
            limits = display.limits or (low, high if high > low else low + 1)
            span = display.span or whole_range(pixels.dtype, limits)
            limited.append(replace(display, limits=limits, span=span))
        return limited

    def _shown(
        self,
        zarr_format: int,
        displays: Sequence[ChannelDisplay],
        document: dict[str, Any] | None,
    ) -> dict[str, Any] | None:
        """Say how the new channels are shown, where that is said of the others."""
        block = ome_block(document or {}, zarr_format)
        omero = block.get("omero")
        channels = omero.get("channels") if isinstance(omero, Mapping) else None
        if not isinstance(channels, list) or len(channels) != self.old:
            return None
        channels += [
            {**display.original, **channel_document(display)} for display in displays
        ]
        attributes = document or {}
        if zarr_format == 3:
            attributes = attributes.setdefault("attributes", {})
        held = attributes.get(NAPARI)
        states = held.get("channels") if isinstance(held, Mapping) else None
        if isinstance(states, list) and len(states) == self.old:
            states += [
                {"label": display.name, "color": display.color, **display.state}
                for display in displays
            ]
        return document


class _Deposit(Change):
    """New pixels of one object, which may hold old ones, too."""

    def __init__(self, stored: StoredObject, box: Bounds, values: np.ndarray) -> None:
        super().__init__(stored.key)
        self._stored, self._box, self._values = stored, box, values

    def made(self, found: GetResult | None) -> bytes | None:
        """Put the new pixels among those that are there."""
        fill = self._stored.array.document.get("fill_value")
        zero = fill in (0, False) and not self._values.any()
        if found is None and (zero or (fill == "NaN" and np.isnan(self._values).all())):
            return None
        if self._box == self._stored.unit:
            return self._stored.encode(self._values)
        whole = self._stored.decode(found)
        whole[slices_within(self._box, self._stored.unit)] = self._values
        return self._stored.encode(whole)


def _is_number(display: ChannelDisplay) -> bool:
    """Whether a channel has no name but its number, which is another one here."""
    return display.name.removeprefix("channel ").isdecimal()


def _axis(image: ExistingImage, name: str) -> int:
    names = [axis.name for axis in image.multiscale.axes]
    if name not in names:
        raise OptionError(
            f"{image.hierarchy.address} has no axis {name}.",
            action=f"It has {', '.join(names)}: choose one that is not space.",
        )
    if image.multiscale.axes[names.index(name)].type == "space":
        raise OptionError(
            f"{name} is an axis of space, along which an image cannot grow in place.",
            action="Save the larger image anew.",
        )
    return names.index(name)


def _fitting(source: PixelSource, image: ExistingImage, axis: int) -> PixelSource:
    shape = image.levels[0].shape
    source = _with_all_axes(source, shape, axis)
    others = [size for i, size in enumerate(source.shape) if i != axis]
    if others != [size for i, size in enumerate(shape) if i != axis] or (
        len(source.shape) != len(shape)
    ):
        raise OptionError(
            f"Pixels of shape {source.shape} do not fit behind an image of {shape}.",
            action="All sizes but that of the axis must be the same.",
        )
    dtype = image.levels[0].dtype
    if not np.can_cast(source.dtype, dtype, "safe"):
        raise OptionError(
            f"{source.dtype} does not go into an image of {dtype}.",
            action="Convert it first.",
        )
    return source


def _with_all_axes(source: PixelSource, shape: Sequence[int], axis: int) -> PixelSource:
    """Give pixels the axes that they lack: the growing one, and those of one pixel."""
    lacking = len(shape) - len(source.shape)
    alone = [i for i, size in enumerate(shape) if size == 1 and i != axis]
    for missing in combinations([axis, *alone], max(0, lacking)):
        whole = source
        for position in sorted(missing):
            whole = Stacked([whole], position)
        pairs = zip(whole.shape, shape, strict=False)
        if all(size == full or i == axis for i, (size, full) in enumerate(pairs)):
            return whole
    return source


def _resized(array: StoredArray, axis: int, size: int) -> StoredArray:
    document = deepcopy(dict(array.document))
    document["shape"][axis] = size
    return replace(array, document=document)
