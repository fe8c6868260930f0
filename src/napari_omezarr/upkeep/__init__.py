"""What is done with what is there: upgraded, repacked, mended, renamed, removed."""

from .examining import Ailment, examine, mend
from .managing import Removal, make_folder, plan_removal, remove, rename
from .scanning import scan
from .tree import take_back
from .upgrading import PackChoices, Upgraded, repack_store, upgrade

__all__ = [
    "Ailment",
    "PackChoices",
    "Removal",
    "Upgraded",
    "examine",
    "make_folder",
    "mend",
    "plan_removal",
    "remove",
    "rename",
    "repack_store",
    "scan",
    "take_back",
    "upgrade",
]
