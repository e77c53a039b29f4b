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
from dicom_etl.geometry.raster import rasterize
from dicom_etl.records import FloatArray, Rings


def _lines(pattern: int, joined: bool) -> list[tuple[int, int]]:
    """Return the sides of a cell where lines enter and leave, with the inside on their right (as seen with y down).

    Corners go clockwise from the top left, one bit of the pattern each, set inside; so do the sides, from the top one.
    Of two corners inside that face each other, ``joined`` says whether they meet in the middle.
    """
    inside = [pattern >> corner & 1 for corner in range(4)]
    enter = [side for side in range(4) if inside[side] > inside[(side + 1) % 4]]
    leave = [side for side in range(4) if inside[side] < inside[(side + 1) % 4]]
    if pattern in _SADDLES:
        leave = [(side + (1 if joined else -1)) % 4 for side in enter]
    return list(zip(enter, leave, strict=True))


_SADDLES = (0b0101, 0b1010)
_LINES = {(pattern, joined): _lines(pattern, joined) for pattern in range(16) for joined in (False, True)}


def isolines(field: FloatArray) -> tuple[FloatArray, ...]:
    """Return the closed lines (n, 2) where a field (rows, columns), negative inside, is zero.

    x,y in steps of the grid, the first node at (0, 0). No ring crosses itself or another one. The field's border must
    be positive, or lines would run off the grid.
    """
    follows = _segments(field, field < 0)
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
        joined = case in _SADDLES and field[row : row + 2, column : column + 2].mean() < 0
        for enter, leave in _LINES[case, joined]:
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


def signed_distance(rings: Rings, shape: tuple[int, int]) -> FloatArray:
    """Return how far the nodes of a grid (rows, columns) are from the boundary, in its steps, negative inside."""
    row, column = np.indices(shape)
    away = boundary_distance(rings, np.column_stack((column.ravel(), row.ravel()))).reshape(shape)
    return np.where(rasterize(measure(rings), shape, rule="centre"), -away, away)


def blend(shapes: Sequence[Rings], weights: FloatArray, pitch: float) -> Rings:
    """Return the outline between shapes, in mm in one plane like them; weights (shape,) add up to 1.

    It has as many rings as the most that a shape has, the largest first; none when the mean encloses nothing, as
    between small outlines far from each other. ``pitch`` is the spacing of the grid in mm; a pixel is fine.
    """
    points = np.concatenate([ring for rings in shapes for ring in rings])
    low, high = points.min(axis=0), points.max(axis=0)
    pitch = max(pitch, float(np.sqrt(np.prod(high - low + 4 * pitch) / MOST_NODES)))
    corner = low - 2 * pitch
    columns, rows = np.ceil((high + 3 * pitch - corner) / pitch).astype(int).tolist()
    on_grid = [tuple((ring - corner) / pitch for ring in rings) for rings in shapes]
    fields = np.array([signed_distance(rings, (rows, columns)) for rings in on_grid])
    mean = np.tensordot(weights, fields, axes=1)
    found = sorted(isolines(mean), key=lambda ring: -polygon_area((ring,)))
    most = max(len(rings) for rings in shapes)
    return tuple(corner + ring * pitch for ring in found[:most])


def overlap(one: Rings, other: Rings) -> float:
    """Return the exact Dice overlap, 0 to 1, of two shapes; 0 when neither encloses anything."""
    first, second = measure(one), measure(other)
    if min(first.area, second.area) <= 0:
        return 0.0
    return 2 * first.area * (1 - fraction_outside(first, second)) / (first.area + second.area)
