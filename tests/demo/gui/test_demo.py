"""``python -m napari_omezarr.demo`` in a process of its own, as a newcomer runs it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pytest
from vispy.io import read_png

from child_process import child_process

if TYPE_CHECKING:
    from pathlib import Path

LONG = 180
"""Seconds after which a demo hangs."""
DEMO = [sys.executable, "-m", "napari_omezarr.demo"]


def share(picture: np.ndarray, *, red: bool, green: bool, blue: bool) -> float:
    """Which part of the pixels has just these colours strong."""
    wanted = np.array([red, green, blue])
    return float((((picture[..., :3] > 90) == wanted).all(axis=-1)).mean())


def said(demo: subprocess.Popen[str], words: str) -> list[str]:
    """Read what the demo says up to a line that begins so."""
    lines = [demo.stdout.readline()]
    while not lines[-1].startswith(f"== demo: {words}"):
        assert lines[-1], f"the demo ended and never said {words!r}"
        lines.append(demo.stdout.readline())
    return lines


def test_a_screenshot_shows_both_channels(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--screenshot", tmp_path],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    canvas = read_png(tmp_path / "canvas.png")
    assert share(canvas, red=False, green=True, blue=True) > 0.01
    assert share(canvas, red=True, green=False, blue=True) > 0.01
    window = read_png(tmp_path / "window.png")
    assert window.shape[0] * window.shape[1] > canvas.shape[0] * canvas.shape[1]
    assert f"screenshot saved: {tmp_path / 'canvas.png'}" in done.stdout
    assert done.stdout.splitlines()[-1] == "== demo: S3 server stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["S3 server", "napari opens"])
def test_a_demo_that_is_stopped_takes_its_server_along(
    number: signal.Signals, moment: str
) -> None:
    """The second moment is before napari is imported, which takes seconds."""
    with child_process(DEMO, stdout=subprocess.PIPE, text=True) as demo:
        first = said(demo, moment)[0]
        demo.send_signal(number)
        rest = demo.stdout.read()
        assert demo.wait(LONG) == 128 + number
    assert rest.endswith("== demo: S3 server stopped\n")
    assert "the viewer is open" not in rest
    port = int(re.search(r":(\d+)$", first.strip()).group(1))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_window_with_the_plate_closes_when_it_is_interrupted() -> None:
    with child_process([*DEMO, "--plate"], stdout=subprocess.PIPE, text=True) as demo:
        said(demo, "the viewer is open")
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
        assert demo.wait(LONG) == 0
    assert rest == "== demo: S3 server stopped\n"


def test_a_signal_is_obeyed_where_the_demo_looks_for_it_and_nowhere_else() -> None:
    code = """
        import os, signal
        from napari_omezarr.demo.__main__ import StopSignal
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            print("goes on", flush=True)
            raise OSError("what fails because a terminal has ended the server too")
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LONG, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "goes on\n", "")
