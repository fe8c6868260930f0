"""Where two people changed the same pixels is said by chunk, and in the world."""

from __future__ import annotations

import numpy as np
import pytest

from napari_omezarr.errors import ConflictError
from napari_omezarr.layers import read_layers
from napari_omezarr.writing import (
    PatchConflictError,
    patch,
    plan_patch,
    undo_patch,
    write_image,
)
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


def stored(place):
    return {
        file.relative_to(place): file.read_bytes()
        for file in place.rglob("*")
        if file.is_file()
    }


def test_what_will_be_written_is_said_before(tmp_path):
    place = tmp_path / "a.zarr"
    write_image(PIXELS, place, "zyx", chunks=(1, 20, 20), levels=3)
    original = PIXELS[1:2, 15:30, 15:30]
    edited = original.copy()
    edited[0, 0, :] += 400  # in two chunks of the finest level
    before = stored(place)
    plan = plan_patch(place, (1, 15, 15), edited, original=original)
    assert stored(place) == before
    patched = patch(place, (1, 15, 15), edited, original=original)
    after = stored(place)
    changed = [str(key) for key in before if before[key] != after[key]]
    assert plan.pixels == 15
    assert plan.objects == tuple(
        sum(key.startswith(f"{level}/") for key in changed) for level in range(3)
    )
    assert plan.summary() == (
        "15 edited pixels in 2 chunks, and 2 chunks of 2 coarser levels"
    )
    assert patched.objects == 2


def test_the_last_patch_can_be_undone_and_that_too(tmp_path):
    place = tmp_path / "a.zarr"
    write_image(PIXELS, place, "zyx", chunks=(1, 20, 20), levels=3)
    before = stored(place)
    patched = patch(place, (0, 5, 5), np.full((3, 30, 30), 7, np.uint16))
    after = stored(place)
    undone = undo_patch(patched)
    assert stored(place) == before
    undo_patch(undone)
    assert stored(place) == after


def test_what_others_did_elsewhere_survives_an_undo_and_on_top_forbids_it(tmp_path):
    place = tmp_path / "a.zarr"
    write_image(PIXELS, place, "zyx", chunks=(3, 60, 60))
    patched = patch(place, (0, 5, 5), np.full((1, 9, 9), 7, np.uint16))
    patch(place, (0, 30, 30), np.full((1, 2, 2), 8, np.uint16))
    undo_patch(patched)
    found = np.asarray(read_layers(place)[0][0])
    assert (found[0, 30:32, 30:32] == 8).all()
    np.testing.assert_array_equal(found[0, :20], PIXELS[0, :20])
    patched = patch(place, (0, 5, 5), np.full((1, 9, 9), 7, np.uint16))
    patch(place, (0, 6, 6), np.full((1, 1, 1), 9, np.uint16))
    before = stored(place)
    with pytest.raises(PatchConflictError, match="y 6, x 6"):
        undo_patch(patched)
    assert stored(place) == before
