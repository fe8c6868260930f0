"""What the README and the examples show works, on a sample instead of public data."""

from __future__ import annotations

import re
import runpy
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_omezarr import read_layers
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
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S
    )
    assert blocks
    for block in blocks:
        assert PLACEHOLDER in block
        with chdir(tmp_path):
            exec(block.replace(PLACEHOLDER, sample[0].as_posix()), {})
    assert (tmp_path / "copy.ome.zarr" / "zarr.json").is_file()
    assert "image Nuclei (0.5, 0.2, 0.2) (8, 96, 128)" in capsys.readouterr().out


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
    text = (ROOT / "docs" / "python.md").read_text("utf-8")
    names: dict[str, object] = {}
    with chdir(tmp_path):
        for block in re.findall(r"```python\n(.*?)```", text, re.S):
            exec(block.replace(PLACEHOLDER, sample[0].as_posix()), names)
    said = capsys.readouterr().out
    assert "('y', 'x') (96, 128) {'y': 0.2, 'x': 0.2}" in said
    assert "Valid OME-Zarr 0.5." in said
    assert list(names["napari_omezarr"].open(tmp_path / "part.ome.zarr").labels) == [
        "nuclei",
        "bright",
    ]
