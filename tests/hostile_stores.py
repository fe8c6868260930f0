"""Stores that somebody damaged, or made to do harm: drawn from a seed, and tried.

``python tests/hostile_stores.py FIRST COUNT`` tries some in this process, each in a
folder of its own, and prints a line for each; `tried` runs that in others, so that a
crash or a hang costs one seed and not the tests.
"""

from __future__ import annotations

import faulthandler
import json
import random
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

SECONDS = 120
WORK = 15
"""So long may one store take, and so much of a processor's time."""
ROOM = 100 << 20
ADDRESS_SPACE = 12 << 30

# What is mutated: valid stores of every codec, kind and layout, as keys and bytes.


def _numcodecs(name, **options):
    return {"name": f"numcodecs.{name}", "configuration": options}


def _images():
    import numcodecs
    from zarr.codecs import (  # fmt: skip
        BloscCodec,
        BytesCodec,
        Crc32cCodec,
        GzipCodec,
        ShardingCodec,
        TransposeCodec,
        ZstdCodec,
    )

    for name in ("zlib", "gzip", "bz2", "lzma", "lz4", "zstd"):
        yield "0.4", {"compressors": numcodecs.get_codec({"id": name})}
    for name in numcodecs.blosc.list_compressors():
        yield "0.4", {"compressors": numcodecs.Blosc(name, shuffle=len(name) % 3)}
    yield "0.4", {"filters": [numcodecs.Delta("<u2")], "order": "F"}
    yield "0.4", {"filters": [numcodecs.Shuffle(2), numcodecs.Fletcher32()]}
    yield "0.4", {"filters": [numcodecs.FixedScaleOffset(1, 2, "<u2", "u1")]}
    yield "0.4", {"filters": [numcodecs.PackBits()], "dtype": bool}
    yield "0.4", {"compressors": None, "dtype": "f4"}
    for codec in (BloscCodec(), GzipCodec(), ZstdCodec(), Crc32cCodec()):
        yield "0.5", {"compressors": [codec]}
    yield "0.5", {"compressors": [_numcodecs("lz4"), _numcodecs("adler32")]}
    yield (
        "0.5",
        {
            "filters": [
                TransposeCodec(order=(3, 0, 2, 1)),
                _numcodecs("delta", dtype="<u2"),
            ]
        },
    )
    yield "0.6", {"compressors": [ZstdCodec(), Crc32cCodec()], "dtype": "f4"}
    for compressor in (None, BloscCodec(), ZstdCodec()):
        yield "0.5", {"shards": (1, 4, 16, 16), "compressors": compressor}
    inner = ShardingCodec(chunk_shape=(1, 2, 4, 4), codecs=[BytesCodec(), BloscCodec()])
    yield "0.5", {"chunks": (1, 4, 8, 8), "serializer": inner, "compressors": None}
    nested = ShardingCodec(chunk_shape=(1, 2, 8, 8), codecs=[inner])
    yield "0.5", {"chunks": (1, 4, 16, 16), "serializer": nested, "compressors": None}


@cache
def bases() -> list[dict[str, bytes]]:
    """Valid stores: each as its keys and what is there."""
    import numpy as np

    import small_images

    plain = {"omero": small_images.omero(2, window=False)}
    stores = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # That codecs of numcodecs are not in the specification.
        warnings.simplefilter("ignore")
        for number, (version, options) in enumerate(_images()):
            path = Path(folder) / f"{number}.zarr"
            extra = plain if number % 2 else {}
            options = {"chunks": (1, 4, 8, 8), "count": 2, "extra": extra} | options
            small_images.put_image(path, version, **options)
            if not number % 3 and version != "0.6":
                labels = np.arange(4 * 16 * 24, dtype="u1").reshape(4, 16, 24)
                small_images.put_labels(path, version, cells=labels)
            stores.append(_content(path))
        for version in ("0.4", "0.5"):
            path = Path(folder) / f"plate{version}.zarr"
            small_images.put_plate(path, version)
            stores.append(_content(path))
    return stores


def _content(path: Path) -> dict[str, bytes]:
    files = (file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


# How it is mutated.

RAW = "@@"
"""Around a text that stands in the document as it is, and that Python cannot write."""


def _values(draw: random.Random) -> Any:
    return draw.choice([
        *(None, True, False, 0, 1, -1, 2, 7, 64, 65, 0.5, -0.0, 1e308, 2**31, 2**63),
        *(2**70, -(2**70), 10**20, "", "x", "0", "../..", "/", "a/b", "\0", "\ud800"),
        *("x" * 5000, "https://127.0.0.1:9/", "<b>bold</b>", "NaN", "-Infinity"),
        *([], {}, [[]], [None], [0] * 65, [1e400], {"": {}}, ["x"] * 3000, [-1, 2]),
        *(f"{RAW}1e400{RAW}", f"{RAW}NaN{RAW}", f"{RAW}-Infinity{RAW}"),
        *(f"{RAW}{'[' * 3000}{']' * 3000}{RAW}", f"{RAW}{'9' * 5000}{RAW}"),
        *("blosc", "zstd", "pickle", "vlen-utf8", "bytes", "|O", ">f8", "<M8[s]"),
        *("complex64", "string", "r64", "float16", "int64", "sharding_indexed"),
        {"name": "blosc", "configuration": {"nthreads": 4}}, {"id": "pickle"},
        {"id": "delta", "dtype": "<u8", "astype": "u1"}, {"type": "affine"},
        [{"name": "bytes"}, {"name": "zstd"}], {"id": "zlib", "level": "x"},
        {"type": "scale", "scale": [0, -1, 1e400]}, [{"id": "packbits"}] * 3,
    ])  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, ...]] = [path]
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in pairs:
            inner += _places(each, (*path, key))
    return inner


def _mutated_json(body: bytes, draw: random.Random) -> bytes:
    document = json.loads(body)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        *way, last = draw.choice(_places(document)[1:] or [(None,)])
        held = document
        for key in way:
            held = held[key]
        if last is None:
            break
        match draw.randrange(8):
            case 0:
                del held[last]
            case 1 if isinstance(held, list):
                held *= draw.choice([2, 30, 3000])
            case 2 if isinstance(held[last], int | float) and held[last] < 2**80:
                factor = draw.choice([-1, 0, 2, 3, 100, 10**5, 2**30, 2**62])
                held[last] = held[last] * factor
            case 3 if isinstance(held, dict):
                held[draw.choice(["x", "nthreads", "codecs", "path", ""])] = _values(
                    draw
                )
            case 4 if isinstance(held, list):
                draw.shuffle(held)
            case _:
                held[last] = _values(draw)
    text = json.dumps(document)
    for _ in range(draw.randrange(2)):
        key = draw.choice(['"shape"', '"path"', '"codecs"', '"axes"', '"version"'])
        text = text.replace(key, f"{key}: {json.dumps(_values(draw))}, {key}", 1)
    text = text.replace(f'"{RAW}', "").replace(f'{RAW}"', "")
    return text.encode()


def _mutated_bytes(body: bytes, draw: random.Random) -> bytes:
    match draw.randrange(8):
        case 0:
            return body[: draw.randrange(len(body) + 1)]
        case 1:
            return body + draw.randbytes(draw.choice([1, 40, 4000]))
        case 2:
            return draw.randbytes(draw.choice([0, 1, 4, 16, 17, 200, 5000]))
        case 3:
            return draw.choice(_bombs())
        case 4 if len(body) >= 24:
            return _with_other_sizes(body, draw)
    changed = bytearray(body)
    for _ in range(draw.choice([1, 2, 9, 60]) if changed else 0):
        # Headers are at the beginning, and more is to be found there.
        place = int(len(changed) * draw.random() ** 2)
        changed[place] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
    return bytes(changed)


def _with_other_sizes(body: bytes, draw: random.Random) -> bytes:
    changed = bytearray(body)
    place = draw.choice([0, 4, 8, 12, len(changed) - 20, len(changed) - 24])
    number = draw.choice([0, 1, len(body), 2**31 - 1, 2**31, 2**32 - 1, 2**24])
    struct.pack_into("<I", changed, place, number)
    return bytes(changed)


@cache
def _bombs() -> list[bytes]:
    """A few bytes that become very many, if nobody bounds it."""
    import bz2
    import lzma

    zeros = bytes(1 << 24)
    kinds = [128 << 10 << 3 | 1 << 1 | (n == 3999) for n in range(4000)]
    blocks = b"".join(kind.to_bytes(3, "little") + b"\x07" for kind in kinds)
    frame = b"\x28\xb5\x2f\xfd"
    return [
        frame + b"\x00\x50" + blocks,
        frame + b"\xe0" + struct.pack("<Q", 4000 << 17) + blocks,
        frame + b"\xe0" + struct.pack("<Q", 1 << 40) + blocks,
        zlib.compress(zeros * 16, 1) * 2,
        bz2.compress(zeros) * 20,
        lzma.compress(zeros) * 20,
        struct.pack("<I", 2**31 - 9) + b"\x1f\x00" * 90,
        struct.pack("<BBBBIII", 2, 1, 0x21, 2, 2**31 - 20, 1 << 20, 400) + bytes(384),
        struct.pack("<BBBBIII", 2, 1, 0x02, 2, 1 << 30, 1 << 30, 400) + bytes(384),
    ]


def drawn(seed: int) -> dict[str, bytes]:
    """The store of a seed: a valid one in which something was changed."""
    draw = random.Random(seed)
    store = dict(draw.choice(bases()))
    names = ("zarr.json", ".zattrs", ".zarray", ".zgroup")
    documents = sorted(key for key in store if key.endswith(names))
    chunks = sorted(set(store) - set(documents))
    for _ in range(draw.choice([1, 1, 2, 3])):
        key = draw.choice(documents if draw.random() < 0.6 else chunks)
        match draw.randrange(12):
            case 0:
                store.pop(key, None)
            case 1:
                store[key] = store.get(draw.choice(documents), b"")
            case _ if key in documents:
                with suppress(ValueError, LookupError, TypeError, RecursionError):
                    store[key] = _mutated_json(store.get(key, b"{}"), draw)
            case _:
                store[key] = _mutated_bytes(store.get(key, b""), draw)
    if chunks and not draw.randrange(3):
        for key in chunks:
            if key in store:
                store[key] = _mutated_bytes(store[key], draw)
    return store


# What is tried with it, and what may come of it: an answer, or our error.


def _doors(path: Path) -> list[tuple[str, Any]]:
    from napari_omezarr import browsing, read
    from napari_omezarr.layers import read_layers
    from napari_omezarr.location import Location

    place = Location.parse(path)
    return [
        ("read", lambda: _pixels(read(place))),
        ("layers", lambda: _computed(read_layers(path))),
        ("thumbnail", lambda: browsing.thumbnail(place)),
        ("describe", lambda: browsing.describe(place)),
        ("documents", lambda: browsing.raw_documents(place)),
        ("validate", lambda: browsing.validate(place)),
    ]


MOST_BOX = 4096 * 8


def _part(array: Any) -> tuple[slice, ...]:
    """A box of an array in its middle that is small, whatever its chunks are."""
    box, left = [], 4096
    for size in reversed(array.shape):
        length = max(1, min(size, left, 24))
        left //= length
        box.append(slice((size - length) // 2, (size - length) // 2 + length))
    return tuple(reversed(box))


ALLOWED = [0]
"""Bytes that the documents of the arrays which were read allow a chunk to have."""


def _pixels(reading: Any) -> None:
    from napari_omezarr.errors import StoreError

    for pyramid in reading.pyramids:
        for level in pyramid.levels:
            stored = getattr(level.pixels, "stored_chunks", level.pixels.chunks)
            size = level.pixels.dtype.itemsize
            for each in stored:
                size *= each
            ALLOWED[0] = max(ALLOWED[0], size)
            with suppress(StoreError):
                level.pixels[_part(level.pixels)]


def _computed(layers: Any) -> None:
    from dask import get

    from napari_omezarr.errors import StoreError

    for data, options, _ in layers:
        assert options["name"] is not None
        for level in data if options.get("multiscale") else [data]:
            with suppress(StoreError):
                level[_part(level)].compute(scheduler=get)


def _peak() -> int:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


def _reset_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def attempt(seed: int, folder: Path) -> str:
    """Try one store at all doors; gives what was wrong, or how it ended."""
    return _attempted(drawn(seed), folder)


def _attempted(store: dict[str, bytes], folder: Path) -> str:
    from napari_omezarr.errors import OMEZarrError, UnexpectedError

    for key, body in store.items():
        file = folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    ends = []
    for door, doing in _doors(folder):
        _reset_peak()
        before, ALLOWED[0] = _peak(), 1 << 20
        try:
            doing()
            ends.append("ok")
        except Exception as error:  # noqa: BLE001 - what is looked for
            if not isinstance(error, OMEZarrError) or type(error) is UnexpectedError:
                return f"FOREIGN {door} {_told(error.__cause__ or error)}"
            ends.append(type(error).__name__)
        taken = _peak() - before
        if taken > 2 * max(ALLOWED[0], MOST_BOX) + ROOM:
            return f"MEMORY {door} {taken >> 20} MB of {ALLOWED[0] >> 20} MB"
    return " ".join(ends)


def _told(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-3:]
    lines = "; ".join(f"{Path(s.filename).name}:{s.lineno}" for s in where)
    return f"{type(error).__name__}: {error!s:.200} ({lines})"


def _say(line: str) -> None:
    sys.stdout.write(line.encode("ascii", "replace").decode() + "\n")
    sys.stdout.flush()


def main(first: int, count: int) -> None:
    """Try stores one after another; a line for each, before and after."""
    with suppress(ImportError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(suffix=".zarr") as folder:
        # What is imported on the way is no work of a store's.
        _attempted(bases()[0], Path(folder))
    for seed in range(first, first + count):
        _say(f"seed {seed}")
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        begun = time.process_time()
        with tempfile.TemporaryDirectory(suffix=".zarr") as folder:
            result = attempt(seed, Path(folder))
        faulthandler.cancel_dump_traceback_later()
        taken = time.process_time() - begun
        if taken > WORK:
            result = f"TIME {result}"
        _say(f"end {seed} {taken:.2f} {result}")


def tried(first: int, count: int) -> tuple[int, list[str]]:
    """Try stores in processes of their own; gives how many, and what was wrong."""
    wrong, done = [], 0
    while count:
        command = [sys.executable, __file__, str(first), str(count)]
        ended = subprocess.run(
            command, capture_output=True, check=False, timeout=SECONDS * (count + 4)
        )
        lines = ended.stdout.decode().splitlines()
        ends = [line.split(" ", 3) for line in lines if line.startswith("end ")]
        wrong += [
            f"seed {seed}: {result}"
            for _, seed, _, result in ends
            if result.startswith(("FOREIGN", "MEMORY", "TIME"))
        ]
        done += len(ends)
        if len(ends) == count:
            break
        seed = first + len(ends)
        told = ended.stderr.decode(errors="replace").strip()[-1500:]
        wrong.append(f"seed {seed}: the process ended ({ended.returncode}): {told}")
        done, count, first = done + 1, count - len(ends) - 1, seed + 1
    return done, wrong


if __name__ == "__main__":
    faulthandler.enable()
    main(*map(int, sys.argv[1:]))
