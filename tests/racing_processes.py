"""Processes that begin at the same time, forked from one that has imported all.

What a racer does is a function of `RACERS` by name; it is given its number, waits for
the others in `ready`, and gives what it has to say as JSON.
"""

from __future__ import annotations

import json
import os
import select
import time
from functools import partial
from tempfile import NamedTemporaryFile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from forking_process import ForkingProcess, requests

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 300 + 4 * int(os.environ.get("OMEZARR_RACES", "0"))
"""Seconds that a race may take."""


class Races(ForkingProcess):
    """The process that lets others race."""

    script = __file__
    limit = 9 * _LONGEST

    def run(self, racer: str, count: int, **options: Any) -> list[Any]:
        """Let so many processes race; gives what each has to say."""
        with NamedTemporaryFile() as lock:
            options["lock"] = lock.name
            return json.loads(self.ask(racer=racer, count=count, options=options))


class Waiting:
    """What waiting for `update.LOOK_AGAIN` is for, and no time that may be too short.

    It is longer than others need to read, change and write. So whoever does that has
    a lock together with others until he waits, and who has waited had it alone.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        import fcntl  # Windows has none, and no fork either

        from napari_omezarr.writing import journal, update

        self._lock = partial(fcntl.flock, os.open(options["lock"], os.O_RDONLY))
        self.may_read = partial(self._lock, fcntl.LOCK_SH)
        # Who has a claim is done with reading it; who has changed something is not.
        for module, then in ((journal, fcntl.LOCK_UN), (update, fcntl.LOCK_SH)):
            wait = partial(self._wait, fcntl.LOCK_EX, then)
            module.time = SimpleNamespace(**vars(time) | {"sleep": wait})
        self._seconds = update.LOOK_AGAIN

    def _wait(self, alone: int, then: int, seconds: float) -> None:
        if seconds == self._seconds:
            self._lock(alone)
            self._lock(then)
        else:
            time.sleep(seconds)


# What racers do.


def patcher(number: int, ready: Callable[[], None], options: dict[str, Any]) -> Any:
    """Patch boxes that no other racer touches; gives how many were acknowledged."""
    from napari_omezarr.writing import patch

    boxes = options["boxes"][number]
    waiting = Waiting(options)
    ready()
    for start, size, value in boxes:
        values = np.full(size, value, np.uint16)
        waiting.may_read()
        patch(options["place"], start, values, original=np.zeros_like(values))
    return len(boxes)


def clasher(number: int, ready: Callable[[], None], options: dict[str, Any]) -> Any:
    """Patch the same pixels as all others; gives whether it was told a conflict."""
    from napari_omezarr.writing import PatchConflictError, patch

    values = np.full(options["size"], number + 1, np.uint16)
    ready()
    try:
        patch(options["place"], options["start"], values, original=0 * values)
    except PatchConflictError as error:
        return error.pixels
    return 0


def appender(number: int, ready: Callable[[], None], options: dict[str, Any]) -> Any:
    """Append planes of its own, again and again; gives what it was refused with."""
    from napari_omezarr.errors import ConflictError, TargetClaimedError
    from napari_omezarr.writing import append

    plane, refused = np.full(options["shape"], number + 1, np.uint16), set()
    ready()
    for _ in range(options["turns"]):
        while True:
            try:
                append(options["place"], plane)
                break
            except (TargetClaimedError, ConflictError) as error:
                refused.add(type(error).__name__ if error.action else "no action")
                time.sleep(0.002 * (number + 1))  # no crowd that always meets again
    return sorted(refused)


def annotator(number: int, ready: Callable[[], None], options: dict[str, Any]) -> Any:
    """Add labels of a name of its own, and change how a channel of its own looks."""
    from napari_omezarr.writing import add_labels, parsed, update_rendering

    shape = options["shape"]
    layer = (np.full(shape, number + 1, np.uint8), {"name": f"by {number}"}, "labels")
    channel = options["layers"][number]
    channel[1]["colormap"] = "blue"
    place = parsed(options["place"])
    ready()
    add_labels(layer, place)
    return update_rendering([(np.zeros(shape), *channel[1:])], place)


def saver(number: int, ready: Callable[[], None], options: dict[str, Any]) -> Any:
    """Save an image of its own to the place of all others; gives what it is told."""
    from napari_omezarr.errors import OMEZarrError
    from napari_omezarr.writing import write_image

    waiting = Waiting(options)
    # Two computers: neither knows the journals of the other.
    os.environ["NAPARI_OMEZARR_CACHE"] += f"/{number}"
    values = np.full((8, 120, 120), number + 1, np.uint16)
    ready()
    time.sleep(options["lag"] * number)
    waiting.may_read()
    try:
        write_image(values, options["place"], "zyx", chunks=(1, 60, 60), memory=40_000)
    except OMEZarrError as error:
        return f"{type(error).__name__}: {error}"
    return "saved"


RACERS = {
    each.__name__: each for each in (patcher, clasher, appender, annotator, saver)
}


# The process that forks.


def _race(request: dict[str, Any]) -> list[Any]:
    count = request["count"]
    arrived, arriving = os.pipe()
    start, starting = os.pipe()
    pipes = [os.pipe() for _ in range(count)]
    for number in range(count):
        if os.fork() == 0:
            os.close(starting)

            def ready() -> None:
                os.write(arriving, b".")
                os.read(start, 1)  # until the other end is closed

            try:
                answer = RACERS[request["racer"]](number, ready, request["options"])
            except BaseException as error:  # noqa: BLE001 - said to the test
                answer = f"{type(error).__name__}: {error}"
                ready()
            with os.fdopen(pipes[number][1], "w") as telling:
                telling.write(json.dumps(answer))
            os._exit(0)
        os.close(pipes[number][1])
    for _ in range(count):
        os.read(arrived, 1)
    for end in (starting, start, arrived, arriving):
        os.close(end)
    return [_told(end) for end, _ in pipes]


def _told(end: int) -> Any:
    """Read what a racer says before it ends."""
    until = time.monotonic() + _LONGEST
    said = b""
    while select.select([end], [], [], max(0.0, until - time.monotonic()))[0]:
        part = os.read(end, 1 << 16)
        if not part:
            break
        said += part
    os.close(end)
    os.wait()
    return json.loads(said or b'"it said nothing"')


if __name__ == "__main__":
    for each in requests():
        print(json.dumps(_race(each)), flush=True)  # noqa: T201
