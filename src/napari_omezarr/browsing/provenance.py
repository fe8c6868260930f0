"""What is said about where an image comes from: its licence and its description.

OME-Zarr has no place for them. They are looked for among the attributes, and in an
RO-Crate beside them (``ro-crate-metadata.json``, https://w3id.org/ro/crate/1.1), as the
conversions of the OME 2024 NGFF challenge have it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CRATE = "ro-crate-metadata.json"
"""The key of an RO-Crate, below the root of an image."""

LONGEST = 400
"""Letters of a text that are kept."""

_LICENCES = ("license", "licence", "rights")
_COMMONS = re.compile(
    r"creativecommons\.org/(?:licenses|publicdomain)/([\w-]+)/([\d.]+)"
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What somebody wrote about an image; ``""`` is nothing."""

    licence: str = ""
    description: str = ""


def provenance(attributes: Mapping[str, Any], crate: object) -> Provenance:
    """Gather what is said about an image; what is no text is left out.

    Parameters
    ----------
    attributes : Mapping
        The attributes of its group.
    crate : bytes or anything else
        The document `CRATE`, where there is one; the image's own words go before.
    """
    places = (*_own_places(attributes), *_crate_places(crate))
    licence = (_text(place.get(key)) for place in places for key in _LICENCES)
    description = (_text(place.get("description")) for place in places)
    return Provenance(
        licence_name(next(filter(None, licence), "")),
        next(filter(None, description), ""),
    )


def licence_name(text: str) -> str:
    """Call a licence of Creative Commons by its short name, as ``CC BY 4.0``."""
    found = _COMMONS.search(text)
    if found is None:
        return text
    code, version = found.groups()
    return f"CC0 {version}" if code == "zero" else f"CC {code.upper()} {version}"


def _own_places(attributes: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give the attributes themselves, what is below ``ome``, and the first image."""
    ome = attributes.get("ome")
    for place in (attributes, ome):
        if isinstance(place, dict):
            yield place
            images = place.get("multiscales")
            # Its ``metadata`` describe how the levels were made, and not the image.
            yield _dict(_first(images)) if isinstance(images, list) else {}


def _crate_places(crate: object) -> tuple[Mapping[str, Any], ...]:
    """Give the root of an RO-Crate, with the licence that it refers to by its name."""
    if not isinstance(crate, bytes):
        return ()
    try:
        graph = _dict(json.loads(crate)).get("@graph")
    except (ValueError, RecursionError):
        return ()
    nodes = [node for node in graph or () if isinstance(node, dict)]
    by_id = {str(node.get("@id")): node for node in nodes}
    named = _dict(by_id.get(CRATE)).get("about")
    root = _dict(by_id.get(str(_dict(named).get("@id", "./"))))
    licence = _first(root.get("license"))
    if isinstance(licence, dict):
        address = str(licence.get("@id", ""))
        name = _text(_dict(by_id.get(address)).get("name"))
        # The address says more than a name that nobody has heard of.
        licence = address if _COMMONS.search(address) else name or address
    return ({**root, "license": licence},)


def _text(value: Any) -> str:
    value = _first(value)
    return " ".join(value.split())[:LONGEST] if isinstance(value, str) else ""


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
