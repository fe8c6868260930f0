"""The command that serves a folder to web viewers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import json_option, print_done

if TYPE_CHECKING:
    from aiohttp import web

_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Range",
    "Access-Control-Expose-Headers": "Content-Range, Content-Length, ETag",
    # Chrome asks before a page of the web reads from this computer.
    "Access-Control-Allow-Private-Network": "true",
}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, help="0 takes a free one.")
@json_option
def serve(folder: Path, host: str, port: int, as_json: bool) -> None:
    """Serve FOLDER over HTTP, with ranges and CORS, until Ctrl-C.

    Prints its address, and links that open it in web viewers if it is an image. Only
    programs of this computer reach it, unless --host says more.
    """
    import asyncio

    asyncio.run(_serve(folder.resolve(), host, port, as_json=as_json))


async def _serve(folder: Path, host: str, port: int, *, as_json: bool) -> None:
    import asyncio

    from aiohttp import web

    from napari_omezarr.errors import OptionError

    runner = web.AppRunner(application(folder))
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise OptionError(
                f"Port {port} of {host} cannot be served at.",
                action="Choose another; --port 0 takes a free one.",
            ) from error
        taken = runner.addresses[0][1]
        address = f"http://{host}:{taken}/{folder.name}"
        links = _links(folder, address)
        text = "\n".join((address, *links))
        print_done(text, {"address": address, "links": links}, as_json=as_json)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def application(folder: Path) -> web.Application:
    """Make the server of one folder, below its name; nothing outside it is given."""
    from aiohttp import web

    async def give(request: web.Request) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response(headers=_HEADERS)
        file = (folder / request.match_info["key"]).resolve()
        if not (file.is_relative_to(folder) and file.is_file()):
            return web.Response(status=404, headers=_HEADERS)
        return web.FileResponse(file, headers=_HEADERS)

    app = web.Application()
    for method in ("GET", "OPTIONS"):
        app.router.add_route(method, f"/{folder.name}/{{key:.*}}", give)
    return app


def _links(folder: Path, address: str) -> list[str]:
    from napari_omezarr.browsing import Viewer, share_link
    from napari_omezarr.claims import is_claimed

    if not is_claimed(str(folder)):
        return []
    return [share_link(address, viewer) for viewer in Viewer]
