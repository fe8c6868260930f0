"""What a person asked of ``viewer.open``, which napari does not tell readers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components.viewer_model import prune_kwargs

from napari_omezarr.errors import OptionError
from napari_omezarr.layers import makeshift_limits
from napari_omezarr.pyramid import Cast, to_dask

if TYPE_CHECKING:
    from napari_omezarr.layers import LayerSpec

_CALLER = "_add_layers_with_plugins"
"""The method of napari's viewer that calls readers, and holds what was asked."""
_LOOKS = ("colormap", "features", "properties", "contrast_limits", "gamma", "rendering")
_TOLD = "It is told by the metadata of an OME-Zarr."


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """Options of layers, and the type that they shall have; None leaves it."""

    options: Mapping[str, Any] = field(default_factory=dict)
    layer_type: str | None = None

    def __bool__(self) -> bool:
        return bool(self.options) or self.layer_type is not None


def asked_of_viewer() -> OpenOptions:
    """Find what ``viewer.open`` was asked that calls this reader; nothing elsewhere.

    napari applies it to layer data, and readers like this one return layers. It is
    found in napari's frame, as there is no other way; a test tells when that moves.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == _CALLER:
            known = frame.f_locals
            return OpenOptions(known.get("kwargs") or {}, known.get("layer_type"))
        frame = frame.f_back
    return OpenOptions()


def with_options(spec: LayerSpec, asked: OpenOptions) -> LayerSpec:
    """Give a layer the type and the options that were asked for, as napari does.

    Raises
    ------
    OptionError
        An OME-Zarr cannot be shown so.
    """
    if not asked:
        return spec
    _refuse(spec, asked)
    if asked.layer_type is not None and asked.layer_type != spec.kind:
        spec = _as_labels(spec) if asked.layer_type == "labels" else _as_image(spec)
    wanted = dict(asked.options)
    if asked.layer_type is None:
        wanted = prune_kwargs(wanted, spec.kind)
        # What is said of images' looks is not about the labels that lie on them.
        if spec.kind == "labels" and not isinstance(wanted.get("colormap"), Mapping):
            wanted.pop("colormap", None)
    for key in ("rgb", "multiscale", "channel_axis", "cache"):
        wanted.pop(key, None)
    options = {**spec.options, **wanted}
    # What a layer needs to be saved back stays beside what she keeps there.
    options["metadata"] = {
        **spec.options.get("metadata", {}),
        **(wanted.get("metadata") or {}),
    }
    if "affine" in wanted:  # it is all of the place, beside what is asked with it
        for key in {"rotate", "shear"} - wanted.keys():
            options.pop(key, None)
    if wanted.get("contrast_limits") is None:
        return replace(spec, options=options)
    return replace(
        spec,
        options=options,
        contrast_range=None,
        needs_contrast=False,
        checks_window=False,
    )


def _refuse(spec: LayerSpec, asked: OpenOptions) -> None:
    """Raise for what would need other data, or is no type that there is."""
    known = spec.options.get("metadata", {}).get("omezarr", {})
    url = str(known.get("address", ""))
    if asked.layer_type not in (None, "image", "labels"):
        msg = f"An OME-Zarr holds images and labels and no {asked.layer_type}."
        raise OptionError(msg, action="Leave layer_type out.", url=url)
    is_float = spec.levels[0].dtype.kind == "f"
    if asked.layer_type == "labels" and (is_float or spec.options.get("rgb")):
        held = "pictures in RGB" if spec.options.get("rgb") else "values with fractions"
        msg = f"{spec.options.get('name')} holds {held}, which are no labels."
        raise OptionError(msg, action="Open it as an image.", url=url)
    if asked.options.get("channel_axis") is not None:
        action = f"Leave channel_axis out. {_TOLD}"
        msg = "Each channel is a layer of its own already."
        raise OptionError(msg, action=action, url=url)
    for key, now in (
        ("rgb", spec.options.get("rgb", False)),
        (
            "multiscale",
            spec.options.get("multiscale", False),
        ),
    ):
        if asked.options.get(key) not in (None, now):
            msg = f"{key}={asked.options[key]} does not go with this image."
            raise OptionError(msg, action=f"Leave {key} out. {_TOLD}", url=url)
    # napari takes these as they are, and fails when the layer is drawn.
    for key in ("opacity", "gamma", "contrast_limits"):
        value = asked.options.get(key, 1)
        if not (_is_finite(value) or (value is None and key == "contrast_limits")):
            msg = f"{key} is {str(value)[:40]}, no number that can be shown."
            raise OptionError(msg, action=f"Leave {key} out, or correct it.", url=url)


def _is_finite(value: Any) -> bool:
    try:
        return bool(np.isfinite(np.asarray(value, dtype=float)).all())
    except (TypeError, ValueError):
        return False


def _as_labels(spec: LayerSpec) -> LayerSpec:
    options = prune_kwargs(_without_looks(spec), "labels")
    levels = spec.levels
    if levels[0].dtype.kind == "b":
        levels = tuple(Cast(level, np.dtype(np.uint8)) for level in levels)
    return replace(
        spec,
        kind="labels",
        data=tuple(to_dask(level) for level in levels),
        levels=levels,
        options=options,
        contrast_range=None,
        needs_contrast=False,
        checks_window=False,
    )


def _as_image(spec: LayerSpec) -> LayerSpec:
    options = prune_kwargs(_without_looks(spec), "image")
    options["contrast_limits"] = makeshift_limits(spec.levels[0].dtype)
    return replace(spec, kind="image", options=options, needs_contrast=True)


def _without_looks(spec: LayerSpec) -> dict[str, Any]:
    return {key: value for key, value in spec.options.items() if key not in _LOOKS}
