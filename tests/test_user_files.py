from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.location import Location
from napari_omezarr.user_files import (
    FOLDER_VARIABLE,
    MOST,
    Recents,
    configuration_folder,
    read_json,
    write_json,
)

if TYPE_CHECKING:
    from pathlib import Path

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.fixture
def recents(tmp_path: Path) -> Recents:
    return Recents(tmp_path / "config" / "recents.json")


def addresses(recents: Recents) -> list[str]:
    return [entry.address for entry in recents.entries()]


def test_there_are_none_at_first(recents: Recents) -> None:
    assert recents.entries() == ()


def test_the_newest_comes_first_and_each_once(recents: Recents) -> None:
    for name in ("a", "b", "a"):
        recents.add(Location.parse(f"s3://bucket/{name}.zarr"))
    assert addresses(recents) == ["s3://bucket/a.zarr", "s3://bucket/b.zarr"]


def test_only_so_many_are_kept(recents: Recents) -> None:
    for number in range(MOST + 5):
        recents.add(Location.parse(f"s3://bucket/{number}.zarr"))
    assert len(addresses(recents)) == MOST
    assert addresses(recents)[0] == f"s3://bucket/{MOST + 4}.zarr"


def test_nothing_secret_is_written(recents: Recents) -> None:
    recents.add(Location.parse("https://me:hush@host/a.zarr?X-Amz-Signature=hush"))
    assert addresses(recents) == ["https://host/a.zarr"]
    assert "hush" not in recents.file.read_text()


def test_how_to_sign_in_stays_by_name(recents: Recents) -> None:
    place = Location.parse("s3://bucket/a.zarr", profile="lab", region="eu-west-1")
    recents.add(place)
    assert [Location.parse(address) for address in addresses(recents)] == [place]


def test_secrets_that_another_program_wrote_are_not_given_out(
    recents: Recents,
) -> None:
    write_json(recents.file, {"places": [{"address": "https://h/a.zarr?sig=hush"}]})
    assert addresses(recents) == ["https://h/a.zarr"]


def test_a_place_in_memory_is_not_remembered(recents: Recents) -> None:
    recents.add(Location.parse("memory://a.zarr"))
    assert addresses(recents) == []


def test_places_can_be_forgotten(recents: Recents) -> None:
    for name in ("a", "b", "c"):
        recents.add(Location.parse(f"s3://bucket/{name}.zarr"))
    recents.remove("s3://bucket/b.zarr")
    assert addresses(recents) == ["s3://bucket/c.zarr", "s3://bucket/a.zarr"]
    recents.clear()
    assert addresses(recents) == []


@settings(max_examples=60)
@given(content=JSON | st.fixed_dictionaries({"places": st.lists(JSON)}))
def test_any_json_is_tolerated(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    recents = Recents(tmp_path_factory.mktemp("config") / "recents.json")
    recents.file.write_text(json.dumps(content))
    recents.add(Location.parse("s3://bucket/fresh.zarr"))
    assert addresses(recents)[0] == "s3://bucket/fresh.zarr"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_broken_file_counts_as_none(recents: Recents, content: bytes) -> None:
    recents.file.parent.mkdir()
    recents.file.write_bytes(content)
    assert recents.entries() == ()


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    recents = Recents(tmp_path / "file" / "recents.json")
    recents.add(Location.parse("s3://bucket/a.zarr"))
    assert recents.entries() == ()


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"old": 1})
    with pytest.raises(TypeError):
        write_json(file, {"new": object()})
    assert read_json(file) == {"old": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_the_folder_can_be_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert configuration_folder() == tmp_path
    assert Recents().file.parent == tmp_path
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert configuration_folder().name == "napari-omezarr"


@pytest.mark.skipif(os.name == "nt", reason="folders have no modes there")
def test_folders_of_the_person_are_private(tmp_path):
    write_json(tmp_path / "ours/file.json", {})
    assert (tmp_path / "ours").stat().st_mode & 0o777 == 0o700
