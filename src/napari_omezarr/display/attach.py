"""Hooks the progressive display into napari layers: the one private touch on napari.

napari asks a layer's slicing state for a slice request, which carries the arrays to
slice; they are replaced by levels that answer at once. Where a napari has no such
place, ``attach`` says so and the layer stays an ordinary dask layer.
"""

from __future__ import annotations

import time
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import napari
from napari.settings import get_plugin_settings, get_settings
from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
    show_info,
)
from qtpy.QtCore import QEventLoop, QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication

from napari_omezarr.errors import OMEZarrError

from .engine import Engine, engine
from .roster import Roster, arrays_of
from .settings import Settings
from .shown import REQUEST_FIELDS
from .status import Status
from .throttle import Throttle
from .view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer
    from napari.utils.events import Event

    from napari_omezarr.pyramid import Pixels

    from .request import Notice
    from .shown import Shown

PLUGIN = "napari-omezarr"
_PLACE = "_make_slice_request_internal"
_ASYNC_HINT = (
    "This napari does not let OME-Zarr layers load step by step. Preferences > "
    "Experimental > Render Images Asynchronously keeps its window responsive."
)


def attach(layer: Layer, levels: Sequence[Pixels], *, label: bool = False) -> bool:
    """Let a layer show its levels progressively, without ever blocking.

    Call it in the GUI thread, best on a layer that was constructed with
    ``visible=False``: a visible one has read its first slice in its constructor.
    ``layer.data`` stays what it is, for everybody else; when it is replaced, the
    layer becomes an ordinary one again.

    Parameters
    ----------
    layer : napari.layers.Layer
        An Image or Labels layer whose data are the dask arrays of `levels`.
    levels : sequence of Pixels
        Finest first.
    label : bool, optional
        The layer shows labels.

    Returns
    -------
    bool
        False when the display is switched off, no Qt application runs, or this
        napari lacks the place to hook into.

    Raises
    ------
    ValueError
        The levels do not have the shapes of the layer's data.
    """
    shapes = [tuple(array.shape) for array in arrays_of(layer)]
    if shapes != [tuple(pixels.shape) for pixels in levels]:
        msg = f"levels of {[p.shape for p in levels]} for a layer of {shapes}"
        raise ValueError(msg)
    if QApplication.instance() is None:
        return False
    desk = _desk()
    desk.drop(layer)
    if not desk.engine.settings.enabled:
        return False
    if not _has_place(layer):
        desk.hint_at_async()
        return False
    desk.adopt(layer, View(levels, desk.engine), label=label)
    return True


def detach(layer: Layer) -> None:
    """Make a layer an ordinary dask layer again; nothing if it is one."""
    _desk().drop(layer)


def status(layer: Layer) -> Status:
    """Say how far a layer is; nothing is pending for one that is not attached."""
    shown = _desk().roster.get(layer)
    return Status() if shown is None else shown.view.status()


def wait_until_sharp(layer: Layer, timeout: float = 30.0) -> bool:
    """Wait until a layer shows its exact pixels: for screenshots, scripts, tests.

    Processes Qt events while it waits, so call it in the GUI thread.

    Parameters
    ----------
    layer : napari.layers.Layer
        Any layer; one that is hidden has nothing to wait for.
    timeout : float, optional
        Seconds.

    Returns
    -------
    bool
        False when the time was up before.

    Raises
    ------
    StoreError
        A chunk that is looked at could not be had.
    """
    loop, poll = QEventLoop(), QTimer()
    poll.timeout.connect(loop.quit)
    poll.start(5)
    deadline = time.monotonic() + timeout
    while True:
        loop.exec()
        roster = _desk().roster
        shown = roster.get(layer)
        if not layer.visible:
            return True
        if shown is not None and shown.view.errors:
            raise shown.view.errors[0]
        if layer.loaded and roster.is_settled(layer):
            return True
        if time.monotonic() > deadline:
            return False


def _options() -> Any:
    """Give the person's settings of the display, None where the manifest is not."""
    try:
        return getattr(get_plugin_settings(PLUGIN), "display", None)
    except KeyError:
        return None


def _has_place(layer: Layer) -> bool:
    """Say whether this napari has the place that ``_hook`` touches."""
    state = getattr(layer, "_slicing_state", None)
    request = getattr(state, "_slice_request_class", None)
    fields = getattr(request, "__dataclass_fields__", {})
    return callable(getattr(state, _PLACE, None)) and fields.keys() >= REQUEST_FIELDS


def _hook(layer: Layer, answered: Callable[[Any], Any]) -> Callable[[Layer], None]:
    """Have a layer's slice requests answered; returns what undoes it.

    All that is private of napari is touched here and in ``_has_place``.
    """
    state: Any = layer._slicing_state
    original = getattr(state, _PLACE)
    setattr(state, _PLACE, lambda **facts: answered(original(**facts)))
    # It would read the coarsest level of a 2-D pyramid in the GUI thread, and keep
    # for ever what it got.
    materializer = getattr(layer, "_level_materializer", None)
    if materializer is not None:
        layer._level_materializer = None

    def undo(layer: Layer) -> None:
        delattr(layer._slicing_state, _PLACE)
        # New data have made a new one.
        if materializer is not None and layer._level_materializer is None:
            layer._level_materializer = materializer

    return undo


class _Desk(QObject):
    """Refreshes layers, in the GUI thread: one throttled tick for all of them."""

    _woken = Signal()

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.roster = Roster(engine)
        self._undo: weakref.WeakKeyDictionary[Layer, Callable[[Layer], None]] = (
            weakref.WeakKeyDictionary()
        )
        self._said: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._throttle = Throttle()
        self._hinted = False
        self._called = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._refresh)
        self._woken.connect(self._wake)
        engine.fetcher.listen(self._call)
        if engine.follows:
            self._follow()
            options = _options()
            if options is not None:
                options.events.connect(self._follow)

    def _call(self) -> None:
        """Have ``_wake`` run in the GUI thread; for any thread."""
        if self._called:
            return
        self._called = True
        # Chunks may still arrive when Qt is gone, at the end of the program.
        with suppress(RuntimeError):
            self._woken.emit()

    def adopt(self, layer: Layer, view: View, *, label: bool) -> None:
        shown = self.roster.add(layer, view, label=label)
        shown.look_again = _steer_soon
        self._undo[layer] = _hook(layer, shown.answered)
        layer.events.visible.connect(self._on_visible)
        layer.events.data.connect(self._on_data)
        self._meet_viewer()

    def drop(self, layer: Layer) -> None:
        shown = self.roster.pop(layer)
        if shown is None:
            return
        self._undo.pop(layer)(layer)
        layer.events.visible.disconnect(self._on_visible)
        layer.events.data.disconnect(self._on_data)
        shown.free()

    def _follow(self, _event: Event | None = None) -> None:
        """Go by what the person has set, from now on."""
        self.engine.settings = Settings.of(_options())
        if not self.engine.settings.enabled:
            for layer in self.roster.layers:
                self.drop(layer)

    def hint_at_async(self) -> None:
        if not self._hinted and not get_settings().experimental.async_:
            self._hinted = True
            show_info(_ASYNC_HINT)

    def _wake(self) -> None:
        self._called = False
        self.roster.gather()
        for notice in self.engine.fetcher.take_notices():
            _notify(notice, self.engine.fetcher.retry)
        self.roster.bury()
        if not self._timer.isActive():
            self._timer.start(int(1000 * self._throttle.wait(time.monotonic())))

    def _refresh(self) -> None:
        began = time.monotonic()
        for layer in self.roster.due():
            layer.refresh(extent=False, highlight=False)
        more = self.roster.raise_one()
        self._say_what_loads()
        self._throttle.spent(began, time.monotonic())
        # Comes after the paint events of what was refreshed, so that they count.
        QTimer.singleShot(0, partial(self._rest, began, more=more))

    def _rest(self, began: float, *, more: bool) -> None:
        self._throttle.spent(began, time.monotonic())
        if more:
            self._timer.start(int(1000 * self._throttle.shortest))

    def _say_what_loads(self) -> None:
        self._meet_viewer()
        for viewer, before in list(self._said.items()):
            said = self.roster.sentence(viewer.layers)
            # Whatever else stands there now is somebody else's, and stays.
            if said or (before and viewer.status == before):
                viewer.status = said or "Ready"
            self._said[viewer] = said

    def _meet_viewer(self) -> None:
        viewer = napari.current_viewer()
        if viewer is not None and viewer not in self._said:
            self._said[viewer] = ""
            viewer.layers.events.inserted.connect(self._on_inserted)
            viewer.layers.events.removed.connect(self._on_removed)

    def _on_visible(self, event: Event) -> None:
        if not event.source.visible:
            self._release(event.source)

    def _on_removed(self, event: Event) -> None:
        self._release(event.value)

    def _release(self, layer: Layer) -> None:
        """Drop what is not to be seen; the layer looks again when it is shown."""
        shown = self.roster.get(layer)
        if shown is not None:
            shown.view.release()
            self._wake()

    def _on_data(self, event: Event) -> None:
        self.drop(event.source)

    def _on_inserted(self, event: Event) -> None:
        """Let the duplicate of a layer show what that one shows."""
        original = self.roster.original(event.value)
        if original is not None:
            attach(event.value, original.view.levels, label=original.label)


_desks: list[_Desk] = []


def _desk() -> _Desk:
    """Give the desk of this process, made in the GUI thread on the first call."""
    if not _desks or _desks[0].engine is not engine():
        _desks[:] = [_Desk(engine())]
    return _desks[0]


def _steer_soon(shown: Shown) -> None:
    QTimer.singleShot(0, shown.steer)


def _notify(notice: Notice, retry: Callable[[], None]) -> None:
    said = str(notice.error)
    if not isinstance(notice.error, OMEZarrError):
        said = f"A chunk from {notice.place} cannot be decoded: {said}"
    # napari hands the notification's widget to what a button calls.
    actions = (("Retry", lambda *_: retry()),)
    severity = NotificationSeverity.ERROR
    notification_manager.dispatch(Notification(said, severity, actions))
