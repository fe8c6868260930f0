"""Named connections, their keys and their bookmarks; nothing here asks a server."""

from .book import Book, Bookmark, Connection, find_profile, locate
from .vault import Keys, Vault, vault

__all__ = [
    "Book",
    "Bookmark",
    "Connection",
    "Keys",
    "Vault",
    "find_profile",
    "locate",
    "vault",
]
