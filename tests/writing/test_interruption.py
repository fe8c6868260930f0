"""Killed, full, forbidden: the target is whole or invisible, and resuming equals."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from interrupted_save import OPTIONS, image
from napari_omezarr.errors import (
    AccessDeniedError,
    DiskFullError,
    ReadOnlyError,
    StoreError,
    TargetExistsError,
)
from napari_omezarr.layers import read_layers
from napari_omezarr.writing import journal as journal_module
from napari_omezarr.writing import write_image, write_layers
from napari_omezarr.writing.hierarchy import explained
from napari_omezarr.writing.journal import BlockNote, Journal, journal_digest

SCRIPT = Path(__file__).parents[1] / "interrupted_save.py"
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and limits")


@POSIX
def test_a_full_disk_is_said_and_leaves_nothing_visible(tmp_path):
    """No file may grow beyond 8 kB there, which is how a quota ends."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8192,) * 2)"
    script = f"{limited}\nimport runpy, sys\nsys.argv = sys.argv[1:]\n"
    script += f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # what is cut off breaks other imports
    target = tmp_path / "a.ome.zarr"
    process = subprocess.run(
        [sys.executable, "-c", script, "save", str(target)],
        capture_output=True, text=True, env=environment, check=False, timeout=120,
    )  # fmt: skip
    assert process.returncode == 1
    assert "DiskFullError: There is no room left" in process.stderr
    assert not target.exists()
    write_image(image(), target, "zyx", unfinished="resume", **OPTIONS)
    np.testing.assert_array_equal(np.asarray(read_layers(target)[0][0][0]), image())


@POSIX
def test_a_place_is_free_again_once_a_full_disk_has_room(tmp_path):
    """The claim is the first file that has no room; the process goes on, as napari."""
    script = """
import resource, sys, numpy as np
from napari_omezarr import errors, write_image
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
try:
    write_image(np.ones((4, 4), "u1"), sys.argv[1], "yx")
except errors.DiskFullError:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    write_image(np.ones((4, 4), "u1"), sys.argv[1], "yx", unfinished="resume")
"""
    target = tmp_path / "a.ome.zarr"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.run(
        [sys.executable, "-c", script, str(target)],
        capture_output=True, text=True, env=environment, check=False, timeout=120,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.zarr"]


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_place_without_permission_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(AccessDeniedError, match="may not write"):
        write_image(image(), tmp_path / "a.zarr", "zyx")
    tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetExistsError, match="a file is in the way"):
        write_image(image(), tmp_path / "file" / "a.zarr", "zyx")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EROFS, ReadOnlyError),
        (errno.EACCES, AccessDeniedError),
        (errno.EIO, StoreError),
    ],
)
def test_what_the_system_refuses_becomes_one_of_our_errors(number, kind):
    with pytest.raises(kind) as caught, explained("here"):
        raise OSError(number, os.strerror(number))
    assert "here" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    ("inner", "kind"),
    [
        (DiskFullError("no room left"), DiskFullError),
        (OSError(errno.ENOSPC, "full"), DiskFullError),
        (ValueError("odd"), BaseExceptionGroup),
    ],
)
def test_failures_that_come_in_groups_are_told_apart(inner, kind):
    """A shard's parts are read together, and fail together."""
    with pytest.raises(kind, match=r"no room left|outer"), explained("here"):
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [inner])])


def test_our_own_errors_pass_unchanged():
    with pytest.raises(DiskFullError, match="as it was"), explained("here"):
        raise DiskFullError("as it was")


def test_a_journal_of_another_plan_begins_anew(tmp_path):
    file, written = tmp_path / "journal", BlockNote(((0, 2, 77),), ((1, -3, 2.5),))
    with Journal(file, "one") as journal:
        journal.add((0, 0, 3), written)
    assert journal_digest(file) == "one"
    assert Journal(file, "one").done == {(0, 0, 3): written}
    with Journal(file, "two") as journal:
        assert journal.done == {}
    assert journal_digest(file) == "two"


@pytest.mark.parametrize("text", ["", "{", '{"plan": "one"', "7\n", "[]\n{}"])
def test_a_broken_journal_says_nothing(text, tmp_path):
    file = tmp_path / "journal"
    file.write_text(text)
    assert journal_digest(file) is None
    with Journal(file, "one") as journal:
        journal.add((0, 0, 0), BlockNote())
    assert Journal(file, "one").done == {(0, 0, 0): BlockNote()}


def test_of_a_journal_only_what_was_on_the_disk_counts_once_the_power_was_gone(
    tmp_path, monkeypatch
):
    file, folder = tmp_path / "journal", tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(journal_module, "_AT_RISK", -1.0)  # brought there each time
    with Journal(file, "one", folder) as journal:
        journal.add((0, 0, 0), BlockNote())
        journal.add((0, 0, 1), BlockNote())
        monkeypatch.setattr(journal_module, "_AT_RISK", 1000.0)
        journal.add((0, 0, 2), BlockNote())
    assert len(Journal(file, "one", folder).done) == 3
    assert len(Journal(file, "one").done) == 3  # of a bucket, which keeps what it took
    monkeypatch.setattr(journal_module, "_started", lambda: "another time")
    with Journal(file, "one", folder) as journal:
        assert list(journal.done) == [(0, 0, 0), (0, 0, 1)]
    assert list(Journal(file, "one", folder).done) == [(0, 0, 0), (0, 0, 1)]


@pytest.mark.parametrize(
    "name", ["n" * 246 + ".zarr", "ü" * 124 + ".zarr", "n" * 251 + ".ozx"]
)
def test_names_as_long_as_a_disk_takes_them_will_do(name, tmp_path):
    place = tmp_path / name
    labels = [
        (image()[0] % 7, {"name": "l" * size}, "labels") for size in (190, 300, 301)
    ]
    write_layers([(image()[0], {}, "image"), *labels], place)
    names = {options["name"] for _, options, _ in read_layers(place)}
    assert names >= {"l" * 190, "l" * 300, "l" * 301}
    assert [file.name for file in tmp_path.iterdir()] == [name]
    with pytest.raises(StoreError, match="longer name than can be stored"):
        write_image(image()[0], tmp_path / f"{name[0] * 5}{name}", "yx")
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte, for who may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root mounts a small tmpfs")
    if subprocess.run(mount, capture_output=True, check=False, timeout=20).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=20)


def remount(folder, options):
    command = ["mount", "-o", f"remount,{options}", str(folder)]
    subprocess.run(command, check=True, timeout=20)


@pytest.mark.parametrize("name", ["a.ome.zarr", "a.ozx"])
def test_a_disk_that_fills_up_is_said_and_the_save_resumes_with_more_room(
    name, small_disk
):
    other = small_disk / "something else"
    other.write_bytes(bytes(900_000))
    place = small_disk / "new" / name
    place.parent.mkdir()
    with pytest.raises(DiskFullError, match="no room left"):
        write_image(image(), place, "zyx", codec="none", **OPTIONS)
    assert [path.name for path in place.parent.iterdir()] == [f"{name}.partial"]
    assert other.stat().st_size == 900_000
    other.unlink()
    options = {**OPTIONS, "codec": "none"}
    if name == "a.ozx":  # it lies there twice while it is packed
        subprocess.run(
            ["mount", "-o", "remount,size=4m", str(small_disk)], check=True, timeout=20
        )
    write_image(image(), place, "zyx", unfinished="resume", **options)
    np.testing.assert_array_equal(np.asarray(read_layers(place)[0][0][0]), image())


def test_a_disk_that_is_read_only_is_said(small_disk):
    subprocess.run(
        ["mount", "-o", "remount,ro", str(small_disk)], check=True, timeout=20
    )
    with pytest.raises(ReadOnlyError, match="read-only"):
        write_image(image(), small_disk / "a.ome.zarr", "zyx", **OPTIONS)
