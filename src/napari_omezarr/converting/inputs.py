"""What is to be converted, and which library reads it.

Inputs are files, folders, prefixes of buckets and patterns; they are read by us, by
tifffile, or by another library that is installed.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.doors import guarded, reading_foreign
from napari_omezarr.errors import NodeNotFoundError, OptionError, UnsupportedDataError
from napari_omezarr.location import NODE_DOCUMENTS, Location
from napari_omezarr.opened import all_of
from napari_omezarr.plain_text import natural_key
from napari_omezarr.reading import ReadOptions, read_current
from napari_omezarr.store import open_lister, open_store, run
from napari_omezarr.writing import Channels, Grid, describe_array

from .tiff import COMPANION, SUFFIXES, first_tiff
from .tiff_images import images_of_tiff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from napari_omezarr.store import ListPage, ObjectMeta
    from napari_omezarr.writing import ImageSpec

# Which library reads a file: ours, tifffile, or another that is installed.

_ZARR = (".zarr", ".ozx", ".zarr.zip")
_TIFF = (*SUFFIXES, COMPANION)
_BIOIO = {".czi": "bioio-czi", ".lif": "bioio-lif", ".dv": "bioio-dv"}
_BIOIO |= {".vsi": "bioio-vsi", ".sldy": "bioio-sldy"}
"""Formats that bioio reads, and with what."""


@dataclass(frozen=True, slots=True)
class ReadChoices:
    """How inputs are to be read.

    ``axes`` are letters for the axes of files that do not say them, ``series`` is one
    image of a file with several; without ``labels`` those of OME-Zarr are left out;
    with ``resolutions`` the coarser ones that an input has are looked for.
    """

    axes: str | None = None
    series: int | None = None
    labels: bool = True
    resolutions: bool = False

    def __post_init__(self) -> None:
        axes = self.axes
        if axes is not None and not (
            axes.isascii() and axes.isalpha() and len(set(axes.lower())) == len(axes)
        ):
            sentence = f"{axes!r} names no axes."
            raise OptionError(sentence, action="Write a letter for each, like tcyx.")
        if self.series is not None and self.series < 0:
            sentence = f"There is no image {self.series} in any file."
            raise OptionError(sentence, action="Count them from 0.")


def is_zarr_name(name: str) -> bool:
    """Whether something is called as OME-Zarr are."""
    return name.lower().endswith(_ZARR)


def is_known(name: str) -> bool:
    """Whether something is called as what is converted when a folder is named."""
    return is_zarr_name(name) or name.lower().endswith((*_TIFF, *_READERS, *_BIOIO))


def stem_of(name: str) -> str:
    """Give a name without its folder and its suffixes: ``a/b.ome.tif`` is ``b``."""
    last = name.rpartition("/")[2]
    for suffix in sorted((*_ZARR, *_TIFF, *_READERS, *_BIOIO), key=len, reverse=True):
        if last.lower().endswith(suffix) and len(last) > len(suffix):
            return last[: -len(suffix)].removesuffix(".ome")
    return last.rpartition(".")[0] or last


def read_images(location: Location, choices: ReadChoices) -> list[Any]:
    """Give the images of an input as layers or specs to be saved; lazily, if it can be.

    Raises
    ------
    UnsupportedDataError
        No installed library reads it.
    OMEZarrError
        It could not be read.
    """
    name = location.name
    if name.lower().endswith(_TIFF):
        return images_of_tiff(
            first_tiff(location),
            axes=choices.axes,
            series=choices.series,
            resolutions=choices.resolutions,
        )
    is_file = location.protocol == "file" and location.local_path().is_file()
    if location.is_archive or (not is_file and is_zarr_name(name)):
        return _of_zarr(location, choices)
    if not is_file:
        if not name.lower().endswith((*_READERS, *_BIOIO)):
            return _of_zarr(location, choices)
        sentence = f"{location.display} is read from this computer only."
        action = "Copy the file here first; TIFF and OME-Zarr are read where they are."
        raise UnsupportedDataError(sentence, action=action, url=location.display)
    with reading_by_others(location):
        images = _by_reader(location) or _by_bioio(location) or _by_napari(location)
    if images is None:
        raise _unread(location)
    if choices.series is not None:
        images = images[choices.series : choices.series + 1]
    return images


def _of_zarr(location: Location, choices: ReadChoices) -> list[Any]:
    # Pyramids say of which image they are, and where each of their levels lies.
    reading = read_current(location, ReadOptions(labels=choices.labels))
    return all_of(reading, beside=choices.labels)


def _unread(location: Location) -> UnsupportedDataError:
    suffix = _suffix(location)
    package = _READERS[suffix][0] if suffix in _READERS else "bioio"
    if suffix in _BIOIO:
        package = f"bioio {_BIOIO[suffix]}"
    return UnsupportedDataError(
        f"Nothing that is installed reads {location.display}.",
        action=f"Install what does, like: pip install {package}",
        url=location.display,
    )


def reading_by_others(location: Location) -> AbstractContextManager[None]:
    """Say in our words what other libraries raise."""
    return reading_foreign(location.display, partial(_failure, location))


def _failure(location: Location, error: Exception) -> UnsupportedDataError:
    place = location.display
    if isinstance(error, ImportError) and error.name:
        return UnsupportedDataError(
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
    return next((s for s in (*_READERS, *_BIOIO) if name.endswith(s)), "")


# Libraries for one format each.


def _by_reader(location: Location) -> list[Any] | None:
    suffix = _suffix(location)
    if suffix not in _READERS:
        return None
    _, module, read = _READERS[suffix]
    try:
        library = import_module(module)
    except ImportError as error:
        if error.name != module:  # it is there, and what it needs is not
            raise
        return None
    return read(library, location)


def _nd2(nd2: Any, location: Location) -> list[ImageSpec]:
    """Read Nikon's files: a position each is an image."""
    with nd2.ND2File(location.local_path()) as file:
        array, sizes = file.to_dask(), dict(file.sizes)
        voxel = file.voxel_size()._asdict()
        channels = [each.channel for each in file.metadata.channels or ()]
        loops = [each for each in file.experiment if each.type == "TimeLoop"]
    seconds = loops[0].parameters.periodMs / 1000 if loops else 0.0
    names = [channel.name for channel in channels]
    colors = [_nd2_color(channel.color) for channel in channels]
    axes = [{"S": "c"}.get(axis, axis.lower()) for axis in sizes]
    known = Channels(names, colors)
    scale = {axis: voxel[axis] for axis in "zyx" if axis in axes}
    stem = stem_of(location.name)
    if "p" not in axes:
        return [_timed(_spec(array, axes, scale, stem, known), seconds)]
    where = axes.index("p")
    axes.remove("p")
    specs = (
        _spec(array.take(index, axis=where), axes, scale, f"{stem} {index}", known)
        for index in range(array.shape[where])
    )
    return [_timed(spec, seconds) for spec in specs]


def _timed(spec: ImageSpec, seconds: float) -> ImageSpec:
    if seconds <= 0 or "t" not in [axis.name for axis in spec.axes]:
        return spec
    grid = Grid(None, {"t": seconds}, None, {"t": "second"})
    return describe_array(spec, grid, None, Channels())


def _nd2_color(color: Any) -> str:
    return "".join(f"{int(part):02X}" for part in (color.r, color.g, color.b))


def _nifti(nibabel: Any, location: Location) -> list[ImageSpec]:
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
    spec = describe_array(array, grid, stem_of(location.name), Channels())
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


def _nrrd(nrrd: Any, location: Location) -> list[ImageSpec]:
    """Read NRRD, which is read as a whole."""
    values, header = nrrd.read(str(location.local_path()), index_order="C")
    names = "tczyx"[-values.ndim :] if values.ndim in (2, 3, 5) else "tzyx"
    spacings = header.get("spacings")
    directions = header.get("space directions")
    if spacings is None and directions is not None:
        spacings = np.linalg.norm(np.nan_to_num(directions), axis=1)
    sizes = [] if spacings is None else [float(size) for size in spacings[::-1]]
    pairs = zip(names[-len(sizes) :] if sizes else (), sizes, strict=True)
    scale = {axis: size for axis, size in pairs if np.isfinite(size) and size > 0}
    unit = next(iter(header.get("space units") or header.get("units") or ()), "")
    return [_spec(values, list(names), scale, stem_of(location.name), unit=unit)]


def _spec(
    array: Any,
    axes: Sequence[str],
    scale: dict[str, float],
    name: str,
    channels: Channels | None = None,
    unit: str = "micrometer",
) -> ImageSpec:
    count = array.shape[list(axes).index("c")] if "c" in axes else 1
    fits = channels and channels.names and len(channels.names) == count
    units = dict.fromkeys((a for a in scale if a != "t"), unit) if unit else {}
    grid = Grid(axes, scale, units=units)
    known = channels if channels is not None and fits else Channels()
    return describe_array(array, grid, name, known)


_Reader = tuple[str, str, "Callable[[Any, Location], list[ImageSpec]]"]
_READERS: dict[str, _Reader] = {
    ".nd2": ("nd2", "nd2", _nd2),
    ".nii": ("nibabel", "nibabel", _nifti),
    ".nii.gz": ("nibabel", "nibabel", _nifti),
    ".nrrd": ("pynrrd", "nrrd", _nrrd),
}
"""By suffix: what to install, what to import, and who reads with it."""


# Libraries for many formats.


def _by_bioio(location: Location) -> list[Any] | None:
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
        sizes = image.physical_pixel_sizes._asdict()
        scale = {k.lower(): float(v) for k, v in sizes.items() if v}
        name = stem_of(location.name)
        name = f"{name} {scene}" if len(image.scenes) > 1 else name
        names = list(image.channel_names or ())
        found.append(
            _bioio_image(image.dask_data, image.dims.order, scale, name, names)
        )
    return found


def _bioio_image(
    array: Any, order: str, scale: dict[str, float], name: str, names: list[str]
) -> ImageSpec:
    """Leave out axes of length 1, which bioio adds where a file has none."""
    kept = [i for i, n in enumerate(array.shape) if n > 1 or order[i] in "YX"]
    box = tuple(slice(None) if i in kept else 0 for i in range(array.ndim))
    axes = ["c" if order[i] == "S" else order[i].lower() for i in kept]
    scale = {axis: size for axis, size in scale.items() if axis in axes}
    return _spec(array[box], axes, scale, name, Channels(names))


def _by_napari(location: Location) -> list[Any] | None:
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
            image[1].setdefault("name", stem_of(location.name))
        if named:
            return named
    return None


def _rest(layer: Any) -> tuple[dict[str, Any], str]:
    options = dict(layer[1]) if len(layer) > 1 else {}
    return options, layer[2] if len(layer) > 2 else "image"


# What is to be converted: files, folders, prefixes of buckets and patterns.

_DEEPEST = 20
"""How far down is looked: links of folders may lead in a circle."""


@dataclass(frozen=True, slots=True)
class ConvertInput:
    """One file, or one OME-Zarr, and its path below the place that was named."""

    location: Location
    name: str

    @property
    def target_name(self) -> str:
        """What its image is called."""
        parent = PurePosixPath(self.name).parent
        return (parent / f"{stem_of(self.name)}.ome.zarr").as_posix()


@guarded
def find_inputs(
    sources: Iterable[str],
    parse: Callable[[str], Location],
    *,
    pattern: str = "",
    apart: Location | None = None,
) -> list[ConvertInput]:
    """Find all inputs at some places, in natural order of each.

    Sources are files, OME-Zarr, folders or prefixes (looked through at any depth), or
    any of them with ``*``, ``?`` and ``[...]`` in their last parts. Of folders
    ``pattern`` chooses files by their name or, with a slash, their path below; what
    lies ``apart``, where the results go, is left out.

    Raises
    ------
    NodeNotFoundError
        There are none.
    LocationError, StoreError
        A place is none, or could not be listed.
    """
    found: dict[Location, ConvertInput] = {}
    for source in sources:
        place, wanted = _split(source)
        for each in _below(parse(place), wanted or pattern, apart):
            found.setdefault(each.location, each)
    if not found:
        named = ", ".join(sources)
        sentence = f"There is nothing to convert at {parse(named).display}."
        action = "Name files, or a folder and a pattern, like --pattern '*.tif'."
        raise NodeNotFoundError(sentence, action=action)
    return list(found.values())


def _split(source: str) -> tuple[str, str]:
    """Part a source into a place and the pattern in its last parts, if it has one."""
    magic = re.compile(r"[*\[]" if "://" in source else r"[*?\[]")
    parts = source.replace("\\", "/").split("/") if "*" in source else source.split("/")
    first = next((i for i, part in enumerate(parts) if magic.search(part)), None)
    if first is None:
        return source, ""
    place = "/".join(parts[:first]) or ("/" if source.startswith("/") else ".")
    return place, "/" + "/".join(parts[first:])


def _below(
    place: Location, pattern: str, apart: Location | None
) -> Iterator[ConvertInput]:
    if not pattern and (is_known(place.name) or place.is_archive):
        yield ConvertInput(place, place.name)
        return
    if _is_file(place) or (is_zarr_name(place.name) or _is_zarr(place)):
        yield ConvertInput(place, place.name)
        return
    deep = not pattern.startswith("/") or "**" in pattern
    found = _walk(place, "", _DEEPEST if deep else pattern.count("/") - 1, apart)
    for name in sorted(found, key=natural_key):
        if _matches(name, pattern):
            yield ConvertInput(place / name, name)


def _matches(name: str, pattern: str) -> bool:
    """Whether a path fits: a pattern without a slash is about the name alone."""
    if not pattern:
        return is_known(name)
    if "/" not in pattern:
        return fnmatch.fnmatchcase(name.rpartition("/")[2], pattern)
    parts = pattern.lstrip("/").split("/")
    return _fits(name.split("/"), parts)


def _fits(names: list[str], parts: list[str]) -> bool:
    """Whether a path fits a pattern, part by part; ``**`` is any number of them."""
    if not names or not parts:
        return not names and not [part for part in parts if part != "**"]
    if parts[0] == "**":
        return _fits(names, parts[1:]) or _fits(names[1:], parts)
    return fnmatch.fnmatchcase(names[0], parts[0]) and _fits(names[1:], parts[1:])


def _walk(
    place: Location, path: str, depth: int, apart: Location | None
) -> Iterator[str]:
    """Give the paths of files and of OME-Zarr; what is hidden is left out."""
    here = place / path if path else place
    for item in _items(here):
        name = f"{path}/{item.name}" if path else item.name
        if item.name.startswith(".") or here / item.name == apart:
            continue
        if not item.is_folder or is_zarr_name(item.name):
            yield name
        elif depth:
            yield from _walk(place, name, depth - 1, apart)


def _items(place: Location) -> Sequence[ObjectMeta]:
    lister = open_lister(place)

    async def all_pages() -> list[ObjectMeta]:
        page: ListPage = await lister.page()
        items = [*page.items]
        while page.token:
            page = await lister.page(token=page.token)
            items += page.items
        return items

    return run(all_pages())


def _is_file(place: Location) -> bool:
    return place.protocol == "file" and place.local_path().is_file()


def _is_zarr(place: Location) -> bool:
    """Whether there are documents of zarr; a place that says nothing has none."""
    answers = open_store(place).fetch(NODE_DOCUMENTS)
    return any(isinstance(answer, bytes) for answer in answers.values())
