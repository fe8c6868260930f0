"""Anything a person pastes, parsed to a place; nothing here opens it.

Examples
--------
>>> Location.parse("https://host/a b.zarr/zarr.json?token=x").display
'https://host/a b.zarr'
"""

from __future__ import annotations

from .location import Location, parse_many

__all__ = ["Location", "parse_many"]
