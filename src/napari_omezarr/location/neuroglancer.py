"""Neuroglancer links: the state in the fragment names its layers' sources."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from napari_omezarr.errors import LocationError

_ZARR = re.compile(
    r"^zarr[23]?:|\|zarr[23]?(?::|$)|^(?!\w+://\w+://)[^|]*\.(?:zarr|ozx)\b",
    re.IGNORECASE,
)
# Links of older versions: single quotes for strings, "_" for the comma between.
_URL_SAFE_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|_", re.DOTALL)


def zarr_sources(fragment: str) -> tuple[str, ...]:
    """Return the addresses of the Zarr layers, in the order of the layers.

    Parameters
    ----------
    fragment : str
        What follows ``#!``: JSON, percent-encoded or not.

    Raises
    ------
    LocationError
        If the state is not in the link, is broken, or shows no Zarr.
    """
    state = _parse_state(fragment.removeprefix("+"))
    sources = [url for layer in _layers(state) for url in _urls(layer)]
    found = tuple(url for url in sources if _ZARR.search(url))
    if not found:
        raise LocationError(
            "The neuroglancer link shows no Zarr.",
            action="Paste the address of a Zarr store.",
        )
    return found


def _parse_state(fragment: str) -> Any:
    if not unquote(fragment).lstrip().startswith("{"):
        raise LocationError(
            "The neuroglancer link does not hold its layers: they lie on a server.",
            action="Open it in a browser and copy the source of one layer.",
        )
    for text in (fragment, unquote(fragment), _plain_json(unquote(fragment))):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            continue
    raise LocationError(
        "The neuroglancer link is broken: its state cannot be read.",
        action="Copy it again from the browser's address bar.",
    )


def _plain_json(text: str) -> str:
    def plain(token: re.Match[str]) -> str:
        if token[0] == "_":
            return ","
        if token[0].startswith("'"):
            return json.dumps(token[0][1:-1].replace("\\'", "'"))
        return token[0]

    return _URL_SAFE_TOKEN.sub(plain, text)


def _layers(state: Any) -> list[Any]:
    layers = state.get("layers") if isinstance(state, dict) else None
    if isinstance(layers, dict):  # older versions: by name
        return list(layers.values())
    return layers if isinstance(layers, list) else []


def _urls(layer: Any) -> list[str]:
    source = layer.get("source") if isinstance(layer, dict) else None
    sources = source if isinstance(source, list) else [source]
    urls = [entry.get("url") if isinstance(entry, dict) else entry for entry in sources]
    return [url for url in urls if isinstance(url, str)]
