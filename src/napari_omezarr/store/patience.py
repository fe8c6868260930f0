"""How long to wait for a place, and how often to ask again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds on waiting and asking again; all times in seconds.

    Attributes
    ----------
    connect, silence : float
        How long a connection may take, and how long one may be silent.
    tries : int
        How often a key is asked for at most.
    total : float
        No further try begins after this time.
    first_pause, longest_pause : float
        The pause before the second try is drawn from zero to `first_pause`; the
        bound doubles with each further try, up to `longest_pause`. A server's own
        ``Retry-After`` is kept up to `longest_pause` too.
    """

    connect: float = 15
    silence: float = 20
    tries: int = 6
    total: float = 60
    first_pause: float = 0.25
    longest_pause: float = 10

    def pause(self, failures: int, elapsed: float, asked: float = 0) -> float | None:
        """Decide how long to wait before asking again.

        Parameters
        ----------
        failures : int
            How many tries have failed, at least 1.
        elapsed : float
            Seconds since the first try began.
        asked : float
            The server's ``Retry-After`` in seconds, 0 if it gave none.

        Returns
        -------
        float or None
            Seconds to wait, or None to give up.

        Notes
        -----
        "Full jitter": many clients that failed together come back spread out.
        """
        if failures >= self.tries:
            return None
        bound = min(self.longest_pause, self.first_pause * 2 ** (failures - 1))
        pause = max(random.uniform(0, bound), min(asked, self.longest_pause))
        return pause if elapsed + pause < self.total else None
