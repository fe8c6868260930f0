"""The command line, ``napari-omezarr``: what the windows do, for terminals and scripts.

Each command imports what it needs when it runs, so that ``--help`` is there at once.
"""

from .command import main

__all__ = ["main"]
