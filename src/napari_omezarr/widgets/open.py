"""Opening places in a viewer: layers, their contrast, and what is told of them."""

from __future__ import annotations

import inspect
import logging
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from html import escape
from importlib import import_module
from textwrap import shorten
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package
from napari import current_viewer
from napari.components.viewer_model import prune_kwargs
from napari.layers import Labels, Layer
from napari.utils.notifications import notification_manager
from napari.utils.transforms import Affine
from qtpy.QtCore import QTimer

from napari_omezarr.claims import place_of
from napari_omezarr.display import attach
from napari_omezarr.display.notifications import (
    canvas_sign,
    show_error,
    show_info,
    show_warning,
)
from napari_omezarr.errors import (
    ImageChoiceError,
    MetadataError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    UnsupportedDataError,
)
from napari_omezarr.layers import (
    estimate_contrast,
    fitting_contrast,
    layer_data,
    layers_beside,
    makeshift_limits,
    named_annotations,
    plain_columns,
    read_features,
    table_at,
    table_layers,
    unfit_window,
    with_checked_window,
)
from napari_omezarr.plain_text import plain
from napari_omezarr.pyramid import Cast, mosaic_of, to_dask
from napari_omezarr.reading import Reading, ReadOptions, read_current
from napari_omezarr.store import is_quiet
from napari_omezarr.tables import UNREAD
from napari_omezarr.user_files import Recents

from .docks import add_dock
from .preferences import follow_settings
from .qt_async import Task, put_window_first, wait_for
from .viewer_layers import (
    host_of,
    image_address,
    is_placed,
    keep_as_made,
    keep_as_moved,
    record_of,
    source_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_omezarr.layers import LayerData, LayerSpec
    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Pixels, Pyramid
    from napari_omezarr.tables import FeatureSource

# What a person asked of ``viewer.open``, which napari does not tell readers.

_CALLER = "_add_layers_with_plugins"
"""The method of napari's viewer that calls readers, and holds what was asked."""
_LOOKS = ("colormap", "features", "properties", "contrast_limits", "gamma", "rendering")
_TOLD = "It is told by the metadata of an OME-Zarr."


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """Options of layers, and the type that they shall have; None leaves it."""

    options: Mapping[str, Any] = field(default_factory=dict)
    layer_type: str | None = None

    def __bool__(self) -> bool:
        return bool(self.options) or self.layer_type is not None


def asked_of_viewer() -> OpenOptions:
    """Find what ``viewer.open`` was asked that calls this reader; nothing elsewhere.

    napari applies it to layer data, and readers like this one return layers. It is
    found in napari's frame, as there is no other way; a test tells when that moves.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == _CALLER:
            known = frame.f_locals
            return OpenOptions(known.get("kwargs") or {}, known.get("layer_type"))
        frame = frame.f_back
    return OpenOptions()


def with_options(spec: LayerSpec, asked: OpenOptions) -> LayerSpec:
    """Give a layer the type and the options that were asked for, as napari does.

    Raises
    ------
    OptionError
        An OME-Zarr cannot be shown so.
    """
    if not asked:
        return spec
    _refuse(spec, asked)
    if asked.layer_type is not None and asked.layer_type != spec.kind:
        spec = _as_labels(spec) if asked.layer_type == "labels" else _as_image(spec)
    wanted = dict(asked.options)
    if asked.layer_type is None:
        wanted = prune_kwargs(wanted, spec.kind)
        # What is said of images' looks is not about the labels that lie on them.
        if spec.kind == "labels" and not isinstance(wanted.get("colormap"), Mapping):
            wanted.pop("colormap", None)
    for key in ("rgb", "multiscale", "channel_axis", "cache"):
        wanted.pop(key, None)
    options = {**spec.options, **wanted}
    # What a layer needs to be saved back stays beside what she keeps there.
    options["metadata"] = {
        **spec.options.get("metadata", {}),
        **(wanted.get("metadata") or {}),
    }
    if "affine" in wanted:  # it is all of the place, beside what is asked with it
        for key in {"rotate", "shear"} - wanted.keys():
            options.pop(key, None)
    if wanted.get("contrast_limits") is None:
        return replace(spec, options=options)
    return replace(
        spec,
        options=options,
        contrast_range=None,
        needs_contrast=False,
        checks_window=False,
    )


def _refuse(spec: LayerSpec, asked: OpenOptions) -> None:
    """Raise for what would need other data, or is no type that there is."""
    url = str(spec.record.get("address", ""))
    if asked.layer_type not in (None, "image", "labels"):
        msg = f"An OME-Zarr holds images and labels and no {asked.layer_type}."
        raise OptionError(msg, action="Leave layer_type out.", url=url)
    is_float = spec.levels[0].dtype.kind == "f"
    if asked.layer_type == "labels" and (is_float or spec.options.get("rgb")):
        held = "pictures in RGB" if spec.options.get("rgb") else "values with fractions"
        msg = f"{spec.options.get('name')} holds {held}, which are no labels."
        raise OptionError(msg, action="Open it as an image.", url=url)
    if asked.options.get("channel_axis") is not None:
        action = f"Leave channel_axis out. {_TOLD}"
        msg = "Each channel is a layer of its own already."
        raise OptionError(msg, action=action, url=url)
    for key, now in (
        ("rgb", spec.options.get("rgb", False)),
        (
            "multiscale",
            spec.options.get("multiscale", False),
        ),
    ):
        if asked.options.get(key) not in (None, now):
            msg = f"{key}={asked.options[key]} does not go with this image."
            raise OptionError(msg, action=f"Leave {key} out. {_TOLD}", url=url)
    # napari takes these as they are, and fails when the layer is drawn.
    for key in ("opacity", "gamma", "contrast_limits"):
        value = asked.options.get(key, 1)
        if not (_is_finite(value) or (value is None and key == "contrast_limits")):
            msg = f"{key} is {str(value)[:40]}, no number that can be shown."
            raise OptionError(msg, action=f"Leave {key} out, or correct it.", url=url)


def _is_finite(value: Any) -> bool:
    try:
        return bool(np.isfinite(np.asarray(value, dtype=float)).all())
    except (TypeError, ValueError):
        return False


def _as_labels(spec: LayerSpec) -> LayerSpec:
    options = prune_kwargs(_without_looks(spec), "labels")
    levels = spec.levels
    if levels[0].dtype.kind == "b":
        levels = tuple(Cast(level, np.dtype(np.uint8)) for level in levels)
    return replace(
        spec,
        kind="labels",
        data=tuple(to_dask(level) for level in levels),
        levels=levels,
        options=options,
        contrast_range=None,
        needs_contrast=False,
        checks_window=False,
    )


def _as_image(spec: LayerSpec) -> LayerSpec:
    options = prune_kwargs(_without_looks(spec), "image")
    options["contrast_limits"] = makeshift_limits(spec.levels[0].dtype)
    return replace(spec, kind="image", options=options, needs_contrast=True)


def _without_looks(spec: LayerSpec) -> dict[str, Any]:
    return {key: value for key, value in spec.options.items() if key not in _LOOKS}


Limits = tuple[float, float]

_NOTHING = OpenOptions()

MOST = 5
"""Sentences in one notification; the layers' metadata hold all warnings."""

_watched: weakref.WeakSet[ViewerModel] = weakref.WeakSet()
_left: set[str] = set()
"""Images whose labels nobody wants to paint, until napari ends."""
_noted: set[str] = set()
"""The notes that a person has read; one is enough until napari ends."""
_turn = BoundedSemaphore(4)  # images with dozens of channels come in turns

_log = logging.getLogger(__name__)

# Places: documents are read in threads, layers are made in the GUI thread.


@dataclass(frozen=True, slots=True)
class Opened:
    """What was read of a place, and the layers it will be.

    ``beside`` is layer data of a table, which is all there is then.
    """

    reading: Reading
    specs: tuple[LayerSpec, ...]
    beside: tuple[LayerData, ...] = ()


def open_place(
    location: Location,
    options: ReadOptions | None = None,
    channels: Sequence[int] | None = None,
) -> Opened:
    """Read what is needed for the layers of a place; blocks, so not in the GUI thread.

    All channels of each image are read about, unless some are named.
    """
    follow_settings()
    # A layer's first thumbnail takes it, in the GUI thread; it is slow to load.
    import_module("scipy.ndimage")
    try:
        reading = read_current(location, options or ReadOptions())
    except (NodeNotFoundError, MetadataError, UnsupportedDataError) as error:
        layers = tuple(table_layers(table_at(location, error)))
        said = tuple(layers[0][1]["metadata"].get("warnings", ()))
        return Opened(Reading(location, (), said), (), layers)
    specs = layer_data(reading.pyramids, channels=channels)
    if not reading.location.is_remote:
        specs = [with_checked_window(spec) for spec in specs]
    return Opened(reading, tuple(specs))


@cache
def load_units() -> None:
    """Have napari read its table of units, while a place is being opened.

    The first layer that has units takes 0.2 s for that, when the window stands still
    anyway. Not in another thread: somebody may be making a layer meanwhile.
    """
    Affine(ndim=2, units=("micrometer", "micrometer"))


def make_layers(opened: Iterable[Opened], asked: OpenOptions = _NOTHING) -> list[Layer]:
    """Make the layers of what was opened, remember the places and tell the notes."""
    opened = list(opened)
    levels = (spec.levels[0] for part in opened for spec in part.specs)
    put_window_first(holds_reads=any(map(mosaic_of, levels)))
    parts = [
        replace(part, specs=tuple(with_options(spec, asked) for spec in part.specs))
        for part in opened
    ]
    recents = Recents()
    for part in parts:
        recents.add(part.reading.location)
    specs = [spec for part in parts for spec in part.specs]
    # Some of what is odd is found out only when layers are made.
    tell((p.reading for p in parts), (text for s in specs for text in s.warnings))
    layers = [make_layer(spec) for spec in specs]
    for layer in layers:
        keep_as_moved(layer, asked.options)
    beside_later([p for part in parts for p in part.reading.pyramids], layers)
    beside = [data for part in parts for data in part.beside]
    return layers + [made for data in beside for made in _layers_of(data)]


def add_layers(viewer: ViewerModel, opened: Opened) -> list[Layer]:
    """Add the layers of what was opened to a viewer, which then knows their source."""
    with source_of(opened.reading.location):
        layers = make_layers([opened])
    watch_labels(viewer)
    for layer in layers:
        viewer.add_layer(layer)
    return layers


def watch_labels(viewer: ViewerModel) -> None:
    """Say of labels that are read as they are looked at how they can be painted."""
    if viewer not in _watched:
        _watched.add(viewer)
        viewer.layers.selection.events.active.connect(
            lambda event: _offer_to_edit(viewer, event.value)
        )


def _offer_to_edit(viewer: ViewerModel, layer: Layer | None) -> None:
    sign = canvas_sign("omezarr labels", at_top=True)
    if sign is None:
        return
    lazy = isinstance(layer, Labels) and not layer.editable and bool(record_of(layer))
    if layer is None or not lazy or image_address(layer) in _left:
        sign.say("")
        return
    where = escape(host_of(image_address(layer)))

    def follow(link: str) -> None:
        sign.say("")
        if link == "edit":
            dock = add_dock(viewer, "OME-Zarr region")
            if dock is not None:
                dock.propose(viewer.layers.selection.active, level=0)
        else:
            _left.add(image_address(layer))

    sign.say(
        f"These labels are read from {where}. "
        '<a style="color: white" href="edit">Load a region to edit</a> &nbsp; '
        '<a style="color: white; text-decoration: none" href="leave">✕</a>',
        follow,
    )


def open_for_viewer(
    addresses: Sequence[str], offer: Callable[[Location, ImageChoiceError], bool]
) -> list[Any]:
    """Open what napari hands over and wait for it: napari wants the layers returned.

    ``offer`` lets the person choose from the images of a place that is none; False
    where it cannot. A notification says the same as an error. It is ``[(None,)]``,
    napari's sign for "nothing, and ask no other reader", when the person has
    cancelled, or is asked which of a store's images she means.
    """
    tasks: list[Task] = []
    asked = asked_of_viewer()
    viewer = current_viewer()
    try:
        locations = [place_of(address) for address in addresses]
        tasks += [Task(partial(open_place, place)).start() for place in locations]
        load_units()
        for task, location in zip(tasks, locations, strict=True):
            if not wait_for(task, f"Opening {location.name} …"):
                return [(None,)]
        opened = []
        for task, location in zip(tasks, locations, strict=True):
            error = task.future.exception()
            if isinstance(error, ImageChoiceError) and offer(location, error):
                continue
            opened.append(task.future.result())
        if viewer is not None:
            watch_labels(viewer)
        return make_layers(opened, asked) or [(None,)]
    except OMEZarrError as error:
        explain(error)
        raise
    finally:
        for task in tasks:
            task.abandon()


# From a layer's specification to a napari layer, which reads nothing here.


def make_layer(spec: LayerSpec) -> Layer:
    """Make a layer, with the display attached and its contrast on the way.

    It is constructed invisible, because a visible layer reads its first slice in
    its constructor, and made visible when the display answers in its place.
    """
    data, options, kind = spec.layer_data
    visible = options.pop("visible", True)
    try:
        layer = Layer.create(data, {**options, "visible": False}, kind)
    # What a person asked of ``viewer.open``, in napari's own words.
    except (TypeError, ValueError, KeyError) as error:
        reason = shorten(str(error), 150).rstrip(".")
        msg = f"napari does not make the layer {options.get('name')}: {reason}."
        raise OptionError(msg, action="Check the options.") from error
    if not is_placed(layer):  # napari fails when it is added, and keeps half of it
        msg = f"{options.get('name')} cannot lie where the options have it."
        action = "Check scale, translate, rotate, shear and affine."
        raise OptionError(msg, action=action)
    if spec.contrast_range is not None:
        layer.contrast_limits_range = spec.contrast_range
    attach(layer, spec.levels, label=spec.kind == "labels")
    keep_as_made(layer)
    layer.visible = visible
    if spec.features is not None:
        read_features_later(layer, spec.features)
    if spec.needs_contrast:
        estimate_later(layer, spec.levels)
    if spec.checks_window:
        estimate_later(layer, spec.levels, spec.options["contrast_limits"])
    return layer


# Features of labels that lie in a table: read in a thread, after the picture.


def read_features_later(layer: Labels, source: FeatureSource) -> Task:
    """Read the features of labels, and set them unless the person has by then."""
    return Task(partial(_read_features, source)).start(
        partial(_set_features, weakref.ref(layer))
    )


def _read_features(source: FeatureSource) -> tuple[pd.DataFrame | None, str]:
    with _turn:
        columns, said = read_features(source)
    return pd.DataFrame(plain_columns(columns)) if columns else None, said


def _set_features(
    reference: weakref.ref[Labels],
    outcome: Future[tuple[pd.DataFrame | None, str]],
) -> None:
    layer = reference()
    if layer is None or len(layer.features.columns):
        return
    features, said = outcome.result()
    if said:
        show_warning(said)
    if features is not None:
        layer.features = features
        layer.metadata["omezarr"].pop(UNREAD, None)


# Points, shapes and tracks that were saved with an image: after the picture, too.


def beside_later(pyramids: Sequence[Pyramid], layers: Sequence[Layer]) -> None:
    """Read what was saved with images, and add it to the viewer that shows them."""
    named = [pyramid for pyramid in pyramids if named_annotations(pyramid)]
    if named and layers:
        shown = weakref.ref(layers[0])
        Task(partial(layers_beside, named)).start(partial(_add_beside, shown))


def _add_beside(
    shown: weakref.ref[Layer], outcome: Future[tuple[list[LayerData], list[str]]]
) -> None:
    layer, viewer = shown(), current_viewer()
    if layer is None or viewer is None or layer not in viewer.layers:
        return  # the person has closed the image by then
    beside, said = outcome.result()
    for sentence in said:
        show_warning(sentence)
    for data in beside:
        for made in _layers_of(data):
            viewer.add_layer(made)


def _layers_of(data: LayerData) -> list[Layer]:
    """Make the layer of a table; none if napari refuses what is stored of its looks."""
    try:
        return [Layer.create(*data)]
    except (TypeError, ValueError, LookupError, AttributeError):
        show_warning(f"napari cannot show the layer {data[1]['name']}.")
        return []


# Contrast limits that no metadata give: estimated in a thread, set by signal.


def estimate_later(
    layer: Image, levels: tuple[Pixels, ...], window: Limits | None = None
) -> Task:
    """Estimate a layer's contrast, and set it unless the person was faster.

    Of one that has a window, only if this shows nothing. A few chunks of the last
    level are read; the layer may be gone by then.
    """
    before = _limits(layer)
    return Task(partial(_estimate, levels, window)).start(
        partial(_set_contrast, weakref.ref(layer), before)
    )


def slider_range(limits: Limits, dtype: np.dtype[Any]) -> Limits:
    """Return a range for the slider that is wider than the limits, and not endless.

    Eight bits get all their values; else it goes from zero, or as far below the low
    limit as the limits are apart, to as far above the high one.
    """
    low, high = limits
    if dtype.kind == "b":
        return 0.0, 1.0
    if dtype.kind in "iu" and dtype.itemsize == 1:
        information = np.iinfo(dtype)
        return float(information.min), float(information.max)
    span = high - low
    bottom, top = min(0.0, low) if low >= 0 else low - span, high + span
    if dtype.kind in "iu":
        information = np.iinfo(dtype)
        return max(bottom, float(information.min)), min(top, float(information.max))
    return bottom, top


def _estimate(
    levels: tuple[Pixels, ...], window: Limits | None
) -> tuple[Limits | None, Limits | None]:
    with _turn:
        if window is None:
            return estimate_contrast(levels), None
        return fitting_contrast(levels, window), window


def _set_contrast(
    reference: weakref.ref[Image],
    before: Limits,
    outcome: Future[tuple[Limits | None, Limits | None]],
) -> None:
    layer = reference()
    if layer is None or _limits(layer) != before:
        return
    error = outcome.exception()
    if isinstance(error, OMEZarrError):
        # The display reads the same chunks, and tells the person.
        _log.info("The contrast of %s was not estimated: %s", layer.name, error)
        return
    limits, window = outcome.result()
    if limits is None:
        return
    if window is not None:
        said = unfit_window(layer.name, window)
        carried = layer.metadata["omezarr"]  # its own; the list may be of several
        carried["warnings"] = [*carried["warnings"], said]
        show_warning(said)
    layer.contrast_limits = limits
    layer.contrast_limits_range = slider_range(limits, np.dtype(layer.dtype))


def _limits(layer: Image) -> Limits:
    low, high = layer.contrast_limits
    return float(low), float(high)


# What napari's notifications say about an opening: each thing once.


def tell(readings: Iterable[Reading], also: Iterable[str] = ()) -> None:
    """Show the warnings and notes of what was opened, and others, in one notification.

    Warnings are of the data, and come each time. Notes say how a place was reached
    (without signing in, at its new host), and one is enough until napari ends.
    """
    opened = list(readings)
    # Each sentence once, in order.
    warnings = dict.fromkeys(text for reading in opened for text in reading.warnings)
    warnings |= dict.fromkeys(also)
    told = dict.fromkeys(text for reading in opened for text in reading.notes)
    notes = [text for text in told if not (text in _noted or is_quiet(text))]
    _noted.update(notes)
    sentences = [*notes, *warnings]
    hidden = len(sentences) - MOST
    if hidden > 0:
        sentences[MOST:] = [f"… and {hidden} more, in the layers' metadata."]
    if sentences:
        show = show_warning if warnings else show_info
        show("\n".join(sentences))


def explain(error: OMEZarrError) -> None:
    """Show an error's sentence and action, once the caller has raised it.

    Depending on how the person came here, napari shows an error that a reader
    raises, or wraps it, or asks for another reader and says nothing of the cause.
    So look first what it has told, as soon as the event loop is back.
    """
    told_before = len(notification_manager.records)
    QTimer.singleShot(0, partial(_unless_told, error, told_before))


def _unless_told(error: OMEZarrError, told_before: int) -> None:
    records = notification_manager.records[told_before:]
    if not any(plain(error.sentence) in str(record.message) for record in records):
        show_error(str(error))
