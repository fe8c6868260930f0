"""The dock "OME-Zarr browser": places, what is there, and what can be done with it."""
