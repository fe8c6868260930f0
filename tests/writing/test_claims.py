"""Who saves to a place has it for himself; whoever comes meanwhile is told so."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from zarr.storage import MemoryStore

from interrupted_save import OPTIONS
from killed_saves import small
from napari_omezarr.errors import (
    ConflictError,
    TargetClaimedError,
    TargetExistsError,
    UnfinishedWriteError,
)
from napari_omezarr.layers import read_layers
from napari_omezarr.writing import add_labels, journal, open_target, parsed, write_image
from napari_omezarr.writing.given import open_hierarchy
from racing_processes import Races
from servers.azure import BOX, AzureAccount
from servers.bucket import Bucket
from servers.google import GoogleStorage

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs fork")
PEOPLE = 3
SAID = re.compile(r"Somebody has been saving to .* since (\d\d:\d\d|a moment ago)\.")
PLACES = ["folder", "zip", "bucket", "forgetful bucket", "google", "azure"]


@pytest.fixture(scope="module")
def races():
    with Races() as races:
        yield races


@pytest.fixture(params=PLACES)
def place(request, tmp_path, owner, monkeypatch):
    monkeypatch.setattr("napari_omezarr.writing.update.LOOK_AGAIN", 0.01)
    if request.param == "azure":
        with AzureAccount() as azure:
            sign_in = azure.connection_string()
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", sign_in)
            yield f"az://{BOX}/a.ome.zarr"
        return
    if request.param in ("folder", "zip"):
        name = "a.ozx" if request.param == "zip" else "a.ome.zarr"
        yield str(tmp_path / name)
        return
    if request.param == "google":
        with GoogleStorage() as google:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.url)
            yield google.place("a.ome.zarr")
        return
    with Bucket(knows_conditions=request.param == "bucket") as bucket:
        monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
        yield "s3://private/a.ome.zarr"


def pixels(place):
    return np.asarray(read_layers(place)[0][0][0])


def image(value=1):
    return np.full((4, 60, 60), value, np.uint16)


def in_the_middle(place, then, **choices):
    """Save, and do something when the first block is stored."""
    done = []

    def once(_):
        if not done:
            done.append(True)
            then()

    return write_image(image(), place, "zyx", progress=once, memory=20_000, **choices)


def objects_beside(place):
    """What lies at a place beyond the image."""
    return [file for file in Path(place).parent.iterdir() if "saving" in file.name]


@POSIX
@pytest.mark.parametrize("lag", [0.0, 0.05])
def test_of_those_who_save_to_one_place_one_wins_with_its_own_pixels(lag, place, races):
    told = races.run("saver", PEOPLE, place=place, lag=lag)
    winners = [number for number, said in enumerate(told) if said == "saved"]
    assert len(winners) == 1, told
    assert set(np.unique(pixels(place))) == {winners[0] + 1}
    for number, said in enumerate(told):
        kind, _, text = said.partition(": ")
        if kind == "TargetClaimedError":
            assert SAID.match(text)
        elif number != winners[0]:  # who came after the end
            assert kind == "TargetExistsError", said


def test_a_running_save_is_offered_neither_for_resume_nor_for_removal(place):
    seen = []

    def somebody_comes():
        for mode in ("refuse", "resume", "remove"):
            with pytest.raises(TargetClaimedError) as caught:
                write_image(image(2), place, "zyx", unfinished=mode)
            seen.append(caught.value)
        with pytest.raises(TargetClaimedError):
            open_target(parsed(place), "0.5").claim.refuse_others()

    in_the_middle(place, somebody_comes)
    assert len(seen) == 3
    assert all(SAID.match(error.sentence) for error in seen)
    assert (pixels(place) == 1).all()
    open_target(parsed(place), "0.5").claim.refuse_others()
    with pytest.raises(TargetExistsError):
        write_image(image(2), place, "zyx")


def test_beside_a_running_save_is_the_next_name(place):
    saved = []

    def somebody_comes():
        saved.append(write_image(image(2), place, "zyx", existing="beside"))

    in_the_middle(place, somebody_comes)
    assert (pixels(place) == 1).all()
    assert "a-2." in saved[0].address
    assert (pixels(saved[0].address) == 2).all()


@POSIX
def test_the_claim_of_a_process_that_was_killed_is_taken_over(tmp_path, killed_saves):
    place = tmp_path / "a.ome.zarr"
    killed_saves.begin(place, last=20)
    assert killed_saves.end() == -signal.SIGKILL
    assert objects_beside(place)
    with pytest.raises(UnfinishedWriteError):
        write_image(small(), place, "zyx", **OPTIONS)
    write_image(small(), place, "zyx", unfinished="resume", **OPTIONS)
    np.testing.assert_array_equal(pixels(place), small())
    assert not objects_beside(place)


@pytest.fixture
def bucket(owner, monkeypatch):
    with Bucket(knows_conditions=True) as bucket:
        monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
        yield bucket


KEY = "a.ome.zarr/.saving"


def claimed(bucket, **facts):
    """Somebody on another computer has claimed the place."""
    said = {"owner": "x", "machine": "another", "process": 1, "since": journal._now()}
    said["renewed"] = "2020-01-01T00:00:00+00:00"
    bucket.objects[KEY] = json.dumps(said | facts).encode()


def left_behind(bucket):
    """What somebody on another computer has left of a save."""
    claimed(bucket)
    bucket.objects["a.ome.zarr/0/c/0/0/0"] = b"a chunk of theirs"


def test_a_claim_from_elsewhere_that_is_not_renewed_is_taken_over(bucket):
    """Nobody here knows what it has done: it can be removed, and not resumed."""
    place = "s3://private/a.ome.zarr"
    left_behind(bucket)
    for mode in ("refuse", "resume"):
        with pytest.raises(UnfinishedWriteError):
            write_image(image(), place, "zyx", unfinished=mode)
        assert "a.ome.zarr/0/c/0/0/0" in bucket.objects
        left_behind(bucket)
    write_image(image(), place, "zyx", unfinished="remove")
    assert (pixels(place) == 1).all()
    assert KEY not in bucket.objects


def test_a_claim_from_elsewhere_that_is_renewed_is_left_alone(bucket):
    claimed(bucket, renewed=journal._now())
    before = dict(bucket.objects)
    with pytest.raises(TargetClaimedError, match=SAID):
        write_image(image(), "s3://private/a.ome.zarr", "zyx", unfinished="remove")
    assert bucket.objects == before


def test_who_has_lost_the_claim_stops_before_there_is_an_image(bucket):
    """Somebody took it over, as nothing was heard: the clock stood, or the network."""
    place = "s3://private/a.ome.zarr"

    def somebody_takes_it():
        claimed(bucket, renewed=journal._now())

    with pytest.raises(ConflictError, match="Somebody else has begun"):
        in_the_middle(place, somebody_takes_it)
    assert "a.ome.zarr/zarr.json" not in bucket.objects
    assert json.loads(bucket.objects[KEY])["owner"] == "x"


def test_a_claim_is_renewed_while_it_lasts(bucket, monkeypatch):
    monkeypatch.setattr(journal, "RENEWED", 0.01)

    def until_renewed():
        for _ in range(12_000):
            puts = [r.path for r in bucket.requests if r.method == "PUT"]
            if sum(path.endswith(KEY) for path in puts) > 4:
                return
            threading.Event().wait(0.005)
        pytest.fail("It was not renewed.")

    in_the_middle("s3://private/a.ome.zarr", until_renewed)
    assert KEY not in bucket.objects


@pytest.mark.parametrize("where", ["folder", "store"])
def test_labels_are_claimed_too(where, tmp_path):
    place = tmp_path / "a.ome.zarr" if where == "folder" else MemoryStore()
    write_image(image(), place, "zyx")
    layer = (image(), {"name": "cells"}, "labels")
    seen = []

    def somebody_comes(_):
        if not seen:
            with pytest.raises(TargetClaimedError) as caught:
                add_labels(layer, place)
            seen.append(caught.value)

    add_labels(layer, place, progress=somebody_comes)
    assert seen
    assert [kind for *_, kind in read_layers(place)] == ["image", "labels"]
    claimed = journal.claim_of(open_hierarchy(parsed(place)), "labels/cells", "here")
    claimed.refuse_others()
