"""One way in to the bytes of a place: signing in, retries, errors in our words."""

from __future__ import annotations

from .loop import run
from .opening import open_store
from .patience import Patience
from .place import PlaceStore

__all__ = ["Patience", "PlaceStore", "open_store", "run"]
