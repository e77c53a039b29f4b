"""Texts whose lines are all of one shape, as ``133.00 132.50``: read by columns of digits, all lines at once."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dicom_etl.records import FloatArray

DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_FIXED_POINT = re.compile(rb"(0{1,6}\.(0{1,9})) (0{1,6}\.(0{1,9}))")
"""A line of two numbers, its digits as zeros. Without its point, a number of so few digits is an exact one below 2**53,
even when the codes of its digits (at most 57) are taken for the digits."""
_LONGEST = 34


class Columns(NamedTuple):
    """What the digits of lines of one shape are worth.

    Attributes
    ----------
    decimals : int
        How many both numbers have.
    worth : (sign, 2) float64
        What a digit in each column of a line, its end included, adds to the first and the second number without point.
    surplus : (2,) float64
        By how much each number is too large when codes of digits are taken for digits.
    """

    decimals: int
    worth: FloatArray
    surplus: FloatArray


def points_in_columns(data: bytes, shapes: bytes, lines: int) -> FloatArray | None:
    """Return the points (line, 2) of a text, or None unless all lines have one shape, of two numbers alike in decimals.

    Parameters
    ----------
    data : bytes
        The text, without an end of line after the last one.
    shapes : bytes
        The same with all digits as zeros (`DIGITS_AS_ZEROS`).
    lines : int
        How many there are.
    """
    width = shapes.find(b"\n") + 1
    if width * lines != len(data) + 1 or (shapes[:width] * lines)[:-1] != shapes:
        return None
    columns = columns_of(shapes[: width - 1])
    if columns is None:
        return None
    signs = np.frombuffer(data + b"\n", dtype=np.uint8).reshape(lines, width)
    points: FloatArray = np.dot(signs, columns.worth)
    points -= columns.surplus
    # Both are exact in float64, so their quotient is the nearest one, as if the text had been read digit by digit.
    points /= 10**columns.decimals
    return points


def columns_of(shape: bytes) -> Columns | None:
    """Return the columns of a line of the usual form, its digits as zeros, or None for one of another form."""
    return _remembered(shape) if len(shape) <= _LONGEST else None


@lru_cache(maxsize=256)
def _remembered(shape: bytes) -> Columns | None:
    usual = _FIXED_POINT.fullmatch(shape)
    if usual is None or len(usual[2]) != len(usual[4]):
        return None
    worth = np.zeros((len(shape) + 1, 2))
    for number, group in enumerate((1, 3)):
        digits = [place for place in range(*usual.span(group)) if shape[place : place + 1] == b"0"]
        worth[digits, number] = 10.0 ** np.arange(len(digits))[::-1]
    worth.flags.writeable = False
    return Columns(len(usual[2]), worth, ord("0") * worth.sum(axis=0))
