"""Places to begin with: a data file with its date and its source."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from napari_omezarr.profiles import Profile

from .book import Bookmark, Connection, parse_connection

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Shipped:
    """The connections that come with the plugin, as of a ``date`` (ISO 8601)."""

    date: str
    source: str
    connections: tuple[Connection, ...]


@cache
def shipped() -> Shipped:
    """Read the connections that come with the plugin."""
    file = files("napari_omezarr.connections") / "bookmarks.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    rows = tuple(parse_connection(row) for row in content["connections"])
    return Shipped(content["date"], content["source"], rows)


_offered: list[Connection] = []


@contextmanager
def offering(connection: Connection) -> Iterator[None]:
    """Offer one more connection to begin with, for a while; nothing is written."""
    _offered.append(connection)
    try:
        yield
    finally:
        _offered.remove(connection)


def offered() -> tuple[Connection, ...]:
    """Give the connections that are offered for a while."""
    return tuple(_offered)


def demo_connection(endpoint: str) -> Connection:
    """Make the connection of the demo's own server.

    Parameters
    ----------
    endpoint : str
        ``http://127.0.0.1:port``, as ``napari_omezarr.demo.server`` gives it.
    """
    profile = Profile(
        "Demo server", endpoint=endpoint, sign_in="anonymous", start="s3://public"
    )
    images = (("Cells", "cells.ome.zarr"), ("Plate", "plate.ome.zarr"))
    return Connection(
        profile,
        tuple(
            Bookmark(name, f"s3+{endpoint}/public/{key}|anonymous:true")
            for name, key in images
        ),
    )
