"""What the person has set in the save dock: as options, and as remembered."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import OptionError
from napari_omezarr.user_files import configuration_folder, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    for field, value in values.items():
        read = _READERS.get(field, _word)
        found = read(field, value)
        if found is not None:
            options[field] = found
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
