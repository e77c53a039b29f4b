"""Inflating a deflated data set without following a bomb (DICOM PS3.5, A.5)."""

from __future__ import annotations

import zlib

from dicom_etl.dicom.limits import Limits
from dicom_etl.errors import ImageError

_STEP = 1 << 20


def inflate(deflated: bytes | bytearray, limits: Limits) -> bytes:
    """Return the inflated data set.

    Raises
    ------
    ImageError
        If it is damaged, incomplete, or larger than an image and its header may be.
    """
    most = limits.max_image_bytes + limits.max_header_bytes
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    size = 0
    pending = deflated
    try:
        while not stream.eof and (part := stream.decompress(pending, _STEP)):
            pending = stream.unconsumed_tail
            size += len(part)
            if size > most:
                raise ImageError(
                    f"the deflated data set is more than {most} bytes long; --max-image-bytes allows more"
                )
            parts.append(part)
    except zlib.error:
        raise ImageError("the deflated data set is damaged") from None
    if not stream.eof:
        raise ImageError("the deflated data set is incomplete")
    if len(stream.unused_data) > 1:
        raise ImageError(f"{len(stream.unused_data)} bytes follow the deflated data set")
    return b"".join(parts)
