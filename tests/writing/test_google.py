"""Images in Google's storage: saved, broken off, resumed, changed by several."""

from __future__ import annotations

import numpy as np
import pytest

from interrupted_save import OPTIONS, image
from napari_omezarr import errors
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.store import open_writable, run
from napari_omezarr.writing import (
    SaveMode,
    WriteOptions,
    add_labels,
    patch,
    write_image,
)
from napari_omezarr.writing.commit import InPlaceTarget
from napari_omezarr.writing.engine import Running, Threads
from napari_omezarr.writing.hierarchy import RemoteHierarchy
from napari_omezarr.writing.plan import plan_layers
from napari_omezarr.writing.save import save
from quick_retries import QUICK
from servers import faults
from servers.google import GoogleStorage, google_error

UPLOADS = "/upload/*"


@pytest.fixture
def google(monkeypatch):
    with GoogleStorage() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


@pytest.fixture
def place(google):
    return Location.parse(google.place("a.ome.zarr"))


def saved(place, **mode):
    layers = [(image(), {"name": "cells", "axis_labels": ("z", "y", "x")}, "image")]
    plan = plan_layers(layers, "a", WriteOptions(**OPTIONS), object_store=True)
    hierarchy = RemoteHierarchy(place, open_writable(place, retry=QUICK))
    target, executor = InPlaceTarget(hierarchy), Threads(50_000, 1)
    try:
        return save(plan, target, SaveMode(**mode), executor, Running(None, None))
    finally:
        executor.close()


def pixels(place, number=0, level=0):
    return np.asarray(read_layers(place)[number][0][level])


def conditions(google):
    """On which generations objects were written, in order."""
    return [
        request.query.partition("ifGenerationMatch=")[2]
        for request in google.requests
        if "ifGenerationMatch" in request.query
    ]


def test_a_save_claims_its_place_and_commits_on_a_condition(place, google):
    write_image(image(), place, "zyx", levels=2)
    np.testing.assert_array_equal(pixels(place), image())
    keys = google.keys()
    assert not [key for key in keys if "saving" in key or "probe" in key]
    root = [r for r in google.requests if r.query.endswith("ifGenerationMatch=0")]
    assert any("name=a.ome.zarr%2Fzarr.json&" in request.query for request in root)
    assert any("saving" in request.query for request in root)
    with pytest.raises(errors.TargetExistsError):
        write_image(image(), place, "zyx")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (google_error(429, "rateLimitExceeded"), errors.ServerBusyError),
        (google_error(403, "forbidden"), errors.AccessDeniedError),
        (google_error(403, "quotaExceeded"), errors.DiskFullError),
        (faults.Dropped(), errors.StoreConnectionError),
    ],
)
def test_what_breaks_a_save_leaves_it_invisible_and_resumable(
    fault, kind, place, google
):
    google.fault(UPLOADS, *[faults.Proceed()] * 12, *[fault] * 60)
    with pytest.raises(kind):
        saved(place)
    google.clear()
    held = google.keys()
    assert held
    assert "a.ome.zarr/zarr.json" not in held
    with pytest.raises(errors.UnfinishedWriteError):
        saved(place)
    saved(place, unfinished="resume")
    np.testing.assert_array_equal(pixels(place), image())


def test_a_root_that_appears_at_the_last_moment_is_not_overwritten(place, google):
    done = []

    def somebody_commits(_):
        if not done:
            done.append(run(open_writable(place).put("zarr.json", b"{}")))

    with pytest.raises(errors.TargetExistsError):
        write_image(image(), place, "zyx", progress=somebody_commits)
    assert google.buckets.popitem()[1]["a.ome.zarr/zarr.json"].body == b"{}"


def test_labels_and_patches_keep_to_what_they_have_read(place, google):
    write_image(image(), place, "zyx", levels=2)
    labels = np.zeros(image().shape, np.int32)
    add_labels((labels, {"name": "cells"}, "labels"), place)
    google.clear()
    patch(place, (1, 1, 1), np.full((2, 3, 4), 7, image().dtype))
    generations = conditions(google)
    assert generations
    assert all(generation.isdecimal() for generation in generations)
    expected = image()
    expected[1:3, 1:4, 1:5] = 7
    np.testing.assert_array_equal(pixels(place), expected)
    assert {layer[2] for layer in read_layers(place)} == {"image", "labels"}
