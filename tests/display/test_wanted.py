"""What a view asks for, how urgently, and what is read ahead of it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_omezarr.display.chunk_cache import ChunkGrid
from napari_omezarr.display.chunk_queue import Priority
from napari_omezarr.display.wanted import (
    PLANES,
    PrefetchPlan,
    ScrollDirection,
    prefetch,
    visible,
)
from napari_omezarr.pyramid import boxes
from pixel_sources import MemoryPixels

MUCH = 10**9


def stack(levels=4, size=512, planes=10, chunk=64, concurrency=4):
    """A (z, y, x) pyramid, halved in y and x, one plane in a chunk."""
    grids = []
    for _ in range(levels):
        array = np.broadcast_to(np.uint8(0), (planes, size, size))
        pixels = MemoryPixels(array, (1, min(chunk, size), min(chunk, size)))
        pixels.concurrency = concurrency
        grids.append(ChunkGrid(pixels))
        size //= 2
    return grids


def box(grid, z=0, y=None, x=None):
    return ((z, z + 1), y or (0, grid.shape[1]), x or (0, grid.shape[2]))


def asked(grids, requests, priority):
    """The chunks of a priority as (level, index), the most urgent first."""
    tokens = [grid.token for grid in grids]
    return [
        (tokens.index(r.chunk.key[0]), r.chunk.key[1])
        for r in sorted(requests, key=lambda r: r.sort_key)
        if r.priority == priority
    ]


def view(grids, level=0, have=frozenset(), **where):
    """What a view at the middle of a plane misses."""
    bounds = box(grids[level], **where)
    grid = grids[level]
    missing = [index for index in grid.within(bounds) if grid.key(index) not in have]
    centre = [(start + stop) / 2 for start, stop in bounds]
    return visible(grids, level, missing, centre, have)


def test_nothing_is_asked_for_when_all_is_there():
    grids = stack()
    have = {grids[0].key(index) for index in grids[0].within(box(grids[0]))}
    assert view(grids, have=have) == []


def test_the_coarsest_picture_of_what_is_visible_comes_first():
    grids = stack()
    requests = view(grids, z=3, y=(0, 128), x=(0, 128))
    assert asked(grids, requests, Priority.OVERVIEW) == [(3, (3, 0, 0))]
    assert {level for level, _ in asked(grids, requests, Priority.SHARP)} == {0}
    assert len(requests) == 4 + 1


def test_the_sharp_level_is_read_centre_out():
    grids = stack()
    sharp = asked(grids, view(grids), Priority.SHARP)
    assert len(sharp) == 64
    assert {index[1:] for _, index in sharp[:4]} == {(3, 3), (3, 4), (4, 3), (4, 4)}
    assert {index[1:] for _, index in sharp[-4:]} == {(0, 0), (0, 7), (7, 0), (7, 7)}


def test_one_level_between_is_read_when_it_is_much_less():
    grids = stack(levels=5, size=1024)
    between = asked(grids, view(grids), Priority.BETWEEN)
    assert {level for level, _ in between} == {2}
    assert len(between) == 16


def test_no_level_between_is_read_when_one_wave_brings_all():
    grids = stack(levels=5, size=1024, concurrency=256)
    assert asked(grids, view(grids), Priority.BETWEEN) == []


def test_a_coarse_chunk_that_is_there_is_not_asked_for():
    grids = stack()
    assert (
        asked(grids, view(grids, have={grids[3].key((0, 0, 0))}), Priority.OVERVIEW)
        == []
    )


def test_at_the_coarsest_level_there_is_only_that():
    grids = stack()
    requests = view(grids, level=3)
    assert [r.priority for r in requests] == [Priority.SHARP]


def test_only_around_the_holes_coarse_chunks_are_read():
    grids = stack(levels=2, size=1024)
    grid = grids[0]
    have = {grid.key(i) for i in grid.within(box(grid)) if i != (0, 15, 15)}
    assert asked(grids, view(grids, have=have), Priority.OVERVIEW) == [(1, (0, 7, 7))]


def test_the_hull_ends_with_the_array():
    grid = ChunkGrid(MemoryPixels(np.zeros((10, 10)), (4, 4)))
    chunks = [grid.bounds(index) for index in ((1, 2), (2, 0))]
    assert boxes.hull(chunks) == ((4, 10), (0, 10))


def plan(grids, level=0, direction=None, **where):
    bounds = box(grids[level], **where)
    centre = tuple((start + stop) / 2 for start, stop in bounds)
    return PrefetchPlan(level, bounds, centre, (1, 2), direction or ScrollDirection())


def scrolled(*points):
    direction = ScrollDirection()
    for point in points:
        direction.update(point)
    return direction


def test_the_whole_coarsest_level_is_read_the_nearest_planes_first():
    grids = stack()
    requests = prefetch(grids, plan(grids, z=4), MUCH, set())
    planes = [index[0] for _, index in asked(grids, requests, Priority.COARSEST)]
    assert planes[0] == 4
    assert set(planes[1:3]) == {3, 5}
    assert sorted(planes) == list(range(10))


def test_a_coarsest_level_that_is_large_is_not_read_whole():
    grids = stack()
    requests = prefetch(grids, plan(grids), 10 * 64 * 64 - 1, set())
    assert asked(grids, requests, Priority.COARSEST) == []


@pytest.mark.parametrize(
    ("steps", "planes"),
    [((3, 4), (5, 6, 7, 8)), ((5, 4), (3, 2, 1, 0)), ((7, 8), (9,))],
)
def test_planes_in_the_direction_of_scrolling_are_read(steps, planes):
    grids = stack()
    direction = scrolled(*((float(z), None, None) for z in steps))
    requests = prefetch(
        grids, plan(grids, z=steps[-1], direction=direction), MUCH, set()
    )
    found = [index[0] for _, index in asked(grids, requests, Priority.PREFETCH)]
    assert tuple(dict.fromkeys(found)) == planes
    assert len(planes) <= PLANES


def test_without_scrolling_only_the_ring_of_neighbours_is_read():
    grids = stack()
    requests = prefetch(grids, plan(grids, y=(128, 256), x=(128, 256)), MUCH, set())
    ring = {index for _, index in asked(grids, requests, Priority.PREFETCH)}
    inside = set(grids[0].within(((0, 1), (128, 256), (128, 256))))
    around = set(grids[0].within(((0, 1), (64, 320), (64, 320))))
    assert ring == around - inside


def test_the_next_plane_comes_before_the_ring_and_that_before_further_planes():
    grids = stack()
    direction = scrolled((3.0, None, None), (4.0, None, None))
    where = plan(grids, z=4, y=(128, 256), x=(128, 256), direction=direction)
    order = [
        index[0]
        for _, index in asked(
            grids, prefetch(grids, where, MUCH, set()), Priority.PREFETCH
        )
    ]
    assert order == [5] * 4 + [4] * 12 + [6] * 4 + [7] * 4 + [8] * 4


def test_what_is_read_ahead_stays_within_its_budget():
    grids = stack()
    direction = scrolled((3.0, None, None), (4.0, None, None))
    where = plan(grids, z=4, direction=direction)
    requests = prefetch(grids, where, 3 * 64 * 64, set())
    assert len(asked(grids, requests, Priority.PREFETCH)) == 3


def test_what_is_there_is_not_read_ahead():
    grids = stack()
    have = {grid.key(i) for grid in grids for i in grid.within(box(grid, z=5))}
    direction = scrolled((3.0, None, None), (4.0, None, None))
    requests = prefetch(grids, plan(grids, z=4, direction=direction), MUCH, have)
    assert 5 not in {index[0] for _, index in asked(grids, requests, Priority.PREFETCH)}


def test_planes_of_a_level_that_is_halved_in_z_follow_napari():
    fine = MemoryPixels(np.broadcast_to(np.uint8(0), (40, 64, 64)), (1, 64, 64))
    coarse = MemoryPixels(np.broadcast_to(np.uint8(0), (20, 32, 32)), (1, 32, 32))
    grids = [ChunkGrid(fine), ChunkGrid(coarse)]
    direction = scrolled((19.0, None, None), (20.0, None, None))
    where = plan(grids, level=1, z=10, direction=direction)
    requests = prefetch(grids, where, 3 * 32 * 32, set())
    # Planes 21 to 24 of the finest level: round(10.5), 11, round(11.5), 12.
    assert [i[0] for _, i in asked(grids, requests, Priority.PREFETCH)] == [11, 12]


@pytest.mark.parametrize(
    ("points", "axis", "step"),
    [
        ([(1.0, None)], None, 0),
        ([(1.0, None), (4.0, None)], 0, 1),
        ([(1.0, None), (4.0, None), (4.0, None)], 0, 1),
        ([(1.0, None), (4.0, None), (3.0, None)], 0, -1),
        ([(1.0, 5.0), (2.0, 6.0)], None, 0),
        ([(1.0, None), (None, 2.0)], None, 0),
        ([(1.0, 5.0), (2.0, 5.0), (2.0, 4.0)], 1, -1),
    ],
)
def test_scrolling_is_the_last_step_along_one_axis(points, axis, step):
    direction = scrolled(*points)
    assert (direction.axis, direction.step) == (axis, step)
