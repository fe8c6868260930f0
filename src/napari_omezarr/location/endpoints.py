"""Which web hosts are S3 endpoints, and where their addresses name the bucket."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .percent import join

if TYPE_CHECKING:
    from .address import Address

_AWS_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d"


@dataclass(frozen=True, slots=True)
class Service:
    """A family of S3 endpoints, known by the pattern of their host names.

    Attributes
    ----------
    host : str
        A pattern for the endpoint's own host; its group ``region`` names the region.
    endpoint : str or None
        The service, if it is not ``https://`` and the host; None is AWS itself.
    region : str or None
        The region, if the host does not name it.
    virtual : bool
        Whether ``bucket.host`` is an address too.
    """

    host: str
    endpoint: str | None = "https://{host}"
    region: str | None = None
    virtual: bool = True

    def match(self, host: str) -> re.Match[str] | None:
        """Match a host, with the groups ``bucket``, ``host`` and ``region``."""
        bucket = r"(?:(?P<bucket>.+)\.)?" if self.virtual else "(?P<bucket>(?!))?"
        return re.fullmatch(f"{bucket}(?P<host>{self.host})", host)


# Addresses of static web sites (s3-website) answer no S3 request: no row has them.
SERVICES = (
    Service(
        r"s3(?:-fips|-accelerate|-external-1)?(?:\.dualstack)?"
        rf"(?:[.-](?P<region>{_AWS_REGION}))?\.amazonaws\.com(?:\.cn)?",
        endpoint=None,
    ),
    Service(r"storage\.googleapis\.com"),
    Service(
        r"[0-9a-f]{32}(?:\.(?:eu|fedramp))?\.r2\.cloudflarestorage\.com", region="auto"
    ),
    Service(
        r"(?P<region>[a-z]{3}\d)(?:\.cdn)?\.digitaloceanspaces\.com",
        endpoint="https://{region}.digitaloceanspaces.com",
    ),
    Service(r"s3(?:\.(?P<region>[a-z]{2}-[a-z]+-\d))?\.wasabisys\.com"),
    Service(r"s3\.(?P<region>[a-z]{2}-[a-z]+-\d{3})\.backblazeb2\.com"),
    Service(r"s3\.(?P<region>[a-z]{2}-[a-z]{3})\.scw\.cloud"),
    Service(r"s3\.(?P<region>[a-z0-9-]+)\.(?:io\.|perf\.)?cloud\.ovh\.net"),
    Service(r"(?P<region>[a-z]{2}-[a-z]+-\d)\.linodeobjects\.com"),
    Service(r"(?P<region>[a-z]{3}\d)\.your-objectstorage\.com"),
    Service(r"cog\.sanger\.ac\.uk"),
    Service(
        r"(?:livingobjects|uk1s3\.embassy|s3\.embassy)\.ebi\.ac\.uk", virtual=False
    ),
    Service(r"s3\.embl\.de", virtual=False),
    Service(r"radosgw\.public\.os\.wwu\.de", virtual=False),
    Service(r"minio-dev\.openmicroscopy\.org", virtual=False),
)

# Names by which institutes call their S3 hosts: good enough to read a web address
# by, but a bucket may be called so too.
CONVENTION = Service(r"(?:s3|radosgw)\.(?!.*amazonaws\.com).+", virtual=False)


def is_endpoint(host: str) -> bool:
    """Say whether the host is a known S3 endpoint, and not a bucket on one."""
    matches = (service.match(host.lower()) for service in SERVICES)
    return any(found is not None and found["bucket"] is None for found in matches)


def as_bucket(address: Address, *, path_style: bool = False) -> Address | None:
    """Read a web address as bucket and key of the S3 service behind its host.

    Parameters
    ----------
    address : Address
        An ``http`` or ``https`` address. Its query signs single requests, so the
        result has none.
    path_style : bool
        Take an unknown host for an endpoint whose first folder is the bucket.

    Returns
    -------
    Address or None
        None if the host is unknown, or the address names no bucket.
    """
    service, found = _service_of(address.root)
    if service is None or found is None:
        if not path_style:
            return None
        return _first_folder(address, f"{address.protocol}://{address.root}")
    groups = found.groupdict()
    endpoint = service.endpoint and service.endpoint.format(**groups)
    if endpoint and address.protocol == "http":
        endpoint = endpoint.replace("https:", "http:", 1)
    region = groups.get("region") or service.region
    if groups["bucket"] is None:
        return _first_folder(address, endpoint, region)
    return _in_bucket(address, groups["bucket"], endpoint, region)


def _service_of(host: str) -> tuple[Service | None, re.Match[str] | None]:
    for service in (*SERVICES, CONVENTION):
        if found := service.match(host):
            return service, found
    return None, None


def _first_folder(
    address: Address, endpoint: str | None, region: str | None = None
) -> Address | None:
    bucket, _, path = address.path.partition("/")
    if not bucket or (not path and address.member is not None):
        return None
    return _in_bucket(replace(address, path=join("", path)), bucket, endpoint, region)


def _in_bucket(
    address: Address, bucket: str, endpoint: str | None, region: str | None
) -> Address:
    return replace(
        address,
        protocol="s3",
        root=bucket,
        query="",
        userinfo="",
        endpoint=endpoint,
        region=region,
    )
