"""Upgrades and packing: the stored bytes of every chunk stay what they are."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from itertools import product

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import small_images
from commands import assert_equal_pixels, run, run_json
from napari_omezarr import Location, errors, read_layers, write_image, write_layers
from napari_omezarr.atomic_file import PARTIAL
from napari_omezarr.browsing import validate
from napari_omezarr.samples import write_cells
from napari_omezarr.upkeep import PackChoices, repack_store, upgrading

COMPRESSORS = {
    "none": None,
    "zstd": numcodecs.Zstd(3),
    "gzip": numcodecs.GZip(4),
    "blosc": numcodecs.Blosc("zstd", 5, numcodecs.Blosc.SHUFFLE),
    "auto": numcodecs.Blosc("lz4", 5, numcodecs.Blosc.AUTOSHUFFLE),
    "bits": numcodecs.Blosc("lz4hc", 5, numcodecs.Blosc.BITSHUFFLE),
}


def place(path):
    return Location.parse(str(path))


def write_old(path, values, chunks, **options):
    """Write an image of one level in zarr 2, by zarr, with some chunks left out."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    array = group.create_array(
        "0",
        shape=values.shape,
        chunks=chunks,
        dtype=values.dtype,
        chunk_key_encoding={"name": "v2", "separator": options.pop("separator")},
        **options,
    )
    array[...] = values
    axes = [
        {"name": name, "type": "space", "unit": "micrometer"}
        for name in "zyx"[-values.ndim :]
    ]
    scale = {"type": "scale", "scale": [0.5] * values.ndim}
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    image = {"version": "0.4", "axes": axes, "datasets": datasets, "name": "old"}
    group.attrs["multiscales"] = [image]
    group.attrs["mine"] = {"kept": True}


def parts_of(store):
    """The stored bytes of all chunks of level 0 in shards, taken apart by hand."""
    document = json.loads((store / "0" / "zarr.json").read_text())
    unit = document["chunk_grid"]["configuration"]["chunk_shape"]
    chunks = document["codecs"][0]["configuration"]["chunk_shape"]
    per = [u // c for u, c in zip(unit, chunks, strict=True)]
    found = {}
    for file in (store / "0" / "c").rglob("*"):
        if file.is_dir():
            continue
        shard = [int(part) for part in file.relative_to(store / "0" / "c").parts]
        body = file.read_bytes()
        size = 16 * math.prod(per)
        table = np.frombuffer(body[-size - 4 : -4], "<u8").reshape(*per, 2)
        for index in product(*map(range, per)):
            offset, length = map(int, table[index])
            if offset != 2**64 - 1:
                chunk = tuple(
                    s * p + i for s, p, i in zip(shard, per, index, strict=True)
                )
                found[chunk] = body[offset : offset + length]
    return found


@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_chunks_are_packed_byte_by_byte(tmp_path, data):
    dtype = data.draw(st.sampled_from(["|b1", "|u1", ">u2", "<i4", "<f4", ">f8"]))
    shape = data.draw(st.sampled_from([(20, 30), (5, 17, 23)]))
    chunks = tuple(data.draw(st.integers(2, 9)) for _ in shape)
    separator = data.draw(st.sampled_from(["/", "."]))
    name = data.draw(st.sampled_from(sorted(COMPRESSORS)))
    order = data.draw(st.sampled_from("CF"))
    values = np.random.default_rng(5).integers(0, 9, shape).astype(dtype)
    values[: chunks[0], : chunks[1]] = 0  # chunks that zarr does not store
    old, new = tmp_path / "old.zarr", tmp_path / "new.zarr"
    options = {"compressors": COMPRESSORS[name], "order": order, "fill_value": 0}
    write_old(old, values, chunks, separator=separator, **options)
    stored = {
        tuple(map(int, key.replace("/", ".").split("."))): file.read_bytes()
        for file in (old / "0").rglob("*")
        if file.is_file()
        and not (key := file.relative_to(old / "0").as_posix()).startswith(".")
    }
    along = {axis: 3 * c for axis, c in zip("zyx"[-len(shape) :], chunks, strict=True)}
    choices = PackChoices(shards=along, verify=data.draw(st.booleans()))
    with pytest.MonkeyPatch.context() as system:
        # Less than a chunk, and than a shard, passes through the memory at a time.
        system.setattr(
            upgrading, "_AT_A_TIME", data.draw(st.sampled_from([7, 100, 2**20]))
        )
        repack_store(place(old), place(new), choices)
    assert parts_of(new) == stored
    packed = zarr.open_array(new / "0", mode="r")
    np.testing.assert_array_equal(packed[...], values)
    assert packed.shards == tuple(
        min(3, -(-n // c)) * c for n, c in zip(shape, chunks, strict=True)
    )
    attributes = zarr.open_group(new, mode="r").attrs.asdict()
    assert attributes["ome"]["version"] == "0.5"
    assert attributes["mine"] == {"kept": True}
    np.testing.assert_array_equal(read_layers(new)[0][0], values)
    # And back out of the shards, to one object a chunk.
    loose = tmp_path / "loose.zarr"
    repack_store(place(new), place(loose), PackChoices(shards=False))
    again = {
        tuple(map(int, file.relative_to(loose / "0" / "c").parts)): file.read_bytes()
        for file in (loose / "0" / "c").rglob("*")
        if file.is_file()
    }
    assert again == stored
    for folder in (old, new, loose):
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"compressors": numcodecs.Zlib(1)}, "codec zlib"),
        ({"compressors": numcodecs.LZ4()}, "codec lz4"),
        ({"filters": [numcodecs.Delta("<u2")]}, "filters"),
    ],
)
def test_what_would_be_other_bytes_is_left(tmp_path, options, why):
    old, new = tmp_path / "old.zarr", tmp_path / "new.zarr"
    options = {"separator": "/", "compressors": None, **options}
    write_old(old, np.ones((8, 9), "u2"), (4, 4), **options)
    assert why in run("upgrade", old, new, code=6)
    told = run("upgrade", old, code=6)
    assert why in told
    assert f"{old / '0'} stays as it is" in told
    assert not new.exists()
    assert not (old / "zarr.json").exists()


def spoiled(folder, said):
    """Write an image, and say in the document of its array what it cannot say."""
    name, key, *value = said.split(" ", 2)
    path = folder / "old.zarr"
    small_images.put_image(path, "0.4" if name == ".zarray" else "0.5")
    file = path / "0" / name
    content = json.loads(file.read_bytes())
    content.pop(key, None)
    for text in value:
        try:
            content[key] = json.loads(text)
        except ValueError:
            content[key] = text
    file.write_text(json.dumps(content))
    return path


SHARDING = {
    "name": "sharding_indexed",
    "configuration": {"chunk_shape": [1, 1, 16, 16], "codecs": [{"name": "bytes"}]},
}
EMPTY_GRID = {"name": "regular", "configuration": {"chunk_shape": [1, 1, 0, 16]}}
EMPTY = {"chunk_shape": [1, 1, 0, 16], "codecs": [{"name": "bytes"}]}


@pytest.mark.parametrize(
    "said",
    [
        ".zarray dtype",
        ".zarray dtype |O",
        ".zarray chunks",
        ".zarray chunks [0, 0, 0]",
        ".zarray chunks ab",
        ".zarray shape [-1, 4, 16, 16]",
        ".zarray compressor zstd",
        '.zarray compressor {"id": "blosc", "shuffle": 7}',
        '.zarray compressor {"id": "blosc", "cname": 3}',
        ".zarray node_type array",
        ".zarray dimension_separator 4",
        "zarr.json chunk_key_encoding 1",
        'zarr.json chunk_key_encoding {"name": "v2", "configuration": 4}',
        "zarr.json chunk_grid regular",
        'zarr.json chunk_grid {"name": "regular", "configuration": {}}',
        f"zarr.json chunk_grid {json.dumps(EMPTY_GRID)}",
        "zarr.json codecs 1",
        "zarr.json codecs [{}]",
        f"zarr.json codecs {json.dumps([{**SHARDING, 'configuration': {}}])}",
        f"zarr.json codecs {json.dumps([{**SHARDING, 'configuration': 1e400}])}",
        f"zarr.json codecs {json.dumps([{**SHARDING, 'configuration': EMPTY}])}",
        "zarr.json data_type [1]",
        'zarr.json attributes {"x": NaN}',
    ],
)
def test_a_document_that_is_none_is_refused_and_nothing_written(tmp_path, said):
    old, new = spoiled(tmp_path, said), tmp_path / "new.zarr"
    before = contents(old, documents=True)
    with pytest.raises(errors.UnsupportedDataError):
        repack_store(place(old), place(new), PackChoices(shards=True))
    assert not new.exists()
    assert contents(old, documents=True) == before


@pytest.mark.parametrize(
    "said",
    [".zarray fill_value x", "zarr.json zarr_format 2", "zarr.json attributes"],
)
def test_what_is_understood_where_it_is_read_is_packed(tmp_path, said):
    old, new = spoiled(tmp_path, said), tmp_path / "new.zarr"
    repack_store(place(old), place(new), PackChoices(shards=True))
    assert_equal_pixels(old, new)


@pytest.fixture
def cells(tmp_path):
    """An image with channels, two levels and labels, as 0.4."""
    write_cells(str(tmp_path / "first.ome.zarr"), shape=(4, 64, 64))
    layers = read_layers(tmp_path / "first.ome.zarr")
    target = tmp_path / "cells.ome.zarr"
    write_layers(layers, target, version="0.4", chunks={"y": 16, "x": 16}, levels=2)
    return target


def contents(folder, *, documents):
    names = {"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"}
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and (file.name in names) is documents
    }


@pytest.mark.parametrize("version", ["0.5", "0.6"])
def test_metadata_are_upgraded_where_they_are_and_back(cells, tmp_path, version):
    original = tmp_path / "original.ome.zarr"
    shutil.copytree(cells, original)
    before = contents(cells, documents=True)
    text = run("upgrade", cells, "--version", version)
    assert "--undo" in text
    assert {key.rpartition("/")[2] for key in contents(cells, documents=True)} == {
        "zarr.json"
    }
    assert contents(cells, documents=False) == contents(original, documents=False)
    facts = run_json("info", cells)
    assert facts["entry"]["version"] == version
    assert not validate(place(cells)).findings
    assert_equal_pixels(cells, original)
    for (_, found, _), (_, expected, _) in zip(
        read_layers(cells), read_layers(original), strict=True
    ):
        for key in ("name", "scale", "translate", "units", "contrast_limits"):
            assert found.get(key) == pytest.approx(expected.get(key))
    assert run_json("upgrade", cells, "--version", version)["documents"] == 0
    run("upgrade", cells, "--undo")
    assert contents(cells, documents=True) == before
    run("upgrade", cells, "--undo", code=3)


def test_what_others_changed_is_not_undone(cells):
    run("upgrade", cells)
    (cells / "zarr.json").write_text("{}")
    run("upgrade", cells, "--undo", code=5)
    assert (cells / "zarr.json").read_text() == "{}"


def test_an_image_is_packed_into_shards_with_its_labels(cells, tmp_path):
    target = tmp_path / "packed.ome.zarr"
    run("upgrade", cells, target, "--shards", "yes", "--verify")
    assert_equal_pixels(target, cells)
    assert not validate(place(target)).findings
    facts = run_json("info", target)
    assert facts["levels"][0]["shards"]
    few, many = (len(contents(f, documents=False)) for f in (target, cells))
    assert few < many / 4
    run("upgrade", cells, target, code=5)
    run("upgrade", cells, "--shards", "yes", code=2)
    run("upgrade", tmp_path / "nothing.zarr", code=3)


def test_whatever_its_name_is_it_is_packed(cells, tmp_path):
    odd = (
        ".notes",
        ".a/.b/c",
        "results.partial",
        "0/.stats",
        ".b/.zattrs",
        "labels/.x",
    )
    for name in odd:
        (cells / name).parent.mkdir(parents=True, exist_ok=True)
        (cells / name).write_text('{"a": 1}')
    zarr.create_array(cells / ".mine", data=np.arange(9), chunks=(2,), zarr_format=2)
    (cells / "0.0.partial").mkdir()
    (cells / "0" / f".1-2-3{PARTIAL}").write_text("half written")
    (cells / ".replacement-abc").mkdir()
    (cells / ".replacement-abc" / "0").write_text("half written")
    target = tmp_path / "packed.ome.zarr"
    repack_store(place(cells), place(target), PackChoices(shards=True))
    for name in set(odd) - {".b/.zattrs"}:
        assert (target / name).read_text() == '{"a": 1}'
    assert zarr.open_group(target / ".b", mode="r").attrs["a"] == 1
    packed = zarr.open_array(target / ".mine", mode="r")
    np.testing.assert_array_equal(packed[:], np.arange(9))
    stored = [file.name for file in target.rglob("*")]
    assert not [name for name in stored if name.startswith((".1-2", ".replacement"))]


def test_a_container_alone_is_changed_without_decoding(tmp_path):
    plain = tmp_path / "plain.ome.zarr"
    values = np.random.default_rng(0).integers(0, 99, (3, 64, 64), dtype="u2")
    write_image(values, plain, "zyx", chunks={"z": 1, "y": 16, "x": 16}, levels=1)
    sharded = tmp_path / "sharded.ome.zarr"
    run("rechunk", plain, sharded, "--shards", "z=3,y=32,x=32")
    assert_equal_pixels(sharded, plain)
    assert sorted(parts_of(sharded).values()) == sorted(
        contents(plain, documents=False).values()
    )
    other = tmp_path / "other.ome.zarr"
    run("rechunk", sharded, other, "--shards", "z=1,y=64,x=64")
    assert parts_of(other) == parts_of(sharded)
    run("rechunk", sharded, tmp_path / "c.ome.zarr", "--chunks", "z=3,y=64,x=64")
    assert_equal_pixels(tmp_path / "c.ome.zarr", plain)
    assert run_json("info", tmp_path / "c.ome.zarr")["levels"][0]["chunks"] == [
        3,
        64,
        64,
    ]


def test_a_damaged_index_is_never_packed(tmp_path):
    source = tmp_path / "a.ome.zarr"
    shards = {"y": 32, "x": 32}
    write_image(
        np.ones((32, 32), "u2"), source, "yx", chunks={"y": 8, "x": 8}, shards=shards
    )
    (shard,) = (source / "0" / "c").rglob("0/0")
    body = bytearray(shard.read_bytes())
    body[-30] ^= 1
    shard.write_bytes(body)
    with pytest.raises(errors.DamagedDataError):
        repack_store(
            place(source), place(tmp_path / "b.zarr"), PackChoices(shards=False)
        )
    assert not (tmp_path / "b.zarr").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="has neither of them")
@pytest.mark.parametrize("shards", [None, {"y": 8, "x": 8}])
@pytest.mark.parametrize("make", [lambda file: file.symlink_to(file), os.mkfifo])
def test_what_is_there_and_no_file_is_no_missing_chunk(tmp_path, make, shards):
    source = tmp_path / "a.zarr"
    write_old(source, np.ones((8, 8), "u2"), (4, 4), separator=".", compressors=None)
    (chunk,) = source.rglob("1.1")
    chunk.unlink()
    make(chunk)
    with pytest.raises(errors.StoreError):
        repack_store(
            place(source), place(tmp_path / "b.zarr"), PackChoices(shards=shards)
        )
    assert not (tmp_path / "b.zarr").exists()


def test_packing_goes_on_where_it_broke_off(tmp_path):
    source, target = tmp_path / "a.zarr", tmp_path / "b.zarr"
    write_old(source, np.ones((40, 40), "u2"), (4, 4), separator=".", compressors=None)
    choices = PackChoices(shards={"y": 8, "x": 8})

    class StoppedError(Exception):
        pass

    def stop(done, of):
        if done >= 9:
            raise StoppedError

    with pytest.raises(StoppedError):
        repack_store(place(source), place(target), choices, progress=stop)
    assert not target.exists()
    with pytest.raises(errors.UnfinishedWriteError):
        repack_store(place(source), place(target), PackChoices())
    done = repack_store(place(source), place(target), choices)
    # Eight are under way at a time: those seven end, and no other begins.
    assert 25 - 9 - 7 <= done.objects <= 25 - 9
    assert (zarr.open_array(target / "0", mode="r")[...] == 1).all()


@pytest.mark.usefixtures("owner")
def test_a_bucket_is_upgraded_and_packed(cells, tmp_path, s3_server, s3_prefix):
    there = f"s3+{s3_server.endpoint}/public/{s3_prefix}"
    run("copy", cells, f"{there}/a.ome.zarr")
    run("upgrade", f"{there}/a.ome.zarr", f"{there}/b.ome.zarr", "--shards", "yes")
    run("upgrade", f"{there}/a.ome.zarr")
    for name in ("a", "b"):
        assert_equal_pixels(f"{there}/{name}.ome.zarr", cells)
        facts = run_json("info", f"{there}/{name}.ome.zarr")
        assert facts["entry"]["version"] == "0.5"
    run("upgrade", f"{there}/a.ome.zarr", "--undo")
    facts = run_json("info", f"{there}/a.ome.zarr")
    assert facts["entry"]["version"] == "0.4"
