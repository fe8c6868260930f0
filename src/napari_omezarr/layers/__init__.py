"""Pyramids as napari layer data; napari's words live only here."""

from .api import feature_columns, layer_data, read_layers
from .spec import (
    LayerData,
    LayerSpec,
    estimate_contrast,
    fitting_contrast,
    makeshift_limits,
    plain_columns,
    unfit_window,
    with_checked_window,
)
from .tables import (
    layers_beside,
    named_annotations,
    read_features,
    regions_of,
    source_of_features,
    table_at,
    table_layers,
)

__all__ = [
    "LayerData",
    "LayerSpec",
    "estimate_contrast",
    "feature_columns",
    "fitting_contrast",
    "layer_data",
    "layers_beside",
    "makeshift_limits",
    "named_annotations",
    "plain_columns",
    "read_features",
    "read_layers",
    "regions_of",
    "source_of_features",
    "table_at",
    "table_layers",
    "unfit_window",
    "with_checked_window",
]
