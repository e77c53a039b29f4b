"""The fragments of compressed pixel data, and the tables that say where frames begin (DICOM PS3.5, A.4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from struct import Struct, unpack

from dicom_etl.dicom.syntaxes import RLE
from dicom_etl.errors import ImageError

_ITEM = 0xE000FFFE
_END = 0xE0DDFFFE
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
"""What fragments end with."""

_header = Struct("<II").unpack_from


def check_fragments(
    data: bytes | bytearray,
    offset: int,
    frames: int,
    syntax: str,
    extended: tuple[bytes, bytes] | None = None,
) -> int:
    """Walk the offset table and the fragments from ``offset`` on; return the offset behind their delimiter.

    ``extended`` are the values of ExtendedOffsetTable and ExtendedOffsetTableLengths, where the file has them.
    """
    position = offset
    starts: list[int] = []
    lengths: list[int] = []
    while True:
        if position + 8 > len(data):
            raise ImageError(f"the compressed pixel data ends within fragment {len(lengths)}")
        tag, length = _header(data, position)
        if tag == _END and length == 0:
            break
        if tag != _ITEM:
            raise ImageError(f"the compressed pixel data is broken at fragment {len(lengths)}")
        starts.append(position)
        lengths.append(length)
        position += 8 + length
    if len(lengths) < 2 or sum(lengths[1:]) == 0:
        raise ImageError("the compressed pixel data is empty")
    offsets = unpack(f"<{lengths[0] // 4}I", data[offset + 8 : offset + 8 + lengths[0] // 4 * 4])
    # Tables count from where the first fragment begins.
    starts, lengths = [start - starts[1] for start in starts[1:]], lengths[1:]
    _check_frames(len(offsets), len(lengths), frames, syntax)
    if offsets and not (offsets[0] == 0 and _ascend(offsets) and set(offsets) <= set(starts)):
        raise ImageError("the offset table of the compressed pixel data does not point at its fragments")
    if extended is not None:
        _check_extended(extended, starts, lengths, frames)
    return position + 8


def _check_frames(offsets: int, fragments: int, frames: int, syntax: str) -> None:
    # Without an offset table only RLE says how many fragments a frame has: one.
    found = offsets or (fragments if syntax == RLE else min(fragments, frames))
    if found != frames:
        raise ImageError(f"the compressed pixel data holds {found} frames; NumberOfFrames is {frames}")


def _ascend(numbers: Sequence[int]) -> bool:
    return all(one < other for one, other in pairwise(numbers))


def _check_extended(
    extended: tuple[bytes, bytes], starts: list[int], lengths: list[int], frames: int
) -> None:
    """ExtendedOffsetTable: one fragment a frame; where each begins, and its bytes without padding (C.7.6.3)."""
    if len(extended[0]) != 8 * frames or len(extended[1]) != 8 * frames:
        raise ImageError(
            f"ExtendedOffsetTable and its lengths take {len(extended[0])} and {len(extended[1])} bytes; "
            f"NumberOfFrames is {frames}, so each must take {8 * frames}"
        )
    offsets, sizes = (unpack(f"<{frames}Q", table) for table in extended)
    if list(offsets) != starts:
        raise ImageError("ExtendedOffsetTable does not point at one fragment a frame")
    if any(size not in (length, length - 1) for size, length in zip(sizes, lengths, strict=True)):
        raise ImageError("ExtendedOffsetTableLengths are not those of the fragments")
