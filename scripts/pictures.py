"""Make the pictures of docs/pictures from the running program.

There must be a display (``scripts/headless`` makes one)::

    scripts/headless .venv/bin/python scripts/pictures.py
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before napari is imported: the pictures show napari as it comes.
os.environ["NAPARI_CONFIG"] = ""

import napari
import numpy as np
import PIL.Image
from napari.layers import Image, Labels
from qtpy.QtCore import QEventLoop, QTimer

from napari_omezarr.demo.server import OWNER, S3Server
from napari_omezarr.display import (
    MEGABYTE,
    Engine,
    Settings,
    attach,
    status,
    use_engine,
    wait_until_sharp,
)
from napari_omezarr.errors import StoreConnectionError
from napari_omezarr.location import Location
from napari_omezarr.pyramid import FixedAxes, Readable, to_dask
from napari_omezarr.reading import read
from napari_omezarr.samples import write_cells
from napari_omezarr.store import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_omezarr.pyramid import Bounds, Pixels

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
SHAPE = (4, 1536, 1536)
CHUNK = 64
PANEL = (520, 420)
GAP = 12
COLOURS = ("cyan", "magenta")


class Held(Readable):
    """A level in memory, whose chunks arrive when they are allowed to.

    Parameters
    ----------
    array : numpy.ndarray
        c, z, y, x.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype
        self.chunks = (array.shape[0], 1, CHUNK, CHUNK)
        self.concurrency = 4
        self.token = f"picture {array.shape}"
        self.address = "s3://idr/cells.ome.zarr"
        self.allowed = 0
        self.is_away = False
        self._news = asyncio.Condition()

    async def read(self, bounds: Bounds) -> np.ndarray:
        """Wait until one more read is allowed, or fail while the place is away."""
        async with self._news:
            await self._news.wait_for(lambda: self.allowed > 0 or self.is_away)
            if self.is_away:
                sentence = "idr takes no connection."
                action = "Check whether this computer is online."
                raise StoreConnectionError(sentence, action=action)
            self.allowed -= 1
        return self.array[tuple(slice(*bound) for bound in bounds)].copy()

    def allow(self, count: int) -> None:
        """Let that many chunks arrive."""
        run(self._allow(count))

    async def _allow(self, count: int) -> None:
        async with self._news:
            self.allowed += count
            self._news.notify_all()


def main() -> None:
    """Make all pictures."""
    with large_cells() as place:
        keep("loading.png", sharpening(place))
        keep("away.png", away(place))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "cells.ome.zarr"
        write_cells(place)
        keep("region.png", region(place))
        keep("save.png", save(place))


def keep(name: str, picture: np.ndarray) -> None:
    """Write a picture in as many colours as one tells apart: a third of the bytes."""
    image = PIL.Image.fromarray(np.ascontiguousarray(picture[..., :3]))
    image.quantize(256, dither=PIL.Image.Dither.NONE).save(FOLDER / name, optimize=True)


@contextmanager
def large_cells() -> Iterator[Path]:
    """Give an image that is larger than the canvas, and let nothing be prefetched."""
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
        yield place


def held_back(
    place: Path, size: tuple[int, int], colours: Sequence[str]
) -> tuple[napari.Viewer, list[Held]]:
    """Show channels of an image, of which only the coarsest level may come."""
    pyramid = read(Location.parse(str(place))).pyramids[0]
    levels = [Held(np.asarray(level.pixels[...])) for level in pyramid.levels]
    viewer = napari.Viewer(show=False)
    viewer.window.resize(*size)
    viewer.show()
    for channel, colour in enumerate(colours):
        viewer.add_layer(shown([FixedAxes(p, {0: channel}) for p in levels], colour))
    camera = viewer.scene.camera
    camera.zoom, camera.center = 1, (0, SHAPE[1] / 2, SHAPE[2] / 2)
    levels[-1].allow(10_000)
    return viewer, levels


def sharpening(place: Path) -> np.ndarray:
    """Show one view three times: coarse, half sharp, sharp."""
    viewer, levels = held_back(place, (1200, 900), COLOURS)
    panels = []
    for count in (0, 24, 10_000):
        levels[0].allow(count)
        until(lambda: not levels[0].allowed or not pending(viewer))
        wait(1)
        panels.append(viewer.screenshot(size=PANEL, flash=False)[..., :3])
    viewer.close()
    white = np.full((PANEL[0], GAP, 3), 255, np.uint8)
    return np.concatenate([panels[0], white, panels[1], white, panels[2]], axis=1)


def away(place: Path) -> np.ndarray:
    """Show the window when the place went away while somebody moved on."""
    viewer, levels = held_back(place, (1100, 700), COLOURS[:1])
    camera = viewer.scene.camera
    levels[0].allow(60)
    until(lambda: not levels[0].allowed)
    for level in levels:
        level.is_away = True
        # Those that wait hear of it.
        level.allow(0)
    camera.center = (0, SHAPE[1] / 2, SHAPE[2] / 2 + 5 * CHUNK)
    wait(1)
    until(lambda: not pending(viewer) and " since " in str(viewer.status))
    wait(8)
    point = (viewer.dims.point[0], SHAPE[1] / 2, SHAPE[2] / 2 + 8 * CHUNK)
    viewer.status = viewer.layers[0].get_status(point, world=True)
    wait(1)
    picture = viewer.screenshot(canvas_only=False, flash=False)[..., :3]
    viewer.close()
    return picture


def region(place: Path) -> np.ndarray:
    """Show the dock, with a box drawn."""
    viewer = napari.Viewer(show=False)
    viewer.window.resize(1200, 800)
    viewer.show()
    viewer.open(str(place), plugin="napari-omezarr")
    until(lambda: len(viewer.layers) == len(COLOURS) + 1)
    for layer in viewer.layers:
        if isinstance(layer, Labels):
            layer.contour = 2
        wait_until_sharp(layer)
    _, dock = viewer.window.add_plugin_dock_widget("napari-omezarr", "OME-Zarr region")
    dock.form.set_edges([(0, (8, 24)), (1, (140, 330)), (2, (150, 390))])
    dock.form.draw.click()
    wait(1)
    picture = viewer.screenshot(canvas_only=False, flash=False)[..., :3]
    viewer.close()
    return picture


def loaded_region(viewer: napari.Viewer) -> tuple[Any, Any]:
    """Load the nuclei at full resolution, and give the dock and its layer."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-omezarr", "OME-Zarr region")
    dock.form.layer.value = viewer.layers["nuclei"]
    dock.form.level.value = 0
    dock.load()
    until(lambda: not dock.busy)
    return dock, viewer.layers["nuclei region"]


def save(place: Path) -> np.ndarray:
    """Show the dock that saves to a bucket, as it is before."""
    with S3Server() as server:
        os.environ |= {
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ACCESS_KEY_ID": OWNER.key,
            "AWS_SECRET_ACCESS_KEY": OWNER.secret,
        }
        viewer = napari.Viewer(show=False)
        viewer.window.resize(1200, 800)
        viewer.show()
        viewer.open(str(place), plugin="napari-omezarr")
        until(lambda: len(viewer.layers) == len(COLOURS) + 1)
        for layer in viewer.layers:
            wait_until_sharp(layer)
        _, dock = viewer.window.add_plugin_dock_widget(
            "napari-omezarr", "Save as OME-Zarr…"
        )
        dock.view.target.line.set_address("s3://private/2026/embryo.ome.zarr")
        until(lambda: not dock.looking)
        wait(1)
        picture = viewer.screenshot(canvas_only=False, flash=False)[..., :3]
        viewer.close()
    return picture


def shown(levels: list[Pixels], colour: str) -> Image:
    """Give a layer of the display."""
    layer = Image(
        [to_dask(pixels) for pixels in levels],
        multiscale=True,
        contrast_limits=(100, 2400),
        colormap=colour,
        blending="additive",
        visible=False,
    )
    attach(layer, levels)
    layer.visible = True
    return layer


def pending(viewer: napari.Viewer) -> int:
    """Count the chunks that are not there yet."""
    return sum(status(layer).pending for layer in viewer.layers)


def until(condition: Callable[[], object]) -> None:
    """Let the window live until something is so."""
    while not condition():
        wait(0.05)


def wait(seconds: float) -> None:
    """Let the window live for a while."""
    loop = QEventLoop()
    QTimer.singleShot(int(1000 * seconds), loop.quit)
    loop.exec()


if __name__ == "__main__":
    main()
