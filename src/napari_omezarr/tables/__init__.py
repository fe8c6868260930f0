"""Tables beside images: what ngio, fractal and spatialdata write, read and written."""

from .annotated import feature_objects, feature_table, geometry_objects, is_own_table
from .files import csv_bytes, parse_file
from .geometry import (
    GEOMETRY,
    LOOKS,
    Geometry,
    GeometryKind,
    geometry_of,
    joined,
    shapes_of,
)
from .stored import (
    GROUP,
    TABLE_RECORD,
    UNREAD,
    FeatureSource,
    StoredTable,
    feature_source,
    is_table_name,
    named_table,
    open_table,
    stored_tables,
    table_in_words,
)
from .table import FEATURES, Table, column_of, table_of, whole
from .wells import by_well, unit_of

__all__ = [
    "FEATURES",
    "GEOMETRY",
    "GROUP",
    "LOOKS",
    "TABLE_RECORD",
    "UNREAD",
    "FeatureSource",
    "Geometry",
    "GeometryKind",
    "StoredTable",
    "Table",
    "by_well",
    "column_of",
    "csv_bytes",
    "feature_objects",
    "feature_source",
    "feature_table",
    "geometry_objects",
    "geometry_of",
    "is_own_table",
    "is_table_name",
    "joined",
    "named_table",
    "open_table",
    "parse_file",
    "shapes_of",
    "stored_tables",
    "table_in_words",
    "table_of",
    "unit_of",
    "whole",
]
