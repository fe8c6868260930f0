"""From a location to pyramids: which documents to ask for, in which wave."""

from .nodes import Reading, ReadOptions
from .reader import read

__all__ = ["ReadOptions", "Reading", "read"]
