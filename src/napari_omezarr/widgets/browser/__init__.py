"""The dock "OME-Zarr": walk places, recognise images, look before opening."""
