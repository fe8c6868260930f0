"""The features of labels from the tables beside them, once the picture is there."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import OMEZarrError
from napari_omezarr.tables import UNREAD, column_of, feature_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_omezarr.pyramid import Pyramid
    from napari_omezarr.tables import FeatureSource

    from .spec import LayerSpec

MOST_BYTES = 2**29
"""Tables that would take more memory are read by who asks for them."""


def source_of_features(pyramid: Pyramid) -> FeatureSource | None:
    """Say where the features of a label image may lie, beside its metadata."""
    if pyramid.label is None or pyramid.label.properties:
        return None
    saved = pyramid.extras.get("napari")
    entry = saved.get("labels") if isinstance(saved, dict) else None
    named = entry.get("table") if isinstance(entry, dict) else None
    return feature_source(pyramid.location, named)


def read_features(source: FeatureSource) -> tuple[dict[str, Any], str]:
    """Read the features of labels; and what there is to say of them. Blocks.

    Both are empty where there are none. What cannot be read is said, and costs the
    features and never the labels.
    """
    said: list[str] = []
    found: dict[str, Any] = {}
    try:
        named = source.find(others=False)
        tables = source.others() if named is None else (named,)
        if source.named and named is None:
            said.append(f"The table {source.named} of {source.label} is not there.")
    except OMEZarrError as error:
        return {}, f"The features of {source.label} could not be read. {error}"
    for table in tables:
        try:
            size = table.size()
            if size > MOST_BYTES:
                size_text = f"{size / 1e9:.1f} GB"
                said.append(f"The table {table.name}, of {size_text}, was not read.")
                continue
            found = joined_features(found, table.read().features())
        except OMEZarrError as error:
            said.append(f"The table {table.name} could not be read. {error}")
    return found, " ".join(said)


def joined_features(
    columns: Mapping[str, Any], others: Mapping[str, Any]
) -> dict[str, Any]:
    """Put columns beside others, row to row by the label in ``index``.

    The first have their names to themselves. Where either has several rows about a
    label, or has none, nothing is joined but what fits.
    """
    if not columns:
        return dict(others)
    index, new = np.asarray(columns["index"]), np.asarray(others["index"])
    fresh = {name: c for name, c in others.items() if name not in columns}
    if not len(new) or len(np.unique(new)) < len(new):
        return dict(columns)
    order = np.argsort(new)
    at = np.searchsorted(new, index, sorter=order).clip(max=len(new) - 1)
    rows = order[at]
    there = new[rows] == index
    joined = dict(columns)
    for name, column in fresh.items():
        picked = np.asarray(column)[rows].astype(object)
        picked[~there] = None
        joined[name] = np.asarray(column)[rows] if there.all() else column_of(picked)
    return joined


def with_features(layers: Sequence[LayerSpec]) -> list[LayerSpec]:
    """Read the features of all layers that may have some, at once; blocks."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(_with_features, layers))


def _with_features(layer: LayerSpec) -> LayerSpec:
    if layer.features is None:
        return layer
    columns, said = read_features(layer.features)
    if not columns:
        return layer.warned(said) if said else layer
    metadata = {**layer.options["metadata"]["omezarr"]}
    metadata.pop(UNREAD, None)
    options = {
        **layer.options,
        "metadata": {**layer.options["metadata"], "omezarr": metadata},
        "features": columns,
    }
    return dataclasses.replace(layer, options=options, features=None)
