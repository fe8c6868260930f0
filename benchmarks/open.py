"""How long opening takes, how many requests and round trips: ours against the peers.

::

    python benchmarks/open.py --peers-python .venv-peers/bin/python
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import data
from contest import Course, entrants, print_table, race, versions
from latency import Latency, certified
from openers import OPENERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contest import Standing

WHAT = {
    "image-0.4": "image 0.4, 4 levels",
    "image-0.5": "image 0.5, 4 levels",
    "labels": "with 3 labels",
    "series": "10 series",
    "plate-96": "96 wells",
    "plate-384": "384 wells",
}
RTTS = (0, 30, 100)
IMAGES_ONLY = {"tensorstore": ("image-0.4", "image-0.5")}
"""What has no notion of labels, series and plates is not asked for them."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rtt", type=float, nargs="+", default=RTTS, help="ms")
    parser.add_argument("--tls", action="store_true", help="over https")
    parser.add_argument("--what", nargs="+", default=list(WHAT), choices=list(WHAT))
    parser.add_argument("--who", nargs="+", default=list(OPENERS), choices=OPENERS)
    arguments = parser.parse_args()
    print(versions(arguments.peers_python), end="\n\n")
    head = [
        f"open over {'HTTPS' if arguments.tls else 'HTTP'}",
        "",
        "round trips, requests",
    ]
    head += [f"RTT {rtt:g}: ms" for rtt in arguments.rtt]
    print_table(head, rows(arguments))


def rows(arguments: argparse.Namespace) -> Iterator[list[str]]:
    """Measure store after store; one row for each contender."""
    for name in arguments.what:
        data.make(name)
    with ExitStack() as stack:
        certificate, trust = certified(stack) if arguments.tls else (None, {})
        server, warm = (
            stack.enter_context(Latency(data.FOLDER, certificate)) for _ in range(2)
        )
        for name in arguments.what:
            who = [n for n in arguments.who if name in IMAGES_ONLY.get(n, WHAT)]
            found = []
            for rtt in arguments.rtt:
                store = f"{name}.ome.zarr"
                there, nearby = f"{server.url}/{store}", f"{warm.url}/{store}"
                course = Course(server, there, nearby, rtt, trust)
                entries = entrants("open", who, course, arguments.peers_python)
                found.append(race(entries, arguments.rounds))
            for contender in who:
                standings = [standing[contender] for standing in found]
                yield [WHAT[name], contender, *_cells(standings)]


def _cells(standings: list[Standing | str]) -> Iterator[str]:
    """Say round trips and requests as counted at the longest round trip, then times."""
    opened = [s for s in standings if not isinstance(s, str) and s.result]
    if len(opened) < len(standings):
        reasons = [s for s in standings if isinstance(s, str)]
        yield from ((*reasons, "finds nothing")[0], *"-" * len(standings))
        return
    yield f"{opened[-1].round_trips:.0f}, {opened[-1].requests:.0f}"
    yield from (f"{standing.seconds * 1000:.0f}" for standing in opened)


if __name__ == "__main__":
    main()
