"""What the tests of the disk cache share: a cache that is on, and files made old."""

from __future__ import annotations

import os
from contextlib import contextmanager

import zarr

from napari_omezarr.location import Location
from napari_omezarr.store import open_store, set_disk_cache
from quick_retries import QUICK

SIZE = 64 << 20
DAY = 24 * 3600


@contextmanager
def cache_in(folder):
    """Have a disk cache, whose files are fresh for an hour."""
    set_disk_cache(folder, size=SIZE, max_age=3600)
    try:
        yield folder
    finally:
        set_disk_cache(size=0)


def files(folder):
    """What lies in the cache, but for the file that marks it as one."""
    found = (file for file in folder.rglob("*") if file.is_file())
    return [file for file in found if file.name != "CACHEDIR.TAG"]


def grow_old(folder, seconds=DAY):
    """Make all that is kept look as if it had been fetched long ago."""
    for file in files(folder):
        times = file.stat()
        os.utime(file, (times.st_atime - seconds, times.st_mtime - seconds))


def store_at(address, **options):
    return open_store(Location.parse(address, **options), retry=QUICK)


def pixels(store):
    return zarr.open_array(store, path="0", mode="r")[...]
