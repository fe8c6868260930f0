"""Which version of each object a store has read parts of, so that they fit together.

The chunks of a shard are found by an index that was read before. If the shard is
written anew in between, and the index came from the disk cache, what is at the old
places is something else: that must be an error, and not pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_omezarr.errors import StoreError


@dataclass(frozen=True, slots=True)
class _Version:
    validator: str
    checked: float
    from_shelf: bool


class Versions:
    """The versions that the parts of objects were of, as one store met them."""

    def __init__(self) -> None:
        self._met: dict[str, _Version] = {}

    def checked(self, key: str, validator: str) -> float:
        """Return when a version was last known to be current: seconds since 1970."""
        met = self._met.get(key)
        return met.checked if met and met.validator == validator else 0

    def fetched(self, key: str, validator: str, now: float) -> None:
        """Note that the place itself just gave a part, or said it is still the same.

        Raises
        ------
        StoreError
            If another part was taken from the shelf that is of another version.
        """
        self._compare(key, validator)
        met = self._met.get(key)
        self._met[key] = _Version(validator, now, bool(met and met.from_shelf))

    def taken(self, key: str, validator: str, checked: float) -> None:
        """Note that a part was taken from the shelf.

        Raises
        ------
        StoreError
            If another part was, that is of another version.
        """
        self._compare(key, validator)
        checked = max(checked, self.checked(key, validator))
        self._met[key] = _Version(validator, checked, from_shelf=True)

    def _compare(self, key: str, validator: str) -> None:
        met = self._met.get(key)
        if met and met.from_shelf and met.validator != validator:
            sentence = "The image has changed since it was opened."
            raise StoreError(sentence, action="Open it again.")
