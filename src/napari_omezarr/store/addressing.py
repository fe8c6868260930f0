"""Where the objects of a bucket are: AWS and others, path style and virtual host.

Apart from `sign_in`, as the face of the package must not wait for AWS's libraries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from napari_omezarr.errors import OptionError
from napari_omezarr.location import encode, is_region

if TYPE_CHECKING:
    from .error_mapping import RequestFailed

DEFAULT_REGION = "us-east-1"

# A dot in the bucket's name does not fit into the certificate for *.s3.amazonaws.com.
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
# AWS's own hosts, without the bucket: which kind, and where.
_AWS = re.compile(
    r"\b(s3(?:express(?=-)|-accesspoint|-object-lambda)?)(-fips)?(-[a-z0-9]+-az\d)?"
    r"(?:-accelerate|-external-1)?(\.dualstack)?(?:[.-]([a-z]{2}(?:-[a-z]+)+-\d))?"
    r"\.amazonaws\.com(?:\.cn)?$"
)
# A directory bucket (S3 Express), or an access point of one, names its zone.
_ZONE = re.compile(r".+--([a-z]+\d)(-az\d)--xa?-s3")
# An access point, as a `Location` spells its name.
_POINT = re.compile(
    r"arn:aws[\w-]*:(s3|s3-object-lambda):([a-z0-9-]+):(\d{12}):accesspoint:([\w-]+)"
)
_REGIONS_OF_ZONES = {
    "apne1": "ap-northeast-1",
    "aps1": "ap-south-1",
    "eun1": "eu-north-1",
    "euw1": "eu-west-1",
    "use1": "us-east-1",
    "use2": "us-east-2",
    "usw2": "us-west-2",
}
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
    """Its name; of an access point ``name-account``."""
    region: str = DEFAULT_REGION
    """Where it lives, and what signatures are made for."""
    endpoint: str | None = None
    """``http(s)://host[:port]``; None is AWS."""
    virtual: bool = False
    """Whether it is ``bucket.host/key`` instead of ``host/bucket/key``."""
    kind: str = "s3"
    """How AWS calls the service: ``s3``, ``s3-accesspoint``, ``s3-object-lambda``, or
    ``s3express`` with a zone."""
    fips: bool = False
    dual_stack: bool = False
    """Which of AWS's hosts to ask."""

    @property
    def host(self) -> str:
        """The service's scheme and host, without the bucket."""
        if self.endpoint:
            return self.endpoint.rstrip("/")
        service, zone, rest = self.kind.partition("express-")
        express = "express" if zone else ""
        fips = "-fips" if self.fips else ""
        name = f"{service}{express}{fips}" + (f"-{rest}" if zone else "")
        stack = ".dualstack" if self.dual_stack else ""
        end = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        return f"https://{name}{stack}.{self.region}.{end}"

    @property
    def signed_as(self) -> str:
        """The service that signatures are made for."""
        if self.kind.startswith("s3express"):
            return "s3express"
        return self.kind if self.kind == "s3-object-lambda" else "s3"

    @property
    def name(self) -> str:
        """How AWS calls it from outside: an access point by its ARN."""
        point, _, account = self.bucket.rpartition("-")
        known = self.kind in ("s3-accesspoint", "s3-object-lambda")
        if not (known and account.isdecimal()):
            return self.bucket
        partition = {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(
            self.region.rsplit("-", 2)[0], "aws"
        )
        service = self.kind.removesuffix("-accesspoint")
        return f"arn:{partition}:{service}:{self.region}:{account}:accesspoint/{point}"

    def url(self, key: str) -> str:
        """Return the address of an object, encoded as S3 signs it.

        Of no bucket, it is the address of the service, which lists buckets.
        """
        if not self.bucket:
            return f"{self.host}/"
        path = encode(key)
        if not self.virtual:
            return f"{self.host}/{encode(self.bucket)}/{path}"
        scheme, _, rest = self.host.partition("://")
        return f"{scheme}://{self.bucket}.{rest}/{path}"


def bucket_address(
    bucket: str,
    region: str | None,
    endpoint: str | None,
    style: str = "auto",
    *,
    fips: bool = False,
    dual_stack: bool = False,
) -> BucketAddress:
    """Choose how to address a bucket, in the style path, virtual or auto.

    `fips` and `dual_stack` are wishes about AWS's hosts, and say nothing of others. An
    access point that is named by its ARN is asked at an endpoint as AWS's libraries do:
    its name stands before the host, and its own region is what is signed for.
    """
    if endpoint and "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    scheme, _, host = (endpoint or "").rstrip("/").lower().partition("://")
    if point := _POINT.fullmatch(bucket):
        kind = "s3-accesspoint" if point[1] == "s3" else point[1]
        name = f"{point[4]}-{point[3]}"
        fips, dual_stack = fips and not endpoint, dual_stack and not endpoint
        virtual = not host.startswith("[")
        return BucketAddress(name, point[2], endpoint, virtual, kind, fips, dual_stack)
    kind, found = "s3", _AWS.fullmatch(host)
    if found and scheme == "https" and "-accelerate" not in host:
        # One of AWS's hosts is made anew, so that it follows the region.
        kind = f"{found[1]}{found[3] or ''}"
        fips, dual_stack = fips or bool(found[2]), dual_stack or bool(found[4])
        region, endpoint = found[5] or region, None
    elif endpoint:
        fips = dual_stack = False
    if endpoint is None and (zone := _ZONE.fullmatch(bucket)):
        kind = f"s3express-{zone[1]}{zone[2]}"
        region = region or _REGIONS_OF_ZONES.get(zone[1])
    # By auto AWS is asked by virtual host, which it prefers, and everything else by
    # path, which always resolves.
    fits = _HOST_LABEL.fullmatch(bucket) is not None
    virtual = style == "virtual" or (style != "path" and not endpoint and fits)
    virtual |= kind != "s3" or "s3-accelerate." in host  # which know no other way
    virtual &= not host.startswith("[")  # no name can stand before a number
    region = region or DEFAULT_REGION
    if not is_region(region):  # of the environment, or of AWS's files
        sentence = "What AWS's configuration names is no region."
        raise OptionError(sentence, action="Correct AWS_REGION, or the profile.")
    return BucketAddress(bucket, region, endpoint, virtual, kind, fips, dual_stack)


def corrected(address: BucketAddress, failure: RequestFailed) -> BucketAddress | None:
    """Read from a failure where the bucket is to be asked instead, if it is told."""
    if asks_for_virtual_host(address, failure):
        return replace(address, virtual=True)
    region = _region(failure)
    if region and is_region(region) and region != address.region:
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
    found = _AWS.search(failure.endpoint)
    return failure.region or (found and found[5]) or ""


def _is_number(host: str) -> bool:
    try:
        ip_address(urlsplit(host).hostname or "")
    except ValueError:
        return False
    return True
