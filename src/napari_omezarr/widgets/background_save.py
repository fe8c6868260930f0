"""Saving in a thread, for napari's own commands and for the save dock."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any
from weakref import ref

import napari
from napari.utils import cancelable_progress
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication

from napari_omezarr.claims import target_of
from napari_omezarr.connections import sign_in_helps
from napari_omezarr.display.notifications import main_window, show_error, show_info
from napari_omezarr.errors import (
    AccessDeniedError,
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    StoreError,
    TargetClaimedError,
    TargetExistsError,
    TargetInUseError,
    UnfinishedWriteError,
    WriteCancelledError,
)

from .open_dialog import sign_in
from .qt_async import (
    Latest,
    Task,
    app_events,
    event_loop_runs,
    is_gone,
    wait_for_import,
)
from .viewer_layers import PaintingLock, layer_data, layers_of, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from napari.layers import Layer

    from napari_omezarr.layers import LayerData
    from napari_omezarr.location import Location
    from napari_omezarr.writing import LabelsThere, Plan, Progress, Saved, StoredSize

    from .open import Opened

    Work = Callable[[Callable[[Progress], None], Event], Any]

TICK = 100
"""Milliseconds between looks at how far a save is."""

under_way: dict[str, Saving] = {}
"""The saves that have not ended, by what they save to."""

_ANSWERS: Mapping[type[BaseException], Mapping[str, Mapping[str, Any]]] = {
    TargetExistsError: {
        "Replace it": {"existing": "replace"},
        "Save beside it": {"existing": "beside"},
    },
    TargetClaimedError: {"Save beside it": {"existing": "beside"}},
    UnfinishedWriteError: {
        "Resume": {"unfinished": "resume"},
        "Remove and save": {"unfinished": "remove"},
    },
}
"""What can be answered to what is in the way, with the text of its button."""

_log = logging.getLogger(__name__)


class Saving(QObject):
    """One save, with its progress in napari's activity dock; for the GUI thread.

    `work` saves in a thread, where it must not touch a widget or a layer. It gets a
    function to tell its progress to, and an event that asks it to stop. Nobody can
    paint the layers meanwhile: it would tear them.
    """

    progressed = Signal(object)
    """A `Progress`, some times a second."""
    ended = Signal(object)
    """The outcome, a finished `Future`."""

    def __init__(self, address: str, work: Work, layers: Iterable[Layer]) -> None:
        super().__init__()
        self.address = address
        self._latest = Latest()
        self._work = work
        self._layers = layers
        self._cancel = Event()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancel.is_set()

    @property
    def progress(self) -> Progress | None:
        """How far it is."""
        told: Progress | None = self._latest.told
        return told

    def start(self) -> None:
        """Start, unless another save to the same place is under way."""
        if self.address in under_way:
            raise TargetInUseError(
                f"{self.address} is being saved to already.",
                action="Wait until that has ended, or cancel it.",
                url=self.address,
            )
        under_way[self.address] = self
        self._lock = PaintingLock(self._layers)
        name = self.address.rpartition("/")[2]
        self._bar = cancelable_progress(desc=f"Saving {name}", total=0)
        window, application = main_window(), QApplication.instance()
        self._window = ref(window) if window is not None else None
        if application is not None:
            application.aboutToQuit.connect(self._leave)
        self._timer.start(TICK)
        app_events().saving.emit(self)
        # No owner: it goes on without the dock that began it.
        Task(partial(self._work, self._latest.note, self._cancel)).start(self._end)

    def cancel(self) -> None:
        """End its requests; it ends a little later."""
        self._cancel.set()

    def _tick(self) -> None:
        if self._window is not None and is_gone(self._window):
            self._leave()
            return
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
        self._lock.release()
        self.ended.emit(outcome)
        # A save that broke off has left something there, too.
        app_events().written.emit(self.address)

    def _leave(self) -> None:
        """Stop, because the window is gone; what is done is kept for resuming."""
        self.cancel()
        self._timer.stop()


# What napari's own commands save.


def save_for_viewer(layers: Sequence[Any], place: Location, **mode: Any) -> bool:
    """Save layer data as napari hands it to a writer; False if the person cancelled.

    It is saved in the background if the window lives on meanwhile; then a
    notification tells what fails after the plan. A script that saves before
    ``napari.run()``, or at the prompt of IPython, has no event loop that goes on: it
    would end before anything was saved, so it waits.

    `mode` holds fields of `writing.SaveMode`: the person's answer to what is there.
    """
    viewer = napari.current_viewer()
    others = list(viewer.layers) if viewer is not None else []
    in_use = places_of(others)
    shown = layers_of(layers, others)
    if len(shown) == len(layers):  # napari's tuples do not say all of a layer
        layers = [layer_data(layer, viewer) for layer in shown]
    if not event_loop_runs():
        _save(layers, place, in_use, mode)
        return True
    if not wait_for_import("napari_omezarr.writing"):
        return False
    from napari_omezarr.writing import accepted, go_beside, plan_write

    if not go_beside(layers):
        accepted(plan_write(layers, place))
    work = partial(_save, layers, place, in_use, mode)
    saving = Saving(place.display, work, shown)
    saving.start()
    again = partial(_again, [ref(layer) for layer in shown])
    saving.ended.connect(partial(_tell_end, place, again))
    return True


def _tell_end(
    place: Location, again: Callable[..., object], outcome: Future[Saved | None]
) -> None:
    """Notify of a save's end, with buttons to save again if something is in the way."""
    error, address = outcome.exception(), place.display
    if error is None:
        saved = outcome.result()
        said = ("It is beside the image.",) if saved is None else saved.notes
        where = address if saved is None else saved.address
        show_info(" ".join((f"Saved to {where}.", *said)))
    elif isinstance(error, WriteCancelledError):
        show_info(f"Saving to {address} was cancelled. {error.action}")
    else:
        answers = _ANSWERS.get(type(error), {})
        actions: list[tuple[str, Callable[..., object]]] = [
            (text, partial(again, place, **mode)) for text, mode in answers.items()
        ]
        if isinstance(error, OMEZarrError) and sign_in_helps(error, place):
            # napari asks by what a name ends with, so it names no connection.
            go_on = partial(_signed_in, again)
            actions.append(("Sign in…", partial(_sign_in, place, go_on)))
        show_error(explained(error), *actions)


def _sign_in(place: Location, go_on: Callable[..., object], *_: object) -> None:
    sign_in([place], main_window(), go_on)


def _signed_in(again: Callable[..., object], places: Sequence[Location]) -> None:
    """Save once more, as who has signed in."""
    again(*places)


def explained(error: BaseException) -> str:
    """Return the sentence and action of a failed save, without anything secret."""
    if isinstance(error, OMEZarrError):
        return str(error)
    # Not its text: a library of another reader may put a signed address there.
    _log.error("Saving failed: %s", type(error).__name__)
    return f"The layers could not be saved ({type(error).__name__})."


def _save(
    layers: Sequence[Any],
    place: Location,
    in_use: Iterable[str],
    mode: Mapping[str, Any],
    tell: Callable[[Progress], None] | None = None,
    cancel: Event | None = None,
) -> Saved | None:
    """Save; points, shapes and tracks alone go beside an image, and give None."""
    from napari_omezarr.writing import add_tables, go_beside, write_layers

    if go_beside(layers):
        add_tables(layers, place, existing=mode.get("existing", "refuse"))
        return None
    return write_layers(
        layers, place, in_use=in_use, progress=tell, cancel=cancel, **mode
    )


def _again(
    layers: Sequence[ref[Layer]], place: Location, *_: object, **mode: Any
) -> None:
    """Save once more, as somebody has answered; not layers that are gone since."""
    found = [layer for each in layers if (layer := each()) is not None]
    try:
        save_for_viewer([layer_data(layer) for layer in found], place, **mode)
    except OMEZarrError as error:
        show_error(str(error))


# What the save dock does in threads: plan, look at the target, tidy it, save. zarr and
# the rest are imported inside the functions, so that the dock opens at once.

_NOWHERE = "image.ome.zarr"
"""Where a save is planned for while there is no address."""
_OF_LABELS = (
    "label_codec", "label_level", "label_method", "verify", "accept_losses",
    "accept_refused", "existing", "unfinished",
)  # fmt: skip
"""The options of ``write_layers`` that ``add_labels`` takes, too."""


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """What the save dock asks for, as values for a thread."""

    layers: tuple[LayerData, ...]
    """Those to be saved."""
    address: str
    """As it was typed; it may hold secrets."""
    options: Mapping[str, Any]
    """Keyword arguments of ``write_layers``."""
    in_use: frozenset[str]
    """The addresses that open layers read."""

    @property
    def names(self) -> list[str]:
        """The names of the layers."""
        return [str(options["name"]) for _, options, _ in self.layers]

    @property
    def labels(self) -> list[str]:
        """The names of those that are labels."""
        return [str(each["name"]) for _, each, kind in self.layers if kind == "labels"]

    def __repr__(self) -> str:
        return f"SaveRequest({len(self.layers)} layers)"


@dataclass(frozen=True, slots=True)
class SavePreview:
    """What a save would write, and what is in its way."""

    plan: Plan | None = None
    """What would be written; None where it cannot be."""
    place: Location | None = None
    """Where; None where there is no address yet."""
    named: str = ""
    """What it will be called, where that was typed without a suffix."""
    found: StoredSize | None = None
    """What is there already, and may be replaced."""
    unfinished: bool = False
    """A save to this place has broken off."""
    problem: str = ""
    """Why it cannot be saved there, in a sentence and an action."""
    is_used: bool = False
    """The problem is that an open layer reads what is there."""
    is_refused: bool = False
    """The problem is one that signing in could solve."""
    labels_only: bool = False
    """What is to be saved are labels, which could be added to what is there."""
    switching: bool = False
    """The save has broken off while the new image, which is whole, took its place."""
    labels: LabelsThere | None = None
    """What stands in the way of adding them; None where nothing does."""
    adding: str = ""
    """What adding them comes to."""
    misfit: str = ""
    """Why they cannot be added, in a sentence and an action."""
    beside: tuple[str, ...] = ()
    """Points, shapes and tracks, if there is nothing else to be saved: they go beside
    an image that is there."""
    taken: tuple[str, ...] = ()
    """Which of these are there already."""
    notes: tuple[str, ...] = ()
    """What could not be found out about the place."""


def preview_save(request: SaveRequest) -> SavePreview:
    """Plan a save and look at its target; reads no pixel."""
    from napari_omezarr.writing import go_beside, plan_write

    address = request.address
    try:
        place = target_of(address) if address else None
        if go_beside(request.layers):
            return _look_beside(place, request)
        plan = plan_write(request.layers, place or _NOWHERE, **request.options)
    except OMEZarrError as error:
        return SavePreview(problem=str(error))
    if place is None:
        return SavePreview(plan)
    try:
        return _look_at_target(plan, place, request)
    except (TargetExistsError, TargetClaimedError, StoreError) as error:
        return SavePreview(plan, place, **_problem(error, place))


def _look_beside(place: Location | None, request: SaveRequest) -> SavePreview:
    """Look at the image beside which points, shapes and tracks are to go."""
    from napari_omezarr.writing import StoredSize, annotations_there, open_hierarchy

    names = tuple(request.names)
    if place is None:
        return SavePreview(beside=names)
    try:
        taken = annotations_there(open_hierarchy(place), names)
    except NodeNotFoundError:
        problem = (
            f"There is no image at {place.display}, and points, shapes and tracks go "
            "beside one. Check an image, too, or give the address of one."
        )
        return SavePreview(place=place, beside=names, problem=problem)
    except AccessDeniedError as error:
        return SavePreview(place=place, beside=names, **_problem(error, place))
    found = StoredSize(0, 0)
    return SavePreview(place=place, beside=names, taken=taken, found=found)


def _problem(error: OMEZarrError, place: Location) -> dict[str, Any]:
    """Say why nothing can be saved at a place; what a button does is not said too."""
    is_refused = sign_in_helps(error, place)
    return {
        "problem": error.sentence if is_refused else str(error),
        "is_refused": is_refused,
    }


def _look_at_target(plan: Plan, place: Location, request: SaveRequest) -> SavePreview:
    from napari_omezarr.writing import (
        annotations_there,
        check_not_open,
        labels_there,
        open_hierarchy,
        open_target,
    )

    is_zip = request.address.lower().endswith((".ozx", ".zip"))
    labels_only = not is_zip and all(kind != "image" for *_, kind in request.layers)
    target = open_target(place, plan.options.version)
    target.claim.refuse_others()
    found = target.occupied()
    problem = ""
    try:
        check_not_open(target.address, [*plan.places, *request.in_use])
    except TargetInUseError as error:
        problem = str(error)
    if found is None and not problem and not target.unfinished():
        target.try_writing()
    there, adding, misfit = None, "", ""
    taken: tuple[str, ...] = ()
    if labels_only and found is not None:
        labels = labels_there(open_hierarchy(place), request.labels)
        others = [name for name in request.names if name not in request.labels]
        taken = annotations_there(open_hierarchy(place), others) if others else ()
        there = labels if labels.taken or labels.unfinished or taken else None
        try:
            adding = _plan_adding(place, request)
        except (MetadataError, NodeNotFoundError, OptionError) as error:
            misfit = str(error)
    return SavePreview(
        plan,
        place,
        "" if place.name in request.address else place.name,
        found,
        target.unfinished(),
        problem,
        is_used=bool(problem),
        labels_only=labels_only,
        switching=target.switching,
        labels=there,
        adding=adding,
        misfit=misfit,
        taken=taken,
        notes=target.notes,
    )


def _plan_adding(place: Location, request: SaveRequest) -> str:
    """Say what adding the labels to the image at a place comes to."""
    from napari_omezarr.writing import WriteOptions, open_hierarchy, plan_added

    known = ("label_codec", "label_level", "label_method")
    options = {key: request.options[key] for key in known if key in request.options}
    labels = [layer for layer in request.layers if layer[2] == "labels"]
    if not labels:
        return ""
    return plan_added(labels, open_hierarchy(place), WriteOptions(**options)).summary()


def remove_unfinished(place: Location, request: SaveRequest) -> SavePreview:
    """Remove what a save that broke off has left, or finish a replacement."""
    from napari_omezarr.writing import open_target

    target = open_target(place, request.options.get("version", "0.5"))
    with target.claim.held():
        target.discard()
    return preview_save(request)


def remove_labels(place: Location, request: SaveRequest) -> SavePreview:
    """Remove what adding labels has left where it broke off."""
    from napari_omezarr.writing import discard_labels, open_hierarchy

    discard_labels(open_hierarchy(place), request.labels)
    return preview_save(request)


def save_new(
    request: SaveRequest,
    place: Location,
    mode: Mapping[str, Any],
    tell: Callable[[Progress], None],
    cancel: Event,
) -> Location:
    """Save layers; return where they are, which is another place if that was asked.

    `mode` holds fields of `writing.SaveMode`.
    """
    from napari_omezarr.writing import write_layers

    saved = write_layers(
        request.layers,
        place,
        in_use=request.in_use,
        progress=tell,
        cancel=cancel,
        **{**request.options, **mode},
    )
    name = saved.address.replace("\\", "/").rpartition("/")[2]
    return place if name == place.name else place.parent / name


def save_into(
    request: SaveRequest,
    place: Location,
    mode: Mapping[str, Any],
    tell: Callable[[Progress], None],
    cancel: Event,
) -> Location:
    """Add labels to the image at a place, one after the other, and tables beside it."""
    from napari_omezarr.writing import add_labels, add_tables

    chosen = {**request.options, **mode}
    options = {key: chosen[key] for key in _OF_LABELS if key in chosen}
    for layer in request.layers:
        if layer[2] != "labels":
            continue
        add_labels(
            layer, place, in_use=request.in_use, progress=tell, cancel=cancel, **options
        )
    beside = [layer for layer in request.layers if layer[2] != "labels"]
    if beside:
        add_tables(beside, place, existing=mode.get("existing", "refuse"))
    return place


def open_saved(place: Location) -> Opened:
    """Read what is needed to show what was saved."""
    from .open import open_place

    return open_place(place)
