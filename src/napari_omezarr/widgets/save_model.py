"""What the save dock says and offers, and what the person has set; no widgets here."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import OptionError
from napari_omezarr.plain_text import bytes_text, counted, narrow_shape_text
from napari_omezarr.user_files import configuration_folder, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_omezarr.writing import (
        ImagePlan,
        LabelsThere,
        Plan,
        Progress,
        StoredSize,
    )

    from .background_save import SavePreview

AUTO = "auto"
NONE = "none"
MANY = 100_000
"""Objects from which on saving, copying and deleting take very long."""

_FILE = "save.json"
_PAIR = re.compile(r"^(\w+)=(\S+)$")

_log = logging.getLogger(__name__)

# What is at the target, and what can be done about it.


@unique
class SaveAction(Enum):
    """What a button below the target does; its value is the button's text."""

    REPLACE = "&Replace…"
    CONFIRM_REPLACE = "&Remove them and save"
    KEEP = "&Keep them"
    BESIDE = "Save &beside"
    RESUME = "&Resume"
    REMOVE = "Re&move"
    FINISH = "&Finish"
    ADD_LABELS = "&Add labels to it"
    REPLACE_LABELS = "Replace these &labels…"
    RENAME_LABELS = "Add under another &name"
    CONFIRM_LABELS = "&Remove them and add"
    RESUME_LABELS = "&Resume adding"
    REMOVE_LABELS = "Re&move what was begun"
    ADD_TABLES = "&Add to this image"
    REPLACE_TABLES = "Replace these &tables"
    RENAME_TABLES = "Add them under another &name"
    SIGN_IN = "Sign &in…"


@dataclass(frozen=True, slots=True)
class TargetState:
    """A sentence about the target, the actions offered, and whether it is free."""

    text: str = ""
    actions: tuple[SaveAction, ...] = ()
    free: bool = False


def target_state(preview: SavePreview) -> TargetState:
    """Decide what to say of the target, and what to offer."""
    is_added = bool(preview.beside) or preview.labels is not None
    if is_added and not preview.is_refused:
        return _additions(preview)
    if preview.problem:
        return _problem(preview)
    if preview.place is None:
        return TargetState()
    if preview.unfinished:
        return _broken_off(preview)
    if preview.found is None:
        free = f"✔ {preview.named} is free" if preview.named else "✔ free"
        return TargetState(" ".join((free, *preview.notes)), free=True)
    exists = f"{preview.named} exists" if preview.named else "exists"
    text = f"✖ {exists}: {stored_text(preview.found)}"
    return _with_adding(preview, text, SaveAction.REPLACE, SaveAction.BESIDE)


def _with_adding(preview: SavePreview, text: str, *actions: SaveAction) -> TargetState:
    """Offer to add labels to the image that is there, too, or say why that is not."""
    if not preview.labels_only or preview.misfit:
        return TargetState(" ".join(filter(None, (text, preview.misfit))), actions)
    if preview.adding:
        text = f"{text} Adding the labels to it: {preview.adding}."
    return TargetState(text, (SaveAction.ADD_LABELS, *actions))


def _additions(preview: SavePreview) -> TargetState:
    """Say what becomes of labels, or of points and the like, at an image."""
    if preview.labels is not None:
        return _labels_in_the_way(preview.labels, preview.taken)
    if preview.found is None:  # there is no image, or no address yet
        return TargetState()
    if not preview.taken:
        text = "Goes beside the image that is here."
        return TargetState(text, (SaveAction.ADD_TABLES,))
    text = f"✖ Beside the image is already: {', '.join(preview.taken)}."
    return TargetState(text, (SaveAction.REPLACE_TABLES, SaveAction.RENAME_TABLES))


def _problem(preview: SavePreview) -> TargetState:
    if not preview.is_used or preview.found is None:
        actions = (SaveAction.SIGN_IN,) if preview.is_refused else ()
        return TargetState(f"✖ {preview.problem}", actions)
    if preview.labels_only:
        text = "An open layer reads this image."
        return _with_adding(preview, text, SaveAction.BESIDE)
    return TargetState(f"✖ {preview.problem}", (SaveAction.BESIDE,))


def _broken_off(preview: SavePreview) -> TargetState:
    if preview.switching:
        text = "Replacing what was here has broken off. The new image is whole."
        return TargetState(text, (SaveAction.FINISH,))
    text = "A save to here has broken off."
    return TargetState(text, (SaveAction.RESUME, SaveAction.REMOVE))


def _labels_in_the_way(labels: LabelsThere, tables: Sequence[str]) -> TargetState:
    if labels.unfinished:
        text = "Adding these labels has broken off."
        remove = () if labels.switching else (SaveAction.REMOVE_LABELS,)
        return TargetState(text, (SaveAction.RESUME_LABELS, *remove))
    said = ["✖"]
    if labels.taken:
        said += [f"The image has labels of this name: {', '.join(labels.taken)}."]
    if tables:
        said += [f"Beside the image is already: {', '.join(tables)}."]
    text = " ".join(said)
    actions = (SaveAction.REPLACE_LABELS, SaveAction.RENAME_LABELS, SaveAction.BESIDE)
    return TargetState(text, actions)


def confirmation(preview: SavePreview) -> TargetState:
    """Say what replacing removes, before anything does."""
    if preview.found is None or preview.place is None:
        return target_state(preview)
    text = f"This removes {stored_text(preview.found)} at {preview.place.display}."
    return TargetState(text, (SaveAction.CONFIRM_REPLACE, SaveAction.KEEP))


def labels_confirmation(preview: SavePreview) -> TargetState:
    """Say which labels replacing removes, before anything does."""
    if preview.labels is None:
        return target_state(preview)
    names, found = ", ".join(preview.labels.taken), stored_text(preview.labels.found)
    said = [f"This removes the labels {names}: {found}."] if names else []
    if preview.taken:
        said += [f"This removes what lies beside: {', '.join(preview.taken)}."]
    text = " ".join(said)
    return TargetState(text, (SaveAction.CONFIRM_LABELS, SaveAction.KEEP))


# Plans and progress in words.


def plan_text(plan: Plan) -> str:
    """Say what will be stored.

    Like ``1,204 objects · about 2.1 GB · 5 levels · 0.5, sharded, zstd``.
    """
    first = plan.images[0]
    sharded = any(level.shards for image in plan.images for level in image.levels)
    kinds = [plan.options.version, *(["sharded"] if sharded else []), first.codec.name]
    return f"{plan.summary().replace(', ', ' · ')} · {', '.join(kinds)}"


def automatic_texts(plan: Plan) -> dict[str, str]:
    """Say what the fields come to that are left open, by field.

    Of the first image, at its finest level; of labels of the first labels.
    """
    image = plan.images[0]
    first = image.levels[0]
    step = narrow_shape_text(image.levels[1].step) if len(image.levels) > 1 else ""
    labels = next((one for one in plan.images if one.is_label), None)
    return {
        "levels": str(len(image.levels)),
        "factors": step,
        "chunks": narrow_shape_text(first.chunks),
        "shards": narrow_shape_text(first.shards) if first.shards else NONE,
        "codec": image.codec.name,
        "label_codec": labels.codec.name if labels is not None else "",
        "level": str(image.codec.level),
        "name": image.spec.name,
    }


def warnings_text(plan: Plan) -> str:
    """Say what is worth knowing before; empty if nothing is."""
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
    for table in plan.annotations:
        said.setdefault(table.name, "table beside the image")
    return said


def stored_text(stored: StoredSize) -> str:
    """Say what lies somewhere: ``120 objects, 2.1 GB``."""
    return f"{counted(stored.objects, 'object')}, {bytes_text(stored.size)}"


_OF_FINEST = 0.9
"""The part of a save that its finest level is, about."""


def progress_text(now: Progress, first: Progress, seconds: float) -> str:
    """Say how far, how fast and how long still: ``61 % · 84 MB/s · 0:14 left``.

    `first` was told `seconds` before `now`; a resumed save does not begin at zero.
    """
    share = share_text(now)
    gained = share_of(now) - share_of(first)
    if seconds <= 0 or gained <= 0:
        return share
    rate = (now.read_bytes - first.read_bytes) / seconds
    speed = f" · {bytes_text(rate)}/s" if rate > 0 else ""
    left = round(seconds * (1 - share_of(now)) / gained)
    return f"{share}{speed} · {_clock(left)} left"


def share_of(now: Progress) -> float:
    """Give how much is done, from 0 to 1: by objects while no block is whole.

    Blocks of coarser levels may follow when all of the finest one is stored.
    """
    blocks = now.done / max(1, now.total)
    finest = now.read_bytes / now.total_bytes if now.total_bytes else 0.0
    return max(blocks, _OF_FINEST * min(1.0, finest))


def share_text(now: Progress | None) -> str:
    """Say how much is done; of one that has told nothing that it begins."""
    return "Starting …" if now is None else f"{int(100 * share_of(now))} %"


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _lies_in(label: ImagePlan, image: ImagePlan) -> bool:
    return label.path.startswith(f"{image.path}/labels/" if image.path else "labels/")


# What the person has set: as options, and as remembered.


def options_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Make keyword arguments for ``write_layers`` of the form's values, by field.

    Texts are as they were typed; ``auto`` and nothing leave an option open. One that
    cannot be understood is an OptionError.
    """
    options: dict[str, Any] = {}
    for name, value in values.items():
        read = _READERS.get(name, _text)
        found = read(name, value)
        if found is not None:
            options[name] = found
    return options


def remembered() -> dict[str, Any]:
    """Return the fields as they were at the last save; none at the first."""
    content = read_json(configuration_folder() / _FILE)
    return content if isinstance(content, dict) else {}


def remember(values: Mapping[str, Any]) -> None:
    """Keep fields until the next time; they hold no secret."""
    try:
        write_json(configuration_folder() / _FILE, dict(values))
    except OSError as error:
        # A read-only home is no reason to fail at saving an image.
        _log.info("The choices were not kept: %s", error)


def _text(_: str, value: Any) -> Any:
    if isinstance(value, str):
        value = value.strip()
    return None if value in ("", AUTO) else value


def _number(field: str, value: Any) -> int | None:
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


def _pairs(_: str, value: Any) -> dict[str, str] | None:
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
    "levels": _number,
    "level": _number,
    "units": _pairs,
    "axis_names": _pairs,
}
