"""Where the display meets Qt: layers are refreshed and watched in the GUI thread."""

from __future__ import annotations

import dataclasses
import time
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.settings import get_plugin_settings, get_settings
from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
    show_info,
)
from qtpy.QtCore import QObject, QTimer, Signal

from napari_omezarr.errors import OMEZarrError

from .compose import image_mark, label_mark
from .settings import Settings, sentence
from .wanted import SliceView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from napari.layers import Layer
    from napari.utils.events import Event

    from .chunk_queue import Notice
    from .engine import Engine
    from .layer_view import LayerView

    Hook = Callable[[Layer, Callable[[Any], Any]], Callable[[Layer], None]]

# One layer's display: from napari's slice requests to looks at a view, and back.

REQUEST_FIELDS = frozenset(
    {
        "slice_input",
        "data_slice",
        "data_at_data_level",
        "data_at_thumbnail_level",
        "data_level",
        "thumbnail_level",
        "corner_pixels",
        "multiscale",
    }
)
"""What is read from, or replaced in, the slice requests of napari's layers."""


class LayerDisplay:
    """The display of one layer; holds the layer weakly, and knows no Qt.

    Parameters
    ----------
    layer : napari.layers.Layer
        The layer; only what is public of it is used here.
    arrays : list of array
        The layer's data; requests for any others are not answered.
    view : View
        What it looks at.
    label : bool
        It shows labels.

    Attributes
    ----------
    dirty : bool
        Another look would show more than the last one.
    risen : bool
        A finer volume may be complete, which ``steer`` would show.
    look_again : callable
        Called after a look in 3-D, or the first one after, with this object; it is
        to call ``steer`` soon, though not at once.
    """

    look_again: Callable[[LayerDisplay], None]

    def __init__(
        self, layer: Any, arrays: list[Any], view: LayerView, *, label: bool
    ) -> None:
        self._layer = weakref.ref(layer)
        self._arrays = arrays
        self.view = view
        self.label = label
        self._lock: int | None = None
        self._flat = True
        self.dirty = False
        self.risen = False

    @property
    def layer(self) -> Any:
        """The layer, None when it is gone."""
        return self._layer()

    def answered(self, request: Any) -> Any:
        """Give napari's slice request with levels in it that answer at once."""
        layer = self.layer
        level = request.data_level
        if layer is None or request.data_at_data_level is not self._arrays[level]:
            return request
        self.dirty = False
        request = self._affordable(layer, request)
        look = self._look(layer, request)
        picture, thumbnail = self.view.look(look)
        self._flat = len(look.displayed) == 2
        if look.climbs or self._lock is not None:
            self.look_again(self)
        return dataclasses.replace(
            request, data_at_data_level=picture, data_at_thumbnail_level=thumbnail
        )

    def steer(self) -> None:
        """Show a volume as fine as it is there, or free the level, back in 2-D."""
        if self.layer is None:
            return
        self.view.climb.begin()
        level = self.view.climb.ready()
        if level is not None:
            self._lock_at(level)
        elif self._flat:
            self._lock_at(None)

    def free(self) -> None:
        """Want nothing any more, and leave the choice of the level to napari."""
        self.view.release()
        if self.layer is not None:
            self._lock_at(None)

    def _lock_at(self, level: int | None) -> None:
        before, self._lock = self._lock, level
        # Another level than ours was chosen by the person, who keeps it.
        if before != level and self._locked() == before:
            self.layer.locked_data_level = level

    def _locked(self) -> int | None:
        locked: int | None = self.layer.locked_data_level
        return locked

    def _affordable(self, layer: Any, request: Any) -> Any:
        """Replace a level that somebody locked in 2-D if its plane is too large."""
        displayed = tuple(request.slice_input.displayed)
        if len(displayed) == 3 or layer.locked_data_level is None:
            return request
        level = self.view.affordable(request.data_level, displayed)
        if level == request.data_level:
            return request
        corners = np.zeros_like(request.corner_pixels)
        for axis in displayed:
            corners[1, axis] = self.view.grids[level].shape[axis] - 1
        return dataclasses.replace(request, data_level=level, corner_pixels=corners)

    def _look(self, layer: Any, request: Any) -> SliceView:
        displayed = tuple(request.slice_input.displayed)
        point = tuple(None if isnan(p) else float(p) for p in request.data_slice.point)
        grid = self.view.grids[request.data_level]
        centre = [size / 2 for size in grid.shape]
        if len(displayed) == 2:
            for axis in displayed:
                centre[axis] = float(request.corner_pixels[:, axis].mean()) + 0.5
        volume = request.multiscale and len(displayed) == 3
        if self.label:
            mark = label_mark(layer.colormap, grid.dtype)
        else:
            mark = image_mark(grid.dtype, None if layer.rgb else layer.contrast_limits)
        return SliceView(
            level=request.data_level,
            thumbnail=request.thumbnail_level,
            displayed=displayed,
            point=point,
            centre=tuple(centre),
            mark=mark,
            climbs=volume and layer.locked_data_level in (None, self._lock),
        )


# The layers that the display shows; held weakly, so that it keeps none alive.


class LayerRegistry:
    """Which layer shows what, what is new for it, and what is left of it at its end.

    Parameters
    ----------
    engine : Engine
        What all layers share.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shown: weakref.WeakKeyDictionary[Any, LayerDisplay] = (
            weakref.WeakKeyDictionary()
        )
        self._gone: deque[LayerView] = deque()

    def add(self, layer: Any, view: LayerView, *, label: bool) -> LayerDisplay:
        """Note a layer, whose data are what the view looks at."""
        shown = LayerDisplay(layer, arrays_of(layer), view, label=label)
        self._shown[layer] = shown
        self._engine.use(view.tokens)
        # Garbage is collected in any thread, even in one that holds a lock of ours:
        # the rest is done by ``bury``.
        weakref.finalize(layer, self._gone.append, view).atexit = False
        return shown

    def get(self, layer: Any) -> LayerDisplay | None:
        """Give what a layer shows, None for a layer that was not added."""
        return self._shown.get(layer)

    def pop(self, layer: Any) -> LayerDisplay | None:
        """Take a layer out, and give what it showed."""
        return self._shown.pop(layer, None)

    @property
    def layers(self) -> list[Any]:
        """All layers that were added and still exist."""
        return list(self._shown)

    def gather(self) -> None:
        """Note which layers have something new to show."""
        changed = self._engine.fetcher.take_changed()
        for shown in list(self._shown.values()):
            shown.dirty |= shown.view.concerns(changed)
            shown.risen |= shown.view.climb.has_news(changed)

    def due(self) -> list[Any]:
        """Give the visible layers that have something new to show."""
        pairs = list(self._shown.items())
        return [layer for layer, shown in pairs if shown.dirty and layer.visible]

    def raise_one(self) -> bool:
        """Let one layer show a finer volume, and say whether others still wait.

        A volume is uploaded whole, in the GUI thread: two at once block it for twice
        as long.
        """
        waiting = [shown for shown in self._shown.values() if shown.risen]
        for shown in waiting[:1]:
            shown.risen = False
            shown.steer()
        return len(waiting) > 1

    def is_settled(self, layer: Any) -> bool:
        """Say whether all of a layer has come, and all that came is shown."""
        shown = self._shown.get(layer)
        if shown is None:
            return True
        # In this order: what arrived is no longer pending, and may not be shown yet.
        if shown.view.status().pending:
            return False
        self.gather()
        return not shown.dirty and shown.view.climb.is_over

    def sentence(self, layers: Iterable[Any]) -> str:
        """Say what is loading for some layers, empty when all of it is there."""
        seen = [self._shown.get(layer) for layer in layers if layer.visible]
        return sentence(shown.view.status() for shown in seen if shown is not None)

    def notes(self) -> Iterator[str]:
        """Go through the sentences about what happened at the places of all layers."""
        for shown in list(self._shown.values()):
            yield from shown.view.notes

    def original(self, layer: Any) -> LayerDisplay | None:
        """Give what the layer shows that this one is a duplicate of, if it is one."""
        parent = layer.source.parent and layer.source.parent()
        shown = None if parent is None else self._shown.get(parent)
        if shown is None or layer in self._shown:
            return None
        names = [getattr(array, "name", None) for array in arrays_of(layer)]
        same = names == [getattr(array, "name", "") for array in arrays_of(parent)]
        return shown if same else None

    def bury(self) -> None:
        """Drop all that is kept for layers that are gone."""
        while self._gone:
            view = self._gone.popleft()
            view.release()
            self._engine.fetcher.forget(*view.owners)
            self._engine.disuse(view.tokens)


def arrays_of(layer: Any) -> list[Any]:
    """Give the arrays of a layer's levels, finest first."""
    return list(layer.data) if layer.multiscale else [layer.data]


# What the display says to the person: in the status line and in notifications.

_ASYNC_HINT = (
    "This napari does not let OME-Zarr layers load step by step. Preferences > "
    "Experimental > Render Images Asynchronously keeps its window responsive."
)


class Notifier:
    """Says each thing once; holds viewers weakly."""

    def __init__(self) -> None:
        self._lines: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._noted: set[str] = set()
        self._hinted = False

    def meets(self, viewer: Any) -> bool:
        """Write in the status line of a viewer from now on; False if it does."""
        known = viewer in self._lines
        self._lines.setdefault(viewer, "")
        return not known

    def load(self, sentence: Callable[[Any], str]) -> None:
        """Say in each viewer what is loading.

        Parameters
        ----------
        sentence : callable
            Gives it for a viewer's layers, empty when all is there.
        """
        for viewer, before in list(self._lines.items()):
            said = sentence(viewer.layers)
            # Whatever else stands there now is somebody else's, and stays.
            if said or (before and viewer.status == before):
                viewer.status = said or "Ready"
            self._lines[viewer] = said

    def know(self, notes: Iterable[str]) -> None:
        """Take notes for said: whoever opened the image has."""
        self._noted.update(notes)

    def note(self, notes: Iterable[str]) -> None:
        """Say what has become known of a place since, like that it is offline."""
        for text in notes:
            if text not in self._noted:
                self._noted.add(text)
                show_info(text)

    def fail(self, notice: Notice, retry: Callable[[], None]) -> None:
        """Say why a place fails, with a button that tries again."""
        said = str(notice.error)
        if not isinstance(notice.error, OMEZarrError):
            said = f"A chunk from {notice.place} cannot be decoded: {said}"
        # napari hands the notification's widget to what a button calls.
        actions = (("Retry", lambda *_: retry()),)
        severity = NotificationSeverity.ERROR
        notification_manager.dispatch(Notification(said, severity, actions))

    def hint_at_async(self) -> None:
        """Say what helps where the display cannot, unless it is set."""
        if not self._hinted and not get_settings().experimental.async_:
            self._hinted = True
            show_info(_ASYNC_HINT)


# When layers are refreshed: often enough to see progress, rarely enough to work.


@dataclass(slots=True)
class Throttle:
    """Spaces refreshes by what the last one cost; times in seconds of one clock.

    Attributes
    ----------
    rest : float
        How many times as long as it took the GUI thread is left to others.
    shortest : float
        The least time between two refreshes.
    """

    rest: float = 3.0
    shortest: float = 0.03
    ready_at: float = 0.0

    def wait(self, now: float) -> float:
        """Give the time until the next refresh may begin."""
        return max(0.0, self.ready_at - now)

    def spent(self, began: float, ended: float) -> None:
        """Note what a refresh took."""
        cost = ended - began
        self.ready_at = ended + max(self.shortest - cost, self.rest * cost)


# Where the display meets Qt: layers are refreshed and watched in the GUI thread.

PLUGIN = "napari-omezarr"


class DisplayManager(QObject):
    """Refreshes layers, in the GUI thread: one throttled tick for all of them.

    Parameters
    ----------
    engine : Engine
        What all layers share.
    hook : callable
        Has the slice requests of a layer answered by a function; returns what undoes
        it, a function of the layer.
    on_inserted : callable
        Called with each layer that comes into a viewer.
    """

    _woken = Signal()

    def __init__(
        self, engine: Engine, hook: Hook, on_inserted: Callable[[Layer], None]
    ) -> None:
        super().__init__()
        self.engine = engine
        self._hook = hook
        self._insert = on_inserted
        self.roster = LayerRegistry(engine)
        self.telling = Notifier()
        self._undo: weakref.WeakKeyDictionary[Layer, Callable[[Layer], None]] = (
            weakref.WeakKeyDictionary()
        )
        self._throttle = Throttle()
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

    def adopt(self, layer: Layer, view: LayerView, *, label: bool) -> None:
        """Let a layer show what a view looks at, from now on."""
        shown = self.roster.add(layer, view, label=label)
        shown.look_again = _steer_soon
        self._undo[layer] = self._hook(layer, shown.answered)
        layer.events.visible.connect(self._on_visible)
        layer.events.data.connect(self._on_data)
        self.telling.know(view.notes)

    def drop(self, layer: Layer) -> None:
        """Make a layer an ordinary one again; nothing if it is one."""
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

    def _wake(self) -> None:
        self._called = False
        self.roster.gather()
        for notice in self.engine.fetcher.take_notices():
            self.telling.fail(notice, self.engine.fetcher.retry)
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
        self.meet_viewer()
        self.telling.load(self.roster.sentence)
        self.telling.note(self.roster.notes())

    def meet_viewer(self) -> None:
        """Watch which layers come and go in the viewer that is used now."""
        viewer = napari.current_viewer()
        if viewer is not None and self.telling.meets(viewer):
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
        self._insert(event.value)


def _options() -> Any:
    """Give the person's settings of the display, None where the manifest is not."""
    try:
        return getattr(get_plugin_settings(PLUGIN), "display", None)
    except KeyError:
        return None


def _steer_soon(shown: LayerDisplay) -> None:
    QTimer.singleShot(0, shown.steer)
