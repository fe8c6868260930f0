"""The fields of a plate's wells: each is found out when it is looked at."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from zarr.buffer.cpu import buffer_prototype

from napari_omezarr.errors import (
    AccessDeniedError,
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OutgrownError,
    UnsupportedDataError,
)
from napari_omezarr.metadata import Image, Well, fit_axes
from napari_omezarr.plain_text import counted
from napari_omezarr.pyramid import Arranged, Resized, Shared, left_out

from .image import open_array
from .nodes import ArrayNode, array_key, group_keys, join_path, kind_of, parse_json
from .nodes import parse_node as parse_group

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from napari_omezarr.metadata import Multiscale, WellImage
    from napari_omezarr.pyramid import ArrayPixels, Pixels, Place, WellGrid

    from .nodes import Opening

BROKEN = (MetadataError, NodeNotFoundError, UnsupportedDataError)
"""What makes a well a hole; a request that fails is no hole, and raises."""
UNREADABLE = (AccessDeniedError, *BROKEN)
_MOST_LEVELS = 16
_MOST_KEPT = 40_000
_MOST_ALIKE = 200  # documents that are compared with new ones


_MOST_MISFITS = 64


class MisfitError(ValueError):
    """A field has no room in its mosaic: what it is, as the end of a sentence.

    ``channels`` are those that it has and the mosaic lacks, where they are named.
    """

    def __init__(self, said: str, channels: tuple[str, ...] = ()) -> None:
        super().__init__(said)
        self.channels = channels


# What is expected of fields.


@dataclass(frozen=True, slots=True)
class ExpectedField:
    """What fields are presumed to be like until they are looked at."""

    zarr_format: int
    """Of their documents."""
    axes: tuple[str, ...]
    """The names of the mosaic's axes, without those that step."""
    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    """The paths of the levels, and their shapes."""
    channel_axis: int | None = None
    """Which axis is the channel axis."""
    channels: tuple[str | None, ...] = ()
    """The mosaic's channels, in order; None where they have no names."""
    inside: str = ""
    """The path of the image below a field: empty, or of a label image."""

    def arranged(
        self,
        pixels: Pixels,
        multiscale: Multiscale | None,
        elsewhere: Collection[str] = (),
    ) -> Pixels:
        """Give pixels of a field with the mosaic's axes and channels.

        Those of its channels that are shown `elsewhere` are left out.

        Raises
        ------
        MisfitError
            They have an axis, or a channel, that the mosaic lacks.
        """
        count = len(self.axes)
        axes = _matched(self.axes, _axis_names(multiscale, pixels), pixels)
        if axes is None:
            raise MisfitError(f"has {len(pixels.shape)} axes, and others have {count}")
        identical = axes == tuple(range(count)) and len(pixels.shape) == count
        channels = self._channels(pixels, axes, multiscale, elsewhere)
        if identical and channels is None:
            return pixels
        axis = self.channel_axis if channels is not None else None
        return Arranged(pixels, axes, axis, channels or ())

    def _channels(
        self,
        pixels: Pixels,
        axes: Sequence[int | None],
        multiscale: Multiscale | None,
        elsewhere: Collection[str],
    ) -> tuple[int | None, ...] | None:
        """Say which channel of the field each of the mosaic's is; None: as they are."""
        names = channel_names(multiscale)
        if self.channel_axis is None or not names or not self.channels:
            return None
        axis = axes[self.channel_axis]
        count = 1 if axis is None else pixels.shape[axis]
        if len(names) != count:
            return None
        known = {name: n for n, name in enumerate(names)}
        placed = {*self.channels, *elsewhere}
        if more := tuple(name for name in names if name not in placed):
            raise MisfitError(f"has a channel {more[0]}, which the others lack", more)
        # One that nobody has named yet is of a field whose names were not asked for.
        matched = tuple(known.get(name or "") for name in self.channels)
        if matched == tuple(range(count)):
            return None
        return matched


def channel_names(multiscale: Multiscale | None) -> tuple[str, ...]:
    """Give the names of an image's channels, empty if they do not tell them apart."""
    rendering = None if multiscale is None else multiscale.rendering
    names = [(c.label or "").strip() for c in rendering.channels] if rendering else []
    return tuple(names) if all(names) and len({*names}) == len(names) else ()


def _axis_names(multiscale: Multiscale | None, pixels: Pixels) -> tuple[str, ...]:
    if multiscale is None:
        return ()
    fitted, _ = fit_axes(multiscale, len(pixels.shape))
    return tuple(axis.name.lower() for axis in fitted.axes)


def _matched(
    wanted: Sequence[str], names: Sequence[str], pixels: Pixels
) -> tuple[int | None, ...] | None:
    """Say which axis of an image each wanted one is; None if one would be left out."""
    ndim, count = len(pixels.shape), len(wanted)
    axes: tuple[int | None, ...]
    if names and set(wanted[-2:]) <= set(names):
        axes = tuple(names.index(n) if n in names else None for n in wanted)
    else:  # nameless: the last ones are the same
        axes = tuple(n if n >= 0 else None for n in range(ndim - count, ndim))
    left = [n for n in range(ndim) if n not in axes]
    return None if any(pixels.shape[n] != 1 for n in left) else axes


def scaled(
    shape: Sequence[int], finest: Sequence[int], level: Sequence[int]
) -> tuple[int, ...]:
    """Give the shape of a level of something, made as one of the plate's finest is."""
    return tuple(
        max(1, -(-size * coarse // fine))
        for size, fine, coarse in zip(shape, finest, level, strict=True)
    )


@dataclass(frozen=True, slots=True)
class FieldChoice:
    """Which fields of wells are shown, and where in a well each lies."""

    acquisitions: tuple[int | None, ...] = (None,)
    """Their numbers; None stands for any."""
    fields: tuple[int | str, ...] = (0,)
    """Numbers among a well's fields of an acquisition, or paths."""
    steps: tuple[str, ...] = ()
    """What is stepped through: ``acquisition``, ``field``."""
    offsets: tuple[tuple[float, float] | None, ...] = ((0, 0),)
    """Where each field lies in its well, in pixels (y, x); None if not known."""
    by_position: bool = False
    """Fields lie where their own translations say."""
    is_whole: bool = False
    """All fields of a well are wanted, however many another one has."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the axes that are stepped through."""
        sizes = {"acquisition": len(self.acquisitions), "field": len(self.fields)}
        return tuple(sizes[name] for name in self.steps)

    def images(self, well: Well, step: Sequence[int]) -> list[tuple[int, WellImage]]:
        """Give the fields of a well that are shown together, with their numbers."""
        at = dict(zip(self.steps, step, strict=True))
        acquisition = self.acquisitions[at.get("acquisition", 0)]
        of_it = images_of(well, acquisition)
        by_path = {image.path: n for n, image in enumerate(of_it)}
        wanted = self.fields if "field" not in at else (self.fields[at["field"]],)
        numbers = [by_path.get(f, -1) if isinstance(f, str) else f for f in wanted]
        return [
            (number if len(wanted) > 1 else 0, of_it[number])
            for number in numbers
            if 0 <= number < len(of_it)
        ]


def images_of(well: Well, acquisition: int | None) -> list[WellImage]:
    """Give the fields of a well in an acquisition; those that name none are in any."""
    if acquisition is None:
        return list(well.images)
    return [i for i in well.images if i.acquisition in (None, acquisition)]


# Fields, once they are looked at.


@dataclass(slots=True)
class PlateDocuments:
    """The documents of wells and fields that were looked at; each is asked for once.

    ``states`` says ``loaded``, ``missing`` or ``broken`` by the path of each well
    looked at, and ``coarse`` by that of a field that has lost its finest level.
    """

    opening: Opening
    zarr_format: int
    states: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Why the pixels of a field, by its path, are not those that it has."""
    elsewhere: set[str] = field(default_factory=set)
    """Channels that have no place here, and that other layers show."""
    _lacking: set[str] = field(default_factory=set)
    _wells: Shared[Well | None] = field(default_factory=lambda: _few())
    _images: Shared[Multiscale | None] = field(default_factory=lambda: _few())
    _alike: dict[bytes, Any] = field(default_factory=dict)
    _arrays: dict[bytes, ArrayPixels] = field(default_factory=dict)

    def know(self, path: str, said: Multiscale | Well) -> None:
        """Take up what an image, or a well, says of itself."""
        if isinstance(said, Well):
            self._wells.put(path, said)
        else:
            self._images.put(path, said)

    @property
    def lacks_room(self) -> bool:
        """Something had no place, and has one when the plate is opened again."""
        return bool(self._lacking - self.elsewhere)

    def lack(self, *channels: str) -> None:
        """Note that something has no place, be it channels of these names."""
        self._lacking.update(channels or ("",))

    def join(self, other: PlateDocuments) -> None:
        """Share what is known of wells and fields with what was opened before."""
        self.states, self.left_out = other.states, other.left_out
        self._wells, self._images = other._wells, other._images
        self._alike = other._alike

    async def well(self, path: str) -> Well | None:
        """Read what a well lists; None where there is none."""
        return await self._wells.get(path, partial(self._kind, path, Well))

    async def image(self, path: str) -> Multiscale | None:
        """Read the multiscale of a field or a label image; None where there is none."""

        async def find() -> Multiscale | None:
            kind = await self._kind(path, Image)
            return None if kind is None else kind.multiscales[0]

        return await self._images.get(path, find)

    async def array(self, path: str) -> Pixels | None:
        """Read the document of an array; None where there is none."""
        key = array_key(path, self.zarr_format)
        body = await self._document(key)
        if body is None:
            return None
        alike = self._arrays.get(body)  # most fields are
        document = {} if alike is not None else parse_json(body, key)
        node = ArrayNode(path, self.zarr_format, document, {})
        pixels = open_array(self.opening.part(), node, alike)
        if len(self._arrays) > _MOST_ALIKE:
            self._arrays.clear()
        self._arrays.setdefault(body, pixels)
        return pixels

    async def _kind(self, path: str, wanted: Any) -> Any:
        (key,) = group_keys(path, self.zarr_format)
        body = await self._document(key)
        if body is None:
            return None
        if body not in self._alike:  # most wells are
            node = parse_group(path, {key: body}, self.zarr_format)
            kind = None if node is None else kind_of(node, path)
            if len(self._alike) > _MOST_ALIKE:
                self._alike.clear()
            self._alike[body] = kind
        found = self._alike[body]
        return found if isinstance(found, wanted) else None

    async def _document(self, key: str) -> bytes | None:
        buffer = await self.opening.store.get(key, buffer_prototype)
        if buffer is None:
            return self.opening.consolidated.alone(key)
        return buffer.to_bytes()

    def note(self, well: str, state: str, said: str) -> None:
        """Note what a well is; of each kind only the first is said."""
        is_first = state not in self.states.values()
        if self.states.get(well) != state:
            self.states[well] = state
            if said and is_first:
                self.opening.store.say(said)


def _few() -> Shared[Any]:
    return Shared(_MOST_KEPT, _one)


def _one(_: object) -> int:
    return 1


@dataclass(frozen=True, slots=True)
class PlateFields:
    """The fields of a plate, or of one well, as a mosaic asks for them.

    ``sample`` is one field's coarsest level, with the mosaic's axes; ``groups`` are the
    paths of the wells by row and column.
    """

    documents: PlateDocuments
    grid: WellGrid
    groups: Mapping[Place, str]
    """The paths of the wells by row and column."""
    choice: FieldChoice
    expected: ExpectedField
    sample: Pixels | None = None
    """One field's coarsest level, with the mosaic's axes."""
    samples: Mapping[int, Pixels] = field(default_factory=dict)
    """The same of fields that have channels which it lacks, by channel."""
    _levels: Shared[Pixels | None] = field(default_factory=lambda: _few())
    _shown: dict[Any, list[FieldTile]] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[int, ...]:
        """The sizes of the axes that are stepped through."""
        return self.choice.sizes

    @property
    def store(self) -> Any:
        """Where notes are left."""
        return self.documents.opening.store

    @property
    def most_fields(self) -> int:
        """How many fields a well has at most, as far as wells were looked at."""
        held = len(self.choice.fields)
        learnt = field_counts.get(self.address, 0) if self.choice.is_whole else 0
        return max(held, learnt)

    async def field_path(self, place: Place, number: int) -> str | None:
        """Give the path of a field by its number in its well; None if there is none."""
        group = self.groups[place]
        well = await self.documents.well(group)
        listed = [] if well is None else images_of(well, self.choice.acquisitions[0])
        more = number < len(listed)
        return join_path(group, listed[number].path) if more else None

    @property
    def address(self) -> str:
        """The plate's address, without secrets."""
        return self.documents.opening.location.display

    @property
    def concurrency(self) -> int:
        """How many wells may be asked for at a time."""
        return int(self.store.concurrency)

    async def tiles(self, place: Place, step: tuple[int, ...]) -> Sequence[FieldTile]:
        """Find the fields of a well that are shown together."""
        well_path, name = self.groups[place], self.grid.wells[place]
        documents = self.documents
        try:
            well = await documents.well(well_path)
            if well is None:
                said = f"Well {name} is listed, and is not there: it stays empty."
                documents.note(name, "missing", said)
                return ()
            chosen = self.choice.images(well, step)
            paths = [join_path(well_path, image.path) for _, image in chosen]
            origins = await self._origins([n for n, _ in chosen], paths)
        except BROKEN as error:
            left_out.add(self._note_broken(name, error))
            return ()
        several = len(self.choice.fields) > 1
        self._note_others(name, well)
        shown = self._shown[place, step] = [
            FieldTile(
                self,
                name,
                f"Well {name}, field {image.path}" if several else f"Well {name}",
                well_path,
                path,
                origin,
            )
            for (_, image), path, origin in zip(chosen, paths, origins, strict=True)
        ]
        return shown

    def named(
        self, place: Place, step: tuple[int, ...], point: tuple[float, float]
    ) -> str:
        """Say which well and which field lie at a point of a well."""
        well = self.grid.wells[place]
        size = self.expected.shapes[0][-2:]
        shown = [
            tile
            for tile in self._shown.get((place, step), ())
            if all(
                first <= at + 0.5 < first + length
                for first, at, length in zip(tile.origin, point, size, strict=True)
            )
        ]
        field = f", field {shown[-1].path.rpartition('/')[2]}" if shown else ""
        return f"{well}{field}"

    async def _origins(
        self, numbers: list[int], paths: list[str]
    ) -> list[tuple[int, int]]:
        """Say where fields lie in their well; alike in all wells, where they can."""
        choice = self.choice
        held = [choice.offsets[n] or (0.0, 0.0) for n in numbers]
        if choice.by_position and len(choice.fields) > 1:
            images = await asyncio.gather(*map(self._image, paths))
            held = self._by_position(numbers, [position_of(i) for i in images])
            self._note_reach(held)
        return [(round(y), round(x)) for y, x in held]

    async def _image(self, path: str) -> Multiscale | None:
        try:
            return await self.documents.image(path)
        except BROKEN:  # said when its pixels are looked at
            return None

    def _by_position(
        self, numbers: list[int], positions: list[tuple[float, float] | None]
    ) -> list[tuple[float, float]]:
        offsets = self.choice.offsets
        known = [(n, p) for n, p in zip(numbers, positions, strict=True) if p]
        if not known:
            return [offsets[n] or (0.0, 0.0) for n in numbers]
        bases = [
            (p[0] - o[0], p[1] - o[1])
            for n, p in known
            if (o := offsets[n]) is not None
        ]
        least = min(p[0] for _, p in known), min(p[1] for _, p in known)
        base = bases[0] if bases else least
        if any(p[0] < base[0] - 0.5 or p[1] < base[1] - 0.5 for _, p in known):
            base = least
        return [
            (p[0] - base[0], p[1] - base[1]) if p else (offsets[n] or (0.0, 0.0))
            for n, p in zip(numbers, positions, strict=True)
        ]

    def _note_reach(self, offsets: Sequence[tuple[float, float]]) -> None:
        """Have room for fields that lie further apart when it is opened again."""
        size = self.expected.shapes[0][-2:]
        far = [round(max(o[n] for o in offsets)) + size[n] for n in (0, 1)]
        if any(end > held for end, held in zip(far, self.grid.cell, strict=True)):
            self.documents.lack()
            known = reaches.get(self.address, (0, 0))
            reaches[self.address] = max(far[0], known[0]), max(far[1], known[1])

    def _note_others(self, name: str, well: Well) -> None:
        """Say of wells that have fields for which there is no place yet."""
        room = len(self.choice.fields)
        most = max(len(images_of(well, a)) for a in self.choice.acquisitions)
        if self.choice.is_whole and most > room:
            self.documents.lack()
            field_counts[self.address] = max(most, field_counts.get(self.address, 0))
            there = counted(most, "field")
            said = f"Well {name} has {there}, and there is room for {room}: "
            self.documents.note(name, "more", f"{said}open the plate again for all.")

    def _note_broken(self, name: str, error: OMEZarrError) -> str:
        said = f"Well {name} cannot be shown: it stays empty. {error}"
        self.documents.note(name, "broken", said)
        return said

    # One level of one field.

    async def level(self, tile: FieldTile, number: int) -> Pixels | None:
        """Find the pixels of a field as fine as a level; None where there are none."""
        key = tile.path, number
        found = await self._levels.get(key, partial(self._find, tile, number))
        path = join_path(tile.path, self.expected.inside)
        if said := self.documents.left_out.get(path):
            left_out.add(said)
        return found

    async def _find(self, tile: FieldTile, number: int) -> Pixels | None:
        expected = self.expected
        path = join_path(tile.path, expected.inside)
        name = expected.paths[number]
        try:
            found = await asyncio.gather(
                self.documents.image(path),
                self.documents.array(join_path(path, name)),
                return_exceptions=True,
            )
            image, pixels = found
            if isinstance(image, BaseException):
                raise image
            if isinstance(pixels, BaseException) and not isinstance(pixels, BROKEN):
                raise pixels
            first = None if isinstance(pixels, BaseException) else pixels
            shown = await self._fitting(path, image, first, number)
            if shown is None and isinstance(pixels, BaseException):
                raise pixels
        except BROKEN as error:
            self.documents.left_out[path] = self._note_broken(tile.well, error)
            return None
        if shown is not None:
            self.documents.note(tile.well, "loaded", "")
        elif not expected.inside:
            said = f"{tile} is listed, and is not there: it stays empty."
            self.documents.note(tile.well, "missing", said)
        return shown

    async def _fitting(
        self, path: str, image: Multiscale | None, first: Pixels | None, number: int
    ) -> Pixels | None:
        """Give a level that is as coarse as it is elsewhere on the plate."""
        finest, level = (self._plane(self.expected.shapes[n]) for n in (0, number))
        names = [] if image is None else [d.path for d in image.datasets]
        is_listed = not names or self.expected.paths[number] in names
        if first is not None and is_listed:
            shown = self._arranged(first, image)
            if finest == level or self._plane(shown.shape) == level:
                return shown
            whole = await self.documents.array(
                join_path(path, names[0] if names else self.expected.paths[0])
            )
            if whole is None:
                return shown
            all_of_it = self._plane(self._arranged(whole, image).shape)
            pairs = zip(self._plane(shown.shape), all_of_it, strict=True)
            if all(
                abs(s - size * coarse / fine) < 1
                for (s, size), coarse, fine in zip(pairs, level, finest, strict=True)
            ):
                return shown
        return await self._from_own_levels(path, image, names, number)

    async def _from_own_levels(
        self,
        path: str,
        image: Multiscale | None,
        names: list[str],
        number: int,
    ) -> Pixels | None:
        """Show a level by the nearest pixels of those that the field lists itself."""
        paths = (join_path(path, name) for name in names[:_MOST_LEVELS])
        found = await asyncio.gather(*map(self.documents.array, paths))
        levels = [self._arranged(p, image) for p in found if p is not None]
        if not levels:
            return None
        shapes = self.expected.shapes
        own, axis = levels[0].shape, self.expected.channel_axis
        whole = own if found[0] is not None else self._finest_of(path, own, names[0])
        wanted = scaled(whole, shapes[0], shapes[number])
        if axis is not None:
            wanted = (*wanted[:axis], own[axis], *wanted[axis + 1 :])
        axes = [n for n in range(len(own)) if n != axis]
        fine = [p for p in levels if all(p.shape[n] >= wanted[n] for n in axes)]
        chosen = fine[-1] if fine else levels[0]
        return chosen if chosen.shape == wanted else Resized(chosen, wanted)

    def _finest_of(self, path: str, own: tuple[int, ...], lost: str) -> tuple[int, ...]:
        """Say how large a field is whose finest level is lost, if it is as others are.

        Raises
        ------
        NodeNotFoundError
            Nobody can tell.
        """
        url = self.documents.opening.place(path).display
        said = f"Level {lost} of {url} is listed, and is not there"
        finest, *coarser = self.expected.shapes
        if self._plane(own) not in map(self._plane, coarser):
            raise NodeNotFoundError(said, url=url)
        said = f"{said}: a coarser one is shown for it."
        self.documents.note(path, "coarse", said)
        self.documents.left_out[path] = said
        return finest

    def _arranged(self, pixels: Pixels, image: Multiscale | None) -> Pixels:
        return self.expected.arranged(pixels, image, self.documents.elsewhere)

    def _plane(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Give a shape without its channels, of which there may be any number."""
        axis = self.expected.channel_axis
        return tuple(size for n, size in enumerate(shape) if n != axis)


@dataclass(frozen=True, slots=True)
class FieldTile:
    """One field of view of a well; ``name`` is how a sentence calls it."""

    fields: PlateFields
    well: str
    name: str
    group: str  # of the well
    path: str
    origin: tuple[int, int]

    def __str__(self) -> str:
        inside = self.fields.expected.inside
        return f"{self.name} ({inside})" if inside else self.name

    async def level(self, number: int) -> Pixels | None:
        """Find its pixels as fine as a level; None where there are none."""
        try:
            return await self.fields.level(self, number)
        except MisfitError as error:
            raise self.misfit(str(error), error.channels) from None

    def misfit(self, said: str, channels: tuple[str, ...] = ()) -> OutgrownError:
        """Say what has no room, and have room for it when the plate is opened again."""
        opening = self.fields.documents.opening
        self.fields.documents.lack(*channels)
        plate = misfits.setdefault(opening.location.display, {})
        if len(plate) < _MOST_MISFITS:
            plate.setdefault(said, self.path)
        action = "Open the plate again: there is room for it then."
        url = opening.place(self.group).display
        error = OutgrownError(f"{self} {said}.", action=action, url=url)
        error.channels = channels
        return error


reaches: dict[str, tuple[int, int]] = {}
"""How far fields of wells reach, in pixels, where there was no room for that."""
field_counts: dict[str, int] = {}
"""How many fields wells have, by the plate's address, where there was no room."""
misfits: dict[str, dict[str, str]] = {}
"""Fields that had no room, by the plate's address: the first one of each kind.

Their paths, by why they had none. They are looked at when their plate is opened again,
which then has room for them.
"""


def position_of(image: Multiscale | None) -> tuple[float, float] | None:
    """Say where an image lies in the world, in its pixels (y, x); None if askew."""
    if image is None:
        return None
    affine = image.datasets[0].affine
    if not affine.is_diagonal:
        return None
    scale, translation = affine.scale, affine.translation
    if len(scale) < 2 or 0 in scale[-2:]:
        return None
    return translation[-2] / scale[-2], translation[-1] / scale[-1]
