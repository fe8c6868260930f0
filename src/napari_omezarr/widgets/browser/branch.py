"""A place in the tree with the rows that it has so far; no Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_omezarr.browsing import Entry, Listing
    from napari_omezarr.errors import OMEZarrError

    from .reply import Reply

MOST = 5_000
"""Rows that are held at a time. Qt lays out all of them when some are added, 5 ms for
each thousand in the GUI thread; and nobody scrolls further to find a name."""


class State(Enum):
    """How far the rows of a branch are."""

    UNASKED = auto()
    LOADING = auto()
    MORE = auto()
    PAUSED = auto()
    """Pages came that had no row: the person is asked before there are more."""
    STOPPED = auto()
    """Loading was cancelled; it can begin again."""
    FAILED = auto()
    ENDED = auto()


@dataclass(slots=True, eq=False)
class Branch:
    """The rows below one entry.

    Rows that nobody opened are entries and nothing else, as there may be thousands
    of them.

    Attributes
    ----------
    key : int
        Tells it from every other branch, also of a tree that was there before.
    entry : Entry
        What it is below.
    parent : Branch or None
        None is the place that the tree shows.
    number : int
        Its row in `parent`.
    prefix : str
        What its names begin with.
    entries : list of Entry
        The rows.
    before : int
        How many rows came before these, and are no longer held.
    below : dict
        The branches of those rows that were opened, by row.
    state : State
        Whether there is more.
    hidden : int
        How many objects are no rows.
    tail : str
        The text of one more row at the end; ``""`` is none.
    """

    key: int
    entry: Entry
    parent: Branch | None = None
    number: int = 0
    prefix: str = ""
    entries: list[Entry] = field(default_factory=list)
    before: int = 0
    below: dict[int, Branch] = field(default_factory=dict)
    state: State = State.UNASKED
    hidden: int = 0
    problem: OMEZarrError | None = None
    listing: Listing | None = None
    reply: Reply | None = None
    tail: str = ""

    @property
    def count(self) -> int:
        """How many rows it has, the one at the end included."""
        return len(self.entries) + bool(self.tail)

    @property
    def goes_on(self) -> bool:
        """Whether the next page comes by scrolling, and not by the last row only."""
        return self.state is State.MORE and not self.is_full

    @property
    def is_full(self) -> bool:
        """Whether further rows come in place of those that are there."""
        return len(self.entries) >= MOST

    def tail_text(self) -> str:
        """Say what comes after the rows; ``""`` if nothing is to be said."""
        if self.state is State.ENDED:
            return self._end() if self.entries else self._nothing()
        problem = self.problem.sentence if self.problem else ""
        more = "show the next" if self.is_full else "load more"
        many = "many; a filter is quicker" if self.is_full else "many"
        return {
            State.UNASKED: "",
            State.LOADING: "Loading …",
            State.MORE: f"… {more} ({self._count()} of {many})",
            State.PAUSED: f"… look further ({self.hidden:,} files so far)",
            State.STOPPED: "… cancelled; load again",
            State.FAILED: f"✖ {problem}",
        }[self.state]

    def _count(self) -> str:
        last = f"{self.before + len(self.entries):,}"
        return f"{self.before + 1:,} to {last}" if self.before else last

    def _end(self) -> str:
        """Say where the rows are that went, if some did."""
        return f"{self._count()}: the end. F5 begins again" if self.before else ""

    def _nothing(self) -> str:
        if self.prefix:
            return f"Nothing begins with “{self.prefix}”."
        if self.hidden:
            files = "1 file" if self.hidden == 1 else f"{self.hidden:,} files"
            return f"No image, but {files}. Show files"
        return "Nothing is here."

    def stop(self) -> None:
        """End what is asked for here and below."""
        if self.reply is not None:
            self.reply.drop()
        if self.listing is not None:
            self.listing.close()
        for branch in self.below.values():
            branch.stop()
