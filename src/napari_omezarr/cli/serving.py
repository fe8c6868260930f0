"""The command serve: a folder over HTTP, as viewers of the web want it."""

from __future__ import annotations

from contextlib import suppress
from html import escape
from socket import gethostname
from time import gmtime, strftime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from napari_omezarr.location import NODE_DOCUMENTS

from .options import PLACE, json_option, location_of, print_done

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from napari_omezarr.location import Location

_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Range, Content-Length, "
    "ETag, Last-Modified",
    # Chrome asks before a page of the web reads from this computer.
    "Access-Control-Allow-Private-Network": "true",
}
_ANY = ("0.0.0.0", "::", "")
"""Under these a server is found by all its addresses, and itself is at none."""
_PRINTED = 10
"""So many images of a folder are printed with their links; the page has all."""


@click.command()
@click.argument("folder", type=PLACE)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen at."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen at; 0 takes a free one.",
)
@json_option
def serve(folder: str, host: str, port: int, as_json: bool) -> None:
    """Serve FOLDER over HTTP, with ranges and CORS, until Ctrl-C.

    FOLDER is an image or a folder of images. Prints its address, and links that open
    the images in web viewers; its address in a web browser has them, too. Only
    programs of this computer reach it, unless --host says more: --host 0.0.0.0 lets all
    that reach this computer.
    """
    import asyncio

    served = _folder(location_of(folder)).resolve()
    asyncio.run(_serve(served, host, port, as_json=as_json))


def _folder(place: Location) -> Path:
    from napari_omezarr.errors import OptionError
    from napari_omezarr.store import nothing_at

    if place.protocol != "file":
        sentence = f"{place.display} is no folder of this computer."
        raise OptionError(sentence, action="Copy it here first, or share its address.")
    folder = place.local_path()
    if not folder.is_dir():
        sentence = f"There is no folder {place.display}."
        raise nothing_at(place, sentence, "Check the address.")
    return folder


async def _serve(folder: Path, host: str, port: int, *, as_json: bool) -> None:
    import asyncio

    from aiohttp import web

    from napari_omezarr.errors import OptionError

    runner = web.AppRunner(_application(folder))
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise OptionError(
                f"Port {port} of {host} cannot be served at.",
                action="Choose another; --port 0 takes a free one.",
            ) from error
        end = f":{runner.addresses[0][1]}/{quote(folder.name)}"
        is_open = host in _ANY
        named = "127.0.0.1" if is_open else f"[{host}]" if ":" in host else host
        address = f"http://{named}{end}"
        elsewhere = f"http://{gethostname()}{end}" if is_open else None
        links = _links(address) if _is_store(folder) else []
        images = {} if links else _images(folder, address)
        lines = [address, *links]
        for image, those in list(images.items())[:_PRINTED]:
            lines += [image, *those]
        if len(images) > _PRINTED:
            more = len(images) - _PRINTED
            lines.append(f"The page {address}/ has the links of {more} more.")
        if elsewhere is not None:
            lines.append(f"On other computers it is {elsewhere}")
        facts: dict[str, Any] = {"address": address, "links": links, "images": images}
        facts["elsewhere"] = elsewhere
        print_done("\n".join(lines), facts, as_json=as_json)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _application(folder: Path) -> web.Application:
    """Make the server of one folder, below its name; nothing outside it is given."""
    import asyncio

    from aiohttp import web

    async def give(request: web.Request) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response(headers=_HEADERS)
        key = request.match_info["key"]
        path = (folder / key).resolve()
        is_ours = request.match_info["name"] == folder.name
        if is_ours and path.is_relative_to(folder):
            if path.is_file():
                return web.FileResponse(path, headers=_HEADERS)
            if path.is_dir() and (not key or key.endswith("/")):
                at = f"{request.scheme}://{request.host}{request.rel_url.raw_path}"
                page = await asyncio.to_thread(_page, folder, path, at)
                return web.Response(
                    text=page, content_type="text/html", headers=_HEADERS
                )
        return web.Response(status=404, headers=_HEADERS)

    async def lead(request: web.Request) -> web.StreamResponse:
        if request.match_info.get("name", folder.name) != folder.name:
            return web.Response(status=404, headers=_HEADERS)
        home = f"/{quote(folder.name)}/"
        return web.Response(status=302, headers=_HEADERS | {"Location": home})

    app = web.Application()
    for route in ("/", "/{name}"):
        app.router.add_get(route, lead)
    app.router.add_get("/{name}/{key:.*}", give)
    app.router.add_route("OPTIONS", "/{name}/{key:.*}", give)
    return app


def _page(folder: Path, shown: Path, address: str) -> str:
    """Make an index page as web servers do, with links of viewers beside images."""
    title = escape(f"Index of {shown.relative_to(folder.parent).as_posix()}/")
    lines = ['<a href="../">../</a>'] if shown != folder else []
    if _is_store(shown):
        lines.append(_viewers(address.rstrip("/")))
    for path in sorted(shown.iterdir()):
        with suppress(OSError):  # it may have gone meanwhile
            # Names that are no Unicode have no address here.
            if not (path.name.isprintable() and path.resolve().is_relative_to(folder)):
                continue
            end = "/" if path.is_dir() else ""
            facts = path.stat()
            name, href = escape(path.name + end), quote(path.name) + end
            changed = strftime("%Y-%m-%d %H:%M", gmtime(facts.st_mtime))
            row = f'<a href="./{href}">{name}</a>  {changed}  '
            row += "-" if end else f"{facts.st_size}"
            if end and _is_store(path):
                row += f"  {_viewers(address + quote(path.name))}"
            lines.append(row)
    head = f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{title}</title>'
    body = "\n".join(lines)
    return f"{head}</head><body><h1>{title}</h1><pre>\n{body}\n</pre></body></html>\n"


def _viewers(address: str) -> str:
    from napari_omezarr.browsing import Viewer, share_link

    links = ((viewer, escape(share_link(address, viewer))) for viewer in Viewer)
    return " ".join(f'<a href="{link}">{viewer}</a>' for viewer, link in links)


def _is_store(folder: Path) -> bool:
    try:
        return any((folder / name).is_file() for name in NODE_DOCUMENTS)
    except OSError:  # not ours to read
        return False


def _images(folder: Path, address: str) -> dict[str, list[str]]:
    """Give the links of what lies directly in a folder, by address."""
    stores = sorted(
        p for p in folder.iterdir() if p.name.isprintable() and _is_store(p)
    )
    addresses = [f"{address}/{quote(store.name)}" for store in stores]
    return {each: _links(each) for each in addresses}


def _links(address: str) -> list[str]:
    from napari_omezarr.browsing import Viewer, share_link

    return [share_link(address, viewer) for viewer in Viewer]
