"""``python -m napari_omezarr.demo``: napari on an OME-Zarr that an S3 server serves.

The server runs on this machine, holds sample images only, and ends with the demo,
also when that is interrupted or terminated.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from napari_omezarr.connections import demo_connection, offering
from napari_omezarr.samples import write_cells, write_plate

from .server import S3Server

if TYPE_CHECKING:
    from collections.abc import Sequence

CELLS = "public/cells.ome.zarr"
PLATE = "public/plate.ome.zarr"


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the samples, open one in napari, and stay until its window is closed.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line's without the program; ``--help`` explains them.
    """
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, _leave)
    try:
        with S3Server() as server:
            _publish(server)
            address = _address(server, PLATE if options.plate else CELLS)
            _say(f"napari opens {address}")
            with offering(demo_connection(server.endpoint)):
                _show(address, options.screenshot)
    except KeyboardInterrupt:
        _leave(signal.SIGINT)
    finally:
        _say("S3 server stopped")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m napari_omezarr.demo", description=(__doc__ or "").strip()
    )
    parser.add_argument(
        "--plate", action="store_true", help="open the plate instead of the cells"
    )
    parser.add_argument(
        "--screenshot",
        type=Path,
        metavar="FOLDER",
        help="save pictures of the window and of its canvas there, and end",
    )
    return parser.parse_args(arguments)


def _publish(server: S3Server) -> None:
    """Put the samples into the bucket that anybody may read."""
    _say(f"S3 server (SeaweedFS) at {server.endpoint}")
    with tempfile.TemporaryDirectory() as folder:
        for key, write in ((CELLS, write_cells), (PLATE, write_plate)):
            sample = Path(folder) / Path(key).name
            write(sample)
            server.upload(sample, key)
            _say(f"sample written: s3://{key}")


def _address(server: S3Server, key: str) -> str:
    """Give the address that names the endpoint too, so nothing else must be set."""
    return f"s3+{server.endpoint}/{key}"


def _show(address: str, folder: Path | None) -> None:
    # Late, because it takes seconds and the server's words come first.
    from .viewing import opened, save, stay

    with opened(address) as viewer:
        if folder is None:
            _say("the viewer is open; closing it ends the demo")
            stay()
        else:
            for picture in save(viewer, folder):
                _say(f"screenshot saved: {picture}")


def _say(text: str) -> None:
    sys.stdout.write(f"== demo: {text}\n")
    sys.stdout.flush()


def _leave(number: int, _frame: object = None) -> NoReturn:
    """End as a shell expects of a program that a signal ended, but tidy up."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
