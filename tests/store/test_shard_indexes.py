"""The cache of shard indexes: once for all who ask, and bounded."""

from __future__ import annotations

import asyncio

import pytest

from napari_omezarr.store.store import ByteCache


class Source:
    """Counts fetches and answers when it is let."""

    def __init__(self, answer: bytes | None = b"index") -> None:
        self.answer = answer
        self.fetches = 0
        self.cancelled = 0
        self.open = asyncio.Event()

    async def fetch(self) -> bytes | None:
        self.fetches += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.answer


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("answer", [b"index", None])
def test_those_who_ask_together_share_one_fetch(answer):
    async def scenario():
        cache, source = ByteCache(10_000), Source(answer)
        waiting = [asyncio.ensure_future(cache.get("a", source.fetch)) for _ in "abc"]
        await settle()
        source.open.set()
        assert await asyncio.gather(*waiting) == [answer] * 3
        assert await cache.get("a", source.fetch) == answer
        assert source.fetches == 1

    asyncio.run(scenario())


def test_one_who_gives_up_does_not_disturb_the_others():
    async def scenario():
        cache, source = ByteCache(10_000), Source()
        first = asyncio.ensure_future(cache.get("a", source.fetch))
        second = asyncio.ensure_future(cache.get("a", source.fetch))
        await settle()
        first.cancel()
        await settle()
        source.open.set()
        assert await second == b"index"
        assert (source.fetches, source.cancelled) == (1, 0)

    asyncio.run(scenario())


def test_the_fetch_ends_when_the_last_one_gives_up():
    async def scenario():
        cache, source = ByteCache(10_000), Source()
        only = asyncio.ensure_future(cache.get("a", source.fetch))
        await settle()
        only.cancel()
        await settle()
        assert source.cancelled == 1
        source.open.set()
        assert await cache.get("a", source.fetch) == b"index"
        assert source.fetches == 2

    asyncio.run(scenario())


def test_a_failure_is_told_to_all_and_not_kept():
    async def scenario():
        cache = ByteCache(10_000)
        source = Source()
        source.open.set()

        async def fail() -> bytes:
            await asyncio.sleep(0)
            raise ConnectionError

        asked = (cache.get("a", fail) for _ in "ab")
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [ConnectionError] * 2
        assert await cache.get("a", source.fetch) == b"index"

    asyncio.run(scenario())


def test_the_least_used_is_dropped():
    async def scenario():
        cache, source = ByteCache(2 * 1100), Source(b"x" * 1000)
        source.open.set()
        for key in ["a", "b", "a", "c", "a"]:  # drops b
            await cache.get(key, source.fetch)
        assert source.fetches == 3
        await cache.get("b", source.fetch)
        assert source.fetches == 4

    asyncio.run(scenario())


def test_what_is_too_large_is_not_kept():
    async def scenario():
        cache, source = ByteCache(500), Source(b"x" * 1000)
        source.open.set()
        for _ in range(2):
            await cache.get("a", source.fetch)
        assert source.fetches == 2

    asyncio.run(scenario())
