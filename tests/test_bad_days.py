"""Days on which much goes wrong: what comes out is the truth, or one of our errors.

A schedule is all the faults of a day, drawn from a seed; see `servers.schedules`. The
suite has some dozens; ``BAD_DAYS=10000`` (and ``BAD_DAYS_FROM``) runs as many.
"""

from __future__ import annotations

import logging
import os
import shutil
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Condition

import numpy as np
import pytest

import small_images
from napari_omezarr.browsing import copy_store, thumbnail
from napari_omezarr.display import ChunkRetryPolicy, Engine, Settings
from napari_omezarr.display.chunk_queue import ChunkRequest, Priority
from napari_omezarr.display.layer_view import LayerView
from napari_omezarr.errors import OMEZarrError, UnexpectedError
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.pyramid import ArrayPixels, pixels_of, shards
from napari_omezarr.reading import read
from napari_omezarr.store import RetryPolicy, run, set_disk_cache
from napari_omezarr.store import open as opening
from napari_omezarr.writing import write_layers
from servers.schedules import BadDay, Schedule

LOG = logging.getLogger(__name__)
DAYS = int(os.environ.get("BAD_DAYS", "40"))
FIRST = int(os.environ.get("BAD_DAYS_FROM", "0"))
HASTY = RetryPolicy(
    connect=5, silence=0.5, tries=2, total=3, first_pause=0.001, longest_pause=0.002
)
SHAPE = (2, 16, 16)
LONGEST = 60
"""Seconds that a door may take on such a day; it takes some hundredths."""

LAYOUTS = {
    "2": ("0.4", {"chunks": (1, 8, 8)}, (1, 8, 8)),
    "3": ("0.5", {"chunks": (1, 8, 8)}, (1, 8, 8)),
    "raw": ("0.5", {"chunks": (1, 8, 8), "compressors": None}, (1, 8, 8)),
    "shards": ("0.5", {"chunks": (1, 4, 4), "shards": (1, 16, 16)}, (1, 16, 16)),
    "raw shards": (
        "0.5",
        {"chunks": (1, 4, 4), "shards": (1, 16, 16), "compressors": None},
        (1, 16, 16),
    ),
    "zip": ("0.5", {"chunks": (1, 8, 8), "compressors": None}, (1, 8, 8)),
}


class Truth:
    """The two versions of one image, and the object that each region lies in."""

    def __init__(self, name, versions, unit, paths):
        self.name, self.versions, self.unit, self.paths = name, versions, unit, paths

    def check(self, level, found, schedule, *, offset=(0, 0, 0)):
        """Each object is of one version, or was said not to be there."""
        both = [version[level] for version in self.versions]
        unit = [min(u, s) for u, s in zip(self.unit, both[0].shape, strict=True)]
        counts = [-(-s // u) for s, u in zip(both[0].shape, unit, strict=True)]
        for index in product(*map(range, counts)):
            own = tuple(
                slice(i * u, min((i + 1) * u, s))
                for i, u, s in zip(index, unit, both[0].shape, strict=True)
            )
            place = tuple(
                slice(max(0, a.start - o), max(0, a.stop - o))
                for a, o in zip(own, offset, strict=True)
            )
            part = found[place]
            if part.size == 0:
                continue
            whole = part.shape == both[0][own].shape
            allowed = [
                v[own] if whole else self._cut(v, own, offset, part) for v in both
            ]
            if (
                self.name in schedule.absent
                or self.path(level, index) & schedule.absent
            ):
                allowed.append(np.zeros_like(part))
            assert any(np.array_equal(part, each) for each in allowed), (
                f"wrong pixels at level {level}, object {index}"
            )

    @staticmethod
    def _cut(version, own, offset, part):
        starts = [max(a.start, o) for a, o in zip(own, offset, strict=True)]
        return version[
            tuple(slice(s, s + n) for s, n in zip(starts, part.shape, strict=True))
        ]

    def path(self, level, index):
        base = f"{self.name}/{self.paths[level]}"
        joined = "/".join(map(str, index))
        return {f"{base}/c/{joined}", f"{base}/{joined}", self.name}


def build(folder, name, version, options, seed):
    """Write an image with a first chunk that is not there; gives its levels."""
    place = folder / name.removesuffix(".zip")
    levels = small_images.put_image(
        place, version, names="zyx", shape=SHAPE, count=2, seed=seed, **options
    )
    if seed:
        levels = [level.copy() for level in levels]
        levels[0][0, :4, :4] = 0
        shutil.rmtree(place / "0")
        small_images.put_array(place / "0", version, levels[0], "zyx", **options)
    if name.endswith(".zip"):
        with zipfile.ZipFile(folder / name, "w") as packed:
            for file in sorted(place.rglob("*")):
                if file.is_file():
                    packed.write(file, file.relative_to(place))
    return levels


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two folders with the same images in two versions, and the truth about them."""
    folders = [tmp_path_factory.mktemp(f"version{n}") for n in range(2)]
    truths = {}
    for layout, (version, options, unit) in LAYOUTS.items():
        name = f"{layout.replace(' ', '-')}.ome.zarr" + ".zip" * (layout == "zip")
        versions = []
        for seed, folder in enumerate(folders):
            (folder / "bucket").mkdir(exist_ok=True)
            versions.append(build(folder / "bucket", name, version, options, seed))
        truths[layout] = Truth(f"/bucket/{name}", versions, unit, ("0", "1"))
    return folders, truths


@pytest.fixture(scope="module")
def server(images):
    with BadDay(*images[0]) as server:
        yield server


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(opening, "RetryPolicy", lambda: HASTY)
    monkeypatch.setattr(shards, "SMALL", 0)


# The doors.


def arrays(layers):
    data, _, _ = layers[0]
    return data if isinstance(data, (list, tuple)) else [data]


def number_of(level, truth):
    return [v.shape for v in truth.versions[0]].index(tuple(level.shape))


def by_dask(location, truth, schedule, _):
    for array in arrays(read_layers(location)):
        truth.check(number_of(array, truth), np.asarray(array), schedule)


def by_index(location, truth, schedule, _):
    for level in read(location).pyramids[0].levels:
        number = number_of(level.pixels, truth)
        truth.check(number, level.pixels[...], schedule)
        part = level.pixels[1:, 3:12, 2:]
        truth.check(number, part, schedule, offset=(1, 3, 2))


def by_display(location, truth, schedule, _):
    engine = Engine(
        Settings(True, 2**26, 10**6, 0),
        retry_policy=ChunkRetryPolicy(tries=2, first=0.01, longest=0.01, silence=10),
    )
    news = Condition()

    def note():
        with news:
            news.notify_all()

    engine.fetcher.listen(note)
    levels = [pixels_of(array) for array in arrays(read_layers(location))]
    view = LayerView(levels, engine)
    asked = [
        ChunkRequest(grid.chunk(index), Priority.SHARP)
        for grid in view.grids
        for index in product(*map(range, grid.counts))
    ]
    engine.fetcher.request({"view": asked})

    def over():
        progress = engine.fetcher.progress("view")
        return progress.pending == progress.late  # what is late comes when it can

    with news:
        assert news.wait_for(over, LONGEST), "the display hangs"
    for error in engine.fetcher.progress("view").errors:
        assert isinstance(error, OMEZarrError), error
        assert type(error) is not UnexpectedError, error.__cause__
    engine.fetcher.forget("view")
    for pixels, grid in zip(levels, view.grids, strict=True):
        for index in product(*map(range, grid.counts)):
            (found,) = engine.cache.get([grid.key(index)])
            if found is not None:
                box = [i * c for i, c in zip(index, pixels.chunks, strict=True)]
                check_box(truth, number_of(pixels, truth), found, box, schedule)


def check_box(truth, level, part, start, schedule):
    """A box in one object is as in one of the versions."""
    box = tuple(slice(s, s + n) for s, n in zip(start, part.shape, strict=True))
    allowed = [version[level][box] for version in truth.versions]
    unit = truth.unit
    index = tuple(s // u for s, u in zip(start, unit, strict=True))
    if truth.path(level, index) & schedule.absent:
        allowed.append(np.zeros_like(part))
    assert any(np.array_equal(part, each) for each in allowed), (
        f"wrong pixels at level {level}, box {start}"
    )


def by_save(location, truth, schedule, folder):
    layers = read_layers(location)
    write_layers(layers, folder / "saved.ome.zarr", levels=1, verify="all")
    saved = np.asarray(arrays(read_layers(folder / "saved.ome.zarr"))[0])
    truth.check(number_of(saved, truth), saved, schedule)


def by_copy(location, truth, schedule, folder):
    target = Location.parse(folder / "copied.ome.zarr")
    run(copy_store(location, target))
    for array in arrays(read_layers(target)):
        truth.check(number_of(array, truth), np.asarray(array), schedule)


def by_thumbnail(location, truth, schedule, _):
    picture = thumbnail(location).pixels
    # Zeros may not come of a refusal: where nothing changed or went it is as it was.
    if not schedule.absent and not schedule.changed and schedule.changes_after is None:
        expected = EXPECTED.setdefault(truth.name, None)
        assert expected is None or np.array_equal(picture, expected)


EXPECTED = {}
DOORS = (by_dask, by_index, by_display, by_save, by_copy, by_thumbnail)


def live(seed, server, images, folder):
    """Go through one day; gives what came of it."""
    schedule = Schedule(seed)
    door = DOORS[seed % len(DOORS)]
    layout = list(LAYOUTS)[(seed // len(DOORS)) % len(LAYOUTS)]
    truth = images[1][layout]
    as_bucket = (seed // 36) % 2
    location = (
        server.place(truth.name.lstrip("/"))
        if as_bucket
        else Location.parse(f"{server.url}{truth.name}")
    )
    cached = (seed // 72) % 4 == 3
    set_disk_cache(folder / "cache", size=2**26 if cached else 0)
    shards.LARGE, large = (0 if seed % 5 else 32 << 20), shards.LARGE
    server.schedule = schedule
    try:
        door(location, truth, schedule, folder)
    except OMEZarrError as error:
        return type(error).__name__
    else:
        return "the truth"
    finally:
        server.schedule = None
        server.clear()
        set_disk_cache(size=0)
        shards.LARGE = large


def test_each_day_brings_the_truth_or_an_error(server, images, tmp_path, caplog):
    came: Counter[str] = Counter()
    wrong = {}
    with ThreadPoolExecutor(1) as pool:
        for seed in range(FIRST, FIRST + DAYS):
            folder = tmp_path / str(seed)
            folder.mkdir()
            day = pool.submit(live, seed, server, images, folder)
            try:
                came[day.result(LONGEST)] += 1
            except Exception as error:
                wrong[seed] = f"{type(error).__name__}: {error}"
                if isinstance(error, TimeoutError) and not day.done():
                    raise AssertionError(f"day {seed} does not end") from error
            shutil.rmtree(folder, ignore_errors=True)
    LOG.info("%s", sorted(came.items()))
    assert wrong == {}
    # What has a sentence is not told by a traceback, of ours, asyncio's or anybody's.
    assert not [r.getMessage() for r in caplog.records if r.exc_info]
    assert came["the truth"] > DAYS / 10
    assert DAYS < 40 or len(came) > 3


def test_a_good_day_brings_the_truth_at_every_door(server, images, tmp_path):
    quiet = Schedule(0)
    for layout, truth in images[1].items():
        location = Location.parse(f"{server.url}{truth.name}")
        for door in DOORS:
            folder = tmp_path / f"{layout}{door.__name__}"
            folder.mkdir()
            door(location, truth, quiet, folder)
            assert isinstance(read(location).pyramids[0].levels[0].pixels, ArrayPixels)
        EXPECTED[truth.name] = thumbnail(location).pixels
