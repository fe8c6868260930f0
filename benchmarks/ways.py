"""Count the modules of ours, and the functions, that lie on the way of one thing.

An opening, a chunk for the canvas, a chunk for dask, a save: what has run before is
imported and known, and the place is on the web (`latency.py`). Needs Python 3.12.

python benchmarks/ways.py
"""

import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from types import CodeType
from typing import Any

import numpy as np
from latency import Latency

import napari_omezarr
from napari_omezarr import read, read_layers, write_image
from napari_omezarr.display.chunk_cache import Chunk, ChunkGrid
from napari_omezarr.display.engine import _read
from napari_omezarr.store import run

ROOT = f"{Path(napari_omezarr.__file__).parent}/"
EVENTS = sys.monitoring.events


@contextmanager
def counted(what: str, *, elsewhere: bool = False) -> Iterator[None]:
    """Print how many modules and functions ran inside the block.

    What is done ``elsewhere`` is waited for by the main thread, which does not count.
    """
    ran: dict[str, set[str]] = defaultdict(set)

    def begins(code: CodeType, _: int) -> Any:
        if elsewhere and current_thread() is main_thread():
            return None
        if code.co_filename.startswith(ROOT) and code.co_name != "<module>":
            ran[code.co_filename.removeprefix(ROOT)].add(code.co_qualname)
        return sys.monitoring.DISABLE

    sys.monitoring.use_tool_id(sys.monitoring.PROFILER_ID, "ways")
    sys.monitoring.register_callback(
        sys.monitoring.PROFILER_ID, EVENTS.PY_START, begins
    )
    sys.monitoring.restart_events()
    sys.monitoring.set_events(sys.monitoring.PROFILER_ID, EVENTS.PY_START)
    try:
        yield
    finally:
        sys.monitoring.set_events(sys.monitoring.PROFILER_ID, 0)
        sys.monitoring.free_tool_id(sys.monitoring.PROFILER_ID)
    print(f"{what}: {len(ran)} modules, {sum(map(len, ran.values()))} functions")
    print("   ", " ".join(sorted(ran)))


def main() -> None:
    image = np.arange(2 * 512 * 512, dtype=np.uint16).reshape(2, 512, 512)
    with tempfile.TemporaryDirectory() as folder:
        write_image(image, f"{folder}/warm.ome.zarr")
        with counted("a save"):
            write_image(image, f"{folder}/a.ome.zarr")
        with Latency(Path(folder)) as server:
            address = f"{server.url}/a.ome.zarr"
            read_layers(address)
            with counted("an opening"):
                ((data, *_), *_) = read_layers(address)
            array = data[0] if isinstance(data, list) else data
            array[:8, :8].compute()
            with counted("a chunk, by dask"):
                array[-8:, -8:].compute()
            grid = ChunkGrid(read(address).pyramids[0].levels[0].pixels)
            run(_read(grid.chunk((0, 0, 0)), again=False))
            run(_seen(grid.chunk((1, 0, 0))))


async def _seen(chunk: Chunk) -> None:
    with counted("a chunk, for the canvas", elsewhere=True):
        await _read(chunk, again=False)


if __name__ == "__main__":
    main()
