"""``python -m napari_omezarr.demo`` in a process of its own, as a newcomer runs it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from vispy.io import read_png

if TYPE_CHECKING:
    from pathlib import Path

DEMO = [sys.executable, "-m", "napari_omezarr.demo"]


def share(picture: np.ndarray, *, red: bool, green: bool, blue: bool) -> float:
    """Which part of the pixels has just these colours strong."""
    wanted = np.array([red, green, blue])
    return float((((picture[..., :3] > 90) == wanted).all(axis=-1)).mean())


def test_a_screenshot_shows_both_channels(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--screenshot", tmp_path],
        capture_output=True,
        text=True,
        timeout=110,
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
def test_a_demo_that_is_stopped_takes_its_server_along(number: signal.Signals) -> None:
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        started = demo.stdout.readline()
        demo.send_signal(number)
        rest = demo.stdout.read()
    assert demo.returncode == 128 + number
    assert rest.endswith("== demo: S3 server stopped\n")
    port = int(re.search(r":(\d+)$", started.strip()).group(1))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_window_with_the_plate_closes_when_it_is_interrupted() -> None:
    with subprocess.Popen(
        [*DEMO, "--plate"], stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        while not demo.stdout.readline().startswith("== demo: the viewer is open"):
            assert demo.poll() is None
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
    assert demo.returncode == 0
    assert rest == "== demo: S3 server stopped\n"
