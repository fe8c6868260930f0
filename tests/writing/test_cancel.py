"""A save that is cancelled ends its requests at once, whatever hangs, and goes on."""

from __future__ import annotations

from concurrent.futures import CancelledError
from fnmatch import fnmatch
from threading import Event, Thread

import dask.array as da
import numpy as np
import pytest

import small_images
from napari_omezarr import append, read_layers, write_image, write_layers
from napari_omezarr._io_loop import Stop
from napari_omezarr.errors import SourceError, TargetExistsError, WriteCancelledError
from napari_omezarr.location import Location
from napari_omezarr.upkeep import PackChoices, repack_store, scan
from napari_omezarr.writing import journal, source
from servers.bucket import Bucket
from servers.faults import Stalled
from servers.http import FileServer

PIXELS = small_images.pixels((4, 32, 32))
CHOICES = {"chunks": (1, 16, 16), "levels": 2, "workers": 2}
pytestmark = pytest.mark.usefixtures("owner")


@pytest.fixture(scope="module")
def server():
    with Bucket(knows_conditions=True) as server:
        yield server


@pytest.fixture
def bucket(server):
    """An empty bucket in which nothing hangs yet."""
    server.clear()
    server.objects.clear()
    return server


@pytest.fixture
def place(bucket):
    return Location.parse("s3://bucket/a.ome.zarr", endpoint=bucket.url)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    small_images.put_image(
        folder / "a.ome.zarr", "0.5", names="zyx", shape=(4, 32, 32), count=2
    )
    with FileServer(folder) as server:
        yield server


def hangs(server, pattern, method, cancel):
    """Set an event once a request of this kind has come; bounded by `wait_for`."""
    count = 0
    while True:
        server.wait_for(count := count + 1)
        last = server.requests[count - 1]
        if last.method == method and fnmatch(last.path, pattern):
            cancel.set()
            return


def cancelled(server, pattern, method, work):
    """Do work that hangs, and cancel it then; what hangs is never answered."""
    server.clear()
    server.fault(pattern, Stalled(), forever=True, method=method)
    cancel = Event()
    watcher = Thread(target=hangs, args=(server, pattern, method, cancel), daemon=True)
    watcher.start()
    with pytest.raises(WriteCancelledError) as caught:
        work(cancel)
    assert cancel.is_set()
    assert caught.value.action
    server.go_away()
    server.clear()
    server.come_back()


def written(place, cancel=None, **choices):
    chosen = {**CHOICES, **choices}
    write_image(PIXELS, place, "zyx", cancel=cancel, **chosen)


def finest(place):
    data = read_layers(place)[0][0]
    return np.asarray(data[0] if isinstance(data, list) else data)


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        ("*/c/*", "PUT"),
        ("*/c/*", "GET"),
        ("*/.saving", "GET"),
        ("*/.saving", "PUT"),
        ("*/a.ome.zarr/zarr.json", "PUT"),
    ],
    ids=["a chunk", "what is verified", "who claims", "the claim", "the commit"],
)
def test_a_save_that_hangs_ends_when_it_is_cancelled(
    bucket, place, pattern, method, monkeypatch
):
    monkeypatch.setattr(journal, "PARTING", 0.2)
    cancelled(
        bucket, pattern, method, lambda cancel: written(place, cancel, verify="all")
    )
    # Nobody has the place any more, and the same save goes on where it was.
    written(place, verify="all", unfinished="resume")
    np.testing.assert_array_equal(finest(place), PIXELS)


def test_a_commit_that_arrives_after_it_was_cancelled_is_our_own(
    bucket, place, monkeypatch
):
    monkeypatch.setattr(journal, "PARTING", 0.2)
    root = "*/a.ome.zarr/zarr.json"
    sent = []

    def work(cancel):
        try:
            written(place, cancel)
        finally:
            sent.extend(r for r in bucket.requests if r.method == "PUT")

    cancelled(bucket, root, "PUT", work)
    late = next(r.body for r in sent if fnmatch(r.path, root))
    bucket.objects["a.ome.zarr/zarr.json"] = late
    written(place, unfinished="resume")
    assert bucket.objects["a.ome.zarr/zarr.json"] == late
    with pytest.raises(TargetExistsError):
        written(place, unfinished="resume")


@pytest.mark.parametrize("then", ["resume", "remove"])
def test_what_others_saved_after_a_cancelled_commit_stays(
    bucket, place, then, monkeypatch
):
    monkeypatch.setattr(journal, "PARTING", 0.2)
    cancelled(
        bucket, "*/a.ome.zarr/zarr.json", "PUT", lambda cancel: written(place, cancel)
    )
    theirs = {"a.ome.zarr/zarr.json": b'{"node_type": "group", "zarr_format": 3}'}
    bucket.objects.update(theirs)
    before = dict(bucket.objects)
    with pytest.raises(TargetExistsError):
        written(place, unfinished=then)
    assert bucket.objects == before


def test_nothing_answers_any_more(bucket, place, monkeypatch):
    monkeypatch.setattr(journal, "PARTING", 0.2)

    cancel = Event()

    def stop(progress):
        bucket.fault("*", Stalled(), forever=True)
        cancel.set()

    with pytest.raises(WriteCancelledError):
        write_image(PIXELS, place, "zyx", cancel=cancel, progress=stop, **CHOICES)
    bucket.go_away()
    bucket.clear()
    bucket.come_back()
    written(place, unfinished="resume")
    np.testing.assert_array_equal(finest(place), PIXELS)


@pytest.mark.parametrize("changed", [False, True], ids=["as it is", "computed"])
def test_reading_the_source_ends_too(files, tmp_path, changed):
    address = f"{files.url}/a.ome.zarr"
    data, options, kind = read_layers(address)[0]
    levels = [level + 1 for level in data] if changed else data
    layer, target = (levels, options, kind), tmp_path / "b.ome.zarr"

    def save(cancel):
        write_layers([layer], target, cancel=cancel)

    cancelled(files, "*/c/*", "GET", save)
    write_layers([layer], target, unfinished="resume")
    np.testing.assert_array_equal(finest(target), finest(address) + changed)


def test_an_append_that_hangs_ends_and_goes_on(bucket, place):
    film = Location.parse("s3://bucket/film.ome.zarr", endpoint=bucket.url)
    write_image(PIXELS, film, "tyx", **CHOICES)
    cancelled(
        bucket, "*/c/*", "PUT", lambda cancel: append(film, PIXELS + 1, cancel=cancel)
    )
    np.testing.assert_array_equal(finest(film), PIXELS)
    append(film, PIXELS + 1)
    np.testing.assert_array_equal(finest(film), np.concatenate([PIXELS, PIXELS + 1]))


@pytest.mark.parametrize("verb", ["save", "append"])
def test_somebody_elses_code_that_hangs_is_left_behind(tmp_path, verb, monkeypatch):
    """Nobody waits for it, what it gives later goes nowhere, and it can go on."""
    began, free, ended = Event(), Event(), Event()

    def hang(block):
        if block[0, 0, 0] == PIXELS[2, 0, 0]:
            began.set()
            assert free.wait(60)
            ended.set()
        return block

    lazy = da.from_array(PIXELS, chunks=(1, 32, 32)).map_blocks(hang, dtype="u2")
    whole, place = tmp_path / "whole.ome.zarr", tmp_path / "a.ome.zarr"
    choices = {"chunks": (1, 32, 32), "levels": 2, "workers": 3, "name": "a"}
    if verb == "append":
        for film in (whole, place):
            write_image(PIXELS, film, "tyx", **choices)

    def work(pixels, target, cancel=None):
        if verb == "append":
            append(target, pixels, cancel=cancel)
        else:
            write_image(
                pixels, target, "tyx", cancel=cancel, unfinished="resume", **choices
            )

    def stop(cancel):
        assert began.wait(60)
        cancel.set()

    work(PIXELS, whole)
    for _ in range(2):
        cancel = Event()
        Thread(target=stop, args=(cancel,), daemon=True).start()
        with pytest.raises(WriteCancelledError):
            work(lazy, place, cancel)
    left = small_images.stored(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(source, "MOST_LEFT", 1)
        with pytest.raises(SourceError, match="have not ended yet"):
            work(PIXELS, place if verb == "append" else tmp_path / "b.ome.zarr")
    free.set()
    assert ended.wait(60)
    assert small_images.stored(tmp_path) == left
    work(lazy, place)
    assert small_images.stored(place) == small_images.stored(whole)


def test_packing_and_scanning_end(bucket, place, files):
    there = Location.parse(f"{files.url}/a.ome.zarr")

    def pack(cancel=None):
        repack_store(there, place, PackChoices(), cancel=cancel)

    cancelled(bucket, "*/c/*", "PUT", pack)
    pack()
    np.testing.assert_array_equal(finest(place), finest(there))
    cancelled(files, "*/c/*", "GET", lambda cancel: scan(there, cancel=cancel))


def test_who_ends_a_thread_ends_the_save_in_it(bucket, place):
    """As closing a window does, whose work nobody waits for any more."""
    bucket.fault("*/c/*", Stalled(), forever=True, method="PUT")
    stop, came = Stop(), []

    def work():
        with stop.heeded():
            try:
                written(place)
            except CancelledError as error:
                came.append(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    hangs(bucket, "*/c/*", "PUT", Event())
    stop.say()
    thread.join(60)
    assert not thread.is_alive()
    assert len(came) == 1
