"""Codecs of other packages, in processes of their own: they may crash, or never end.

A damaged body ends the process that decodes it (zfp), or keeps it busy for hours
(JPEG-LS); what its header says, it takes of the memory. Here that is an error like
others, and costs a copy of the pixels through a pipe.
"""

from __future__ import annotations

import atexit
import os
import pickle
import struct
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, BinaryIO

from .errors import FOREIGN_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = Callable[[Any], Any]

_LENGTH = struct.Struct("<q")
_FAILED, _UNKNOWN = -1, -2
"""What is said instead of a length: it cannot be decoded; it has no such codec."""
_LONGEST = 60.0  # seconds, the imports of a new process included
_FASTEST = 1 << 20  # bytes of pixels, for each of which it has a second more
_MEMORY = 1 << 30  # bytes that a codec may take beyond four times its pixels
_BEGIN = "from napari_omezarr.codec_processes import serve; serve()"


@dataclass(frozen=True, slots=True)
class CodecInProcess:
    """Undoes one codec of another package; gives its bytes, `most` at most."""

    step: Step
    most: int

    def __call__(self, body: Any) -> Any:
        """Do so; raises ValueError where it fails, crashes, or takes too long."""
        try:
            asked = pickle.dumps((self.step, self.most, bytes(body)))
        except (pickle.PicklingError, AttributeError, TypeError):
            return self.step(body)
        process = _idle.pop() if _idle else _started()
        limit = _LONGEST + self.most / _FASTEST
        alarm = Timer(limit, process.kill)
        alarm.daemon = True
        alarm.start()
        try:
            made = _answered(process, asked, self.most)
        except (OSError, EOFError) as error:
            _end(process)
            raise ValueError("Its codec has crashed, or takes too long.") from error
        except BaseException:
            _end(process)
            raise
        finally:
            alarm.cancel()
        _idle.append(process)
        if made is None:
            # Another process does not find it.
            return self.step(body)
        return made


def is_installed(codec: type) -> bool:
    """Say whether a codec is of a package, and not of who runs this, who trusts it."""
    file = getattr(sys.modules.get(codec.__module__), "__file__", None)
    return bool({"site-packages", "dist-packages"} & set(Path(file or "").parts))


_Process = subprocess.Popen[bytes]
_idle: list[_Process] = []


def _started() -> _Process:
    hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    return subprocess.Popen(
        [sys.executable, "-c", _BEGIN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        creationflags=hidden,
    )


def _answered(process: _Process, asked: bytes, most: int) -> bytes | None:
    """Let a process undo a codec; None if it does not know it."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(_LENGTH.pack(len(asked)))
    process.stdin.write(asked)
    process.stdin.flush()
    (length,) = _LENGTH.unpack(_read(process.stdout, _LENGTH.size))
    if length == _UNKNOWN:
        return None
    if length == _FAILED:
        raise ValueError("It cannot be decoded.")
    if not 0 <= length <= most:
        raise OSError("It answers with what was not asked for.")
    return _read(process.stdout, length)


def _read(stream: BinaryIO | Any, length: int) -> bytes:
    found: bytes = stream.read(length)
    if len(found) < length:
        raise EOFError
    return found


def _end(process: _Process) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


@atexit.register
def _end_idle() -> None:
    while _idle:
        _end(_idle.pop())


def _forget() -> None:
    """Leave to the process that has forked what it has started."""
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# In the other process.


def serve() -> None:
    """Undo codecs as standard input says, until it ends."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    given = sys.stdin.buffer
    while len(head := given.read(_LENGTH.size)) == _LENGTH.size:
        body = given.read(_LENGTH.unpack(head)[0])
        made: Any = b""
        try:
            step, most, body = pickle.loads(body)
        except (pickle.UnpicklingError, AttributeError, ImportError):
            answers.write(_LENGTH.pack(_UNKNOWN))
            answers.flush()
            continue
        try:
            _bound_memory(4 * most + _MEMORY)
            made = step(body)
        except FOREIGN_ERRORS:
            answers.write(_LENGTH.pack(_FAILED))
        else:
            plain = memoryview(made).cast("B")
            answers.write(_LENGTH.pack(len(plain)))
            answers.write(plain)
        answers.flush()


def _bound_memory(more: int) -> None:
    """Let this process take so many bytes more than it has, where the system can."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + more
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
