"""What a layer remembers of the OME-Zarr image that it was read from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from napari_omezarr.errors import OMEZarrError
from napari_omezarr.metadata import Image, parse_document

from .picture import Origin


def layer_origin(options: Mapping[str, Any]) -> Origin | None:
    """Give the image that a layer was read from, as its metadata say; else None."""
    metadata = options.get("metadata")
    record = metadata.get("omezarr") if isinstance(metadata, Mapping) else None
    return read_origin(record) if isinstance(record, Mapping) else None


def read_origin(record: Mapping[str, Any]) -> Origin:
    """Make an origin of what the reader left in a layer; absent parts are empty."""
    attributes = record.get("attributes") or {}
    channel = record.get("channel")
    try:
        kind = parse_document(attributes).kind
    except OMEZarrError:
        kind = None
    first = kind.multiscales[0] if isinstance(kind, Image) else None
    return Origin(
        address=str(record.get("address") or ""),
        channel=channel if isinstance(channel, int) else None,
        attributes=attributes,
        extras=record.get("extras") or {},
        axes={axis.name: axis for axis in first.axes} if first else {},
        name=first.name if first else "",
    )


def original_channel(origin: Origin | None) -> Mapping[str, Any]:
    """Give what the image that a layer came from says of its channel."""
    if origin is None or origin.channel is None:
        return {}
    try:
        channel = origin.attributes["omero"]["channels"][origin.channel]
    except (KeyError, IndexError, TypeError):
        return {}
    return channel if isinstance(channel, Mapping) else {}


def original_span(channel: Mapping[str, Any]) -> tuple[float, float] | None:
    """Give the range of the contrast slider that a channel's entry says."""
    try:
        return finite_pair((channel["window"]["min"], channel["window"]["max"]))
    except (KeyError, TypeError, ValueError):
        return None


def finite_pair(value: Any) -> tuple[float, float] | None:
    """Give two finite numbers in rising order; None where there are none."""
    if value is None or len(value) != 2:
        return None
    low, high = float(value[0]), float(value[1])
    return (low, high) if math.isfinite(high - low) and low < high else None
