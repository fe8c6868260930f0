"""Browsing a bucket: first rows, recognition and memory, in turn with ``s3fs.ls``.

The bucket is a stand-in that answers ListObjectsV2 for 100,000 folders, behind a
server that is as far away as one wishes; the images lie in a real S3 server. Each
contender runs in a process of its own, A B A B; medians are printed::

    python benchmarks/browse.py --rtt 30 --repeats 3
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from urllib.parse import parse_qs, urlsplit

from latency import Latency

FOLDERS = 100_000
IMAGES = 50
_NAMES = [f"item-{number:06}" for number in range(FOLDERS)]


class Bucket(BaseHTTPRequestHandler):
    """Pages of folders below ``bucket/many/``; nothing else is there."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        wanted = {name: texts[0] for name, texts in parse_qs(parts.query).items()}
        body = self._page(wanted) if "list-type" in wanted else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _page(self, wanted: dict[str, str]) -> bytes:
        begins = wanted.get("prefix", "").removeprefix("many/")
        first = int(wanted.get("continuation-token", 0))
        first = max(first, bisect_left(_NAMES, begins))
        last = min(bisect_left(_NAMES, f"{begins}~"), first + 1000)
        rows = "".join(
            f"<CommonPrefixes><Prefix>many/{name}/</Prefix></CommonPrefixes>"
            for name in _NAMES[first:last]
        )
        more = last < bisect_left(_NAMES, f"{begins}~")
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" * more
        return (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}"
            "</ListBucketResult>"
        ).encode()


def ours_first(endpoint: str) -> int:
    """Give the first rows."""
    from napari_omezarr.browsing import Listing

    return len(Listing(_many(endpoint)).more().result().entries)


def ours_all(endpoint: str) -> int:
    """Go through all pages, keeping nothing."""
    from napari_omezarr.browsing import Listing

    listing, rows, is_last = Listing(_many(endpoint)), 0, False
    while not is_last:
        page = listing.more().result()
        rows, is_last = rows + len(page.entries), page.is_last
    return rows


def ours_recognise(endpoint: str) -> int:
    """List 50 images and say what each is."""
    from napari_omezarr.browsing import EntryKind, Listing, Prober

    page = Listing(_place(endpoint, "public/images")).more().result()
    prober = Prober()
    tasks = [prober.start(entry) for entry in page.entries]
    return sum(task.result().kind is EntryKind.IMAGE for task in tasks)


def s3fs_ls(endpoint: str) -> int:
    """List all folders, which is what ``ls`` does."""
    return len(_s3fs(endpoint).ls("bucket/many"))


def s3fs_recognise(endpoint: str) -> int:
    """List 50 images, and the folder of each to see what is in it."""
    files = _s3fs(endpoint)
    found = 0
    for folder in files.ls("public/images"):
        names = {name.rpartition("/")[2] for name in files.ls(folder, detail=False)}
        document = "zarr.json" if "zarr.json" in names else ".zattrs"
        found += b"multiscales" in files.cat_file(f"{folder}/{document}")
    return found


def _s3fs(endpoint: str):
    import s3fs

    return s3fs.S3FileSystem(anon=True, endpoint_url=endpoint, skip_instance_cache=True)


def _place(endpoint: str, path: str):
    from napari_omezarr.location import Location

    return Location.parse(f"s3://{path}", endpoint=endpoint, anonymous=True)


def _many(endpoint: str):
    return _place(endpoint, "bucket/many")


TASKS = {
    task.__name__: task
    for task in (ours_first, ours_all, s3fs_ls, ours_recognise, s3fs_recognise)
}


def run_one(name: str, endpoint: str) -> None:
    """Do one task in this process, imports paid before, and print how it went."""
    import s3fs  # noqa: F401

    import napari_omezarr.browsing  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    result = TASKS[name](endpoint)
    seconds = time.perf_counter() - begin
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"seconds": seconds, "result": result, "grown": grown / 1024}))


def measure(names: list[str], server: Latency, rtt: float, repeats: int) -> None:
    """Run some tasks in turn and print a row for each."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            server.reset(rtt)
            command = [sys.executable, __file__, "--one", name, server.url]
            told = subprocess.run(command, capture_output=True, check=True, text=True)
            stats = server.stats()
            row = json.loads(told.stdout.splitlines()[-1])
            counted = {"requests": stats.requests, "round_trips": stats.round_trips}
            rows[name].append(row | counted)
    for name, measured in rows.items():
        columns = ("result", "requests", "round_trips", "seconds", "grown")
        values = [median(row[column] for row in measured) for column in columns]
        print(
            "| {} | {:.0f} | {:.0f} | {:.0f} | {:.3f} | {:.1f} |".format(name, *values)
        )


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rtt", type=float, default=30, help="milliseconds")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run_one(*arguments.one)
        return
    from napari_omezarr.demo.server import S3Server
    from napari_omezarr.samples import write_cells

    print("| task | result | requests | round trips | s | memory grown, MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    bucket = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=bucket.serve_forever, daemon=True).start()
    with Latency(f"http://127.0.0.1:{bucket.server_port}") as server:
        names = ["ours_first", "s3fs_ls", "ours_all"]
        measure(names, server, arguments.rtt, arguments.repeats)
    with S3Server() as s3, tempfile.TemporaryDirectory() as folder:
        write_cells(Path(folder) / "x.zarr", shape=(16, 128, 128))
        for number in range(IMAGES):
            s3.upload(Path(folder) / "x.zarr", f"public/images/i{number:02}.zarr")
        with Latency(s3.endpoint) as server:
            names = ["ours_recognise", "s3fs_recognise"]
            measure(names, server, arguments.rtt, arguments.repeats)


if __name__ == "__main__":
    main()
