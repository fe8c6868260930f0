"""One contender in a real viewer: steps, zooms and drags; it prints how that went.

The pixels say which plane of which level they are (`data.py`: planes), so that what is
on screen is asked of the layer's class, by its public ``get_value``, at 25 places of
the canvas. By hand, where there is a display (Enter answers each question)::

    python benchmarks/session.py napari-omezarr URL
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from operator import attrgetter
from typing import TYPE_CHECKING, Any

# Before napari is imported: neither the person's settings are read nor changed.
os.environ["NAPARI_CONFIG"] = ""

import napari
import numpy as np
from napari.settings import get_settings
from qtpy.QtCore import QEventLoop, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

COUNT, FAR, RESULT = "session: count\n", "session: far\n", "session: result "
SHAPE = (2, 16, 2048, 2048)
CHUNK, LEVELS, PLANE_STEP, LEVEL_STEP = 512, 4, 1000, 100
PIXEL = 0.2
SIZE = (1200, 900)
PATIENCE = 20.0
"""Seconds after which a step is given up."""
PAUSE = 0.3
"""Seconds between steps, in which a person looks and a display reads ahead."""


@dataclass(slots=True)
class Step:
    """How one step went: milliseconds, and chunks.

    Attributes
    ----------
    block : float
        The longest time in which the window did nothing else.
    right, sharp : float
        From the (last) movement until all of the canvas shows the right plane, at any
        resolution, and until it shows it at the resolution that the zoom asks for.
    fetched, needed : int
        Requests, and chunks that the view and the thumbnail show and none before did.
    """

    block: float = 0
    right: float = 0
    sharp: float = 0
    fetched: int = 0
    needed: int = 0


class Session:
    """Moves about in a viewer, and watches.

    Parameters
    ----------
    viewer : napari.Viewer
        With the layers of one image, one for each channel.
    settled : callable
        Says whether a layer shows all that it will show of a volume.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        settled: Callable[[Any], bool] = attrgetter("loaded"),
    ) -> None:
        self.viewer = viewer
        self._settled = settled
        self.steps: dict[str, list[Step]] = defaultdict(list)
        self._shown: set[tuple[int, ...]] = set()
        self._beats: list[float] = []
        self._loop = QEventLoop()
        self._poll = QTimer()
        self._poll.timeout.connect(self._loop.quit)
        self._poll.start(5)
        self._heart = QTimer()
        self._heart.timeout.connect(self._beat)
        self._heart.start(1)

    def step(self, kind: str, *moves: Callable[[], object], every: float = 0) -> None:
        """Make moves and wait until the picture is sharp.

        Parameters
        ----------
        kind : str
            Under which it is noted; nothing if it is empty.
        moves : callables
            One after another.
        every : float
            Seconds between them.
        """
        before = asked(COUNT) if kind else 0
        found = Step()
        self._beats = [time.perf_counter()]
        for move in moves[:-1]:
            begin = time.perf_counter()
            move()
            self.wait(every - (time.perf_counter() - begin))
        begin = time.perf_counter()
        moves[-1]()
        self._until_sharp(begin, found)
        self.wait(PAUSE)
        found.block = 1000 * float(np.diff(self._beats).max())
        if kind:
            found.needed = len(self._new())
            found.fetched = asked(COUNT) - before
            self.steps[kind].append(found)
        else:
            self._new()

    def wait(self, seconds: float) -> None:
        """Let the window live."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self._loop.exec()

    def _beat(self) -> None:
        self._beats.append(time.perf_counter())

    def _until_sharp(self, begin: float, found: Step) -> None:
        """Look again and again; what was seen twice in a row has also been painted."""
        seen_right = seen_sharp = False
        while time.perf_counter() < begin + PATIENCE and not found.sharp:
            self._loop.exec()
            sharp = self._is_shown(sharp=True)
            right = sharp or (not found.right and self._is_shown(sharp=False))
            now = 1000 * (time.perf_counter() - begin)
            if right and seen_right and not found.right:
                found.right = now
            if sharp and seen_sharp:
                found.sharp = now
            seen_right, seen_sharp = right, sharp

    def _is_shown(self, *, sharp: bool) -> bool:
        if self.viewer.dims.ndisplay == 3:
            layers = self.viewer.layers
            return all(
                self._settled(layer) if sharp else layer.loaded for layer in layers
            )
        return all(self._shows(layer, sharp=sharp) for layer in self.viewer.layers)

    def _shows(self, layer: Any, *, sharp: bool) -> bool:
        """Say whether all of the canvas shows the plane, and the level if `sharp`."""
        plane = self.viewer.dims.current_step[0]
        wanted = (plane, layer.data_level)
        for point in self._points():
            # What is on screen: ours says "not loaded" of a coarser pixel by itself.
            value = type(layer).get_value(layer, point, world=True)
            value = value[1] if isinstance(value, tuple) else value
            if value is None:
                return False
            seen = int(value) // PLANE_STEP, int(value) % PLANE_STEP // LEVEL_STEP
            if seen != wanted if sharp else seen[0] != plane:
                return False
        return True

    def _points(self) -> Iterable[tuple[float, ...]]:
        """Give 25 places of the canvas that lie in the image."""
        camera = self.viewer.scene.camera
        half = np.asarray(self.viewer.canvas.size) / 2 / camera.zoom
        middle = np.asarray(camera.center[-2:])
        inside = PIXEL * (np.asarray(SHAPE[-2:]) - 1.5)
        low, high = (middle + sign * 0.98 * half for sign in (-1, 1))
        ends = zip(low.clip(0, inside), high.clip(0, inside), strict=True)
        z = self.viewer.dims.point[0]
        for y, x in product(*(np.linspace(*end, 5) for end in ends)):
            yield z, y, x

    def _new(self) -> set[tuple[int, ...]]:
        """Give the chunks that are shown now for the first time."""
        z = self.viewer.dims.current_step[0]
        seen = set()
        for channel, layer in enumerate(self.viewer.layers):
            size = SHAPE[-1] >> layer.data_level
            low, high = np.asarray(layer.corner_pixels)[:, -2:].clip(0, size - 1)
            tiles = (
                range(a // CHUNK, b // CHUNK + 1)
                for a, b in zip(low, high, strict=True)
            )
            seen |= {(channel, layer.data_level, z, *tile) for tile in product(*tiles)}
            seen.add((channel, LEVELS - 1, z, 0, 0))
        new = seen - self._shown
        self._shown |= seen
        return new


def main() -> None:
    """Open, move about, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=list(CONTENDERS))
    parser.add_argument("url", help="of the store `planes`; a folder for the floor")
    parser.add_argument("--steps", type=int, default=8, help="in z; others fewer")
    arguments = parser.parse_args()
    get_settings().experimental.async_ = arguments.name.endswith("async")
    viewer = napari.Viewer(show=False)
    viewer.window.resize(*SIZE)
    viewer.show()
    CONTENDERS[arguments.name](viewer, arguments.url)
    for layer in viewer.layers:
        layer.visible = True
    ours = arguments.name.startswith("napari-omezarr")
    session = Session(viewer, is_settled) if ours else Session(viewer)
    session.step("", viewer.fit_to_view)
    session.wait(1)
    asked(FAR)
    move_about(session, arguments.steps)
    volumes = [partial(setattr, viewer.dims, "ndisplay", 3)]
    if arguments.name == "in memory":
        # What ours shows by itself at the end.
        volumes += [partial(lock, viewer, 0)]
    session.step("to 3-D", *volumes, every=1)
    session.step("to 2-D", partial(back, viewer))
    found = {kind: [asdict(s) for s in steps] for kind, steps in session.steps.items()}
    print(f"{RESULT}{json.dumps(found)}", flush=True)
    viewer.close()


def move_about(session: Session, count: int) -> None:
    """Make the steps."""
    viewer = session.viewer
    camera, dims = viewer.scene.camera, viewer.dims
    world = PIXEL * SHAPE[-1]

    def pan(y: float, x: float) -> None:
        camera.center = (0, camera.center[1] + y, camera.center[2] + x)

    def zoom(factor: float) -> None:
        camera.zoom *= factor

    def plane(z: int) -> None:
        dims.set_current_step(0, z)

    near = 1 / PIXEL / camera.zoom
    plane(0)
    session.step("", partial(pan, -world / 5, -world / 5))
    session.step("zoom in", partial(zoom, near))
    for z in range(1, count + 1):
        session.step("z step", partial(plane, z))
    scroll = [partial(plane, z % 16) for z in range(count + 1, 2 * count)]
    session.step("fast scroll", *scroll, every=0.06)
    session.step("", partial(plane, count))
    for _ in range(max(2, count // 2)):
        session.step("pan", partial(pan, world / 8, world / 8))
    drag = [partial(pan, 0, -world / 40)] * 2 * count
    session.step("drag", *drag, every=0.03)
    session.step("zoom out", partial(zoom, 1 / near))


def lock(viewer: napari.Viewer, level: int | None) -> None:
    """Show volumes at a level, as somebody does in the layer controls."""
    for layer in viewer.layers:
        layer.locked_data_level = level


def back(viewer: napari.Viewer) -> None:
    """Show planes again, at the levels that fit the zoom."""
    viewer.dims.ndisplay = 2
    if viewer.layers[0].locked_data_level is not None:
        lock(viewer, None)


def is_settled(layer: Any) -> bool:
    """Say whether a layer of ours is as fine as it gets."""
    from napari_omezarr.display import wait_until_sharp

    return wait_until_sharp(layer, timeout=0)


def asked(question: str) -> int:
    """Ask who has started this session, and give the number that comes back."""
    print(question, end="", flush=True)
    return int(sys.stdin.readline().strip() or 0)


def open_ours(viewer: napari.Viewer, url: str, *, ahead: bool = True) -> None:
    """Open by our plugin."""
    from dataclasses import replace

    from napari_omezarr.display import Engine, Settings, use_engine

    if not ahead:
        use_engine(Engine(replace(Settings.of(), prefetch_bytes=0)))
    viewer.open(url, plugin="napari-omezarr")
    while len(viewer.layers) < SHAPE[0]:
        napari.qt.get_qapp().processEvents()


def open_napari_ome_zarr(viewer: napari.Viewer, url: str) -> None:
    """Open by the plugin napari-ome-zarr."""
    viewer.open(url, plugin="napari-ome-zarr")


def open_in_memory(viewer: napari.Viewer, url: str) -> None:
    """Show arrays that are in memory: what napari itself takes."""
    import zarr

    levels = [zarr.open_array(f"{url}/{k}", mode="r")[...] for k in range(LEVELS)]
    viewer.add_image(
        levels,
        channel_axis=0,
        multiscale=True,
        scale=(0.5, PIXEL, PIXEL),
        contrast_limits=[(0, 16000)] * SHAPE[0],
    )


CONTENDERS: dict[str, Callable[[napari.Viewer, str], None]] = {
    "in memory": open_in_memory,
    "napari-omezarr": open_ours,
    "napari-omezarr, no prefetch": partial(open_ours, ahead=False),
    "napari-ome-zarr": open_napari_ome_zarr,
    "napari-ome-zarr, async": open_napari_ome_zarr,
}
"""By name, how each opens the image in a viewer."""

if __name__ == "__main__":
    main()
