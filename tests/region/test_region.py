"""Regions: which pixels, where they lie, what they cost, and how they are read."""

from __future__ import annotations

from concurrent.futures import CancelledError
from itertools import product

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gated_pixels import Gate, GatedPixels
from napari_omezarr import Location, read
from napari_omezarr.errors import (
    OMEZarrError,
    OptionError,
    ServerError,
    StoreConnectionError,
)
from napari_omezarr.metadata import Affine
from napari_omezarr.pyramid import Cast, ChannelsLast, FixedAxes, to_dask
from napari_omezarr.region import (
    IN_FLIGHT,
    ForeignPixels,
    Placed,
    Region,
    RegionPart,
    as_pixels,
    corners,
    covering,
    crop_affine,
    estimate,
    extent,
    layer_options,
    load,
    load_region,
    napari_levels,
    start,
)
from pixel_sources import KnownTile, MemoryPixels, mosaic_of_tiles
from servers.faults import Stalled, Status
from small_images import put_group, put_image

few = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def affines(draw, ndim=3):
    """Rotated, sheared, flipped and scaled, far from singular."""
    scale = draw(st.lists(st.sampled_from([0.1, 0.36, 1, 2.5, -1]), **exactly(ndim)))
    angles = st.sampled_from([0.0, 0.0, 0.3, 1.2])
    linear = np.diag(scale).astype(float)
    for a, b in ((0, 1), (1, 2)):
        angle, turn = draw(angles), np.eye(ndim)
        turn[[a, a, b, b], [a, b, a, b]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        linear = turn @ linear
    linear = linear @ (np.eye(ndim) + np.diag([draw(st.sampled_from([0, 0.4]))], 2))
    offset = draw(st.lists(st.sampled_from([0.0, 12.25, -7e4]), **exactly(ndim)))
    return Affine.from_translation(offset) @ Affine.from_linear(linear)


def exactly(count):
    return {"min_size": count, "max_size": count}


@st.composite
def boxes(draw, shape):
    result = []
    for size in shape:
        low = draw(st.integers(0, size - 1))
        result.append((low, draw(st.integers(low + 1, size))))
    return tuple(result)


SHAPE = (7, 30, 41)


@given(affines(), boxes(SHAPE))
def test_a_box_of_pixels_comes_back_through_the_world(affine, bounds):
    assert covering(affine, SHAPE, corners(affine, bounds)) == bounds


@given(affines(), st.data())
def test_every_pixel_that_a_box_reaches_is_taken(affine, data):
    edges = []
    for size in SHAPE:
        low = data.draw(st.floats(0, size - 0.5))
        edges.append((low, data.draw(st.floats(low, size))))
    bounds = covering(affine, SHAPE, corners(affine, edges))
    for (low, high), (first, last) in zip(edges, bounds, strict=True):
        assert first <= low + 0.01
        assert last >= high - 0.01
        assert low < first + 1 + 0.01
        assert high > last - 1 - 0.01


def test_a_turned_image_gives_the_box_around_the_points():
    quarter = Affine.from_linear([[0, -1], [1, 0]])
    world = Placed((MemoryPixels(np.zeros((10, 20)), (5, 5)),), (quarter,))
    # World y goes against the array's x, world x along its y.
    assert world.region(0, [(-7, 2), (-4, 5)]) == Region(0, ((2, 6), (4, 8)))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(2, 3, 4), (3, 5, 9)], ((2, 4), (3, 6), (4, 10))),
        ([(3, 4), (5, 9)], ((0, 7), (3, 6), (4, 10))),
        ([(99, 2, 3, 4), (99, 3, 5, 9)], ((2, 4), (3, 6), (4, 10))),
        ([(-50, -50, -50), (50, 50, 50)], ((0, 7), (0, 30), (0, 41))),
        ([(1, 1, 1)], ((1, 2), (1, 2), (1, 2))),
    ],
    ids=["all axes", "first axis whole", "one axis more", "clipped", "one point"],
)
def test_axes_are_matched_from_the_last(points, expected):
    points = np.asarray(points)
    if len(points) > 1:
        points = points + np.array([[-0.4], [0.4]])
    assert covering(Affine.identity(3), SHAPE, points) == expected


@pytest.mark.parametrize("points", [[(-9, 0, 0), (-1, 5, 5)], [(0, 0, 41), (5, 5, 50)]])
def test_a_box_beside_the_image_is_refused(points):
    with pytest.raises(OptionError, match="outside"):
        covering(Affine.identity(3), SHAPE, points)


@given(affines(), st.lists(st.integers(1, 40), **exactly(3)), st.data())
def test_a_crop_lies_on_its_level_and_every_level_on_the_first(affine, coarse, data):
    shape = tuple(min(pair) for pair in zip(coarse, SHAPE, strict=True))
    levels = napari_levels(affine, [SHAPE, shape])
    assert levels[0] == affine
    np.testing.assert_allclose(
        extent(levels[1], shape), extent(affine, SHAPE), rtol=1e-12, atol=1e-9
    )
    bounds = data.draw(boxes(shape))
    crop = crop_affine(levels[1], bounds)
    index = np.array([data.draw(st.integers(0, stop - 1)) for _, stop in bounds])
    first = [start for start, _ in bounds]
    np.testing.assert_allclose(
        crop(index), levels[1](index + first), rtol=1e-12, atol=1e-9
    )


def test_the_half_pixel_is_napari_s():
    levels = napari_levels(Affine.from_scale([2.0, 0.5]), [(8, 64), (8, 16)])
    assert levels[1].scale == (2.0, 2.0)
    assert levels[1].translation == (0.0, 0.75)


@given(affines())
def test_options_of_a_layer_say_all(affine):
    options = layer_options(affine)
    scale = Affine.from_scale(options["scale"])
    shift = Affine.from_translation(options.get("translate", (0, 0, 0)))
    last = Affine.from_matrix(options.get("affine", np.eye(4))[:-1])
    matrix = (last @ shift @ scale).matrix
    np.testing.assert_allclose(matrix, affine.matrix, rtol=1e-12, atol=1e-12)
    assert ("affine" in options) != affine.is_diagonal


def test_the_level_of_labels_is_the_one_with_like_pixels():
    pixels = MemoryPixels(np.zeros(SHAPE), (4, 8, 8))
    scales = [(2, 0.5, 0.5), (2, 1, 1), (2, 2, 2)]
    placed = Placed((pixels,) * 3, tuple(Affine.from_scale(scale) for scale in scales))
    assert placed.matching((2, 0.9, 1.1)) == 1
    assert placed.matching((1, 2, 0.1, 0.1)) == 0
    assert placed.matching((8, 8)) == 2


def numbered(shape, dtype="u2"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


ARRAY = numbered((3, 6, 10, 14))


def doors(array=ARRAY, chunks=(2, 2, 4, 5)):
    """The same array behind all doors, with what numpy gives for a box of each."""
    pixels = MemoryPixels(array, chunks)
    yield pixels, array
    yield FixedAxes(pixels, {0: 2}), array[2]
    yield FixedAxes(pixels, {1: 3, 3: 0}), array[:, 3, :, 0]
    yield ChannelsLast(pixels, 0), np.moveaxis(array, 0, -1)
    yield Cast(pixels, np.dtype("u4")), array.astype("u4")
    yield ForeignPixels(array), array
    yield as_pixels(da.from_array(array, chunks=chunks)), array
    yield as_pixels(to_dask(FixedAxes(pixels, {0: 1}))), array[1]


@few
@given(st.data())
def test_parts_are_what_numpy_gives(data):
    both = data.draw(st.lists(st.sampled_from(list(doors())), min_size=1, max_size=4))
    bounds = [data.draw(boxes(array.shape)) for _, array in both]
    parts = [RegionPart(pair[0], box) for pair, box in zip(both, bounds, strict=True)]
    found = load(parts)
    for (pixels, array), box, result in zip(both, bounds, found, strict=True):
        assert result.dtype == pixels.dtype
        expected = array[tuple(slice(*bound) for bound in box)]
        np.testing.assert_array_equal(result, expected)
    assert estimate(parts).nbytes == sum(array.nbytes for array in found)


def test_each_piece_is_a_chunk_and_is_read_once_for_all_channels():
    pixels = MemoryPixels(ARRAY, (2, 2, 4, 5))
    bounds = ((1, 5), (0, 10), (3, 9))
    parts = [
        RegionPart(FixedAxes(pixels, {0: channel}), bounds) for channel in (0, 1, 2)
    ]
    load(parts)
    assert len(pixels.reads) == len(set(pixels.reads)) == estimate(parts).requests
    assert len(pixels.reads) == 2 * (3 * 3 * 2)  # channels 0 and 1 share chunks
    assert {box[1:] for box in pixels.reads if box[0] == (0, 2)} == {
        box[1:] for box in pixels.reads if box[0] == (2, 3)
    }


def test_an_estimate_of_a_huge_box_takes_no_time():
    class Endless:
        shape = (10**6,) * 3
        chunks = (64,) * 3
        dtype = np.dtype("u2")
        ndim = 3
        token = "endless"

    cost = estimate([RegionPart(Endless(), ((0, 10**6),) * 3)])
    assert cost.requests == 15625**3
    assert cost.nbytes == 2 * 10**18
    assert cost.is_exact


@pytest.fixture(params=["0.4", "0.5"])
def served(request, tmp_path, http_server):
    """A remote image of two channels, three levels; chunks span both channels."""
    levels = put_image(
        tmp_path / "image.zarr",
        request.param,
        shape=(2, 6, 32, 48),
        chunks=(2, 2, 8, 8),
    )
    pyramid = read(Location.parse(f"{http_server.url}/image.zarr")).pyramids[0]
    http_server.clear()
    return pyramid, levels, http_server


@few
@given(data=st.data())
def test_the_estimate_is_what_the_server_counts(served, data):
    pyramid, levels, server = served
    level = data.draw(st.sampled_from([0, 1, 2]))
    bounds = data.draw(boxes(levels[level].shape[1:]))
    wanted = data.draw(st.sampled_from([(0,), (1,), (0, 1)]))
    parts = [RegionPart(pyramid.channel(channel)[level], bounds) for channel in wanted]
    server.clear_log()
    found = load(parts)
    cost = estimate(parts)
    assert cost.is_exact
    assert len(server.requests) == cost.requests
    assert len({request.path for request in server.requests}) == cost.requests
    for channel, array in zip(wanted, found, strict=True):
        expected = levels[level][(channel, *(slice(*b) for b in bounds))]
        np.testing.assert_array_equal(array, expected)


@few
@given(data=st.data())
def test_the_estimate_of_shards_is_never_less(tmp_path, http_server, data):
    if not (tmp_path / "sharded.zarr").exists():
        array = numbered((5, 30, 40))
        put_group(tmp_path / "sharded.zarr", "0.5", {})
        zarr.create_array(
            str(tmp_path / "sharded.zarr" / "0"),
            data=array,
            chunks=(2, 4, 4),
            shards=(4, 16, 16),
        )
    pyramid = read(Location.parse(f"{http_server.url}/sharded.zarr/0")).pyramids[0]
    http_server.clear_log()
    whole = st.sampled_from([((0, 4), (0, 16), (0, 32)), ((0, 5), (0, 16), (16, 40))])
    bounds = data.draw(boxes((5, 30, 40)) | whole)
    parts = [RegionPart(pyramid.levels[0].pixels, bounds)]
    (found,) = load(parts)
    expected = numbered((5, 30, 40))[tuple(slice(*bound) for bound in bounds)]
    np.testing.assert_array_equal(found, expected)
    cost = estimate(parts)
    assert len(http_server.requests) <= cost.requests
    if cost.is_exact:
        assert len(http_server.requests) == cost.requests
    else:
        assert len(http_server.requests) >= 1


def test_tiles_of_a_plate_may_be_fewer_than_estimated():
    pixels = MemoryPixels(numbered((4, 4)), (2, 4))
    mosaic = mosaic_of_tiles(pixels, (1, 2), {(0, 1): KnownTile(pixels)})
    part = RegionPart(mosaic, ((0, 4), (0, 8)))
    (found,) = load([part])
    np.testing.assert_array_equal(found[:, 4:], pixels.array)
    assert not found[:, :4].any()
    cost = estimate([part])
    assert (cost.requests, cost.is_exact) == (4, False)
    assert len(pixels.reads) == 2


def test_as_many_pieces_at_a_time_as_the_place_takes():
    gate = Gate()
    pixels = GatedPixels(numbered((40, 8)), (1, 8), gate, concurrency=7)
    progress = []
    future = start(
        [RegionPart(pixels, ((0, 40), (0, 8)))], lambda *state: progress.append(state)
    )
    gate.wait_for(lambda: len(gate.waiting) == 7)
    assert sum(gate.asked.values()) == 7
    assert progress == []
    gate.release(*list(gate.waiting)[:3])
    gate.wait_for(lambda: sum(gate.asked.values()) == 10)
    gate.open()
    (array,) = future.result(timeout=60)
    np.testing.assert_array_equal(array, pixels.array)
    assert progress == [(16 * (n + 1), 640) for n in range(40)]


def test_large_chunks_are_read_few_at_a_time():
    gate = Gate()
    shape = (8, 64, 2**19)
    huge = np.broadcast_to(np.uint16(3), shape)
    pixels = GatedPixels(huge, (1, *shape[1:]), gate, concurrency=64)
    future = start([RegionPart(pixels, tuple((0, size) for size in shape))])
    most = IN_FLIGHT // (2 * 64 * 2**19)
    gate.wait_for(lambda: len(gate.waiting) == most)
    assert sum(gate.asked.values()) == most == 4
    future.cancel()
    gate.wait_for(lambda: sum(gate.cancelled.values()) == most)


def test_cancelling_ends_what_is_under_way_and_asks_no_more():
    gate = Gate()
    pixels = GatedPixels(numbered((40, 8)), (1, 8), gate, concurrency=5)
    future = start([RegionPart(pixels, ((0, 40), (0, 8)))])
    gate.wait_for(lambda: len(gate.waiting) == 5)
    assert future.cancel()
    gate.wait_for(lambda: sum(gate.cancelled.values()) == 5)
    assert sum(gate.asked.values()) == 5
    with pytest.raises(CancelledError):
        future.result(60)


def test_a_chunk_that_cannot_be_had_ends_it():
    gate = Gate()
    pixels = GatedPixels(numbered((40, 8)), (1, 8), gate, concurrency=5)
    gate.errors[pixels, (2, 0)] = StoreConnectionError("The host is away.")
    future = start([RegionPart(pixels, ((0, 40), (0, 8)))])
    gate.wait_for(lambda: len(gate.waiting) == 5)
    gate.release((pixels, (2, 0)))
    with pytest.raises(StoreConnectionError, match="away"):
        future.result(timeout=60)
    gate.wait_for(lambda: sum(gate.cancelled.values()) == 4)
    assert sum(gate.asked.values()) == 5


def test_an_array_that_fails_is_told_with_what_it_said():
    class Broken:
        shape = (4, 4)
        dtype = np.dtype("u1")

        def __getitem__(self, key):
            raise RuntimeError("disk on fire")

    with pytest.raises(OMEZarrError) as caught:
        load([RegionPart(as_pixels(Broken()), ((0, 4), (0, 4)))])
    assert str(caught.value.__cause__) == "disk on fire"


def test_one_call_for_scripts(served):
    pyramid, levels, server = served
    seen = []
    # The world is in micrometres: 0.5 along y and x, 1 at level 1.
    crop = load_region(
        pyramid,
        [None, (0.75, 2.25), (2.1, 6.9), (3.0, 3.1)],
        level=1,
        progress=lambda *state: seen.append(state),
    )
    np.testing.assert_array_equal(crop.data, levels[1][:, 2:5, 2:8, 3:4])
    assert crop.region == Region(1, ((0, 2), (2, 5), (2, 8), (3, 4)))
    assert crop.placement["scale"] == pyramid.levels[1].affine.scale
    index = np.array([1, 2, 3, 0])
    np.testing.assert_allclose(
        crop.affine(index), pyramid.levels[1].affine(index + np.array([0, 2, 2, 3]))
    )
    assert seen[-1][0] == seen[-1][1] == crop.data.nbytes
    assert len(server.requests) == 2 * 1 * 1


def test_axes_that_a_box_leaves_out_are_whole(served):
    pyramid, levels, _ = served
    crop = load_region(pyramid, [(0, 3), (0, 3)], level=2)
    np.testing.assert_array_equal(crop.data, levels[2][:, :, :2, :2])


@pytest.mark.parametrize("level", [-1, 3])
def test_a_level_that_is_not_there(served, level):
    with pytest.raises(OptionError, match=f"no level {level}; the image has 3"):
        load_region(served[0], [(0, 3), (0, 3)], level=level)


def test_a_server_that_fails_gives_an_error_and_no_zeros(served):
    pyramid, _, server = served
    server.fault("*/image.zarr/1/*", Status(501), forever=True)
    with pytest.raises(ServerError):
        load_region(pyramid, [(0, 9), (0, 9)], level=1)


def test_a_stalled_server_is_left_at_once(served):
    pyramid, _, server = served
    server.fault("*", Stalled(), forever=True)
    bounds = tuple((0, size) for size in pyramid.shape)
    future = start([RegionPart(pyramid.levels[0].pixels, bounds)])
    server.wait_for(3)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(60)


def test_corners_of_a_box_are_all_of_them():
    placed = Placed((MemoryPixels(np.zeros(SHAPE), SHAPE),), (Affine.identity(3),))
    found = placed.box([(1, 2), None, (3, 4)])
    assert {tuple(point) for point in found.tolist()} == set(
        product((1, 2), (-0.5, 29.5), (3, 4))
    )
