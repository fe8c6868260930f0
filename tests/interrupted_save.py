"""A save in a process of its own, which says on its output how far it has come."""

from __future__ import annotations

import sys

import numpy as np

from napari_omezarr.writing import write_image

SHAPE = (12, 130, 120)
OPTIONS = {
    "version": "0.5",
    "chunks": {"z": 1, "y": 60, "x": 60},
    "levels": 3,
    "memory": 50_000,
    "shards": {"z": 2, "y": 60, "x": 120},
}


def image() -> np.ndarray:
    return np.random.default_rng(7).integers(1, 900, SHAPE).astype(np.uint16)


def say(progress) -> None:
    print(f"{progress.done}/{progress.total}", flush=True)  # noqa: T201


if __name__ == "__main__":
    write_image(
        image(), sys.argv[1], "zyx", unfinished="resume", progress=say, **OPTIONS
    )
