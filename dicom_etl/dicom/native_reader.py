"""The fast lane: one pass over the bytes of a file whose structure is plain, without pydicom.

Plain is Explicit or Implicit VR Little Endian, one frame, elements in ascending order, every value representation
known, and nothing behind the pixel data. A file that holds anything else is declined, and left to the general lane:
this one never guesses. Values and verdicts are those of `values` and `checks` in both lanes. Of a compressed file the
header alone is read here, in a sixth of the time: the codec is the general lane's.

The files of a series mostly share a handful of layouts, so those met before are remembered (`ElementLayout`): the
answer is the walk's, at a tenth of its cost.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.dicom import elements as el
from dicom_etl.dicom.checks import check_length, image_header
from dicom_etl.dicom.elements import PLAIN_CHARACTER_SETS, UNDEFINED, Elements, Odd
from dicom_etl.dicom.files import Limits
from dicom_etl.dicom.syntaxes import EXPLICIT, IMPLICIT, SYNTAXES, MetaCutOffError, file_meta
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

_ANY_SIZE = -1
"""In place of the size of a compressed file, which decides nothing."""
_MOST_SIZES = 128
_MOST_PER_SIZE = 4

_head = struct.Struct("<HHHH").unpack_from
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


@dataclass(frozen=True, slots=True, eq=False)
class ElementLayout:
    """Where a walk found what, and the bytes that led it there: where another file has them too, it finds the same.

    These bytes are the head (tag, value representation, length) of each element and the values that decide whether a
    file is plain. ``fields`` are (tag, start, stop) of the wanted values but for those of `elements.SHARED`, whose
    lengths are ``shared_sizes``, None for elements that are not there. The pixel data is ``length`` bytes from
    ``offset``. ``places`` are (n,) int64 offsets of the ``decisive`` bytes, then of the values of `SHARED`; all below
    ``offset``.
    """

    syntax: str
    fields: tuple[tuple[int, int, int], ...]
    offset: int
    length: int
    places: NDArray[np.int64]
    decisive: bytes
    shared_sizes: tuple[int | None, ...]

    def fit(self, data: bytes) -> tuple[bytes | None, ...] | None:
        """Return the values of `SHARED` in ``data``, the start of a file of the same size; None if it does not fit."""
        if len(data) < self.offset:
            return None
        taken = np.frombuffer(data, np.uint8, self.offset).take(self.places).tobytes()
        if not taken.startswith(self.decisive):
            return None
        return _split(taken[len(self.decisive) :], self.shared_sizes)


@lru_cache(maxsize=256)
def _split(joined: bytes, sizes: tuple[int | None, ...]) -> tuple[bytes | None, ...]:
    """Return the parts that were joined, None for those of no size; the same objects for the images of a series."""
    parts: list[bytes | None] = []
    position = 0
    for size in sizes:
        parts.append(None if size is None else joined[position : position + size])
        position += size or 0
    return tuple(parts)


_known: dict[int, tuple[ElementLayout, ...]] = {}
"""The layouts met last, by size of file: a few for each, for a bounded number of sizes."""


def remember(layout: ElementLayout, size: int) -> None:
    """Keep a layout of files of ``size`` bytes; it replaces the oldest where there are enough."""
    same_size = _known.pop(size, ())
    if len(_known) >= _MOST_SIZES:
        # Another thread may have removed it in the meantime.
        _known.pop(next(iter(_known), _ANY_SIZE), None)
    _known[size] = (layout, *same_size[: _MOST_PER_SIZE - 1])


def scan(data: bytes, size: int) -> Plain | None:
    """Find the elements of a plain file of ``size`` bytes in its first ones; None where it is not plain.

    Raises `NeedMoreError` if ``data`` ends within the header and the file does not.
    """
    known = _known.get(size) or _known.get(_ANY_SIZE, ())
    found = _fitting(known, data) or _fitting(walk(data, size), data)
    if found is None:
        return None
    layout, shared = found
    values = {tag: data[start:stop] for tag, start, stop in layout.fields}
    name = _simple_text(values.get(el.MANUFACTURER, b"")[: 2 * MAX_TEXT])
    patient = _simple_text((shared[_PATIENT_ID] or b"")[: 2 * MAX_TEXT])
    if name is None or patient is None:
        return None
    return Plain(Elements(layout.syntax, shared, values, name, patient), layout.offset, layout.length)


def _fitting(
    layouts: tuple[ElementLayout, ...], data: bytes
) -> tuple[ElementLayout, tuple[bytes | None, ...]] | None:
    for layout in layouts:
        shared = layout.fit(data)
        if shared is not None:
            return layout, shared
    return None


@lru_cache(maxsize=64)
def _simple_text(value: bytes) -> str | None:
    return text(value.decode("ascii")) if _is_simple_text(value) else None


def walk(data: bytes, size: int) -> tuple[ElementLayout, ...]:
    """Walk as far as the pixel data, and remember the layout; none where a file is not plain. Raises as `scan` does."""
    try:
        syntax, start, decisive = file_meta(data)
        compressed = SYNTAXES[syntax].compressed
        if not decisive or (syntax not in (EXPLICIT, IMPLICIT) and not compressed):
            return ()
        found = _walk(data, start, syntax == IMPLICIT, compressed)
        if not (compressed or found.offset + found.length == size) or not _is_plain(data, found.fields):
            return ()
        layout = _layout(data, syntax, decisive, found)
    except (Odd, struct.error, MetaCutOffError):  # the data may have ended
        if len(data) < size:
            raise NeedMoreError from None
        return ()
    if not found.nested:
        remember(layout, _ANY_SIZE if compressed else size)
    return (layout,)


class _Found(NamedTuple):
    """What one walk has found; ``heads`` are the offsets of the first, or last, 8 bytes of the heads of elements."""

    fields: list[tuple[int, int, int]]
    heads: list[int]
    nested: bool
    offset: int
    length: int


def _walk(data: bytes, position: int, implicit: bool, compressed: bool) -> _Found:
    if implicit and _looks_explicit(data, position + 4):
        raise Odd
    fields: list[tuple[int, int, int]] = []
    heads: list[int] = []
    steps, nested, last = el.Steps(), False, _FIRST - 1
    # This loop is the lane's cost. Under Implicit VR what stands for one is the lower half of a length.
    unpack, wanted, short = _head, _WANTED, frozenset[int]() if implicit else _SHORT
    for _ in range(_MOST_ELEMENTS):
        group, element, vr, length = unpack(data, position)
        tag = group << 16 | element
        if tag <= last:
            raise Odd
        last = tag
        heads.append(position)
        position += 8
        if vr not in short:
            if implicit:
                length = length << 16 | vr
            elif vr in _LONG:
                heads.append(position - 4)
                (length,) = _length(data, position)
                position += 4
            else:
                raise Odd
            if tag >= el.OFFSETS:
                known = tag == el.PIXELS and (implicit or vr in _PIXEL_VRS)
                if not known or compressed != (length == UNDEFINED):
                    raise Odd
                return _Found(fields, heads, nested, position, length)
            if length == UNDEFINED:
                if tag in wanted or not (implicit or vr == _SEQUENCE):
                    raise Odd
                nested = True
                position = el.skip_sequence(data, position, implicit, steps)
                continue
        if tag in wanted:
            if wanted[tag] != vr and not implicit:
                raise Odd
            fields.append((tag, position, position + length))
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


def _layout(data: bytes, syntax: str, decisive: list[tuple[int, int]], found: _Found) -> ElementLayout:
    # The whole file meta information would hold an instance UID; its heads and the transfer syntax decide.
    ranges = [*decisive, *((a, b) for tag, a, b in found.fields if tag in _DECIDING)]
    decisive_places = np.concatenate(
        [np.add.outer(found.heads, np.arange(8)).reshape(-1), *(np.arange(a, b) for a, b in ranges)]
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
