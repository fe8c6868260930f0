"""Places shared: links of viewers, who may read, and sessions of several images."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import zlib
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from napari_omezarr.errors import LocationError, OMEZarrError, OptionError
from napari_omezarr.location import (
    NODE_DOCUMENTS,
    WEB,
    Location,
    label_name,
    neuroglancer_link_state,
    without_secrets,
)
from napari_omezarr.metadata import unit_size
from napari_omezarr.store import (
    BucketAddress,
    RequestFailed,
    RequestStats,
    RetryPolicy,
    bucket_of,
    corrected,
    failure_of,
    http,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# What is on the screen, as plain values.


@dataclass(frozen=True, slots=True)
class ChannelView:
    """How one channel is shown."""

    index: int
    """Along the channel axis; 0 for an image without one."""
    name: str
    """What it is called."""
    color: str
    """Six hex digits."""
    contrast: tuple[float, float]
    """The values that are shown as black and as the full colour; the first is the
    larger one where dark is much."""
    visible: bool = True
    """Whether it is shown."""


@dataclass(frozen=True, slots=True)
class ViewState:
    """Where one looks and how."""

    center: Mapping[str, float]
    """The middle of the screen by the names of the axes, in world units."""
    zoom: float
    """Pixels of the screen for one world unit."""
    units: Mapping[str, str] = field(default_factory=dict)
    """The unit of each axis as OME-Zarr spells it; what is missing has none."""
    channels: tuple[ChannelView, ...] = ()
    """In the order in which they are drawn."""
    labels: tuple[str, ...] = ()
    """The names of the label images that are shown with it."""
    displayed: tuple[str, ...] = ("y", "x")
    """The axes of the screen: down and to the right, or three for a volume."""
    channel_axis: str = ""
    """The name of the axis of the channels; empty if there is none."""
    grid: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Along each axis the size of a pixel and the place of the first one's centre, at
    the finest level, in world units."""

    @property
    def is_3d(self) -> bool:
        """Whether a volume is shown."""
        return len(self.displayed) == 3


# Links that open a public image in a viewer on the web.


class Viewer(StrEnum):
    """The viewers; the value is the name to show."""

    VALIDATOR = "ome-ngff-validator"
    VIZARR = "vizarr"
    NEUROGLANCER = "neuroglancer"
    ITK_VTK = "itk-vtk-viewer"

    @property
    def address(self) -> str:
        """Where the viewer is; its host is what must be let read the image."""
        return _ADDRESSES[self]

    @property
    def takes_view(self) -> bool:
        """Whether a link can say where to look."""
        return self in (Viewer.VIZARR, Viewer.NEUROGLANCER)


_ADDRESSES = {
    Viewer.VALIDATOR: "https://ome.github.io/ome-ngff-validator/",
    Viewer.VIZARR: "https://hms-dbmi.github.io/vizarr/",
    Viewer.NEUROGLANCER: "https://neuroglancer-demo.appspot.com/",
    Viewer.ITK_VTK: "https://kitware.github.io/itk-vtk-viewer/app/",
}
_PARAMETERS = {
    Viewer.VALIDATOR: "source",
    Viewer.VIZARR: "source",
    Viewer.ITK_VTK: "fileToLoad",
}


def share_link(address: str, viewer: Viewer, view: ViewState | None = None) -> str:
    """Make a link that opens an image, by the address of ``check_public``, in a viewer.

    The view gives vizarr position and zoom, and neuroglancer the plane, contrast,
    colours and labels too. The other viewers cannot be told.
    """
    if viewer is Viewer.NEUROGLANCER:
        state = _json(neuroglancer_state(address, view))
        return f"{viewer.address}#!{quote(state, safe='')}"
    link = f"{viewer.address}?{_PARAMETERS[viewer]}={quote(address, safe=':/')}"
    if view is not None and viewer is Viewer.VIZARR:
        said = _vizarr(view)
        link += "".join(f"&{name}={quote(_json(said[name]), safe='')}" for name in said)
    return link


def _vizarr(view: ViewState) -> dict[str, object]:
    """Say where to look, and where the image lies; vizarr shows x and y alone."""
    if not {"x", "y"} <= view.grid.keys() or view.displayed[-2:] != ("y", "x"):
        return {}
    (width, left), (height, top) = view.grid["x"], view.grid["y"]
    target = [view.center["x"] + width / 2, view.center["y"] + height / 2]
    # Some versions of vizarr leave the transforms out, and others take the image along
    # z out of sight (its issue 271). As they do, this puts the corner of a pixel where
    # OME-Zarr has its centre: labels, which vizarr places itself, stay on their image.
    matrix = [width, 0, 0, left, 0, height, 0, top, 0, 0, 1, 0, 0, 0, 0, 1]
    state = {"zoom": math.log2(view.zoom), "target": target}
    return {"viewState": state, "model_matrix": matrix}


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


# The state of neuroglancer that shows an image as it is shown here. Its positions are
# in the units that ``dimensions`` declares; centres of pixels lie where OME-Zarr has
# them. location/parse.py reads the same layout: a link that is made here opens there.

_SHADER = (
    "#uicontrol invlerp contrast\n"
    "#uicontrol vec3 color color\n"
    "void main() { emitRGB(color * contrast()); }\n"
)
_SPATIAL = ("x", "y", "z")


def neuroglancer_state(address: str, view: ViewState | None = None) -> dict[str, Any]:
    """Make the state for an image at a web address; neuroglancer decides the rest."""
    source = f"zarr://{address.rstrip('/')}/"
    name = unquote(address.rstrip("/").rpartition("/")[2])
    whole = {"type": "auto", "source": source, "name": name}
    if view is None:
        return {"layers": [whole]}
    layers = [_channel(source, name, channel, view) for channel in view.channels]
    labels = [_labels(source, label) for label in view.labels]
    axes = _axes(view)
    dimensions = {axis: list(_dimension(view, axis)) for axis in axes}
    return {
        "dimensions": dimensions,
        "displayDimensions": _displayed(view, axes),
        "position": [view.center[axis] for axis in axes],
        "crossSectionScale": _scale(view, axes),
        "layers": [*(layers or [whole]), *labels],
        "layout": "3d" if view.is_3d else "xy",
    }


def _axes(view: ViewState) -> list[str]:
    spatial = [axis for axis in _SPATIAL if axis in view.center]
    return [*spatial, *(axis for axis in view.center if axis not in spatial)]


def _displayed(view: ViewState, axes: list[str]) -> list[str]:
    """Name the axes of the panel: right, down, into the screen."""
    # Without this neuroglancer takes the first three, whatever they are: of a film
    # its time.
    shown = [axis for axis in reversed(view.displayed) if axis in axes]
    others = [a for a in axes if a in _SPATIAL and a not in shown]
    return (shown + others)[:3]


def _scale(view: ViewState, axes: list[str]) -> float:
    """Give how much of the finest unit that is displayed a pixel of the screen is."""
    shown = _displayed(view, axes)
    sizes = [_dimension(view, axis)[0] for axis in shown]
    return sizes[0] / (min(sizes) * view.zoom)


def _dimension(view: ViewState, axis: str) -> tuple[float, str]:
    """Give the size of one world unit, in metres, seconds or nothing."""
    return unit_size(view.units.get(axis)) or (1, "")


def _channel(
    source: str, name: str, channel: ChannelView, view: ViewState
) -> dict[str, Any]:
    # An axis of channels belongs to its layer alone, with a prime in its name.
    axis = f"{view.channel_axis}'"
    local = {"localDimensions": {axis: [1, ""]}, "localPosition": [channel.index]}
    return {
        "type": "image",
        "source": source,
        "name": channel.name or name,
        **(local if view.channel_axis else {}),
        "opacity": 1,
        "blend": "additive",
        **({"volumeRendering": "max"} if view.is_3d else {}),
        "shader": _SHADER,
        "shaderControls": {
            "contrast": {"range": list(channel.contrast)},
            "color": f"#{channel.color.lower()}",
        },
        "visible": channel.visible,
    }


def _labels(source: str, name: str) -> dict[str, Any]:
    return {
        "type": "segmentation",
        "source": f"{source}labels/{name}/",
        "name": name,
        "tab": "segments",
    }


# Whether a browser anywhere could read a place: what a share link depends on.

_CORRECTIONS = 2
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class PublicAccess:
    """Whether others can open a place in their browsers."""

    address: str
    """The https address that everybody may have; ``""`` if there is none."""
    works: bool
    """Whether a viewer in a browser can read it."""
    sentence: str = ""
    action: str = ""
    """What is missing, and what to do about it; empty if nothing is."""


def web_address(location: Location) -> str:
    """Give the address under which a browser would ask for a place, without a sign-in.

    It is ``""`` for places that are on no web, and for those whose address holds a
    query or a password.
    """
    if location.query or location.userinfo or location.is_archive:
        return ""
    if location.protocol in WEB:
        return location.url()
    if location.protocol == "gs":
        bucket = BucketAddress(location.root, endpoint="https://storage.googleapis.com")
        return bucket.url(location.path)
    if location.protocol == "s3":
        return bucket_of(location).url(location.path)
    return ""


async def check_public(location: Location, viewer: str = "") -> PublicAccess:
    """Ask for an image's metadata as a viewer's page would, on the I/O loop.

    Nobody signs, and the answer must let the page of the viewer, which is at
    ``https://host/…``, read it (CORS).
    """
    address = web_address(location)
    if not address:
        return _unreachable(location)
    page = urlsplit(viewer)
    origin = f"{page.scheme}://{page.netloc}" if viewer else "https://example.org"
    access = http.Access(RetryPolicy(), proxy=http.proxy_for(address))
    bucket = bucket_of(location) if location.protocol == "s3" else None
    denied = False
    for name in NODE_DOCUMENTS:
        try:
            for _ in range(1 + _CORRECTIONS):
                url, headers = f"{address}/{name}", {"Origin": origin}
                request = http.Request("GET", url, headers)
                answer = await http.send(request, access, RequestStats())
                failure = failure_of(answer.status, answer.headers, answer.body)
                better = corrected(bucket, failure) if bucket else None
                if better is None:
                    break
                bucket, address = better, better.url(location.path)
        except RequestFailed as failed:
            sentence = f"{location.display} does not answer: {failed.reason.value}."
            return PublicAccess(address, False, sentence, "Try again a little later.")
        if answer.status == 200:
            allowed = answer.headers.get("Access-Control-Allow-Origin", "")
            return _readable(location, address, allowed in ("*", origin))
        denied = denied or answer.status in (401, 403)
    if denied:
        sentence = f"{location.display} is not public: it asks for a sign-in."
        action = "Ask its owner to open it to everybody."
        return PublicAccess(address, False, sentence, action)
    sentence = f"No image is at {location.display}."
    return PublicAccess(address, False, sentence, "Check the address.")


def _readable(location: Location, address: str, allowed: bool) -> PublicAccess:
    url = urlsplit(address)
    if not allowed:
        sentence = f"{url.netloc} does not let web pages read {location.display}."
        action = "Ask its owner to allow cross-origin reads (CORS)."
        return PublicAccess(address, False, sentence, action)
    host = (url.hostname or "").lower()
    if url.scheme == "http" and host not in _LOCAL_HOSTS:
        sentence = f"{url.netloc} is not encrypted, so browsers refuse to read it."
        action = "Use its https address."
        return PublicAccess(address, False, sentence, action)
    if host in _LOCAL_HOSTS:
        return PublicAccess(address, True, "This link works on this computer only.")
    return PublicAccess(address, True)


def _unreachable(location: Location) -> PublicAccess:
    sentence = f"{location.display} lies where browsers cannot read."
    action = "Save it to a public bucket."
    if location.query or location.userinfo:
        sentence = f"The address of {location.display} holds a sign-in."
        action = "Use the address of a public place."
    elif location.is_archive:
        sentence = "Viewers in browsers do not read archives."
        action = "Unpack it in a public bucket."
    elif location.protocol == "file":
        sentence = f"{location.display} lies on this computer."
    return PublicAccess("", False, sentence, action)


# Addresses and Python for the clipboard; never with a secret.


def s3_address(location: Location) -> str:
    """Give the ``s3://`` form, as other programs take it; ``""`` if it has none."""
    bucket = location.as_s3(path_style=True) if not location.query else None
    if bucket is None:
        return ""
    return f"s3://{bucket.root}/{bucket.path}".rstrip("/")


def python_snippet(location: Location, *, is_table: bool = False) -> str:
    """Write Python that opens a place: the profile by its name, and no secret.

    A table is opened from what it lies beside, as ``tables/NAME``.
    """
    name = location.name
    if is_table:
        location = location.parent.parent
    names = ("endpoint", "region", "profile", "anonymous")
    options = {name: getattr(location, name) for name in names}
    given = [f"    {k}={v!r},\n" for k, v in options.items() if v is not None]
    bare = replace(location, endpoint=None, region=None, profile=None, anonymous=None)
    place = repr(without_secrets(bare))
    if given:
        place = f"\n    {place},\n{''.join(given)}"
    left_out = location.query or location.userinfo
    note = "# The address was signed; the signature is left out.\n" if left_out else ""
    opened = f"import napari_omezarr\n\n{note}image = napari_omezarr.open({place})\n"
    if is_table:
        return f"{opened}print(image.tables[{name!r}].read())\n"
    return f"{opened}print(image)  # nothing is read of the pixels yet\n"


# The view that a link to a viewer on the web holds: where it looks, and how.

PIXEL = "pixel"
"""The unit of a center that is counted in pixels of the finest level."""

_UNITS = (
    "meter", "centimeter", "millimeter", "micrometer", "nanometer", "angstrom",
    "second", "millisecond", "microsecond", "minute", "hour",
)  # fmt: skip
_COLOR = re.compile(r"#?([0-9a-fA-F]{6})$")


def view_in_link(text: str) -> ViewState | None:
    """Give the view that a neuroglancer or vizarr link holds; None if it holds none.

    What is no view in it, or cannot be understood, is left out.
    """
    text = text.strip()
    try:
        parts = urlsplit(text)
        if parts.fragment.startswith("!"):
            return _of_neuroglancer(neuroglancer_link_state(parts.fragment[1:]))
        return _of_vizarr(parse_qs(parts.query))
    except (LocationError, ValueError, TypeError, ArithmeticError, RecursionError):
        return None


def _of_neuroglancer(state: Any) -> ViewState | None:
    dimensions, position = state.get("dimensions"), state.get("position")
    if not isinstance(dimensions, dict) or not isinstance(position, list):
        return None
    center: dict[str, float] = {}
    units: dict[str, str] = {}
    sizes: dict[str, float] = {}
    for (axis, declared), at in zip(dimensions.items(), position, strict=False):
        size, unit = float(declared[0]), str(declared[1])
        name, factor = _spelled(size, unit)
        center[axis], sizes[axis] = _finite(at) * factor, size
        if name:
            units[axis] = name
    shown = [a for a in state.get("displayDimensions") or ("x", "y", "z") if a in sizes]
    if len(shown) < 2:
        return None
    is_3d = str(state.get("layout", "")).startswith("3d") and len(shown) == 3
    displayed = tuple(reversed(shown[: 3 if is_3d else 2]))
    scale = _finite(state.get("crossSectionScale") or 1.0)
    # A pixel of the screen, in units of the image's last axis on the screen.
    pixel = scale * min(sizes[axis] for axis in shown)
    across = shown[0]
    zoom = _unit_of(units, across, sizes[across]) / pixel
    layers = state["layers"] if isinstance(state.get("layers"), list) else []
    channels, axis = _channels(layers)
    return ViewState(
        center, zoom, units, channels, _label_names(layers), displayed, axis
    )


def _unit_of(units: Mapping[str, str], axis: str, size: float) -> float:
    known = unit_size(units.get(axis))
    return known[0] if known else size


def _spelled(size: float, unit: str) -> tuple[str, float]:
    """Give the unit of a dimension as OME-Zarr spells it, and how many a step is."""
    if not unit:
        return "", size
    named = {name: unit_size(name) for name in _UNITS}
    for name, known in named.items():
        if known is not None and known[1] == unit and math.isclose(known[0], size):
            return name, 1.0
    base = {"m": "meter", "s": "second"}.get(unit, "")
    return base, size


def _channels(layers: Sequence[Any]) -> tuple[tuple[ChannelView, ...], str]:
    found, axis = [], ""
    for layer in layers:
        if not isinstance(layer, dict) or layer.get("type") not in ("image", "auto"):
            continue
        controls = layer.get("shaderControls")
        controls = controls if isinstance(controls, dict) else {}
        spans = [c for c in controls.values() if isinstance(c, dict) and "range" in c]
        colors = [c for c in controls.values() if isinstance(c, str)]
        color = next((m[1] for c in colors if (m := _COLOR.match(c))), "")
        local = layer.get("localDimensions")
        if isinstance(local, dict) and local:
            axis = str(next(iter(local))).rstrip("'")
        index = int(_finite((layer.get("localPosition") or [0])[0]))
        if spans:
            low, high = map(_finite, spans[0]["range"])
            span = (low, high)
        else:
            span = (math.nan, math.nan)
        name = str(layer.get("name", ""))
        visible = layer.get("visible", True) is not False
        found.append(ChannelView(index, name, color.upper(), span, visible))
    return tuple(found), axis


def _label_names(layers: Sequence[Any]) -> tuple[str, ...]:
    names = []
    for layer in layers:
        is_labels = isinstance(layer, dict) and layer.get("type") == "segmentation"
        if not is_labels or layer.get("visible", True) is False:
            continue
        source = layer.get("source")
        source = source.get("url") if isinstance(source, dict) else source
        # One source may name how it is stored behind it: ``…/labels/nuclei/|zarr3:``.
        names.append(label_name(str(source).partition("|")[0]))
    return tuple(filter(None, names))


def _of_vizarr(query: Mapping[str, list[str]]) -> ViewState | None:
    if "viewState" not in query or "source" not in query:
        return None
    state = json.loads(query["viewState"][0])
    zoom = 2.0 ** _finite(state["zoom"])
    x, y = (_finite(at) for at in state["target"][:2])
    if "model_matrix" not in query:
        units = {"x": PIXEL, "y": PIXEL}
        return ViewState({"y": y - 0.5, "x": x - 0.5}, zoom, units)
    matrix = [_finite(number) for number in json.loads(query["model_matrix"][0])]
    width, left, height, top = matrix[0], matrix[3], matrix[5], matrix[7]
    center = {"y": y - height / 2, "x": x - width / 2}
    return ViewState(center, zoom, grid={"x": (width, left), "y": (height, top)})


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


# Which images are shown, how they look and where one looks: as a value, as JSON. It
# holds addresses and no secrets: who opens it signs in as herself.

SCHEME = "napari-omezarr://view/"
"""How the address of a view begins; napari takes what has no ``://`` for a file."""
_FORMAT = "napari-omezarr session"
_VERSION = 1
_LONGEST = 200
"""Letters between two slashes of an address."""
_MOST = 4 * 2**20
"""Bytes of JSON that are read."""


@dataclass(frozen=True, slots=True)
class SessionLayer:
    """One layer that came from an address, and how it looks."""

    address: str
    """Of the image or labels, without secrets."""
    kind: str = "image"
    """``image`` or ``labels``."""
    channel: int | None = None
    """Of the image; None where its layer shows all of it."""
    coordinate_system: str | None = None
    """The one that it is shown in, where it has several."""
    looks: Mapping[str, Any] = field(default_factory=dict)
    """Values of JSON by napari's names: ``visible``, ``contrast_limits``, ..."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What was chosen when it was opened, by the names of `ReadOptions`: a level, a
    multiscale; of a plate wells, fields, an acquisition."""


@dataclass(frozen=True, slots=True)
class Session:
    """Layers, bottom first, and where one looks."""

    layers: tuple[SessionLayer, ...] = ()
    """Those that came from addresses."""
    camera: Mapping[str, Any] = field(default_factory=dict)
    """``center``, ``zoom`` and ``angles`` of napari's camera."""
    dims: Mapping[str, Any] = field(default_factory=dict)
    """``point``, ``order`` and ``ndisplay`` of napari's sliders."""


def session_text(session: Session, *, indent: int | None = 2) -> str:
    """Write a session as JSON; equal sessions give equal text."""
    content = {"format": _FORMAT, "version": _VERSION, **asdict(session)}
    separators = (",", ":") if indent is None else None
    return json.dumps(content, indent=indent, separators=separators, allow_nan=False)


def parse_session(text: str) -> Session:
    """Read a session.

    Raises
    ------
    OptionError
        The text is no session.
    """
    try:
        content = json.loads(text[:_MOST])
        _check(content["format"] == _FORMAT and content["version"] == _VERSION)
        layers = tuple(_layer(found) for found in content["layers"])
        return Session(layers, _mapping(content["camera"]), _mapping(content["dims"]))
    except OMEZarrError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        sentence = "This is no session of this plugin."
        action = "Choose a file that Save session… has written."
        raise OptionError(sentence, action=action) from error


def session_address(session: Session) -> str:
    """Give a session as one address that can be sent and pasted."""
    packed = zlib.compress(session_text(session, indent=None).encode(), 9)
    coded = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    # Somebody may look whether it is a file, and systems refuse longer names.
    parts = (coded[at : at + _LONGEST] for at in range(0, len(coded), _LONGEST))
    return SCHEME + "/".join(parts)


def session_in_address(text: str) -> Session:
    """Read a session from its address.

    Raises
    ------
    LocationError
        The address is broken.
    """
    coded = text.strip().partition(SCHEME)[2].replace("/", "")
    try:
        packed = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
        # No more than is read of a file, however much it would unpack to.
        content = zlib.decompressobj().decompress(packed, _MOST).decode()
        return parse_session(content)
    except (binascii.Error, zlib.error, ValueError, OptionError) as error:
        sentence = "This address of a view is broken."
        action = "Copy the view again where it is shown."
        raise LocationError(sentence, action=action) from error


def _layer(found: Any) -> SessionLayer:
    address, kind = found["address"], found["kind"]
    channel, system = found.get("channel"), found.get("coordinate_system")
    _check(kind in ("image", "labels") and isinstance(address, str))
    _check(channel is None or isinstance(channel, int))
    # Somebody may have written a signed address by hand.
    clean = without_secrets(Location.parse(address))
    named = system if isinstance(system, str) else None
    looks, options = _mapping(found["looks"]), _mapping(found.get("options", {}))
    return SessionLayer(clean, kind, channel, named, looks, options)


def _mapping(found: Any) -> dict[str, Any]:
    _check(isinstance(found, dict))
    values: dict[str, Any] = found
    floats = (value for value in values.values() if isinstance(value, float))
    _check(all(map(math.isfinite, floats)))
    return values


def _check(is_right: bool) -> None:
    if not is_right:
        raise ValueError
