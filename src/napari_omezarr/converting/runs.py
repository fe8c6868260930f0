"""Converting many inputs, here or on a cluster: failures are collected."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import as_completed
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from stat import S_ISREG
from threading import Event, Lock, Semaphore
from typing import TYPE_CHECKING, Any

import dask

from napari_omezarr._io_loop import HeedingPool, ended_by
from napari_omezarr.atomic_file import taking_turns
from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    ClusterError,
    NodeNotFoundError,
    OMEZarrError,
    OptionError,
    UnsupportedDataError,
    WriteCancelledError,
)
from napari_omezarr.location import NODE_DOCUMENTS, Location, is_below
from napari_omezarr.opened import StoredPlate, rewrite_fields, write_fields
from napari_omezarr.plain_text import plain
from napari_omezarr.store import open_store
from napari_omezarr.writing import (
    Channels,
    Grid,
    ImageSpec,
    describe_array,
    open_hierarchy,
    stored_otherwise,
    tidy,
    write_layers,
)

from .inputs import ConvertInput, ReadChoices, plate_of, read_images
from .merging import MergedInput, read_merged, table_rows
from .tiff import close_files, whole_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

    from napari_omezarr.opened import WrittenField
    from napari_omezarr.writing import Progress, Saved

_TOGETHER = 2
"""Inputs in work at a time: one is read while the documents of another are put."""
_SMALL_TOGETHER = 16
"""The same of small files, of which as few are at work, and the others wait for the
disk: it brings all of them at once."""
_SMALL = 2**21
"""Bytes of a file up to which it is small."""
_MOST_PROCESSES = 64
"""So many processes may be asked for even of a computer with few processors."""
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
    """What became of a job: ``written``, ``there``, ``failed`` or ``stopped``.

    A file of an image of several is ``joined``: it was read with another one. What a
    plate lists and is not there is ``absent``.
    """

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
        if not (is_image or is_below(name)):
            sentence = f"{name} is no name of an image in {target.display}."
            action = "Leave out .. and what else leads out of that folder."
            raise OptionError(sentence, action=action, url=target.display)
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
    run = resuming(run)
    outcomes: dict[int, list[ConvertOutcome]] = {}
    try:
        with (
            ended_by(run.cancel),
            HeedingPool(_SMALL_TOGETHER, "omezarr-convert") as pool,
        ):
            turns, places = _Turns(), _places(jobs)
            futures = {
                pool.submit(
                    _outcomes, job, run, partial(bar.show, number), turns, places
                ): number
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
    return [each for number in range(len(jobs)) for each in outcomes[number]]


def resuming(run: ConvertRun) -> ConvertRun:
    """Give a run that goes on with what broke off, unless it says otherwise."""
    return replace(run, choices={"unfinished": "resume"} | dict(run.choices))


_IMAGE = ("image", "path", "file")
"""What the column of the images' addresses may be called."""


@guarded
def plate_rows(table: Path, choices: ReadChoices | None = None) -> list[dict[str, Any]]:
    """Read a table of files for `write_plate`: its rows, by columns, as text.

    Each has what reads its image when its turn comes as ``image``, and where that is
    as ``inputs``.

    Raises
    ------
    OptionError
        The file is no table, or a row names no image.
    """
    rows: list[dict[str, Any]] = []
    for known in table_rows(table):
        image = next((known[key] for key in _IMAGE if known.get(key)), None)
        if image is None:
            msg = f"A row of {table.name} names no image."
            raise OptionError(msg, action="Add the column image.")
        is_path = "://" not in image and not Path(image).is_absolute()
        address = str(table.parent / image) if is_path else image
        reading = partial(_read_one, address, choices or ReadChoices())
        rows.append(known | {"image": reading, "inputs": (address,)})
    return rows


def _read_one(address: str, choices: ReadChoices) -> Any:
    images = read_images(Location.parse(address), choices)
    if not images:
        msg = f"There is no image in {address}."
        raise UnsupportedDataError(msg, action="Choose another file.", url=address)
    return images


@guarded
def convert_plate(
    fields: Sequence[MergedInput] | Sequence[Mapping[str, Any]] | StoredPlate,
    target: Location,
    run: ConvertRun,
    name: str | None = None,
) -> list[ConvertOutcome]:
    """Write a plate, or more wells of one; what fails does not end the others.

    Fields are those of a plate that is stored, rows of `plate_rows`, or files whose
    ``words`` say the ``well``, or ``row`` and ``column``, and the ``field``. After a
    cancel the last outcome is ``stopped``.

    Raises
    ------
    OMEZarrError
        They make no plate, or its place is taken by something else.
    """
    choices: dict[str, Any] = {"memory": _MEMORY} | dict(run.choices)
    if run.client is not None:
        choices["client"] = run.client
    count = len(fields.fields if isinstance(fields, StoredPlate) else fields)
    done = 0.0

    def tell(progress: Progress) -> None:
        nonlocal done
        done += 1 / max(1, progress.total) / max(1, count)
        if run.progress is not None:
            run.progress(min(1.0, done))

    choices |= {"progress": tell, "cancel": run.cancel}
    if isinstance(fields, StoredPlate):
        _refuse_placing(run)
        labels = run.read.labels
        writing = rewrite_fields(fields, target, labels=labels, **choices)
    else:
        rows = [f if isinstance(f, Mapping) else _row_of(f, run) for f in fields]
        writing = write_fields(rows, target, name=name, **choices)
    outcomes: list[ConvertOutcome] = []
    try:
        with closing(writing):
            outcomes.extend(map(_of_field, writing))
    except WriteCancelledError as error:
        stopped = partial(ConvertOutcome, (), target.display, "stopped")
        outcomes.append(stopped(error.sentence, "The same command goes on."))
    finally:
        close_files()
    return outcomes


def _of_field(field: WrittenField) -> ConvertOutcome:
    """Say what became of a field, and what there is to say of its whole plate."""
    about = partial(ConvertOutcome, field.inputs, field.address, notes=field.notes)
    if field.error is not None:
        return _failed(about, field.error)
    if field.absent:
        return about("absent", field.absent)
    if field.saved is not None:
        return replace(about("written"), notes=field.notes + field.saved.told)
    return about("there")


def _row_of(merged: MergedInput, run: ConvertRun) -> dict[str, Any]:
    files = tuple(each.location.display for each, _ in merged.files)
    return {**merged.words, "image": partial(_read, merged, run), "inputs": files}


def _failed(tell: Callable[..., ConvertOutcome], error: OMEZarrError) -> ConvertOutcome:
    return tell("failed", error.sentence, error.action, type(error))


def _places(jobs: Sequence[ConvertJob]) -> frozenset[Location]:
    """Give the files that are converted by themselves; none if there is only one."""
    sources = [job.source for job in jobs]
    found = {each.location for each in sources if isinstance(each, ConvertInput)}
    return frozenset(found if len(found) > 1 else ())


def _outcomes(
    job: ConvertJob,
    run: ConvertRun,
    show: Callable[[float], None],
    turns: _Turns,
    places: Collection[Location],
) -> list[ConvertOutcome]:
    """Do a job and say what became of it; of a plate, of each of its fields."""
    tell = partial(ConvertOutcome, job.inputs, job.target.display)
    try:
        with turns.of(job):
            if run.cancel.is_set():
                return [tell("stopped")]
            plate = plate_of(job.source)
            if plate is not None:
                return convert_plate(plate, job.target, replace(run, progress=show))
            return [_outcome(job, run, show, places)]
    except WriteCancelledError:
        return [tell("stopped")]
    except OMEZarrError as error:
        return [_failed(tell, error)]


def _outcome(
    job: ConvertJob,
    run: ConvertRun,
    show: Callable[[float], None],
    places: Collection[Location],
) -> ConvertOutcome:
    tell = partial(ConvertOutcome, job.inputs, job.target.display)
    if places and isinstance(job.source, ConvertInput):
        whole = whole_of(job.source.location, places)
        if whole is not None:
            return tell("joined", notes=(f"It is a part of {whole.display}.",))
    if "existing" not in run.choices and _is_whole(job.target):
        tidy(job.target)
        return tell("there", notes=_otherwise(job.target, run))
    return tell("written", notes=_write(job, run, show).told)


def _otherwise(target: Location, run: ConvertRun) -> tuple[str, ...]:
    with suppress(OptionError):  # it is a zip file
        return stored_otherwise(open_hierarchy(target), run.choices)
    return ()


class _Turns:
    """How many jobs are at work at a time."""

    def __init__(self) -> None:
        self._large, self._small = Semaphore(_TOGETHER), Semaphore(_TOGETHER)

    def of(self, job: ConvertJob) -> AbstractContextManager[Any]:
        """Give what a job waits for; a small one lets others in while it waits."""
        return taking_turns(self._small) if _is_small(job) else self._large


def _is_small(job: ConvertJob) -> bool:
    """Whether it mostly waits for the disk: a small file of this computer, to it."""
    source = job.source
    if isinstance(source, MergedInput) or job.target.protocol != "file":
        return False
    if source.location.protocol != "file":
        return False
    with suppress(OSError):
        facts = source.location.local_path().stat()
        return S_ISREG(facts.st_mode) and facts.st_size <= _SMALL
    return False


def _is_whole(target: Location) -> bool:
    """Whether there is an image: its root's document comes last."""
    if target.protocol == "file" and not target.local_path().exists():
        return False  # known without a request
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
    source = job.source
    if isinstance(source, MergedInput):
        source = replace(source, name=source.name or job.target.stem)
    layers = _read(source, run)
    choices: dict[str, Any] = {"memory": _MEMORY} | dict(run.choices)
    specs = [layer for layer in layers if isinstance(layer, ImageSpec)]
    kinds = {layer[2] for layer in layers if isinstance(layer, tuple)}
    if not kinds & {"image", "labels"}:
        # Series of a file stay apart, even those that could be channels of one image.
        choices.setdefault("merge", False)
    for name in ("chunks", "shards", "factors"):
        if isinstance(choices.get(name), dict):
            choices[name] = _of_axes(choices[name], specs)

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


def _read(source: ConvertInput | MergedInput, run: ConvertRun) -> list[Any]:
    """Read an input; sizes and units that the run says stand above its own."""
    if isinstance(source, MergedInput):
        layers = read_merged(source, run.reading)
    else:
        layers = read_images(source.location, run.reading)
    if run.scale or run.units:
        return [_placed(layer, run) for layer in layers]
    return layers


def _of_axes(sizes: dict[str, int], specs: Sequence[ImageSpec]) -> dict[str, int]:
    """Leave out t, c and z where an image has none: what is said is for all of them."""
    if not specs:
        return sizes
    names = {axis.name for spec in specs for axis in spec.axes}
    return {n: size for n, size in sizes.items() if n in names or n not in "tcz"}


def _refuse_placing(run: ConvertRun) -> None:
    if run.scale or run.units:
        sentence = "Pixel sizes of OME-Zarr are not said anew while it is converted."
        action = "Convert it, and calibrate the result."
        raise OptionError(sentence, action=action)


def _placed(layer: Any, run: ConvertRun) -> Any:
    if not isinstance(layer, ImageSpec) or layer.origin is not None:
        _refuse_placing(run)
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


# Who does the work: threads of this process, processes, or a cluster.

_PATIENCE = 30
"""Seconds that a scheduler may take to answer."""
_SUBMITTING = 30
"""Seconds that a batch system may take to accept a job."""
_PAUSE = 1
"""Seconds between looks at what became of the jobs."""
_NUMBERS = ("cores", "processes", "jobs")
QUEUES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
}
"""Batch systems, by the name of their class in dask-jobqueue."""


@contextmanager
def scheduled(text: str, tell: Callable[[str], object] | None = None) -> Iterator[Any]:
    """Give a client of dask.distributed, or None for threads of this process.

    The text is ``threads``; ``processes`` or ``processes:4``; the address of a
    scheduler (``tcp://host:8786``) or its file (``.json``); or a batch system with what
    a job takes, like
    ``slurm:queue=short,cores=8,memory=16GB,walltime=01:00:00,jobs=4``.
    ``tell`` is given a sentence, once, where a job stands in its queue.

    Raises
    ------
    OptionError
        It is nothing of these, or a package or the batch system is missing.
    ClusterError
        The scheduler does not answer, or the batch system took no job.
    """
    name, _, rest = text.partition(":")
    with ExitStack() as stack:
        if name == "threads":
            yield None
        elif name == "processes":
            yield stack.enter_context(_local(rest))
        elif name in QUEUES:
            yield stack.enter_context(_queued(name, rest, tell))
        elif "://" in text:
            yield stack.enter_context(_client(text))
        elif text.endswith(".json"):
            yield stack.enter_context(_client(None, scheduler_file=text))
        else:
            raise OptionError(
                f"{text} is no scheduler.",
                action="Say threads, processes, an address like tcp://host:8786, or "
                "slurm:queue=NAME,cores=8,memory=16GB.",
            )


@contextmanager
def _queued(
    name: str, said: str, tell: Callable[[str], object] | None
) -> Iterator[Any]:
    """Submit jobs, and give a client once one of them runs."""
    cluster, jobs = queue_cluster(name, said)
    try:
        command = shlex.split(cluster.job_cls.submit_command)[0]
        if shutil.which(command) is None:
            raise OptionError(
                f"There is no {command} on this computer.",
                action="Start it where jobs are submitted, on a login node.",
            )
        with _hearing_refusals() as refused:
            cluster.scale(jobs=jobs)
            with _client(cluster) as client:
                _wait_for_job(client, cluster, refused, tell)
                yield client
    finally:
        with suppress(AssertionError):  # distributed's, of a job that was never taken
            cluster.close()


@contextmanager
def _hearing_refusals() -> Iterator[list[str]]:
    """Give what the batch system says of jobs that it does not take.

    dask-jobqueue submits them in tasks that nobody waits for, so that it is logged,
    with a traceback for each, and nothing else.
    """
    said: list[str] = []

    def heard(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, RuntimeError) or "Exit code" not in str(error):
            return True
        said.append(plain(str(error).strip().splitlines()[-1])[:200])
        return False

    loggers = [logging.getLogger(name) for name in ("tornado.application", "asyncio")]
    for logger in loggers:
        logger.addFilter(heard)
    try:
        yield said
    finally:
        for logger in loggers:
            logger.removeFilter(heard)


def _wait_for_job(
    client: Any,
    cluster: Any,
    refused: Sequence[str],
    tell: Callable[[str], object] | None,
) -> None:
    """Wait until a job runs: it may stand in its queue for hours."""
    until = time.monotonic() + _SUBMITTING
    while True:
        with suppress(TimeoutError):
            client.wait_for_workers(1, timeout=_PAUSE)
            return
        numbers = [job.job_id for job in cluster.workers.values() if job.job_id]
        if numbers and tell is not None:
            jobs = "job " if len(numbers) == 1 else "one of the jobs "
            jobs += ", ".join(map(str, numbers))
            tell(f"Waiting until {jobs} begins to run. Ctrl-C takes it back.")
            tell = None
        if not numbers and (refused or time.monotonic() > until):
            why = f": {refused[-1].rstrip('.')}" if refused else ""
            raise ClusterError(
                f"The batch system took no job{why}.",
                action="Try its own command here, and whether it gives such jobs.",
            )


def queue_cluster(name: str, said: str) -> tuple[Any, int]:
    """Make a cluster of a batch system, and say how many jobs it is to run.

    Nothing is submitted yet; ``cluster.job_script()`` is what will be.
    """
    library = _imported("dask_jobqueue", "dask-jobqueue")
    words: dict[str, Any] = {}
    for part in filter(None, said.split(",")):
        key, equals, value = part.partition("=")
        if not equals or (key in _NUMBERS and not _is_count(value)):
            raise OptionError(
                f"{part} says nothing about a job.",
                action="Write names and values, like queue=short,cores=8,memory=16GB.",
            )
        words[key] = int(value) if key in _NUMBERS else value
    jobs = words.pop("jobs", 1)
    words = {"cores": 1, "memory": "4GB"} | words
    kind = getattr(library, QUEUES[name])
    try:
        return kind(**words), jobs
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"{said} is not what a job of {name} takes.",
            action="Compare it with the options of dask-jobqueue.",
        ) from error


def _is_count(text: str) -> bool:
    return text.isdecimal() and int(text[:9]) > 0


@contextmanager
def _local(count: str) -> Iterator[Any]:
    """Start processes here, and give a client."""
    distributed = _imported("distributed", "distributed")
    most = max(_MOST_PROCESSES, 4 * (os.cpu_count() or 1))
    if count and not (_is_count(count) and int(count[:9]) <= most):
        sentence = f"{count[:20]} is no number of processes for this computer."
        raise OptionError(sentence, action=f"Say one up to {most}, or none.")
    with (
        # A process that died is begun again, which takes more than the usual 15 s where
        # others have the processors; after that its place would stay empty.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}),
        distributed.LocalCluster(
            n_workers=int(count) if count else None,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            # What its processes warn of while they end concerns nobody who waits here.
            silence_logs=logging.ERROR,
            # Without it even no dashboard asks for a port that another may have.
            scheduler_kwargs={"dashboard_address": ":0"},
        ) as cluster,
        _client(cluster) as client,
    ):
        yield client


def _client(cluster: Any, **options: Any) -> Any:
    distributed = _imported("distributed", "distributed")
    try:
        return distributed.Client(
            cluster, timeout=_PATIENCE, set_as_default=False, **options
        )
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            "The scheduler of the cluster does not answer.",
            action="Check its address, and whether it is running.",
        ) from error


def _imported(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise OptionError(
            f"A cluster needs {package}.", action=f"Install it: pip install {package}"
        ) from error
