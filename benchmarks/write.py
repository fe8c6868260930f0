"""How fast an image with its coarser levels is written, to disk and to S3.

MB/s are decoded megabytes (10**6 bytes) of the finest level. Memory is what the
process holds at most above the image itself, which lies in its memory. With S3, the
server and the network's stand-in need the same processors; what they took is said
too. All of it takes about a quarter of an hour on two cores that do nothing else; a
size, a place and a few contenders take a minute or two. ::

    python benchmarks/write.py --peers-python .venv-peers/bin/python
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import data
import numpy as np
from contest import Course, Entry, print_table, race, versions
from latency import Latency
from writers import (
    AXES,
    CHUNKS,
    CODECS,
    FINISHED,
    LEVELS,
    STORED,
    USUAL,
    WRITERS,
    codec_folder,
)

from napari_omezarr.demo.server import OWNER, S3Server
from napari_omezarr.location import Location
from napari_omezarr.reading import read
from napari_omezarr.samples import cells
from napari_omezarr.user_files import CACHE_VARIABLE
from napari_omezarr.writing import write_image
from napari_omezarr.writing.encode import Compression, compression

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from contest import Standing
    from latency import ServerStats

PLACES = ("local", "s3")
SIZES = (256, 1024)
INPUT = "BENCHMARK_INPUT"
PEERS = ("tensorstore", "ome-zarr", "ngff")
BUCKET = "public"
PIECE = 256
"""MiB of the input that are made at a time."""


def main() -> None:
    """Measure and print a table for each size."""
    arguments = _arguments()
    if Compression(*CODECS[""]) != compression("auto", None, "0.5", np.dtype("u2")):
        raise ValueError("What is compared is not our default any more.")
    print(versions(arguments.peers_python), end="\n\n")
    with tempfile.TemporaryDirectory(dir=data.FOLDER) as folder:
        for size in arguments.sizes:
            found = dict(measurements(arguments, size, Path(folder)))
            said = "MB/s (s of the processor, of those who serve; MB; requests)"
            rows = [
                [who, *(of.get(who, "-") for of in found.values())]
                for who in arguments.who
            ]
            print_table([f"{size} MiB: {said}", *found], rows)
            print(flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, help="2, or 1 with more than 256 MiB")
    parser.add_argument("--rtt", type=float, default=30, help="ms, to S3")
    parser.add_argument(
        "--uplink", type=float, default=math.inf, help="MB/s, to S3; no bound"
    )
    parser.add_argument("--where", nargs="+", default=list(PLACES), choices=PLACES)
    parser.add_argument("--who", nargs="+", default=list(USUAL), choices=WRITERS)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="MiB")
    return parser.parse_args()


def measurements(
    arguments: argparse.Namespace, size: int, folder: Path
) -> Iterator[tuple[str, dict[str, str]]]:
    """Measure place by place; gives a name for each, and a cell for each contender."""
    source = _input(size)
    finished = _finished(size, source)
    environment = {
        INPUT: str(source),
        FINISHED: str(finished),
        STORED: str(finished / codec_folder("") / "0"),
        # A journal that an earlier, broken run has left must not count.
        CACHE_VARIABLE: str(folder / "cache"),
    }
    rounds = arguments.rounds or (2 if size <= SIZES[0] else 1)
    for place in arguments.where:
        with ExitStack() as stack:
            start = _local if place == "local" else _s3
            course, directly = start(arguments.rtt, folder, stack)
            environment |= course.environment
            course = replace(course, environment=environment)
            entries = _entries(arguments, place, course)
            standings = race(entries, rounds)
            _compare(standings, directly, source)
            cells_of = {
                who: _cell(standing, size, entries[who].course.server)
                for who, standing in standings.items()
            }
            yield _heading(arguments, place), cells_of


def _heading(arguments: argparse.Namespace, place: str) -> str:
    if place == "local":
        return place
    bound = arguments.uplink
    line = f", {bound:g} MB/s" if math.isfinite(bound) else ""
    return f"S3, RTT {arguments.rtt:g}{line}"


@dataclass(slots=True)
class Watched(Latency):
    """A server that also notes what all who serve took of the processors.

    Attributes
    ----------
    server : Latency
        What is asked.
    uplink : float
        MB/s that it takes at most.
    spent : list of float
        Seconds, for each time that it was asked for its stats.
    """

    server: Latency
    uplink: float
    spent: list[float] = field(default_factory=list)
    _before: dict[int, float] = field(default_factory=dict)

    def reset(self, rtt: float, uplink: float | None = None) -> None:
        """Begin anew."""
        uplink = self.uplink if uplink is None else uplink
        self.server.reset(rtt, uplink)
        self._before = _spent_by_servers()

    def stats(self) -> ServerStats:
        """Say what was asked, and note what it took."""
        now = _spent_by_servers()
        before = self._before
        self.spent.append(sum(now[each] - before.get(each, 0) for each in now))
        return self.server.stats()


def _spent_by_servers() -> dict[int, float]:
    """Give the seconds of each process that this one has begun, but of contenders.

    Nothing where the system does not say so in files.
    """
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            *_, said = (folder / "stat").read_text().rpartition(")")
            fields = said.split()
            command = (folder / "cmdline").read_bytes()
            if int(fields[1]) == os.getpid() and b"trial.py" not in command:
                ticks = int(fields[11]) + int(fields[12])
                found[int(folder.name)] = ticks / os.sysconf("SC_CLK_TCK")
    return found


def _entries(
    arguments: argparse.Namespace, place: str, course: Course
) -> dict[str, Entry]:
    """Enter all who take part, each with a place of its own."""
    entries = {}
    for who in arguments.who:
        if place == "s3" and (who.startswith("ngff") or "worker" in who):
            continue  # the one cannot, the other is measured once
        python = arguments.peers_python if who.startswith(PEERS) else sys.executable
        name = _file_name(who)
        own = replace(
            course,
            server=Watched(course.server, arguments.uplink),
            url=f"{course.url}/{name}.ome.zarr",
            warm_url=f"{course.warm_url}/{name}-warm.ome.zarr",
            reset=partial(course.clear, name),
        )
        entries[who] = Entry("write", who, own, python)
    return entries


def _local(_: float, folder: Path, stack: ExitStack) -> tuple[Course, str]:
    """Write to a folder; the server only counts that nobody asks it."""
    server = stack.enter_context(Latency(data.FOLDER))

    def clear(name: str) -> None:
        for kind in ("", "-warm"):
            shutil.rmtree(folder / f"{name}{kind}.ome.zarr", ignore_errors=True)

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
        if isinstance(standing, str) or who.startswith("tensorstore"):
            continue
        location = Location.parse(f"{place}/{_file_name(who)}.ome.zarr")
        pixels = read(location).pyramids[0].levels[0].pixels
        if not np.array_equal(pixels[:, ::16], expected):
            raise ValueError(f"{who} wrote other pixels.")


def _file_name(who: str) -> str:
    return who.replace(", ", "-").replace(" ", "-")


def _input(size: int) -> Path:
    """Make noise and cells, of which zstd saves about a half, piece by piece."""
    data.FOLDER.mkdir(exist_ok=True)
    file = data.FOLDER / f"input-{size}.npy"
    if not file.exists():
        planes = [min(PIECE, size - start) // 4 for start in range(0, size, PIECE)]
        pieces = [
            cells((count, 1024, 1024), seed=seed).image
            for seed, count in enumerate(planes)
        ]
        np.save(file, np.concatenate(pieces, axis=1))
    return file


def _finished(size: int, source: Path) -> Path:
    """Write the image once with each codec, to have its finished bytes."""
    above = data.FOLDER / f"finished-{size}"
    for kind, (codec, level) in CODECS.items():
        folder = above / codec_folder(kind)
        if not folder.exists():
            factors = {"y": 2, "x": 2, "z": 1, "c": 1}
            cut = {"chunks": CHUNKS, "levels": LEVELS, "factors": factors}
            image = np.load(source)
            write_image(image, folder, AXES, codec=codec, level=level, **cut)
    return above


def _cell(standing: Standing | str, size: int, server: Latency) -> str:
    if isinstance(standing, str) or not isinstance(server, Watched):
        return str(standing)
    speed = size * 2**20 / 1e6 / standing.seconds
    used = f"{standing.cpu:.1f}, {median(server.spent):.1f}"
    held = f"{standing.memory / 1e6:.0f}; {standing.requests:.0f}"
    return f"{speed:.0f} ({used}; {held})"


if __name__ == "__main__":
    main()
