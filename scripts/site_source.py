"""Gather the pages of the documentation site, and generate its reference.

The pages are those of the repository, in their places, so that links lead where they do
there. The reference is made of what the program says of itself.

    python scripts/site_source.py build/site-source
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

import napari_omezarr

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "docs/**/*.md",
    "docs/pictures/*",
    "benchmarks/README.md",
    "changes/README.md",
    "examples/*.py",
)
KINDS = {"feature": "New", "bugfix": "Mended", "removal": "Gone", "misc": "Else"}


def main(target: Path) -> None:
    """Make the folder anew."""
    shutil.rmtree(target, ignore_errors=True)
    for pattern in PAGES:
        for page in ROOT.glob(pattern):
            place = target / page.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(page, place)
    reference = target / "docs" / "reference"
    reference.mkdir()
    pages = {"cli": cli(), "api": api(), "settings": settings(), "manifest": manifest()}
    for name, text in pages.items():
        (reference / f"{name}.md").write_text(text, "utf-8")
    (target / "UNRELEASED.md").write_text(unreleased(), "utf-8")


def cli() -> str:
    """Give the page that mkdocs-click fills with all commands and their options."""
    return (
        "# Commands\n\n::: mkdocs-click\n    :module: napari_omezarr.cli\n"
        "    :command: main\n    :prog_name: napari-omezarr\n    :depth: 1\n"
        "    :style: table\n"
    )


def api() -> str:
    """Give the page that mkdocstrings fills with all public names."""
    objects = ["OMEImage", "OMEPlate", "OMEWell", "OMECollection"]
    homes = napari_omezarr._HOMES
    names = [
        f"{homes[name]}.{name}" if name in homes else name
        for name in napari_omezarr.__all__
    ]
    names += [f"opened.{name}" for name in objects]
    names += ["objects.label_objects", "objects.measure_objects", "region.load_region"]
    return "# Python API\n\n" + "\n\n".join(
        f"::: napari_omezarr.{name}" for name in names
    )


def settings() -> str:
    """Say what can be set: in napari's preferences, for a connection, for a save."""
    lines = ["# Settings", "", "## Preferences > OME-Zarr", ""]
    lines += ["| setting | default | meaning |", "| --- | --- | --- |"]
    for section in _manifest()["configurations"].values():
        for key, known in section["properties"].items():
            name, default = known.get("title", key), known.get("default", "")
            lines.append(f"| {name} | `{default}` | {known.get('description', '')} |")
    for title, name in (
        ("A connection", "connections.Profile"),
        ("What is opened", "reading.ReadOptions"),
        ("What is written", "writing.WriteOptions"),
        ("How it is written", "writing.SaveMode"),
    ):
        lines += ["", f"## {title}", "", f"::: napari_omezarr.{name}"]
    return "\n".join(lines)


def manifest() -> str:
    """Say what napari is told of the plugin."""
    known = _manifest()
    lines = ["# What napari is told", "", "| command | in Python |", "| --- | --- |"]
    titles = {each["id"]: each["title"] for each in known["commands"]}
    for command in known["commands"]:
        lines.append(f"| {command['title']} | `{command['python_name']}` |")
    lines += ["", "| menu | entry |", "| --- | --- |"]
    for menu, entries in known.get("menus", {}).items():
        for entry in entries:
            title = titles.get(entry.get("command"), entry.get("submenu", ""))
            lines.append(f"| `{menu}` | {title} |")
    lines += ["", "## Claimed names", ""]
    for reader in known["readers"]:
        lines += [f"- `{pattern}`" for pattern in reader["filename_patterns"]]
    return "\n".join(lines)


def unreleased() -> str:
    """Gather the fragments of changes; links in them start at the top, as theirs do."""
    lines = ["# Not released yet", ""]
    for kind, title in KINDS.items():
        found = sorted((ROOT / "changes").glob(f"*.{kind}*.md"))
        if found:
            lines += [f"## {title}", ""]
            texts = (" ".join(page.read_text("utf-8").split()) for page in found)
            lines += [f"- {text}" for text in texts]
            lines.append("")
    return "\n".join(lines)


def _manifest() -> Any:
    place = Path(napari_omezarr.__file__).with_name("napari.yaml")
    return yaml.safe_load(place.read_text("utf-8"))["contributions"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
