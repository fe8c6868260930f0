"""Contenders against each other: fresh processes, one after another, round by round.

A B C, A B C, …: what disturbs the machine for a while then disturbs all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from itertools import chain
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from latency import Latency, ServerStats

SLOW = 15
"""A contender that takes longer than so many seconds is not asked again."""
OURS = ("napari-omezarr", "napari-omezarr (dask)")
READY = "trial: ready\n"
RESULT = "trial: result "


def _nothing(*_: str) -> None:
    """Leave everything as it is."""


@dataclass(frozen=True, slots=True)
class Course:
    """Where a contest takes place.

    Attributes
    ----------
    server : Latency
        What is measured against, and counts.
    url, warm_url : str
        The store behind it, and one behind another server to warm up with.
    rtt : float
        Milliseconds.
    environment : Mapping
        What the processes find in their environment besides the usual.
    clear : callable
        Removes what a contender of a name has written.
    reset : callable
        Called before each trial.
    """

    server: Latency
    url: str
    warm_url: str
    rtt: float = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    clear: Callable[[str], None] = _nothing
    reset: Callable[[], None] = _nothing


@dataclass(frozen=True, slots=True)
class Entry:
    """Who does what, where, in the environment of which Python."""

    kind: str
    contender: str
    course: Course
    python: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one trial went; `failure` says why there are no numbers."""

    seconds: float = 0
    cpu: float = 0
    memory: int = 0
    result: int | None = None
    stats: ServerStats | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """The medians of one contender."""

    seconds: float
    cpu: float
    memory: float
    requests: float
    round_trips: float
    sent: float
    result: int | None
    rounds: int


def race(entries: Mapping[str, Entry], rounds: int) -> dict[str, Standing | str]:
    """Run all entries, round by round, every other round the other way round.

    Who runs after one that held much memory finds it ready, and others wait for it.

    Parameters
    ----------
    entries : Mapping
        By a name for the table.
    rounds : int
        How often each runs.

    Returns
    -------
    dict
        By name the medians, or why there are none.
    """
    outcomes: dict[str, list[Outcome]] = {name: [] for name in entries}
    for turn in range(rounds):
        for name in list(entries)[:: -1 if turn % 2 else 1]:
            if not any(o.failure or o.seconds > SLOW for o in outcomes[name]):
                outcomes[name].append(_trial(entries[name]))
    return {name: _standing(tried) for name, tried in outcomes.items()}


def entrants(
    kind: str, names: Iterable[str], course: Course, peers: str
) -> dict[str, Entry]:
    """Enter contenders by their names; the peers run in their own environment."""
    return {
        name: Entry(kind, name, course, sys.executable if name in OURS else peers)
        for name in names
    }


def _trial(entry: Entry) -> Outcome:
    """Run one contender; what it asks before it is ready is not counted."""
    course = entry.course
    script = str(Path(__file__).with_name("trial.py"))
    told = (entry.kind, entry.contender, course.url, course.warm_url)
    course.reset()
    course.server.reset(0)
    with subprocess.Popen(
        [entry.python, script, *told],
        env={**os.environ, "PYTHONWARNINGS": "ignore", **course.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        for line in process.stdout:
            if line == READY:
                course.server.reset(course.rtt)
                process.stdin.write("go\n")
                process.stdin.flush()
            elif line.startswith(RESULT):
                said = json.loads(line.removeprefix(RESULT))
                return Outcome(**said, stats=course.server.stats())
    return Outcome(failure=f"ended with status {process.returncode}")


def _standing(tried: Sequence[Outcome]) -> Standing | str:
    for outcome in tried:
        if outcome.failure:
            return outcome.failure
    all_stats = [outcome.stats for outcome in tried if outcome.stats]
    return Standing(
        median(o.seconds for o in tried),
        median(o.cpu for o in tried),
        median(o.memory for o in tried),
        median(t.requests for t in all_stats),
        median(t.round_trips for t in all_stats),
        median(t.sent for t in all_stats),
        tried[0].result,
        len(tried),
    )


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in Markdown, each row as soon as it is measured."""
    for cells in chain([head, ["---"] * len(head)], rows):
        print(f"| {' | '.join(cells)} |", flush=True)


def versions(peers: str) -> str:
    """Name the versions of what is compared, here and in the peers' environment."""
    here = _versions_here()
    said = subprocess.run(
        [peers, __file__], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    python = ".".join(map(str, sys.version_info[:3]))
    return f"Python {python}. Ours with {here}. Peers: {said}."


def _versions_here() -> str:
    found = []
    for name in ("zarr", "dask", "aiohttp", "fsspec", "s3fs", *PEERS):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


PEERS = ("tensorstore", "ome-zarr", "napari-ome-zarr", "ngff-zarr")

if __name__ == "__main__":
    print(_versions_here())
