"""Points on both sides of outlines, and the parts of images that they are looked up in: for a whole study at once.

Pure numpy. A call of numpy costs as much as a thousand numbers, and a study has hundreds of contours, so nothing here
is done contour by contour. Points are complex, x + i y, which halves the calls once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dicom_etl.geometry.planar import Points, as_complex
from dicom_etl.records import FloatArray

POINTS = 64
DISTANCE_PX = 2.0
"""Points lie this far inside and outside: beyond the edge's partial volume, within the thinnest wall."""

REACH_PX = 9
"""The farthest shift that is tried, along an axis."""

MARGIN_PX = REACH_PX + int(DISTANCE_PX) + 1
"""What is kept of an image around the contours on it."""

Indices: TypeAlias = NDArray[np.int64]

_PARTS_OF_A_PIXEL = 1 << 20
_SHARES = np.arange(POINTS)
_AHEAD = (_SHARES + 2) % POINTS
_BEHIND = (_SHARES - 2) % POINTS


def cut_window(
    pixels: NDArray[Any], boxes: Sequence[tuple[float, float, float, float]]
) -> tuple[NDArray[Any], tuple[int, int]]:
    """Return a copy (y, x) of an image around the boxes of some contours, and where its first pixel lies, x,y.

    With `MARGIN_PX` around it; the edge of the image is repeated beyond it.
    """
    rows, columns = pixels.shape
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    left, right = _span(min(lefts), max(rights), columns)
    top, bottom = _span(min(tops), max(bottoms), rows)
    if left >= 0 and top >= 0 and right <= columns and bottom <= rows:
        return pixels[top:bottom, left:right].copy(), (left, top)
    x = np.arange(left, right).clip(0, columns - 1)
    y = np.arange(top, bottom).clip(0, rows - 1)
    window: NDArray[Any] = pixels[y[:, None], x]
    return window, (left, top)


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    # A contour far outside the image (a damaged one) must not make a window of gigabytes.
    first, last = (round(min(max(value, 0.0), length - 1.0)) for value in (low, high))
    return first - MARGIN_PX, last + MARGIN_PX + 1


def equal_steps(rings: Sequence[FloatArray]) -> Points:
    """Return points (ring, POINTS) at equal distances along each of some closed rings, from its first vertex on."""
    points = as_complex(np.concatenate(rings))
    ends = np.cumsum([len(ring) for ring in rings])
    following = np.arange(1, len(points) + 1)
    following[ends - 1] = ends - [len(ring) for ring in rings]
    side = points[following] - points
    # In whole parts of a pixel sums are exact, so what comes before a ring in the study moves none of its points.
    length = np.rint(np.abs(side) * _PARTS_OF_A_PIXEL).astype(np.int64)
    along = np.cumsum(length)
    total = along[ends - 1]
    before = np.concatenate(([0], total[:-1]))
    at = before[:, None] + (total - before)[:, None] * _SHARES // POINTS
    # Never on the next ring, where one has no length.
    which = np.minimum(np.searchsorted(along, at.ravel(), side="right").reshape(at.shape), ends[:, None] - 1)
    left = (along[which] - at) / np.maximum(length[which], 1)
    found: Points = points[following[which]] - side[which] * left
    return found


def both_sides(points: Points) -> Points:
    """Return points (ring, 2, POINTS) that lie `DISTANCE_PX` inside, and outside, of points (ring, POINTS) on rings."""
    tangent = points[:, _AHEAD] - points[:, _BEHIND]
    # -i (dx + i dy) points outwards where x turns towards y, which makes the sum of x dy positive.
    turns = np.einsum("rp,rp->r", points.real, tangent.imag) > 0
    outwards = np.where(turns, -1j, 1j)[:, None] * (DISTANCE_PX / np.maximum(np.abs(tangent), 1e-9))
    step = tangent * outwards
    return np.stack((points - step, points + step), axis=1)


class PixelWindows:
    """Windows of many images, of one dtype, laid end to end, so that points on all of them are looked up at once.

    ``windows`` and ``corners`` are what `cut_window` gives.
    """

    def __init__(self, windows: Sequence[NDArray[Any]], corners: Sequence[tuple[int, int]]) -> None:
        self.values: NDArray[Any] = np.concatenate([window.ravel() for window in windows])
        sizes = np.array([window.shape for window in windows], dtype=np.int64)
        self.widths: Indices = sizes[:, 1]
        self._last_x, self._last_y = sizes[:, 1] - 1, sizes[:, 0] - 1
        self._left, self._top = np.array(corners, dtype=np.int64).T
        self._starts = np.cumsum(sizes.prod(axis=1)) - sizes.prod(axis=1)

    def pixel_indices(self, which: Indices, points: Points, *, margin: int = 0) -> Indices:
        """Return where in `values` the pixels nearest to points (m, 2, POINTS), x + i y in pixels of the images, lie.

        ``which`` (m,) is the window of each row of points. Points nearer than ``margin`` to its edge are moved.
        """
        x = np.rint(points.real).astype(np.int64) - _each(self._left[which])
        y = np.rint(points.imag).astype(np.int64) - _each(self._top[which])
        x = np.minimum(np.maximum(x, margin), _each(self._last_x[which] - margin))
        y = np.minimum(np.maximum(y, margin), _each(self._last_y[which] - margin))
        found: Indices = y * _each(self.widths[which]) + x + _each(self._starts[which])
        return found


def _each(values: Indices) -> Indices:
    return values[:, None, None]
