"""Inflating a deflated data set without following a bomb (DICOM PS3.5, A.5)."""

from __future__ import annotations

import zlib
from struct import pack

from dicom_etl.dicom.elements import PIXELS
from dicom_etl.dicom.limits import Limits
from dicom_etl.dicom.structure import UNDEFINED, Odd, Steps, element_at, skip_sequence
from dicom_etl.errors import ImageError

_STEP = 1 << 20


def inflate(deflated: bytes | bytearray, limits: Limits) -> bytes:
    """Return the inflated data set.

    Inflating stops as soon as the data set is longer than its own pixel data says, or than an image and its
    header may be.
    """
    most = limits.max_image_bytes + limits.max_header_bytes
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    size = 0
    pending = deflated
    try:
        while not stream.eof and (part := stream.decompress(pending, _STEP)):
            pending = stream.unconsumed_tail
            if not parts and (end := _pixel_data_end(part)):
                most = min(most, end + limits.max_header_bytes)
            parts.append(part)
            size += len(part)
            if size > most:
                raise ImageError(
                    f"the deflated data set is longer than {most} bytes; it is damaged, or "
                    "`max_image_bytes` and `max_header_bytes` allow more"
                )
    except zlib.error:
        raise ImageError("the deflated data set is damaged") from None
    if not stream.eof:
        raise ImageError("the deflated data set is incomplete")
    inflated = b"".join(parts)
    _check_trailer(stream.unused_data, inflated)
    return inflated


def _pixel_data_end(start: bytes) -> int:
    """Return where the pixel data ends, 0 if the start of the data set does not tell."""
    position = 0
    steps = Steps()
    try:
        while True:
            steps.take()
            tag, length, position = element_at(start, position, implicit=False)
            if length == UNDEFINED:
                position = skip_sequence(start, position, False, steps)
                continue
            position += length
            if tag == PIXELS:
                return position
    except Odd:
        return 0


def _check_trailer(trailer: bytes, inflated: bytes) -> None:
    """Allow one padding byte, or what gzip writes behind its data: checksum and length (RFC 1952, 2.3.1)."""
    if len(trailer) <= 1:
        return
    if len(trailer) in (8, 9) and trailer[:8] == pack("<II", zlib.crc32(inflated), len(inflated)):
        return
    raise ImageError(f"{len(trailer)} bytes follow the deflated data set")
