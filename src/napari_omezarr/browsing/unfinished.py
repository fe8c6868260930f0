"""Which copies were begun and not ended: that lets them go on, and nothing else."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from napari_omezarr.user_files import cache_folder, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_omezarr.location import Location
    from napari_omezarr.store import Item


class Unfinished:
    """The mark of one copy, in a small file of the cache folder.

    Parameters
    ----------
    source, target : Location
        Its ends; no secret of theirs is in the file or in its name.
    """

    def __init__(self, source: Location, target: Location) -> None:
        self._ends = {"source": source.display, "target": target.display}
        name = hashlib.sha256("\n".join(self._ends.values()).encode()).hexdigest()
        self._file = cache_folder() / "copies" / f"{name[:32]}.json"

    def is_known(self) -> bool:
        """Say whether this copy was begun before and did not end."""
        content = read_json(self._file)
        return isinstance(content, dict) and self._ends.items() <= content.items()

    def begin(self, items: Iterable[Item]) -> bool:
        """Mark the copy as begun.

        Returns
        -------
        bool
            Whether the source is as it was: what is there of it then still counts.
        """
        digest = hashlib.sha256()
        for item in items:
            digest.update(f"{item.name}\n{item.size}\n{item.modified}\n".encode())
        content = {**self._ends, "listing": digest.hexdigest()}
        before = read_json(self._file)
        if before == content:
            return True
        write_json(self._file, content)
        return before is None

    def end(self) -> None:
        """Forget the copy: it is whole."""
        self._file.unlink(missing_ok=True)
