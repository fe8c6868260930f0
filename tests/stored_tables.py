"""Tables beside images: as we write them, and as ngio does."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from napari_omezarr.location import Location
from napari_omezarr.tables import csv_bytes, feature_objects, table_of


def put_table(folder, table, zarr_format=3, label="cells", name="cells_features"):
    """Put a table beside an image as we write it, and list it."""
    objects = feature_objects(table, zarr_format, label)
    listed = {"tables": [name]}
    if zarr_format == 3:
        group = {"zarr_format": 3, "node_type": "group", "attributes": listed}
        objects_above = {"zarr.json": group}
    else:
        objects_above = {".zgroup": {"zarr_format": 2}, ".zattrs": listed}
    for key, content in objects_above.items():
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        (folder / "tables" / key).write_text(json.dumps(content))
    for key, body in objects.items():
        file = folder / "tables" / name / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    return Location.parse(folder)


def put_group(folder, attributes, zarr_format=2):
    folder.mkdir(parents=True, exist_ok=True)
    if zarr_format == 2:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(attributes))
        return
    content = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    (folder / "zarr.json").write_text(json.dumps(content))


def parquet(**columns):
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), stream)
    return stream.getvalue()


def put_by_ngio(folder, backend, zarr_format=2):
    """A table of features of ngio's in one of its backends (specification V1)."""
    put_group(folder / "tables", {"tables": ["measured"]}, zarr_format)
    place = folder / "tables" / "measured"
    said = {"type": "feature_table", "table_version": "1", "backend": backend}
    said |= {"region": {"path": "../labels/nuclei"}, "index_key": "label"}
    put_group(place, {**said, "index_type": "int"}, zarr_format)
    columns = {"label": [4, 2], "area": [1.5, 2.5], "kind": ["a", "b"]}
    if backend == "csv":
        (place / "table.csv").write_bytes(csv_bytes(table_of(columns).columns))
    elif backend == "parquet":
        (place / "table.parquet").write_bytes(parquet(**columns))
    else:
        by_row = {n: dict(enumerate(values)) for n, values in columns.items()}
        put_group(place / "table", by_row, zarr_format)
    return Location.parse(folder)


def put_regions(folder, names, boxes, kind="roi_table"):
    """Write a table of ngio's; a box is y, x and their lengths in micrometers."""
    put_group(folder / "tables", {"tables": ["FOV_ROI_table"]}, 3)
    said = {"type": kind, "table_version": "1", "backend": "csv"}
    said |= {"index_key": "FieldIndex", "index_type": "str"}
    put_group(folder / "tables" / "FOV_ROI_table", said, 3)
    y, x, height, width = np.array(boxes, float).T
    columns = {"FieldIndex": names, "x_micrometer": x, "y_micrometer": y}
    columns |= {"z_micrometer": np.zeros(len(y)), "len_x_micrometer": width}
    columns |= {"len_y_micrometer": height, "len_z_micrometer": np.ones(len(y))}
    body = csv_bytes(table_of(columns).columns)
    (folder / "tables" / "FOV_ROI_table" / "table.csv").write_bytes(body)
