"""The commands, each as a person types it."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote
from urllib.request import Request, urlopen

import click
import numpy as np
import pytest
import tifffile
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from PIL import Image

import small_images
from child_process import child_process
from commands import assert_equal_pixels, finest, run, run_json
from long_bucket import LongBucket
from napari_omezarr import errors, read_layers, write_image
from napari_omezarr.browsing import Viewer, share_link
from napari_omezarr.cli import main, writing
from napari_omezarr.cli.command import exit_code
from napari_omezarr.cli.options import interrupted_by
from napari_omezarr.cli.writing import carried_out
from napari_omezarr.location import Location
from napari_omezarr.samples import write_cells
from napari_omezarr.user_files import configuration_folder
from servers import faults
from servers.http import FileServer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with an image, which no test changes."""
    root = tmp_path_factory.mktemp("served")
    write_cells(str(root / "cells.ome.zarr"), shape=(4, 32, 32))
    (root / "notes.txt").write_text("x")
    return root


@pytest.fixture
def image(folder):
    return str(folder / "cells.ome.zarr")


# Commands that only read.


def test_a_folder_is_listed_with_what_each_thing_is(folder):
    assert "image" in run("ls", folder)
    (row,) = run_json("ls", folder)
    assert (row["name"], row["kind"]) == ("cells.ome.zarr", "image")
    assert {row["name"] for row in run_json("ls", folder, "--files")} == {
        "cells.ome.zarr",
        "notes.txt",
    }


@pytest.mark.parametrize(("stop", "code"), [("close", 141), ("interrupt", 130)])
def test_rows_come_page_by_page_and_who_stops_reading_ends_it(stop, code):
    """The second page is held back: the rows of the first are there before it."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with LongBucket(3000, ending="") as server:
        server.fault("*", faults.Proceed(), faults.Stalled())
        words = ["ls", "s3://bucket/many", "--files", "--anonymous"]
        program = [sys.executable, "-m", "napari_omezarr"]
        command = [*program, *words, "--endpoint", server.url]
        with child_process(command, **pipes) as listing:
            lines = [listing.stdout.readline() for _ in range(1000)]
            assert lines[-1].split() == ["file", "item-000999"]
            server.wait_for(2)
            if stop == "interrupt":
                listing.send_signal(signal.SIGINT)
            else:
                listing.stdout.close()
                server.release()
            assert listing.wait() == code
            said = listing.stderr.read()
    assert said == ("Stopped.\n" if stop == "interrupt" else "")


def test_a_list_that_breaks_off_is_a_whole_document():
    words = ["ls", "s3://bucket/many", "--files", "--anonymous", "--json"]
    with LongBucket(3000, ending="") as server:
        server.fault("*", faults.Proceed(), faults.Status(403))
        answer = CliRunner().invoke(main, [*words, "--endpoint", server.url])
    assert answer.exit_code == 4
    *rows, last = json.loads(answer.stdout)
    assert [row["name"] for row in rows] == server.names[:1000]
    assert last == json.loads(answer.stderr)
    assert last["error"] == "ListingDeniedError"


def test_names_of_others_command_no_terminal(tmp_path):
    name = "\x1b]0;owned\x07\x9b2J"
    write_image(np.ones((4, 4), "u1"), tmp_path / "a.ome.zarr", "yx", name=name)
    text = run("info", tmp_path / "a.ome.zarr")
    assert "]0;owned" in text
    assert not set(text) & set("\x1b\x07\x9b")
    assert run_json("info", tmp_path / "a.ome.zarr")["name"] == name


def test_a_tree_goes_down_to_the_labels(folder):
    text = run("tree", folder)
    assert text.splitlines()[0] == str(folder)
    (image,) = run_json("tree", folder, "--depth", 3)
    below = {row["name"]: row for row in image["children"]}
    assert [row["name"] for row in below["labels"]["children"]] == ["nuclei"]
    assert "children" not in run_json("tree", folder, "--depth", 1)[0]


def test_documents_are_printed_as_they_are(image):
    documents = run_json("cat", image)
    assert documents["zarr.json"]["attributes"]["ome"]["multiscales"]
    _, _, text = run("cat", image).partition("== zarr.json\n")
    assert documents["zarr.json"] == json.JSONDecoder().raw_decode(text)[0]


def test_levels_are_told_once_and_a_series_by_its_images(tmp_path):
    small_images.put_series(tmp_path / "series.ome.zarr")
    place = tmp_path / "series.ome.zarr"
    assert run("tree", place, "--depth", 9).count("(levels") == 3
    assert run("info", place).count("\nimage     ") == 3
    assert [row["kind"] for row in run_json("info", place)["images"]] == ["image"] * 3


def test_an_image_is_described(image):
    text = run("info", image)
    x_axis = "x space 0.2 micrometer"
    for word in ("OME-Zarr 0.5", x_axis, "Nuclei  #", "labels    nuclei"):
        assert word in text
    facts = run_json("info", image)
    assert [axis["name"] for axis in facts["axes"]] == list("czyx")
    assert facts["levels"][0]["shape"] == [2, 4, 32, 32]
    assert [channel["name"] for channel in facts["channels"]] == ["Nuclei", "Membranes"]


def test_what_a_place_holds_is_counted(image, tmp_path):
    folder = tmp_path / "a"
    for name, sizes in {"x": (3, 5), "y/z": (7,)}.items():
        (folder / name).mkdir(parents=True)
        for number, size in enumerate(sizes):
            (folder / name / f"{number}").write_bytes(bytes(size))
    found = run_json("du", folder)
    assert (found["objects"], found["bytes"]) == (3, 15)
    rows = [(row["name"], row["objects"], row["bytes"]) for row in found["below"]]
    assert rows == [("x", 2, 8), ("y", 1, 7)]
    assert run("du", folder).splitlines()[-1].startswith("15 bytes  3 objects")
    levels = {row["name"]: row["bytes"] for row in run_json("du", image)["below"]}
    assert levels["0"] > levels["1"] > 0


def test_links_say_whether_others_may_read(http_server, tmp_path):
    everybody = {"Access-Control-Allow-Origin": "*"}
    http_server.fault("/x.zarr/*", faults.Status(200, b"{}", everybody))
    found = run_json("links", f"{http_server.url}/x.zarr")
    assert found["works"]
    assert all("/x.zarr" in unquote(link) for link in found["links"].values())
    assert "No image is at" in run("links", f"{http_server.url}/y.zarr")
    assert "lies on this computer" in run("links", tmp_path, code=2)


def test_each_option_is_explained():
    """By a sentence of its own: one that begins with "of" leaves out of what."""
    top = click.Context(main)
    commands = {name: main.get_command(top, name) for name in main.list_commands(top)}
    commands |= commands["connections"].commands
    for name, command in commands.items():
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                first = (option.help or "").partition(" ")[0]
                assert first not in ("", "Of", "Or", "Which"), (name, option.name)


def test_metadata_are_checked(image, tmp_path):
    assert "Valid" in run("validate", image)
    broken = tmp_path / "broken.ome.zarr"
    broken.mkdir()
    document = json.loads(Path(image, "zarr.json").read_text())
    document["attributes"]["ome"]["multiscales"][0]["axes"][0]["type"] = 5
    (broken / "zarr.json").write_text(json.dumps(document))
    assert "against" in run("validate", broken, code=6)
    both = run_json("validate", broken, image, code=6)
    assert [bool(each["findings"]) for each in both] == [True, False]


def test_a_small_picture_is_saved_and_none_is_overwritten(image, tmp_path):
    file = tmp_path / "small.png"
    run("thumbnail", image, file)
    assert np.asarray(Image.open(file)).any()
    before = file.read_bytes()
    run("thumbnail", image, file, code=5)
    assert file.read_bytes() == before
    run("thumbnail", image, file, "--force")
    run("thumbnail", image, tmp_path / "small.odd", code=2)


def test_a_file_that_cannot_be_written_is_said(image, tmp_path):
    (tmp_path / "file").write_text("x")
    long = tmp_path / f"{'x' * 300}.png"
    report = ("convert", image, tmp_path / "out", "--report")
    assert "could not be written" in run(
        "thumbnail", image, tmp_path / "file" / "a.png", code=7
    )
    for words in (("thumbnail", image, long), (*report, long)):
        assert f"{long} has a longer name" in run(*words, code=7)
    assert "no name of a picture" in run("thumbnail", image, "a.psd", code=2)


def test_without_a_screen_no_window_is_tried(image, monkeypatch):
    pytest.importorskip("napari", reason="without it no window is made anywhere")
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert "no screen here" in run("open", image, code=2)


def test_an_address_of_the_web_is_as_good(folder):
    with FileServer(folder) as server:
        assert "Nuclei" in run("info", f"{server.url}/cells.ome.zarr")


# Commands that write.


def test_a_copy_is_equal_and_goes_where_nothing_is(image, tmp_path):
    target = tmp_path / "copy.ome.zarr"
    done = run_json("copy", image, target)
    files = [file for file in target.rglob("*") if file.is_file()]
    assert done["objects"] == len(files)
    for file in files:
        original = Path(image) / file.relative_to(target)
        assert file.read_bytes() == original.read_bytes()
    run("copy", image, tmp_path, code=5)


def test_an_image_is_written_anew(image, tmp_path):
    target = tmp_path / "old.ome.zarr"
    run("convert", image, target, "--version", "0.4", "--chunks", "c=1,z=1,y=16,x=16")
    facts = run_json("info", target)
    assert facts["entry"]["version"] == "0.4"
    assert facts["levels"][0]["chunks"] == [1, 1, 16, 16]
    assert_equal_pixels(target, image)
    run("convert", image, target, code=5)
    run("convert", image, target, "--existing", "replace", "--no-labels")
    assert [kind for _, _, kind in read_layers(target)] == ["image", "image"]


@pytest.mark.parametrize("words", [("--chunks", "512"), ("--codec", "odd")])
def test_a_wrong_option_writes_nothing(image, tmp_path, words):
    target = tmp_path / "x.ome.zarr"
    run("convert", image, target, *words, code=2)
    assert not target.exists()


def test_labels_are_added(image, tmp_path):
    target = tmp_path / "copy.ome.zarr"
    run("copy", image, target)
    run("add-labels", f"{image}/labels/nuclei", target, "--name", "again")
    assert [row["name"] for row in run_json("ls", f"{target}/labels")] == [
        "nuclei",
        "again",
    ]
    run("add-labels", image.replace("cells", "none"), target, code=3)


def test_files_of_others_are_added_and_appended(tmp_path):
    film, file = tmp_path / "film.ome.zarr", tmp_path / "more.tif"
    values = np.arange(4 * 24 * 20, dtype="u2").reshape(4, 24, 20)
    write_image(values[None, None], film, "tczyx", scale=0.5)
    tifffile.imwrite(file, values + 1, photometric="minisblack")
    run("add-labels", file, film)
    run("append", file, film)
    image, labels = read_layers(film)
    np.testing.assert_array_equal(finest(image), [values, values + 1])
    np.testing.assert_array_equal(finest(labels), values + 1)
    assert labels[1]["name"] == "more"
    run("add-labels", tmp_path / "none.tif", film, code=3)
    answer = CliRunner().invoke(main, ["append", str(film / "x.tif"), str(film)])
    assert answer.exit_code == 3
    assert "no file" in answer.stderr


def test_an_error_says_with_which_option_its_action_is_chosen(tmp_path):
    file = tmp_path / "x.tif"
    tifffile.imwrite(file, np.ones((2, 32, 32), "u1"))
    place = tmp_path / "film.ome.zarr"
    run("convert", file, place, "--axes", "tyx")
    answer = CliRunner().invoke(main, ["convert", str(file), str(place)])
    assert "--existing replace or --existing beside" in answer.output
    half = tmp_path / "half.ome.zarr"
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(errors.WriteCancelledError):
        write_image(np.zeros((9, 9), "u1"), half, "yx", cancel=stopped)
    answer = CliRunner().invoke(main, ["convert", str(file), str(half)])
    assert "--unfinished resume or --unfinished remove" in answer.output


def test_an_image_is_appended_and_calibrated(tmp_path):
    film, more = tmp_path / "film.ome.zarr", tmp_path / "more.ome.zarr"
    write_image(np.zeros((2, 32, 32), "u2"), film, "tyx")
    write_image(np.ones((3, 32, 32), "u2"), more, "tyx")
    run("append", more, film)
    run("calibrate", film, "--scale", "y=0.5,x=0.25", "--units", "y=nm,x=nm")
    facts = run_json("info", film)
    assert facts["levels"][0]["shape"] == [5, 32, 32]
    assert [axis["pixel"] for axis in facts["axes"]] == [1, 0.5, 0.25]
    assert finest(read_layers(film)[0])[4].all()
    run("append", more, film, "--axis", "y", code=2)
    run("calibrate", film, "--scale", "y=wide", code=2)
    (note,) = run_json("calibrate", film, "--units", "y=nm,x=furlong")["notes"]
    assert note.startswith("furlong is no unit")


@pytest.mark.parametrize("units", ["second", "z=second", "c=micrometer"])
def test_a_unit_of_another_kind_is_refused(image, units):
    before = run("info", image)
    assert "is no unit" in run("calibrate", image, "--units", units, code=2)
    assert run("info", image) == before


def test_how_a_channel_looks_is_changed(image, tmp_path):
    target = tmp_path / "copy.ome.zarr"
    run("copy", image, target)
    run("rendering", target, "--channel", 1, "--name", "Cortex", "--color", "#00FF80")
    assert "lower number first" in run("rendering", target, "--contrast", 9, 3, code=2)
    run("rendering", target, "--contrast", 3, 90, "--hidden")
    first, second = run_json("info", target)["channels"]
    assert (second["name"], second["color"]) == ("Cortex", "00FF80")
    assert (first["contrast_limits"], first["visible"]) == ([3, 90], False)
    run("rendering", target, "--channel", 2, code=2)
    run("rendering", target, "--color", "green", code=2)


@pytest.mark.usefixtures("owner")
def test_a_store_goes_to_a_bucket_and_back(image, tmp_path, s3_server, s3_prefix):
    place = f"s3://public/{s3_prefix}/a.ome.zarr"
    run("copy", image, place, "--to-endpoint", s3_server.endpoint)
    place = f"s3+{s3_server.endpoint}/public/{s3_prefix}/a.ome.zarr"
    run("copy", place, tmp_path / "back.ome.zarr", "--anonymous")
    assert_equal_pixels(tmp_path / "back.ome.zarr", image)


# Connections.


def test_connections_are_kept_and_used(folder, s3_server):
    run("connections", "add", "here", "--endpoint", s3_server.endpoint, "--anonymous")
    assert "here" in run("connections")
    (row,) = run_json("connections", "list")
    assert row["endpoint"] == s3_server.endpoint
    assert str(configuration_folder()) not in str(folder)
    assert "list here" in run("connections", "test", "here", "public")
    run("ls", "public", "--connection", "here")
    run("ls", "public", "--connection", "elsewhere", code=2)


def test_aliases_of_the_minio_client_are_taken_over(tmp_path):
    file = tmp_path / "config.json"
    alias = {"url": "https://s3.lab.org", "accessKey": "", "secretKey": ""}
    file.write_text(json.dumps({"version": "10", "aliases": {"lab": alias}}))
    assert run("connections", "import", "--mc", file) == "lab\n"
    assert run("connections", "import", "--mc", file) == ""


# Serving.


@contextmanager
def served(folder, *words):
    """Run the command as a program until it is stopped as Ctrl-C does."""
    program = "from napari_omezarr.cli import main; main()"
    command = [sys.executable, "-c", program, "serve", str(folder), "--port", "0"]
    with subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            yield server
        finally:
            server.send_signal(signal.SIGINT)
            code = server.wait(60)
    assert code == 130


def test_an_image_is_served_to_viewers_of_the_web(image, tmp_path):
    (tmp_path / "secret").write_text("s3cr3t")
    folder = tmp_path / "cells.ome.zarr"
    run("copy", image, folder)
    with served(folder) as server:
        address = server.stdout.readline().strip()
        assert "vizarr" in server.stdout.readline() + server.stdout.readline()
        assert_equal_pixels(address, image)
        request = Request(f"{address}/zarr.json", headers={"Range": "bytes=2-5"})
        with urlopen(request, timeout=30) as answer:
            assert answer.status == 206
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert len(answer.read()) == 4
        taken = address.rpartition("/")[0].rpartition(":")[2]
        assert "--port 0" in run("serve", folder, "--port", taken, code=2)
        for path in ("nothing", "%2e%2e/secret", "..%2fsecret"):
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"{address}/{path}", timeout=30)


def test_a_folder_of_images_is_served_with_a_page(image, tmp_path):
    folder = tmp_path / "my images & more"
    folder.mkdir()
    run("copy", image, folder / "a #1.ome.zarr")
    (folder / "notes.txt").write_text("hello")
    (folder / "out").symlink_to(tmp_path)
    with served(folder) as server:
        address, first, *links = (
            server.stdout.readline().strip() for _ in range(2 + len(Viewer))
        )
        assert first == f"{address}/a%20%231.ome.zarr"
        assert all(share_link(first, v) in links for v in Viewer)
        with urlopen(address, timeout=30) as answer:  # led to the page
            page = answer.read().decode()
        assert all(escape(link) in page for link in links)
        # Others ask for the size before they read, and our browser walks the page.
        size = (folder / "notes.txt").stat().st_size
        with urlopen(Request(f"{address}/notes.txt", method="HEAD"), timeout=30) as a:
            assert int(a.headers["Content-Length"]) == size
            assert a.headers["Access-Control-Allow-Origin"] == "*"
        rows = {row["name"]: row["kind"] for row in run_json("ls", f"{address}/")}
        assert rows == {"a #1.ome.zarr": "image"}
        assert_equal_pixels(first, image)
        # Pages are no lists of a bucket: the metadata name what is copied.
        run("copy", first, tmp_path / "again.ome.zarr", "--verify")
        assert_equal_pixels(tmp_path / "again.ome.zarr", image)


# How commands end.


def test_a_copy_that_is_stopped_has_ended(tmp_path):
    before, ended = signal.getsignal(signal.SIGINT), []

    async def copying(_tell):
        while signal.getsignal(signal.SIGINT) == before:  # it is not listened to yet
            await asyncio.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(100):
                await asyncio.sleep(0)
            ended.append(True)

    with pytest.raises(errors.WriteCancelledError):
        carried_out(Location.parse(str(tmp_path)), copying)
    assert ended == [True]
    assert signal.getsignal(signal.SIGINT) == before


def test_a_copy_that_does_not_end_is_left_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_ENDING", 0.01)
    before, stuck = signal.getsignal(signal.SIGINT), Future()

    async def copying(_tell):
        while signal.getsignal(signal.SIGINT) == before:  # it is not listened to yet
            await asyncio.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.wrap_future(stuck)

    with pytest.raises(errors.WriteCancelledError):
        carried_out(Location.parse(str(tmp_path)), copying)
    stuck.set_result(None)


def test_ctrl_c_asks_for_no_lock_in_the_thread_that_it_interrupts():
    lock, locked = threading.Lock(), []

    def stop():
        locked.append(lock.acquire(timeout=60))

    with interrupted_by(stop), lock:
        signal.raise_signal(signal.SIGINT)
    assert locked == [True]


def test_an_error_is_a_sentence_an_action_and_a_code(tmp_path):
    text = run("info", tmp_path / "nothing.zarr", code=3)
    assert text.startswith("Error: There is no folder")
    assert "Check" in text
    (tmp_path / "some.tif").write_bytes(b"II*")
    text = run("info", tmp_path / "some.tif", code=3)
    assert "some.tif is a file, and no OME-Zarr.\nConvert" in text
    text = run("info", tmp_path / "some.tif" / "0", code=3)
    assert text.startswith("Error: There is no folder")
    facts = json.loads(run("info", tmp_path / "nothing.zarr", "--json", code=3))
    assert facts["error"] == "NodeNotFoundError"
    assert facts["action"]
    assert "nothing.zarr" in facts["address"]


@pytest.mark.parametrize(
    "words", [("info",), ("convert", "a", "--version", "9"), ("connections", "import")]
)
def test_a_wrong_call_is_an_object_too(words):
    facts = json.loads(run(*words, "--json", code=2))
    assert facts["sentence"]
    assert "--help" in facts["action"]
    assert "Usage" in run(*words, code=2)


@pytest.mark.parametrize("missing", ["napari", "qtpy.QtWidgets"])
def test_a_window_that_nothing_can_open_is_no_crash(image, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    assert "napari-omezarr[all]" in run("open", image, code=2)


def test_each_error_has_a_code():
    kinds = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.OMEZarrError)
    ]
    codes = {kind: exit_code(kind) for kind in kinds}
    others = {errors.OMEZarrError, errors.NotSavedError, errors.UnexpectedError}
    assert {kind for kind, code in codes.items() if code == 1} == others
    assert codes[errors.SignInExpiredError] == 4
    assert codes[errors.StoreTimeoutError] == 7
    assert codes[errors.DiskFullError] == codes[errors.NotEnoughMemoryError] == 8


def test_no_secret_is_printed(tmp_path):
    text = run("info", "https://ada:s3cr3t@127.0.0.1:1/a.zarr?sig=s3cr3t", code=7)
    assert "s3cr3t" not in text


def test_the_help_imports_nothing_large():
    program = (
        "import sys; sys.argv = ['napari-omezarr', '--help']\n"
        "from napari_omezarr.cli import main\n"
        "main(standalone_mode=False)\n"
        "large = {'napari', 'qtpy', 'dask', 'zarr', 'numpy', 'aiohttp', 'fsspec'}\n"
        "print(sorted(large & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert "rendering" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


# The program itself.


def test_what_is_kept_is_said_and_cleared(image, tmp_path):
    target = tmp_path / "old.ome.zarr"
    run("convert", image, target, "--version", "0.4")
    run("upgrade", target)
    facts = run_json("settings")
    assert facts["configuration"] == str(configuration_folder())
    assert (facts["connections"], facts["undo"]) == (0, 1)
    assert "disk_cache_bytes" in run("settings")
    cleared = run_json("settings", "--clear", "undo", "--clear", "cache")
    assert cleared["undo"] == 0
    run("upgrade", target, "--undo", code=3)


def test_a_shell_completes_commands_and_connections(monkeypatch):
    assert "_NAPARI_OMEZARR_COMPLETE" in run("completion", "bash")
    run("connections", "add", "laboratory", "--anonymous")
    complete = ShellComplete(main, {}, "napari-omezarr", "_NAPARI_OMEZARR_COMPLETE")
    names = [each.value for each in complete.get_completions([], "co")]
    assert {"copy", "convert", "connections"} <= set(names)
    (found,) = complete.get_completions(["ls", "--connection"], "lab")
    assert found.value == "laboratory"
    (found,) = complete.get_completions(["info"], "cel")
    assert found.type == "file"


ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Of programs that show ours, and of names that stand for others.
PROMPT = re.compile(r"^\$ (?:xvfb-run )?(?:uvx .*)?(napari-omezarr .*)$", re.MULTILINE)


@pytest.mark.skipif(not (ROOT / "docs").exists(), reason="an sdist has no docs")
def test_the_commands_of_the_documentation_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [line for page in PAGES for line in PROMPT.findall(page.read_text("utf-8"))]
    assert len(lines) > 40
    for table in re.findall(r"[\w-]+\.csv", " ".join(lines)):  # click looks for them
        Path(table).touch()
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        for table in (word for word in words if word.endswith(".csv")):
            Path(table).touch()
        if words[0] == "serve":
            Path(words[1]).mkdir(exist_ok=True)
        understood(main, "napari-omezarr", words)


def understood(command, name, words):
    """Let a command take its options, and its own commands theirs; nothing is run."""
    if isinstance(command, click.Group) and words:
        inner = command.get_command(click.Context(command), words[0])
        assert inner is not None, words
        understood(inner, words[0], words[1:])
    else:
        command.make_context(name, list(words))
