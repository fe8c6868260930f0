"""Text as people read it: of others, never as markup; numbers, lengths and shapes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_ELEMENTS = (
    "a|address|b|big|blockquote|body|br|caption|center|cite|code|dd|dfn|div|dl|dt|em|"
    "font|h[1-6]|head|hr|html|i|img|kbd|li|link|meta|nobr|ol|p|pre|q|s|samp|script|"
    "small|span|strong|style|sub|sup|table|tbody|td|tfoot|th|thead|title|tr|tt|u|ul|var"
)
_TAG = re.compile(
    rf"<(?=[\s!]*(?:(?:{_ELEMENTS})(?![a-z0-9])|$)|\s*\?xml|!doc)", re.IGNORECASE
)
_ENTITY = re.compile(r"&(?=lt;)")
_PIECES = re.compile(r"\d+|\D+")


def plain(text: str) -> str:
    r"""Give a text that Qt takes for plain text wherever it may stand.

    Qt guesses: a label, a tooltip or a notification whose first ``<`` begins an element
    of HTML is rendered, pictures and links of anywhere included. Such a ``<`` becomes
    a single pointed quotation mark; any other text stays as it is.

    Examples
    --------
    >>> plain("CD4 <low> <img src=x>") == "CD4 <low> \u2039img src=x>"
    True
    """
    return _ENTITY.sub("\uff06", _TAG.sub("\u2039", text))


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Give what sorts ``t2`` before ``t10``; nothing of no text.

    Examples
    --------
    >>> sorted(["t10", "t2", "t"], key=natural_key)
    ['t', 't2', 't10']
    """
    return tuple(map(_piece, _PIECES.findall(text)))


def _piece(piece: str) -> tuple[int, int, str]:
    # No number is made of it: a name may have hundreds of digits.
    digits = piece.lstrip("0")
    return (0, len(digits), digits) if piece[0].isdecimal() else (1, 0, piece)


# Bytes, lengths and shapes in words.

BY = " \N{MULTIPLICATION SIGN} "


def bytes_text(count: float) -> str:
    """Say a size in memory: ``5.4 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def counted(number: int, word: str) -> str:
    """Say a number of things: ``1 field``, ``1,204 fields``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def lengths_text(lengths: Sequence[float], units: Sequence[Any]) -> str:
    """Say lengths along axes, with a pint unit for each; equal units come together."""
    groups: list[tuple[str, list[str]]] = []
    for length, unit in zip(lengths, units, strict=True):
        name = f"{unit:~P}"
        if not groups or groups[-1][0] != name:
            groups.append((name, []))
        groups[-1][1].append(f"{abs(length):.4g}")
    return ", ".join(f"{BY.join(parts)} {name}".strip() for name, parts in groups)


def narrow_shape_text(shape: Sequence[int]) -> str:
    """Say a shape without the spaces for which a narrow place has no room."""
    return BY.strip().join(map(str, shape))


def by_times(sizes: Sequence[int]) -> str:
    """Say a shape where only plain letters are sure to be shown: ``3 x 4``."""
    return " x ".join(map(str, sizes))


def shape_text(shape: Sequence[int]) -> str:
    """Say a shape, with its axes in order."""
    return BY.join(f"{size:,}" for size in shape)
