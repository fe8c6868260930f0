"""Groups of an image that list what is in them: its labels, and its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_omezarr.location import GROUP_DOCUMENT

from .documents import labels_attributes
from .encode import ZarrDocument, group_documents, zarr_format
from .existing import attributes_of, changed, ome_block, read_group

if TYPE_CHECKING:
    from collections.abc import Collection

    from .hierarchy import Hierarchy
    from .options import Version


@dataclass(frozen=True, slots=True)
class GroupList:
    """The list in a group of an image; it is read again for each change."""

    hierarchy: Hierarchy
    group: Literal["labels", "tables"]

    def names(self) -> tuple[str, ...]:
        """Give what the image lists; nothing where it has no such group."""
        found = read_group(self.hierarchy, self.group)
        if found is None:
            return ()
        return tuple(self._names(self._home(found.content, found.zarr_format)))

    def add(self, name: str, version: Version, place: int | None = None) -> None:
        """Put a name into the list, at a place of it or behind all others."""

        def extended(content: dict[str, Any] | None) -> dict[str, Any] | None:
            if content is None:
                attributes: dict[str, Any] = {self.group: [name]}
                if self.group == "labels":
                    attributes = labels_attributes(version, [name])
                made = group_documents(self.group, attributes, version)
                return dict(made[-1].content)
            home = self._home(content, zarr_format(version))
            names = self._names(home)
            if name in names:
                return None
            names.insert(len(names) if place is None else place, name)
            home[self.group] = names
            return content

        if zarr_format(version) == 2:
            marker = {"zarr_format": 2}
            key = f"{self.group}/.zgroup"
            changed(self.hierarchy, key, lambda found: None if found else marker)
        changed(self.hierarchy, self._key(version), extended)

    def drop(self, dropped: Collection[str], version: Version) -> None:
        """Take names out of the list."""

        def shortened(content: dict[str, Any] | None) -> dict[str, Any] | None:
            home = self._home(content or {}, zarr_format(version))
            names = self._names(home)
            if content is None or not set(dropped) & set(names):
                return None
            home[self.group] = [name for name in names if name not in dropped]
            return content

        changed(self.hierarchy, self._key(version), shortened)

    def documents(self, version: Version) -> list[ZarrDocument]:
        """Give the documents of the group as they are now."""
        found = read_group(self.hierarchy, self.group)
        if found is None:
            return []
        marker = ZarrDocument(f"{self.group}/.zgroup", {"zarr_format": 2})
        own = ZarrDocument(found.key, found.content)
        return [marker, own] if zarr_format(version) == 2 else [own]

    def _key(self, version: Version) -> str:
        return f"{self.group}/{GROUP_DOCUMENT[zarr_format(version)]}"

    def _home(self, content: dict[str, Any], number: int) -> dict[str, Any]:
        # Labels are of OME-Zarr, tables of those who came after it.
        if self.group == "labels":
            return ome_block(content, number)
        return attributes_of(content, number)

    def _names(self, home: dict[str, Any]) -> list[str]:
        names = home.get(self.group)
        return [str(name) for name in names] if isinstance(names, list) else []
