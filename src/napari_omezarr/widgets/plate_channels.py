"""Channels that wells of a plate turn out to have: their layers add themselves."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary, WeakSet

from napari_omezarr.claims import place_of
from napari_omezarr.display import shared_engine
from napari_omezarr.display.notifications import show_error, show_info
from napari_omezarr.pyramid import mosaic_of

from .open import make_layer
from .plate_navigator import plate_of
from .qt_async import Task, failure
from .show_again import open_again, reading_of, replace_layer
from .viewer_layers import (
    bare_layers,
    image_address,
    image_place,
    is_edited,
    is_moved,
    move_like,
    record_of,
    source_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from concurrent.futures import Future

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_omezarr.layers import LayerSpec

_sought: WeakKeyDictionary[Layer, set[str]] = WeakKeyDictionary()
"""The channels that were looked for already, for the layers of a plate."""
_under_way: WeakSet[Layer] = WeakSet()


def show_channels(viewer: ViewerModel, about: str, channels: Collection[str]) -> bool:
    """Add layers of channels that wells have, and the plate lacked; not at once.

    The layers that are there stay. False where it was tried, and did not help.
    """
    names = set(channels)
    shown = [
        layer for layer in _channel_layers(viewer) if image_address(layer) == about
    ]
    lacking = [layer for layer in shown if not names <= _placed(layer)]
    if shown and not lacking:  # it failed before they were added
        shared_engine().fetcher.retry()
        return True
    if any(layer in _under_way for layer in lacking):
        return True
    again = [la for la in lacking if not names <= _sought.get(la, set())]
    alike: dict[int, list[Layer]] = {}
    for layer in again:
        alike.setdefault(id(_fields(layer).documents.states), []).append(layer)
    for layers in alike.values():
        _under_way.update(layers)
        for layer in layers:
            _sought.setdefault(layer, set()).update(names)
        Task(reading_of(layers[0])).start(partial(_receive, viewer, layers))
    return bool(alike)


def _channel_layers(viewer: ViewerModel) -> list[Layer]:
    """Give the layers of channels of plates, whose pixels nobody has changed."""
    return [
        layer
        for layer in bare_layers(viewer.layers)
        if _channel(layer) is not None and plate_of(layer) and not is_edited(layer)
    ]


def _number(record: dict[str, Any]) -> int | None:
    number = record.get("channel")
    return number if isinstance(number, int) else None


def _channel(layer: Layer) -> Any:
    return _number(record_of(layer))


def _fields(layer: Layer) -> Any:
    mosaic = plate_of(layer)
    return None if mosaic is None else mosaic.fields


def _name(layer: Layer) -> str | None:
    """Give the name of a layer's channel, where the plate knows one."""
    return _named(_fields(layer), _channel(layer))


def _named(fields: Any, number: int) -> str | None:
    names: Sequence[str | None] = fields.expected.channels
    return next(iter(names[number:]), None)


def _placed(layer: Layer) -> set[str | None]:
    """Name the channels of a layer's plate that it or other layers show."""
    fields = _fields(layer)
    return {*fields.expected.channels, *fields.documents.elsewhere}


def _receive(
    viewer: ViewerModel,
    layers: Sequence[Layer],
    outcome: Future[tuple[LayerSpec, ...]],
) -> None:
    _under_way.difference_update(layers)
    still = [y for y in layers if y in viewer.layers and plate_of(y)]
    if not still:
        return
    error = failure(outcome)
    if error is not None:
        about = image_address(still[0])
        show_error(str(error), ("Open again", lambda *_: open_again(viewer, about)))
        return
    found = [spec for spec in outcome.result() if _number(spec.record) is not None]
    specs = {_number(spec.record): spec for spec in found}
    lacking = _lacking(still, found)
    kept = [layer for layer in still if _stays(layer, specs.get(_channel(layer)))]
    _share(kept, found)
    added, last = [], still[-1]
    for layer in still:
        spec = specs.get(_channel(layer))
        if layer in kept or spec is None:
            continue
        if _name(layer) is None:  # it looked as what nobody knew
            new = _add_behind(viewer, layer, spec)
            if layer in viewer.layers.selection:
                viewer.layers.selection.add(new)
            viewer.layers.remove(layer)
        else:
            new = replace_layer(viewer, layer, spec)
        last = new if layer is last else last
    for spec in lacking:
        last = _add_behind(viewer, last, spec)
        added.append(last.name)
    if added:
        name = place_of(image_address(last)).name
        some = ", ".join(added)
        show_info(f"Added {some}: not all wells of {name} have the same channels.")
    shared_engine().fetcher.retry()


def _lacking(layers: Sequence[Layer], found: Sequence[LayerSpec]) -> list[LayerSpec]:
    """Choose the channels that the plate of these layers had no place for."""
    placed = set[str | None]().union(*map(_placed, layers))
    held = max(len(_fields(layer).expected.channels) for layer in layers)
    shown = {_channel(layer) for layer in layers}
    lacking = []
    for spec in found:
        number, mosaic = _number(spec.record), mosaic_of(spec.levels[0])
        if number is None or mosaic is None or number in shown:
            continue
        name = _named(mosaic.fields, number)
        if number >= held if name is None else name not in placed:
            lacking.append(spec)
    return lacking


def _stays(layer: Layer, spec: LayerSpec | None) -> bool:
    """Say whether a layer shows what it would if it were made now."""
    mosaic = plate_of(layer)
    new = None if spec is None else mosaic_of(spec.levels[0])
    if mosaic is None or new is None or spec is None:
        return False
    own, then, name = _fields(layer), cast("Any", new.fields), _name(layer)
    data: Any = layer.data
    shapes = [level.shape for level in (data if layer.multiscale else [data])]
    return (
        name is not None
        and name == _named(then, _channel(layer))
        and own.choice == then.choice
        and mosaic.dtype == new.dtype
        and shapes == [level.shape for level in spec.levels]
    )


def _share(kept: Sequence[Layer], found: Sequence[LayerSpec]) -> None:
    """Have layers leave to others the channels for which they have no place."""
    new = mosaic_of(found[0].levels[0]) if found else None
    if new is None:
        return
    fields: Any = new.fields
    for layer in kept:
        documents = _fields(layer).documents
        documents.elsewhere.update(name for name in fields.expected.channels if name)
        fields.documents.join(documents)


def _add_behind(viewer: ViewerModel, layer: Layer, spec: LayerSpec) -> Layer:
    """Add a layer behind another one of its plate, and as much to be seen."""
    with source_of(place_of(image_place(layer))):
        new = make_layer(spec)
    new.visible = new.visible and layer.visible
    if is_moved(layer) and layer.ndim == new.ndim:
        move_like(new, layer)
    selected = set(viewer.layers.selection)
    viewer.layers.insert(viewer.layers.index(layer) + 1, new)
    viewer.layers.selection = selected
    return new
