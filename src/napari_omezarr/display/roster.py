"""The layers that the display shows; held weakly, so that it keeps none alive."""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from .shown import Shown
from .status import sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .engine import Engine
    from .view import View


class Roster:
    """Which layer shows what, what is new for it, and what is left of it at its end.

    Parameters
    ----------
    engine : Engine
        What all layers share.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shown: weakref.WeakKeyDictionary[Any, Shown] = weakref.WeakKeyDictionary()
        self._gone: deque[View] = deque()

    def add(self, layer: Any, view: View, *, label: bool) -> Shown:
        """Note a layer, whose data are what the view looks at."""
        shown = Shown(layer, arrays_of(layer), view, label=label)
        self._shown[layer] = shown
        self._engine.use(view.tokens)
        # Garbage is collected in any thread, even in one that holds a lock of ours:
        # the rest is done by ``bury``.
        weakref.finalize(layer, self._gone.append, view).atexit = False
        return shown

    def get(self, layer: Any) -> Shown | None:
        """Give what a layer shows, None for a layer that was not added."""
        return self._shown.get(layer)

    def pop(self, layer: Any) -> Shown | None:
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

    def original(self, layer: Any) -> Shown | None:
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
