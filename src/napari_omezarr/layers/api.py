"""From what was read, or from an address, to the layers that show it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from napari_omezarr.doors import guarded
from napari_omezarr.errors import (
    MetadataError,
    NodeNotFoundError,
    OptionError,
    UnsupportedDataError,
)
from napari_omezarr.location import Location, without_secrets
from napari_omezarr.metadata import normalized_unit
from napari_omezarr.reading import ReadOptions, read_current
from napari_omezarr.store import is_zarr, location_of

from .options import image_layers, label_layer, viewable
from .spec import with_contrast
from .tables import layers_beside, table_at, table_layers, with_features

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from napari_omezarr.pyramid import Pyramid

    from .spec import LayerData, LayerSpec


def layer_data(
    pyramids: Sequence[Pyramid], *, channels: Sequence[int] | None = None
) -> list[LayerSpec]:
    """Give the layers of what was read: images below, their labels above.

    Reads pixels only for labels that are stored as floats (see ``label_layer``).
    `pyramids` are images, each followed by its label images; of each image only the
    `channels` of these numbers are given.
    """
    several = sum(pyramid.label is None for pyramid in pyramids) > 1
    images: list[LayerSpec] = []
    labels: list[LayerSpec] = []
    shown = _with_pixels(pyramids)
    image: Pyramid | None = None
    for pyramid, units in zip(shown, _units(shown), strict=True):
        metadata = _metadata(pyramid)
        if pyramid.label is None:
            image = pyramid
            images += image_layers(pyramid, metadata, channels, several=several)
        else:
            place = _image_of(pyramid, image)
            metadata["image"] = place.display
            metadata["image_place"] = without_secrets(place)
            layer = label_layer(pyramid, metadata)
            labels.append(_with_units(layer, units))
    return images + labels


def _with_pixels(pyramids: Sequence[Pyramid]) -> list[Pyramid]:
    """Give what can be shown; an image without a pixel can not."""
    empty = [
        f"{pyramid.name} has no pixels: its shape is {pyramid.shape}."
        for pyramid in pyramids
        if 0 in pyramid.shape
    ]
    shown = [viewable(pyramid) for pyramid in pyramids if 0 not in pyramid.shape]
    if not shown and pyramids:
        url = pyramids[0].location.display
        action = "Open it once something was written into it."
        raise UnsupportedDataError(empty[0], action=action, url=url)
    warned = [dataclasses.replace(p, warnings=(*p.warnings, *empty)) for p in shown]
    return warned if empty else shown


def _image_of(label: Pyramid, image: Pyramid | None) -> Location:
    """Say where the image of labels is: the one before, else the one that they lie in.

    They are their own where nothing says that they lie in one.
    """
    if image is not None:
        return image.location
    above = label.location.parent
    return above.parent if above.name == "labels" else label.location


def _metadata(pyramid: Pyramid) -> dict[str, Any]:
    """Give what a layer carries to be saved back from: no secrets among it."""
    return {
        "address": pyramid.location.display,
        # The same with the name of a connection, for who writes back.
        "place": without_secrets(pyramid.location),
        "version": pyramid.version,
        "paths": [level.path for level in pyramid.levels],
        "options": dict(pyramid.options),
        "coordinate_system": pyramid.coordinate_system,
        "coordinate_systems": list(pyramid.coordinate_systems),
        "axes": [axis.name for axis in pyramid.axes],
        "attributes": dict(pyramid.attributes or {}),
        "extras": dict(pyramid.extras),
        "warnings": list(pyramid.warnings),
    }


def _units(pyramids: Sequence[Pyramid]) -> list[dict[str, str]]:
    """Give, for each pyramid, the units of the image that it lies on, by axis.

    One layer without units among others makes napari drop the scale bar's unit,
    and labels are often written without.
    """
    found: dict[str, str] = {}
    result: list[dict[str, str]] = []
    for pyramid in pyramids:
        if pyramid.label is None:
            axes = pyramid.world_axes
            found = {a.name: unit for a in axes if (unit := normalized_unit(a))}
        result.append(found)
    return result


def _with_units(layer: LayerSpec, units: dict[str, str]) -> LayerSpec:
    options = dict(layer.options)
    if "axis_labels" not in options or "units" not in options:
        return layer
    pairs = zip(options["axis_labels"], options["units"], strict=True)
    options["units"] = tuple(
        units.get(name, "pixel") if unit == "pixel" else unit for name, unit in pairs
    )
    return dataclasses.replace(layer, options=options)


@guarded
def read_layers(  # noqa: PLR0913 - one verb, all its choices by name
    address: str | os.PathLike[str] | Location | Any,
    *,
    channels: Sequence[int] | None = None,
    labels: bool | Sequence[str] = True,
    level: int | None = None,
    multiscale: int | str | None = None,
    series: int | str | None = None,
    coordinate_system: str | None = None,
    features: bool = True,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    wells: Sequence[str] | None = None,
    fields: int | str | None = None,
    acquisition: int | str | None = None,
    endpoint: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    anonymous: bool | None = None,
) -> list[LayerData]:
    """Open an OME-Zarr as napari layer data.

    Parameters
    ----------
    address : str, path, Location, or zarr store, group or array
        Anything that names an OME-Zarr: a path, an http(s), s3, gs, az or sftp
        address, a zip file, references, a link of a web viewer; or a store of zarr
        (a session's of icechunk, too), a group or an array of one. What `open` or
        `read` gave is shown as it is; the other choices are then made already.
    channels : sequence of int or None, optional
        Only these channels of each image.
    labels : bool or sequence of str, optional
        The label images of an image: all, none, or those of these paths.
    level : int or None, optional
        Only this resolution level, 0 being the finest.
    multiscale : int, str or None, optional
        Which of several multiscales, by number or name; None is the first.
    series : int, str or None, optional
        Only this image of a series or a scene, by number or path.
    coordinate_system : str or None, optional
        Which of its named coordinate systems (0.6, SpatialData) to show the image
        in; None takes the intrinsic one (0.6), or where its own transforms lead.
    features : bool, optional
        Whether to look for the features of labels in the tables beside them, and to
        read those that take up to 512 MB of memory; and the points, shapes and tracks
        that were saved with the image.
    rows, columns, wells : sequence of str or None, optional
        Of a plate only these rows, columns (by name) and wells (like ``B3``).
    fields : int, str or None, optional
        Which fields of a plate's wells: ``"all"`` where their translations say, else
        on a grid; ``"grid"`` always on a grid; ``"each"`` one at a time, with an axis
        to step through; a number or a path for that one alone. None is all, or each
        where there are thousands.
    acquisition : int, str or None, optional
        Which acquisition of a plate, by id or name; None steps through several.
    endpoint, region, profile : str or None, optional
        Where and how to sign in to an ``s3://`` address; None leaves it to the
        address and the environment.
    anonymous : bool or None, optional
        True never signs in, False never tries without; None finds out.

    Returns
    -------
    list of (data, options, kind)
        One for each channel and label image, then one for each layer of points,
        shapes or tracks that was saved with it. Of the address of a table it is the
        one layer of its places. ``data`` of pixels is a dask array, or a list
        of them, finest first; lazy. Only where the metadata give no contrast, a
        few chunks of the coarsest level are read.

    Raises
    ------
    OMEZarrError
        See ``reading.read``.

    Examples
    --------
    >>> from napari_omezarr import read_layers
    >>> from napari_omezarr.samples import write_cells
    >>> _ = write_cells("cells.ome.zarr", shape=(8, 64, 64))
    >>> for data, options, kind in read_layers("cells.ome.zarr"):
    ...     print(kind, options["name"], data[0].shape)
    image Nuclei (8, 64, 64)
    image Membranes (8, 64, 64)
    labels nuclei (8, 64, 64)
    """
    if hasattr(address, "pyramids"):
        layers = layer_data(address.pyramids, channels=channels)
        layers = with_contrast(with_features(layers) if features else layers)
        return [layer.layer_data for layer in layers]
    if is_zarr(address):
        location = location_of(address)
    else:
        location = Location.parse(
            address,
            endpoint=endpoint,
            region=region,
            profile=profile,
            anonymous=anonymous,
        )
    options = ReadOptions(
        labels=labels if isinstance(labels, bool) else _names(labels) or (),
        level=level,
        multiscale=multiscale,
        series=series,
        coordinate_system=coordinate_system,
        rows=_names(rows),
        columns=_names(columns),
        wells=_names(wells),
        fields=fields,
        acquisition=acquisition,
    )
    return _layers(location, options, channels, features=features)


@guarded
def _layers(
    location: Location,
    options: ReadOptions,
    channels: Sequence[int] | None,
    *,
    features: bool,
) -> list[LayerData]:
    try:
        pyramids = read_current(location, options).pyramids
    except (NodeNotFoundError, UnsupportedDataError, MetadataError) as error:
        return table_layers(table_at(location, error))
    layers = layer_data(pyramids, channels=channels)
    layers = with_contrast(with_features(layers) if features else layers)
    found = [layer.layer_data for layer in layers]
    if not features:
        return found
    beside, said = layers_beside(pyramids)
    if said:
        found[0][1]["metadata"]["omezarr"]["warnings"] += said
    return found + beside


def _names(names: Any) -> tuple[str, ...] | None:
    if names is None or isinstance(names, str):
        return (names,) if names else None
    if not isinstance(names, Iterable):
        msg = f"{type(names).__name__} is no list of names."
        raise OptionError(msg, action="Give names of labels, rows, columns or wells.")
    return tuple(map(str, names))
