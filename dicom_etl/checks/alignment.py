"""Do the contours of a study lie on the edges in its images? The shift that would put them there, with an interval.

A contour format that counts pixels from 1 read as if it counted from 0 is off by one pixel in x and y: too little to
see on one image, and enough to spoil every label. The blood pool is brighter (or, in black-blood images, darker) than
the wall around it, so the contrast between a band inside the contours and a band outside is greatest where they were
drawn.

Contrast is the mean rank inside less the mean rank outside, among the values around the contour where it was drawn: 0
for none, 1/2 when every value inside is above every one outside (it is the area under the ROC curve less 1/2). Ranks
instead of intensities, because fat and slow blood are far brighter than any wall, and pulled the optimum by up to
half a pixel on real studies. It is taken at all shifts up to `REACH` pixels in half-pixel steps, averaged over the
slices of a study, and its peak is placed between steps by parabolas. The interval comes from drawing slices with
replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from dicom_etl.geometry.planar import extent
from dicom_etl.records import FloatArray

REACH = 3
"""Farthest shift that is tried, in pixels."""

MOST_SLICES = 20
"""Slices of a study that are looked at; more would hardly narrow the interval."""

FEWEST_SLICES = 5
"""With fewer slices there is no interval to speak of."""

TOLERANCE = 0.5
"""Pixels that contours may be off beyond doubt: observers differ by as much, an origin off by one does not."""

_STEPS = 2
"""Shifts in a pixel."""
_SIDE = 2 * REACH * _STEPS + 1
_POINTS = 40
"""Points along a contour; an endocardium of 25 mm radius has one in about 3 pixels."""
_AFTER = np.arange(1, _POINTS + 1) % _POINTS
_BEFORE = np.arange(-1, _POINTS - 1) % _POINTS
_DEPTHS = np.array((0.5, 1.0, 1.5, 2.0))
"""Distances from the contour, in pixels, at which the image is looked at on both sides; the wall is about 6 thick."""
_DRAWS = 500
_CONFIDENCE = 95


@dataclass(frozen=True, slots=True)
class Alignment:
    """How contours should be moved to lie on the edges in the images: the shift x,y in pixels of greatest contrast.

    ``low`` and ``high`` are the 95% bootstrap interval of either coordinate.
    """

    shift: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]
    slices: int

    @property
    def misaligned(self) -> bool:
        """Whether the interval, in x or in y, stays away from 0 by more than `TOLERANCE`."""
        return any(low > TOLERANCE for low in self.low) or any(high < -TOLERANCE for high in self.high)


def choose_slices(count: int) -> list[int]:
    """Return which of `count` slices to look at: all, or `MOST_SLICES` spread evenly."""
    if count <= MOST_SLICES:
        return list(range(count))
    return [(2 * number + 1) * count // (2 * MOST_SLICES) for number in range(MOST_SLICES)]


def contrast(image: NDArray[Any], ring: FloatArray) -> FloatArray:
    """Return the contrast (y, x), -1/2 to 1/2, across the contour of one slice at each shift.

    Entry (i, j) is for the ring moved by ``(j, i) / 2 - REACH`` pixels. The image (y, x) may have any scale: only the
    order of its values counts.
    """
    limit = np.array([image.shape[1], image.shape[0]]) - 1
    points = np.minimum(np.maximum(_bands(ring), 0), limit)
    lattice, corner = _ranks(image, points)
    # To the nearest point of a lattice of half pixels: the error averages out over the points.
    column, row = np.rint((points - corner) * _STEPS).astype(np.intp).T - _SIDE // 2
    values = sliding_window_view(lattice, (_SIDE, _SIDE))[row, column]
    half = len(points) // 2
    result: FloatArray = values[:half].mean(axis=0) - values[half:].mean(axis=0)
    return result


def _bands(ring: FloatArray) -> FloatArray:
    """Return points (point, 2) at all depths inside a ring, then as many outside."""
    closed = np.concatenate((ring, ring[:1]))
    along = np.zeros(len(closed))
    np.cumsum(np.hypot(*(closed[1:] - closed[:-1]).T), out=along[1:])
    places = np.arange(_POINTS) * (along[-1] / _POINTS)
    points = np.column_stack([np.interp(places, along, closed[:, axis]) for axis in (0, 1)])
    # Over two steps, since contours drawn on a pixel grid run in stairs.
    following = points[_AFTER]
    tangent = following - points[_BEFORE]
    length = np.hypot(*tangent.T)
    tangent /= np.where(length > 0, length, 1)[:, None]
    x, y = points.T
    turn = np.sign(x @ following[:, 1].copy() - y @ following[:, 0].copy())
    outward = np.column_stack((tangent[:, 1], -tangent[:, 0])) * turn
    steps = _DEPTHS[:, None, None] * outward
    return np.concatenate((points - steps, points + steps)).reshape(-1, 2)


def _ranks(image: NDArray[Any], points: FloatArray) -> tuple[FloatArray, tuple[int, int]]:
    """Return the image around the points as ranks among its values there, on a lattice of half pixels.

    Also returns the x,y of the lattice's first point. Beyond its edge the image goes on with its last pixel.
    """
    left, top, right, bottom = extent(points)
    corner = floor(left) - REACH - 1, floor(top) - REACH - 1
    columns = np.arange(corner[0], ceil(right) + REACH + 2)
    rows = np.arange(corner[1], ceil(bottom) + REACH + 2)
    patch = image.take(rows, 0, mode="clip").take(columns, 1, mode="clip")
    x, y = np.rint(points).astype(np.intp).T
    rank = _rank_among(image[y, x], patch)
    lattice = np.empty((2 * patch.shape[0] - 1, 2 * patch.shape[1] - 1))
    lattice[::2, ::2] = rank
    lattice[1::2, ::2] = (rank[1:] + rank[:-1]) / 2
    lattice[:, 1::2] = (lattice[:, :-2:2] + lattice[:, 2::2]) / 2
    return lattice, corner


def _rank_among(there: NDArray[Any], values: NDArray[Any]) -> FloatArray:
    """Return the share of some values that each of others is above, those equal to it counted by half."""
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        # Looked up in a table, 20 us for 3,000 values; searched for, 330.
        least = int(there.min()) - 1
        count = np.bincount(there.astype(np.intp) - least)
        count = np.append(count, 0)
        table: FloatArray = (2 * np.cumsum(count) - count) / (2.0 * len(there))
        return table.take(values.astype(np.intp) - least, mode="clip")
    there = np.sort(there)
    order = np.searchsorted(there, values, "left") + np.searchsorted(there, values, "right")
    return order / (2.0 * len(there))


def combine(contrasts: Sequence[FloatArray]) -> Alignment:
    """Find the shift of greatest mean contrast over slices of one study, and how far to trust it."""
    count = len(contrasts)
    stack = np.array(contrasts).reshape(count, -1)
    mean = stack.mean(axis=0, keepdims=True)
    if mean.sum() < 0:  # black blood
        stack, mean = -stack, -mean
    x, y = (float(value) for value in _peaks(mean)[0])
    tail = (100 - _CONFIDENCE) / 2
    low, high = np.percentile(_peaks(_draws(count) @ stack / count), (tail, 100 - tail), axis=0)
    return Alignment((x, y), (float(low[0]), float(low[1])), (float(high[0]), float(high[1])), count)


@lru_cache(maxsize=MOST_SLICES)
def _draws(count: int) -> NDArray[np.int64]:
    """Return how often each slice (draw, slice) is drawn; the same for all studies of so many, and half of the time."""
    return np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=_DRAWS)


def _peaks(surfaces: FloatArray) -> FloatArray:
    """Return the x,y shift (surface, 2) at which each surface (surface, side * side) is greatest.

    Between steps, where the parabola through a maximum and its two neighbours has its vertex, in x and in y.
    """
    row, column = np.divmod(surfaces.argmax(axis=1), _SIDE)
    cube = surfaces.reshape(-1, _SIDE, _SIDE)
    which = np.arange(len(cube))
    row, column = np.clip(row, 1, _SIDE - 2), np.clip(column, 1, _SIDE - 2)
    middle = cube[which, row, column]
    x = column + _vertex(cube[which, row, column - 1], middle, cube[which, row, column + 1])
    y = row + _vertex(cube[which, row - 1, column], middle, cube[which, row + 1, column])
    return np.column_stack((x, y)) / _STEPS - REACH


def _vertex(before: FloatArray, at: FloatArray, after: FloatArray) -> FloatArray:
    bend = before - 2 * at + after
    offset = np.divide((before - after) / 2, bend, out=np.zeros_like(bend), where=bend < 0)
    return np.clip(offset, -1, 1)
