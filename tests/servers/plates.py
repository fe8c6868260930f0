"""A plate of any size that is served from a rule: no file is ever written."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from servers.wire import Answer, Request, WireServer

if TYPE_CHECKING:
    from collections.abc import Collection

LEVELS = 3
_KEY = re.compile(
    r"/plate\.zarr/(?P<well>[A-Z]+/\d+)(/(?P<field>\d+)(/(?P<level>\d))?)?"
    r"/(zarr\.json|(?P<chunk>c/0/0))"
)


class PlateServer(WireServer):
    """Serve a plate (0.5) whose wells and fields are all alike but for their pixels.

    Parameters
    ----------
    rows, columns : int
        Of the plate; every well is listed.
    fields, acquisitions : int
        In each well, and how many of each.
    size : int
        Height and width of a field, which is one chunk at each level.
    missing : collection of str
        Wells that are listed and are not there, like ``A/1``.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        *,
        fields: int = 1,
        acquisitions: int = 1,
        size: int = 256,
        missing: Collection[str] = (),
    ) -> None:
        self.rows, self.columns = rows, columns
        self.fields, self.acquisitions, self.size = fields, acquisitions, size
        self.missing = missing
        self._plate = self._document()
        super().__init__()

    @property
    def address(self) -> str:
        return f"{self.url}/plate.zarr"

    def shown(self, well: str, field: int, level: int) -> np.ndarray:
        """The pixels of a level of a field."""
        return _pixels(self.size >> level, hash_of(well, field))

    async def answer(self, request: Request) -> Answer:
        if request.path == "/plate.zarr/zarr.json":
            return Answer(200, {}, self._plate)
        found = _KEY.fullmatch(request.path)
        if found is None or found["well"] in self.missing:
            return Answer(404)
        body: bytes
        match found["field"], found["level"], found["chunk"]:
            case None, _, _:
                body = _well(self.fields, self.acquisitions)
            case _, None, _:
                body = _image()
            case _, level, None:
                body = _array(self.size >> int(level))
            case field, level, _:
                body = self.shown(found["well"], int(field), int(level)).tobytes()
        return Answer(200, {}, body)

    def _document(self) -> bytes:
        rows = [_letters(r) for r in range(self.rows)]
        wells = ", ".join(
            f'{{"path": "{row}/{c + 1}", "rowIndex": {r}, "columnIndex": {c}}}'
            for r, row in enumerate(rows)
            for c in range(self.columns)
        )
        plate = {
            "rows": [{"name": row} for row in rows],
            "columns": [{"name": str(c + 1)} for c in range(self.columns)],
            "wells": [],
            "acquisitions": [{"id": n} for n in range(self.acquisitions)],
            "name": "by rule",
        }
        body = _group({"plate": plate})
        return body.replace(b'"wells": []', f'"wells": [{wells}]'.encode())


def hash_of(well: str, field: int) -> int:
    return sum(map(ord, well)) * 7 + field


def _letters(number: int) -> str:
    first, last = divmod(number, 26)
    return (_letters(first - 1) if first else "") + chr(65 + last)


@cache
def _pixels(size: int, seed: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size] / size
    shade = 100 + seed % 32 * 20 + 400 * ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.16)
    return shade.astype("<u2")


def _group(attributes: dict) -> bytes:
    document = {"zarr_format": 3, "node_type": "group"}
    ome = {"ome": {"version": "0.5", **attributes}}
    return json.dumps(document | {"attributes": ome}).encode()


@cache
def _well(fields: int, acquisitions: int) -> bytes:
    images = [
        {"path": str(n), "acquisition": n // fields}
        for n in range(fields * acquisitions)
    ]
    return _group({"well": {"images": images}})


@cache
def _image() -> bytes:
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": [2.0**level] * 2}],
        }
        for level in range(LEVELS)
    ]
    window = {"min": 0, "max": 65535, "start": 0, "end": 1200}
    omero = {"channels": [{"label": "DNA", "color": "FFFFFF", "window": window}]}
    return _group(
        {"multiscales": [{"axes": axes, "datasets": datasets}], "omero": omero}
    )


@cache
def _array(size: int) -> bytes:
    shape = [size, size]
    grid = {"name": "regular", "configuration": {"chunk_shape": shape}}
    keys = {"name": "default", "configuration": {"separator": "/"}}
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
    return json.dumps(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": "uint16",
            "chunk_grid": grid,
            "chunk_key_encoding": keys,
            "fill_value": 0,
            "codecs": codecs,
            "attributes": {},
            "dimension_names": ["y", "x"],
        }
    ).encode()
