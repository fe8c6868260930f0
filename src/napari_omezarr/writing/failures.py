"""What a computer says when it cannot write, in our words."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_omezarr.errors import (
    AccessDeniedError,
    DiskFullError,
    OMEZarrError,
    ReadOnlyError,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM)


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn an ``OSError`` inside the block into one of ours, about an address.

    Raises
    ------
    StoreError
        Whatever the operating system refused.
    """
    try:
        yield
    except OMEZarrError:
        raise
    except OSError as error:
        raise _explanation(error, address) from error
    except BaseExceptionGroup as group:
        # zarr hands on all failures of a shard's reads together.
        problem = _first(group)
        if not isinstance(problem, OSError):
            raise
        raise _said(problem, address) from group


def _said(error: OSError, address: str) -> StoreError:
    return error if isinstance(error, StoreError) else _explanation(error, address)


def _first(error: BaseException) -> BaseException:
    """Take the first failure out of a group of groups."""
    if isinstance(error, BaseExceptionGroup):
        return _first(error.exceptions[0])
    return error


def _explanation(error: OSError, address: str) -> StoreError:
    if error.errno in _FULL:
        return DiskFullError(
            f"There is no room left at {address}.",
            action="Make room and resume, or choose another place.",
            url=address,
        )
    if error.errno == errno.EROFS:
        return ReadOnlyError(
            f"{address} is read-only.", action="Choose another place.", url=address
        )
    if error.errno in _DENIED:
        return AccessDeniedError(
            f"You may not write to {address}.",
            action="Choose another place, or ask who owns it.",
            url=address,
        )
    reason = error.strerror or type(error).__name__
    return StoreError(f"{address} could not be written: {reason}.", url=address)
