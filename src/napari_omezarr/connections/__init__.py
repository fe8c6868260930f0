"""Named connections, their keys and their bookmarks; nothing here asks a server."""

from .connections import (
    Bookmark,
    Connection,
    ConnectionFile,
    belongs,
    checked,
    find_profile,
    locate,
    recent_places,
)
from .secrets import Keys, KeyStore, key_store
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
    "Bookmark",
    "Connection",
    "ConnectionFile",
    "KeyStore",
    "Keys",
    "Shipped",
    "belongs",
    "checked",
    "demo_connection",
    "find_profile",
    "from_aws",
    "from_mc",
    "key_store",
    "locate",
    "offered",
    "offering",
    "recent_places",
    "shipped",
]
