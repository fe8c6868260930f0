"""Ways to read an image's finest level, or a part of it, each with its defaults.

A way is opened first, and gives a function that reads: only that is timed.
"""

from __future__ import annotations

import asyncio
import os
from itertools import product
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from data import VOLUME_SHAPE
from peers import (
    is_anonymous,
    napari_ome_zarr_layers,
    tensorstore_place,
    web_address,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import zarr

    Read = Callable[[], Any]

PARTS: dict[str, tuple[Any, ...]] = {
    "full": (...,),
    "plane": (1, 32),
    "box": (0, slice(20, 30), slice(300, 400), slice(500, 600)),
}
"""What can be read of the volume, which is (2, 64, 1024, 1024)."""
PART = "BENCHMARK_PART"
"""The variable of the environment that says which of `PARTS` is read."""
AT_ONCE = 32
"""How many plain GETs are sent at once."""


def ours(url: str) -> Read:
    """Read as the display, dask and a writer of ours do: from ``Pixels``."""
    from napari_omezarr.location import Location
    from napari_omezarr.reading import read

    pixels = read(Location.parse(url)).pyramids[0].levels[0].pixels
    return lambda: pixels[_part(pixels.shape)]


def ours_by_dask(url: str) -> Read:
    """Compute the dask array that ours gives to napari, scripts and other plugins."""
    from napari_omezarr.location import Location
    from napari_omezarr.reading import read

    array = read(Location.parse(url)).pyramids[0].data()[0]
    return lambda: array[_part(array.shape)].compute()


def napari_ome_zarr(url: str) -> Read:
    """Compute the dask arrays, one for each channel, that it gives to napari."""
    from dask.array import stack

    both = stack([levels[0] for levels, *_ in napari_ome_zarr_layers(url)])
    return lambda: both[_part(both.shape)].compute()


def tensorstore(url: str) -> Read:
    """Read by tensorstore with its defaults."""
    import tensorstore as library

    spec = {"driver": "zarr3", "kvstore": tensorstore_place(f"{url}/0")}
    array = library.open(spec, read=True, open=True).result()
    return lambda: array[_part(array.shape)].read().result()


def zarr_by_fsspec(url: str) -> Read:
    """Read by zarr through fsspec's HTTP or s3fs, nothing tuned."""
    array = _array(url)
    return lambda: array[_part(array.shape)]


def zarr_by_obstore(url: str) -> Read:
    """Read by zarr through obstore, nothing tuned."""
    import zarr
    from obstore.store import HTTPStore, S3Store
    from zarr.storage import ObjectStore

    parts = urlsplit(f"{url}/0")
    if parts.scheme == "s3":
        place: Any = S3Store(
            parts.netloc,
            prefix=parts.path.strip("/"),
            endpoint=os.environ["AWS_ENDPOINT_URL"],
            region="us-east-1",
            skip_signature=is_anonymous(url),
            client_options={"allow_http": True},
        )
    else:
        options = {"allow_http": True}
        if trusted := os.environ.get("SSL_CERT_FILE"):
            options["root_certificate"] = Path(trusted).read_text()
        place = HTTPStore(parts.geturl(), client_options=options)
    array = zarr.open_array(ObjectStore(place, read_only=True), mode="r")
    return lambda: array[_part(array.shape)]


def plain_gets(url: str) -> Read:
    """Get the same objects and throw them away: what the network and the rig allow."""
    array = _array(url)
    keys = _chunk_keys(array.shape, array.chunks)
    places = [web_address(f"{url}/0/{key}") for key in keys]
    return lambda: asyncio.run(_get_all(places))


async def _get_all(places: Sequence[str]) -> None:
    import aiohttp
    from yarl import URL

    left = iter(places)

    async def work(session: aiohttp.ClientSession) -> None:
        for place in left:
            async with session.get(URL(place, encoded=True)) as answer:
                answer.raise_for_status()
                await answer.read()

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(work(session) for _ in range(AT_ONCE)))


def _part(shape: Sequence[int]) -> tuple[Any, ...]:
    """Give what is to be read; of the patch to warm up with, which is smaller, all."""
    part = PARTS[os.environ.get(PART, "full")]
    return part if tuple(shape) == VOLUME_SHAPE else (...,)


def _array(url: str) -> zarr.Array[Any]:
    import zarr

    options = {"anon": True} if is_anonymous(url) else None
    return zarr.open_array(f"{url}/0", mode="r", storage_options=options)


def _chunk_keys(shape: Sequence[int], chunks: Sequence[int]) -> list[str]:
    counts = [ceil(size / chunk) for size, chunk in zip(shape, chunks, strict=True)]
    return ["/".join(map(str, ("c", *place))) for place in product(*map(range, counts))]


READERS: dict[str, Callable[[str], Read]] = {
    "plain GETs, 32 at once": plain_gets,
    "napari-omezarr": ours,
    "napari-omezarr (dask)": ours_by_dask,
    "tensorstore": tensorstore,
    "zarr with obstore": zarr_by_obstore,
    "zarr with fsspec / s3fs": zarr_by_fsspec,
    "napari-ome-zarr (dask)": napari_ome_zarr,
}
"""By name; each gives a function that gives the pixels (plain GETs: nothing)."""
