"""How channels and labels are shown, whatever the document leaves out or has wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import MetadataError
from napari_omezarr.plain_text import counted

from .model import Channel, ImageLabel, Labels, Rendering, Window
from .node import relative_path, short_text

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from .node import JsonNode

# How each channel is shown.

_ONE = ("FFFFFF",)
_TWO = ("FF00FF", "00FF00")
_MORE = ("00FFFF", "FFFF00", "FF00FF", "FF0000", "00FF00", "0000FF")
_RGB = ("FF0000", "00FF00", "0000FF")


def usual_colors(count: int) -> tuple[str, ...]:
    """Give the colours of so many channels, in turn, as napari colours those of one.

    White for one, magenta and green for two, and six others for more.
    """
    return _ONE if count == 1 else _TWO if count == 2 else _MORE


@dataclass(frozen=True, slots=True)
class ResolvedChannel:
    """One channel as it is to be shown."""

    name: str
    """The document's label, else ``channel 0``, ...; empty for the only channel of an
    image, which goes by the image's name."""
    color: str
    """Six hex digits: the colour of the highest intensity, on black."""
    contrast_limits: tuple[float, float] | None
    """Lower and upper, the lower one smaller; None where pixels must decide."""
    contrast_range: tuple[float, float] | None
    """The range that limits are offered in; contains the limits. None: no opinion."""
    visible: bool = True
    """Whether it is shown at first."""
    inverted: bool = False
    """Whether the colour is that of the lowest intensity instead."""


def resolve_channels(
    rendering: Rendering | None, count: int, dtype: DTypeLike
) -> tuple[tuple[ResolvedChannel, ...], tuple[str, ...]]:
    """Decide how ``count`` channels are shown, and say what had to be repaired.

    Channels that the ``omero`` block lacks get defaults, those that it has too many
    are ignored.
    """
    listed = rendering.channels if rendering else ()
    warnings = []
    if rendering is not None and len(listed) != count:
        warnings.append(
            f"The document describes {counted(len(listed), 'channel')} and the image "
            f"has {count}."
        )
    channels = (*listed[:count], *[Channel()] * (count - len(listed)))
    grey = rendering is not None and rendering.model == "greyscale"
    resolved = []
    for index, channel in enumerate(channels):
        limits, span, repairs = _contrast(channel.window, np.dtype(dtype))
        warnings += [f"Channel {index}: {repair}." for repair in repairs]
        resolved.append(
            ResolvedChannel(
                name=(channel.label or "").strip()
                or (f"channel {index}" if count > 1 else ""),
                color=_ONE[0]
                if grey
                else channel.color or _default_color(index, count),
                contrast_limits=limits,
                contrast_range=span,
                visible=channel.active,
                inverted=channel.inverted,
            )
        )
    return tuple(resolved), tuple(warnings)


def is_rgb(rendering: Rendering | None, count: int, dtype: DTypeLike) -> bool:
    """Whether channels are the red, green and blue (and alpha) of one picture.

    They are for three ``uint8`` channels with exactly these colours in this order,
    or four of which the last is white or called alpha, all visible, none inverted,
    and each window the whole of 0 to 255 or absent.
    """
    if rendering is None or rendering.model == "greyscale":
        return False
    channels = rendering.channels
    if np.dtype(dtype) != np.uint8 or len(channels) != count or count not in (3, 4):
        return False
    if tuple(channel.color for channel in channels[:3]) != _RGB:
        return False
    if not all(_is_plain(channel) for channel in channels):
        return False
    last = channels[-1]
    named_alpha = (last.label or "").strip().lower() in ("a", "alpha")
    return count == 3 or named_alpha or last.color in (None, "FFFFFF")


def _is_plain(channel: Channel) -> bool:
    window = channel.window or Window()
    full = window.start in (None, 0) and window.end in (None, 255)
    return full and channel.active and not channel.inverted


def _default_color(index: int, count: int) -> str:
    cycle = usual_colors(count)
    return cycle[index % len(cycle)]


def _contrast(
    window: Window | None, dtype: np.dtype[np.generic]
) -> tuple[tuple[float, float] | None, tuple[float, float] | None, list[str]]:
    """Return limits, range and what was repaired."""
    # A window without start and end says nothing of the limits. One that is turned
    # round is turned back, one that is wider than an integer dtype is cut to it, and
    # one that is then empty is not used: pixels decide.
    if window is None:
        return None, None, []
    limits, repairs = _limits(window, _bounds(dtype))
    return limits, _range(window, limits, dtype), repairs


_PERCENTILES = (0.1, 99.9)


def limits_of(values: np.ndarray) -> tuple[float, float]:
    """Give contrast limits for some pixels, low < high: (0, 1) of none that is finite.

    They are the 0.1 and the 99.9 percentile, or the extremes where those are equal; of
    integers the whole numbers around them.
    """
    found = values
    if values.dtype.kind != "u":  # numpy takes differences, which overflow elsewhere
        found = values[np.isfinite(values)].astype(np.float64)
    if found.size == 0:
        return 0.0, 1.0
    if values.dtype.kind == "u" and values.itemsize <= 2:
        low, high = _counted(found)
    else:
        low, high = (float(v) for v in np.percentile(found, _PERCENTILES))
    if low == high:
        low, high = float(found.min()), float(found.max())
    if values.dtype.kind in "biu":
        low, high = float(math.floor(low)), float(math.ceil(high))
    # 1 more is nothing where floats are far apart.
    return low, high if low < high else max(low + 1, math.nextafter(low, math.inf))


def _counted(values: np.ndarray) -> tuple[float, float]:
    """Give percentiles of small numbers: to count takes a tenth of sorting."""
    sums = np.cumsum(np.bincount(values.reshape(-1)))
    last = int(sums[-1]) - 1
    wanted = [part / 100 * last for part in _PERCENTILES]
    ranks = [[int(place), min(int(place) + 1, last)] for place in wanted]
    pairs = np.searchsorted(sums, ranks, side="right").tolist()
    low, high = (
        first + (second - first) * (place % 1)
        for (first, second), place in zip(pairs, wanted, strict=True)
    )
    return low, high


def _limits(
    window: Window, bounds: tuple[float, float] | None
) -> tuple[tuple[float, float] | None, list[str]]:
    start, end = window.start, window.end
    if start is None and end is None:
        return None, []
    start = window.min if start is None else start
    end = window.max if end is None else end
    if start is None or end is None:
        return None, ["its window has only one end and is not used"]
    repairs = []
    if start > end:
        start, end = end, start
        repairs.append("its window was turned round")
    if bounds and (start < bounds[0] or end > bounds[1]):
        start, end = max(start, bounds[0]), min(end, bounds[1])
        repairs.append("its window is wider than the pixel type")
    if not start < end:
        return None, [*repairs, "its window is empty and is not used"]
    return (start, end), repairs


def _range(
    window: Window, limits: tuple[float, float] | None, dtype: np.dtype[np.generic]
) -> tuple[float, float] | None:
    """Return min to max within the pixel type, or the whole of a small pixel type."""
    bounds = _bounds(dtype)
    span = None
    if window.min is not None and window.max is not None:
        span = (window.min, window.max)
        if bounds:
            span = (max(span[0], bounds[0]), min(span[1], bounds[1]))
    elif limits and dtype.itemsize <= 2:
        span = bounds
    if span and limits:
        span = (min(span[0], limits[0]), max(span[1], limits[1]))
    return span if span and span[0] < span[1] else None


def _bounds(dtype: np.dtype[np.generic]) -> tuple[float, float] | None:
    if dtype.kind == "b":
        return 0.0, 1.0
    if dtype.kind not in "iu":
        return None
    info = np.iinfo(dtype.str)
    return float(info.min), float(info.max)


# The ``omero`` block: how channels are shown.

_FUNCTION = re.compile(
    r"rgba?\((\s*\d{1,3}(?:\.\d+)?(?:[\s,]+\d{1,3}(?:\.\d+)?){2,3}\s*)\)"
)
_HEX = re.compile(r"(?:#|0x)?([0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")


def parse_rendering(node: JsonNode) -> Rendering | None:
    """Parse the ``omero`` block; None where there is none.

    Nothing in it makes an image unreadable.
    """
    if not node.exists:
        return None
    if not isinstance(node.value, Mapping):
        node.note("is no object; it is ignored")
        return None
    if not node.child("channels").exists:
        node.note("lists no channels")
    rdefs = node.child("rdefs")
    return Rendering(
        channels=tuple(map(_parse_channel, node.child("channels").elements())),
        model=_parse_model(rdefs.child("model")),
        default_t=_parse_index(rdefs.child("defaultT")),
        default_z=_parse_index(rdefs.child("defaultZ")),
    )


def parse_color(node: JsonNode) -> str | None:
    """Return six upper-case hex digits, or None where there is no such colour."""
    # The specification asks for six hex digits. A leading "#" or "0x", and the alpha
    # of RGBA, are dropped; three digits are doubled, as on the web. Lists and OMERO's
    # signed integers, which are RGBA, are understood too.
    if not node.exists:
        return None
    text = node.value.strip() if isinstance(node.value, str) else ""
    match = _HEX.fullmatch(text) or _HEX.fullmatch(_in_hex(node.value))
    if match is None:
        node.note(
            f"{short_text(node.value)} is no colour of six hex digits; it is ignored"
        )
        return None
    digits = match[1].upper()
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    if digits[:6] != text.upper():
        written = short_text(node.value)
        node.note(f"{written} is no colour of six hex digits; read as {digits[:6]}")
    return digits[:6]


def _in_hex(value: Any) -> str:
    """Give the six digits of a colour that is written in another way, or nothing."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if re.fullmatch(r"-\d{1,10}", text):
        value = int(text)
    if found := _FUNCTION.fullmatch(text):
        value = [float(part) for part in re.split(r"[\s,]+", found[1].strip())[:3]]
    if isinstance(value, int) and not isinstance(value, bool):
        signed = -(2**31) <= value < 0 or 2**24 <= value < 2**32
        return f"{(value & 0xFFFFFFFF) >> 8:06X}" if signed else ""
    return _listed_in_hex(value)


def _listed_in_hex(value: Any) -> str:
    if not isinstance(value, list | tuple) or len(value) not in (3, 4):
        return ""
    parts = [part for part in value[:3] if isinstance(part, int | float)]
    if len(parts) != 3 or not all(0 <= part <= 255 for part in parts):
        return ""
    # Floats up to 1 are parts of the whole.
    unit = 255 if max(parts) <= 1 and any(isinstance(p, float) for p in value) else 1
    return "".join(f"{round(part * unit):02X}" for part in parts)


def _parse_channel(node: JsonNode) -> Channel:
    if node.exists and not isinstance(node.value, Mapping):
        node.note("is no object; the channel is shown with defaults")
    return Channel(
        label=node.child("label").text(),
        color=parse_color(node.child("color")),
        window=_parse_window(node.child("window")),
        active=node.child("active").flag(default=True),
        inverted=node.child("inverted").flag(default=False),
    )


def _parse_window(node: JsonNode) -> Window | None:
    if not node.exists:
        return None
    start, end, lowest, highest = (
        node.child(key).number() for key in ("start", "end", "min", "max")
    )
    if all(value is None for value in (start, end, lowest, highest)):
        node.note("gives no numbers; it is ignored")
        return None
    return Window(start=start, end=end, min=lowest, max=highest)


def _parse_model(node: JsonNode) -> str:
    model = (node.text() or "color").strip().lower()
    if model in ("greyscale", "grayscale"):
        return "greyscale"
    if model != "color":
        node.note(f"{short_text(model)} is neither color nor greyscale; read as color")
    return "color"


def _parse_index(node: JsonNode) -> int | None:
    index = node.integer()
    if index is not None and index < 0:
        node.note(f"{short_text(index)} is no index; it is ignored")
        return None
    return index


# The ``labels`` group, and the ``image-label`` block of a label image.

RGBA = tuple[int, int, int, int]

_KEY = "label-value"


def parse_labels(node: JsonNode) -> Labels:
    """Parse the list of paths of a ``labels`` group."""
    if not isinstance(node.value, list | tuple):
        raise node.error("The labels are no list of paths")
    return Labels(parse_paths(node))


def parse_paths(node: JsonNode) -> tuple[str, ...]:
    """Return the usable paths of a list, each once; the others leave a note."""
    paths: dict[str, None] = {}
    for element in node.elements():
        path = path_or_note(element)
        if path is not None:
            paths[path] = None
    return tuple(paths)


def path_or_note(node: JsonNode) -> str | None:
    """Return a path inside the group; None and a note where it is none."""
    try:
        path = relative_path(node)
    except MetadataError as error:
        node.note(error.problem)
        return None
    if path is None:
        node.note("is left out: it has no usable path")
    return path


def parse_image_label(node: JsonNode) -> ImageLabel | None:
    """Parse the ``image-label`` block; None where there is none.

    Nothing in it makes an image unreadable.
    """
    if not node.exists:
        return None
    if not isinstance(node.value, Mapping):
        node.note("is no object; it is ignored")
        return ImageLabel()
    return ImageLabel(
        colors=_parse_colors(node.child("colors")),
        properties=_parse_properties(node.child("properties")),
        source=_parse_source(node.child("source")),
    )


def _parse_colors(node: JsonNode) -> dict[int, RGBA]:
    colors: dict[int, RGBA] = {}
    for element in node.elements():
        plain = _plain_color(element.value, colors)
        if plain is not None:
            colors[plain[0]] = plain[1]
            continue
        value = _label_value(element, colors)
        rgba = _parse_rgba(element.child("rgba"))
        if value is not None and rgba is not None:
            colors[value] = rgba
    return colors


def _plain_color(entry: Any, seen: Mapping[int, object]) -> tuple[int, RGBA] | None:
    """Read an entry of which there is nothing to say, as there may be thousands."""
    if type(entry) is not dict:
        return None
    value, rgba = entry.get(_KEY), entry.get("rgba")
    if type(value) is not int or not 0 <= value < 2**63 or value in seen:
        return None
    if type(rgba) is not list or len(rgba) != 4 or {*map(type, rgba)} != {int}:
        return None
    red, green, blue, alpha = rgba
    is_plain = min(rgba) >= 0 and max(rgba) <= 255
    return (value, (red, green, blue, alpha)) if is_plain else None


def _parse_properties(node: JsonNode) -> dict[int, Mapping[str, Any]]:
    properties: dict[int, Mapping[str, Any]] = {}
    for element in node.elements():
        value = _label_value(element, properties)
        if value is not None:
            properties[value] = {
                str(key): item for key, item in element.value.items() if key != _KEY
            }
    return properties


def _label_value(node: JsonNode, seen: Mapping[int, object]) -> int | None:
    if not isinstance(node.value, Mapping):
        node.note("is no object; it is ignored")
        return None
    value = node.child(_KEY).integer()
    # Pixels are at most 64 bits wide; napari cannot colour what numpy cannot hold.
    if value is None or not -(2**63) <= value < 2**64:
        node.note("has no label value; it is ignored")
        return None
    # 0.4 "labels": of duplicate label values, the last entry counts.
    if value in seen:
        node.note(f"repeats label value {value}; the last entry counts")
    return value


def _parse_rgba(node: JsonNode) -> RGBA | None:
    if not node.exists:
        return None
    numbers = [element.number() for element in node.elements()]
    known = [number for number in numbers if number is not None]
    if len(known) != len(numbers) or len(known) not in (3, 4):
        node.note("is no colour of four numbers; it is ignored")
        return None
    if len(known) == 3:
        node.note("has no alpha; read as opaque")
    if any(not number.is_integer() for number in known) and max(known) <= 1:
        node.note("is from 0 to 1 and not to 255")
        known = [number * 255 for number in known]
    red, green, blue, alpha = (*known, 255.0)[:4]
    if any(not 0 <= number <= 255 for number in known):
        node.note("is not from 0 to 255; it is cut")
    return _byte(red), _byte(green), _byte(blue), _byte(alpha)


def _byte(value: float) -> int:
    return round(min(max(value, 0.0), 255.0))


def _parse_source(node: JsonNode) -> str:
    default = ImageLabel().source
    if isinstance(node.value, str):
        node.note("is a string and no object; read as the image's path")
        return node.value or default
    return node.child("image").text() or default
