"""What one thread of the interpreter spends for a GET of an object of 64 kB.

From a real S3 server on this machine, 64 at a time, all ways in turn in one process.
The thread is the I/O loop's, by ``time.thread_time``: it signs, sends and reads for
all, so it bounds how many small chunks a second can come, however many processors
there are. ``obstore`` is measured where it is installed. ::

    python benchmarks/processor.py --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from contextlib import asynccontextmanager
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING

import aiohttp
from contest import print_table

from napari_omezarr.demo.server import OWNER, S3Server
from napari_omezarr.location import Location
from napari_omezarr.store import open_store, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Get = Callable[[str], Awaitable[int]]

BYTES = 1 << 16
OBJECTS = 128
AT_A_TIME = 64


@asynccontextmanager
async def bare_aiohttp(endpoint: str) -> AsyncIterator[Get]:
    """Read by aiohttp alone, unsigned."""
    connector = aiohttp.TCPConnector(limit=AT_A_TIME)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def get(key: str) -> int:
            async with session.get(f"{endpoint}/public/{key}") as answer:
                return len(await answer.read())

        yield get


@asynccontextmanager
async def bare_obstore(endpoint: str) -> AsyncIterator[Get]:
    """Read by obstore alone, signed."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "private",
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=OWNER.key,
        secret_access_key=OWNER.secret,
        client_options={"allow_http": True},
    )

    async def get(key: str) -> int:
        answer = await obstore.get_async(store, key)
        return len(await answer.bytes_async())

    yield get


def ours(bucket: str) -> Callable[[str], AsyncIterator[Get]]:
    """Read by our store, with all its rules; signed in the private bucket."""

    @asynccontextmanager
    async def opened(endpoint: str) -> AsyncIterator[Get]:
        anonymous = bucket == "public"
        place = f"s3://{bucket}"
        location = Location.parse(place, endpoint=endpoint, anonymous=anonymous)
        store = open_store(location)

        async def get(key: str) -> int:
            found = await store.read(key)
            return len(found.body) if found else 0

        yield get

    return opened


WAYS = {
    "bare aiohttp, unsigned": bare_aiohttp,
    "our store, unsigned": ours("public"),
    "our store, signed": ours("private"),
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gets", type=int, default=1024)
    arguments = parser.parse_args()
    ways = WAYS | ({"bare obstore, signed": bare_obstore} if _has_obstore() else {})
    os.environ.update(AWS_ACCESS_KEY_ID=OWNER.key, AWS_SECRET_ACCESS_KEY=OWNER.secret)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with S3Server() as server:
        for number in range(OBJECTS):
            for bucket in ("public", "private"):
                server.put(f"{bucket}/{number}", os.urandom(BYTES))
        for turn in range(1 + arguments.rounds):
            for name, way in ways.items():
                spent = run(_measure(way, server.endpoint, arguments.gets))
                if turn:  # after connections and imports
                    taken[name].append(spent)
    rows = []
    for name, spent in taken.items():
        each = [
            1e3 * median(times) / arguments.gets for times in zip(*spent, strict=True)
        ]
        rows.append([name, *(f"{ms:.3f}" for ms in each)])
    print_table(["ms of the processor for a GET of 64 kB", "thread", "process"], rows)


def _has_obstore() -> bool:
    return find_spec("obstore") is not None


async def _measure(way: object, endpoint: str, gets: int) -> tuple[float, float]:
    async with way(endpoint) as get:  # type: ignore[operator]
        left = iter(range(gets))

        async def draw() -> None:
            for number in left:
                assert await get(str(number % OBJECTS)) == BYTES

        thread, process = time.thread_time(), time.process_time()
        await asyncio.gather(*(draw() for _ in range(AT_A_TIME)))
        return time.thread_time() - thread, time.process_time() - process


if __name__ == "__main__":
    main()
