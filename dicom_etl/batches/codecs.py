"""The stored bytes of a slice to its pixels, without HDF5 and its lock.

Two packages are used where they are installed (the extra ``fast``): zlib-ng inflates in a third of the time of
zlib, and python-neo-lzf decodes LZF, which otherwise only HDF5 can. zlib and zlib-ng let other threads run, LZF
does not.
"""

from __future__ import annotations

import sys
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

zlib_ng: Any
lzf: Any
try:
    from zlib_ng import zlib_ng
except ImportError:
    zlib_ng = None
try:
    import lzf  # type: ignore[no-redef]
except ImportError:
    lzf = None

CHECKSUM_BYTES = 4
_PLACES = np.arange(1 << 16, 0, -1, dtype=np.float64)
"""How often each of so many words counts in the sum of sums; sums of 16-bit words times these are exact."""


def has_lzf() -> bool:
    """Say whether LZF can be decoded here."""
    return lzf is not None


def inflate(stored: memoryview, size: int) -> bytes:
    """Decode the zlib stream of a slice of ``size`` bytes; nothing larger is ever made of it.

    Raises
    ------
    ValueError
        The stream is damaged, or not that of one slice.
    """
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


def decode_lzf(stored: memoryview, size: int) -> bytes:
    """Decode the LZF stream of a slice of ``size`` bytes, and hold it to the checksum that follows it.

    LZF itself notices little of any damage, so that the checksum has to be looked at.

    Parameters
    ----------
    stored : memoryview
        The stream, and the 4 bytes of its Fletcher-32 checksum.
    size : int

    Raises
    ------
    ValueError
        The stream is damaged, or not that of one slice.
    """
    stream = stored[:-CHECKSUM_BYTES]
    if fletcher32(stream) != int.from_bytes(stored[-CHECKSUM_BYTES:], "little"):
        raise ValueError("cannot be decoded: its checksum is wrong")
    data: bytes | None = lzf.decompress(bytes(stream), size)  # None: it would be larger
    if data is None or len(data) != size:
        raise ValueError("the stored bytes are not those of one slice")
    return data


def fletcher32(data: memoryview) -> int:
    """Return the checksum that HDF5's filter appends.

    The bytes are big-endian words of 16 bits, the last one filled up with zero. The low half is their sum modulo
    65535, the high half the sum of all the sums on the way; each 65535 instead of 0 unless all words are 0. This is
    Fletcher's checksum (J. G. Fletcher, IEEE Transactions on Communications 30, 1982) as HDF5 writes it.
    """
    words = np.frombuffer(data, ">u2", count=len(data) // 2)
    total = running = 0
    for start in range(0, len(words), len(_PLACES)):
        part = words[start : start + len(_PLACES)].astype(np.float64)
        # not a product of matrices: BLAS would start threads, which on a busy machine wait for each other
        running += total * len(part) + int(np.einsum("i,i", part, _PLACES[-len(part) :]))
        total += int(part.sum())
    if len(data) % 2:
        total += data[-1] << 8
        running += total
    low, high = (value and (value - 1) % 65535 + 1 for value in (total, running))
    return high << 16 | low


def put_together(data: bytes, dtype: np.dtype[Any], shuffled: bool, out: NDArray[Any]) -> None:
    """Write decoded bytes as pixels.

    Parameters
    ----------
    data : bytes
        Of one slice.
    dtype : numpy.dtype
        As stored.
    shuffled : bool
        Whether all first bytes of the elements come first, then all second ones (HDF5's shuffle filter).
    out : ndarray, (y, x)
        Filled.
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
