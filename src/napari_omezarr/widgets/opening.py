"""Opening places in a viewer: documents in threads, layers in the GUI thread."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_omezarr.claims import place_of
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.layers import layer_data
from napari_omezarr.reading import ReadOptions, read
from napari_omezarr.user_files import Recents

from .disk_cache import follow_settings
from .job import Job
from .layer import make_layer
from .notices import explain, tell
from .waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Layer

    from napari_omezarr.layers import LayerSpec
    from napari_omezarr.location import Location
    from napari_omezarr.reading import Reading

NOTHING: list[Any] = [(None,)]
"""What a reader returns that opened nothing, and does not want another one asked."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What was read of a place, and the layers it will be."""

    reading: Reading
    specs: tuple[LayerSpec, ...]


def open_place(
    location: Location,
    options: ReadOptions | None = None,
    channels: Sequence[int] | None = None,
) -> Opened:
    """Read what is needed for the layers of a place; blocks, so not in the GUI thread.

    Parameters
    ----------
    location : Location
        The place.
    options : ReadOptions, optional
        What to open of it; all by default.
    channels : sequence of int, optional
        Only these channels of each image.

    Raises
    ------
    OMEZarrError
        See ``reading.read``.
    """
    follow_settings()
    reading = read(location, options or ReadOptions())
    return Opened(reading, tuple(layer_data(reading.pyramids, channels=channels)))


def make_layers(opened: Iterable[Opened]) -> list[Layer]:
    """Make the layers of what was opened, remember the places and tell the notes."""
    parts = list(opened)
    recents = Recents()
    for part in parts:
        recents.add(part.reading.location)
    tell(part.reading for part in parts)
    return [make_layer(spec) for part in parts for spec in part.specs]


def open_for_viewer(addresses: Sequence[str]) -> list[Any]:
    """Open what napari hands over and wait for it: napari wants the layers returned.

    Returns
    -------
    list of Layer
        Ready to be added; ``[(None,)]`` when the person has cancelled.

    Raises
    ------
    OMEZarrError
        One of them could not be opened. A notification says the same.
    """
    jobs: list[Job] = []
    try:
        locations = [place_of(address) for address in addresses]
        jobs += [Job(partial(open_place, place)).start() for place in locations]
        for job, location in zip(jobs, locations, strict=True):
            if not wait_for(job, f"Opening {location.name} …"):
                return list(NOTHING)
        return make_layers(job.outcome.result() for job in jobs)
    except OMEZarrError as error:
        explain(error)
        raise
    finally:
        for job in jobs:
            job.abandon()
