"""Features of labels as tables beside them; in the metadata are only few."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from napari_omezarr.tables import (
    GROUP,
    FeatureSource,
    Geometry,
    Table,
    feature_objects,
    feature_table,
    geometry_objects,
    is_table_name,
)

from .encode import ZarrDocument, group_documents, zarr_format
from .hierarchy import is_document, root_keys
from .rendering import INDEX, NAPARI, folder_name, label_columns, label_properties

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .hierarchy import Hierarchy
    from .image_spec import ImageSpec
    from .options import Version

MOST_ROWS = 256
"""More are a table: the metadata are read by everybody who opens the image."""
MOST_VALUES = 4096
TABLE = "table"
"""Our key in the metadata of labels: the name of their table."""


def known_of_labels(*tables: Any) -> tuple[dict[int, dict[str, Any]], Table | None]:
    """Give what is known of label values: in JSON, or as a table if that is much.

    The first of the tables that has a column counts.
    """
    columns = label_columns(*tables)
    count = max(map(len, columns.values()), default=0)
    if count <= MOST_ROWS and count * len(columns) <= MOST_VALUES:
        return label_properties(columns), None
    index = columns.pop(INDEX, None)
    values = range(count) if index is None else [int(value) for value in index]
    return {}, feature_table(columns, values)


def named_by_labels(attributes: Mapping[str, Any]) -> str:
    """Give the table that labels name in their attributes; ``""`` if none."""
    state = attributes.get(NAPARI)
    held = state.get("labels") if isinstance(state, Mapping) else None
    name = held.get(TABLE) if isinstance(held, Mapping) else None
    return str(name) if is_table_name(name) else ""


@dataclass(frozen=True)  # no slots: what is computed is kept
class TablePlan:
    """A table that is written beside an image, or its labels.

    Attributes
    ----------
    image : str
        The path of the group that holds ``tables``.
    name : str
        What it will be called there.
    label : str
        What the labels are called; ``""`` if they lie in no image.
    version : str
        Of OME-Zarr.
    table : Table, FeatureSource or Geometry
        The features, or where they are to be read, once that is needed; or places.
    """

    image: str
    name: str
    label: str
    version: Version
    table: Table | FeatureSource | Geometry

    @property
    def is_known(self) -> bool:
        """Whether it is here, and need not be read."""
        return not isinstance(self.table, FeatureSource)

    @property
    def folder(self) -> str:
        """The path of its group."""
        return f"{self.image}/{GROUP}/{self.name}".lstrip("/")

    @cached_property
    def objects(self) -> dict[str, bytes]:
        """What is stored, by keys in the hierarchy; nothing where there is no table.

        Raises
        ------
        MetadataError, StoreError
            It had to be read, and that failed.
        """
        table, number = self.table, zarr_format(self.version)
        if isinstance(table, Geometry):
            made = geometry_objects(table, number)
            return {f"{self.folder}/{key}": body for key, body in made.items()}
        if isinstance(table, FeatureSource):
            stored = table.find(others=False)
            if stored is None:
                return {}
            found = stored.read()
            features = found.features()
            table = feature_table(features, features.pop(INDEX))
        made = feature_objects(table, number, self.label)
        return {f"{self.folder}/{key}": body for key, body in made.items()}

    @property
    def documents(self) -> list[ZarrDocument]:
        """The documents among them."""
        return [
            ZarrDocument(key, json.loads(body))
            for key, body in self.objects.items()
            if is_document(key)
        ]

    def put(self, hierarchy: Hierarchy) -> None:
        """Write it, the document of its group last."""
        last = [key for key in root_keys(self.folder) if key in self.objects]
        inner = [key for key in self.objects if key not in last]
        documents = [key for key in inner if is_document(key)]
        chunks = [key for key in inner if not is_document(key)]
        steps = [chunks, documents, *([key] for key in last)]
        if hierarchy.needs_arrays_first:
            steps = [*([key] for key in (*last, *documents)), chunks]
        for keys in steps:
            for done in [hierarchy.begin_put(key, self.objects[key]) for key in keys]:
                done.result()


def plan_features(spec: ImageSpec, path: str, version: Version) -> TablePlan | None:
    """Decide which table is written beside labels; None where none is."""
    table = spec.label.table if spec.label else None
    if table is None:
        return None
    *above, last = path.split("/")
    inside = bool(above) and above[-1] == "labels"
    label = last if inside else ""
    image = "/".join(above[:-1]) if inside else path
    name = f"{label or folder_name(spec.name, ())}_features"
    return TablePlan(image, name, label, version, table)


def lists_of_tables(plans: Sequence[TablePlan], version: Version) -> list[ZarrDocument]:
    """Give the documents of the groups that list these tables."""
    names: dict[str, list[str]] = {}
    for each in plans:
        if each.objects:
            names.setdefault(each.image, []).append(each.name)
    return [
        document
        for image, held in names.items()
        for document in group_documents(
            f"{image}/{GROUP}".lstrip("/"), {GROUP: held}, version
        )
    ]
