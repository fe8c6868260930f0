"""What was opened, in a few lines: for a terminal, and for a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_omezarr.pyramid import Pyramid

    Facts = Sequence[tuple[str, str]]

_MOST = 12
"""How many channels, labels or images are named."""


def named(names: Sequence[str]) -> str:
    """Name some things, and say how many more there are."""
    more = len(names) - _MOST
    return ", ".join(map(printable, names[:_MOST])) + (
        f" and {more} more" if more > 0 else ""
    )


def printable(text: str) -> str:
    """Give a text without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def facts(image: Pyramid, labels: Sequence[str], *, is_part: bool) -> Facts:
    """Say what there is to say of an image: pairs of what, and what of it."""
    place = printable(image.location.display)
    units = {axis.name: axis.unit for axis in image.world_axes}
    steps = zip(image.axes, image.shape, image.levels[0].affine.scale, strict=True)
    axes = (
        f"{printable(axis.name)} {size}" + _step(step, units.get(axis.name))
        for axis, size, step in steps
    )
    sizes = [" x ".join(map(str, level.shape)) for level in image.levels]
    said = [
        ("version", f"OME-Zarr {printable(image.version)}" if image.version else ""),
        ("address", f"a part of {place}" if is_part else place),
        ("axes", ", ".join(axes)),
        ("levels", f"{len(sizes)} of {image.levels[0].dtype}: {'; '.join(sizes)}"),
        ("channels", "" if image.label is not None else named(_channels(image))),
        ("labels", named(labels)),
        ("warnings", f"{len(image.warnings)}; see .warnings" if image.warnings else ""),
    ]
    return [(what, text) for what, text in said if text]


def as_text(image: Pyramid, known: Facts) -> str:
    """Describe an image in lines."""
    kind = "image" if image.label is None else "labels"
    first = f"<OMEImage {printable(image.name)} ({kind})"
    return "\n  ".join([first, *(f"{what}: {text}" for what, text in known)]) + ">"


def as_html(image: Pyramid, known: Facts) -> str:
    """Describe an image as a table; all text of others is escaped."""
    rows = {what: escape(text) for what, text in known}
    if "channels" in rows:
        names = _channels(image)[:_MOST]
        rows["channels"] = " ".join(
            f'<span style="background:#{channel.color}">&emsp;</span> '
            + escape(printable(name))
            for channel, name in zip(image.channels, names, strict=False)
        )
    left = 'style="text-align:left"'
    body = "".join(
        f"<tr><th {left}>{what}</th><td {left}>{text}</td></tr>"
        for what, text in rows.items()
    )
    return f"<table><caption>{escape(printable(image.name))}</caption>{body}</table>"


def _channels(image: Pyramid) -> list[str]:
    return [channel.name or image.name for channel in image.channels]


def _step(size: float, unit: str | None) -> str:
    return f" ({size:g} {printable(unit)})" if unit else ""
