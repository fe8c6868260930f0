"""Named connections, their keys and their bookmarks; nothing here asks a server."""

from .connections import (
    Book,
    Bookmark,
    Connection,
    belongs,
    checked,
    find_profile,
    locate,
    recent_places,
)
from .secrets import Keys, Vault, vault
from .sources import (
    Shipped,
    demo_connection,
    from_aws,
    from_mc,
    offered,
    offering,
    shipped,
)

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
