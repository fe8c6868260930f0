"""Mirrors copy what differs and nothing else; copies are equal on bad days, too."""

from __future__ import annotations

import os
import shutil
from random import Random

import pytest

from commands import run, run_json
from napari_omezarr import Location, errors
from napari_omezarr.browsing import copy_store
from napari_omezarr.store import RetryPolicy
from napari_omezarr.store import open as opening
from napari_omezarr.store import run as wait_for
from servers import faults
from servers.http import FileServer
from servers.proxy import Proxy
from small_images import contents, pixels, put_image, put_labels

DAYS = int(os.environ.get("COPY_DAYS", "6"))
HASTY = RetryPolicy(
    connect=60, silence=60, tries=9, first_pause=0.001, longest_pause=0.01
)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirror") / "a.ome.zarr"
    put_image(folder, "0.5", chunks=(1, 2, 8, 8))
    put_labels(folder, cells=pixels((4, 16, 24)))
    return folder


@pytest.fixture
def source(original, tmp_path):
    folder = tmp_path / "source.ome.zarr"
    shutil.copytree(original, folder)
    return folder


def chunk(folder, number=0):
    return sorted(f for f in (folder / "0" / "c").rglob("*") if f.is_file())[number]


def change(folder):
    """One chunk of the same size, one more, one less."""
    body = bytearray(chunk(folder, 0).read_bytes())
    body[-1] ^= 1
    chunk(folder, 0).write_bytes(body)
    chunk(folder, 1).unlink()
    (folder / "notes.txt").write_text("new")


def test_a_folder_is_mirrored_by_what_differs(source, tmp_path):
    target = tmp_path / "target.ome.zarr"
    first = run_json("mirror", source, target)
    assert (first["copied"], first["same"]) == (len(contents(source)), 0)
    assert contents(target) == contents(source)
    again = run_json("mirror", source, target)
    assert (again["copied"], again["same"]) == (0, first["copied"])
    change(source)
    untouched = chunk(target, 3).stat()
    plan = run_json("mirror", source, target, "--dry-run", "--delete")
    assert (plan["copied"], plan["overwritten"], plan["deleted"]) == (2, 1, 1)
    assert contents(target) != contents(source)
    text = run("mirror", source, target, code=130)
    assert "1 overwritten" in text
    run("mirror", source, target, "--yes", "--verify")
    assert set(contents(target)) - set(contents(source))
    run("mirror", source, target, "--yes", "--delete")
    assert contents(target) == contents(source)
    assert chunk(target, 2).stat() == untouched
    run("mirror", source, source / "inside", code=2)


@pytest.mark.usefixtures("owner")
def test_buckets_are_mirrored_by_what_they_list(source, tmp_path, s3_server, s3_prefix):
    with Proxy(s3_server.endpoint) as proxy:
        there = f"s3+{proxy.url}/public/{s3_prefix}/a.ome.zarr"
        run("mirror", source, there)
        proxy.clear()
        assert run_json("mirror", source, there)["copied"] == 0
        # One list tells all: no object is asked for.
        assert len(proxy.requests) <= 3, [r.path for r in proxy.requests]
        change(source)
        row = run_json("mirror", source, there, "--yes", "--delete")
        assert (row["copied"], row["deleted"]) == (2, 1)
        other = there.replace("a.ome.zarr", "b.ome.zarr")
        run("mirror", there, other)
        assert run_json("mirror", there, other)["copied"] == 0
        run("mirror", other, tmp_path / "back.ome.zarr", "--verify")
    assert contents(tmp_path / "back.ome.zarr") == contents(source)


def test_a_web_server_is_mirrored_by_what_its_metadata_name(source, tmp_path):
    target = tmp_path / "target.ome.zarr"
    with FileServer(source.parent) as server:
        place = f"{server.url}/{source.name}"
        run("mirror", place, target)
        assert contents(target) == contents(source)
        body = bytearray(chunk(source).read_bytes())
        body[-1] ^= 1
        chunk(source).write_bytes(body)
        assert run_json("mirror", place, target, "--yes")["copied"] == 1
    assert contents(target) == contents(source)


def test_what_comes_otherwise_than_it_is_listed_is_no_copy(
    original, tmp_path, s3_server, s3_prefix
):
    """A body of the right length with a wrong byte, as a broken cache gives it."""
    s3_server.upload(original, f"public/{s3_prefix}/a.ome.zarr")
    body = bytearray(chunk(original).read_bytes())
    body[0] ^= 1
    key = f"*/{chunk(original).relative_to(original).as_posix()}"
    target = Location.parse(tmp_path / "t.ome.zarr")
    with Proxy(s3_server.endpoint) as proxy:
        place = Location.parse(f"s3+{proxy.url}/public/{s3_prefix}/a.ome.zarr")
        proxy.fault(key, faults.Status(200, bytes(body)))
        with pytest.raises(errors.ObjectChangedError, match="differently twice"):
            wait_for(copy_store(place, target))
        wait_for(copy_store(place, target))
    assert contents(tmp_path / "t.ome.zarr") == contents(original)


@pytest.mark.parametrize("seed", range(DAYS))
@pytest.mark.usefixtures("owner")
def test_copies_on_bad_days_are_equal_or_go_on(
    original, tmp_path, s3_server, s3_prefix, seed, monkeypatch
):
    """Faults drawn from a seed between us and the bucket, in both directions."""
    monkeypatch.setattr(opening, "RetryPolicy", lambda: HASTY)
    draw = Random(seed)
    kinds = [
        faults.Reset(3),
        faults.Truncated(7),
        faults.Dropped(),
        faults.Lost(),
        faults.Status(503),
        faults.Status(500),
        faults.s3_error(503, "SlowDown"),
    ]
    files = sorted(contents(original))
    with Proxy(s3_server.endpoint) as proxy:
        there = Location.parse(f"s3+{proxy.url}/public/{s3_prefix}/a.ome.zarr")
        back = Location.parse(tmp_path / "back.ome.zarr")
        for one, other in ((Location.parse(original), there), (there, back)):
            for name in draw.sample(files, 8):
                several = [draw.choice(kinds) for _ in range(draw.randint(1, 3))]
                proxy.fault(f"*/{name}", *several)
            for _ in range(12):
                try:
                    wait_for(copy_store(one, other))
                    break
                except errors.StoreError:
                    continue
            proxy.clear()
    assert contents(tmp_path / "back.ome.zarr") == contents(original)
