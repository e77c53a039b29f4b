"""Rings to masks, and masks to rings. Pure numpy (and Pillow for its own rule).

Frame: x = column, y = row, 0-based; the centre of the first pixel is (0, 0), a pixel is the square +-0.5 around
its centre. What is inside follows the even-odd rule: a ring inside another is a hole, rings that cross each other
exclude what both enclose, and neither the first vertex nor the direction of a ring matters.

Three rules make a binary mask:

coverage
    A pixel is in when at least half of it is covered. Exact ties are common (contours drawn on a half-pixel grid run
    through pixel centres) and would bias the mask by more than 1% of its area if all went the same way, or move it if
    it depended on the side. So they are decided together: begin with the pixels that are more than half covered, and
    count each tie as half a pixel. Take the ties in order of their distance from their common centre of mass, farthest
    first, those at equal distance together: while the mask so far is not larger than the polygon they are in, else
    out. The mask has the polygon's area to within a pixel or so, ties are spread around the rim, and the result moves,
    mirrors and transposes with the polygon. Distances are compared as whole numbers, so rounding decides nothing.
centre
    A pixel is in when its centre is, by the half-open even-odd rule: a centre on a left or upper edge is in, on a
    right or lower one out. Right in area on average, but it moves shapes drawn on a half-pixel grid by a quarter
    pixel.
pillow
    ``ImageDraw.polygon(outline=0, fill=1)`` of Pillow, bit for bit, as older pipelines used it.
"""

from __future__ import annotations

from math import floor

import numpy as np
from numpy.typing import NDArray

from dicom_etl.errors import ContourError, MissingExtraError
from dicom_etl.geometry.fill import DIGITS, UNIT, Window, fill
from dicom_etl.geometry.planar import edges
from dicom_etl.records import FloatArray, Outline, Rings

Mask = NDArray[np.uint8]

_HALF = UNIT // 2
_TIE = 1 << 10
"""A share this close to one half (1e-9) is a tie: edges that are no multiple of 1 / UNIT long leave a few units."""

_LEAST_TIE, _GREATEST_TIE = np.array(_HALF - _TIE), np.array(_HALF + _TIE)

_MOST_SUMMED = (1 << 63) // UNIT
"""Pixels whose shares add up to an int64."""

_NEAR = 2.0**-30
"""A crossing this close to a pixel centre (1e-9) goes through it."""

_EVEN = 1e-6
"""Half pixels by which a mask may be larger than its polygon and still count as even."""

_PILLOW_REACH = 32_768
"""Pillow takes a time in proportion to the height of a polygon, also outside the image: 7 s at 1e9."""


def rasterize(
    outline: Outline, shape: tuple[int, int], *, rule: str = "coverage", values: str = "binary"
) -> Mask:
    """Return the mask (y, x) uint8 of an outline on an image of rows and columns, by one of the rules above.

    Values are "binary", 0 and 1; or, with the coverage rule only, "coverage", 0 to 255: the share in 255ths, to the
    nearest, halves up.
    """
    return _soft(outline, shape) if values == "coverage" else _DRAW[rule](outline, shape)


def _soft(outline: Outline, shape: tuple[int, int]) -> Mask:
    mask = np.zeros(shape, dtype=np.uint8)
    window = fill(outline, shape)
    # The tie's allowance again, so that one half is 128 however its edges were cut.
    window.paste((window.covered * 255 + (_HALF + 255 * _TIE)) >> DIGITS, mask)
    return mask


def _by_coverage(outline: Outline, shape: tuple[int, int]) -> Mask:
    window = fill(outline, shape)
    inside = _mostly_covered(window)
    # Made last: so much new memory drives all the rest out of the processor's cache.
    mask = np.zeros(shape, dtype=np.uint8)
    window.paste(inside, mask)
    return mask


def _mostly_covered(window: Window) -> NDArray[np.bool_]:
    """Return which pixels (height * width,) of a window are in."""
    covered = window.covered
    inside: NDArray[np.bool_] = covered > _GREATEST_TIE
    ties = (inside != (covered >= _LEAST_TIE)).nonzero()[0]
    if len(ties):
        # As floats where the sum of a large window might not fit.
        total = np.add.reduce(covered, dtype=None if len(covered) < _MOST_SUMMED else np.float64)
        excess = 2 * np.count_nonzero(inside) + len(ties) - 2 * float(total) / UNIT
        _settle(inside, ties, window.width, excess)
    return inside


def _settle(inside: NDArray[np.bool_], ties: NDArray[np.intp], width: int, excess: float) -> None:
    """Set which of the half-covered pixels (tie,), row by row places in a window of `width`, are inside.

    `excess` is by how many half pixels the mask is too large when each of them counts as half in.
    """
    # Arrays of one number: operations with them are the faster ones. So is a list's sum, of a few dozen numbers.
    count, columns = np.array(len(ties)), np.array(width)
    row, column = ties // columns, ties % columns
    down, along = sum(row.tolist()), sum(column.tolist())
    # From the centre of mass, times the number of ties to be a whole number.
    row *= count
    row -= down
    row *= row
    column *= count
    column -= along
    column *= column
    row += column
    nearest_first = row.argsort()
    distance, ties = row[nearest_first], ties[nearest_first[::-1]]
    if np.count_nonzero(distance[1:] == distance[:-1]):
        inside[ties] = _taken(distance[::-1].tolist(), excess)
        return
    # One by one they are all in, or all out, until the mask is even, and from then on in turns.
    lead = floor(_EVEN - excess) + 1
    if lead > 0:
        inside[ties[:lead]] = True
    inside[ties[abs(lead) + 1 :: 2]] = True


def _taken(distances: list[int], excess: float) -> list[bool]:
    """Return which ties are in, given their distances, the greatest first; those at equal distance together."""
    taken, last, take = [], -1, False
    for distance in distances:
        if distance != last:
            take, last = excess <= _EVEN, distance
        taken.append(take)
        excess += 1 if take else -1
    return taken


def _by_centre(outline: Outline, shape: tuple[int, int]) -> Mask:
    """Toggle, in each row, all pixels from where an edge crosses the row's centre line."""
    rows, columns = shape
    start, end = (np.rint(ends / _NEAR) * _NEAR for ends in edges(outline.rings))
    upper = (start[:, 1] > end[:, 1])[:, None]
    low, high = np.where(upper, end, start), np.where(upper, start, end)
    first = np.clip(np.ceil(low[:, 1]), 0, rows).astype(np.intp)
    count = np.clip(np.ceil(high[:, 1]), 0, rows).astype(np.intp) - first
    edge = np.repeat(np.arange(len(start)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count - first, count)
    (x0, y0), (x1, y1) = low[edge].T, high[edge].T
    crossing = (x0 * (y1 - row) + x1 * (row - y0)) / (y1 - y0)
    column = np.clip(np.ceil(crossing - _NEAR), 0, columns).astype(np.intp)
    toggles = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1))
    inside = np.add.accumulate(toggles.reshape(rows, columns + 1)[:, :columns], axis=1) & 1
    return inside.astype(np.uint8)


def _by_pillow(outline: Outline, shape: tuple[int, int]) -> Mask:
    """Draw each ring as Pillow does; of several rings, what an odd number of them fills."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise MissingExtraError("`raster_rule` pillow", "pillow") from None
    mask = np.zeros(shape, dtype=np.uint8)
    for ring in outline.rings:
        farthest = float(np.abs(ring).max(initial=0))
        if not farthest <= _PILLOW_REACH:
            raise ContourError(
                f"a vertex at {farthest:g} pixels is farther away than `raster_rule` pillow can draw "
                f"({_PILLOW_REACH}); use `raster_rule` coverage"
            )
        image = Image.new("L", (shape[1], shape[0]), 0)
        ImageDraw.Draw(image).polygon([(x, y) for x, y in ring.tolist()], outline=0, fill=1)
        mask ^= np.asarray(image)
    return mask


_DRAW = {"coverage": _by_coverage, "centre": _by_centre, "pillow": _by_pillow}


def trace(mask: NDArray[np.bool_]) -> Rings:
    """Return the outline of a mask (y, x) bool: rings along pixel edges, holes included, in the pixel frame.

    Only corners are vertices, at half pixels. Where two pixels of the mask share a corner alone, the outline passes
    it without crossing itself: each keeps to its own pixel. Every pixel is covered wholly or not at all, so any
    raster rule gives the mask.
    """
    # A border of nothing all around; corner (y, x) lies between pixels y - 1, y and x - 1, x.
    padded = np.pad(mask, 1)
    left_above, right_above = padded[:-1, :-1], padded[:-1, 1:]
    left_below, right_below = padded[1:, :-1], padded[1:, 1:]
    saddle = (left_above == right_below) & (right_above == left_below) & (left_above != right_above)
    single = left_above ^ right_above ^ left_below ^ right_below
    # At a saddle two corners of the outline meet: the one to the left comes first along the row, and along the
    # column the one above: the same when the mask is above it on the left.
    y, x = np.nonzero(single | saddle)
    again = saddle[y, x]
    y, x = np.concatenate((y, y[again])), np.concatenate((x, x[again]))
    second = np.arange(len(y)) >= len(again)
    swapped = second ^ (saddle[y, x] & ~left_above[y, x])
    along = _partners(np.lexsort((second, x, y)))
    down = _partners(np.lexsort((swapped, y, x)))
    points: FloatArray = np.column_stack((x, y)).astype(np.float64) - 0.5
    return tuple(points[ring] for ring in _followed(along, down))


def _partners(order: NDArray[np.intp]) -> list[int]:
    """Return for each corner the other end of its edge: corners of one line pair up, first and second, and so on."""
    partners = np.empty_like(order)
    partners[order[::2]], partners[order[1::2]] = order[1::2], order[::2]
    found: list[int] = partners.tolist()
    return found


def _followed(along: list[int], down: list[int]) -> list[list[int]]:
    rings: list[list[int]] = []
    left = [True] * len(along)
    for first in range(len(along)):
        ring: list[int] = []
        corner = first
        while left[corner]:
            other = along[corner]
            left[corner] = left[other] = False
            ring += (corner, other)
            corner = down[other]
        if ring:
            rings.append(ring)
    return rings
