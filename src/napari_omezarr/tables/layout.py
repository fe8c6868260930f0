"""How tables are written: the layout of ngio, which spatialdata reads, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .annotated import ORDER, encode
from .geometry import Geometry, table_of_geometry
from .stored import FEATURES
from .table import LABEL, Table, free_name, table_of

_SPATIALDATA = {2: "0.1", 3: "0.2"}
"""Which version of spatialdata's layout has which zarr format."""


def feature_table(columns: Mapping[str, Any], index: Any) -> Table:
    """Make a table of features of labels: ``index`` are the label values."""
    others = {str(name): column for name, column in columns.items()}
    key = free_name(LABEL, others)
    return table_of({key: index, **others}, key)


def is_own_table(attributes: Mapping[str, Any], label: str) -> bool:
    """Whether a group's attributes are those that we give to features of labels."""
    region = attributes.get("region")
    path = region.get("path") if isinstance(region, Mapping) else None
    return ORDER in attributes and path == _region(label)


def _region(label: str) -> str:
    return f"../labels/{label}" if label else ".."


def geometry_objects(geometry: Geometry, zarr_format: int) -> dict[str, bytes]:
    """Give the objects of a table of places, by their keys in its group."""
    table = table_of_geometry(geometry)
    attributes = {
        "type": "generic_table",
        "table_version": "1",
        "backend": "anndata",
        **table.attributes,
    }
    return encode(table, zarr_format, attributes)


def feature_objects(table: Table, zarr_format: int, label: str) -> dict[str, bytes]:
    """Give the objects of a table of features, by their keys in its group.

    ``label`` is the name of the label image in the group beside; ``""``: the table is
    in the label image itself.
    """
    region_key = free_name("region", table.columns)
    attributes = {
        "type": FEATURES,
        "table_version": "1",
        "region": {"path": _region(label)},
        "backend": "anndata",
        "index_key": table.key,
        "index_type": "int",
        "instance_key": table.key,
        "region_key": region_key,
        "spatialdata-encoding-type": "ngff:regions_table",
        "version": _SPATIALDATA[zarr_format],
    }
    return encode(table, zarr_format, attributes, label or LABEL)
