"""The state of neuroglancer that shows an image as it is shown here; pure.

Neuroglancer takes it from its address. Its positions are in the units that
``dimensions`` declares; centres of pixels lie where OME-Zarr has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_omezarr.metadata import unit_size

if TYPE_CHECKING:
    from .view import ChannelView, View

_SHADER = (
    "#uicontrol invlerp contrast\n"
    "#uicontrol vec3 color color\n"
    "void main() { emitRGB(color * contrast()); }\n"
)
_SPATIAL = ("x", "y", "z")


def neuroglancer_state(address: str, view: View | None = None) -> dict[str, Any]:
    """Give the state for an image at a web address.

    Parameters
    ----------
    address : str
        Of an image.
    view : View, optional
        Where to look, and how; without it neuroglancer decides.

    Returns
    -------
    dict
        For JSON.
    """
    source = f"zarr://{address.rstrip('/')}/"
    name = address.rstrip("/").rpartition("/")[2]
    whole = {"type": "auto", "source": source, "name": name}
    if view is None:
        return {"layers": [whole]}
    layers = [_channel(source, name, channel, view) for channel in view.channels]
    labels = [_labels(source, label) for label in view.labels]
    axes = _axes(view)
    dimensions = {axis: list(_dimension(view, axis)) for axis in axes}
    return {
        "dimensions": dimensions,
        "displayDimensions": _displayed(view, axes),
        "position": [view.center[axis] for axis in axes],
        "crossSectionScale": _scale(view, axes),
        "layers": [*(layers or [whole]), *labels],
        "layout": "3d" if view.is_3d else "xy",
    }


def _axes(view: View) -> list[str]:
    spatial = [axis for axis in _SPATIAL if axis in view.center]
    return [*spatial, *(axis for axis in view.center if axis not in spatial)]


def _displayed(view: View, axes: list[str]) -> list[str]:
    """Name the axes of the panel: right, down, into the screen.

    Else the first three are taken, whatever they are: of a film its time.
    """
    shown = [axis for axis in reversed(view.displayed) if axis in axes]
    return (
        shown + [a for a in axes if a in _SPATIAL and a not in shown][: 3 - len(shown)]
    )


def _scale(view: View, axes: list[str]) -> float:
    """Give how much of the finest unit that is displayed a pixel of the screen is."""
    shown = _displayed(view, axes)
    sizes = [_dimension(view, axis)[0] for axis in shown]
    return sizes[0] / (min(sizes) * view.zoom)


def _dimension(view: View, axis: str) -> tuple[float, str]:
    """Give the size of one world unit, in metres, seconds or nothing."""
    return unit_size(view.units.get(axis)) or (1, "")


def _channel(
    source: str, name: str, channel: ChannelView, view: View
) -> dict[str, Any]:
    # An axis of channels belongs to its layer alone, with a prime in its name.
    axis = f"{view.channel_axis}'"
    local = {"localDimensions": {axis: [1, ""]}, "localPosition": [channel.index]}
    return {
        "type": "image",
        "source": source,
        "name": channel.name or name,
        **(local if view.channel_axis else {}),
        "opacity": 1,
        "blend": "additive",
        **({"volumeRendering": "max"} if view.is_3d else {}),
        "shader": _SHADER,
        "shaderControls": {
            "contrast": {"range": list(channel.contrast)},
            "color": f"#{channel.color.lower()}",
        },
        "visible": channel.visible,
    }


def _labels(source: str, name: str) -> dict[str, Any]:
    return {
        "type": "segmentation",
        "source": f"{source}labels/{name}/",
        "name": name,
        "tab": "segments",
    }
