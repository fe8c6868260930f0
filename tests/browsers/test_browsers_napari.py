"""The link to neuroglancer shows what napari shows, side by side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browsers.painted import CHANNELS, UNITS, box_of, masks, painted
from browsers.window import Shot, until_it_shows
from napari_omezarr.writing import write_image

pytestmark = [pytest.mark.browser, pytest.mark.gui, pytest.mark.timeout(300)]

COLORS = ("FF0000", "00FFFF")
PROGRAM = Path(__file__).with_name("seen_in_napari.py")


def test_neuroglancer_shows_what_napari_shows(page, neuroglancer, files, tmp_path):
    image = np.zeros((2, 8, 256, 256), np.uint16)
    image[:, 5] = painted("cyx")
    write_image(
        image,
        tmp_path / "cells.ome.zarr",
        "czyx",
        scale={"z": 2, "y": 0.5, "x": 0.25},
        translation={"z": 100, "y": -30, "x": 400},
        units=UNITS,
        labels={"cells": np.broadcast_to(masks(), (8, 256, 256))},
        **CHANNELS,
    )
    command = [sys.executable, PROGRAM, f"{files.url}/cells.ome.zarr", tmp_path]
    subprocess.run(command, check=True, timeout=200)
    seen = Shot(np.asarray(Image.open(tmp_path / "seen.png")))
    neuroglancer.open(page, (tmp_path / "link.txt").read_text())

    def judge(found):
        for color, strength in zip(COLORS, (2 / 3, 1), strict=True):
            here, there = box_of(seen, color, strength), box_of(found, color, strength)
            off = (there.center - found.middle) - (here.center - seen.middle)
            assert np.abs(off).max() < 3, f"#{color} is off by {off}"
            assert np.abs(there.size - here.size).max() < 3

    until_it_shows(page, neuroglancer.panel, judge)
