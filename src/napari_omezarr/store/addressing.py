"""Where the objects of a bucket are: AWS and others, path style and virtual host.

Apart from `sign_in`, as the face of the package must not wait for AWS's libraries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from .error_mapping import RequestFailed

DEFAULT_REGION = "us-east-1"

# A dot in the bucket's name does not fit into the certificate for *.s3.amazonaws.com.
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_REGION_OF_HOST = re.compile(r"\bs3[.-]([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com")
_REGION_STATUSES = {301, 307, 400}
_VIRTUAL_CODES = {
    "PathStyleDomainForbidden",  # Tencent
    "PathStyleRequestNotAllowed",
    "SecondLevelDomainForbidden",  # Alibaba
    "VirtualHostStyleRequired",
}


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """Where a bucket answers."""

    bucket: str
    region: str = DEFAULT_REGION  # where it lives, and what signatures are made for
    endpoint: str | None = None  # http(s)://host[:port]; None is AWS
    virtual: bool = False  # bucket.host/key instead of host/bucket/key

    @property
    def host(self) -> str:
        """The service's scheme and host, without the bucket."""
        if self.endpoint:
            return self.endpoint.rstrip("/")
        end = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        return f"https://s3.{self.region}.{end}"

    def url(self, key: str) -> str:
        """Return the address of an object, encoded as S3 signs it.

        Of no bucket, it is the address of the service, which lists buckets.
        """
        if not self.bucket:
            return f"{self.host}/"
        path = quote(key, safe="/")
        if not self.virtual:
            return f"{self.host}/{quote(self.bucket)}/{path}"
        scheme, _, rest = self.host.partition("://")
        return f"{scheme}://{self.bucket}.{rest}/{path}"


def bucket_address(
    bucket: str, region: str | None, endpoint: str | None, style: str = "auto"
) -> BucketAddress:
    """Choose how to address a bucket, in the style path, virtual or auto."""
    # By auto AWS is asked by virtual host, which it prefers, and everything else by
    # path, which always resolves.
    if endpoint and "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    fits = _HOST_LABEL.fullmatch(bucket) is not None
    virtual = style == "virtual" or (style != "path" and not endpoint and fits)
    return BucketAddress(bucket, region or DEFAULT_REGION, endpoint, virtual)


def corrected(address: BucketAddress, failure: RequestFailed) -> BucketAddress | None:
    """Read from a failure where the bucket is to be asked instead, if it is told."""
    if asks_for_virtual_host(address, failure):
        return replace(address, virtual=True)
    region = _region(failure)
    if region and region != address.region:
        return replace(address, region=region)
    return None


def asks_for_virtual_host(address: BucketAddress, failure: RequestFailed) -> bool:
    """Say whether the service wants the bucket's name in the host."""
    if address.virtual or _is_number(address.host):
        return False
    there = f"{address.bucket}.{urlsplit(address.host).netloc}"
    moved = failure.status == 301 and failure.endpoint == there
    return moved or failure.code in _VIRTUAL_CODES


def _region(failure: RequestFailed) -> str:
    if failure.status not in _REGION_STATUSES:
        return ""
    found = _REGION_OF_HOST.search(failure.endpoint)
    return failure.region or (found[1] if found else "")


def _is_number(host: str) -> bool:
    try:
        ip_address(urlsplit(host).hostname or "")
    except ValueError:
        return False
    return True
