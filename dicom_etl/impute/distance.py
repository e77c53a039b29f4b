"""Blending outlines of any shape: the zero line of the weighted mean of their signed distances.

Shape-based interpolation (Raya and Udupa, IEEE Transactions on Medical Imaging 9, 1990), here with exact
distances to the polygons instead of chamfer distances between pixels. The zero line is found by marching squares with
linear interpolation along the grid's edges.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dicom_etl.geometry.polygons import fraction_outside, measure, polygon_area
from dicom_etl.records import FloatArray, Rings

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
    """Return the closed lines (n, 2) where a field (rows, columns), negative inside, is zero.

    x,y in steps of the grid, the first node at (0, 0). No ring crosses itself or another one. The field's border must
    be positive, or lines that run off the grid would stay open.
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


MOST_NODES = 40_000
"""Nodes of the grid; large outlines get a coarser one."""

_BLOCK = 1 << 18
"""Pairs of point and edge looked at in one go."""


def boundary_distance(rings: Rings, points: FloatArray) -> FloatArray:
    """Return the exact distance (point,) of points (point, 2) from the boundary, never negative."""
    origin = rings[0][0]
    start = np.concatenate(rings) - origin
    edge = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]) - origin - start
    length = (edge**2).sum(axis=1)
    divisor = np.where(length > 0, length, 1.0)
    result = np.empty(len(points))
    size = max(1, _BLOCK // len(start))
    for first in range(0, len(points), size):
        block = points[first : first + size] - origin
        along = block @ edge.T - (start * edge).sum(axis=1)
        squared = (block**2).sum(axis=1)[:, None] + (start**2).sum(axis=1) - 2 * (block @ start.T)
        part = np.clip(along / divisor, 0, 1)
        squared += part * (part * length - 2 * along)
        result[first : first + size] = squared.min(axis=1)
    return np.sqrt(np.maximum(result, 0))


def inside_grid(rings: Rings, x: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
    """Tell (len(y), len(x)) which nodes of a grid lie inside, by the even-odd rule; x rises."""
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    row, edge = np.nonzero((start[:, 1] <= y[:, None]) != (end[:, 1] <= y[:, None]))
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    crossing = x0 + (y[row] - y0) / (y1 - y0) * (x1 - x0)
    passed = np.zeros((len(y), len(x) + 1), dtype=np.int64)
    np.add.at(passed, (row, np.searchsorted(x, crossing)), 1)
    return np.asarray(np.cumsum(passed, axis=1)[:, :-1] % 2 == 1)


def signed_distance(rings: Rings, x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the distance (len(y), len(x)) of the nodes of a grid from the boundary, negative inside."""
    nodes = np.column_stack([axis.ravel() for axis in np.meshgrid(x, y)])
    away = boundary_distance(rings, nodes).reshape(len(y), len(x))
    return np.where(inside_grid(rings, x, y), -away, away)


def blend(shapes: Sequence[Rings], weights: FloatArray, pitch: float) -> Rings:
    """Return the outline between shapes, in mm in one plane like them; weights (shape,) add up to 1.

    It has as many rings as the most that a shape has, the largest first; none when the mean encloses nothing, as
    between small outlines far from each other. ``pitch`` is the spacing of the grid in mm; a pixel is fine.
    """
    points = np.concatenate([ring for rings in shapes for ring in rings])
    low, high = points.min(axis=0), points.max(axis=0)
    pitch = max(pitch, float(np.sqrt(np.prod(high - low + 4 * pitch) / MOST_NODES)))
    corner = low - 2 * pitch
    x, y = (np.arange(first, last + 3 * pitch, pitch) for first, last in zip(corner, high, strict=True))
    mean = np.tensordot(weights, np.array([signed_distance(rings, x, y) for rings in shapes]), axes=1)
    found = sorted(isolines(mean), key=lambda ring: -polygon_area((ring,)))
    most = max(len(rings) for rings in shapes)
    return tuple(corner + ring * pitch for ring in found[:most])


def overlap(one: Rings, other: Rings) -> float:
    """Return the exact Dice overlap, 0 to 1, of two shapes; 0 when neither encloses anything."""
    first, second = measure(one), measure(other)
    if min(first.area, second.area) <= 0:
        return 0.0
    return 2 * first.area * (1 - fraction_outside(first, second)) / (first.area + second.area)
