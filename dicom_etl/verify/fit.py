"""How well a contour lies on a wall: the contrast between points just inside it and points just outside.

Pure numpy. Blood is brighter than the muscle around it in the images that contours of the endocardium are drawn
on, so across a well drawn one the value falls all around. The fall is taken at `POINTS` points, each limited to
1.5 times the typical one, so that bright fat on one side cannot outweigh a missing wall on the other; the mean
is about 1 on a wall, about 0 anywhere else, and does not depend on the scanner's units.

Measured on 56 inner contours of real studies: 0.80 or more where they were drawn; a shift of 6 px lowers it so that
a search finds the way back to within 2.3 px for nine in ten of them; two contours of neighbouring slices or phases
always fit better where they belong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import Fit, FloatArray, Rings

POINTS = 64
DISTANCE_PX = 2.0
"""Points lie this far inside and outside: beyond the edge's partial volume, within the thinnest wall."""

REACH_PX = 9
"""The farthest shift that is tried, along an axis."""

_CEILING = 1.5


def _grid(steps: range) -> NDArray[np.int64]:
    return np.array([(x, y) for y in steps for x in steps], dtype=np.int64)


_COARSE = _grid(range(-REACH_PX + 1, REACH_PX, 2))
_NEAR = _grid(range(-1, 2))
_SHARES = np.arange(POINTS) / POINTS
_AHEAD = (np.arange(POINTS) + 2) % POINTS
_BEHIND = (np.arange(POINTS) - 2) % POINTS


def rim(rings: Rings) -> NDArray[np.float32]:
    """Return the points (2, POINTS, 2) x,y at equal steps along the longest ring: inside, then outside."""
    points = _equal_steps(max(rings, key=len))
    along = points[_AHEAD] - points[_BEHIND]
    # (dy, -dx) points outwards where x turns towards y, which makes the sum of x dy positive.
    outwards = DISTANCE_PX if float(points[:, 0] @ along[:, 1]) > 0 else -DISTANCE_PX
    along *= outwards / np.maximum(np.sqrt((along * along).sum(axis=1)), 1e-9)[:, None]
    step = along[:, ::-1] * (1.0, -1.0)
    return np.stack((points - step, points + step)).astype(np.float32)


def cut_window(pixels: NDArray[Any], rims: list[NDArray[np.float32]]) -> tuple[NDArray[Any], tuple[int, int]]:
    """Cut out what lies within reach of some rims.

    Parameters
    ----------
    pixels : (y, x) array
        The image.
    rims : list of (2, POINTS, 2) float32
        As `rim` gives them.

    Returns
    -------
    window : (y, x) array
        A copy of that part of the image, its edge repeated beyond the image.
    corner : (int, int)
        Where the first pixel of the window lies, x,y.
    """
    every = np.concatenate(rims, axis=1).reshape(-1, 2)
    # A rim far outside the image (a damaged contour) must not make a window of gigabytes.
    last = np.array(pixels.shape[::-1]) - 1
    low = np.clip(np.rint(every.min(axis=0)), 0, last).astype(int) - REACH_PX
    high = np.clip(np.rint(every.max(axis=0)), 0, last).astype(int) + REACH_PX
    corner = int(low[0]), int(low[1])
    if min(corner) >= 0 and high[0] <= last[0] and high[1] <= last[1]:
        return pixels[low[1] : high[1] + 1, low[0] : high[0] + 1].copy(), corner
    columns = np.clip(np.arange(low[0], high[0] + 1), 0, last[0])
    rows = np.clip(np.arange(low[1], high[1] + 1), 0, last[1])
    window: NDArray[Any] = pixels[rows[:, None], columns]
    return window, corner


def falls(window: NDArray[Any], corner: tuple[int, int], points: NDArray[np.float32]) -> FloatArray:
    """Return by how much the value falls from inside to outside, (POINTS,) float64, at the pixels nearest to a rim."""
    inside, outside = window.ravel()[_places(window.shape, corner, points)]
    fall: FloatArray = np.subtract(inside, outside, dtype=np.float64)
    return fall


def typical(fall: FloatArray) -> float:
    """Return the typical size of a fall (POINTS,), the unit of contrast: the upper median; 0 in a flat image."""
    return float(np.sort(np.abs(fall))[POINTS // 2])


def contrast(fall: NDArray[Any], unit: float) -> float:
    """Return the mean of the falls (POINTS,), each limited, in units of the typical one; 0 when that is 0."""
    return float(_limited(fall, unit)) / unit if unit > 0 else 0.0


def measure_fit(window: NDArray[Any], corner: tuple[int, int], points: NDArray[np.float32]) -> Fit | None:
    """Measure the contrast across a contour, and look around it for a place where it fits better.

    None in a flat image, where nothing can be said.
    """
    values, width = window.ravel().astype(np.float32), window.shape[1]
    places = _places(window.shape, corner, points)
    fall = np.subtract(*values[places], dtype=np.float64)
    unit = typical(fall)
    if unit <= 0:
        return None
    own = contrast(fall, unit)
    best = _COARSE[_scores(values, width, places, _COARSE, unit).argmax()]
    around = best + _NEAR
    scores = _scores(values, width, places, around, unit)
    most = float(scores.max()) / unit
    shift = around[scores.argmax()]
    return Fit(own, most - own, (int(shift[0]), int(shift[1]))) if most > own else Fit(own, 0.0, (0, 0))


def _scores(
    values: NDArray[np.float32],
    width: int,
    places: NDArray[np.int64],
    shifts: NDArray[np.int64],
    unit: float,
) -> NDArray[Any]:
    """Return the limited mean fall (shift,) when a rim at flat `places` moves by (shift, 2) whole pixels x,y."""
    # A whole shift is one step in the flattened window; rims lie REACH_PX from its edge.
    steps = shifts[:, 1] * width + shifts[:, 0]
    moved = values.take(places[:, None, :] + steps[:, None], mode="clip")
    return _limited(moved[0] - moved[1], unit)


def _limited(fall: NDArray[Any], unit: float) -> NDArray[Any]:
    ceiling = _CEILING * unit
    limited: NDArray[Any] = np.add.reduce(np.minimum(np.maximum(fall, -ceiling), ceiling), axis=-1)
    return limited / POINTS


def _places(
    shape: tuple[int, ...], corner: tuple[int, int], points: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return the index (2, POINTS) in the flattened window of the pixel nearest to each point."""
    near = np.rint(points).astype(np.int64) - corner
    near = np.minimum(np.maximum(near, 0), (shape[1] - 1, shape[0] - 1))
    x, y = near[..., 0], near[..., 1]
    places: NDArray[np.int64] = y * shape[1] + x
    return places


def _equal_steps(ring: FloatArray) -> FloatArray:
    """Return POINTS points (POINTS, 2) at equal distances along a closed ring."""
    side = ring[np.arange(1, len(ring) + 1) % len(ring)] - ring
    length = np.sqrt((side * side).sum(axis=1))
    end = np.cumsum(length)
    at = _SHARES * end[-1]
    which = np.searchsorted(end, at, side="right")
    left = (end[which] - at) / length[which]
    points: FloatArray = ring[which] + side[which] * (1.0 - left)[:, None]
    return points
