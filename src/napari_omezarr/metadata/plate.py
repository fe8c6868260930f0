"""High-content screening: plates and their wells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .labels import path_or_note
from .model import Acquisition, Plate, PlateWell, Well, WellImage
from .node import shown

if TYPE_CHECKING:
    from .node import Node


class _Names:
    """Rows or columns of a plate, in order, that grow with what wells name."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.index: dict[str, int] = {}
        for element in node.elements():
            name = element.child("name").text()
            if not name:
                element.note("has no name")
                name = f"?{len(self.index)}"
            if name in self.index:
                element.note(f"repeats the name {shown(name)}")
                continue
            self.index[name] = len(self.index)

    def place(self, name: str | None, stated: Node) -> int | None:
        """Return the index of ``name``; else the stated one; else add the name."""
        number = stated.integer()
        if number is not None and not 0 <= number < len(self.index):
            stated.note(f"{shown(number)} is not on the plate; it is ignored")
            number = None
        if name in self.index:
            if number not in (None, self.index[name]):
                # Both MUST agree (0.4 "plate"). The data lie at the path.
                stated.note(f"{number} contradicts the well's path, which counts")
            return self.index[name]
        if number is None and name is not None:
            self.node.note(f"lacks {shown(name)}, which a well names; it is added")
            number = self.index[name] = len(self.index)
        return number


def parse_plate(node: Node) -> Plate:
    """Parse the ``plate`` block.

    Parameters
    ----------
    node : Node
        The block. Rows and columns of wells are read from their paths (``A/1``),
        and from rowIndex and columnIndex (0.4) where paths do not tell.

    Raises
    ------
    MetadataError
        When it lists no well that can be placed.
    """
    rows, columns = _Names(node.child("rows")), _Names(node.child("columns"))
    wells: dict[str, PlateWell] = {}
    for element in node.child("wells").elements():
        well = _parse_well_place(element, rows, columns)
        if well is None:
            continue
        if well.path in wells:
            element.note("repeats a well; it is left out")
            continue
        wells[well.path] = well
    if not wells:
        raise node.child("wells").error("The plate lists no well")
    return Plate(
        name=node.child("name").text(),
        rows=tuple(rows.index),
        columns=tuple(columns.index),
        wells=tuple(wells.values()),
        acquisitions=_parse_acquisitions(node.child("acquisitions")),
        field_count=_count(node.child("field_count")),
    )


def parse_well(node: Node) -> Well:
    """Parse the ``well`` block: the paths of its fields of view, in order.

    Raises
    ------
    MetadataError
        When it lists no field.
    """
    images: dict[str, WellImage] = {}
    for element in node.child("images").elements():
        path = path_or_note(element.child("path"))
        if path is not None and path not in images:
            acquisition = element.child("acquisition").integer()
            images[path] = WellImage(path, acquisition)
    if not images:
        raise node.child("images").error("The well lists no field of view")
    return Well(tuple(images.values()))


def _parse_well_place(node: Node, rows: _Names, columns: _Names) -> PlateWell | None:
    path = path_or_note(node.child("path"))
    if path is None:
        return None
    names = path.split("/")[-2:] if "/" in path else (None, None)
    row = rows.place(names[0], node.child("rowIndex"))
    column = columns.place(names[1], node.child("columnIndex"))
    if row is None or column is None:
        node.note("does not tell its row and column; the well is left out")
        return None
    return PlateWell(path, row, column)


def _parse_acquisitions(node: Node) -> tuple[Acquisition, ...]:
    acquisitions: dict[int, Acquisition] = {}
    for element in node.elements():
        number = element.child("id").integer()
        if number is None or number in acquisitions:
            element.note("has no id of its own; the acquisition is left out")
            continue
        _count(element.child("maximumfieldcount"))
        acquisitions[number] = Acquisition(number, element.child("name").text())
    return tuple(acquisitions.values())


def _count(node: Node) -> int | None:
    count = node.integer()
    if count is not None and count < 1:
        node.note(f"{shown(count)} is no count; it is ignored")
        return None
    return count
