"""Bytes, lengths and shapes in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

BY = " \N{MULTIPLICATION SIGN} "


def bytes_text(count: float) -> str:
    """Say a size in memory: ``5.4 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def lengths_text(lengths: Sequence[float], units: Sequence[Any]) -> str:
    """Say lengths along axes, with a pint unit for each; equal units come together."""
    groups: list[tuple[str, list[str]]] = []
    for length, unit in zip(lengths, units, strict=True):
        name = f"{unit:~P}"
        if not groups or groups[-1][0] != name:
            groups.append((name, []))
        groups[-1][1].append(f"{abs(length):.4g}")
    return ", ".join(f"{BY.join(parts)} {name}".strip() for name, parts in groups)


def shape_text(shape: Sequence[int]) -> str:
    """Say a shape, with its axes in order."""
    return BY.join(f"{size:,}" for size in shape)
