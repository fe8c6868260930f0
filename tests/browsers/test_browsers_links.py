"""Links with the present view, opened: the right part is in the middle, as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from browsers.painted import (
    CHANNELS,
    COLORS,
    DIM,
    FIRST,
    SECOND,
    UNITS,
    Box,
    box_of,
    is_at,
    masks,
    painted,
)
from browsers.window import until_it_shows
from napari_omezarr.browsing import ChannelView, Viewer, ViewState, share_link
from napari_omezarr.writing import write_image

# Without a GPU, and on a busy machine.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

GRID = {"t": (10, 0), "z": (2, 100), "y": (0.5, -30), "x": (0.25, 400)}
PLANE, TIME = 5, 1

# The middle of the first box is the middle of the screen; all is shown otherwise than
# it is stored.
VIEW = ViewState(
    center={"t": 10, "z": 110, "y": -30 + 64.5 * 0.5, "x": 400 + 74.5 * 0.25},
    zoom=4,
    units=UNITS | {"t": "second"},
    channels=(
        ChannelView(0, "membrane", "00FFFF", (0, 2000)),
        ChannelView(1, "nuclei", "FF0000", (0, 1000)),
    ),
    channel_axis="c",
    grid=GRID,
)


def write(place, axes="tczyx", image=None, grid=GRID, units=VIEW.units, **choices):
    known = {axis: grid[axis] for axis in axes if axis in grid}
    write_image(
        painted(axes) if image is None else image,
        place,
        axes,
        scale={axis: pair[0] for axis, pair in known.items()},
        translation={axis: pair[1] for axis, pair in known.items()},
        units={axis: units[axis] for axis in known if axis in units},
        levels=2,
        **CHANNELS if "c" in axes else {},
        **choices,
    )


def one_plane():
    """The painted planes at one place along t and z, and nothing elsewhere."""
    image = np.zeros((3, 2, 8, 256, 256), np.uint16)
    image[TIME, :, PLANE] = painted("cyx")
    return image


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_neuroglancer_shows_what_one_sees(page, neuroglancer, files, tmp_path, version):
    write(tmp_path / "film.ome.zarr", image=one_plane(), version=version)
    link = share_link(f"{files.url}/film.ome.zarr", Viewer.NEUROGLANCER, VIEW)
    neuroglancer.open(page, link)

    def judge(found):
        is_at(box_of(found, "00FFFF", 0.5), FIRST, VIEW, found)
        is_at(box_of(found, "00FFFF", 0.25), DIM, VIEW, found)
        is_at(box_of(found, "FF0000"), SECOND, VIEW, found)

    until_it_shows(page, neuroglancer.panel, judge)


def test_neuroglancer_hides_what_is_hidden(page, neuroglancer, files, tmp_path):
    write(tmp_path / "film.ome.zarr", version="0.5")
    hidden = replace(VIEW.channels[0], visible=False)
    view = replace(VIEW, channels=(hidden, VIEW.channels[1]))
    link = share_link(f"{files.url}/film.ome.zarr", Viewer.NEUROGLANCER, view)
    neuroglancer.open(page, link)

    def judge(found):
        is_at(box_of(found, "FF0000"), SECOND, view, found)
        assert not found.pixels[..., 1:].any()

    until_it_shows(page, neuroglancer.panel, judge)


@pytest.mark.parametrize("unit", ["micrometer", "nanometer", "millimeter"])
def test_neuroglancer_shows_another_plane_in_other_units(
    page, neuroglancer, files, tmp_path, unit
):
    """Down is z, in a unit of its own; the zoom is for the axis to the right."""
    sizes = {"micrometer": 2, "nanometer": 2000, "millimeter": 0.002}
    image = np.zeros((64, 64, 256), np.uint16)
    image[20:40, :, 30:120] = 1000
    grid = {"z": (sizes[unit], 0), "y": (2, 0), "x": (2, 0)}
    units = UNITS | {"z": unit}
    write(tmp_path / "a.ome.zarr", "zyx", image, grid, units, version="0.5")
    view = ViewState(
        center={"z": 29.5 * sizes[unit], "y": 64, "x": 74.5 * 2},
        zoom=1.5,
        units=units,
        channels=(ChannelView(0, "a", "00FFFF", (0, 1000)),),
        displayed=("z", "x"),
        grid=grid,
    )
    link = share_link(f"{files.url}/a.ome.zarr", Viewer.NEUROGLANCER, view)
    neuroglancer.open(page, link)
    # On the screen z is as large as x, whatever the unit that counts it.
    same = replace(
        view, grid=grid | {"z": (2, 0)}, center={"z": 59, "x": 149}, units=UNITS
    )
    box = Box(20, 30, 40, 120)
    until_it_shows(
        page,
        neuroglancer.panel,
        lambda found: is_at(box_of(found, "00FFFF"), box, same, found),
    )


def test_neuroglancer_shows_a_film_of_one_plane(page, neuroglancer, files, tmp_path):
    image = np.zeros((3, 256, 256), np.uint16)
    image[TIME] = painted("yx")
    write(tmp_path / "a.ome.zarr", "tyx", image, version="0.5")
    center = {axis: VIEW.center[axis] for axis in "tyx"}
    gray = (ChannelView(0, "a", "FFFFFF", (0, 1000)),)
    view = replace(VIEW, center=center, channels=gray, channel_axis="")
    link = share_link(f"{files.url}/a.ome.zarr", Viewer.NEUROGLANCER, view)
    neuroglancer.open(page, link)
    box = Box(FIRST.top, FIRST.left, SECOND.bottom, SECOND.right)
    until_it_shows(
        page,
        neuroglancer.panel,
        lambda found: is_at(box_of(found, "FFFFFF"), box, view, found),
    )


def test_neuroglancer_shows_a_volume(page, neuroglancer, files, tmp_path):
    write(tmp_path / "film.ome.zarr", version="0.5")
    view = replace(VIEW, displayed=("z", "y", "x"), channels=VIEW.channels[:1])
    link = share_link(f"{files.url}/film.ome.zarr", Viewer.NEUROGLANCER, view)
    neuroglancer.open(page, link)
    until_it_shows(page, neuroglancer.panel, lambda found: box_of(found, "00FFFF", 0.5))


def test_neuroglancer_shows_the_labels_that_one_sees(
    page, neuroglancer, files, tmp_path
):
    cells = masks()
    write(tmp_path / "a.ome.zarr", "cyx", version="0.5", labels={"cells": cells})
    center = {axis: VIEW.center[axis] for axis in "yx"}
    dark = tuple(replace(one, visible=False) for one in VIEW.channels)
    view = replace(VIEW, center=center, channels=dark, labels=("cells",))
    link = share_link(f"{files.url}/a.ome.zarr", Viewer.NEUROGLANCER, view)
    neuroglancer.open(page, link)

    def judge(found):
        row, column = (int(at) for at in found.middle)
        color = found.pixels[row, column].astype(int)
        assert np.ptp(color) > 60, "no colour where label 1 is"
        whole = "".join(f"{part:02X}" for part in color)
        is_at(box_of(found, whole), FIRST, view, found)

    until_it_shows(page, neuroglancer.panel, judge)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_vizarr_shows_where_one_looks(page, vizarr, files, tmp_path, version):
    """It is told position and zoom; its colours are those of the image."""
    write(tmp_path / "film.ome.zarr", version=version)
    link = share_link(f"{files.url}/film.ome.zarr", Viewer.VIZARR, VIEW)
    vizarr.open(page, link)

    def judge(found):
        is_at(box_of(found, COLORS[0]), FIRST, VIEW, found)
        is_at(box_of(found, COLORS[0], 0.5), DIM, VIEW, found)
        is_at(box_of(found, COLORS[1]), SECOND, VIEW, found)

    until_it_shows(page, vizarr.panel, judge)
