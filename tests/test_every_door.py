"""Every door, and whatever others' code fails with behind it: an error of ours.

Some of the failures are drawn for each door; ``EVERY_FAILURE=1`` tries all of them.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import json
import os
import pickle
import random
import struct
import subprocess
import zlib
from concurrent.futures import CancelledError
from functools import partial
from itertools import count

import numcodecs
import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from zarr.storage import MemoryStore

import napari_omezarr
import small_images
from napari_omezarr import browsing, converting, upkeep
from napari_omezarr.cli.command import main
from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    DiskFullError,
    NotEnoughMemoryError,
    OMEZarrError,
    UnexpectedError,
)
from napari_omezarr.location import Location
from napari_omezarr.writing import update

EVERY = "EVERY_FAILURE" in os.environ


class OwnError(Exception):
    """What somebody's code raises that is none of Python's kinds."""


FAILURES = [
    *(KeyError("secret"), ValueError("secret"), TypeError("secret")),
    *(RuntimeError("secret"), AssertionError(), NotImplementedError(), EOFError()),
    *(MemoryError(), RecursionError(), AttributeError("secret"), IndexError()),
    *(ZeroDivisionError(), ImportError("secret"), LookupError(), BufferError()),
    UnicodeDecodeError("utf-8", b"secret", 0, 1, "secret"),
    json.JSONDecodeError("secret", "secret", 0),
    *(struct.error("secret"), zlib.error("secret"), pickle.PicklingError("secret")),
    *(OSError(number, "secret") for number in (errno.ENOSPC, errno.EIO, errno.EROFS)),
    *(PermissionError(13, "secret"), TimeoutError(), ConnectionResetError("secret")),
    *(BlockingIOError(11, "secret"), IsADirectoryError(21, "secret")),
    *(asyncio.InvalidStateError(), subprocess.SubprocessError("secret")),
    *(OwnError("secret"), ExceptionGroup("secret", [OwnError("secret")])),
    numcodecs.errors.UnknownCodecError("secret"),
    zarr.errors.MetadataValidationError("secret"),
    zarr.errors.ZarrUserWarning("secret"),
]


NAMES = [f"{type(f).__module__}.{type(f).__name__}-{n}" for n, f in enumerate(FAILURES)]


def again(failure):
    """The same failure, without what it has gone through."""
    return type(failure)(*failure.args)


class FailingStore(MemoryStore):
    """A store of somebody else whose call of some number fails."""

    def __init__(self, content, failure=None, at=0):
        super().__init__(dict(content))
        self.failure, self.at, self.calls = failure, at, count()

    def fail(self):
        if next(self.calls) >= self.at and self.failure is not None:
            raise again(self.failure)

    async def get(self, *args, **options):
        self.fail()
        return await super().get(*args, **options)

    async def set(self, *args, **options):
        self.fail()
        return await super().set(*args, **options)

    async def exists(self, *args, **options):
        self.fail()
        return await super().exists(*args, **options)

    async def delete(self, *args, **options):
        self.fail()
        return await super().delete(*args, **options)

    async def list_prefix(self, *args, **options):
        self.fail()
        async for key in super().list_prefix(*args, **options):
            yield key


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nobody else writes to what is changed here."""
    monkeypatch.setattr(update, "LOOK_AGAIN", 0)


@pytest.fixture(scope="module")
def content():
    """An image with labels, as the keys of a store and what they hold."""
    store = MemoryStore()
    napari_omezarr.write_image(
        small_images.pixels((2, 16, 16)),
        store,
        "tyx",
        chunks=8,
        labels={"cells": np.ones((2, 16, 16), np.uint8)},
    )
    return dict(store._store_dict)


PLANE = np.full((16, 16), 7, np.uint16)
SQUARE = PLANE[None, :2, :2]
CELLS = (np.ones((2, 16, 16), np.uint8), {"name": "more"}, "labels")
SPOTS = (np.array([[0.0, 8, 9]]), {"name": "spots"}, "points")
ours = napari_omezarr


def shown(store):
    for data, _, _ in ours.read_layers(store):
        np.asarray(data[0] if isinstance(data, list) else data)


DOORS = {
    "open": lambda store, to: ours.open(store).read(),
    "aio.open": lambda store, to: asyncio.run(ours.aio.open(store)),
    "read": lambda store, to: ours.read(store).pyramids[0].levels[0].pixels[...],
    "read_layers": lambda store, to: shown(store),
    "validate": lambda store, to: ours.validate(store),
    "listing": lambda store, to: list(ours.listing(store)),
    "copy": lambda store, to: ours.copy(store, to),
    "write": lambda store, to: ours.write(ours.open(store), to),
    "write_layers": lambda store, to: ours.write_layers(
        ours.read_layers(store), to, verify="all"
    ),
    "write_image": lambda store, to: ours.write_image(PLANE, store, "yx", chunks=8),
    "plan_write": lambda store, to: ours.plan_write(ours.read_layers(store), to),
    "add_labels": lambda store, to: ours.add_labels(CELLS, store),
    "add_tables": lambda store, to: ours.add_tables([SPOTS], store),
    "update_rendering": lambda store, to: ours.update_rendering(
        ours.read_layers(store)[:1], store
    ),
    "patch": lambda store, to: ours.patch(store, (0, 3, 3), SQUARE),
    "plan_patch": lambda store, to: ours.plan_patch(store, (0, 3, 3), SQUARE),
    "undo_patch": lambda store, to: ours.undo_patch(
        ours.patch(store, (0, 3, 3), SQUARE)
    ),
    "append": lambda store, to: ours.append(store, PLANE),
    "calibrate": lambda store, to: ours.calibrate(store, scale=0.25),
    "write_plate": lambda store, to: ours.write_plate({"A/1": ours.open(store)}, to),
}
"""Every public verb that takes a place, on a store of somebody else."""


def drawn():
    """Which failure comes at which call of which door."""
    draw = random.Random(10)
    for name in DOORS:
        pairs = [(n, at) for n in range(len(FAILURES)) for at in (0, 1, 3, 7, 15)]
        for number, at in pairs if EVERY else draw.sample(pairs, 6):
            failure = FAILURES[number]
            yield pytest.param(name, failure, at, id=f"{name}-{NAMES[number]}-{at}")


@pytest.mark.parametrize(("name", "failure", "at"), list(drawn()))
def test_what_a_store_fails_with_is_an_error_of_ours(
    content, tmp_path, name, failure, at
):
    store = FailingStore({} if name == "write_image" else content, failure, at)
    try:
        DOORS[name](store, tmp_path / "to.ome.zarr")
    except OMEZarrError as error:
        check(error)


@pytest.mark.parametrize("name", DOORS)
def test_where_nothing_fails_every_door_ends_well(content, tmp_path, name):
    store = FailingStore({} if name == "write_image" else content)
    DOORS[name](store, tmp_path / "to.ome.zarr")


def check(error):
    """An error that a person can do something about, and that quotes nobody."""
    assert type(error) is not UnexpectedError, error
    assert error.sentence
    assert error.action
    assert "secret" not in str(error)


def test_every_public_verb_is_a_guarded_door():
    verbs = [getattr(ours, name) for name in ours.__all__]
    for face in (browsing, upkeep, converting):
        verbs += [
            getattr(face, name) for name in face.__all__ if name in ACTS[face.__name__]
        ]
    for verb in verbs:
        if inspect.isfunction(verb):
            assert getattr(verb, "is_guarded", False), verb


ACTS = {
    "napari_omezarr.browsing": {
        *("copy_store", "delete", "describe", "entries_of", "list_buckets"),
        *("make_folder", "mirror_store", "plan_mirror", "raw_documents", "read_table"),
        *("rename", "thumbnail", "validate", "view_chunk", "what_lies_at"),
    },
    "napari_omezarr.upkeep": {
        *("examine", "mend", "plan_removal", "remove_store", "repack_store", "scan"),
        *("take_back", "upgrade"),
    },
    "napari_omezarr.converting": {
        *("convert_all", "convert_one", "convert_plate", "find_inputs", "plan_jobs"),
    },
}
"""What asks or changes a place, of what commands and windows call."""


# What is not the place: arrays, codecs, callbacks.


class Array:
    shape, dtype = (16, 16), np.dtype("u2")

    def __init__(self, failure):
        self.failure = failure

    def __getitem__(self, key):
        raise self.failure


@pytest.mark.parametrize("failure", FAILURES, ids=NAMES)
def test_what_an_array_fails_with_is_an_error_of_ours(tmp_path, failure):
    with pytest.raises(OMEZarrError) as caught:
        ours.write_image(Array(failure), tmp_path / "a.ome.zarr", "yx")
    check(caught.value)
    memory = isinstance(failure, MemoryError)
    assert isinstance(caught.value, NotEnoughMemoryError) == memory


class FailingCodec(numcodecs.abc.Codec):
    codec_id = "failing"
    failure = None

    def encode(self, buf):
        return bytes(buf)

    def decode(self, buf, out=None):
        raise self.failure


@pytest.fixture
def coded(tmp_path):
    numcodecs.register_codec(FailingCodec)
    path = tmp_path / "a.zarr"
    codec = FailingCodec()
    small_images.put_image(path, "0.4", names="yx", shape=(8, 8), compressors=codec)
    yield path
    del numcodecs.registry.codec_registry["failing"]


def test_what_a_codec_fails_with_is_an_error_of_ours(coded, tmp_path, monkeypatch):
    image = ours.open(coded)
    for number, failure in enumerate(FAILURES):
        monkeypatch.setattr(FailingCodec, "failure", failure)
        ways = [image.read, image.to_dask().compute]
        if EVERY or not number % 8:
            to = tmp_path / f"{number}.ome.zarr"
            ways.append(partial(ours.write, image, to))
        for way in ways:
            with pytest.raises(OMEZarrError) as caught:
                way()
            check(caught.value)


TELLING = {
    "write_image": lambda store, to, tell: ours.write_image(PLANE, to, progress=tell),
    "append": lambda store, to, tell: ours.append(store, PLANE, progress=tell),
    "copy": lambda store, to, tell: ours.copy(store, to, progress=tell),
}


@pytest.mark.parametrize("failure", [OwnError(), ValueError(), MemoryError()])
@pytest.mark.parametrize("door", TELLING)
def test_what_a_callback_raises_is_the_callers(content, tmp_path, door, failure):
    with pytest.raises(type(failure)) as caught:
        TELLING[door](FailingStore(content), tmp_path / "a.zarr", fail_with(failure))
    assert caught.value is failure


# What nobody thought of.


def raising(failure):
    @guarded
    def called(place):
        raise failure

    @guarded
    def listed(place):
        yield 1
        raise failure

    @guarded
    async def awaited(place):
        raise failure

    return {
        "a function": called,
        "a generator": lambda place: list(listed(place)),
        "a coroutine": lambda place: asyncio.run(awaited(place)),
    }


@pytest.mark.parametrize("kind", raising(None))
def test_what_nobody_thought_of_names_the_place_and_keeps_its_cause(kind):
    place = Location.parse("https://example.org/a.zarr?X-Amz-Signature=secret")
    for failure in FAILURES:
        with pytest.raises(OMEZarrError) as caught:
            raising(failure)[kind](place)
        error = caught.value
        assert error.__cause__ is failure
        assert error.url == place.display
        assert place.display in error.sentence
        assert "secret" not in str(error)
        assert error.action
    for address in (place, "https://example.org/a.zarr?X-Amz-Signature=secret"):
        with pytest.raises(UnexpectedError, match="KeyError at https"):
            raising(KeyError())[kind](address)


@pytest.mark.parametrize("kind", raising(None))
@pytest.mark.parametrize("wanted", [KeyboardInterrupt, CancelledError])
def test_what_ends_the_work_goes_through(kind, wanted):
    with pytest.raises(wanted):
        raising(wanted())[kind]("a.zarr")


def test_what_the_system_says_means_the_same_at_every_door():
    with pytest.raises(DiskFullError):
        raising(OSError(errno.ENOSPC, "secret"))["a function"]("a.zarr")
    with pytest.raises(MemoryError, match="not enough memory"):
        raising(MemoryError())["a function"]("a.zarr")


# Commands.


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("failure", FAILURES, ids=NAMES)
def test_a_command_ends_in_words(monkeypatch, failure, as_json):
    command = main.get_command(None, "info")
    monkeypatch.setattr(command, "callback", fail_with(failure))
    answer = CliRunner().invoke(main, ["info", "a.zarr", *["--json"] * as_json])
    assert answer.exit_code not in (0, 2)
    assert isinstance(answer.exception, SystemExit)
    said = json.loads(answer.stderr)["sentence"] if as_json else answer.stderr
    assert said
    assert "secret" not in answer.stderr
    assert "Traceback" not in answer.output


def test_a_stopped_command_says_so(monkeypatch):
    for wanted in (KeyboardInterrupt(), CancelledError()):
        monkeypatch.setattr(
            main.get_command(None, "info"), "callback", fail_with(wanted)
        )
        answer = CliRunner().invoke(main, ["info", "a.zarr"])
        assert (answer.exit_code, answer.stderr) == (130, "Stopped.\n")


def fail_with(failure):
    def fail(*_, **__):
        raise failure

    return fail
