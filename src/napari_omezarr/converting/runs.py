"""Converting one input after the other: what is there is kept, failures collected."""

from __future__ import annotations

import csv
import io
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    UnsupportedDataError,
    WriteCancelledError,
)
from napari_omezarr.location import NODE_DOCUMENTS, Location
from napari_omezarr.opened import write_plate
from napari_omezarr.store import open_store
from napari_omezarr.writing import (
    Channels,
    Grid,
    ImageSpec,
    describe_array,
    write_layers,
)

from .formats import ReadChoices, read_images
from .merging import MergedInput, read_merged
from .tiff import close_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_omezarr.writing import Progress, Saved

    from .inputs import ConvertInput

_TOGETHER = 2
"""Inputs in work at a time: one is read while the documents of another are put."""
_MEMORY = 32 * 2**20
"""What each may use of memory above what its source holds."""


@dataclass(frozen=True, slots=True)
class ConvertJob:
    """What becomes one OME-Zarr, and where that goes."""

    source: ConvertInput | MergedInput
    target: Location

    @property
    def inputs(self) -> tuple[str, ...]:
        """The addresses of what is read."""
        if isinstance(self.source, MergedInput):
            return tuple(each.location.display for each, _ in self.source.files)
        return (self.source.location.display,)


@dataclass(frozen=True, slots=True)
class ConvertOutcome:
    """What became of a job: ``written``, ``there``, ``failed`` or ``stopped``."""

    inputs: tuple[str, ...]
    target: str
    state: str
    sentence: str = ""
    action: str = ""
    error: type[OMEZarrError] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConvertRun:
    """How jobs are done.

    ``choices`` are those of `write_layers`; ``scale`` and ``units`` are by axis and
    stand above what files say; ``client`` is of dask.distributed.
    """

    read: ReadChoices
    choices: Mapping[str, Any] = field(default_factory=dict)
    scale: Mapping[str, float] | None = None
    units: Any = None
    client: Any = None
    progress: Callable[[float], None] | None = None
    cancel: Event = field(default_factory=Event)

    @property
    def reading(self) -> ReadChoices:
        """How inputs are read for it: with the resolutions that are to be kept."""
        kept = bool(self.choices.get("existing_resolutions"))
        return replace(self.read, resolutions=kept)


def is_image_name(name: str) -> bool:
    """Whether a target is called as an image; else it is a folder for images."""
    return name.lower().endswith((".zarr", ".ozx", ".zip"))


@guarded
def plan_jobs(
    sources: Sequence[ConvertInput] | Sequence[MergedInput], target: Location
) -> list[ConvertJob]:
    """Say where each result goes: to the target, if that is an image's name, or below.

    Raises
    ------
    OptionError
        Several would have one name.
    """
    is_image = is_image_name(target.name)
    jobs: dict[Location, ConvertJob] = {}
    for source in sources:
        if isinstance(source, MergedInput):
            name = source.name or "merged"
            name = name if name.endswith(".zarr") else f"{name}.ome.zarr"
        else:
            name = source.target_name
        place = target if is_image else target / name
        if place in jobs and not is_image:
            name = getattr(source, "name", name)
            place = target / f"{name}.ome.zarr"  # a.tif and a.nd2
        if place in jobs:
            sentence = f"{len(sources)} images cannot all be {target.display}."
            action = "Name a folder for them, or merge them by a pattern or a table."
            raise OptionError(sentence, action=action, url=target.display)
        jobs[place] = ConvertJob(source, place)
    return list(jobs.values())


@guarded
def convert_one(job: ConvertJob, run: ConvertRun) -> Saved:
    """Do one job, and raise what goes wrong.

    Raises
    ------
    OMEZarrError
        It could not be read or written.
    """
    try:
        return _write(job, run, run.progress)
    finally:
        close_files()  # who writes one anew finds it read anew


@guarded
def convert_all(jobs: Sequence[ConvertJob], run: ConvertRun) -> list[ConvertOutcome]:
    """Do all jobs; what is whole already is left, what broke off goes on.

    Nothing that goes wrong with one ends the others. After a cancel those that were
    not begun are ``stopped``.
    """
    bar = _Bar(len(jobs), run.progress)
    usual = {"unfinished": "resume"} | dict(run.choices)
    run = replace(run, choices=usual)
    outcomes: dict[int, ConvertOutcome] = {}
    try:
        with ThreadPoolExecutor(_TOGETHER, "omezarr-convert") as pool:
            futures = {
                pool.submit(_outcome, job, run, partial(bar.show, number)): number
                for number, job in enumerate(jobs)
            }
            try:
                for future in as_completed(futures):
                    outcomes[futures[future]] = future.result()
                    bar.show(futures[future], 1.0)
            except BaseException:
                run.cancel.set()
                raise
    finally:
        close_files()
    return [outcomes[number] for number in range(len(jobs))]


_IMAGE = ("image", "path", "file")
"""What the column of the images' addresses may be called."""


@guarded
def plate_rows(table: Path, choices: ReadChoices | None = None) -> list[dict[str, Any]]:
    """Read a table of files for `write_plate`: its rows, by columns, as text.

    Each has what reads its image when its turn comes as ``image``, and where that is
    as ``address``. Columns are parted by commas, semicolons or tabs.

    Raises
    ------
    OptionError
        The file is no table, or a row names no image.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        msg = f"{table.name} cannot be read as a table."
        raise OptionError(msg, action="Save it as CSV.") from None
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    rows = []
    for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter):
        known = {
            (name or "").strip().lower(): value.strip()
            for name, value in row.items()
            if isinstance(value, str)
        }
        image = next((known[key] for key in _IMAGE if known.get(key)), None)
        if image is None:
            msg = f"A row of {table.name} names no image."
            raise OptionError(msg, action="Add the column image.")
        is_path = "://" not in image and not Path(image).is_absolute()
        address = str(table.parent / image) if is_path else image
        reading = partial(_read_one, address, choices or ReadChoices())
        rows.append(known | {"image": reading, "address": address})
    return rows


def _read_one(address: str, choices: ReadChoices) -> Any:
    images = read_images(Location.parse(address), choices)
    if not images:
        msg = f"There is no image in {address}."
        raise UnsupportedDataError(msg, action="Choose another file.", url=address)
    return images


@guarded
def convert_plate(
    fields: Sequence[MergedInput], target: Location, run: ConvertRun
) -> tuple[Saved, ...]:
    """Write a plate, or more wells of one; fields that it lists are left.

    ``words`` of each field say its ``well``, or ``row`` and ``column``, and ``field``.

    Raises
    ------
    OMEZarrError
        A field could not be read or written; what is whole is in the plate.
    """
    choices: dict[str, Any] = {"unfinished": "resume", "memory": _MEMORY}
    choices |= run.choices
    rows = [
        {**each.words, "image": partial(read_merged, each, run.reading)}
        for each in fields
    ]
    done = 0.0

    def tell(progress: Progress) -> None:
        nonlocal done
        done += 1 / max(1, progress.total) / len(rows)
        if run.progress is not None:
            run.progress(min(1.0, done))

    try:
        return write_plate(rows, target, progress=tell, cancel=run.cancel, **choices)
    finally:
        close_files()


def _outcome(
    job: ConvertJob, run: ConvertRun, show: Callable[[float], None]
) -> ConvertOutcome:
    tell = partial(ConvertOutcome, job.inputs, job.target.display)
    if run.cancel.is_set():
        return tell("stopped")
    try:
        if "existing" not in run.choices and _is_whole(job.target):
            return tell("there")
        saved = _write(job, run, show)
    except WriteCancelledError:
        return tell("stopped")
    except OMEZarrError as error:
        return tell("failed", error.sentence, error.action, type(error))
    return tell("written", notes=saved.plan.notes + saved.notes)


def _is_whole(target: Location) -> bool:
    """Whether there is an image: its root's document comes last."""
    answers = open_store(target).fetch(NODE_DOCUMENTS).values()
    for answer in answers:
        if isinstance(answer, OMEZarrError) and not isinstance(
            answer, NodeNotFoundError
        ):
            raise answer
    return any(isinstance(answer, bytes) for answer in answers)


def _write(
    job: ConvertJob, run: ConvertRun, show: Callable[[float], None] | None
) -> Saved:
    if isinstance(job.source, MergedInput):
        layers = read_merged(job.source, run.reading)
    else:
        layers = read_images(job.source.location, run.reading)
    choices: dict[str, Any] = {"memory": _MEMORY} | dict(run.choices)
    specs = [layer for layer in layers if isinstance(layer, ImageSpec)]
    if specs:
        # Series of a file stay apart, even those that could be channels of one image.
        choices.setdefault("merge", False)
    for name in ("chunks", "shards", "factors"):
        if isinstance(choices.get(name), dict):
            choices[name] = _of_axes(choices[name], specs)
    if run.scale or run.units:
        layers = [_placed(layer, run) for layer in layers]

    def tell(progress: Progress) -> None:
        if show is not None:
            show(progress.done / max(1, progress.total))

    return write_layers(
        layers,
        job.target,
        client=run.client,
        progress=tell,
        cancel=run.cancel,
        **choices,
    )


def _of_axes(sizes: dict[str, int], specs: Sequence[ImageSpec]) -> dict[str, int]:
    """Leave out t, c and z where an image has none: what is said is for all of them."""
    if not specs:
        return sizes
    names = {axis.name for spec in specs for axis in spec.axes}
    return {n: size for n, size in sizes.items() if n in names or n not in "tcz"}


def _placed(layer: Any, run: ConvertRun) -> Any:
    if not isinstance(layer, ImageSpec):
        sentence = "Pixel sizes of OME-Zarr are not said anew while it is converted."
        action = "Convert it, and calibrate the result."
        raise OptionError(sentence, action=action)
    grid = Grid(None, run.scale, None, run.units)
    return describe_array(layer, grid, None, Channels())


class _Bar:
    """How far all jobs are together."""

    def __init__(self, count: int, show: Callable[[float], None] | None) -> None:
        self._parts = [0.0] * count
        self._show = show
        self._lock = Lock()

    def show(self, number: int, part: float) -> None:
        """Say how far one is."""
        with self._lock:
            self._parts[number] = part
            if self._show is not None:
                self._show(sum(self._parts) / len(self._parts))
