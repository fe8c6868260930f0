"""What opening and looking at plates of any size asks for, counted."""

from __future__ import annotations

import gc
import pickle
from threading import Thread

import numpy as np
import pytest

from napari_omezarr import _io_loop
from napari_omezarr.errors import OptionError
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.reading import ReadOptions, read
from servers.plates import PlateServer

SIZES = [(1, 1), (8, 12), (16, 24), (32, 48)]


@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize(("fields", "acquisitions"), [(1, 1), (4, 1), (9, 4)])
def test_opening_takes_twelve_requests_and_a_well_its_own(
    rows, columns, fields, acquisitions
):
    options = {"fields": fields, "acquisitions": acquisitions, "size": 64}
    with PlateServer(rows, columns, **options) as server:
        with server.round_count() as rounds:
            (plate,) = read(Location.parse(server.address)).pyramids
        assert rounds.count <= 4
        assert len(server.requests) <= 12
        names = [axis.name for axis in plate.axes[:-2]]
        assert ("acquisition" in names) is (acquisitions > 1)
        together = rows * columns * fields
        assert ("field" in names) is (fields > 1 and together > 4096)
        finest = plate.levels[0].pixels
        assert max(plate.levels[-1].pixels.shape) <= 2048
        server.clear_log()
        corner = finest.fields.grid.corner((rows - 1, columns - 1))
        step = (acquisitions - 1,) if acquisitions > 1 else ()
        step += (0,) if "field" in names else ()
        shown = finest[(*step, *(slice(c, c + 64) for c in corner))]
        well = list(finest.fields.grid.wells.values())[-1]
        field = fields * (acquisitions - 1)
        np.testing.assert_array_equal(shown, server.shown(well, field, 0))
        paths = [request.path for request in server.requests]
        assert len(set(paths)) == len(paths)
        assert all(f"/{well}/" in path for path in paths)
        asked = fields if "field" not in names else 1
        assert len(paths) <= 1 + asked + 2  # the well, its fields, an array, a chunk


def test_of_many_wells_several_are_read_at_a_time():
    with PlateServer(32, 48) as server:
        (plate,) = read(Location.parse(server.address)).pyramids
    for level in plate.levels[-2:]:  # a well and its gap are 33 and 66 pixels there
        counts = [-(-s // c) for s, c in zip(level.shape, level.chunks, strict=True)]
        assert np.prod(counts) == 32 * 48 / 4


def test_the_whole_plate_asks_each_well_once_for_little():
    with PlateServer(6, 8, size=128, missing=("C/3",)) as server:
        levels = read(Location.parse(server.address)).pyramids[0].levels
        server.clear_log()
        shown = levels[-1].pixels[...]
        paths = [request.path for request in server.requests]
        assert len(set(paths)) == len(paths)
        assert len(paths) <= 4 * 48
        assert sum(path.endswith("/c/0/0") for path in paths) == 47
        top = shown[:32, :32]
        np.testing.assert_array_equal(top, server.shown("A/1", 0, 2))
        again = levels[-1].pixels[...]
        np.testing.assert_array_equal(again, shown)
        assert len(server.requests) == len(paths)
        (layer,) = read_layers(server.address)
        np.testing.assert_array_equal(layer[0][-1].compute(), shown)
        elsewhere = pickle.loads(pickle.dumps(layer[0][-1]))  # on a cluster's worker
        np.testing.assert_array_equal(elsewhere.compute(), shown)


def test_pythons_oldest_garbage_waits_while_a_place_is_opened(monkeypatch):
    said = [((700, 10, 10), 0)]

    def note(*counts):
        said.append((counts, len(server.requests)))

    monkeypatch.setattr(
        _io_loop, "_waiting", _io_loop._Waiting()
    )  # not what others began
    monkeypatch.setattr(gc, "get_threshold", lambda: said[-1][0])
    monkeypatch.setattr(gc, "set_threshold", note)
    with PlateServer(2, 2) as server:
        read(Location.parse(server.address))
        with pytest.raises(OptionError):
            read(Location.parse(server.address), ReadOptions(rows=("Z",)))
    _, (first, none), (again, some), *_, (last, _) = said
    assert (first, none) == ((700, 10, 1000), 0)
    assert again == last == (700, 10, 10)
    assert some > 0


def test_a_wait_may_end_where_garbage_is_collected(monkeypatch):
    waiting, said, ends = _io_loop._Waiting(), [(700, 10, 10)], []

    def threshold():
        while ends:
            ends.pop()()
        return said[-1]

    monkeypatch.setattr(gc, "get_threshold", threshold)
    monkeypatch.setattr(gc, "set_threshold", lambda *counts: said.append(counts))

    def waits():
        waiting.begin()
        ends.append(waiting.end)
        waiting.begin()  # which is where the first one ends
        assert said[-1] == (700, 10, 1000)
        waiting.end()

    thread = Thread(target=waits, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert said[-1] == (700, 10, 10)


def test_a_million_wells_open_as_others_do():
    with PlateServer(1000, 1000, size=64) as server:
        reading = read(Location.parse(server.address), ReadOptions())
        assert len(server.requests) <= 12
        (plate,) = reading.pyramids
        assert len(plate.levels[0].pixels.fields.grid.wells) == 10_000
        assert any("the first 10,000 are read" in said for said in reading.warnings)
        grid = plate.levels[0].pixels.fields.grid
        assert grid.size == (10, 1000)
        assert any(
            "rows A to J, columns 1 to 1000" in said for said in reading.warnings
        )
        assert max(plate.levels[-1].pixels.shape) <= 16 * 1032
        # All rows and columns can be chosen, also of wells that were not read.
        options = ReadOptions(rows=("ALK", "ALL"), columns=("7", "8"))
        reading = read(Location.parse(server.address), options)
        (plate,) = reading.pyramids
        wells = plate.levels[0].pixels.fields.grid.wells
        assert set(wells.values()) == {"ALK/7", "ALK/8", "ALL/7", "ALL/8"}
        assert not any("10,000" in said for said in reading.warnings)
        shown = plate.levels[0].pixels[-64:, -64:]
        np.testing.assert_array_equal(shown, server.shown("ALL/8", 0, 0))
        options = ReadOptions(wells=("ALL1000", "b/3"))
        (plate,) = read(Location.parse(server.address), options).pyramids
        assert plate.levels[0].pixels.fields.grid.size == (2, 2)
        with pytest.raises(OptionError, match="lists no well"):
            read(Location.parse(server.address), ReadOptions(wells=("ZZZ1",)))
