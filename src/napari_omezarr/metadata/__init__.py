"""OME-Zarr documents of every version as frozen values; no I/O, no zarr."""
