"""Make the animation of the README from the running program: coarse, then sharp.

There must be a display (``scripts/headless`` makes one)::

    scripts/headless .venv/bin/python scripts/pictures_animation.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import napari
import numpy as np
from pictures import COLOURS, FOLDER, SHAPE, Held, pending, shown, stored, until, wait
from PIL import Image

from napari_omezarr.display import MEGABYTE, Engine, Settings, use_engine
from napari_omezarr.location import Location
from napari_omezarr.pyramid import FixedAxes
from napari_omezarr.reading import read
from napari_omezarr.samples import write_cells

SIZE = (400, 600)
STEP_MS = 160
COLOURS_KEPT = 96


def main() -> None:
    """Write ``sharpening.gif``."""
    settings = Settings(
        enabled=True,
        cache_bytes=256 * MEGABYTE,
        volume_bytes=128 * MEGABYTE,
        prefetch_bytes=0,
    )
    use_engine(Engine(settings))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "cells.ome.zarr"
        write_cells(place, shape=SHAPE)
        frames = [Image.fromarray(frame) for frame in film(place)]
    first, *others = [frame.quantize(COLOURS_KEPT) for frame in frames]
    first.save(
        FOLDER / "sharpening.gif",
        save_all=True,
        append_images=others,
        duration=[900, *[STEP_MS] * (len(others) - 1), 1800],
        loop=0,
    )


def film(place: Path) -> list[np.ndarray]:
    """Show a plane that arrives chunk by chunk, and another that was not asked for."""
    pyramid = read(Location.parse(str(place))).pyramids[0]
    levels = [Held(np.asarray(pixels[...])) for pixels in stored(pyramid.levels)]
    viewer = napari.Viewer(show=False)
    viewer.window.resize(1200, 900)
    viewer.show()
    for channel, colour in enumerate(COLOURS):
        viewer.add_layer(shown([FixedAxes(p, {0: channel}) for p in levels], colour))
    camera = viewer.scene.camera
    camera.zoom, camera.center = 1, (0, SHAPE[1] / 2, SHAPE[2] / 2)
    levels[-1].allow(10_000)
    frames = []
    for z in (1, 2):
        viewer.dims.set_current_step(0, z)
        wait(1)
        for _ in range(40):
            frames.append(viewer.screenshot(size=SIZE, flash=False)[..., :3])
            if not pending(viewer):
                break
            levels[0].allow(6)
            until(lambda: not levels[0].allowed or not pending(viewer))
            wait(0.2)
    viewer.close()
    return frames


if __name__ == "__main__":
    main()
