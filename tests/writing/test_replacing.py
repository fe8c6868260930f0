"""One image takes the place of another in a bucket: the old or the new is whole."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_omezarr import errors
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.store import open_writable, run
from napari_omezarr.store.object_store import copy_in_parts
from napari_omezarr.writing import add_labels, write_image
from napari_omezarr.writing.commit import InPlaceTarget
from napari_omezarr.writing.hierarchy import RemoteHierarchy
from napari_omezarr.writing.labels import GroupList
from quick_retries import QUICK
from servers import faults

RNG = np.random.default_rng(3)
OLD = RNG.integers(1, 999, (4, 130, 120)).astype(np.uint16)
NEW = OLD[:3] + np.uint16(1)
OPTIONS = {"chunks": (2, 64, 64), "levels": 2}
DENIED = faults.s3_error(403, "AccessDenied")
STAGED, PLACED = "*/.replacement-*", "*/a.ome.zarr"

pytestmark = pytest.mark.usefixtures("owner")


@pytest.fixture
def place(s3_prefix, proxy):
    address = f"s3://private/{s3_prefix}/a.ome.zarr"
    return Location.parse(address, endpoint=proxy.url)


def names(place):
    async def collect():
        return [entry.name async for entry in open_writable(place).objects()]

    return run(collect())


def pixels(place, number=0):
    return np.asarray(read_layers(place)[number][0][0])


def target_of(place):
    return InPlaceTarget(RemoteHierarchy(place, open_writable(place, retry=QUICK)))


def replaced(place, **choices):
    write_image(NEW, place, "zyx", existing="replace", **OPTIONS, **choices)


PHASES = {
    "while pixels are written": (f"{STAGED}/0/c/*", "PUT", True),
    "before its documents are whole": (f"{STAGED}/zarr.json", "PUT", True),
    "before the old image is hidden": (f"{PLACED}/zarr.json", "DELETE", True),
    "while it is copied": (f"{PLACED}/0/c/*", "PUT", False),
    "while leftovers are removed": (f"{PLACED}/labels/*/c/*", "DELETE", False),
    "while documents are copied": (f"{PLACED}/0/zarr.json", "PUT", False),
    "before it is published": (f"{PLACED}/zarr.json", "PUT", False),
    "while what is beside is removed": (f"{STAGED}/c/*", "DELETE", None),
}


@pytest.mark.parametrize("then", ["resume", "discard"])
@pytest.mark.parametrize("phase", PHASES)
def test_in_each_phase_one_of_both_is_whole(phase, then, place, proxy):
    pattern, method, is_old = PHASES[phase]
    write_image(OLD, place, "zyx", **OPTIONS, labels={"cells": OLD.astype(np.int32)})
    proxy.fault(pattern, DENIED, method=method, forever=True)
    with pytest.raises(errors.AccessDeniedError):
        replaced(place)
    proxy.clear()
    staged = {key.partition("/")[0] for key in names(place) if key.startswith(".")}
    if is_old:
        np.testing.assert_array_equal(pixels(place), OLD)
    elif is_old is None:
        np.testing.assert_array_equal(pixels(place), NEW)
    else:
        with pytest.raises(errors.NodeNotFoundError):
            read_layers(place)
        (folder,) = staged
        np.testing.assert_array_equal(pixels(place / folder), NEW)
    with pytest.raises(errors.UnfinishedWriteError):
        write_image(NEW, place, "zyx", **OPTIONS)
    begun = phase not in list(PHASES)[:2]
    assert target_of(place).switching == begun
    if then == "resume":
        replaced(place, unfinished="resume")
    else:
        target_of(place).discard()
    np.testing.assert_array_equal(
        pixels(place), NEW if begun or then == "resume" else OLD
    )
    left = names(place)
    assert not any(key.startswith(".") for key in left)
    assert (then == "resume" or begun) != any("labels" in key for key in left)
    assert not target_of(place).unfinished()


def test_what_somebody_else_made_meanwhile_is_not_replaced(place, proxy):
    write_image(OLD, place, "zyx", **OPTIONS)
    proxy.fault(f"{PLACED}/0/c/*", DENIED, method="PUT", forever=True)
    with pytest.raises(errors.AccessDeniedError):
        replaced(place)
    proxy.clear()
    theirs = b'{"zarr_format": 3, "node_type": "group"}'
    run(open_writable(place).put("zarr.json", theirs))
    with pytest.raises(errors.ConflictError, match="somebody else"):
        replaced(place, unfinished="resume")
    with pytest.raises(errors.ConflictError):
        target_of(place).discard()
    assert run(open_writable(place).read("zarr.json")).body == theirs
    assert any(key.startswith(".replacement-") for key in names(place))


def test_an_image_that_changed_since_it_was_agreed_to_is_not_replaced(place, proxy):
    write_image(OLD, place, "zyx", **OPTIONS)
    proxy.fault(f"{STAGED}/0/c/*", DENIED, method="PUT", forever=True)
    with pytest.raises(errors.AccessDeniedError):
        replaced(place)
    proxy.clear()
    run(open_writable(place).put("notes.txt", b"mine"))
    with pytest.raises(errors.TargetExistsError, match="changed"):
        replaced(place, unfinished="resume")
    np.testing.assert_array_equal(pixels(place), OLD)
    target_of(place).discard()
    assert "notes.txt" in names(place)
    assert not any(key.startswith(".replacement-") for key in names(place))


def test_a_copy_that_arrives_otherwise_is_noticed_before_anything_is_shown(
    place, proxy
):
    write_image(OLD, place, "zyx", **OPTIONS)
    lied = faults.Status(200, b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>")
    proxy.fault(f"{PLACED}/0/c/0/0/0", lied, method="PUT")
    run(open_writable(place).delete("0/c/0/0/0"))
    with pytest.raises(errors.VerificationError, match="0/c/0/0/0"):
        replaced(place)
    with pytest.raises(errors.NodeNotFoundError):
        read_layers(place)
    replaced(place, unfinished="resume")
    np.testing.assert_array_equal(pixels(place), NEW)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_replaced_labels_are_not_listed_while_they_are_a_mixture(version, place, proxy):
    root = ".zmetadata" if version == "0.4" else "zarr.json"
    labels = OLD.astype(np.int32)
    both = {"a": labels, "b": labels + 1}
    write_image(OLD, place, "zyx", labels=both, version=version, **OPTIONS)
    layer = (labels + 5, {"name": "a", "axis_labels": ("z", "y", "x")}, "labels")
    proxy.fault(f"{PLACED}/labels/a/0/*", DENIED, method="PUT", forever=True)
    with pytest.raises(errors.AccessDeniedError):
        add_labels(layer, place, existing="replace", chunks=(2, 64, 64))
    proxy.clear()
    assert GroupList(RemoteHierarchy(place), "labels").names() == ("b",)
    held = run(open_writable(place).read(root))
    assert "labels/a" not in held.body.decode()
    assert [options["name"] for _, options, _ in read_layers(place)] == ["a", "b"]
    add_labels(
        layer, place, existing="replace", unfinished="resume", chunks=(2, 64, 64)
    )
    assert set(GroupList(RemoteHierarchy(place), "labels").names()) == {"a", "b"}
    held = run(open_writable(place).read(root))
    assert "labels/a/0" in json.dumps(json.loads(held.body))
    np.testing.assert_array_equal(pixels(place / "labels" / "a"), labels + 5)
    assert not any(key.startswith(".replacement") for key in names(place))


def test_a_service_that_cannot_copy_gets_the_bytes(place, proxy):
    writable = open_writable(place)
    run(writable.put("one", b"bytes"))
    proxy.fault("*/two", faults.s3_error(501, "NotImplemented"), method="PUT")
    run(writable.copy("one", "two", 5))
    assert run(writable.read("two")).body == b"bytes"
    proxy.fault("*/two", faults.s3_error(501, "NotImplemented"), method="PUT")
    with pytest.raises(errors.NodeNotFoundError):
        run(writable.copy("none", "two", 5))


def test_a_copy_that_fails_after_its_200_is_an_error(place, proxy):
    writable = open_writable(place, retry=QUICK)
    run(writable.put("a b+c", b"bytes"))
    late = faults.s3_error(200, "InternalError")
    proxy.fault("*/two", late, method="PUT")
    run(writable.copy("a b+c", "two", 5))
    assert run(writable.read("two")).body == b"bytes"
    proxy.fault("*/two", late, method="PUT", forever=True)
    with pytest.raises(errors.ServerError):
        run(writable.copy("a b+c", "two", 5))
    proxy.clear()
    proxy.fault("*/two", faults.page(), method="PUT", forever=True)
    with pytest.raises(errors.WebPageError):
        run(writable.copy("a b+c", "two", 5))


def test_a_long_object_is_copied_in_parts(place, proxy):
    body = RNG.bytes(11 << 20)
    writable = open_writable(place)
    run(writable.put("long", body))
    backend = writable._backend
    proxy.clear_log()

    async def copied():
        async def once(attempt):
            return await attempt()

        await copy_in_parts(backend, "long", "copy", len(body), once, part=5 << 20)
        return await writable.read("copy")

    assert run(copied()).body == body
    assert sum("partNumber" in request.query for request in proxy.requests) == 3
