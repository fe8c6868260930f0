"""What is done with stores that are there: upgraded, repacked, examined, mended."""

from .examining import Ailment, examine, mend
from .removing import Removal, plan_removal, remove_store
from .scanning import scan
from .undo import take_back
from .upgrading import PackChoices, Upgraded, repack_store, upgrade

__all__ = [
    "Ailment",
    "PackChoices",
    "Removal",
    "Upgraded",
    "examine",
    "mend",
    "plan_removal",
    "remove_store",
    "repack_store",
    "scan",
    "take_back",
    "upgrade",
]
