"""What the documentation shows of the command is so: each example runs."""

from __future__ import annotations

import shlex
import shutil
from contextlib import chdir
from pathlib import Path

import click
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from commands import run
from napari_omezarr import read_layers, write_image, write_layers
from napari_omezarr.cli import main
from napari_omezarr.samples import write_cells
from servers.http import FileServer

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (
    *("../README.md", "coming-from.md", "command-line.md", "converting.md"),
    *("headless.md", "performance.md", "plates.md", "training.md", "upkeep.md"),
)
NOT_RUN = {"open", "serve", "connections"}
"""They open a window, run until Ctrl-C, or need a connection of the reader's."""

needs_docs = pytest.mark.skipif(not DOCS.exists(), reason="an sdist has no docs")


def documented(page):
    lines = (DOCS / page).read_text().splitlines()
    return [
        shlex.split(line.removeprefix("$ "), comments=True)[1:]
        for line in lines
        if line.startswith("$ napari-omezarr")
    ]


@needs_docs
def test_each_command_is_shown_once_at_least():
    text = "".join(page.read_text() for page in DOCS.glob("*.md"))
    for name in main.list_commands(click.Context(main)):
        assert f"napari-omezarr {name} " in text, name


def prepare():
    """What the examples speak of: images, tables, TIFF files of a plate and a film."""
    write_cells("first.ome.zarr", shape=(4, 32, 32))
    layers = read_layers("first.ome.zarr")
    # So many rows go into a table of their own.
    rows = {"index": np.arange(1, 1500), "area": np.arange(1, 1500) / 2}
    layers[-1][1]["features"] = rows
    write_layers(layers, "cells.ome.zarr")
    write_layers(layers[:2], "plate.ome.zarr", version="0.4")
    units = {"chunks": {"y": 8, "x": 8}, "shards": {"y": 16, "x": 16}}
    write_layers(layers[:2], "sharded.ome.zarr", **units)
    layers[-1][1]["name"] = "cells"
    write_layers(layers, "segmented.ome.zarr")
    for name in ("old", "tuesday", "bucket/film"):
        write_image(np.ones((2, 32, 32), "u2"), f"{name}.ome.zarr", "tyx")
    Path("bucket/folder").mkdir()
    run("copy", "cells.ome.zarr", "bucket/folder/cells.ome.zarr")
    for folder in (".", "bucket"):
        run("copy", "first.ome.zarr", f"{folder}/image.ome.zarr")
    Path("raw").mkdir()
    stack = np.ones((2, 16, 16), "u2")
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    for name in ("plate1_a", "scan_t1_DAPI", "scan_t1_GFP", "scan_t2_DAPI"):
        tifffile.imwrite(f"raw/{name}.tif", stack, **options)
    for name in ("raw/scan_t2_GFP.tif", "raw/a.tif", "raw/b.tif", "cells.ome.tif"):
        tifffile.imwrite(name, stack, **options)
    for name in ("A01_f1_DAPI", "A01_f1_GFP", "B02_f1_DAPI", "B02_f1_GFP"):
        tifffile.imwrite(f"raw/{name}.tif", stack, **options)
    Path("wells.csv").write_text("image,well\nraw/a.tif,C3\n")
    Path("plate.csv").write_text("image,well\ntuesday.ome.zarr,C3\n")
    table = (DOCS / "converting.md").read_text().partition("```csv\n")[2]
    Path("files.csv").write_text(table.partition("```")[0])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documented")
    with chdir(folder):
        prepare()
    return folder


@needs_docs
@pytest.mark.parametrize("page", PAGES)
def test_each_example_of_the_documentation_runs(page, prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    assert documented(page)
    with FileServer(tmp_path) as server:
        for name, *words in documented(page):
            if name in NOT_RUN or "processes:8" in words:
                main.get_command(click.Context(main), name).make_context(name, words)
                continue
            words = [
                word.replace("s3://bucket", str(tmp_path / "bucket")).replace(
                    "https://host", server.url
                )
                for word in words
            ]
            outcome = CliRunner().invoke(main, [name, *words], input="y\n")
            assert outcome.exit_code == 0, (name, words, outcome.output)
