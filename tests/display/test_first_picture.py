"""From an address to the first picture: how many rounds and requests it takes."""

from __future__ import annotations

from dataclasses import replace
from threading import Condition

import numpy as np
import pytest

import small_images
from napari_omezarr import Location, read_layers
from napari_omezarr.display import Engine, Settings
from napari_omezarr.display.layer_view import LayerView
from napari_omezarr.display.wanted import SliceView
from napari_omezarr.pyramid import pixels_of, shards
from napari_omezarr.store import set_disk_cache
from servers.http import FileServer
from servers.proxy import Proxy

SETTINGS = Settings(
    enabled=True, cache_bytes=2**26, volume_bytes=10**6, prefetch_bytes=0
)
SHAPE, LEVELS = (2, 4, 64, 96), 3
CHUNKS = (1, 1, 16, 24)
LAYOUTS = {
    "chunks": {"chunks": CHUNKS},
    # Each level is one shard, of which only the coarsest is small.
    "shards": {"chunks": CHUNKS, "shards": SHAPE},
}
METADATA, FIRST = 2, 1


@pytest.fixture(params=LAYOUTS)
def image(request, tmp_path, monkeypatch):
    """The folder of an image, and its levels."""
    levels = small_images.levels_of(small_images.pixels(SHAPE, np.uint16, 0), LEVELS)
    coarsest, finer = levels[-1], levels[-2]
    monkeypatch.setattr(shards, "SMALL", 2 * coarsest.nbytes)
    assert finer.nbytes > shards.SMALL
    folder = tmp_path / "a.ome.zarr"
    put = small_images.put_image(
        folder, "0.5", shape=SHAPE, count=LEVELS, **LAYOUTS[request.param]
    )
    return folder, put


@pytest.fixture(params=["http", "s3"])
def served(request, image, tmp_path):
    """A server that counts, and the address of the image there."""
    if request.param == "http":
        with FileServer(tmp_path) as server:
            yield server, f"{server.url}/a.ome.zarr", {}
        return
    s3_server = request.getfixturevalue("s3_server")
    prefix = request.getfixturevalue("s3_prefix")
    s3_server.upload(image[0], f"public/{prefix}")
    with Proxy(s3_server.endpoint) as proxy:
        options = {"endpoint": proxy.url, "anonymous": True}
        yield proxy, f"s3://public/{prefix}", options


class FirstPicture:
    """Shows an image's layers as the display does, until something is to be seen."""

    def __init__(self, address, options):
        self.engine = Engine(SETTINGS)
        self._news = Condition()
        self.engine.fetcher.listen(self._note)
        place = replace(Location.parse(address), **options)
        layers = read_layers(place)
        self.views = [
            LayerView([pixels_of(array) for array in data], self.engine)
            for data, _, _ in layers
        ]

    def _note(self):
        with self._news:
            self._news.notify_all()

    def pictures(self):
        """What is seen of plane 1 of each layer, by now."""
        found = []
        for view in self.views:
            slice_view = SliceView(
                0, LEVELS - 1, (1, 2), (1.0, None, None), (1, 32, 48)
            )
            picture, thumbnail = view.show(slice_view)
            found.append((np.asarray(picture[1]), np.asarray(thumbnail[1])))
        return found

    def wait(self):
        """Wait until every layer shows something."""
        with self._news:
            assert self._news.wait_for(
                lambda: all(coarse.any() for _, coarse in self.pictures()), 60
            )

    def release(self):
        for view in self.views:
            view.release()


def test_the_first_picture_takes_three_rounds(served, image):
    server, address, options = served
    server.clear()
    with server.round_count() as rounds:
        first = FirstPicture(address, options)
        assert rounds.count == METADATA
        first.wait()
        assert rounds.count == METADATA + FIRST
        pictures = first.pictures()
        first.release()
    for channel, (picture, coarse) in enumerate(pictures):
        assert picture.any()
        np.testing.assert_array_equal(coarse, image[1][-1][channel, 1])


def test_the_coarsest_shard_takes_no_more_requests_than_channels(served, image):
    server, address, options = served
    first = FirstPicture(address, options)
    server.clear()
    first.wait()
    first.release()
    asked = [r for r in server.requests if f"/{LEVELS - 1}/c/" in r.path]
    objects = list((image[0] / str(LEVELS - 1) / "c/0").rglob("*"))
    is_sharded = sum(file.is_file() for file in objects) == 1
    # One serves all channels that ask before it is sent; a busy machine may let one
    # ask later, which then reads its own part by the index that came with the first.
    fewest = 1 if is_sharded else len(first.views)
    assert fewest <= len(asked) <= len(first.views)


def test_it_takes_none_when_it_is_cached(served, image, tmp_path):
    server, address, options = served
    set_disk_cache(tmp_path / "cache")
    try:
        first = FirstPicture(address, options)
        first.wait()
        first.release()
        server.clear()
        again = FirstPicture(address, options)
        again.wait()
        pictures = again.pictures()
        asked = [r for r in server.requests if f"/{LEVELS - 1}/c/" in r.path]
        again.release()
    finally:
        set_disk_cache(size=0)
    for channel, (_, coarse) in enumerate(pictures):
        np.testing.assert_array_equal(coarse, image[1][-1][channel, 1])
    assert asked == []
    assert [r for r in server.requests if "/c/" not in r.path] == []
