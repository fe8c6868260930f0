"""Where two people changed the same pixels is said by chunk, and in the world."""

from __future__ import annotations

import numpy as np
import pytest

from napari_omezarr.errors import ConflictError
from napari_omezarr.writing import PatchConflictError, patch, write_image
from napari_omezarr.writing.patching import box_text

PIXELS = np.arange(3 * 60 * 60, dtype=np.uint16).reshape(3, 60, 60)


def test_each_chunk_with_a_conflict_has_a_box(tmp_path):
    place = tmp_path / "a.zarr"
    micrometre = {"z": "micrometer", "y": "micrometer", "x": "micrometer"}
    write_image(
        PIXELS, place, "zyx", scale=(2, 0.5, 0.5), units=micrometre, chunks=(1, 20, 20)
    )
    patch(place, (1, 5, 6), np.full((1, 1, 2), 7, np.uint16))
    patch(place, (2, 0, 41), np.full((1, 60, 1), 8, np.uint16))
    before = PIXELS[1:, :, 2:]
    with pytest.raises(PatchConflictError) as caught:
        patch(place, (1, 0, 2), before + np.uint16(1), original=before)
    error = caught.value
    assert isinstance(error, ConflictError)
    assert error.pixels == 62
    assert error.boxes == (
        ((1, 2), (5, 6), (6, 8)),
        *(((2, 3), (y, y + 20), (41, 42)) for y in (0, 20, 40)),
    )
    assert "at z 1, y 5, x 6-7; z 2, y 0-19, x 41; z 2, y 20-39, x 41; " in str(error)
    assert "and in 1 more chunk" in str(error)
    assert "begins at z 2 micrometer, y 2.5 micrometer, x 3 micrometer" in str(error)


def test_a_box_is_said_with_its_ends():
    assert box_text("yx", ((3, 4), (0, 10))) == "y 3, x 0-9"
