"""Documents in a later version: metadata of OME-Zarr, and of zarr 2 in zarr 3; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari_omezarr.errors import OptionError, UnsupportedDataError
from napari_omezarr.metadata import Image, parse_document
from napari_omezarr.writing import dataset_document, parted

if TYPE_CHECKING:
    from collections.abc import Sequence

ORDER = ("0.4", "0.5", "0.6")
"""The versions that can be upgraded, and upgraded to."""


def version_of(attributes: Mapping[str, Any]) -> str | None:
    """Give the version that a group's attributes are of; None if of none."""
    return parse_document(attributes).version if attributes else None


def upgraded(attributes: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Give the attributes of a group in a later version; others stay as they are.

    Raises
    ------
    OptionError
        They are of that version already, or of a later one.
    UnsupportedDataError
        They are of an earlier one than 0.4, or say what the version cannot.
    MetadataError
        They cannot be understood.
    """
    block, others = parted(attributes)
    if not block:
        return dict(attributes)
    now = parse_document(attributes).version or "0.4"
    if now not in ORDER:
        raise UnsupportedDataError(
            f"Its metadata are of OME-Zarr {now}, which is not upgraded as it is.",
            action="Convert it.",
        )
    if ORDER.index(now) >= ORDER.index(version):
        return dict(attributes)
    block = {key: _without_version(value) for key, value in block.items()}
    if version == "0.6" and "multiscales" in block:
        block["multiscales"] = _multiscales(attributes, block["multiscales"])
    block.pop("version", None)
    return {**others, "ome": {"version": version, **block}}


def check_version(version: str) -> None:
    """Raise an `OptionError` unless it is one that can be upgraded to."""
    if version not in ORDER[1:]:
        sentence = f"{version} is no version to upgrade to."
        raise OptionError(sentence, action=f"Choose {' or '.join(ORDER[1:])}.")


def _without_version(value: Any) -> Any:
    """From 0.5 on the version stands once, beside all of it."""
    if isinstance(value, Mapping):
        return {key: each for key, each in value.items() if key != "version"}
    if isinstance(value, list):
        return [_without_version(each) for each in value]
    return value


def _multiscales(
    attributes: Mapping[str, Any], said: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Say the levels' places by coordinate systems, as 0.6 does."""
    kind = parse_document(attributes).kind
    if not isinstance(kind, Image) or len(kind.multiscales) != len(said):
        raise UnsupportedDataError(
            "Its multiscales cannot be understood one by one.", action="Convert it."
        )
    found = []
    for multiscale, document in zip(kind.multiscales, said, strict=True):
        affines = [dataset.affine for dataset in multiscale.datasets]
        if any(min(a.scale) <= 0 or not a.is_diagonal for a in affines):
            raise UnsupportedDataError(
                "It is mirrored or rotated, which 0.6 says in another way.",
                action="Convert it.",
            )
        moved = ("axes", "datasets", "coordinateTransformations")
        axes = document.get("axes")
        if not isinstance(axes, list) or not all(isinstance(a, Mapping) for a in axes):
            raise UnsupportedDataError("Its axes are not said.", action="Convert it.")
        found.append(
            {
                **{key: value for key, value in document.items() if key not in moved},
                "coordinateSystems": [{"name": "physical", "axes": axes}],
                "datasets": [
                    dataset_document("0.6", dataset.path, dataset.affine)
                    for dataset in multiscale.datasets
                ],
            }
        )
    return found
