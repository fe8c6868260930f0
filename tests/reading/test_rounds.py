"""How many rounds and requests an opening takes, counted at the server."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

import small_images
from napari_omezarr.layers import read_layers
from napari_omezarr.location import Location
from napari_omezarr.reading import ReadOptions, read

VERSIONS = ["0.4", "0.5", "0.6"]


def opened(server, path, options=None):
    """Open over HTTP; give the reading, and the rounds and requests it took."""
    with server.round_count() as rounds:
        reading = read(Location.parse(f"{server.url}/{path}"), options)
    return reading, rounds.count, list(server.requests)


def only_gets(requests):
    return {request.method for request in requests} == {"GET"}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_image_opens_in_two_rounds(http_server, tmp_path, version):
    small_images.put_image(tmp_path / "a.zarr", version)
    reading, rounds, requests = opened(http_server, "a.zarr")
    assert len(reading.pyramids) == 1
    assert rounds == 2
    assert len(requests) <= 5 + 3
    assert only_gets(requests)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_image_with_labels_opens_in_three_rounds(http_server, tmp_path, version):
    small_images.put_image(tmp_path / "a.zarr", version)
    data = small_images.pixels((4, 16, 24), np.uint8)
    labels = dict.fromkeys(("cells", "nuclei", "spots"), data)
    small_images.put_labels(tmp_path / "a.zarr", version, **labels)
    reading, rounds, requests = opened(http_server, "a.zarr")
    assert len(reading.pyramids) == 4
    assert rounds == 3
    assert only_gets(requests)
    with http_server.round_count() as shown:
        read_layers(f"{http_server.url}/a.zarr")
    assert shown.count == rounds  # that there are no tables of features is known
    asked = [request.path for request in http_server.requests]
    documents = (".json", ".zattrs", ".zarray", ".zmetadata")
    assert sum(path.endswith(documents) for path in asked) == 2 * len(requests)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_series_opens_in_four_rounds(http_server, tmp_path, version):
    small_images.put_series(tmp_path / "a.zarr", version, count=6)
    reading, rounds, requests = opened(http_server, "a.zarr")
    assert len(reading.pyramids) == 6
    assert rounds <= 4
    assert only_gets(requests)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (16, 24)])
def test_a_plate_opens_in_four_rounds_and_twelve_requests(
    http_server, tmp_path, version, rows, columns
):
    small_images.put_plate(tmp_path / "a.zarr", version, rows=1, columns=1, count=4)
    put_plate_document(tmp_path / "a.zarr", version, rows, columns)
    reading, rounds, requests = opened(http_server, "a.zarr")
    assert reading.pyramids[0].shape == (2, rows * 16, columns * 24)
    assert rounds <= 4
    assert len(requests) <= 12
    assert only_gets(requests)


def put_plate_document(path, version, rows, columns):
    """Let the plate list many wells, of which only the first one exists."""
    names = [chr(65 + row) for row in range(rows)], [str(c) for c in range(columns)]
    wells = [
        {"path": "A/1" if (i, j) == (0, 0) else f"{a}/{b}x", "rowIndex": i}
        | {"columnIndex": j}
        for i, a in enumerate(names[0])
        for j, b in enumerate(names[1])
    ]
    plate = {
        "rows": [{"name": name} for name in names[0]],
        "columns": [{"name": name} for name in names[1]],
        "wells": wells,
    }
    small_images.put_group(path, version, {"plate": plate})


def test_a_level_opens_its_image_with_one_more_round(http_server, tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    reading, rounds, _ = opened(http_server, "a.zarr/1")
    assert len(reading.pyramids[0].levels) == 3
    assert rounds <= 4


def test_consolidated_metadata_of_zarr_3_make_it_one_round(http_server, tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    small_images.put_labels(
        tmp_path / "a.zarr", cells=small_images.pixels((4, 16, 24), np.uint8)
    )
    with pytest.warns(UserWarning, match="Consolidated"):
        zarr.consolidate_metadata(str(tmp_path / "a.zarr"))
    reading, rounds, requests = opened(http_server, "a.zarr")
    assert len(reading.pyramids) == 2
    assert rounds == 1
    assert len(requests) == 5


def test_consolidated_metadata_of_zarr_2_make_it_one_round(http_server, tmp_path):
    small_images.put_image(tmp_path / "a.zarr", "0.4")
    zarr.consolidate_metadata(str(tmp_path / "a.zarr"), zarr_format=2)
    _, rounds, _ = opened(http_server, "a.zarr")
    assert rounds == 1


def test_a_label_that_consolidated_metadata_do_not_know_is_found(http_server, tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    with pytest.warns(UserWarning, match="Consolidated"):
        zarr.consolidate_metadata(str(tmp_path / "a.zarr"))
    small_images.put_labels(
        tmp_path / "a.zarr", cells=small_images.pixels((4, 16, 24), np.uint8)
    )
    reading, _, _ = opened(http_server, "a.zarr")
    assert [pyramid.label is not None for pyramid in reading.pyramids] == [False, True]


def test_labels_that_are_not_wanted_cost_nothing(http_server, tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    small_images.put_labels(
        tmp_path / "a.zarr", cells=small_images.pixels((4, 16, 24), np.uint8)
    )
    reading, rounds, _ = opened(http_server, "a.zarr", ReadOptions(labels=False))
    assert len(reading.pyramids) == 1
    assert rounds == 2


def test_opening_asks_no_chunk(http_server, tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    _, _, requests = opened(http_server, "a.zarr")
    names = {request.path.rpartition("/")[2] for request in requests}
    assert names <= {"zarr.json", ".zattrs", ".zmetadata", ".zarray", ".zgroup"}


def test_the_number_of_chunks_changes_no_request(http_server, tmp_path):
    counts = []
    for name, side in (("few", 32), ("many", 32 * 3163)):
        small_images.put_image(tmp_path / name, names="yx", shape=(16, 16), count=1)
        document = json.loads((tmp_path / name / "0" / "zarr.json").read_text())
        document["shape"] = [side, side]
        document["chunk_grid"]["configuration"]["chunk_shape"] = [32, 32]
        (tmp_path / name / "0" / "zarr.json").write_text(json.dumps(document))
        http_server.clear()
        reading, _, requests = opened(http_server, name)
        data = reading.pyramids[0].data(0)[0]
        assert data.shape == (side, side)
        assert data.npartitions <= 10_000
        counts.append(len(requests))
    assert counts[0] == counts[1]
