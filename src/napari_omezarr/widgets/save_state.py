"""What the save dock says of a target, and what it offers; decided purely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .save_text import listing_text

if TYPE_CHECKING:
    from .save_survey import Survey


@dataclass(frozen=True, slots=True)
class TargetState:
    """A sentence about the target, the actions offered, and whether it is free."""

    text: str = ""
    actions: tuple[str, ...] = ()
    free: bool = False


def target_state(survey: Survey) -> TargetState:
    """Decide what to say and offer."""
    if survey.is_used and survey.found is not None and survey.labels_only:
        return TargetState("An open layer reads this image.", ("add", "beside"))
    if survey.problem:
        beside = survey.is_used and survey.found is not None
        return TargetState(f"✖ {survey.problem}", ("beside",) if beside else ())
    if survey.place is None:
        return TargetState()
    if survey.unfinished:
        return _broken_off(survey)
    if survey.found is None:
        return TargetState("✔ free", free=True)
    add = ("add",) if survey.labels_only else ()
    text = f"✖ exists: {listing_text(survey.found)}"
    return TargetState(text, (*add, "replace", "beside"))


def _broken_off(survey: Survey) -> TargetState:
    if survey.switching:
        text = "Replacing what was here has broken off. The new image is whole."
        return TargetState(text, ("finish",))
    return TargetState("A save to here has broken off.", ("resume", "remove"))


def confirmation(survey: Survey) -> TargetState:
    """Say what replacing removes, before anything does."""
    if survey.found is None or survey.place is None:
        return target_state(survey)
    text = f"This removes {listing_text(survey.found)} at {survey.place.display}."
    return TargetState(text, ("confirm", "keep"))
