"""Programs that tests run beside themselves: each ends in time, with all it started."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager, suppress
from threading import Timer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POSIX = os.name == "posix"
GRACE = 10
"""Seconds that a program has to end by itself when it is asked to."""


@contextmanager
def child_process(
    command: Sequence[object], *, limit: float = 200, **options: Any
) -> Iterator[subprocess.Popen[Any]]:
    """Run a program that ends with the block, or after ``limit`` seconds.

    So nothing that the test waits for it with is without end: neither ``wait`` nor
    reading from its pipes.
    """
    process = subprocess.Popen(
        [str(part) for part in command], start_new_session=POSIX, **options
    )
    alarm = Timer(limit, _kill, [process])
    alarm.daemon = True
    alarm.start()
    try:
        yield process
    finally:
        alarm.cancel()
        _end(process)


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    _kill(process)
    process.wait(GRACE)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def _kill(process: subprocess.Popen[Any]) -> None:
    """Kill a program, and those that it has started."""
    process.kill()
    if POSIX:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
