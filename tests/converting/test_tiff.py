"""TIFF files of every kind: the pixels, sizes, names and colours of the file."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
from importlib.util import find_spec

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import napari_omezarr
from microscope_files import read_all
from napari_omezarr import Location, errors, read_layers, write_layers
from napari_omezarr.converting import formats
from napari_omezarr.converting.tiff import close_files, reading_tiff
from napari_omezarr.converting.tiff_images import images_of_tiff
from servers.http import FileServer


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_files()


def images(path, **choices):
    return images_of_tiff(Location.parse(str(path)), **choices)


def about(image):
    """Names, sizes and units of the axes."""
    names = [axis.name for axis in image.axes]
    units = [axis.unit for axis in image.axes]
    return {
        name: (round(size, 9), unit)
        for name, size, unit in zip(names, image.affine.scale, units, strict=True)
    }


def numbers(*shape, dtype="u2"):
    return (np.arange(np.prod(shape)) * 7 % 251).astype(dtype).reshape(shape)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_every_layout_gives_the_pixels_of_the_file(tmp_path, data):
    dtype = data.draw(st.sampled_from(["u1", "u2", "i2", "u4", "f4", "f8", "f2"]))
    order = data.draw(st.sampled_from("<>"))
    shape = data.draw(st.sampled_from([(70, 90), (5, 33, 47), (2, 5, 20, 30)]))
    layout = data.draw(
        st.sampled_from(
            [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}, {"bigtiff": True}]
        )
    )
    if data.draw(st.booleans()):
        layout = {**layout, "compression": "zlib"}
    values = numbers(*shape, dtype=dtype)
    file = tmp_path / "any.tif"
    kind = np.dtype(dtype).newbyteorder(order)
    axes = "TZYX"[-len(shape) :]
    options = {"photometric": "minisblack", "metadata": {"axes": axes}, **layout}
    tifffile.imwrite(file, values.astype(kind), byteorder=order, **options)
    (image,) = images(file)
    close_files()
    assert image.source.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read_all(image), values)
    box = tuple(
        sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2)))
        for n in shape
    )
    part = tuple(slice(*bounds) for bounds in box)
    found = image.source.read(tuple(map(tuple, box)))
    np.testing.assert_array_equal(found, values[part])
    again = pickle.loads(pickle.dumps(image.source))
    np.testing.assert_array_equal(again.read(tuple(map(tuple, box))), values[part])
    close_files()


def test_ome_xml_says_sizes_units_names_and_colours(tmp_path):
    file = tmp_path / "two.ome.tif"
    first = {
        "axes": "TCZYX",
        "Name": "mitosis",
        "PhysicalSizeX": 65,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 65,
        "PhysicalSizeYUnit": "nm",
        "PhysicalSizeZ": 0.3,
        "TimeIncrement": 2,
        "TimeIncrementUnit": "min",
        "Channel": {"Name": ["DAPI", "GFP"], "Color": [65535, 16711935]},
    }
    with tifffile.TiffWriter(file) as writer:
        writer.write(numbers(3, 2, 4, 16, 20), photometric="minisblack", metadata=first)
        second = {"axes": "YX", "Name": "overview"}
        writer.write(numbers(8, 9), photometric="minisblack", metadata=second)
    one, two = images(file)
    assert (one.name, two.name) == ("mitosis", "overview")
    assert about(one) == {
        "t": (2, "minute"),
        "c": (1, None),
        "z": (0.3, "micrometer"),
        "y": (65, "nanometer"),
        "x": (65, "nanometer"),
    }
    assert [(d.name, d.color) for d in one.displays] == [
        ("DAPI", "0000FF"),
        ("GFP", "00FF00"),
    ]
    assert [image.name for image in images(file, series=1)] == ["overview"]
    with pytest.raises(errors.OptionError, match="2 images, and no 2"):
        images(file, series=2)


def ramp(red, green, blue):
    return np.outer((red, green, blue), np.arange(256)).astype("u1")


def test_imagej_says_sizes_units_contrast_and_colours(tmp_path):
    file = tmp_path / "stack.tif"
    metadata = {
        "axes": "ZCYX",
        "spacing": 0.5,
        "unit": "\\u00B5m",
        "finterval": 2.0,
        "Ranges": (0.0, 100.0, 5.0, 200.0),
        "LUTs": [ramp(1, 0, 1), ramp(0, 1, 0)],
    }
    values = numbers(3, 2, 16, 20)
    tifffile.imwrite(file, values, imagej=True, resolution=(10, 5), metadata=metadata)
    (image,) = images(file)
    assert about(image) == {
        "z": (0.5, "micrometer"),
        "c": (1, None),
        "y": (0.2, "micrometer"),
        "x": (0.1, "micrometer"),
    }
    assert [(d.color, d.limits) for d in image.displays] == [
        ("FF00FF", (0, 100)),
        ("00FF00", (5, 200)),
    ]
    np.testing.assert_array_equal(read_all(image), values)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colours_stay_colours(tmp_path, planar):
    values = numbers(24, 32, 3, dtype="u1")
    stored = values if planar == "contig" else values.transpose(2, 0, 1)
    file = tmp_path / "rgb.tif"
    tifffile.imwrite(file, stored, photometric="rgb", planarconfig=planar)
    write_layers(images(file), tmp_path / "rgb.ome.zarr")
    ((data, options, _),) = read_layers(tmp_path / "rgb.ome.zarr")
    assert options["rgb"]
    data = data[0] if options["multiscale"] else data
    np.testing.assert_array_equal(data, values)


def test_a_palette_becomes_its_colours_or_that_of_a_ramp(tmp_path):
    indices = numbers(24, 32, dtype="u1")
    wild = np.random.default_rng(3).integers(0, 2**16, (3, 256), dtype="u2")
    tifffile.imwrite(tmp_path / "wild.tif", indices, colormap=wild)
    (image,) = images(tmp_path / "wild.tif")
    assert image.rgb
    np.testing.assert_array_equal(read_all(image), (wild.T >> 8)[indices])
    green = np.outer((0, 1, 0), np.arange(256) * 257).astype("u2")
    tifffile.imwrite(tmp_path / "green.tif", indices, colormap=green)
    (image,) = images(tmp_path / "green.tif")
    assert image.displays[0].color == "00FF00"
    np.testing.assert_array_equal(read_all(image), indices)


def test_a_palette_of_two_colours(tmp_path):
    """As scanners write it: a bit for each pixel."""
    bits = np.random.default_rng(0).integers(0, 2, (24, 32)).astype(bool)
    table = np.array([[0, 65535], [25700, 257], [65535, 0]], "u2")
    file = tmp_path / "a.tif"
    tags = [(320, 3, 6, tuple(map(int, table.ravel())), True)]
    tifffile.imwrite(file, bits, photometric="minisblack", extratags=tags)
    with tifffile.TiffFile(file, mode="r+") as opened:
        opened.pages[0].tags["PhotometricInterpretation"].overwrite(3)
    (image,) = images(file)
    assert image.rgb
    np.testing.assert_array_equal(read_all(image), (table.T >> 8)[bits.astype(int)])


def test_a_compression_that_nobody_knows_is_no_damage(tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, numbers(8, 9))
    with tifffile.TiffFile(file, mode="r+") as opened:
        opened.pages[0].tags["Compression"].overwrite(52479)
    with pytest.raises(errors.UnsupportedDataError, match="52479"):
        images(file)


def test_white_is_zero_and_a_camera_of_centimetres(tmp_path):
    file = tmp_path / "white.tif"
    options = {"resolution": (20000, 10000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(file, numbers(8, 9), photometric="miniswhite", **options)
    (image,) = images(file)
    assert image.displays[0].inverted
    assert about(image) == {"y": (1, "micrometer"), "x": (0.5, "micrometer")}


def test_micro_manager_says_the_size_and_the_channel_of_a_plane(tmp_path):
    said = json.dumps({"PixelSizeUm": 0.325, "Channel": "DAPI", "Width": 9})
    tags = [(51123, 2, len(said) + 1, f"{said}\0", True)]
    tifffile.imwrite(tmp_path / "a.tif", numbers(8, 9), extratags=tags, metadata=None)
    (image,) = images(tmp_path / "a.tif")
    assert about(image) == dict.fromkeys("yx", (0.325, "micrometer"))
    assert image.displays[0].name == "DAPI"


def test_channels_of_colours_are_so_many_channels(tmp_path):
    values = numbers(2, 8, 9, 3, dtype="u1")
    file = tmp_path / "a.ome.tif"
    tifffile.imwrite(file, values, photometric="rgb", metadata={"axes": "CYXS"})
    (image,) = images(file)
    assert image.shape == (6, 8, 9)
    expected = np.moveaxis(values, -1, 1).reshape(6, 8, 9)
    np.testing.assert_array_equal(read_all(image), expected)
    found = image.source.read(((1, 5), (2, 4), (0, 9)))
    np.testing.assert_array_equal(found, expected[1:5, 2:4])


def test_pages_that_nobody_named_are_planes_unless_it_is_said(tmp_path):
    file = tmp_path / "pages.tif"
    with tifffile.TiffWriter(file) as writer:
        for plane in numbers(4, 8, 9):
            writer.write(plane, metadata=None, contiguous=False)
    (image,) = images(file)
    assert list(about(image)) == ["z", "y", "x"]
    assert "taken for z" in image.notes[0]
    (image,) = images(file, axes="tyx")
    assert (list(about(image)), image.notes) == (["t", "y", "x"], ())
    with pytest.raises(errors.OptionError, match="names 2 axes"):
        images(file, axes="yx")


def test_a_pyramid_is_one_image(tmp_path):
    file = tmp_path / "slide.ome.tif"
    values = numbers(64, 96, dtype="u1")
    with tifffile.TiffWriter(file) as writer:
        writer.write(values, subifds=1, tile=(16, 16), photometric="minisblack")
        writer.write(values[::2, ::2], subfiletype=1, tile=(16, 16))
    (image,) = images(file)
    np.testing.assert_array_equal(read_all(image), values)
    assert image.source.chunks == (16, 16)


@pytest.mark.parametrize("layout", ["plain", "imagej", "ome", "compressed"])
def test_what_is_cut_off_is_never_pixels(tmp_path, layout):
    options = {
        "plain": {},
        "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
        "ome": {"ome": True},
        "compressed": {"compression": "zlib"},
    }[layout]
    whole = io.BytesIO()
    values = numbers(6, 40, 50)
    tifffile.imwrite(whole, values, photometric="minisblack", **options)
    body = whole.getvalue()
    for part in (0.3, 0.6, 0.95):
        file = tmp_path / f"{part}.tif"
        file.write_bytes(body[: int(len(body) * part)])
        with pytest.raises(errors.DamagedDataError, match="no whole TIFF"):
            read_all(images(file)[0])


def test_a_part_that_lies_in_an_absent_file_is_never_zeros(tmp_path):
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        'Type="uint16" SizeX="9" SizeY="8" SizeZ="2" SizeC="1" SizeT="1">'
        '<Channel ID="Channel:0" SamplesPerPixel="1"/>'
        '<TiffData FirstZ="0" IFD="0" PlaneCount="1">'
        '<UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
        '<TiffData FirstZ="1" IFD="0" PlaneCount="1">'
        '<UUID FileName="b.ome.tif">urn:uuid:2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    for name, value, number in (("a", 1, 1), ("b", 2, 2)):
        described = xml.replace("<OME ", f'<OME UUID="urn:uuid:{number}" ')
        tifffile.imwrite(
            tmp_path / f"{name}.ome.tif",
            np.full((8, 9), value, "u2"),
            description=described,
            metadata=None,
        )
    (image,) = images(tmp_path / "a.ome.tif")
    assert read_all(image).max() == 2
    close_files()
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(errors.NodeNotFoundError, match="lies in b"):
        read_all(images(tmp_path / "a.ome.tif")[0])


def test_a_file_of_the_web_is_read_where_it_is(tmp_path):
    values = numbers(40, 300, 400)
    file = tmp_path / "large.tif"
    tifffile.imwrite(file, values, photometric="minisblack", metadata={"axes": "ZYX"})
    with FileServer(tmp_path) as server:
        (image,) = images(f"{server.url}/large.tif")
        box = ((7, 8), (0, 300), (0, 400))
        np.testing.assert_array_equal(image.source.read(box), values[7:8])
        close_files()
        # What was asked for is far less than the file.
        assert len(server.requests) <= 6
        np.testing.assert_array_equal(read_all(image), values)
        with pytest.raises(errors.NodeNotFoundError):
            images(f"{server.url}/nothing.tif")


def test_what_is_no_tiff_is_said(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"hello, this is text")
    with pytest.raises(errors.DamagedDataError, match=r"a\.tif"):
        images(tmp_path / "a.tif")
    with pytest.raises(errors.NodeNotFoundError, match="no file"):
        images(tmp_path / "b.tif")


@pytest.mark.parametrize("colour", [False, True])
def test_the_resolutions_of_a_file_are_kept_if_that_is_chosen(tmp_path, colour):
    shape = (65, 83, 3) if colour else (65, 83)
    noise = np.random.default_rng(0)
    levels = [
        noise.integers(0, 255, (-(-65 // by), -(-83 // by), *shape[2:]), np.uint8)
        for by in (1, 2, 4)
    ]
    options = {"tile": (16, 16), "photometric": "rgb" if colour else "minisblack"}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(levels[0], subifds=2, metadata={"PhysicalSizeX": 0.5}, **options)
        for level in levels[1:]:
            file.write(level, subfiletype=1, **options)
    (plain,) = images(tmp_path / "a.ome.tif")
    assert not plain.coarser
    (image,) = images(tmp_path / "a.ome.tif", resolutions=True)
    assert image.name == "a"
    write_layers([image], tmp_path / "a.ome.zarr", existing_resolutions=True)
    opened = napari_omezarr.open(tmp_path / "a.ome.zarr")
    for number, level in enumerate(levels):
        expected = np.moveaxis(level, -1, 0) if colour else level
        assert np.array_equal(opened.read(level=number), expected)


@pytest.mark.parametrize("reading", [reading_tiff, formats.reading_by_others])
@pytest.mark.parametrize(
    ("raised", "meant"),
    [
        (MemoryError(), errors.NotEnoughMemoryError),
        (OSError(errno.EACCES, ""), errors.AccessDeniedError),
        (OSError(errno.EIO, ""), errors.StoreError),
        (OSError("Not a gzipped file"), errors.UnsupportedDataError),
        (ValueError(), errors.UnsupportedDataError),
    ],
)
def test_what_the_computer_refuses_is_no_fault_of_the_file(reading, raised, meant):
    if meant is errors.UnsupportedDataError and reading is reading_tiff:
        meant = errors.DamagedDataError
    with pytest.raises(meant), reading(Location.parse("/data/a.tif")):
        raise raised


def test_names_that_are_no_unicode_are_saved_and_edited(tmp_path):
    file = tmp_path / os.fsdecode(b"caf\xe9.tif")
    try:
        file.touch()
    except OSError:
        pytest.skip("such a name cannot be here")
    tifffile.imwrite(file, numbers(8, 9))
    place = tmp_path / "a.ome.zarr"
    write_layers(images(file), place)
    document = place / "zarr.json"
    text = document.read_text("utf-8")
    assert '"name": "caf?"' in text
    # Others escape what UTF-8 cannot say, which JSON allows; it stays what it was.
    document.write_text(text.replace("caf?", "caf\\udce9"), "utf-8")
    napari_omezarr.calibrate(place, scale={"x": 0.5})
    assert "caf\\udce9" in document.read_text("utf-8")
    pixels = napari_omezarr.open(place).read()
    np.testing.assert_array_equal(pixels, numbers(8, 9))


@pytest.mark.parametrize("compression", [5, 7, 34887, 50000, 50002])
def test_what_a_missing_library_would_decode_is_not_called_damaged(
    tmp_path, compression
):
    """LZW, JPEG, LERC, Zstandard and JPEG XL: tifffile leaves them to others."""
    if find_spec("imagecodecs") or (compression == 50000 and find_spec("compression")):
        pytest.skip("they can be decoded here")
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, numbers(8, 8), compression="zlib")
    with tifffile.TiffFile(file, mode="r+") as opened:
        opened.pages[0].tags["Compression"].overwrite(compression)
    with pytest.raises(errors.UnsupportedDataError, match="needs a library"):
        read_all(images(file)[0])
