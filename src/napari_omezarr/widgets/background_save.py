"""Saving what napari's own commands hand over, without freezing its window."""

from __future__ import annotations

import logging
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any
from weakref import ref

import napari
from napari.utils import cancelable_progress
from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
    show_error,
    show_info,
)
from qtpy.QtCore import QObject, QTimer, Signal

from napari_omezarr.errors import (
    OMEZarrError,
    TargetExistsError,
    TargetInUseError,
    UnfinishedWriteError,
    WriteCancelledError,
)

from .open_layers import PaintingHeld, layers_with, places_of
from .qt_async import Task, app_events, event_loop_runs, main_window, wait_for_import
from .save_model import layer_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from napari.layers import Layer

    from napari_omezarr.location import Location
    from napari_omezarr.writing import Progress, Saved

    Work = Callable[[Callable[[Progress], None], Event], Any]

# A save in a thread: its progress in napari's activity dock, and its end by signal.

TICK = 100
"""Milliseconds between looks at how far a save is."""

under_way: dict[str, Saving] = {}
"""The saves that have not ended, by what they save to."""


class Saving(QObject):
    """One save, until it has ended; make it and start it in the GUI thread.

    Parameters
    ----------
    address : str
        What it saves to, without secrets.
    work : callable
        Saves, given a function to tell its progress to and an event that asks it to
        stop. It runs in a thread and must not touch a widget or a layer.

    Attributes
    ----------
    progress : Progress or None
        How far it is.
    """

    progressed = Signal(object)
    """A `Progress`, some times a second."""
    ended = Signal(object)
    """The outcome, a finished `Future`."""

    def __init__(self, address: str, work: Work) -> None:
        super().__init__()
        self.address = address
        self.progress: Progress | None = None
        self._work = work
        self._cancel = Event()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancel.is_set()

    def start(self) -> None:
        """Start the thread.

        Raises
        ------
        TargetInUseError
            Another save to the same place is under way.
        """
        if self.address in under_way:
            raise TargetInUseError(
                f"{self.address} is being saved to already.",
                action="Wait until that has ended, or cancel it.",
                url=self.address,
            )
        under_way[self.address] = self
        name = self.address.rpartition("/")[2]
        self._bar = cancelable_progress(desc=f"Saving {name}", total=0)
        window = main_window()
        if window is not None:
            window.destroyed.connect(self._leave)
        self._timer.start(TICK)
        Task(partial(self._work, self._note, self._cancel)).start(self._end)

    def cancel(self) -> None:
        """Ask it to stop after the blocks in work; it ends a little later."""
        self._cancel.set()

    def _note(self, progress: Progress) -> None:
        """Remember how far it is; called in the thread."""
        self.progress = progress

    def _tick(self) -> None:
        if self._bar.is_canceled:
            self.cancel()
        if self.progress is None:
            return
        if self._bar.total != self.progress.total:
            self._bar.total = self.progress.total
        self._bar.update(self.progress.done - self._bar.n)
        self.progressed.emit(self.progress)

    def _end(self, outcome: Future[Any]) -> None:
        self._timer.stop()
        self._bar.close()
        under_way.pop(self.address, None)
        self.ended.emit(outcome)
        # A save that broke off has left something there, too.
        app_events().written.emit(self.address)

    def _leave(self) -> None:
        """Stop, because the window went; what is done is kept for resuming."""
        self.cancel()
        self._timer.stop()


# Saving what napari's own commands hand over, without freezing its window.

_ANSWERS: Mapping[type[BaseException], Mapping[str, Mapping[str, Any]]] = {
    TargetExistsError: {
        "Replace it": {"existing": "replace"},
        "Save beside it": {"existing": "beside"},
    },
    UnfinishedWriteError: {
        "Resume": {"unfinished": "resume"},
        "Remove and save": {"unfinished": "remove"},
    },
}
"""What can be answered to what is in the way, with the text of its button."""

_log = logging.getLogger(__name__)


def save_for_viewer(layers: Sequence[Any], place: Location, **conduct: Any) -> bool:
    """Save layer data; in the background if the window lives on meanwhile.

    A script that saves before ``napari.run()``, or at the prompt of IPython, has no
    event loop that goes on: it would end before anything was saved, so it waits.

    Parameters
    ----------
    layers : sequence of (data, options, type)
        As napari hands them to a writer.
    place : Location
        Where.
    **conduct
        Fields of `writing.Conduct`: the person's answer to what is there.

    Returns
    -------
    bool
        False if the person cancelled before it began.

    Raises
    ------
    OMEZarrError
        It cannot be saved like this. In the background, later failures are told by
        a notification.
    """
    viewer = napari.current_viewer()
    others = list(viewer.layers) if viewer is not None else []
    in_use = places_of(others)
    if not event_loop_runs():
        from napari_omezarr.writing import write_layers

        write_layers(layers, place, in_use=in_use, **conduct)
        return True
    if not wait_for_import("napari_omezarr.writing"):
        return False
    from napari_omezarr.writing import accepted, plan_write

    accepted(plan_write(layers, place))
    saving = Saving(place.display, partial(_save, layers, place, in_use, conduct))
    saving.start()
    shown = layers_with((data for data, _, _ in layers), others)
    held = PaintingHeld(shown)
    # Not the bound method: PyQt would not keep what it is bound to.
    saving.ended.connect(partial(PaintingHeld.release, held))
    again = partial(_again, [ref(layer) for layer in shown], place)
    saving.ended.connect(partial(tell_end, place.display, again))
    return True


def tell_end(
    address: str, again: Callable[..., object], outcome: Future[Saved]
) -> None:
    """Say in a notification how a save has ended.

    Parameters
    ----------
    address : str
        What was saved to.
    again : callable
        Saves once more, given fields of `writing.Conduct`; offered by buttons where
        something is in the way.
    outcome : Future
        How it ended.
    """
    error = outcome.exception()
    if error is None:
        saved = outcome.result()
        show_info(" ".join((f"Saved to {saved.address}.", *saved.notes)))
    elif isinstance(error, WriteCancelledError):
        show_info(f"Saving to {address} was cancelled. {error.action}")
    else:
        answers = _ANSWERS.get(type(error), {})
        actions = tuple(
            (text, partial(again, **conduct)) for text, conduct in answers.items()
        )
        told = Notification(explained(error), NotificationSeverity.ERROR, actions)
        notification_manager.dispatch(told)


def explained(error: BaseException) -> str:
    """Give the sentence and action of a failed save, without anything secret."""
    if isinstance(error, OMEZarrError):
        return str(error)
    # Not its text: a library of another reader may put a signed address there.
    _log.error("Saving failed: %s", type(error).__name__)
    return f"The layers could not be saved ({type(error).__name__})."


def _save(
    layers: Sequence[Any],
    place: Location,
    in_use: Iterable[str],
    conduct: Mapping[str, Any],
    tell: Any,
    cancel: Event,
) -> Saved:
    from napari_omezarr.writing import write_layers

    return write_layers(
        layers, place, in_use=in_use, progress=tell, cancel=cancel, **conduct
    )


def _again(
    layers: Sequence[ref[Layer]], place: Location, *_: object, **conduct: Any
) -> None:
    """Save once more, as somebody has answered; not layers that are gone since."""
    found = [layer for each in layers if (layer := each()) is not None]
    try:
        save_for_viewer([layer_data(layer) for layer in found], place, **conduct)
    except OMEZarrError as error:
        show_error(str(error))
