"""Saves in processes of their own that are killed, many from one that has imported all.

A process that forks is told on its input what to save; each child is killed at a file
operation that is counted beforehand, or by whoever reads its number.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from child_process import child_process
from interrupted_save import OPTIONS, image

if TYPE_CHECKING:
    import numpy as np

_NEEDED = (
    "aiobotocore.session",
    "numcodecs.zstd",
    "napari_omezarr.store.object_store",
    "napari_omezarr.store.sign_in",
    "napari_omezarr.writing",
)
_CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}


class KilledSaves:
    """The process that forks; use it as a context."""

    def __enter__(self) -> Self:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._running = child_process(
            [sys.executable, __file__], limit=900, text=True, **pipes
        )
        self._process = self._running.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self._running.__exit__(*problem)

    def begin(self, target: object, *, last: int = 0, **choices: Any) -> int:
        """Begin a save, to be killed at its ``last`` file operation; gives its pid."""
        names = [name for name in os.environ if name.startswith(("AWS_", "NAPARI_"))]
        request = {
            "target": str(target),
            "last": last,
            "choices": choices,
            "environment": {name: os.environ[name] for name in names},
        }
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> int:
        """Wait for it; gives its exit code, or minus the signal that killed it."""
        return int(self._process.stdout.readline())


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

    os.environ.update(request["environment"])
    target = request["target"]
    noted = []
    if "://" not in target:
        noted = operations(Path(target).parent, request["last"])
    write_image(small(), target, "zyx", **request["choices"], **OPTIONS)
    if request["last"] == -1:
        Path(f"{target}.count").write_text(str(len(noted)))


def _serve() -> None:
    for name in _NEEDED:  # so that children need not
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _save(json.loads(line))
            os._exit(0)
        print(child, flush=True)  # noqa: T201
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve()
