"""Images as `napari_omezarr.open` gives them: facts, pixels, parts, other processes."""

from __future__ import annotations

import asyncio
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_omezarr
import small_images
from napari_omezarr.errors import OptionError
from napari_omezarr.location import Location
from napari_omezarr.metadata import Affine

SHAPE = (2, 4, 16, 24)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Write an image of three levels with labels; gives its levels and the labels."""
    place = tmp_path_factory.mktemp("opened") / "a.ome.zarr"
    levels = small_images.put_image(place, shape=SHAPE)
    cells = (np.arange(4 * 16 * 24, dtype=np.uint16) % 7).reshape(4, 16, 24)
    small_images.put_labels(place, cells=cells)
    return place, levels, cells


@pytest.fixture
def image(made):
    return napari_omezarr.open(made[0])


def test_an_image_says_what_it_is(image, made):
    assert image.kind == "image"
    assert image.dims == ("c", "z", "y", "x")
    assert image.shape == SHAPE
    assert image.dtype == np.uint16
    assert [level.shape for level in image.levels] == [a.shape for a in made[1]]
    assert image.units == {"c": None} | dict.fromkeys("zyx", "micrometer")
    assert image.scale == {"c": 1, "z": 0.5, "y": 0.5, "x": 0.5}
    assert [channel.name for channel in image.channels] == ["marker 0", "marker 1"]
    assert [affine.translation[-1] for affine in image.transforms] == [0, 0.25, 0.75]
    assert image.labels["cells"].kind == "labels"
    assert image.labels["cells"].label.properties[1]["class"] == "cell"


def test_pixels_are_those_that_were_written(image, made):
    _, levels, cells = made
    for number, level in enumerate(levels):
        assert np.array_equal(np.asarray(image.to_dask(number)), level)
        assert np.array_equal(image.read(level=number), level)
    assert np.array_equal(image.read(level=-1), levels[-1])
    assert np.array_equal(image.labels["cells"].read(), cells)


def test_an_xarray_has_the_world_for_coordinates(image, made):
    pytest.importorskip("xarray")
    array = image.to_xarray(1)
    assert array.dims == ("c", "z", "y", "x")
    assert list(array.c.values) == ["marker 0", "marker 1"]
    assert array.x.attrs["units"] == "micrometer"
    assert array.x.values[:3].tolist() == [0.25, 1.25, 2.25]
    near = array.sel(c="marker 1").sel(z=0.5, y=3.3, x=2.2, method="nearest")
    assert int(near) == made[1][1][1, 1, 3, 2]


def test_what_to_xarray_gives_is_written_as_it_lies(image, tmp_path):
    pytest.importorskip("xarray")
    array = image.crop({"x": (3, 8), "z": (1, 1)}).to_xarray()
    napari_omezarr.write(array, tmp_path / "b.ome.zarr")
    again = napari_omezarr.open(tmp_path / "b.ome.zarr")
    assert np.array_equal(again.read(), array)
    assert again.units == image.units
    assert [channel.name for channel in again.channels] == ["marker 0", "marker 1"]
    assert again.transforms[0] == image.crop({"x": (3, 8), "z": (1, 1)}).transforms[0]
    napari_omezarr.write(array.sel(c="marker 1"), tmp_path / "c.ome.zarr")
    (channel,) = napari_omezarr.open(tmp_path / "c.ome.zarr").channels
    assert channel.name == "marker 1"


# Parts of it.

along = st.one_of(
    st.none(),
    st.integers(-4, 3),
    st.tuples(st.integers(0, 2), st.integers(3, 4)),
    st.builds(slice, st.none() | st.integers(0, 1), st.none() | st.integers(2, 4)),
)


@settings(max_examples=25)
@given(where=st.fixed_dictionaries({}, optional=dict.fromkeys("zyx", along)))
def test_parts_by_pixels_are_those_of_numpy(made, where):
    image = napari_omezarr.open(made[0])
    named = {name: part for name, part in where.items() if part is not None}
    key = tuple(
        slice(*part) if isinstance(part, tuple) else part
        for part in (named.get(name, slice(None)) for name in "czyx")
    )
    part = image.isel(**where)
    expected = made[1][0][key]
    assert np.array_equal(part.read(), expected)
    assert np.array_equal(np.asarray(part.to_dask()), expected)
    assert np.array_equal(image.read(where, unit="pixel"), expected)
    assert np.array_equal(part.labels["cells"].read(), made[2][key[1:]])
    kept = image.crop(where, unit="pixel")
    assert kept.dims == image.dims
    assert np.array_equal(np.ravel(kept.read()), np.ravel(expected))


@settings(max_examples=25)
@given(
    low=st.floats(-0.2, 11),
    size=st.floats(0, 12),
    level=st.integers(0, 2),
    data=st.data(),
)
def test_a_part_lies_where_it_was_and_holds_all_that_its_box_touches(
    made, low, size, level, data
):
    name = data.draw(st.sampled_from("yx"))
    image = napari_omezarr.open(made[0])
    axis = image.dims.index(name)
    high = low + size
    if low > (image.shape[axis] - 0.5) * 0.5 - 0.01:
        return
    part = image.crop({name: (low, high)})
    if level >= len(part.levels):
        return
    affine, shape = part.levels[level].affine, part.levels[level].shape
    step, first = affine.scale[axis], affine.translation[axis]
    whole = image.levels[level]
    begins = first - step / 2
    ends = begins + step * shape[axis]
    near = 0.002 * step
    world = whole.affine.translation[axis] - step / 2
    assert begins <= max(low, world) + near
    assert ends >= min(high, world + step * whole.shape[axis]) - near
    assert low < begins + step + near
    assert high > ends - step - near
    start = round((first - whole.affine.translation[axis]) / step)
    key = [slice(None)] * 4
    key[axis] = slice(start, start + shape[axis])
    assert np.array_equal(part.read(level=level), made[1][level][tuple(key)])


def test_places_and_channels_are_selected_by_what_they_are_called(image, made):
    part = image.sel(c="marker 1", z=1.2, y=slice(2, None), x=(None, 3.0))
    assert part.dims == ("y", "x")
    assert np.array_equal(part.read(), made[1][0][1, 2, 4:, :7])
    assert [channel.name for channel in part.channels] == ["marker 1"]
    assert part.attributes["omero"]["channels"][0]["label"] == "marker 1"
    assert part.channel_axis is None
    assert part.units == {"y": "micrometer", "x": "micrometer"}
    for both in (("marker 0", "marker 1"), ["marker 0", "marker 1"], [0, 1], (0, 2)):
        assert image.sel(c=both).shape == SHAPE
    assert np.array_equal(image.read([(2, 3.9), (0, 1)]), made[1][0][..., 4:9, 0:3])


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ({"w": 1}, "no axis w"),
        ({"c": "DAPI"}, "no channel DAPI"),
        ({"c": 5}, "no pixel 5"),
        ({"c": [1, 0]}, "side by side"),
        ({"x": 1e6}, "outside"),
        ({"x": "left"}, "no range"),
        ({"x": ("a", "b")}, "no place"),
        ({"x": slice(0, 5, 2)}, "no range"),
        ({"x": float("nan")}, "no place"),
        (dict.fromkeys("czyx", 0), "No axis would be left"),
    ],
)
def test_what_cannot_be_selected_is_said(image, where, sentence):
    with pytest.raises(OptionError, match=sentence):
        image.sel(**where)


def test_a_list_is_of_pixels_as_in_xarray(made):
    image, values = napari_omezarr.open(made[0]), made[1][0]
    for some in ([1], [1, 2], [0, 1, 2]):
        np.testing.assert_array_equal(image.isel(z=some).read(), values[:, some])


@pytest.mark.parametrize(
    "where",
    [
        *({"x": 24}, {"x": (9, 9)}, {"x": (0.5, 3)}, {"y": 0.5}, {"z": ...}),
        *({"z": [0, 2]}, {"z": []}, {"z": ["a"]}, {"z": [0.5, 1.5]}, {"c": [0.5]}),
    ],
)
def test_pixels_that_are_not_there_are_said(image, where):
    with pytest.raises(OptionError):
        image.isel(**where)


@pytest.mark.parametrize("box", [5, "x", [(0, 1)] * 5])
def test_what_is_no_box_is_said(image, box):
    with pytest.raises(OptionError):
        image.read(box)


def test_numpy_takes_all_of_it(image, made):
    assert np.array_equal(np.asarray(image), made[1][0])


def test_one_pixel_may_be_read(image, made):
    assert image.read({"c": 1, "z": 0.5, "y": 2, "x": 3}) == made[1][0][1, 1, 4, 6]


def test_a_call_with_other_arguments_says_which(image):
    for call in (
        lambda: image.to_dask(chunks=4),
        lambda: image.crop(),
        lambda: napari_omezarr.copy("a.zarr"),
        lambda: napari_omezarr.patch(image, np.ones((2, 2)), {"y": (0, 2)}),
        lambda: napari_omezarr.write(image.location, "b.zarr"),
    ):
        with pytest.raises(
            OptionError, match=r"chunks|'box'|'target'|begins at a pixel|is a place"
        ):
            call()


def test_an_image_is_a_key(image):
    assert {image: 1, image.sel(c=0): 2}[image] == 1


def test_a_level_that_is_not_there_is_said(image):
    for wrong in (3, -4, "x", 1.0):
        with pytest.raises(OptionError, match="There is no level"):
            image.to_dask(wrong)
        with pytest.raises(OptionError, match="There is no level"):
            image.read(level=wrong)


def test_a_part_is_written_with_its_labels_and_reads_each_chunk_once(
    http_server, tmp_path
):
    levels = small_images.put_image(tmp_path / "a.ome.zarr", shape=(2, 4, 32, 32))
    cells = np.ones((4, 32, 32), np.uint16)
    small_images.put_labels(tmp_path / "a.ome.zarr", cells=cells)
    image = napari_omezarr.open(f"{http_server.url}/a.ome.zarr")
    part = image.isel(y=slice(3, 29), x=slice(5, 20))
    http_server.requests.clear()
    napari_omezarr.write(part, tmp_path / "b.ome.zarr", verify="none")
    asked = [request.path for request in http_server.requests if "/c/" in request.path]
    assert len(asked) == len(set(asked)) > 0
    again = napari_omezarr.open(tmp_path / "b.ome.zarr")
    assert np.array_equal(again.read(), levels[0][:, :, 3:29, 5:20])
    assert again.transforms[0] == part.transforms[0]
    assert again.labels["cells"].shape == (4, 26, 15)
    assert again.channels == image.channels


def test_a_part_is_no_address(image):
    part = image.isel(z=0)
    for verb in (
        lambda: napari_omezarr.patch(part, (0, 0, 0), np.ones((1, 1, 1), np.uint16)),
        lambda: napari_omezarr.copy(part, "b.ome.zarr"),
        lambda: napari_omezarr.open(part),
    ):
        with pytest.raises(OptionError, match="part of an image"):
            verb()


def test_layers_of_a_part_are_those_that_napari_shows(image, made):
    layers = napari_omezarr.read_layers(image.sel(z=0.5, x=(2, 8)))
    assert [options["name"] for _, options, _ in layers] == [
        "marker 0",
        "marker 1",
        "cells",
    ]
    data, options, _ = layers[1]
    assert np.array_equal(np.asarray(data[0]), made[1][0][1, 1, :, 4:17])
    assert options["translate"][-1] == 2.0


def test_what_turns_is_cropped_by_boxes_and_not_cut_into_planes(image):
    turn = np.eye(4, 5)
    turn[2:, 2:4] = [[0.8, -0.6], [0.6, 0.8]]
    levels = tuple(
        replace(level, affine=Affine.from_matrix(turn) @ level.affine)
        for level in image.levels
    )
    turned = replace(image, levels=levels)
    assert turned.sel(z=0.5).shape == (2, 16, 24)
    assert turned.isel(x=slice(2, 5), y=slice(3, 9)).shape == (2, 4, 6, 3)
    with pytest.raises(OptionError, match="turned"):
        turned.sel(x=2.0)
    # All that a box of the world touches is there, and more in the corners.
    part = turned.crop({"y": (1, 3), "x": (2, 4)})
    corners = np.array([(0, 0, y, x) for y in (1, 3) for x in (2, 4)], float)
    inside = part.transforms[0].inverse()(corners)[:, 2:]
    assert (inside >= -0.501).all()
    assert (inside <= np.array(part.shape[2:]) - 0.499).all()


def test_rgb_stays_rgb_as_long_as_it_is_whole(tmp_path):
    colors = ("FF0000", "00FF00", "0000FF")
    omero = {"omero": {"channels": [{"color": color} for color in colors]}}
    small_images.put_image(
        tmp_path / "a.ome.zarr",
        names="cyx",
        shape=(3, 16, 16),
        dtype=np.uint8,
        extra=omero,
    )
    image = napari_omezarr.open(tmp_path / "a.ome.zarr")
    assert (image.rgb, image.isel(y=3).rgb, image.isel(c=0).rgb) == (True, True, False)


def test_an_image_in_a_store_of_zarr_is_changed_there(made):
    store = zarr.storage.MemoryStore()
    napari_omezarr.write(napari_omezarr.open(made[0], labels=False), store)
    image = napari_omezarr.open(store)
    napari_omezarr.add_labels(made[2], image, name="cells")
    assert np.array_equal(napari_omezarr.open(image).labels["cells"].read(), made[2])


# Threads, loops and processes.


def test_one_image_is_read_from_many_threads(image, made):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda z: image.read({"z": z / 2}), [0, 1, 2, 3] * 4))
    for number, array in enumerate(found):
        assert np.array_equal(array, made[1][0][:, number % 4])


def test_it_opens_and_reads_on_a_loop_of_the_caller(made):
    async def work():
        image = await napari_omezarr.aio.open(made[0], labels=False)
        assert not image.labels
        parts = (image.read_async({"c": c, "z": (0.4, 0.6)}, level=1) for c in (0, 1))
        return await asyncio.gather(*parts)

    for channel, array in enumerate(asyncio.run(work())):
        assert np.array_equal(array, made[1][1][channel, 1:2])


def test_an_image_and_its_parts_are_pickled(image, made):
    for each in (image, image.sel(c="marker 1", y=(1, 4))):
        again = pickle.loads(pickle.dumps(each))
        assert repr(again) == repr(each)
        assert np.array_equal(again.read(), each.read())
        assert list(again.labels) == ["cells"]


@pytest.mark.parametrize("secret", ["/a.ome.zarr?token=PLANTED", "user:PLANTED@"])
def test_no_secret_is_pickled(http_server, tmp_path, secret):
    small_images.put_image(tmp_path / "a.ome.zarr", count=1)
    address = f"{http_server.url}/a.ome.zarr"
    if secret.endswith("@"):
        address = address.replace("//", f"//{secret}")
    else:
        address = f"{http_server.url}{secret}"
    image = napari_omezarr.open(address)
    assert "PLANTED" not in repr(image) + image._repr_html_()
    for each in (image, image.isel(z=0)):
        with pytest.raises(OptionError, match="not sent to other processes"):
            pickle.dumps(each)


def test_the_name_of_a_profile_is_pickled(image):
    place = Location.parse("s3://bucket/a.ome.zarr", profile="lab")
    named = type(image)(
        **{f: getattr(image, f) for f in image.__match_args__} | {"location": place}
    )
    assert pickle.loads(pickle.dumps(named)).location.profile == "lab"


# Text.


def test_what_others_wrote_is_text_in_a_notebook_and_on_a_terminal(tmp_path):
    evil = "<script>alert(1)</script>\x1b[31m"
    channels = {"omero": {"channels": [{"label": evil, "color": evil}] * 2}}
    small_images.put_image(tmp_path / "a.ome.zarr", extra=channels)
    image = napari_omezarr.open(tmp_path / "a.ome.zarr")
    page = image._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page + repr(image)


def test_the_text_of_an_image_says_what_matters(image):
    said = repr(image)
    for part in ("image", "z 4 (0.5 micrometer)", "3 of uint16", "marker 0", "cells"):
        assert part in said
    assert "a part of" in repr(image.isel(z=0))
