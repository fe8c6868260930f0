"""What scripts may rely on; a change here is a change for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import napari_omezarr


def test_the_public_names_are_these():
    assert sorted(napari_omezarr.__all__) == [
        "Location",
        "OMEZarrError",
        "Pyramid",
        "ReadOptions",
        "Reading",
        "WriteOptions",
        "add_labels",
        "add_plate_labels",
        "add_tables",
        "aio",
        "append",
        "calibrate",
        "copy",
        "listing",
        "open",
        "patch",
        "plan_patch",
        "plan_write",
        "read",
        "read_layers",
        "rewrite_plate",
        "undo_patch",
        "update_rendering",
        "validate",
        "write",
        "write_image",
        "write_layers",
        "write_plate",
    ]


@pytest.mark.parametrize("name", napari_omezarr.__all__)
def test_each_public_name_is_there_and_documented(name):
    assert getattr(napari_omezarr, name).__doc__
    assert name in dir(napari_omezarr)


def test_no_other_name_is():
    with pytest.raises(AttributeError, match="no attribute 'save'"):
        _ = napari_omezarr.save


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, napari_omezarr; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=120
    )
    loaded = set(run.stdout.decode().split())
    assert not loaded & {"zarr", "dask", "numpy", "aiohttp", "napari", "qtpy"}
