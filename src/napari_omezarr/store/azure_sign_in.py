"""Who signs at an account of Azure's storage, and how.

It is found where adlfs finds it: in fsspec's configuration of ``az`` or ``abfs``, else
in the environment. Keys and signatures need no library; azure-identity gives tokens.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import os
import re
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from inspect import isawaitable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from fsspec.config import conf

from napari_omezarr._io_loop import outcome
from napari_omezarr.errors import OptionError, SignInNeededError, StoreError
from napari_omezarr.location import encode_rest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_omezarr.location import Location

    from .http import Request

SIGN_IN = (
    "Set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_KEY or "
    "AZURE_STORAGE_SAS_TOKEN for AZURE_STORAGE_ACCOUNT_NAME, or run: az login"
)
_NAME_THE_ACCOUNT = (
    "Use az://container@account.blob.core.windows.net/…, or set "
    "AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_CONNECTION_STRING."
)
_NAMES = (
    *("account_host", "account_key", "account_name", "anon", "client_id"),
    *("client_secret", "connection_string", "sas_token", "tenant_id"),
)
_OTHERWISE = {
    "account_name": "AZURE_STORAGE_ACCOUNT",
    "account_key": "AZURE_STORAGE_KEY",
}
"""What Azure's own programs call them."""
_AZURE = re.compile(
    r"https://([\w-]+?)(?:-secondary)?(?:\.z\d+)?\.blob\.(?:storage\.azure\.net"
    r"|core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net))"
)

# Tokens of a person, a service or a computer.

_SCOPE = "https://storage.azure.com/.default"
_EARLY, _AGAIN = 300, 60
"""Seconds before its end when a token is renewed, and after which one that was not to
be had is asked for again."""
# It warns with the text of whoever gives tokens; why there is none is said by us.
logging.getLogger("azure.identity").setLevel(logging.ERROR)


class Tokens:
    """The tokens of one sign-in with Azure, each renewed before it ends.

    A `credential` gives them, or a service's `principal` (tenant, name and secret), or
    whatever this computer has. It is made and asked in a thread, once for all who wait.
    """

    def __init__(self, credential: Any, *principal: str) -> None:
        self._credential = credential
        self._principal = principal
        self._found: str | StoreError = ""
        self._until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def token(self) -> str:
        """Give the token of now, on the I/O loop.

        Raises
        ------
        SignInNeededError
            There is none.
        """
        if time.time() > self._until:
            if self._asking is None:
                self._asking = asyncio.ensure_future(self._renew())
            await asyncio.shield(self._asking)
        if isinstance(self._found, StoreError):
            raise self._found.with_traceback(None)
        return self._found

    async def _renew(self) -> None:
        # Any program or service may give them, and fail in any way.
        answer = await outcome(self._ask())
        self._asking = None
        if isinstance(answer, Exception):
            missing = isinstance(answer, ImportError)
            install = "Run: pip install 'napari-omezarr[azure]', and: az login"
            action = install if missing else SIGN_IN
            sentence = "Nobody is signed in with Azure."
            self._found = SignInNeededError(sentence, action=action)
            self._until = time.time() + _AGAIN
        else:
            self._found, self._until = answer.token, answer.expires_on - _EARLY

    async def _ask(self) -> Any:
        found = await asyncio.to_thread(self._ask_credential)
        return await found if isawaitable(found) else found

    def _ask_credential(self) -> Any:
        if self._credential is None:
            from azure import identity

            made: Any = identity.DefaultAzureCredential
            made = identity.ClientSecretCredential if self._principal else made
            self._credential = made(*self._principal)
        return self._credential.get_token(_SCOPE)


@cache
def _shared(process: int, credential: Any, *principal: str) -> Tokens:
    """Give the tokens that all places of a process share: a fork has its own loop."""
    return Tokens(credential, *principal)


# An account, and its key.


@dataclass(frozen=True, slots=True)
class Account:
    """An account of Azure's storage, and what signs requests to it, if anything."""

    endpoint: str
    name: str = ""
    key: bytes = field(default=b"", repr=False)
    sas: str = field(default="", repr=False)
    tokens: Tokens | None = field(default=None, repr=False)

    @property
    def signs(self) -> bool:
        """Whether requests are signed in any way."""
        return bool(self.key or self.sas or self.tokens)

    async def headers(self, request: Request) -> Mapping[str, str]:
        """Give the headers that sign a request in, on the I/O loop."""
        # This version of the service says in a list which names are encoded.
        said = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
        if self.key:
            said["Authorization"] = shared_key(request, said, self.name, self.key)
        elif self.tokens:
            said["Authorization"] = f"Bearer {await self.tokens.token()}"
        return said


_SIGNED = (
    *("content-encoding", "content-language", "content-length", "content-md5"),
    *("content-type", "date", "if-modified-since", "if-match", "if-none-match"),
    *("if-unmodified-since", "range"),
)


def shared_key(request: Request, more: Mapping[str, str], name: str, key: bytes) -> str:
    """Sign a request, which will have `more` headers, with the key of an account."""
    headers = {n.lower(): text for n, text in {**request.headers, **more}.items()}
    if request.body:
        headers["content-length"] = str(len(request.body))
    parts = urlsplit(request.url)
    pairs = (pair.partition("=") for pair in parts.query.split("&") if pair)
    asked = sorted((n.lower(), unquote(text)) for n, _, text in pairs)
    lines = [request.method, *(headers.get(each, "") for each in _SIGNED)]
    lines += [f"{n}:{headers[n]}" for n in sorted(headers) if n.startswith("x-ms-")]
    lines += [f"/{name}{parts.path}"]
    lines += [f"{n}:{text}" for n, text in asked]
    digest = hmac.digest(key, "\n".join(lines).encode(), "sha256")
    return f"SharedKey {name}:{base64.b64encode(digest).decode()}"


# From a place to its account.


def account_of(location: Location) -> Account:
    """Find the account of a place, and who signs there; nobody is asked.

    A key or a signature is for its own account, and a token for Azure's own hosts or
    one that the person's settings name.

    Raises
    ------
    SignInNeededError
        Nothing says which account it is.
    OptionError
        The settings are malformed.
    """
    said = {name: os.environ.get(f"AZURE_STORAGE_{name.upper()}") for name in _NAMES}
    for name, otherwise in _OTHERWISE.items():
        said[name] = said[name] or os.environ.get(otherwise)
    said |= {**conf.get("abfs", {}), **conf.get("az", {})}
    try:
        own = _named(said, location.endpoint or "")
    except ValueError:
        sentence = "The key or the connection string of Azure's storage is none."
        raise OptionError(sentence, action="Copy it again from its source.") from None
    endpoint = location.endpoint or own.endpoint
    if not endpoint:
        sentence = f"Nothing says which account {location.display} is of."
        action, url = _NAME_THE_ACCOUNT, location.display
        raise SignInNeededError(sentence, action=action, url=url)
    if location.anonymous or location.query:
        return Account(endpoint)
    if own.endpoint == endpoint and own.signs:
        return own
    known = own.endpoint == endpoint or _AZURE.fullmatch(endpoint)
    public = str(said.get("anon") or "").lower() not in ("", "0", "f", "false")
    if public or not (known and endpoint.startswith("https:")):
        return Account(endpoint)
    credential = said.get("credential")
    if hasattr(credential, "get_token"):
        return Account(endpoint, tokens=_shared(os.getpid(), credential))
    principal = [said[name] for name in ("tenant_id", "client_id", "client_secret")]
    names = principal if said["client_id"] else ()
    return Account(endpoint, tokens=_shared(os.getpid(), None, *names))


def _named(said: Mapping[str, Any], asked: str) -> Account:
    """Give the account that settings name; if they name none, the one of Azure's asked.

    Raises
    ------
    ValueError
        They are malformed.
    """
    if text := said["connection_string"]:
        return _connected(text)
    azure, named = _AZURE.fullmatch(asked), said["account_name"]
    name = named or (azure[1] if azure else "")
    host = said["account_host"] or (f"{name}.blob.core.windows.net" if name else "")
    endpoint = f"https://{host}" if host else ""
    credential = said.get("credential")
    key = credential if isinstance(credential, str) else said["account_key"]
    if credential and key is not credential:
        return Account(endpoint, name)
    if azure and (not named or asked.replace("-secondary.", ".", 1) == endpoint):
        endpoint = asked
    return _signing(endpoint, name, key, said["sas_token"])


def _connected(text: str) -> Account:
    pairs = (pair.split("=", 1) for pair in text.split(";") if pair.strip())
    said = {name.strip().lower(): value.strip() for name, value in pairs}
    name, suffix = said.get("accountname", ""), said.get("endpointsuffix")
    scheme = said.get("defaultendpointsprotocol", "https")
    if not (endpoint := said.get("blobendpoint")):
        if not name:
            raise ValueError("It names no account.")
        endpoint = f"{scheme}://{name}.blob.{suffix or 'core.windows.net'}"
    sas = said.get("sharedaccesssignature")
    return _signing(endpoint.lower(), name, said.get("accountkey"), sas)


def _signing(endpoint: str, name: str, key: str | None, sas: str | None) -> Account:
    secret = base64.b64decode((key or "").strip(), validate=True)
    query = "" if secret else signature_of(sas or "")
    return Account(endpoint.rstrip("/"), name, secret, query)


def signature_of(text: str) -> str:
    """Give a shared access signature as the query of an address.

    A plus sign in it is one: it has no blanks, and some programs print it bare.
    """
    return encode_rest(text.strip().removeprefix("?")).replace("+", "%2B")
