"""What the buttons below the target do, by the keys of `save_target.LABELS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .save_state import confirmation, labels_confirmation, target_state
from .save_work import remove, remove_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_omezarr.location import Location

    from .save_state import TargetState
    from .save_survey import Survey
    from .save_wish import Wish

CONDUCT: Mapping[str, Mapping[str, Any]] = {
    "confirm": {"existing": "replace"},
    "beside": {"existing": "beside"},
    "resume": {"unfinished": "resume"},
}
"""What each action asks of a save."""
ADDED: Mapping[str, Mapping[str, Any]] = {
    "add": {},
    "confirm labels": {"existing": "replace"},
    "rename labels": {"existing": "beside"},
    "resume labels": {"unfinished": "resume"},
}
"""What each action asks of adding labels."""
SAID: Mapping[str, Callable[[Survey], TargetState]] = {
    "replace": confirmation,
    "replace labels": labels_confirmation,
    "keep": target_state,
}
"""What is said next."""
TIDIED: Mapping[str, Callable[[Location, Wish], Survey]] = {
    "remove": remove,
    "finish": remove,
    "remove labels": remove_labels,
}
"""What is done to what a save has left."""
