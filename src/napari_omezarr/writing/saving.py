"""Carry out a plan at a target, from the first check to the last document."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_omezarr.errors import (
    ConflictError,
    TargetExistsError,
    UnfinishedWriteError,
)

from .contrast import with_contrast
from .documents import plan_documents
from .engine import Running, run_plan
from .journal import Journal, journal_digest
from .planning import agreed
from .verify import Verification, source_changed

if TYPE_CHECKING:
    from .engine import Executor
    from .options import Conduct
    from .plan import Plan
    from .target import Listing, Target


@dataclass(frozen=True, slots=True)
class Saved:
    """What was saved.

    Parameters
    ----------
    address : str
        Where, without secrets.
    plan : Plan
        What was written, with the contrast that was found, unless all that was left
        to do was to put it into the place of another.
    verified : int
        How many boxes were read back and found equal.
    notes : tuple of str
        What could not be found out about the place before.
    """

    address: str
    plan: Plan
    verified: int
    notes: tuple[str, ...] = ()


def save(
    plan: Plan,
    target: Target,
    conduct: Conduct,
    executor: Executor,
    running: Running | None = None,
) -> Saved:
    """Write all pixels, then the documents; until then there is no image.

    Parameters
    ----------
    plan : Plan
        What to write.
    target : Target
        Where.
    conduct : Conduct
        What to do with what is there.
    executor : Executor
        Who writes blocks; it is left open.
    running : Running, optional
        Progress and cancelling.

    Raises
    ------
    LossError
        The plan loses something that nobody agreed to.
    TargetExistsError
        Something is there, or appeared meanwhile.
    UnfinishedWriteError
        A save that broke off is there, and is neither to be resumed nor removed.
    VerificationError
        What was read back differs.
    StoreError
        Reading or writing failed. What is done is kept, for resuming.
    WriteCancelledError
        It was cancelled. The same holds.
    """
    running = running or Running(verify=conduct.verify)
    agreed(plan)
    resumed = _resumed(target, plan, conduct)
    if resumed and target.switching:
        target.finish()
        return Saved(target.address, plan, 0)
    replaced = target.agreed() if resumed else _replaceable(target, conduct)
    target.begin(replaced)
    with Journal(target.journal, plan.digest) as journal:
        if resumed and source_changed(plan, journal):
            raise ConflictError(
                "The layers have changed since this save broke off.",
                action="Remove the unfinished save, and begin anew.",
                url=target.address,
            )
        with Verification(plan, target.staged, running.verify) as verification:
            verification.resume(journal)
            running = replace(running, stored=verification.add)
            run_plan(plan, target.staged, journal, executor, running)
            plan = with_contrast(plan, target.staged)
            verified = verification.finish()
    target.commit(plan_documents(plan), replaced)
    return Saved(target.address, plan, verified, target.notes)


def _replaceable(target: Target, conduct: Conduct) -> Listing | None:
    """Give what may be replaced; None where the place is free."""
    found = target.occupied()
    if found is not None and conduct.existing != "replace":
        raise TargetExistsError(
            f"{target.address} exists already ({found.objects:,} objects).",
            action="Choose another name, or replace it.",
            url=target.address,
        )
    return found


def _resumed(target: Target, plan: Plan, conduct: Conduct) -> bool:
    """Say whether an unfinished save is to go on; one that is not wanted is removed."""
    if not target.unfinished():
        return False
    if target.agreed() is None:  # what appeared since is not hidden by what is ours
        _replaceable(target, conduct)
    if conduct.unfinished == "remove":
        target.discard()
        return False
    if conduct.unfinished == "refuse":
        raise UnfinishedWriteError(
            f"A save to {target.address} has broken off.",
            action="Resume it, or remove it.",
            url=target.address,
        )
    if journal_digest(target.journal) != plan.digest:
        raise UnfinishedWriteError(
            f"The save to {target.address} that broke off had other options.",
            action="Choose the same ones again, or remove it.",
            url=target.address,
        )
    return True
