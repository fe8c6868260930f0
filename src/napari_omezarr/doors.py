"""The doors of this package: no error leaves one that is not ours.

What others raise is translated where it is known what it means. The rest would be a
fault of this package, and is said as one, with its cause; and so is what the system
says, which may come from anywhere.
"""

from __future__ import annotations

import errno
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import wraps
from inspect import iscoroutinefunction, isgeneratorfunction, signature
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ._io_loop import ended_by
from .errors import (
    AccessDeniedError,
    ClusterError,
    DiskFullError,
    LocationError,
    MetadataError,
    NodeNotFoundError,
    NotEnoughMemoryError,
    OMEZarrError,
    OptionError,
    ReadOnlyError,
    SourceError,
    StoreConnectionError,
    StoreError,
    StoreTimeoutError,
    UnexpectedError,
    UnsupportedDataError,
    WriteCancelledError,
)
from .location import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from threading import Event

P = ParamSpec("P")
T = TypeVar("T")

_PLACES = ("location", "address", "source", "target", "place", "path", "self")
"""How doors call the place that they are about, the most telling first."""


def guarded(door: Callable[P, T]) -> Callable[P, T]:
    """Let no error through that is not ours: of a function, a generator, a coroutine.

    Ours get the place, and something to do, where they say none. What the caller's own
    ``progress`` raises is the caller's, and a cancellation stays one.
    """
    names = tuple(signature(door).parameters)
    made: Any = door

    @wraps(door)
    def entered(*args: Any, **options: Any) -> Any:
        with _leaving(names, args, options) as heard:
            return made(*args, **heard)

    @wraps(door)
    def listed(*args: Any, **options: Any) -> Any:
        with _leaving(names, args, options) as heard:
            yield from made(*args, **heard)

    @wraps(door)
    async def awaited(*args: Any, **options: Any) -> Any:
        with _leaving(names, args, options) as heard:
            return await made(*args, **heard)

    if isgeneratorfunction(door):
        entrance: Any = listed
    else:
        entrance = awaited if iscoroutinefunction(door) else entered
    entrance.is_guarded = True
    guard: Callable[P, T] = entrance
    return guard


@contextmanager
def _leaving(
    names: Sequence[str], args: Sequence[Any], options: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Translate what leaves a door; gives the door's options, with ears of ours."""
    own: list[BaseException] = []
    heard = dict(options)
    if callable(options.get("progress")):
        heard["progress"] = _listening(options["progress"], own)
    try:
        yield heard
    except OMEZarrError as error:
        # Only of what was opened by its place is it sure that the error is about it.
        about = str(getattr(args[0], "display", "")) if args else ""
        _complete(error, about, _place(names, args, options))
        raise
    except CancelledError:  # somebody wished it
        raise
    except Exception as error:
        if error in own:
            raise
        if _is_of_the_call(error):
            raise OptionError(
                f"{error}.", action="Compare the call with help()."
            ) from error
        raise as_ours(error, _place(names, args, options)) from error


def _is_of_the_call(error: Exception) -> bool:
    """Whether the door was never entered: arguments too many, too few, or unknown."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    inside = last is not None and last.tb_frame.f_code.co_filename != __file__
    return isinstance(error, TypeError) and not inside


@contextmanager
def stopped_by(
    cancel: Event | None, what: str, action: str, option: str = ""
) -> Iterator[None]:
    """End the block's requests once an event is set, and say that it was cancelled.

    The action is chosen by an option of a save, where one is given.
    """
    try:
        with ended_by(cancel):
            yield
    except CancelledError:
        if cancel is None or not cancel.is_set():
            raise
        raise WriteCancelledError(
            f"{what} was cancelled.", action=action, option=option
        ) from None


def _listening(
    tell: Callable[..., object], raised: list[BaseException]
) -> Callable[..., object]:
    def told(*facts: Any) -> object:
        try:
            return tell(*facts)
        except BaseException as error:
            raised.append(error)
            raise

    return told


def _place(
    names: Sequence[str], args: Sequence[Any], options: Mapping[str, Any]
) -> str:
    """Say what a call was about, without secrets; empty if nothing tells."""
    given = {**dict(zip(names, args, strict=False)), **options}
    for name in _PLACES:
        value = given.get(name)
        value = getattr(value, "location", value)
        if isinstance(value, Location):
            return value.display
        if value is not None:
            with suppress(LocationError):
                return Location.parse(value).display
    return ""


def as_ours(error: BaseException, url: str = "") -> OMEZarrError:
    """Give an error itself if it is ours, else one that says what it means."""
    return known_failure(error, url) or UnexpectedError.of(error, url)


def known_failure(
    error: BaseException, url: str = "", doing: str = "write to"
) -> OMEZarrError | None:
    """Give what an error means wherever it is raised; None of one that says little."""
    if isinstance(error, OMEZarrError):
        return error
    if isinstance(error, MemoryError):
        return not_enough_memory(url)
    return said_by_system(error, url, doing) if isinstance(error, OSError) else None


@contextmanager
def reading_foreign(
    url: str, meaning: Callable[[Exception], OMEZarrError]
) -> Iterator[None]:
    """Say in our words what a library raises, of which any code may be."""
    try:
        yield
    except (OMEZarrError, CancelledError):
        raise
    except Exception as error:
        raise (known_failure(error, url, "read") or meaning(error)) from error


def not_enough_memory(url: str) -> NotEnoughMemoryError:
    """Say that the memory did not suffice for what was to be done at a place."""
    where = f" at {url}" if url else ""
    return NotEnoughMemoryError(
        f"There is not enough memory for what was to be done{where}.",
        action="Close other images or programs, or take a smaller part at a time.",
        url=url,
    )


_SAID = (
    (
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        DiskFullError,
        "There is no room left at {url}.",
        "Make room and resume, or choose another place.",
    ),
    (
        (errno.EROFS,),
        ReadOnlyError,
        "{url} is read-only.",
        "Choose another place.",
    ),
    (
        (errno.EACCES, errno.EPERM),
        AccessDeniedError,
        "You may not {doing} {url}.",
        "Choose another place, or ask who owns it.",
    ),
    (
        (errno.ENAMETOOLONG,),
        StoreError,
        "{url} has a longer name than can be stored there.",
        "Choose a shorter one: most disks take 255 bytes for a name.",
    ),
    (
        (errno.EMFILE, errno.ENFILE),
        StoreError,
        "Too many files are open at a time for {url}.",
        "Close other programs, or allow more open files (ulimit -n).",
    ),
    (
        (errno.ELOOP,),
        StoreError,
        "{url} is a link that leads back to itself.",
        "Remove the link, or give the address of what it should lead to.",
    ),
    (
        (errno.EIO, errno.ENXIO, errno.ENODEV),
        StoreError,
        "The disk of {url} fails.",
        "Check the disk, and copy what is on it.",
    ),
    (
        tuple(
            getattr(errno, name)
            for name in ("ESTALE", "EHOSTDOWN", "EHOSTUNREACH", "ENOTCONN", "ENETDOWN")
            if hasattr(errno, name)
        ),
        StoreError,
        "The disk of {url} is on a network that does not answer.",
        "Connect it again.",
    ),
)
"""What the system says that means the same wherever it is said."""


def said_by_system(
    error: OSError, url: str, doing: str = "write to"
) -> StoreError | None:
    """Say what the system's number of an error means; None of one that says little."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, (ConnectionError, TimeoutError)):
        late = isinstance(error, TimeoutError)
        broken = StoreTimeoutError if late else StoreConnectionError
        said = "does not answer in time" if late else "breaks the connection off"
        where = url or "What was asked"
        later = "Try again a little later."
        return broken(f"{where} {said}.", action=later, url=url)
    for numbers, kind, sentence, action in _SAID:
        if error.errno in numbers:
            said = sentence.format(url=url or "this computer", doing=doing)
            return kind(said if url else said.capitalize(), action=action, url=url)
    return None


_ACTIONS: dict[type[OMEZarrError], str] = {
    ClusterError: "Look at the workers' logs, or save without a cluster.",
    MetadataError: "Ask who made it to check its metadata with a validator.",
    UnsupportedDataError: "Ask who made it for another format, or open it elsewhere.",
    NodeNotFoundError: "Check the address.",
    OptionError: "Choose another, or leave it out.",
    SourceError: "Look whether it can be read by itself.",
    StoreError: "Check the place, or the connection to it.",
}
"""What can be done about an error that does not say it, by its class."""


def _complete(error: OMEZarrError, about: str, url: str) -> None:
    """Give an error the address, and something to do, if it has none of its own."""
    own = error.url and error.url in error.sentence  # it is about another place
    error.url = error.url or url
    if not own and about not in error.sentence:
        error.sentence = f"{error.sentence.rstrip('.')} ({about})."
    with_action(error)


def with_action(error: OMEZarrError) -> OMEZarrError:
    """Give an error something to do if it says nothing itself."""
    if not error.action:
        kinds = (kind for kind in type(error).__mro__ if kind in _ACTIONS)
        error.action = _ACTIONS.get(next(kinds, OMEZarrError), "")
    return error
