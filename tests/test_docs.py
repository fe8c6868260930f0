"""What the documentation says of the tree is so."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "napari_omezarr"
DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="an sdist has no docs")


def test_the_architecture_names_each_module_in_its_package():
    text = (DOCS / "architecture.md").read_text()
    rows = re.findall(r"^\| (\S+) \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    told = {
        f"{'' if where == '(top)' else where.strip('`')}{name}.py"
        for where, names in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    there = {file.relative_to(SOURCE).as_posix() for file in SOURCE.rglob("*.py")}
    assert told == {name for name in there if not name.endswith("__init__.py")}


@pytest.mark.parametrize("page", ["where-to-change.md", "architecture.md"])
def test_files_that_a_page_names_are_there(page):
    text = (DOCS / page).read_text()
    for name in re.findall(r"`([\w/*]+/[\w*]+\.py|test_\w+\.py)`", text):
        places = [SOURCE, ROOT / "tests", ROOT]
        assert any(list(place.glob(name)) for place in places), name


def test_links_between_pages_lead_somewhere():
    pages = [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md"]
    for page in pages:
        for link in re.findall(r"\]\(([^)#:\s]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_all_python_of_the_pages_is_python_and_imports_what_is_there():
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    blocks = [
        (page.name, block)
        for page in pages
        for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)
    ]
    assert len(blocks) > 12
    for name, block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and "napari_omezarr" in node.module:
                face = import_module(node.module)
                assert all(is_there(face, each.name) for each in node.names), name


def is_there(face, name):
    try:
        return hasattr(face, name)
    except ModuleNotFoundError:
        if find_spec("qtpy") is not None:
            raise
        return name in face.__all__  # and needs Qt, which is not installed here


def test_every_picture_is_shown_and_made_by_a_script():
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    shown = "".join(page.read_text("utf-8") for page in pages)
    made = "".join(script.read_text() for script in (ROOT / "scripts").glob("*.py"))
    for picture in (DOCS / "pictures").iterdir():
        assert f"pictures/{picture.name}" in shown, picture.name
        assert f'"{picture.name}"' in made, picture.name


def test_the_site_names_pages_that_are_there():
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    named = re.findall(r"- (?:[\w .]+: )?([\w/.-]+\.md)$", nav, re.M)
    assert len(named) > 25
    made = re.findall(
        r'"(\w+)": \w+\(\)', (ROOT / "scripts/site_source.py").read_text()
    )
    generated = {f"docs/reference/{name}.md" for name in made} | {"UNRELEASED.md"}
    assert len(generated) == 5
    for page in set(named) - generated:
        assert (ROOT / page).exists(), page


def test_every_decision_is_listed():
    folder = DOCS / "decisions"
    listed = (folder / "README.md").read_text()
    for page in folder.glob("0*.md"):
        title = page.read_text().splitlines()[0].removeprefix("# ").partition(" ")[2]
        assert f"({page.name}) {title}" in listed
