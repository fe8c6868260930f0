"""What is done with stores that are there: upgraded, repacked, examined, mended."""

from .undo import take_back
from .upgrading import PackChoices, Upgraded, repack_store, upgrade

__all__ = ["PackChoices", "Upgraded", "repack_store", "take_back", "upgrade"]
