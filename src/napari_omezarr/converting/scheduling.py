"""Who does the work: threads of this process, processes, or a cluster."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import ClusterError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 30
"""Seconds that a scheduler may take to answer."""
_NUMBERS = ("cores", "processes", "jobs")
QUEUES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
}
"""Batch systems, by the name of their class in dask-jobqueue."""


@contextmanager
def scheduled(text: str) -> Iterator[Any]:
    """Give a client of dask.distributed, or None for threads of this process.

    Parameters
    ----------
    text : str
        ``threads``; ``processes`` or ``processes:4``; the address of a scheduler
        (``tcp://host:8786``) or its file (``.json``); or a batch system with what a job
        takes, like ``slurm:queue=short,cores=8,memory=16GB,walltime=01:00:00,jobs=4``.

    Raises
    ------
    OptionError
        It is nothing of these, or a package is missing.
    ClusterError
        The scheduler does not answer.
    """
    name, _, rest = text.partition(":")
    with ExitStack() as stack:
        if name == "threads":
            yield None
        elif name == "processes":
            yield stack.enter_context(_client(stack.enter_context(_local(rest))))
        elif name in QUEUES:
            cluster, jobs = queue_cluster(name, rest)
            stack.enter_context(cluster)
            cluster.scale(jobs=jobs)
            yield stack.enter_context(_client(cluster))
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


def queue_cluster(name: str, said: str) -> tuple[Any, int]:
    """Make a cluster of a batch system, and say how many jobs it is to run.

    Nothing is submitted yet; ``cluster.job_script()`` is what will be.
    """
    library = _imported("dask_jobqueue", "dask-jobqueue")
    words: dict[str, Any] = {}
    for part in filter(None, said.split(",")):
        key, equals, value = part.partition("=")
        if not equals or (key in _NUMBERS and not value.isdecimal()):
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


def _local(count: str) -> Any:
    distributed = _imported("distributed", "distributed")
    if count and not count.isdecimal():
        raise OptionError(f"{count} is no number of processes.")
    return distributed.LocalCluster(
        n_workers=int(count) if count else None,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        # Without it even no dashboard asks for a port that another cluster may have.
        scheduler_kwargs={"dashboard_address": ":0"},
    )


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
