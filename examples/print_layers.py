"""Say what an OME-Zarr holds, without a viewer and without reading its pixels.

python examples/print_layers.py s3://bucket/image.ome.zarr
"""

import sys

from napari_omezarr import read_layers

PUBLIC = "https://livingobjects.ebi.ac.uk/idr/zarr/v0.4/idr0062A/6001240.zarr"


def main(address: str = PUBLIC) -> None:
    for data, options, kind in read_layers(address):
        levels = data if options.get("multiscale") else [data]
        print(f"{kind} {options['name']}: {levels[0].dtype}")
        parts = (options["axis_labels"], options["scale"], options["units"])
        for axis, size, unit in zip(*parts, strict=True):
            print(f"  pixel along {axis}: {size:g} {unit}")
        for level in levels:
            print("  level:", " x ".join(map(str, level.shape)))


if __name__ == "__main__":
    main(*sys.argv[1:])
