"""``python -m napari_omezarr``: the command, where it is not on the path."""

from napari_omezarr.cli import main

if __name__ == "__main__":
    main(prog_name="napari-omezarr")
