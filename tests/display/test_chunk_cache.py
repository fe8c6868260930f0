"""The chunk cache: least recently used first, never what is looked at."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_omezarr.display.chunk_cache import ChunkCache

SIZE = 100


def key(number):
    return "pixels", (number,)


def chunk(number=0, size=SIZE):
    return np.full(size, number, np.uint8)


def held(cache, numbers):
    return [number for number in numbers if key(number) in cache]


def test_gives_what_was_put_and_counts():
    cache = ChunkCache(10 * SIZE)
    cache.put(key(1), chunk(1))
    here, absent = cache.get([key(1), key(2)])
    assert here.tolist() == [1] * SIZE
    assert absent is None
    statistics = cache.statistics
    assert (statistics.hits, statistics.misses) == (1, 1)
    assert (statistics.entries, statistics.bytes) == (1, SIZE)


def test_asking_whether_a_chunk_is_there_is_no_use():
    cache = ChunkCache(2 * SIZE)
    for number in range(2):
        cache.put(key(number), chunk())
    assert key(0) in cache
    cache.put(key(2), chunk())
    assert held(cache, range(3)) == [1, 2]
    assert cache.statistics.hits == cache.statistics.misses == 0


def test_drops_the_least_recently_used():
    cache = ChunkCache(3 * SIZE)
    for number in range(3):
        cache.put(key(number), chunk())
    cache.get([key(0)])
    cache.put(key(3), chunk())
    assert held(cache, range(4)) == [0, 2, 3]


def test_chunks_are_read_only():
    cache = ChunkCache(SIZE)
    cache.put(key(0), chunk())
    with pytest.raises(ValueError, match="read-only"):
        cache.get([key(0)])[0][0] = 1


def test_a_chunk_put_twice_counts_once():
    cache = ChunkCache(2 * SIZE)
    cache.put(key(0), chunk(1))
    cache.put(key(0), chunk(2))
    assert cache.statistics.bytes == SIZE
    assert cache.get([key(0)])[0][0] == 2


def test_a_chunk_larger_than_the_cache_stays_until_the_next():
    cache = ChunkCache(SIZE)
    cache.put(key(0), chunk(size=3 * SIZE))
    assert held(cache, [0]) == [0]
    cache.put(key(1), chunk())
    assert held(cache, [0, 1]) == [1]


def test_keeps_what_is_looked_at_beyond_the_capacity():
    cache = ChunkCache(2 * SIZE)
    cache.pin("view", {key(0), key(1), key(2)})
    for number in range(5):
        cache.put(key(number), chunk())
    assert held(cache, range(5)) == [0, 1, 2, 4]
    cache.pin("view", ())
    assert held(cache, range(5)) == [2, 4]


def test_a_new_view_frees_what_the_old_one_pinned():
    cache = ChunkCache(SIZE)
    cache.pin("view", {key(0)})
    cache.put(key(0), chunk())
    cache.pin("view", {key(1)})
    cache.put(key(1), chunk())
    assert held(cache, range(2)) == [1]


def test_shrinks_when_resized():
    cache = ChunkCache(5 * SIZE)
    for number in range(5):
        cache.put(key(number), chunk())
    cache.resize(2 * SIZE)
    assert held(cache, range(5)) == [3, 4]
    assert cache.statistics.capacity == 2 * SIZE


def test_discards_the_chunks_of_pixels():
    cache = ChunkCache(5 * SIZE)
    cache.put(key(0), chunk())
    cache.put(("others", (0,)), chunk())
    cache.discard({"pixels"})
    assert held(cache, [0]) == []
    assert cache.statistics.bytes == SIZE


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 300)), max_size=40),
    st.sets(st.integers(0, 9), max_size=3),
)
def test_never_holds_more_than_it_may(puts, kept):
    cache = ChunkCache(500)
    cache.pin("view", {key(number) for number in kept})
    last = None
    for number, size in puts:
        cache.put(key(number), chunk(size=size))
        last = number
    sizes = {number: size for number, size in puts if key(number) in cache}
    assert cache.statistics.bytes == sum(sizes.values())
    free = sum(size for number, size in sizes.items() if number not in kept | {last})
    rest = sum(size for number, size in sizes.items() if number in kept | {last})
    assert free == 0 or free + rest <= 500


def test_many_threads_leave_the_books_right():
    cache = ChunkCache(20 * SIZE)

    def work(seed):
        numbers = np.random.default_rng(seed).integers(0, 60, 500).tolist()
        for number in numbers:
            cache.put(key(number), chunk(number))
            found = cache.get([key(number)])[0]
            assert found is None or found[0] == number

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    statistics = cache.statistics
    assert statistics.bytes == statistics.entries * SIZE <= 20 * SIZE


def test_what_may_be_refused_is_not_kept_for_long():
    for seconds, kept in ((3600, [0, 1, 2]), (0, [2])):
        cache = ChunkCache(10 * SIZE, doubted=seconds)
        for number in range(3):
            cache.put(key(number), chunk(), doubtful=True)
        cache.put(key(2), chunk(2))
        cache.pin("view", [key(number) for number in range(3)])
        found = cache.get([key(number) for number in range(3)])
        assert [n for n, array in enumerate(found) if array is not None] == kept
        assert cache.statistics.bytes == len(kept) * SIZE
