"""The features of labels from the tables beside them, once the picture is there."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import OMEZarrError
from napari_omezarr.tables import UNREAD, feature_source

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    try:
        table = source.find()
        if table is None:
            gone = f"The table {source.named} of {source.label} is not there."
            return {}, gone if source.named else ""
        size = table.size()
        if size > MOST_BYTES:
            return {}, (
                f"The table {table.name} would take {size / 1e9:.1f} GB and was not "
                "read."
            )
        return table.read().features(), ""
    except OMEZarrError as error:
        return {}, f"The features of {source.label} could not be read. {error}"


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
