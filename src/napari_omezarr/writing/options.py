"""What a person may choose when she saves; values only, checked when made."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict, get_args

from napari_omezarr.errors import OMEZarrError, OptionError

Version = Literal["0.4", "0.5", "0.6"]
Codec = Literal["auto", "zstd", "blosc-zstd", "blosc-lz4", "gzip", "none"]
ImageMethod = Literal["mean", "nearest", "max"]
LabelMethod = Literal["nearest", "mode"]
Method = Literal["mean", "nearest", "max", "mode"]
Layout = Literal["auto", "plane", "volume"]
Existing = Literal["refuse", "replace", "beside"]
Unfinished = Literal["refuse", "resume", "remove"]
Verify = Literal["sample", "all", "none"]

Sizes = Mapping[str, int] | Sequence[int] | int
"""A size by axis name, for all axes of an image in order, or one for axes of space."""
Units = Mapping[str, str] | Sequence[str | None] | str
"""The same for units."""

LEVELS = {
    "zstd": range(-7, 23),
    "blosc-zstd": range(10),
    "blosc-lz4": range(10),
    "gzip": range(10),
}
"""The levels that each codec knows."""


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What is written.

    Parameters
    ----------
    version : {"0.5", "0.4", "0.6"}
        The version of OME-Zarr.
    chunks : int, Mapping of str to int, sequence of int or None
        Pixels of a chunk; what is left out is chosen (about 1 MB).
    shards : bool, int, Mapping, sequence or None
        Pixels of a shard; True and False ask for some or none, None leaves it to
        the number of objects. Coarser levels get shards of the same region.
    layout : {"auto", "plane", "volume"}
        Whether chunks are flat in z or near cubes.
    codec, label_codec : str
        ``auto`` is zstd; for integers of several bytes, and for 0.4, in Blosc, which
        shuffles their bytes.
    level, label_level : int or None
        The codec's level; None is its usual one.
    levels : int or None
        How many resolution levels; None: until no side is longer than 256.
    factors : int, Mapping of str to int, sequence of int or None
        By how much each step shrinks each axis; None halves y and x, and z where
        the voxel is about as fine there.
    existing_resolutions : bool
        Keep the resolutions that what is saved has already, where each is some whole
        times as coarse as the finest; else all are made of the finest.
    image_method : {"mean", "nearest", "max"}
        How a coarser pixel is made of finer ones.
    label_method : {"nearest", "mode"}
        The same for labels, which are never averaged.
    name : str or None
        The image's name; None keeps the one that it has.
    axis_names : Mapping of str to str
        New names for axes, by their present ones.
    units : str, Mapping of str to str, or sequence of str
        Units by axis name, or one for all axes of space; None: those of the layers.
    position : Mapping of str to int
        The plane that other viewers show first, like ``{"t": 0, "z": 12}``; None keeps
        what the image said, else it is the middle one of the first time point.
    merge : bool
        Make one image of layers that lie on the same grid, along a channel axis.
    consolidated : bool
        Put all metadata into the root's document as well.
    accept_losses : bool
        Write even what this version cannot hold completely, and images whose finest
        level could not be had.
    accept_refused : bool
        Write as empty what a bucket that may not be listed refuses: nobody can tell
        whether such chunks were never written.
    memory : int
        Bytes that may be used above what the source holds.

    Examples
    --------
    >>> from napari_omezarr import WriteOptions
    >>> WriteOptions(version="0.4", chunks={"y": 256, "x": 256}).codec
    'auto'
    >>> WriteOptions(codec="gzip", level=99)
    Traceback (most recent call last):
    napari_omezarr.errors.OptionError: 99 is no level of the codec gzip.
    """

    version: Version = "0.5"
    chunks: Sizes | None = None
    shards: Sizes | bool | None = None
    layout: Layout = "auto"
    codec: Codec = "auto"
    level: int | None = None
    label_codec: Codec = "auto"
    label_level: int | None = None
    levels: int | None = None
    factors: Sizes | None = None
    existing_resolutions: bool = False
    image_method: ImageMethod = "mean"
    label_method: LabelMethod = "nearest"
    name: str | None = None
    axis_names: Mapping[str, str] | None = None
    units: Units | None = None
    position: Mapping[str, int] | None = None
    merge: bool = True
    consolidated: bool = True
    accept_losses: bool = False
    accept_refused: bool = False
    memory: int = 128 * 2**20

    def __post_init__(self) -> None:
        make_plain(self)
        version: Any = self.version
        if isinstance(version, float):  # files of settings write it so
            object.__setattr__(self, "version", str(version))
        _one_of("version", self.version, get_args(Version))
        _one_of("layout", self.layout, get_args(Layout))
        _one_of("image method", self.image_method, get_args(ImageMethod))
        _one_of("label method", self.label_method, get_args(LabelMethod))
        _codec("codec", self.codec, self.level)
        _codec("label codec", self.label_codec, self.label_level)
        if self.levels is not None:
            _whole("the number of levels", self.levels)
        _whole("memory", self.memory)
        for what in ("chunks", "shards", "factors"):
            sizes = getattr(self, what)
            for size in _values(sizes):
                _whole(what, size)
        for what in ("axis_names", "position"):
            if not isinstance(getattr(self, what), Mapping | None):
                raise OptionError(f"{what} is a dictionary, by the names of axes.")
        if self.existing_resolutions and self.factors is not None:
            raise OptionError(
                "Resolutions that are there have factors of their own.",
                action="Choose factors, or keep them.",
            )
        if self.version == "0.4" and self.shards not in (None, False):
            raise OptionError(
                "OME-Zarr 0.4 has no shards.", action="Choose 0.5, or no shards."
            )


@dataclass(frozen=True, slots=True)
class SaveMode:
    """How it is written, and what gives way."""

    existing: Existing = "refuse"
    """What to do with something that is at the target already."""
    unfinished: Unfinished = "refuse"
    """What to do with a save to the same target that broke off."""
    verify: Verify = "sample"
    """How much is read back and compared."""
    workers: int | None = None
    """Blocks in work at a time; None goes by the memory and the processors."""

    def __post_init__(self) -> None:
        make_plain(self)
        _one_of("choice for an existing target", self.existing, get_args(Existing))
        _one_of("choice for an unfinished save", self.unfinished, get_args(Unfinished))
        _one_of("amount to verify", self.verify, get_args(Verify))
        if self.workers is not None:
            _whole("the number of workers", self.workers)


class ArrayChoices(TypedDict, total=False):
    """What can be chosen of a save whose name and units are arguments of their own."""

    version: Version
    chunks: Sizes | None
    shards: Sizes | bool | None
    layout: Layout
    codec: Codec
    level: int | None
    label_codec: Codec
    label_level: int | None
    levels: int | None
    factors: Sizes | None
    existing_resolutions: bool
    image_method: ImageMethod
    label_method: LabelMethod
    axis_names: Mapping[str, str] | None
    position: Mapping[str, int] | None
    merge: bool
    consolidated: bool
    accept_losses: bool
    accept_refused: bool
    memory: int
    existing: Existing
    unfinished: Unfinished
    verify: Verify
    workers: int | None


class SaveChoices(ArrayChoices, total=False):
    """All that can be chosen of a save: `WriteOptions` and `SaveMode`, by name."""

    name: str | None
    units: Units | None


def make_plain(options: object) -> None:
    """Make numbers and lists of numpy's in frozen options those of Python."""
    for each in fields(options):  # type: ignore[arg-type]
        value = getattr(options, each.name)
        if (fresh := _plain(value)) is not value:
            object.__setattr__(options, each.name, fresh)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping) and any(hasattr(v, "tolist") for v in value.values()):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple) and any(hasattr(v, "tolist") for v in value):
        return type(value)(map(_plain, value))
    return value


def _one_of(what: str, value: object, known: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise OptionError(
            f"{value!r} is no {what}.",
            action=f"Choose one of {', '.join(map(repr, known))}.",
        )


def _codec(what: str, name: str, level: int | None) -> None:
    _one_of(what, name, get_args(Codec))
    known = LEVELS.get("zstd" if name == "auto" else name)
    if level is not None and (known is None or level not in known):
        raise OptionError(f"{level} is no level of the {what} {name}.")


def _values(sizes: Any) -> Sequence[Any]:
    """Give the numbers of sizes, however they were given."""
    if sizes is None or isinstance(sizes, bool):
        return ()
    if isinstance(sizes, Mapping):
        return tuple(sizes.values())
    several = isinstance(sizes, Sequence) and not isinstance(sizes, str)
    return tuple(sizes) if several else (sizes,)


def _whole(what: str, number: Any) -> None:
    try:
        fits = operator.index(number) >= 1
    except TypeError:
        fits = False
    if not fits:
        raise OptionError(
            f"{number!r} does not do for {what}.",
            action="Give a whole number, at least 1.",
        )


# From keyword arguments.

_OPTIONS = frozenset(field.name for field in fields(WriteOptions))
_MODE = frozenset(field.name for field in fields(SaveMode))


def split_choices(choices: Mapping[str, Any]) -> tuple[WriteOptions, SaveMode]:
    """Make options of keyword arguments."""
    unknown = sorted(set(choices) - _OPTIONS - _MODE)
    if unknown:
        raise OptionError(
            f"{unknown[0]} is no option.",
            action=f"There are: {', '.join(sorted(_OPTIONS | _MODE))}.",
        )
    options = {key: value for key, value in choices.items() if key in _OPTIONS}
    mode = {key: value for key, value in choices.items() if key in _MODE}
    with understood():
        return WriteOptions(**options), SaveMode(**mode)


_NOT_AS_IT_SEEMS = (
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,  # h5py's, of a data set whose file was closed
)


@contextmanager
def understood() -> Iterator[None]:
    """Say in our words where something that was handed over is not what it seems."""
    try:
        yield
    except OMEZarrError:
        raise
    except _NOT_AS_IT_SEEMS as e:
        raise OptionError(
            f"What is to be saved, or an option, could not be understood "
            f"({type(e).__name__}).",
            action="Compare it with the documentation; the log says where it failed.",
        ) from e
