"""The manifest, judged by npe2: what it matches, and that what it names exists."""

from __future__ import annotations

import inspect
from importlib.resources import files
from pathlib import Path

import pytest
from npe2 import PluginManager, PluginManifest
from npe2.manifest.utils import import_python_name

from napari_omezarr import _hooks

PLUGIN = "napari-omezarr"
ROOT = Path(__file__).parents[1]


@pytest.fixture
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution(PLUGIN)


@pytest.fixture
def manager(manifest: PluginManifest) -> PluginManager:
    manager = PluginManager()
    manager.register(manifest)
    return manager


def is_matched(manager: PluginManager, path: str) -> bool:
    return bool(list(manager.iter_compatible_readers([path])))


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/cells.zarr",
        "https://host/cells.ome.zarr",
        "https://host/cells.zarr/",
        "https://host/cells.zarr?X-Amz-Signature=ab%2Fcd",
        "https://host/cells.zarr/labels/nuclei",
        "https://host/cells.zarr.zip",
        "https://host/cells.ozx",
        "https://host/cells.ozx?sig=x",
        "s3://bucket/a/prefix",
        "S3://bucket/cells.zarr",
        "gs://bucket/prefix",
        "az://container/prefix",
        "s3+https://host/bucket/prefix%7Canonymous:true",
        "gs+http://host/bucket/prefix",
        "az+https://host/container/prefix",
        "s3://bucket/prefix|profile:lab|auto:",
        "https://host/prefix%7Cauto:",
        "cells.zarr.zip",
        "cells.ome.zarr.zip",
        "cells.OZX",
        "/data/cells.ozx",
    ],
)
def test_addresses_of_ome_zarr_are_matched_and_claimed(
    manager: PluginManager, address: str
) -> None:
    assert is_matched(manager, address)
    assert _hooks.get_reader(address) is not None


@pytest.mark.parametrize(
    "address",
    [
        "https://host/prefix",
        "https://host/image.tif",
        "https://host/index.html",
        "image.tif",
        "archive.zip",
    ],
)
def test_addresses_that_napari_would_ask_about_are_not_matched(
    manager: PluginManager, address: str
) -> None:
    assert not is_matched(manager, address)


# npe2 compares addresses with patterns in lower case, but not the addresses.
def test_an_upper_case_suffix_on_the_web_needs_our_dialog(
    manager: PluginManager,
) -> None:
    assert not is_matched(manager, "https://host/CELLS.ZARR")
    assert _hooks.get_reader("https://host/CELLS.ZARR") is not None


@pytest.mark.parametrize(
    "address",
    ["s3://bucket/image.tif", "https://host/a.zarr.tiff", "https://host/a.zarrish"],
)
def test_what_the_patterns_catch_too_much_is_declined(
    manager: PluginManager, address: str
) -> None:
    assert is_matched(manager, address)
    assert _hooks.get_reader(address) is None


@pytest.mark.parametrize("name", ["cells.zarr", "cells.ome.zarr", "plain"])
def test_local_folders_are_matched(
    manager: PluginManager, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    assert is_matched(manager, str(tmp_path / name))


def test_several_addresses_are_claimed_together_or_not_at_all() -> None:
    assert _hooks.get_reader(["s3://b/a.zarr", "s3://b/b.zarr"]) is not None
    assert _hooks.get_reader(["s3://b/a.zarr", "s3://b/b.tif"]) is None


def test_every_command_exists_and_is_a_doormat(manifest: PluginManifest) -> None:
    # Widgets are classes, which napari needs to see, and they need Qt.
    widgets = {widget.command for widget in manifest.contributions.widgets or ()}
    for command in manifest.contributions.commands or ():
        if command.id in widgets:
            continue
        function = import_python_name(command.python_name)
        body = inspect.getsource(function).split('"""', 2)[2]
        assert len([line for line in body.splitlines() if line.strip()]) <= 5


def test_every_command_in_menus_and_samples_is_declared(
    manifest: PluginManifest,
) -> None:
    declared = {command.id for command in manifest.contributions.commands or ()}
    menus = manifest.contributions.menus
    items = [item for items in menus.values() for item in items]
    named = {item.command for item in items if hasattr(item, "command")}
    below = {item.submenu for item in items if hasattr(item, "submenu")}
    assert below == {menu.id for menu in manifest.contributions.submenus or ()}
    assert below <= menus.keys()
    named |= {reader.command for reader in manifest.contributions.readers or ()}
    named |= {writer.command for writer in manifest.contributions.writers or ()}
    named |= {widget.command for widget in manifest.contributions.widgets or ()}
    samples = manifest.contributions.sample_data or ()
    named |= {sample.command for sample in samples if hasattr(sample, "command")}
    assert named <= declared


def test_samples_by_address_name_their_reader(manifest: PluginManifest) -> None:
    samples = manifest.contributions.sample_data or ()
    remote = [sample for sample in samples if hasattr(sample, "uri")]
    assert remote
    for sample in remote:
        assert sample.reader_plugin == PLUGIN
        assert _hooks.get_reader(sample.uri) is not None


def test_no_command_has_an_icon_that_napari_would_fetch(
    manifest: PluginManifest,
) -> None:
    commands = manifest.contributions.commands or ()
    assert [command.icon for command in commands] == [None] * len(commands)


def test_the_manifest_at_the_top_is_the_one_in_the_package() -> None:
    packaged = files("napari_omezarr") / "napari.yaml"
    assert (ROOT / "napari.yaml").read_text() == packaged.read_text()
