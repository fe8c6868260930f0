"""Moving stored bytes: a copy of many objects at an RTT, and chunks packed into shards.

``copy``: from a real S3 server to a folder; ours, rclone (if it is installed; with its
own number of transfers and with 16), s3fs. ``pack``: seconds of the processor for zarr
2 chunks into zarr 3 shards: by their bytes; by decoding and encoding, with ours and
with zarr; and a copy.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np
from latency import Latency


def ours(source: str, target: Path) -> None:
    from napari_omezarr.browsing import copy_store, start
    from napari_omezarr.location import Location

    place = Location.parse(source)
    start(copy_store(place, Location.parse(str(target)))).result()


def s3fs_get(source: str, target: Path) -> None:
    import s3fs

    endpoint, _, path = source.removeprefix("s3+").partition("/public/")
    files = s3fs.S3FileSystem(anon=True, endpoint_url=endpoint)
    files.get(f"public/{path}", str(target), recursive=True)


def rclone(source: str, target: Path, transfers: int = 4) -> None:
    endpoint, _, path = source.removeprefix("s3+").partition("/public/")
    said = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": endpoint}
    environment = {f"RCLONE_CONFIG_THERE_{key}": each for key, each in said.items()}
    words = ["--transfers", str(transfers), "--config", "/dev/null"]
    command = ["rclone", "copy", f"there:public/{path}", str(target), *words]
    # What is set for other programs, certificates for one, it may not understand.
    others = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    subprocess.run(command, check=True, env=others | environment)


def rclone_16(source: str, target: Path) -> None:
    rclone(source, target, 16)


COPIERS = {"napari-omezarr": ours, "s3fs": s3fs_get}
IMPORTED = ("napari_omezarr.browsing", "napari_omezarr.upkeep", "s3fs", "zarr.codecs")


def packed(source: str, target: Path) -> None:
    from napari_omezarr.location import Location
    from napari_omezarr.upkeep import PackChoices, repack_store

    choices = PackChoices(shards=True)
    repack_store(Location.parse(source), Location.parse(str(target)), choices)


def encoded(source: str, target: Path) -> None:
    from napari_omezarr import read_layers, write_layers

    codec = Path(source).name.partition(".")[0]
    options = {"shards": True, "codec": codec, "levels": 1, "verify": "none"}
    write_layers(read_layers(source), target, chunks={"y": 512, "x": 512}, **options)


def encoded_by_zarr(source: str, target: Path) -> None:
    import zarr
    from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

    codecs = {
        "blosc-zstd": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
        "blosc-lz4": BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
        "zstd": ZstdCodec(level=3),
        "gzip": GzipCodec(level=5),
    }
    old = zarr.open_array(f"{source}/0", mode="r")
    new = zarr.create_array(
        target / "0",
        shape=old.shape,
        dtype=old.dtype,
        chunks=old.chunks,
        shards=(2, 2048, 2048),
        compressors=codecs[Path(source).name.partition(".")[0]],
    )
    for start in range(0, old.shape[0], 2):
        new[start : start + 2] = old[start : start + 2]


PACKERS = {
    "packed": packed,
    "decoded and encoded": encoded,
    "zarr": encoded_by_zarr,
    "copied": ours,
}
ALL = {**COPIERS, **PACKERS, "rclone": rclone, "rclone, 16": rclone_16}


def run_one(who: str, source: str, target: Path) -> None:
    """Do one task in this process, imports paid before, and print how it went."""
    for module in IMPORTED:
        import_module(module)
    start, processor = time.perf_counter(), time.process_time()
    ALL[who](source, target)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = {
        "seconds": time.perf_counter() - start,
        "processor": time.process_time() - processor,
        "MB at most": int(status.partition("VmHWM:")[2].split()[0]) / 1024,
    }
    print("RESULT" + json.dumps(found))


def contest(names: list[str], source: str, rounds: int, count: int) -> None:
    """Let contenders run in turn, each in a fresh process."""
    for number in range(rounds):
        for who in names:
            with tempfile.TemporaryDirectory() as folder:
                target = Path(folder) / "out.ome.zarr"
                words = ["--one", who, source, str(target)]
                command = [sys.executable, "-W", "ignore", __file__, *words]
                done = subprocess.run(command, capture_output=True, text=True)
                line = done.stdout.rpartition("RESULT")[2]
                if not line.startswith("{"):
                    sys.exit(done.stderr[-2000:])
                files = sum(file.is_file() for file in target.rglob("*"))
                told = {k: round(v, 2) for k, v in json.loads(line).items()}
                print(f"{number} {who:20} {told}, {files} files of {count}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["copy", "pack"], nargs="?")
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--size", type=int, default=20_000, help="of an object")
    parser.add_argument("--rtt", type=float, default=30)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--codec", default="blosc-zstd", help="of what is packed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        who, source, target = args.one
        run_one(who, source, Path(target))
    elif args.what == "copy":
        from napari_omezarr.demo.server import S3Server

        with tempfile.TemporaryDirectory() as folder, S3Server() as s3:
            many = Path(folder) / "many.zarr"
            body = np.random.default_rng(0).bytes(args.size)
            for number in range(args.objects):
                file = many / str(number // 100) / str(number)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(number.to_bytes(4, "little") + body)
            s3.upload(many, "public/many.zarr")
            with Latency(s3.endpoint) as server:
                server.reset(args.rtt)
                source = f"s3+{server.url}/public/many.zarr"
                names = list(COPIERS)
                names += ["rclone", "rclone, 16"] * bool(shutil.which("rclone"))
                contest(names, source, args.rounds, args.objects)
    else:
        from napari_omezarr import write_image

        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / f"{args.codec}.ome.zarr"
            rng = np.random.default_rng(1)
            planes = args.mebibytes // 8
            image = rng.poisson(200, (1, 2048, 2048)).astype("u2").repeat(planes, 0)
            options = {"version": "0.4", "codec": args.codec, "levels": 1}
            chunks = {"z": 1, "y": 512, "x": 512}
            write_image(image, source, "zyx", chunks=chunks, **options)
            contest(list(PACKERS), str(source), args.rounds, planes * 16)


if __name__ == "__main__":
    main()
