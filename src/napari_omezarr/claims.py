"""What napari hands to a reader or writer: whose it is, by name, and which place."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from .errors import LocationError
from .location import NODE_DOCUMENTS, WEB, Location, addresses_in_link

# Whoever names one of these means data, not a page: no other reader opens them.
_DATA_SCHEMES = frozenset({"s3", "gs", "gcs", "az", "abfs", "abfss"}) | {
    *(f"{service}+{web}" for service in ("s3", "gs", "az") for web in WEB),
    *("sftp", "ssh", "hf", "github", "ipfs", "ipns", "dav", "davs"),
    *("webdav", "webdavs", "webdav+http", "webdav+https"),
}
_CHAIN = re.compile(r"^(?:\w+(?:://[^:]*)?::)+", re.ASCII)
_REFERENCES = re.compile(r"^(?:\w+::)*reference(?:://[^:]*)?::", re.ASCII)
_PIPES = re.compile(r"(?:\||%7C)[a-z0-9]+:[^/]*$", re.IGNORECASE)
_STORE = re.compile(r"\.(zarr|ozx|zarr\.zip)$", re.IGNORECASE)
_INSIDE = re.compile(r"\.(zarr|ozx|zarr\.zip)/", re.IGNORECASE)
_FOREIGN = re.compile(
    r"\.(avi|bmp|csv|czi|gif|h5|hdf5|jpe?g|lif|mp4|mrc|nd2|nii|np[yz]|parquet|pdf|png"
    r"|svg|tiff?|tsv|txt)$",
    re.IGNORECASE,
)
_VIEW = re.compile(r"^napari-omezarr://view/[\w/-]*$", re.IGNORECASE | re.ASCII)
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")


def is_claimed(address: str) -> bool:
    """Say whether an address that napari offers is one of an OME-Zarr.

    napari has matched the manifest's patterns before: what is left is to decline
    what they catch too much. Of a local folder whose name says nothing, the names
    of the files in it do. ``|auto:`` at the end of a URL says that it is a Zarr,
    whatever its name.
    """
    try:
        parts = urlsplit(_CHAIN.sub("", address))
    except ValueError:
        return False
    remote = bool(parts.scheme and parts.netloc)
    if remote and (pipes := _PIPES.search(address)):
        is_said = pipes[0].lower().endswith("auto:")
        return is_said or is_claimed(address[: pipes.start()])
    path = parts.path if remote else address.replace(os.sep, "/")
    path = path.rstrip("/")
    # What lies within comes first: ``zip://cells.zarr::https://host/archive.zip``.
    names = [path, *(each.rstrip("/") for each in address.split("::")[:-1])]
    is_named = any(map(_STORE.search, names)) or _is_link(address)
    if is_named or _REFERENCES.match(address):
        return True
    if _FOREIGN.search(path):
        return False
    if _INSIDE.search(path) or parts.scheme.lower() in _DATA_SCHEMES:
        return True
    return not remote and _holds_zarr(Path(address))


def _is_link(address: str) -> bool:
    """Say whether it is a view, or a link to a viewer that shows an OME-Zarr."""
    if is_view_address(address):
        return True
    try:
        carried = addresses_in_link(address)
    except LocationError:
        return False
    return any(_STORE.search(urlsplit(inner).path.rstrip("/")) for inner in carried)


def is_view_address(text: str) -> bool:
    """Say whether a text is the address of a view: of images, and how they look."""
    return bool(_VIEW.match(text.strip()))


def place_of(address: str) -> Location:
    """Parse an address that napari hands over; existing files by the letter."""
    local = Path(address)
    return Location.parse(local if _exists(local) else address)


def target_of(address: str) -> Location:
    """Parse where napari wants something to be saved.

    Its file dialog puts the folder of before in front of what is typed, and may
    leave one slash of two: ``/home/me/s3:/bucket/cells.zarr``. A name without one
    of our suffixes (only the dialog's filter said OME-Zarr) gets ``.ome.zarr``. A
    LocationError if nothing is named but where it could lie, as a bucket or ``..``.
    """
    text = address if _URL.match(address) else Path(address)
    place = Location.parse(text)
    if place.is_archive or _STORE.search(place.name):
        return place
    last = address.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if place.parent == place or last.strip() in ("", ".", "..", "~"):
        raise LocationError(
            f"{place.display} is where an image could lie, and names none.",
            action=f"Add a name: {place.display.rstrip('/')}/image.ome.zarr.",
            url=place.display,
        )
    return place.parent / f"{place.name}.ome.zarr"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _holds_zarr(folder: Path) -> bool:
    return any(_exists(folder / name) for name in NODE_DOCUMENTS)
