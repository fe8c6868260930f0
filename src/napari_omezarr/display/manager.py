"""Where the display meets Qt: layers are refreshed and watched in the GUI thread."""

from __future__ import annotations

import dataclasses
import time
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from math import inf, isnan
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.settings import get_plugin_settings, get_settings
from npe2 import PluginManager
from qtpy import PYSIDE6
from qtpy.QtCore import QObject, QTimer, Signal

from napari_omezarr.errors import OMEZarrError
from napari_omezarr.plain_text import plain
from napari_omezarr.store import is_quiet

from .compose import image_mark, label_mark
from .engine import Settings
from .layer_view import loading_lines, loading_text, trouble_text
from .notifications import canvas_sign, show_error, show_info
from .wanted import SliceView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from napari.layers import Layer
    from napari.utils.events import Event

    from .chunk_queue import FailureNotice
    from .engine import Engine
    from .layer_view import LayerView
    from .notifications import Action

    # Has a function replace a layer's slice requests; gives what undoes that.
    Hook = Callable[[Layer, Callable[[Any], Any]], Callable[[Layer], None]]

PLUGIN = "napari-omezarr"

NOT_LOADED = "not loaded"
"""What the status line says of a pixel that is not there."""

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

_ASYNC = "Preferences > Experimental > Render Layers Asynchronously"
_ASYNC_HINT = (
    "This napari does not let OME-Zarr layers load step by step. "
    f"{_ASYNC} keeps its window responsive under PyQt6."
)
# napari's slicing thread lets go of objects of Qt there (docs/decisions/033).
_ASYNC_FREEZES = (
    f"Under PySide6 napari may freeze with {_ASYNC}. "
    "Turn it off: OME-Zarr layers load without it."
)

_LOOK = 200
"""Milliseconds after which is said what a view waits for; most is there by then."""
_RETRY_HINT = " (Layers > Visualize > Try again)"
"""Where to find what a notification's button did, which fades."""

# One layer's display.


class LayerDisplay:
    """The display of one layer, from napari's slice requests to a view.

    It holds the layer weakly, and uses only what is public of it. `arrays` are the
    layer's data; requests for any others are not answered.
    """

    # Has napari's own levels in the layer's slice requests again.
    unhook: Callable[[Layer], None]

    def __init__(
        self, layer: Any, arrays: list[Any], view: LayerView, *, label: bool
    ) -> None:
        self._layer = weakref.ref(layer)
        self._arrays = arrays
        self.view = view
        self.label = label
        # The level that we locked the layer at.
        self._lock: int | None = None
        self._flat = True
        # A refresh would show more than the last one.
        self.dirty = False
        # A finer volume may be complete, which ``update_level`` would show.
        self.may_refine = False

    @property
    def layer(self) -> Any:
        """The layer, None when it is gone."""
        return self._layer()

    def replace_levels(self, request: Any) -> Any:
        """Give napari's slice request with levels in it that answer at once."""
        layer = self.layer
        level = request.data_level
        if layer is None or request.data_at_data_level is not self._arrays[level]:
            return request
        self.dirty = False
        request = self._affordable(layer, request)
        slice_view = self._slice_view(layer, request)
        picture, thumbnail = self.view.show(slice_view)
        self._flat = len(slice_view.displayed) == 2
        if slice_view.refines or self._lock is not None:
            # Not at once: the layer is being sliced.
            QTimer.singleShot(0, self.update_level)
        return dataclasses.replace(
            request, data_at_data_level=picture, data_at_thumbnail_level=thumbnail
        )

    def update_level(self) -> None:
        """Show a volume as fine as it is there, or free the level, back in 2-D."""
        if self.layer is None:
            return
        self.view.refiner.begin()
        level = self.view.refiner.ready_level()
        if level is not None:
            self._lock_at(level)
        elif self._flat:
            self._lock_at(None)

    def cover_values(self) -> None:
        """Have the layer give no value, and the status line none, that is not there."""
        self.layer.get_value = self._value
        self.layer.get_status = self._status
        self.layer.get_source_str = self._source_text

    def uncover_values(self, layer: Any) -> None:
        """Have the layer give all values again, be they right or not."""
        del layer.get_value, layer.get_status, layer.get_source_str

    def _value(self, position: Any, **options: Any) -> Any:
        layer = self.layer
        value = type(layer).get_value(layer, position, **options)
        lacking = value is not None and self._lacks(position, **options)
        return None if lacking else value

    def _status(self, position: Any = None, **options: Any) -> dict[str, str]:
        layer = self.layer
        said: dict[str, str] = type(layer).get_status(layer, position, **options)
        said = {name: plain(text) for name, text in said.items()}
        seen = position is not None and layer.visible
        if not seen:
            return said
        where = self.view.named(self._point(position, **options))
        if where:
            coords = f" {plain(where)} {said['coords'].strip()}"
            place = f"{coords}: {said['value']}" if said["value"] else coords
            said |= {"coords": coords, "coordinates": place}
        if not self._lacks(position, **options):
            return said
        place = f"{said['coords']}: {NOT_LOADED}"
        return {**said, "value": NOT_LOADED, "coordinates": place}

    def _source_text(self) -> str:
        layer = self.layer
        return plain(type(layer).get_source_str(layer))

    def _lacks(self, position: Any, **options: Any) -> bool:
        return self.view.lacks(self._point(position, **options))

    def _point(
        self, position: Any, *, world: bool = False, **_: Any
    ) -> tuple[float, ...]:
        point = self.layer.world_to_data(position) if world else position
        return tuple(point)[-self.layer.ndim :]

    def release(self) -> None:
        """Want nothing any more, and leave the choice of the level to napari."""
        self.view.release()
        if self.layer is not None:
            self._lock_at(None)

    def _lock_at(self, level: int | None) -> None:
        before, self._lock = self._lock, level
        # Another level than ours was chosen by the person, who keeps it.
        if before != level and self.layer.locked_data_level == before:
            self.layer.locked_data_level = level

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

    def _slice_view(self, layer: Any, request: Any) -> SliceView:
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
            refines=volume and layer.locked_data_level in (None, self._lock),
        )


# The layers that the display shows; held weakly, so that it keeps none alive.


class LayerRegistry:
    """Which layer shows what, what is new for it, and what is left of it at its end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._displays: weakref.WeakKeyDictionary[Any, LayerDisplay] = (
            weakref.WeakKeyDictionary()
        )
        self._gone: deque[LayerView] = deque()
        # The views whose pixels are counted as used.
        self._used: set[LayerView] = set()

    def add(self, layer: Any, view: LayerView, *, label: bool) -> LayerDisplay:
        """Note a layer, whose data are the levels of the view."""
        display = LayerDisplay(layer, arrays_of(layer), view, label=label)
        self._displays[layer] = display
        self._use(view)
        # Garbage is collected in any thread, even in one that holds a lock of ours:
        # the rest is done by ``purge``.
        weakref.finalize(layer, self._gone.append, view).atexit = False
        return display

    def get(self, layer: Any) -> LayerDisplay | None:
        """Give what a layer shows, None for a layer that was not added."""
        return self._displays.get(layer)

    def pop(self, layer: Any) -> LayerDisplay | None:
        """Take a layer out, and give what it showed."""
        return self._displays.pop(layer, None)

    @property
    def layers(self) -> list[Any]:
        """All layers that were added and still exist."""
        return list(self._displays)

    def showing(self, token: str) -> list[Any]:
        """Give the layers that show some pixels."""
        pairs = list(self._displays.items())
        return [layer for layer, display in pairs if token in display.view.tokens]

    def collect_changes(self) -> None:
        """Note which layers have something new to show."""
        changed = self._engine.fetcher.take_changed()
        for display in list(self._displays.values()):
            display.dirty |= display.view.has_news(changed)
            display.may_refine |= display.view.refiner.owner in changed

    def to_refresh(self) -> list[Any]:
        """Give the visible layers that have something new to show."""
        pairs = list(self._displays.items())
        return [layer for layer, display in pairs if display.dirty and layer.visible]

    def is_last(self) -> bool:
        """Say whether what is to be refreshed is whole then."""
        views = [self._displays[layer].view for layer in self.to_refresh()]
        return bool(views) and all(view.picture_is_whole for view in views)

    def refine_one(self) -> bool:
        """Let one layer show a finer volume, and say whether others still wait.

        A volume is uploaded whole, in the GUI thread: two at once block it for twice
        as long.
        """
        waiting = [display for display in self._displays.values() if display.may_refine]
        for display in waiting[:1]:
            display.may_refine = False
            display.update_level()
        return len(waiting) > 1

    def is_settled(self, layer: Any) -> bool:
        """Say whether all of a layer has come, and all that came is shown."""
        display = self._displays.get(layer)
        if display is None:
            return True
        # In this order: what arrived is no longer pending, and may not be shown yet.
        if not display.view.is_complete:
            return False
        self.collect_changes()
        return not display.dirty and display.view.refiner.is_done

    def status_text(self, layers: Iterable[Any]) -> str:
        """Say who does not answer and what is loading for some layers, often empty."""
        seen = [self._displays.get(layer) for layer in layers if layer.visible]
        found = [display.view.status() for display in seen if display is not None]
        trouble = trouble_text(found, datetime.now(), time.monotonic())
        trouble += trouble and _RETRY_HINT
        return plain("; ".join(filter(None, (trouble, loading_text(found)))))

    def loading_text(self, layers: Iterable[Any]) -> str:
        """Say what is to come for some layers, a line for each place."""
        seen = [self._displays.get(layer) for layer in layers if layer.visible]
        found = [display.view.status() for display in seen if display is not None]
        return plain("\n".join(loading_lines(found)))

    def notes(self) -> Iterator[str]:
        """Go through the sentences about what happened at the stores of all layers."""
        for display in list(self._displays.values()):
            yield from display.view.notes

    def original(self, layer: Any) -> LayerDisplay | None:
        """Give what the layer shows that this one is a duplicate of, if it is one."""
        parent = layer.source.parent and layer.source.parent()
        display = None if parent is None else self._displays.get(parent)
        if display is None or layer in self._displays:
            return None
        names = [getattr(array, "name", None) for array in arrays_of(layer)]
        same = names == [getattr(array, "name", "") for array in arrays_of(parent)]
        return display if same else None

    def enter(self, layer: Any) -> None:
        """Keep the chunks of a layer that is in a viewer again."""
        display = self._displays.get(layer)
        if display is not None:
            self._use(display.view)

    def leave(self, layer: Any) -> None:
        """Drop the chunks of a layer that no viewer has, unless another shows them.

        The layer itself may live on: in an undo, or for ever, as under PySide6.
        """
        display = self._displays.get(layer)
        if display is not None:
            self._drop(display.view)

    def purge(self) -> None:
        """Drop all that is kept for layers that are gone."""
        while self._gone:
            view = self._gone.popleft()
            self._drop(view)
            self._engine.fetcher.forget(*view.owners)

    def _use(self, view: LayerView) -> None:
        if view not in self._used:
            self._used.add(view)
            self._engine.add_user(view.tokens)

    def _drop(self, view: LayerView) -> None:
        view.release()
        if view in self._used:
            self._used.remove(view)
            self._engine.remove_user(view.tokens)


def _address_of(layers: Iterable[Any]) -> str:
    """Give the address of what layers show, empty where they do not tell."""
    records = (layer.metadata.get("omezarr") for layer in layers)
    known = (r.get("address") for r in records if isinstance(r, dict))
    return next((str(address) for address in known if address), "")


def arrays_of(layer: Any) -> list[Any]:
    """Give the arrays of a layer's levels, finest first."""
    return list(layer.data) if layer.multiscale else [layer.data]


# What the display says to the person: in the status line and in notifications.


@dataclass(slots=True)
class StatusText:
    """What the status line of a viewer says: napari's own words, and ours behind."""

    # A text, or the parts of one, as napari gives them.
    theirs: Any = "Ready"
    ours: str = ""

    @property
    def shown(self) -> Any:
        """Both together."""
        if not self.ours:
            return self.theirs
        if isinstance(self.theirs, dict):
            place = self.theirs["coordinates"]
            return {**self.theirs, "coordinates": f"{place} · {self.ours}"}
        idle = self.theirs in ("", "Ready")
        return self.ours if idle else f"{self.theirs} · {self.ours}"


def _open_again(
    url: str, *, by_itself: bool = False, channels: Sequence[str] = ()
) -> bool:
    """Open an image anew; by itself only if nothing of the person's would be lost."""
    viewer = napari.current_viewer()
    if viewer is None:
        return False
    # By its name: what makes layers stands later than the display.
    arguments = (viewer, url, by_itself, channels)
    commands = PluginManager.instance().commands
    return bool(commands.execute(f"{PLUGIN}.open_again", args=arguments))


class Notifier:
    """Says each thing once; holds viewers weakly."""

    def __init__(self) -> None:
        self._lines: weakref.WeakKeyDictionary[Any, StatusText] = (
            weakref.WeakKeyDictionary()
        )
        self._noted: set[str] = set()

    def add_viewer(self, viewer: Any) -> bool:
        """Write in the status line of a viewer from now on; False if it does."""
        known = viewer in self._lines
        if not known:
            self._lines[viewer] = StatusText(viewer.status)
            # After napari itself, which shows what it is told last.
            viewer.events.status.connect(self._on_status, position="last")
        return not known

    def shows(self, layer: Any) -> bool:
        """Say whether one of the viewers has a layer."""
        return any(layer in viewer.layers for viewer in list(self._lines))

    def _on_status(self, event: Event) -> None:
        """Add ours to what napari says, be it as often as the mouse moves."""
        viewer = event.source
        line = self._lines.get(viewer)
        if line is not None and viewer.status != line.shown:
            line.theirs = viewer.status
            viewer.status = line.shown

    def show_status(self, text: Callable[[Any], str]) -> None:
        """Say in each viewer how its layers are: the text for them, often empty."""
        for viewer, line in list(self._lines.items()):
            if NOT_LOADED in str(line.theirs):
                # It may be there by now, and the mouse need not have moved.
                if viewer.mouse_over_canvas:
                    viewer.update_status_from_cursor()
                else:
                    line.theirs = "Ready"
            line.ours = text(viewer.layers)
            viewer.status = line.shown

    def show_loading(self, text: Callable[[Any], str]) -> None:
        """Say on the canvas what is still to come, by place; nothing when all is."""
        viewer = napari.current_viewer()
        sign = canvas_sign("omezarr loading") if viewer in self._lines else None
        if sign is not None:
            sign.say(text(viewer.layers))

    def mark_said(self, notes: Iterable[str]) -> None:
        """Take notes for said: whoever opened the image has said them."""
        self._noted.update(notes)

    def show_notes(self, notes: Iterable[str]) -> None:
        """Say what has become known of a store since, like that it is offline."""
        for text in notes:
            if text not in self._noted and not is_quiet(text):
                self._noted.add(text)
                show_info(text)

    def show_failure(
        self, notice: FailureNotice, retry: Callable[[], None], about: str = ""
    ) -> None:
        """Say why a host fails, with a button that tries again.

        Where an image is to be opened again, `about` is its address.
        """
        said = str(notice.error)
        if not isinstance(notice.error, OMEZarrError):
            said = f"A chunk from {notice.host} cannot be decoded: {said}"
        # napari hands the notification's widget to what a button calls.
        actions: list[Action] = [("Retry", lambda *_: retry())]
        url = about or getattr(notice.error, "url", "")
        if getattr(notice.error, "opening_helps", False) and url:
            actions.insert(0, ("Open again", lambda *_: _open_again(url)))
        show_error(said, *actions)

    def advise_on_async(self, *, hooked: bool) -> None:
        """Say when napari's asynchronous slicing helps, and when it may freeze it."""
        is_set = get_settings().experimental.async_
        if is_set and PYSIDE6:
            self.show_notes([_ASYNC_FREEZES])
        elif not (is_set or hooked):
            self.show_notes([_ASYNC_HINT])


# When layers are refreshed: often enough to see progress, rarely enough to work.


@dataclass(slots=True)
class Throttle:
    """Spaces refreshes by what the last one cost; times in seconds of one clock."""

    # How many times as long as it took the GUI thread is left to others.
    rest: float = 3.0
    # The least time between two refreshes.
    shortest: float = 0.03
    cost: float = 0.0
    ended: float = -inf

    def wait(self, now: float, *, last: bool = False) -> float:
        """Give the time until the next refresh may begin.

        The last one of a picture comes sooner: no others follow.
        """
        usual = max(self.shortest - self.cost, self.rest * self.cost)
        return max(0.0, self.ended + (self.cost if last else usual) - now)

    def spent(self, began: float, ended: float) -> None:
        """Note what a refresh took."""
        self.cost, self.ended = ended - began, ended


# Where the display meets Qt: layers are refreshed and watched in the GUI thread.


class DisplayManager(QObject):
    """Refreshes layers, in the GUI thread: one throttled tick for all of them.

    `on_inserted` is called with each layer that comes into a viewer. There is one for
    the process, which is never deleted: whoever brings chunks holds it too, and PySide
    deletes in the thread that lets go last, where Qt cannot stop a timer.
    """

    _woken = Signal()

    def __init__(
        self, engine: Engine, hook: Hook, on_inserted: Callable[[Layer], None]
    ) -> None:
        super().__init__()
        self._hook = hook
        self._handle_inserted = on_inserted
        # What the person was asked to open again herself.
        self._offered: weakref.WeakSet[Layer] = weakref.WeakSet()
        self._waking = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._refresh)
        self._woken.connect(self._wake)
        self._look = QTimer(self)
        self._look.setSingleShot(True)
        self._look.setInterval(_LOOK)
        self._look.timeout.connect(self._show_status)
        self.registry = LayerRegistry(engine)
        self.show_from(engine)

    def show_from(self, engine: Engine) -> None:
        """Show what an engine brings, in all layers that are attached from now on.

        Those that showed what another one brings are ordinary layers then.
        """
        for layer in self.registry.layers:
            self.detach(layer)
        # The other one would ask for what they lack for ever.
        self.registry.purge()
        self.engine = engine
        self.registry = LayerRegistry(engine)
        self.notifier = Notifier()
        self._throttle = Throttle()
        engine.fetcher.listen(self._wake_soon)
        self._apply_preferences()
        options = _options()
        if options is not None:
            options.events.connect(self._apply_preferences)

    def _wake_soon(self) -> None:
        """Have ``_wake`` run in the GUI thread; for any thread."""
        if self._waking:
            return
        self._waking = True
        # Chunks may still arrive when Qt is gone, at the end of the program.
        with suppress(RuntimeError):
            self._woken.emit()

    def attach(self, layer: Layer, view: LayerView, *, label: bool) -> None:
        """Let a layer show what a view gives, from now on."""
        display = self.registry.add(layer, view, label=label)
        display.unhook = self._hook(layer, partial(self._replace_levels, display))
        display.cover_values()
        layer.events.visible.connect(self._on_visible)
        layer.events.data.connect(self._on_data)
        self.notifier.mark_said(view.notes)

    def _replace_levels(self, display: LayerDisplay, request: Any) -> Any:
        """Have a layer show what is there; what is to come is said a moment later.

        Not only with the first chunk that comes: from a slow place that takes seconds.
        """
        if not self._look.isActive():
            self._look.start()
        return display.replace_levels(request)

    def detach(self, layer: Layer) -> None:
        """Make a layer an ordinary one again; nothing if it is one."""
        display = self.registry.pop(layer)
        if display is None:
            return
        display.unhook(layer)
        display.uncover_values(layer)
        layer.events.visible.disconnect(self._on_visible)
        layer.events.data.disconnect(self._on_data)
        display.release()

    def _apply_preferences(self, _event: Event | None = None) -> None:
        """Go by what the person has set, unless the engine was given its settings."""
        if not self.engine.follows_preferences:
            return
        self.engine.settings = Settings.of(_options())
        if not self.engine.settings.enabled:
            for layer in self.registry.layers:
                self.detach(layer)

    def tell_news(self) -> None:
        """Note what has arrived and tell the person which places have failed."""
        self.registry.collect_changes()
        for notice in self.engine.fetcher.take_notices():
            about = ""
            if getattr(notice.error, "opening_helps", False):
                layers = self.registry.showing(notice.token)
                if notice.token and not layers:  # what took their place is right
                    continue
                about = _address_of(layers)
                if self._is_offered(layers):
                    continue
                more = getattr(notice.error, "channels", ())
                # Without an address those that are selected would be meant.
                if about and _open_again(about, by_itself=True, channels=more):
                    continue
                self._offered.update(layers)
            self.notifier.show_failure(notice, self.engine.fetcher.retry, about)

    def _is_offered(self, layers: list[Layer]) -> bool:
        """Say whether the person was asked to open all these layers again."""
        return bool(layers) and all(layer in self._offered for layer in layers)

    def _wake(self) -> None:
        self._waking = False
        self.tell_news()
        self.registry.purge()
        last = self.registry.is_last()
        wait = int(1000 * self._throttle.wait(time.monotonic(), last=last))
        if not self._timer.isActive() or wait < self._timer.remainingTime():
            self._timer.start(wait)

    def _refresh(self) -> None:
        began = time.monotonic()
        for layer in self.registry.to_refresh():
            layer.refresh(extent=False, highlight=False)
        more = self.registry.refine_one()
        self._show_status()
        self._throttle.spent(began, time.monotonic())
        # Comes after the paint events of what was refreshed, so that they count.
        QTimer.singleShot(0, partial(self._rest, began, more=more))

    def _rest(self, began: float, *, more: bool) -> None:
        self._throttle.spent(began, time.monotonic())
        if more:
            self._timer.start(int(1000 * self._throttle.shortest))

    def _show_status(self) -> None:
        self.watch_viewer()
        self.notifier.show_status(self.registry.status_text)
        self.notifier.show_loading(self.registry.loading_text)
        self.notifier.show_notes(self.registry.notes())

    def watch_viewer(self) -> None:
        """Watch which layers come and go in the viewer that is used now."""
        viewer = napari.current_viewer()
        if viewer is not None and self.notifier.add_viewer(viewer):
            viewer.layers.events.inserted.connect(self._on_inserted)
            viewer.layers.events.removed.connect(self._on_removed)

    def _on_visible(self, event: Event) -> None:
        if not event.source.visible:
            self._release(event.source)

    def _on_removed(self, event: Event) -> None:
        if not self.notifier.shows(event.value):
            self.registry.leave(event.value)
            self._wake()

    def _release(self, layer: Layer) -> None:
        """Drop what is not to be seen; the layer asks again when it is shown."""
        display = self.registry.get(layer)
        if display is not None:
            display.view.release()
            self._wake()

    def _on_data(self, event: Event) -> None:
        self.detach(event.source)

    def _on_inserted(self, event: Event) -> None:
        self.registry.enter(event.value)
        self._handle_inserted(event.value)


def _options() -> Any:
    """Give the person's settings of the display, None where the manifest is not."""
    try:
        return getattr(get_plugin_settings(PLUGIN), "display", None)
    except KeyError:
        return None
