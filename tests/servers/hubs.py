"""A folder as GitHub's and Hugging Face's servers would give it: lists and files.

Only what their fsspec filesystems ask for; one branch, ``main``, of one repository.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from servers.http import FileServer
from servers.wire import Answer, Request

if TYPE_CHECKING:
    from pathlib import Path

OWNER, NAME = "lab", "cells"
_COMMIT = "c" * 40
_SMALL = 1_000_000


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _json(content: Any, status: int = 200, **headers: str) -> Answer:
    body = json.dumps(content).encode()
    return Answer(status, {"Content-Type": "application/json", **headers}, body)


class Hub(FileServer):
    """A folder whose files and folders have identifiers, as in git."""

    def oid(self, path: Path) -> str:
        """The same for the same path of any folder that is served."""
        below = path.relative_to(self.root).as_posix()
        return hashlib.sha1(below.encode(), usedforsecurity=False).hexdigest()


class GitHub(Hub):
    """The trees, the contents and the raw files of a repository."""

    async def answer(self, request: Request) -> Answer:
        found = re.match(rf"/repos/{OWNER}/{NAME}/(.*)", request.path)
        if not found:
            return await super().answer(request)
        kind, _, rest = found[1].partition("/")
        if kind == "git":
            return self._tree(rest.removeprefix("trees/"))
        file = self.root / rest
        if not file.is_file():
            return _json({"message": "Not Found"}, 404)
        body = file.read_bytes()
        # As GitHub does: the content of what is small, an address of what is not.
        content = base64.b64encode(body).decode() if len(body) <= _SMALL else ""
        return _json({"content": content, "download_url": f"{self.url}/{rest}"})

    def _tree(self, oid: str) -> Answer:
        folders = [each for each in self.root.rglob("*") if each.is_dir()]
        by_oid = {self.oid(each): each for each in folders} | {"main": self.root}
        if oid not in by_oid:
            return _json({"message": "Not Found"}, 404)
        tree = [
            {
                "path": each.name,
                "mode": "040000" if each.is_dir() else "100644",
                "type": "tree" if each.is_dir() else "blob",
                "sha": self.oid(each),
            }
            | ({} if each.is_dir() else {"size": each.stat().st_size})
            for each in _children(by_oid[oid])
        ]
        return _json({"sha": oid, "tree": tree})


class HuggingFace(Hub):
    """The lists and the files of a dataset; without its token there is nothing."""

    token = ""

    async def answer(self, request: Request) -> Answer:
        if (
            self.token
            and request.headers.get("authorization") != f"Bearer {self.token}"
        ):
            return _json({"error": "x"}, 401, **{"X-Error-Code": "RepoNotFound"})
        api = f"/api/datasets/{OWNER}/{NAME}"
        if request.path in (api, f"{api}/revision/main"):
            return _json({"id": f"{OWNER}/{NAME}", "sha": _COMMIT, "siblings": []})
        if request.path.startswith(f"{api}/tree/main"):
            return self._tree(request.path.removeprefix(f"{api}/tree/main").strip("/"))
        raw = f"/datasets/{OWNER}/{NAME}/resolve/main/"
        if request.path.startswith(raw):
            return await self._file(request, request.path.removeprefix(raw))
        return _json({"error": "x"}, 404, **{"X-Error-Code": "RepoNotFound"})

    def _tree(self, path: str) -> Answer:
        folder = self.root / path
        if not folder.is_dir():
            return _json({"error": "x"}, 404, **{"X-Error-Code": "EntryNotFound"})
        return _json(
            [
                {
                    "type": "directory" if each.is_dir() else "file",
                    "oid": self.oid(each),
                    "size": 0 if each.is_dir() else each.stat().st_size,
                    "path": each.relative_to(self.root).as_posix(),
                }
                for each in _children(folder)
            ]
        )

    async def _file(self, request: Request, path: str) -> Answer:
        if not (self.root / path).is_file():
            return _json({"error": "x"}, 404, **{"X-Error-Code": "EntryNotFound"})
        return await super().answer(
            Request(request.method, path, "", request.range, headers=request.headers)
        )
