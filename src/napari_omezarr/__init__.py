"""Open and save remote OME-Zarr in napari."""
