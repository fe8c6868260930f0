"""Write an edited region into an image that is there, if nobody changed the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.buffer import default_buffer_prototype
from zarr.storage import MemoryStore, StorePath

from napari_omezarr.errors import ConflictError, OptionError
from napari_omezarr.plain_text import counted
from napari_omezarr.pyramid import (
    ArrayPixels,
    chunk_box,
    chunk_index,
    coarser_box,
    hull,
    shape_of,
    slices,
    slices_within,
    split_box,
    tolerated,
    whole_box,
)
from napari_omezarr.store import run

from .downsample import downsample
from .encode import encoding_of
from .update import Change, in_threads, update

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from napari_omezarr.pyramid import Bounds
    from napari_omezarr.store import GetResult

    from .encode import Encoding
    from .engine import StoredArray
    from .existing import ExistingImage
    from .options import Method

_SHOWN = 3
"""Of so many chunks a conflict says where they are."""
_ROUNDS = 100
"""So often coarser levels are made anew while others change what they are made of."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A region of the finest level as somebody left it, from ``start`` on.

    ``original`` is what was there when editing began; None overwrites what is there.
    """

    start: tuple[int, ...]
    values: np.ndarray
    original: np.ndarray | None = None

    @property
    def bounds(self) -> Bounds:
        """The region."""
        return tuple(
            (first, first + size)
            for first, size in zip(self.start, self.values.shape, strict=True)
        )

    @property
    def mine(self) -> np.ndarray:
        """Which pixels of the region were edited."""
        if self.original is None:
            return np.ones(self.values.shape, bool)
        return _differs(self.values, np.asarray(self.original))


class PatchConflictError(ConflictError):
    """Edited pixels have been changed by somebody else; nothing was written.

    ``clash`` says which pixels of the edit, ``boxes`` lie around those of each chunk
    (or shard) in pixels of the finest level, and ``pixels`` is how many they are.
    """

    def __init__(self, edit: Edit, clash: np.ndarray, image: ExistingImage) -> None:
        self.pixels = int(np.count_nonzero(clash))
        self.boxes = tuple(_boxes_around(edit, clash, image.levels[0].chunks))
        address = image.hierarchy.address
        names = [axis.name for axis in image.multiscale.axes]
        shown = "; ".join(box_text(names, box) for box in self.boxes[:_SHOWN])
        more = len(self.boxes) - _SHOWN
        rest = f"; and in {counted(more, 'more chunk')}" if more > 0 else ""
        have = "has" if self.pixels == 1 else "have"
        super().__init__(
            f"{counted(self.pixels, 'edited pixel')} of {address} {have} been changed "
            f"by somebody else, at {shown}{rest}{_world_text(image, self.boxes[0])}.",
            action="Load the region again and repeat the edit, or save it as labels or "
            "an image of another name.",
            url=address,
        )


def box_text(names: Sequence[str], box: Bounds) -> str:
    """Say a box by axis, its ends included: ``z 1, y 11-13``."""
    return ", ".join(
        f"{name} {start}" if stop == start + 1 else f"{name} {start}-{stop - 1}"
        for name, (start, stop) in zip(names, box, strict=True)
    )


def _boxes_around(
    edit: Edit, chosen: np.ndarray, chunks: Sequence[int]
) -> Iterator[Bounds]:
    """Give a box around the chosen pixels of each chunk that has some."""
    for unit in split_box(edit.bounds, chunks):
        where = np.argwhere(chosen[slices_within(unit, edit.bounds)])
        if len(where):
            first, last = where.min(axis=0), where.max(axis=0)
            yield tuple(
                (start + int(low), start + int(high) + 1)
                for (start, _), low, high in zip(unit, first, last, strict=True)
            )


def _world_text(image: ExistingImage, box: Bounds) -> str:
    """Say where the first box begins in the world, along the axes of space."""
    affine = image.multiscale.datasets[0].affine
    point = affine.matrix[:, :-1] @ [start for start, _ in box] + affine.translation
    said = [
        f"{axis.name} {value:.4g} {axis.unit}"
        for axis, value in zip(image.multiscale.axes, point, strict=True)
        if axis.type == "space" and axis.unit
    ]
    return f" (the first begins at {', '.join(said)})" if said else ""


# What will be written, and what was.


@dataclass(frozen=True, slots=True)
class PatchPlan:
    """What a patch would write, before it does: nothing was read for it but documents.

    ``pixels`` were edited; ``objects`` are chunks (or shards) of each level, finest
    first, that hold them or what follows from them.
    """

    pixels: int
    objects: tuple[int, ...]

    def summary(self) -> str:
        """Say it in one line, for a person."""
        finest, *coarser = self.objects
        text = f"{counted(self.pixels, 'edited pixel')} in {counted(finest, 'chunk')}"
        if coarser:
            levels = counted(len(coarser), "coarser level")
            text += f", and {counted(sum(coarser), 'chunk')} of {levels}"
        return text


@dataclass(frozen=True, slots=True)
class Patched:
    """What a patch changed: objects of the finest level, and boxes of all levels.

    ``undoing`` is the edit that takes it back, as long as nobody has changed the same
    pixels since.
    """

    objects: int
    boxes: tuple[Bounds, ...]
    undoing: Edit = field(repr=False)
    place: Any = field(default=None, repr=False)
    """The image, as `patch` was given it."""
    method: Method | None = None
    """How coarser pixels were made."""


def plan_edit(image: ExistingImage, edit: Edit) -> PatchPlan:
    """Find out what a patch would write."""
    fitted = _fitting(edit, image.levels[0])
    mine = fitted.mine
    boxes = list(_boxes_around(fitted, mine, image.levels[0].chunks))
    objects = [len(boxes)]
    for level in range(1, len(image.levels)):
        cells = _coarser_boxes(image, level, boxes)
        objects.append(len(cells))
        boxes = list(cells.values())
    return PatchPlan(int(np.count_nonzero(mine)), tuple(objects))


def patch_image(image: ExistingImage, edit: Edit, method: Method) -> Patched:
    """Write a region, and what follows from it at the coarser levels.

    Only chunks, or shards, in which something was edited are written, each unless it
    has changed since it was read. All is compared before the first of them. Where a
    conflict comes up later, what was written is taken back.
    """
    finest = image.levels[0]
    edit = _fitting(edit, finest)
    mine = edit.mine
    boxes = list(_boxes_around(edit, mine, finest.chunks))
    edits = [_PixelEdit(finest, box, edit, mine) for box in boxes]
    known = in_threads(
        image.hierarchy, lambda each: image.hierarchy.read(each.key), edits
    )
    _check(edits, known, edit, image)
    try:
        update(image.hierarchy, edits, known)
    except _ClashError:
        _take_back(image, edits, method)
        known = [image.hierarchy.read(each.key) for each in edits]
        _check(edits, known, edit, image)
        raise PatchConflictError(edit, _clash_of(edits, edit), image) from None
    written = [each.box for each in edits if each.written]
    around = _coarsen(image, boxes, method)
    before = edit.values.copy()
    for each in edits:
        if each.written:
            each.put_before(before, edit)
    return Patched(
        len(written),
        (hull(boxes), *around) if written else (),
        Edit(edit.start, before, edit.values),
    )


def _fitting(edit: Edit, array: StoredArray) -> Edit:
    axes = len(array.shape)
    if (len(edit.start), edit.values.ndim) != (axes, axes):
        raise OptionError(
            f"The image has {axes} axes, the pixels have {edit.values.ndim}, and where "
            f"they begin {len(edit.start)}.",
            action="Give all axes to both; one that is not wanted is one pixel long.",
        )
    pairs = zip(edit.bounds, array.shape, strict=True)
    if any(start < 0 or stop > size for (start, stop), size in pairs):
        raise OptionError("The edited region lies outside of the image.")
    if not np.can_cast(edit.values.dtype, array.dtype, "same_kind"):
        raise OptionError(
            f"{edit.values.dtype} does not go into an image of {array.dtype}.",
            action="Convert it first.",
        )
    if edit.original is not None and np.shape(edit.original) != edit.values.shape:
        raise OptionError("What was there before has another shape than the edit.")
    values = edit.values.astype(array.dtype)
    if _differs(values, edit.values).any():
        raise OptionError(f"Some values do not fit into {array.dtype}.")
    return Edit(edit.start, values, edit.original)


def _differs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Compare values; NaN is equal to NaN."""
    differs: np.ndarray = one != other
    if one.dtype.kind == "f" and other.dtype.kind == "f":
        differs &= ~(np.isnan(one) & np.isnan(other))
    return differs


# One object of an array: its key, its pixels, its bytes.


@dataclass(frozen=True)
class StoredObject:
    """A chunk, or a shard, of an array, by a box that lies in it."""

    array: StoredArray
    box: Bounds

    @cached_property
    def unit(self) -> Bounds:
        """All its pixels; it ends with the array."""
        chunks = self.array.chunks
        return chunk_box(chunk_index(self.box, chunks), chunks, self.array.shape)

    @cached_property
    def key(self) -> str:
        """Its key in the hierarchy."""
        opened = self.array.opened()
        index = chunk_index(self.unit, self.array.chunks)
        return f"{self.array.path}/{opened.metadata.encode_chunk_key(index)}"

    def decode(self, found: GetResult | None) -> np.ndarray:
        """Give its pixels, in an array of their own."""
        store = MemoryStore()
        if found is not None:
            body = default_buffer_prototype().buffer.from_bytes(found.body)
            store = MemoryStore({self.key: body})
        array = zarr.AsyncArray.from_dict(self._place(store), self._document)
        pixels = ArrayPixels(array, f"{self.array.address}/{self.array.path}", 1)
        pixels.may_be_empty = True  # what is all fill value is not written
        return np.array(pixels[slices(self.unit)])

    def encode(self, values: np.ndarray) -> bytes:
        """Give its bytes, also where all pixels are 0: deleting has no conditions."""
        encoding: Encoding | None = encoding_of(self.array.document)
        if encoding is not None:
            return encoding.encode_all(values)
        store = MemoryStore()
        opened = zarr.AsyncArray.from_dict(self._place(store), self._document)
        array = zarr.AsyncArray(
            metadata=opened.metadata,
            store_path=opened.store_path,
            config={"write_empty_chunks": True},
        )
        run(array.setitem(slices(self.unit), values))
        body = run(store.get(self.key, default_buffer_prototype()))
        return b"" if body is None else body.to_bytes()

    @property
    def _document(self) -> dict[str, Any]:
        return tolerated(self.array.document)[0]

    def _place(self, store: MemoryStore) -> StorePath:
        return StorePath(store, self.array.path)


def read_whole(array: StoredArray, bounds: Bounds) -> np.ndarray:
    """Read a box of an array that others may be writing, by objects as a whole.

    Parts of a shard that are read one after another may be of two states of it.
    """
    values = np.empty(shape_of(bounds), array.dtype)
    for part in split_box(bounds, array.chunks):
        stored = StoredObject(array, part)
        pixels = stored.decode(array.hierarchy.read(stored.key))
        values[slices_within(part, bounds)] = pixels[slices_within(part, stored.unit)]
    return values


class _ClashError(ConflictError):
    """Somebody else has changed the same pixels of an object, in another way."""


class _PixelEdit(Change):
    """Edited pixels of one object of the finest level."""

    def __init__(
        self, array: StoredArray, box: Bounds, edit: Edit, mine: np.ndarray
    ) -> None:
        self.box = box
        self.stored = StoredObject(array, box)
        super().__init__(self.stored.key)
        inner = slices_within(box, edit.bounds)
        self.values = edit.values[inner]
        self.mine = mine[inner]
        self.original = None if edit.original is None else edit.original[inner]
        self.before = self.values

    def clash(self, found: GetResult | None) -> np.ndarray:
        """Say which pixels somebody else has changed in another way (3-way)."""
        if self.original is None:
            return np.zeros(self.mine.shape, bool)
        now = self._pixels(found)[1]
        theirs = _differs(now, np.asarray(self.original))
        clash: np.ndarray = self.mine & theirs & _differs(self.values, now)
        return clash

    def made(self, found: GetResult | None) -> bytes | None:
        """Put the edited pixels among those that are there."""
        whole, now = self._pixels(found)
        changing = self.mine & _differs(self.values, now)
        if self.original is not None:
            theirs = _differs(now, np.asarray(self.original))
            if (changing & theirs).any():
                raise _ClashError("Somebody else has changed the same pixels.")
        if not changing.any():
            return None
        self.before = now.copy()
        now[self.mine] = self.values[self.mine]
        return self.stored.encode(whole)

    def lost(self, found: GetResult | None) -> bool:
        """Say whether pixels are again what they were before they were edited."""
        _, now = self._pixels(found)
        changed = self.mine & _differs(self.values, self.before)
        return bool((changed & ~_differs(now, self.before)).any())

    def put_before(self, values: np.ndarray, edit: Edit) -> None:
        """Put what was there before into the values of the whole edit."""
        part = values[slices_within(self.box, edit.bounds)]
        part[self.mine] = self.before[self.mine]

    def _pixels(self, found: GetResult | None) -> tuple[np.ndarray, np.ndarray]:
        """Give all pixels of the object, and a view of those in the box."""
        whole = self.stored.decode(found)
        return whole, whole[slices_within(self.box, self.stored.unit)]


def _check(
    edits: Sequence[_PixelEdit],
    known: Sequence[GetResult | None],
    edit: Edit,
    image: ExistingImage,
) -> None:
    """Check that nobody changed the same pixels in another way."""
    if edit.original is None:
        return
    clash = np.zeros(edit.values.shape, bool)
    for each, found in zip(edits, known, strict=True):
        clash[slices_within(each.box, edit.bounds)] |= each.clash(found)
    if clash.any():
        raise PatchConflictError(edit, clash, image)


def _clash_of(edits: Iterable[_PixelEdit], edit: Edit) -> np.ndarray:
    """Say where a conflict was that is gone by now: in what could not be written."""
    clash = np.zeros(edit.values.shape, bool)
    for each in edits:
        if not each.written:
            clash[slices_within(each.box, edit.bounds)] |= each.mine
    return clash


def _take_back(
    image: ExistingImage, edits: Sequence[_PixelEdit], method: Method
) -> None:
    """Put back what was there before, where nobody has changed it since."""
    written = [each for each in edits if each.written]
    undoing = [_Undoing(each) for each in written]
    update(image.hierarchy, undoing)
    _coarsen(image, [each.box for each in written], method)


class _Undoing(Change):
    """What takes back an edit of an object, but not what others did to it since."""

    def __init__(self, edit: _PixelEdit) -> None:
        super().__init__(edit.key)
        self._edit = edit

    def made(self, found: GetResult | None) -> bytes | None:
        """Put back the pixels that still are as they were edited."""
        edit = self._edit
        whole, now = edit._pixels(found)
        mine = edit.mine & ~_differs(now, edit.values) & _differs(now, edit.before)
        if not mine.any():
            return None
        now[mine] = edit.before[mine]
        return edit.stored.encode(whole)


# Coarser levels follow by the same rule, and are compared with what they are made of.


class _Coarsening(Change):
    """Pixels of one object of a coarser level, made of those of the finer level."""

    def __init__(
        self,
        levels: tuple[StoredArray, StoredArray],
        step: Sequence[int],
        box: Bounds,
        method: Method,
    ) -> None:
        self._finer, coarser = levels
        self._box, self._step, self._method = box, step, method
        self._stored = StoredObject(coarser, box)
        super().__init__(self._stored.key)

    def made(self, found: GetResult | None) -> bytes | None:
        """Put what the finer level gives by now among the pixels that are there."""
        whole = self._stored.decode(found)
        now = whole[slices_within(self._box, self._stored.unit)]
        # Read after the object: whoever changes finer pixels later than that writes
        # this object later, too.
        wanted = self._wanted()
        if not _differs(wanted, now).any():
            return None
        now[...] = wanted
        return self._stored.encode(whole)

    def _wanted(self) -> np.ndarray:
        cells = tuple(
            (start * by, min(stop * by, size))
            for (start, stop), by, size in zip(
                self._box, self._step, self._finer.shape, strict=True
            )
        )
        first = [start for start, _ in self._box]
        finer = read_whole(self._finer, cells)
        values = downsample(finer, self._step, self._method, first)
        return values[slices(whole_box(shape_of(self._box)))]


def _coarsen(
    image: ExistingImage, boxes: Sequence[Bounds], method: Method
) -> list[Bounds]:
    """Make all levels anew above boxes of the finest one; gives a hull for each.

    Others may write back an old state of finer pixels at the same time. Therefore all
    is compared once more when it is written, and done again where it differs.
    """
    steps = image.structure.steps
    levels: list[list[_Coarsening]] = []
    around = []
    for level, pair in enumerate(pairwise(image.levels), 1):
        cells = _coarser_boxes(image, level, boxes)
        boxes = list(cells.values())
        if not boxes:
            break
        levels.append([_Coarsening(pair, steps[level], box, method) for box in boxes])
        around.append(hull(boxes))
    stale = [change for changes in levels for change in changes]
    for _ in range(_ROUNDS):
        for changes in levels:
            update(image.hierarchy, [change for change in changes if change in stale])
        stale = _stale(image, levels)
        if not stale:
            break
    return around


def _stale(
    image: ExistingImage, levels: Sequence[Sequence[_Coarsening]]
) -> list[_Coarsening]:
    """Give what differs from its finer level, and all that is made of that."""
    everything = [change for changes in levels for change in changes]

    def is_stale(change: _Coarsening) -> bool:
        return change.lost(image.hierarchy.read(change.key))

    found = in_threads(image.hierarchy, is_stale, everything)
    if not any(found):
        return []
    return everything[found.index(True) :]


def _coarser_boxes(
    image: ExistingImage, level: int, boxes: Iterable[Bounds]
) -> Mapping[tuple[int, ...], Bounds]:
    """Give what boxes of a finer level reach of each object of a level."""
    finer, coarser = image.levels[level - 1], image.levels[level]
    step = image.structure.steps[level]
    found: dict[tuple[int, ...], Bounds] = {}
    for box in boxes:
        cells = tuple(
            (start // by * by, min(-(-stop // by) * by, size))
            for (start, stop), by, size in zip(box, step, finer.shape, strict=True)
        )
        for part in split_box(coarser_box(cells, step, coarser.shape), coarser.chunks):
            index = chunk_index(part, coarser.chunks)
            found[index] = hull([part, found[index]]) if index in found else part
    return found
