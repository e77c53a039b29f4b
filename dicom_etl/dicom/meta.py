"""The start of a DICOM file: preamble, ``DICM`` and the file meta information (DICOM PS3.10, 7.1)."""

from __future__ import annotations

import struct
from contextlib import suppress

from dicom_etl.dicom.elements import KNOWN_VRS, LONG_VRS, SHORT_VRS, TRANSFER_SYNTAX, Odd, element_at
from dicom_etl.dicom.files import PREFIX_END, Limits
from dicom_etl.dicom.syntaxes import EXPLICIT, IMPLICIT, SYNTAXES, inflate
from dicom_etl.errors import ImageError

MEDIA_CLASS = 0x00020002
_META_GROUP, _FIRST_GROUP = b"\x02\0", b"\x08\0"
_short = struct.Struct("<HH2sH").unpack_from
_long = struct.Struct("<I").unpack_from


class MetaCutOffError(ImageError):
    """The file ends within its file meta information."""


def file_meta(data: bytes | bytearray) -> tuple[str, int]:
    """Return the transfer syntax UID and the offset where the data set begins.

    A bare data set, without preamble or without this group, is little-endian, and shows whether it is explicit.
    The group is always Explicit VR Little Endian; it ends at the first element of another group, so a wrong
    group length does no harm (pydicom reads it the same way).
    """
    position = bare_start(data)
    if position < 0:
        position = PREFIX_END
    elif data[position : position + 2] != _META_GROUP:
        is_explicit = bytes(data[position + 4 : position + 6]) in KNOWN_VRS
        return EXPLICIT if is_explicit else IMPLICIT, position
    syntax: bytes | None = None
    try:
        while True:
            group, element, vr, length = _short(data, position)
            if group != 2:
                return _known(syntax), position
            position += 8
            if vr in LONG_VRS and vr != b"SQ":
                (length,) = _long(data, position)
                position += 4
            elif vr not in SHORT_VRS:
                raise ImageError("the file meta information cannot be read: an unknown value representation")
            if element == 0 and length != 4:
                raise ImageError("the file meta information cannot be read: its group length is no number")
            if group << 16 | element == TRANSFER_SYNTAX:
                if syntax is not None:
                    raise ImageError("TransferSyntaxUID is there twice")
                if vr != b"UI":
                    raise ImageError("TransferSyntaxUID has another value representation than UI")
                syntax = bytes(data[position : position + length]).rstrip(b"\0 ")
            position += length
    except struct.error:
        raise MetaCutOffError("the file ends within its file meta information") from None


def data_set(data: bytes | bytearray, limits: Limits) -> tuple[str, bytes | bytearray, int]:
    """Return the transfer syntax UID, the bytes with the data set, inflated if need be, and where it begins in them."""
    syntax, start = file_meta(data)
    if SYNTAXES[syntax].deflated:
        return syntax, inflate(data[start:], limits), 0
    return syntax, data, start


def media_class(data: bytes | bytearray) -> str:
    """Return MediaStorageSOPClassUID, "" where it is not found."""
    position = PREFIX_END if data[128:PREFIX_END] == b"DICM" else len(data)
    tag, length = MEDIA_CLASS, 0
    with suppress(Odd):
        while tag >> 16 == 2:
            tag, length, position = element_at(data, position + length, implicit=False)
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
    known = vr in KNOWN_VRS
    if group == _FIRST_GROUP and len(data) >= start + 8 and (known or length < len(data)):
        return start
    if group == _META_GROUP and known:
        return start
    raise ImageError("this is not a DICOM file: DICM is not at byte 128")


def meta_ranges(data: bytes | bytearray, end: int) -> list[tuple[int, int]]:
    """Return where the bytes are that decide what `file_meta` returns, for a file that it accepts."""
    ranges = [(128, PREFIX_END)]
    position = PREFIX_END
    while (head := position) < end:
        tag, length, start = element_at(data, head, implicit=False)
        position = start + length
        ranges.append((head, position if tag == TRANSFER_SYNTAX else start))
    return [*ranges, (end, end + 2)]


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
