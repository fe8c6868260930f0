"""Saves, edits, appends in processes of their own that are killed.

A process that forks is told on its input what to save; each child is killed at a file
operation that is counted beforehand, or by whoever reads its number.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forking_process import ForkingProcess, requests
from interrupted_save import OPTIONS, image

if TYPE_CHECKING:
    import numpy as np

_CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}


class KilledSaves(ForkingProcess):
    """The process whose children save, and are killed."""

    script = __file__

    def begin(
        self, target: object, *, last: int = 0, act: str = "save", **choices: Any
    ) -> int:
        """Begin a save, to be killed at its ``last`` file operation; gives its pid.

        Or another of `ACTS`. With ``room`` no file may grow beyond so many bytes, and
        what is said of that goes into the file ``told``.
        """
        return int(self.ask(target=str(target), last=last, act=act, choices=choices))

    def end(self) -> int:
        """Wait for it; gives its exit code, or minus the signal that killed it."""
        return int(self.answer())


def small() -> np.ndarray:
    """What they save."""
    return image()[:6]


def edited() -> np.ndarray:
    """What a part of it becomes."""
    return small()[1:4, 20:90, 30:100] + 1000


def _save(target: str, **choices: Any) -> None:
    from napari_omezarr.writing import write_image

    write_image(small(), target, "zyx", **choices, **OPTIONS)


def patch_some(target: object) -> None:
    """Edit a part of several chunks, and of shards."""
    from napari_omezarr.writing import parsed, patch

    before = small()[1:4, 20:90, 30:100]
    patch(parsed(str(target)), (1, 20, 30), edited(), original=before)


def append_some(target: object) -> None:
    """Append two more along the first axis, which is time."""
    from napari_omezarr.writing import append, parsed

    append(parsed(str(target)), small()[:2] + 1000)


ACTS = {"save": _save, "patch": patch_some, "append": append_some}


def operations(folder: Path, last: int = 0) -> list[str]:
    """Note what this process changes below a folder; end it at the ``last`` change."""
    noted: list[str] = []
    tried: set[str] = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _CHANGES or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        # How many threads try to make one folder is a matter of luck.
        if event == "os.mkdir" and str(arguments[0]) in tried:
            return
        tried.add(str(arguments[0]))
        noted.append(event)
        # Not only the very one: two threads may have noted before either compares.
        if 0 < last <= len(noted):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(note)
    return noted


def _act(request: dict[str, Any]) -> None:
    from napari_omezarr.errors import OMEZarrError

    target, choices = request["target"], request["choices"]
    noted = []
    if "://" not in target:
        noted = operations(Path(target).parent, request["last"])
    room, told = choices.pop("room", None), choices.pop("told", None)
    if room:
        import resource

        # What is cut off would break the imports of others.
        sys.dont_write_bytecode = True
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    try:
        ACTS[request["act"]](target, **choices)
    except OMEZarrError as error:
        if not told:
            raise
        Path(told).write_text(f"{type(error).__name__}: {error}")
    if request["last"] == -1:
        Path(f"{target}.count").write_text(str(len(noted)))


def _serve() -> None:
    for request in requests():
        child = os.fork()
        if child == 0:
            _act(request)
            os._exit(0)
        print(child, flush=True)  # noqa: T201
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve()
