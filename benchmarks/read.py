"""How fast a whole image is read, over HTTP and from S3: ours against the peers.

The image is 256 MiB in 512 chunks of 512 KiB, about half of that as stored. MB/s
are decoded megabytes (10**6 bytes). ::

    python benchmarks/read.py --peers-python .venv-peers/bin/python
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from math import prod
from typing import TYPE_CHECKING

import data
from contest import Course, entrants, print_table, race, versions
from latency import Latency
from readers import READERS

from napari_omezarr.demo.server import OWNER, S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from contest import Standing

PLACES = {"http": "HTTP", "s3": "S3", "signed": "S3, signed"}
RTTS = (0, 30)
SIZE = 2 * prod(data.VOLUME_SHAPE) / 1e6
VOLUME, PATCH = "volume.ome.zarr", "patch.ome.zarr"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rtt", type=float, nargs="+", default=RTTS, help="ms")
    parser.add_argument("--where", nargs="+", default=list(PLACES), choices=PLACES)
    parser.add_argument("--who", nargs="+", default=list(READERS), choices=READERS)
    arguments = parser.parse_args()
    print(versions(arguments.peers_python), end="\n\n")
    for name in ("volume", "patch"):
        data.make(name)
    found = dict(measurements(arguments))
    head = ["full read, MB/s (s of the processor; requests)", *found]
    rows = [
        [contender, *(_cell(standings[contender]) for standings in found.values())]
        for contender in arguments.who
    ]
    print_table(head, rows)


def measurements(
    arguments: argparse.Namespace,
) -> Iterator[tuple[str, dict[str, Standing | str]]]:
    """Measure place by place and distance by distance; gives a name for each."""
    for place in arguments.where:
        with ExitStack() as stack:
            for course in _courses(place, arguments.rtt, stack):
                who, peers = arguments.who, arguments.peers_python
                standings = race(entrants("read", who, course, peers), arguments.rounds)
                _compare(standings)
                yield f"{PLACES[place]}, RTT {course.rtt:g}", standings


def _compare(standings: Mapping[str, Standing | str]) -> None:
    """Insist that all who give pixels give the same."""
    sums = {s.result for s in standings.values() if not isinstance(s, str)} - {None}
    if len(sums) > 1:
        raise ValueError(f"The contenders read different pixels: {standings}.")


def _courses(place: str, rtts: list[float], stack: ExitStack) -> list[Course]:
    """Start the servers of a place."""
    if place == "http":
        server, warm = (stack.enter_context(Latency(data.FOLDER)) for _ in range(2))
        volume, patch = f"{server.url}/{VOLUME}", f"{warm.url}/{PATCH}"
        return [Course(server, volume, patch, rtt) for rtt in rtts]
    bucket = "private" if place == "signed" else "public"
    s3 = stack.enter_context(S3Server())
    for name in (VOLUME, PATCH):
        s3.upload(data.FOLDER / name, f"{bucket}/{name}")
    server = stack.enter_context(Latency(s3.endpoint))
    environment = {"AWS_ENDPOINT_URL": server.url, "AWS_CONFIG_FILE": "/dev/null"}
    if place == "signed":
        keys = {"AWS_ACCESS_KEY_ID": OWNER.key, "AWS_SECRET_ACCESS_KEY": OWNER.secret}
        environment |= keys
    volume, patch = f"s3://{bucket}/{VOLUME}", f"s3://{bucket}/{PATCH}"
    return [Course(server, volume, patch, rtt, environment) for rtt in rtts]


def _cell(standing: Standing | str) -> str:
    if isinstance(standing, str):
        return standing
    speed = SIZE / standing.seconds
    return f"{speed:.0f} ({standing.cpu:.2f}; {standing.requests:.0f})"


if __name__ == "__main__":
    main()
