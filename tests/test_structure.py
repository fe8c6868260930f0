"""No module imports in a circle, and packages are imported by their faces."""

from __future__ import annotations

import ast
import tokenize
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import click

import napari_omezarr
from napari_omezarr.cli import main

ROOT = Path(napari_omezarr.__file__).parent

WITHOUT_FACE = {
    "napari_omezarr.demo": "a program",
    "napari_omezarr.display": "its settings are read where napari is not needed",
    "napari_omezarr.widgets": "each dock is imported when it is opened",
    "napari_omezarr.widgets.browser": "the dock is imported when it is opened",
}
"""Packages whose modules are imported one by one, and why."""

SAME_NAME = {
    "__main__": "what `python -m` looks for",
    "api": "the verbs of a package for scripts",
    "details": "what a place is, and the panel that shows it",
    "engine": "what does the work: of the display, of a save",
    "errors": "what goes wrong, and how the browser shows it",
    "image": "as it is read, and as a script holds it",
    "open": "a store, and layers in a viewer",
    "options": "of a save, and of commands",
    "plates": "read, written, and as a script holds them",
}
"""Names that several modules have, and what each means in its package."""


def modules(root: Path) -> dict[str, Path]:
    """All modules below a package's folder, by name."""
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def statements(path: Path) -> list[ast.stmt]:
    """The statements of a file, at any depth."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]


def imports(name: str, known: dict[str, Path]) -> list[tuple[ast.stmt, str, str]]:
    """The statement, module and name of each import from the package, type-only too."""
    package = name if known[name].name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for statement in statements(known[name]):
        if isinstance(statement, ast.Import):
            found += [
                (statement, alias.name, "")
                for alias in statement.names
                if alias.name in known
            ]
        elif isinstance(statement, ast.ImportFrom):
            ancestors = package.split(".")[: 1 - statement.level or None]
            base = [*ancestors] if statement.level else []
            module = ".".join(
                [*base, *([statement.module] if statement.module else [])]
            )
            if module in known:
                found += [(statement, module, alias.name) for alias in statement.names]
    return found


def targets(name: str, known: dict[str, Path]) -> set[str]:
    """The modules that a module imports from."""
    found = set()
    for _, module, imported in imports(name, known):
        inner = f"{module}.{imported}"
        found.add(inner if inner in known else module)
    return found - {name}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of a graph, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def package_of(module: str, known: dict[str, Path]) -> str:
    """The package of a module; a module right below the root is one of its own."""
    package = module.rpartition(".")[0]
    is_face = known[module].name == "__init__.py"
    return module if is_face or "." not in package else package


def commented_lines(path: Path) -> set[int]:
    with path.open("rb") as file:
        tokens = tokenize.tokenize(file.readline)
        return {t.start[0] for t in tokens if t.type == tokenize.COMMENT}


def past_faces(root: Path) -> list[str]:
    """Imports of another package's module, without a comment that says why."""
    known = modules(root)
    found = []
    for name, path in known.items():
        comments: set[int] | None = None
        for statement, module, _ in imports(name, known):
            package = package_of(module, known)
            outside = package not in (module, name) and not name.startswith(
                f"{package}."
            )
            if not outside or package in WITHOUT_FACE:
                continue
            comments = comments or commented_lines(path)
            if not {statement.lineno - 1, statement.lineno} & comments:
                found.append(f"{name}, line {statement.lineno}: {module}")
    return found


def test_modules_do_not_import_in_a_circle():
    known = modules(ROOT)
    graph = {name: targets(name, known) for name in known}
    assert circle(graph) == []


def test_packages_do_not_import_in_a_circle():
    known = modules(ROOT)
    graph: dict[str, set[str]] = {}
    for name in known.keys() - {ROOT.name}:
        package = package_of(name, known)
        others = {package_of(target, known) for target in targets(name, known)}
        graph.setdefault(package, set()).update(others - {package, ROOT.name})
    assert circle(graph) == []


def test_a_class_has_a_name_of_its_own_and_so_has_a_module_but_for_reasons():
    known = modules(ROOT)
    names = Counter(path.stem for path in known.values())
    twice = {name for name, count in names.items() if count > 1}
    assert twice - {"__init__"} == SAME_NAME.keys()
    classes = Counter(
        statement.name
        for path in known.values()
        for statement in statements(path)
        if isinstance(statement, ast.ClassDef)
    )
    assert [name for name, count in classes.items() if count > 1] == []


def test_packages_are_imported_by_their_faces():
    assert past_faces(ROOT) == []


def test_a_circle_of_types_and_an_import_past_a_face_are_found(tmp_path):
    for name, text in {
        "house/__init__.py": "",
        "house/roof.py": "from .cellar.wine import Wine\n",
        "house/cellar/__init__.py": "from .wine import Wine\n",
        "house/cellar/wine.py": "if TYPE_CHECKING:\n    from ..roof import Roof\n",
        "house/door.py": "# It must open fast.\nfrom house.cellar.wine import Wine\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    known = modules(tmp_path / "house")
    graph = {name: targets(name, known) for name in known}
    assert set(circle(graph)) == {"house.roof", "house.cellar.wine"}
    assert past_faces(tmp_path / "house") == ["house.roof, line 1: house.cellar.wine"]


def test_each_command_lies_in_the_module_that_the_table_says():
    context = click.Context(main)
    for name in main.list_commands(context):
        assert main.get_command(context, name).get_short_help_str(), name
