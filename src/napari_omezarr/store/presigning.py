"""Signed addresses of single objects, for who has no sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from napari_omezarr.errors import OptionError, StoreError

from .bucket import shared_bucket
from .opening import open_store, wished

if TYPE_CHECKING:
    from napari_omezarr.location import Location

LONGEST = 7 * 24 * 3600
"""How many seconds S3 lets a signature be valid at most."""


async def presigned(location: Location, seconds: int = 3600) -> str:
    """Sign the address of one object, on the I/O loop.

    The result is a secret: whoever has it can read the object until it ends.

    Parameters
    ----------
    location : Location
        An object in a bucket; an image is thousands of them, which no one address
        can open.
    seconds : int, optional
        How long it works, a week at most.

    Raises
    ------
    OptionError
        It is no single object of a bucket, or nobody signs there.
    StoreError
        It could not be read.
    """
    bucket = None if location.query else location.as_s3()
    if bucket is None or not await open_store(location).exists(""):
        sentence = f"{location.display} is not one object of a bucket."
        action = "Choose a single file; an image cannot be shared so."
        raise OptionError(sentence, action=action, url=location.display)
    known = shared_bucket(bucket.root, wished(bucket, None), automatic=False)
    credentials = await known.credentials()
    if isinstance(credentials, StoreError):
        raise credentials
    if credentials is None:
        sentence = f"Nobody signs in at {location.display}."
        raise OptionError(sentence, action="Share its plain address.")
    request = AWSRequest("GET", known.address.url(bucket.path))
    signer = S3SigV4QueryAuth(
        credentials, "s3", known.address.region, expires=min(seconds, LONGEST)
    )
    signer.add_auth(request)
    return str(request.url)
