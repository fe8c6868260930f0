"""Files of other libraries, where they are installed; and what is said where not."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from commands import finest, run
from microscope_files import read_all, write_lif, write_nd2
from napari_omezarr import Location, errors, read_layers
from napari_omezarr.converting import ReadChoices
from napari_omezarr.converting.inputs import read_images


def read_one(path):
    (image,) = read_images(Location.parse(str(path)), ReadChoices())
    return image


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti(tmp_path, ending):
    nibabel = pytest.importorskip("nibabel")
    values = np.arange(4 * 5 * 6 * 2, dtype="i2").reshape(4, 5, 6, 2)
    volume = nibabel.Nifti1Image(values, np.diag([0.5, 0.6, 2, 1]))
    volume.header.set_xyzt_units("mm", "sec")
    nibabel.save(volume, tmp_path / f"brain{ending}")
    image = read_one(tmp_path / f"brain{ending}")
    assert [axis.name for axis in image.axes] == list("tzyx")
    assert [axis.unit for axis in image.axes] == ["second", *["millimeter"] * 3]
    np.testing.assert_allclose(image.affine.scale, (1, 2, 0.6, 0.5), rtol=1e-6)
    np.testing.assert_array_equal(read_all(image), values.T)


def test_nrrd(tmp_path):
    nrrd = pytest.importorskip("nrrd")
    values = np.arange(2 * 3 * 4, dtype="u1").reshape(2, 3, 4)
    header = {"spacings": [0.5, 0.6, 2.0], "units": ["um", "um", "um"]}
    nrrd.write(str(tmp_path / "a.nrrd"), values, header, index_order="C")
    image = read_one(tmp_path / "a.nrrd")
    assert image.affine.scale == (2, 0.6, 0.5)
    assert [axis.unit for axis in image.axes] == ["micrometer"] * 3
    np.testing.assert_array_equal(read_all(image), values)


def test_nd2(tmp_path):
    pytest.importorskip("nd2")
    values = np.random.default_rng(0).integers(0, 60_000, (3, 2, 20, 30), np.uint16)
    said = {"micrometers": 0.25, "seconds": 2.0, "names": ("DAPI", "GFP")}
    write_nd2(tmp_path / "a.nd2", values, **said)
    image = read_one(tmp_path / "a.nd2")
    assert image.affine.scale == (2, 1, 0.25, 0.25)
    assert [axis.name for axis in image.axes] == list("tcyx")
    assert [axis.unit for axis in image.axes][::2] == ["second", "micrometer"]
    assert [(each.name, each.color) for each in image.displays] == [
        ("DAPI", "0000FF"),
        ("GFP", "00FF00"),
    ]
    np.testing.assert_array_equal(read_all(image), values)


@pytest.mark.parametrize("names", [("Bright",), ("Bright", "Dark")])
def test_colours_of_nd2(tmp_path, names):
    """Samples of one channel are a colour, of several they are channels more."""
    pytest.importorskip("nd2")
    shape = (2, 3 * len(names), 20, 30)
    values = np.random.default_rng(0).integers(0, 60_000, shape, np.uint16)
    said = {"micrometers": 0.25, "seconds": 2.0, "samples": 3}
    write_nd2(tmp_path / "a.nd2", values, names=names, **said)
    image = read_one(tmp_path / "a.nd2")
    axes = [axis.name for axis in image.axes]
    assert image.rgb == (len(names) == 1) == ("red" in [d.name for d in image.displays])
    pixels = np.moveaxis(read_all(image), axes.index("c"), 1)
    np.testing.assert_array_equal(pixels, values)
    assert image.rgb == any("the other way round" in note for note in image.notes)


def test_nd2_says_what_was_measured_and_nothing_that_nobody_knows(tmp_path):
    pytest.importorskip("nd2")
    values = np.zeros((3, 1, 20, 30), "u2")
    said = {"micrometers": None, "seconds": 0.001, "measured": 18.25, "names": ("a",)}
    write_nd2(tmp_path / "a.nd2", values, **said)
    image = read_one(tmp_path / "a.nd2")
    assert image.affine.scale == (18.25, 1, 1)
    assert [axis.unit for axis in image.axes] == ["second", None, None]


def write_czi(path, values, *, tiles=1):
    """Write scenes x t x c x z x y x x (x samples) with Zeiss's own library.

    The tiles of a plane lie beside each other.
    """
    czi = pytest.importorskip("pylibCZIrw.czi")
    given = values if values.ndim == 7 else values[..., None]
    width = given.shape[-2] // tiles
    colors = [czi.Rgb8Color(*map(np.uint8, c)) for c in ((0, 0, 255), (255, 126, 0))]
    with czi.create_czi(str(path)) as document:
        for scene, t, c, z, tile in np.ndindex(*given.shape[:4], tiles):
            document.write(
                given[scene, t, c, z, :, tile * width : (tile + 1) * width],
                location=(1000 * scene + tile * width - 7, -5),
                plane={"T": t, "C": c, "Z": z},
                scene=scene,
            )
        document.write_metadata(
            channel_names={0: "DAPI", 1: "AF555"},
            scale_x=1e-7,
            scale_y=2e-7,
            scale_z=5e-7,
            display_settings={
                index: czi.ChannelDisplaySettingsDataClass(
                    True, czi.TintingMode.Color, color, 0.2, 0.6
                )
                for index, color in enumerate(colors)
            },
        )


@pytest.mark.parametrize("tiles", [1, 3])
def test_czi(tmp_path, tiles):
    """Its scenes are images, and the tiles of each are one."""
    values = np.random.default_rng(0).integers(0, 60_000, (2, 2, 2, 3, 20, 30), "u2")
    write_czi(tmp_path / "a.czi", values, tiles=tiles)
    images = read_images(Location.parse(str(tmp_path / "a.czi")), ReadChoices())
    assert [image.name for image in images] == ["a scene 0", "a scene 1"]
    for image, expected in zip(images, values, strict=True):
        assert image.affine.scale == (1, 1, 0.5, 0.2, 0.1)
        assert [axis.unit for axis in image.axes][2:] == ["micrometer"] * 3
        shown = [(each.name, each.color, each.limits) for each in image.displays]
        limits = (0.2 * 65535, 0.6 * 65535)
        assert shown == [("DAPI", "0000FF", limits), ("AF555", "FF7E00", limits)]
        np.testing.assert_array_equal(read_all(image), expected)


def test_colours_of_czi(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (1, 1, 1, 1, 20, 30, 3), "u1")
    write_czi(tmp_path / "a.czi", values)
    image = read_one(tmp_path / "a.czi")
    assert image.rgb
    assert [each.name for each in image.displays] == ["red", "green", "blue"]
    np.testing.assert_array_equal(read_all(image), values[0, 0, 0, 0, ..., ::-1])


def test_an_image_that_a_file_has_not_is_named(tmp_path):
    nrrd = pytest.importorskip("nrrd")
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((4, 5), "u1"))
    with pytest.raises(errors.OptionError, match="has 1 image, and no 3"):
        read_images(Location.parse(str(tmp_path / "a.nrrd")), ReadChoices(series=3))


def test_lif(tmp_path):
    pytest.importorskip("bioio_lif")
    rng = np.random.default_rng(0)
    given = {n: rng.integers(0, 60_000, (2, 3, 20, 30), np.uint16) for n in "ab"}
    sizes = (-1e-6, 5e-7, 5e-7)  # it went down
    write_lif(tmp_path / "x.lif", given, meters=sizes, luts=("Green", "Red"))
    images = read_images(Location.parse(str(tmp_path / "x.lif")), ReadChoices())
    assert [image.name for image in images] == ["x a", "x b"]
    for image, values in zip(images, given.values(), strict=True):
        assert np.allclose(image.affine.scale, (1, 1, 0.5, 0.5))
        shown = [(each.name, each.color) for each in image.displays]
        assert shown == [("Green", "00FF00"), ("Red", "FF0000")]
        np.testing.assert_array_equal(read_all(image), values)


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    for name in ("nd2", "bioio", "pylibCZIrw", "pylibCZIrw.czi"):
        monkeypatch.setitem(sys.modules, name, None)
    wanted = {".nd2": "nd2", ".czi": "pylibCZIrw", ".lif": "bioio bioio-lif"}
    for ending, package in wanted.items():
        file = tmp_path / f"a{ending}"
        file.write_bytes(b"x")
        with pytest.raises(errors.UnsupportedDataError) as caught:
            read_one(file)
        assert caught.value.action.endswith(f"pip install {package}")


@pytest.mark.parametrize(("ending", "module"), [(".nd2", "nd2"), (".lif", "bioio")])
def test_what_an_installed_library_lacks_is_named(
    tmp_path, monkeypatch, ending, module
):
    (tmp_path / f"{module}.py").write_text("import semver_that_is_missing")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)
    (tmp_path / f"a{ending}").write_bytes(b"x")
    with pytest.raises(errors.UnsupportedDataError) as caught:
        read_one(tmp_path / f"a{ending}")
    assert caught.value.action.endswith("pip install semver_that_is_missing")


def test_readers_of_napari_are_asked(tmp_path):
    """napari's own reader takes pictures."""
    pytest.importorskip("napari")
    values = np.arange(24 * 32, dtype="u2").astype("u1").reshape(24, 32)
    Image.fromarray(values).save(tmp_path / "a.png")
    run("convert", tmp_path / "a.png", tmp_path / "a.ome.zarr")
    (layer,) = read_layers(tmp_path / "a.ome.zarr")
    assert layer[1]["name"] == "a"
    np.testing.assert_array_equal(finest(layer), values)
