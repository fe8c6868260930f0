"""Every command and wrong inputs: words, a code by the kind, one JSON document."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import click
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from child_process import child_process
from napari_omezarr import write_image
from napari_omezarr.cli import main
from napari_omezarr.samples import write_cells

pytestmark = pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """What the commands are pointed at."""
    folder = tmp_path_factory.mktemp("wrong")
    image = folder / "cells.ome.zarr"
    write_cells(str(image), shape=(2, 32, 32))
    write_image(np.ones((1, 32, 32), "u1"), folder / "film.ome.zarr", "tyx")
    for name, text in (("broken", "{"), ("list", "[1]"), ("blank", "")):
        shutil.copytree(image, folder / f"{name}.ome.zarr")
        (folder / f"{name}.ome.zarr" / "zarr.json").write_text(text)
    shutil.copytree(image, folder / "a b ü%20#?.ome.zarr")
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("x")
    (folder / "some.tif").write_bytes(b"II*\0nothing")
    tifffile.imwrite(folder / "good.tif", np.ones((2, 16, 16), "u2"))
    (folder / "wells.csv").write_text("image,well\nfilm.ome.zarr,A1\n")
    (folder / "rowless.csv").write_text("image,well\n")
    (folder / "coded.csv").write_bytes(b"\xff\xfe\0image")
    return folder


@pytest.fixture
def here(things, tmp_path, monkeypatch):
    """A folder with them that a command may change; it is in it."""
    shutil.copytree(things, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(*words, as_json=True, answer="n\n"):
    """Run a command that must end in words; gives its code and what it says."""
    words = [*words, *["--json"] * as_json]
    outcome = CliRunner().invoke(main, words, input=answer)
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), words
    assert "Traceback" not in outcome.output, words
    said = outcome.stdout
    if not as_json:
        lines = outcome.stderr.strip().splitlines()
        assert len(lines) >= 2 or outcome.exit_code in (0, 130), (words, lines)
        return outcome.exit_code, outcome.output
    if outcome.exit_code and not said.strip():
        said = outcome.stderr
        error = json.loads(said)
        assert error["sentence"], words
        assert error["action"], (words, error)
        assert error["error"] != "UnexpectedError", (words, error)
    elif said.strip():
        json.loads(said, parse_constant=pytest.fail)
        assert "UnexpectedError" not in said, (words, said)
    return outcome.exit_code, said


# A place that is not what the command needs.

NEW = "new.ome.zarr"
FROM = {
    "ls": ["P"],
    "tree": ["P"],
    "cat": ["P"],
    "du": ["P"],
    "info": ["P"],
    "validate": ["P"],
    "thumbnail": ["P", "a.png"],
    "table": ["P"],
    "copy": ["P", NEW],
    "mirror": ["P", NEW],
    "convert": ["P", NEW],
    "doctor": ["P", "--fix"],
    "rechunk": ["P", NEW, "--chunks", "y=16"],
    "upgrade": ["P", NEW, "--shards", "yes"],
    "add-labels": ["P", "cells.ome.zarr"],
    "append": ["P", "film.ome.zarr"],
    "calibrate": ["P", "--scale", "y=2"],
    "rendering": ["P", "--name", "x"],
    "remove": ["P", "--yes"],
    "serve": ["P"],
}
"""Each command that takes a place which is there, and how it is called."""
TO = {
    "copy": ["cells.ome.zarr", "P"],
    "mirror": ["cells.ome.zarr", "P", "--yes"],
    "convert": ["good.tif", "P"],
    "rechunk": ["cells.ome.zarr", "P", "--chunks", "y=16"],
    "upgrade": ["cells.ome.zarr", "P", "--shards", "yes"],
    "add-labels": ["cells.ome.zarr/labels/nuclei", "P"],
    "append": ["film.ome.zarr", "P"],
    "write-plate": ["wells.csv", "P"],
}
"""Each command that writes to a place."""
NO_PLACE = {"open", "links", "write-plate", "connections", "settings", "completion"}
"""They are asked for other things, open a window, or tell that others read nothing."""

NONE = {"nothing.ome.zarr": 3, "nothing/at/all.zarr": 3, "%zz%": 3, "a\udcff.zarr": 3}
WORDLESS = {"": 2, " ": 2, "foo://a/b": 2, "a\0b": 2, "s3://": 2, "http://h:99999/a": 2}
DEAD = {"http://127.0.0.1:9/a.zarr": 7, "s3+http://127.0.0.1:9/b/a.zarr": 7}
OWN = ("calibrate", "remove")
"""They change what lies there, and nothing is written to a web server."""


def test_each_command_is_among_them():
    names = set(main.list_commands(click.Context(main)))
    assert names == FROM.keys() | TO.keys() | NO_PLACE


def called(words, place):
    return [place if word == "P" else word for word in words]


def test_slips_are_understood(here):
    """Of the name of a command, and of a folder beside which its own lies."""
    for name in main.list_commands(click.Context(main)):
        for slip in (name[:-1], name[1] + name[0] + name[2:], f"{name}s"):
            outcome = CliRunner().invoke(main, [slip])
            if outcome.exit_code == 2 and "No such command" in outcome.output:
                assert len(name) == 2 or "Is it " in outcome.output, slip
    for slip in ("cells.ome.zar", "cels.ome.zarr", "Cells.ome.zarr"):
        if not Path(slip).exists():
            assert "Beside it lies cells.ome.zarr." in ended("info", slip)[1]
    assert "lies" not in ended("info", "quite-another-thing")[1]


def test_what_is_not_installed_is_no_damage(here, monkeypatch):
    monkeypatch.setattr("napari_omezarr.browsing.check.find_spec", lambda _: None)
    code, said = ended("validate", "cells.ome.zarr")
    assert code == 2
    assert json.loads(said)["error"] == "MissingPackageError"


@pytest.mark.parametrize("name", FROM)
def test_a_place_that_is_none_is_said_by_its_kind(here, name):
    for place, code in {**NONE, **WORDLESS, **DEAD}.items():
        if place in DEAD and (name == "serve" or (name in OWN and place[0] == "h")):
            code = 2  # nothing is served of there, or written
        shutil.rmtree(NEW, ignore_errors=True)
        assert ended(name, *called(FROM[name], place))[0] == code, place
    code, said = ended(name, *called(FROM[name], "nothing.ome.zarr"), as_json=False)
    assert code == 3
    assert "nothing.ome.zarr" in said


@pytest.mark.parametrize("name", [n for n in FROM if n not in ("serve", "remove")])
def test_what_is_damaged_or_something_else_is_said(here, name):
    for place in ("broken", "list", "blank"):
        shutil.rmtree(NEW, ignore_errors=True)
        code, _ = ended(name, *called(FROM[name], f"{place}.ome.zarr"))
        assert code in ((0,) if name in BY_BYTES else (3, 6)), place
    for place in ("empty", "texts", "some.tif"):
        shutil.rmtree(NEW, ignore_errors=True)
        code, _ = ended(name, *called(FROM[name], place))
        whole = place == "texts" and name in ("copy", "mirror")
        folder = place != "some.tif" and name in ("ls", "tree", "du", "info")
        assert code in ((0,) if whole or folder else (3, 6)), place
    shutil.rmtree(NEW, ignore_errors=True)
    code, _ = ended(name, *called(FROM[name], "a b ü%20#?.ome.zarr"))
    assert code in (0, 2, 5), "it is an image"


BY_BYTES = {"ls", "tree", "du", "cat", "copy", "mirror"}
"""They ask nothing of what a document says."""


@pytest.mark.parametrize("name", TO)
def test_a_target_that_cannot_be_one_is_said_by_its_kind(here, name):
    for place, code in {**WORDLESS, **DEAD}.items():
        code = 2 if place.startswith("http") else code
        assert ended(name, *called(TO[name], place))[0] == code, place
    before = (here / "some.tif").read_bytes()
    code, _ = ended(name, *called(TO[name], "some.tif"))
    assert code in (2, 3, 5)
    assert (here / "some.tif").read_bytes() == before
    if name not in ("add-labels", "append"):
        there = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
        for place in ("cells.ome.zarr", "cells.ome.zarr/in"):
            code, said = ended(name, *called(TO[name], place))
            assert code in (0, 2, 5), (place, said)
            if code:
                now = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
                assert now == there, (name, place)


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize("name", [n for n in FROM if n != "serve"])
def test_a_bucket_that_is_not_there_or_not_ours_is_said(
    here, name, s3_server, s3_prefix, monkeypatch
):
    nowhere = f"s3+{s3_server.endpoint}/no-bucket-{s3_prefix[-6:]}/a.ome.zarr"
    assert ended(name, *called(FROM[name], nowhere))[0] == 3
    for name_of in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name_of)
    refused = f"s3+{s3_server.endpoint}/private/{s3_prefix}/a.ome.zarr"
    assert ended(name, *called(FROM[name], refused))[0] == 4


# Values of options.

NUMBERS = ("nan", "inf", "-inf", "1e999", "x", "", "0x10")
NO_SIZES = ("", " ", ",", "y", "=", "=1", "y=1=2", "y=1,y=2", "y=", "y=x", "y=1,")
NAMES = ("", " ", "a/b", "..", "\u202e", "x" * 300, "a\nb", "{t", "[")
USES = [
    *(("calibrate", "cells.ome.zarr", "--scale", f"y={n}") for n in (*NUMBERS, "0")),
    *(("calibrate", "cells.ome.zarr", "--translation", f"y={n}") for n in NUMBERS),
    *(("calibrate", "cells.ome.zarr", "--scale", text) for text in NO_SIZES),
    ("calibrate", "cells.ome.zarr", "--scale", "q=1"),
    ("calibrate", "cells.ome.zarr"),
    ("rendering", "cells.ome.zarr"),
    *(("rendering", "cells.ome.zarr", "--contrast", n, "5") for n in NUMBERS),
    ("rendering", "cells.ome.zarr", "--channel", "99999999999999999999"),
    *(
        ("rendering", "cells.ome.zarr", "--color", n)
        for n in ("", "red", "fff", "٣" * 6)
    ),
    *(("rechunk", "cells.ome.zarr", NEW, "--chunks", t) for t in (*NO_SIZES, "y=0")),
    *(("rechunk", "cells.ome.zarr", NEW, "--shards", t) for t in (*NO_SIZES, "y=0")),
    ("rechunk", "cells.ome.zarr", NEW, "--shards", "q=1"),
    ("rechunk", "cells.ome.zarr", NEW, "--chunks", "q=1"),
    *(("rechunk", "cells.ome.zarr", NEW, "--levels", n) for n in (*NUMBERS, "0", "-1")),
    *(("rechunk", "cells.ome.zarr", NEW, "--workers", n) for n in (*NUMBERS, "-1")),
    ("rechunk", "cells.ome.zarr", NEW, "--codec", "zip"),
    ("upgrade", "cells.ome.zarr", NEW, "--shards", "y=-1"),
    ("upgrade", "cells.ome.zarr", "--shards", "yes"),
    *(("tree", ".", "--depth", n) for n in (*NUMBERS, "0", "-1")),
    *(("serve", ".", "--port", n) for n in (*NUMBERS, "-1", "65536")),
    *(
        ("convert", "good.tif", NEW, "--axes", n)
        for n in ("", "%41", "yy", "y=x", "zy")
    ),
    *(("convert", "good.tif", NEW, "--series", n) for n in (*NUMBERS, "-1")),
    *(("convert", "good.tif", NEW, "--scheduler", n) for n in ("", "x", "processes:x")),
    ("convert", "good.tif", NEW, "--scheduler", "processes:99999999999999999999"),
    ("convert", "good.tif", NEW, "--scheduler", "processes:0"),
    ("convert", "good.tif", NEW, "--report", "no/folder/a.json"),
    ("convert", "--table", "coded.csv", NEW),
    ("convert", "--table", "rowless.csv", NEW),
    ("write-plate", "coded.csv", NEW),
    ("write-plate", "rowless.csv", NEW),
    ("ls", "s3://b", "--region", "a.evil.example/"),
    ("ls", "s3://b|region:a.evil.example%2f"),
    ("ls", ".", "--connection", "nobody"),
    *(("connections", "add", name) for name in ("", " ")),
    ("connections", "add", "a", "--region", "a b"),
    ("connections", "import"),
    ("settings", "--clear", "everything"),
    ("copy", "cells.ome.zarr", "cells.ome.zarr/labels/in"),
    ("mirror", "cells.ome.zarr/labels", "cells.ome.zarr", "--yes"),
    ("nonsense",),
    ("ls",),
]


def test_wrong_values_are_wrong_use(here, monkeypatch):
    there = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    for words in USES:
        assert ended(*words)[0] == 2, words
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == there


def test_any_name_is_taken_or_refused_in_words(here):
    for name in NAMES:
        for words in (
            ("calibrate", "cells.ome.zarr", "--name", name),
            ("rendering", "cells.ome.zarr", "--name", name),
            ("add-labels", "cells.ome.zarr/labels/nuclei", "film.ome.zarr", "--name"),
            ("table", "cells.ome.zarr", name),
            ("thumbnail", "cells.ome.zarr", name),
            ("convert", "texts", NEW, "--pattern", name),
            ("convert", "good.tif", NEW, "--merge", name),
            ("append", "film.ome.zarr", "film.ome.zarr", "--axis", name),
            ("connections", "import", "--mc", name),
        ):
            ended(*words, *[name] * (words[-1] == "--name"))


# Streams and folders that are not as they should be.


def program(*words):
    return [sys.executable, "-m", "napari_omezarr", *map(str, words)]


def test_streams_that_are_closed_or_full_change_no_code(here):
    closed = "exec {0} {1}; {2}".format
    for words, code in (
        (("ls", "."), 0),
        (("info", "nothing.zarr"), 3),
        (("remove", "cells.ome.zarr"), 130),
    ):
        command = " ".join(f"'{word}'" for word in program(*words))
        done = subprocess.run(
            ["sh", "-c", closed("<&- >&-", "2>&-", command)], timeout=200
        )
        assert done.returncode == code, words
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            program("--help"), stdout=full, stderr=subprocess.PIPE, timeout=200
        )
    assert b"no room left" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_bar_fits_into_a_narrow_terminal(here):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 20, 0, 0))
    words = program("copy", "cells.ome.zarr", NEW)
    streams = {"stderr": theirs, "stdin": theirs, "stdout": subprocess.DEVNULL}
    with child_process(words, **streams) as running:
        assert running.wait(200) == 0
    said = os.read(ours, 2**20).decode()
    steps = said.replace("\x1b[?25l", "").replace("\x1b[?25h", "").split("\r")
    assert any("100%" in step for step in steps)
    assert max(map(len, steps)) <= 20, steps
    os.close(ours)
    os.close(theirs)


def test_a_home_that_cannot_be_written_is_said(here, monkeypatch):
    (here / "file").touch()
    for variable, words in (
        ("NAPARI_OMEZARR_CACHE", ("copy", "cells.ome.zarr", NEW)),
        ("NAPARI_OMEZARR_CONFIG", ("connections", "add", "lab")),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(here / "file" / "below"))
            code, said = ended(*words)
        assert code == 4
        assert variable in json.loads(said)["action"]
