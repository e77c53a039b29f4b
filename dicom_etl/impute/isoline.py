"""The zero line of a field on a grid, as closed polygons.

Marching squares with linear interpolation along the grid's edges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicom_etl.records import FloatArray

# Corners of a cell and their bits: 1 top left, 2 top right, 4 bottom right, 8 bottom left; its sides: 0 top,
# 1 right, 2 bottom, 3 left. For each pattern of corners inside, the sides where a line enters and leaves,
# with the inside on its right (as seen with y down). 5 and 10 are saddles: two corners that face each other;
# here they stay apart.
_LINES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((0, 3),),
    2: ((1, 0),),
    3: ((1, 3),),
    4: ((2, 1),),
    5: ((0, 3), (2, 1)),
    6: ((2, 0),),
    7: ((2, 3),),
    8: ((3, 2),),
    9: ((0, 2),),
    10: ((1, 0), (3, 2)),
    11: ((1, 2),),
    12: ((3, 1),),
    13: ((0, 1),),
    14: ((3, 0),),
}
_JOINED = {5: ((0, 1), (2, 3)), 10: ((1, 2), (3, 0))}
"""Saddles whose middle is inside."""


def isolines(field: FloatArray) -> tuple[FloatArray, ...]:
    """Return the closed lines where a field is zero.

    Parameters
    ----------
    field : (rows, columns) float64
        Negative inside; its border must be positive, or lines that run off the grid would stay open.

    Returns
    -------
    tuple of (n, 2) float64
        x,y in steps of the grid, the first node at (0, 0). No ring crosses itself or another one.

    Raises
    ------
    ValueError
        When the field is not positive along its border.
    """
    inside = field < 0
    if inside[[0, -1]].any() or inside[:, [0, -1]].any():
        raise ValueError("the field is negative on its border; a wider grid is needed")
    follows = _segments(field, inside)
    rings = []
    while follows:
        first, point = follows.popitem()
        chain = [first]
        while point != first:
            chain.append(point)
            point = follows.pop(point)
        rings.append(_places(field, np.array(chain)))
    return tuple(ring for ring in rings if len(ring) > 2)


def _segments(
    field: FloatArray, inside: NDArray[np.bool_]
) -> dict[tuple[int, int, int], tuple[int, int, int]]:
    """Map each crossed grid edge (row, column, 0 horizontal or 1 vertical) to the next one along the line."""
    pattern = inside[:-1, :-1] + 2 * inside[:-1, 1:] + 4 * inside[1:, 1:] + 8 * inside[1:, :-1]
    follows = {}
    for row, column in np.argwhere((pattern > 0) & (pattern < 15)).tolist():
        sides = ((row, column, 0), (row, column + 1, 1), (row + 1, column, 0), (row, column, 1))
        case = int(pattern[row, column])
        lines = _LINES[case]
        if case in _JOINED and field[row : row + 2, column : column + 2].mean() < 0:
            lines = _JOINED[case]
        for enter, leave in lines:
            follows[sides[enter]] = sides[leave]
    return follows


def _places(field: FloatArray, edges: NDArray[np.int64]) -> FloatArray:
    """Return where (edge, 2) x,y the field is zero along grid edges, coinciding neighbours left out."""
    row, column, vertical = edges.T
    here = field[row, column]
    there = field[row + vertical, column + 1 - vertical]
    part = here / (here - there)
    points: FloatArray = np.column_stack((column + part * (1 - vertical), row + part * vertical))
    return np.asarray(points[(points != np.roll(points, 1, axis=0)).any(axis=1)])
