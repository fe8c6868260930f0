"""The tables of a place: which there are, what each is about, and their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from napari_omezarr._io_loop import run
from napari_omezarr.errors import (
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    StoreError,
    UnsupportedDataError,
)
from napari_omezarr.location import Location, is_below
from napari_omezarr.store import open_lister, open_store

from .annotated import AnnotatedTable, region_name, regions_of_table
from .geometry import ENCODINGS, GEOMETRY, read_spatial, table_of_geometry
from .table import (
    FEATURES,
    LABEL,
    PARQUET,
    TEXT,
    Table,
    TableDocuments,
    TableNode,
    below,
    check_ending,
    column_of,
    parse_file,
    whole,
)

GROUP: Final = "tables"
"""The group beside an image, in a well, a plate or a spatialdata, that holds them."""
_MOST_TABLES = 256
_SPATIAL = "spatialdata"
_FILES = {"csv": "table.csv", "parquet": "table.parquet"}


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table where it is stored; its values are read when they are asked for."""

    location: Location
    """Its group, or its file."""
    name: str
    """What it is called."""
    kind: str
    """As ngio names them: ``feature_table``, ``roi_table``, ``masking_roi_table``,
    ``condition_table``, ``generic_table``."""
    backend: str
    """How it is stored: ``anndata``, ``csv``, ``parquet`` or ``json``."""
    label: str = ""
    """The label image that its rows are about; ``""`` if none, or if there are several
    and none of them is chosen."""
    key: str = ""
    """The column that says what a row is about."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """All that is said with it."""
    regions: tuple[str, ...] = ()
    """All label images that its rows are about."""
    node: TableNode = field(default=TableNode("", 3, {}), repr=False)
    documents: TableDocuments | None = field(default=None, repr=False, compare=False)

    def size(self) -> int:
        """Ask about how many bytes the values take; 0 where only reading tells."""
        return self._annotated().size if self.backend == "anndata" else 0

    def shape(self) -> tuple[int, int]:
        """Ask for the number of rows and columns; blocks."""
        if self.backend != "anndata":
            table = self.read()
            return table.rows, len(table.columns)
        found = self._annotated()
        said = found.names.count(str(self.attributes.get("region_key")))
        said = said if len(self.regions) < 2 else 0
        return found.rows, len(found.names) + found.width - said

    def read(self) -> Table:
        """Read all of it, or the rows about `label` where there are others; blocks.

        Raises
        ------
        MetadataError, UnsupportedDataError, DamagedDataError
            It cannot be understood; Parquet needs pyarrow.
        StoreError
            It could not be read.
        """
        if self.backend == "anndata":
            table = self._annotated().read()
        elif self.backend == _SPATIAL:
            return table_of_geometry(read_spatial(self._documents(), self.node))
        else:
            columns = self._of_file() if self.backend == "file" else self._columns()
            table = Table(columns, attributes=self.attributes)
        columns = self._about_label(dict(table.columns))
        if self.key in columns and self.attributes.get("index_type") != "str":
            numbers = whole(columns[self.key])
            if numbers is not None:  # ngio stores them as text
                columns[self.key] = numbers
        key = self.key if self.key in columns else ""
        return replace(table, columns=columns, key=key)

    def _about_label(self, columns: dict[str, Any]) -> dict[str, Any]:
        """Take the rows of one region of several, where one is chosen."""
        if len(self.regions) < 2 or not self.label:
            return columns
        region_key = str(self.attributes.get("region_key"))
        if region_key not in columns:
            sentence = "This table does not say which rows are about which labels"
            raise MetadataError(sentence, url=self.location.display)
        regions = columns.pop(region_key)
        mine = np.array([region_name(each) == self.label for each in regions], bool)
        return {name: column[mine] for name, column in columns.items()}

    def _annotated(self) -> AnnotatedTable:
        return AnnotatedTable(self._documents(), self.node)

    def _documents(self) -> TableDocuments:
        return self.documents or TableDocuments(open_store(self.location))

    def _columns(self) -> dict[str, Any]:
        documents = self._documents()
        address = self.location.display
        if self.backend == "json":
            path = below(self.node.path, "table")
            (found,) = documents.look([path], self.node.zarr_format)
            return _json_columns(found, address)
        if self.backend not in _FILES:
            sentence = f"{address} is stored as {self.backend}, which is not known."
            raise UnsupportedDataError(sentence, url=address)
        name = _FILES[self.backend]
        body = _body(documents, below(self.node.path, name))
        if body is None:
            raise NodeNotFoundError(f"There is no {name} in {address}.", url=address)
        return parse_file(name.rpartition(".")[2], body, f"{address}/{name}")

    def _of_file(self) -> dict[str, Any]:
        ending = self.name.lower().rpartition(".")[2]
        check_ending(ending, self.location.display)
        body = _body(self._documents(), "")
        if body is None:
            sentence = f"There is no {self.location.display}."
            raise NodeNotFoundError(sentence, url=self.location.display)
        return parse_file(ending, body, self.location.display)


def _body(documents: TableDocuments, key: str) -> bytes | None:
    body = documents.store.fetch([key])[key]
    if isinstance(body, StoreError):
        raise body
    return body


def _json_columns(node: TableNode | None, address: str) -> dict[str, Any]:
    """Read the columns of pandas' ``to_dict``: by row, or listed."""
    if node is None:
        raise NodeNotFoundError(f"There is no table in {address}.", url=address)
    listed = {
        name: list(column.values()) if isinstance(column, Mapping) else column
        for name, column in node.attributes.items()
    }
    if not all(isinstance(column, list) for column in listed.values()):
        raise MetadataError("This is no table of columns", url=address)
    columns = {name: column_of(column) for name, column in listed.items()}
    if len({len(column) for column in columns.values()}) > 1:
        raise MetadataError("The columns of this table differ in length", url=address)
    return columns


# Which tables there are.


def stored_tables(
    location: Location, names: Sequence[str] | None = None
) -> tuple[StoredTable, ...]:
    """Find the tables beside an image, in a well, a plate or a spatialdata; blocks.

    That is one round where their list is stored, as ngio does, unless their `names`
    are known; and one more for what each is about. What is listed and is no table is
    left out.

    Raises
    ------
    MetadataError, StoreError
        The list cannot be understood, or could not be read.
    """
    documents = TableDocuments(open_store(location))
    zarr_format = None
    if names is None:
        (group,) = documents.look([GROUP])
        if group is None:
            return ()
        names = group.attributes.get("tables")
        if not isinstance(names, list):
            names = _listed(location / GROUP)
        zarr_format = group.zarr_format
    named = [name for name in names[:_MOST_TABLES] if is_table_name(name)]
    return tuple(_stored(documents, location, named, zarr_format))


def named_table(location: Location, name: str) -> StoredTable | None:
    """Find one of the tables beside an image by its name; None if it is not there.

    Raises
    ------
    MetadataError, StoreError
        It cannot be understood, or could not be read.
    """
    if not is_table_name(name):
        return None
    documents = TableDocuments(open_store(location))
    return next(iter(_stored(documents, location, [name], None)), None)


def open_table(location: Location) -> StoredTable:
    """Find a table by its own address: a group, or a CSV, TSV or Parquet file; blocks.

    Raises
    ------
    NodeNotFoundError
        It is not there.
    UnsupportedDataError
        It is no table that is known.
    MetadataError, StoreError
        It cannot be understood, or could not be read.
    """
    ending = location.name.lower().rpartition(".")[2]
    if ending in TEXT | PARQUET:
        return StoredTable(location, location.name, "", "file")
    documents = TableDocuments(open_store(location))
    (root,) = documents.look([""])
    if root is None or root.array is not None:
        if "." in location.name and ending not in ("zarr", "ozx", "zip"):
            check_ending(ending, location.display)
        sentence = f"There is no table at {location.display}."
        action = "Give the group of a table, or a .csv, .tsv or .parquet file."
        raise NodeNotFoundError(sentence, action=action, url=location.display)
    found = _of_node(location, location.name, root, documents)
    if found is None:
        sentence = f"{location.display} is no table that is known here."
        raise UnsupportedDataError(sentence, url=location.display)
    return found


def is_table_name(name: Any) -> bool:
    """Whether it names a group directly below."""
    return isinstance(name, str) and bool(name) and "/" not in name and is_below(name)


def _listed(group: Location) -> list[str]:
    try:
        page = run(open_lister(group).page(size=_MOST_TABLES))
    except OMEZarrError:  # may not be listed; then there are none that we know of
        return []
    return [item.name for item in page.items if item.is_folder]


def _stored(
    documents: TableDocuments,
    location: Location,
    names: list[str],
    zarr_format: int | None,
) -> list[StoredTable]:
    nodes = documents.look((below(GROUP, name) for name in names), zarr_format)
    found = (
        _of_node(location / GROUP / name, name, node, documents)
        for name, node in zip(names, nodes, strict=True)
        if node is not None
    )
    return [table for table in found if table is not None]


def _of_node(
    location: Location, name: str, node: TableNode, documents: TableDocuments | None
) -> StoredTable | None:
    """Say what a table is about, from the attributes of its group; None if none."""
    said = node.attributes
    if said.get("encoding-type") in ENCODINGS:
        places = ENCODINGS[str(said["encoding-type"])]
        return StoredTable(
            location, name, places, _SPATIAL, "", "", said, (), node, documents
        )
    annotated = said.get("encoding-type") == "anndata"
    backend = said.get("backend") or ("anndata" if annotated else None)
    if not isinstance(backend, str):
        return None
    if backend.startswith("anndata"):  # "anndata_v1" of older versions
        backend = "anndata"
    kind = said.get("type")
    own = said.get(GEOMETRY)
    if isinstance(own, Mapping) and own.get("kind") in _PLACES:
        kind = own["kind"]
    regions = regions_of_table(said)
    label = regions[0] if len(regions) == 1 else ""
    if kind == "ngff:region_table" or (not kind and regions):
        kind = FEATURES
    key = said.get("index_key") or said.get("instance_key")
    if not isinstance(key, str):
        key = LABEL if kind in (FEATURES, "masking_roi_table") else ""
    kind = kind if isinstance(kind, str) else "generic_table"
    about = label, key, said, regions
    return StoredTable(location, name, kind, backend, *about, node, documents)


_PLACES = ("points", "shapes", "tracks")
_IN_WORDS = {
    FEATURES: "features",
    "roi_table": "regions of interest",
    "masking_roi_table": "regions of interest",
    "condition_table": "conditions",
    "generic_table": "table",
}


def table_in_words(attributes: Mapping[str, Any]) -> str:
    """Say what kind of table has these attributes; ``""`` if it is no table."""
    node = TableNode("", 3, attributes)
    found = _of_node(Location("file", "", ""), "", node, None)
    if found is None:
        return ""
    kind = _IN_WORDS.get(found.kind, found.kind.replace("_", " "))
    about = ", ".join(found.regions[:_MOST_NAMED])
    more = len(found.regions) - _MOST_NAMED
    about += f" and {more} more" if more > 0 else ""
    return f"{kind} of {about}" if about else kind


_MOST_NAMED = 4


# The features of a label image.

TABLE_RECORD = "omezarr_table"
"""Where a layer of a table says, in its metadata, the address of that."""
UNREAD = "table"
"""Where a layer says, beside its address, which table of features it has not read."""


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """Where the features of a label image may lie; nothing was asked yet."""

    image: Location
    """The image that the labels belong to: its tables are theirs."""
    label: str
    """The labels' name in it."""
    named: str = ""
    """The table that the labels themselves name; ``""`` if none."""
    tables: tuple[str, ...] | None = None
    """All tables beside the image; None where they are not known yet."""

    def find(self, *, others: bool = True) -> StoredTable | None:
        """Find the table; blocks. With ``others`` one that only it says so of, too.

        Raises
        ------
        MetadataError, StoreError
            What is there cannot be understood, or could not be read.
        """
        if self.named:
            found = named_table(self.image, self.named)
            if found is not None or not others:
                return found
        return next(iter(self.others()), None) if others else None

    def others(self) -> tuple[StoredTable, ...]:
        """Find all tables that say of themselves that they are about these labels.

        Raises
        ------
        MetadataError, StoreError
            The list cannot be understood, or could not be read.
        """
        found = stored_tables(self.image, self.tables)
        return tuple(
            replace(t, label=self.label)
            for t in found
            if t.kind == FEATURES and self.label in (t.label, *t.regions)
        )


def feature_source(
    labels: Location, named: Any = "", tables: tuple[str, ...] | None = None
) -> FeatureSource:
    """Say where the features of a label image are, by its address; asks nothing."""
    name = named if is_table_name(named) else ""
    if labels.parent.name == "labels":
        return FeatureSource(labels.parent.parent, labels.name, name, tables)
    return FeatureSource(labels, "", name)
