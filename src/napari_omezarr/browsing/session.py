"""Which images are shown, how they look and where one looks: as a value, as JSON.

It holds addresses and no secrets: who opens it signs in as herself.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import zlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import LocationError, OMEZarrError, OptionError
from napari_omezarr.location import Location, without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME = "napari-omezarr://view/"
"""How the address of a view begins; napari takes what has no ``://`` for a file."""
_FORMAT = "napari-omezarr session"
_VERSION = 1
_LONGEST = 200
"""Letters between two slashes of an address."""
_MOST = 4 * 2**20
"""Bytes of JSON that are read."""


@dataclass(frozen=True, slots=True)
class SessionLayer:
    """One layer that came from an address, and how it looks."""

    address: str
    """Of the image or labels, without secrets."""
    kind: str = "image"
    """``image`` or ``labels``."""
    channel: int | None = None
    """Of the image; None where its layer shows all of it."""
    coordinate_system: str | None = None
    """The one that it is shown in, where it has several."""
    looks: Mapping[str, Any] = field(default_factory=dict)
    """Values of JSON by napari's names: ``visible``, ``contrast_limits``, ..."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What was chosen when it was opened, by the names of `ReadOptions`: a level, a
    multiscale; of a plate wells, fields, an acquisition."""


@dataclass(frozen=True, slots=True)
class Session:
    """Layers, bottom first, and where one looks."""

    layers: tuple[SessionLayer, ...] = ()
    """Those that came from addresses."""
    camera: Mapping[str, Any] = field(default_factory=dict)
    """``center``, ``zoom`` and ``angles`` of napari's camera."""
    dims: Mapping[str, Any] = field(default_factory=dict)
    """``point``, ``order`` and ``ndisplay`` of napari's sliders."""


def session_text(session: Session, *, indent: int | None = 2) -> str:
    """Write a session as JSON; equal sessions give equal text."""
    content = {"format": _FORMAT, "version": _VERSION, **asdict(session)}
    separators = (",", ":") if indent is None else None
    return json.dumps(content, indent=indent, separators=separators, allow_nan=False)


def parse_session(text: str) -> Session:
    """Read a session.

    Raises
    ------
    OptionError
        The text is no session.
    """
    try:
        content = json.loads(text[:_MOST])
        _check(content["format"] == _FORMAT and content["version"] == _VERSION)
        layers = tuple(_layer(found) for found in content["layers"])
        return Session(layers, _mapping(content["camera"]), _mapping(content["dims"]))
    except OMEZarrError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        sentence = "This is no session of this plugin."
        action = "Choose a file that Save session… has written."
        raise OptionError(sentence, action=action) from error


def session_address(session: Session) -> str:
    """Give a session as one address that can be sent and pasted."""
    packed = zlib.compress(session_text(session, indent=None).encode(), 9)
    coded = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    # Somebody may look whether it is a file, and systems refuse longer names.
    parts = (coded[at : at + _LONGEST] for at in range(0, len(coded), _LONGEST))
    return SCHEME + "/".join(parts)


def session_in_address(text: str) -> Session:
    """Read a session from its address.

    Raises
    ------
    LocationError
        The address is broken.
    """
    coded = text.strip().partition(SCHEME)[2].replace("/", "")
    try:
        packed = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
        # No more than is read of a file, however much it would unpack to.
        content = zlib.decompressobj().decompress(packed, _MOST).decode()
        return parse_session(content)
    except (binascii.Error, zlib.error, ValueError, OptionError) as error:
        sentence = "This address of a view is broken."
        action = "Copy the view again where it is shown."
        raise LocationError(sentence, action=action) from error


def _layer(found: Any) -> SessionLayer:
    address, kind = found["address"], found["kind"]
    channel, system = found.get("channel"), found.get("coordinate_system")
    _check(kind in ("image", "labels") and isinstance(address, str))
    _check(channel is None or isinstance(channel, int))
    # Somebody may have written a signed address by hand.
    clean = without_secrets(Location.parse(address))
    named = system if isinstance(system, str) else None
    looks, options = _mapping(found["looks"]), _mapping(found.get("options", {}))
    return SessionLayer(clean, kind, channel, named, looks, options)


def _mapping(found: Any) -> dict[str, Any]:
    _check(isinstance(found, dict))
    values: dict[str, Any] = found
    floats = (value for value in values.values() if isinstance(value, float))
    _check(all(map(math.isfinite, floats)))
    return values


def _check(is_right: bool) -> None:
    if not is_right:
        raise ValueError
