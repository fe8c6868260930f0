"""Converting TIFF: a large one, and many small ones; seconds and memory.

Contenders run in turn, each time in a fresh process, imports not counted; all write
OME-Zarr with what codec and levels they take by themselves, in the same chunks where
that can be said. ngff-zarr makes no coarser level of small images by itself: its "two
levels" are those that ours makes of them, and by the mean of neighbours as ours. Those
that start processes are counted with them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from itertools import product
from pathlib import Path

import numpy as np
import tifffile

CHUNK = 512


def data(folder: Path, kind: str, size: int) -> Path:
    """Write the TIFF files of a kind, once: so many MiB, or so many files."""
    place = folder / f"{kind}-{size}"
    if place.exists():
        return place
    place.mkdir(parents=True)
    rng = np.random.default_rng(1)
    base = rng.poisson(200, (2, 2048, 2048)).astype("u2")
    if kind == "large":
        planes = size // 8
        pages = (base[i % 2] + i for i in range(planes))
        shape = (planes, *base.shape[1:])
        options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
        name = place / "large.tif"
        tifffile.imwrite(name, pages, shape=shape, dtype="u2", **options)
    else:
        for number in range(size):
            small = np.ascontiguousarray(base[:, :512, :512]) + number
            tifffile.imwrite(place / f"{number:03}.tif", small[0])
    return place


def ours(source: Path, target: Path) -> None:
    from napari_omezarr.cli import main

    chunks = f"y={CHUNK},x={CHUNK}" + (
        ",z=1" if source.name.startswith("large") else ""
    )
    words = ["convert", source, target, "--version", "0.4", "--chunks", chunks]
    main([*map(str, words)], standalone_mode=False)


def files(source: Path, target: Path):
    target.mkdir()
    for file in sorted(source.iterdir()):
        yield file, target / f"{file.stem}.ome.zarr"


def ome_zarr_py(source: Path, target: Path) -> None:
    import dask.array as da
    import zarr
    from ome_zarr.format import FormatV04
    from ome_zarr.writer import write_image

    for file, place in files(source, target):
        view = zarr.open(tifffile.imread(file, aszarr=True), mode="r")
        image = da.from_zarr(view)
        axes = "zyx"[-image.ndim :]
        chunks = (1, CHUNK, CHUNK)[-image.ndim :]
        group = zarr.open_group(place, mode="w", zarr_format=2)
        write_image(
            image.rechunk(chunks),
            group,
            axes=axes,
            fmt=FormatV04(),
            storage_options={"chunks": chunks},
        )


def ngff_zarr(source: Path, target: Path) -> None:
    import ngff_zarr as nz

    for file, place in files(source, target):
        image = nz.cli_input_to_ngff_image(nz.ConversionBackend.TIFFFILE, [file])
        scales = nz.to_multiscales(image, chunks=CHUNK)
        nz.to_ngff_zarr(str(place), scales, version="0.4")


def ngff_zarr_two_levels(source: Path, target: Path) -> None:
    import ngff_zarr as nz

    method = nz.Methods.ITKWASM_BIN_SHRINK
    for file, place in files(source, target):
        image = nz.cli_input_to_ngff_image(nz.ConversionBackend.TIFFFILE, [file])
        scales = nz.to_multiscales(
            image, scale_factors=[2], method=method, chunks=CHUNK
        )
        nz.to_ngff_zarr(str(place), scales, version="0.4")


def eubi_bridge(source: Path, target: Path) -> None:
    from eubi_bridge.ebridge import EuBIBridge

    words = {"zarr_format": 2, "y_chunk": CHUNK, "x_chunk": CHUNK, "z_chunk": 1}
    EuBIBridge().to_zarr(str(source), output_path=str(target), **words)


def bioio_conversion(source: Path, target: Path) -> None:
    from bioio_conversion import OmeZarrConverter

    for file, place in files(source, target):
        name = place.name.partition(".")[0]
        OmeZarrConverter(source=str(file), destination=str(target), name=name).convert()


IMPORTED = {
    "napari-omezarr": ("napari_omezarr.converting", "napari_omezarr.cli.converting"),
    "ome-zarr-py": ("dask.array", "ome_zarr.writer", "ome_zarr.format"),
    "ngff-zarr": ("ngff_zarr",),
    "ngff-zarr, two levels": ("ngff_zarr",),
    "EuBI-Bridge": ("eubi_bridge.ebridge",),
    "bioio-conversion": ("bioio_conversion", "bioio_tifffile"),
}
WHO = {
    "napari-omezarr": ours,
    "ome-zarr-py": ome_zarr_py,
    "ngff-zarr": ngff_zarr,
    "ngff-zarr, two levels": ngff_zarr_two_levels,
    "EuBI-Bridge": eubi_bridge,
    "bioio-conversion": bioio_conversion,
}


def run_one(who: str, source: Path, target: Path) -> None:
    """Convert in this process, and print how long it took beyond the imports."""
    for module in IMPORTED[who]:
        import_module(module)
    start, processor = time.perf_counter(), time.process_time()
    WHO[who](source, target)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    status = Path("/proc/self/status").read_text()
    own = int(status.partition("VmHWM:")[2].split()[0])
    made = [*target.rglob(".zattrs"), *target.rglob("zarr.json")]
    found = {
        "seconds": seconds,
        "processor": processor + children.ru_utime + children.ru_stime,
        "memory": max(own, children.ru_maxrss) / 1024,
        "documents": len(made),
    }
    print("RESULT" + json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=["large", "small"])
    parser.add_argument("--who", nargs="+", default=list(WHO))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mebibytes", type=int, default=256, help="of the large one")
    parser.add_argument("--count", type=int, default=50, help="of the small ones")
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--data", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        who, source, target = args.one
        run_one(who, Path(source), Path(target))
        return
    for kind in args.kinds:
        size = args.mebibytes if kind == "large" else args.count
        source = data(args.data / "tiff", kind, size)
        found: dict[str, list[dict[str, float]]] = {who: [] for who in args.who}
        # Removed at the end: ext4 looks for an inode that was not deleted just now.
        with tempfile.TemporaryDirectory() as folder:
            for number, who in product(range(args.rounds), args.who):
                one = ["--one", who, source, Path(folder) / f"{number}-{who}"]
                is_ours = who == "napari-omezarr"
                python = sys.executable if is_ours else args.peers_python
                command = [python, "-W", "ignore", __file__, *map(str, one)]
                done = subprocess.run(command, capture_output=True, text=True)
                line = done.stdout.rpartition("RESULT")[2]
                if not line.startswith("{"):
                    sys.exit(done.stderr[-2000:])
                found[who].append(json.loads(line))
                if kind == "large":
                    shutil.rmtree(one[-1])
                os.sync()
        for who, rows in found.items():
            middle = {
                key: statistics.median(row[key] for row in rows) for key in rows[0]
            }
            told = ", ".join(f"{key} {value:.2f}" for key, value in middle.items())
            print(f"{kind:6} {who:21} {told}", flush=True)
        shutil.rmtree(source, ignore_errors=True)


if __name__ == "__main__":
    main()
