"""A slice to the bytes of its chunk, and back, in any process.

HDF5 itself encodes: a slice is written into a one-chunk dataset of a file in memory and the chunk is read back
as stored. So every filter that the library has is right by construction, and the writer of the real file only
copies bytes. Decoding goes without HDF5 and its lock. zlib-ng is used where it is installed (the extra ``fast``): it
inflates in a third of the time of zlib. Both let other threads run. It is never used to write, so that bytes do not
depend on it.
"""

from __future__ import annotations

import sys
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import Chunk

if TYPE_CHECKING:
    import h5py


zlib_ng: Any
try:
    from zlib_ng import zlib_ng
except ImportError:
    zlib_ng = None

CHECKSUM_BYTES = 4


def inflate(stored: memoryview, size: int) -> bytes:
    """Decode the zlib stream of a slice of ``size`` bytes, or raise ValueError; nothing larger is ever made of it."""
    library = zlib_ng or zlib
    decoder = library.decompressobj()
    try:
        data: bytes = decoder.decompress(stored, size)
        more = decoder.decompress(decoder.unconsumed_tail, 1)
    except library.error as error:
        raise ValueError(f"cannot be decoded: {error}") from None
    if len(data) != size or more or not decoder.eof:
        raise ValueError("the stored bytes are not those of one slice")
    return data


def put_together(data: bytes, dtype: np.dtype[Any], shuffled: bool, out: NDArray[Any]) -> None:
    """Write decoded bytes as pixels into ``out`` (y, x).

    ``shuffled`` tells whether all first bytes of the elements come first, then all second ones (HDF5's shuffle filter).
    """
    if not shuffled or dtype.itemsize == 1:
        out[...] = np.frombuffer(data, dtype).reshape(out.shape)
        return
    native = dtype.newbyteorder("=")
    planes = np.frombuffer(data, np.uint8).reshape(dtype.itemsize, -1)
    if dtype != native:
        planes = planes[::-1]
    straight = out.dtype == native and out.flags.c_contiguous
    pixels = out.reshape(-1) if straight else np.empty(out.size, native)
    if dtype.itemsize == 2:  # half the time of the general way
        low, high = planes if sys.byteorder == "little" else planes[::-1]
        words = pixels.view(np.uint16)
        np.multiply(high, 256, out=words, dtype=np.uint16)
        np.bitwise_or(words, low, out=words)
    else:
        elements = pixels.view(np.uint8).reshape(-1, dtype.itemsize)
        for index, plane in enumerate(planes):
            elements[:, index] = plane
    if not straight:
        out[...] = pixels.reshape(out.shape)


def filter_options(compression: str, fletcher32: bool) -> dict[str, Any]:
    """Return the arguments of ``create_dataset`` for image and mask chunks; compressed ones always carry a checksum."""
    if compression == "none":
        return {"fletcher32": fletcher32}
    options: dict[str, Any] = {"compression": compression, "shuffle": True, "fletcher32": True}
    if compression == "gzip":
        options["compression_opts"] = 4
    return options


def encode_chunk(slice_: NDArray[Any], compression: str, fletcher32: bool) -> Chunk:
    """Return one (y, x) slice as it is stored."""
    if compression == "none" and not fletcher32:
        return Chunk(np.ascontiguousarray(slice_).reshape(-1).view(np.uint8))
    scratch = _scratch(slice_.shape, slice_.dtype.str, compression, fletcher32)
    scratch[0] = slice_
    scratch.id.flush()
    return Chunk(bytes(scratch.id.read_direct_chunk((0, 0, 0))[1]))


@lru_cache(maxsize=4)
def _scratch(shape: tuple[int, int], dtype: str, compression: str, fletcher32: bool) -> h5py.Dataset:
    import h5py  # uncompressed slices are their own bytes, and need no HDF5 library in a worker

    file = h5py.File.in_memory(libver=("v110", "v110"))
    return file.create_dataset(
        "chunk",
        shape=(1, *shape),
        chunks=(1, *shape),
        dtype=np.dtype(dtype),
        **filter_options(compression, fletcher32),
    )
