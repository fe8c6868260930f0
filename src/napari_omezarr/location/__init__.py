"""Anything a person pastes, parsed to a place; nothing here opens it.

Examples
--------
>>> Location.parse("https://host/a b.zarr/zarr.json?token=x").display
'https://host/a b.zarr'
"""

from __future__ import annotations

from .address import (
    ARRAY_DOCUMENT,
    DOCUMENTS,
    GROUP_DOCUMENT,
    NODE_DOCUMENTS,
    WEB,
    ZARR_JSON,
    ZARRAY,
    ZATTRS,
    ZGROUP,
    ZMETADATA,
    encode,
    encode_rest,
    is_below,
    is_beside,
    is_plain_key,
    is_region,
    label_name,
)
from .location import Location, object_location, parse_many, without_secrets
from .parse import addresses_in_link, neuroglancer_link_state

__all__ = [
    "ARRAY_DOCUMENT",
    "DOCUMENTS",
    "GROUP_DOCUMENT",
    "NODE_DOCUMENTS",
    "WEB",
    "ZARRAY",
    "ZARR_JSON",
    "ZATTRS",
    "ZGROUP",
    "ZMETADATA",
    "Location",
    "addresses_in_link",
    "encode",
    "encode_rest",
    "is_below",
    "is_beside",
    "is_plain_key",
    "is_region",
    "label_name",
    "neuroglancer_link_state",
    "object_location",
    "parse_many",
    "without_secrets",
]
