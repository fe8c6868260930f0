"""Plates and wells whose parts are not alike: placed right, or said, never guessed."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from contextlib import suppress

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import small_images
from napari_omezarr.errors import (
    AccessDeniedError,
    OptionError,
    OutgrownError,
    UnsupportedDataError,
)
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.reading import ReadOptions, plates, read
from napari_omezarr.store import run
from servers.faults import Status
from small_images import put_group, put_image, put_labels

VERSIONS = ["0.4", "0.5", "0.6"]


def opened(place, **options):
    return read(Location.parse(place), ReadOptions(**options))


def put_plate(path, wells, version="0.5", *, names="cyx", columns=None):
    """Write a plate of one row; each well is given by options of `put_image`, or None.

    Returns the levels of each well's field.
    """
    old = {"version": version} if version < "0.5" else {}
    columns = columns or [str(number + 1) for number in range(len(wells))]
    plate = {
        "rows": [{"name": "A"}],
        "columns": [{"name": name} for name in columns],
        "wells": [
            {"path": f"A/{name}", "rowIndex": 0, "columnIndex": number}
            for number, name in enumerate(columns)
        ],
    }
    put_group(path, version, {"plate": plate | old})
    written = []
    for number, (name, well) in enumerate(zip(columns, wells, strict=True)):
        if well is None:
            written.append([])
            continue
        options = {
            "shape": (2, 16, 24),
            "count": 2,
            "seed": number,
            "field": "0",
        } | well
        field = options.pop("field")
        folder = path / "A" / name
        put_group(folder, version, {"well": {"images": [{"path": field}]} | old})
        written.append(put_image(folder / field, version, names=names, **options))
    return written


def laid_out(fields, room, dtype):
    """What a plate of one row shows, by numpy alone."""
    expected = np.zeros((*room[:-1], room[-1] * len(fields)), dtype)
    for column, levels in enumerate(fields):
        if levels:
            held = np.zeros(room, dtype)
            held[tuple(slice(size) for size in levels[0].shape)] = levels[0]
            expected[..., column * room[-1] : (column + 1) * room[-1]] = held
    return expected


MIXED = {
    "sizes": [{}, {"shape": (2, 10, 30)}, None, {"shape": (2, 20, 8)}],
    "first smallest": [{"shape": (1, 3, 5), "count": 1}, {}, {"shape": (3, 20, 30)}],
    "types": [{}, {"dtype": np.int32}, {"dtype": np.float32}, {"dtype": np.uint8}],
    "all": [{"dtype": np.uint8}, {"shape": (3, 30, 10), "dtype": np.int16}, None],
    "field names": [
        {"field": "pos0"},
        {"field": "pos7", "shape": (2, 20, 30), "dtype": np.float32},
    ],
    "levels": [{}, {"count": 1}, {"count": 3, "shape": (2, 20, 30)}],
}


@pytest.mark.parametrize("kind", MIXED)
@pytest.mark.parametrize("version", VERSIONS)
def test_wells_that_differ_have_room_and_a_type_for_all(tmp_path, kind, version):
    fields = put_plate(tmp_path / "p.zarr", MIXED[kind], version)
    reading = opened(tmp_path / "p.zarr")
    (plate,) = reading.pyramids
    arrays = [levels[0] for levels in fields if levels]
    room = tuple(np.max([array.shape for array in arrays], axis=0))
    dtype = np.result_type(*arrays)
    pixels = plate.levels[0].pixels
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels[...], laid_out(fields, room, dtype))
    assert len(plate.channels) == room[0]
    differ = len({array.shape for array in arrays}) > 1
    assert any("not of one size" in said for said in reading.warnings) is differ
    mixed = len({array.dtype for array in arrays}) > 1
    assert any("all are shown as" in said for said in reading.warnings) is mixed


def test_planes_of_the_deepest_well_are_all_there(tmp_path):
    wells = [{"shape": (3, 20, 24)}, {"shape": (7, 30, 40)}]
    fields = put_plate(tmp_path / "p.zarr", wells, names="zyx")
    (plate,) = opened(tmp_path / "p.zarr").pyramids
    expected = laid_out(fields, (7, 30, 40), np.uint16)
    np.testing.assert_array_equal(plate.levels[0].pixels[...], expected)


def test_every_level_shows_each_well_in_its_place(tmp_path):
    """Wells with fewer, more and other levels: the nearest pixels of their own."""
    wells = [{"count": 3}, {"count": 1}, {"count": 2, "shape": (2, 12, 18)}, {}]
    fields = put_plate(tmp_path / "p.zarr", wells)
    odd = tmp_path / "p.zarr" / "A" / "4" / "0"
    quarter = fields[3][0][..., ::4, ::4]  # its level 1 is what others have as level 2
    shutil.rmtree(odd / "1")
    small_images.put_array(odd / "1", "0.5", quarter, "cyx")
    (plate,) = opened(tmp_path / "p.zarr").pyramids
    assert [level.pixels.shape[-2:] for level in plate.levels] == [
        (16, 96),
        (8, 48),
        (4, 24),
    ]
    for number, level in enumerate(plate.levels):
        by, width = 2**number, 24 // 2**number
        shown = level.pixels[...]
        for column in (1, 3):
            whole = fields[column][0]
            part = shown[..., column * width : (column + 1) * width]
            if column == 3 and number == 2:
                np.testing.assert_array_equal(part, quarter)
            else:
                centre = by // 2
                np.testing.assert_array_equal(part, whole[..., centre::by, centre::by])
        small = shown[..., 2 * width : 3 * width]
        assert small[..., : 12 // by, : 18 // by].any(axis=0).mean() > 0.9
        assert not small[..., 12 // by :, :].any()
        np.testing.assert_allclose(level.affine.scale[-2:], [0.5 * by] * 2)


def differing(where, count=8):
    return [{"dtype": np.float32} if n == where else {} for n in range(count)]


def own_place(http_server, tmp_path):
    """Where no other test's plate was: what did not fit is known by its address."""
    return tmp_path / tmp_path.name, f"{http_server.url}/{tmp_path.name}"


@pytest.mark.parametrize("version", VERSIONS)
def test_over_a_network_what_was_not_looked_at_is_right_or_an_error(
    http_server, tmp_path, version
):
    place, url = own_place(http_server, tmp_path)
    wells = differing(1, count=16)
    wells[2] = {"dtype": np.uint8}
    wells[3] = {"shape": (3, 20, 20)}
    wells[4] = {"shape": (2, 20, 20)}
    fields = put_plate(place, wells, version)
    half = place / "A" / "2" / "0" / "0"
    shutil.rmtree(half)
    small_images.put_array(half, version, fields[1][0] + np.float32(0.25), "cyx")
    with http_server.round_count() as rounds:
        reading = opened(url)
    assert rounds.count <= 4
    assert len(http_server.requests) <= 12
    pixels = reading.pyramids[0].levels[0].pixels
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels[:, :16, 48:72], fields[2][0])
    with pytest.raises(UnsupportedDataError, match="Well A/2 holds float32") as caught:
        pixels[:, :16, 24:48]
    assert caught.value.action == "Open the plate again: there is room for it then."
    assert caught.value.url.endswith(f"{place.name}/A/2")
    with pytest.raises(UnsupportedDataError, match="Well A/4 has a channel marker 2"):
        pixels[:, :, 72:96]
    with pytest.raises(UnsupportedDataError, match="A/5 is 2 x 20 x 20, and its place"):
        pixels[:, :, 96:120]
    again = opened(url).pyramids[0].levels[0].pixels
    expected = laid_out(fields, (3, 20, 24), np.float32)
    expected[:2, :16, 24:48] += np.float32(0.25)
    np.testing.assert_array_equal(again[...], expected)


def named(*names, **well):
    colors = {"DNA": "0000FF", "GFP": "00FF00", "RFP": "FF0000", "Cy5": "FF00FF"}
    channels = [{"label": name, "color": colors[name]} for name in names]
    shape = (len(names), 16, 24)
    return {"shape": shape, "extra": {"omero": {"channels": channels}}} | well


def by_name(fields, wells, every):
    """The wells of a plate with their channels in one order, by numpy alone."""
    said = [
        [channel["label"] for channel in well["extra"]["omero"]["channels"]]
        for well in wells
    ]
    return [
        np.concatenate(
            [
                levels[0][np.newaxis, own.index(name)]
                if name in own
                else np.zeros((1, 16, 24), np.uint16)
                for name in every
            ]
        )
        for own, levels in zip(said, fields, strict=True)
    ]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_channels_of_wells_go_by_their_names(tmp_path, version):
    wells = [named("DNA", "GFP"), named("GFP", "DNA"), named("RFP", "DNA")]
    fields = put_plate(tmp_path / "p.zarr", wells, version)
    expected = np.concatenate(by_name(fields, wells, ["DNA", "GFP", "RFP"]), axis=-1)
    reading = opened(tmp_path / "p.zarr")
    (plate,) = reading.pyramids
    assert [channel.name for channel in plate.channels] == ["DNA", "GFP", "RFP"]
    colors = [channel.color for channel in plate.channels]
    assert colors == ["0000FF", "00FF00", "FF0000"]
    np.testing.assert_array_equal(plate.levels[0].pixels[...], expected)
    half = plate.levels[1].pixels[...]
    assert half.shape == (3, 8, 36)
    assert not half[1, :, 24:].any()
    assert half[2, :, 24:].all(axis=0).mean() > 0.9
    assert any("(DNA, GFP, RFP)" in said for said in reading.warnings)


def test_channels_of_other_wells_differ_in_colour(tmp_path):
    same = [{"label": name, "color": "00ff00"} for name in ("Cy3", "Cy5")]
    other = named("DNA", "GFP") | {"extra": {"omero": {"channels": same}}}
    put_plate(tmp_path / "p.zarr", [named("DNA", "GFP"), other])
    (plate,) = opened(tmp_path / "p.zarr").pyramids
    assert [channel.name for channel in plate.channels] == ["DNA", "GFP", "Cy3", "Cy5"]
    colors = [channel.color for channel in plate.channels]
    assert colors == ["0000FF", "00FF00", "00FFFF", "FFFF00"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_over_a_network_a_field_is_asked_once_for_its_channels(
    http_server, tmp_path, version
):
    wells = [named("DNA", "GFP"), named("GFP", "DNA"), named("GFP")]
    fields = put_plate(tmp_path / "p.zarr", wells, version)
    expected = np.concatenate(by_name(fields, wells, ["DNA", "GFP"]), axis=-1)
    (plate,) = opened(f"{http_server.url}/p.zarr").pyramids
    np.testing.assert_array_equal(plate.levels[0].pixels[...], expected)
    assert not plate.levels[1].pixels[0, :, 24:].any()
    name = "zarr.json" if version == "0.5" else ".zattrs"
    documents = tuple(f"/A/{column}/0/{name}" for column in (1, 2, 3))
    told = [r.path for r in http_server.requests if r.path.endswith(documents)]
    assert len(set(told)) == len(told) == 3


def test_over_a_network_a_channel_without_a_place_is_an_error_once(
    http_server, tmp_path
):
    place, url = own_place(http_server, tmp_path)
    wells = [named("DNA")] * 3 + [named("RFP")] + [named("DNA")] * 12
    fields = put_plate(place, wells)
    pixels = opened(url).pyramids[0].levels[0].pixels
    with pytest.raises(UnsupportedDataError, match="Well A/4 has a channel RFP"):
        pixels[:, :, 72:96]
    (plate,) = opened(url).pyramids
    assert [channel.name for channel in plate.channels] == ["DNA", "RFP"]
    expected = np.concatenate(by_name(fields, wells, ["DNA", "RFP"]), axis=-1)
    np.testing.assert_array_equal(plate.levels[0].pixels[...], expected)


def test_of_more_wells_than_are_looked_at_nearby_a_channel_has_its_place_again(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(plates, "_MOST_WELLS", 4)
    wells = [named("DNA")] * 3 + [named("RFP")] + [named("DNA")] * 4
    fields = put_plate(tmp_path / "p.zarr", wells)
    with pytest.raises(OutgrownError, match="Well A/4 has a channel RFP") as raised:
        opened(tmp_path / "p.zarr").pyramids[0].levels[0].pixels[...]
    assert raised.value.channels == ("RFP",)
    (plate,) = opened(tmp_path / "p.zarr").pyramids
    expected = np.concatenate(by_name(fields, wells, ["DNA", "RFP"]), axis=-1)
    np.testing.assert_array_equal(plate.levels[0].pixels[...], expected)
    # A plate of other wells alone does not have it.
    (plate,) = opened(tmp_path / "p.zarr", wells=("A1", "A2")).pyramids
    assert [channel.name for channel in plate.channels] == ["DNA"]


def test_a_channel_of_a_field_whose_names_were_not_asked_has_no_other_ones_place(
    http_server, tmp_path
):
    # There are not enough requests to ask each of the wells looked at for its names.
    place, url = own_place(http_server, tmp_path)
    wells = [named("DNA", "GFP"), named("RFP"), *[named("DNA", "GFP", "Cy5")] * 4]
    fields = put_plate(place, wells)
    archive = shutil.make_archive(str(tmp_path / f"{tmp_path.name}.zarr"), "zip", place)
    every = ["DNA", "GFP", "RFP", "Cy5"]
    expected = np.concatenate(by_name(fields, wells, every), axis=-1)
    (near,) = opened(archive).pyramids
    np.testing.assert_array_equal(near.levels[0].pixels[...], expected)
    for address in (url, f"{url}.zarr.zip"):
        for _ in range(3):  # what has no room is an error, and has it the next time
            (plate,) = opened(address).pyramids
            with suppress(UnsupportedDataError):
                shown = plate.levels[0].pixels[...]
        names = [channel.name for channel in plate.channels]
        assert sorted(names) == sorted(every)
        order = [names.index(name) for name in every]
        np.testing.assert_array_equal(shown[order], expected)


def test_a_plate_whose_first_wells_are_missing_takes_no_more_requests(
    http_server, tmp_path
):
    put_plate(tmp_path / "p.zarr", [None, None, *[{"count": 4}] * 3])
    with http_server.round_count() as rounds:
        (plate,) = opened(f"{http_server.url}/p.zarr").pyramids
    assert len(http_server.requests) <= 12
    assert rounds.count <= 5
    assert plate.levels[0].pixels[...].any()


def test_over_a_network_a_few_wells_are_looked_at(http_server, tmp_path):
    put_plate(tmp_path / "p.zarr", differing(7))
    reading = opened(f"{http_server.url}/p.zarr")
    assert len(http_server.requests) <= 12
    assert reading.pyramids[0].levels[0].pixels.dtype == np.float32
    assert "hold uint16, float32; all are shown as float32." in reading.warnings[0]


def test_of_wells_nearby_each_document_is_read_once(tmp_path):
    counts = []
    for wells in (3, 8):
        put_plate(tmp_path / str(wells), [{}] * wells)
        plate = opened(tmp_path / str(wells)).pyramids[0].levels[-1].pixels
        first = plate.store.requests
        assert plate[...].any()
        counts.append((first, plate.store.requests - first))
    (few, few_shown), (more, more_shown) = counts
    assert more - few == 5 * 3  # the well, its field, the field's finest level
    assert more_shown - few_shown == 5 * 3  # a level, its two chunks


def spoil_document(field):
    (field.parent / "zarr.json").write_text("{")


def spoil_field(field):
    (field / "zarr.json").write_text("[]")


def spoil_levels(field):
    for number in range(2):
        shutil.rmtree(field / str(number))


def spoil_codec(field):
    for number in range(2):
        document = json.loads((field / str(number) / "zarr.json").read_text())
        document["codecs"] = [{"name": "of tomorrow"}]
        (field / str(number) / "zarr.json").write_text(json.dumps(document))


def empty_well(field):
    put_group(field.parent, "0.5", {"well": {"images": []}})


BROKEN = [spoil_document, spoil_field, spoil_levels, spoil_codec, empty_well]


@pytest.mark.parametrize("spoil", BROKEN)
def test_a_broken_first_well_costs_itself_and_a_word(tmp_path, spoil):
    fields = put_plate(tmp_path / "p.zarr", [{}, {}, None])
    spoil(tmp_path / "p.zarr" / "A" / "1" / "0")
    reading = opened(tmp_path / "p.zarr")
    assert any("Well A/1 cannot be shown" in said for said in reading.warnings)
    pixels = reading.pyramids[0].levels[0].pixels
    np.testing.assert_array_equal(pixels[..., 24:48], fields[1][0])


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_of_wells_are_labels_of_the_plate(http_server, tmp_path, version):
    put_plate(tmp_path / "p.zarr", [{}, {}, {}], version)
    cells = {}
    for column in (0, 2):
        cells[column] = small_images.pixels((16, 24), np.int32, seed=column)
        field = tmp_path / "p.zarr" / "A" / str(column + 1) / "0"
        put_labels(field, version, "yx", cells=cells[column])
    with http_server.round_count() as rounds:
        reading = opened(f"{http_server.url}/p.zarr")
    assert rounds.count <= 4
    assert len(http_server.requests) <= 12
    plate, labels = reading.pyramids
    assert labels.label.colors
    assert (labels.name, len(labels.levels)) == ("cells", len(plate.levels))
    expected = np.zeros((16, 72), np.int32)
    for column, data in cells.items():
        expected[:, column * 24 : column * 24 + 24] = data
    for level, image in zip(labels.levels, plate.levels, strict=True):
        assert level.pixels.shape == image.pixels.shape[-2:]
        assert level.affine.scale == image.affine.scale[-2:]
        step = 72 // level.pixels.shape[-1]
        np.testing.assert_array_equal(level.pixels[...], expected[::step, ::step])
    *images, layer = read_layers(f"{http_server.url}/p.zarr")
    assert [kind for _, _, kind in (*images, layer)] == ["image", "image", "labels"]
    assert layer[1]["units"] == images[0][1]["units"]
    assert len(opened(tmp_path / "p.zarr", labels=False).pyramids) == 1
    assert len(opened(tmp_path / "p.zarr", labels=("other",)).pyramids) == 1


@settings(
    max_examples=int(os.environ.get("OMEZARR_DRAWN_PLATES", "5")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_each_tile_of_a_drawn_plate_is_its_fields_own(data, tmp_path_factory):
    """Of any sizes, types, depths, channels and levels, with labels or without."""
    draw, place = data.draw, tmp_path_factory.mktemp("drawn") / "p.zarr"
    version = draw(st.sampled_from(VERSIONS))
    sides = st.tuples(*(st.integers(*ends) for ends in SIDES))
    types = st.sampled_from([np.uint8, np.uint16, np.int16, np.float32])
    count = st.integers(1, 3)
    well = st.fixed_dictionaries({"shape": sides, "dtype": types, "count": count})
    wells = draw(st.lists(st.none() | well, min_size=1, max_size=4).filter(any))
    fields = put_plate(place, wells, version, names="tczyx")
    labelled = {}
    first = next(n for n, well in enumerate(wells) if well)
    for number, well in enumerate(wells):
        if well and (number == first or draw(st.booleans())):
            times, _, *shape = well["shape"]
            kind = draw(st.sampled_from([np.uint8, np.uint16, np.int32]))
            values = small_images.pixels((times, *shape), kind, seed=number + 50)
            put_labels(place / f"A/{number + 1}/0", version, "tzyx", cells=values)
            labelled[number] = values
    image, labels = (p.levels[0].pixels for p in opened(place).pyramids)
    grid = image.fields.grid
    for number, levels in enumerate(fields):
        left = grid.corner((0, number))[1]
        for pixels, own in ((image, levels[:1]), (labels, [labelled.get(number)])):
            shown = pixels[..., left : left + grid.cell[1]].copy()
            for values in own:
                if values is not None:
                    box = tuple(slice(size) for size in values.shape)
                    np.testing.assert_array_equal(shown[box], values)
                    shown[box] = 0
            assert not shown.any()


SIDES = [(1, 2), (1, 3), (1, 2), (8, 24), (8, 30)]


def test_coarser_labels_lie_over_the_same_wells(tmp_path):
    put_plate(tmp_path / "p.zarr", [{}, {"shape": (2, 16, 40)}])
    for column in (1, 2):
        field = tmp_path / "p.zarr" / "A" / str(column) / "0"
        put_labels(field, "0.5", "yx", cells=np.full((8, 12), column, np.uint8))
    plate, labels = opened(tmp_path / "p.zarr").pyramids
    assert (plate.shape, labels.shape) == ((2, 16, 80), (8, 40))
    np.testing.assert_allclose(labels.levels[0].affine.scale, [1, 1])
    np.testing.assert_allclose(labels.levels[0].affine.translation, [0.25, 0.25])
    shown = labels.levels[0].pixels[...]
    assert (shown[:, :12] == 1).all()
    assert (shown[:, 20:32] == 2).all()
    assert not shown[:, 12:20].any()


def test_broken_labels_of_a_plate_cost_themselves(tmp_path):
    put_plate(tmp_path / "p.zarr", [{}, {}])
    field = tmp_path / "p.zarr" / "A" / "1" / "0"
    put_labels(field, "0.5", "yx", good=np.ones((16, 24), np.uint8))
    put_group(field / "labels", "0.5", {"labels": ["gone", "odd", "good"]})
    put_group(field / "labels" / "odd", "0.5", {"multiscales": [{}]})
    reading = opened(tmp_path / "p.zarr")
    assert [pyramid.name for pyramid in reading.pyramids[1:]] == ["good"]
    for name in ("gone", "odd"):
        assert any(f"labels/{name}" in said for said in reading.warnings)


def put_well(path, fields, **labels):
    images = [{"path": str(number)} for number in range(len(fields))]
    put_group(path, "0.5", {"well": {"images": images}})
    written = []
    for number, options in enumerate(fields):
        field = path / str(number)
        options = {"shape": (2, 16, 24), "count": 2, "seed": number} | options
        written.append(put_image(field, names="cyx", **options))
        if labels:
            put_labels(field, "0.5", "yx", **labels)
    return written


def test_fields_of_a_well_that_differ_have_room_and_a_type_for_all(tmp_path):
    fields = put_well(
        tmp_path / "w.zarr", [{}, {"shape": (2, 20, 10), "dtype": np.float32}]
    )
    reading = opened(tmp_path / "w.zarr")
    (well,) = reading.pyramids
    expected = laid_out(fields, (2, 20, 24), np.float32)
    np.testing.assert_array_equal(well.levels[0].pixels[...], expected)
    assert len(reading.warnings) == 2


@pytest.mark.parametrize("count", [1, 3])
def test_a_well_shows_the_labels_of_its_fields(tmp_path, count):
    cells = small_images.pixels((16, 24), np.int32)
    put_well(tmp_path / "w.zarr", [{}] * count, cells=cells)
    _, labels = opened(tmp_path / "w.zarr").pyramids
    shown = labels.levels[0].pixels[...]
    np.testing.assert_array_equal(shown[:16, :24], cells)
    assert shown.any(axis=0).sum() == shown.shape[1]


def test_a_broken_field_of_a_well_costs_itself(tmp_path):
    fields = put_well(tmp_path / "w.zarr", [{}, {}, {}])
    (tmp_path / "w.zarr" / "0" / "zarr.json").write_text("{")
    reading = opened(tmp_path / "w.zarr")
    assert any("Field 0 cannot be shown" in said for said in reading.warnings)
    pixels = reading.pyramids[0].levels[0].pixels
    np.testing.assert_array_equal(pixels[:, :16, 24:48], fields[1][0])


@pytest.mark.parametrize("is_near", [True, False])
@pytest.mark.parametrize("lost", ["1", "2", "3", "12", "23"])
def test_fields_without_their_finest_level_lie_where_they_lay(
    http_server, tmp_path, lost, is_near
):
    put_plate(tmp_path / "p.zarr", [{}, {}, {}])
    place = tmp_path / "p.zarr" if is_near else f"{http_server.url}/p.zarr"
    before = opened(place).pyramids[0].levels[0]
    whole = before.pixels[...]
    for well in lost:
        shutil.rmtree(tmp_path / "p.zarr" / "A" / well / "0" / "0")
    after = opened(place).pyramids[0].levels[0]
    shown = after.pixels[...]
    assert after.affine == before.affine
    differ = np.flatnonzero((shown != whole).any(axis=(0, 1))) * 3 // shown.shape[-1]
    assert {str(well + 1) for well in differ} == set(lost)
    np.testing.assert_array_equal(shown[..., ::2, ::2], whole[..., ::2, ::2])


# Several fields in a well, several acquisitions.


def put_fields(path, wells, *, positions=None, size=(64, 96), acquisitions=None):
    """Write a plate of one row whose wells have so many fields each, of one channel.

    `positions` gives the translations of fields in pixels, `acquisitions` their ids.
    Returns the finest level of each field, by well and number.
    """
    names = [str(number + 1) for number in range(len(wells))]
    plate = {
        "rows": [{"name": "A"}],
        "columns": [{"name": name} for name in names],
        "wells": [
            {"path": f"A/{name}", "rowIndex": 0, "columnIndex": number}
            for number, name in enumerate(names)
        ],
    }
    if acquisitions:
        plate["acquisitions"] = [{"id": n} for n in dict.fromkeys(acquisitions)]
    put_group(path, "0.5", {"plate": plate})
    found = {}
    for column, count in enumerate(wells):
        images = [{"path": str(number)} for number in range(count)]
        for image, number in zip(images, acquisitions or (), strict=False):
            image["acquisition"] = number
        put_group(path / "A" / names[column], "0.5", {"well": {"images": images}})
        for number in range(count):
            field = path / "A" / names[column] / str(number)
            seed = 10 * column + number
            (finest, _) = put_image(
                field, names="yx", shape=size, count=2, seed=seed, chunks=(32, 48)
            )
            found[column, number] = finest
            if positions:
                move(field, positions[number])
    return found


def move(field, position):
    document = json.loads((field / "zarr.json").read_text())
    (multiscale,) = document["attributes"]["ome"]["multiscales"]
    shift = [0.5 * part for part in position]
    multiscale["coordinateTransformations"] = [
        {"type": "translation", "translation": shift}
    ]
    (field / "zarr.json").write_text(json.dumps(document))


@pytest.fixture(params=["near", "far"])
def place(request, http_server, tmp_path):
    """Where a plate below ``tmp_path`` is opened: on this computer, or elsewhere."""
    return tmp_path if request.param == "near" else http_server.url


def test_fields_without_positions_lie_on_a_grid_with_gaps(place, tmp_path):
    fields = put_fields(tmp_path / "p.zarr", [4, 3])
    (plate,) = opened(f"{place}/p.zarr").pyramids
    grid = plate.levels[0].pixels.fields.grid
    assert grid.cell == (129, 193)
    assert grid.pitch == (133, 197)
    expected = np.zeros(grid.shape, np.uint16)
    for (column, number), values in fields.items():
        y, x = number // 2 * 65, column * 197 + number % 2 * 97
        expected[y : y + 64, x : x + 96] = values
    np.testing.assert_array_equal(plate.levels[0].pixels[...], expected)
    np.testing.assert_array_equal(plate.data()[0].compute(), expected)
    half = plate.levels[1].pixels[...]
    np.testing.assert_array_equal(half[:32, :48], fields[0, 0][::2, ::2])
    (gridded,) = opened(f"{place}/p.zarr", fields="grid").pyramids
    np.testing.assert_array_equal(gridded.levels[0].pixels[...], expected)


POSITIONS = {
    "a line": [(0, 0), (0, 80), (0, 160), (0, 240)],
    "overlapping, from elsewhere": [(500, 900), (500, 980), (560, 980), (560, 900)],
    "a plus": [(0, 90), (60, 0), (60, 180), (120, 90)],
}


@pytest.mark.parametrize("kind", POSITIONS)
def test_fields_lie_where_their_translations_say(place, tmp_path, kind):
    positions = POSITIONS[kind]
    fields = put_fields(tmp_path / "p.zarr", [4, 4], positions=positions)
    reading = opened(f"{place}/p.zarr")
    (plate,) = reading.pyramids
    top, left = np.min(positions, axis=0)
    height, width = np.max(positions, axis=0) - (top, left) + (64, 96)
    grid = plate.levels[0].pixels.fields.grid
    assert grid.cell == (height, width)
    expected = np.zeros(grid.shape, np.uint16)
    for (column, number), values in fields.items():
        y, x = positions[number]
        y, x = y - top, x - left + column * grid.pitch[1]
        expected[y : y + 64, x : x + 96] = values
    np.testing.assert_array_equal(plate.levels[0].pixels[...], expected)


def test_fields_further_away_than_could_be_known_are_an_error_once(
    http_server, tmp_path
):
    positions = [(0, 0), *((0, 100 * n) for n in range(1, 7)), (700, 50), (0, 20)]
    fields = put_fields(tmp_path / "p.zarr", [9, 9], positions=positions)
    pixels = opened(f"{http_server.url}/p.zarr").pyramids[0].levels[0].pixels
    assert len(http_server.requests) <= 12
    with pytest.raises(UnsupportedDataError, match=r"beyond the place of its well"):
        pixels[...]
    pixels = opened(f"{http_server.url}/p.zarr").pyramids[0].levels[0].pixels
    corner = pixels.fields.grid.pitch[1]
    shown = pixels[700:764, corner + 50 : corner + 146]
    np.testing.assert_array_equal(shown, fields[1, 7])
    assert pixels[...].any()


def test_wells_with_more_fields_than_the_first_have_room_for_them(place, tmp_path):
    fields = put_fields(tmp_path / "p.zarr", [1, 3])
    first = opened(f"{place}/p.zarr").pyramids[0].levels[0].pixels
    first[...]  # over a network the second well is found out here
    if place != tmp_path:
        said = "Well A/2 has 3 fields, and there is room for 1: open the plate again"
        assert any(said in note for note in first.store.notes)
    assert first.fields.most_fields == 3
    assert run(first.fields.field_path((0, 1), 2)).endswith("A/2/2")
    assert run(first.fields.field_path((0, 0), 1)) is None
    (plate,) = opened(f"{place}/p.zarr").pyramids
    pixels = plate.levels[0].pixels
    expected = np.zeros(pixels.shape, np.uint16)
    expected[:64, :96] = fields[0, 0]
    left = pixels.fields.grid.pitch[1]
    for number in range(3):
        y, x = number // 2 * 65, left + number % 2 * 97
        expected[y : y + 64, x : x + 96] = fields[1, number]
    np.testing.assert_array_equal(pixels[...], expected)
    alone = opened(f"{place}/p.zarr", fields=0).pyramids[0].levels[0].pixels
    alone[...]
    assert not any("there is room" in note for note in alone.store.notes)


def test_one_field_at_a_time_or_alone(place, tmp_path):
    fields = put_fields(tmp_path / "p.zarr", [3, 2])
    (each,) = opened(f"{place}/p.zarr", fields="each").pyramids
    assert [axis.name for axis in each.axes] == ["field", "y", "x"]
    pixels = each.levels[0].pixels
    assert pixels.shape == (3, 64, 96 * 2 + 2)
    for (column, number), values in fields.items():
        shown = pixels[number, :, column * 98 : column * 98 + 96]
        np.testing.assert_array_equal(shown, values)
    assert not pixels[2, :, 98:].any()
    (second,) = opened(f"{place}/p.zarr", fields=1).pyramids
    np.testing.assert_array_equal(second.levels[0].pixels[...], pixels[1])
    (named,) = opened(f"{place}/p.zarr", fields="1").pyramids
    np.testing.assert_array_equal(named.levels[0].pixels[...], pixels[1])
    with pytest.raises(OptionError, match="wells have 3"):
        opened(f"{place}/p.zarr", fields=3)


def test_acquisitions_are_stepped_through_or_chosen(place, tmp_path):
    fields = put_fields(tmp_path / "p.zarr", [4, 4], acquisitions=[7, 7, 9, 9])
    (plate,) = opened(f"{place}/p.zarr").pyramids
    assert [axis.name for axis in plate.axes] == ["acquisition", "y", "x"]
    pixels = plate.levels[0].pixels
    for step in (0, 1):
        np.testing.assert_array_equal(pixels[step, :64, :96], fields[0, 2 * step])
    (last,) = opened(f"{place}/p.zarr", acquisition=9).pyramids
    np.testing.assert_array_equal(last.levels[0].pixels[...], pixels[1])
    (both,) = opened(f"{place}/p.zarr", fields="each").pyramids
    assert [axis.name for axis in both.axes][:2] == ["acquisition", "field"]
    np.testing.assert_array_equal(both.levels[0].pixels[1, 1, :, 98:], fields[1, 3])
    layers = read_layers(f"{place}/p.zarr", fields="each")
    assert layers[0][1]["axis_labels"] == ("acquisition", "field", "y", "x")
    with pytest.raises(OptionError, match="there are: 7, 9"):
        opened(f"{place}/p.zarr", acquisition=8)


def test_rows_columns_and_wells_are_chosen(tmp_path):
    found = small_images.put_plate(tmp_path / "p.zarr")
    every = read_layers(tmp_path / "p.zarr")[0][0][0].compute()
    for options, box in (
        ({"rows": ["B"]}, every[16:]),
        ({"columns": [1, 3]}, every[:, np.r_[:24, 48:72]]),
        ({"wells": ["B2"]}, found[1, 1][0]),
        ({"wells": ["b/2", "B/3"]}, every[16:, 24:]),
    ):
        layers = read_layers(tmp_path / "p.zarr", **options)
        np.testing.assert_array_equal(layers[0][0][0].compute(), box)
    for options in ({"rows": ["Q"]}, {"wells": ["A9"]}, {"columns": ["0"]}):
        with pytest.raises(OptionError):
            read_layers(tmp_path / "p.zarr", **options)


def test_holes_are_empty_and_said_once_of_each_kind(place, tmp_path):
    fields = put_fields(tmp_path / "p.zarr", [1] * 6)
    well = tmp_path / "p.zarr" / "A"
    for column in (1, 5):
        shutil.rmtree(well / str(column))
    (well / "2" / "zarr.json").write_text("{")
    spoil_codec(well / "4" / "0")
    reading = opened(f"{place}/p.zarr")
    pixels = reading.pyramids[0].levels[0].pixels
    expected = np.zeros(pixels.shape, np.uint16)
    for column in (2, 5):
        expected[:, column * 98 : column * 98 + 96] = fields[column, 0]
    np.testing.assert_array_equal(pixels[...], expected)
    states = pixels.fields.documents.states
    assert {name: states[name] for name in sorted(states)} == {
        "A/1": "missing",
        "A/2": "broken",
        "A/3": "loaded",
        "A/4": "broken",
        "A/5": "missing",
        "A/6": "loaded",
    }
    said = [n for n in pixels.store.notes if "stays empty" in n]
    assert len(said) == 2


def test_contrast_is_that_of_a_field_where_the_middle_is_empty(http_server, tmp_path):
    fields = put_fields(tmp_path / "p.zarr", [1] * 9)
    shutil.rmtree(tmp_path / "p.zarr" / "A" / "5")
    ((_, options, _),) = read_layers(f"{http_server.url}/p.zarr")
    low, high = options["contrast_limits"]
    assert (low, high) == pytest.approx(
        np.percentile(fields[0, 0][::2, ::2], (0.1, 99.9))
    )


def test_a_refused_well_is_an_error(http_server, tmp_path):
    put_fields(tmp_path / "p.zarr", [1] * 3)
    pixels = opened(f"{http_server.url}/p.zarr").pyramids[0].levels[0].pixels
    http_server.fault("*/A/2/*", Status(403), forever=True)
    with pytest.raises(AccessDeniedError):
        pixels[:, 98:194]
    http_server.clear()
    assert pixels[:, 98:194].any()


# Consolidated metadata of a plate.


def put_consolidated(path, version, wells):
    fields = put_plate(path, wells, version)
    put_group(path / "A", version, {})  # or what is below is not consolidated
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(path), zarr_format=2 if version < "0.5" else 3)
    return laid_out(fields, (2, 16, 24), np.uint16)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_well_removed_below_consolidated_metadata_is_a_hole(
    http_server, tmp_path, version
):
    every = put_consolidated(tmp_path / "p.zarr", version, [{}] * 3)
    shutil.rmtree(tmp_path / "p.zarr" / "A" / "2")
    pixels = opened(f"{http_server.url}/p.zarr").pyramids[0].levels[0].pixels
    every[..., 24:48] = 0
    np.testing.assert_array_equal(pixels[...], every)
    assert pixels.fields.documents.states["A/2"] == "missing"
    assert pixels.store.notes == (
        "Well A/2 is listed, and is not there: it stays empty.",
    )


@pytest.mark.parametrize("where", ["local", "http"])
def test_a_plate_of_which_only_zmetadata_is_served_is_shown(where, request, tmp_path):
    every = put_consolidated(tmp_path / "p.zarr", "0.4", [{}, None, {}])
    for name in (".zgroup", ".zattrs", ".zarray"):
        for document in (tmp_path / "p.zarr").rglob(name):
            document.unlink()
    root = tmp_path if where == "local" else request.getfixturevalue("http_server").url
    pixels = opened(f"{root}/p.zarr").pyramids[0].levels[0].pixels
    np.testing.assert_array_equal(pixels[...], every)
    states = pixels.fields.documents.states
    assert states == {"A/1": "loaded", "A/2": "missing", "A/3": "loaded"}
