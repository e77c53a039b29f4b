"""Measures of polygons: area, centroid, crossings, and how much lies outside another one or the image.

Pure numpy. Rings are in the pixel frame (x = column, y = row, the centre of the first pixel is (0, 0), a
pixel is the square +-0.5 around its centre), closed implicitly, and filled by the even-odd rule: a ring
inside another is a hole. No result depends on the first vertex or on the direction of a ring.
"""

from __future__ import annotations

import numpy as np

from dicom_etl.geometry.outlines import box_of, fault, measure, outline
from dicom_etl.geometry.planar import overlapping_boxes, signed_area
from dicom_etl.geometry.stars import extent
from dicom_etl.records import FloatArray, Rings

_AREA_NOISE = 1e-9
"""Relative size below which an area is rounding error."""


def polygon_area(rings: Rings) -> float:
    """Return the enclosed area in square pixels, exact up to rounding; crossing rings by the even-odd rule.

    The sum of (x0 + x1) (y1 - y0) / 2 over the boundary (Green's theorem, the shoelace formula).
    """
    if len(rings) == 1:
        known = measure(rings[0])
        if known.turn:
            return known.area
    return signed_area(*outline(rings))


def centroid(rings: Rings) -> FloatArray:
    """Return the centre of mass (2,) float64 x,y of the enclosed area; NaN when it encloses nothing."""
    start, end = outline(rings)
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


def first_self_intersection(rings: Rings) -> tuple[float, float] | None:
    """Return a point x,y where the outline crosses itself, or None.

    A crossing makes the area ambiguous: the even-odd rule, the winding rule and the shoelace formula
    disagree about it. A ring that only touches itself (a repeated vertex, a line drawn there and back)
    encloses the same area by all of them and does not count, nor does a ring inside another one. Two rings
    cross when each has area inside and outside the other.
    """
    for ring in rings:
        point = fault(ring)
        if point is not None:
            return point
    if len(rings) < 2:
        return None
    low = np.array([ring.min(axis=0) for ring in rings])
    high = np.array([ring.max(axis=0) for ring in rings])
    for i, j in overlapping_boxes(low, high):
        for one, other in zip(i.tolist(), j.tolist(), strict=True):
            if _cross_each_other(rings[one], rings[other]):
                x, y = (np.maximum(low[one], low[other]) + np.minimum(high[one], high[other])) / 2
                return float(x), float(y)
    return None


def _cross_each_other(one: FloatArray, other: FloatArray) -> bool:
    both = _shared_area((one,), (other,))
    smaller = min(polygon_area((one,)), polygon_area((other,)))
    return _AREA_NOISE * smaller < both < (1 - _AREA_NOISE) * smaller


def fraction_outside(inner: Rings, outer: Rings) -> float:
    """Return which part of the area of `inner` lies outside `outer`, 0 to 1; 0 when `inner` encloses nothing.

    Exact: the even-odd rule over all rings of both encloses what lies in just one of them, which is
    A + B - 2 (A and B).
    """
    if len(inner) == len(outer) == 1 and _nested_stars(inner[0], outer[0]):
        return 0.0
    area = polygon_area(inner)
    if area <= 0:
        return 0.0
    return min(1.0, max(0.0, 1.0 - _shared_area(inner, outer) / area))


def _nested_stars(inner: FloatArray, outer: FloatArray) -> bool:
    """Tell whether both rings are stars around one point and `outer` is nowhere nearer to it; False decides nothing.

    Between the directions of all their vertices both are single edges, so only vertices need comparing. Nearly
    all pairs of contours of a ventricle are such, and this takes a tenth of the time of their shared area.
    """
    left, top, right, bottom = extent(inner)
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    near, far = _as_star(inner - middle), _as_star(outer - middle)
    if near is None or far is None:
        return False
    return bool((_left_of(near, far) >= 0).all() and (_left_of(far, near) <= 0).all())


def _as_star(points: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Return the vertices (vertex, 2) and their angles, by angle; None unless they turn one way, once, around 0, 0."""
    angles = np.arctan2(points[:, 1], points[:, 0])
    if 2 * np.count_nonzero(angles[1:] < angles[:-1]) > len(angles):
        points, angles = points[::-1], angles[::-1]
    first = int(angles.argmin())
    points, angles = (np.concatenate((part[first:], part[:first])) for part in (points, angles))
    gaps = angles[1:] - angles[:-1]
    last = angles[0] + 2 * np.pi - angles[-1]
    return (points, angles) if gaps.min() > 0 and gaps.max() < np.pi and last < np.pi else None


def _left_of(one: tuple[FloatArray, FloatArray], other: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Return for each vertex of a star on which side of another star's edge in that direction it lies: > 0 within."""
    points, angles = one
    corners, directions = other
    which = np.searchsorted(directions, angles, side="right") - 1
    start = corners[which]
    x, y = (corners[(which + 1) % len(corners)] - start).T
    to_x, to_y = (points - start).T
    side: FloatArray = x * to_y - y * to_x
    return side


def _shared_area(one: Rings, other: Rings) -> float:
    return max(0.0, (polygon_area(one) + polygon_area(other) - polygon_area(one + other)) / 2)


def fraction_outside_image(rings: Rings, shape: tuple[int, int]) -> float:
    """Return which part of the area lies off the pixels of an image of `shape` (rows, columns), 0 to 1."""
    if farthest_outside_image(rings, shape) <= 0:
        return 0.0
    right, bottom = shape[1] - 0.5, shape[0] - 0.5
    frame = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    return fraction_outside(rings, (frame,))


def farthest_outside_image(rings: Rings, shape: tuple[int, int]) -> float:
    """Return how far the farthest vertex lies beyond the edge of an image, in pixels along an axis.

    Negative when all lie inside. The edge of the image is the edge of its outermost pixels: -0.5 and
    columns - 0.5, rows - 0.5.
    """
    left, top, right, bottom = box_of(rings)
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
    gaps = np.flatnonzero(np.isnan(vertices).any(axis=1))
    parts = np.split(np.asarray(vertices, dtype=np.float64), gaps)
    rings = (part if index == 0 else part[1:] for index, part in enumerate(parts))
    return tuple(ring for ring in rings if len(ring))
