"""Whether memory stays where it is told to: scrolling through 64 GiB in a real viewer.

The chunks are made up as they are read, as fast as the machine can; nothing is served.
3600 steps are an hour of looking at a plane each second. There must be a display
(``scripts/headless`` makes one)::

    scripts/headless python benchmarks/scrolling_memory.py
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

# Before napari is imported: neither the person's settings are read nor changed.
os.environ["NAPARI_CONFIG"] = ""

import napari
import numpy as np
from napari.layers import Image
from session import SIZE, Session

from napari_omezarr.display import (
    MEGABYTE,
    Engine,
    Settings,
    attach,
    shared_engine,
    use_engine,
    wait_until_sharp,
)
from napari_omezarr.pyramid import Readable, to_dask

SHAPE = (2048, 4096, 4096)
CHUNK = 512
LEVELS = 5


class Noise(Readable):
    """A level that no disk could hold, made up chunk by chunk.

    Parameters
    ----------
    level : int
        0 is the finest.
    """

    def __init__(self, level: int) -> None:
        edge = SHAPE[-1] >> level
        self.shape = (SHAPE[0], edge, edge)
        self.dtype = np.dtype("uint16")
        self.chunks = (1, min(CHUNK, edge), min(CHUNK, edge))
        self.concurrency = 64
        self.token = uuid4().hex

    async def read(self, bounds: Any) -> np.ndarray:
        """Fill a chunk with the number of its plane."""
        sizes = [stop - start for start, stop in bounds]
        return np.full(sizes, bounds[0][0], self.dtype)


def main() -> None:
    """Scroll, and print what the process held."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--cache", type=int, default=512, help="MiB")
    arguments = parser.parse_args()
    settings = Settings(
        enabled=True,
        cache_bytes=arguments.cache * MEGABYTE,
        volume_bytes=128 * MEGABYTE,
        prefetch_bytes=64 * MEGABYTE,
    )
    use_engine(Engine(settings))
    viewer = napari.Viewer(show=False)
    viewer.window.resize(*SIZE)
    viewer.show()
    viewer.add_layer(shown())
    session = Session(viewer)
    session.wait(2)
    before, peak = held(), 0
    for step in range(arguments.steps):
        move(viewer, step)
        # Most steps come before the last one is sharp, as when a slider is dragged.
        session.wait(0.01) if step % 8 else wait_until_sharp(viewer.layers[0])
        peak = max(peak, held())
    print(f"before {before} MiB, at most {peak} MiB, {arguments.steps} steps")
    print(
        shared_engine().cache.statistics,
        f"requests={shared_engine().fetcher.reads_begun}",
    )
    print(f"above the start and the cache: {peak - before - arguments.cache} MiB")
    viewer.close()


def shown() -> Image:
    """Give a layer of the display over all that noise."""
    levels = [Noise(level) for level in range(LEVELS)]
    data = [to_dask(pixels) for pixels in levels]
    layer = Image(data, multiscale=True, contrast_limits=(0, 2048), visible=False)
    attach(layer, levels)
    layer.visible = True
    return layer


def move(viewer: napari.Viewer, step: int) -> None:
    """Step on in z; now and then jump, pan and zoom."""
    camera, dims = viewer.scene.camera, viewer.dims
    middle = SHAPE[-1] / 2
    moves = {
        100: partial(setattr, camera, "zoom", 1.0),
        200: partial(setattr, camera, "center", (0, middle / 2, middle / 2)),
        300: partial(setattr, camera, "center", (0, middle, middle)),
        400: viewer.fit_to_view,
    }
    moves.get(step % 500, lambda: None)()
    dims.set_current_step(0, (step * 5 if step % 50 == 0 else step) % SHAPE[0])


def held() -> int:
    """Give the memory of this process, in MiB; Linux says it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // MEGABYTE


if __name__ == "__main__":
    main()
