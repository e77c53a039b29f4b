"""How a person's drawing tool records an outline: a chain of points on a half-pixel grid, counted from 1."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]

GRID_PX = 0.5
"""Step of the grid that the Sunnybrook contours lie on."""

_SAMPLE_PX = 0.02
"""Distance between the points at which an outline is sampled before it is snapped; far below the grid step,
so that the snapped chain never jumps over a grid point."""


def densify(ring: FloatArray, step_px: float = _SAMPLE_PX) -> FloatArray:
    """Return points about `step_px` apart along a closed polygon.

    Parameters
    ----------
    ring : (n, 2) float64
        Vertices x, y in pixels, the first one not repeated.
    step_px : float
        Largest distance between neighbouring points of the result, in pixels.

    Returns
    -------
    (m, 2) float64
        Points along the polygon, in its order, rounded to 1e-6 px so that the last bit of a platform's sine
        cannot decide on which side of a grid line a point falls.
    """
    after = np.roll(ring, -1, axis=0)
    length = np.hypot(*(after - ring).T)
    along = np.concatenate(([0.0], np.cumsum(length)))
    at = np.linspace(0.0, along[-1], max(int(np.ceil(along[-1] / step_px)), 3), endpoint=False)
    closed = np.vstack((ring, ring[:1]))
    points: FloatArray = np.column_stack([np.interp(at, along, closed[:, axis]) for axis in (0, 1)])
    return points.round(6)


def trace(ring: FloatArray, step_px: float = _SAMPLE_PX) -> FloatArray:
    """Return the outline as a drawing tool stores it: an eight-connected chain on the half-pixel grid.

    Neighbouring vertices are 0.5 px (straight) or 0.71 px (diagonal) apart, none is repeated, and closing
    is implied. The chain has no systematic offset: its enclosed area agrees with that of `ring` to a
    fraction of a percent on outlines the size of a ventricle.

    Parameters
    ----------
    ring : (n, 2) float64
        Vertices x, y of a closed polygon in the pixel frame, longer than about 4 px around.
    step_px : float
        How densely the polygon is sampled, in pixels.

    Returns
    -------
    (m, 2) float64
        Multiples of 0.5 in the pixel frame (NOT yet counted from 1), in the direction of `ring`.
    """
    cells = np.rint(densify(ring, step_px) / GRID_PX).astype(np.int64)
    starts = np.flatnonzero(np.any(cells != np.roll(cells, 1, axis=0), axis=1))
    # How long the outline stays in a cell: a corner that it hardly touches is the one to cut.
    dwell = np.diff(starts, append=starts[0] + len(cells))
    chain = cells[starts]
    while (cut := _corners_to_cut(chain, dwell)).any():
        chain, dwell = chain[~cut], dwell[~cut]
    return np.asarray(chain * GRID_PX, dtype=np.float64)


def _corners_to_cut(chain: NDArray[np.int64], dwell: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark corners of the chain whose two neighbours touch diagonally, no two marks side by side."""
    bridge = np.roll(chain, -1, axis=0) - np.roll(chain, 1, axis=0)
    corner = np.all(np.abs(bridge) == 1, axis=1)
    weight = np.where(corner, dwell, np.iinfo(np.int64).max)
    return np.asarray(corner & (weight < np.roll(weight, 1)) & (weight <= np.roll(weight, -1)))


def contour_text(ring: FloatArray, *, origin: int = 1, newline: str = "\n") -> str:
    """Return the text of a Sunnybrook contour file: ``x y`` a line, two decimals.

    Parameters
    ----------
    ring : (n, 2) float64
        Vertices x, y in the pixel frame (the centre of the first pixel is (0, 0)).
    origin : int
        What the file calls the centre of the first pixel: Sunnybrook files count from 1.
    newline : str
        Line ending.
    """
    line = "%.2f %.2f" + newline
    return (line * len(ring)) % tuple((ring + origin).ravel().tolist())


def write_contour(
    path: Path, ring: FloatArray, *, origin: int = 1, newline: str = "\n", bom: bool = False
) -> Path:
    """Write a contour file, creating its folder; see `contour_text`. Return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = contour_text(ring, origin=origin, newline=newline)
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode("ascii"))
    return path
