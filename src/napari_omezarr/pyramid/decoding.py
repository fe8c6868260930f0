"""Chunks of the usual kind, decoded in one step and not by zarr's pipeline.

The pipeline takes any chain of codecs, at the price of a dozen tasks of Python for
each chunk; and it copies all chunks into place on one thread, the one that serves the
network. Nearly every image is numbers in C order that one codec compressed. Those need
one call in a thread for each chunk: a third less processor time, and the network never
waits (benchmarks/README.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
from numcodecs import get_codec
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, ZstdCodec

from napari_omezarr.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import zarr
    from numcodecs.abc import Codec

_PLAIN = {"blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"}
"""zarr 2's compressors, of which each is the whole way from bytes to bytes."""

_SAME: dict[type, str] = {BloscCodec: "blosc", GzipCodec: "gzip", ZstdCodec: "zstd"}
"""zarr 3's compressors by the name of the one of zarr 2 that undoes the same."""

CHECKSUM = 4
"""Bytes of a CRC32C, which stands after what it is of."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the bytes of a chunk become its pixels."""

    dtype: np.dtype[Any]  # as stored, byte order included
    shape: tuple[int, ...]  # of every stored chunk, those over an edge included
    codec: Codec | None
    fill_value: Any  # what all pixels of a missing chunk are
    order: tuple[int, ...] = ()  # of the stored axes, if they are transposed
    checked: bool = False  # whether a CRC32C stands at the end

    def decode(self, body: Any, name: str) -> np.ndarray:
        """Decode one chunk, in any thread, to ``dtype`` and ``shape``; may view `body`.

        Raises
        ------
        StoreError
            The bytes are not what the array's document says.
        """
        try:
            if self.checked:
                body = unchecked(body)
            plain = body if self.codec is None else self.codec.decode(body)
            pixels = np.frombuffer(plain, self.dtype)
            if not self.order:
                return pixels.reshape(self.shape)
            stored = pixels.reshape([self.shape[axis] for axis in self.order])
            return stored.transpose(np.argsort(self.order))
        # The words for "this is not mine" of the codecs, and of numpy.
        except (RuntimeError, ValueError, OSError, EOFError) as error:
            sentence = f"{name} is damaged: it cannot be decoded."
            action = "Ask its owner to copy it again."
            raise StoreError(sentence, action=action, url=name) from error


def unchecked(body: Any) -> memoryview:
    """Give bytes without the CRC32C at their end; ValueError if it is another."""
    whole = memoryview(body).cast("B")
    plain, said = whole[:-CHECKSUM], whole[-CHECKSUM:]
    # An array: the library takes no other view of bytes.
    if google_crc32c.value(np.frombuffer(plain, np.uint8)) != int.from_bytes(
        said, "little"
    ):
        raise ValueError("The checksum is wrong.")
    return plain


def decoding_of(array: zarr.AsyncArray[Any]) -> Decoding | None:
    """Find the one step that decodes an array's chunks, from its document alone.

    None where it takes more: shards, filters, another order, several codecs or one
    that is not known here. zarr's pipeline then decodes.
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


def inner_decoding_of(
    codecs: Sequence[Mapping[str, Any]],
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    fill_value: Any,
) -> Decoding | None:
    """Find the one step that undoes the codecs of a shard's document; None if more.

    These are an order of the axes, how numbers become bytes, a compressor and a
    checksum, of which all but the second may be left out.
    """
    left = [(step["name"], step.get("configuration") or {}) for step in codecs]
    order: tuple[int, ...] = ()
    if left and left[0][0] == "transpose":
        order = tuple(left.pop(0)[1]["order"])
    if not left or left[0][0] != "bytes":
        return None
    big = left.pop(0)[1].get("endian") == "big"
    stored = np.dtype(dtype).newbyteorder(">" if big else "<")
    codec = None
    if left and left[0][0] in _SAME.values():
        codec = get_codec({"id": left.pop(0)[0]})
    checked = bool(left) and left[0][0] == "crc32c"
    if left[checked:] or stored.hasobject or sorted(order) != [*range(len(order))]:
        return None
    return Decoding(stored, shape, codec, fill_value, order, checked)
