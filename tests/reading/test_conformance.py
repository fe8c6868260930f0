"""Whole stores of public origin, where the folder with them lies beside the project."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from napari_omezarr.errors import OMEZarrError
from napari_omezarr.layers import layer_data
from napari_omezarr.location import Location
from napari_omezarr.reading import read

FOLDER = Path(
    os.environ.get(
        "OMEZARR_CONFORMANCE",
        Path(__file__).parents[2].parent / "shared" / "conformance",
    )
)
MANIFEST = FOLDER / "manifest.json"


def stores(*, valid):
    if not MANIFEST.exists():
        return []
    records = json.loads(MANIFEST.read_text())
    return [
        record["file"]
        for record in records
        if record["form"] == "zarr-with-pixels" and record["valid"] is valid
    ]


pytestmark = pytest.mark.skipif(
    not MANIFEST.exists(), reason=f"no conformance data at {FOLDER}"
)


@pytest.mark.parametrize("file", stores(valid=True))
def test_a_valid_store_opens_and_its_pixels_can_be_read(file):
    reading = read(Location.parse(FOLDER / file))
    assert reading.pyramids
    for layer in layer_data(reading.pyramids):
        assert np.isfinite(np.asarray(layer.options["scale"])).all()
        assert layer.data[-1].compute().shape == layer.levels[-1].shape


@pytest.mark.parametrize("file", stores(valid=False))
def test_an_invalid_store_opens_with_a_warning_or_is_refused_in_our_words(file):
    with contextlib.suppress(OMEZarrError):
        assert read(Location.parse(FOLDER / file)).warnings
