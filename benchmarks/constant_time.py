"""Opening costs the same for ten chunks and for ten million.

Opening is from the address to the dask arrays that napari gets, over HTTP without
delay; each time in a process of its own, the two stores in turn. Memory is by how
much the most that the process ever held has grown. ::

    python benchmarks/constant_time.py
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import data
from contest import Course, Entry, print_table, race, versions
from latency import Latency

if TYPE_CHECKING:
    from contest import Standing

STORES = {"few-chunks": "10 chunks", "many-chunks": "10,000,000 chunks"}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    print(versions(sys.executable), end="\n\n")
    head = ["open over HTTP, RTT 0", "ms", "ms of the processor", "memory, MB"]
    standings = measure(arguments.rounds)
    print_table(head, [[name, *_cells(found)] for name, found in standings.items()])


def measure(rounds: int) -> dict[str, Standing | str]:
    """Open both stores in turn."""
    with Latency(data.FOLDER) as server, Latency(data.FOLDER) as warm:
        warm_url = f"{warm.url}/{data.make('few-chunks').name}"
        entries = {}
        for store, name in STORES.items():
            course = Course(server, f"{server.url}/{data.make(store).name}", warm_url)
            entries[name] = Entry("open", "napari-omezarr", course, sys.executable)
        return race(entries, rounds)


def _cells(standing: Standing | str) -> list[str]:
    if isinstance(standing, str):
        return [standing, "", ""]
    numbers = (1e3 * standing.seconds, 1e3 * standing.cpu, standing.memory / 1e6)
    return [f"{number:.1f}" for number in numbers]


if __name__ == "__main__":
    main()
