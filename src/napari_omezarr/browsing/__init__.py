"""Walking through places: rows page by page, recognised, looked at before opening."""

from .checkup import Check, check_connection
from .chunk import Chunk, view_chunk
from .details import AxisDetails, Details, LevelDetails, describe
from .documents import pretty, raw_documents
from .entry import Entry, Kind
from .listing import Listing, Page
from .probing import Prober
from .publicity import Publicity, check_public, web_address
from .sharing import Viewer, share_link
from .snippet import https_address, plain_address, python_snippet, s3_address
from .speed import Speed, measure_speed
from .task import start
from .thumbnail import Thumbnail, thumbnail
from .validation import Finding, Validation, validate
from .view import ChannelView, View

__all__ = [
    "AxisDetails",
    "ChannelView",
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
    "Publicity",
    "Speed",
    "Thumbnail",
    "Validation",
    "View",
    "Viewer",
    "check_connection",
    "check_public",
    "describe",
    "https_address",
    "measure_speed",
    "plain_address",
    "pretty",
    "python_snippet",
    "raw_documents",
    "s3_address",
    "share_link",
    "start",
    "thumbnail",
    "validate",
    "view_chunk",
    "web_address",
]
