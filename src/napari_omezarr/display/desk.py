"""Where the display meets Qt: layers are refreshed and watched in the GUI thread."""

from __future__ import annotations

import time
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import napari
from napari.settings import get_plugin_settings
from qtpy.QtCore import QObject, QTimer, Signal

from .roster import Roster
from .settings import Settings
from .telling import Telling
from .throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer
    from napari.utils.events import Event

    from .engine import Engine
    from .shown import Shown
    from .view import View

    Hook = Callable[[Layer, Callable[[Any], Any]], Callable[[Layer], None]]

PLUGIN = "napari-omezarr"


class Desk(QObject):
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
        self.roster = Roster(engine)
        self.telling = Telling()
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

    def adopt(self, layer: Layer, view: View, *, label: bool) -> None:
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


def _steer_soon(shown: Shown) -> None:
    QTimer.singleShot(0, shown.steer)
