"""The DICOM data elements that are read, what a lane hands over, and a strict walk over all others (PS3.5, 7).

Every other element stays in the file. A value is kept as the bytes of the file; `values` turns bytes into numbers and
text, for both lanes alike. The walk is over little-endian elements; it knows no data dictionary and corrects nothing:
whatever is not by the book ends it with `Odd`.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

NAMES: dict[int, str] = {}
"""Keywords by tag."""
VRS: dict[int, str] = {}
"""Elements whose value is read, with their value representation."""
_MARKS: dict[str, list[int]] = {"shared": [], "describing": []}


def _element(tag: int, keyword: str, vr: str = "", marks: str = "") -> int:
    """Enter an element of DICOM PS3.6 in the tables, and return its tag."""
    NAMES[tag] = keyword
    if vr:
        VRS[tag] = vr
    for mark in marks.split():
        _MARKS[mark].append(tag)
    return tag


TRANSFER_SYNTAX = _element(0x00020010, "TransferSyntaxUID")
CHARACTER_SET = _element(0x00080005, "SpecificCharacterSet", "CS")
SOP_CLASS = _element(0x00080016, "SOPClassUID", "UI", "shared describing")
INSTANCE_UID = _element(0x00080018, "SOPInstanceUID", "UI")
ACQUISITION_TIME = _element(0x00080032, "AcquisitionTime", "TM", "describing")
MANUFACTURER = _element(0x00080070, "Manufacturer", "LO")
SERIES_DESCRIPTION = _element(0x0008103E, "SeriesDescription", "LO", "shared describing")
PATIENT_ID = _element(0x00100020, "PatientID", "LO", "shared")
FIELD_STRENGTH = _element(0x00180087, "MagneticFieldStrength", "DS", "shared")
TRIGGER_TIME = _element(0x00181060, "TriggerTime", "DS")
STUDY_UID = _element(0x0020000D, "StudyInstanceUID", "UI", "shared describing")
SERIES_UID = _element(0x0020000E, "SeriesInstanceUID", "UI", "shared")
SERIES_NUMBER = _element(0x00200011, "SeriesNumber", "IS", "shared describing")
INSTANCE_NUMBER = _element(0x00200013, "InstanceNumber", "IS")
POSITION = _element(0x00200032, "ImagePositionPatient", "DS")
ORIENTATION = _element(0x00200037, "ImageOrientationPatient", "DS", "shared")
FRAME_OF_REFERENCE = _element(0x00200052, "FrameOfReferenceUID", "UI", "describing")
TEMPORAL_POSITION = _element(0x00200100, "TemporalPositionIdentifier", "IS", "describing")
SAMPLES = _element(0x00280002, "SamplesPerPixel", "US", "shared")
PHOTOMETRIC = _element(0x00280004, "PhotometricInterpretation", "CS", "shared")
FRAMES = _element(0x00280008, "NumberOfFrames", "IS", "shared")
ROWS = _element(0x00280010, "Rows", "US", "shared")
COLUMNS = _element(0x00280011, "Columns", "US", "shared")
SPACING = _element(0x00280030, "PixelSpacing", "DS", "shared")
BITS_ALLOCATED = _element(0x00280100, "BitsAllocated", "US", "shared")
BITS_STORED = _element(0x00280101, "BitsStored", "US", "shared")
HIGH_BIT = _element(0x00280102, "HighBit", "US", "shared")
REPRESENTATION = _element(0x00280103, "PixelRepresentation", "US", "shared")
INTERCEPT = _element(0x00281052, "RescaleIntercept", "DS", "shared")
SLOPE = _element(0x00281053, "RescaleSlope", "DS", "shared")
MODALITY_LUT = _element(0x00283000, "ModalityLUTSequence")
SHARED_GROUPS = _element(0x52009229, "SharedFunctionalGroupsSequence")
FRAME_GROUPS = _element(0x52009230, "PerFrameFunctionalGroupsSequence")
FLOAT_PIXELS = 0x7FE00008
DOUBLE_PIXELS = 0x7FE00009
OFFSETS = 0x7FE00001
OFFSET_LENGTHS = 0x7FE00002
PIXELS = _element(0x7FE00010, "PixelData")

SHARED = tuple(_MARKS["shared"])
"""Elements that have the same values in all images of a series, or nearly all."""
DESCRIBING = tuple(_MARKS["describing"])
"""Elements that only tell which images belong together: a value that cannot be read is unknown, and costs no image."""

SEQUENCES = (MODALITY_LUT, SHARED_GROUPS, FRAME_GROUPS)
"""Sequences that matter only when they are not empty."""

LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations whose explicit length has 4 bytes, after 2 reserved ones (PS3.5, 7.1.2)."""
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
KNOWN_VRS = LONG_VRS | SHORT_VRS
UNDEFINED = 0xFFFFFFFF
PLAIN_CHARACTER_SETS = frozenset(
    [b"", b"ISO_IR 6", b"ISO_IR 100", b"ISO_IR 101", b"ISO_IR 109", b"ISO_IR 144", b"ISO_IR 192", b"GB18030"]
)
"""Values of SpecificCharacterSet under which ASCII text is itself."""

_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_SEQUENCE_END_BYTES = b"\xfe\xff\xdd\xe0"
_MAX_DEPTH = 8

_explicit = Struct("<HH2sH").unpack_from
_implicit = Struct("<HHI").unpack_from
_length = Struct("<I").unpack_from


class Elements(NamedTuple):
    """What a lane found before the pixel data.

    ``shared`` are the value bytes of the elements `SHARED`, None for those that are not there; ``values`` those of
    the elements of `VRS` that are there, where those of `SHARED` may be left out. The free texts are decoded, which
    needs the character set. ``big_endian`` says whether binary values are.
    """

    syntax: str
    shared: tuple[bytes | None, ...]
    values: dict[int, bytes]
    manufacturer: str
    patient_id: str = ""
    big_endian: bool = False
    notes: tuple[str, ...] = ()


class Odd(Exception):  # noqa: N818  (not an error: the walk declines)
    """The structure is not plain."""


class Steps:
    """How many more nested elements a walk may visit, so that an endless sequence costs milliseconds."""

    left = 20_000

    def take(self) -> None:
        """Go one step; raise `Odd` where there is none left."""
        self.left -= 1
        if self.left < 0:
            raise Odd


def element_at(data: bytes | bytearray, position: int, implicit: bool) -> tuple[int, int, int]:
    """Return tag, length (or `UNDEFINED`) and offset of the value of the element at ``position``, or raise `Odd`."""
    if position + 8 > len(data):
        raise Odd
    if implicit:
        group, element, length = _implicit(data, position)
        return group << 16 | element, length, position + 8
    group, element, vr, length = _explicit(data, position)
    if vr in SHORT_VRS:
        return group << 16 | element, length, position + 8
    if vr not in LONG_VRS or position + 12 > len(data):
        # Delimiters have no VR: their length begins where the VR would be.
        group, element, length = _implicit(data, position)
        if group != 0xFFFE:
            raise Odd
        return group << 16 | element, length, position + 8
    (length,) = _length(data, position + 8)
    if length == UNDEFINED and vr != b"SQ":
        raise Odd
    return group << 16 | element, length, position + 12


def skip_sequence(
    data: bytes | bytearray, position: int, implicit: bool, steps: Steps, depth: int = 1
) -> int:
    """Return the offset behind a sequence of undefined length whose first item is at ``position``.

    Under Implicit VR only a dictionary tells a sequence from a value of undefined length, which ends at the
    first delimiter. So one that holds a second delimiter, in a nested sequence or by chance, is `Odd`.
    """
    if depth > (1 if implicit else _MAX_DEPTH):
        raise Odd
    begin = position
    while True:
        steps.take()
        tag, length, position = element_at(data, position, implicit=True)
        if tag == _SEQUENCE_END and length == 0:
            if implicit and data.find(_SEQUENCE_END_BYTES, begin) != position - 8:
                raise Odd
            return position
        if tag != _ITEM:
            raise Odd
        position = _skip_item(data, position, length, implicit, steps, depth)


def _skip_item(
    data: bytes | bytearray, position: int, length: int, implicit: bool, steps: Steps, depth: int
) -> int:
    end = UNDEFINED if length == UNDEFINED else position + length
    last = -1
    while position < end:
        steps.take()
        tag, length, position = element_at(data, position, implicit)
        if tag == _ITEM_END and length == 0 and end == UNDEFINED:
            return position
        if tag >> 16 == 0xFFFE or tag <= last:
            raise Odd
        last = tag
        if tag == CHARACTER_SET and data[position : position + length].strip() not in PLAIN_CHARACTER_SETS:
            raise Odd
        if length == UNDEFINED:
            position = skip_sequence(data, position, implicit, steps, depth + 1)
        else:
            position += length
    if position != end or position > len(data):
        raise Odd
    return position
