"""Measure the mean intensity of each labelled cell, on a level that is small enough.

Only the chunks of that level are fetched.

python examples/mean_by_label.py s3://bucket/image.ome.zarr
"""

import sys

import numpy as np

from napari_omezarr import read_layers

PUBLIC = "https://livingobjects.ebi.ac.uk/idr/zarr/v0.4/idr0062A/6001240.zarr"
PIXELS = 50_000_000


def main(address: str = PUBLIC) -> None:
    layers = read_layers(address)
    images = {
        options["name"]: data for data, options, kind in layers if kind == "image"
    }
    labels = next(data for data, _, kind in layers if kind == "labels")
    number = next(i for i, level in enumerate(labels) if level.size <= PIXELS)
    cells = labels[number].compute().ravel()
    counts = np.maximum(np.bincount(cells), 1)
    for name, levels in images.items():
        totals = np.bincount(cells, weights=levels[number].compute().ravel())
        means = (totals / counts)[np.unique(cells)]
        print(f"{name}: background {means[0]:.0f}, cells {means[1:].mean():.0f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
