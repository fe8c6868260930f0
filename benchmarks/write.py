"""How fast an image with its coarser levels is written, to disk and to S3.

MB/s are decoded megabytes (10**6 bytes) of the finest level. Memory is what the
process holds at most above the image itself, which lies in its memory. All of it takes
about eight minutes on two cores that do nothing else. ::

    python benchmarks/write.py --peers-python .venv-peers/bin/python
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import data
import numpy as np
from contest import Course, Entry, print_table, race, versions
from latency import Latency
from writers import AXES, CHUNKS, FINISHED, LEVELS, STORED, WRITERS

from napari_omezarr.demo.server import OWNER, S3Server
from napari_omezarr.location import Location
from napari_omezarr.reading import read
from napari_omezarr.samples import cells
from napari_omezarr.writing import write_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from contest import Standing

PLACES = ("local", "s3")
SIZES = (256, 1024)
INPUT = "BENCHMARK_INPUT"
PEERS = ("tensorstore", "ome-zarr", "ngff")
BUCKET = "public"


def main() -> None:
    """Measure and print a table for each size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=2, help="with 256 MiB")
    parser.add_argument("--rtt", type=float, default=30, help="ms, to S3")
    parser.add_argument("--where", nargs="+", default=list(PLACES), choices=PLACES)
    parser.add_argument("--who", nargs="+", default=list(WRITERS), choices=WRITERS)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="MiB")
    arguments = parser.parse_args()
    print(versions(arguments.peers_python), end="\n\n")
    with tempfile.TemporaryDirectory(dir=data.FOLDER) as folder:
        for size in arguments.sizes:
            found = dict(measurements(arguments, size, Path(folder)))
            head = [f"{size} MiB: MB/s (s of the processor; MB; requests)", *found]
            rows = [
                [who, *(_cell(of.get(who, "-"), size) for of in found.values())]
                for who in arguments.who
            ]
            print_table(head, rows)
            print(flush=True)


def measurements(
    arguments: argparse.Namespace, size: int, folder: Path
) -> Iterator[tuple[str, dict[str, Standing | str]]]:
    """Measure place by place; gives a name for each."""
    source = _input(size)
    finished = _finished(size, source)
    environment = {
        INPUT: str(source),
        FINISHED: str(finished),
        STORED: str(finished / "0"),
    }
    for place in arguments.where:
        with ExitStack() as stack:
            start = _local if place == "local" else _s3
            course, directly = start(arguments.rtt, folder, stack)
            environment |= course.environment
            course = replace(course, environment=environment)
            entries = _entries(arguments, place, size, course)
            standings = race(entries, arguments.rounds if size <= SIZES[0] else 1)
            _compare(standings, directly, source)
            yield place if place == "local" else f"S3, RTT {arguments.rtt:g}", standings


def _entries(
    arguments: argparse.Namespace, place: str, size: int, course: Course
) -> dict[str, Entry]:
    """Enter all who take part, each with a place of its own."""
    entries = {}
    for who in arguments.who:
        if not _takes_part(who, place, size):
            continue
        python = arguments.peers_python if who.startswith(PEERS) else sys.executable
        name = who.replace(", ", "-").replace(" ", "-")
        own = replace(
            course,
            url=f"{course.url}/{name}.ome.zarr",
            warm_url=f"{course.warm_url}/{name}-warm.ome.zarr",
            reset=partial(course.clear, name),
        )
        entries[who] = Entry("write", who, own, python)
    return entries


def _takes_part(who: str, place: str, size: int) -> bool:
    """Leave out what is impossible, and what would take minutes to say little."""
    is_large = size > SIZES[0]
    if "worker" in who:
        return place == "local" and not is_large
    if place == "s3":
        return not who.startswith("ngff") and not (is_large and who.startswith("ome"))
    return not (is_large and who == "ngff-zarr")


def _local(_: float, folder: Path, stack: ExitStack) -> tuple[Course, str]:
    """Write to a folder; the server only counts that nobody asks it."""
    server = stack.enter_context(Latency(data.FOLDER))

    def clear(name: str) -> None:
        for place in folder.glob(f"{name}*"):
            shutil.rmtree(place)

    return Course(server, str(folder), str(folder), clear=clear), str(folder)


def _s3(rtt: float, _: Path, stack: ExitStack) -> tuple[Course, str]:
    s3 = stack.enter_context(S3Server())
    server = stack.enter_context(Latency(s3.endpoint))

    def clear(name: str) -> None:
        for kind in ("", "-warm"):
            s3.delete(f"{BUCKET}/w/{name}{kind}.ome.zarr")

    environment = {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": OWNER.key,
        "AWS_SECRET_ACCESS_KEY": OWNER.secret,
    }
    url = f"s3://{BUCKET}/w"
    course = Course(server, url, url, rtt, environment, clear=clear)
    return course, f"s3+{s3.endpoint}/{BUCKET}/w"


def _compare(standings: Mapping[str, Standing | str], place: str, source: Path) -> None:
    """Insist that what everybody wrote is the image; tensorstore writes no group."""
    expected = np.load(source, mmap_mode="r")[:, ::16]
    for who, standing in standings.items():
        if isinstance(standing, str) or who == "tensorstore":
            continue
        name = who.replace(", ", "-").replace(" ", "-")
        location = Location.parse(f"{place}/{name}.ome.zarr")
        pixels = read(location).pyramids[0].levels[0].pixels
        if not np.array_equal(pixels[:, ::16], expected):
            raise ValueError(f"{who} wrote other pixels.")


def _input(size: int) -> Path:
    """Make noise and cells, of which zstd saves more than a half, in 256 MiB pieces."""
    data.FOLDER.mkdir(exist_ok=True)
    file = data.FOLDER / f"input-{size}.npy"
    if not file.exists():
        pieces = [cells((64, 1024, 1024), seed=seed).image for seed in range(size >> 8)]
        np.save(file, np.concatenate(pieces, axis=1))
    return file


def _finished(size: int, source: Path) -> Path:
    """Write the image once, to have its finished bytes."""
    folder = data.FOLDER / f"finished-{size}.ome.zarr"
    if not folder.exists():
        factors = {"y": 2, "x": 2, "z": 1, "c": 1}
        image = np.load(source)
        cut = {"chunks": CHUNKS, "levels": LEVELS, "factors": factors}
        write_image(image, folder, AXES, **cut)
    return folder


def _cell(standing: Standing | str, size: int) -> str:
    if isinstance(standing, str):
        return standing
    speed = size * 2**20 / 1e6 / standing.seconds
    used = f"{standing.cpu:.1f}; {standing.memory / 1e6:.0f}; {standing.requests:.0f}"
    return f"{speed:.0f} ({used})"


if __name__ == "__main__":
    main()
