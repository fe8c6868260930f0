"""From a location to pyramids: which documents to ask for, in which wave."""

from .opening import Reading, ReadOptions
from .root import read

__all__ = ["ReadOptions", "Reading", "read"]
