"""What is asked of a bucket, before somebody signs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a bucket: of a key, or of itself (``""``)."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview | None = None


def query_of(wishes: Mapping[str, str]) -> str:
    """Write a query as it is signed: sorted, and encoded like everything else."""
    pairs = sorted((name, quote(text, safe="-_.~")) for name, text in wishes.items())
    return "&".join(f"{name}={text}" for name, text in pairs)
