"""Links to viewers and consoles: the address of the data is inside them."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from napari_omezarr.errors import LocationError

# Neuroglancer links: the state in the fragment names its layers' sources.

_ZARR = re.compile(
    r"^zarr[23]?:|\|zarr[23]?(?::|$)|^(?!\w+://\w+://)[^|]*\.(?:zarr|ozx)\b",
    re.IGNORECASE,
)
# Links of older versions: single quotes for strings, "_" for the comma between.
_URL_SAFE_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|_", re.DOTALL)


def zarr_sources(fragment: str) -> tuple[str, ...]:
    """Return the addresses of the Zarr layers, in the order of the layers."""
    state = _parse_state(fragment.removeprefix("+"))
    sources = [url for layer in _layers(state) for url in _urls(layer)]
    found = tuple(url for url in sources if _ZARR.search(url))
    if not found:
        raise LocationError(
            "The neuroglancer link shows no Zarr.",
            action="Paste the address of a Zarr store.",
        )
    return found


def neuroglancer_link_state(fragment: str) -> dict[str, Any]:
    """Return the state that a neuroglancer link holds; LocationError if none."""
    state = _parse_state(fragment.removeprefix("+"))
    return state if isinstance(state, dict) else {}


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


# Parameters of web links, and pages of consoles.

# What viewers call the address they show: source in ome-ngff-validator, vizarr and
# bioNGFF, image_url in Avivator, image or fileToLoad in itk-vtk-viewer, urls in
# VolView, url in Vol-E; and what others are likely to say.
PARAMETERS = frozenset(
    {
        "data",
        "dataset",
        "file",
        "filetoload",
        "href",
        "image",
        "image_url",
        "imageurl",
        "input",
        "source",
        "sources",
        "src",
        "store",
        "uri",
        "url",
        "urls",
        "zarr",
    }
)
_WEB = re.compile(r"^https?://?(?:[^/?#@]*@)?([^/?#]+)([^?#]*)", re.IGNORECASE)
_ADDRESS = re.compile(
    r"^(?:zarr[23]?:(?://)?)?(?:(?:s3|gs|az)\+)?"
    r"(?:https?|s3a?|gc?s|az|abfss?|zarr[23]?):/{1,2}[^/]",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r",(?=[A-Za-z][A-Za-z0-9+.-]*:/)")
_STORE_PART = re.compile(r"\.(?:zarr|ozx|zip)(?:/|$)", re.IGNORECASE)
_STORE_INSIDE = re.compile(r"\.(?:zarr|ozx)(?:[/?#&|]|$)", re.IGNORECASE)
# Pages about an object, and the address of the object: a console's link is what
# the browser's address bar holds when one looks at a bucket.
_PAGES = tuple(
    (re.compile(pattern, re.IGNORECASE), address)
    for pattern, address in (
        (
            r"https://[\w.-]*console\.aws\.amazon\.com/s3/(?:buckets|object)/([\w.-]+)"
            r"\?(?:[^#]*&)?prefix=([^&#]*)",
            r"s3://\1/\2",
        ),
        (
            r"https://[\w.-]*console\.aws\.amazon\.com/s3/(?:buckets|object)/([\w.-]+)",
            r"s3://\1",
        ),
        (
            r"https://console\.cloud\.google\.com/storage/browser/"
            r"(?:_details/)?([^?#;]+)",
            r"gs://\1",
        ),
        (r"https://storage\.cloud\.google\.com/([^?#]+)", r"gs://\1"),
        (
            r"https://zenodo\.org/api/(records/\d+/files/[^/?#]+)/content",
            r"https://zenodo.org/\1",
        ),
    )
)
_WEBKNOSSOS_PAGE = re.compile(r"^/(?:datasets|annotations)/", re.IGNORECASE)


def addresses_in_link(text: str) -> tuple[str, ...]:
    """Return the addresses that a web link carries; none if it is plain data.

    A parameter of the query or of the fragment is taken if its value is itself
    an address, and its name is a usual one or the address names a store. Links
    into a store carry nothing: there, the query is the store's.
    """
    found = _WEB.match(text)
    if not found:
        return ()
    if address := _address_of_page(text):
        return (address,)
    host, path = found[1], found[2]
    before, _, fragment = text.partition("#")
    if fragment.startswith("!"):
        return zarr_sources(fragment[1:])
    if _STORE_PART.search(path):
        return ()
    query = before.partition("?")[2]
    route, _, after = fragment.partition("?")  # of a single-page application
    for block in (query, after if "=" not in route else fragment):
        if addresses := _addresses_in(block):
            return addresses
    if "webknossos" in host.lower() and _WEBKNOSSOS_PAGE.match(path):
        raise LocationError(
            "This is a page of WEBKNOSSOS, not the data that it shows.",
            action="Paste the Zarr address of one of its layers.",
        )
    return ()


def host_of(text: str) -> str:
    """Return the host of a web link, without port and sign-in."""
    found = _WEB.match(text)
    return found[1].partition(":")[0].lower() if found else ""


def _address_of_page(text: str) -> str:
    for page, address in _PAGES:
        if found := page.match(text):
            return found.expand(address)
    return ""


def _addresses_in(block: str) -> tuple[str, ...]:
    parameters = block.split("&")
    for index, parameter in enumerate(parameters):
        name, _, value = parameter.partition("=")
        if not _is_address(_unquote(value).strip("[]")):
            continue
        if _is_address(value) and "?" in value:
            # Not encoded, so it brings its own query: what follows is its own too.
            path, _, query = "&".join((value, *parameters[index + 1 :])).partition("?")
            values = [f"{_unquote(path)}?{query}"]
        else:
            values = _BETWEEN.split(_unquote(value).strip("[]"))
        if name.lower() in PARAMETERS or _STORE_INSIDE.search(values[0]):
            return tuple(values)
    return ()


def _is_address(value: str) -> bool:
    return bool(_ADDRESS.match(value))


def _unquote(value: str) -> str:
    # As a browser's URLSearchParams does it. The result is decoded once more as
    # an address: a percent sign in it was a doubly encoded one.
    return unquote(value.replace("+", " "), errors="surrogateescape")
