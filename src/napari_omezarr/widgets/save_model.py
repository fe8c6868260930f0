"""What the save dock knows and says, apart from its widgets.

What it does in threads imports what is heavy there, so that the dock opens at once.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import (
    OptionError,
)
from napari_omezarr.user_files import configuration_folder, read_json, write_json

from .quantities import bytes_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import Event

    from napari.layers import Layer

    from napari_omezarr.location import Location
    from napari_omezarr.writing import ImagePlan, Plan, Progress, StoredSize

    from .open import Opened
    from .save_preview import SavePreview

    LayerData = tuple[Any, dict[str, Any], str]
    Tell = Callable[[Progress], None]


# Plans, progress and what is in the way, in words.

MANY = 100_000
"""Objects from which on saving, copying and deleting take very long."""


def plan_text(plan: Plan) -> str:
    """Say what will be stored.

    Like ``1,204 objects · about 2.1 GB · 5 levels · 0.5, sharded, zstd``.
    """
    first = plan.images[0]
    sharded = any(level.shards for image in plan.images for level in image.levels)
    kinds = [plan.options.version, *(["sharded"] if sharded else []), first.codec.name]
    return f"{plan.summary().replace(', ', ' · ')} · {', '.join(kinds)}"


def warnings_text(plan: Plan) -> str:
    """Say what is worth knowing before; empty where nothing is."""
    lines = list(plan.notes)
    if plan.objects > MANY:
        slow = f"{plan.objects:,} objects are slow to store."
        lines.append(f"{slow} Choose larger chunks, or shards.")
    return "\n".join(lines)


def roles(plan: Plan) -> dict[str, str]:
    """Say what becomes of each layer, by its name, with the reason where one is due."""
    said: dict[str, str] = {}
    owner: ImagePlan | None = None
    for image in plan.images:
        if image.is_label and owner is not None and _lies_in(image, owner):
            said[image.spec.name] = f"labels of {owner.spec.name}"
            continue
        owner = image
        why = f": {image.reason}" if image.reason else ""
        names = [display.name for display in image.spec.displays] or [image.spec.name]
        for number, name in enumerate(names):
            several = len(names) > 1
            what = f"channel {number} of {image.spec.name}" if several else "image"
            said[name] = f"{'labels alone' if image.is_label else what}{why}"
        if len({*names}) > 1 and image.spec.name not in said:
            said[image.spec.name] = f"image of {len(names)} channels{why}"
    return said


def listing_text(listing: StoredSize) -> str:
    """Say what lies somewhere: ``120 objects, 2.1 GB``."""
    plural = "" if listing.objects == 1 else "s"
    return f"{listing.objects:,} object{plural}, {bytes_text(listing.size)}"


def progress_text(now: Progress, first: Progress, seconds: float) -> str:
    """Say how far, how fast and how long still: ``61 % · 84 MB/s · 0:14 left``.

    Parameters
    ----------
    now, first : Progress
        Of this moment, and when this run began to tell (a resumed one has a start).
    seconds : float
        Between the two.
    """
    share = f"{100 * now.done // max(1, now.total)} %"
    done = now.done - first.done
    if done <= 0 or seconds <= 0:
        return share
    rate = (now.read_bytes - first.read_bytes) / seconds
    left = round(seconds * (now.total - now.done) / done)
    speed = f" · {bytes_text(rate)}/s" if rate > 0 else ""
    return f"{share}{speed} · {_clock(left)} left"


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _lies_in(label: ImagePlan, image: ImagePlan) -> bool:
    return label.path.startswith(f"{image.path}/labels/" if image.path else "labels/")


# What the save dock says of a target, and what it offers; decided purely.


@dataclass(frozen=True, slots=True)
class TargetState:
    """A sentence about the target, the actions offered, and whether it is free."""

    text: str = ""
    actions: tuple[str, ...] = ()
    free: bool = False


def target_state(survey: SavePreview) -> TargetState:
    """Decide what to say and offer."""
    if survey.labels.taken or survey.labels.unfinished:
        return _labels_in_the_way(survey)
    if survey.problem:
        return _problem(survey)
    if survey.place is None:
        return TargetState()
    if survey.unfinished:
        return _broken_off(survey)
    if survey.found is None:
        return TargetState(" ".join(("✔ free", *survey.notes)), free=True)
    add = ("add",) if survey.labels_only else ()
    text = f"✖ exists: {listing_text(survey.found)}"
    return TargetState(text, (*add, "replace", "beside"))


def _problem(survey: SavePreview) -> TargetState:
    beside = survey.is_used and survey.found is not None
    if beside and survey.labels_only:
        return TargetState("An open layer reads this image.", ("add", "beside"))
    return TargetState(f"✖ {survey.problem}", ("beside",) if beside else ())


def _broken_off(survey: SavePreview) -> TargetState:
    if survey.switching:
        text = "Replacing what was here has broken off. The new image is whole."
        return TargetState(text, ("finish",))
    return TargetState("A save to here has broken off.", ("resume", "remove"))


def _labels_in_the_way(survey: SavePreview) -> TargetState:
    """Say that the image has such labels; they are refused, replaced or renamed."""
    if survey.labels.unfinished:
        text = "Adding these labels has broken off."
        actions = () if survey.labels.switching else ("remove labels",)
        return TargetState(text, ("resume labels", *actions))
    names = ", ".join(survey.labels.taken)
    text = f"✖ The image has labels of this name: {names}."
    return TargetState(text, ("replace labels", "rename labels", "beside"))


def labels_confirmation(survey: SavePreview) -> TargetState:
    """Say which labels replacing removes, before anything does."""
    names = ", ".join(survey.labels.taken)
    text = f"This removes the labels {names}: {listing_text(survey.labels.found)}."
    return TargetState(text, ("confirm labels", "keep"))


def confirmation(survey: SavePreview) -> TargetState:
    """Say what replacing removes, before anything does."""
    if survey.found is None or survey.place is None:
        return target_state(survey)
    text = f"This removes {listing_text(survey.found)} at {survey.place.display}."
    return TargetState(text, ("confirm", "keep"))


# What the person has set in the save dock: as options, and as remembered.

AUTO = "auto"
NONE = "none"

_FILE = "save.json"
_PAIR = re.compile(r"^(\w+)=(\S+)$")

_log = logging.getLogger(__name__)


def options_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Make keyword arguments for ``write_layers`` of what the form holds.

    Parameters
    ----------
    values : Mapping
        By field, texts as they were typed; ``auto`` and nothing leave it open.

    Raises
    ------
    OptionError
        A text cannot be understood.
    """
    options: dict[str, Any] = {}
    for name, value in values.items():
        read = _READERS.get(name, _word)
        found = read(name, value)
        if found is not None:
            options[name] = found
    return options


def remembered() -> dict[str, Any]:
    """Give the fields as they were at the last save; none at the first."""
    content = read_json(configuration_folder() / _FILE)
    return content if isinstance(content, dict) else {}


def remember(values: Mapping[str, Any]) -> None:
    """Keep fields until the next time; they hold no secret."""
    try:
        write_json(configuration_folder() / _FILE, dict(values))
    except OSError as error:
        # A read-only home is no reason to fail at saving an image.
        _log.info("The choices were not kept: %s", error)


def _word(_: str, value: Any) -> Any:
    if isinstance(value, str):
        value = value.strip()
    return None if value in ("", AUTO) else value


def _whole(field: str, value: Any) -> int | None:
    text = str(value).strip()
    if text in ("", AUTO):
        return None
    try:
        return int(text)
    except ValueError:
        raise OptionError(
            f"{text} is no number of {field}s.", action="Type a whole number, or auto."
        ) from None


def _sizes(field: str, value: Any) -> Any:
    """Read ``1 64 256 256``, or ``z=1 y=256`` for some axes; ``none`` for shards."""
    text = str(value).strip()
    if text in ("", AUTO):
        return None
    if text == NONE and field == "shards":
        return False
    try:
        if "=" in text:
            return {k: int(v) for k, v in map(_pair, _parts(text))}
        return tuple(int(part) for part in _parts(text.replace("x", " ")))
    except ValueError:
        raise OptionError(
            f"{text} is no size for each axis.",
            action="Type numbers like 1 256 256, or z=1 y=256 x=256.",
        ) from None


def _words(_: str, value: Any) -> dict[str, str] | None:
    """Read ``z=micrometer y=micrometer``."""
    text = str(value).strip()
    try:
        return dict(map(_pair, _parts(text))) if text else None
    except ValueError:
        raise OptionError(
            f"{text} says nothing of an axis.", action="Type them like z=um y=um x=um."
        ) from None


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"[,;\s]+", text) if part]


def _pair(text: str) -> tuple[str, str]:
    found = _PAIR.match(text)
    if found is None:
        raise ValueError(text)
    return found[1], found[2]


_READERS = {
    "chunks": _sizes,
    "shards": _sizes,
    "factors": _sizes,
    "levels": _whole,
    "level": _whole,
    "units": _words,
    "axis_names": _words,
}

# What is to be saved, taken out of the viewer as values for a thread.


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """What the save dock asks for.

    Parameters
    ----------
    layers : tuple of (data, options, type)
        Those to be saved.
    address : str
        As it was typed; it may hold secrets.
    options : Mapping
        Keyword arguments of ``write_layers``.
    in_use : frozenset of str
        The addresses that open layers read.
    """

    layers: tuple[LayerData, ...]
    address: str
    options: Mapping[str, Any]
    in_use: frozenset[str]

    def __repr__(self) -> str:
        return f"Wish({len(self.layers)} layers)"


def layer_data(layer: Layer) -> LayerData:
    """Give a layer's data with the range of its slider, which napari leaves out."""
    data, options, kind = layer.as_layer_data_tuple()
    span = getattr(layer, "contrast_limits_range", None)
    return data, {"contrast_limits_range": span, **options}, kind


# What the save dock does in threads; the imports are there too, for they are heavy.

_OF_LABELS = (
    "label_codec", "label_level", "label_method", "verify", "accept_losses",
    "existing", "unfinished",
)  # fmt: skip


def preview_save(wish: SaveRequest) -> SavePreview:
    """Find out what would be written, and what is in its way."""
    from .save_preview import save_preview

    return save_preview(wish)


def remove_unfinished(place: Location, wish: SaveRequest) -> SavePreview:
    """Remove what a save that broke off has left, and look again."""
    from .save_preview import discard, save_preview

    discard(place, wish.options)
    return save_preview(wish)


def remove_labels(place: Location, wish: SaveRequest) -> SavePreview:
    """Remove what adding labels has left where it broke off, and look again."""
    from .save_preview import discard_added, save_preview

    discard_added(place, wish)
    return save_preview(wish)


def save_new(
    wish: SaveRequest,
    place: Location,
    conduct: Mapping[str, Any],
    tell: Tell,
    cancel: Event,
) -> Location:
    """Save layers; give where they are, which is another place if that was asked."""
    from napari_omezarr.writing import write_layers

    saved = write_layers(
        wish.layers,
        place,
        in_use=wish.in_use,
        progress=tell,
        cancel=cancel,
        **{**wish.options, **conduct},
    )
    name = saved.address.replace("\\", "/").rpartition("/")[2]
    return place if name == place.name else place.parent / name


def save_into(
    wish: SaveRequest,
    place: Location,
    conduct: Mapping[str, Any],
    tell: Tell,
    cancel: Event,
) -> Location:
    """Add labels to the image at a place, one layer after the other."""
    from napari_omezarr.writing import add_labels

    chosen = {**wish.options, **conduct}
    options = {key: chosen[key] for key in _OF_LABELS if key in chosen}
    for layer in wish.layers:
        add_labels(
            layer, place, in_use=wish.in_use, progress=tell, cancel=cancel, **options
        )
    return place


def open_saved(place: Location) -> Opened:
    """Read what is needed to show what was saved."""
    from .open import open_place

    return open_place(place)
