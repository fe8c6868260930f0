"""Views that come back: what is shown and how, to and from links, text and files."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari import current_viewer
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import AVAILABLE_COLORMAPS, Colormap
from qtpy.QtCore import QTimer
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QFileDialog

from napari_omezarr.browsing import (
    Session,
    SessionLayer,
    parse_session,
    session_address,
    session_in_address,
    session_text,
    view_in_link,
)
from napari_omezarr.claims import is_view_address, place_of
from napari_omezarr.display.notifications import (
    main_window,
    show_error,
    show_info,
    show_warning,
)
from napari_omezarr.errors import OMEZarrError, OptionError
from napari_omezarr.location import label_name
from napari_omezarr.metadata import unit_size
from napari_omezarr.plain_text import counted
from napari_omezarr.reading import ReadOptions
from napari_omezarr.user_files import write_json

from .open import (
    OpenOptions,
    explain,
    make_layers,
    open_for_viewer,
    open_place,
    with_options,
)
from .qt_async import Task, failure
from .region_box import unit_factors
from .viewer_layers import bare_layers, record_of, signed_address, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    import napari.viewer
    from napari.components import ViewerModel

    from napari_omezarr.browsing import ChannelView, ViewState
    from napari_omezarr.errors import ImageChoiceError
    from napari_omezarr.layers import LayerSpec
    from napari_omezarr.location import Location

    from .open import Opened

_PLACED = ("scale", "translate", "rotate", "shear")
_COMMON = ("name", "visible", "opacity", "blending", "locked_data_level")
_OF_IMAGES = (
    "contrast_limits_range", "contrast_limits", "gamma", "interpolation2d",
    "interpolation3d", "rendering", "iso_threshold", "attenuation", "depiction",
)  # fmt: skip
_OF_LABELS = ("contour", "rendering", "show_selected_label", "selected_label")
_FILTER = "Sessions (*.omezarr.json);;JSON (*.json)"

# From the viewer to a session.


def session_of(viewer: ViewerModel) -> tuple[Session, int]:
    """Describe what a viewer shows, and count the layers that came from no address."""
    layers = bare_layers(viewer.layers)
    kept = [layer for layer in layers if _is_kept(layer)]
    camera, dims = viewer.scene.camera, viewer.dims
    session = Session(
        tuple(map(described, kept)),
        {
            "center": [float(at) for at in camera.center],
            "zoom": float(camera.zoom),
            "angles": [float(angle) for angle in camera.angles],
        },
        {
            "point": [float(at) for at in dims.point],
            "order": [int(axis) for axis in dims.order],
            "ndisplay": int(dims.ndisplay),
        },
    )
    return session, len(layers) - len(kept)


def _is_kept(layer: Layer) -> bool:
    record = record_of(layer)
    return bool(record.get("address")) and "region" not in record


def described(layer: Layer) -> SessionLayer:
    """Describe a layer: where it is from, and how it looks."""
    record = record_of(layer)
    looks = {name: _plain(getattr(layer, name)) for name in (*_COMMON, *_PLACED)}
    looks["affine"] = _plain(layer.affine.affine_matrix)
    special = _OF_LABELS if isinstance(layer, Labels) else _OF_IMAGES
    looks |= {name: _plain(getattr(layer, name)) for name in special}
    if isinstance(layer, Image):
        looks["colormap"] = _colormap_value(layer.colormap)
    channel, system = record.get("channel"), record.get("coordinate_system")
    return SessionLayer(
        signed_address(layer),
        "labels" if isinstance(layer, Labels) else "image",
        channel if isinstance(channel, int) else None,
        str(system) if system else None,
        looks,
        _chosen(record),
    )


def _plain(value: Any) -> Any:
    """Give a value as JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return (
        value if value is None or isinstance(value, bool | int | float) else str(value)
    )


def _colormap_value(colormap: Colormap) -> Any:
    known = AVAILABLE_COLORMAPS.get(colormap.name)
    if known is not None and np.array_equal(known.colors, colormap.colors):
        return colormap.name
    return {
        "name": colormap.name,
        "colors": np.asarray(colormap.colors, dtype=float).tolist(),
        "controls": np.asarray(colormap.controls, dtype=float).tolist(),
    }


# From a session to the viewer.


def open_session(viewer: ViewerModel, session: Session) -> Task:
    """Open the places of a session, and show them as they were shown; not at once."""
    return Task(partial(_read, session)).start(partial(_show, viewer, session))


@dataclass(frozen=True, slots=True)
class SessionPlace:
    """What is read at once, for the layers of a session that have these numbers."""

    address: str
    options: ReadOptions
    numbers: list[int]


Found = tuple[SessionPlace, "Opened | OMEZarrError"]


def _read(session: Session) -> list[Found]:
    found: list[Found] = []
    for place in places_in(session):
        wanted = {session.layers[number].channel for number in place.numbers}
        channels = sorted(one for one in wanted if one is not None)
        try:
            opened = open_place(place_of(place.address), place.options)
            # Its channels had been opened one by one.
            if channels and any(spec.options.get("rgb") for spec in opened.specs):
                opened = open_place(place_of(place.address), place.options, channels)
            found.append((place, opened))
        except OMEZarrError as error:
            found.append((place, error))
    return found


def places_in(session: Session) -> list[SessionPlace]:
    """Say what is to be read: labels with their image, where that is shown too.

    Raises
    ------
    OMEZarrError
        A layer was opened with choices that are none.
    """
    found: dict[tuple[Any, ...], SessionPlace] = {}
    images = [layer for layer in session.layers if not _are_labels(layer)]
    for number, layer in enumerate(session.layers):
        owner = layer
        if _are_labels(layer):
            owner = next((image for image in images if _lie_in(layer, image)), layer)
        key = owner.address, owner.coordinate_system, _choices(owner)
        if key not in found:
            labels = any(_lie_in(o, owner) for o in session.layers if _are_labels(o))
            options = _options(owner, labels=labels)
            found[key] = SessionPlace(owner.address, options, [])
        found[key].numbers.append(number)
    return list(found.values())


def _are_labels(layer: SessionLayer) -> bool:
    """Tell label images, which have no channels, from an image shown as labels."""
    return layer.kind == "labels" and layer.channel is None


def _lie_in(labels: SessionLayer, image: SessionLayer) -> bool:
    own, above = (place_of(layer.address) for layer in (labels, image))
    # Those of a plate have its own address.
    inside = own.display.startswith(f"{above.display.rstrip('/')}/labels/")
    return (
        (inside or own == above)
        and own.profile == above.profile
        and labels.coordinate_system == image.coordinate_system
        and _choices(labels) == _choices(image)
    )


def _choices(layer: SessionLayer) -> str:
    """Write what was chosen at opening, but for the labels."""
    kept = {name: one for name, one in layer.options.items() if name != "labels"}
    return json.dumps(kept, sort_keys=True)


def _options(layer: SessionLayer, *, labels: bool) -> ReadOptions:
    known = {field.name for field in fields(ReadOptions)}
    if strange := ", ".join(sorted(layer.options.keys() - known)):
        msg = f"{layer.address} was opened with {strange}, which is not known here."
        raise OptionError(msg, action="Install the newest napari-omezarr.")
    chosen: dict[str, Any] = {
        **{n: tuple(v) if isinstance(v, list) else v for n, v in layer.options.items()},
        "coordinate_system": layer.coordinate_system,
        "labels": labels,
    }
    return ReadOptions(**chosen)


def _show(viewer: ViewerModel, session: Session, outcome: Future[list[Found]]) -> None:
    error = failure(outcome)
    if error is not None:
        show_error(str(error))
        return
    made: dict[int, Layer] = {}
    for place, opened in outcome.result():
        if isinstance(opened, OMEZarrError):
            show_error(str(opened))
        else:
            made |= _made(opened, {n: session.layers[n] for n in place.numbers})
    for number, wish in enumerate(session.layers):
        if number in made:
            viewer.add_layer(made[number])
            dress(made[number], wish.looks)
    _look(viewer, session)
    if missing := len(session.layers) - len(made):
        show_warning(f"No longer there: {counted(missing, 'layer')} of the session.")


def _made(opened: Opened, wishes: Mapping[int, SessionLayer]) -> dict[int, Layer]:
    """Make those layers of what was opened that are wished for."""
    specs = {_identity(spec.record): spec for spec in opened.specs}
    chosen: dict[int, LayerSpec] = {}
    for number, wish in wishes.items():
        spec = specs.get(_wanted(wish))
        if spec is None:
            continue
        asked = OpenOptions(layer_type=None if spec.kind == wish.kind else wish.kind)
        try:
            chosen[number] = with_options(spec, asked)
        except OMEZarrError as error:
            show_error(str(error))
    if not chosen:
        return {}
    with source_of(opened.reading.location):
        layers = make_layers([replace(opened, specs=tuple(chosen.values()))])
    return dict(zip(chosen, layers, strict=False))


def _identity(record: Mapping[str, Any]) -> tuple[Any, ...]:
    options = json.dumps(_chosen(record), sort_keys=True)
    return record["address"], record.get("channel"), options


def _wanted(wish: SessionLayer) -> tuple[Any, ...]:
    options = json.dumps(wish.options, sort_keys=True)
    return place_of(wish.address).display, wish.channel, options


def _chosen(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give what was chosen when a layer was opened, as JSON has it."""
    options = record.get("options") or {}
    return {name: _plain(value) for name, value in options.items()}


def dress(layer: Layer, looks: Mapping[str, Any]) -> None:
    """Give a layer looks, as far as this napari knows them."""
    special = _OF_LABELS if isinstance(layer, Labels) else _OF_IMAGES
    names = (*_PLACED, "affine", *_COMMON, *special, "colormap")
    for name in (name for name in names if name in looks):
        value = looks[name]
        if name == "colormap" and isinstance(value, dict):
            value = Colormap(**value)
        # Another version of napari, or a hand, may have written what this refuses.
        try:
            setattr(layer, name, value)
        except (TypeError, ValueError, KeyError, AttributeError):
            show_warning(f"{name} of {layer.name} could not be restored.")


def _look(viewer: ViewerModel, session: Session) -> None:
    dims, camera = session.dims, session.camera
    try:
        viewer.dims.ndisplay = dims.get("ndisplay", viewer.dims.ndisplay)
        if len(dims.get("order", ())) == viewer.dims.ndim:
            viewer.dims.order = tuple(dims["order"])
        if len(dims.get("point", ())) == viewer.dims.ndim:
            viewer.dims.set_point(range(viewer.dims.ndim), dims["point"])
        for name in ("angles", "center", "zoom"):
            if name in camera:
                value = camera[name]
                setattr(
                    viewer.scene.camera,
                    name,
                    tuple(value) if isinstance(value, list) else value,
                )
    except (TypeError, ValueError):
        show_warning("Where one looked could not be restored.")


def show_view(viewer: ViewerModel, address: str) -> Task:
    """Show what the address of a view says; LocationError if that is broken."""
    return open_session(viewer, session_in_address(address))


def open_addresses(
    addresses: Sequence[str], offer: Callable[[Location, ImageChoiceError], bool]
) -> list[Any]:
    """Open what napari hands over, views and links with a view too.

    `offer` and what is returned are those of `open_for_viewer`.
    """
    viewer = current_viewer()
    if viewer is not None and len(addresses) == 1 and is_view_address(addresses[0]):
        try:
            show_view(viewer, addresses[0])
        except OMEZarrError as error:
            explain(error)
            raise
        return [(None,)]
    layers = open_for_viewer(addresses, offer)
    made = [layer for layer in layers if isinstance(layer, Layer)]
    if viewer is not None and len(addresses) == 1 and made:
        # When napari has added them.
        QTimer.singleShot(0, partial(restore_link, viewer, addresses[0], made))
    return layers


# From a link of another viewer to the layers that it is about.


def restore_link(viewer: ViewerModel, text: str, layers: Sequence[Layer]) -> None:
    """Show layers as a link does that they were opened by, if it says how."""
    view = view_in_link(text)
    if view is not None:
        restore_view(viewer, view, layers)


def restore_view(viewer: ViewerModel, view: ViewState, layers: Iterable[Layer]) -> None:
    """Show layers of one image as a viewer on the web shows it."""
    shown = list(layers)
    images = [layer for layer in shown if isinstance(layer, Image)]
    if not shown:
        return
    by_index = {channel.index: channel for channel in view.channels}
    for layer in images:
        channel = by_index.get(record_of(layer).get("channel", 0))
        if channel is not None:
            _dress_channel(layer, channel)
        elif by_index:
            layer.visible = False
    for layer in shown:
        if isinstance(layer, Labels) and view.channels:
            name = label_name(str(record_of(layer).get("address")))
            layer.visible = name in view.labels
    _look_at(viewer, view, (images or shown)[0])


def _dress_channel(layer: Image, channel: ChannelView) -> None:
    layer.visible = channel.visible
    low, high = channel.contrast
    if np.isfinite(low) and np.isfinite(high) and low != high and not layer.rgb:
        layer.contrast_limits = sorted((low, high))
    if not channel.color or layer.rgb:
        return
    color = tuple(int(channel.color[at : at + 2], 16) / 255 for at in (0, 2, 4))
    ends = [(0.0, 0.0, 0.0, 1.0), (*color, 1.0)]
    if low > high:
        ends.reverse()
    layer.colormap = Colormap(ends, name=f"#{channel.color}")


def _look_at(viewer: ViewerModel, view: ViewState, layer: Layer) -> None:
    """Look where another viewer does, whose units may be others."""
    units = viewer.layers.extent.units
    to_viewer = np.ones(layer.ndim)
    if units is not None:
        to_viewer = 1 / unit_factors(units, layer.units)
    offset = viewer.dims.ndim - layer.ndim
    viewer.dims.ndisplay = 3 if view.is_3d else 2
    point = np.asarray(viewer.dims.point, dtype=float)
    across = 1.0
    for axis, name in enumerate(layer.axis_labels):
        if name not in view.center:
            continue
        theirs = unit_size(view.units.get(name))
        ours = unit_size(str(layer.units[axis]))
        factor = theirs[0] / ours[0] if theirs and ours else 1.0
        at = view.center[name] * factor
        if view.units.get(name) == "pixel":
            factor = float(layer.scale[axis])
            at = float(layer.translate[axis]) + factor * view.center[name]
        point[offset + axis] = at * to_viewer[axis]
        if axis == layer.ndim - 1:
            across = factor * to_viewer[axis]
    wanted = [n for n in view.displayed if n in layer.axis_labels]
    if len(wanted) == len(view.displayed):
        screen = [offset + layer.axis_labels.index(name) for name in wanted]
        rest = [axis for axis in range(viewer.dims.ndim) if axis not in screen]
        viewer.dims.order = (*rest, *screen)
    viewer.dims.set_point(range(viewer.dims.ndim), point)
    shown = list(viewer.dims.displayed)
    center = np.asarray(viewer.scene.camera.center, dtype=float)
    center[-len(shown) :] = point[shown]
    viewer.scene.camera.center = tuple(center)
    viewer.scene.camera.zoom = view.zoom / across


# The commands.


def copy_view(viewer: napari.viewer.Viewer) -> str | None:
    """Put the view on the clipboard, as one address that gives it back exactly."""
    session, left = session_of(viewer)
    clipboard = QGuiApplication.clipboard()
    if not session.layers or clipboard is None:
        show_error("No layer came from an address. Open an OME-Zarr first.")
        return None
    address = session_address(session)
    clipboard.setText(address)
    show_info(f"The view is copied: paste it where addresses are opened.{_left(left)}")
    return address


def save_session(viewer: napari.viewer.Viewer) -> QFileDialog:
    """Ask for a file, and keep there what is shown and how."""
    dialog = QFileDialog(main_window(), "Save session", filter=_FILTER)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix("omezarr.json")
    return _ask(dialog, partial(write_session, viewer))


def load_session(viewer: napari.viewer.Viewer) -> QFileDialog:
    """Ask for a file, and show what it holds."""
    dialog = QFileDialog(main_window(), "Open session", filter=_FILTER)
    dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
    return _ask(dialog, partial(read_session, viewer))


def _ask(dialog: QFileDialog, then: Callable[[str], object]) -> QFileDialog:
    dialog.fileSelected.connect(then)
    dialog.finished.connect(dialog.deleteLater)
    dialog.open()
    return dialog


def write_session(viewer: ViewerModel, path: str) -> None:
    """Write what is shown to a small file, and say what it does not keep."""
    session, left = session_of(viewer)
    try:
        write_json(Path(path), json.loads(session_text(session)))
    except OSError as error:
        show_error(f"The session could not be written ({error.strerror}).")
        return
    kept = counted(len(session.layers), "layer")
    show_info(f"Kept in {path}: {kept}.{_left(left)}")


def read_session(viewer: ViewerModel, path: str) -> Task | None:
    """Show what a file of a session holds."""
    try:
        return open_session(viewer, parse_session(Path(path).read_text("utf-8")))
    except (OSError, UnicodeDecodeError):
        show_error(f"{path} cannot be read. Choose another file.")
    except OMEZarrError as error:
        show_error(str(error))
    return None


def _left(count: int) -> str:
    if not count:
        return ""
    left = counted(count, "layer")
    return f" Left out: {left} without an address, to be saved first."
