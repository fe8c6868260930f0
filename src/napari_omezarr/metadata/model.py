"""What an OME-Zarr document says, as frozen values; the same for every version.

No value here knows of zarr, of napari or of a server. Coordinates are in the
order of the image's axes; the centre of the first pixel is index 0 (0.6,
"pixel centre is the origin").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .affine import Affine


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of an image.

    ``type`` is ``space``, ``time``, ``channel``, another word, or None where the
    document gives none; ``unit`` is the document's text, unchanged.
    """

    name: str
    type: str | None = None
    unit: str | None = None
    orientation: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """One resolution level.

    ``affine`` maps an index of this level's array to world coordinates, N x (N+1):
    the multiscale's transform after the dataset's.
    """

    path: str
    affine: Affine


@dataclass(frozen=True, slots=True)
class Window:
    """A rendering window: ``start`` to ``end`` is shown, ``min`` to ``max`` offered.

    Each may be None where the document is silent.
    """

    start: float | None = None
    end: float | None = None
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """How one channel is shown; ``color`` is six upper-case hex digits or None."""

    label: str | None = None
    color: str | None = None
    window: Window | None = None
    active: bool = True
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Rendering:
    """The ``omero`` block: channels in order, and what to show first (indices)."""

    channels: tuple[Channel, ...] = ()
    model: str = "color"
    default_t: int | None = None
    default_z: int | None = None


@dataclass(frozen=True, slots=True)
class ImageLabel:
    """The ``image-label`` block.

    ``colors`` gives RGBA (0-255) by label value; ``properties`` gives the other
    keys by label value; ``source`` is the path to the labelled image.
    """

    colors: Mapping[int, tuple[int, int, int, int]] = field(default_factory=dict)
    properties: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    source: str = "../../"


@dataclass(frozen=True, slots=True)
class Multiscale:
    """One image as a pyramid; ``datasets`` are ordered finest first.

    ``axes`` are those of the arrays, with the unit that the affines lead to.
    ``world_axes`` are those of the world: equal to ``axes`` but where the document
    names another system (0.6); axes of the same names have the same order.
    ``axes_assumed`` says that the document gives none (0.1, 0.2).

    ``label`` is not None where the group carries an ``image-label`` block.
    ``coordinate_system`` names the system that the affines lead to (0.6), and
    ``coordinate_systems`` all that can be chosen in its place.
    """

    name: str
    axes: tuple[Axis, ...]
    datasets: tuple[Dataset, ...]
    rendering: Rendering | None = None
    label: ImageLabel | None = None
    coordinate_system: str | None = None
    coordinate_systems: tuple[str, ...] = ()
    world_axes: tuple[Axis, ...] = ()
    axes_assumed: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """A group with one or more multiscales."""

    multiscales: tuple[Multiscale, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """A ``labels`` group: the paths of its label images, relative to it."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlateWell:
    """A well's place on its plate: path like ``A/1``, zero-based row and column."""

    path: str
    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Acquisition:
    """One acquisition of a plate."""

    id: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Plate:
    """A high-content-screening plate; ``wells`` lists only those with data.

    It is cut where there are more wells than are read.
    """

    name: str | None
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    wells: tuple[PlateWell, ...]
    acquisitions: tuple[Acquisition, ...] = ()
    field_count: int | None = None
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class WellImage:
    """One field of view of a well: path relative to the well."""

    path: str
    acquisition: int | None = None


@dataclass(frozen=True, slots=True)
class Well:
    """A well: its fields of view in order."""

    images: tuple[WellImage, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """A bioformats2raw.layout root (``paths`` None), or its ``OME`` group."""

    paths: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SceneImage:
    """An image of a scene; ``affine`` maps its own ``system`` to the scene's world.

    ``affine`` is None where no matrix leads there (a warning says why) or only an
    identity does: the image is then shown at its own place.
    """

    path: str
    system: str | None
    affine: Affine | None


@dataclass(frozen=True, slots=True)
class Scene:
    """A 0.6 scene: several images in one world.

    ``world`` is the name of a system of the scene itself, or of the image at
    ``world_path``. ``coordinate_systems`` are the scene's own, in document order.
    """

    images: tuple[SceneImage, ...]
    axes: tuple[Axis, ...] = ()
    world: str | None = None
    world_path: str = ""
    coordinate_systems: tuple[str, ...] = ()


Kind = Image | Labels | Plate | Well | Series | Scene
"""What a group can be."""


@dataclass(frozen=True, slots=True)
class Document:
    """The outcome of parsing one group's attributes."""

    version: str | None
    """The version the document was read as, like ``0.4``; None for a group that says
    nothing of OME-Zarr, or has no place for a version (labels groups and bioformats2raw
    roots up to 0.4)."""
    kind: Kind | None
    """What the group is; None where it is no OME-Zarr node."""
    attributes: Mapping[str, Any]
    """The group's attributes as they were found (below ``ome`` from 0.5)."""
    warnings: tuple[str, ...] = ()
    """One sentence each for everything that had to be tolerated."""
    label: ImageLabel | None = None
    """The ``image-label`` block of a group that has no multiscales to go with it
    (``kind`` is None then); else it is with each multiscale."""
