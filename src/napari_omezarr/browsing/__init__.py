"""Walking through places: rows page by page, recognised, looked at before opening."""

from .entry import Entry, Kind
from .listing import Listing, Page
from .probing import Prober
from .task import start

__all__ = [
    "Entry",
    "Kind",
    "Listing",
    "Page",
    "Prober",
    "start",
]
