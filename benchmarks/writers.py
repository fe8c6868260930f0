"""Ways to write an image with four levels, each as its makers mean it to be used.

All cut it alike: chunks of one plane of 512 x 512, y and x halved three times. Ours
and tensorstore are told the same codec and level, which are our default (of 16-bit
pixels zstd in Blosc, with shuffle); the others have theirs (zstd, 3). Where a codec is
named, all that take part use it. A way is prepared
first, and gives a function that writes: only that is timed.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peers import tensorstore_place, web_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    Write = Callable[[], Any]

AXES = "czyx"
CHUNKS = (1, 1, 512, 512)
LEVELS = 4
CODECS: dict[str, tuple[str, int]] = {
    "": ("blosc-zstd", 1),
    ", zstd": ("zstd", 3),
}
"""By what is appended to a name: the codec, as ours calls it, and its level."""
FINISHED = "BENCHMARK_FINISHED"
"""The environment's name for a folder with a folder for each of the `CODECS`."""
STORED = "BENCHMARK_STORED"
"""The same for the array on this computer from which a cluster reads."""
AT_ONCE = 32


def ours(codec: str, url: str, image: np.ndarray) -> Write:
    """Write with our defaults: a sample is read back and compared."""
    return partial(_ours, url, image, codec)


def our_cluster(workers: int, url: str, image: np.ndarray) -> Write:
    """Write on the workers of a cluster, who read a stored array for themselves."""
    import zarr
    from distributed import Client, LocalCluster

    source = zarr.open_array(os.environ[STORED], mode="r")
    if image.nbytes < source.nbytes:
        return _warm
    cluster = LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None
    )
    client = Client(cluster, set_as_default=False)
    client.run(_warm)
    return partial(_ours, url, source, "", client)


def tensorstore(codec: str, url: str, image: np.ndarray) -> Write:
    """Write every level from the one before, by its driver for downsampling."""
    return partial(_tensorstore, url, image, codec)


def ome_zarr(method: str | None, url: str, image: np.ndarray) -> Write:
    """Write by ome-zarr-py, with a method or its own default."""
    import zarr
    from ome_zarr.scale import Methods
    from ome_zarr.writer import write_image

    options: dict[str, Any] = {"method": Methods(method)} if method else {}
    group = zarr.open_group(url, mode="w", zarr_format=3)
    return lambda: write_image(
        image,
        group,
        axes=AXES,
        scale_factors=[{"y": 2**n, "x": 2**n} for n in range(1, LEVELS)],
        storage_options={"chunks": CHUNKS},
        **options,
    )


def ngff_zarr(method: str | None, url: str, image: np.ndarray) -> Write:
    """Write by ngff-zarr, with a method or its own default."""
    import ngff_zarr as library

    chosen = library.Methods(method) if method else None
    source = library.to_ngff_image(image, dims=tuple(AXES))

    def write() -> None:
        multiscales = library.to_multiscales(
            source,
            scale_factors=[{"z": 1, "y": 2**n, "x": 2**n} for n in range(1, LEVELS)],
            method=chosen,
            chunks=dict(zip(AXES, CHUNKS, strict=True)),
        )
        library.to_ngff_zarr(url, multiscales, version="0.5")

    return write


def finished_bytes(codec: str, url: str, image: np.ndarray) -> Write:
    """Store what ours had written: what the network, the disk and the rig allow.

    The same objects under the same names. Their addresses are signed beforehand, and
    nothing is hashed.
    """
    folder = Path(os.environ[FINISHED]) / codec_folder(codec)
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    names = [file.relative_to(folder).as_posix() for file in files]
    bodies = [file.read_bytes() for file in files]
    if not url.startswith("s3:"):
        return partial(_write_all, Path(url), names, bodies)
    places = [web_address(f"{url}/{name}", "PUT") for name in names]
    return lambda: asyncio.run(_put_all(places, bodies))


def codec_folder(codec: str) -> str:
    """Name the folder of what was finished with one of the `CODECS`."""
    name, level = CODECS[codec]
    return f"{name}-{level}"


def _ours(url: str, image: Any, codec: str, client: Any = None) -> None:
    from napari_omezarr.writing import write_image

    name, level = CODECS[codec]
    write_image(
        image,
        url,
        AXES,
        chunks=CHUNKS,
        levels=LEVELS,
        factors={"y": 2, "x": 2, "z": 1, "c": 1},
        codec=name,
        level=level,
        client=client,
    )


def _warm() -> None:
    """Have a process import what it needs, by writing a little."""
    import numpy
    from zarr.storage import MemoryStore

    from napari_omezarr.writing import write_image

    write_image(numpy.ones((2, 2), "uint16"), MemoryStore(), "yx")


def _tensorstore(url: str, image: np.ndarray, codec: str) -> None:
    import tensorstore as library

    finer: Any = None
    for number in range(LEVELS):
        shape = [*image.shape[:-2], *(size >> number for size in image.shape[-2:])]
        metadata = {
            "shape": shape,
            "data_type": image.dtype.name,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": list(map(min, CHUNKS, shape))},
            },
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                _compressor(codec),
            ],
        }
        place = f"{url}/{number}"
        kvstore = (
            tensorstore_place(place)
            if url.startswith("s3:")
            else {"driver": "file", "path": f"{place}/"}
        )
        spec = {"driver": "zarr3", "kvstore": kvstore, "metadata": metadata}
        level = library.open(spec, create=True).result()
        coarser = finer and library.downsample(finer, [1, 1, 2, 2], "mean")
        level.write(image if coarser is None else coarser).result()
        finer = level


def _compressor(codec: str) -> dict[str, Any]:
    name, level = CODECS[codec]
    if name == "zstd":
        return {"name": name, "configuration": {"level": level}}
    shuffle = {"cname": "zstd", "shuffle": "shuffle", "typesize": 2, "blocksize": 0}
    return {"name": "blosc", "configuration": {"clevel": level, **shuffle}}


def _write_all(folder: Path, names: Sequence[str], bodies: Sequence[bytes]) -> None:
    for name, body in zip(names, bodies, strict=True):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)


async def _put_all(places: Sequence[str], bodies: Sequence[bytes]) -> None:
    import aiohttp
    from yarl import URL

    left = iter(zip(places, bodies, strict=True))

    async def work(session: aiohttp.ClientSession) -> None:
        for place, body in left:
            async with session.put(URL(place, encoded=True), data=body) as answer:
                answer.raise_for_status()
                await answer.read()

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(work(session) for _ in range(AT_ONCE)))


WRITERS: dict[str, Callable[[str, np.ndarray], Write]] = {
    "finished bytes": partial(finished_bytes, ""),
    "napari-omezarr": partial(ours, ""),
    "tensorstore": partial(tensorstore, ""),
    "ome-zarr-py": partial(ome_zarr, None),
    "ome-zarr-py, nearest": partial(ome_zarr, "nearest"),
    "ngff-zarr": partial(ngff_zarr, None),
    "ngff-zarr, bin shrink": partial(ngff_zarr, "itkwasm_bin_shrink"),
    "napari-omezarr, 1 worker": partial(our_cluster, 1),
    "napari-omezarr, 2 workers": partial(our_cluster, 2),
}
"""By name; each gives a function that writes an image to an address."""
USUAL = tuple(WRITERS)
"""Those that take part if nobody is named."""
WRITERS |= {
    f"{name}{codec}": partial(write, codec)
    for codec in CODECS
    if codec
    for name, write in (
        ("finished bytes", finished_bytes),
        ("napari-omezarr", ours),
        ("tensorstore", tensorstore),
    )
}
