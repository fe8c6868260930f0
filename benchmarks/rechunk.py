"""Time an image that is stored in other chunks: planes into volumes, and back.

Beside each other: this package, a copy by zarr as a script would write it, and
rechunker where it is installed. Each in a process of its own, best of some::

    .venv/bin/python benchmarks/rechunk.py FOLDER --mebibytes 1024 --times 3
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

import numpy as np
import zarr

PLANES, VOLUMES = (1, 512, 512), (64, 64, 64)
SIDE = 512


def by_ours(source: Path, target: Path, chunks: tuple[int, ...]) -> None:
    """Save one level, without reading it back, as the others write one array."""
    from napari_omezarr import write_image

    array = zarr.open_array(source, mode="r")
    write_image(array, target, "zyx", chunks=chunks, levels=1, verify="none")


def by_zarr(source: Path, target: Path, chunks: tuple[int, ...]) -> None:
    """Copy slab by slab, each as thick as the new chunks."""
    array = zarr.open_array(source, mode="r")
    made = zarr.create_array(
        target, shape=array.shape, dtype=array.dtype, chunks=chunks
    )
    thick = max(chunks[0], array.chunks[0])
    for start in range(0, array.shape[0], thick):
        made[start : start + thick] = array[start : start + thick]


def by_rechunker(source: Path, target: Path, chunks: tuple[int, ...]) -> None:
    """Plan with 256 MiB of memory, through an array between the two."""
    from rechunker import rechunk

    array = zarr.open_array(source, mode="r")
    between = target.with_suffix(".between")
    rechunk(array, chunks, 2**28, str(target), temp_store=str(between)).execute()


WAYS = {"ours": by_ours, "zarr": by_zarr, "rechunker": by_rechunker}


def one(way: str, source: Path, target: Path, chunks: tuple[int, ...]) -> None:
    """Do it once, and print the seconds and the most memory."""
    needed = {"ours": "napari_omezarr.writing", "rechunker": "rechunker"}
    import_module(needed.get(way, "zarr"))  # which is not what is compared
    begun = time.perf_counter()
    WAYS[way](source, target, chunks)
    taken = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"seconds": taken, "megabytes": memory}))


def main() -> None:
    """Compare the ways, interleaved, in both directions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mebibytes", type=int, default=64)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.one:
        way, source, target, chunks = said.one
        return one(way, Path(source), Path(target), tuple(json.loads(chunks)))
    rng, depth = np.random.default_rng(1), said.mebibytes * 2
    said.folder.mkdir(parents=True, exist_ok=True)
    for name, stored in (("planes", PLANES), ("volumes", VOLUMES)):
        shape = (depth, SIDE, SIDE)
        array = zarr.create_array(
            said.folder / name, shape=shape, dtype="u2", chunks=stored, overwrite=True
        )
        for start in range(0, depth, 64):
            box = (min(64, depth - start), SIDE, SIDE)
            array[start : start + 64] = rng.integers(0, 900, box).astype("u2")
    missing = find_spec("rechunker") is None
    ways = [way for way in WAYS if way != "rechunker" or not missing]
    for name, chunks in (("planes", VOLUMES), ("volumes", PLANES)):
        best = dict.fromkeys(ways, float("inf"))
        memory = dict.fromkeys(ways, 0.0)
        for _ in range(said.times):
            for way in ways:
                target = said.folder / "target.ome.zarr"
                each = [way, said.folder / name, target, json.dumps(chunks)]
                command = [sys.executable, __file__, said.folder, "--one", *each]
                told = subprocess.run(command, check=True, capture_output=True)
                found = json.loads(told.stdout)
                best[way] = min(best[way], found["seconds"])
                memory[way] = max(memory[way], found["megabytes"])
                for made in said.folder.glob("target*"):
                    shutil.rmtree(made)
        for way in ways:
            speed = said.mebibytes / best[way]
            sys.stdout.write(
                f"{name} -> {chunks}: {way} {best[way]:.2f} s, {speed:.0f} MiB/s, "
                f"{memory[way]:.0f} MB\n"
            )
    return None


if __name__ == "__main__":
    main()
