"""A prefix of a bucket, of which nothing is found out before the first request."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from . import web
from .tally import Tally
from .transport import REMOTE_CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bucket import Bucket


class BucketPlace:
    """The objects below a prefix of a bucket, to be read or written.

    Parameters
    ----------
    bucket : callable
        Gives what is known of the bucket; called with the first request, on the I/O
        loop, as it may read AWS's configuration files.
    prefix : str
        The key below which the keys are; ``""`` for the whole bucket.
    access : web.Access
        What to trust and how long to wait.
    """

    concurrency = REMOTE_CONCURRENCY

    def __init__(
        self, bucket: Callable[[], Bucket], prefix: str, access: web.Access
    ) -> None:
        self.tally = Tally()
        self._find_bucket = bucket
        self._bucket: Bucket | None = None
        self._prefix = prefix
        self._access = replace(access, redirects=False)

    def path(self, key: str) -> str:
        """Give the whole key of an object."""
        return f"{self._prefix}/{key}".strip("/")

    def _opened(self) -> Bucket:
        if self._bucket is None:
            self._bucket = self._find_bucket()
            ca_file = self._access.ca_file or self._bucket.ca_file
            proxy = web.proxy_for(self._bucket.address.host)
            self._access = replace(self._access, ca_file=ca_file, proxy=proxy)
        return self._bucket
