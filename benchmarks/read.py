"""How fast an image is read, over HTTP and from S3: ours against the peers.

The image is 256 MiB in 512 chunks of 512 KiB (or in 4,096 of 64), about half of that
as stored; or in 16 shards of 16 MiB, with chunks of 512 or 64 KiB inside. It is read in
full, or a plane or a small box of it. MB/s are decoded megabytes (10**6 bytes). ::

    python benchmarks/read.py --peers-python .venv-peers/bin/python
    python benchmarks/read.py --image sharded-512 --part full plane box \\
        --who napari-omezarr tensorstore --where http s3
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import data
from contest import Course, entrants, print_table, race, versions
from latency import Latency, certified
from readers import PART, PARTS, READERS

from napari_omezarr.demo.server import OWNER, S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from contest import Standing

PLACES = {"http": "HTTP", "https": "HTTPS", "s3": "S3", "signed": "S3, signed"}
RTTS = (0, 30)
SIZE = 2 * prod(data.VOLUME_SHAPE) / 1e6
IMAGES = {
    "volume": "patch",
    "volume-64": "patch",
    "sharded-512": "sharded-patch",
    "sharded-64": "sharded-patch",
}
"""By name, what is read, and what is read before to warm up."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rtt", type=float, nargs="+", default=RTTS, help="ms")
    parser.add_argument("--where", nargs="+", default=list(PLACES), choices=PLACES)
    parser.add_argument("--image", default="volume", choices=IMAGES)
    parser.add_argument("--part", nargs="+", default=["full"], choices=PARTS)
    parser.add_argument("--who", nargs="+", default=list(READERS), choices=READERS)
    arguments = parser.parse_args()
    print(versions(arguments.peers_python), end="\n\n")
    for name in (arguments.image, IMAGES[arguments.image]):
        data.make(name)
    found = dict(measurements(arguments))
    said = "MB/s" if arguments.part == ["full"] else "MB/s of a full read, else ms"
    head = [f"{arguments.image}: {said} (s of the processor; requests; MB)", *found]
    rows = [
        [contender, *(_cell(part, s[contender]) for part, s in found.values())]
        for contender in arguments.who
    ]
    print_table(head, rows)


def measurements(
    arguments: argparse.Namespace,
) -> Iterator[tuple[str, tuple[str, dict[str, Standing | str]]]]:
    """Measure place by place, distance by distance, part by part; gives a name each."""
    for place in arguments.where:
        with ExitStack() as stack:
            courses = _courses(place, arguments.image, arguments.rtt, stack)
            for course, part in product(courses, arguments.part):
                environment = {**course.environment, PART: part}
                course = replace(course, environment=environment)
                who, peers = arguments.who, arguments.peers_python
                standings = race(entrants("read", who, course, peers), arguments.rounds)
                _compare(standings)
                yield f"{part}, {PLACES[place]}, RTT {course.rtt:g}", (part, standings)


def _compare(standings: Mapping[str, Standing | str]) -> None:
    """Insist that all who give pixels give the same."""
    sums = {s.result for s in standings.values() if not isinstance(s, str)} - {None}
    if len(sums) > 1:
        raise ValueError(f"The contenders read different pixels: {standings}.")


def _courses(
    place: str, image: str, rtts: list[float], stack: ExitStack
) -> list[Course]:
    """Start the servers of a place."""
    names = f"{image}.ome.zarr", f"{IMAGES[image]}.ome.zarr"
    if place in ("http", "https"):
        certificate, trust = certified(stack) if place == "https" else (None, {})
        server, warm = (
            stack.enter_context(Latency(data.FOLDER, certificate)) for _ in range(2)
        )
        volume, patch = f"{server.url}/{names[0]}", f"{warm.url}/{names[1]}"
        return [Course(server, volume, patch, rtt, trust) for rtt in rtts]
    bucket = "private" if place == "signed" else "public"
    s3 = stack.enter_context(S3Server())
    for name in names:
        s3.upload(data.FOLDER / name, f"{bucket}/{name}")
    server = stack.enter_context(Latency(s3.endpoint))
    environment = {"AWS_ENDPOINT_URL": server.url, "AWS_CONFIG_FILE": "/dev/null"}
    if place == "signed":
        keys = {"AWS_ACCESS_KEY_ID": OWNER.key, "AWS_SECRET_ACCESS_KEY": OWNER.secret}
        environment |= keys
    volume, patch = (f"s3://{bucket}/{name}" for name in names)
    return [Course(server, volume, patch, rtt, environment) for rtt in rtts]


def _cell(part: str, standing: Standing | str) -> str:
    if isinstance(standing, str):
        return standing
    full = part == "full"
    speed = SIZE / standing.seconds if full else 1000 * standing.seconds
    counts = f"{standing.cpu:.2f}; {standing.requests:.0f}; {standing.sent / 1e6:.1f}"
    return f"{speed:.0f} ({counts})"


if __name__ == "__main__":
    main()
