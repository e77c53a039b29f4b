"""The transfer syntaxes (how a file is encoded) that hold images we read (DICOM PS3.5, A).

Also what two kinds of them need: to inflate a data set without following a bomb (A.5), and to check the fragments of
compressed pixel data and the tables that say where frames begin (A.4).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise
from struct import Struct, pack, unpack

from dicom_etl.dicom.elements import PIXELS, UNDEFINED, Odd, Steps, element_at, skip_sequence
from dicom_etl.dicom.files import Limits
from dicom_etl.errors import ImageError

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
_STEP = 1 << 20
_ITEM = 0xE000FFFE
_END = 0xE0DDFFFE
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
"""What fragments end with."""

_header = Struct("<II").unpack_from


@dataclass(frozen=True, slots=True)
class Syntax:
    """What a transfer syntax means for a reader.

    ``plugin`` is the one pydicom decoder plug-in that decodes it, always the same: lossy decoders differ in
    the last bit, and what is installed besides must not change an output.
    """

    name: str
    implicit: bool = False
    big_endian: bool = False
    deflated: bool = False
    plugin: str = ""

    @property
    def compressed(self) -> bool:
        """Whether the pixels are encapsulated."""
        return bool(self.plugin)


SYNTAXES: dict[str, Syntax] = {
    IMPLICIT: Syntax("Implicit VR Little Endian", implicit=True),
    EXPLICIT: Syntax("Explicit VR Little Endian"),
    DEFLATED: Syntax("Deflated Explicit VR Little Endian", deflated=True),
    BIG_ENDIAN: Syntax("Explicit VR Big Endian", big_endian=True),
    "1.2.840.10008.1.2.4.50": Syntax("JPEG Baseline", plugin="pillow"),
    JPEG_EXTENDED: Syntax("JPEG Extended", plugin="pillow"),
    JPEG_LOSSLESS: Syntax("JPEG Lossless", plugin="gdcm"),
    "1.2.840.10008.1.2.4.70": Syntax("JPEG Lossless, first-order prediction", plugin="gdcm"),
    "1.2.840.10008.1.2.4.80": Syntax("JPEG-LS Lossless", plugin="pyjpegls"),
    "1.2.840.10008.1.2.4.81": Syntax("JPEG-LS Near-lossless", plugin="pyjpegls"),
    "1.2.840.10008.1.2.4.90": Syntax("JPEG 2000 Lossless", plugin="pylibjpeg"),
    "1.2.840.10008.1.2.4.91": Syntax("JPEG 2000", plugin="pylibjpeg"),
    "1.2.840.10008.1.2.4.201": Syntax("High-Throughput JPEG 2000 Lossless", plugin="pylibjpeg"),
    "1.2.840.10008.1.2.4.202": Syntax("High-Throughput JPEG 2000 Lossless RPCL", plugin="pylibjpeg"),
    "1.2.840.10008.1.2.4.203": Syntax("High-Throughput JPEG 2000", plugin="pylibjpeg"),
    RLE: Syntax("RLE Lossless", plugin="pydicom"),
}


def inflate(deflated: bytes | bytearray, limits: Limits) -> bytearray:
    """Return the inflated data set.

    Inflating stops as soon as the data set is longer than its own pixel data says, or than an image and its
    header may be.
    """
    most = limits.max_image_bytes + limits.max_header_bytes
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = bytearray()
    pending = deflated
    try:
        while not stream.eof and (part := stream.decompress(pending, _STEP)):
            pending = stream.unconsumed_tail
            if not inflated and (end := _pixel_data_end(part)):
                most = min(most, end + limits.max_header_bytes)
            inflated += part
            if len(inflated) > most:
                raise ImageError(
                    f"the deflated data set is longer than {most} bytes; it is damaged, or "
                    "`max_image_bytes` and `max_header_bytes` allow more"
                )
    except zlib.error:
        raise ImageError("the deflated data set is damaged") from None
    if not stream.eof:
        raise ImageError("the deflated data set is incomplete")
    # One padding byte may follow, or what gzip writes behind its data: checksum and length (RFC 1952, 2.3.1).
    trailer = stream.unused_data
    is_gzip = len(trailer) in (8, 9) and trailer[:8] == pack("<II", zlib.crc32(inflated), len(inflated))
    if len(trailer) > 1 and not is_gzip:
        raise ImageError(f"{len(trailer)} bytes follow the deflated data set")
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
    # Without an offset table only RLE says how many fragments a frame has: one.
    found = len(offsets) or (len(lengths) if syntax == RLE else min(len(lengths), frames))
    if found != frames:
        raise ImageError(f"the compressed pixel data holds {found} frames; NumberOfFrames is {frames}")
    ascend = all(one < other for one, other in pairwise(offsets))
    if offsets and not (offsets[0] == 0 and ascend and set(offsets) <= set(starts)):
        raise ImageError("the offset table of the compressed pixel data does not point at its fragments")
    if extended is not None:
        _check_extended(extended, starts, lengths, frames)
    return position + 8


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
