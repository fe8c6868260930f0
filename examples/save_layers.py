"""Save the layers of an OME-Zarr as another one: on disk, zipped, or in a bucket.

python examples/save_layers.py s3://bucket/image.ome.zarr copy.ome.zarr
"""

import sys

from napari_omezarr import plan_write, read_layers, write_layers

PUBLIC = "https://livingobjects.ebi.ac.uk/idr/zarr/v0.4/idr0062A/6001240.zarr"


def main(address: str = PUBLIC, target: str = "copy.ome.zarr") -> None:
    layers = read_layers(address)  # those of a viewer do as well: viewer.layers
    plan = plan_write(layers, target, version="0.5", codec="zstd")
    for image in plan.images:
        print(image.path or ".", *[display.name for display in image.spec.displays])
    print(f"{target}: {plan.summary()}")
    saved = write_layers(layers, target, version="0.5", codec="zstd")
    print(f"{saved.address}: {saved.verified} boxes read back and compared")


if __name__ == "__main__":
    main(*sys.argv[1:])
