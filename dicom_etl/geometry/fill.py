"""The share of each pixel that rings cover, exactly, in fixed point.

A pixel is the square +-0.5 around its centre. Each edge, cut where it crosses from pixel to pixel, adds to its own
pixel the signed area between it and the pixel's right side, and its height to all pixels to the right of it in
the row: a sum of bins and a running sum (signed-area accumulation, Green's theorem pixel by pixel). Nothing is sampled.

Heights and areas are whole multiples of `1 / UNIT`, so sums are exact in any order: what is not touched is exactly
0, what is filled exactly 1, and the first vertex, the direction of a ring and a shift by whole pixels change no bit.

A drawn contour has a few hundred edges: the time goes by the number of array operations, not by their length. So all
work is done within the box around the ring, in place, and the common case (a star whose edges lie within pixels, as
contours on a half-pixel grid are) takes no detour.
"""

from __future__ import annotations

from math import ceil, floor
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dicom_etl.geometry.outlines import measure, outline
from dicom_etl.records import FloatArray, Rings

DIGITS = 40
UNIT = 1 << DIGITS
"""Fixed point: a pixel is UNIT high, and UNIT in area. Coordinates up to 2**13 = 8192 pixels keep all their digits."""

MARGIN = 64
"""Rings are followed this many pixels beyond the image; what lies farther away cannot change the image."""

_HALF, _ONE = np.array(0.5), np.array(1)
_TURNED = {1: np.array(-float(UNIT)), -1: np.array(float(UNIT))}
"""Arrays, for an operation takes a third less time with one than with a Python number."""

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom: whole pixels, the last two beyond the last one."""


class Window(NamedTuple):
    """Covered shares around the rings.

    Attributes
    ----------
    covered : (height * width,) int64
        Row by row, from 0 to `UNIT`.
    height, width : int
        Of the window, in pixels.
    top, left : int
        Row and column of the window's first pixel in the image; the window may reach beyond the image. It is the
        smallest that holds the rings, or what is near of them.
    """

    covered: NDArray[np.int64]
    height: int
    width: int
    top: int
    left: int

    def paste(self, values: NDArray[np.generic], image: NDArray[np.generic]) -> None:
        """Write `values` (height * width,) into `image` (y, x), as far as they lie on it."""
        height, width, top, left = self.height, self.width, self.top, self.left
        block = values.reshape(height, width)
        bottom, right = top + height, left + width
        rows, columns = image.shape
        if top < 0 or left < 0 or bottom > rows or right > columns:
            block = block[max(-top, 0) : max(rows - top, 0), max(-left, 0) : max(columns - left, 0)]
            top, left, bottom, right = max(top, 0), max(left, 0), max(bottom, 0), max(right, 0)
        image[top:bottom, left:right] = block


def fill(rings: Rings, shape: tuple[int, int]) -> Window | None:
    """Return the covered shares around `rings`, or None when they enclose nothing in or near an image of `shape`.

    Raises
    ------
    ContourError
        When rings that are not simple are too intricate to resolve (see `dicom_etl.geometry.planar.outline`).
    """
    # From here on the pixel (column, row) is the square from (column, row) to (column + 1, row + 1).
    if len(rings) == 1:
        _, line, (left, top, right, bottom), turn, _ = measure(rings[0])
        if turn:
            line = line + _HALF
            box = floor(left + 0.5), floor(top + 0.5), ceil(right + 0.5), ceil(bottom + 0.5)
            flat = line.reshape(-1)  # x,y,x,y,..: both axes in one operation
            cell, low, high = _in_pixels(flat[:-2], flat[2:])
            if high.item(high.argmax()) <= 1 and _near(box, shape):
                heights = line[:, 1] * _TURNED[turn]
                np.rint(heights, out=heights)
                low += high
                return _add_up(box, cell[0::2], cell[1::2], low[0::2], heights[1:] - heights[:-1])
            start, end = (line[:-1].T, line[1:].T)[::turn]
            return _fill(start, end, shape)
    start, end = outline(rings)
    return _fill(start.T + 0.5, end.T + 0.5, shape) if len(start) else None


def _fill(start: FloatArray, end: FloatArray, shape: tuple[int, int]) -> Window | None:
    """Fill what closed edges (2, edge) enclose once, the integral of x dy along them being positive."""
    if not _near(_boxed(start, end), shape):
        start, end = _clipped(start, end, shape)
        if not start.size:
            return None
    for axis in (1, 0):
        start, end = _cut(start, end, axis)
    (column, row), low, high = _in_pixels(start, end)
    rise = np.rint(start[1] * UNIT) - np.rint(end[1] * UNIT)
    return _add_up(_boxed(start, end), column, row, low[0] + high[0], rise)


def _in_pixels(start: FloatArray, end: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return of each edge, along each axis, the pixel of its lower end and how far it reaches from there.

    Seen from that pixel's corner the edge reaches from the second to the third array returned; it lies in that pixel
    alone when neither is above 1.
    """
    low, high = np.minimum(start, end), np.maximum(start, end)
    cell = np.floor(low)
    low -= cell
    high -= cell
    return cell, low, high


def _boxed(start: FloatArray, end: FloatArray) -> Box:
    """Return the box of pixels around edges (2, edge)."""
    left, top = np.minimum(start, end).min(axis=1).tolist()
    right, bottom = np.maximum(start, end).max(axis=1).tolist()
    return floor(left), floor(top), ceil(right), ceil(bottom)


def _near(box: Box, shape: tuple[int, int]) -> bool:
    """Tell whether a box lies in the image, or not more than the margin beside it."""
    left, top, right, bottom = box
    return max(-left, -top, right - shape[1], bottom - shape[0]) <= MARGIN


def _add_up(
    box: Box, column: FloatArray, row: FloatArray, twice_middle: FloatArray, rise: FloatArray
) -> Window:
    """Add up edges that each lie in one pixel.

    Parameters
    ----------
    box : (left, top, right, bottom)
        Around all of them.
    column, row : (edge,) float64
        The pixel of each.
    twice_middle : (edge,) float64
        Twice the way from the pixel's left side to the middle of the edge.
    rise : (edge,) float64
        How far up each goes, in units.
    """
    left, top, right, bottom = box
    height, width = bottom - top, right - left
    size = height * width
    # In its own pixel an edge has filled what is right of it, from the next one on all its height.
    bins, units = np.empty((2, len(rise)), dtype=np.intp), np.empty((2, len(rise)))
    beside = twice_middle * rise
    beside *= _HALF
    np.rint(beside, out=units[1])
    np.subtract(rise, units[1], out=units[0])
    pixel = row * width
    pixel += column
    pixel -= top * width + left
    bins[0] = pixel
    np.add(bins[0], _ONE, out=bins[1])
    # Edges along the right or lower side of the box fall one pixel or one row beyond it, and one more.
    added = np.bincount(bins.reshape(-1), units.reshape(-1), size + width + 2)
    covered = added[:size].astype(np.int64)  # whole numbers add up five times as fast as floats
    np.add.accumulate(covered, out=covered)
    return Window(covered, height, width, top, left)


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
