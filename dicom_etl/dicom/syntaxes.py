"""How a DICOM file begins and is encoded: preamble, ``DICM``, file meta information, transfer syntax (PS3.10, 7.1).

Also how a deflated data set (PS3.5, A.5) is inflated without following a bomb.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass

from dicom_etl.dicom import elements as el
from dicom_etl.dicom.files import PREFIX_END, Limits
from dicom_etl.errors import ImageError

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
_STEP = 1 << 20
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
"""What fragments end with."""
MEDIA_CLASS = 0x00020002
_META_GROUP, _FIRST_GROUP = b"\x02\0", b"\x08\0"
_short = struct.Struct("<HH2sH").unpack_from
_long = struct.Struct("<I").unpack_from


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
    """Return the inflated data set, unless it is longer than its pixel data says, or than an image may be."""
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
    is_gzip = len(trailer) in (8, 9) and trailer[:8] == struct.pack(
        "<II", zlib.crc32(inflated), len(inflated)
    )
    if len(trailer) > 1 and not is_gzip:
        raise ImageError(f"{len(trailer)} bytes follow the deflated data set")
    return inflated


def _pixel_data_end(start: bytes) -> int:
    """Return where the pixel data ends, 0 if the start of the data set does not tell."""
    position = 0
    steps = el.Steps()
    try:
        while True:
            steps.take()
            tag, length, position = el.element_at(start, position, implicit=False)
            if length == el.UNDEFINED:
                position = el.skip_sequence(start, position, False, steps)
                continue
            position += length
            if tag == el.PIXELS:
                return position
    except el.Odd:
        return 0


class MetaCutOffError(ImageError):
    """The file ends within its file meta information."""


def file_meta(data: bytes | bytearray) -> tuple[str, int, list[tuple[int, int]]]:
    """Return the transfer syntax UID, where the data set begins, and the ranges of the bytes that decide on these.

    A bare data set, without preamble or without this group, is little-endian, and shows whether it is explicit.
    The group is always Explicit VR Little Endian; it ends at the first element of another group, so a wrong
    group length does no harm (pydicom reads it the same way). The ranges of a bare data set are not told.
    """
    start = position = bare_start(data)
    if position < 0:
        position = PREFIX_END
    elif data[position : position + 2] != _META_GROUP:
        is_explicit = bytes(data[position + 4 : position + 6]) in el.KNOWN_VRS
        return EXPLICIT if is_explicit else IMPLICIT, position, []
    syntax: bytes | None = None
    ranges = [(128, PREFIX_END)]
    try:
        while True:
            group, element, vr, length = _short(data, position)
            if group != 2:
                return _known(syntax), position, [] if start >= 0 else [*ranges, (position, position + 2)]
            head = position
            position += 8
            if vr in el.LONG_VRS and vr != b"SQ":
                (length,) = _long(data, position)
                position += 4
            elif vr not in el.SHORT_VRS:
                raise ImageError("the file meta information cannot be read: an unknown value representation")
            if element == 0 and length != 4:
                raise ImageError("the file meta information cannot be read: its group length is no number")
            if group << 16 | element == el.TRANSFER_SYNTAX:
                if syntax is not None:
                    raise ImageError("TransferSyntaxUID is there twice")
                if vr != b"UI":
                    raise ImageError("TransferSyntaxUID has another value representation than UI")
                syntax = bytes(data[position : position + length]).rstrip(b"\0 ")
                ranges.append((position, position + length))
            ranges.append((head, position))
            position += length
    except struct.error:
        raise MetaCutOffError("the file ends within its file meta information") from None


def data_set(data: bytes | bytearray, limits: Limits) -> tuple[str, bytes | bytearray, int]:
    """Return the transfer syntax UID, the bytes with the data set, inflated if need be, and where it begins in them."""
    syntax, start, _ = file_meta(data)
    if SYNTAXES[syntax].deflated:
        return syntax, inflate(data[start:], limits), 0
    return syntax, data, start


def media_class(data: bytes | bytearray) -> str:
    """Return MediaStorageSOPClassUID, "" where it is not found."""
    position = PREFIX_END if data[128:PREFIX_END] == b"DICM" else len(data)
    tag, length = MEDIA_CLASS, 0
    with suppress(el.Odd):
        while tag >> 16 == 2:
            tag, length, position = el.element_at(data, position + length, implicit=False)
            if tag == MEDIA_CLASS:
                return data[position : position + length].decode("ascii", "replace").rstrip("\0 ")
    return ""


def bare_start(data: bytes | bytearray) -> int:
    """Return where a file begins that has no preamble or no file meta information; -1 for one that has both."""
    has_preamble = data[128:PREFIX_END] == b"DICM"
    start = PREFIX_END if has_preamble else 0
    group, vr = bytes(data[start : start + 2]), bytes(data[start + 4 : start + 6])
    if has_preamble and (group == _META_GROUP or len(data) < start + 8):
        return -1
    length = int.from_bytes(data[start + 4 : start + 8], "little")
    known = vr in el.KNOWN_VRS
    if group == _FIRST_GROUP and len(data) >= start + 8 and (known or length < len(data)):
        return start
    if group == _META_GROUP and known:
        return start
    raise ImageError("this is not a DICOM file: DICM is not at byte 128")


def _known(value: bytes | None) -> str:
    if not value:
        raise ImageError("TransferSyntaxUID is missing, so the file cannot be read without guessing")
    syntax = value.decode("ascii", "replace")
    if syntax not in SYNTAXES:
        raise ImageError(
            "the transfer syntax is not one that is read: "
            "uncompressed, deflated, RLE, JPEG, JPEG-LS, JPEG 2000"
        )
    return syntax
