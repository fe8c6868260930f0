"""The one event loop of network I/O, and how its work is waited for and ended."""

from __future__ import annotations

import asyncio
import gc
import sys
from concurrent.futures import (
    CancelledError,
    Executor,
    Future,
    InvalidStateError,
    ThreadPoolExecutor,
)
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from itertools import islice
from queue import SimpleQueue
from threading import Event, Lock, RLock, Thread, current_thread
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Collection,
        Coroutine,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    Task = Callable[[], Coroutine[Any, Any, None]]
    _Work = tuple[Future[Any], Callable[[], Any], "Stop | None"]

# Ending what a thread waits for, from another thread.

P = ParamSpec("P")
T = TypeVar("T")

_GLANCE = 0.25
"""Seconds after which it is noticed at the latest that what waited is over."""
_heeded: ContextVar[Stop | None] = ContextVar("napari_omezarr_stop", default=None)


class Stop:
    """Ends the requests that a thread waits for in `run`, now and from then on.

    A thread that waits cannot look at a flag. What it waits for can be cancelled
    instead: its requests end, pauses before another try included, and ``run`` raises
    ``concurrent.futures.CancelledError``.
    """

    def __init__(self, event: Any = None) -> None:
        self.event = event
        """What says it, if that is an event."""
        # Garbage is collected in any thread, also inside the blocks below, and its end
        # may cancel a future that is watched here.
        self._lock = RLock()
        self._said = False
        self._awaited: set[Future[Any]] = set()

    def say(self) -> None:
        """End it; callable from every thread, and more than once."""
        with self._lock:
            self._said = True
            awaited = tuple(self._awaited)
        for future in awaited:
            future.cancel()

    @property
    def said(self) -> bool:
        """Whether it was said to end."""
        return self._said

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Let `say` end what this thread waits for inside the block."""
        token = _heeded.set(self)
        try:
            yield
        finally:
            _heeded.reset(token)

    def watch(self, future: Future[Any]) -> None:
        """Cancel a future when `say` is called, or now if it was."""
        with self._lock:
            said = self._said
            self._awaited.add(future)
        future.add_done_callback(self.forget)
        if said:
            future.cancel()

    def forget(self, future: Future[Any]) -> None:
        """Leave a future alone from now on."""
        with self._lock:
            self._awaited.discard(future)


def heeding(future: Future[T]) -> Future[T]:
    """Let what ends this thread's requests end a future, too; gives the future."""
    stop = _heeded.get()
    if stop is not None:
        stop.watch(future)
    return future


class HeedingPool(ThreadPoolExecutor):
    """Threads whose work heeds the same `Stop` as who hands it in."""

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Begin some work in a thread."""
        return super().submit(copy_context().run, partial(fn, *args, **kwargs))


def results(works: Iterable[Future[T]]) -> list[T]:
    """Wait for work in other threads, to its end; the first failure is raised.

    Where what this thread waits for is told to end, the work is left to itself, and
    ``concurrent.futures.CancelledError`` raised at once.
    """
    ends: list[Future[T]] = []
    for work in works:
        ends.append(heeding(Future()))
        work.add_done_callback(partial(hand_on, ends[-1]))
    for failure in [end.exception() for end in ends]:
        if failure is not None:
            raise failure
    return [end.result() for end in ends]


def hand_on(result: Future[T], work: Future[T]) -> None:
    """End a future as another has ended, unless it was cancelled."""
    with suppress(InvalidStateError):
        if (failure := work.exception()) is not None:
            result.set_exception(failure)
        else:
            result.set_result(work.result())


_pools: WeakValueDictionary[int, LeavablePool] = WeakValueDictionary()


class LeavablePool(Executor):
    """Threads for other people's code, which may hang: nobody has to wait for them.

    They end with the process. Work that is begun under a `Stop` counts as left behind
    once that is said: its thread takes no more of it, and another takes its place.
    """

    def __init__(self, most: int, name: str) -> None:
        self._max_workers = most  # as dask asks its pools
        self._name = name
        self._lock = Lock()
        self._waiting: SimpleQueue[_Work | None] = SimpleQueue()
        self._running: dict[Thread, Stop | None] = {}
        _pools[id(self)] = self

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Begin some work in a thread, unless who hands it in has been told to end."""
        stop, future = _heeded.get(), Future[T]()
        if stop is not None and stop.said:
            raise CancelledError
        work = partial(copy_context().run, partial(fn, *args, **kwargs))
        self._waiting.put((future, work, stop))
        with self._lock:
            left = self._left()
            if len(self._running) - left < self._max_workers:
                thread = Thread(target=self._serve, name=self._name, daemon=True)
                self._running[thread] = None
                thread.start()
        return future

    def _left(self) -> int:
        return sum(s is not None and s.said for s in tuple(self._running.values()))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads that have nothing to do; the others when they have done."""
        with self._lock:
            for _ in self._running:
                self._waiting.put(None)

    def _serve(self) -> None:
        thread, left = current_thread(), False
        try:
            while not left and (item := self._waiting.get()) is not None:
                future, work, stop = item
                self._running[thread] = stop
                carry_out(future, work)
                self._running[thread] = None
                left = stop is not None and stop.said
                del item, future, work
        finally:
            with self._lock:
                del self._running[thread]


def left_behind() -> int:
    """Give how many threads still do what nobody waits for any more."""
    # The references at once: another thread may make a pool meanwhile.
    pools = [reference() for reference in _pools.valuerefs()]
    return sum(pool._left() for pool in pools if pool is not None)


def carry_out(future: Future[Any], work: Callable[[], Any]) -> None:
    """Do some work in this thread, and let a future end as that does."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
        if not isinstance(error, Exception):
            raise
    else:
        future.set_result(result)


@contextmanager
def ended_by(cancel: Event | None) -> Iterator[None]:
    """End the requests of the block, and of its pools, once an event is set.

    Then ``concurrent.futures.CancelledError`` comes out of what waited for them.
    """
    outer, stop, over = _heeded.get(), Stop(cancel), Event()
    if outer is not None and outer.event is cancel is not None:
        yield  # as one of many that an event ends: it is watched already
        return

    def watch() -> None:
        while not over.is_set():
            if cancel is not None and cancel.wait(_GLANCE):
                stop.say()
                return

    def ended_outside(_: Future[None]) -> None:
        stop.say()

    told: Future[None] = Future()
    if outer is not None:
        outer.watch(told)
        told.add_done_callback(ended_outside)
    # What somebody else made to be asked may be no event.
    if hasattr(cancel, "wait"):
        Thread(target=watch, name="napari-omezarr cancel", daemon=True).start()
    try:
        with stop.heeded():
            yield
    finally:
        over.set()
        if outer is not None:
            outer.forget(told)


def is_ended() -> bool:
    """Whether what this thread waits for was told to end."""
    stop = _heeded.get()
    return stop is not None and stop.said


def end_requests() -> None:
    """End what this thread waits for, and all who heed the same `Stop`, if any."""
    stop = _heeded.get()
    if stop is not None:
        stop.say()


# The one event loop that all network I/O runs on.
#
# It is fsspec's own, in a thread of fsspec's: filesystems made elsewhere then live on
# the same loop as our sessions, and a session belongs to the loop that made it.


def io_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, started on the first call (and again after a fork)."""
    # Late: a window that has asked for nothing yet need not wait for fsspec.
    import fsspec.asyn

    loop: asyncio.AbstractEventLoop = fsspec.asyn.get_loop()
    return loop


def is_io_loop() -> bool:
    """Say whether the caller runs on the I/O loop."""
    try:
        return asyncio.get_running_loop() is io_loop()
    except RuntimeError:
        return False


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the I/O loop and wait for its result.

    It is cancelled if the wait ends early, by Ctrl-C for one, or by the `Stop` that
    the thread heeds: then ``concurrent.futures.CancelledError`` is raised. Called on
    the I/O loop it is a RuntimeError, as the loop would wait for itself.
    """
    if is_io_loop():
        coroutine.close()
        raise RuntimeError("run() was called on the I/O loop; await instead")
    return awaited(start(coroutine))


def awaited(future: Future[T]) -> T:
    """Wait for work that was begun on the I/O loop; it ends with the wait, as in `run`.

    The same holds for who may call it.
    """
    try:
        return heeding(future).result()
    finally:
        future.cancel()


async def on_io_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine on the I/O loop, from whatever loop the caller runs on.

    Cancelling the caller cancels the coroutine.
    """
    if is_io_loop():
        return await coroutine
    future = asyncio.run_coroutine_threadsafe(coroutine, io_loop())
    return await asyncio.wrap_future(future)


async def in_thread(work: Callable[[], T], end: Callable[[], object]) -> T:
    """Await work that blocks, in a thread, from whatever loop the caller runs on.

    A caller that is cancelled calls `end`, and gets its cancellation when the work has
    ended; what has not begun by then never begins.
    """
    first = Lock()  # whoever takes it says whether the work begins

    def begin() -> T:
        if not first.acquire(blocking=False):
            raise CancelledError
        return work()

    running = asyncio.ensure_future(asyncio.to_thread(begin))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if first.acquire(blocking=False):
            running.cancel()
            raise
        end()
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        running.exception()  # it is told to nobody
        raise


# Work of libraries, whose exceptions may be of any type.

LONGEST = 300
"""Seconds that one call of a library may take: it says nothing on the way."""


async def outcome(work: Awaitable[T]) -> T | Exception:
    """Await what a library does, and give what it raises instead of raising it."""
    try:
        async with asyncio.timeout(LONGEST):
            # A task at once: cancelled before it begins, it leaves nothing unawaited.
            (answer,) = await asyncio.gather(work, return_exceptions=True)
    except TimeoutError as error:
        return error
    if isinstance(answer, BaseException) and not isinstance(answer, Exception):
        raise answer
    return answer


# Work on the I/O loop, for callers in other threads.


def start(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Begin some work on the I/O loop, and return at once.

    The future's ``cancel`` ends the requests that are under way; callbacks that are
    added to it run on the loop, so they must return at once.
    """
    begin = asyncio.run_coroutine_threadsafe
    return context_here().run(begin, coroutine, io_loop())


def start_together(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[Future[T]]:
    """Begin as `start` does, and wake the loop, which takes a while, once for all."""
    futures: list[Future[T]] = [Future() for _ in coroutines]
    loop = io_loop()

    def begin() -> None:
        for coroutine, future in zip(coroutines, futures, strict=True):
            task = loop.create_task(coroutine)
            task.add_done_callback(partial(_hand_on, future))
            future.add_done_callback(partial(_cancel_too, loop, task))

    loop.call_soon_threadsafe(begin)
    return futures


def _hand_on(future: Future[T], task: asyncio.Task[T]) -> None:
    if task.cancelled():
        future.cancel()
    error = None if task.cancelled() else task.exception()
    if not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(task.result())
    else:
        future.set_exception(error)


def _cancel_too(
    loop: asyncio.AbstractEventLoop, task: asyncio.Task[T], future: Future[T]
) -> None:
    if future.cancelled() and not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)


async def bounded_gather(
    work: Iterable[Callable[[], Coroutine[Any, Any, None]]], most: int
) -> None:
    """Await coroutines, at most some at a time, each begun as another ends.

    Each is made when there is room for it: none that a cancellation would leave
    unawaited. The first that fails ends the others, and its exception is raised.
    """
    left = iter(work)

    async def draw(first: Task) -> None:
        await first()
        for begin in left:
            await begin()

    drawing = [asyncio.ensure_future(draw(first)) for first in islice(left, most)]
    try:
        await asyncio.gather(*drawing)
    finally:
        for task in drawing:
            task.cancel()


# What work finds out on its way, for whoever has begun it and wants to know.

_TOLD = "napari-omezarr"
"""The annotation by which dask tells tasks of a cluster what they are to refuse."""
_refused: ContextVar[Mapping[str, str]] = ContextVar(
    "refused", default=MappingProxyType({})
)
"""What to do about what is refused here, by the names of what is noted."""


class Noted:
    """Sentences or names that are noted for who collects them, if anybody does.

    Whatever begins in the block of `collected` notes there: tasks of the loop, and
    work in threads of `HeedingPool` and `LeavablePool`. An inner block keeps its own.
    ``failure`` makes an error of what is noted, and of what can be done about it.
    """

    def __init__(
        self, name: str, failure: Callable[[Collection[str], str], Exception | None]
    ) -> None:
        self._name, self._failure = name, failure
        self._found: ContextVar[set[str] | None] = ContextVar(name, default=None)

    @contextmanager
    def collected(self) -> Iterator[set[str]]:
        """Collect what is noted from now on."""
        found: set[str] = set()
        token = self._found.set(found)
        try:
            yield found
        finally:
            self._found.reset(token)

    @contextmanager
    def refused(self, action: str) -> Iterator[None]:
        """Raise at the end of the block if something was noted.

        A task of a cluster that is sent in a block of `told_to_workers` raises itself.
        """
        token = _refused.set({**_refused.get(), self._name: action})
        try:
            with self.collected() as found:
                yield
        finally:
            _refused.reset(token)
        self._refuse(found, action)

    def add(self, *said: str) -> None:
        """Note something.

        Nobody collects what a task on a cluster reads: there it is refused at once.
        """
        mine = self._found.get()
        if mine is not None:
            mine.update(said)
        elif (action := _refused.get().get(self._name)) is not None:
            self._refuse(said, action)

    def _refuse(self, said: Collection[str], action: str) -> None:
        if said and (failure := self._failure(said, action)) is not None:
            raise failure


@contextmanager
def told_to_workers() -> Iterator[None]:
    """Let what is sent to a cluster in the block refuse what is refused here."""
    refused = _refused.get()
    if not refused or "distributed" not in sys.modules:
        yield
        return
    with sys.modules["dask"].annotate(**{_TOLD: dict(refused)}):
        yield


def context_here() -> Context:
    """Copy the context; in a task of a cluster it knows what that was told."""
    context = copy_context()
    if told := _told():
        context.run(_refused.set, told)
    return context


def _told() -> Mapping[str, str]:
    """Give what the task that runs in this thread was told by `told_to_workers`."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return {}
    try:
        worker = distributed.get_worker()
        task = worker.state.tasks[worker.get_current_task()]
    except (ValueError, KeyError):  # no worker, or a thread that a task has started
        return {}
    told: Mapping[str, str] = (task.annotations or {}).get(_TOLD, {})
    return told


# When Python looks for its oldest garbage: not while somebody waits for a picture.

_RARELY = 1000
"""The threshold of `gc` for the oldest, in collections of the middle generation."""


class _Waiting:
    """How many wait, in any thread, and what the threshold was before the first."""

    def __init__(self) -> None:
        # Garbage is collected inside the blocks below, too, and may end a wait.
        self._lock = RLock()
        self._count = self._before = 0

    def begin(self) -> None:
        """Raise the threshold, where nobody has done so."""
        with self._lock:
            young, middle, oldest = gc.get_threshold()
            self._count += 1
            if self._count == 1:
                self._before = oldest
            if 0 < oldest < _RARELY:
                gc.set_threshold(young, middle, _RARELY)

    def end(self) -> None:
        """Put the threshold back after the last, unless others have set it since."""
        with self._lock:
            young, middle, oldest = gc.get_threshold()
            self._count -= 1
            if self._count == 0 and oldest == _RARELY:
                gc.set_threshold(young, middle, self._before)


_waiting = _Waiting()


@contextmanager
def oldest_garbage_waits() -> Iterator[None]:
    """Let Python go through all objects of the process later than in this block.

    Imports, documents and the wells of a plate make so many that it would, for 0.07 s
    in a script and 0.2 s in napari, in which all threads stand. Young garbage is
    collected as ever.
    """
    _waiting.begin()
    try:
        yield
    finally:
        _waiting.end()
