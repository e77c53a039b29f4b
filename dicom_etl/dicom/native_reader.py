"""The fast lane: one pass over the bytes of a file whose structure is plain, without pydicom.

Plain is Explicit or Implicit VR Little Endian, one frame, elements in ascending order, every value representation
known, and nothing behind the pixel data. A file that holds anything else is declined, and left to the general lane:
this one never guesses. Values and verdicts are those of `values` and `checks` in both lanes. Of a compressed file the
header alone is read here, in a sixth of the time: the codec is the general lane's.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dicom_etl.dicom import elements as el
from dicom_etl.dicom.checks import check_length, image_header
from dicom_etl.dicom.elements import PLAIN_CHARACTER_SETS, UNDEFINED, Elements, Odd
from dicom_etl.dicom.files import Limits
from dicom_etl.dicom.layout import ANY_SIZE, ElementLayout, LayoutMemory
from dicom_etl.dicom.meta import MetaCutOffError, bare_start, file_meta, meta_ranges
from dicom_etl.dicom.syntaxes import EXPLICIT, IMPLICIT, SYNTAXES
from dicom_etl.dicom.values import MAX_BYTES, MAX_TEXT, text
from dicom_etl.errors import ImageError
from dicom_etl.records import ImageHeader

_MOST_ELEMENTS = 20_000
"""At the top level; the images of scanners have hundreds."""
_FIRST = 0x00080000
"""Lower groups hold file meta information, commands and folder entries, which have no place here."""


def _code(vr: bytes) -> int:
    return int.from_bytes(vr, "little")


_SHORT = frozenset(map(_code, el.SHORT_VRS))
_LONG = frozenset(map(_code, el.LONG_VRS))
_SEQUENCE = _code(b"SQ")
_DECIDING = (el.CHARACTER_SET, el.FRAMES, *el.SEQUENCES)
"""Elements whose value decides whether a file is plain."""
_PATIENT_ID = el.SHARED.index(el.PATIENT_ID)
_OWN = frozenset(el.VRS) - {el.CHARACTER_SET, *el.SHARED}
"""Elements whose values differ from image to image."""
_PIXEL_VRS = (_code(b"OW"), _code(b"OB"))
_WANTED = {tag: _code(vr.encode()) for tag, vr in el.VRS.items()} | dict.fromkeys(el.SEQUENCES, _SEQUENCE)

_explicit = struct.Struct("<HHHH").unpack_from
_implicit = struct.Struct("<HHI").unpack_from
_length = struct.Struct("<I").unpack_from
# Bytes that mean the same in every character set; JIS has other signs for the backslash and the tilde.
_EMPTY_SEQUENCES = (b"", bytes.fromhex("feff00e000000000"))
"""No item, or one empty item."""
_looks_explicit = re.compile(rb"[A-Z]{2}").match
_is_simple_text = re.compile(rb"[ -\[\]-}]*\0?").fullmatch


class NeedMoreError(Exception):
    """The header goes on behind the bytes that were given."""


class Plain(NamedTuple):
    """A plain file: its elements, and the pixel data as ``length`` bytes, or `UNDEFINED` fragments, from ``offset``."""

    elements: Elements
    offset: int
    length: int

    @property
    def is_compressed(self) -> bool:
        """Whether the pixels are fragments."""
        return self.length == UNDEFINED

    def header(self, limits: Limits) -> ImageHeader:
        """Check and return the header."""
        if self.offset > limits.max_header_bytes:
            raise ImageError(
                f"no pixel data within {limits.max_header_bytes} bytes; `max_header_bytes` allows more"
            )
        header = image_header(self.elements, limits)
        notes = () if self.is_compressed else check_length(header, self.length)
        return header._replace(notes=header.notes + notes) if notes else header


@dataclass(slots=True)
class _Walk:
    """What one walk has found so far.

    ``heads`` and ``long_heads`` are the offsets of element heads of 8 and of 12 bytes.
    """

    fields: list[tuple[int, int, int]] = field(default_factory=list)
    heads: list[int] = field(default_factory=list)
    long_heads: list[int] = field(default_factory=list)
    steps: el.Steps = field(default_factory=el.Steps)
    nested: bool = False
    offset: int = 0
    length: int = 0


_memory = LayoutMemory()


def scan(data: bytes, size: int) -> Plain | None:
    """Find the elements of a plain file of ``size`` bytes in its first ones; None where it is not plain.

    Raises `NeedMoreError` if ``data`` ends within the header and the file does not.
    """
    known = _memory.find(data, size) or _walked(data, size)
    if known is None:
        return None
    layout, shared = known
    values = {tag: data[start:stop] for tag, start, stop in layout.fields}
    name = _simple_text(values.get(el.MANUFACTURER, b"")[: 2 * MAX_TEXT])
    patient = _simple_text((shared[_PATIENT_ID] or b"")[: 2 * MAX_TEXT])
    if name is None or patient is None:
        return None
    return Plain(Elements(layout.syntax, shared, values, name, patient), layout.offset, layout.length)


def _walked(data: bytes, size: int) -> tuple[ElementLayout, tuple[bytes | None, ...]] | None:
    """Return the layout of a plain file that is not known, with its values of `SHARED`; raises what `scan` does."""
    try:
        layout = walk(data, size)
    except (Odd, MetaCutOffError):
        if len(data) < size:
            raise NeedMoreError from None
        return None
    shared = layout.fit(data) if layout is not None else None
    return (layout, shared) if layout is not None and shared is not None else None


@lru_cache(maxsize=64)
def _simple_text(value: bytes) -> str | None:
    return text(value.decode("ascii")) if _is_simple_text(value) else None


def walk(data: bytes, size: int) -> ElementLayout | None:
    """Walk over the elements up to the pixel data, and remember the layout; None where the file is not plain.

    Raises `Odd` if the structure is not plain, or ``data`` ends before the pixel data begins.
    """
    if bare_start(data) >= 0:
        return None
    syntax, start = file_meta(data)
    compressed = SYNTAXES[syntax].compressed
    if syntax not in (EXPLICIT, IMPLICIT) and not compressed:
        return None
    found = _Walk()
    try:
        if syntax == IMPLICIT:
            _walk_implicit(data, start, found)
        else:
            _walk_explicit(data, start, found, compressed)
    except struct.error:  # the data ended
        raise Odd from None
    if not (compressed or found.offset + found.length == size) or not _is_plain(data, found.fields):
        return None
    layout = _layout(data, syntax, start, found)
    if not found.nested:
        _memory.add(layout, ANY_SIZE if compressed else size)
    return layout


def _walk_explicit(data: bytes, position: int, found: _Walk, compressed: bool) -> None:
    unpack, short, wanted, heads = _explicit, _SHORT, _WANTED, found.heads  # this loop is the lane's cost
    last = _FIRST - 1
    for _ in range(_MOST_ELEMENTS):
        group, element, vr, length = unpack(data, position)
        tag = group << 16 | element
        if tag <= last:
            raise Odd
        last = tag
        if vr in short:
            heads.append(position)
            position += 8
        elif vr in _LONG:
            found.long_heads.append(position)
            (length,) = _length(data, position + 8)
            position += 12
            if tag >= el.OFFSETS:
                if tag != el.PIXELS or vr not in _PIXEL_VRS or compressed != (length == UNDEFINED):
                    raise Odd
                found.offset, found.length = position, length
                return
            if length == UNDEFINED:
                if vr != _SEQUENCE or tag in wanted:
                    raise Odd
                found.nested = True
                position = el.skip_sequence(data, position, False, found.steps)
                continue
        else:
            raise Odd
        if tag in wanted:
            if wanted[tag] != vr:
                raise Odd
            found.fields.append((tag, position, position + length))
        position += length
    raise Odd


def _walk_implicit(data: bytes, position: int, found: _Walk) -> None:
    if _looks_explicit(data, position + 4):
        raise Odd
    last = _FIRST - 1
    for _ in range(_MOST_ELEMENTS):
        group, element, length = _implicit(data, position)
        tag = group << 16 | element
        if tag <= last:
            raise Odd
        last = tag
        found.heads.append(position)
        position += 8
        if tag >= el.FLOAT_PIXELS:
            if tag != el.PIXELS or length == UNDEFINED:
                raise Odd
            found.offset, found.length = position, length
            return
        if length == UNDEFINED:
            if tag in _WANTED:
                raise Odd
            found.nested = True
            position = el.skip_sequence(data, position, True, found.steps)
            continue
        if tag in _WANTED:
            found.fields.append((tag, position, position + length))
        position += length
    raise Odd


def _is_plain(data: bytes, fields: list[tuple[int, int, int]]) -> bool:
    """One frame, no sequence that changes geometry or values, a character set that keeps ASCII, no overlong value."""
    values = {tag: data[start:stop] for tag, start, stop in fields if tag in _DECIDING}
    return (
        values.get(el.FRAMES, b"1").strip(b" \0") in (b"", b"1")
        and not values.get(el.MODALITY_LUT)
        and all(values.get(tag, b"") in _EMPTY_SEQUENCES for tag in (el.SHARED_GROUPS, el.FRAME_GROUPS))
        and values.get(el.CHARACTER_SET, b"").rstrip(b" ") in PLAIN_CHARACTER_SETS
        and all(stop - start <= MAX_BYTES for tag, start, stop in fields if tag in el.SHARED)
    )


def _layout(data: bytes, syntax: str, start: int, found: _Walk) -> ElementLayout:
    # The whole file meta information would hold an instance UID; its heads and the transfer syntax decide.
    ranges = [*meta_ranges(data, start), *((a, b) for tag, a, b in found.fields if tag in _DECIDING)]
    decisive_places = np.concatenate(
        [np.add.outer(found.heads, np.arange(8)).reshape(-1)]
        + [np.add.outer(found.long_heads, np.arange(12)).reshape(-1)]
        + [np.arange(a, b) for a, b in ranges]
    ).astype(np.int64)
    where = {tag: (a, b) for tag, a, b in found.fields}
    shared = [where.get(tag) for tag in el.SHARED]
    return ElementLayout(
        syntax,
        tuple((tag, a, b) for tag, a, b in found.fields if tag in _OWN),
        found.offset,
        found.length,
        np.concatenate([decisive_places, *(np.arange(*place) for place in shared if place is not None)]),
        np.frombuffer(data, np.uint8, found.offset).take(decisive_places).tobytes(),
        tuple(None if place is None else place[1] - place[0] for place in shared),
    )
