"""Web pages that stand where data should be: portals, sign-in forms, viewers."""

from __future__ import annotations

_METADATA = {".zattrs", ".zgroup", ".zarray", ".zmetadata"}
_BEGINNINGS = (b"<!doctype html", b"<html", b"<head")


def is_page(key: str, body: bytes) -> bool:
    """Say whether a body is a page for people, judged by how it begins.

    The declared type is no help: many servers call a ``.zattrs`` a page, and some
    call their pages nothing. JSON never begins with ``<``.
    """
    if b"<" not in body[:64]:
        return False
    beginning = body[:512].lstrip().lower()
    if key.endswith(".json") or key.rpartition("/")[2] in _METADATA:
        return beginning.startswith(b"<")
    return beginning.startswith(_BEGINNINGS)
