"""Time an image that is stored in other chunks: planes into volumes, and back.

Beside each other: this package, a copy by zarr as a script would write it, ngff-zarr
and rechunker where they are installed. Each in a process of its own, in turn, best of
some; the source is served over HTTP, so that what is read of it is counted, at a
round-trip time of choice::

    .venv/bin/python benchmarks/rechunk.py FOLDER --mebibytes 256 --rtt 0 30 --times 2
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import zarr
from latency import Latency

if TYPE_CHECKING:
    from collections.abc import Sequence

PLANES, VOLUMES = (1, 512, 512), (64, 64, 64)
SIDE = 512


def by_ours(source: str, target: Path, chunks: tuple[int, ...]) -> None:
    """Save one level, without reading it back, as the others write one array."""
    from napari_omezarr import read_layers, write_image

    layer = read_layers(source)[0]
    write_image(layer, target, "zyx", chunks=chunks, levels=1, verify="none")


def by_zarr(source: str, target: Path, chunks: tuple[int, ...]) -> None:
    """Copy slab by slab, each as thick as the new chunks."""
    array = zarr.open_array(source, mode="r")
    made = zarr.create_array(
        target, shape=array.shape, dtype=array.dtype, chunks=chunks
    )
    thick = max(chunks[0], array.chunks[0])
    for start in range(0, array.shape[0], thick):
        made[start : start + thick] = array[start : start + thick]


def by_rechunker(source: str, target: Path, chunks: tuple[int, ...]) -> None:
    """Plan with 256 MiB of memory, through an array between the two."""
    from rechunker import rechunk

    array = zarr.open_array(source, mode="r")
    between = target.with_suffix(".between")
    rechunk(array, chunks, 2**28, str(target), temp_store=str(between)).execute()


def by_ngff_zarr(source: str, target: Path, chunks: tuple[int, ...]) -> None:
    """Save one level of the array as dask reads it."""
    import dask.array as da
    import ngff_zarr

    lazy = da.from_zarr(zarr.open_array(source, mode="r"))
    image = ngff_zarr.to_ngff_image(lazy, dims=("z", "y", "x"))
    sizes = dict(zip("zyx", chunks, strict=True))
    levels = ngff_zarr.to_multiscales(image, scale_factors=[], chunks=sizes)
    ngff_zarr.to_ngff_zarr(str(target), levels, version="0.5")


WAYS = {
    "ours": by_ours,
    "zarr": by_zarr,
    "ngff-zarr": by_ngff_zarr,
    "rechunker": by_rechunker,
}
NEEDED = {
    "ours": "napari_omezarr.writing",
    "ngff-zarr": "ngff_zarr",
    "rechunker": "rechunker",
}


def one(way: str, source: str, target: Path, chunks: tuple[int, ...]) -> None:
    """Do it once, and print the seconds and the most memory."""
    import_module(NEEDED.get(way, "zarr"))  # which is not what is compared
    begun = time.perf_counter()
    WAYS[way](source, target, chunks)
    taken = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"seconds": taken, "megabytes": memory}))


def make(folder: Path, depth: int) -> None:
    """Make the two sources, if they are not there."""
    rng = np.random.default_rng(1)
    for name, stored in (("planes", PLANES), ("volumes", VOLUMES)):
        if (folder / name).exists():
            continue
        array = zarr.create_array(
            folder / name, shape=(depth, SIDE, SIDE), dtype="u2", chunks=stored
        )
        for start in range(0, depth, 64):
            box = (min(64, depth - start), SIDE, SIDE)
            array[start : start + 64] = rng.integers(0, 900, box).astype("u2")


def try_one(
    folder: Path, server: Latency, rtt: float, job: tuple[str, str, tuple[int, ...]]
) -> dict[str, float]:
    """Do it once in another process; gives what it took, and reads for each chunk."""
    way, name, chunks = job
    target = folder / "target.ome.zarr"
    each = [way, f"{server.url}/{name}", target, json.dumps(chunks)]
    server.reset(rtt)
    command = [sys.executable, __file__, folder, "--one", *each]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    for made in folder.glob("target*"):
        shutil.rmtree(made)
    if told.returncode:
        raise RuntimeError(told.stderr.strip().rpartition("\n")[2])
    found: dict[str, float] = json.loads(told.stdout)
    count = sum(1 for file in (folder / name / "c").rglob("*") if file.is_file())
    found["reads"] = server.stats().requests / count
    return found


def said_of(what: str, tries: Sequence[dict[str, float]]) -> None:
    """Print the best time, the most memory and the most requests."""
    best = min(each["seconds"] for each in tries)
    memory = max(each["megabytes"] for each in tries)
    reads = max(each["reads"] for each in tries)
    sys.stdout.write(
        f"{what} {best:.2f} s, {memory:.0f} MB, {reads:.2f} requests a chunk\n"
    )
    sys.stdout.flush()


def main() -> None:
    """Compare the ways, in turn, in both directions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mebibytes", type=int, default=64)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--rtt", type=float, nargs="+", default=(0.0, 30.0))
    parser.add_argument("--who", nargs="+", default=tuple(WAYS))
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.one:
        way, source, target, chunks = said.one
        return one(way, source, Path(target), tuple(json.loads(chunks)))
    folder = said.folder / str(said.mebibytes)
    folder.mkdir(parents=True, exist_ok=True)
    make(folder, said.mebibytes * 2)
    who = [way for way in said.who if find_spec(NEEDED.get(way, "zarr").split(".")[0])]
    with Latency(folder) as server:
        for rtt in said.rtt:
            for name, chunks in (("planes", VOLUMES), ("volumes", PLANES)):
                tried: dict[str, list[dict[str, float]]] = {way: [] for way in who}
                for way in tuple(tried) * said.times:
                    try:
                        found = try_one(folder, server, rtt, (way, name, chunks))
                    except RuntimeError as error:
                        sys.stdout.write(f"{way} cannot: {error}\n")
                    else:
                        tried[way].append(found)
                for way, tries in tried.items():
                    if tries:
                        said_of(f"RTT {rtt:.0f}, {name} -> {chunks}: {way}", tries)
    return None


if __name__ == "__main__":
    main()
