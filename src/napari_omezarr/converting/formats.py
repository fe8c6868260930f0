"""Files that other installed libraries read: CZI, LIF, ND2, NIfTI, NRRD, and more.

A library for one format is asked first, then bioio, then the plugins of napari.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol
from xml.etree import ElementTree as ET

import dask.array as da
import numpy as np

from napari_omezarr.doors import reading_foreign
from napari_omezarr.errors import MissingPackageError, UnsupportedDataError
from napari_omezarr.writing import Channels, Grid, describe_array

from .tiff_images import rgb_channels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from napari_omezarr.location import Location
    from napari_omezarr.writing import ImageSpec


def reading_by_others(location: Location) -> AbstractContextManager[None]:
    """Say in our words what other libraries raise."""
    return reading_foreign(location.display, partial(_failure, location))


def images_of_file(location: Location, stem: str) -> list[Any]:
    """Give the images of a file of this computer as layers or specs, called by a stem.

    Raises
    ------
    MissingPackageError
        No installed library reads it.
    OMEZarrError
        It could not be read.
    """
    suffix = _suffix(location)
    with reading_by_others(location):
        images = _by_reader(location, stem)
        if images is None and suffix not in _EXACT:
            images = _by_bioio(location, stem)
        if images is None:
            images = _by_napari(location, stem)
    if images is not None:
        return images
    package = _READERS[suffix].package if suffix in _READERS else "bioio"
    if suffix in _BIOIO:
        package = f"bioio {_BIOIO[suffix]}"
    kind = MissingPackageError if suffix else UnsupportedDataError
    raise kind(
        f"Nothing that is installed reads {location.display}.",
        action=f"Install what does, like: pip install {package}",
        url=location.display,
    )


def _failure(location: Location, error: Exception) -> UnsupportedDataError:
    place = location.display
    if isinstance(error, ImportError) and error.name:
        return MissingPackageError(
            f"What reads {place} needs {error.name}.",
            action=f"Install it, like: pip install {error.name.partition('.')[0]}",
            url=place,
        )
    return UnsupportedDataError(
        f"{place} could not be read ({type(error).__name__}).",
        action="Look whether other programs open it.",
        url=place,
    )


def _suffix(location: Location) -> str:
    name = location.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def _described(
    array: Any,
    axes: Sequence[str],
    scale: Mapping[str, float],
    name: str,
    channels: Channels | None = None,
    unit: str = "micrometer",
) -> ImageSpec:
    """Describe an array; ``s`` is an axis of the samples of a colour.

    Of ``scale`` is taken what is a size; time is in seconds, and the rest in ``unit``.
    """
    rgb = "s" in axes and "c" not in axes
    if "s" in axes and not rgb:
        channel = axes.index("c")
        array = da.moveaxis(array, axes.index("s"), channel + 1)
        joined = (*array.shape[:channel], -1, *array.shape[channel + 2 :])
        array, axes = array.reshape(joined), [axis for axis in axes if axis != "s"]
    axes = ["c" if axis == "s" else axis for axis in axes]
    count = array.shape[axes.index("c")] if "c" in axes else 1
    if rgb:
        channels = rgb_channels(count, array.dtype)
    fits = channels and channels.names and len(channels.names) == count
    known = channels if channels is not None and fits else Channels()
    sizes = {
        axis: abs(size)
        for axis, size in scale.items()
        if axis in axes and size and math.isfinite(size)
    }
    units = {axis: "second" if axis == "t" else unit for axis in sizes}
    grid = Grid(axes, sizes, units={axis: said for axis, said in units.items() if said})
    return replace(describe_array(array, grid, name, known), rgb=rgb)


# Libraries for one format each.


def _by_reader(location: Location, stem: str) -> list[Any] | None:
    reader = _READERS.get(_suffix(location))
    if reader is None:
        return None
    try:
        library = import_module(reader.module)
    except ImportError as error:
        top = reader.module.partition(".")[0]
        if error.name not in (reader.module, top):  # it is there, what it needs is not
            raise
        return None
    return reader.read(library, location, stem)


# Zeiss's files, by Zeiss's own library: bioio's reader gives one colour of three, and
# one scene of several where the document does not name them.

_CZI = "pylibCZIrw.czi"
_APART = "RIHVB"
"""Axes of rotations, illuminations, phases, views and blocks: an image each."""
_EDGE = 2048
"""How large the pieces are in which the planes of a mosaic are read."""


@dataclass(frozen=True)
class _CziPlanes:
    """The planes of a scene as one array, t x c x z x y x x, and x samples of a colour.

    The file is opened for each piece, so that the array can go to other processes.
    """

    path: str
    scene: int | None
    left: int
    top: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    apart: Mapping[str, int]

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    def __getitem__(self, box: tuple[slice | int, ...]) -> np.ndarray:
        # Dask asks for a plane by its number where only that is wanted.
        slices = [slice(i, i + 1) if isinstance(i, int) else i for i in box]
        pairs = zip(slices, self.shape, strict=True)
        ranges = [range(size)[part] for part, size in pairs]
        values = np.zeros([len(each) for each in ranges], self.dtype)
        if values.size:
            self._fill(values, ranges)
        kept = tuple(0 if isinstance(i, int) else slice(None) for i in box)
        found: np.ndarray = values[kept]
        return found

    def _fill(self, values: np.ndarray, ranges: Sequence[range]) -> None:
        y, x = ranges[3:5]
        roi = (self.left + x[0], self.top + y[0], len(x), len(y))
        with import_module(_CZI).open_czi(self.path) as document:
            for index in np.ndindex(values.shape[:3]):
                here = (each[i] for each, i in zip(ranges[:3], index, strict=True))
                plane = {**dict(zip("TCZ", here, strict=True)), **self.apart}
                read = document.read(roi=roi, plane=plane, scene=self.scene)
                # Samples lie there as blue, green and red.
                samples = [2 - i for each in ranges[5:] for i in each]
                values[index] = read[..., samples] if samples else read[..., 0]


def _czi(czi: Any, location: Location, stem: str) -> list[ImageSpec]:
    """Read Zeiss's files: an image is a scene, and what else there is several of."""
    path = str(location.local_path())
    with czi.open_czi(path) as document:
        bounds = document.total_bounding_box_no_pyramid
        scenes = document.scenes_bounding_rectangle_no_pyramid
        whole = document.total_bounding_rectangle_no_pyramid
        kinds = set(document.pixel_types.values())
        said = ET.fromstring(document.raw_metadata)
    if len(kinds) != 1 or not kinds <= set(_CZI_TYPES):
        sentence = f"{location.display} has pixels of {' and '.join(sorted(kinds))}."
        action = "Export its channels one by one, as OME-TIFF."
        raise UnsupportedDataError(sentence, action=action, url=location.display)
    dtype, samples = _CZI_TYPES[kinds.pop()]
    planes = tuple(bounds[axis][1] - bounds[axis][0] for axis in "TCZ")
    apart = [axis for axis in _APART if bounds.get(axis, (0, 1))[1] > 1]
    several = [range(bounds[axis][1]) for axis in apart]
    scale, channels = _czi_scale(said), _czi_channels(said, np.dtype(dtype))
    names = {
        int(scene.get("Index", -1)): scene.get("Name")
        for scene in said.iterfind(".//S/Scenes/Scene")
    }
    found = []
    for number, box in scenes.items() or [(None, whole)]:
        for indices in product(*several):
            at = dict(zip(apart, indices, strict=True))
            parts = [names.get(number) or f"scene {number}"] if len(scenes) > 1 else []
            parts += [f"{axis}{index}" for axis, index in at.items()]
            shape = (*planes, box.h, box.w, *samples)
            place = (path, number, box.x, box.y)
            pixels = _CziPlanes(*place, shape, np.dtype(dtype), at)
            pieces = (1, 1, 1, _EDGE, _EDGE, -1)[: len(shape)]
            array = da.from_array(pixels, pieces, name=False)
            name = " ".join([stem, *parts])
            found.append(_without_single(array, "tczyxs", scale, name, channels))
    return found


_CZI_TYPES: dict[str, tuple[str, tuple[int, ...]]] = {
    "Gray8": ("u1", ()),
    "Gray16": ("u2", ()),
    "Gray32Float": ("f4", ()),
    "Bgr24": ("u1", (3,)),
    "Bgr48": ("u2", (3,)),
    "Bgr96Float": ("f4", (3,)),
}
"""By its word for pixels: their type, and their samples."""


def _czi_scale(said: ET.Element) -> dict[str, float]:
    found = {
        each.get("Id", "").lower(): float(each.findtext("Value") or 0) / 1e-6
        for each in said.iterfind(".//Scaling/Items/Distance")
    }
    step = said.findtext(".//Image/Dimensions/T/Positions/Interval/Increment")
    return found | {"t": float(step or 0)}


def _czi_channels(said: ET.Element, dtype: np.dtype[Any]) -> Channels:
    """Take names and colours, and the contrast where it is of all that fits a pixel."""
    channels = said.findall(".//Information/Image/Dimensions/Channels/Channel")
    shown = said.findall(".//DisplaySetting/Channels/Channel")
    if len(shown) != len(channels):
        shown = channels
    names = [each.get("Name") or each.get("Id") or "" for each in channels]
    colors = [
        (one.findtext("Color") or other.findtext("Color") or "").lstrip("#")[-6:]
        for one, other in zip(shown, channels, strict=True)
    ]
    limits = [_czi_limits(each, dtype) for each in shown]
    return Channels(
        names,
        colors if all(colors) else None,
        [each for each in limits if each] if all(limits) else None,
    )


def _czi_limits(shown: ET.Element, dtype: np.dtype[Any]) -> tuple[float, float] | None:
    low, high = (float(shown.findtext(name) or 0) for name in ("Low", "High"))
    bits = 8 * dtype.itemsize
    whole = int(shown.findtext("BitCountRange") or bits) == bits
    if dtype.kind != "u" or not whole or not low < high:
        return None
    top = float(np.iinfo(dtype).max)
    return abs(low) * top, high * top


def _nd2(nd2: Any, location: Location, stem: str) -> list[ImageSpec]:
    """Read Nikon's files: a position each is an image."""
    with nd2.ND2File(location.local_path()) as file:
        array, sizes = file.to_dask(), dict(file.sizes)
        voxel = file.voxel_size()._asdict()
        said = getattr(file.metadata, "channels", None) or ()
        loops = file.experiment
    if said:
        # Of an axis that nobody calibrated a size of 1 is said.
        known = dict(zip("xyz", said[0].volume.axesCalibrated, strict=True))
        voxel = {axis: size for axis, size in voxel.items() if known.get(axis)}
    axes = [axis.lower() for axis in sizes]
    names = [each.channel.name for each in said]
    colors = [_nd2_color(each.channel.color) for each in said]
    channels, scale = Channels(names, colors), voxel | {"t": _nd2_seconds(loops)}
    if "p" not in axes:
        return [_nd2_image(array, axes, scale, stem, channels)]
    where = axes.index("p")
    axes.remove("p")
    return [
        _nd2_image(
            array.take(index, axis=where), axes, scale, f"{stem} {index}", channels
        )
        for index in range(array.shape[where])
    ]


def _nd2_image(
    array: Any,
    axes: Sequence[str],
    scale: Mapping[str, float],
    name: str,
    channels: Channels,
) -> ImageSpec:
    """Describe an image, and say of a colour what nd2 and Bio-Formats see differently.

    See https://github.com/ome/bioformats/issues/3761.
    """
    spec = _described(array, axes, scale, name, channels)
    if not spec.rgb:
        return spec
    note = (
        f"The colours of {name} are taken for red, green and blue; should it look "
        "wrong, they are the other way round."
    )
    return replace(spec, notes=(*spec.notes, note))


def _nd2_seconds(loops: Sequence[Any]) -> float:
    """Give the time from frame to frame, or 0 where it is not one for all.

    What was measured stands above what was asked for, which may be "as fast as it can".
    """
    loop = next((each for each in loops if each.type.endswith("TimeLoop")), None)
    if loop is None:
        return 0.0
    steps = []
    for period in getattr(loop.parameters, "periods", None) or [loop.parameters]:
        taken = period.periodDiff
        measured = taken and 0 < (taken.min or 0) <= taken.avg <= taken.max
        steps.append((taken.avg if measured else period.periodMs) / 1000)
    return float(steps[0]) if max(steps) <= 1.01 * min(steps) else 0.0


def _nd2_color(color: Any) -> str:
    return "".join(f"{int(part):02X}" for part in (color.r, color.g, color.b))


def _nifti(nibabel: Any, location: Location, stem: str) -> list[ImageSpec]:
    """Read volumes of brains: x comes first there, and time last."""
    volume = nibabel.load(location.local_path())
    ndim = len(volume.shape)
    axes = list("xyzt"[:ndim]) if ndim <= 4 else [*"xyztc", *map(str, range(ndim - 5))]
    space, time = volume.header.get_xyzt_units()
    zooms = dict(zip(axes, map(float, volume.header.get_zooms()), strict=False))
    units = {a: space for a in "xyz" if space != "unknown"} | (
        {"t": time} if time != "unknown" else {}
    )
    array = _Reversed(volume.dataobj, location.display)
    grid = Grid(
        axes[::-1],
        {axis: size for axis, size in zooms.items() if size > 0},
        units={axis: unit for axis, unit in units.items() if axis in axes},
    )
    spec = describe_array(array, grid, stem, Channels())
    if np.allclose(volume.affine[:3, :3], np.diag(volume.header.get_zooms()[:3])):
        return [spec]
    note = f"How {spec.name} lies in the body (its affine) is not kept."
    return [replace(spec, notes=(*spec.notes, note))]


class _Reversed:
    """An array of nibabel with its axes the other way round."""

    def __init__(self, array: Any, address: str) -> None:
        self.array = array
        self.address = address
        self.shape = tuple(array.shape[::-1])
        self.dtype = array[(slice(0, 1),) * len(array.shape)].dtype
        # Its file is in the order of Fortran: planes of x and y lie together.
        self.chunks = (1,) * (len(self.shape) - 2) + self.shape[-2:]

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        values: np.ndarray = np.asarray(self.array[box[::-1]]).T
        return values


def _nrrd(nrrd: Any, location: Location, stem: str) -> list[ImageSpec]:
    """Read NRRD, which is read as a whole."""
    values, header = nrrd.read(str(location.local_path()), index_order="C")
    names = "tczyx"[-values.ndim :] if values.ndim in (2, 3, 5) else "tzyx"
    spacings = header.get("spacings")
    directions = header.get("space directions")
    if spacings is None and directions is not None:
        spacings = np.linalg.norm(np.nan_to_num(directions), axis=1)
    sizes = [] if spacings is None else [float(size) for size in spacings[::-1]]
    scale = dict(zip(names[-len(sizes) :] if sizes else (), sizes, strict=True))
    unit = next(iter(header.get("space units") or header.get("units") or ()), "")
    return [_described(values, list(names), scale, stem, unit=unit)]


class _Read(Protocol):
    def __call__(
        self, library: Any, location: Location, stem: str, /
    ) -> list[ImageSpec]: ...


@dataclass(frozen=True, slots=True)
class _Reader:
    """What to install and to import, and who reads with it."""

    package: str
    module: str
    read: _Read


_READERS = {
    ".czi": _Reader("pylibCZIrw", _CZI, _czi),
    ".nd2": _Reader("nd2", "nd2", _nd2),
    ".nii": _Reader("nibabel", "nibabel", _nifti),
    ".nii.gz": _Reader("nibabel", "nibabel", _nifti),
    ".nrrd": _Reader("pynrrd", "nrrd", _nrrd),
}
_EXACT = (".czi",)
"""Files that bioio is not asked for, since it loses some of their pixels."""
_BIOIO = {".lif": "bioio-lif", ".dv": "bioio-dv"}
_BIOIO |= {".vsi": "bioio-vsi", ".sldy": "bioio-sldy"}
"""Formats that bioio reads, and with what."""
SUFFIXES = (*_READERS, *_BIOIO)
"""What is converted when a folder is named, besides TIFF and OME-Zarr."""


# Libraries for many formats.


def _by_bioio(location: Location, stem: str) -> list[Any] | None:
    try:
        bioio = import_module("bioio")
        unsupported = import_module("bioio_base.exceptions").UnsupportedFileFormatError
    except ImportError as error:
        if error.name != "bioio":
            raise
        return None
    try:
        image = bioio.BioImage(str(location.local_path()))
    except unsupported:
        return None
    found = []
    for scene in image.scenes:
        image.set_scene(scene)
        scale = {k.lower(): float(v) for k, v in image.scale._asdict().items() if v}
        name = f"{stem} {scene}" if len(image.scenes) > 1 else stem
        names = [str(each) for each in image.channel_names or ()]
        channels = Channels(names, _colors_of_tables(names))
        axes = image.dims.order.lower()
        found.append(_without_single(image.dask_data, axes, scale, name, channels))
    return found


def _colors_of_tables(names: Sequence[str]) -> list[str] | None:
    """Give the colours by which Leica's files call channels, if they call all so."""
    found = [_TABLES.get(name.partition("--")[0].lower(), "") for name in names]
    return found if all(found) else None


_TABLES = {
    "red": "FF0000",
    "green": "00FF00",
    "blue": "0000FF",
    "cyan": "00FFFF",
    "magenta": "FF00FF",
    "yellow": "FFFF00",
    "gray": "FFFFFF",
}


def _without_single(
    array: Any, axes: str, scale: Mapping[str, float], name: str, channels: Channels
) -> ImageSpec:
    """Describe it without axes of length 1, which are there where a file has none."""
    kept = [i for i, n in enumerate(array.shape) if n > 1 or axes[i] in "yx"]
    box = tuple(slice(None) if i in kept else 0 for i in range(array.ndim))
    return _described(array[box], [axes[i] for i in kept], scale, name, channels)


def _by_napari(location: Location, stem: str) -> list[Any] | None:
    """Ask the readers of napari's other plugins."""
    from npe2 import PluginManager, io_utils

    manager = PluginManager.instance()
    manager.discover()
    path = str(location.local_path())
    readers = manager.iter_compatible_readers([path])
    names = dict.fromkeys(reader.plugin_name for reader in readers)
    ask = partial(io_utils.read, [path], stack=False)
    for name in names:
        if name == "napari-omezarr":
            continue
        try:
            layers = ask(plugin_name=name)
        except ValueError:  # its word for: no reader took it
            continue
        kinds = [layer for layer in layers if len(layer) < 3 or layer[2] != "points"]
        images = [(*layer, {}, "image")[:1] + _rest(layer) for layer in kinds]
        named = [image for image in images if image[2] in ("image", "labels")]
        for image in named:
            image[1].setdefault("name", stem)
        if named:
            return named
    return None


def _rest(layer: Any) -> tuple[dict[str, Any], str]:
    options = dict(layer[1]) if len(layer) > 1 else {}
    return options, layer[2] if len(layer) > 2 else "image"
