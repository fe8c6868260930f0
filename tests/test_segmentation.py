"""The analysis loop of the examples: a remote image in blocks, labels beside it.

On a cluster it is run where there is one: writing/test_cluster.py.
"""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import numpy as np
import pytest

import napari_omezarr
from napari_omezarr.samples import write_cells

ndimage = pytest.importorskip("scipy.ndimage")
EXAMPLE = Path(__file__).parents[1] / "examples" / "segment_blocks.py"

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),  # of large graphs
    pytest.mark.skipif(not EXAMPLE.exists(), reason="an sdist has no examples"),
]


@pytest.fixture(scope="module")
def main():
    return runpy.run_path(str(EXAMPLE))["main"]


def image_in(bucket, folder, s3_server):
    """Put a sample of several chunks into the bucket."""
    made = write_cells(folder / "cells.ome.zarr", shape=(8, 160, 160))
    target = f"s3+{s3_server.endpoint}/{bucket}"
    napari_omezarr.write(
        napari_omezarr.open(folder / "cells.ome.zarr", labels=False),
        target,
        chunks=(1, 8, 48, 48),
    )
    return made, target


def test_objects_across_blocks_are_one_label(
    s3_server, s3_prefix, owner, tmp_path, main, capsys
):
    made, target = image_in(f"private/{s3_prefix}.ome.zarr", tmp_path, s3_server)
    main(target)
    image = napari_omezarr.open(target)
    found = image.labels["found"].read()
    said = capsys.readouterr().out
    count = int(found.max())
    assert f"found: {count} objects," in said
    # As one piece of memory would be labelled.
    expected, number = ndimage.label(found > 0)
    assert number == count > 3
    pairs = set(zip(expected.ravel().tolist(), found.ravel().tolist(), strict=True))
    assert len(pairs) == count + 1
    chunks = image.levels[0].chunks[1:]
    crossing = [
        label
        for label, box in enumerate(ndimage.find_objects(found), 1)
        if any(
            part.start // size != (part.stop - 1) // size
            for part, size in zip(box, chunks, strict=True)
        )
    ]
    assert crossing
    # The table tells of the same objects.
    (options,) = [
        options
        for _, options, kind in napari_omezarr.read_layers(target)
        if kind == "labels"
    ]
    features = options["features"]
    volume = np.asarray(features["volume"], float)
    sizes = np.bincount(found.ravel())[1:]
    assert np.allclose(volume, sizes * 0.5 * 0.2 * 0.2)
    assert (made.labels[found > 0] > 0).mean() > 0.8


def test_the_example_is_short():
    (function,) = [
        node
        for node in ast.parse(EXAMPLE.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "main"
    ]
    assert function.end_lineno - function.lineno < 25
