"""How fast `layer.data` is by dask, beside the direct read of the same pixels.

The image is that of ``read.py``: 256 MiB in 512 chunks of 512 KiB. All ways run in turn
in one process, each on an array of its own, so that the load of the machine is the
same for all: compare ratios. To compute takes a while without dask, too: the second
ratio is to the direct read and the same computation in numpy, one after the other; of
``compute``, whose blocks are laid together at the end, a copy. ::

    python benchmarks/by_dask.py --where http signed --rounds 5
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from math import prod
from statistics import median
from typing import TYPE_CHECKING, Any

import dask.array as da
import data
from contest import print_table
from latency import Latency
from trial import touch_memory

from napari_omezarr.demo.server import OWNER, S3Server
from napari_omezarr.location import Location
from napari_omezarr.pyramid import to_dask
from napari_omezarr.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from distributed import Client

    from napari_omezarr.pyramid import Pixels

    Read = Callable[[Pixels], Any]

SIZE = 2 * prod(data.VOLUME_SHAPE) / 1e6
VOLUME = "volume.ome.zarr"
QUARTER = (slice(None), slice(16, 32))
QUARTERED = "a quarter, direct"


def _doubled(block: np.ndarray) -> np.ndarray:
    return block + block


@dataclass(frozen=True, slots=True)
class Way:
    """How to read, how much of the image, and what to compare it with."""

    read: Read
    part: float = 1
    direct: str = "direct"
    same: str = "direct"


WAYS = {
    "direct": Way(lambda pixels: pixels[...]),
    "direct, copied": Way(lambda pixels: pixels[...].copy()),
    "direct, doubled": Way(lambda pixels: _doubled(pixels[...])),
    "direct, mean": Way(lambda pixels: pixels[...].mean()),
    "compute": Way(lambda pixels: to_dask(pixels).compute(), same="direct, copied"),
    "map_blocks": Way(
        lambda pixels: da.map_blocks(_doubled, to_dask(pixels), dtype="u2").compute(),
        same="direct, doubled",
    ),
    "mean": Way(lambda pixels: to_dask(pixels).mean().compute(), same="direct, mean"),
    "a quarter, direct": Way(
        lambda pixels: pixels[QUARTER], 0.25, QUARTERED, QUARTERED
    ),
    "a quarter, compute": Way(
        lambda pixels: to_dask(pixels)[QUARTER].compute(), 0.25, QUARTERED, QUARTERED
    ),
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rtt", type=float, default=30, help="ms")
    parser.add_argument("--where", nargs="+", default=["http", "signed"])
    parser.add_argument("--cluster", action="store_true", help="two workers, too")
    arguments = parser.parse_args()
    data.make("volume")
    rows = []
    for where in arguments.where:
        with ExitStack() as stack:
            server, url = _place(where, stack)
            ways, collect = dict(WAYS), gc.collect
            if arguments.cluster:
                client = _cluster(stack)
                ways["mean, cluster"] = _on_a_cluster(client)
                collect = partial(_collect, client)
            seconds = _measure(server, url, ways, collect, arguments)
        for name, way in ways.items():
            took, cpu, requests = seconds[name]
            ratios = [seconds[to][0] / took for to in (way.direct, way.same)]
            speed = f"{SIZE * way.part / took:.0f}"
            shown = [f"{ratio:.2f}" for ratio in ratios]
            rows.append([where, name, speed, *shown, f"{cpu:.2f}", f"{requests}"])
    head = ["", "how", "MB/s", "of direct", "of direct and numpy"]
    print_table([*head, "s of the processor, least", "requests"], rows)


def _measure(
    server: Latency,
    url: str,
    ways: dict[str, Way],
    collect: Callable[[], object],
    arguments: argparse.Namespace,
) -> dict[str, tuple[float, float, int]]:
    """Give the median of seconds, the least of the processor's, and requests."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    requests = dict.fromkeys(ways, 0)
    pixels = read(Location.parse(url)).pyramids[0].levels[0].pixels
    server.reset(arguments.rtt)
    for way in ways.values():
        way.read(pixels)  # connections, imports, memory
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            server.reset(arguments.rtt)
            collect()  # or a way pays for what the one before has left
            touch_memory()
            begin, cpu = time.perf_counter(), time.process_time()
            way.read(pixels)
            taken[name].append(time.perf_counter() - begin)
            spent[name].append(time.process_time() - cpu)
            requests[name] = server.stats().requests
    return {
        name: (median(taken[name]), min(spent[name]), requests[name]) for name in ways
    }


def _place(where: str, stack: ExitStack) -> tuple[Latency, str]:
    if where == "http":
        server = stack.enter_context(Latency(data.FOLDER))
        return server, f"{server.url}/{VOLUME}"
    bucket = "private" if where == "signed" else "public"
    s3 = stack.enter_context(S3Server())
    s3.upload(data.FOLDER / VOLUME, f"{bucket}/{VOLUME}")
    server = stack.enter_context(Latency(s3.endpoint))
    os.environ.update(AWS_ENDPOINT_URL=server.url, AWS_CONFIG_FILE="/dev/null")
    if where == "signed":
        keys = {"AWS_ACCESS_KEY_ID": OWNER.key, "AWS_SECRET_ACCESS_KEY": OWNER.secret}
        os.environ.update(keys)
    return server, f"s3://{bucket}/{VOLUME}"


def _cluster(stack: ExitStack) -> Client:
    import distributed

    cluster = stack.enter_context(
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        )
    )
    client = distributed.Client(cluster, set_as_default=False)
    return stack.enter_context(client)


def _on_a_cluster(client: Client) -> Way:
    """The mean, so that what is measured is not the way of the pixels back."""
    return Way(
        lambda pixels: client.compute(to_dask(pixels).mean()).result(),
        same="direct, mean",
    )


def _collect(client: Client) -> None:
    gc.collect()
    client.run(gc.collect)


if __name__ == "__main__":
    main()
