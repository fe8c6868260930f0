"""Find nuclei in a remote image block by block; write labels and a table beside it.

In threads, or on the workers of a dask cluster: make a ``distributed.Client`` first.
A nucleus that lies in several blocks gets one number. Needs scipy.

python examples/segment_blocks.py s3://bucket/image.ome.zarr
"""

import sys

import dask.array as da
import numpy as np
from scipy.ndimage import binary_opening

import napari_omezarr
from napari_omezarr.objects import label_objects, measure_objects


def main(address: str, level: int = 0, name: str = "found") -> None:
    image = napari_omezarr.open(address)
    nuclei = image.sel(c=0)
    coarse, pixels = nuclei.read(level=-1), nuclei.to_dask(level)
    threshold = (coarse.min() + np.percentile(coarse, 99)) / 2

    # Blocks see two pixels of their neighbours: the opening is that of the whole.
    mask = da.map_overlap(binary_opening, pixels > threshold, depth=2, boundary="none")
    labels, count = label_objects(mask)
    table = measure_objects(labels, pixels)
    table["volume"] = table["count"] * np.prod(nuclei.transforms[level].scale)

    napari_omezarr.add_labels(labels, image, name=name, features=table)
    volume = np.median(table["volume"])
    print(f"{name}: {count} objects, half of them above {volume:.1f} cubic micrometers")


if __name__ == "__main__":
    main(*sys.argv[1:])
