"""Tables beside images, for napari: features of labels; points, shapes and tracks."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_omezarr.errors import ImageChoiceError, OMEZarrError, OptionError
from napari_omezarr.metadata import Affine, layer_options, normalized_unit, unit_size
from napari_omezarr.plain_text import bytes_text, plain
from napari_omezarr.reading import ReadOptions, read
from napari_omezarr.tables import (
    COMMON_LOOKS,
    FEATURES,
    GROUP,
    LOOKS,
    LOOKS_OF_ALL,
    LOOKS_OF_EACH,
    TABLE_RECORD,
    UNREAD,
    column_of,
    feature_source,
    free_name,
    geometry_of,
    named_table,
    open_table,
    shapes_of,
)

from .spec import plain_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_omezarr.location import Location
    from napari_omezarr.pyramid import Pyramid
    from napari_omezarr.tables import FeatureSource, Geometry, StoredTable

    from .spec import LayerData, LayerSpec

# The features of labels from the tables beside them, once the picture is there.

MOST_BYTES = 2**29
"""Tables that would take more memory are read by who asks for them."""


def source_of_features(pyramid: Pyramid, *, anew: bool = False) -> FeatureSource | None:
    """Say where the features of a label image may lie, beside its metadata.

    With `anew` also where there were no tables yet when it was opened.
    """
    if pyramid.label is None or pyramid.label.properties:
        return None
    saved = pyramid.extras.get("napari")
    entry = saved.get("labels") if isinstance(saved, dict) else None
    named = entry.get("table") if isinstance(entry, dict) else None
    tables = None if anew else pyramid.feature_tables
    source = feature_source(pyramid.location, named, tables)
    return source if source.named or tables != () else None


def read_features(source: FeatureSource) -> tuple[dict[str, Any], str]:
    """Read the features of labels; and what there is to say of them. Blocks.

    Both are empty where there are none. What cannot be read is said, and costs the
    features and never the labels.
    """
    said: list[str] = []
    found: dict[str, Any] = {}
    try:
        named = source.find(others=False)
        tables = source.others() if named is None else (named,)
        if source.named and named is None:
            said.append(f"The table {source.named} of {source.label} is not there.")
    except OMEZarrError as error:
        return {}, f"The features of {source.label} could not be read. {error}"
    for table in tables:
        try:
            size = table.size()
            if size > MOST_BYTES:
                size_text = bytes_text(size)
                said.append(f"The table {table.name}, of {size_text}, was not read.")
                continue
            found = joined_features(found, table.read().features())
        except OMEZarrError as error:
            said.append(f"The table {table.name} could not be read. {error}")
    return found, " ".join(said)


def joined_features(
    columns: Mapping[str, Any], others: Mapping[str, Any]
) -> dict[str, Any]:
    """Put columns beside others, row to row by the label in ``index``.

    The first have their names to themselves. Where either has several rows about a
    label, or has none, nothing is joined but what fits.
    """
    if not columns:
        return dict(others)
    index, new = np.asarray(columns["index"]), np.asarray(others["index"])
    fresh = {name: c for name, c in others.items() if name not in columns}
    if not len(new) or len(np.unique(new)) < len(new):
        return dict(columns)
    order = np.argsort(new)
    at = np.searchsorted(new, index, sorter=order).clip(max=len(new) - 1)
    rows = order[at]
    there = new[rows] == index
    joined = dict(columns)
    for name, column in fresh.items():
        picked = np.asarray(column)[rows].astype(object)
        picked[~there] = None
        joined[name] = np.asarray(column)[rows] if there.all() else column_of(picked)
    return joined


def with_features(layers: Sequence[LayerSpec]) -> list[LayerSpec]:
    """Read the features of all layers that may have some, at once; blocks."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(_with_features, layers))


def _with_features(layer: LayerSpec) -> LayerSpec:
    if layer.features is None:
        return layer
    columns, said = read_features(layer.features)
    if not columns:
        return layer.warned(said) if said else layer
    metadata = {**layer.record}
    metadata.pop(UNREAD, None)
    options = {
        **layer.options,
        "metadata": {**layer.options["metadata"], "omezarr": metadata},
        "features": columns,
    }
    return dataclasses.replace(layer, options=options, features=None)


# Tables of places as layers of points, shapes and tracks.

_MICROMETER = 1e-6
_COLORS = ("face_color", "border_color", "edge_color")


def table_layers(table: StoredTable) -> list[LayerData]:
    """Give the layer of a table; blocks.

    Regions of interest become shapes, tables with coordinates points or tracks, and
    what was saved of a layer that layer again.

    Raises
    ------
    OptionError
        It does not say where its rows are (as features of labels, which come with
        their image).
    OMEZarrError
        It could not be read.
    """
    if table.kind == FEATURES:
        raise OptionError(
            f"{table.name} holds features of the labels {table.label}, and no places.",
            action="Open the image: they come with its labels.",
        )
    return [_layer(table, _image_of(table.location))]


def layers_beside(
    pyramids: Iterable[Pyramid],
) -> tuple[list[LayerData], list[str]]:
    """Give the layers of points, shapes and tracks saved with images; blocks.

    What cannot be read costs itself, and is said in a sentence.
    """
    found: list[LayerData] = []
    said: list[str] = []
    for pyramid in pyramids:
        for name in named_annotations(pyramid):
            try:
                table = named_table(pyramid.location, name)
                layer = _layer(table, pyramid) if table else None
                found += [layer] if layer else []
                said += layer[1]["metadata"].get("warnings", ()) if layer else ()
            except OMEZarrError as error:
                said.append(f"The layer {name} could not be read. {error}")
    return found, said


def table_at(location: Location, error: OMEZarrError) -> StoredTable:
    """Find the table at an address that is no image; what is none keeps its error."""
    if not isinstance(error, ImageChoiceError):
        with suppress(OMEZarrError):
            return open_table(location)
    raise error


def named_annotations(pyramid: Pyramid) -> tuple[str, ...]:
    """Name the tables of layers that an image was saved with."""
    state = pyramid.extras.get("napari")
    names = state.get(GROUP) if isinstance(state, dict) else None
    if not isinstance(names, list):
        return ()
    return tuple(name for name in names if isinstance(name, str))


def _layer(table: StoredTable, image: Pyramid | None) -> LayerData:
    geometry = geometry_of(table.read())
    options: dict[str, Any] = {
        "name": plain(str(geometry.looks.get("name") or table.name)),
        "metadata": {TABLE_RECORD: table.location.display},
        **_placed(geometry, image, is_region="roi_table" in table.kind),
    }
    own = {n: c for n, c in geometry.features.items() if n.startswith(LOOKS)}
    features = {n: c for n, c in geometry.features.items() if n not in own}
    if features:
        options["features"] = plain_columns(features)
    # What another program, or a later version, says there napari may not know.
    known = COMMON_LOOKS + LOOKS_OF_ALL[geometry.kind] + LOOKS_OF_EACH[geometry.kind]
    known += ("graph",) if geometry.kind == "tracks" else ()
    options |= {key: v for key, v in geometry.looks.items() if key in known}
    of_each = {n.removeprefix(LOOKS): _of_each(n, c) for n, c in own.items()}
    options |= {key: v for key, v in of_each.items() if key in known}
    if geometry.left_out:
        said = f"{geometry.left_out:,} rows of {table.name} say no place: they are"
        options["metadata"]["warnings"] = [f"{said} left out."]
    for key in _COLORS:
        if isinstance(options.get(key), list):
            options[key] = np.asarray(options[key], float)
    match geometry.kind:
        case "points":
            return geometry.coordinates, options, "points"
        case "shapes":
            return _shapes(geometry, options, is_region="roi_table" in table.kind)
        case _:
            graph = options.pop("graph", None) or {}
            options["graph"] = {int(child): parents for child, parents in graph.items()}
            ids = np.zeros(0) if geometry.owner is None else geometry.owner
            return np.column_stack([ids, geometry.coordinates]), options, "tracks"


def _shapes(
    geometry: Geometry, options: dict[str, Any], *, is_region: bool
) -> LayerData:
    options["shape_type"] = list(geometry.types)
    if not geometry.types:
        options["ndim"] = len(geometry.axes)
        options.pop("shape_type")
    if is_region:  # the picture is to be seen in them
        sides = np.ptp(geometry.coordinates, axis=0) if geometry.types else [0.0]
        options |= {"face_color": "transparent", "edge_color": "yellow"}
        options |= {"edge_width": max(*sides, 1e-9) / 250, "opacity": 1.0}
        if "name" in geometry.features:
            options["text"] = {"string": "{name}", "color": "yellow"}
    return shapes_of(geometry), options, "shapes"


def _of_each(name: str, column: np.ndarray) -> Any:
    if any(name.endswith(color) for color in _COLORS):
        try:
            return [json.loads(value) for value in column]
        except (TypeError, ValueError):
            raise OptionError(f"The column {name} holds no colours.") from None
    return column.tolist()


# Where a layer lies: where it was saved, or upon the image that it is beside.


def _placed(
    geometry: Geometry, image: Pyramid | None, *, is_region: bool
) -> dict[str, Any]:
    affine, units = geometry.affine, geometry.units
    if is_region and image is not None:
        affine, units = _of_image(geometry.axes, image)
    options: dict[str, Any] = {"axis_labels": geometry.axes}
    if units:
        options["units"] = units
    if affine is not None:
        options |= layer_options(affine)
    return options


def _of_image(
    axes: Sequence[str], image: Pyramid
) -> tuple[Affine | None, tuple[str, ...]]:
    """Place regions, which begin at the edge of a pixel and not in its middle."""
    world = {axis.name: number for number, axis in enumerate(image.world_axes)}
    affine = image.levels[0].affine
    if not affine.is_diagonal or not set(axes) <= world.keys():
        return None, ()
    numbers = [world[axis] for axis in axes]
    units = tuple(normalized_unit(image.world_axes[n]) or "pixel" for n in numbers)
    offsets = [affine.translation[n] - affine.scale[n] / 2 for n in numbers]
    sizes = [unit_size(unit) for unit in units]
    steps = [_MICROMETER / s[0] if s and s[1] == "m" else 1.0 for s in sizes]
    return Affine.from_translation(offsets) @ Affine.from_scale(steps), units


def _image_of(table: Location) -> Pyramid | None:
    """Read the image that a table lies beside; None where there is none."""
    if table.parent.name != GROUP:
        return None
    try:
        options = ReadOptions(labels=False)
        return next(iter(read(table.parent.parent, options).pyramids), None)
    except OMEZarrError:  # it is placed as it says itself
        return None


def regions_of(table: StoredTable) -> Mapping[str, tuple[slice, slice]]:
    """Give the regions of interest of a table in the units of the world: y and x.

    Blocks, also to find out where the image lies.

    Raises
    ------
    OptionError
        It is no table of regions.
    OMEZarrError
        It could not be read.
    """
    geometry = geometry_of(table.read())
    names = geometry.features.get("name")
    if geometry.kind != "shapes" or names is None:
        raise OptionError(f"{table.name} holds no regions.")
    image = _image_of(table.location)
    moved = _of_image(geometry.axes, image)[0] if image else None
    found: dict[str, tuple[slice, slice]] = {}
    for name, corners in zip(names, shapes_of(geometry), strict=True):
        placed = corners if moved is None else moved(corners)
        low, high = placed.min(axis=0).tolist(), placed.max(axis=0).tolist()
        found[free_name(str(name), found)] = (
            slice(low[0], high[0]),
            slice(low[1], high[1]),
        )
    return found
