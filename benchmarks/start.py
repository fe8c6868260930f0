"""Measure what starting takes over a bare interpreter: the package, the command's help.

python benchmarks/start.py
"""

import argparse
import os
import subprocess
import sys
from statistics import median

PROGRAMS = {
    "bare interpreter": "pass",
    "import napari_omezarr": "import napari_omezarr",
    "napari-omezarr --help": (
        "import sys; sys.argv = ['napari-omezarr', '--help']\n"
        "from napari_omezarr.cli import main\nmain()"
    ),
}


def processor_seconds(program: str) -> float:
    before = os.times()
    command = [sys.executable, "-c", program]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    used = after.children_user - before.children_user
    return used + after.children_system - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):  # in turn: what else the machine does meets all of them
        for name, program in PROGRAMS.items():
            taken[name].append(processor_seconds(program))
    bare = median(taken["bare interpreter"])
    for name, seconds in taken.items():
        print(f"{name}: {median(seconds) - bare:+.3f} s of a processor over a bare one")


if __name__ == "__main__":
    main()
