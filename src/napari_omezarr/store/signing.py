"""Signatures for S3, made by botocore's own signer."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.credentials import ReadOnlyCredentials

    from .web import Message

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


def signed_message(
    message: Message, digest: str, credentials: ReadOnlyCredentials, region: str
) -> Message:
    """Sign a request together with its body, so that the service checks what came.

    Parameters
    ----------
    message : Message
        The request; all its headers are signed too.
    digest : str
        The SHA-256 of its body in hexadecimal digits.
    credentials, region
        As for `signed`.

    Returns
    -------
    Message
        The same with the signature among its headers.
    """
    headers = dict(message.headers)
    request = AWSRequest(message.method, message.url, headers=headers)
    _BodySigner(credentials, region, digest).add_auth(request)
    return replace(message, headers=dict(request.headers.items()))


class _BodySigner(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs a body whose hash is known: made in a thread, and once for all tries."""

    def __init__(
        self, credentials: ReadOnlyCredentials, region: str, digest: str
    ) -> None:
        super().__init__(credentials, "s3", region)
        self._digest = digest

    def payload(self, request: AWSRequest) -> str:
        """Give the hash of the body."""
        return self._digest
