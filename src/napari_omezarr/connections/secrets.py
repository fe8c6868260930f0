"""Typed keys: in the keychain of the system, or in memory until the process ends."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from napari_omezarr.errors import OptionError

SERVICE = "napari-omezarr"

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*)")
_SCHEME = re.compile(r"(?:Basic|Bearer|Token) \S", re.IGNORECASE)
# What a request says by itself: other words would change what is asked, or of whom.
_NOT_TYPED = re.compile(
    r"(?:accept-encoding|connection|content-.*|host|if-.*|range|te|trailer"
    r"|transfer-encoding|upgrade)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a person typed to sign in; its ``repr`` shows none of it.

    A token or headers are the secret, and the access key is then the endpoint that
    they were typed for: no other gets them, whatever a file says later.
    """

    access_key: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)


def sign_in_headers(keys: Keys) -> dict[str, str]:
    """Make headers of the secret: lines of ``Name: value``, or a bearer token.

    Raises
    ------
    OptionError
        It is neither.
    """
    headers: dict[str, str] = {}
    for line in (line.strip() for line in keys.secret.splitlines()):
        found = _HEADER.fullmatch(line)
        name, value = found.groups() if found else ("Authorization", line)
        if found is None and not _SCHEME.match(line):
            value = f"Bearer {line}"
            is_good = " " not in line
        else:
            is_good = bool(value) and not _NOT_TYPED.fullmatch(name)
        if not line:
            continue
        if not (is_good and value.isascii() and value.isprintable()):
            headers.clear()
            break
        headers[name] = value
    if not headers:
        sentence = "This is neither a token nor a header."
        raise OptionError(sentence, action="Type a token, or a header as Name: value.")
    return headers


class KeyStore:
    """The keys of connections, by their names; never written to a file of ours.

    They go to the keychain of the operating system where there is one, through the
    optional package ``keyring``; else they live until this process ends.
    """

    def __init__(self) -> None:
        self._memory: dict[str, Keys] = {}
        self.revision = 0

    @property
    def is_lasting(self) -> bool:
        """Whether keys outlive this process; may load the keychain's library."""
        return _keychain() is not None

    @property
    def sentence(self) -> str:
        """Where keys go, for whoever types them."""
        if self.is_lasting:
            return "Kept in the keychain of this system."
        return f"Kept until napari closes. {self.hint}"

    @property
    def hint(self) -> str:
        """What to install so that keys outlive this process; "" if they do."""
        if self.is_lasting:
            return ""
        if find_spec("keyring") is None:
            return "To keep them longer: pip install 'napari-omezarr[keychain]'."
        return (
            "This system has no keychain that keyring could use. To keep them longer,"
            " install one: GNOME Keyring or KWallet."
        )

    def keep(self, name: str, keys: Keys) -> bool:
        """Keep the keys of a connection; true if they outlive this process.

        A keychain that is locked, or that refuses, keeps nothing.
        """
        self.hold(name, keys)
        keychain = _keychain()
        if keychain is None:
            return False
        pair = [keys.access_key, keys.secret, keys.token]
        try:
            keychain.set_password(SERVICE, name, json.dumps(pair))
        except _failures():
            return False
        return True

    def hold(self, name: str, keys: Keys) -> None:
        """Keep the keys of a connection until this process ends, and no longer."""
        self._memory[name] = keys
        self.revision += 1

    def find(self, name: str) -> Keys | None:
        """Find the keys of a connection; the keychain may ask the person first."""
        keychain = _keychain()
        if name not in self._memory and keychain is not None:
            try:
                found = _parsed(keychain.get_password(SERVICE, name))
            except _failures():
                return None
            if found is not None:
                self._memory[name] = found
        return self._memory.get(name)

    def forget(self, name: str) -> None:
        """Delete the keys of a connection, in the keychain too."""
        self._memory.pop(name, None)
        self.revision += 1
        keychain = _keychain()
        if keychain is not None:
            with suppress(*_failures()):
                if keychain.get_password(SERVICE, name) is not None:
                    keychain.delete_password(SERVICE, name)


@cache
def key_store() -> KeyStore:
    """Give the one key store of this process."""
    return KeyStore()


def _keychain() -> Any:
    """Give keyring's backend; None if it has none that keeps anything."""
    if find_spec("keyring") is None:
        return None
    chosen = import_module("keyring").get_keyring()
    # keyring gives backends that only fail, or write plain files, a priority below one;
    # a chain of several has a high one, whatever is in it.
    chain = getattr(chosen, "backends", (chosen,))
    return next((backend for backend in chain if backend.priority >= 1), None)


def _failures() -> tuple[type[Exception], ...]:
    return (import_module("keyring.errors").KeyringError, OSError)


def _parsed(text: str | None) -> Keys | None:
    try:
        access_key, secret, token = json.loads(text or "")
    except (ValueError, TypeError):
        return None
    return Keys(str(access_key), str(secret), str(token))
