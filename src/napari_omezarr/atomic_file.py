"""Files that a reader finds whole, old or new, and never half."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTIAL = ".partial"
"""How the name of a file ends that is being written."""


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Write a file beside its place, and rename it when the block ends well.

    Yields what to write, in the same folder: only there a rename is one step. It is
    gone when the block fails. A process that is killed leaves it behind, under a name
    that begins with a dot and ends with `PARTIAL`.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{uuid4().hex}{PARTIAL}")
    try:
        yield fresh
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
