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
from typing import TYPE_CHECKING, Self

from .server import S3Server

# What takes long to import, such as zarr, botocore and napari, is imported once the
# signals are handled: an interrupt must not come out of the middle of an import.

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CELLS = "public/cells.ome.zarr"
PLATE = "public/plate.ome.zarr"
SIGNALS = {"SIGINT", "SIGTERM", "SIGHUP"} & {each.name for each in signal.Signals}
"""What ends the demo; Windows has no SIGHUP."""


class StopSignal:
    """Note a signal that asks the demo to stop, which `check` then obeys.

    An exception out of a signal handler can come out of any instruction: in a weakref
    callback it is swallowed, in an import it leaves the import's lock behind.
    """

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> Self:
        for number in (signal.Signals[name] for name in SIGNALS):
            # A background job or ``nohup`` ignores some, and goes on doing so.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # A terminal interrupts the S3 server too, and what then fails is no news.
        if kind is not None:
            self.check()

    def _note(self, number: int, _frame: object) -> None:
        self.number = self.number or number

    def check(self) -> None:
        """End as a shell expects of a program that a signal has ended."""
        if self.number:
            raise SystemExit(128 + self.number)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the samples, open one in napari, and stay until its window is closed."""
    options = _parse(arguments)
    with StopSignal() as stop:
        try:
            with S3Server() as server:
                _publish(server, stop.check)
                key = PLATE if options.plate else CELLS
                _open(server, key, options.screenshot, stop)
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


def _publish(server: S3Server, check: Callable[[], None]) -> None:
    """Put the samples into the bucket that anybody may read."""
    _say(f"S3 server (SeaweedFS) at {server.endpoint}")
    check()
    from napari_omezarr.samples import write_cells, write_plate

    with tempfile.TemporaryDirectory() as folder:
        for key, write in ((CELLS, write_cells), (PLATE, write_plate)):
            check()
            sample = Path(folder) / Path(key).name
            write(sample)
            server.upload(sample, key)
            _say(f"sample written: s3://{key}")


def _open(server: S3Server, key: str, folder: Path | None, stop: StopSignal) -> None:
    """Show an image in napari, or save pictures of it to a folder."""
    # It names the endpoint too, so nothing else must be set.
    address = f"s3+{server.endpoint}/{key}"
    _say(f"napari opens {address}")
    stop.check()
    from napari_omezarr.connections import demo_connection, offering

    from .viewing import open_viewer, save, stay

    stop.check()
    with offering(demo_connection(server.endpoint)):
        viewer = open_viewer(address)
        stop.check()
        if folder is not None:
            for picture in save(viewer, folder, stop.check):
                _say(f"screenshot saved: {picture}")
        else:
            _say("the viewer is open; closing it ends the demo")
            stay(viewer, lambda: stop.number != 0)


def _say(text: str) -> None:
    sys.stdout.write(f"== demo: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
