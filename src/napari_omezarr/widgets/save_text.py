"""Plans, progress and what is in the way, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .region_text import bytes_text

if TYPE_CHECKING:
    from napari_omezarr.writing import Plan, Progress
    from napari_omezarr.writing.hierarchy import Listing
    from napari_omezarr.writing.plan import ImagePlan

MANY = 100_000
"""Objects from which on saving, copying and deleting take very long."""


def plan_text(plan: Plan) -> str:
    """Say what will be stored.

    Like ``1,204 objects · about 2.1 GB · 5 levels · 0.5, sharded, zstd``.
    """
    first = plan.images[0]
    sharded = any(level.shards for image in plan.images for level in image.levels)
    kinds = [plan.options.version, *(["sharded"] if sharded else []), first.codec.name]
    return f"{plan.summary().replace(', ', ' · ')} · {', '.join(kinds)}"


def warnings_text(plan: Plan) -> str:
    """Say what is worth knowing before; empty where nothing is."""
    lines = list(plan.notes)
    if plan.objects > MANY:
        slow = f"{plan.objects:,} objects are slow to store."
        lines.append(f"{slow} Choose larger chunks, or shards.")
    return "\n".join(lines)


def roles(plan: Plan) -> dict[str, str]:
    """Say what becomes of each layer, by its name, with the reason where one is due."""
    said: dict[str, str] = {}
    owner: ImagePlan | None = None
    for image in plan.images:
        if image.is_label and owner is not None and _lies_in(image, owner):
            said[image.picture.name] = f"labels of {owner.picture.name}"
            continue
        owner = image
        why = f": {image.reason}" if image.reason else ""
        names = [look.name for look in image.picture.looks] or [image.picture.name]
        for number, name in enumerate(names):
            several = len(names) > 1
            what = f"channel {number} of {image.picture.name}" if several else "image"
            said[name] = f"{'labels alone' if image.is_label else what}{why}"
        if len({*names}) > 1 and image.picture.name not in said:
            said[image.picture.name] = f"image of {len(names)} channels{why}"
    return said


def listing_text(listing: Listing) -> str:
    """Say what lies somewhere: ``120 objects, 2.1 GB``."""
    plural = "" if listing.objects == 1 else "s"
    return f"{listing.objects:,} object{plural}, {bytes_text(listing.size)}"


def progress_text(now: Progress, first: Progress, seconds: float) -> str:
    """Say how far, how fast and how long still: ``61 % · 84 MB/s · 0:14 left``.

    Parameters
    ----------
    now, first : Progress
        Of this moment, and when this run began to tell (a resumed one has a start).
    seconds : float
        Between the two.
    """
    share = f"{100 * now.done // max(1, now.total)} %"
    done = now.done - first.done
    if done <= 0 or seconds <= 0:
        return share
    rate = (now.read_bytes - first.read_bytes) / seconds
    left = round(seconds * (now.total - now.done) / done)
    speed = f" · {bytes_text(rate)}/s" if rate > 0 else ""
    return f"{share}{speed} · {_clock(left)} left"


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _lies_in(label: ImagePlan, image: ImagePlan) -> bool:
    return label.path.startswith(f"{image.path}/labels/" if image.path else "labels/")
