"""The buckets of a connection, for those few sign-ins that may list them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_omezarr.connections import locate
from napari_omezarr.store import open_buckets

from .entry import Entry, Kind

if TYPE_CHECKING:
    from napari_omezarr.connections.connections import Profile
    from napari_omezarr.store import Patience


async def list_buckets(
    profile: Profile, *, patience: Patience | None = None
) -> tuple[Entry, ...]:
    """List the buckets of a connection, on the I/O loop; only if the person asks.

    Most sign-ins for public and institute data may not: a bucket that is known is
    opened by its address.

    Raises
    ------
    ListingDeniedError
        This sign-in may not.
    StoreError
        There was no answer.
    """
    found = await open_buckets(profile, patience=patience).buckets()
    return tuple(
        Entry(
            locate(f"s3://{bucket.name}", profile),
            "",
            Kind.BUCKET,
            recognised=True,
            modified=bucket.modified,
        )
        for bucket in found
    )
