"""What the README and the examples show works, on a sample instead of public data."""

from __future__ import annotations

import re
import runpy
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import napari_omezarr
from napari_omezarr import read_layers, write_image
from napari_omezarr.samples import write_cells

if TYPE_CHECKING:
    from napari_omezarr.samples import Cells

ROOT = Path(__file__).parent.parent
WRITES = "segment_blocks.py"
"""The example that writes into its image; test_segmentation.py runs it."""
EXAMPLES = sorted(p for p in (ROOT / "examples").glob("*.py") if p.name != WRITES)
PLACEHOLDER = "s3://bucket/image.ome.zarr"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cells]:
    place = tmp_path_factory.mktemp("sample") / "cells.ome.zarr"
    return place, write_cells(place, shape=(8, 96, 128))


def run_page(
    page: str, place: Path, folder: Path, names: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Run all Python of a page in a folder; a bucket's address is a place instead."""
    names = names or {}
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert blocks
    with chdir(folder):
        for block in blocks:
            code = block.replace(PLACEHOLDER, place.as_posix())
            exec(code.replace("s3://bucket/", f"{place.as_posix()}/"), names)
    return names


def run(path: Path, address: Path) -> None:
    runpy.run_path(str(path))["main"](str(address))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_says_how(
    path: Path,
    sample: tuple[Path, Cells],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert f"python examples/{path.name} {PLACEHOLDER}" in path.read_text()
    with chdir(tmp_path):  # where an example may save
        run(path, sample[0])
    assert "Nuclei" in capsys.readouterr().out


def test_layers_are_printed_with_their_pixel_size(
    sample: tuple[Path, Cells],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(ROOT / "examples" / "print_layers.py", sample[0])
    said = capsys.readouterr().out
    assert "pixel along z: 0.5 micrometer" in said
    assert "pixel along x: 0.2 micrometer" in said
    assert "level: 8 x 96 x 128" in said
    assert said.startswith("image Nuclei: uint16")


def test_means_are_those_of_the_pixels(
    sample: tuple[Path, Cells],
    capsys: pytest.CaptureFixture[str],
) -> None:
    place, made = sample
    run(ROOT / "examples" / "mean_by_label.py", place)
    background = made.image[0][made.labels == 0].mean()
    assert f"Nuclei: background {background:.0f}, cells" in capsys.readouterr().out


def test_layers_are_saved_and_open_again(
    sample: tuple[Path, Cells], tmp_path: Path
) -> None:
    target = tmp_path / "copy.ome.zarr"
    main = runpy.run_path(str(ROOT / "examples" / "save_layers.py"))["main"]
    main(str(sample[0]), str(target))
    before, after = read_layers(sample[0]), read_layers(target)
    assert [layer[1]["name"] for layer in after] == [
        layer[1]["name"] for layer in before
    ]
    for (one, options, _), (other, expected, _) in zip(after, before, strict=True):
        copied = one[0] if options.get("multiscale") else one
        original = other[0] if expected.get("multiscale") else other
        assert np.array_equal(np.asarray(copied), np.asarray(original))
        assert options["scale"] == expected["scale"]


def test_the_code_in_the_readme_runs(
    sample: tuple[Path, Cells], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run_page("README.md", sample[0], tmp_path)
    assert "axes: c 2, z 8 (0.5 micrometer)" in capsys.readouterr().out
    kinds = [kind for _, _, kind in read_layers(tmp_path / "part.ome.zarr")]
    assert kinds == ["image", "labels"]


def test_the_code_about_saving_runs(sample: tuple[Path, Cells], tmp_path: Path) -> None:
    text = (ROOT / "docs" / "saving.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.S)
    with chdir(tmp_path):
        exec(block.replace(PLACEHOLDER, sample[0].as_posix()), {})
    assert (tmp_path / "copy.ome.zarr" / ".zattrs").is_file()


def test_the_code_in_the_guide_runs(sample: tuple[Path, Cells]) -> None:
    text = (ROOT / "docs" / "opening.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    (block,) = [block for block in blocks if PLACEHOLDER in block]
    names: dict[str, list[tuple[object, dict[str, object], str]]] = {}
    exec(block.replace(PLACEHOLDER, sample[0].as_posix()), names)
    assert [kind for _, _, kind in names["layers"]] == ["image", "labels"]


def test_the_code_about_python_runs(
    sample: tuple[Path, Cells], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("xarray")
    pytest.importorskip("scipy")
    names = run_page("docs/python.md", sample[0], tmp_path)
    said = capsys.readouterr().out
    assert "('y', 'x') (96, 128) {'y': 0.2, 'x': 0.2}" in said
    assert "Valid OME-Zarr 0.5." in said
    assert names["count"] > 0
    again = napari_omezarr.open(tmp_path / "again.ome.zarr")
    assert list(again.labels) == ["nuclei", "bright", "objects"]
    assert list(napari_omezarr.open(tmp_path / "part.ome.zarr").labels) == [
        "nuclei",
        "bright",
    ]


def test_the_code_about_jobs_runs(
    sample: tuple[Path, Cells], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("xarray")
    run_page("docs/headless.md", sample[0], tmp_path)
    assert "{'c': 1.0, 'y': 0.2, 'x': 0.2}" in capsys.readouterr().out


@pytest.fixture(scope="module")
def embryo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write what the guides speak of: an embryo with cells, a film, some edits."""
    folder = tmp_path_factory.mktemp("embryo")
    pixels = np.zeros((12, 202, 302), np.uint8)
    grid = {"scale": {"z": 4, "y": 2, "x": 1}, "units": "micrometer"}
    place = folder / "embryo.ome.zarr"
    write_image(pixels, place, "zyx", labels={"cells": pixels}, levels=2, **grid)
    write_image(np.zeros((2, 1, 4, 8, 8), np.uint8), folder / "film.ome.zarr", "tczyx")
    return folder


def test_the_code_about_editing_runs(embryo: Path) -> None:
    before = np.zeros((2, 2, 2), np.uint8)
    names = {
        "before": before,
        "edited": before + 1,
        "next_volume": np.ones((1, 4, 8, 8), np.uint8),
        "stain": np.ones((3, 4, 8, 8), np.uint8),
    }
    run_page("docs/editing.md", embryo, embryo, names)
    film = napari_omezarr.open(embryo / "film.ome.zarr")
    assert (film.shape, film.name) == ((3, 2, 4, 8, 8), "embryo 3")
    assert film.channels[1].name == "RFP"
    assert (film.scale["z"], film.units["z"]) == (2, "micrometer")


def test_the_code_about_a_region_runs(embryo: Path) -> None:
    components = pytest.importorskip("napari.components")
    names = run_page(
        "docs/region.md", embryo, embryo, {"viewer": components.ViewerModel()}
    )
    assert names["crop"].data.shape == (8, 131, 86)


def test_the_code_about_tables_runs(embryo: Path, tmp_path: Path) -> None:
    place = tmp_path / "image.ome.zarr"
    numbers = np.arange(900, dtype=np.uint16).reshape(30, 30)
    write_image(numbers, place, "yx")
    table = {"index": np.arange(1, 900), "area": np.ones(899)}
    napari_omezarr.add_labels(numbers, place, name="cells", features=table)
    names = run_page("docs/tables.md", embryo, tmp_path)
    assert list(names["columns"]["area"]) == list(table["area"])


def test_the_code_of_the_trainings_runs(
    sample: tuple[Path, Cells], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run_page("docs/training.md", sample[0], tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "(8, 26, 31)"
    assert said[2] == "['nuclei', 'bright']"
