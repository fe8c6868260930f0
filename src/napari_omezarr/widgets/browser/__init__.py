"""The dock "OME-Zarr": navigation places, recognise images, look before opening."""
