"""One contender, once, in this process; it prints how that went.

What a first use costs (imports, thread pools, plugins) is paid before the clock
starts, on another store; over HTTP behind another port, so that connections are new
all the same. By hand (Enter starts it)::

    python benchmarks/trial.py open napari-omezarr URL WARM_URL
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from contest import READY, RESULT
from openers import OPENERS
from readers import READERS
from writers import WRITERS

if TYPE_CHECKING:
    from collections.abc import Callable

TOUCHED = 800 << 20
"""More bytes than any way of reading an image of 256 MiB takes: dask makes it twice."""


def prepared(
    kind: str, name: str, url: str, *, warm: bool = False
) -> Callable[[], Any]:
    """Give what is to be timed, or something small of the kind to warm up."""
    if kind == "open":
        return partial(OPENERS[name], url)
    if kind == "write":
        image = np.load(os.environ["BENCHMARK_INPUT"], mmap_mode="r")
        return WRITERS[name](url, np.array(image[:, :4, :512, :512] if warm else image))
    return READERS[name](url)


def run(task: Callable[[], Any]) -> dict[str, Any]:
    """Do a task once; give seconds, seconds of the processor, and a check."""
    cpu = time.process_time()
    begin = time.perf_counter()
    result = task()
    seconds = time.perf_counter() - begin
    cpu = time.process_time() - cpu
    return {"seconds": seconds, "cpu": cpu, "result": _reduced(result)}


def main() -> None:
    """Warm up, prepare, wait for the signal, run, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=("open", "read", "write"))
    for name in ("name", "url", "warm_url"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    try:
        run(prepared(arguments.kind, arguments.name, arguments.warm_url, warm=True))
        task = prepared(arguments.kind, arguments.name, arguments.url)
        if arguments.kind == "read":
            touch_memory()
        # What the imports left to Python's collector, which runs when many objects
        # were made, by whoever makes the last of them.
        gc.collect()
        print(READY, end="", flush=True)
        sys.stdin.readline()
        if arguments.kind == "write":
            _forget_peak()
        before = _memory()
        outcome = run(task)
        outcome["memory"] = _memory() - before
    # Whatever a contender fails with is an outcome of the benchmark.
    except Exception as error:  # noqa: BLE001
        outcome = {"failure": f"{type(error).__name__}: {error}"}
    print(f"{RESULT}{json.dumps(outcome)}", flush=True)


def _reduced(result: Any) -> int | None:
    """Give a number that must be the same for all who read the same."""
    return int(result.sum(dtype="uint64")) if hasattr(result, "sum") else result


def touch_memory() -> None:
    """Have the machine's memory ready for what is read.

    The host of a virtual machine may take back what is free, and gives it again at
    the first touch, which can take as long as a whole read.
    """
    np.ones(TOUCHED, np.uint8)


def _forget_peak() -> None:
    """Let the peak begin anew, where the system can do that."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _memory() -> int:
    """Give the most bytes that this process has held since the peak was forgotten."""
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    main()
