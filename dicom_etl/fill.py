"""The share of each pixel that rings cover, exactly, in fixed point.

A pixel is the square +-0.5 around its centre. Each edge, cut where it crosses from pixel to pixel, adds to its own
pixel the signed area between it and the pixel's right side, and its height to all pixels to the right of it in
the row: a sum of bins and a running sum (signed-area accumulation, Green's theorem pixel by pixel). Nothing is sampled.

Heights and areas are whole multiples of `1 / UNIT`, so sums are exact in any order: what is not touched is exactly
0, what is filled exactly 1, and the first vertex, the direction of a ring and a shift by whole pixels change no bit.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicom_etl.planar import outline, turning
from dicom_etl.records import FloatArray, Rings

UNIT = float(1 << 40)
"""Fixed point: a pixel is UNIT high, and UNIT in area. Coordinates up to 2**13 = 8192 pixels keep all their digits."""

MARGIN = 64
"""Rings are followed this many pixels beyond the image; what lies farther away cannot change the image."""


class Window(NamedTuple):
    """Covered shares around the rings.

    Attributes
    ----------
    covered : (height * width,) float64
        Row by row, whole numbers from 0 to `UNIT`.
    height, width : int
        Of the window, in pixels.
    top, left : int
        Row and column of the window's first pixel in the image; the window may reach beyond the image. It is the
        smallest that holds the rings, or what is near of them.
    """

    covered: FloatArray
    height: int
    width: int
    top: int
    left: int

    def paste(self, values: NDArray[np.generic], image: NDArray[np.generic]) -> None:
        """Write `values` (height * width,) into `image` (y, x), as far as they lie on it."""
        block = values.reshape(self.height, self.width)
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = self.top + self.height, self.left + self.width
        if bottom > top and right > left:
            target = image[top:bottom, left:right]
            block = block[top - self.top :, left - self.left :]
            target[...] = block[: target.shape[0], : target.shape[1]]


def fill(rings: Rings, shape: tuple[int, int]) -> Window | None:
    """Return the covered shares around `rings`, or None when they enclose nothing in or near an image of `shape`.

    Raises
    ------
    ContourError
        When rings that are not simple are too intricate to resolve (see `dicom_etl.planar.outline`).
    """
    # From here on the pixel (column, row) is the square from (column, row) to (column + 1, row + 1).
    if len(rings) == 1 and len(rings[0]) > 2:
        ring = rings[0]
        points = np.empty((2, len(ring) + 1))
        points[:, :-1] = ring.T
        points[:, -1] = ring[0]
        points += 0.5
        edges = _Edges(points[:, :-1], points[:, 1:])
        turn = turning(points, (edges.left + edges.right) / 2, (edges.top + edges.bottom) / 2)
        if turn and edges.near(shape) and edges.in_pixels():
            heights = np.rint(points[1] * (-turn * UNIT))
            return edges.filled(heights[1:] - heights[:-1])
        if turn:
            start, end = points[:, :-1], points[:, 1:]
            return _fill(start, end, shape) if turn > 0 else _fill(end, start, shape)
    start, end = outline(rings)
    return _fill(start.T + 0.5, end.T + 0.5, shape) if len(start) else None


def _fill(start: FloatArray, end: FloatArray, shape: tuple[int, int]) -> Window | None:
    """Fill what closed edges (2, edge) enclose once, the integral of x dy along them being positive."""
    edges = _Edges(start, end)
    if not edges.near(shape):
        start, end = _clipped(start, end, shape)
        if not start.size:
            return None
    for axis in (1, 0):
        start, end = _cut(start, end, axis)
    return _Edges(start, end).filled(np.rint(start[1] * UNIT) - np.rint(end[1] * UNIT))


class _Edges:
    """Edges (2, edge), sorted by axis into `low` and `high` ends, with the pixel `cell` of the low ends."""

    __slots__ = ("bottom", "cell", "high", "left", "low", "right", "top")

    def __init__(self, start: FloatArray, end: FloatArray) -> None:
        self.low = np.minimum(start, end)
        self.high = np.maximum(start, end)
        self.cell = np.floor(self.low)
        self.left, self.top = np.minimum.reduce(self.cell, axis=1).tolist()
        right, bottom = np.maximum.reduce(self.high, axis=1).tolist()
        self.right, self.bottom = ceil(right), ceil(bottom)

    def near(self, shape: tuple[int, int]) -> bool:
        """Tell whether all lies in the image or not more than the margin beside it."""
        beyond: float = max(-self.left, -self.top, self.right - shape[1], self.bottom - shape[0])
        return beyond <= MARGIN

    def in_pixels(self) -> bool:
        """Tell whether no edge crosses from one pixel to another."""
        longest: float = np.maximum.reduce(self.high - self.cell, axis=None)
        return longest <= 1

    def filled(self, rise: FloatArray) -> Window:
        """Add up edges that each lie in one pixel; `rise` (edge,) is the way up of each, in units."""
        height, width = self.bottom - int(self.top), self.right - int(self.left)
        column = self.cell[0]
        # In pixels from the left side of the pixel to the middle of the edge, doubled.
        beside = self.low[0] + self.high[0]
        beside -= 2 * column
        beside *= rise
        beside *= 0.5
        np.rint(beside, out=beside)
        pixel = self.cell[1] * width
        pixel += column
        pixel -= self.top * width + self.left
        where = pixel.astype(np.intp)
        # Edges on the right or lower side of the box fall one pixel or one row beyond it.
        size = height * width
        run = np.bincount(where, rise, size + width + 1)[:size].astype(np.int64)
        np.add.accumulate(run, out=run)  # integers add up five times as fast as floats
        covered: FloatArray = np.subtract(
            run, np.bincount(where, beside, size + width + 1)[:size], dtype=np.float64
        )
        return Window(covered, height, width, int(self.top), int(self.left))


def _cut(start: FloatArray, end: FloatArray, axis: int) -> tuple[FloatArray, FloatArray]:
    """Cut edges (2, edge) at the whole numbers of one axis.

    Where an edge meets a line is computed from its lower end, whatever its direction, so that drawing it backwards
    gives the same pieces.
    """
    low, high = _ascending(start, end, axis)
    first = np.floor(low[axis]) + 1
    pieces = np.maximum(np.ceil(high[axis]) - first, 0).astype(np.intp) + 1
    owner = np.repeat(np.arange(len(pieces)), pieces)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    line = first[owner] + nth
    met = _met(low[:, owner], high[:, owner], axis, line)
    is_first, is_last = nth == 0, nth == pieces[owner] - 1
    from_low = np.where(is_first, low[:, owner], np.roll(met, 1, axis=1))
    to_high = np.where(is_last, high[:, owner], met)
    back = (start[axis] > end[axis])[owner]
    return np.where(back, to_high, from_low), np.where(back, from_low, to_high)


def _ascending(start: FloatArray, end: FloatArray, axis: int) -> tuple[FloatArray, FloatArray]:
    back = start[axis] > end[axis]
    return np.where(back, end, start), np.where(back, start, end)


def _met(low: FloatArray, high: FloatArray, axis: int, line: FloatArray | float) -> FloatArray:
    """Return the points (2, edge) of edges at `line` of an axis; of edges along the line, their low ends."""
    run = high[axis] - low[axis]
    part = np.divide(line - low[axis], run, out=np.zeros_like(run), where=run > 0)
    point: FloatArray = low + (high - low) * part
    point[axis] = line
    return point


def _clipped(start: FloatArray, end: FloatArray, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Push what lies more than the margin outside the image onto the margin's rim: above, below, left and right.

    The rim is outside the image, heights within the rim are kept, so rows still close and the image does not change.
    """
    for axis in (1, 0):
        for rim in (-MARGIN, shape[1 - axis] + MARGIN):
            low, high = _ascending(start, end, axis)
            crosses = (low[axis] < rim) & (rim < high[axis])
            met = _met(low[:, crosses], high[:, crosses], axis, float(rim))
            first, last = start[:, crosses], end[:, crosses]
            start = np.concatenate((start[:, ~crosses], first, met), axis=1)
            end = np.concatenate((end[:, ~crosses], met, last), axis=1)
        lower, upper = float(-MARGIN), float(shape[1 - axis] + MARGIN)
        for points in (start, end):
            np.clip(points[axis], lower, upper, out=points[axis])
    kept = start[1] != end[1]
    return start[:, kept], end[:, kept]
