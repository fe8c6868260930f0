"""Links to viewers and consoles: the address of the data is inside them."""

from __future__ import annotations

import re
from urllib.parse import unquote

from napari_omezarr.errors import LocationError

from .neuroglancer import zarr_sources

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

    Raises
    ------
    LocationError
        If it is a viewer's link that shows no Zarr or does not say where it is.
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
