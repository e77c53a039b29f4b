"""Rings that are stars: seen from some centre they turn one way only, so they cannot meet themselves.

Nearly every contour of a ventricle is one, and that is found out in a time linear in its length, with a dozen array
operations. All that draws or measures rings asks this first and searches for crossings only if the answer is no.
"""

from __future__ import annotations

import numpy as np

from dicom_etl.records import Box, FloatArray

_CENTRES = 3
"""Centres that are tried before a line counts as no star."""

_BEYOND = 0.25
"""Pixels by which a centre is moved past an edge."""

_SHORT = 1e-9
"""Pixels; a shorter edge has no direction."""

_ZERO = np.array(0.0)
"""An array, for an operation takes a third less time with one than with a Python number."""


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
