"""Named connections, their keys and their bookmarks; nothing here asks a server."""

from .book import (
    Book,
    Bookmark,
    Connection,
    belongs,
    checked,
    find_profile,
    locate,
)
from .importing import from_aws, from_mc
from .places import recent_places
from .shipped import Shipped, demo_connection, offered, offering, shipped
from .vault import Keys, Vault, vault

__all__ = [
    "Book",
    "Bookmark",
    "Connection",
    "Keys",
    "Shipped",
    "Vault",
    "belongs",
    "checked",
    "demo_connection",
    "find_profile",
    "from_aws",
    "from_mc",
    "locate",
    "offered",
    "offering",
    "recent_places",
    "shipped",
    "vault",
]
