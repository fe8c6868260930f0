"""Batch systems: the script of a job, as it would be submitted."""

from __future__ import annotations

import gc
import os
import sys

import pytest

from napari_omezarr import errors
from napari_omezarr.converting.runs import queue_cluster, scheduled

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def _clusters_that_never_began():
    """Let distributed complain of them here, and not in whatever test comes next."""
    yield
    gc.collect()


def test_a_job_of_slurm_says_what_was_asked_for():
    pytest.importorskip("dask_jobqueue")
    said = "queue=short,cores=4,memory=16GB,walltime=02:00:00,jobs=3"
    cluster, jobs = queue_cluster("slurm", said)
    with cluster:
        script = cluster.job_script()
    assert jobs == 3
    for line in ("-p short", "--cpus-per-task=4", "--mem=15G", "-t 02:00:00"):
        assert f"#SBATCH {line}" in script
    assert "dask worker" in script.replace("distributed.cli.dask_worker", "dask worker")
    with pytest.raises(errors.OptionError, match="not what a job of slurm takes"):
        queue_cluster("slurm", "colour=blue")


@pytest.mark.parametrize("text", ["slurm:cores=many", "slurm:short", "processes:x"])
def test_what_is_said_wrongly_is_said(text):
    pytest.importorskip("dask_jobqueue" if "slurm" in text else "distributed")
    with pytest.raises(errors.OptionError), scheduled(text):
        pass


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(errors.OptionError) as caught, scheduled("slurm:cores=1"):
        pass
    assert caught.value.action == "Install it: pip install dask-jobqueue"


def test_where_no_jobs_are_submitted_it_is_said(monkeypatch, tmp_path):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.OptionError, match="no sbatch"), scheduled("slurm:"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="batch systems run on Unix")
def test_a_job_in_its_queue_is_named_and_taken_back_on_ctrl_c(monkeypatch, tmp_path):
    pytest.importorskip("dask_jobqueue")
    for name, line in (
        ("sbatch", "echo Submitted batch job 4711"),
        ("scancel", f'echo "$@" >> {tmp_path}/cancelled'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    told = []

    def tell(sentence):
        told.append(sentence)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), scheduled("slurm:cores=1", tell):
        pass
    assert told == ["Waiting until job 4711 begins to run. Ctrl-C takes it back."]
    assert "4711" in (tmp_path / "cancelled").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="batch systems run on Unix")
def test_a_job_that_is_not_taken_says_why(monkeypatch, tmp_path, caplog):
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho no such partition >&2\nexit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(errors.ClusterError) as caught, scheduled("slurm:cores=1"):
        pass
    assert caught.value.sentence == "The batch system took no job: no such partition."
    assert not [record for record in caplog.records if record.exc_info]
