"""The disk cache follows the settings, and a command clears it."""

from __future__ import annotations

import pytest
from napari.settings import get_plugin_settings

import small_images
from gui_steps import until, until_all_came
from napari_omezarr.store import disk_cache_facts, set_disk_cache
from napari_omezarr.user_files import cache_folder
from napari_omezarr.widgets.preferences import clear, thumbnail_room


@pytest.fixture
def settings(viewer, tmp_path):
    """The plugin's settings for the cache, with a folder of the test's own."""
    settings = get_plugin_settings("napari-omezarr").cache
    settings.folder = str(tmp_path / "cache")
    yield settings
    settings.enabled = False
    settings.folder = ""
    set_disk_cache(size=0)


def seen(viewer, http_server, tmp_path):
    small_images.put_image(tmp_path / "a.zarr")
    viewer.open(f"{http_server.url}/a.zarr", plugin="napari-omezarr")
    return disk_cache_facts(tmp_path / "cache").entries


def test_it_is_off_by_default(viewer, settings, http_server, tmp_path):
    assert seen(viewer, http_server, tmp_path) == 0


def test_what_is_opened_is_kept_where_it_is_switched_on(
    qtbot, viewer, settings, http_server, tmp_path
):
    settings.enabled = True
    assert seen(viewer, http_server, tmp_path) > 0
    for layer in viewer.layers:  # what came later would be kept
        until_all_came(qtbot, layer)
    task = clear()
    until(qtbot, task.future.done)
    assert disk_cache_facts(tmp_path / "cache").entries == 0


def test_the_room_for_thumbnails_is_a_setting_and_clearing_empties_it(qtbot, settings):
    assert thumbnail_room() == 64 * 2**20
    settings.thumbnails_mb = 1
    assert thumbnail_room() == 2**20
    settings.thumbnails_mb = 64
    kept = cache_folder() / "thumbnails" / "a.png"
    kept.parent.mkdir(parents=True)
    kept.touch()
    until(qtbot, clear().future.done)
    assert not kept.exists()
