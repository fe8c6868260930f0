"""The command for tables, as a person types it."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from commands import run, run_json
from napari_omezarr.writing import write_layers


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image") / "a.zarr"
    labels = np.arange(32 * 32).reshape(32, 32)
    known = {"index": np.arange(1000), "kind": [f"k{n}" for n in range(1000)]}
    picture = (np.ones((32, 32), np.uint8), {"name": "dapi"}, "image")
    layers = [picture, (labels, {"name": "cells", "features": known}, "labels")]
    write_layers(layers, folder)
    return folder


def test_the_tables_of_an_image_are_listed(image):
    words = run("table", image).split()
    assert words[:3] == ["cells_features", "feature_table", "cells"]
    (row,) = run_json("table", image)
    assert (row["rows"], row["columns"], row["backend"]) == (1000, 2, "anndata")
    assert "cells_features: features of cells, 1,000 rows" in run("info", image)
    assert "cells_features" in run("tree", image)


def test_a_table_is_given_as_csv(image, tmp_path):
    text = run("table", image, "cells_features")
    found = list(csv.DictReader(io.StringIO(text)))
    assert found[7] == {"label": "7", "kind": "k7"}
    assert run("table", image / "tables" / "cells_features") == text
    file = tmp_path / "a.csv"
    assert "1,000 rows" in run("table", image, "cells_features", "--to", file)
    assert file.read_text() == text
    assert "there already" in run(
        "table", image, "cells_features", "--to", file, code=5
    )
    run("table", image, "cells_features", "--to", file, "--force")
    assert run_json("table", image, "cells_features")["label"][:2] == [0, 1]


def test_what_is_no_table_is_said(image, tmp_path):
    assert "no table away" in run("table", image, "away", code=3)
    assert "no tables" in run("table", tmp_path, code=3)
