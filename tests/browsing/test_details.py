"""What is known of an image before it is opened, and what a connection may do."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import zarr

from napari_omezarr import errors, write_layers
from napari_omezarr.browsing import (
    EntryKind,
    check_connection,
    describe,
    measure_speed,
    pretty,
    raw_documents,
    validate,
    view_chunk,
)
from napari_omezarr.browsing.details import codec_text
from napari_omezarr.connections import Keys, Profile, key_store
from napari_omezarr.demo.server import OWNER, READER
from napari_omezarr.location import Location
from napari_omezarr.store import run
from quick_retries import QUICK
from servers import faults
from servers.proxy import Proxy
from small_images import pixels, put_group, put_image, put_labels, put_plate, put_series


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("details")
    put_image(folder / "new.zarr", "0.5", shape=(2, 4, 64, 64), chunks=(1, 2, 32, 32))
    put_labels(folder / "new.zarr", levels=3, cells=pixels((4, 64, 64)))
    put_image(folder / "old.zarr", "0.4", compressors=None)
    put_image(folder / "shards.zarr", "0.5", chunks=(1, 2, 8, 8), shards=(2, 4, 16, 24))
    put_plate(folder / "plate.zarr", rows=1, columns=2)
    put_series(folder / "series.zarr", count=2)
    put_group(folder / "group.zarr", "0.5", {})
    return folder


def place(tree, name):
    return Location.parse(tree / name)


def test_an_image_is_described(tree):
    details = describe(place(tree, "new.zarr"))
    assert (details.entry.kind, details.entry.version) == (EntryKind.IMAGE, "0.5")
    assert [(a.name, a.size, a.pixel, a.unit) for a in details.axes] == [
        ("c", 2, 1, None),
        ("z", 4, 0.5, "micrometer"),
        ("y", 64, 0.5, "micrometer"),
        ("x", 64, 0.5, "micrometer"),
    ]
    first, *others = details.levels
    assert len(others) == 2
    assert (first.path, first.shape, first.chunks) == (
        "0",
        (2, 4, 64, 64),
        (1, 2, 32, 32),
    )
    assert (first.dtype, first.codec, first.raw) == ("uint16", "zstd", 65536)
    assert first.shards is None
    assert 0 < first.stored < first.raw
    assert [(c.name, c.color) for c in details.channels] == [
        ("marker 0", "00FF00"),
        ("marker 1", "FF00FF"),
    ]
    assert details.labels == ("cells",)


def test_without_a_sample_no_size_is_guessed(tree):
    assert describe(place(tree, "new.zarr"), sample=False).levels[0].stored is None
    plain = describe(place(tree, "old.zarr"), sample=False).levels[0]
    assert (plain.codec, plain.stored) == ("none", plain.raw)


def test_shards_are_described(tree):
    level = describe(place(tree, "shards.zarr")).levels[0]
    assert (level.chunks, level.shards) == ((1, 2, 8, 8), (2, 4, 16, 24))
    assert level.codec == "zstd"
    assert 0 < level.stored < level.raw


@pytest.mark.parametrize(
    ("name", "kind"),
    [("plate.zarr", EntryKind.PLATE), ("series.zarr", EntryKind.SERIES)],
)
def test_containers_are_described_by_their_image(tree, name, kind):
    details = describe(place(tree, name))
    assert details.entry.kind is kind
    assert details.axes


def test_what_is_no_image_has_no_levels(tree):
    details = describe(place(tree, "group.zarr"))
    assert (details.entry.kind, details.levels) == (EntryKind.GROUP, ())
    labels = describe(place(tree, "new.zarr") / "labels")
    assert (labels.entry.kind, labels.entry.summary) == (EntryKind.LABELS, "1")
    level = describe(place(tree, "new.zarr") / "1")
    assert (level.entry.kind, level.name) == (EntryKind.ARRAY, "new")


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (
            {"zarr_format": 2, "compressor": {"id": "blosc", "cname": "lz4"}},
            "blosc(lz4)",
        ),
        (
            {
                "zarr_format": 2,
                "filters": [{"id": "delta"}],
                "compressor": {"id": "gzip"},
            },
            "delta + gzip",
        ),
        ({"codecs": [{"name": "bytes"}]}, "none"),
        ({"codecs": [{"name": "transpose"}, {"name": "gzip"}]}, "transpose + gzip"),
    ],
)
def test_codecs_are_named_as_the_field_does(document, text):
    assert codec_text(document) == text


@pytest.mark.parametrize("name", ["new.zarr", "old.zarr", "shards.zarr"])
def test_one_chunk_is_seen(tree, name):
    location = place(tree, name)
    shape = describe(location, sample=False).levels[0].chunks
    index = (0, 0, 1, 2) if name == "old.zarr" else (1, 1, 0, 1)
    chunk = view_chunk(location, 0, index)
    array = zarr.open_array(tree / name / "0", mode="r")
    start = [i * c for i, c in zip(index, shape, strict=True)]
    expected = array[tuple(slice(a, a + c) for a, c in zip(start, shape, strict=True))]
    np.testing.assert_array_equal(chunk.pixels, expected)
    assert chunk.raw == np.prod(shape) * 2
    assert not chunk.is_missing
    assert chunk.seconds > 0
    if name != "shards.zarr":
        assert chunk.stored == (tree / name / chunk.key).stat().st_size
    assert chunk.ratio == chunk.raw / chunk.stored


def test_a_chunk_that_is_not_stored_is_said_to_be_missing(tmp_path):
    put_image(tmp_path / "x.zarr", names="yx", shape=(16, 16), count=1)
    (tmp_path / "x.zarr" / "0" / "c" / "1" / "1").unlink()
    chunk = view_chunk(Location.parse(tmp_path / "x.zarr"), 0, (1, 1))
    assert (chunk.is_missing, chunk.stored, chunk.ratio) == (True, 0, None)
    assert not chunk.pixels.any()


@pytest.mark.parametrize("index", [(9, 0, 0, 0), (0, 0), (-1, 0, 0, 0)])
def test_a_chunk_that_is_not_there_is_refused(tree, index):
    with pytest.raises(errors.OptionError, match="There is no chunk"):
        view_chunk(place(tree, "new.zarr"), 0, index)


def test_a_plate_says_its_wells_and_fields(tree):
    assert describe(Location.parse(tree / "plate.zarr")).plate == (
        "1 row (A), 2 columns (1 to 2), 2 wells listed",
        "1 field in the first well",
    )


def test_a_plate_has_no_chunks(tree):
    with pytest.raises(errors.UnsupportedDataError, match="no chunks of its own"):
        view_chunk(place(tree, "plate.zarr"), 0, (0, 0, 0))


def test_the_speed_of_a_place_is_measured(tree, s3_server):
    s3_server.upload(tree / "new.zarr", "public/test-speed/new.zarr")
    where = Location.parse(
        "s3://public/test-speed/new.zarr", endpoint=s3_server.endpoint
    )
    speed = measure_speed(where)
    assert speed.latency > 0
    assert (speed.requests, speed.rate > 0) == (16, True)
    assert speed.received == sum(
        file.stat().st_size
        for file in (tree / "new.zarr" / "0" / "c").rglob("*")
        if file.is_file()
    )
    assert "over 16 requests" in speed.sentence


def test_nothing_stored_has_no_rate(tmp_path):
    put_image(tmp_path / "x.zarr", names="yx", shape=(8, 8), count=1)
    (tmp_path / "x.zarr" / "0" / "c" / "0" / "0").unlink()
    speed = measure_speed(Location.parse(tmp_path / "x.zarr"))
    assert "nothing is stored" in speed.sentence


def test_raw_documents_are_laid_out(tree):
    found = raw_documents(place(tree, "new.zarr"))
    assert next(iter(found)) == "zarr.json"
    assert {"0/zarr.json", "2/zarr.json", "labels/zarr.json"} <= set(found)
    assert json.loads(found["zarr.json"])["node_type"] == "group"
    assert '\n  "node_type": "group"' in found["zarr.json"]
    assert ".zgroup" in raw_documents(place(tree, "old.zarr"))
    assert raw_documents(place(tree, "nowhere")) == {}
    assert pretty(b"\xffno json") == "\N{REPLACEMENT CHARACTER}no json"


def test_documents_that_cannot_be_read_are_an_error(s3_server):
    with Proxy(s3_server.endpoint) as proxy:
        where = Location.parse("s3://public/x", endpoint=proxy.url)
        proxy.fault("*", faults.s3_error(401, "Unauthorized"), forever=True)
        with pytest.raises(errors.StoreError):
            raw_documents(where)


def test_valid_documents_are_valid(tree):
    for name, version in (("new.zarr", "0.5"), ("old.zarr", "0.4")):
        outcome = validate(place(tree, name))
        assert (outcome.version, outcome.covered, outcome.findings) == (
            version,
            True,
            (),
        )
        assert outcome.sentence == f"Valid OME-Zarr {version}."


def test_findings_name_their_place_in_the_document(tmp_path):
    bad = {"multiscales": [{"axes": [{"name": "x", "type": "space"}], "datasets": []}]}
    put_group(tmp_path / "x.zarr", "0.5", bad)
    put_group(tmp_path / "x.zarr" / "labels", "0.5", {"labels": 3})
    outcome = validate(Location.parse(tmp_path / "x.zarr"))
    where = {(f.document, f.where) for f in outcome.findings}
    assert ("", "multiscales/0/axes") in where
    assert "labels" in {document for document, _ in where}
    assert "against OME-Zarr 0.5" in outcome.sentence


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_checked_and_compared_with_their_image(tmp_path, version):
    layers = [
        (pixels((16, 16)), {"name": "a"}, "image"),
        (np.ones((16, 16), np.uint8), {"name": "cells"}, "labels"),
    ]
    where = tmp_path / "x.zarr"
    write_layers(layers, where, version=version, levels=3)
    assert not validate(Location.parse(where)).findings
    new = version == "0.5"
    file = where / "labels" / "cells" / ("zarr.json" if new else ".zattrs")
    content = json.loads(file.read_text())
    block = content["attributes"]["ome"] if new else content
    block["multiscales"][0]["datasets"].pop()
    file.write_text(json.dumps(content))
    (found,) = validate(Location.parse(where)).findings
    assert found.document == "labels/cells"
    assert "2 resolution levels, and their image has 3" in found.problem
    block["multiscales"][0]["name"] = float("nan")
    file.write_text(json.dumps(content))
    found, *_ = validate(Location.parse(where)).findings
    assert (found.where, "NaN" in found.problem) == ("multiscales/0/name", True)


def test_what_the_validator_does_not_know_is_not_called_valid(tmp_path, tree):
    put_image(tmp_path / "x.zarr", "0.6")
    outcome = validate(Location.parse(tmp_path / "x.zarr"))
    assert not outcome.covered
    assert "does not know OME-Zarr 0.6" in outcome.sentence
    with pytest.raises(errors.NodeNotFoundError, match="says nothing of OME-Zarr"):
        validate(place(tree, "group.zarr"))


def test_without_the_validator_the_way_to_it_is_told(tree, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaozarrs", None)
    with pytest.raises(
        errors.UnsupportedDataError, match=r"napari-omezarr\[validate\]"
    ):
        validate(place(tree, "new.zarr"))


@pytest.fixture(scope="module")
def lab(s3_server, tree):
    s3_server.upload(tree / "new.zarr", "private/test-check/new.zarr")
    s3_server.put("private/test-check/notes/readme.txt", b"hello")
    return s3_server.endpoint


def checked(profile, text, keys=None):
    checks = run(check_connection(profile, text, keys=keys, retry=QUICK))
    assert [c.what for c in checks] == ["list buckets", "list here", "read"]
    return checks


def test_a_connection_that_may_everything(lab):
    profile = Profile("new", endpoint=lab, sign_in="keys")
    keys = Keys(OWNER.key, OWNER.secret)
    checks = checked(profile, "s3://private/test-check/new.zarr", keys)
    assert [c.works for c in checks] == [True, True, True]
    assert "Lists" in checks[0].sentence
    assert key_store().find("new") is None
    checks = checked(profile, "s3://private/test-check/notes", keys)
    assert checks[2].sentence.endswith("readme.txt.")


def test_a_connection_that_may_read_one_bucket(lab):
    profile = Profile("new", endpoint=lab, sign_in="keys")
    keys = Keys(READER.key, READER.secret)
    checks = checked(profile, "s3://private/test-check", keys)
    assert [c.works for c in checks[1:]] == [True, True]


def test_a_wrong_key_is_told_and_not_shown(lab):
    profile = Profile("new", endpoint=lab, sign_in="keys")
    checks = checked(profile, "s3://private/test-check", Keys("PLANTED", "PLANTED"))
    assert [c.works for c in checks] == [False, False, False]
    assert "does not accept the key" in checks[1].sentence
    assert "PLANTED" not in repr(checks)


def test_what_needs_a_place_is_not_tried_without_one(lab):
    checks = checked(Profile("new", endpoint=lab, sign_in="anonymous"), "")
    assert [c.works for c in checks[1:]] == [None, None]


def test_an_empty_place_can_be_listed(lab):
    profile = Profile("new", endpoint=lab, sign_in="anonymous")
    checks = checked(profile, "s3://public/nowhere")
    assert [c.works for c in checks[1:]] == [True, None]
    assert "is empty" in checks[1].sentence


def test_what_cannot_be_understood_is_an_error(tmp_path):
    put_group(tmp_path / "x.zarr", "0.5", {"multiscales": [{"datasets": []}]})
    with pytest.raises(errors.MetadataError, match="lists no resolution level"):
        describe(Location.parse(tmp_path / "x.zarr"))
