"""What commands print: text for people, one JSON document for machines."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from napari_omezarr.errors import OMEZarrError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document."
)

_STEPS = 1000


_SHOWN = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"}
_SHOWN |= dict.fromkeys(range(0x7F, 0xA0), "\ufffd")
"""What stands for characters that a terminal would take for commands."""


def echo(text: str, *, err: bool = False) -> None:
    """Print text for people; what others wrote in it commands no terminal."""
    click.echo(text.translate(_SHOWN), err=err)


def plain(value: Any) -> Any:
    """Make a value of what JSON knows; dataclasses become objects."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


def print_json(value: Any) -> None:
    """Print a value as one document."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))


def print_done(sentence: str, facts: Any, *, as_json: bool) -> None:
    """Say what was done: a sentence for people, or facts for machines."""
    if as_json:
        print_json(facts)
    else:
        echo(sentence)


def print_json_rows(rows: Iterable[Any]) -> None:
    """Print a list as one document, each of its rows as soon as it is known.

    Where it breaks off after some rows, the list ends with what went wrong.
    """
    begun = False

    def tell(value: Any) -> None:
        text = json.dumps(plain(value), ensure_ascii=False)
        click.echo(f",\n{text}" if begun else f"[\n{text}", nl=False)

    try:
        for row in rows:
            tell(row)
            begun = True
    except OMEZarrError as error:
        if begun:
            tell(error_facts(error))
            click.echo("\n]")
        raise
    except KeyboardInterrupt:
        if begun:
            click.echo("\n]")
        raise
    click.echo("\n]" if begun else "[]")


def error_facts(error: OMEZarrError) -> dict[str, str]:
    """Give an error as an object for machines."""
    return {
        "error": type(error).__name__,
        "sentence": error.sentence,
        "action": error.action,
        "address": error.url,
    }


def aligned(cells: Sequence[str], widths: list[int]) -> str:
    """Lay out a row of which later ones are not known yet; `widths` grow with it."""
    widths[:] = [max(len(c), w) for c, w in zip(cells, widths, strict=True)]
    line = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(line).rstrip()


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Lay out rows in columns, as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[float], None]]:
    """Show on a terminal how much is done, from 0 to 1; a pipe gets nothing."""
    with click.progressbar(
        length=_STEPS, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        done = 0

        def show(part: float) -> None:
            nonlocal done
            step = int(part * _STEPS) - done
            if step > 0:
                bar.update(step)
                done += step

        yield show
