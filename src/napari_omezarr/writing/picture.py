"""What is to be saved, as values: one layer, or several that make one image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_omezarr.metadata import Affine, Axis

    from .source import Source


@dataclass(frozen=True, slots=True)
class Look:
    """How one channel is shown.

    Parameters
    ----------
    name : str
        The layer's name, which becomes the channel's label.
    color : str
        Six upper-case hex digits: the highest intensity, on black.
    limits : tuple of float or None
        Contrast limits; None where pixels must decide once they are written.
    span : tuple of float or None
        The range that limits are offered in.
    visible : bool
        Whether it is shown at first.
    inverted : bool
        Whether the colour is that of the lowest intensity instead.
    state : Mapping
        What only napari knows (gamma, blending, custom colormap); JSON values.
    original : Mapping
        The channel's entry in the image that it came from.
    """

    name: str
    color: str = "FFFFFF"
    limits: tuple[float, float] | None = None
    span: tuple[float, float] | None = None
    visible: bool = True
    inverted: bool = False
    state: Mapping[str, Any] = field(default_factory=dict)
    original: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabelLook:
    """How label values are shown, and what is known of each.

    ``colors`` gives RGBA (0-255) and ``properties`` JSON values, by label value;
    ``state`` is as in `Look`.
    """

    colors: Mapping[int, tuple[int, int, int, int]] = field(default_factory=dict)
    properties: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    visible: bool = True
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Origin:
    """The OME-Zarr image that a layer was read from.

    Parameters
    ----------
    address : str
        The image's group, without secrets.
    channel : int or None
        Which of its channels the layer is.
    attributes, extras : Mapping
        The group's metadata, and its attributes that are none of OME-Zarr's.
    axes : Mapping of str to Axis
        Its axes by name.
    name : str
        The name of its multiscale; may be empty.
    """

    address: str
    channel: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Axis] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image or a label image to be saved.

    Parameters
    ----------
    name : str
        Of the layer, or of the image.
    source : Source
        Its pixels; all axes are in ``axes``, in order.
    axes : tuple of Axis
        Unique names.
    affine : Affine
        From an index of the source to the world, N x (N+1).
    looks : tuple of Look
        One for each index of the channel axis, one where there is none, none for
        labels.
    label : LabelLook or None
        Not None makes this a label image.
    rgb : bool
        The channels are red, green, blue (and alpha) of one picture.
    origin : Origin or None
        Where it was read from.
    axes_assumed : bool
        Nobody named the axes: they take the names of the image they belong to.
    losses, notes : tuple of str
        What cannot be kept, and what is worth knowing, a sentence each.
    """

    name: str
    source: Source
    axes: tuple[Axis, ...]
    affine: Affine
    looks: tuple[Look, ...] = ()
    label: LabelLook | None = None
    rgb: bool = False
    origin: Origin | None = None
    axes_assumed: bool = False
    losses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        return self.source.shape

    @property
    def channel_axis(self) -> int | None:
        """The position of the channel axis."""
        types = [axis.type for axis in self.axes]
        return types.index("channel") if "channel" in types else None
