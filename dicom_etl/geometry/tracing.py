"""Masks to outlines: along the edges of their pixels, so that drawing them gives the masks again, bit for bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import FloatArray, Rings


def trace(mask: NDArray[np.bool_]) -> Rings:
    """Return the outline of a mask (y, x) bool: rings along pixel edges, holes included, in the pixel frame.

    Only corners are vertices, at half pixels. Where two pixels of the mask share a corner alone, the outline passes
    it without crossing itself: each keeps to its own pixel. Every pixel is covered wholly or not at all, so any
    raster rule gives the mask.
    """
    # A border of nothing all around; corner (y, x) lies between pixels y - 1, y and x - 1, x.
    padded = np.pad(mask, 1)
    left_above, right_above = padded[:-1, :-1], padded[:-1, 1:]
    left_below, right_below = padded[1:, :-1], padded[1:, 1:]
    saddle = (left_above == right_below) & (right_above == left_below) & (left_above != right_above)
    single = left_above ^ right_above ^ left_below ^ right_below
    # At a saddle two corners of the outline meet: the one to the left comes first along the row, and along the
    # column the one above: the same when the mask is above it on the left.
    y, x = np.nonzero(single | saddle)
    again = saddle[y, x]
    y, x = np.concatenate((y, y[again])), np.concatenate((x, x[again]))
    second = np.arange(len(y)) >= len(again)
    swapped = second ^ (saddle[y, x] & ~left_above[y, x])
    along = _partners(np.lexsort((second, x, y)))
    down = _partners(np.lexsort((swapped, y, x)))
    points: FloatArray = np.column_stack((x, y)).astype(np.float64) - 0.5
    return tuple(points[ring] for ring in _followed(along, down))


def _partners(order: NDArray[np.intp]) -> list[int]:
    """Return for each corner the other end of its edge: corners of one line pair up, first and second, and so on."""
    partners = np.empty_like(order)
    partners[order[::2]], partners[order[1::2]] = order[1::2], order[::2]
    found: list[int] = partners.tolist()
    return found


def _followed(along: list[int], down: list[int]) -> list[list[int]]:
    rings: list[list[int]] = []
    left = [True] * len(along)
    for first in range(len(along)):
        ring: list[int] = []
        corner = first
        while left[corner]:
            other = along[corner]
            left[corner] = left[other] = False
            ring += (corner, other)
            corner = down[other]
        if ring:
            rings.append(ring)
    return rings
