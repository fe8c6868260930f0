"""Codecs of other packages run in processes of their own, and fail there in any way."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

import bad_codecs
from napari_omezarr import codec_processes
from napari_omezarr.codec_processes import CodecInProcess
from napari_omezarr.errors import DamagedDataError
from napari_omezarr.pyramid import ArrayPixels


@pytest.fixture(autouse=True)
def _processes_end():
    codec_processes._end_idle()
    yield
    codec_processes._end_idle()


def test_a_codec_runs_in_another_process_which_is_kept():
    told = {CodecInProcess(bad_codecs.tell_process, 99)(b"") for _ in range(2)}
    assert len(told) == 1
    assert told != {str(os.getpid()).encode()}


def test_several_run_at_a_time():
    step = CodecInProcess(bad_codecs.print_much, 9)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(step, [b"%d-" % n for n in range(20)]))
    assert found == [(b"%d-" % n)[::-1] for n in range(20)]
    assert len(codec_processes._idle) <= 2


def test_whatever_it_does_is_an_error_like_others(monkeypatch):
    right = CodecInProcess(bad_codecs.print_much, 9)
    works = [bad_codecs.fail, bad_codecs.crash, bad_codecs.give_too_much]
    if Path("/proc/self/statm").exists():  # elsewhere nothing bounds it
        works.insert(0, bad_codecs.take_all_memory)
    for work in [*works, bad_codecs.hang]:
        assert right(b"ab") == b"ba"  # a process is there, whatever that takes
        if work is bad_codecs.hang:
            monkeypatch.setattr(codec_processes, "_LONGEST", 0.2)
        with pytest.raises(ValueError, match=r"has crashed|cannot be decoded"):
            CodecInProcess(work, 9)(b"x")


def test_a_codec_of_who_runs_this_stays_here():
    def own(body):
        return b"here"

    assert CodecInProcess(own, 9)(b"") == b"here"


def test_pixels_of_a_crashing_codec_are_damaged():
    contents = {}
    array = zarr.create_array(
        MemoryStore(contents),
        shape=(4, 4),
        chunks=(4, 4),
        dtype="<u2",
        zarr_format=2,
        compressors=numcodecs.Zstd(),
    )
    array[...] = 1
    pixels = ArrayPixels(array.async_array, "memory://a", 3)
    last = pixels._decoding.steps[-1]
    crashing = (CodecInProcess(bad_codecs.crash, 32), last)
    object.__setattr__(pixels._decoding, "steps", crashing)
    object.__setattr__(pixels._decoding, "_made", 0)
    object.__setattr__(pixels._decoding, "is_quick", False)
    with pytest.raises(DamagedDataError, match=r"memory://a/0\.0 is damaged"):
        pixels[...]


# With the packages themselves, where they are installed.


@pytest.mark.parametrize("name", ["zfp", "jpegls"])
def test_damaged_bodies_of_imagecodecs(name, monkeypatch):
    codecs = pytest.importorskip("imagecodecs.numcodecs")
    codecs.register_codecs(verbose=False)
    values = np.arange(32 * 32).reshape(32, 32)
    values = values.astype("<f4" if name == "zfp" else "<u2")
    codec = numcodecs.get_codec({"id": f"imagecodecs_{name}"})
    contents = {}
    options = {"chunks": (32, 32), "dtype": values.dtype, "zarr_format": 2}
    array = zarr.create_array(
        MemoryStore(contents), shape=(32, 32), compressors=codec, **options
    )
    array[...] = values
    pixels = ArrayPixels(array.async_array, "memory://a", 3)
    np.testing.assert_array_equal(pixels[...], values)
    whole = contents["0.0"].to_bytes()
    noise = np.random.default_rng(0)
    monkeypatch.setattr(codec_processes, "_LONGEST", 3.0)
    for _ in range(10):
        body = bytearray(whole[: noise.integers(1, len(whole) + 1)])
        for at in noise.integers(0, len(body), 3):
            body[at] = noise.integers(256)
        contents["0.0"] = type(contents["0.0"]).from_bytes(bytes(body))
        with suppress(DamagedDataError):
            assert pixels[...].shape == (32, 32)
