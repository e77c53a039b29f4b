"""Rings measured once: direction, box and area of those that are simple, and the boundary of any others.

What is read, drawn and checked of a slice asks the same of a contour many times over. Nearly every contour is simple,
and then a dozen array operations tell all of it; the rest goes through the slabs of `dicom_etl.geometry.planar`.
"""

from __future__ import annotations

from math import inf, nan
from typing import NamedTuple, TypeAlias

import numpy as np

from dicom_etl.geometry.planar import (
    Edges,
    Slabs,
    crossing_blocks,
    crossings_of,
    edges,
    signed_area,
    turning_apart,
)
from dicom_etl.geometry.stars import extent, turning
from dicom_etl.records import FloatArray, Rings

_SAME_PLACE = 1e-9
"""Edges this close, in pixels, lie on each other; what is between them is rounding error."""

_MOST_RECENT = 16
"""Rings that are remembered: an image has a few contours."""

Box: TypeAlias = tuple[float, float, float, float]
"""Least x and y, greatest x and y."""


class Measured(NamedTuple):
    """What is known of one ring.

    Attributes
    ----------
    ring : (vertex, 2) float64
        The ring itself.
    line : (vertex + 1, 2) float64
        Its vertices without those that repeat the one before, and the first one again at the end.
    box : (left, top, right, bottom)
        Around it; empty, from inf to -inf, for a ring without vertices.
    turn : int
        1 when it is simple and turns from x towards y, -1 when it turns the other way; 0 when it may not be simple.
    area : float
        Square pixels that it encloses; NaN when `turn` is 0.
    """

    ring: FloatArray
    line: FloatArray
    box: Box
    turn: int
    area: float

    def edges(self) -> Edges:
        """Return its edges, turned so that the integral of x dy is its area when it is simple."""
        return _turned(self.line, self.turn)


_recent: dict[int, Measured] = {}
"""Read-only rings by identity."""

_EMPTY: Box = (inf, inf, -inf, -inf)


def measure(ring: FloatArray) -> Measured:
    """Return what is known of a ring; the last few rings that nobody can change are remembered."""
    known = _recent.get(id(ring))
    if known is not None and known.ring is ring:
        return known
    found = _measured(ring)
    if not ring.flags.writeable:
        if len(_recent) >= _MOST_RECENT:
            _recent.clear()
        _recent[id(ring)] = found
    return found


def _measured(ring: FloatArray) -> Measured:
    if not len(ring):
        return Measured(ring, ring, _EMPTY, 0, nan)
    line, box = np.concatenate((ring, ring[:1])), extent(ring)
    left, top, right, bottom = box
    turn = turning(line, (left + right) / 2, (top + bottom) / 2)
    if not turn:  # no star, which has no edge of length zero
        start, end = edges((ring,))
        if len(start) < len(ring):
            line = np.concatenate((start, start[:1])) if len(start) else ring[:1]
        turn = turning_apart(start, end) if len(start) > 2 else 0
    return Measured(ring, line, box, turn, signed_area(*_turned(line, turn)) if turn else nan)


def _turned(line: FloatArray, turn: int) -> Edges:
    return (line[1:], line[:-1]) if turn < 0 else (line[:-1], line[1:])


def box_of(rings: Rings) -> Box:
    """Return the box around some rings, which have at least one vertex."""
    if len(rings) > 1:
        return extent(np.concatenate(rings))
    known = _recent.get(id(rings[0]))
    return known.box if known is not None and known.ring is rings[0] else extent(rings[0])


def outline(rings: Rings) -> Edges:
    """Return the boundary of what `rings` enclose by the even-odd rule.

    It is turned so that the integral of x dy along it is the area.

    Raises
    ------
    ContourError
        When there are more pairs of edges to look at than `planar.MOST_PAIRS`, more crossings than
        `planar.MOST_CROSSINGS`, or more pieces than `planar.MOST_PIECES`.
    """
    if len(rings) == 1:
        known = measure(rings[0])
        start, end = known.edges()
        if known.turn:
            return start, end
    else:
        start, end = edges(rings)
    slabs = Slabs(start, end, crossings_of(start, end))
    leaving = slabs.order % 2 == 1
    low = np.column_stack((slabs.x_low, slabs.y_low))
    high = np.column_stack((slabs.x_high, slabs.y_high))
    return np.where(leaving[:, None], low, high), np.where(leaving[:, None], high, low)


def fault(ring: FloatArray) -> tuple[float, float] | None:
    """Return a point x,y where one ring crosses itself or that it winds around otherwise than once, or None.

    When there is none, the even-odd rule, the winding rule and the shoelace formula agree about the area.

    Raises
    ------
    ContourError
        As `outline`.
    """
    known = measure(ring)
    if known.turn:
        return None
    start, end = known.edges()
    for crossing in crossing_blocks(start, end):
        return float(crossing[0, 0]), float(crossing[0, 1])
    slabs = Slabs(start, end, np.empty((0, 2)))
    expected = 1 if signed_area(start, end) > 0 else -1
    # The line comes up on the side of greater x of what it winds around once in the sense of a positive area.
    winding = -np.cumsum(slabs.direction)
    gap = np.diff(slabs.x_middle, append=np.inf) > _SAME_PLACE
    wrong = np.flatnonzero(gap & (winding != 0) & (winding != expected))
    if not len(wrong):
        return None
    return float(slabs.x_middle[wrong[0]]), float((slabs.y_low + slabs.y_high)[wrong[0]] / 2)
