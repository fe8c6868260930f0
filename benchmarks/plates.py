"""Plates over a slow line: opening, and the first whole picture in a real viewer.

The plate is served from a rule, by another process, each answer held for a round trip.
There must be a display (``scripts/headless`` makes one)::

    scripts/headless python benchmarks/plates.py --wells 24 96 384 1536

``--peers-python`` names an interpreter that has napari-ome-zarr.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

SIZES = {24: (4, 6), 96: (8, 12), 384: (16, 24), 1536: (32, 48)}
_LONGEST = 300.0
_FLOOR = 2.0
_LARGEST = 4096  # pixels along a side of the levels that are shown from memory


def main() -> None:
    """Measure each size in a process of its own, and print a line for it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wells", type=int, nargs="+", default=[24, 96, 384])
    parser.add_argument("--fields", type=int, default=1)
    parser.add_argument("--rtt", type=int, default=30)
    parser.add_argument("--peers-python", help="that has napari-ome-zarr")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        look_by_peer(arguments.peer)
    context = multiprocessing.get_context("spawn")
    head = "wells | open, ms | processor, ms | requests | picture, s"
    print(f"{head} | requests | processor, s | block, ms | its floor, ms | cold")
    for wells in arguments.wells:
        options = (*SIZES[wells], arguments.fields, arguments.rtt)
        ours, served = context.Pipe()
        server = context.Process(target=serve, args=(served, *options), daemon=True)
        server.start()
        address = ours.recv()
        for work in (look, look_at_memory, look_at_memory_first):
            run_alone(context, work, (address, ours))
        if arguments.peers_python:
            ours.send(True)
            before = ours.recv()
            command = [arguments.peers_python, __file__, "--peer", address]
            print(f"{wells}, napari-ome-zarr", end="", flush=True)
            try:
                subprocess.run(command, timeout=_LONGEST, check=False)
            except subprocess.TimeoutExpired:
                print(f" was not done after {_LONGEST:.0f} s")
            ours.send(True)
            print(f" | {ours.recv() - before} requests")
        server.kill()


def run_alone(context: Any, work: Any, arguments: tuple[Any, ...]) -> None:
    """Run a measurement in a process of its own, and end it if it takes too long."""
    viewer = context.Process(target=work, args=arguments)
    viewer.start()
    viewer.join(_LONGEST)
    if viewer.is_alive():
        viewer.kill()
        print(f"not done after {_LONGEST:.0f} s", flush=True)


def serve(pipe: Any, rows: int, columns: int, fields: int, rtt: int) -> None:
    """Serve a plate; says its address, and how many requests came when asked."""
    from servers.plates import PlateServer

    with PlateServer(rows, columns, fields=fields) as server:
        server.delay = rtt / 1000
        pipe.send(server.address)
        while pipe.recv():
            pipe.send(len(server.requests))


def look(address: str, server: Any) -> None:
    """Open the plate in a viewer, wait for all of its picture, and print a line."""
    import napari

    from napari_omezarr import Location, read
    from napari_omezarr.display import wait_until_sharp
    from napari_omezarr.widgets.open import add_layers, load_units, open_place

    def requests() -> int:
        server.send(True)
        return int(server.recv())

    viewer = napari.Viewer()
    begun, spent = time.perf_counter(), time.process_time()
    reading = read(Location.parse(address))
    opened, spent = time.perf_counter() - begun, time.process_time() - spent
    asked = requests()
    wells = len(reading.pyramids[0].levels[0].pixels.fields.grid.wells)
    prepared = open_place(Location.parse(address))
    block = LongestBlock()
    load_units()  # as the window does while it waits for a place
    block.wait(0.2)
    begun, before, used = time.perf_counter(), requests(), time.process_time()
    add_layers(viewer, prepared)
    viewer.reset_view(margin=0.05)
    is_sharp = wait_until_sharp(viewer.layers[0], _LONGEST)
    picture, used = time.perf_counter() - begun, time.process_time() - used
    print(
        f"{wells} | {1000 * opened:.0f} | {1000 * spent:.0f} | {asked} | "
        f"{picture:.1f}{'' if is_sharp else ' and not done'} | {requests() - before} | "
        f"{used:.1f} | {1000 * block.longest:.0f} | ",
        end="",
        flush=True,
    )
    os._exit(0)


def look_at_memory_first(address: str, _server: Any) -> None:
    """Show levels in memory as the first layer, for which napari reads its units."""
    look_at_memory(address, _server, has_units=False)


def look_at_memory(address: str, _server: Any, *, has_units: bool = True) -> None:
    """Show levels of the same shapes that are in memory: the floor of the block."""
    import napari
    import numpy as np

    from napari_omezarr import Location, read
    from napari_omezarr.widgets.open import load_units

    levels = read(Location.parse(address)).pyramids[0].levels
    shapes = [level.shape for level in levels if max(level.shape) <= _LARGEST]
    arrays = [np.add.outer(*map(np.arange, shape)).astype("u2") for shape in shapes]
    viewer = napari.Viewer()
    block = LongestBlock()
    if has_units:
        load_units()
        block.wait(0.2)
    options = {"scale": (1, 1), "units": ("micrometer", "micrometer")}
    viewer.add_image(arrays, multiscale=True, contrast_limits=(0, 1200), **options)
    viewer.reset_view(margin=0.05)
    block.wait(_FLOOR)
    end = " | " if has_units else "\n"
    print(f"{1000 * block.longest:.0f}", end=end, flush=True)
    os._exit(0)


def look_by_peer(address: str) -> None:
    """Open the plate with napari-ome-zarr, which reads in the GUI thread."""
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    begun, spent = time.perf_counter(), time.process_time()
    # Nothing else happens in the window until the picture is there. It prints a lot.
    with contextlib.redirect_stdout(io.StringIO()):
        viewer.open(address, plugin="napari-ome-zarr")
    viewer.reset_view(margin=0.05)
    QApplication.processEvents()
    picture, spent = time.perf_counter() - begun, time.process_time() - spent
    print(
        f" | picture with opening, and block {picture:.1f} s | processor {spent:.1f} s",
        end="",
        flush=True,
    )
    os._exit(0)


class LongestBlock:
    """Measures the longest time in which the window did nothing else."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self.longest, self._last = 0.0, time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(2)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now

    def wait(self, seconds: float) -> None:
        """Let the window work for a while."""
        from qtpy.QtWidgets import QApplication

        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            QApplication.processEvents()
            time.sleep(0.001)


if __name__ == "__main__":
    main()
