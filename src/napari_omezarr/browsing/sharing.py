"""Links that open a public image in a viewer on the web; pure."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote

from .neuroglancer import neuroglancer_state

if TYPE_CHECKING:
    from .view import View


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


def share_link(address: str, viewer: Viewer, view: View | None = None) -> str:
    """Make a link that opens an image in a viewer.

    Parameters
    ----------
    address : str
        The image's web address, as ``check_public`` gives it.
    viewer : Viewer
        Which one.
    view : View, optional
        Where to look: position and zoom; for neuroglancer the plane, contrast, colours
        and labels too. Viewers that cannot be told ignore it.
    """
    if viewer is Viewer.NEUROGLANCER:
        state = _json(neuroglancer_state(address, view))
        return f"{viewer.address}#!{quote(state, safe='')}"
    link = f"{viewer.address}?{_PARAMETERS[viewer]}={quote(address, safe=':/')}"
    if view is not None and viewer is Viewer.VIZARR:
        said = _vizarr(view)
        link += "".join(f"&{name}={quote(_json(said[name]), safe='')}" for name in said)
    return link


def _vizarr(view: View) -> dict[str, object]:
    """Say where to look, and where the image lies; vizarr shows x and y alone.

    The place of the image is said because some versions of vizarr leave the transforms
    out, and others take the image along z out of sight (its issue 271). As the
    others do, it puts the corner of a pixel where OME-Zarr has its centre; so
    labels, which vizarr places itself, stay on their image.
    """
    grid = [view.grid.get(axis) for axis in ("x", "y")]
    if None in grid or view.displayed[-2:] != ("y", "x"):
        return {}
    (width, left), (height, top) = (pair for pair in grid if pair is not None)
    target = [view.center["x"] + width / 2, view.center["y"] + height / 2]
    matrix = [width, 0, 0, left, 0, height, 0, top, 0, 0, 1, 0, 0, 0, 0, 1]
    state = {"zoom": math.log2(view.zoom), "target": target}
    return {"viewState": state, "model_matrix": matrix}


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
