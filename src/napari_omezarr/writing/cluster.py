"""Who writes the blocks: threads, or tasks of a ``dask.distributed`` client."""

from __future__ import annotations

import pickle
import sys
import time
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from napari_omezarr._io_loop import told_to_workers
from napari_omezarr.errors import ClusterError, OMEZarrError, SourceError

from .engine import Threads, known_for, read_block, write_block
from .source import ArraySource, DaskSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_omezarr.pyramid import Bounds

    from .chunking import WritePass
    from .engine import BlockTask, Executor
    from .journal import BlockNote
    from .options import SaveMode, Verify, WriteOptions
    from .plan import ImagePlan
    from .source import PixelSource


_PACKAGE = "napari-omezarr"
_FAILURES = (OSError, RuntimeError, ValueError, AttributeError, TimeoutError)
"""What a client raises that is closed, or whose scheduler does not answer."""
_GLANCE = 1.0
_TRIES = 3
"""How often what was lost with a worker is sent once more."""
PATIENCE = 60.0
"""Seconds that a cluster may be without workers: some grow only when there is work."""


class Cluster:
    """Blocks on the workers of a client, which need this package.

    What lies in the memory of this process is sent block by block; a lazy dask
    array is computed where its block is written; all else is read by the worker.
    """

    reads_here = False
    moved = 0
    """Workers tell only when a block has ended."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._lock = Lock()
        self._pending: set[Future[BlockNote]] = set()
        self._ended = Event()
        self._watched = False
        self._same = False
        self._wanted = _Wanted(f"omezarr-{uuid4().hex}")

    def width(self, image: ImagePlan, write_pass: WritePass) -> int:
        """Give a block for each thread of the workers, and one that waits."""
        with _answering():
            threads: int = sum(self.client.nthreads().values())
        return 2 * max(1, threads)

    def start(self, task: BlockTask) -> tuple[Any, BlockTask | None]:
        """Send to the workers what the blocks of a pass have in common."""
        kept = task if _stays_here(task.source) else None
        sent = task if kept is None else replace(task, source=_Sent(task.source))
        with _answering():
            if self.client.status != "running":
                raise _gone("The client of the cluster is closed.")
            self._check_workers()
            # The result of a task is made again if it is lost; scattered data is not.
            # Bytes can be taken in even by a worker that lacks the source's module.
            packed = sys.modules["distributed"].protocol.pickle.dumps(sent)
            return self.client.submit(pickle.loads, packed, pure=False), kept

    def submit(
        self, started: tuple[Any, BlockTask | None], bounds: Bounds, *, check: Verify
    ) -> Future[BlockNote]:
        """Begin a block on some worker."""
        block = _Block(*started, bounds, check)
        with self._lock:
            self._pending.add(block.future)
            if not self._watched:
                self._watched = True
                Thread(target=self._watch, daemon=True).start()
        self._begin(block)
        return block.future

    def stop(self) -> None:
        """Tell the workers that no block is to be written any more."""
        # A scheduler that does not answer is not waited for.
        Thread(target=self._say_stop, daemon=True).start()

    def _say_stop(self) -> None:
        with suppress(ClusterError), _answering():
            self._wanted.end(self.client)

    def close(self) -> None:
        """Leave the client as it was."""
        self._ended.set()

    def _check_workers(self) -> None:
        """Check that there are workers, and that they have this very package."""
        if self._same:
            return
        if not self.client.nthreads():
            raise _gone("The cluster has no workers.")
        # A worker may end of a task whose function it cannot import.
        found = self.client.run(exec, f"import {__name__}", on_error="return")
        if any(isinstance(each, ImportError) for each in found.values()):
            raise _lacking()
        mine = own_version()
        found = self.client.run(version, _PACKAGE, on_error="return") if mine else {}
        # A worker that is ending gives an OSError; it will write nothing.
        theirs = [each for each in found.values() if not isinstance(each, OSError)]
        others = {str(each) for each in theirs if each != mine}
        lacking = any(isinstance(each, Exception) for each in theirs)
        if others:
            said = "lack it" if lacking else f"have {', '.join(sorted(others))}"
            raise ClusterError(
                f"This is {_PACKAGE} {mine}, and workers of the cluster {said}.",
                action="Install the same version on all of them, and resume.",
            )
        self._same = True

    def _begin(self, block: _Block) -> None:
        """Give a block to the workers. If it is cancelled so is all that it needs."""
        kept, values = block.kept, None
        source = None if kept is None else kept.source
        if kept is not None and not isinstance(source, DaskSource):
            values = self._scattered(read_block(kept, block.bounds))
        with _answering():
            if kept is not None and isinstance(source, DaskSource):
                # Its tasks say themselves what they cannot read.
                with known_for(kept), told_to_workers():
                    values = self.client.compute(source.lazy(block.bounds))
            written = self.client.submit(
                _write_sent,
                block.sent,
                block.bounds,
                values,
                self._wanted,
                block.check,
                pure=False,
            )
        tasks = [written] if values is None else [written, values]

        def forget(ended: Future[BlockNote]) -> None:
            if ended.cancelled():
                Thread(target=self._cancel, args=(tasks,), daemon=True).start()
            # The next try is not to find this one's errors under the same names.
            for each in tasks:
                each.release()

        def finish(written: Any) -> None:
            # What follows a loss waits or sends, and all callbacks share one thread.
            if written.status in ("lost", "cancelled"):
                Thread(target=self._finish, args=(block, written), daemon=True).start()
            else:
                self._finish(block, written)

        written.add_done_callback(finish)
        block.future.add_done_callback(forget)

    def _scattered(self, values: np.ndarray) -> Any:
        """Send values to a worker; to another one if that ends meanwhile."""
        with _answering():
            for _ in range(_TRIES):
                try:
                    return self.client.scatter(values, hash=False)
                except TimeoutError:  # nobody is there who could take them
                    raise
                except OSError:
                    self._ended.wait(_GLANCE)
            return self.client.scatter(values, hash=False)

    def _finish(self, block: _Block, written: Any) -> None:
        """End a block as its task has ended, or begin it again if it was lost."""
        result = None
        try:
            with _answering():
                # Both wait while an answer that went with its worker is made again.
                problem = written.exception()
                with suppress(CancelledError):
                    result = written.result() if problem is None else None
            if problem is not None:
                self._end(block.future, None, _explained(problem))
            elif result is not None:
                self._end(block.future, result, None)
            else:
                self._begin_again(block)
        except OMEZarrError as error:
            self._end(block.future, None, error)

    def _begin_again(self, block: _Block) -> None:
        """Begin a block whose values went with the worker that had them."""
        block.lost += 1
        # Nobody waits any more for what was cancelled here.
        alone = block.future.done() or self.client.status != "running"
        if alone or block.lost > _TRIES:
            raise _lost()
        self._begin(block)

    def _cancel(self, tasks: Sequence[Any]) -> None:
        with suppress(ClusterError), _answering():
            self.client.cancel(tasks, force=True)

    def _end(
        self, future: Future[BlockNote], result: Any, error: Exception | None
    ) -> None:
        with self._lock:
            if future not in self._pending:
                return
            self._pending.discard(future)
        with suppress(InvalidStateError):  # it was cancelled
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def _watch(self) -> None:
        """End what is waited for once nobody is left who would do it.

        The futures of a client that was closed, or has lost its scheduler, or that has
        no workers any more, never end by themselves.
        """
        seen = time.monotonic()
        while not self._ended.wait(_GLANCE):
            try:
                alone = not self.client.nthreads()
            except _FAILURES:
                alone = True
            if not alone and self.client.status == "running":
                seen = time.monotonic()
            closed = self.client.status in ("closed", "closing")
            if closed or time.monotonic() - seen > PATIENCE:
                for future in tuple(self._pending):
                    self._end(future, None, _gone("The cluster has gone away."))
                return


def own_version() -> str:
    """Give the version of this package here; empty where it runs from a folder."""
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return ""


def _gone(sentence: str) -> ClusterError:
    return ClusterError(
        sentence, action="Start it again, and resume; or save without a cluster."
    )


@contextmanager
def _answering() -> Iterator[None]:
    """Turn what a client raises that cannot reach its scheduler into our error."""
    try:
        yield
    except OMEZarrError:
        raise
    except Exception as error:
        # What a worker raises while it takes something in comes as a plain Exception.
        if "ModuleNotFoundError" in str(error):
            raise _lacking() from error
        raise _gone("The cluster does not answer.") from error


def _lacking() -> ClusterError:
    return ClusterError(
        f"A worker of the cluster lacks {_PACKAGE}, or what it needs.",
        action="Install the same packages on all of them, and resume.",
    )


def _lost() -> ClusterError:
    return ClusterError(
        "The cluster has lost what it was to write: workers have ended, or it was "
        "closed.",
        action="Start it again, with more memory or less for each block (memory=…), "
        "and resume.",
    )


def _explained(error: BaseException) -> Exception:
    """Say what became of a block, in our words."""
    if isinstance(error, OMEZarrError):
        return error
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    told: Exception
    if any(isinstance(each, ImportError) for each in chain):
        told = _lacking()
    elif type(error).__name__ == "KilledWorker":
        told = ClusterError(
            "Workers of the cluster ended, again and again, while they wrote a block.",
            action="Give them more memory, or each block less (memory=…), and resume.",
        )
    else:
        told = SourceError(
            f"A worker of the cluster could not read or write a block "
            f"({type(error).__name__}).",
            action="Look whether the pixels can be computed by themselves.",
        )
    told.__cause__ = error
    return told


@dataclass(eq=False, slots=True)
class _Block:
    """A block that is to be written, whoever does it in the end.

    ``sent`` is on the workers. ``kept`` is the task, if its source is only here.
    """

    sent: Any
    kept: BlockTask | None
    bounds: Bounds
    check: Verify
    future: Future[BlockNote] = field(default_factory=Future)
    lost: int = 0


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What blocks of a save ask, on whatever worker, before they write anything."""

    name: str

    def end(self, client: Any) -> None:
        """Let them be wanted no more."""
        sys.modules["distributed"].Event(self.name, client=client).set()

    def __call__(self) -> None:
        """Raise if that was said."""
        if sys.modules["distributed"].Event(self.name).is_set():
            raise CancelledError


class _Sent:
    """A source of which only the shape travels: each block comes with its values."""

    def __init__(self, source: PixelSource, values: np.ndarray | None = None) -> None:
        self.shape = source.shape
        self.dtype = source.dtype
        self.chunks = source.chunks
        self.places = source.places
        self._values = values

    def read(self, bounds: Bounds) -> np.ndarray:
        """Give the values of the block."""
        if self._values is None:
            raise RuntimeError(f"the block {bounds} was sent without its values")
        return self._values


def _write_sent(
    task: BlockTask,
    bounds: Bounds,
    values: np.ndarray | None,
    wanted: _Wanted,
    check: Verify,
) -> BlockNote:
    """Write a block on a worker."""
    if values is not None:
        task = replace(task, source=_Sent(task.source, values))
    return write_block(task, bounds, check=check, begin=wanted)


def make_executor(
    client: Any | None, options: WriteOptions, mode: SaveMode
) -> Executor:
    """Choose who writes the blocks: a cluster if there is a client, else threads."""
    found = active_client() if client is None else client
    if found is not None:
        return Cluster(found)
    return Threads(options.memory, mode.workers)


def active_client() -> Any | None:
    """Give the client that is the default of this process, if there is one.

    ``distributed`` is not imported for that: who has a client has imported it.
    """
    if "distributed" not in sys.modules:
        return None
    try:
        return sys.modules["distributed"].default_client()
    except ValueError:  # its word for "no clients found"
        return None


def _stays_here(source: PixelSource) -> bool:
    if isinstance(source, DaskSource):
        return True
    array = source.array if isinstance(source, ArraySource) else None
    if array is not None:
        return isinstance(array, np.ndarray) and not isinstance(array, np.memmap)
    inner = getattr(source, "sources", None) or (getattr(source, "source", None),)
    return any(part is not None and _stays_here(part) for part in inner)
