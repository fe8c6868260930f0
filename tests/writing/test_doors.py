"""What people have in hand: each is saved, or answered in a sentence of ours."""

from __future__ import annotations

import itertools
from inspect import signature
from typing import get_type_hints

import dask
import dask.array as da
import numpy as np
import pytest
import tifffile
import xarray
import zarr
from dask.callbacks import Callback
from zarr.storage import MemoryStore

from commands import run
from napari_omezarr.errors import (
    LocationError,
    OMEZarrError,
    OptionError,
    SourceError,
    UnexpectedError,
    UnsupportedDataError,
)
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.opened import write, write_plate
from napari_omezarr.reading import read
from napari_omezarr.writing import (
    SaveMode,
    WriteOptions,
    add_labels,
    add_tables,
    calibrate,
    plan_write,
    source,
    update_rendering,
    write_image,
    write_layers,
)
from napari_omezarr.writing.options import SaveChoices

PIXELS = np.arange(2 * 30 * 40, dtype="uint16").reshape(2, 30, 40)


def planned(*layers, **choices):
    return plan_write(layers, "a.ome.zarr", **choices).images[0].spec


@pytest.fixture
def image(tmp_path):
    """An image with a scale, at a path."""
    write_image(PIXELS, tmp_path / "image.ome.zarr", "zyx", scale=(2, 0.5, 0.5))
    return tmp_path / "image.ome.zarr"


def stored(folder):
    return read(folder).pyramids[0].levels[0].pixels[...]


# Arrays of every library.


class Tensor:
    """Pixels as torch has them: another dtype, no numpy without detaching."""

    def __init__(self, array, moved=False):
        self.array, self.moved = array, moved
        self.shape, self.dtype = array.shape, f"torch.{array.dtype}"

    def __getitem__(self, key):
        return Tensor(self.array[key], self.moved)

    def detach(self):
        return Tensor(self.array, True)

    cpu = detach

    def __array__(self, dtype=None, copy=None):
        if not self.moved:
            raise RuntimeError("can't convert a tensor that requires grad")
        return self.array.astype(dtype)


class OnCard:
    """Pixels as cupy has them, on a graphics card."""

    def __init__(self, array):
        self.__cuda_array_interface__ = {}
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key):
        return OnCard(self.array[key])

    def get(self):
        return self.array

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")


class ByPointer:
    """Pixels that know DLPack alone."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key):
        return ByPointer(self.array[key])

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def in_zarr(array):
    return zarr.create_array(MemoryStore(), data=array, chunks=(1, 10, 10))


@pytest.mark.parametrize(
    "made",
    [
        Tensor,
        OnCard,
        ByPointer,
        in_zarr,
        lambda a: in_zarr(a).async_array,
        lambda a: xarray.DataArray(a, dims=("z", "y", "x")),
        lambda a: xarray.DataArray(da.from_array(a), dims=("z", "y", "x")),
        lambda a: [a, a[:, ::2, ::2]],
        list,
        lambda a: a.tolist(),
        lambda a: [da.from_array(plane) for plane in a],
    ],
    ids=iter(
        [
            "torch",
            "cupy",
            "dlpack",
            "zarr",
            "async",
            "xarray",
            "lazy",
            "levels",
            "list",
            "nested",
            "planes",
        ]
    ),
)
def test_every_array_is_saved(made, tmp_path):
    write_image(made(PIXELS), tmp_path / "a.ome.zarr", "zyx")
    np.testing.assert_array_equal(stored(tmp_path / "a.ome.zarr"), PIXELS)


def test_an_array_of_tensorstore_is_saved(tmp_path):
    tensorstore = pytest.importorskip("tensorstore")
    array = tensorstore.array(PIXELS)
    write_image(array, tmp_path / "a.ome.zarr", "zyx")
    np.testing.assert_array_equal(stored(tmp_path / "a.ome.zarr"), PIXELS)


def test_planes_in_a_list_stay_lazy(tmp_path):
    def fail():
        raise AssertionError

    plane = da.from_delayed(dask.delayed(fail)(), (30, 40), "uint16")
    layer = ([plane] * 3, {"multiscale": False}, "image")
    assert planned(layer).shape == (3, 30, 40)


class Broken:
    shape, dtype = (4, 5), np.dtype("uint8")

    def __getitem__(self, key):
        raise KeyError("password=secret")


class Short(Broken):
    def __getitem__(self, key):
        return np.zeros((1, 1), "uint8")


def test_what_an_array_fails_with_becomes_one_of_our_errors(tmp_path):
    with pytest.raises(
        SourceError, match=r"could not be read .* \(KeyError\)"
    ) as error:
        write_image(Broken(), tmp_path / "a.ome.zarr")
    assert "secret" not in str(error.value)
    with pytest.raises(SourceError, match="other boxes"):
        write_image(Short(), tmp_path / "b.ome.zarr")
    broken = da.from_delayed(dask.delayed(Broken().__getitem__)(0), (4, 5), "uint8")
    with pytest.raises(SourceError, match="KeyError"):
        write_image(broken, tmp_path / "c.ome.zarr")


unknown = da.from_array(PIXELS)[da.from_array(PIXELS[:, 0, 0] > 1)]


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (UnsupportedDataError, lambda at: write_image(unknown, at, "zyx")),
        (UnsupportedDataError, lambda at: write_image([[1, 2], [3]], at)),
        (UnsupportedDataError, lambda at: write_image([PIXELS[0], PIXELS], at)),
        (UnsupportedDataError, lambda at: write_image(np.array([["a"]], object), at)),
        (UnsupportedDataError, lambda at: write_image(object(), at)),
        (OptionError, lambda at: write_image(np.array(3), at)),
        (OptionError, lambda at: write_image("image.tif", at)),
        (OptionError, lambda at: write_image(zarr.group(MemoryStore()), at)),
        (OptionError, lambda at: write_image((PIXELS[0], {}, "labels"), at)),
        (OptionError, lambda at: write_image(PIXELS, at, axes=3)),
        (OptionError, lambda at: write_image(PIXELS, at, scale="big")),
        (OptionError, lambda at: write_image(PIXELS, at, scale=(1, "a", 1))),
        (OptionError, lambda at: write_image(PIXELS, at, scale=np.nan)),
        (OptionError, lambda at: write_image(PIXELS, at, scale=0)),
        (OptionError, lambda at: write_image(PIXELS, at, units={"q": "um"})),
        (OptionError, lambda at: write_image(PIXELS, at, units=("um", "um"))),
        (OptionError, lambda at: write_image(PIXELS, at, units=3)),
        (OptionError, lambda at: write_image(PIXELS, at, chunks="64")),
        (OptionError, lambda at: write_image(PIXELS, at, chunks=6.5)),
        (OptionError, lambda at: write_image(PIXELS, at, chunks={"q": 3})),
        (OptionError, lambda at: write_image(PIXELS, at, levels="3")),
        (OptionError, lambda at: write_image(PIXELS, at, version=0.7)),
        (OptionError, lambda at: write_image(PIXELS, at, memory=None)),
        (OptionError, lambda at: write_image(PIXELS, at, workers=1.5)),
        (OptionError, lambda at: write_image(PIXELS, at, position=3)),
        (OptionError, lambda at: write_image(PIXELS, at, contrast_limits=5)),
        (OptionError, lambda at: write_image(PIXELS, at, contrast_limits=[(1, "a")])),
        (OptionError, lambda at: write_image(PIXELS, at, colors="no colour")),
        (OptionError, lambda at: write_image(PIXELS, at, colors=[5])),
        (OptionError, lambda at: write_image(PIXELS, at, labels=PIXELS[0])),
        (OptionError, lambda at: write_layers(7, at)),
        (OptionError, lambda at: write_layers([7], at)),
        (OptionError, lambda at: write_layers("image.tif", at)),
        (OptionError, lambda at: write_layers([], at)),
        (OptionError, lambda at: update_rendering(7)),
        (LocationError, lambda at: write_image(PIXELS, 7)),
        (LocationError, lambda at: read(None)),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_what_cannot_be_is_a_sentence(kind, call, tmp_path):
    with pytest.raises(kind) as error:
        call(tmp_path / "a.ome.zarr")
    assert isinstance(error.value, OMEZarrError)
    assert list(tmp_path.iterdir()) == []


# One layer, a pyramid, a reading, a path.


class Closed:
    """As a data set of h5py whose file was closed."""

    @property
    def shape(self):
        raise RuntimeError("Unable to get dataspace")


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (dask.delayed(np.zeros)((2, 3, 4)), "from_delayed"),
        (xarray.Dataset({"a": ("y", [1])}), r"what it holds \('a'\)"),
        ({"a": PIXELS, "b": PIXELS}, r"what it holds \('a', 'b'\)"),
        ((plane for plane in PIXELS), "generator is no array"),
        (None, "NoneType is no array"),
        (Closed(), r"could not be read .*RuntimeError"),
        (np.arange(5), "two axes or more"),
        (np.zeros((1,) * 6), "Name its 6 axes[.]"),
        ([(PIXELS, {}, "image")] * 2, "These are 2 layers"),
    ],
    ids=["delayed", "dataset", "dict", "generator", "none", "closed", "1", "6", "two"],
)
def test_what_is_no_array_is_told_what_to_give_instead(thing, said, tmp_path):
    with pytest.raises(OMEZarrError, match=said):
        write_image(thing, tmp_path / "a.ome.zarr")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "save",
    [
        lambda place, thing: write_layers([(thing, {}, "image")], place),
        lambda place, thing: write_image(PIXELS, place, labels={"a": thing}),
        lambda place, thing: write(thing, place),
    ],
    ids=["write_layers", "labels", "write"],
)
def test_a_closed_data_set_is_told_in_our_words_at_every_door(save, tmp_path):
    with pytest.raises(OMEZarrError, match="RuntimeError") as error:
        save(tmp_path / "a.ome.zarr", Closed())
    assert not isinstance(error.value, UnexpectedError)
    assert not list(tmp_path.iterdir())


def test_what_people_have_in_hand_is_understood(image, tmp_path):
    level = read(image).pyramids[0].levels[0]
    for n, (thing, choices) in enumerate(
        [
            (level, {}),
            (read_layers(image), {}),
            (np.ma.array(PIXELS), {"scale": "0.5"}),
            (PIXELS, {"scale": np.array(0.5), "units": "um"}),
        ]
    ):
        place = tmp_path / f"{n}.ome.zarr"
        write_image(thing, place, "zyx", **choices)
        np.testing.assert_array_equal(stored(place), PIXELS)
        pyramid = read(place).pyramids[0]
        if "scale" in choices:
            assert pyramid.levels[0].affine.scale == (0.5, 0.5, 0.5)
    with pytest.raises(OptionError, match="'auto' does not do for chunks"):
        write_image(PIXELS, tmp_path / "a.ome.zarr", chunks="auto")
    with pytest.raises(OptionError, match="does not name"):
        write_image(PIXELS, tmp_path / "a.ome.zarr", {"z", "y", "x"})
    saved = write_image(PIXELS, tmp_path / "a.ome.zarr", units="parsnip")
    assert any("parsnip is no unit" in note for note in saved.plan.notes)


def test_one_of_anything_is_as_good_as_a_list(image, tmp_path):
    (layer,) = read_layers(image)
    reading = read(image)
    assert reading.pyramids[0].name == read(str(image)).pyramids[0].name
    for number, one in enumerate((layer, layer[:2], reading, reading.pyramids[0])):
        write_layers(one, tmp_path / f"{number}.ome.zarr")
        write_image(one, tmp_path / f"image-{number}.ome.zarr")
        for saved in (f"{number}.ome.zarr", f"image-{number}.ome.zarr"):
            np.testing.assert_array_equal(stored(tmp_path / saved), PIXELS)
            found = read(tmp_path / saved).pyramids[0]
            assert found.levels[0].affine.scale == (2, 0.5, 0.5)
    write_layers(PIXELS, tmp_path / "array.ome.zarr")
    np.testing.assert_array_equal(stored(tmp_path / "array.ome.zarr"), PIXELS)


def test_what_is_said_goes_before_what_a_pyramid_knows(image):
    pyramid = read(image).pyramids[0]
    from napari_omezarr.writing.from_arrays import Channels, Grid, describe_array

    spec = describe_array(pyramid, Grid(scale=3, units="um"), "new", Channels("DAPI"))
    assert spec.affine.scale == (3, 3, 3)
    assert [axis.unit for axis in spec.axes] == ["micrometer"] * 3
    assert (spec.name, spec.displays[0].name) == ("new", "DAPI")


def test_plain_pixels_are_labels_on_the_grid_of_their_image(image):
    add_labels(PIXELS.astype("int32"), image, name="cells")
    label = read(image).pyramids[1]
    assert (label.name, label.levels[0].affine.scale) == ("cells", (2, 0.5, 0.5))
    add_labels((PIXELS, {"name": "pair", "scale": (2, 0.5, 0.5)}), image)
    assert [pyramid.name for pyramid in read(image).pyramids[1:]] == ["cells", "pair"]


def test_pixels_are_what_numpy_makes_an_array_of(image):
    pixels = read(Location.parse(image)).pyramids[0].levels[0].pixels
    np.testing.assert_array_equal(np.asarray(pixels), PIXELS)
    assert np.asarray(pixels, dtype="float32").dtype == np.float32


# One number or word for all axes of space.


def test_one_number_is_about_the_axes_of_space(tmp_path):
    pixels = np.zeros((2, 3, 4, 50, 60), "uint8")
    saved = write_image(
        pixels,
        tmp_path / "a.ome.zarr",
        scale=0.5,
        translation=7,
        units="micrometer",
        chunks=16,
        factors=2,
        levels=2,
    )
    finest, coarser = saved.plan.images[0].levels
    axes = saved.plan.images[0].spec.axes
    assert finest.affine.scale == (1, 1, 0.5, 0.5, 0.5)
    assert finest.affine.translation == (0, 0, 7, 7, 7)
    assert [axis.unit for axis in axes] == [None, None, *["micrometer"] * 3]
    assert finest.chunks[2:] == (4, 16, 16)
    assert coarser.shape == (2, 3, 2, 25, 30)


def test_units_can_stand_beside_scales(tmp_path):
    saved = write_image(
        PIXELS, tmp_path / "a.ome.zarr", "tyx", scale=(9, 1, 1), units=("s", None, "um")
    )
    units = [axis.unit for axis in saved.plan.images[0].spec.axes]
    assert units == ["second", None, "micrometer"]
    assert [a.unit for a in planned(PIXELS, units="nm").axes] == ["nanometer"] * 3


# Names of axes.


@pytest.mark.parametrize(
    ("names", "types"),
    [
        (("row", "col"), ("space", "space")),
        (("plane", "row", "col"), ("space",) * 3),
        (("pos", "plane", "row", "col"), (None, "space", "space", "space")),
        (("frame", "row", "col"), ("time", "space", "space")),
        (("ch", "row", "x"), ("channel", "space", "space")),
        (("phase", "y", "x"), (None, "space", "space")),
    ],
)
def test_axes_of_no_type_are_space_where_space_is_missing(names, types):
    data = np.zeros((4,) * len(names), "uint8")
    found = planned((data, {"axis_labels": names}, "image"))
    kept = {axis.name: axis.type for axis in found.axes}
    assert tuple(kept[name] for name in names) == types


# The coordinates of xarray.


def coordinates(**coords):
    return xarray.DataArray(PIXELS, dims=("z", "y", "x"), coords=coords, name="embryo")


def test_even_coordinates_are_a_scale_and_a_translation():
    y = xarray.DataArray(
        np.linspace(500_000, 500_014.5, 30, dtype="float32"),
        dims="y",
        attrs={"units": "um"},
    )
    spec = planned(coordinates(z=[10.0, 12.0], y=y, x=np.arange(40) / 4))
    np.testing.assert_allclose(spec.affine.scale, (2, 0.5, 0.25))
    np.testing.assert_allclose(spec.affine.translation, (10, 500_000, 0))
    assert (spec.axes[1].unit, spec.name) == ("micrometer", "embryo")


def test_coordinates_of_time_and_channels_are_understood():
    array = xarray.DataArray(
        np.zeros((2, 3, 9, 9), "uint8"),
        dims=("c", "time", "y", "x"),
        coords={
            "c": ["DAPI", "GFP"],
            "time": np.datetime64("2026-11-26T10:00:00") + np.arange(0, 90, 30),
            "stage": 4.0,
        },
    )  # fmt: skip
    spec = planned(array)
    assert [display.name for display in spec.displays] == ["DAPI", "GFP"]
    assert spec.affine.scale == (30, 1, 1, 1)
    assert spec.axes[0].unit == "second"
    assert any("2026-11-26" in note for note in spec.notes)
    assert any("stage" in note for note in spec.notes)


@pytest.mark.parametrize("z", [[1.0, 1.0], [0.0, np.nan]])
def test_coordinates_that_are_not_even_are_refused(z):
    with pytest.raises(OptionError, match="not evenly spaced"):
        planned(coordinates(z=z))
    with pytest.raises(OptionError, match="not evenly spaced"):
        planned(coordinates(x=np.arange(40) ** 2.0))


# The signature says what can be chosen.


def test_all_options_are_in_the_signatures():
    wanted = {**get_type_hints(WriteOptions), **get_type_hints(SaveMode)}
    assert get_type_hints(SaveChoices) == wanted
    for verb in (write_layers, write_image, plan_write, add_labels):
        (rest,) = [
            p for p in signature(verb).parameters.values() if p.kind == p.VAR_KEYWORD
        ]
        assert "Choices" in str(rest.annotation)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_mask_is_not_lost_without_a_word(lazy, tmp_path):
    pixels = np.ma.masked_array(np.ones((7, 7)), mask=np.eye(7))
    given = da.from_array(pixels, chunks=4) if lazy else pixels
    with pytest.raises(UnsupportedDataError, match="mask of a masked array"):
        write_image(given, tmp_path / "a.zarr", "yx")
    write_image(pixels.filled(0), tmp_path / "a.zarr", "yx")


def test_of_very_many_chunks_some_are_computed_at_a_time(tmp_path, monkeypatch):
    """dask keeps some kilobytes for each task: a million of them would fill it."""
    monkeypatch.setattr(source, "_COMPUTED_CHUNKS", 40)
    monkeypatch.setattr(source, "_SLAB_CHUNKS", 100)
    pixels = np.arange(9 * 70 * 61, dtype=np.uint16).reshape(9, 70, 61)
    computed = []

    class Watched(Callback):
        def _start(self, dsk):
            computed.append(0)

        def _pretask(self, key, dsk, state):
            computed[-1] += 1

    uneven = ((4, 1, 4), (7,) * 10, (3, *(2,) * 29))
    lazy = da.from_array(pixels, chunks=uneven).map_blocks(np.add, 1, dtype="u2")
    with Watched():
        write_image(lazy, tmp_path / "a.zarr", "zyx", levels=1, verify="none")
    assert max(computed) <= 4 * 40  # a few tasks make a chunk
    found = zarr.open_array(tmp_path / "a.zarr" / "0", mode="r")[:]
    np.testing.assert_array_equal(found, pixels + 1)


@pytest.mark.parametrize("size", [0, -0.5, np.nan, np.inf, -np.inf, 1e-40, 1e40])
def test_no_door_takes_what_is_no_size_of_a_pixel(size, tmp_path):
    there, new = tmp_path / "a.zarr", tmp_path / "b.zarr"
    write_image(PIXELS[0], there, "yx", scale=0.5)
    before = (there / "zarr.json").read_bytes()
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, PIXELS[0])
    spots = ([[1, 2]], {"scale": (size, 1), "name": "spots"}, "points")
    well = {"image": PIXELS[0], "axes": "yx", "well": "A1"}
    doors = [
        lambda: calibrate(there, scale={"y": size}),
        lambda: calibrate(there, scale=(1, size)),
        lambda: write_image(PIXELS[0], new, "yx", scale=size),
        lambda: write_plate([well], new, scale=size),
    ]
    if not size < 0:  # layers may be mirrored
        image = (PIXELS[0], {"scale": (1, size)}, "image")
        doors.append(lambda: write_layers([image], new))
        doors.append(lambda: add_tables([spots], there))
    for door in doors:
        with pytest.raises(OptionError, match=r"no (size|number)"):
            door()
    for command in (("calibrate", there), ("convert", file, new)):
        run(*command, "--scale", f"y={size}", code=2)
    assert (there / "zarr.json").read_bytes() == before
    assert not (new / "zarr.json").exists()


def test_what_is_mirrored_stays_so(tmp_path):
    mirrored = (PIXELS[0], {"scale": (-1, 1), "axis_labels": "yx"}, "image")
    write_layers([mirrored], tmp_path / "a.zarr")
    calibrate(tmp_path / "a.zarr", scale={"x": 0.5})
    assert read_layers(tmp_path / "a.zarr")[0][1]["scale"] == (-1, 0.5)
