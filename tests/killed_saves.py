"""Saves in processes of their own that are killed, many from one that has imported all.

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

    def begin(self, target: object, *, last: int = 0, **choices: Any) -> int:
        """Begin a save, to be killed at its ``last`` file operation; gives its pid."""
        return int(self.ask(target=str(target), last=last, choices=choices))

    def end(self) -> int:
        """Wait for it; gives its exit code, or minus the signal that killed it."""
        return int(self.answer())


def small() -> np.ndarray:
    """What they save."""
    return image()[:6]


def operations(folder: Path, last: int = 0) -> list[str]:
    """Note what this process changes below a folder; end it at the ``last`` change."""
    noted: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _CHANGES or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        noted.append(event)
        # Not only the very one: two threads may have noted before either compares.
        if 0 < last <= len(noted):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(note)
    return noted


def _save(request: dict[str, Any]) -> None:
    from napari_omezarr.writing import write_image

    target = request["target"]
    noted = []
    if "://" not in target:
        noted = operations(Path(target).parent, request["last"])
    write_image(small(), target, "zyx", **request["choices"], **OPTIONS)
    if request["last"] == -1:
        Path(f"{target}.count").write_text(str(len(noted)))


def _serve() -> None:
    for request in requests():
        child = os.fork()
        if child == 0:
            _save(request)
            os._exit(0)
        print(child, flush=True)  # noqa: T201
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve()
