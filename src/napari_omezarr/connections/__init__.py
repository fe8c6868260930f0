"""Named connections, their keys and their bookmarks; nothing here asks a server."""

from .connections import (
    Bookmark,
    Connection,
    ConnectionFile,
    Profile,
    SignIn,
    Style,
    belongs,
    checked,
    find_profile,
    locate,
    recent_places,
)
from .secrets import Keys, KeyStore, key_store
from .sources import (
    Shipped,
    aws_profiles,
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
    "Profile",
    "Shipped",
    "SignIn",
    "Style",
    "aws_profiles",
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
