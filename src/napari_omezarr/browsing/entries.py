"""The rows of a browser: what lies at a place, and its children by their metadata."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.doors import guarded
from napari_omezarr.errors import OMEZarrError, OptionError
from napari_omezarr.metadata import (
    DocumentError,
    Image,
    Labels,
    Plate,
    Scene,
    Series,
    Well,
    load_json,
    parse_document,
)
from napari_omezarr.plain_text import counted
from napari_omezarr.reading import (
    ArrayNode,
    GroupNode,
    Opening,
    ReadOptions,
    array_key,
    ask,
    group_keys,
    join_path,
    listed_images,
    parse_node,
)
from napari_omezarr.tables import (
    GROUP,
    is_table_name,
    named_table,
    open_table,
    table_in_words,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from napari_omezarr.location import Location
    from napari_omezarr.metadata import Document, Multiscale
    from napari_omezarr.metadata import Kind as Meaning
    from napari_omezarr.reading import Answers, Node, Questions
    from napari_omezarr.store import RemoteStore
    from napari_omezarr.tables import StoredTable


TABLE_KEYS = group_keys(GROUP)
"""What lists the tables of an image, to be asked for together with it."""
_MOST = 256


def listed_tables(group: GroupNode | None) -> tuple[str, ...]:
    """Give the tables that a group lists, as ngio does; none where it is no such."""
    names = group.attributes.get(GROUP) if group is not None else None
    if not isinstance(names, list):
        return ()
    return tuple(name for name in names[:_MOST] if is_table_name(name))


def tables_beside(answers: Answers, zarr_format: int) -> tuple[str, ...]:
    """Give the tables of an image, from the answers to `TABLE_KEYS`."""
    if not all(key in answers for key in group_keys(GROUP, zarr_format)):
        return ()
    try:
        found = parse_node(GROUP, answers, zarr_format)
    except OMEZarrError:  # they cost themselves, and not the image
        return ()
    return listed_tables(found if isinstance(found, GroupNode) else None)


def in_words(table: StoredTable) -> str:
    """Say what a table is, with its size; blocks.

    Raises
    ------
    OMEZarrError
        It cannot be understood, or could not be read.
    """
    rows, columns = table.shape()
    kind = table_in_words(table.attributes)
    size = f"{counted(rows, 'row')}, {counted(columns, 'column')}"
    return f"{kind}, {size}, {table.backend}"


def tables_in_words(location: Location, names: tuple[str, ...]) -> Iterator[str]:
    """Say what each of the tables beside an image is; blocks."""
    for name in names:
        try:
            table = named_table(location, name)
            said = in_words(table) if table else "it is listed, but it is not there"
        except OMEZarrError as error:
            said = str(error)
        yield f"{name}: {said}"


# One about labels, by its address.

_LABEL_COLUMNS = (
    "label_id",  # MoBIE
    "label_image_id",  # ilastik, older MoBIE
    "label",  # scikit-image
    "label_value",
    "label-value",
    "object_id",
    "objectnumber",  # CellProfiler
    "instance_id",
    "instance_key",
    "cell_id",
    "nucleus_id",
    "index",
    "id",
)
"""Names of the column of label values, the surest first; case does not count."""


@dataclass(frozen=True, slots=True)
class LabelTable:
    """A table, row by row about label values."""

    columns: Mapping[str, np.ndarray]
    """By their names, in order: arrays of whole numbers, numbers, or text."""
    label_column: str
    """The one that says which label a row is about; ``""`` if none was found."""
    candidates: tuple[str, ...]
    """The columns that could be it: those of whole numbers."""

    def features(self, label_column: str = "") -> dict[str, np.ndarray]:
        """Give the columns as napari takes them: ``index`` is the label value.

        The label column may be another than the one that was found.

        Raises
        ------
        OptionError
            There is no such column, or it holds no whole numbers.
        """
        name = label_column or self.label_column
        if name not in self.candidates:
            listed = ", ".join(self.candidates) or "none"
            sentence = f"{name or 'No column'} does not say which label a row is about."
            action = f"Choose the column of the labels; possible: {listed}."
            raise OptionError(sentence, action=action)
        others = {key: column for key, column in self.columns.items() if key != name}
        others.pop("index", None)
        return {"index": self.columns[name], **others}


@guarded
def read_table(location: Location) -> LabelTable:
    """Read a table: ``*.tsv``, ``*.csv``, ``*.parquet``, or a group of zarr; blocks.

    Raises
    ------
    UnsupportedDataError
        It is of no such kind, or Parquet without pyarrow.
    MetadataError
        It cannot be read as what its name says.
    NodeNotFoundError
        It is not there.
    StoreError
        It could not be read.
    """
    found = open_table(location).read()
    return _table(dict(found.columns), found.key)


def _table(columns: dict[str, np.ndarray], key: str) -> LabelTable:
    numbers = {name: whole(column) for name, column in columns.items()}
    candidates = tuple(name for name, column in numbers.items() if column is not None)
    by_name = {name.strip().lower(): name for name in reversed(candidates)}
    found = (by_name[name] for name in _LABEL_COLUMNS if name in by_name)
    known = dict(columns)
    for name, column in numbers.items():
        if column is not None:
            known[name] = column.astype(np.int64)
    first = key if key in candidates else next(found, "")
    return LabelTable(known, first, candidates)


# The rows of a browser: what lies at a place, and its children by their metadata.

TIMES = "\N{MULTIPLICATION SIGN}"
_STORES = (".zarr", ".ozx", ".zarr.zip")

CHILD_KEYS = (*group_keys("labels"), *TABLE_KEYS)
"""What tells of the children of an image, to be asked for together with it."""

_USUAL_LEVEL = "0"
"""What most images call their finest level; it tells how large the image is."""

_NUMBERED = 8
"""How many numbered images are asked for together where nothing lists them."""


class EntryKind(StrEnum):
    """What an entry is; a folder may turn out to be any of the others."""

    BUCKET = "bucket"
    FOLDER = "folder"
    ARCHIVE = "archive"
    FILE = "file"
    GROUP = "group"
    IMAGE = "image"
    LEVELS = "levels"
    LABELS = "labels"
    LABEL = "label image"
    PLATE = "plate"
    WELL = "well"
    SERIES = "series"
    SCENE = "scene"
    ARRAY = "array"
    TABLES = "tables"
    TABLE = "table"


_LEAVES = frozenset({EntryKind.FILE, EntryKind.ARRAY, EntryKind.TABLE})
_LISTED = frozenset(
    {EntryKind.BUCKET, EntryKind.FOLDER, EntryKind.ARCHIVE, EntryKind.GROUP}
)
_OPENABLE = frozenset(EntryKind) - {
    EntryKind.BUCKET,
    EntryKind.FOLDER,
    EntryKind.FILE,
    EntryKind.GROUP,
    EntryKind.TABLES,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies at a place; small, as there may be a hundred thousand of them."""

    parent: Location
    """The place it was found in."""
    path: str
    """Its path from there; ``""`` if it is that place."""
    kind: EntryKind = EntryKind.FOLDER
    """What it is, or what its name makes one expect until it is recognised."""
    recognised: bool = False
    """Whether somebody looked: `kind` is then sure."""
    summary: str = ""
    """A few words for the row, like ``z236 275 x 271`` or ``8 x 12, 3 fields``."""
    version: str = ""
    """The OME-Zarr version, ``""`` if it has none."""
    label: str = ""
    """What to call it instead of the last part of its path."""
    size: int | None = None
    """Bytes of an object."""
    modified: str = ""
    """When the object was written (ISO 8601, UTC)."""
    problem: str = ""
    """Why it could not be looked at: a sentence."""

    @property
    def location(self) -> Location:
        """Where it is."""
        return self.parent / self.path if self.path else self.parent

    @property
    def name(self) -> str:
        """What to call it in its row."""
        return self.label or self.path.rpartition("/")[2] or self.parent.name

    @property
    def is_leaf(self) -> bool:
        """Whether it never has children."""
        return self.kind in _LEAVES

    @property
    def is_listed(self) -> bool:
        """Whether its children are found by listing, and not in its metadata."""
        return self.kind in _LISTED

    @property
    def is_openable(self) -> bool:
        """Whether it is something that can be shown as layers."""
        return self.kind in _OPENABLE and (
            self.recognised or self.kind != EntryKind.ARCHIVE
        )

    @property
    def looks_like_store(self) -> bool:
        """Whether its name says that it is a Zarr; for an icon before it is known."""
        return (self.path or self.parent.name).lower().endswith(_STORES)


def size_text(names: Iterable[str], shape: tuple[int, ...]) -> str:
    """Say axes with their sizes in pixels: ``c2 z236 275 x 271``.

    Without a shape, ``()``, only the names are given.
    """
    every = tuple(names)
    if len(every) != len(shape):
        return " ".join(every) or TIMES.join(map(str, shape))
    words = [f"{n}{size}" for n, size in zip(every, shape, strict=True)]
    if every[-2:] == ("y", "x"):
        words[-2:] = [f"{shape[-2]}{TIMES}{shape[-1]}"]
    return " ".join(words)


# What a place is, from the answers to one round of questions.


def probe_keys(path: str) -> tuple[str, ...]:
    """Give the keys to ask for, in one round, to know what lies at a path."""
    level = join_path(path, _USUAL_LEVEL)
    return (
        *group_keys(path),
        array_key(path, 2),
        array_key(level, 3),
        array_key(level, 2),
    )


def recognise(entry: Entry, path: str, answers: Answers) -> Entry:
    """Say what an entry is, by the answers to ``probe_keys`` of its path in a store."""
    try:
        found = found_node(path, answers)
        if found is None:
            return replace(entry, recognised=True)
        if isinstance(found, ArrayNode):
            return _array(entry, found)
        document = parse_document(found.attributes, zarr_format=found.zarr_format)
    except OMEZarrError as error:
        return replace(entry, problem=str(error))
    kind, summary = _described(document, path, answers, found.zarr_format)
    if kind is EntryKind.GROUP:
        kind, summary = _of_tables(found)
    if kind is EntryKind.IMAGE and entry.kind is EntryKind.LABEL:
        kind = EntryKind.LABEL
    return replace(
        entry,
        kind=kind,
        recognised=True,
        summary=summary,
        version=document.version or "",
    )


def found_node(path: str, answers: Answers) -> Node | None:
    """Give the node that the answers to ``probe_keys`` show, if there is one.

    Raises
    ------
    StoreError
        Nothing answered, and one question failed.
    MetadataError
        A document is not a JSON object.
    """
    found = parse_node(path, answers)
    body = answers[array_key(path, 2)]
    # The attributes of a zarr 2 array lie in .zattrs, as those of a group do.
    if isinstance(body, bytes) and not _says_much(found):
        return ArrayNode(
            path, 2, json_object(body), {} if found is None else found.attributes
        )
    return found


def _says_much(found: Node | None) -> bool:
    if found is None:
        return False
    if found.zarr_format == 3:
        return True
    return parse_document(found.attributes, zarr_format=2).kind is not None


def _array(entry: Entry, found: ArrayNode) -> Entry:
    shape = _shape(found.document)
    names = found.document.get("dimension_names")
    names = names if isinstance(names, list) and all(names) else ()
    dtype = found.document.get("data_type") or found.document.get("dtype")
    words = [size_text(names, shape), dtype if isinstance(dtype, str) else ""]
    summary = " ".join(word for word in words if word)
    return replace(entry, kind=EntryKind.ARRAY, recognised=True, summary=summary)


def _described(
    document: Document, path: str, answers: Answers, zarr_format: int
) -> tuple[EntryKind, str]:
    summary = ""
    match document.kind:
        case Image(multiscales=multiscales):
            first = multiscales[0]
            kind = EntryKind.IMAGE if first.label is None else EntryKind.LABEL
            summary = _image_text(first, path, answers, zarr_format)
        case Labels(paths=paths):
            kind, summary = EntryKind.LABELS, str(len(paths))
        case Plate() as plate:
            kind, summary = EntryKind.PLATE, _plate_text(plate)
        case Well(images=images):
            kind, summary = EntryKind.WELL, counted(len(images), "field")
        case Series(paths=paths):
            kind = EntryKind.SERIES
            summary = counted(len(paths), "image") if paths else ""
        case Scene(images=placed):
            kind, summary = EntryKind.SCENE, counted(len(placed), "image")
        case _:
            kind = EntryKind.GROUP
    return kind, summary


def _of_tables(group: GroupNode) -> tuple[EntryKind, str]:
    """Say whether a group that is no OME-Zarr is a table, or lists some."""
    if words := table_in_words(group.attributes):
        return EntryKind.TABLE, words
    if names := listed_tables(group):
        return EntryKind.TABLES, str(len(names))
    return EntryKind.GROUP, ""


def _image_text(
    multiscale: Multiscale, path: str, answers: Answers, zarr_format: int
) -> str:
    names = [axis.name for axis in multiscale.axes]
    shape: tuple[int, ...] = ()
    if multiscale.datasets[0].path.strip("/") == _USUAL_LEVEL:
        body = answers.get(array_key(join_path(path, _USUAL_LEVEL), zarr_format))
        shape = _shape(json_object(body))
    return size_text(names, shape)


def _plate_text(plate: Plate) -> str:
    fields = plate.field_count
    size = f"{len(plate.rows)}{TIMES}{len(plate.columns)}"
    return f"{size}, {counted(fields, 'field')}" if fields else size


def _shape(document: Any) -> tuple[int, ...]:
    shape = document.get("shape")
    usable = isinstance(shape, list) and all(isinstance(size, int) for size in shape)
    return tuple(shape) if usable else ()


def json_object(body: object) -> dict[str, Any]:
    """Parse an answer that is a JSON object; anything else is an empty one."""
    try:
        document = load_json(body, shortened=True) if isinstance(body, bytes) else None
    except DocumentError:
        document = None
    return document if isinstance(document, dict) else {}


# The children of a node, from its metadata: what a browser shows below an image.


def children(
    here: Entry, group: GroupNode, store: RemoteStore, answers: Answers
) -> Questions[list[Entry]]:
    """Find the children of a group that is OME-Zarr and the root of a store.

    With `EntryKind.LEVELS` these are the levels of an image. The answers are those to
    `CHILD_KEYS`. Only a series asks for more, as its list lies in another document.
    """
    kind = parse_document(group.attributes, zarr_format=group.zarr_format).kind
    if isinstance(kind, Series):
        return (yield from _series(here.location, group, store))
    place, (paths, child) = here.location, _listed(kind)
    if kind is None and (names := listed_tables(group)):
        return [Entry(place, name, EntryKind.TABLE) for name in names]
    beside = tables_beside(answers, group.zarr_format)
    tables = [Entry(place, GROUP, EntryKind.TABLES, True, str(len(beside)))]
    if isinstance(kind, Image) and here.kind is not EntryKind.LEVELS:
        found = _of_image(place, kind, group, answers)
    else:
        found = [Entry(place, join_path(path), child, label=path) for path in paths]
    is_shown = beside and here.kind is not EntryKind.LEVELS
    return [*found, *tables] if is_shown else found


def _listed(kind: Meaning | None) -> tuple[list[str], EntryKind]:
    """Give the paths of the children that a document lists, and what they are."""
    match kind:
        case Image(multiscales=multiscales):
            return [d.path for m in multiscales for d in m.datasets], EntryKind.ARRAY
        case Labels(paths=paths):
            return list(paths), EntryKind.LABEL
        case Plate(wells=wells):
            return [well.path for well in wells], EntryKind.WELL
        case Well() | Scene():
            return [image.path for image in kind.images], EntryKind.IMAGE
    return [], EntryKind.GROUP


def _of_image(
    place: Location, image: Image, group: GroupNode, answers: Answers
) -> list[Entry]:
    count = sum(len(multiscale.datasets) for multiscale in image.multiscales)
    found = [Entry(place, "", EntryKind.LEVELS, True, str(count), label="levels")]
    try:
        labels = parse_node("labels", answers, group.zarr_format)
        if not isinstance(labels, GroupNode):
            return found
        kind = parse_document(labels.attributes, zarr_format=labels.zarr_format).kind
    except OMEZarrError as error:
        return [*found, Entry(place, "labels", EntryKind.LABELS, problem=str(error))]
    if isinstance(kind, Labels):
        count = len(kind.paths)
        found.append(Entry(place, "labels", EntryKind.LABELS, True, str(count)))
    return found


def _series(
    place: Location, group: GroupNode, store: RemoteStore
) -> Questions[list[Entry]]:
    opening = Opening(place, store, ReadOptions())
    paths, names = yield from listed_images(opening, group)
    if not paths:
        paths = yield from _numbered(group.zarr_format)
    named = dict(zip(paths, names, strict=False))
    labels = (f"{path} · {named[path]}" if named.get(path) else "" for path in paths)
    return [
        Entry(place, path, EntryKind.IMAGE, label=label)
        for path, label in zip(paths, labels, strict=True)
    ]


def _numbered(zarr_format: int) -> Questions[tuple[str, ...]]:
    """Find the images that are called 0, 1, 2, … where nothing lists them."""
    found: list[str] = []
    while True:
        paths = [str(len(found) + number) for number in range(_NUMBERED)]
        keys = {path: group_keys(path, zarr_format) for path in paths}
        answers = yield from ask(key for several in keys.values() for key in several)
        there = [
            path
            for path, several in keys.items()
            if any(isinstance(answers[key], bytes) for key in several)
        ]
        found += there
        if len(there) < _NUMBERED:
            return tuple(found)
