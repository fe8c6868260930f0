"""Chunks of the usual kind, decoded in one step and not by zarr's pipeline.

The pipeline takes any chain of codecs, at the price of a dozen tasks of Python for
each chunk; and it copies all chunks into place on one thread, the one that serves
the network. Nearly every image is numbers in C order that one codec compressed.
Those need one call in a thread for each chunk: a third less processor time, and the
network never waits (benchmarks/README.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numcodecs import get_codec
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, ZstdCodec

from napari_omezarr.errors import StoreError

if TYPE_CHECKING:
    import zarr
    from numcodecs.abc import Codec

_PLAIN = {"blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"}
"""zarr 2's compressors, of which each is the whole way from bytes to bytes."""

_SAME: dict[type, str] = {BloscCodec: "blosc", GzipCodec: "gzip", ZstdCodec: "zstd"}
"""zarr 3's compressors by the name of the one of zarr 2 that undoes the same."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the bytes of a chunk become its pixels.

    Attributes
    ----------
    dtype : numpy.dtype
        As stored, byte order included.
    shape : tuple of int
        That of every stored chunk, those that jut out over an edge included.
    codec : numcodecs.abc.Codec or None
        What undoes the compression, if there is any.
    fill_value : Any
        What all pixels of a missing chunk are.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    codec: Codec | None
    fill_value: Any

    def decode(self, body: bytes, name: str) -> np.ndarray:
        """Decode one chunk; safe in any thread.

        Parameters
        ----------
        body : bytes-like
            The stored object.
        name : str
            The chunk's address, for the error.

        Returns
        -------
        numpy.ndarray
            Of ``dtype`` and ``shape``; may be a view on `body`.

        Raises
        ------
        StoreError
            The bytes are not what the array's document says.
        """
        try:
            plain = body if self.codec is None else self.codec.decode(body)
            return np.frombuffer(plain, self.dtype).reshape(self.shape)
        # The words for "this is not mine" of the codecs, and of numpy.
        except (RuntimeError, ValueError, OSError, EOFError) as error:
            sentence = f"{name} is damaged: it cannot be decoded."
            action = "Ask its owner to copy it again."
            raise StoreError(sentence, action=action, url=name) from error


def decoding_of(array: zarr.AsyncArray[Any]) -> Decoding | None:
    """Find the one step that decodes an array's chunks.

    Parameters
    ----------
    array : zarr.AsyncArray
        Its document is enough; asks nothing.

    Returns
    -------
    Decoding or None
        None where it takes more: shards, filters, another order, several codecs or
        one that is not known here. zarr's pipeline then decodes.
    """
    if array.shards is not None or array.filters or array.order != "C":
        return None
    dtype = _stored_dtype(array)
    if dtype is None or len(array.compressors) > 1:
        return None
    codec = None
    if array.compressors:
        codec = _decompressor(array.compressors[0])
        if codec is None:
            return None
    fill_value = array.metadata.fill_value
    return Decoding(dtype, array.chunks, codec, 0 if fill_value is None else fill_value)


def _stored_dtype(array: zarr.AsyncArray[Any]) -> np.dtype[Any] | None:
    """Give the type of the numbers in the stored bytes, if they are just that."""
    dtype = np.dtype(array.dtype)
    if array.metadata.zarr_format == 2:
        return dtype
    if not isinstance(array.serializer, BytesCodec):
        return None
    endian = array.serializer.endian
    # An enumeration up to zarr 3.1, its value later; None where a number is a byte.
    order = getattr(endian, "value", endian)
    return dtype.newbyteorder(">" if order == "big" else "<")


def _decompressor(compressor: Any) -> Codec | None:
    codec_id = getattr(compressor, "codec_id", None)
    if codec_id in _PLAIN:
        return compressor
    same = _SAME.get(type(compressor))
    return None if same is None else get_codec({"id": same})
