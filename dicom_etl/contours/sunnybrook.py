"""The text contours of two challenges, one ``x y`` pair a line.

Those of the Sunnybrook Cardiac Data are called ``IM-0001-0048-icontour-manual.txt``. Their coordinates are pixels
counted from 1: shifting them by (-1, -1) puts them on the wall in the image (the README shows how this was measured).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from sys import intern

import numpy as np

from dicom_etl.config import LabelOptions
from dicom_etl.contours.rings import ring_of, too_many
from dicom_etl.errors import ContourError
from dicom_etl.records import ContourRef, FloatArray, Found, ImageHeader, Outlines, SliceNumber

_NAME = re.compile(
    r"im-([0-9]{1,9})-([0-9]{1,6})-(?:([a-z]contour|p[0-9]{1,2}contour)|(p[0-9]{1,2}))-(?:manual|auto)\.txt"
)
_RVSC_NAME = re.compile(r"p[0-9]{1,4}-([0-9]{1,6})-([io])contour-(?:manual|auto)\.txt")
# Possessive quantifiers: no sign is looked at twice, so a hostile file cannot make the match slow.
_NUMBER = rb"[+-]?(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?[0-9]{1,2})?+"
_LINE = re.compile(rb"[ \t]*+" + _NUMBER + rb"[ \t]++" + _NUMBER + rb"[ \t]*+")
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_FIXED_POINT = re.compile(rb"0{1,6}\.(0{1,9}) 0{1,6}\.(0{1,9})\r?")
"""A line of two numbers, its digits as zeros. Without its point, a number of so few digits is exact, below 2**53."""
_LONGEST_SHAPE = 64
"""Of those that are remembered."""
_VARIOUS, _BAD = 0, -1
"""Lines without one count of decimals, and those that are no two numbers."""
_BOM = b"\xef\xbb\xbf"
_FARTHEST = 1e6
"""No image is a million pixels wide; a number beyond it is a damaged file."""


class SunnybrookText:
    """`ContourReader` for the text files of the 2009 left ventricle challenge."""

    name = "sunnybrook"
    accepts = frozenset({".txt"})
    origin = 1
    """What these files call the centre of the first pixel."""

    def find(self, path: str, options: LabelOptions) -> Found | None:
        """Read structure and numbers off the name, in upper or lower case; ``p1`` is ``p1contour``. Opens nothing."""
        found = _NAME.fullmatch(path.rpartition("/")[2].casefold())
        if not found:
            return None
        series, number, structure, short = found.groups()
        target = SliceNumber(int(series), int(number))
        name = intern(structure or f"{short}contour")  # one text for all, which a packed plan holds once
        return Found((ContourRef(path, "", self.name, name, target),))

    def read(
        self, path: str, refs: Sequence[ContourRef], image: ImageHeader, options: LabelOptions
    ) -> Outlines:
        """Read the one ring of the file."""
        origin = self.origin if options.contour_origin is None else options.contour_origin
        data = _content(path, options.max_contour_bytes)
        rings = (ring_of(_points(data.removeprefix(_BOM).rstrip(), options) - origin),)
        digest = hashlib.sha256(data).hexdigest()
        return Outlines({refs[0]: rings}, {refs[0]: float(origin)}, digest=digest)


class RvscText(SunnybrookText):
    """`ContourReader` for ``P09-0080-icontour-manual.txt``, the files of the right ventricle challenge.

    Their number is that in the name of the image file, which counts from 0. Every public reader takes the coordinates
    as counted from 0; nothing that is public proves it.
    """

    name = "rvsc"
    origin = 0

    def find(self, path: str, options: LabelOptions) -> Found | None:
        """Read structure and number off the name. Opens nothing."""
        found = _RVSC_NAME.fullmatch(path.rpartition("/")[2].casefold())
        if not found:
            return None
        number, side = found.groups()
        return Found((ContourRef(path, "", self.name, f"rv_{side}contour", SliceNumber(-1, int(number))),))


def _content(path: str, max_bytes: int) -> bytes:
    # Without a file object, which costs more than reading so short a file.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = min(os.fstat(descriptor).st_size, max_bytes)
        data = os.read(descriptor, size + 1)
    finally:
        os.close(descriptor)
    if len(data) < size:
        raise ContourError("the file became shorter while it was read")
    if len(data) > max_bytes:
        raise ContourError(
            f"larger than {max_bytes} bytes, which no contour is; `max_contour_bytes` raises the limit"
        )
    return data


def _points(data: bytes, options: LabelOptions) -> FloatArray:
    """Return all points of the text, (point, 2), or say which line is wrong."""
    if not data:
        raise ContourError("the file is empty")
    if data.count(b"\n") >= options.max_contour_points:
        raise ContourError(too_many(options.max_contour_points))
    # The lines of a file have few shapes, so shapes are matched, not lines: 27 us a file of 200 points instead of 142.
    decimals = {
        (_decimals if len(shape) <= _LONGEST_SHAPE else _decimals.__wrapped__)(shape)
        for shape in set(data.translate(_DIGITS_AS_ZEROS).split(b"\n"))
    }
    if _BAD in decimals:
        lines = (line.removesuffix(b"\r") for line in data.split(b"\n"))
        number, bad = next(each for each in enumerate(lines, start=1) if not _LINE.fullmatch(each[1]))
        raise ContourError(f'line {number}: expected two numbers "x y", found {_kind_of(bad)}')
    points = _numbers(data, decimals.pop() if len(decimals) == 1 else _VARIOUS).reshape(-1, 2)
    # Written so that NaN would fail it too.
    if not np.abs(points).max() <= _FARTHEST:
        line = int(np.argmax(~(np.abs(points).max(axis=1) <= _FARTHEST))) + 1
        raise ContourError(f"line {line}: a coordinate is beyond {_FARTHEST:.0f} pixels")
    return points


@lru_cache(maxsize=256)
def _decimals(shape: bytes) -> int:
    """Return how many decimals both numbers of a line have, if it is of the usual form, else `_VARIOUS` or `_BAD`.

    ``shape`` is the line with all its digits as zeros: which digit it is never matters.
    """
    usual = _FIXED_POINT.fullmatch(shape)
    if usual is not None and len(usual[1]) == len(usual[2]):
        return len(usual[1])
    return _VARIOUS if _LINE.fullmatch(shape.removesuffix(b"\r")) else _BAD


def _numbers(data: bytes, decimals: int) -> FloatArray:
    """Return all numbers of a good text, (number,); ``decimals`` is what each of them has, or `_VARIOUS`."""
    if decimals == _VARIOUS:
        return np.array(list(map(float, data.split())), dtype=np.float64)
    # Both are exact in float64, so their quotient is the nearest one, as if the text had been read digit by digit.
    found: FloatArray = np.fromstring(data.translate(None, b"."), dtype=np.int64, sep=" ") / 10**decimals
    return found


def _kind_of(line: bytes) -> str:
    """Say what is wrong with a line, and repeat nothing of it: it may be a note about a patient."""
    values = line.split()
    if not values:
        return "an empty line"
    if len(values) != 2:
        return "one value" if len(values) == 1 else f"{len(values)} values"
    bad = [place for place, value in enumerate(values, start=1) if not re.fullmatch(_NUMBER, value)]
    return f"that value {bad[0]} is no plain number" if bad else "another sign than a space between them"
