"""Measures of polygons: area, centroid, crossings, and how much lies outside another one or the image.

Pure numpy. Rings are in the pixel frame (x = column, y = row, the centre of the first pixel is (0, 0), a
pixel is the square +-0.5 around its centre), closed implicitly, and filled by the even-odd rule: a ring
inside another is a hole. No result depends on the first vertex or on the direction of a ring.
"""

from __future__ import annotations

from math import inf

import numpy as np

from dicom_etl.geometry import planar
from dicom_etl.geometry.planar import Points, as_complex, edges, extent, signed_area, turning
from dicom_etl.records import Box, Edges, FloatArray, Outline, Rings

_AREA_NOISE = 1e-9
"""Relative size below which an area is rounding error."""

_SAME_PLACE = 1e-9
"""Edges this close, in pixels, lie on each other; what is between them is rounding error."""

_EMPTY: Box = (inf, inf, -inf, -inf)


def measure(rings: Rings) -> Outline:
    """Measure the outline that some rings make.

    Nearly every contour is one simple ring, and then a dozen array operations tell all of it (35 us); the rest goes
    through the slabs of `dicom_etl.geometry.planar`, whose limits are a `ContourError`.
    """
    box = extent(rings[0] if len(rings) == 1 else np.concatenate(rings)) if any(map(len, rings)) else _EMPTY
    boundary = _simple_boundary(rings[0], box) if len(rings) == 1 else None
    simple = boundary is not None
    if boundary is None:
        boundary = _even_odd_boundary(rings)
    area = signed_area(*boundary)
    if area < _AREA_NOISE * (box[2] - box[0]) * (box[3] - box[1]):
        area = 0.0  # an outline that goes back on its own line leaves rounding, of either sign
    return Outline(rings, box, boundary, area, simple)


def _simple_boundary(ring: FloatArray, box: Box) -> Edges | None:
    """Return the edges of a ring that does not meet itself, turned from x towards y; None where it may."""
    if not len(ring):
        return None
    line = np.concatenate((ring, ring[:1]))
    start, end = line[:-1], line[1:]
    left, top, right, bottom = box
    turn = turning(line, (left + right) / 2, (top + bottom) / 2)
    if not turn:  # no star, which has no edge of length zero
        start, end = edges((ring,))
        turn = planar.turning_apart(start, end) if len(start) > 2 else 0
    return ((end, start) if turn < 0 else (start, end)) if turn else None


def _even_odd_boundary(rings: Rings) -> Edges:
    start, end = edges(rings)
    slabs = planar.Slabs(start, end, planar.crossings_of(start, end))
    leaving = slabs.order % 2 == 1
    low = np.column_stack((slabs.x_low, slabs.y_low))
    high = np.column_stack((slabs.x_high, slabs.y_high))
    return np.where(leaving[:, None], low, high), np.where(leaving[:, None], high, low)


def polygon_area(rings: Rings) -> float:
    """Return the enclosed area in square pixels, exact up to rounding (Green's theorem); even-odd where rings cross."""
    return measure(rings).area


def centroid(outline: Outline) -> FloatArray:
    """Return the centre of mass (2,) float64 x,y of the enclosed area; NaN when it encloses nothing."""
    start, end = outline.boundary
    if not len(start):
        return np.full(2, np.nan)
    near = np.array(extent(start)[:2])
    (x0, y0), (x1, y1) = (start - near).T, (end - near).T
    dy = y1 - y0
    area = float((x0 + x1) @ dy) / 2
    if area <= 0:
        return np.full(2, np.nan)
    x_moment = float((x0 * x0 + x0 * x1 + x1 * x1) @ dy) / 6
    y_moment = float((x0 * (2 * y0 + y1) + x1 * (y0 + 2 * y1)) @ dy) / 6
    return np.array([near[0] + x_moment / area, near[1] + y_moment / area])


def first_self_intersection(outline: Outline) -> tuple[float, float] | None:
    """Return a point x,y where an outline crosses itself or that a ring winds around otherwise than once, or None.

    A crossing makes the area ambiguous: the even-odd rule, the winding rule and the shoelace formula
    disagree about it. A ring that only touches itself (a repeated vertex, a line drawn there and back)
    encloses the same area by all of them and does not count, nor does a ring inside another one. Two rings
    cross when each has area inside and outside the other.
    """
    if outline.simple:
        return None
    rings = outline.rings
    for ring in rings:
        point = _ambiguous_point(ring)
        if point is not None:
            return point
    if len(rings) < 2:
        return None
    low = np.array([ring.min(axis=0) for ring in rings])
    high = np.array([ring.max(axis=0) for ring in rings])
    for i, j in planar.overlapping_boxes(low, high):
        for one, other in zip(i.tolist(), j.tolist(), strict=True):
            if _cross_each_other(measure((rings[one],)), measure((rings[other],))):
                x, y = (np.maximum(low[one], low[other]) + np.minimum(high[one], high[other])) / 2
                return float(x), float(y)
    return None


def _ambiguous_point(ring: FloatArray) -> tuple[float, float] | None:
    if not len(ring) or _simple_boundary(ring, extent(ring)) is not None:
        return None
    start, end = edges((ring,))
    for crossing in planar.crossing_blocks(start, end):
        return float(crossing[0, 0]), float(crossing[0, 1])
    slabs = planar.Slabs(start, end, np.empty((0, 2)))
    expected = 1 if signed_area(start, end) > 0 else -1
    # The line comes up on the side of greater x of what it winds around once in the sense of a positive area.
    winding = -np.cumsum(slabs.direction)
    gap = np.diff(slabs.x_middle, append=np.inf) > _SAME_PLACE
    wrong = np.flatnonzero(gap & (winding != 0) & (winding != expected))
    if not len(wrong):
        return None
    return float(slabs.x_middle[wrong[0]]), float((slabs.y_low + slabs.y_high)[wrong[0]] / 2)


def _cross_each_other(one: Outline, other: Outline) -> bool:
    both = _shared_area(one, other)
    smaller = min(one.area, other.area)
    return _AREA_NOISE * smaller < both < (1 - _AREA_NOISE) * smaller


def fraction_outside(inner: Outline, outer: Outline) -> float:
    """Return which part of the area of `inner` lies outside `outer`, 0 to 1; 0 when `inner` encloses nothing.

    Exact: the even-odd rule over all rings of both encloses what lies in just one of them, which is
    A + B - 2 (A and B).
    """
    if len(inner.rings) == len(outer.rings) == 1 and _nested_stars(inner, outer):
        return 0.0
    if inner.area <= 0:
        return 0.0
    return min(1.0, max(0.0, 1.0 - _shared_area(inner, outer) / inner.area))


def _nested_stars(inner: Outline, outer: Outline) -> bool:
    """Tell whether both rings are stars around one point and `outer` is nowhere nearer to it; False decides nothing.

    Between the directions of all their vertices both are single edges, so only vertices need comparing. Nearly
    all pairs of contours of a ventricle are such, and this takes a tenth of the time of their shared area.
    """
    left, top, right, bottom = inner.box
    middle = complex((left + right) / 2, (top + bottom) / 2)
    near, far = (_as_star(as_complex(outline.rings[0]) - middle) for outline in (inner, outer))
    if near is None or far is None:
        return False
    return bool(_left_of(near, far).min() >= 0 and _left_of(far, near).max() <= 0)


def _as_star(points: Points) -> tuple[Points, FloatArray] | None:
    """Return the vertices (vertex,) and their angles, by angle; None unless they turn one way, once, around 0."""
    angles = np.arctan2(points.imag, points.real)
    if 2 * np.count_nonzero(angles[1:] < angles[:-1]) > len(angles):
        points, angles = points[::-1], angles[::-1]
    first = int(angles.argmin())
    points = np.concatenate((points[first:], points[:first]))
    angles = np.concatenate((angles[first:], angles[:first]))
    gaps = angles[1:] - angles[:-1]
    last = angles[0] + 2 * np.pi - angles[-1]
    return (points, angles) if gaps.min() > 0 and gaps.max() < np.pi and last < np.pi else None


def _left_of(one: tuple[Points, FloatArray], other: tuple[Points, FloatArray]) -> FloatArray:
    """Return for each vertex of a star on which side of another star's edge in that direction it lies: > 0 within."""
    points, angles = one
    corners, directions = other
    ends = np.concatenate((corners[-1:], corners))  # the edge before the first corner is that after the last
    which = directions.searchsorted(angles, side="right")
    start = ends.take(which)
    along = np.concatenate((corners, corners[:1])).take(which) - start
    side: FloatArray = (along.conj() * (points - start)).imag
    return side


def _shared_area(one: Outline, other: Outline) -> float:
    return max(0.0, (one.area + other.area - polygon_area(one.rings + other.rings)) / 2)


def fraction_outside_image(outline: Outline, shape: tuple[int, int]) -> float:
    """Return which part of the area lies off the pixels of an image of `shape` (rows, columns), 0 to 1."""
    if farthest_outside_image(outline, shape) <= 0:
        return 0.0
    right, bottom = shape[1] - 0.5, shape[0] - 0.5
    frame = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    return fraction_outside(outline, measure((frame,)))


def farthest_outside_image(outline: Outline, shape: tuple[int, int]) -> float:
    """Return how far the farthest vertex lies beyond the edge of an image, in pixels along an axis.

    Negative when all lie inside. The edge of the image is the edge of its outermost pixels: -0.5 and
    columns - 0.5, rows - 0.5.
    """
    left, top, right, bottom = outline.box
    return float(max(right - (shape[1] - 0.5), bottom - (shape[0] - 0.5), -0.5 - left, -0.5 - top))


def join_rings(rings: Rings) -> FloatArray:
    """Return the vertices of all rings as one (row, 2) float64 array, one NaN,NaN row between rings."""
    if not rings:
        return np.empty((0, 2))
    if len(rings) == 1:
        return rings[0].copy()
    gap = np.full((1, 2), np.nan)
    parts = [part for ring in rings for part in (gap, ring)]
    return np.concatenate(parts[1:])


def split_rings(vertices: FloatArray) -> Rings:
    """Undo `join_rings`."""
    vertices = np.asarray(vertices, dtype=np.float64)
    lost = np.isnan(vertices)
    if not lost.any():  # nearly always one ring: 3 us, and 14 to split it
        return (vertices,) if len(vertices) else ()
    parts = np.split(vertices, np.flatnonzero(lost.any(axis=1)))
    rings = (part if index == 0 else part[1:] for index, part in enumerate(parts))
    return tuple(ring for ring in rings if len(ring))
