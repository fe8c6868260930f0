"""Text that others wrote: shown as it is, never as markup; sorted as people do."""

from __future__ import annotations

import re

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
