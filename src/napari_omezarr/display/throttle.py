"""When layers are refreshed: often enough to see progress, rarely enough to work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Throttle:
    """Spaces refreshes by what the last one cost; times in seconds of one clock.

    Attributes
    ----------
    rest : float
        How many times as long as it took the GUI thread is left to others.
    shortest : float
        The least time between two refreshes.
    """

    rest: float = 3.0
    shortest: float = 0.03
    ready_at: float = 0.0

    def wait(self, now: float) -> float:
        """Give the time until the next refresh may begin."""
        return max(0.0, self.ready_at - now)

    def spent(self, began: float, ended: float) -> None:
        """Note what a refresh took."""
        cost = ended - began
        self.ready_at = ended + max(self.shortest - cost, self.rest * cost)
