"""What we write is opened by vizarr and neuroglancer, and their pictures show it."""

from __future__ import annotations

import shutil
from functools import partial

import numpy as np
import pytest

from browsers.painted import (
    CHANNELS,
    UNITS,
    masks,
    painted,
    shows_it,
    shows_it_in_white,
)
from browsers.window import shot, until_it_shows
from napari_omezarr.browsing import Viewer, ViewState, check_public, share_link
from napari_omezarr.location import Location
from napari_omezarr.store import run
from napari_omezarr.writing import write_image

# Without a GPU, and on a busy machine.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SCALE = {"t": 10, "z": 2, "y": 0.5, "x": 0.5}


def write(place, axes, **choices):
    scale = {axis: SCALE[axis] for axis in axes if axis in SCALE}
    units = {axis: UNITS[axis] for axis in axes if axis in UNITS}
    known = CHANNELS if "c" in axes else {"contrast_limits": [(0, 1000)]}
    write_image(
        painted(axes),
        place,
        axes,
        scale=scale,
        units=units,
        levels=2,
        **known,
        **choices,
    )


def judge_of(host, axes, version):
    """Say what the viewer shows of an image when it is not told how to."""
    judge = shows_it if "c" in axes else shows_it_in_white
    if host.viewer is Viewer.VIZARR or version == "0.4":
        return judge
    # Neuroglancer 2.41 reads names, colours and contrast of 0.4 alone.
    own = {"colors": ("FF0000", "00FF00")} if "c" in axes else {}
    return partial(judge, least=0.6, **own)


CASES = [
    pytest.param("yx", {"version": "0.4"}, id="a plane of 0.4"),
    pytest.param("yx", {"version": "0.5"}, id="a plane of 0.5"),
    pytest.param("zyx", {"version": "0.5"}, id="a stack"),
    pytest.param("czyx", {"version": "0.4"}, id="a stack of channels of 0.4"),
    pytest.param("czyx", {"version": "0.5"}, id="a stack of channels of 0.5"),
    pytest.param("tczyx", {"version": "0.5"}, id="a film"),
    pytest.param(
        "czyx",
        {"version": "0.5", "shards": True, "chunks": {"z": 1, "y": 64, "x": 64}},
        id="sharded",
    ),
    pytest.param("cyx", {"version": "0.5", "codec": "blosc-lz4"}, id="blosc"),
    pytest.param("cyx", {"version": "0.4", "codec": "gzip"}, id="gzip of 0.4"),
]


@pytest.mark.parametrize(("axes", "choices"), CASES)
def test_a_viewer_shows_an_image(page, host, files, tmp_path, axes, choices):
    write(tmp_path / "painted.ome.zarr", axes, **choices)
    link = share_link(f"{files.url}/painted.ome.zarr", host.viewer)
    host.open(page, link)
    until_it_shows(page, host.panel, judge_of(host, axes, choices["version"]))


@pytest.mark.parametrize(
    "choices", [{"version": "0.4"}, {"version": "0.5", "shards": True}]
)
def test_a_viewer_shows_an_image_of_a_bucket(
    page, host, s3_server, s3_prefix, owner, choices
):
    address = f"s3://public/{s3_prefix}/painted.ome.zarr"
    place = Location.parse(address, endpoint=s3_server.endpoint)
    write(place, "czyx", **choices)
    found = run(check_public(place, host.viewer.address))
    assert found.works
    host.open(page, share_link(found.address, host.viewer))
    until_it_shows(page, host.panel, judge_of(host, "czyx", choices["version"]))


def test_without_its_chunks_there_is_nothing_to_see(page, host, files, tmp_path):
    """The judge can say no: the same image, whose pixels are gone."""
    place = tmp_path / "painted.ome.zarr"
    write(place, "czyx", version="0.5")
    for level in "01":
        shutil.rmtree(place / level / "c")
    host.open(page, share_link(f"{files.url}/painted.ome.zarr", host.viewer))
    page.wait_for_selector(host.panel)
    page.wait_for_load_state("networkidle")
    assert any("/0/c/" in request.path for request in files.requests)
    with pytest.raises(AssertionError, match="there is no"):
        judge_of(host, "czyx", "0.5")(shot(page, host.panel))


def test_labels_do_not_hide_the_image_from_vizarr(page, vizarr, files, tmp_path):
    write(tmp_path / "cells.ome.zarr", "cyx", version="0.5", labels={"cells": masks()})
    vizarr.open(page, share_link(f"{files.url}/cells.ome.zarr", Viewer.VIZARR))
    until_it_shows(page, vizarr.panel, shows_it)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_neuroglancer_shows_labels(page, neuroglancer, files, tmp_path, version):
    dark = np.zeros((256, 256), np.uint8)
    place = tmp_path / "dark.ome.zarr"
    labels = {"cells": masks()}
    write_image(dark, place, "yx", labels=labels, version=version, levels=2)
    view = ViewState({"y": 127.5, "x": 127.5}, zoom=2, labels=("cells",))
    link = share_link(f"{files.url}/dark.ome.zarr", Viewer.NEUROGLANCER, view)
    neuroglancer.open(page, link)
    until_it_shows(page, neuroglancer.panel, shows_two_labels)


def shows_two_labels(found):
    rows, columns = (int(at) for at in found.middle)
    one = found.pixels[rows + 2 * (65 - 128), columns + 2 * (75 - 128)]
    two = found.pixels[rows + 2 * (190 - 128), columns + 2 * (190 - 128)]
    none = found.pixels[rows, columns]
    assert np.ptp(none.astype(int)) == 0, "colour where no label is"
    assert np.ptp(one.astype(int)) > 60, "no colour where label 1 is"
    assert np.ptp(two.astype(int)) > 60, "no colour where label 2 is"
    assert np.abs(one.astype(int) - two).max() > 30, "one colour for both labels"
