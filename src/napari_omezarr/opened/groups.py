"""Plates, wells and collections of images, as they are opened."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, overload

from napari_omezarr.doors import guarded
from napari_omezarr.errors import NodeNotFoundError, UnknownNameError
from napari_omezarr.metadata import Acquisition, Well, well_key
from napari_omezarr.reading import group_keys, kind_of, parse_node, read_current
from napari_omezarr.store import open_store
from napari_omezarr.tables import stored_tables

from .image import (
    Named,
    OMEImage,
    named,
    printable,
    refuse_secrets,
    unknown_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Pyramid
    from napari_omezarr.tables import StoredTable

_AT_A_TIME = 8
"""How many fields of a well are opened at once."""


def images_of(pyramids: Sequence[Pyramid]) -> tuple[OMEImage, ...]:
    """Make images of pyramids, each with the label images that follow it."""
    groups: list[tuple[Pyramid, list[Pyramid]]] = []
    for pyramid in pyramids:
        if pyramid.label is not None and groups and groups[-1][0].label is None:
            groups[-1][1].append(pyramid)
        else:
            groups.append((pyramid, []))
    return tuple(_image(image, labels) for image, labels in groups)


def _image(pyramid: Pyramid, labels: Sequence[Pyramid] = ()) -> OMEImage:
    values: dict[str, Any] = {f.name: getattr(pyramid, f.name) for f in fields(pyramid)}
    by_name: Named[OMEImage] = Named()
    for label in labels:
        name = label.name if label.name not in by_name else label.location.name
        by_name[name] = _image(label)
    return OMEImage(**values, labels=by_name)


@dataclass(frozen=True, slots=True, repr=False)
class OMECollection(Sequence[OMEImage]):
    """Several images of one place: a bioformats2raw series, a scene, label images.

    A sequence of `OMEImage`, of which one is also found by its name, or by the last
    part of its path.

    Attributes
    ----------
    location : Location
        The place.
    kind : str
        ``"series"``, ``"scene"`` or ``"labels"``.
    images : tuple of OMEImage
        In the order of the document, each with its labels.
    warnings, notes : tuple of str
        As in a `Reading`.
    """

    location: Location
    kind: str
    images: tuple[OMEImage, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        names = named([image.name for image in self.images])
        where = printable(self.location.display)
        return f"<OMECollection {where} ({self.kind}) of {len(self)}: {names}>"

    @property
    def pyramids(self) -> tuple[Pyramid, ...]:
        """Images, each followed by its label images, as a `Reading` has them."""
        return tuple(p for image in self.images for p in image.pyramids)

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, key: int | str) -> OMEImage: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[OMEImage, ...]: ...
    def __getitem__(self, key: int | str | slice) -> OMEImage | tuple[OMEImage, ...]:
        if not isinstance(key, str):
            return self.images[key]
        for image in self.images:
            if key in (image.name, image.location.name):
                return image
        raise unknown_name(key, [image.name for image in self.images])


@dataclass(frozen=True, slots=True, repr=False)
class OMEWell:
    """A well: its place on the plate, and its fields of view when asked for.

    Attributes
    ----------
    location : Location
        Its group.
    path : str
        Row and column, like ``B/3``; of a well opened by itself as its address says.
    """

    location: Location
    path: str

    def __repr__(self) -> str:
        where = printable(self.location.display)
        return f"<OMEWell {printable(self.path)} at {where}>"

    def __reduce__(self) -> tuple[Any, ...]:
        refuse_secrets(self.location)
        return OMEWell, (self.location, self.path)

    @property
    def row(self) -> str:
        """The name of its row."""
        return self.path.partition("/")[0]

    @property
    def column(self) -> str:
        """The name of its column."""
        return self.path.partition("/")[2]

    @guarded
    def fields(self, acquisition: int | None = None) -> tuple[OMEImage, ...]:
        """Open its fields of view, or those of one acquisition; blocks.

        Two rounds of requests each, several fields at a time.

        Raises
        ------
        NodeNotFoundError
            The well, or a field that it lists, is not there.
        MetadataError, StoreError
            They could not be understood, or read.
        """
        answers = open_store(self.location).fetch(group_keys(""))
        node = parse_node("", answers)
        kind = None if node is None else kind_of(node, self.location.display)
        if not isinstance(kind, Well):
            url = self.location.display
            raise NodeNotFoundError(f"There is no well at {url}.", url=url)
        paths = [
            image.path
            for image in kind.images
            if acquisition is None or image.acquisition == acquisition
        ]
        with ThreadPoolExecutor(_AT_A_TIME, "napari-omezarr fields") as threads:
            return tuple(threads.map(self._field, paths))

    @guarded
    def mosaic(self) -> OMEImage:
        """Open the well as one image: its fields where they lie, or side by side."""
        return images_of(read_current(self.location).pyramids)[0]

    def _field(self, path: str) -> OMEImage:
        image = images_of(read_current(self.location / path).pyramids)[0]
        return replace(image, name=f"{self.path}/{path}")


@dataclass(frozen=True, slots=True, repr=False)
class OMEPlate:
    """A plate: which wells it has; each is opened when it is asked for.

    Attributes
    ----------
    location : Location
        Its group.
    name : str
        What it is called.
    rows, columns : tuple of str
        Their names, with those in which no well is.
    paths : tuple of str
        The wells that have data, like ``B/3``.
    acquisitions : tuple of Acquisition
        Each with ``id`` and ``name``.
    image : OMEImage
        All wells, or those that were chosen, as one lazy image.
    warnings, notes : tuple of str
        As in a `Reading`.
    """

    location: Location
    name: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    paths: tuple[str, ...]
    acquisitions: tuple[Acquisition, ...]
    image: OMEImage
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        size = f"{len(self.rows)} x {len(self.columns)}"
        where = printable(self.location.display)
        wells = named(self.paths)
        return (
            f"<OMEPlate {printable(self.name)}, {size}\n  address: {where}\n"
            f"  {len(self.paths)} wells: {wells}>"
        )

    @property
    def kind(self) -> str:
        """``"plate"``."""
        return "plate"

    @property
    def pyramids(self) -> tuple[Pyramid, ...]:
        """Those of `image`, as a `Reading` has them."""
        return self.image.pyramids

    @guarded
    def wells(self) -> tuple[OMEWell, ...]:
        """Give the wells that have data; asks nothing."""
        return tuple(OMEWell(self.location / path, path) for path in self.paths)

    @property
    @guarded
    def tables(self) -> Named[StoredTable]:
        """The tables of the plate, by name; see `OMEImage.tables`."""
        return Named({table.name: table for table in stored_tables(self.location)})

    @guarded
    def fields(self, acquisition: int | None = None) -> Iterator[OMEImage]:
        """Open all fields of all wells, one well after another."""
        for well in self.wells():
            yield from well.fields(acquisition)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[OMEWell]:
        return iter(self.wells())

    def __contains__(self, path: object) -> bool:
        return self._path(path) is not None

    def __getitem__(self, path: str) -> OMEWell:
        """Give one well, ``plate["B/3"]``, ``plate["B3"]`` or ``plate["b03"]``."""
        found = self._path(path)
        if found is None:
            raise UnknownNameError(
                f"{self.name} has no well {path}.",
                action=f"It has {named(self.paths)}.",
            )
        return OMEWell(self.location / found, found)

    def _path(self, text: object) -> str | None:
        """Find the path of a well, as the plate spells it or as people do."""
        if not isinstance(text, str):
            return None
        wanted = well_key(text)
        spelled = (each for each in self.paths if text in (each, each.replace("/", "")))
        alike = (each for each in self.paths if well_key(each) == wanted)
        return next(spelled, next(alike, None))
