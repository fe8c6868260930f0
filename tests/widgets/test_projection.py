"""How thick slices are shown, saved with each type of layer and read again."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels, Layer, Points, Shapes, Tracks

from napari_omezarr import read_layers
from napari_omezarr.writing import write_layers

PIXELS = np.ones((3, 4, 4), np.uint8)
CORNERS = np.array([[0, 0, 0], [0, 0, 2], [0, 2, 2], [0, 2, 0]])
LAYERS = [
    Image(PIXELS),
    Labels(PIXELS),
    Points(CORNERS),
    Shapes([CORNERS]),
    Tracks(np.insert(CORNERS, 0, 1, axis=1)),
]


@pytest.mark.parametrize(
    ("layer", "mode"),
    [
        (layer, mode)
        for layer in LAYERS
        for mode in getattr(type(layer), "_projectionclass", ())
    ],
)
def test_a_layer_comes_back_with_its_projection(tmp_path, layer, mode):
    layer.projection_mode = mode
    below = [] if isinstance(layer, Image) else [Image(PIXELS)]
    saved = [each.as_layer_data_tuple() for each in (*below, layer)]
    write_layers(saved, tmp_path / "a.zarr")
    read = [Layer.create(*each) for each in read_layers(tmp_path / "a.zarr")]
    (found,) = [each for each in read if type(each) is type(layer)]
    assert found.projection_mode == mode
