"""Signatures for S3, made by botocore's own signer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.credentials import ReadOnlyCredentials

# At DEBUG the signer writes what it signs, session tokens included.
logging.getLogger("botocore.auth").setLevel(logging.INFO)


def signed(
    url: str, headers: Mapping[str, str], credentials: ReadOnlyCredentials, region: str
) -> dict[str, str]:
    """Sign a GET.

    Parameters
    ----------
    url : str
        Encoded as it will be sent.
    headers : Mapping
        Headers of the request; they are signed too.
    credentials : ReadOnlyCredentials
        Who signs.
    region : str
        The region that the signature is for.

    Returns
    -------
    dict
        All headers to send, the signature among them.
    """
    request = AWSRequest("GET", url, headers=dict(headers))
    S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return dict(request.headers.items())
