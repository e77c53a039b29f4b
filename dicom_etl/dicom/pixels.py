"""From stored pixel values to the values of an image: unused bits, inversion, modality LUT."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import ImageHeader

STORED_DTYPES: dict[tuple[int, int], np.dtype[Any]] = {
    (bits, signed): np.dtype(f"<{'ui'[signed]}{bits // 8}") for bits in (8, 16, 32) for signed in (0, 1)
}
"""dtype of the stored values by (BitsAllocated, PixelRepresentation)."""

_FLOAT32 = np.dtype(np.float32)
_BLOCK = 1 << 16


def is_rescaled(header: ImageHeader) -> bool:
    """Tell whether the modality LUT changes any value."""
    return header.rescale_slope != 1.0 or header.rescale_intercept != 0.0


def stored_dtype(header: ImageHeader) -> np.dtype[Any]:
    """Return the dtype of the pixels that `read_image` returns, from the header alone.

    Without a rescale (slope 1, intercept 0) the stored integers stay what they are. Otherwise float32: each
    value is computed in float64 and rounded once, so it is the float32 nearest to slope * stored + intercept
    (relative error at most 2**-24).
    """
    if is_rescaled(header):
        return _FLOAT32
    return STORED_DTYPES[header.bits_allocated, header.pixel_representation]


def view_frame(data: bytes | bytearray, offset: int, header: ImageHeader, frame: int) -> NDArray[Any]:
    """Return a view of the stored values of one frame of uncompressed little-endian pixels, (rows, columns).

    ``offset`` is where the first frame begins in ``data``; lengths were checked before.
    """
    dtype = STORED_DTYPES[header.bits_allocated, header.pixel_representation]
    count = header.rows * header.columns
    values = np.frombuffer(data, dtype, count, offset + frame * count * dtype.itemsize)
    return values.reshape(header.rows, header.columns)


def modality_values(stored: NDArray[Any], header: ImageHeader) -> NDArray[Any]:
    """Return what stored values mean, (rows, columns), dtype `stored_dtype`; the input if nothing changes.

    In this order: bits above BitsStored are dropped, with the sign extended (PS3.5, 8.1.1); MONOCHROME1 is
    inverted within the range of the stored bits, v -> lowest + highest - v, so that larger is brighter;
    slope * v + intercept (PS3.3, C.11.1).
    """
    unused = header.bits_allocated - header.bits_stored
    if unused:
        stored = (stored << unused) >> unused
    if header.photometric == "MONOCHROME1":
        # lowest + highest is -1 for signed values and 2**bits - 1 for unsigned ones: both are a bitwise not.
        stored = ~stored
        if unused and not header.pixel_representation:
            stored &= np.array((1 << header.bits_stored) - 1, dtype=stored.dtype)
    if not is_rescaled(header):
        return stored
    result = np.empty(stored.shape, np.float32)
    flat, out = stored.reshape(-1), result.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK] * np.float64(header.rescale_slope)
        out[start : start + _BLOCK] = block + header.rescale_intercept
    return result
