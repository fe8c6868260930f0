"""Several people change one image at the same time, in processes of their own.

With ``OMEZARR_RACES=500`` each race has so many updates by each of four, and not a
dozen: 10,000 acknowledged updates over all of them.
"""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest
import zarr

from napari_omezarr.layers import read_layers
from napari_omezarr.writing import write_image
from napari_omezarr.writing.downsample import downsample
from racing_processes import Races
from servers.azure import BOX, AzureAccount
from servers.bucket import Bucket
from servers.google import GoogleStorage

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork")

TURNS = int(os.environ.get("OMEZARR_RACES", "12"))
"""How many updates each person makes in a race."""
PEOPLE = 4
SIDE = 240
CUTS = {
    "one chunk": {"chunks": (SIDE, SIDE)},
    "chunks": {"chunks": (64, 64)},
    "neighbours in a shard": {"chunks": (30, 30), "shards": (120, 120)},
    "a codec of zarr's own": {"chunks": (SIDE, SIDE), "codec": "none"},
}


@pytest.fixture(scope="module")
def races():
    with Races() as races:
        yield races


@pytest.fixture
def s3_place(s3_server, s3_prefix, owner, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    return f"s3://private/{s3_prefix}/a.ome.zarr"


@pytest.fixture
def google_place(monkeypatch):
    with GoogleStorage() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server.place("a.ome.zarr")


@pytest.fixture
def az_place(monkeypatch):
    with AzureAccount() as azure:
        sign_in = azure.connection_string()
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", sign_in)
        yield f"az://{BOX}/a.ome.zarr"


@pytest.fixture
def forgetful_place(owner, monkeypatch):
    """A place at a service that knows no conditions."""
    with Bucket(knows_conditions=False) as bucket:
        monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
        yield "s3://private/a.ome.zarr"


def boxes():
    """For each person boxes that nobody else touches, in no order."""
    rng = np.random.default_rng(5)
    side = SIDE // max(1, int(np.ceil(np.sqrt(PEOPLE * TURNS))))
    grid = SIDE // side
    cells = rng.permutation(grid * grid)[: PEOPLE * TURNS]
    found = [
        ((int(cell // grid * side), int(cell % grid * side)), (side, side), 1 + n)
        for n, cell in enumerate(cells)
    ]
    return [found[number::PEOPLE] for number in range(PEOPLE)]


def check(place, all_boxes, method="mean"):
    """All that was acknowledged is there, and each level is made of the finer one."""
    levels = [np.asarray(level) for level in read_layers(place)[0][0]]
    expected = np.zeros((SIDE, SIDE), np.uint16)
    for start, size, value in (box for some in all_boxes for box in some):
        where = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
        expected[where] = value
    np.testing.assert_array_equal(levels[0], expected)
    for finer, coarser in itertools.pairwise(levels):
        np.testing.assert_array_equal(coarser, downsample(finer, (2, 2), method))


@pytest.mark.parametrize("cut", CUTS)
def test_no_edit_on_a_disk_is_lost(cut, races, tmp_path):
    place = str(tmp_path / "a.ome.zarr")
    write_image(np.zeros((SIDE, SIDE), "u2"), place, "yx", levels=3, **CUTS[cut])
    theirs = boxes()
    done = races.run("patcher", PEOPLE, place=place, boxes=theirs)
    assert done == [TURNS] * PEOPLE
    check(place, theirs)
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.parametrize("where", ["s3_place", "google_place", "az_place"])
def test_no_edit_in_a_bucket_is_lost(where, races, request):
    cut, place = CUTS["neighbours in a shard"], request.getfixturevalue(where)
    write_image(np.zeros((SIDE, SIDE), "u2"), place, "yx", levels=3, **cut)
    theirs = boxes()
    done = races.run("patcher", PEOPLE, place=place, boxes=theirs)
    assert done == [TURNS] * PEOPLE
    check(place, theirs)


def test_no_edit_is_lost_where_the_service_knows_no_conditions(races, forgetful_place):
    """What was overwritten is noticed when it is read back, and written again."""
    place = forgetful_place
    write_image(np.zeros((SIDE, SIDE), "u2"), place, "yx", levels=2)
    theirs = [some[:2] for some in boxes()]
    done = races.run("patcher", PEOPLE, place=place, boxes=theirs)
    assert done == [2] * PEOPLE
    check(place, theirs)


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_of_all_who_edit_the_same_pixels_one_is_right(where, races, tmp_path, request):
    place = str(tmp_path / "a.ome.zarr")
    if where == "bucket":
        place = request.getfixturevalue("s3_place")
    write_image(np.zeros((SIDE, SIDE), "u2"), place, "yx", chunks=(16, 16), levels=2)
    start, size = (5, 5), (60, 60)  # 25 chunks
    told = races.run("clasher", PEOPLE, place=place, start=start, size=size)
    assert all(isinstance(pixels, int) for pixels in told), told
    values = set(np.unique(np.asarray(read_layers(place)[0][0][0])))
    winners = [number for number, pixels in enumerate(told) if pixels == 0]
    assert values == {0, *(1 + number for number in winners)}
    assert len(winners) <= 1
    everything = [[(start, size, 1 + number)] for number in winners]
    check(place, everything)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_and_looks_of_several_people_are_all_there(version, races, tmp_path):
    place = str(tmp_path / "a.ome.zarr")
    pixels = np.zeros((PEOPLE, 32, 32), "u1")
    limits = [(0, 9)] * PEOPLE
    write_image(pixels, place, "cyx", version=version, contrast_limits=limits)
    layers = read_layers(place)
    # What looks so already is not written.
    assert all(options["colormap"] != "blue" for _, options, _ in layers)
    told = [[None, _plain(options), kind] for _, options, kind in layers]
    done = races.run("annotator", PEOPLE, place=place, shape=[32, 32], layers=told)
    assert done == [[options["name"]] for _, options, _ in layers]
    found = read_layers(place)
    assert {o["name"] for _, o, k in found if k == "labels"} == {
        f"by {number}" for number in range(PEOPLE)
    }
    assert [o["colormap"] for _, o, k in found if k == "image"] == ["blue"] * PEOPLE
    (group,) = [zarr.open_group(place, mode="r", use_consolidated=True)]
    listed = group["labels"].attrs.asdict()
    plain = zarr.open_group(place, mode="r", use_consolidated=False)["labels"]
    assert listed == plain.attrs.asdict()


def _plain(options):
    kept = ("name", "colormap", "contrast_limits", "metadata", "scale", "translate")
    return {key: options[key] for key in kept if key in options}


@pytest.mark.parametrize("where", ["disk", "bucket"])
def test_of_those_who_append_one_does_at_a_time(where, races, tmp_path, request):
    """Each is told that another is at it, and whoever was told "done" is there."""
    place = str(tmp_path / "film.ome.zarr")
    if where == "bucket":
        place = request.getfixturevalue("s3_place")
    turns, side = max(2, TURNS // 6), 32
    write_image(np.zeros((1, side, side), "u2"), place, "tyx", levels=2, chunks=16)
    refused = races.run(
        "appender", PEOPLE, place=place, shape=[side, side], turns=turns
    )
    assert all(set(r) <= {"TargetClaimedError", "ConflictError"} for r in refused)
    finest, coarser = (np.asarray(level) for level in read_layers(place)[0][0])
    assert finest.shape == (1 + PEOPLE * turns, side, side)
    for levels in (finest, coarser):
        assert (levels == levels[:, :1, :1]).all()  # no plane is of two people
        values, counts = np.unique(levels[1:, 0, 0], return_counts=True)
        assert list(values) == list(range(1, PEOPLE + 1))
        assert set(counts) == {turns}
    assert (finest[:, 0, 0] == coarser[:, 0, 0]).all()
