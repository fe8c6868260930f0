"""Pyramids as napari layer data; napari's words live only here."""

from .api import layer_data, read_layers
from .features import read_features, source_of_features
from .options import feature_columns
from .spec import (
    LayerData,
    LayerSpec,
    estimate_contrast,
    fitting_contrast,
    makeshift_limits,
    plain_columns,
    unfit_window,
    with_checked_window,
    with_contrast,
)

__all__ = [
    "LayerData",
    "LayerSpec",
    "estimate_contrast",
    "feature_columns",
    "fitting_contrast",
    "layer_data",
    "makeshift_limits",
    "plain_columns",
    "read_features",
    "read_layers",
    "source_of_features",
    "unfit_window",
    "with_checked_window",
    "with_contrast",
]
