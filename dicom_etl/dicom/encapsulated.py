"""The fragments of compressed pixel data (DICOM PS3.5, A.4)."""

from __future__ import annotations

from struct import Struct

from dicom_etl.dicom.syntaxes import RLE
from dicom_etl.errors import ImageError

_ITEM = 0xE000FFFE
_END = 0xE0DDFFFE

_header = Struct("<II").unpack_from


def check_fragments(data: bytes | bytearray, offset: int, frames: int, syntax: str) -> int:
    """Walk the offset table and the fragments from ``offset`` on; return the offset behind their delimiter.

    Raises
    ------
    ImageError
        If an item or the delimiter is broken or missing, or there are not as many frames as the header says.
    """
    position = offset
    lengths: list[int] = []
    while True:
        if position + 8 > len(data):
            raise ImageError(f"the compressed pixel data ends within fragment {len(lengths)}")
        tag, length = _header(data, position)
        position += 8
        if tag == _END and length == 0:
            break
        if tag != _ITEM:
            raise ImageError(f"the compressed pixel data is broken at fragment {len(lengths)}")
        lengths.append(length)
        position += length
    if len(lengths) < 2 or sum(lengths[1:]) == 0:
        raise ImageError("the compressed pixel data is empty")
    _check_frames(lengths[0] // 4, len(lengths) - 1, frames, syntax)
    return position


def _check_frames(offsets: int, fragments: int, frames: int, syntax: str) -> None:
    # Without an offset table only RLE says how many fragments a frame has: one.
    found = offsets or (fragments if syntax == RLE else min(fragments, frames))
    if found != frames:
        raise ImageError(f"the compressed pixel data holds {found} frames; NumberOfFrames is {frames}")
