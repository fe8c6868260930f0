"""Byte ranges as zarr asks for them, as HTTP says them, and cut from a body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest

FIRST_BYTE = RangeByteRequest(0, 1)


def range_header(wanted: ByteRequest) -> str:
    """Say a range as the value of HTTP's ``Range`` header.

    Examples
    --------
    >>> range_header(RangeByteRequest(0, 10))
    'bytes=0-9'
    """
    match wanted:
        case RangeByteRequest(start, end):
            return f"bytes={start}-{end - 1}"
        case OffsetByteRequest(offset):
            return f"bytes={offset}-"
        case SuffixByteRequest(suffix):
            return f"bytes=-{suffix}"


def span(wanted: ByteRequest | None, size: int) -> tuple[int, int]:
    """Find where a range begins and ends in an object of `size` bytes."""
    match wanted:
        case RangeByteRequest(start, end):
            return min(start, size), min(end, size)
        case OffsetByteRequest(offset):
            return min(offset, size), size
        case SuffixByteRequest(suffix):
            return max(0, size - suffix), size
        case None:
            return 0, size


def cut(body: bytes, wanted: ByteRequest | None) -> bytes:
    """Cut a range from a whole body."""
    start, end = span(wanted, len(body))
    return body if (start, end) == (0, len(body)) else body[start:end]


def is_empty(wanted: ByteRequest | None) -> bool:
    """Say whether a range has no bytes, which HTTP cannot ask for."""
    match wanted:
        case RangeByteRequest(start, end):
            return start >= end
        case SuffixByteRequest(suffix):
            return suffix == 0
    return False


def is_index(wanted: ByteRequest | None) -> bool:
    """Say whether a range is what zarr asks for to learn where a shard's chunks are.

    An index has 16 bytes for each chunk, and mostly 4 more for a checksum; it lies
    at the shard's end, or at its beginning.
    """
    match wanted:
        case SuffixByteRequest(size) | RangeByteRequest(0, size):
            return size % 16 in (0, 4)
    return False
