"""How it feels: steps, zooms and drags in a real viewer, ours against the peer.

Each contender moves in the same way over the same image, in a fresh process, in turn.
There must be a display (``scripts/headless`` makes one)::

    scripts/headless python benchmarks/viewer.py --peers-python .venv-peers/bin/python
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import data
from contest import print_table, versions
from latency import Latency

if TYPE_CHECKING:
    from collections.abc import Iterator

    Steps = dict[str, list[dict[str, float]]]

# Spelled here, too: `session` imports napari, and its process may be another Python.
COUNT, FAR, RESULT = "session: count\n", "session: far\n", "session: result "
FLOOR = "in memory"
OURS = ("napari-omezarr", "napari-omezarr, no prefetch")
PEERS = ("napari-ome-zarr", "napari-ome-zarr, async")
STORE = "planes"
COURSES = ((30, 8), (250, 3))
"""Round trips in ms, and how many steps in z are made at each."""


def main() -> None:
    """Measure and print a table for each round trip."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rtt", type=int, nargs="+", default=[r for r, _ in COURSES])
    names = (FLOOR, *OURS, *PEERS)
    parser.add_argument("--who", nargs="+", default=names, choices=names)
    arguments = parser.parse_args()
    print(versions(arguments.peers_python))
    data.make(STORE)
    with Latency(data.FOLDER) as server:
        for rtt in arguments.rtt:
            found = measured(server, rtt, arguments)
            print(f"\nRTT {rtt} ms")
            head = ["step", "", "longest block, ms", "right plane", "sharp", "chunks"]
            print_table(head, rows(found))


def measured(
    server: Latency, rtt: int, arguments: argparse.Namespace
) -> dict[str, list[Steps]]:
    """Run all contenders, round by round."""
    found: dict[str, list[Steps]] = defaultdict(list)
    for _ in range(arguments.rounds):
        for name in arguments.who:
            python = arguments.peers_python if name in PEERS else sys.executable
            found[name].append(_session(name, python, server, rtt))
    return found


def rows(found: dict[str, list[Steps]]) -> Iterator[list[str]]:
    """Give one row for each kind of step and contender; medians."""
    kinds = list(dict.fromkeys(k for runs in found.values() for s in runs for k in s))
    for kind in kinds:
        for name, runs in found.items():
            steps = [step for run in runs for step in run.get(kind, [])]
            # Of each session the worst, for that is what a person remembers.
            blocks = [max(s["block"] for s in run[kind]) for run in runs if kind in run]
            times = (
                _time([step[what] for step in steps]) for what in ("right", "sharp")
            )
            fetched, needed = (sum(s[k] for s in steps) for k in ("fetched", "needed"))
            chunks = "-" if name == FLOOR else f"{fetched:.0f} / {needed:.0f}"
            yield [kind, name, f"{median(blocks):.0f}", *times, chunks]


def _time(found: list[float]) -> str:
    return f"{median(found):.0f}" if all(found) else "not in 20 s"


def _session(name: str, python: str, server: Latency, rtt: int) -> Steps:
    """Run one contender; answers its questions until it reports."""
    store = f"{STORE}.ome.zarr"
    url = str(data.FOLDER / store) if name == FLOOR else f"{server.url}/{store}"
    script = str(Path(__file__).with_name("session.py"))
    server.reset(0)
    with subprocess.Popen(
        [python, script, name, url, "--steps", str(dict(COURSES).get(rtt, 3))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        for line in process.stdout:
            if line.startswith(RESULT):
                return dict(json.loads(line.removeprefix(RESULT)))
            if line == FAR:
                server.reset(rtt)
            elif line != COUNT:
                continue
            process.stdin.write(f"{server.tally().requests}\n")
            process.stdin.flush()
    msg = f"{name} ended with status {process.returncode}"
    raise RuntimeError(msg)


if __name__ == "__main__":
    main()
