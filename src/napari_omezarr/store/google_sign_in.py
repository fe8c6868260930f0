"""Who signs in at Google's storage: found as gcsfs finds it, and asked for tokens.

What the person has configured for gcsfs in fsspec's files holds here as well.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
import warnings
from contextlib import suppress
from datetime import UTC
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.config import conf

from napari_omezarr._io_loop import outcome
from napari_omezarr.errors import StoreError

from .error_mapping import google_sign_in_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_omezarr.location import Location

    from .http import Request

_METHODS = {"anon", "browser", "cache", "cloud", "google_default"}
_PRODUCT = Path("/sys/class/dmi/id/product_name")
_GOOGLES = ("GCE_METADATA_HOST", "K_SERVICE", "CLOUD_RUN_JOB", "GAE_RUNTIME")
_PAYER = "x-goog-user-project"
_EARLY = 180  # seconds before a token ends; google-auth itself takes 225
_PAUSE = 60  # seconds until a sign-in that failed is tried again


def _wishes() -> dict[str, Any]:
    """Give what the person's fsspec configuration says of Google's storage."""
    return {**conf.get("gs", {}), **conf.get("gcs", {})}


def google_endpoint() -> str:
    """Give the address of Google's storage, or of what she has in its place."""
    named = _wishes().get("endpoint_url") or os.environ.get("STORAGE_EMULATOR_HOST")
    address = str(named or f"https://storage.{_universe()}").rstrip("/")
    return address if "://" in address else f"http://{address}"


def _universe() -> str:
    """Give the domain of the cloud that she signs in at: a key's file may say which."""
    named, said = os.environ.get("GOOGLE_CLOUD_UNIVERSE_DOMAIN"), _wishes().get("token")
    if not (named or isinstance(said, dict)):
        is_name = isinstance(said, str) and said not in _METHODS
        file = Path(str(said)) if is_name else _credentials_file()
        with suppress(OSError, ValueError):  # a token may be no name of a file at all
            said = json.loads(file.read_bytes())
    named = named or (said.get("universe_domain") if isinstance(said, dict) else "")
    return str(named or "googleapis.com")


def _credentials_file() -> Path:
    """Say where gcloud keeps the sign-in of programs (ADC)."""
    if named := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return Path(named)
    home = Path.home() / ".config" / "gcloud"
    if os.name == "nt":
        home = Path(os.environ.get("APPDATA", "")) / "gcloud"
    folder = os.environ.get("CLOUDSDK_CONFIG", home)
    return Path(folder) / "application_default_credentials.json"


def _is_at_google() -> bool:
    """Say whether this is a computer of Google's, which knows who it is.

    Elsewhere the service that tells does not exist, and asking takes many seconds.
    """
    named = any(name in os.environ for name in _GOOGLES)
    with suppress(OSError):
        named = named or _PRODUCT.read_text(errors="replace").startswith("Google")
    return named and os.environ.get("NO_GCE_CHECK", "").lower() != "true"


def _is_file(name: str) -> bool:
    with suppress(OSError, ValueError):  # a token may be no name of a file at all
        return Path(name).is_file()
    return False


class _Finder:
    """Finds the credentials that she has, and asks them for tokens; in a thread."""

    def __init__(self, wishes: Mapping[str, Any]) -> None:
        self._wishes = wishes
        self._found: tuple[Any, str] | None = None

    def __call__(self, renew: bool) -> tuple[Mapping[str, str], float]:
        """Give the headers that sign requests, and until when: seconds since 1970."""
        if self._found is None:
            self._found = self._find()
        who, payer = self._found
        signs = {"Authorization": f"Bearer {who}"} if isinstance(who, str) else {}
        ends = math.inf
        if who is not None and not signs:
            if renew or not who.valid:
                from google.auth.transport.requests import Request as Asking

                who.refresh(Asking())
            who.apply(signs)  # a project for quotas is among them
            ends = who.expiry.replace(tzinfo=UTC).timestamp() if who.expiry else ends
        return {**signs, **({_PAYER: payer} if payer else {})}, ends

    def _find(self) -> tuple[Any, str]:
        """Give google-auth's credentials, a token or None; and who pays."""
        wishes, token = self._wishes, self._wishes.get("token")
        project = wishes.get("project") or os.environ.get("GCSFS_DEFAULT_PROJECT", "")
        access = wishes.get("access", "full_control")
        if token is None and (_credentials_file().is_file() or _is_at_google()):
            token = "google_default"
        is_name = isinstance(token, str) and (token in _METHODS or _is_file(token))
        if token == "google_default":
            import google.auth

            # It warns everybody whom gcloud has signed in, and napari shows warnings.
            warnings.filterwarnings("ignore", module=r"google\.auth\.")
            scopes = [f"https://www.googleapis.com/auth/devstorage.{access}"]
            token, found = google.auth.default(scopes=scopes)
            project = project or found
        elif is_name or isinstance(token, dict):
            from gcsfs.credentials import GoogleCredentials  # late: it takes a second

            token = GoogleCredentials(project, access, token).credentials
        payer = wishes.get("requester_pays") or ""
        return token, str(payer if isinstance(payer, str) else project or "")


class GoogleSignIn:
    """Who signs in at Google's storage, and the token of now; lives on the I/O loop.

    ``ask`` is called in a thread with whether the last token was refused. It gives the
    headers that sign a request, and until when; none, if nobody signs in.
    """

    name = "Google"

    def __init__(self, ask: Callable[[bool], tuple[Mapping[str, str], float]]) -> None:
        self._ask = ask
        self._answer: Mapping[str, str] | StoreError = {}
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def headers(self, request: Request) -> Mapping[str, str]:
        """Give the headers that sign a request; none, if nobody signs in.

        Raises
        ------
        StoreError
            The sign-in fails.
        """
        if time.time() >= self._until:
            async with self._turn:
                if time.time() >= self._until:
                    await self._renew(refused=False)
        if isinstance(self._answer, StoreError):
            raise self._answer
        return self._answer

    async def renewed(self, refused: Mapping[str, str]) -> bool:
        """Ask for a newer token than one that was refused; say whether there is one.

        Of many requests that fail together one asks.
        """
        async with self._turn:
            if self._answer is refused:
                await self._renew(refused=True)
        return self._answer != refused

    async def _renew(self, *, refused: bool) -> None:
        found = await outcome(asyncio.to_thread(self._ask, refused))
        soon = time.time() + _PAUSE
        if isinstance(found, Exception):
            self._answer, self._until = google_sign_in_error(found), soon
        else:
            self._answer, ends = found
            self._until = max(ends - _EARLY, soon)


_sign_ins: dict[object, GoogleSignIn] = {}


def google_sign_in(location: Location) -> GoogleSignIn | None:
    """Give who signs in at a place: the same for all, until she signs in anew."""
    wishes = _wishes()
    token = wishes.get("token")
    # A token goes to no host that only a text names, and none without being said to
    # over a line that all can read: emulators want none.
    own = google_endpoint()
    is_stranger = location.endpoint not in (None, own)
    is_open = token is None and not own.startswith("https://")
    if location.anonymous or is_stranger or is_open or token == "anon":
        return None
    if find_spec("gcsfs") is None and (token is None or isinstance(token, dict)):
        return None
    file, written = _credentials_file(), 0
    with suppress(OSError):
        written = file.stat().st_mtime_ns
    key = os.getpid(), hash(repr(sorted(wishes.items()))), file, written
    return _sign_ins.setdefault(key, GoogleSignIn(_Finder(wishes)))
