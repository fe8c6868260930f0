"""What the tests of the store share: few and quick retries, and an array to read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import zarr
from zarr.buffer.cpu import buffer_prototype

from napari_omezarr.store import RetryPolicy, run

if TYPE_CHECKING:
    from pathlib import Path

QUICK = RetryPolicy(
    connect=60, silence=60, tries=3, total=200, first_pause=0.01, longest_pause=0.02
)
IMPATIENT = RetryPolicy(
    connect=60, silence=1, tries=2, total=200, first_pause=0.01, longest_pause=0.02
)
"""For a server that stalls, where others answer: a busy machine is as slow at times."""
HASTY = replace(IMPATIENT, silence=0.1)
"""For a server that stalls whatever it is asked."""
PIXELS = np.arange(1, 65, dtype="u2").reshape(8, 8)


def write_image(folder: Path, zarr_format: int = 3, shards: bool = False) -> Path:
    """Write a group with one array ``0`` of `PIXELS`, in chunks of (2, 2)."""
    group = zarr.open_group(folder, mode="w", zarr_format=zarr_format)
    array = group.create_array(
        "0",
        shape=PIXELS.shape,
        chunks=(2, 2),
        shards=(4, 4) if shards else None,
        dtype=PIXELS.dtype,
        fill_value=0,
    )
    array[...] = PIXELS
    return folder


def get(store, key, wanted=None):
    """The bytes of a key, or of a part of it; None where it is not there."""
    buffer = run(store.get(key, buffer_prototype, wanted))
    return None if buffer is None else buffer.to_bytes()
