"""Blocks as tasks of a cluster of processes."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import zarr

import napari_omezarr
from child_process import child_process
from napari_omezarr.converting import scheduled
from napari_omezarr.errors import ClusterError, SourceError, WriteCancelledError
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.samples import write_cells
from napari_omezarr.store import open_writable, run
from napari_omezarr.writing import cluster, write_image, write_layers
from napari_omezarr.writing.cluster import active_client
from small_images import stored

distributed = pytest.importorskip("distributed")

LONE = Path(__file__).parents[1] / "lone_cluster.py"
EXAMPLES = Path(__file__).parents[2] / "examples"
IMAGE = np.random.default_rng(2).integers(1, 900, (2, 12, 130, 120)).astype(np.uint16)
OPTIONS = {"chunks": (1, 2, 64, 64), "levels": 3, "memory": 10**6, "verify": "all"}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr", "ours"])
def test_a_cluster_writes_what_threads_write(kind, client, tmp_path):
    write_image(IMAGE, tmp_path / "threads.zarr", "czyx", name="a", **OPTIONS)
    layers = None
    if kind == "numpy":
        source = IMAGE
    elif kind == "dask":
        source = da.from_array(IMAGE, chunks=(1, 5, 50, 70)) + 0
    elif kind == "zarr":
        source = zarr.open_array(str(tmp_path / "threads.zarr" / "0"), mode="r")
    else:
        layers = read_layers(tmp_path / "threads.zarr")
    place = tmp_path / "cluster.zarr"
    if layers is None:
        write_image(source, place, "czyx", name="a", client=client, **OPTIONS)
    else:
        write_layers(layers, place, client=client, **OPTIONS)
    one, two = (
        {
            file.relative_to(folder): file.read_bytes()
            for file in folder.rglob("c/**/*")
            if file.is_file()
        }
        for folder in (tmp_path / "threads.zarr", place)
    )
    assert one == two
    assert one


def test_a_failure_on_a_worker_is_the_callers_failure(client, tmp_path):
    source = da.from_array(IMAGE, chunks=-1).map_blocks(_fail, dtype=IMAGE.dtype)
    with pytest.raises(SourceError, match="ArithmeticError") as caught:
        write_image(source, tmp_path / "a.zarr", "czyx", client=client)
    assert isinstance(caught.value.__cause__, ArithmeticError)
    assert not (tmp_path / "a.zarr").exists()


def _hide():
    sys.modules["napari_omezarr.writing.engine"] = None


def _show():
    del sys.modules["napari_omezarr.writing.engine"]


def test_workers_without_the_package_are_said(client, tmp_path):
    client.run(_hide)
    with pytest.raises(ClusterError, match="lacks napari-omezarr"):
        write_image(IMAGE, tmp_path / "a.zarr", "czyx", client=client, **OPTIONS)
    client.run(_show)
    write_image(
        IMAGE,
        tmp_path / "a.zarr",
        "czyx",
        client=client,
        unfinished="resume",
        **OPTIONS,
    )


def test_workers_with_another_version_are_said(client, tmp_path, monkeypatch):
    if not cluster.own_version():
        pytest.skip("the package is not installed")
    monkeypatch.setattr(cluster, "own_version", lambda: "99.1")
    with pytest.raises(ClusterError, match="and workers of the cluster"):
        write_image(IMAGE, tmp_path / "a.zarr", "czyx", client=client, **OPTIONS)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_client_that_is_closed_is_said_and_threads_go_on(when, client, tmp_path):
    other = distributed.Client(client.scheduler.address, set_as_default=False)
    if when == "before":
        other.close()
    with pytest.raises(ClusterError):
        write_image(
            IMAGE, tmp_path / "a.zarr", "czyx", client=other, name="a",
            progress=lambda progress: progress.done >= 2 and other.close(), **OPTIONS,
        )  # fmt: skip
    other.close()
    options = {"unfinished": "resume", "name": "a", **OPTIONS}
    write_image(IMAGE, tmp_path / "a.zarr", "czyx", **options)
    write_image(IMAGE, tmp_path / "b.zarr", "czyx", **options)
    assert stored(tmp_path / "a.zarr") == stored(tmp_path / "b.zarr")


@pytest.fixture
def frail():
    """A cluster of one worker, on which nothing is tried again.

    A place whose worker is gone would stay empty at once, if that were left to dask.
    """
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        dask.config.set({"distributed.deploy.lost-worker-timeout": "0 s"}),
        scheduled("processes:1") as client,
    ):
        yield client


def test_workers_that_end_are_said_and_threads_go_on(frail, tmp_path):
    options = {"name": "a", **OPTIONS}
    source = da.from_array(IMAGE, chunks=(1, 12, 130, 120))
    deadly = source.map_blocks(_die, dtype=IMAGE.dtype)
    with pytest.raises(ClusterError, match=r"[Ww]orkers .*ended") as caught:
        write_image(deadly, tmp_path / "deadly.zarr", "czyx", client=frail, **options)
    assert "more memory" in str(caught.value)
    assert "resume" in str(caught.value)
    frail.wait_for_workers(1, timeout=60)
    threads = {"unfinished": "resume", **options}
    write_image(source, tmp_path / "deadly.zarr", "czyx", **threads)


@pytest.fixture
def short(monkeypatch):
    """A cluster in a process of its own, of whose silence nothing is expected."""
    monkeypatch.setattr(cluster, "PATIENCE", 1.0)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        child_process([sys.executable, LONE], **pipes) as process,
        distributed.Client(process.stdout.readline(), set_as_default=False) as client,
    ):
        yield process, client


def test_a_scheduler_that_goes_is_said_and_threads_go_on(short, tmp_path):
    process, client = short
    place, options = tmp_path / "a.zarr", {"name": "a", **OPTIONS}
    source = da.from_array(IMAGE, chunks=(1, 4, 130, 120))

    def leave(progress):
        # At most three blocks have been given to one thread by then.
        assert progress.total > 6
        if progress.done >= 2:
            process.kill()
            process.wait(60)

    with pytest.raises(ClusterError) as caught:
        write_image(source, place, "czyx", client=client, progress=leave, **options)
    assert "resume" in str(caught.value)
    assert not place.exists()
    write_image(source, place, "czyx", unfinished="resume", **options)
    write_image(source, tmp_path / "b.zarr", "czyx", **options)
    assert stored(place) == stored(tmp_path / "b.zarr")


@pytest.fixture
def mortal(client):
    """End one of the workers of the cluster; there are two again afterwards."""

    def end(address):
        client.run(os._exit, 1, workers=[address], nanny=False, on_error="ignore")
        until(lambda: address not in client.nthreads())

    client.wait_for_workers(2, timeout=60)
    yield end
    client.wait_for_workers(2, timeout=60)


def test_an_answer_that_goes_with_its_worker_is_made_again(client, mortal, tmp_path):
    """All callbacks of futures share a thread; it is held until the answer is lost."""
    named = {"name": "a", **OPTIONS}
    looked, free = threading.Event(), distributed.Event(f"{tmp_path}", client=client)
    client.submit(int).add_done_callback(lambda _: looked.wait(60))
    source = zarr.create_array(tmp_path / "a", data=IMAGE)

    def end():
        try:
            one, *_ = until(lambda: answers(client))
            (other,) = {*client.nthreads()} - {one}
            held = client.submit(_wait, free, workers=[other], pure=False)
            until(lambda: held.key in client.processing()[other])
            mortal(one)
            until(lambda: "lost" in states(client) or len(client.nthreads()) == 2)
        finally:
            looked.set()
            free.set()

    with ThreadPoolExecutor() as pool:
        ending = pool.submit(end)
        write_image(source, tmp_path / "a.zarr", "czyx", client=client, **named)
        ending.result()
    write_image(IMAGE, tmp_path / "b.zarr", "czyx", **named)
    assert stored(tmp_path / "a.zarr") == stored(tmp_path / "b.zarr")


def answers(client):
    """The workers that have answers of blocks."""
    found = client.who_has().items()
    return [place for key, places in found if "_write_sent" in key for place in places]


def states(client):
    """How far the blocks are."""
    found = [*client.futures.items()]
    return [state.status for key, state in found if "_write_sent" in key]


def until(true):
    """Wait for something, and give it."""
    ending = time.monotonic() + 60
    while not (found := true()):
        assert time.monotonic() < ending
        time.sleep(0.02)
    return found


def test_values_that_go_with_their_worker_are_sent_again(client, mortal, tmp_path):
    """They are there, and wait for threads that are held, when the worker ends."""
    named = {"name": "a", **OPTIONS}
    free = distributed.Event(f"free-{tmp_path}", client=client)
    workers = list(client.nthreads())
    held = [
        client.submit(_wait, free, pure=False, workers=[each], allow_other_workers=True)
        for each in workers
    ]
    until(lambda: all(client.processing().values()))

    def end():
        try:
            until(lambda: {*workers} <= {*arrays(client)})
            mortal(workers[0])
        finally:
            free.set()

    with ThreadPoolExecutor() as pool:
        ending = pool.submit(end)
        write_image(IMAGE, tmp_path / "a.zarr", "czyx", client=client, **named)
        ending.result()
    client.gather(held)
    write_image(IMAGE, tmp_path / "b.zarr", "czyx", **named)
    assert stored(tmp_path / "a.zarr") == stored(tmp_path / "b.zarr")


def _wait(event):
    event.wait(60)


def arrays(client):
    """The workers that have values of blocks."""
    found = client.who_has().items()
    return [place for key, places in found if "ndarray-" in key for place in places]


def _die(block):
    if block.size > 1:
        os._exit(1)
    return block


def _fail(block):
    if block.size > 1:
        raise ArithmeticError("on purpose")
    return block


def test_what_a_cluster_began_threads_can_finish(client, tmp_path):
    cancel = threading.Event()
    with pytest.raises(WriteCancelledError):
        write_image(
            IMAGE,
            tmp_path / "a.zarr",
            "czyx",
            client=client,
            cancel=cancel,
            progress=lambda progress: progress.done >= 2 and cancel.set(),
            **OPTIONS,
        )
    write_image(IMAGE, tmp_path / "a.zarr", "czyx", unfinished="resume", **OPTIONS)
    for index, layer in enumerate(read_layers(tmp_path / "a.zarr")):
        np.testing.assert_array_equal(np.asarray(layer[0][0]), IMAGE[index])


def test_what_hangs_on_a_worker_is_left_behind(client, tmp_path):
    """Nobody waits for it, and what it gives later is not written."""
    began, free, ended = (tmp_path / name for name in ("began", "free", "ended"))

    def hang(block, block_info=None):
        if block_info and not any(block_info[0]["chunk-location"]):
            began.touch()
            for _ in range(600):
                if free.exists():
                    break
                time.sleep(0.1)
            ended.touch()
        return block

    def seen(file):
        until = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < until
            time.sleep(0.02)

    def stop():
        seen(began)
        cancel.set()

    place, options = tmp_path / "a.zarr", {"name": "a", **OPTIONS}
    lazy = da.from_array(IMAGE, chunks=(1, 12, 130, 120)).map_blocks(
        hang, dtype=IMAGE.dtype
    )
    cancel = threading.Event()
    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(WriteCancelledError):
        write_image(lazy, place, "czyx", client=client, cancel=cancel, **options)
    assert not free.exists()
    left = stored(tmp_path / "a.zarr.partial")
    free.touch()
    seen(ended)
    assert client.submit(sum, (1, 2)).result(60) == 3
    assert stored(tmp_path / "a.zarr.partial") == left
    write_image(lazy, place, "czyx", unfinished="resume", **options)
    write_image(IMAGE, tmp_path / "b.zarr", "czyx", **options)
    assert stored(place) == stored(tmp_path / "b.zarr")


def test_the_client_that_is_active_is_found(client):
    assert active_client() is None
    with client.as_current():
        assert active_client() is client


def test_a_cluster_writes_to_s3(client, s3_server, s3_prefix, owner):
    """The workers sign in for themselves, with what their computers have."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    client.run(_sign_in, {name: os.environ[name] for name in names})
    folder = Location.parse(f"s3://private/{s3_prefix}", endpoint=s3_server.endpoint)
    for name, who in (("cluster", client), ("threads", None)):
        write_image(
            IMAGE, folder / f"{name}.zarr", "czyx", name="a", client=who, **OPTIONS
        )
    assert keys(folder / "cluster.zarr") == keys(folder / "threads.zarr")
    for index, layer in enumerate(read_layers(folder / "cluster.zarr")):
        np.testing.assert_array_equal(np.asarray(layer[0][0]), IMAGE[index])


def _sign_in(keys):
    os.environ.update(keys)


def keys(place):
    async def collect():
        return {
            (entry.name, entry.size) async for entry in open_writable(place).objects()
        }

    return run(collect())


@pytest.mark.skipif(not EXAMPLES.exists(), reason="an sdist has no examples")
def test_a_segmentation_on_a_cluster_is_that_of_threads(client, tmp_path):
    pytest.importorskip("scipy")
    write_cells(tmp_path / "cells.zarr", shape=(8, 96, 96))
    image = napari_omezarr.open(tmp_path / "cells.zarr", labels=False)
    main = runpy.run_path(str(EXAMPLES / "segment_blocks.py"))["main"]
    found = []
    for name in ("threads", "cluster"):
        place = tmp_path / f"{name}.zarr"
        napari_omezarr.write(image, place, chunks=(1, 8, 48, 48))
        with client.as_current() if name == "cluster" else nullcontext():
            main(str(place))
        found.append(napari_omezarr.open(place).labels["found"])
    one, two = found
    assert one.read().max() > 3
    assert np.array_equal(one.read(), two.read())
    assert one.features() == two.features()
