"""A process that has imported all and forks: children begin at once, and know it all.

A script of the tests serves requests on its input, a line of JSON each.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

from child_process import child_process

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDED = (
    "aiobotocore.session",
    "numcodecs.zstd",
    "napari_omezarr.store.object_store",
    "napari_omezarr.store.sign_in",
    "napari_omezarr.writing",
)


class ForkingProcess:
    """Runs a script that serves requests, for at most `limit` seconds; a context."""

    script: str
    limit: float = 900

    def __enter__(self) -> Self:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._running = child_process(
            [sys.executable, self.script], limit=self.limit, text=True, **pipes
        )
        self._process = self._running.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self._running.__exit__(*problem)

    def ask(self, **request: Any) -> str:
        """Send a request, with this process's own sign-in; gives the next line."""
        own = ("AWS_", "AZURE_", "NAPARI_", "STORAGE_")
        names = [name for name in os.environ if name.startswith(own)]
        request["environment"] = {name: os.environ[name] for name in names}
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> str:
        """Wait for the next line."""
        return self._process.stdout.readline()


def requests() -> Iterator[dict[str, Any]]:
    """Give the requests on this process's input, with all imported beforehand."""
    for name in _NEEDED:  # so that children need not
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        os.environ.update(request["environment"])
        yield request
