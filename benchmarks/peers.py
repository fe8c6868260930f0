"""How other libraries are told of an address; used by openers and readers."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

# Every contender imports what it needs inside its own functions: it runs alone in
# its process, maybe in an environment that lacks what the others need.


def napari_ome_zarr_layers(url: str) -> list[Any]:
    """Give what napari-ome-zarr hands to napari."""
    import fsspec
    from napari_ome_zarr import napari_get_reader

    if is_anonymous(url):
        fsspec.config.conf["s3"] = {"anon": True}
    reader = napari_get_reader(url)
    if reader is None:
        raise FileNotFoundError("napari-ome-zarr does not open it")
    return list(reader(url))


def tensorstore_place(url: str) -> dict[str, Any]:
    """Say an address as tensorstore's own description of it."""
    parts = urlsplit(url)
    if parts.scheme != "s3":
        return {"driver": "http", "base_url": f"{url}/"}
    kind = "anonymous" if is_anonymous(url) else "environment"
    return {
        "driver": "s3",
        "bucket": parts.netloc,
        "path": f"{parts.path.strip('/')}/",
        "endpoint": os.environ["AWS_ENDPOINT_URL"],
        "aws_region": "us-east-1",
        "aws_credentials": {"type": kind},
    }


def is_anonymous(url: str) -> bool:
    """Say whether it is a bucket that is read without signing in."""
    return url.startswith("s3:") and "AWS_ACCESS_KEY_ID" not in os.environ


def web_address(url: str, method: str = "GET") -> str:
    """Give the address of an object for a plain GET, signed in its query if need be."""
    if not url.startswith("s3:"):
        return url
    parts = urlsplit(url)
    plain = f"{os.environ['AWS_ENDPOINT_URL']}/{parts.netloc}{parts.path}"
    if is_anonymous(url):
        return plain
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    keys = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    request = AWSRequest(method, plain)
    S3SigV4QueryAuth(Credentials(*keys), "s3", "us-east-1").add_auth(request)
    return str(request.url)
