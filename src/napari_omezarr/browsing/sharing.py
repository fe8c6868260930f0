"""Links that open a public image in a viewer on the web; pure."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from napari_omezarr.metadata import known_unit

if TYPE_CHECKING:
    from .view import ChannelView, View


class Viewer(StrEnum):
    """The viewers; the value is the name to show."""

    VALIDATOR = "ome-ngff-validator"
    VIZARR = "vizarr"
    NEUROGLANCER = "neuroglancer"
    ITK_VTK = "itk-vtk-viewer"

    @property
    def address(self) -> str:
        """Where the viewer is; its host is what must be let read the image."""
        return _ADDRESSES[self]

    @property
    def takes_view(self) -> bool:
        """Whether a link can say where to look."""
        return self in (Viewer.VIZARR, Viewer.NEUROGLANCER)


_ADDRESSES = {
    Viewer.VALIDATOR: "https://ome.github.io/ome-ngff-validator/",
    Viewer.VIZARR: "https://hms-dbmi.github.io/vizarr/",
    Viewer.NEUROGLANCER: "https://neuroglancer-demo.appspot.com/",
    Viewer.ITK_VTK: "https://kitware.github.io/itk-vtk-viewer/app/",
}
_PARAMETERS = {
    Viewer.VALIDATOR: "source",
    Viewer.VIZARR: "source",
    Viewer.ITK_VTK: "fileToLoad",
}
_METRES = {
    "angstrom": 1e-10,
    "nanometer": 1e-9,
    "micrometer": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "meter": 1.0,
}
_SECONDS = {"microsecond": 1e-6, "millisecond": 1e-3, "second": 1.0, "minute": 60.0}
_SPATIAL = ("x", "y", "z")


def share_link(address: str, viewer: Viewer, view: View | None = None) -> str:
    """Make a link that opens an image in a viewer.

    Parameters
    ----------
    address : str
        The image's web address, as ``check_public`` gives it.
    viewer : Viewer
        Which one.
    view : View, optional
        Where to look: position and zoom; for neuroglancer contrast and colours too.
        Viewers that cannot be told ignore it.
    """
    if viewer is Viewer.NEUROGLANCER:
        state = json.dumps(_state(address, view), separators=(",", ":"))
        return f"{viewer.address}#!{quote(state, safe='')}"
    link = f"{viewer.address}?{_PARAMETERS[viewer]}={quote(address, safe=':/')}"
    if view is not None and viewer is Viewer.VIZARR:
        link += f"&viewState={quote(_view_state(view), safe='')}"
    return link


def _view_state(view: View) -> str:
    # vizarr moves images by the transforms of their finest level, so that its plane
    # is in world units; it zooms in powers of two.
    target = [view.center.get("x", 0.0), view.center.get("y", 0.0)]
    state = {"zoom": math.log2(view.zoom), "target": target}
    return json.dumps(state, separators=(",", ":"))


def _state(address: str, view: View | None) -> dict[str, Any]:
    source = f"zarr://{address.rstrip('/')}/"
    name = address.rstrip("/").rpartition("/")[2]
    if view is None:
        return {"layers": [{"type": "auto", "source": source, "name": name}]}
    axes = [*(a for a in _SPATIAL if a in view.center)]
    axes += [a for a in view.center if a not in axes]
    dimensions = {axis: _dimension(view, axis) for axis in axes}
    layers = [_layer(source, name, channel, view) for channel in view.channels]
    if not layers:
        layers = [{"type": "auto", "source": source, "name": name}]
    return {
        "dimensions": dimensions,
        "position": [view.center[axis] for axis in axes],
        "crossSectionScale": 1 / view.zoom,
        "layers": layers,
        "layout": "3d" if view.is_3d else "xy",
    }


def _dimension(view: View, axis: str) -> list[Any]:
    """Give the size of one world unit, in metres, seconds or nothing."""
    unit = known_unit(view.units.get(axis)) or ""
    if unit in _METRES:
        return [_METRES[unit], "m"]
    if unit in _SECONDS:
        return [_SECONDS[unit], "s"]
    return [1, ""]


def _layer(source: str, name: str, channel: ChannelView, view: View) -> dict[str, Any]:
    low, high = channel.contrast
    shader = (
        "#uicontrol invlerp contrast\n"
        "#uicontrol vec3 color color\n"
        "void main() { emitRGB(color * contrast()); }\n"
    )
    local = {"localDimensions": {"c'": [1, ""]}, "localPosition": [channel.index]}
    return {
        "type": "image",
        "source": source,
        "name": channel.name or name,
        **(local if view.has_channel_axis else {}),
        "opacity": 1,
        "blend": "additive",
        "shader": shader,
        "shaderControls": {
            "contrast": {"range": [low, high]},
            "color": f"#{channel.color.lower()}",
        },
        "visible": channel.visible,
    }
