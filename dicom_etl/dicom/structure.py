"""A strict walk over little-endian data elements, to step over what is not read (DICOM PS3.5, 7).

It knows no data dictionary and corrects nothing: whatever is not by the book ends the walk with `Odd`.
"""

from __future__ import annotations

from struct import Struct

from dicom_etl.dicom.elements import CHARACTER_SET

LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations whose explicit length has 4 bytes, after 2 reserved ones (PS3.5, 7.1.2)."""
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
VRS = LONG_VRS | SHORT_VRS
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


class Odd(Exception):  # noqa: N818  (not an error: the walk declines)
    """The structure is not plain."""


class Steps:
    """How many more nested elements a walk may visit, so that an endless sequence costs milliseconds."""

    def __init__(self, left: int = 20_000) -> None:
        self.left = left

    def take(self) -> None:
        """Go one step; raise `Odd` where there is none left."""
        self.left -= 1
        if self.left < 0:
            raise Odd


def element_at(data: bytes | bytearray, position: int, implicit: bool) -> tuple[int, int, int]:
    """Return tag, length (or `UNDEFINED`) and offset of the value of the element at ``position``.

    Raises
    ------
    Odd
        If the value representation is unknown or the data ends.
    """
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
