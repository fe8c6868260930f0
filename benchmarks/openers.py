"""Ways to open an address, each as its own documentation shows it.

A way ends when there are layers (nodes, arrays) whose pixels can be read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from peers import napari_ome_zarr_layers, tensorstore_place

if TYPE_CHECKING:
    from collections.abc import Callable


def open_ours(url: str) -> int:
    """Open as a script does: layer data, ready for napari."""
    from napari_omezarr.layers import read_layers

    return len(read_layers(url))


def open_napari_ome_zarr(url: str) -> int:
    """Open as napari does with the plugin napari-ome-zarr: layer data."""
    return len(napari_ome_zarr_layers(url))


def open_ome_zarr_py(url: str) -> int:
    """Open the nodes of ome-zarr-py, of which some hold dask arrays."""
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    return sum(bool(node.data) for node in Reader(parse_url(url))())


def open_tensorstore(url: str) -> int:
    """Read the image's document, then open all levels at once.

    It has no notion of OME-Zarr, so this is what an expert would write for an image.
    """
    import tensorstore

    store = tensorstore.KvStore.open(tensorstore_place(url)).result()
    asked = {"zarr3": store.read("zarr.json"), "zarr": store.read(".zattrs")}
    driver, body = next(
        (driver, answer.result().value)
        for driver, answer in asked.items()
        if answer.result().state == "value"
    )
    attributes = json.loads(body)
    if driver == "zarr3":
        attributes = attributes["attributes"]["ome"]
    levels = [
        tensorstore.open(
            {"driver": driver, "kvstore": tensorstore_place(f"{url}/{level['path']}")},
            read=True,
            open=True,
        )
        for level in attributes["multiscales"][0]["datasets"]
    ]
    return len([level.result() for level in levels])


OPENERS: dict[str, Callable[[str], int]] = {
    "napari-omezarr": open_ours,
    "napari-ome-zarr": open_napari_ome_zarr,
    "ome-zarr-py": open_ome_zarr_py,
    "tensorstore": open_tensorstore,
}
"""By name; each gives the number of layers, nodes or levels that it found."""
