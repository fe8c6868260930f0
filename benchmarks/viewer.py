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
            if set(names) <= set(found):
                print("", *goals(found), sep="\n")


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
    for kind in _kinds(found):
        for name, runs in found.items():
            times = (_time(_all(what, kind, runs)) for what in ("right", "sharp"))
            fetched, needed = (sum(_all(k, kind, runs)) for k in ("fetched", "needed"))
            chunks = "-" if name == FLOOR else f"{fetched:.0f} / {needed:.0f}"
            yield [kind, name, f"{_block(kind, runs):.0f}", *times, chunks]


def goals(found: dict[str, list[Steps]]) -> Iterator[str]:
    """Say how far ours is from what it is to reach."""
    ours, frugal, rival = (found[name] for name in (*OURS, PEERS[1]))
    kinds = _kinds(found)
    above = {k: _block(k, ours) - _block(k, found[FLOOR]) for k in kinds}
    said = ", ".join(f"{kind} {ms:+.0f}" for kind, ms in above.items())
    yield f"Longest block against the floor, ms (goal: at most +50): {said}."
    right = median(_all("right", "z step", ours))
    yield f"Right plane after a z step (goal: at most 150 ms): {right:.0f} ms."
    sharp, theirs = (median(_all("sharp", "z step", runs)) for runs in (ours, rival))
    yield f"z step to sharp, of {PEERS[1]} (goal: at most 0.5): {sharp / theirs:.2f}."
    # What a person passes by is not needed; 3-D shows more than anybody else does.
    seen = [k for k in kinds if k not in ("fast scroll", "drag", "to 3-D")]
    sums = [sum(sum(_all(w, k, frugal)) for k in seen) for w in ("fetched", "needed")]
    share = sums[0] / sums[1]
    yield f"Fetched of needed, no prefetch (goal: at most 1.2): {share:.2f}."


def _kinds(found: dict[str, list[Steps]]) -> list[str]:
    return list(dict.fromkeys(k for runs in found.values() for s in runs for k in s))


def _all(what: str, kind: str, runs: list[Steps]) -> list[float]:
    return [step[what] for run in runs for step in run[kind]]


def _block(kind: str, runs: list[Steps]) -> float:
    """Give the median of each session's worst, which is what a person remembers."""
    return median(max(step["block"] for step in run[kind]) for run in runs)


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
            process.stdin.write(f"{server.stats().requests}\n")
            process.stdin.flush()
    msg = f"{name} ended with status {process.returncode}"
    raise RuntimeError(msg)


if __name__ == "__main__":
    main()
