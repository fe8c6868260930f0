"""An image that can be shown at once, and is read only when a test lets it."""

from __future__ import annotations

from threading import Event

import numpy as np

LONG = 60.0
"""Seconds after which a test that waits is broken."""


class SlowImage:
    """An array whose reads wait while its gate is shut.

    Parameters
    ----------
    array : numpy.ndarray
        What is read.
    """

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.size = array.size
        self.chunks = (1, *array.shape[1:])
        self.gate = Event()
        self.gate.set()
        self.read = Event()

    def __getitem__(self, key):
        self.read.set()
        assert self.gate.wait(LONG), "the gate waited in vain"
        return np.asarray(self.array[key])
