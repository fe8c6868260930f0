"""Commands that move stored bytes from place to place: copy, mirror."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import click

from .options import (
    PLACE,
    interrupted_by,
    location_of,
    of_target,
    place_options,
    target_options,
)
from .output import echo, json_option, print_json, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from napari_omezarr.browsing import Copied, CopyProgress, MirrorPlan
    from napari_omezarr.location import Location

_verify_option = click.option(
    "--verify", is_flag=True, help="Read back and compare what was written."
)


@click.command()
@click.argument("source", type=PLACE)
@click.argument("target", type=PLACE)
@_verify_option
@json_option
@place_options
@target_options
def copy(source: str, target: str, verify: bool, as_json: bool, **reached: Any) -> None:
    """Copy a store byte by byte; started again, it goes on where it broke off."""
    from napari_omezarr.browsing import copy_store

    there = location_of(target, **of_target(reached))
    here = location_of(source, **reached)

    def begin(tell: Callable[[CopyProgress], None]) -> Coroutine[Any, Any, Copied]:
        return copy_store(here, there, progress=tell, verify=verify)

    done = _carried_out(here, begin)
    if as_json:
        facts = {"objects": done.objects, "bytes": done.bytes, "before": done.resumed}
        print_json({"address": done.target.display} | facts)
        return
    before = f", {done.resumed} were there before" if done.resumed else ""
    echo(f"{done.target.display}: {done.objects} objects, {done.bytes} bytes{before}.")


@click.command()
@click.argument("source", type=PLACE)
@click.argument("target", type=PLACE)
@click.option("--delete", is_flag=True, help="Delete what SOURCE has not.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask before anything is overwritten.")
@_verify_option
@json_option
@place_options
@target_options
def mirror(
    source: str,
    target: str,
    delete: bool,
    as_json: bool,
    **reached: Any,
) -> None:
    """Make TARGET equal to SOURCE: what differs, by size and checksum, is copied."""
    from napari_omezarr.browsing import mirror_store, plan_mirror, start

    dry_run, yes, verify = (reached.pop(k) for k in ("dry_run", "yes", "verify"))
    there = location_of(target, **of_target(reached))
    here = location_of(source, **reached)
    plan = start(plan_mirror(here, there)).result()
    extra = len(plan.extra) if delete else 0
    if (plan.changed or extra) and not (yes or dry_run):
        echo(_planned(plan, extra), err=True)
        click.confirm(f"Change {there.display}?", abort=True, err=True)

    def begin(tell: Callable[[CopyProgress], None]) -> Coroutine[Any, Any, Copied]:
        return mirror_store(plan, delete=delete, verify=verify, progress=tell)

    if not dry_run:
        _carried_out(here, begin)
    if as_json:
        facts = {"copied": len(plan.items), "overwritten": len(plan.changed)}
        facts |= {"deleted": extra, "same": plan.same, "bytes": plan.bytes}
        print_json({"address": there.display, "dry_run": dry_run} | facts)
        return
    echo(f"{there.display}: {_planned(plan, extra)}")


def _planned(plan: MirrorPlan, extra: int) -> str:
    new = len(plan.items) - len(plan.changed)
    parts = [
        f"{new} objects are new",
        f"{len(plan.changed)} are overwritten",
        f"{extra} are deleted",
        f"{plan.same} are equal",
    ]
    left = len(plan.extra) - extra
    parts += [f"{left} are at the target only"] if left else []
    return f"{', '.join(parts)}."


def _carried_out(
    source: Location,
    begin: Callable[[Callable[[CopyProgress], None]], Coroutine[Any, Any, Copied]],
) -> Copied:
    """Wait for a copy, show how far it is, and let Ctrl-C end it."""
    from napari_omezarr.browsing import start
    from napari_omezarr.errors import WriteCancelledError

    with progress_bar(f"Copying {source.name}") as show:

        def tell(progress: CopyProgress) -> None:
            show(progress.objects / max(1, progress.all_objects))

        copying = start(begin(tell))
        with interrupted_by(copying.cancel):
            try:
                return copying.result()
            except CancelledError:
                sentence = f"The copy of {source.display} was stopped."
                action = "The same command goes on where it was."
                raise WriteCancelledError(sentence, action=action) from None
