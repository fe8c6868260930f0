"""Signatures for S3 (AWS Signature Version 4), in a third of the time of botocore's.

Every request is signed on the thread that serves the network, so what one costs is
taken from all others. botocore's signer derives the key, takes the address apart and
sorts the headers anew for each, several times; a test holds this one to its results.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.credentials import ReadOnlyCredentials

    from .web import Message

# Signing in goes through botocore's signer, and at DEBUG that writes what it signs,
# session tokens included.
logging.getLogger("botocore.auth").setLevel(logging.INFO)

_ALGORITHM = "AWS4-HMAC-SHA256"
_NOTHING = hashlib.sha256().hexdigest()
_PORTS = {"http": 80, "https": 443}


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
    return _signed(("GET", url, headers), _NOTHING, credentials, region)


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
    request = (message.method, message.url, message.headers)
    return replace(message, headers=_signed(request, digest, credentials, region))


def _signed(
    request: tuple[str, str, Mapping[str, str]],
    digest: str,
    credentials: ReadOnlyCredentials,
    region: str,
) -> dict[str, str]:
    method, url, given = request
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {**given, "X-Amz-Date": stamp, "X-Amz-Content-SHA256": digest}
    if credentials.token:
        headers["X-Amz-Security-Token"] = credentials.token
    parts = urlsplit(url)
    lines = {name.lower(): " ".join(text.split()) for name, text in headers.items()}
    lines["host"] = _host(parts.scheme, parts.netloc)
    names = sorted(lines)
    signed_names = ";".join(names)
    canonical = "\n".join(
        [
            method,
            parts.path,
            "&".join(sorted(parts.query.split("&"), key=_name_and_value)),
            *(f"{name}:{lines[name]}" for name in names),
            "",
            signed_names,
            digest,
        ]
    )
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = _key(credentials.secret_key, stamp[:8], region)
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashed}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    headers["Authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={signed_names}, Signature={signature}"
    )
    return headers


@lru_cache(16)
def _key(secret: str, day: str, region: str) -> bytes:
    """Derive the key that signs on a day in a region."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@lru_cache(64)
def _host(scheme: str, netloc: str) -> str:
    """Give the ``Host`` header: no default port, in lower case."""
    parts = urlsplit(f"{scheme}://{netloc}")
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, _PORTS.get(scheme)) else f"{host}:{parts.port}"


def _name_and_value(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return name, value
