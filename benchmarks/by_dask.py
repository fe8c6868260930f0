"""How fast `layer.data` is by dask, beside the direct read of the same pixels.

The image is that of ``read.py``: 256 MiB in 512 chunks of 512 KiB. All ways run in turn
in one process, each on an array of its own, so that the load of the machine is the
same for all: compare ratios. ::

    python benchmarks/by_dask.py --where http signed --rounds 5
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import ExitStack
from math import prod
from statistics import median
from typing import TYPE_CHECKING, Any

import dask.array as da
import data
from contest import print_table
from latency import Latency

from napari_omezarr.demo.server import OWNER, S3Server
from napari_omezarr.location import Location
from napari_omezarr.pyramid import to_dask
from napari_omezarr.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from napari_omezarr.pyramid import Pixels

    Way = Callable[[Pixels], Any]

SIZE = 2 * prod(data.VOLUME_SHAPE) / 1e6
VOLUME = "volume.ome.zarr"
QUARTER = (slice(None), slice(16, 32))


def _doubled(block: np.ndarray) -> np.ndarray:
    return block + block


WAYS: dict[str, tuple[Way, float]] = {
    "direct": (lambda pixels: pixels[...], 1),
    "compute": (lambda pixels: to_dask(pixels).compute(), 1),
    "map_blocks": (
        lambda pixels: da.map_blocks(_doubled, to_dask(pixels), dtype="u2").compute(),
        1,
    ),
    "mean": (lambda pixels: to_dask(pixels).mean().compute(), 1),
    "a quarter, direct": (lambda pixels: pixels[QUARTER], 0.25),
    "a quarter, compute": (lambda pixels: to_dask(pixels)[QUARTER].compute(), 0.25),
}
"""How, and which part of the image."""


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
            ways = WAYS | (_on_a_cluster(stack) if arguments.cluster else {})
            seconds = _measure(server, url, ways, arguments)
        for name, (_, part) in ways.items():
            direct = seconds["a quarter, direct" if part < 1 else "direct"]
            took, requests = seconds[name]
            speed = SIZE * part / took
            ratio = direct[0] / took
            rows.append([where, name, f"{speed:.0f}", f"{ratio:.2f}", f"{requests}"])
    print_table(["", "how", "MB/s", "of direct", "requests"], rows)


def _measure(
    server: Latency,
    url: str,
    ways: dict[str, tuple[Way, float]],
    arguments: argparse.Namespace,
) -> dict[str, tuple[float, int]]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    requests = dict.fromkeys(ways, 0)
    pixels = read(Location.parse(url)).pyramids[0].levels[0].pixels
    server.reset(arguments.rtt)
    for way, _ in ways.values():
        way(pixels)  # connections, imports, memory
    for _ in range(arguments.rounds):
        for name, (way, _) in ways.items():
            server.reset(arguments.rtt)
            begin = time.perf_counter()
            way(pixels)
            taken[name].append(time.perf_counter() - begin)
            requests[name] = server.stats().requests
    return {name: (median(taken[name]), requests[name]) for name in ways}


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


def _on_a_cluster(stack: ExitStack) -> dict[str, tuple[Way, float]]:
    """The mean, so that what is measured is not the way of the pixels back."""
    import distributed

    cluster = stack.enter_context(
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        )
    )
    client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
    return {
        "mean, cluster": (
            lambda pixels: client.compute(to_dask(pixels).mean()).result(),
            1,
        )
    }


if __name__ == "__main__":
    main()
