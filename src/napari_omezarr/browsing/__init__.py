"""Walking through places: rows page by page, recognised, looked at before opening."""

from .checkup import Check, check_connection
from .chunk import Chunk, view_chunk
from .details import AxisDetails, Details, LevelDetails, describe
from .documents import pretty, raw_documents
from .entry import Entry, Kind
from .listing import Listing, Page
from .probing import Prober
from .speed import Speed, measure_speed
from .task import start
from .validation import Finding, Validation, validate

__all__ = [
    "AxisDetails",
    "Check",
    "Chunk",
    "Details",
    "Entry",
    "Finding",
    "Kind",
    "LevelDetails",
    "Listing",
    "Page",
    "Prober",
    "Speed",
    "Validation",
    "check_connection",
    "describe",
    "measure_speed",
    "pretty",
    "raw_documents",
    "start",
    "validate",
    "view_chunk",
]
