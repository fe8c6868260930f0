"""Local copies of vizarr and neuroglancer, and places that let their pages read."""

from __future__ import annotations

import mimetypes
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from napari_omezarr.browsing import Viewer
from servers.http import FileServer
from servers.wire import Answer, Request, WireServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Page

CACHE = Path(__file__).parents[2] / ".browsers"
"""Where ``scripts/web-viewers`` unpacks what comes from npm."""

_VIZARR = CACHE / "vizarr" / "package" / "static" / "index.js"
_OPEN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Expose-Headers": "*",
}

# What vizarr's own page does; the bundle on npm has Galaxy's page instead, which takes
# the address from Galaxy's server.
_VIZARR_PAGE = b"""<!doctype html>
<html>
<body style="margin: 0; background: black">
<div
  id="app"
  data-incoming='{"root": "", "visualization_config": {"dataset_id": 1}}'
></div>
<script>
globalThis.open_from_address = (viewer) => {
  const said = new URL(location.href).searchParams;
  if (said.has("viewState")) viewer.setViewState(JSON.parse(said.get("viewState")));
  viewer.addImage(Object.fromEntries(said));
};
</script>
<script type="module" src="index.js"></script>
</body>
</html>
"""
_VIZARR_ANSWER = b'{"state": "deferred", "sources": [{"source_uri": "x"}]}'
_OUTSIDE = re.compile(rb'^import\{JpxImage as (\w+)\}from"https:[^"]*";')
_GALAXY_OPENS = re.compile(
    rb"const (\w+)=await (\w+\(\w+\)),(\w+)=\{source:\w+,name:\w+\.name\};"
    rb"\1\.addImage\(\3\)"
)

# The client in the Python package asks a Python server for news, and complains in a bar
# over the picture that there is none.
_NO_PYTHON = """
globalThis.EventSource = class {
  constructor() { setTimeout(() => this.onopen()); }
  close() {}
};
"""


class OpenFileServer(FileServer):
    """Files that pages from elsewhere may read (CORS), as public buckets let them."""

    async def answer(self, request: Request) -> Answer:
        if request.method == "OPTIONS":
            return Answer(204, _OPEN)
        found = await super().answer(request)
        return Answer(found.status, {**found.headers, **_OPEN}, found.body)


class ViewerHost(WireServer):
    """A local copy of a viewer.

    Parameters
    ----------
    viewer : Viewer
        Which one.

    Attributes
    ----------
    panel : str
        The CSS selector of what shows the image.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self._files = _neuroglancer() if viewer is Viewer.NEUROGLANCER else _vizarr()
        self.panel = (
            ".neuroglancer-rendered-data-panel"
            if viewer is Viewer.NEUROGLANCER
            else "canvas"
        )
        super().__init__()

    def local(self, link: str) -> str:
        """Let a link lead to this copy instead of the viewer's public address."""
        assert link.startswith(self.viewer.address)
        return f"{self.url}/v/local/{link.removeprefix(self.viewer.address)}"

    def open(self, page: Page, link: str, *, ornaments: bool = False) -> None:
        """Open a link to the viewer here, with nothing over the image but if asked."""
        if self.viewer is Viewer.NEUROGLANCER:
            page.add_init_script(_NO_PYTHON)
        page.goto(self.local(link))
        if self.viewer is Viewer.NEUROGLANCER:
            page.wait_for_function("globalThis.viewer?.isReady()")
        if not ornaments and self.viewer is Viewer.NEUROGLANCER:
            page.evaluate(_WITHOUT_LINES)
        if not ornaments:
            page.add_style_tag(content=_WITHOUT_BUTTONS)

    async def answer(self, request: Request) -> Answer:
        name = request.path.removeprefix("/v/local/") or "index.html"
        if name not in self._files:
            return Answer(404)
        kind = mimetypes.guess_type(name)[0] or "application/json"
        return Answer(200, {"Content-Type": kind}, self._files[name])


# Lines and bars that are drawn over the image in colours of their own, and the grey
# around it.
_WITHOUT_LINES = """
for (const name of ["showAxisLines", "showScaleBar", "showDefaultAnnotations"])
  viewer[name].value = false;
viewer.crossSectionBackgroundColor.restoreState("#000000");
"""
_WITHOUT_BUTTONS = """
#app > :not(#deckgl-wrapper),
.neuroglancer-data-panel-layout-controls,
.neuroglancer-display-dimensions-widget {
  display: none;
}
"""


def missing(viewer: Viewer) -> str:
    """Say what a local copy needs and has not; nothing if it is there."""
    if viewer is Viewer.NEUROGLANCER and find_spec("neuroglancer") is None:
        return "neuroglancer is not installed: make test-browsers"
    if viewer is Viewer.VIZARR and not _VIZARR.is_file():
        return "vizarr is not in .browsers: make test-browsers"
    return ""


def _neuroglancer() -> Mapping[str, bytes]:
    found = find_spec("neuroglancer")
    assert found is not None
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0]) / "static" / "client"
    files = (file for file in folder.iterdir() if file.suffix != ".map")
    return {file.name: file.read_bytes() for file in files}


def _vizarr() -> Mapping[str, bytes]:
    ours = rb"open_from_address(await \2)"
    # JPEG 2000 of TIFF files, which would come from elsewhere.
    script, others = _OUTSIDE.subn(rb"const \1=null;", _VIZARR.read_bytes())
    script, count = _GALAXY_OPENS.subn(ours, script)
    assert (others, count) == (1, 1), "the page of Galaxy's vizarr has changed"
    return {
        "index.html": _VIZARR_PAGE,
        "index.js": script,
        "api/datasets/1": _VIZARR_ANSWER,
    }
