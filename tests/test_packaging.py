"""What is installed: the wheel's content, and the manifest that napari looks for."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import npe2
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "napari_omezarr"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The wheel as hatchling builds it, from this checkout, offline."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    (built,) = folder.glob("napari_omezarr-*-py3-none-any.whl")
    return zipfile.Path(built)


@pytest.mark.parametrize("name", ["napari.yaml", "py.typed", "__init__.py"])
def test_the_wheel_has_what_must_lie_in_the_package(
    wheel: zipfile.Path, name: str
) -> None:
    packed = (wheel / "napari_omezarr" / name).read_bytes()
    assert packed == (PACKAGE / name).read_bytes()


def test_the_wheel_has_every_module_and_nothing_else(wheel: zipfile.Path) -> None:
    names = {name for name in wheel.root.namelist() if ".dist-info/" not in name}
    assert names >= {
        file.relative_to(PACKAGE.parent).as_posix() for file in PACKAGE.rglob("*.py")
    }
    assert all(name.startswith("napari_omezarr/") for name in names)
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_names_its_manifest_and_its_licence(wheel: zipfile.Path) -> None:
    (info,) = (path for path in wheel.iterdir() if path.name.endswith(".dist-info"))
    entry_points = (info / "entry_points.txt").read_text()
    assert "[napari.manifest]\nnapari-omezarr = napari_omezarr:napari.yaml" in (
        entry_points
    )
    assert "BSD-3-Clause" in (info / "METADATA").read_text("utf-8")
    assert (info / "licenses" / "LICENSE").is_file()


def test_the_manifest_at_the_top_is_the_one_in_the_package() -> None:
    link = ROOT / "napari.yaml"
    # A checkout on Windows may hold the link as a file with its target's path.
    content = link.read_text("utf-8")
    assert (
        content == (PACKAGE / "napari.yaml").read_text("utf-8")
        or (ROOT / content.strip()) == PACKAGE / "napari.yaml"
    )


def test_npe2_finds_the_manifest_of_the_installed_package() -> None:
    manifest = npe2.PluginManifest.from_distribution("napari-omezarr")
    assert manifest.name == "napari-omezarr"
    assert manifest.display_name == "OME-Zarr"


@pytest.mark.gui
def test_every_command_of_the_manifest_exists() -> None:
    manifest = npe2.PluginManifest.from_distribution("napari-omezarr")
    manifest.validate_imports()


def test_no_qt_binding_is_forced_on_anybody() -> None:
    required = distribution("napari-omezarr").requires or []
    always = [line.lower() for line in required if "extra ==" not in line]
    assert not [line for line in always if line.startswith(("pyqt", "pyside"))]
    assert not [line for line in always if line.startswith("napari[")]
