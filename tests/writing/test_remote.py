"""Labels, looks and patches on S3, and saves there that break off or are killed."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import replace

import numpy as np
import pytest

from interrupted_save import OPTIONS, image
from napari_omezarr import errors
from napari_omezarr.demo.server import DEPOSITOR, OWNER, READER
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.store import RetryPolicy, open_writable, run
from napari_omezarr.writing import (
    SaveMode,
    WriteOptions,
    add_labels,
    open_target,
    patch,
    update_rendering,
    write_image,
    write_layers,
)
from napari_omezarr.writing.commit import InPlaceTarget
from napari_omezarr.writing.engine import Running, Threads
from napari_omezarr.writing.hierarchy import RemoteHierarchy
from napari_omezarr.writing.labels import GroupList
from napari_omezarr.writing.plan import plan_layers
from napari_omezarr.writing.save import save
from quick_retries import QUICK
from servers import faults

RNG = np.random.default_rng(11)
IMAGE = RNG.integers(1, 999, (2, 6, 301, 270)).astype(np.uint16)
LABELS = RNG.integers(0, 4, (6, 301, 270)).astype(np.int32)
PLACED = {"axis_labels": ("z", "y", "x"), "scale": (2.0, 0.5, 0.5)}
SMALL = {"chunks": (1, 3, 128, 128), "scale": (1, 2, 0.5, 0.5), "levels": 2}

pytestmark = pytest.mark.usefixtures("owner")


@pytest.fixture
def place(s3_prefix, proxy):
    address = f"s3://private/{s3_prefix}/a.ome.zarr"
    return Location.parse(address, endpoint=proxy.url)


def hasty(place):
    return RemoteHierarchy(place, open_writable(place, retry=QUICK))


def contents(place):
    async def collect():
        writable = open_writable(place)
        names = [entry.name async for entry in writable.objects()]
        return {name: (await writable.read(name)).body for name in names}

    return run(collect())


def pixels(place, number=0, level=0):
    return np.asarray(read_layers(place)[number][0][level])


def new_labels(values=LABELS, name="new"):
    return values, {"name": name, **PLACED}, "labels"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_join_an_image_on_s3(version, place):
    write_image(IMAGE, place, "czyx", version=version, labels={"old": LABELS}, **SMALL)
    before = contents(place)
    add_labels(new_labels(LABELS + 1), place, verify="all")
    after = contents(place)
    changed = {key for key in before if before[key] != after[key]}
    listing = "labels/.zattrs" if version == "0.4" else "labels/zarr.json"
    assert changed == {listing, ".zmetadata" if version == "0.4" else "zarr.json"}
    assert GroupList(RemoteHierarchy(place), "labels").names() == ("old", "new")
    np.testing.assert_array_equal(pixels(place, 3), LABELS + 1)


def test_labels_listed_by_somebody_else_meanwhile_stay_listed(place, proxy):
    """The first try to extend the list meets a list that has just grown."""
    write_image(IMAGE, place, "czyx", labels={"old": LABELS}, **SMALL)
    proxy.fault(
        "*/labels/zarr.json", faults.s3_error(412, "PreconditionFailed"), method="PUT"
    )
    add_labels(new_labels(), place)
    assert GroupList(RemoteHierarchy(place), "labels").names() == ("old", "new")


def test_looks_are_written_back_to_s3_though_others_write_too(place, proxy):
    write_image(IMAGE, place, "czyx", **SMALL)
    before = contents(place)
    layers = read_layers(place)
    layers[1][1]["contrast_limits"] = (5, 77)
    update_rendering(layers)
    after = contents(place)
    assert {key for key in before if before[key] != after[key]} == {"zarr.json"}
    window = json.loads(after["zarr.json"])["attributes"]["ome"]["omero"]["channels"]
    assert (window[1]["window"]["start"], window[1]["window"]["end"]) == (5, 77)
    proxy.fault("*/zarr.json", faults.s3_error(412, "PreconditionFailed"), method="PUT")
    layers[1][1]["contrast_limits"] = (6, 77)
    # Nobody has changed the same: it is read again, and written after all.
    assert len(update_rendering(layers)) == 2
    assert tuple(read_layers(place)[1][1]["contrast_limits"]) == (6, 77)


def test_a_patch_on_s3_touches_only_what_was_painted(place):
    write_image(LABELS, place, "zyx", labels={}, chunks=(3, 128, 128), levels=2)
    before = contents(place)
    painted = LABELS[:2, 130:140, 130:150].copy()
    painted[1, 3, 4] = 9
    original = LABELS[:2, 130:140, 130:150]
    patched = patch(place, (0, 130, 130), painted, original=original, method="max")
    assert patched.objects == 1
    after = contents(place)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"0/c/0/1/1", "1/c/0/0/0"}
    np.testing.assert_array_equal(pixels(place)[:2, 130:140, 130:150], painted)
    painted[1, 3, 4] = 8
    with pytest.raises(errors.ConflictError, match="1 edited pixel of"):
        patch(place, (0, 130, 130), painted, original=original)


def saved(place, *, progress=None, cancel=None, hierarchy=None, **mode):
    layers = [(image(), {"name": "cells", "axis_labels": ("z", "y", "x")}, "image")]
    options = WriteOptions(**OPTIONS)
    plan = plan_layers(layers, "a", options, object_store=True)
    target = InPlaceTarget(hierarchy or hasty(place))
    chosen = SaveMode(**mode)
    executor = Threads(options.memory, 1)
    try:
        return save(plan, target, chosen, executor, Running(progress, cancel))
    finally:
        executor.close()


def test_an_object_store_gets_shards_where_there_would_be_many_objects(place):
    plan = plan_layers(
        [(np.broadcast_to(np.uint8(1), (8192, 1024, 1024)), {}, "image")],
        "a",
        WriteOptions(),
        object_store=RemoteHierarchy(place).is_object_store,
    )
    assert plan.images[0].levels[0].shards is not None


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.s3_error(503, "SlowDown"), errors.ServerBusyError),
        (faults.s3_error(400, "ExpiredToken"), errors.SignInExpiredError),
        (faults.s3_error(403, "AccessDenied"), errors.AccessDeniedError),
        (faults.s3_error(507, "InsufficientStorage"), errors.DiskFullError),
        (faults.Dropped(), errors.StoreConnectionError),
    ],
    ids=["busy", "expired", "denied", "full", "dropped"],
)
def test_what_breaks_a_save_leaves_it_invisible_and_resumable(
    fault, kind, place, proxy
):
    moments = random.Random(kind.__name__)
    good = [faults.Proceed()] * moments.randint(1, 20)
    proxy.fault("*/c/*", *good, *[fault] * 60, method="PUT")
    with pytest.raises(kind):
        saved(place)
    proxy.clear()
    held = contents(place)
    assert held
    assert not any(key.endswith("zarr.json") for key in held)
    with pytest.raises(errors.UnfinishedWriteError):
        saved(place)
    saved(place, unfinished="resume")
    other = place.parent / "whole.ome.zarr"
    write_layers(
        [(image(), {"name": "cells", "axis_labels": ("z", "y", "x")}, "image")],
        other,
        name="a",
        **OPTIONS,
    )
    found, whole = contents(place), contents(other)
    assert {k: v for k, v in found.items() if "/c/" in k} == {
        k: v for k, v in whole.items() if "/c/" in k
    }
    np.testing.assert_array_equal(pixels(place), image())


def test_dropped_connections_that_heal_are_not_noticed(place, proxy):
    some = [faults.Proceed(), faults.Dropped(), faults.Proceed(), faults.Lost()]
    proxy.fault("*", *some * 6)
    # Requests go several at a time: one may meet each of the twelve by bad luck.
    retry = replace(QUICK, tries=13)
    hierarchy = RemoteHierarchy(place, open_writable(place, retry=retry))
    saved(place, hierarchy=hierarchy, verify="all")
    np.testing.assert_array_equal(pixels(place), image())


def test_cancelling_does_not_wait_for_retries(place, proxy):
    """The server is busy for ever, and would be asked again for ten minutes."""
    proxy.fault("*/c/*", faults.s3_error(503, "SlowDown"), forever=True, method="PUT")
    cancel = threading.Event()

    def stop_when_pixels_come():
        proxy.wait_for(3)
        cancel.set()

    watcher = threading.Thread(target=stop_when_pixels_come)
    watcher.start()
    long = RetryPolicy(tries=99, total=600, first_pause=300, longest_pause=300)
    writable = open_writable(place, retry=long)
    with pytest.raises(errors.WriteCancelledError):
        saved(place, cancel=cancel, hierarchy=RemoteHierarchy(place, writable))
    watcher.join(60)
    assert not watcher.is_alive()


def test_what_is_no_image_is_never_replaced_nor_removed(place):
    writable = open_writable(place)
    run(writable.put("thesis.txt", b"years of work"))
    for choice in ("refuse", "replace"):
        with pytest.raises(errors.TargetExistsError, match="no OME-Zarr"):
            write_image(IMAGE, place, "czyx", existing=choice)
    InPlaceTarget(RemoteHierarchy(place)).discard()
    assert contents(place) == {"thesis.txt": b"years of work"}


def test_somebody_elses_image_survives_the_removal_of_an_unfinished_save(place, proxy):
    proxy.fault("*/c/*", faults.s3_error(403, "AccessDenied"), method="PUT")
    with pytest.raises(errors.AccessDeniedError):
        saved(place)
    writable = open_writable(place)
    run(writable.put("zarr.json", b'{"zarr_format": 3, "node_type": "group"}'))
    InPlaceTarget(RemoteHierarchy(place)).discard()
    assert "zarr.json" in contents(place)


def test_a_root_that_appears_at_the_last_moment_is_not_overwritten(place, proxy):
    proxy.fault(
        "*/a.ome.zarr/zarr.json",
        faults.s3_error(412, "PreconditionFailed"),
        method="PUT",
    )
    with pytest.raises(errors.TargetExistsError, match="appeared"):
        saved(place)
    proxy.clear()
    saved(place, unfinished="resume")
    np.testing.assert_array_equal(pixels(place), image())


def test_a_commit_that_broke_off_goes_on(place, proxy):
    """All arrays are there, some documents too: the rest is written."""
    broken = faults.s3_error(403, "AccessDenied")
    proxy.fault("*/a.ome.zarr/zarr.json", broken, method="PUT")
    with pytest.raises(errors.AccessDeniedError):
        saved(place)
    assert "0/zarr.json" in contents(place)
    proxy.clear()
    saved(place, unfinished="resume")
    puts = [r.path for r in proxy.requests if r.method == "PUT"]
    assert all(path.endswith(("zarr.json", "/.saving")) for path in puts)
    np.testing.assert_array_equal(pixels(place), image())


def test_who_may_not_write_is_told_before_the_pixels_are_read(place, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER.secret)
    with pytest.raises(errors.AccessDeniedError, match="may not write"):
        saved(place)
    assert contents(place) == {}


def test_an_image_on_s3_is_replaced_after_it_was_counted(place):
    write_image(IMAGE, place, "czyx", **SMALL)
    with pytest.raises(errors.TargetExistsError, match="objects"):
        write_image(IMAGE + 1, place, "czyx", **SMALL)
    write_image(IMAGE + 1, place, "czyx", existing="replace", **SMALL)
    np.testing.assert_array_equal(pixels(place), IMAGE[0] + 1)
    write_image(IMAGE, place, "czyx", existing="beside", **SMALL)
    beside = place.parent / "a-2.ome.zarr"
    np.testing.assert_array_equal(pixels(beside), IMAGE[0])


def test_a_copy_from_s3_to_s3_keeps_all(place):
    write_image(IMAGE, place, "czyx", labels={"cells": LABELS}, **SMALL)
    copy = place.parent / "copy.ome.zarr"
    write_layers(read_layers(place), copy, verify="all")
    for number, values in enumerate((*IMAGE, LABELS)):
        np.testing.assert_array_equal(pixels(copy, number), values)
    with pytest.raises(errors.TargetInUseError):
        write_layers(read_layers(place), place, existing="replace")


@pytest.fixture
def depositor(monkeypatch):
    """Sign in as somebody who may put and get, but not list."""

    def sign_in(who=DEPOSITOR):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", who.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", who.secret)

    return sign_in


@pytest.mark.parametrize("missing", ["404", "403"])
def test_who_may_not_list_saves_after_looking_for_the_documents(
    missing, place, proxy, depositor
):
    """S3 says 403 of a missing key to who may not list; SeaweedFS says 404."""
    depositor()
    with pytest.raises(errors.ListingDeniedError):
        RemoteHierarchy(place).sizes("")
    if missing == "403":
        denied = faults.s3_error(403, "AccessDenied")
        for name in ("zarr.json", ".z*"):
            proxy.fault(f"*/a.ome.zarr/{name}", *[denied] * 20, method="GET")
    target = InPlaceTarget(hasty(place))
    assert target.occupied() is None
    assert "may not be listed" in target.notes[0]
    result = write_image(IMAGE, place, "czyx", **SMALL)
    assert "not what else may lie there" in result.notes[0]
    proxy.clear()
    np.testing.assert_array_equal(pixels(place), IMAGE[0])
    for choice in ("refuse", "replace"):
        with pytest.raises(errors.TargetExistsError, match="may not be listed"):
            write_image(IMAGE, place, "czyx", existing=choice, **SMALL)
    depositor(OWNER)
    assert not any("probe" in key for key in contents(place))


def test_who_may_not_write_is_told_of_the_place_and_not_of_what_was_tried(
    s3_server, s3_prefix, monkeypatch
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER.secret)
    address = f"s3+{s3_server.endpoint}/public/{s3_prefix}/a.ome.zarr"
    target = open_target(Location.parse(address), "0.5")
    assert target.occupied() is None
    with pytest.raises(errors.AccessDeniedError) as denied:
        target.try_writing()
    assert address in denied.value.sentence
    assert "probe" not in str(denied.value)
    assert denied.value.url == address


def test_who_may_neither_list_nor_read_is_refused(place, proxy, depositor):
    depositor()
    denied = faults.s3_error(403, "AccessDenied")
    proxy.fault("*", denied, method="GET", forever=True)
    with pytest.raises(errors.AccessDeniedError):
        write_image(IMAGE, place, "czyx", **SMALL)
    depositor(OWNER)
    proxy.clear()
    assert not any(key.endswith("zarr.json") for key in contents(place))
    proxy.fault("*", faults.s3_error(400, "ExpiredToken"), method="GET", forever=True)
    with pytest.raises(errors.SignInExpiredError):
        InPlaceTarget(hasty(place)).occupied()


def test_a_save_of_who_may_not_list_resumes(place, proxy, depositor):
    depositor()
    proxy.fault("*/1/c/*", faults.s3_error(403, "AccessDenied"), method="PUT")
    with pytest.raises(errors.AccessDeniedError):
        saved(place)
    proxy.clear()
    saved(place, unfinished="resume")
    np.testing.assert_array_equal(pixels(place), image())
