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


def _problem(survey: Survey) -> TargetState:
    beside = survey.is_used and survey.found is not None
    if beside and survey.labels_only:
        return TargetState("An open layer reads this image.", ("add", "beside"))
    return TargetState(f"✖ {survey.problem}", ("beside",) if beside else ())


def _broken_off(survey: Survey) -> TargetState:
    if survey.switching:
        text = "Replacing what was here has broken off. The new image is whole."
        return TargetState(text, ("finish",))
    return TargetState("A save to here has broken off.", ("resume", "remove"))


def _labels_in_the_way(survey: Survey) -> TargetState:
    """Say that the image has such labels; they are refused, replaced or renamed."""
    if survey.labels.unfinished:
        text = "Adding these labels has broken off."
        actions = () if survey.labels.switching else ("remove labels",)
        return TargetState(text, ("resume labels", *actions))
    names = ", ".join(survey.labels.taken)
    text = f"✖ The image has labels of this name: {names}."
    return TargetState(text, ("replace labels", "rename labels", "beside"))


def labels_confirmation(survey: Survey) -> TargetState:
    """Say which labels replacing removes, before anything does."""
    names = ", ".join(survey.labels.taken)
    text = f"This removes the labels {names}: {listing_text(survey.labels.found)}."
    return TargetState(text, ("confirm labels", "keep"))


def confirmation(survey: Survey) -> TargetState:
    """Say what replacing removes, before anything does."""
    if survey.found is None or survey.place is None:
        return target_state(survey)
    text = f"This removes {listing_text(survey.found)} at {survey.place.display}."
    return TargetState(text, ("confirm", "keep"))
