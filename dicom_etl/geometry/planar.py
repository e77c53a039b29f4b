"""Edges in the plane: which of them meet, and what they enclose by the even-odd rule, in bounded memory and time.

A point is inside when a ray from it crosses the rings an odd number of times, so a ring inside another is a
hole, a ring in the hole is filled again, and neither the direction of a ring nor its first vertex matters.
Rings may touch, run over each other, and cross themselves or others: the plane is cut into slabs at the
height of every vertex and every crossing, inside a slab edges do not cross, and sorted by x they bound the
inside in turn, entering and leaving. Turned accordingly, the pieces of edges are a boundary over which sums
(Green's theorem) give area, centroid and coverage. Two edges on one line may come in either order, and
rounding can only swap edges that all but coincide, so no error is larger than rounding.

Such sums run over dy, so horizontal pieces add nothing to them and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import ContourError
from dicom_etl.records import Box, Edges, FloatArray, Rings

MOST_PAIRS = 20_000_000
"""Pairs of edges that overlap in x (or in y) that are looked at, in about 3 s. A contour of 10,000 points
has fewer."""

MOST_CROSSINGS = 20_000
"""Crossings that are resolved: a scribble of 400 long lines has as many."""

MOST_PIECES = 2_000_000
"""Pieces of edges, cut into slabs, that are kept in memory (about 200 MB)."""

_BLOCK = 1 << 18
"""Pairs looked at in one go: a few dozen arrays of 2 MB."""

_ROUNDING = 1e-15
"""A cross product this small beside the sizes that went into it is zero (a few units of 2**-53)."""

Indices = NDArray[np.intp]
Points = NDArray[np.complex128]
Pairs = tuple[Indices, Indices]


def edges(rings: Rings) -> Edges:
    """Return all edges of all rings in their order; those of length zero are left out."""
    if not rings:
        return np.empty((0, 2)), np.empty((0, 2))
    start = np.concatenate(rings)
    end = np.concatenate([part for ring in rings for part in (ring[1:], ring[:1])])
    differs = start != end
    moved = differs[:, 0] | differs[:, 1]
    return (start, end) if np.count_nonzero(moved) == len(moved) else (start[moved], end[moved])


def signed_area(start: FloatArray, end: FloatArray) -> float:
    """Return the integral of x dy along closed edges: their area, positive when x turns towards y."""
    if not len(start):
        return 0.0
    # From a near origin, so that a small ring far from (0, 0) keeps its digits.
    x = start[:, 0] + end[:, 0]
    x -= 2 * start.item(0, 0)
    return float(np.dot(x, end[:, 1] - start[:, 1])) / 2


def median(values: FloatArray) -> FloatArray:
    """Return the median over the first axis, NaN where a value is.

    As `numpy.median`, which loads `numpy.ma` when it is first called (15 ms) and takes four times as long for a few.
    """
    ordered = np.sort(values, axis=0)
    half = len(ordered) // 2
    middle = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return np.where(np.isnan(ordered[-1]), np.nan, middle)


def turning_apart(start: FloatArray, end: FloatArray) -> int:
    """Tell which way the edges of a ring turn, if none of them comes near another but its neighbours.

    Near is when their bounding boxes touch. Returns 1 from x towards y, -1 the other way, 0 when some come near. For
    contours drawn in small steps it is nearly as good as looking for crossings, and faster.
    """
    last = len(start) - 1
    for i, j in overlapping_boxes(np.minimum(start, end), np.maximum(start, end)):
        steps = np.abs(i - j)
        if not ((steps == 1) | (steps == last)).all():
            return 0
    return 1 if signed_area(start, end) > 0 else -1


class Slabs:
    """The pieces (piece,) of sloped edges between neighbouring heights, sorted by slab, then by x.

    A piece ends at the lower and the higher y of its slab; ``x_middle`` lies half-way. ``direction`` is 1 where the
    edge was drawn towards greater y, else -1. ``order`` is the place within the slab, from 0; the count there is even,
    for rings close.
    """

    def __init__(self, start: FloatArray, end: FloatArray, crossings: FloatArray) -> None:
        sloped = start[:, 1] != end[:, 1]
        start, end = start[sloped], end[sloped]
        up = end[:, 1] > start[:, 1]
        low, high = np.where(up[:, None], start, end), np.where(up[:, None], end, start)
        heights = np.unique(np.concatenate((low[:, 1], high[:, 1], crossings[:, 1])))
        first = np.searchsorted(heights, low[:, 1])
        count = np.searchsorted(heights, high[:, 1]) - first
        if count.sum() > MOST_PIECES:
            raise ContourError(
                f"too intricate: {len(start)} edges, cut at the height of every vertex and crossing, make "
                f"{count.sum()} pieces (at most {MOST_PIECES} are handled); draw it with fewer points"
            )
        edge = np.repeat(np.arange(len(start)), count)
        slab = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count - first, count)
        bottom, top = heights[slab], heights[slab + 1]
        slope = ((high[:, 0] - low[:, 0]) / (high[:, 1] - low[:, 1]))[edge]
        x_low = low[edge, 0] + (bottom - low[edge, 1]) * slope
        x_high = np.where(top == high[edge, 1], high[edge, 0], low[edge, 0] + (top - low[edge, 1]) * slope)
        by_place = np.lexsort((x_low + x_high, slab))
        self.x_low, self.x_high = x_low[by_place], x_high[by_place]
        self.y_low, self.y_high = bottom[by_place], top[by_place]
        self.x_middle = (self.x_low + self.x_high) / 2
        self.direction = np.where(up, 1, -1)[edge[by_place]]
        self.order = np.arange(len(edge)) - np.searchsorted(slab[by_place], slab[by_place])


def overlapping_boxes(low: FloatArray, high: FloatArray) -> Iterator[Pairs]:
    """Yield the index pairs (i, j) of boxes from ``low`` to ``high`` (box, 2) that share a point, each pair once."""
    sweeps = [_sweep(low[:, axis], high[:, axis]) for axis in (0, 1)]
    axis = int(sweeps[1][1].sum() < sweeps[0][1].sum())
    order, count = sweeps[axis]
    if count.sum() > MOST_PAIRS:
        raise ContourError(
            f"too intricate: of {len(low)} edges, {count.sum()} pairs lie close enough to meet (at most "
            f"{MOST_PAIRS} are looked at); draw it with fewer points"
        )
    other = 1 - axis
    for first, second in _expand(np.arange(1, len(order) + 1), count):
        i, j = order[first], order[second]
        near = (low[i, other] <= high[j, other]) & (low[j, other] <= high[i, other])
        if near.any():
            yield i[near], j[near]


def _sweep(low: FloatArray, high: FloatArray) -> tuple[Indices, Indices]:
    """Sort intervals by their lower end and count, for each, the later ones that begin before it ends."""
    order = np.argsort(low, kind="stable")
    last = np.searchsorted(low[order], high[order], side="right")
    return order, last - np.arange(1, len(order) + 1)


def _expand(first: Indices, count: Indices) -> Iterator[Pairs]:
    """Yield pairs (k, first[k]), (k, first[k] + 1), .. ``count[k]`` of them for each k, in blocks."""
    done = np.concatenate(([0], np.cumsum(count)))
    low = 0
    while low < len(count):
        high = max(low + 1, int(np.searchsorted(done, done[low] + _BLOCK, side="right")) - 1)
        sizes = count[low:high]
        owner = np.repeat(np.arange(low, high), sizes)
        within = np.arange(done[high] - done[low]) - np.repeat(done[low:high] - done[low], sizes)
        yield owner, first[owner] + within
        low = high


def crossings_of(start: FloatArray, end: FloatArray) -> FloatArray:
    """Return all points (crossing, 2) where two edges cross inside both."""
    found: list[FloatArray] = [np.empty((0, 2))]
    count = 0
    for points in crossing_blocks(start, end):
        found.append(points)
        count += len(points)
        if count > MOST_CROSSINGS:
            raise ContourError(f"crosses itself more than {MOST_CROSSINGS} times; draw it anew")
    return np.concatenate(found)


def crossing_blocks(start: FloatArray, end: FloatArray) -> Iterator[FloatArray]:
    """Yield the crossings (crossing, 2) of one block of pairs after the other, where there are any.

    An end that lies on the other edge (within rounding) is no crossing.
    """
    allowance = _ROUNDING * 8 * max(1.0, float(np.abs(start).max(initial=0)))
    for i, j in overlapping_boxes(np.minimum(start, end), np.maximum(start, end)):
        a, b, c, d = start[i], end[i], start[j], end[j]
        ab, cd, ac = b - a, d - c, c - a
        zero = allowance * (np.abs(ab) + np.abs(cd)).sum(axis=1)
        side_c, side_d = _cross(ab, ac), _cross(ab, d - a)
        side_a, side_b = -_cross(cd, ac), _cross(cd, b - c)
        apart = np.minimum.reduce(np.abs((side_a, side_b, side_c, side_d))) > zero
        crossed = apart & ((side_a > 0) != (side_b > 0)) & ((side_c > 0) != (side_d > 0))
        if crossed.any():
            side_a, side_b = side_a[crossed], side_b[crossed]
            yield a[crossed] + ab[crossed] * (side_a / (side_a - side_b))[:, None]


def _cross(u: FloatArray, v: FloatArray) -> FloatArray:
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]


_CENTRES = 3
"""Centres that are tried before a line counts as no star."""

_BEYOND = 0.25
"""Pixels by which a centre is moved past an edge."""

_SHORT = 1e-9
"""Pixels; a shorter edge has no direction."""

_ZERO = np.array(0.0)
"""An array, for an operation takes a third less time with one than with a Python number."""


def as_complex(points: FloatArray) -> Points:
    """Return points (point, 2) as numbers x + iy (point,): one operation where two columns take three."""
    return np.ascontiguousarray(points).view(np.complex128)[:, 0]


def extent(points: FloatArray) -> Box:
    """Return the least x and y and the greatest x and y of points (point, 2), at least one."""
    # For the few hundred points of a contour, places are found several times as fast as values are reduced.
    left, top = points.argmin(0).tolist()
    right, bottom = points.argmax(0).tolist()
    return points.item(left, 0), points.item(top, 1), points.item(right, 0), points.item(bottom, 1)


def turning(line: FloatArray, centre_x: float, centre_y: float) -> int:
    """Tell which way a closed line (vertex, 2), its first vertex repeated at the end, turns as a star.

    Returns 1 when it turns strictly from x towards y, once, as seen from the centre given or from one of a few near it,
    -1 when it does so the other way around, else 0. A star cannot meet itself. Most contours of a ventricle are stars
    around the middle of their bounding box, and the test is linear, so they skip the search for crossings.
    """
    for _ in range(_CENTRES):
        x, y = line[:, 0] - centre_x, line[:, 1] - centre_y
        with_x, with_y = x[:-1] * y[1:], x[1:] * y[:-1]
        turn = 1
        # Looked up in their bytes, for `numpy.all` takes four times as long.
        if b"\0" in (with_x > with_y).tobytes():
            turn = -1
            if b"\0" in (with_x < with_y).tobytes():
                centre_x, centre_y = _past_worst_edge(line, with_x - with_y, centre_x, centre_y)
                continue
        # A line that turns one way comes back to this side of the centre once a turn.
        above = (y < _ZERO).tobytes()
        return turn if above.count(b"\1\0") == 1 else 0
    return 0


def _past_worst_edge(
    line: FloatArray, cross: FloatArray, centre_x: float, centre_y: float
) -> tuple[float, float]:
    """Move a centre across the edge that it lies farthest behind.

    `cross` (edge,) is twice the area of the triangle of the centre and each edge, positive when it turns from x to y.
    """
    run, rise = (line[1:] - line[:-1]).T
    turn = 1 if np.add.reduce(cross) > 0 else -1
    length = np.maximum(np.hypot(run, rise), _SHORT)
    beyond = -turn * cross / length
    worst = int(beyond.argmax())
    step = turn * (beyond[worst] + _BEYOND) / length[worst]
    return centre_x - float(step * rise[worst]), centre_y + float(step * run[worst])
