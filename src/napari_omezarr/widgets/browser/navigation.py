"""Where the person was: back, and up; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_omezarr.location import Location

    Stop = tuple[Location, ...]

MOST = 100
"""Stops that are remembered."""


class History:
    """The stops of a walk: a place, several places, or ``()`` for the start page."""

    def __init__(self) -> None:
        self._stops: list[Stop] = [()]

    @property
    def here(self) -> Stop:
        """What is shown now."""
        return self._stops[-1]

    @property
    def can_go_back(self) -> bool:
        """Whether anything was shown before."""
        return len(self._stops) > 1

    def go(self, stop: Stop) -> None:
        """Remember what is shown now; the same again counts once."""
        if stop != self.here:
            self._stops.append(stop)
            del self._stops[:-MOST]

    def back(self) -> Stop:
        """Forget what is shown, and give what was before."""
        if self.can_go_back:
            self._stops.pop()
        return self.here


def above(stop: Stop) -> Stop:
    """Give the place above; the start page above a bucket, a host or a disk."""
    if len(stop) != 1:
        return ()
    (place,) = stop
    return (place.parent,) if place.path or place.member else ()


def step_between(below: Stop, stop: Stop) -> str:
    """Give the name of the row that leads from a place to the one below it."""
    if len(below) == 1 and above(below) == stop:
        return below[0].name
    return ""
