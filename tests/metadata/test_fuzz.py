"""Whatever a document holds: a value with warnings, or our error, and no other."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metadata_documents import (
    LEVEL,
    SPACE,
    graph,
    image,
    plate,
    scene,
    system,
    to_world,
    with_omero,
)
from napari_omezarr.errors import MetadataError, OptionError
from napari_omezarr.metadata import (
    Document,
    Image,
    Labels,
    Plate,
    Scene,
    Series,
    Well,
    fit_axes,
    is_rgb,
    normalized_unit,
    parse_document,
    resolve_channels,
    stored_parameters,
)

URL = "https://host/image.zarr"
WINDOW = {"start": 0, "end": 255, "min": 0, "max": 255}
SHIFT = {"type": "translation", "translation": [1.0, 2.0]}
PARTS = [
    {"transformation": {"type": "scale", "scale": [2]}, "inputAxes": [0]},
    {"transformation": {"type": "identity"}, "inputAxes": [1], "outputAxes": [0]},
]
PARTS[0]["outputAxes"] = [1]
EVERY_TRANSFORM = [
    SHIFT,
    {"type": "affine", "affine": [[1, 0, 3], [0, 1, 4]]},
    {"type": "affine", "path": "matrix"},
    {"type": "rotation", "rotation": [[0, -1], [1, 0]]},
    {"type": "mapAxis", "mapAxis": [1, 0]},
    {"type": "projectAxis", "createdOutputs": [0]},
    {"type": "projectAxis", "droppedInputs": [0]},
    {"type": "byDimension", "transformations": PARTS},
    {"type": "bijection", "forward": SHIFT, "inverse": SHIFT},
    {"type": "inverseOf", "transformation": SHIFT},
    {"type": "displacements", "path": "field"},
]
SEQUENCE = {"type": "sequence", "transformations": EVERY_TRANSFORM}
TILE = {"input": {"name": "physical", "path": "tile"}}
ORIENTATION = {"type": "anatomical", "value": "left-to-right"}

SEEDS = [
    image([LEVEL], [LEVEL, {"type": "translation", "translation": [1, 2, 3]}]),
    image(coordinateTransformations=[LEVEL], axes=SPACE, version="0.4"),
    {"multiscales": [{"datasets": [{"path": "0"}], "axes": ["y", "x"]}]},
    with_omero({"color": "FF0000", "label": "a", "window": WINDOW, "active": True})
    | {
        "image-label": {
            "colors": [{"label-value": 1, "rgba": [1, 2, 3, 4]}],
            "properties": [{"label-value": 1, "class": "cell"}],
            "source": {"image": "../../"},
        }
    },
    graph(to_world(SEQUENCE), to_world(SHIFT, "other")),
    graph(
        to_world(SHIFT),
        systems=[
            system("array", "i", "j", unit="um", orientation=ORIENTATION),
            system("world", "y", "x"),
        ],
        version="0.9.dev1",
    ),
    plate(acquisitions=[{"id": 0, "name": "a"}], name="p", field_count=1),
    {"well": {"images": [{"path": "0", "acquisition": 1}], "version": "0.4"}},
    {"labels": ["a", "b"]},
    {"ome": {"series": ["0", "1"], "version": "0.5"}},
    {"bioformats2raw.layout": 3},
    scene(
        to_world(SHIFT) | TILE,
        {"type": "identity", "input": {"name": "array"}, "output": TILE["input"]},
        systems=[system("world", "y", "x"), system("array", "y", "x")],
    ),
]

ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        7,
        2**70,
        10**400,
        0.0,
        -2.5,
        1e308,
        5e-324,
        float("nan"),
        float("inf"),
        "",
        " ",
        "0",
        "0.4",
        "1e999",
        "../..",
        "/0",
        "\ud800",
        "\0",
        "µm",
        "world",
        "array",
        "scale",
        "affine",
        [],
        {},
        [[]],
        [{}],
        [0, 1],
        [[1, 2, 3], [4, 5, 6]],
        {"name": "world"},
        {"type": "scale", "scale": [0, 1]},
    ]
)
ANY_JSON = st.recursive(
    ODD | st.text(max_size=5) | st.floats() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, path=()):
    """Every place in a document, by keys and indices from its root."""
    yield path
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield from places(value[key], (*path, key))


def mutate(draw, document):
    """Replace, remove, double or wrap the value at one place."""
    path = draw(st.sampled_from(list(places(document))[1:] or [()]))
    if not path:
        return document
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    key = path[-1]
    match draw(st.sampled_from(["replace", "replace", "remove", "double", "wrap"])):
        case "replace":
            holder[key] = copy.deepcopy(draw(ANY_JSON))
        case "remove":
            del holder[key]
        case "double" if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        case _:
            holder[key] = [holder[key]]
    return document


@st.composite
def documents(draw):
    document = copy.deepcopy(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        document = mutate(draw, document)
    return document


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_the_seeds_are_documents(seed) -> None:
    assert parse_document(seed).kind is not None


@settings(max_examples=600, deadline=None)
@given(
    documents(),
    st.sampled_from([None, 2, 3]),
    st.sampled_from([None, "world", "array", ""]),
    st.sampled_from([{}, {"matrix": np.eye(2, 3)}, {"matrix": np.zeros((2, 3))}]),
)
def test_only_documents_or_our_errors_come_out(
    attributes, zarr_format, system_name, parameters
) -> None:
    check_paths(stored_parameters(attributes))
    outcome = parsed(
        attributes,
        zarr_format=zarr_format,
        url=URL,
        parameters=parameters,
        coordinate_system=system_name,
    )
    match outcome:
        case MetadataError(where=where, url=url):
            assert where
            assert url == URL
            assert URL in str(outcome)
        case OptionError():
            assert system_name is not None
        case Document(kind=kind, warnings=warnings):
            assert all(warning and warning.encode() for warning in warnings)
            check_kind(kind)


def parsed(attributes, **options) -> Document | MetadataError | OptionError:
    try:
        return parse_document(attributes, **options)
    except (MetadataError, OptionError) as error:
        return error


def check_kind(kind) -> None:
    match kind:
        case Image(multiscales):
            for multiscale in multiscales:
                check_multiscale(multiscale)
        case Labels(paths) | Series(paths):
            check_paths(paths or ())
        case Plate(rows=rows, columns=columns, wells=wells):
            check_paths(well.path for well in wells)
            assert all(0 <= well.row < len(rows) for well in wells)
            assert all(0 <= well.column < len(columns) for well in wells)
        case Well(images) | Scene(images):
            check_paths(each.path for each in images)


def check_paths(paths) -> None:
    for path in paths:
        assert path.encode()
        assert not {"", ".", ".."} & set(path.split("/"))


def check_multiscale(multiscale) -> None:
    check_paths(dataset.path for dataset in multiscale.datasets)
    assert multiscale.datasets
    count = len(multiscale.axes)
    assert len({axis.name for axis in multiscale.axes}) == count
    assert len(multiscale.world_axes) == count
    for dataset in multiscale.datasets:
        assert dataset.affine.shape == (count, count + 1)
        assert dataset.affine.is_invertible
    for axis in multiscale.axes:
        normalized_unit(axis)
    for channels in (1, 2, 4):
        resolved, _ = resolve_channels(multiscale.rendering, channels, "uint8")
        assert len(resolved) == channels
        assert all(len(bytes.fromhex(channel.color)) == 3 for channel in resolved)
        is_rgb(multiscale.rendering, channels, "uint8")
    for ndim in (1, 3, 6):
        try:
            fitted, _ = fit_axes(multiscale, ndim)
        except MetadataError:
            continue
        assert len(fitted.axes) == ndim
        assert fitted.datasets[0].affine.shape == (ndim, ndim + 1)


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_parsing_changes_nothing_and_is_repeatable(seed) -> None:
    before = json.dumps(seed)
    assert parse_document(seed) == parse_document(seed)
    assert json.dumps(seed) == before
