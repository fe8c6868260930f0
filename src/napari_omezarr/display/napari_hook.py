"""Hooks the progressive display into napari layers: the one private touch on napari.

napari asks a layer's slicing state for a slice request, which carries the arrays to
slice; they are replaced by levels that answer at once. Where a napari has no such
place, ``attach`` says so and the layer stays an ordinary dask layer.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

from .engine import shared_engine
from .layer_view import LayerView, Status
from .manager import REQUEST_FIELDS, DisplayManager, arrays_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer

    from napari_omezarr.pyramid import Pixels

_METHOD = "_make_slice_request_internal"


def attach(layer: Layer, levels: Sequence[Pixels], *, label: bool = False) -> bool:
    """Let a layer show its levels progressively, without ever blocking.

    Call it in the GUI thread, best on an Image or Labels layer that was constructed
    with ``visible=False``: a visible one has read its first slice in its constructor.
    Its data are the dask arrays of the levels, finest first, and stay what they are,
    for everybody else; when ``layer.data`` is replaced, the layer becomes an ordinary
    one again.

    False when the display is switched off, no Qt application runs, or this napari lacks
    the place to hook into.

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
    manager = _manager()
    manager.watch_viewer()
    manager.detach(layer)
    if not manager.engine.settings.enabled:
        return False
    hooked = _can_hook(layer)
    manager.notifier.advise_on_async(hooked=hooked)
    if not hooked:
        return False
    manager.attach(layer, LayerView(levels, manager.engine), label=label)
    return True


def detach(layer: Layer) -> None:
    """Make a layer an ordinary dask layer again; nothing if it is one."""
    _manager().detach(layer)


def status(layer: Layer) -> Status:
    """Say how far a layer is; nothing is pending for one that is not attached."""
    display = _manager().registry.get(layer)
    return Status() if display is None else display.view.status()


def wait_until_sharp(layer: Layer, timeout: float = 30.0) -> bool:
    """Wait so many seconds until a layer shows its exact pixels; False if it did not.

    It is for screenshots, scripts and tests, and processes Qt events while it waits, so
    call it in the GUI thread. A layer that is hidden has nothing to wait for.

    Raises
    ------
    StoreError
        A chunk that is looked at could not be had; the person has been told.
    """
    loop, poll = QEventLoop(), QTimer()
    poll.timeout.connect(loop.quit)
    poll.start(5)
    deadline = time.monotonic() + timeout
    try:
        while True:
            loop.exec()
            if (settled := _settled(layer)) or time.monotonic() > deadline:
                return settled
    finally:
        # What is raised holds this frame for as long as somebody looks at it.
        poll.stop()


def _settled(layer: Layer) -> bool:
    """Say whether a layer is exact, or hidden; raise what it could not have."""
    if not layer.visible:
        return True
    # Before that the errors may be those of the slice that was shown before.
    if not layer.loaded:
        return False
    manager = _manager()
    display = manager.registry.get(layer)
    if display is not None and (errors := display.view.errors):
        manager.tell_news()
        raise _anew(errors[0])
    return manager.registry.is_settled(layer)


def _anew(error: BaseException) -> BaseException:
    """Give the same error apart from the one that other threads hold.

    They would hold all frames that it goes through, with what is of Qt in them, and
    PySide deletes in the thread that lets go last, where Qt cannot stop a timer.
    """
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    twin.__cause__ = error.__cause__
    return twin.with_traceback(error.__traceback__)


def _can_hook(layer: Layer) -> bool:
    """Say whether this napari has what ``_hook`` touches."""
    state = getattr(layer, "_slicing_state", None)
    request = getattr(state, "_slice_request_class", None)
    fields = getattr(request, "__dataclass_fields__", {})
    return callable(getattr(state, _METHOD, None)) and fields.keys() >= REQUEST_FIELDS


def _hook(layer: Layer, replace: Callable[[Any], Any]) -> Callable[[Layer], None]:
    """Have a layer's slice requests replaced; returns what undoes it.

    All that is private of napari is touched here, in ``_can_hook`` and in
    ``_name_source``.
    """
    state: Any = layer._slicing_state
    original = getattr(state, _METHOD)
    setattr(state, _METHOD, lambda **facts: replace(original(**facts)))
    # It would read the coarsest level of a 2-D pyramid in the GUI thread, and keep
    # for ever what it got.
    materializer = getattr(layer, "_level_materializer", None)
    if materializer is not None:
        layer._level_materializer = None

    def undo(layer: Layer) -> None:
        delattr(layer._slicing_state, _METHOD)
        # New data have made a new one.
        if materializer is not None and layer._level_materializer is None:
            layer._level_materializer = materializer

    return undo


def _name_source(layer: Layer) -> None:
    """Have a layer's source name the image as people read it, without secrets.

    napari notes there, and shows in the layer list and the status line, the very
    address that was given: signature included, and ``b%20c`` for a blank.
    """
    record = layer.metadata.get("omezarr")
    path = layer.source.path
    is_remote = path is not None and "://" in path
    if (
        isinstance(record, dict)
        and path
        and set(path) & set("?@%" if is_remote else "?@")
    ):
        clean = record.get("address")
        private: Any = layer
        private._source = layer.source.model_copy(update={"path": clean})


def _on_inserted(layer: Layer) -> None:
    """Let the duplicate of a layer show what that one shows."""
    _name_source(layer)
    original = _manager().registry.original(layer)
    if original is not None:
        attach(layer, original.view.levels, label=original.label)


@cache
def _only_manager() -> DisplayManager:
    return DisplayManager(shared_engine(), _hook, _on_inserted)


def _manager() -> DisplayManager:
    """Give the manager of this process, made in the GUI thread on the first call."""
    manager, engine = _only_manager(), shared_engine()
    if manager.engine is not engine:
        manager.show_from(engine)
    return manager
